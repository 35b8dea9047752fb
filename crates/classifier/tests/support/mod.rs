//! Helpers of several test files: the shipped model's files, to be loaded or broken, and golden
//! rows.
//!
//! A [`ModelCopy`] lets a test change one file while the manifest stays consistent.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jeffrey_classifier::{Classifier, ModelFiles, ModelLoadError, TieBreak};
use jeffrey_terms::Label;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Names of the files in a manifest.
pub(crate) const MANIFEST_FILES: [&str; 5] =
    ["config.json", "tokenizer.json", "onnx/model_quantized.onnx", "head.json", "prototypes.json"];

/// Root folder of the repository.
pub(crate) fn project_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Folder of the shipped model.
pub(crate) fn model_dir() -> PathBuf {
    let shipped = fs::read_to_string(project_root().join("models/shipped")).unwrap();
    project_root().join("models").join(shipped.trim())
}

/// Shipped model with the tie-break off, loaded once for all tests of a file.
pub(crate) static CLASSIFIER: LazyLock<Classifier> =
    LazyLock::new(|| ModelCopy::shipped().load().expect("the shipped model passes its checks"));

/// Model in memory whose files can be changed.
#[derive(Clone)]
pub(crate) struct ModelCopy {
    pub(crate) manifest: Vec<u8>,
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
}

impl ModelCopy {
    pub(crate) fn shipped() -> Self {
        let dir = model_dir();
        let read = |name: &str| fs::read(dir.join(name)).unwrap();
        Self {
            manifest: read("manifest.json"),
            files: MANIFEST_FILES.map(|name| (name, read(name))).into(),
        }
    }

    /// Changes a JSON file and updates its hash and size in the manifest.
    pub(crate) fn edit_file(mut self, name: &'static str, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_slice(&self.files[name]).unwrap();
        change(&mut value);
        self.replace_file(name, serde_json::to_vec(&value).unwrap());
        self
    }

    /// Replaces the bytes of a file and updates its hash and size in the manifest.
    pub(crate) fn replace_file(&mut self, name: &'static str, bytes: Vec<u8>) {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        let sha256: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        manifest["files"][name] = serde_json::json!({"sha256": sha256, "bytes": bytes.len()});
        self.manifest = serde_json::to_vec(&manifest).unwrap();
        self.files.insert(name, bytes);
    }

    /// Changes the manifest itself, without updating anything else.
    pub(crate) fn edit_manifest(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut value);
        self.manifest = serde_json::to_vec(&value).unwrap();
        self
    }

    /// Loads the model with the tie-break off.
    pub(crate) fn load(&self) -> Result<Classifier, ModelLoadError> {
        let files = ModelFiles {
            manifest: &self.manifest,
            config: &self.files["config.json"],
            tokenizer: &self.files["tokenizer.json"],
            encoder: &self.files["onnx/model_quantized.onnx"],
            head: &self.files["head.json"],
            prototypes: &self.files["prototypes.json"],
        };
        Classifier::from_bytes(&files, TieBreak::disabled())
    }

    /// Writes the model to a folder, in the layout that `--model` reads.
    pub(crate) fn write(&self, dir: &Path) {
        fs::create_dir_all(dir.join("onnx")).unwrap();
        fs::write(dir.join("manifest.json"), &self.manifest).unwrap();
        for (name, bytes) in &self.files {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

/// One row of `tests/data/golden.jsonl`, which the training writes.
#[derive(Deserialize)]
pub(crate) struct GoldenRow {
    pub(crate) id: String,
    pub(crate) lang: String,
    pub(crate) text: String,
    pub(crate) ids: Vec<i64>,
    pub(crate) truncated: bool,
    pub(crate) label: Label,
    /// Scores of the linear head, before any rule; `None` for a text that is only white space.
    pub(crate) scores: Option<[f32; 8]>,
}

pub(crate) fn golden_rows() -> Vec<GoldenRow> {
    let file = fs::read_to_string(project_root().join("tests/data/golden.jsonl")).unwrap();
    file.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
