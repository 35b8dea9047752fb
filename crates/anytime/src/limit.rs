//! Tests one rate against a fixed limit.
//!
//! The hypothesis is that the chance of a hit is at most `limit` in every block (or at least
//! `limit`, on the low side). The alternative is a chance `p1` beyond the limit. Wald's likelihood
//! ratio `(p1/p0)^x ((1-p1)/(1-p0))^(n-x)` (1945, "Sequential tests of statistical hypotheses") has
//! expectation 1 at the limit and less inside it.

use super::{ALTERNATIVE_COUNT, ALTERNATIVE_RATIOS, Proportion, ln};

/// Returns one ln e-value for each multiple in [`ALTERNATIVE_RATIOS`]: the evidence of one block
/// against "at most `limit`".
///
/// The alternative is at most half way between `limit` and 1, so that it stays a chance. `limit`
/// lies between 0 and 1, both excluded.
pub fn ln_e_above_limit(proportion: Proportion, limit: f64) -> [f64; ALTERNATIVE_COUNT] {
    ALTERNATIVE_RATIOS.map(|multiple| {
        ln_likelihood_ratio(proportion, limit, (multiple * limit).min((1.0 + limit) / 2.0))
    })
}

/// Returns one ln e-value for each ratio in [`ALTERNATIVE_RATIOS`], against "at least `limit`".
pub fn ln_e_below_limit(proportion: Proportion, limit: f64) -> [f64; ALTERNATIVE_COUNT] {
    ALTERNATIVE_RATIOS.map(|multiple| ln_likelihood_ratio(proportion, limit, limit / multiple))
}

/// Returns ln e-values against "the canary is bad as often as stable", among requests where exactly
/// one of the two models was bad.
///
/// Both answers belong to the same request, so the rates of the traffic do not matter (McNemar
/// 1947, Psychometrika 12:153–157).
pub fn ln_e_mcnemar(canary_only: u64, stable_only: u64) -> [f64; ALTERNATIVE_COUNT] {
    let canary_only_proportion =
        Proportion::new(canary_only, canary_only.saturating_add(stable_only));
    ALTERNATIVE_RATIOS
        .map(|odds| ln_likelihood_ratio(canary_only_proportion, 0.5, odds / (1.0 + odds)))
}

/// Returns Wald's log likelihood ratio, `ln((p1/p0)^x ((1-p1)/(1-p0))^(n-x))`.
pub fn ln_likelihood_ratio(proportion: Proportion, p0: f64, p1: f64) -> f64 {
    let misses = proportion.samples.saturating_sub(proportion.hits) as f64;
    proportion.hits as f64 * ln(p1 / p0) + misses * ln((1.0 - p1) / (1.0 - p0))
}

/// Returns Kullback and Leibler's divergence of one request at chance `p` from the limit `p0`, in
/// nats. The best alternative gains that much on average (1951, Ann. Math. Statist. 22:79–86).
pub fn bernoulli_kl_divergence(p: f64, p0: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * ln(a / b) } else { 0.0 };
    term(p, p0) + term(1.0 - p, 1.0 - p0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exp, ln_gamma};

    fn expected_e_value(n: u64, p: f64, e: impl Fn(Proportion) -> f64) -> f64 {
        let chance = |x: u64| {
            let choose = ln_gamma(n as f64 + 1.0)
                - ln_gamma(x as f64 + 1.0)
                - ln_gamma((n - x) as f64 + 1.0);
            exp(choose) * p.powi(x as i32) * (1.0 - p).powi((n - x) as i32)
        };
        (0..=n).map(|x| chance(x) * exp(e(Proportion::new(x, n)))).sum()
    }

    #[test]
    fn the_expectation_is_one_at_the_limit_and_less_inside() {
        for limit in [0.005, 0.02, 0.25, 0.9] {
            for index in 0..ALTERNATIVE_COUNT {
                let high = |p| {
                    expected_e_value(20, p, |proportion| ln_e_above_limit(proportion, limit)[index])
                };
                let low = |p| {
                    expected_e_value(20, p, |proportion| ln_e_below_limit(proportion, limit)[index])
                };
                assert!((high(limit) - 1.0).abs() < 1e-11, "{limit} {index}");
                assert!((low(limit) - 1.0).abs() < 1e-11, "{limit} {index}");
                assert!(high(limit * 0.9) < 1.0 && low(limit + 0.1 * (1.0 - limit)) < 1.0);
            }
        }
    }

    #[test]
    fn the_divergence_of_five_from_two_percent_is_as_published() {
        // 0.0163 nats a request, so 840 requests gain 13.7 nats.
        assert!((bernoulli_kl_divergence(0.05, 0.02) - 0.0163).abs() < 5e-5);
        assert_eq!(bernoulli_kl_divergence(0.02, 0.02), 0.0);
        assert!((bernoulli_kl_divergence(0.0, 0.5) - ln(2.0)).abs() < 1e-15);
    }

    #[test]
    fn a_pair_says_nothing_unless_the_two_differ() {
        assert_eq!(ln_e_mcnemar(0, 0), [0.0; ALTERNATIVE_COUNT]);
        assert!(ln_e_mcnemar(30, 10)[3] > 5.0);
        assert!(ln_e_mcnemar(10, 30)[3] < -5.0);
        let balanced = expected_e_value(9, 0.5, |proportion| {
            ln_e_mcnemar(proportion.hits, proportion.samples - proportion.hits)[4]
        });
        assert!((balanced - 1.0).abs() < 1e-12);
    }
}
