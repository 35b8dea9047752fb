//! Linear layer `x W + b` with 8-bit weights, computed in integers.
//!
//! The weights are those of the file: 8-bit numbers and one scale for each output. The inputs are
//! rounded, row by row, to 16 bits, or to fewer when a 32-bit sum could overflow, which is above
//! 512 inputs. With 16 bits the rounding error is at most 1/65,534 of the row's largest value. That
//! is a hundredth of what the rounding of the weights costs, at twice the speed of floats.

use crate::lanes::{I16Lanes, I32Accumulator};
use crate::{WeightError, validate_length, validate_values};

/// Number of outputs computed together: two registers of sums.
const TILE_OUTPUTS: usize = 8;
/// Number of rows computed together: eight registers of sums for four rows.
const TILE_ROWS: usize = 4;
const WEIGHT_MAX: i64 = 127;

/// Linear layer with its weights laid out for [`QuantizedLinear::forward`].
#[derive(Clone, Debug)]
pub struct QuantizedLinear {
    inputs: usize,
    outputs: usize,
    /// Pairs of weights of eight outputs, for each tile of outputs and each pair of inputs.
    packed: Vec<[I16Lanes; 2]>,
    /// Scale of the weights, of shape `[outputs]`.
    scale: Vec<f32>,
    /// Bias of shape `[outputs]`, added last.
    bias: Vec<f32>,
    /// Largest integer that an input is rounded to.
    input_max: f32,
}

impl QuantizedLinear {
    /// Builds a layer from `weights` `[inputs, outputs]`, row by row, with a scale and a bias for
    /// each output.
    ///
    /// # Errors
    /// [`WeightError`] when a length does not fit, or a scale or bias is not finite.
    pub fn new(
        inputs: usize,
        weights: &[i8],
        scale: &[f32],
        bias: &[f32],
    ) -> Result<Self, WeightError> {
        let outputs = scale.len();
        validate_values("scale", scale, outputs)?;
        validate_values("bias", bias, outputs)?;
        // A layer without inputs or outputs would make rows of length 0.
        validate_length("weight", weights.len(), (inputs * outputs).max(1))?;
        let weight_at = |input: usize, output: usize| {
            if input < inputs && output < outputs {
                i16::from(weights[input * outputs + output])
            } else {
                0
            }
        };
        let mut packed = Vec::with_capacity(outputs.div_ceil(TILE_OUTPUTS) * inputs.div_ceil(2));
        for tile in (0..outputs).step_by(TILE_OUTPUTS) {
            for pair in (0..inputs).step_by(2) {
                // Lane `i` of a register holds input `pair` or the next one, for output
                // `first + i / 2`.
                let register = |first: usize| {
                    I16Lanes::new(std::array::from_fn(|i| weight_at(pair + i % 2, first + i / 2)))
                };
                packed.push([register(tile), register(tile + 4)]);
            }
        }
        Ok(Self {
            inputs,
            outputs,
            packed,
            scale: scale.to_vec(),
            bias: bias.to_vec(),
            input_max: quantized_input_max(inputs),
        })
    }

    /// Number of floats in an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of floats in an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes `out[r] = x[r] W + b` for each row.
    ///
    /// # Panics
    /// If `x` is not a whole number of rows, or `out` does not have as many.
    pub fn forward(&self, x: &[f32], out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        assert_eq!((x.len(), out.len()), (rows * self.inputs, rows * self.outputs));
        let mut row = 0;
        while row < rows {
            let group_rows = (rows - row).min(TILE_ROWS);
            let x = &x[row * self.inputs..(row + group_rows) * self.inputs];
            let out = &mut out[row * self.outputs..(row + group_rows) * self.outputs];
            match group_rows {
                1 => self.forward_rows::<1>(x, out),
                2 => self.forward_rows::<2>(x, out),
                3 => self.forward_rows::<3>(x, out),
                _ => self.forward_rows::<TILE_ROWS>(x, out),
            }
            row += group_rows;
        }
    }

