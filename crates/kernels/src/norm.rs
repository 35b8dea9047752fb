//! Layer normalisation of each token (Ba et al. 2016, "Layer Normalization").
//!
//! Each row gets mean 0 and variance 1, then each column its own scale. There is no bias.

use crate::reductions::sum_of;

/// Computes `out = scale * (x - mean) / sqrt(variance + epsilon)`, for each row of `scale.len()`
/// floats.
///
/// # Panics
/// If `x` and `out` differ in length.
pub fn layer_norm(x: &[f32], scale: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    let width = scale.len();
    let inverse_width = 1.0 / width as f32;
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = sum_of(x, |value| value) * inverse_width;
        let variance = sum_of(x, |value| (value - mean) * (value - mean)) * inverse_width;
        let inverse_deviation = 1.0 / (variance + epsilon).sqrt();
        for ((out, x), scale) in out.iter_mut().zip(x).zip(scale) {
            *out = (x - mean) * inverse_deviation * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_with_mean_zero_and_variance_one_times_the_scale() {
        let x: Vec<f32> = (0..3 * 21).map(|i| (i * i % 17) as f32 * 0.3 - 1.0).collect();
        let scale: Vec<f32> = (0..21).map(|i| 1.0 + i as f32).collect();
        let mut out = vec![f32::NAN; x.len()];
        layer_norm(&x, &scale, 1e-5, &mut out);
        for (x, out) in x.chunks_exact(21).zip(out.chunks_exact(21)) {
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / 21.0;
            let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 21.0;
            for ((x, out), scale) in x.iter().zip(out).zip(&scale) {
                let exact = (f64::from(*x) - mean) / (variance + 1e-5).sqrt() * f64::from(*scale);
                assert!(
                    (f64::from(*out) - exact).abs() < 1e-5 * f64::from(*scale),
                    "{out} {exact}"
                );
            }
        }
    }

    #[test]
    fn equal_values_become_zeros() {
        let mut out = [f32::NAN; 4];
        layer_norm(&[2.5; 4], &[1.0; 4], 1e-5, &mut out);
        assert_eq!(out, [0.0; 4]);
    }
}
