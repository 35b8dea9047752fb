//! Self-attention over the tokens of one text (Vaswani et al. 2017, "Attention Is All You Need").
//!
//! The products are computed in tiles of four rows and four columns, so that the compiler can use
//! vector instructions.

use crate::exponential::softmax;

/// Number of queries computed together, and of columns in a tile of a product.
const TILE: usize = 4;

/// Computes self-attention from `x` `[rows, 3 width]`, which holds each row's query, key and value,
/// into `out` `[rows, width]`.
///
/// The width is cut into `heads` equal parts. The scores are not scaled here: the weights of the
/// query must contain the scale.
///
/// # Panics
/// If the lengths do not fit, or `heads` does not divide the width.
pub fn attention(x: &[f32], width: usize, heads: usize, out: &mut [f32]) {
    let rows = out.len() / width;
    assert_eq!((out.len(), x.len(), width % heads), (rows * width, 3 * rows * width, 0));
    let head_width = width / heads;
    // Padded to whole tiles of columns: keys transposed, `[head_width, rows]`, and values,
    // `[rows, head_width]`.
    let (key_stride, value_stride) =
        (rows.next_multiple_of(TILE), head_width.next_multiple_of(TILE));
    let mut keys = vec![0.0; head_width * key_stride];
    let mut values = vec![0.0; rows * value_stride];
    let mut scores = vec![0.0; TILE * key_stride];
    let mut mixed = vec![0.0; TILE * value_stride];
    for head in (0..width).step_by(head_width) {
        let qkv = |row: usize, part_index: usize| {
            &x[(3 * row + part_index) * width + head..][..head_width]
        };
        for row in 0..rows {
            for (column, key) in qkv(row, 1).iter().enumerate() {
                keys[column * key_stride + row] = *key;
            }
            values[row * value_stride..][..head_width].copy_from_slice(qkv(row, 2));
        }
        for first in (0..rows).step_by(TILE) {
            let block = TILE.min(rows - first);
            // A block that is not full repeats its last row.
            let query_row = |i: usize| first + i.min(block - 1);
            multiply_rows(
                std::array::from_fn(|i| qkv(query_row(i), 0)),
                &keys,
                key_stride,
                &mut scores,
            );
            for scores in scores.chunks_exact_mut(key_stride) {
                softmax(&mut scores[..rows]);
            }
            let weights = std::array::from_fn(|i| &scores[i * key_stride..][..rows]);
            multiply_rows(weights, &values, value_stride, &mut mixed);
            for (i, mixed) in mixed.chunks_exact(value_stride).take(block).enumerate() {
                out[(first + i) * width + head..][..head_width]
                    .copy_from_slice(&mixed[..head_width]);
            }
        }
    }
}

/// Computes `out[i, j] = sum over k of a[i][k] b[k, j]` for four rows `a`. `columns` is a multiple
/// of the tile size.
fn multiply_rows(a: [&[f32]; TILE], b: &[f32], columns: usize, out: &mut [f32]) {
    // The equal lengths are visible to the compiler here, so it omits the checks within the loop.
    let depth = b.len() / columns;
    let [a0, a1, a2, a3] = a.map(|row| &row[..depth]);
    for first in (0..columns).step_by(TILE) {
        let mut sums = [[0.0; TILE]; TILE];
        let b = b.chunks_exact(columns).filter_map(|b| b[first..].first_chunk::<TILE>());
        for ((((b, a0), a1), a2), a3) in b.zip(a0).zip(a1).zip(a2).zip(a3) {
            for (sums, a) in sums.iter_mut().zip([a0, a1, a2, a3]) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
        for (out, sums) in out.chunks_exact_mut(columns).zip(sums) {
            out[first..first + TILE].copy_from_slice(&sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_the_value_of_the_key_it_asks_for() {
        // Two heads of width 1: the first attends strongly to row 1, the second to row 0.
        let x = [
            50.0, 50.0, -1.0, 1.0, 10.0, 20.0, // row 0: query, key, value
            50.0, 50.0, 1.0, -1.0, 30.0, 40.0, // row 1
        ];
        let mut out = [f32::NAN; 4];
        attention(&x, 2, 2, &mut out);
        assert_eq!(out, [30.0, 20.0, 30.0, 20.0]);
    }

    #[test]
    fn equals_the_definition_at_every_shape() {
        for (rows, width, heads) in
            [(1, 4, 1), (2, 6, 2), (3, 12, 2), (5, 10, 2), (8, 8, 1), (13, 24, 3)]
        {
            let x: Vec<f32> =
                (0..rows * 3 * width).map(|i| (i * i % 23) as f32 / 9.0 - 1.2).collect();
            let mut out = vec![f32::NAN; rows * width];
            attention(&x, width, heads, &mut out);
            let head_width = width / heads;
            let qkv_at = |row: usize, part_index: usize, i: usize| {
                f64::from(x[(3 * row + part_index) * width + i])
            };
            for (index, got) in out.iter().enumerate() {
                let (row, column) = (index / width, index % width);
                let head = column / head_width * head_width;
                let exponentials: Vec<f64> = (0..rows)
                    .map(|key| {
                        (0..head_width)
                            .map(|i| qkv_at(row, 0, head + i) * qkv_at(key, 1, head + i))
                            .sum::<f64>()
                            .exp()
                    })
                    .collect();
                let sum: f64 = exponentials.iter().sum();
                let exact: f64 =
                    (0..rows).map(|key| exponentials[key] / sum * qkv_at(key, 2, column)).sum();
                assert!(
                    (f64::from(*got) - exact).abs() < 1e-5,
                    "{rows} {width} {heads}: {got} {exact}"
                );
            }
        }
    }

    #[test]
    fn equal_keys_share_alike() {
        let x = [1.0, 0.0, 2.0, 7.0, 0.0, 4.0, -3.0, 0.0, 9.0];
        let mut out = [f32::NAN; 3];
        attention(&x, 1, 1, &mut out);
        assert!(out.iter().all(|value| (value - 5.0).abs() < 1e-6), "{out:?}");
    }
}
