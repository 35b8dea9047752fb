//! Compares the statistics with the distributions of `statrs`: sums over its probabilities, and
//! integrals over its densities, which follow the definitions and share no formula with this crate.
//!
//! A tolerance of a logarithm is absolute, and it is the relative one of its e-value. The gamma
//! functions leave an error of about 1e-16 times the counts, which is 1e-13 here. The sums and
//! integrals cause the rest.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::f64::consts::FRAC_PI_2;

use jeffrey_anytime::bounds::{
    BetaBinomialMixture, clopper_pearson_upper, normal_mixture_bound, normal_mixture_scale,
};
use jeffrey_anytime::odds::ln_hypergeometric_mgf;
use jeffrey_anytime::{Proportion, beta};
use proptest::prelude::*;
use statrs::distribution::{Beta, Binomial, Continuous, Discrete, Hypergeometric, Normal};

/// Steps of an integral. The steepest density below falls by a factor e within 40 of them, so that
/// Simpson's rule errs by about 40⁻⁴ / 180, or 2e-9.
const STEPS: usize = 30_000;

/// Integrates `exp(ln_density)` and returns the logarithm of the result, by Simpson's rule.
fn ln_integral(low: f64, high: f64, ln_density: impl Fn(f64) -> f64) -> f64 {
    let width = (high - low) / STEPS as f64;
    let logs: Vec<f64> = (0..=STEPS).map(|index| ln_density(low + width * index as f64)).collect();
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weighted = logs.iter().enumerate().map(|(index, log)| {
        let weight = match index {
            0 | STEPS => 1.0,
            index if index % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * (log - highest).exp()
    });
    highest + (weighted.sum::<f64>() * width / 3.0).ln()
}

/// Returns the logarithm of the mean of the likelihood ratio of a chance `q` against `p`, over a
/// Beta(`a`, `b`) prior of `q` above `q_min`; `a` and `b` are at least 0.5.
///
/// The integral runs over a `step` from 0 to 1, with `q = sin² angle` and an angle whose slope is 0
/// at both ends. A prior of `q^(a - 1)` becomes `step^(4a - 1)` there, so that it is finite at the
/// ends and what lies below `MARGIN` is less than 1e-12 of it.
fn ln_mean_likelihood_ratio(hits: u64, misses: u64, p: f64, (a, b): (f64, f64), q_min: f64) -> f64 {
    // Both ends would be the logarithm of 0.
    const MARGIN: f64 = 1e-6;
    let prior = Beta::new(a, b).unwrap();
    let lowest = q_min.sqrt().asin();
    let range = FRAC_PI_2 - lowest;
    let angle = |step: f64| lowest + range * step * step * (3.0 - 2.0 * step);
    let ln_weight = |step: f64| {
        let (sin, cos) = angle(step).sin_cos();
        prior.ln_pdf(sin * sin) + (2.0 * sin * cos).ln() + (6.0 * range * step * (1.0 - step)).ln()
    };
    let ln_ratio = |step: f64| {
        let (sin, cos) = angle(step).sin_cos();
        hits as f64 * (sin * sin / p).ln() + misses as f64 * (cos * cos / (1.0 - p)).ln()
    };
    ln_integral(MARGIN, 1.0 - MARGIN, |step| ln_weight(step) + ln_ratio(step))
        - ln_integral(MARGIN, 1.0 - MARGIN, ln_weight)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_sample_ratio_tests_are_means_of_likelihood_ratios(
        canary in 0_u64..400,
        stable in 0_u64..400,
        share in 0.02..0.98_f64,
        a in 1.0..30.0_f64,
        b in 1.0..30.0_f64,
    ) {
        let two_sided = beta::ln_e_two_sided(canary, stable, share, a, b);
        let expected = ln_mean_likelihood_ratio(canary, stable, share, (a, b), 0.0);
        prop_assert!((two_sided - expected).abs() < 1e-7, "{two_sided} instead of {expected}");
    }

    #[test]
    fn the_one_sided_test_is_a_mean_over_the_parts_above_the_share(
        canary in 0_u64..200,
        stable in 0_u64..200,
        share in 0.05..0.95_f64,
    ) {
        // A prior around the share, as the gates use it: neither side of it is empty.
        let (a, b) = (20.0 * share, 20.0 * (1.0 - share));
        let one_sided = beta::ln_e_one_sided(canary, stable, share, a, b);
        let expected = ln_mean_likelihood_ratio(canary, stable, share, (a, b), share);
        prop_assert!((one_sided - expected).abs() < 1e-7, "{one_sided} instead of {expected}");
    }

    #[test]
    fn the_beta_binomial_mixture_is_a_mean_of_likelihood_ratios(
        hits in 0_u64..300,
        misses in 1_u64..300,
        p in 0.05..0.95_f64,
        best_draws in 100.0..2_000.0_f64,
        one_sided in any::<bool>(),
    ) {
        let variance = p * (1.0 - p);
        let budget = 0.05;
        let mixture = BetaBinomialMixture::new(best_draws * variance, budget, p, 1.0 - p, one_sided);
        let draws = (hits + misses) as f64;
        let ln_e = mixture.ln_e(hits as f64 - p * draws, variance * draws);
        let normal_scale =
            normal_mixture_scale(best_draws * variance, if one_sided { 2.0 * budget } else { budget });
        let scale = (normal_scale - variance).max(1e-3 * variance);
        let q_min = if one_sided { p } else { 0.0 };
        let prior = (scale / (1.0 - p), scale / p);
        let expected = ln_mean_likelihood_ratio(hits, misses, p, prior, q_min);
        prop_assert!((ln_e - expected).abs() < 1e-7, "{ln_e} instead of {expected}");
    }

    #[test]
    fn the_normal_mixture_reaches_the_budget_at_its_bound(
        ln_v in -3.0..9.0_f64,
        ln_best in -3.0..9.0_f64,
        ln_budget in -12.0..-1.0_f64,
    ) {
        let (v, budget) = (ln_v.exp(), ln_budget.exp());
        let scale = normal_mixture_scale(ln_best.exp(), budget);
        let sum = normal_mixture_bound(v, budget, scale);
        let prior = Normal::new(0.0, scale.sqrt().recip()).unwrap();
        // The mean lies at sum / (v + scale), with this deviation.
        let (mean, deviation) = (sum / (v + scale), (v + scale).sqrt().recip());
        let ln_e = ln_integral(mean - 12.0 * deviation, mean + 12.0 * deviation, |tilt| {
            prior.ln_pdf(tilt) + tilt * sum - tilt * tilt * v / 2.0
        });
        prop_assert!((ln_e + ln_budget).abs() < 1e-9, "{ln_e} instead of {}", -ln_budget);
    }

    #[test]
    fn the_exact_interval_ends_where_so_few_hits_have_the_chance_of_the_error(
        samples in 1_u64..1_500,
        part in 0.0..1.0_f64,
        ln_error in -14.0..-0.5_f64,
    ) {
        let (hits, error) = ((part * samples as f64) as u64, ln_error.exp());
        let upper = clopper_pearson_upper(Proportion::new(hits, samples), error);
        let binomial = Binomial::new(upper, samples).unwrap();
        let chance: f64 = (0..=hits).map(|count| binomial.pmf(count)).sum();
        // Just below 1 the interval's end has few digits of its distance to 1, and the chance is
        // about that distance to the power of the misses.
        let rounding = (samples - hits) as f64 * f64::EPSILON / (1.0 - upper);
        prop_assert!(
            (chance / error - 1.0).abs() < 1e-8 + 2.0 * rounding,
            "{hits} of {samples}: {chance} {error}"
        );
    }

    #[test]
    fn the_moment_is_the_sum_over_the_hypergeometric_distribution(
        canary in 1_u64..1_500,
        stable in 1_u64..1_500,
        part in 0.0..1.0_f64,
        ln_ratio in -3.0..3.0_f64,
    ) {
        let hits = (part * (canary + stable) as f64) as u64;
        let law = Hypergeometric::new(canary + stable, canary, hits).unwrap();
        let logs: Vec<f64> = (hits.saturating_sub(stable)..=hits.min(canary))
            .map(|count| law.ln_pmf(count) + count as f64 * ln_ratio)
            .collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let expected = highest + logs.iter().map(|log| (log - highest).exp()).sum::<f64>().ln();
        let actual = ln_hypergeometric_mgf(canary, stable, hits, ln_ratio.exp());
        prop_assert!((actual - expected).abs() < 1e-9, "{actual} instead of {expected}");
    }
}
