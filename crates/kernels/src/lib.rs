//! Arithmetic of the encoder: slices of floats in, slices of floats out.
//!
//! Every function works on one text of `rows` tokens, each a run of `width` floats. Nothing is kept
//! between calls, and no function reads a clock. The only platform code is the 128-bit lanes of
//! `lanes.rs`. Callers must pass matching lengths; the functions assert them. The encoder checks
//! all lengths when a model is loaded.

mod attention;
mod convolution;
mod elementwise;
mod exponential;
mod lanes;
mod linear;
mod norm;
mod pool;
mod reductions;
mod table;

pub use attention::attention;
pub use convolution::gated_convolution;
pub use elementwise::{add, relu};
pub use exponential::exp;
pub use linear::QuantizedLinear;
pub use norm::layer_norm;
pub use pool::attention_and_max_pool;
pub use table::EmbeddingTable;

/// Fault of a layer's weights: a length that does not fit, or a value that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightError {
    /// A weight, scale or bias has a length other than the expected one.
    LengthMismatch {
        /// Name of the refused tensor.
        name: &'static str,
        /// Length that was given.
        actual: usize,
        /// Length that was expected.
        expected: usize,
    },
    /// A tensor contains a value that is NaN or infinite.
    NotFinite {
        /// Name of the refused tensor.
        name: &'static str,
    },
}

impl std::fmt::Display for WeightError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LengthMismatch { name: part, actual: seen, expected } => {
                write!(out, "{part} has length {seen}, not {expected}")
            }
            Self::NotFinite { name: part } => {
                write!(out, "{part} holds a value that is not finite")
            }
        }
    }
}

impl std::error::Error for WeightError {}

/// Refuses floats of an unexpected length, or with a value that is not finite.
fn validate_values(name: &'static str, values: &[f32], expected: usize) -> Result<(), WeightError> {
    validate_length(name, values.len(), expected)?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(WeightError::NotFinite { name })
    }
}

fn validate_length(name: &'static str, actual: usize, expected: usize) -> Result<(), WeightError> {
    if actual == expected {
        Ok(())
    } else {
        Err(WeightError::LengthMismatch { name, actual, expected })
    }
}
