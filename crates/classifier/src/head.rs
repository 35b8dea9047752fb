//! Embedding to scores: the linear head, and the prototypes that stand in for it.
//!
//! Enters an embedding `[dim]`, leaves eight calibrated probabilities or nothing when they would
//! not be finite. A dimension that differs is found once, at load, and never multiplied.

use serde::Deserialize;

use super::files::{LoadError, parse_json};
use super::{Scores, SkipReason};
use jeffrey_terms::Label;

/// Multinomial logistic regression: softmax((W·e + b) / T).
pub(super) struct Head {
    dim: usize,
    /// `[8][dim]`
    weights: Vec<Vec<f32>>,
    bias: [f32; 8],
    /// Temperature scaling, above 0 (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    temperature: f32,
}

#[derive(Deserialize)]
struct HeadFile {
    labels: Vec<Label>,
    dim: usize,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    temperature: f32,
}

impl Head {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        const FILE: &str = "head.json";
        let file: HeadFile = parse_json(FILE, bytes)?;
        check_rows(FILE, &file.labels, file.dim, &file.weights)?;
        check_positive(FILE, "temperature", file.temperature)?;
        let fault =
            || LoadError::Shape { file: FILE, what: "bias", seen: file.bias.len(), expected: 8 };
        let bias: [f32; 8] = file.bias.as_slice().try_into().map_err(|_| fault())?;
        if !bias.iter().all(|value| value.is_finite()) {
            return Err(LoadError::NotFinite { file: FILE, what: "bias".into() });
        }
        Ok(Self { dim: file.dim, weights: file.weights, bias, temperature: file.temperature })
    }

    pub(super) fn matching(self, dim: usize) -> Result<Self, SkipReason> {
        if self.dim == dim { Ok(self) } else { Err(SkipReason::DimensionMismatch) }
    }

    /// Scores of an embedding `[dim]`; `None` when they would not be finite.
    pub(super) fn scores(&self, embedding: &[f32]) -> Option<Scores> {
        let mut logits = self.bias;
        for (logit, row) in logits.iter_mut().zip(&self.weights) {
            *logit = (*logit + dot(row, embedding)) / self.temperature;
        }
        Scores::softmax(logits)
    }
}

/// One unit vector a class: softmax(s · cos(e, v)).
pub(super) struct Prototypes {
    dim: usize,
    /// `[8][dim]`, of length 1
    vectors: Vec<Vec<f32>>,
    /// Above 0: how sharply a difference in cosine becomes one in probability.
    scale: f32,
}

#[derive(Deserialize)]
struct PrototypesFile {
    labels: Vec<Label>,
    dim: usize,
    vectors: Vec<Vec<f32>>,
    scale: f32,
}

impl Prototypes {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        const FILE: &str = "prototypes.json";
        let file: PrototypesFile = parse_json(FILE, bytes)?;
        check_rows(FILE, &file.labels, file.dim, &file.vectors)?;
        check_positive(FILE, "scale", file.scale)?;
        Ok(Self { dim: file.dim, vectors: file.vectors, scale: file.scale })
    }

    pub(super) fn matching(self, dim: usize) -> Result<Self, SkipReason> {
        if self.dim == dim { Ok(self) } else { Err(SkipReason::DimensionMismatch) }
    }

    /// Scores of an embedding `[dim]`; `None` when they would not be finite (a zero embedding has
    /// no direction).
    pub(super) fn scores(&self, embedding: &[f32]) -> Option<Scores> {
        let length = dot(embedding, embedding).sqrt();
        let mut logits = [0.0; 8];
        for (logit, vector) in logits.iter_mut().zip(&self.vectors) {
            *logit = self.scale * dot(vector, embedding) / length;
        }
        Scores::softmax(logits)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn check_rows(
    file: &'static str,
    labels: &[Label],
    dim: usize,
    rows: &[Vec<f32>],
) -> Result<(), LoadError> {
    if labels != Label::ALL {
        return Err(LoadError::Labels { file });
    }
    if rows.len() != Label::ALL.len() {
        let seen = rows.len();
        return Err(LoadError::Shape { file, what: "rows", seen, expected: Label::ALL.len() });
    }
    for row in rows {
        if row.len() != dim {
            return Err(LoadError::Shape { file, what: "row", seen: row.len(), expected: dim });
        }
        if !row.iter().all(|value| value.is_finite()) {
            return Err(LoadError::NotFinite { file, what: "rows".into() });
        }
    }
    Ok(())
}

fn check_positive(file: &'static str, what: &str, value: f32) -> Result<(), LoadError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(LoadError::NotFinite { file, what: what.into() })
}
