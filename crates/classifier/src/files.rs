//! The files of a model and the checks that need no encoder: hashes, sizes, labels.
//!
//! The layout is that of the Hugging Face hub (`config.json`, `tokenizer.json`, `onnx/`) with
//! `head.json`, `prototypes.json` and a `manifest.json`, which holds the sha256 of each file.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoder_error::EncoderError;
use jeffrey_terms::Label;

/// Bytes of a model's files, as stored in `models/<id>/`.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// Content of `manifest.json`: hashes, sizes, labels.
    pub manifest: &'a [u8],
    /// Content of `config.json`: the label of each index.
    pub config: &'a [u8],
    /// Content of `tokenizer.json`: vocabulary and normalisers.
    pub tokenizer: &'a [u8],
    /// Content of `onnx/model_quantized.onnx`: graph and weights.
    pub encoder: &'a [u8],
    /// Content of `head.json`: the linear head.
    pub head: &'a [u8],
    /// Content of `prototypes.json`: one vector for each label.
    pub prototypes: &'a [u8],
}

/// Parsed `manifest.json`: the identity of the model and the expected hash and size of its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelManifest {
    /// Version of the file layout; only 1 is accepted.
    pub format: u32,
    /// Name of the model, as in `models/<id>/`.
    pub id: String,
    /// Labels in the order of the scores; they must equal [`Label::ALL`].
    pub labels: Vec<Label>,
    /// Length of the embedding, in floats.
    pub dim: usize,
    /// Longest input in tokens, begin and end marks included; at least 3.
    pub max_tokens: usize,
    /// Number of pieces of the tokenizer. The embedding table must have at least as many rows.
    #[serde(rename = "vocabulary")]
    pub vocabulary_size: usize,
    /// Hash and size of each file, by file name.
    pub files: BTreeMap<String, ManifestFile>,
    /// Origin of the model: commit, seed, data, measured results. Nothing here reads it.
    #[serde(default)]
    pub training: serde_json::Value,
}

/// Manifest entry of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Expected sha256 in lower-case hexadecimal.
    pub sha256: String,
    /// Expected size in bytes.
    pub bytes: usize,
}

/// Parsed `config.json`; fields that are not needed are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelConfig {
    /// Label of each index. The key is the index as text.
    pub id2label: BTreeMap<String, Label>,
}

/// Fault for which a model is refused. Each variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum ModelLoadError {
    /// The encoder cannot be loaded or run.
    #[error("onnx/model_quantized.onnx: {0}")]
    Encoder(#[from] EncoderError),
    /// The manifest has a format other than 1.
    #[error("manifest.json: format {seen} is not 1")]
    UnknownFormat {
        /// Format in the manifest.
        seen: u32,
    },
    /// The sha256 of a file differs from the manifest's.
    #[error("{file}: sha256 {seen} is not the manifest's {expected}")]
    HashMismatch {
        /// Name of the file.
        file: &'static str,
        /// The sha256 of the bytes.
        seen: String,
        /// The sha256 in the manifest.
        expected: String,
    },
    /// A file is not valid JSON of the expected shape.
    #[error("{file}: {source}")]
    Json {
        /// Name of the file.
        file: &'static str,
        /// Error of the JSON parser.
        source: serde_json::Error,
    },
    /// The labels are not the eight of [`Label::ALL`] in their order.
    #[error("{file}: labels are not the eight of core-8 in their order")]
    LabelMismatch {
        /// Name of the file.
        file: &'static str,
    },
    /// The manifest has no entry for a file.
    #[error("manifest.json: names no {file}")]
    MissingFile {
        /// Name of the file.
        file: &'static str,
    },
    /// A number is not finite, or a scale or temperature is not above 0.
    #[error("{file}: {what} holds a value that is not finite or not above 0")]
    NotFinite {
        /// Name of the file.
        file: &'static str,
        /// Name of the tensor or field.
        what: String,
    },
    /// A file, tensor or field has the wrong length.
    #[error("{file}: {what} has length {seen}, not {expected}")]
    LengthMismatch {
        /// Name of the file.
        file: &'static str,
        /// Name of the tensor or field.
        what: &'static str,
        /// Length that was read.
        seen: usize,
        /// Length that was expected.
        expected: usize,
    },
    /// The tokenizer cannot be built, or its marks have unexpected ids.
    #[error("tokenizer.json: {reason}")]
    Tokenizer {
        /// Message of the tokenizer library, or the mark with the wrong id.
        reason: String,
    },
}

impl ModelFiles<'_> {
    /// Returns the sha256 of the manifest in lower-case hexadecimal: the identity of the model,
    /// because the manifest holds the sha256 of every file.
    ///
    /// This function checks nothing; [`super::Classifier::from_bytes`] does.
    pub fn manifest_sha256(&self) -> String {
        sha256_hex(self.manifest)
    }

    /// All files with their names in the manifest.
    fn entries(&self) -> [(&'static str, &[u8]); 5] {
        [
            ("config.json", self.config),
            ("tokenizer.json", self.tokenizer),
            ("onnx/model_quantized.onnx", self.encoder),
            ("head.json", self.head),
            ("prototypes.json", self.prototypes),
        ]
    }

    /// Checks every file against the manifest. Returns the manifest and its sha256.
    pub(super) fn verify(&self) -> Result<(ModelManifest, String), ModelLoadError> {
        const FILE: &str = "manifest.json";
        let manifest: ModelManifest = parse_json(FILE, self.manifest)?;
        if manifest.format != 1 {
            return Err(ModelLoadError::UnknownFormat { seen: manifest.format });
        }
        if manifest.labels != Label::ALL {
            return Err(ModelLoadError::LabelMismatch { file: FILE });
        }
        // The shortest useful input has two marks and one piece.
        if manifest.max_tokens < 3 {
            let seen = manifest.max_tokens;
            return Err(ModelLoadError::LengthMismatch {
                file: FILE,
                what: "max_tokens",
                seen,
                expected: 3,
            });
        }
        for (file, bytes) in self.entries() {
            let entry = manifest.files.get(file).ok_or(ModelLoadError::MissingFile { file })?;
            if entry.bytes != bytes.len() {
                let (seen, expected) = (bytes.len(), entry.bytes);
                return Err(ModelLoadError::LengthMismatch { file, what: "file", seen, expected });
            }
            let seen = sha256_hex(bytes);
            if seen != entry.sha256 {
                return Err(ModelLoadError::HashMismatch {
                    file,
                    seen,
                    expected: entry.sha256.clone(),
                });
            }
        }
        let config: ModelConfig = parse_json("config.json", self.config)?;
        let label_at = |index: usize| config.id2label.get(&index.to_string()).copied();
        let is_in_order =
            Label::ALL.into_iter().all(|label| label_at(label.index()) == Some(label));
        if !is_in_order || config.id2label.len() != Label::ALL.len() {
            return Err(ModelLoadError::LabelMismatch { file: "config.json" });
        }
        Ok((manifest, self.manifest_sha256()))
    }
}

/// Returns the sha256 in lower-case hexadecimal.
fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parse_json<T: DeserializeOwned>(
    file: &'static str,
    bytes: &[u8],
) -> Result<T, ModelLoadError> {
    serde_json::from_slice(bytes).map_err(|source| ModelLoadError::Json { file, source })
}
