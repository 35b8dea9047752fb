//! Depthwise convolution over the tokens, with a gate.
//!
//! Each channel is mixed with the same channel of its neighbouring tokens, then multiplied by the
//! sigmoid of a second input.

use crate::exponential::sigmoid;

/// Computes `out[r] = (bias + sum over k of taps[k] x[r + k - reach]) * sigmoid(gate[r])`.
///
/// `x` is `[rows, 2 width]`: the values to mix, then the gate. `taps` is `[kernel, width]` with an
/// odd kernel, and `reach` is half of it, rounded down. Rows outside the text count as zeros. `out`
/// is `[rows, width]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn gated_convolution(x: &[f32], taps: &[f32], bias: &[f32], out: &mut [f32]) {
    let width = bias.len();
    let rows = out.len() / width;
    let kernel = taps.len() / width;
    assert_eq!((x.len(), out.len()), (2 * rows * width, rows * width));
    assert_eq!((taps.len(), kernel % 2), (kernel * width, 1));
    let reach = kernel / 2;
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        out.copy_from_slice(bias);
        for (tap, taps) in taps.chunks_exact(width).enumerate() {
            let Some(source_row) =
                (row + tap).checked_sub(reach).filter(|source_row| *source_row < rows)
            else {
                continue;
            };
            let x = &x[2 * width * source_row..][..width];
            for ((out, x), tap) in out.iter_mut().zip(x).zip(taps) {
                *out += x * tap;
            }
        }
        let gate = &x[2 * width * row + width..][..width];
        for (out, gate) in out.iter_mut().zip(gate) {
            *out *= sigmoid(*gate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_reach_both_ways_and_stop_at_the_ends() {
        // One channel, an open gate (sigmoid of 40 is 1), taps 1, 10, 100, rows 1, 2, 3.
        let x = [1.0, 40.0, 2.0, 40.0, 3.0, 40.0];
        let mut out = [f32::NAN; 3];
        gated_convolution(&x, &[1.0, 10.0, 100.0], &[0.5], &mut out);
        assert_eq!(out, [210.5, 321.5, 32.5]);
    }

    #[test]
    fn the_gate_scales_each_channel() {
        let x = [4.0, 4.0, 0.0, -40.0];
        let mut out = [f32::NAN; 2];
        gated_convolution(&x, &[1.0, 1.0], &[0.0, 0.0], &mut out);
        assert_eq!(out[0], 2.0);
        assert!(out[1].abs() < 1e-15, "{}", out[1]);
    }
}
