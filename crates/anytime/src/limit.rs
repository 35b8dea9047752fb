//! One rate against a limit that does not move.
//!
//! Hypothesis: in every block the chance of a hit is at most `limit` (or at least, on the low side).
//! Against it stands a chance `p1` beyond the limit: `(p1/p0)^x ((1-p1)/(1-p0))^(n-x)`, Wald's likelihood
//! ratio (1945, "Sequential tests of statistical hypotheses"), is 1 in expectation at the limit and less
//! inside it.

use super::{GRID, GROWTH, Part, ln};

/// For each multiple in [`GROWTH`]: the logarithm of the e-value of one block against "at most `limit`".
/// A multiple that is no chance stands half way between the limit and 1. `limit` lies between 0 and 1.
pub fn too_high(part: Part, limit: f64) -> [f64; GRID] {
    GROWTH.map(|multiple| ln_likelihood(part, limit, (multiple * limit).min((1.0 + limit) / 2.0)))
}

/// The same against "at least `limit`".
pub fn too_low(part: Part, limit: f64) -> [f64; GRID] {
    GROWTH.map(|multiple| ln_likelihood(part, limit, limit / multiple))
}

/// Among requests where one of two models was bad: against "as often the canary as stable". The pair is
/// drawn together, so no rate of the traffic matters (McNemar 1947, Psychometrika 12:153–157).
pub fn worse_of_pairs(canary_only: u64, stable_only: u64) -> [f64; GRID] {
    let part = Part::new(canary_only, canary_only.saturating_add(stable_only));
    GROWTH.map(|odds| ln_likelihood(part, 0.5, odds / (1.0 + odds)))
}

/// `ln((p1/p0)^x ((1-p1)/(1-p0))^(n-x))`.
pub fn ln_likelihood(part: Part, p0: f64, p1: f64) -> f64 {
    let misses = part.of.saturating_sub(part.hits) as f64;
    part.hits as f64 * ln(p1 / p0) + misses * ln((1.0 - p1) / (1.0 - p0))
}

/// Kullback and Leibler's divergence of one request at chance `p` from the limit `p0`: the nats that the
/// best alternative gains on average (1951, Ann. Math. Statist. 22:79–86).
pub fn divergence(p: f64, p0: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * ln(a / b) } else { 0.0 };
    term(p, p0) + term(1.0 - p, 1.0 - p0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exp, ln_gamma};

    fn mean(n: u64, p: f64, e: impl Fn(Part) -> f64) -> f64 {
        let chance = |x: u64| {
            let choose = ln_gamma(n as f64 + 1.0)
                - ln_gamma(x as f64 + 1.0)
                - ln_gamma((n - x) as f64 + 1.0);
            exp(choose) * p.powi(x as i32) * (1.0 - p).powi((n - x) as i32)
        };
        (0..=n).map(|x| chance(x) * exp(e(Part::new(x, n)))).sum()
    }

    #[test]
    fn the_expectation_is_one_at_the_limit_and_less_inside() {
        for limit in [0.005, 0.02, 0.25, 0.9] {
            for at in 0..GRID {
                let high = |p| mean(20, p, |part| too_high(part, limit)[at]);
                let low = |p| mean(20, p, |part| too_low(part, limit)[at]);
                assert!((high(limit) - 1.0).abs() < 1e-11, "{limit} {at}");
                assert!((low(limit) - 1.0).abs() < 1e-11, "{limit} {at}");
                assert!(high(limit * 0.9) < 1.0 && low(limit + 0.1 * (1.0 - limit)) < 1.0);
            }
        }
    }

    #[test]
    fn the_divergence_of_five_from_two_percent_is_as_published() {
        // shared/statistics.md, 4.3: 0.0163 nats a request, so 840 requests for 13.7 nats.
        assert!((divergence(0.05, 0.02) - 0.0163).abs() < 5e-5);
        assert_eq!(divergence(0.02, 0.02), 0.0);
        assert!((divergence(0.0, 0.5) - ln(2.0)).abs() < 1e-15);
    }

    #[test]
    fn a_pair_says_nothing_unless_the_two_differ() {
        assert_eq!(worse_of_pairs(0, 0), [0.0; GRID]);
        assert!(worse_of_pairs(30, 10)[3] > 5.0);
        assert!(worse_of_pairs(10, 30)[3] < -5.0);
        let balanced = mean(9, 0.5, |part| worse_of_pairs(part.hits, part.of - part.hits)[4]);
        assert!((balanced - 1.0).abs() < 1e-12);
    }
}
