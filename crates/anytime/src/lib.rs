#![doc = include_str!("../README.md")]
//!
//! # How it is made
//!
//! Counts enter, and the logarithm of an e-value leaves (Ramdas, Grünwald, Vovk & Shafer 2023,
//! <https://arxiv.org/abs/2210.01948>). Nothing here knows what the caller counts or decides.
//!
//! Logarithms, exponentials and gamma functions are those of `libm`. Those of `std` differ between
//! targets, so a decision could not be replayed.

pub mod beta;

pub mod bounds;

pub mod limit;

pub mod odds;

pub mod change_point;

use serde::{Deserialize, Serialize};

/// Count of hits out of a total: requests, subjects or pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proportion {
    /// Number of members with the counted property; at most `samples`.
    pub hits: u64,
    /// Total number of members, hits included.
    pub samples: u64,
}

impl Proportion {
    /// Builds a proportion of `hits` out of `samples`. More hits than samples are cut to `samples`.
    pub fn new(hits: u64, samples: u64) -> Self {
        Self { hits: hits.min(samples), samples }
    }

    /// Returns the rate of hits, 0 to 1; `None` when `samples` is 0.
    pub fn rate(self) -> Option<f64> {
        (self.samples > 0).then(|| self.hits as f64 / self.samples as f64)
    }

    /// Adds the counts of both, saturating at `u64::MAX`.
    pub fn merge(self, other: Self) -> Self {
        Self {
            hits: self.hits.saturating_add(other.hits),
            samples: self.samples.saturating_add(other.samples),
        }
    }
}

/// Number of alternatives in a mixture. Together they are close enough to any effect that it costs
/// a few tenths of a nat.
pub const ALTERNATIVE_COUNT: usize = 6;

/// Multiples of a rate, or odds ratios, that a test looks for. Tests of the low side use
/// `1 / ALTERNATIVE_RATIOS`.
pub const ALTERNATIVE_RATIOS: [f64; ALTERNATIVE_COUNT] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// Equal weights of the alternatives, which sum to 1.
pub const MIXTURE_WEIGHTS_EQUAL: [f64; ALTERNATIVE_COUNT] =
    [1.0 / ALTERNATIVE_COUNT as f64; ALTERNATIVE_COUNT];

/// Weights for a rate against a limit. A small excess takes an hour to show there, and a large one
/// only minutes.
///
/// Compared with equal weights they gain 0.6 nats at 1.5 times the limit and lose 1.4 nats at ten
/// times.
pub const MIXTURE_WEIGHTS_NEAR_LIMIT: [f64; ALTERNATIVE_COUNT] = [0.25, 0.3, 0.25, 0.1, 0.06, 0.04];

/// Natural logarithm of `x`; negative infinity at 0.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// Exponential function `e^x`; the same bits on every platform.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Logarithm of the gamma function, for positive numbers.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// Logarithm of the mean of exponentials of `values`, without overflow.
pub fn ln_mean_exp(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    let sum: f64 = values.iter().map(|value| exp(value - highest)).sum();
    highest + ln(sum / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_exponentials_neither_overflows_nor_vanishes() {
        assert_eq!(ln_mean_exp(&[5_000.0, 5_000.0]), 5_000.0);
        assert_eq!(ln_mean_exp(&[-5_000.0, -5_000.0]), -5_000.0);
        assert_eq!(ln_mean_exp(&[f64::NEG_INFINITY]), f64::NEG_INFINITY);
        assert!((ln_mean_exp(&[0.0, ln(3.0)]) - ln(2.0)).abs() < 1e-15);
    }
}
