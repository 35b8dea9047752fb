//! The shipped model's files, as bytes in the binary; `models/shipped` names it.

use crate::classifier::ModelFiles;

macro_rules! model_file {
    ($name:literal) => {
        include_bytes!(concat!(env!("JEFFREY_MODEL_DIR"), "/", $name))
    };
}

/// The shipped model's files.
pub(crate) fn files() -> ModelFiles<'static> {
    ModelFiles {
        manifest: model_file!("manifest.json"),
        config: model_file!("config.json"),
        tokenizer: model_file!("tokenizer.json"),
        encoder: model_file!("onnx/model_quantized.onnx"),
        head: model_file!("head.json"),
        prototypes: model_file!("prototypes.json"),
    }
}
