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
pub use linear::Linear;
pub use norm::layer_norm;
pub use pool::pool;
pub use table::Table;

/// A weight's length, scale or value that cannot be computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A part has another length than the others ask for.
    Length {
        /// Which part.
        part: &'static str,
        /// Its length.
        seen: usize,
        /// The length asked for.
        expected: usize,
    },
    /// A part holds a value that is NaN or infinite.
    NotFinite {
        /// Which part.
        part: &'static str,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { part, seen, expected } => {
                write!(out, "{part} has length {seen}, not {expected}")
            }
            Self::NotFinite { part } => write!(out, "{part} holds a value that is not finite"),
        }
    }
}

impl std::error::Error for Fault {}

/// Refuse floats of another length, or with one that is not finite.
fn check(part: &'static str, values: &[f32], expected: usize) -> Result<(), Fault> {
    check_length(part, values.len(), expected)?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(Fault::NotFinite { part })
    }
}

fn check_length(part: &'static str, seen: usize, expected: usize) -> Result<(), Fault> {
    if seen == expected { Ok(()) } else { Err(Fault::Length { part, seen, expected }) }
}
