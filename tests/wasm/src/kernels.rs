//! Every kernel on drawn numbers, and a hash of all the bits that come out.
//!
//! The arithmetic must give the same bits on every platform. The hash on record is in
//! `tests/wasm/src/kernels.txt`.

use jeffrey_kernels::{
    EmbeddingTable, QuantizedLinear, add, attention, attention_and_max_pool, exp,
    gated_convolution, layer_norm, relu,
};

/// Returns the 64-bit FNV-1a hash of all outputs.
#[cfg_attr(target_arch = "wasm32", allow(unsafe_code, reason = "an export that any host can call"))]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub extern "C" fn kernels_digest() -> u64 {
    let mut seed = 1;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut fold_values = |values: &[f32]| {
        for byte in values.iter().flat_map(|value| value.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (rows, width, heads) in
        [(1, 8, 1), (2, 12, 3), (5, 192, 4), (16, 192, 4), (67, 48, 2), (3, 259, 7)]
    {
        let table: Vec<i8> = (0..50 * width).map(|_| next_random(&mut seed) as i8).collect();
        let table =
            EmbeddingTable::new(table, draw_floats(&mut seed, width)).expect("lengths that fit");
        let ids: Vec<i64> = (0..rows).map(|_| i64::from(next_random(&mut seed) % 50)).collect();
        let mut x = vec![0.0; rows * width];
        table.lookup(&ids, &mut x).expect("ids in the table");
        fold_values(&x);
        let mut normed = vec![0.0; x.len()];
        layer_norm(&x, &draw_floats(&mut seed, width), 1e-5, &mut normed);
        fold_values(&normed);
        let qkv = run_linear(&mut seed, width, 3 * width, &normed);
        fold_values(&qkv);
        attention(&qkv, width, heads, &mut x);
        fold_values(&x);
        let gated = run_linear(&mut seed, width, 2 * width, &x);
        let taps = draw_floats(&mut seed, 7 * width);
        let mut mixed = vec![0.0; rows * width];
        gated_convolution(&gated, &taps, &draw_floats(&mut seed, width), &mut mixed);
        fold_values(&mixed);
        add(&mut mixed, &normed);
        relu(&mut mixed);
        let mut pooled = vec![0.0; 2 * width];
        attention_and_max_pool(&mixed, &draw_floats(&mut seed, width), &mut pooled);
        fold_values(&pooled);
    }
    let raised: Vec<f32> = (-9_000..9_000).map(|i| exp(i as f32 * 0.011)).collect();
    fold_values(&raised);
    hash
}

fn run_linear(seed: &mut u64, inputs: usize, outputs: usize, x: &[f32]) -> Vec<f32> {
    let weights: Vec<i8> = (0..inputs * outputs).map(|_| next_random(seed) as i8).collect();
    let scale: Vec<f32> = draw_floats(seed, outputs).iter().map(|value| value * 0.01).collect();
    let layer = QuantizedLinear::new(inputs, &weights, &scale, &draw_floats(seed, outputs))
        .expect("lengths that fit");
    let mut out = vec![0.0; x.len() / inputs * outputs];
    layer.forward(x, &mut out);
    out
}

/// Draws `count` floats between -1 and 1.
fn draw_floats(seed: &mut u64, count: usize) -> Vec<f32> {
    (0..count).map(|_| next_random(seed) as f32 / (1u32 << 30) as f32 - 1.0).collect()
}

/// Returns 31 bits of a linear congruential generator (Knuth's MMIX).
fn next_random(seed: &mut u64) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as u32
}
