//! The shipped model's files as bytes, and the commit of the build.
//!
//! `models/shipped` names the model. The files are embedded at compile time; nothing is read or
//! checked at run time. The build fails if a file is missing.

use jeffrey_classifier::ModelFiles;

macro_rules! model_file {
    ($name:literal) => {
        include_bytes!(concat!(env!("JEFFREY_MODEL_DIR"), "/", $name))
    };
}

/// First twelve hexadecimal digits of the built commit; `unknown` without git.
pub const COMMIT: &str = env!("JEFFREY_COMMIT");

/// Returns the shipped model's six files.
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
