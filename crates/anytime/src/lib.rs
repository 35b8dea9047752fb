#![doc = include_str!("../README.md")]
//!
//! # How it is made
//!
//! Counts enter, the logarithm of an e-value leaves (Ramdas, Grünwald, Vovk & Shafer 2023,
//! <https://arxiv.org/abs/2210.01948>). Nothing here knows what is counted, or what follows from it.
//!
//! Logarithms, exponentials and gamma functions are `libm`'s: those of `std` differ between targets, and
//! a decision could not be replayed.

pub mod beta;

pub mod bounds;

pub mod limit;

pub mod odds;

pub mod change_point;

use serde::{Deserialize, Serialize};

/// So many hits out of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proportion {
    /// Those that have what is counted; at most `of`.
    pub hits: u64,
    /// All.
    pub of: u64,
}

impl Proportion {
    /// `hits` out of `of`; never more than all.
    pub fn new(hits: u64, of: u64) -> Self {
        Self { hits: hits.min(of), of }
    }

    /// The part that hits, 0 to 1; `None` of nothing.
    pub fn rate(self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Both together.
    pub fn merge(self, other: Self) -> Self {
        Self { hits: self.hits.saturating_add(other.hits), of: self.of.saturating_add(other.of) }
    }
}

/// How many alternatives a mixture weighs: between them any effect is met within a factor that costs a few
/// tenths of a nat.
pub const ALTERNATIVE_COUNT: usize = 6;

/// Multiples of a rate, or ratios of odds, that are looked for. `1 / ALTERNATIVE_RATIOS` on the low side.
pub const ALTERNATIVE_RATIOS: [f64; ALTERNATIVE_COUNT] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// Equal weights of the alternatives.
pub const EQUAL_WEIGHTS: [f64; ALTERNATIVE_COUNT] =
    [1.0 / ALTERNATIVE_COUNT as f64; ALTERNATIVE_COUNT];

/// Weights for a rate against a limit, where a small excess takes an hour to show and a large one minutes
/// anyway: 0.6 nats for half as much again, at the cost of 1.4 for ten times as much.
pub const NEAR_LIMIT_WEIGHTS: [f64; ALTERNATIVE_COUNT] = [0.25, 0.3, 0.25, 0.1, 0.06, 0.04];

/// Natural logarithm; negative infinity at 0.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// The exponential.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Logarithm of the gamma function, for positive numbers.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// Logarithm of the mean of exponentials, without overflow.
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
