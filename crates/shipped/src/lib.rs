//! The shipped model's files as bytes (`models/shipped` names the model), and the commit of the build.

use jeffrey_classifier::ModelFiles;

macro_rules! model_file {
    ($name:literal) => {
        include_bytes!(concat!(env!("JEFFREY_MODEL_DIR"), "/", $name))
    };
}

/// The first twelve digits of the commit that was built; `unknown` without git.
pub const COMMIT: &str = env!("JEFFREY_COMMIT");

/// The shipped model's files.
pub fn model_files() -> ModelFiles<'static> {
    ModelFiles {
        manifest: model_file!("manifest.json"),
        config: model_file!("config.json"),
        tokenizer: model_file!("tokenizer.json"),
        encoder: model_file!("onnx/model_quantized.onnx"),
        head: model_file!("head.json"),
        prototypes: model_file!("prototypes.json"),
    }
}
