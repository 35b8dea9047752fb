//! Ten thousand evidence values on drawn counts, and a hash of all their bits.
//!
//! A replayed gate decision must have the same bits natively and in wasm. The hash on record is in
//! `tests/wasm/src/evidence.txt`.

use jeffrey_anytime::change_point::{ChangePointEProcess, EDetector, ProductEProcess};
use jeffrey_anytime::odds::NON_INFERIORITY_MARGIN;
use jeffrey_anytime::{
    MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT, Proportion, beta, bounds, limit, odds,
};

/// Returns the 64-bit FNV-1a hash of all values.
#[cfg_attr(target_arch = "wasm32", allow(unsafe_code, reason = "an export that any host can call"))]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub extern "C" fn evidence_digest() -> u64 {
    let mut seed = 1;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut fold_value = |value: f64| {
        for byte in value.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let (mut two_sample, mut absolute) = (ChangePointEProcess::new(), ChangePointEProcess::new());
    let (mut detector, mut not_worse) = (EDetector::new(), ProductEProcess::new());
    for minute in 0..1_250_u64 {
        // Up to sixty thousand requests a minute, and any rate.
        let canary = draw_proportion(&mut seed, 6_000);
        let stable = draw_proportion(&mut seed, 54_000);
        let canary_events = Proportion::new(canary.hits % 20, canary.samples);
        let stable_events = Proportion::new(stable.hits % 90, stable.samples);
        two_sample.fold_block(1.0 / 1_440.0, &odds::ln_e_higher_odds(canary_events, stable_events));
        absolute.fold_block(1.0 / 1_440.0, &limit::ln_e_above_limit(canary_events, 0.02));
        detector.fold_block(&limit::ln_e_below_limit(canary_events, 0.005));
        not_worse.fold_block(&odds::ln_e_non_inferior(
            canary_events,
            stable_events,
            NON_INFERIORITY_MARGIN,
        ));
        fold_value(two_sample.ln_e(&MIXTURE_WEIGHTS_EQUAL));
        fold_value(absolute.ln_e(&MIXTURE_WEIGHTS_NEAR_LIMIT));
        fold_value(detector.ln_e(&MIXTURE_WEIGHTS_NEAR_LIMIT));
        fold_value(not_worse.ln_e());
        fold_value(odds::ln_likelihood_ratio(canary, stable, 3.0));
        fold_value(beta::ln_e_one_sided(canary_events.hits, stable_events.hits, 0.1, 2.0, 18.0));
        fold_value(beta::ln_e_sample_ratio(canary.hits, stable.hits, 0.1));
        fold_value(bounds::normal_mixture_bound(minute as f64 + 1.0, 0.01, 12.6));
    }
    hash
}

/// Draws a total from 1 to `total_max`, and a number of hits from 0 to that total.
fn draw_proportion(seed: &mut u64, total_max: u64) -> Proportion {
    let total = 1 + next_random(seed) % total_max;
    Proportion::new(next_random(seed) % (total + 1), total)
}

/// Returns 31 bits of a linear congruential generator (Knuth's MMIX).
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
