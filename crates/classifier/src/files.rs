//! A model's files and the checks that need no encoder: hashes, sizes, labels.
//!
//! The layout is the one people know from the hub (`config.json`, `tokenizer.json`, `onnx/`) with
//! `head.json`, `prototypes.json` and a `manifest.json` that holds the sha256 of each.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoder::EncoderError;
use jeffrey_terms::Label;

/// The bytes of a model's files, as they lie in `models/<id>/`.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// `manifest.json`
    pub manifest: &'a [u8],
    /// `config.json`
    pub config: &'a [u8],
    /// `tokenizer.json`
    pub tokenizer: &'a [u8],
    /// `onnx/model_quantized.onnx`
    pub encoder: &'a [u8],
    /// `head.json`
    pub head: &'a [u8],
    /// `prototypes.json`
    pub prototypes: &'a [u8],
}

/// `manifest.json`: what the model is, and what its files must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelManifest {
    /// Version of this layout; 1.
    pub format: u32,
    /// Name of the model, as in `models/<id>/`.
    pub id: String,
    /// The labels in the order of the scores.
    pub labels: Vec<Label>,
    /// Length of the embedding.
    pub dim: usize,
    /// Longest input in tokens, begin and end marks included.
    pub max_tokens: usize,
    /// Pieces of the tokenizer, and the least number of rows of the embedding table.
    pub vocabulary: usize,
    /// Each file with its hash and size.
    pub files: BTreeMap<String, ManifestFile>,
    /// Where the model comes from: commit, seed, data, figures.
    #[serde(default)]
    pub training: serde_json::Value,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Lower-case hexadecimal sha256.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: usize,
}

/// `config.json`, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelConfig {
    /// Label of each index, under the index as text.
    pub id2label: BTreeMap<String, Label>,
}

/// A model that failed its checks.
#[derive(Debug, thiserror::Error)]
pub enum ModelLoadError {
    /// The encoder cannot be run.
    #[error("onnx/model_quantized.onnx: {0}")]
    Encoder(#[from] EncoderError),
    /// The manifest's layout is unknown.
    #[error("manifest.json: format {seen} is not 1")]
    UnknownFormat {
        /// The format seen.
        seen: u32,
    },
    /// A file's hash differs from the manifest's.
    #[error("{file}: sha256 {seen} is not the manifest's {expected}")]
    HashMismatch {
        /// The file.
        file: &'static str,
        /// The hash seen.
        seen: String,
        /// The manifest's hash.
        expected: String,
    },
    /// A file is not the JSON it should be.
    #[error("{file}: {source}")]
    Json {
        /// The file.
        file: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The labels are not the eight in their order.
    #[error("{file}: labels are not the eight of core-8 in their order")]
    LabelMismatch {
        /// The file.
        file: &'static str,
    },
    /// The manifest does not name a file.
    #[error("manifest.json: names no {file}")]
    MissingFile {
        /// The file.
        file: &'static str,
    },
    /// A number that must be finite (and above 0 where it scales) is not.
    #[error("{file}: {what} holds a value that is not finite or not above 0")]
    NotFinite {
        /// The file.
        file: &'static str,
        /// The tensor or field.
        what: String,
    },
    /// A length differs.
    #[error("{file}: {what} has length {seen}, not {expected}")]
    LengthMismatch {
        /// The file.
        file: &'static str,
        /// The tensor or field.
        what: &'static str,
        /// The length seen.
        seen: usize,
        /// The length expected.
        expected: usize,
    },
    /// The tokenizer cannot be read.
    #[error("tokenizer.json: {reason}")]
    Tokenizer {
        /// What is wrong with it.
        reason: String,
    },
}

impl ModelFiles<'_> {
    /// The sha256 of the manifest, which holds the sha256 of every file: the model's identity. It
    /// checks nothing; [`super::Classifier::from_bytes`] does.
    pub fn manifest_sha256(&self) -> String {
        sha256_hex(self.manifest)
    }

    /// Each file under its name in the manifest.
    fn entries(&self) -> [(&'static str, &[u8]); 5] {
        [
            ("config.json", self.config),
            ("tokenizer.json", self.tokenizer),
            ("onnx/model_quantized.onnx", self.encoder),
            ("head.json", self.head),
            ("prototypes.json", self.prototypes),
        ]
    }

    /// The manifest and its sha256, once every file is what the manifest says.
    pub(super) fn verify(&self) -> Result<(ModelManifest, String), ModelLoadError> {
        const FILE: &str = "manifest.json";
        let manifest: ModelManifest = parse_json(FILE, self.manifest)?;
        if manifest.format != 1 {
            return Err(ModelLoadError::UnknownFormat { seen: manifest.format });
        }
        if manifest.labels != Label::ALL {
            return Err(ModelLoadError::LabelMismatch { file: FILE });
        }
        // Two marks and one piece is the shortest input that means anything.
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

/// Lower-case hexadecimal sha256.
fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parse_json<T: DeserializeOwned>(
    file: &'static str,
    bytes: &[u8],
) -> Result<T, ModelLoadError> {
    serde_json::from_slice(bytes).map_err(|source| ModelLoadError::Json { file, source })
}
