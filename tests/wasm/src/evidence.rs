//! Ten thousand evidence values on drawn counts, and a hash of all their bits.
//!
//! A decision of the gates has to replay to the same bits natively and in wasm.

use jeffrey_anytime::odds::NOT_WORSE;
use jeffrey_anytime::starts::{Detector, Product, Starts};
use jeffrey_anytime::{EVEN, NEAR, Part, beta, bounds, limit, odds};

/// 64 bits, FNV-1a over all values.
#[cfg_attr(target_arch = "wasm32", allow(unsafe_code, reason = "an export that any host can call"))]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub extern "C" fn evidence_digest() -> u64 {
    let mut seed = 1;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |value: f64| {
        for byte in value.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let (mut two_sample, mut absolute) = (Starts::new(), Starts::new());
    let (mut detector, mut not_worse) = (Detector::new(), Product::new());
    for minute in 0..1_250_u64 {
        // Up to sixty thousand requests a minute, and any rate.
        let canary = part(&mut seed, 6_000);
        let stable = part(&mut seed, 54_000);
        let few = Part::new(canary.hits % 20, canary.of);
        let others = Part::new(stable.hits % 90, stable.of);
        two_sample.fold(1.0 / 1_440.0, &odds::higher(few, others));
        absolute.fold(1.0 / 1_440.0, &limit::too_high(few, 0.02));
        detector.fold(&limit::too_low(few, 0.005));
        not_worse.fold(&odds::not_worse(few, others, NOT_WORSE));
        take(two_sample.ln_e(&EVEN));
        take(absolute.ln_e(&NEAR));
        take(detector.ln_e(&NEAR));
        take(not_worse.ln_e());
        take(odds::ln_likelihood(canary, stable, 3.0));
        take(beta::one_sided(few.hits, others.hits, 0.1, 2.0, 18.0));
        take(beta::sample_ratio(canary.hits, stable.hits, 0.1));
        take(bounds::normal_bound(minute as f64 + 1.0, 0.01, 12.6));
    }
    hash
}

/// Some hits of at least one, up to so many.
fn part(seed: &mut u64, of: u64) -> Part {
    let of = 1 + draw(seed) % of;
    Part::new(draw(seed) % (of + 1), of)
}

/// 31 bits of a linear congruential generator (Knuth's MMIX).
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
