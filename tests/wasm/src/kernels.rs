//! Every kernel on drawn numbers, and a hash of all the bits that come out.
//!
//! The arithmetic is meant to give the same bits on every platform.

use jeffrey_kernels::{
    Linear, Table, add, attention, exp, gated_convolution, layer_norm, pool, relu,
};

/// 64 bits, FNV-1a over all outputs.
#[cfg_attr(target_arch = "wasm32", allow(unsafe_code, reason = "an export that any host can call"))]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub extern "C" fn kernels_digest() -> u64 {
    let mut seed = 1;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |values: &[f32]| {
        for byte in values.iter().flat_map(|value| value.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (rows, width, heads) in
        [(1, 8, 1), (2, 12, 3), (5, 192, 4), (16, 192, 4), (67, 48, 2), (3, 259, 7)]
    {
        let table: Vec<i8> = (0..50 * width).map(|_| draw(&mut seed) as i8).collect();
        let table = Table::new(table, floats(&mut seed, width)).expect("lengths that fit");
        let ids: Vec<i64> = (0..rows).map(|_| i64::from(draw(&mut seed) % 50)).collect();
        let mut x = vec![0.0; rows * width];
        table.run(&ids, &mut x).expect("ids in the table");
        take(&x);
        let mut normed = vec![0.0; x.len()];
        layer_norm(&x, &floats(&mut seed, width), 1e-5, &mut normed);
        take(&normed);
        let wide = linear(&mut seed, width, 3 * width, &normed);
        take(&wide);
        attention(&wide, width, heads, &mut x);
        take(&x);
        let both = linear(&mut seed, width, 2 * width, &x);
        let taps = floats(&mut seed, 7 * width);
        let mut mixed = vec![0.0; rows * width];
        gated_convolution(&both, &taps, &floats(&mut seed, width), &mut mixed);
        take(&mixed);
        add(&mut mixed, &normed);
        relu(&mut mixed);
        let mut pooled = vec![0.0; 2 * width];
        pool(&mixed, &floats(&mut seed, width), &mut pooled);
        take(&pooled);
    }
    let raised: Vec<f32> = (-9_000..9_000).map(|i| exp(i as f32 * 0.011)).collect();
    take(&raised);
    hash
}

fn linear(seed: &mut u64, inputs: usize, outputs: usize, x: &[f32]) -> Vec<f32> {
    let weights: Vec<i8> = (0..inputs * outputs).map(|_| draw(seed) as i8).collect();
    let scale: Vec<f32> = floats(seed, outputs).iter().map(|value| value * 0.01).collect();
    let layer =
        Linear::new(inputs, &weights, &scale, &floats(seed, outputs)).expect("lengths that fit");
    let mut out = vec![0.0; x.len() / inputs * outputs];
    layer.run(x, &mut out);
    out
}

/// Between -1 and 1.
fn floats(seed: &mut u64, count: usize) -> Vec<f32> {
    (0..count).map(|_| draw(seed) as f32 / (1u32 << 30) as f32 - 1.0).collect()
}

/// 31 bits of a linear congruential generator (Knuth's MMIX).
fn draw(seed: &mut u64) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as u32
}
