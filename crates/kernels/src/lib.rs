//! The arithmetic of the encoder: slices of floats in, slices of floats out.
//!
//! Every function works on one text: `rows` tokens, each a run of `width` floats. No allocation is
//! kept between calls, no clock, no platform but the 128-bit lanes of `lanes.rs`. Lengths are the
//! caller's promise and are asserted; the encoder checks them when a model is loaded.

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
pub use pool::pool;
pub use table::EmbeddingTable;

/// A weight's length, scale or value that cannot be computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightError {
    /// A part has another length than the others ask for.
    LengthMismatch {
        /// Which part.
        name: &'static str,
        /// Its length.
        actual: usize,
        /// The length asked for.
        expected: usize,
    },
    /// A part holds a value that is NaN or infinite.
    NotFinite {
        /// Which part.
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

/// Refuse floats of another length, or with one that is not finite.
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
