//! Pooling of all tokens into one vector.
//!
//! The vector is a weighted mean of the rows, followed by the maximum of each column.

use crate::exponential::softmax;
use crate::reductions::{add_scaled, dot};

/// Pools `x` `[rows, width]` into `out` `[2 width]`: the mean of the rows, weighted by the softmax
/// of `x score`, then the highest value of each column.
///
/// The score has no bias, because a bias would not change the softmax.
///
/// # Panics
/// If the lengths do not fit, or there is no row.
pub fn attention_and_max_pool(x: &[f32], score: &[f32], out: &mut [f32]) {
    let width = score.len();
    assert!(!x.is_empty() && x.len().is_multiple_of(width) && out.len() == 2 * width);
    let mut weights: Vec<f32> = x.chunks_exact(width).map(|x| dot(x, score)).collect();
    softmax(&mut weights);
    let (mean, maxima) = out.split_at_mut(width);
    mean.fill(0.0);
    maxima.fill(f32::NEG_INFINITY);
    for (x, weight) in x.chunks_exact(width).zip(&weights) {
        add_scaled(mean, x, *weight);
        for (max, x) in maxima.iter_mut().zip(x) {
            *max = max.max(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_leans_to_the_higher_score_and_the_maximum_to_none() {
        let mut out = [f32::NAN; 4];
        attention_and_max_pool(&[1.0, 5.0, 3.0, -7.0], &[0.0, 0.0], &mut out);
        assert_eq!(out, [2.0, -1.0, 3.0, 5.0]);
        attention_and_max_pool(&[1.0, 5.0, 3.0, -7.0], &[20.0, 0.0], &mut out);
        assert_eq!(out, [3.0, -7.0, 3.0, 5.0]);
    }

    #[test]
    fn one_row_is_its_own_mean_and_maximum() {
        let mut out = [f32::NAN; 2];
        attention_and_max_pool(&[-2.0], &[3.0], &mut out);
        assert_eq!(out, [-2.0, -2.0]);
    }
}