    fn forward_rows<const N: usize>(&self, x: &[f32], out: &mut [f32]) {
        let pairs = self.inputs.div_ceil(2);
        let mut quantized = vec![0; N * pairs];
        let mut row_scales = [0.0; N];
        let rows = quantized.chunks_exact_mut(pairs).zip(x.chunks_exact(self.inputs));
        for ((row, x), row_scale) in rows.zip(&mut row_scales) {
            let max = max_abs(x);
            *row_scale = max / self.input_max;
            quantize_pairs(x, if max > 0.0 { self.input_max / max } else { 0.0 }, row);
        }
        let quantized: [&[i32]; N] = std::array::from_fn(|row| &quantized[row * pairs..][..pairs]);
        for (tile, weights) in self.packed.chunks_exact(pairs).enumerate() {
            let sums = accumulate_tile(weights, quantized);
            let first = tile * TILE_OUTPUTS;
            let width = TILE_OUTPUTS.min(self.outputs - first);
            let (scale, bias) = (&self.scale[first..][..width], &self.bias[first..][..width]);
            for (row, sums) in sums.iter().enumerate() {
                let out = &mut out[row * self.outputs + first..][..width];
                for (i, out) in out.iter_mut().enumerate() {
                    *out = sums[i] as f32 * (row_scales[row] * scale[i]) + bias[i];
                }
            }
        }
    }
}

/// Sums `weight x input` over all pairs, for eight outputs of `N` rows.
#[inline(always)]
fn accumulate_tile<const N: usize>(
    weights: &[[I16Lanes; 2]],
    inputs: [&[i32]; N],
) -> [[i32; TILE_OUTPUTS]; N] {
    let inputs = inputs.map(|row| &row[..weights.len()]);
    let mut sums = [[I32Accumulator::zero(); 2]; N];
    for (pair, weights) in weights.iter().enumerate() {
        for (sums, input) in sums.iter_mut().zip(inputs) {
            let input = I16Lanes::splat(input[pair]);
            sums[0] = sums[0].add_dot(weights[0], input);
            sums[1] = sums[1].add_dot(weights[1], input);
        }
    }
    sums.map(|[low, high]| {
        let (low, high) = (low.as_array(), high.as_array());
        std::array::from_fn(|i| if i < 4 { low[i] } else { high[i - 4] })
    })
}

/// Largest absolute value; 0 for an empty slice.
fn max_abs(x: &[f32]) -> f32 {
    // Without their sign, floats have the same order as their bits. Integers may be compared in any
    // order, so the compiler compares several at once.
    f32::from_bits(x.iter().fold(0, |max, value| max.max(value.abs().to_bits())))
}

/// Multiplies by `factor`, rounds to 16 bits and packs each pair of values, the first in the low
/// half.
fn quantize_pairs(x: &[f32], factor: f32, out: &mut [i32]) {
    let (pairs, last) = x.as_chunks::<2>();
    for (out, x) in out.iter_mut().zip(pairs) {
        *out = (round_to_i16(x[0] * factor) & 0xffff) | (round_to_i16(x[1] * factor) << 16);
    }
    if let ([x], Some(out)) = (last, out.last_mut()) {
        *out = round_to_i16(x * factor) & 0xffff;
    }
}

/// Largest integer such that no sum over `inputs` products exceeds 32 bits, at most 32,767.
fn quantized_input_max(inputs: usize) -> f32 {
    let input_max = i64::from(i32::MAX) / (WEIGHT_MAX + 1) / (inputs.max(1) as i64);
    input_max.min(i64::from(i16::MAX)) as f32
}

