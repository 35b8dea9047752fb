//! Exponential function in plain arithmetic.
//!
//! The compiler can compute several values at once, and every platform gets the same bits. The
//! sigmoid and the softmax of the encoder use it.

use crate::reductions::{max_value, sum_of};

/// Returns `e^x` with a relative error below 2e-7 for -87 to 88; outside, the value at the nearer
/// end.
///
/// It splits `x = n ln 2 + r`, computes `e^r` by a polynomial and adds `n` to the exponent.
/// Coefficients: Moshier, Cephes Mathematical Library, `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut y = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y * r + coefficient;
    }
    let y = y * r * r + r + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
    f32::from_bits((y.to_bits() as i32).wrapping_add(exponent << 23) as u32)
}

/// Logistic function, `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Turns scores into weights that sum to 1, in place.
pub(crate) fn softmax(scores: &mut [f32]) {
    let max = max_value(scores);
    for score in &mut *scores {
        *score = exp(*score - max);
    }
    let inverse_sum = 1.0 / sum_of(scores, |score| score);
    for score in scores {
        *score *= inverse_sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_within_its_stated_error_over_the_whole_range() {
        let mut error_max: f64 = 0.0;
        for step in 0..=1_750_000 {
            let x = -87.0 + step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            error_max = error_max.max((f64::from(exp(x)) / exact - 1.0).abs());
        }
        assert!(error_max < 2e-7, "{error_max:e}");
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn outside_the_range_it_stays_finite() {
        assert_eq!(exp(-1e30), exp(-87.0));
        assert_eq!(exp(f32::INFINITY), exp(88.0));
        assert!(exp(-87.0) > 0.0 && exp(88.0).is_finite());
    }

    #[test]
    fn shares_sum_to_one_whatever_the_scores() {
        for mut scores in [vec![0.0; 7], vec![-1e4, 0.0, 1e4], vec![3.0], vec![1e30, 1e30]] {
            softmax(&mut scores);
            let sum: f32 = scores.iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "{scores:?}");
        }
    }
}
