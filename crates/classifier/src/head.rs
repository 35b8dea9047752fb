//! Turns an embedding into scores, by the linear head or, when it cannot answer, by the prototypes.
//!
//! The input is an embedding `[dim]`. The output is eight calibrated probabilities, or nothing when
//! they would not be finite. A wrong dimension is found once, when the model is loaded, so the head
//! never multiplies it.

use serde::Deserialize;

use super::files::{ModelLoadError, parse_json};
use super::{LabelScores, SkipReason};
use jeffrey_terms::Label;

/// Multinomial logistic regression: softmax((W·e + b) / T).
pub(super) struct LinearHead {
    dim: usize,
    /// Weights of shape `[8][dim]`.
    weights: Vec<Vec<f32>>,
    bias: [f32; 8],
    /// Temperature for calibration, above 0 (Guo et al. 2017, "On Calibration of Modern Neural
    /// Networks").
    temperature: f32,
}

#[derive(Deserialize)]
struct LinearHeadFile {
    labels: Vec<Label>,
    dim: usize,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    temperature: f32,
}

impl LinearHead {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ModelLoadError> {
        const FILE: &str = "head.json";
        let file: LinearHeadFile = parse_json(FILE, bytes)?;
        validate_rows(FILE, &file.labels, file.dim, &file.weights)?;
        validate_positive(FILE, "temperature", file.temperature)?;
        let length_error = || ModelLoadError::LengthMismatch {
            file: FILE,
            what: "bias",
            seen: file.bias.len(),
            expected: 8,
        };
        let bias: [f32; 8] = file.bias.as_slice().try_into().map_err(|_| length_error())?;
        if !bias.iter().all(|value| value.is_finite()) {
            return Err(ModelLoadError::NotFinite { file: FILE, what: "bias".into() });
        }
        Ok(Self { dim: file.dim, weights: file.weights, bias, temperature: file.temperature })
    }

    pub(super) fn require_dim(self, dim: usize) -> Result<Self, SkipReason> {
        if self.dim == dim { Ok(self) } else { Err(SkipReason::DimensionMismatch) }
    }

    /// Returns the scores of an embedding `[dim]`; `None` when they would not be finite.
    pub(super) fn score_embedding(&self, embedding: &[f32]) -> Option<LabelScores> {
        let mut logits = self.bias;
        for (logit, row) in logits.iter_mut().zip(&self.weights) {
            *logit = (*logit + dot(row, embedding)) / self.temperature;
        }
        LabelScores::softmax(logits)
    }
}

/// One unit vector for each label: softmax(s · cos(e, v)).
pub(super) struct Prototypes {
    dim: usize,
    /// Vectors of shape `[8][dim]`, each of length 1.
    vectors: Vec<Vec<f32>>,
    /// Factor from cosine to logit, above 0. A larger one turns the same difference in cosine into
    /// a larger difference in probability.
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
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ModelLoadError> {
        const FILE: &str = "prototypes.json";
        let file: PrototypesFile = parse_json(FILE, bytes)?;
        validate_rows(FILE, &file.labels, file.dim, &file.vectors)?;
        validate_positive(FILE, "scale", file.scale)?;
        Ok(Self { dim: file.dim, vectors: file.vectors, scale: file.scale })
    }

    pub(super) fn require_dim(self, dim: usize) -> Result<Self, SkipReason> {
        if self.dim == dim { Ok(self) } else { Err(SkipReason::DimensionMismatch) }
    }

    /// Returns the scores of an embedding `[dim]`; `None` when they would not be finite. A zero
    /// embedding has no direction, so its scores are not finite.
    pub(super) fn score_embedding(&self, embedding: &[f32]) -> Option<LabelScores> {
        let length = dot(embedding, embedding).sqrt();
        let mut logits = [0.0; 8];
        for (logit, vector) in logits.iter_mut().zip(&self.vectors) {
            *logit = self.scale * dot(vector, embedding) / length;
        }
        LabelScores::softmax(logits)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn validate_rows(
    file: &'static str,
    labels: &[Label],
    dim: usize,
    rows: &[Vec<f32>],
) -> Result<(), ModelLoadError> {
    if labels != Label::ALL {
        return Err(ModelLoadError::LabelMismatch { file });
    }
    if rows.len() != Label::ALL.len() {
        let seen = rows.len();
        return Err(ModelLoadError::LengthMismatch {
            file,
            what: "rows",
            seen,
            expected: Label::ALL.len(),
        });
    }
    for row in rows {
        if row.len() != dim {
            return Err(ModelLoadError::LengthMismatch {
                file,
                what: "row",
                seen: row.len(),
                expected: dim,
            });
        }
        if !row.iter().all(|value| value.is_finite()) {
            return Err(ModelLoadError::NotFinite { file, what: "rows".into() });
        }
    }
    Ok(())
}

fn validate_positive(file: &'static str, what: &str, value: f32) -> Result<(), ModelLoadError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(ModelLoadError::NotFinite { file, what: what.into() })
}