/// Rounds to the nearest integer, into the low 16 bits. `value` must fit into them.
#[inline(always)]
fn round_to_i16(value: f32) -> i32 {
    // The unit in the last place of 1.5 * 2^23 is 1, so the sum is rounded, and its low bits are
    // the integer.
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes the same as [`QuantizedLinear::forward`], one number at a time in 64 bits.
    fn forward_reference(layer: &QuantizedLinear, weights: &[i8], x: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for x in x.chunks_exact(layer.inputs) {
            let max = x.iter().fold(0.0f32, |highest, value| highest.max(value.abs()));
            let factor = if max > 0.0 { layer.input_max / max } else { 0.0 };
            for output in 0..layer.outputs {
                let sum: i64 = (0..layer.inputs)
                    .map(|i| {
                        let quantized = (x[i] * factor).round_ties_even() as i64;
                        quantized * i64::from(weights[i * layer.outputs + output])
                    })
                    .sum();
                let scale = max / layer.input_max * layer.scale[output];
                out.push(sum as f32 * scale + layer.bias[output]);
            }
        }
        out
    }

    /// Small generator that gives the same numbers in every run.
    fn next_random(seed: &mut u64) -> u64 {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    #[test]
    fn equals_the_reference_bit_for_bit_at_every_shape() {
        let mut seed = 7;
        for inputs in [1, 2, 3, 8, 127, 192, 384, 516, 517, 1024] {
            for outputs in [1, 4, 7, 8, 9, 24] {
                for rows in [0, 1, 2, 3, 4, 5, 9] {
                    // The ends of the range are frequent, because a sum would exceed 32 bits there
                    // first.
                    let weights: Vec<i8> = (0..inputs * outputs)
                        .map(|_| match next_random(&mut seed) % 4 {
                            0 => 127,
                            1 => -128,
                            _ => next_random(&mut seed) as i8,
                        })
                        .collect();
                    let scale: Vec<f32> = (0..outputs).map(|o| 0.01 + o as f32 / 100.0).collect();
                    let bias: Vec<f32> = (0..outputs).map(|o| o as f32 - 3.0).collect();
                    let x: Vec<f32> = (0..rows * inputs)
                        .map(|_| match next_random(&mut seed) % 3 {
                            0 => 5.0,
                            1 => -5.0,
                            _ => (next_random(&mut seed) % 2001) as f32 / 200.0 - 5.0,
                        })
                        .collect();
                    let layer = QuantizedLinear::new(inputs, &weights, &scale, &bias).unwrap();
                    let mut out = vec![f32::NAN; rows * outputs];
                    layer.forward(&x, &mut out);
                    assert_eq!(
                        out,
                        forward_reference(&layer, &weights, &x),
                        "{inputs} {outputs} {rows}"
                    );
                }
            }
        }
    }

    #[test]
    fn is_as_near_to_floats_as_sixteen_bits_allow() {
        let mut seed = 11;
        let (inputs, outputs) = (384, 16);
        let weights: Vec<i8> =
            (0..inputs * outputs).map(|_| next_random(&mut seed) as i8).collect();
        let x: Vec<f32> = (0..inputs)
            .map(|_| next_random(&mut seed) as f32 / (1u64 << 31) as f32 - 0.5)
            .collect();
        let layer = QuantizedLinear::new(inputs, &weights, &[1.0; 16], &[0.0; 16]).unwrap();
        let mut out = vec![0.0; outputs];
        layer.forward(&x, &mut out);
        for (output, got) in out.iter().enumerate() {
            let exact: f64 = (0..inputs)
                .map(|i| f64::from(x[i]) * f64::from(weights[i * outputs + output]))
                .sum();
            // Half a rounding step for each input, with all roundings in the same direction.
            let bound = 0.5 / 32_767.0 * 0.5 * 128.0 * inputs as f64;
            assert!((f64::from(*got) - exact).abs() <= bound, "{got} for {exact}");
        }
    }

    #[test]
    fn zeros_stay_zeros_and_leave_the_bias() {
        let layer = QuantizedLinear::new(3, &[1, 2, 3], &[1.0], &[0.25]).unwrap();
        let mut out = [f32::NAN];
        layer.forward(&[0.0; 3], &mut out);
        assert_eq!(out, [0.25]);
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let fault = QuantizedLinear::new(2, &[1; 5], &[1.0; 2], &[0.0; 2]).unwrap_err();
        assert_eq!(fault.to_string(), "weight has length 5, not 4");
        let fault = QuantizedLinear::new(2, &[1; 4], &[1.0; 2], &[0.0; 3]).unwrap_err();
        assert_eq!(fault.to_string(), "bias has length 3, not 2");
        assert!(QuantizedLinear::new(0, &[], &[1.0], &[0.0]).is_err());
        assert!(QuantizedLinear::new(1, &[], &[], &[]).is_err());
        let fault = QuantizedLinear::new(1, &[1], &[f32::NAN], &[0.0]).unwrap_err();
        assert_eq!(fault.to_string(), "scale holds a value that is not finite");
    }
}
