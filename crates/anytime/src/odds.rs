//! Compares two rates minute by minute, without a model of either: the stratified conditional odds
//! test.
//!
//! In one block of traffic the canary has `x1` hits of `n1`, and stable has `x0` of `n0`. Given the
//! sum `k = x1 + x0` and equal rates, `x1` is hypergeometric, whatever the rate is. With an odds
//! ratio `w` it is Fisher's noncentral hypergeometric. Their quotient is `w^x1 / M(w)`, with
//! `M(w) = E[w^x1]` at equal rates. Its expectation is 1 when the ratio is 1, and less below 1. So
//! products over blocks are e-processes, although rates drift and shares change between the blocks.
//!
//! Sources: Turner & Grünwald 2023, stratified counts, <https://arxiv.org/abs/2302.11401>. With
//! `k = 1` it is the safe log-rank test, ter Schure et al. 2020,
//! <https://arxiv.org/abs/2011.06931>.

use super::change_point::HexFloats;
use super::{ALTERNATIVE_COUNT, ALTERNATIVE_RATIOS, Proportion, ln, ln_gamma};

/// Highest odds ratio, canary over stable, that still counts as "not worse".
pub const NON_INFERIORITY_MARGIN: f64 = 1.5;

/// Odds ratios that the proof of "not worse" bets on.
pub const NON_INFERIORITY_ALTERNATIVES: [f64; 3] = [0.8, 1.0, 1.1];

/// Returns one ln e-value for each ratio in [`ALTERNATIVE_RATIOS`]: the evidence of one block
/// against "the canary's odds are no higher".
pub fn ln_e_higher_odds(canary: Proportion, stable: Proportion) -> [f64; ALTERNATIVE_COUNT] {
    ALTERNATIVE_RATIOS.map(|ratio| ln_likelihood_ratio(canary, stable, ratio))
}

/// Returns one ln e-value for each ratio in [`ALTERNATIVE_RATIOS`], against "the canary's odds are
/// no lower".
pub fn ln_e_lower_odds(canary: Proportion, stable: Proportion) -> [f64; ALTERNATIVE_COUNT] {
    ALTERNATIVE_RATIOS.map(|ratio| ln_likelihood_ratio(canary, stable, 1.0 / ratio))
}

/// Returns ln e-values against "the canary's odds are at most `tolerated` times as high". The
/// alternatives are `tolerated` times each ratio in [`ALTERNATIVE_RATIOS`].
pub fn ln_e_above_margin(
    canary: Proportion,
    stable: Proportion,
    tolerated: f64,
) -> [f64; ALTERNATIVE_COUNT] {
    let null = ln_likelihood_ratio(canary, stable, tolerated);
    ALTERNATIVE_RATIOS.map(|ratio| ln_likelihood_ratio(canary, stable, ratio * tolerated) - null)
}

/// Returns one ln e-value for each ratio in [`NON_INFERIORITY_ALTERNATIVES`], against "the canary's
/// odds are at least `limit` times as high".
pub fn ln_e_non_inferior(
    canary: Proportion,
    stable: Proportion,
    limit: f64,
) -> [f64; NON_INFERIORITY_ALTERNATIVES.len()] {
    let null = ln_likelihood_ratio(canary, stable, limit);
    NON_INFERIORITY_ALTERNATIVES.map(|ratio| ln_likelihood_ratio(canary, stable, ratio) - null)
}

/// Returns `ln(w^x1 / M(w))` for `w = ratio`; 0 when the block has one cohort only, no hit, or only
/// hits.
pub fn ln_likelihood_ratio(canary: Proportion, stable: Proportion, ratio: f64) -> f64 {
    let hits = canary.hits + stable.hits;
    if hits == 0
        || canary.samples == 0
        || stable.samples == 0
        || hits == canary.samples + stable.samples
    {
        return 0.0;
    }
    canary.hits as f64 * ln(ratio)
        - ln_hypergeometric_mgf(canary.samples, stable.samples, hits, ratio)
}

/// Returns `ln M(w)`, with `M(w) = sum_j C(n1, j) C(n0, k - j) / C(n1 + n0, k) w^j`.
///
/// The sum starts at its highest term, the mode of Fisher's noncentral hypergeometric law (Liao &
/// Rosen 2001, "Fast and stable algorithms for computing and sampling from the noncentral
/// hypergeometric distribution"). It goes both ways until the terms no longer count: about 17
/// standard deviations in all, not `k` terms.
pub fn ln_hypergeometric_mgf(n1: u64, n0: u64, k: u64, w: f64) -> f64 {
    let (low, high) = (k.saturating_sub(n0), k.min(n1));
    let mode = mode(n1, n0, k, w).clamp(low, high);
    let [a, b, c, m] = [n1, n0, k, mode].map(|count| count as f64);
    let ln_highest = ln_choose(a, m) + ln_choose(b, c - m) - ln_choose(a + b, c) + m * ln(w);
    let mut sum = 1.0;
    let (mut j, mut term) = (m, 1.0);
    while term > TERM_RATIO_MIN * sum && j < high as f64 {
        term *= w * (a - j) * (c - j) / ((j + 1.0) * (b - c + j + 1.0));
        j += 1.0;
        sum += term;
    }
    (j, term) = (m, 1.0);
    while term > TERM_RATIO_MIN * sum && j > low as f64 {
        term *= j * (b - c + j) / (w * (a - j + 1.0) * (c - j + 1.0));
        j -= 1.0;
        sum += term;
    }
    ln_highest + ln(sum)
}

/// Index of the highest term: the smaller root of
/// `(w - 1) j^2 - ((n1 + k + 2) w + n0 - k) j + (n1 + 1)(k + 1) w`.
fn mode(n1: u64, n0: u64, k: u64, w: f64) -> u64 {
    let [n1, n0, k] = [n1, n0, k].map(|count| count as f64);
    let a = w - 1.0;
    let b = (n1 + k + 2.0) * w + n0 - k;
    let c = (n1 + 1.0) * (k + 1.0) * w;
    (2.0 * c / (b + (b * b - 4.0 * a * c).max(0.0).sqrt())) as u64
}

/// Logarithm of the binomial coefficient, `ln C(n, k)`.
fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// Estimate of the odds ratio, canary over stable, by Mantel and Haenszel's sums over blocks.
///
/// Rates and shares may change between the blocks (Mantel & Haenszel 1959, J. Natl. Cancer Inst.
/// 22:719–748).
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct MantelHaenszelOddsRatio {
    /// Numerator (canary) and denominator (stable) of the ratio.
    sums: HexFloats<2>,
}

impl MantelHaenszelOddsRatio {
    /// Adds one block and returns the new sums. A block with one cohort only changes nothing.
    pub fn with_block(self, canary: Proportion, stable: Proportion) -> Self {
        let all = (canary.samples + stable.samples) as f64;
        if canary.samples == 0 || stable.samples == 0 {
            return self;
        }
        let product = |a: u64, b: u64| a as f64 * b as f64 / all;
        let [for_canary, for_stable] = self.sums.0;
        Self {
            sums: HexFloats([
                for_canary + product(canary.hits, stable.samples - stable.hits),
                for_stable + product(stable.hits, canary.samples - canary.hits),
            ]),
        }
    }

    /// Returns the odds ratio: `None` while both sums are 0, infinite while only stable's is.
    pub fn estimate(self) -> Option<f64> {
        let [for_canary, for_stable] = self.sums.0;
        (for_canary + for_stable > 0.0).then(|| for_canary / for_stable)
    }
}

/// Terms below this part of the sum do not change it.
const TERM_RATIO_MIN: f64 = 1e-17;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exp;

    fn proportion(hits: u64, samples: u64) -> Proportion {
        Proportion::new(hits, samples)
    }

    /// Computes the sum directly, with products instead of gamma functions.
    fn moment_by_products(n1: u64, n0: u64, k: u64, w: f64) -> f64 {
        let choose = |n: u64, k: u64| {
            if k > n {
                return 0.0;
            }
            (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product()
        };
        let term = |j: u64| choose(n1, j) * choose(n0, k - j) * w.powi(j as i32);
        (0..=k).map(term).sum::<f64>() / choose(n1 + n0, k)
    }

    #[test]
    fn the_lady_tasting_tea_has_its_published_distribution() {
        // Fisher 1935, "The Design of Experiments", chapter II: 1, 16, 36, 16 and 1 of 70.
        for w in [0.1, 0.5, 1.0, 2.0, 10.0_f64] {
            let expected =
                (1.0 + 16.0 * w + 36.0 * w.powi(2) + 16.0 * w.powi(3) + w.powi(4)) / 70.0;
            assert!(
                (exp(ln_hypergeometric_mgf(4, 4, 4, w)) / expected - 1.0).abs() < 1e-13,
                "w {w}"
            );
        }
    }

    #[test]
    fn one_hit_is_the_safe_log_rank_term() {
        for (n1, n0, w) in [(60, 540, 3.0), (1, 9_999, 1.25), (5_000, 5_000, 0.1)] {
            let expected = (w * n1 as f64 + n0 as f64) / (n1 + n0) as f64;
            assert!(
                (exp(ln_hypergeometric_mgf(n1, n0, 1, w)) / expected - 1.0).abs() < 1e-10,
                "{n1} {n0} {w}"
            );
        }
    }

    #[test]
    fn the_sum_is_the_one_written_out() {
        for (n1, n0) in [(1, 1), (3, 8), (8, 3), (60, 540), (300, 300), (100, 0), (0, 100)] {
            for k in [0, 1, 2, 5, 20, 100] {
                for w in [0.1, 0.2, 0.8, 1.0, 1.25, 3.0, 10.0] {
                    if k > n1 + n0 {
                        continue;
                    }
                    let (actual, expected) = (
                        ln_hypergeometric_mgf(n1, n0, k, w),
                        moment_by_products(n1, n0, k, w).ln(),
                    );
                    assert!(
                        (actual - expected).abs() < 1e-10,
                        "{n1} {n0} {k} {w}: {actual} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn thousands_of_hits_stay_finite_and_near_their_normal_limit() {
        // Close to w = 1, ln M(w) = mean ln w + variance (ln w)^2 / 2.
        let (n1, n0, k, w) = (6_000, 54_000, 15_000, 1.01_f64);
        let mean = k as f64 * 0.1;
        let variance = mean * 0.9 * (60_000.0 - k as f64) / 59_999.0;
        let expected = mean * w.ln() + variance * w.ln().powi(2) / 2.0;
        assert!((ln_hypergeometric_mgf(n1, n0, k, w) - expected).abs() < 1e-3);
        for w in [0.1, 10.0] {
            assert!(ln_hypergeometric_mgf(n1, n0, k, w).is_finite());
        }
    }

    /// Checks the law behind the whole test, by enumeration of every outcome of small blocks.
    #[test]
    fn the_expectation_is_one_at_equal_odds_and_less_below() {
        for (n1, n0, p) in [(1, 4, 0.3), (4, 6, 0.05), (7, 3, 0.5)] {
            for (ratio, mean_min, mean_max) in [(1.0, 1.0 - 1e-12, 1.0 + 1e-12), (0.6, 0.0, 1.0)] {
                let p1 = ratio * p / (1.0 - p + ratio * p);
                let binomial = |n: u64, p: f64, x: u64| {
                    exp(ln_choose(n as f64, x as f64))
                        * p.powi(x as i32)
                        * (1.0 - p).powi((n - x) as i32)
                };
                let mut means = [0.0; ALTERNATIVE_COUNT];
                for x1 in 0..=n1 {
                    for x0 in 0..=n0 {
                        let chance = binomial(n1, p1, x1) * binomial(n0, p, x0);
                        let ln_es = ln_e_higher_odds(proportion(x1, n1), proportion(x0, n0));
                        for (mean, ln_e) in means.iter_mut().zip(ln_es) {
                            *mean += chance * exp(ln_e);
                        }
                    }
                }
                for mean in means {
                    assert!((mean_min..=mean_max).contains(&mean), "{n1} {n0} {p} {ratio}: {mean}");
                }
            }
        }
    }

    #[test]
    fn without_the_moment_the_expectation_is_not_one() {
        // One hit among two requests of each cohort: it is the canary's with chance 1/2.
        let (hit, none) = (proportion(1, 2), proportion(0, 2));
        let mean =
            |e: &dyn Fn(Proportion, Proportion) -> f64| f64::midpoint(e(hit, none), e(none, hit));
        let fair = mean(&|canary, stable| exp(ln_likelihood_ratio(canary, stable, 3.0)));
        let unfair = mean(&|canary, _| 3.0_f64.powi(canary.hits as i32));
        assert!((fair - 1.0).abs() < 1e-12, "{fair}");
        assert_eq!(unfair, 2.0);
    }

    #[test]
    fn tests_against_a_margin_are_quotients_of_likelihoods() {
        let (canary, stable) = (proportion(7, 60), proportion(9, 540));
        let ln_ratio_at = |ratio| ln_likelihood_ratio(canary, stable, ratio);
        assert!(
            (ln_e_above_margin(canary, stable, 1.5)[2] - (ln_ratio_at(3.0) - ln_ratio_at(1.5)))
                .abs()
                < 1e-12
        );
        assert!(
            (ln_e_non_inferior(canary, stable, 1.5)[1] - (ln_ratio_at(1.0) - ln_ratio_at(1.5)))
                .abs()
                < 1e-12
        );
        assert!((ln_e_lower_odds(canary, stable)[2] - ln_ratio_at(0.5)).abs() < 1e-12);
        // Seven of 60 against nine of 540 speaks for "higher", and against "lower" and "not worse".
        assert!(ln_e_higher_odds(canary, stable)[3] > 4.0);
        assert!(
            ln_e_lower_odds(canary, stable)[3] < 0.0
                && ln_e_non_inferior(canary, stable, 1.5)[1] < 0.0
        );
    }

    #[test]
    fn blocks_without_two_sides_say_nothing() {
        for (canary, stable) in [
            (proportion(0, 0), proportion(3, 9)),
            (proportion(3, 9), proportion(0, 0)),
            (proportion(0, 9), proportion(0, 9)),
            (proportion(9, 9), proportion(9, 9)),
        ] {
            assert_eq!(ln_e_higher_odds(canary, stable), [0.0; ALTERNATIVE_COUNT]);
        }
    }

    #[test]
    fn the_odds_ratio_is_not_confused_by_a_share_that_grows_while_rates_fall() {
        // Simpson's paradox: both blocks have ratio 2, the plain sums do not.
        let first = (proportion(20, 110), proportion(100, 1_000));
        let second = (proportion(20, 1_010), proportion(1, 100));
        let ratio = |(canary, stable)| {
            MantelHaenszelOddsRatio::default().with_block(canary, stable).estimate()
        };
        assert_eq!(ratio(first), Some(2.0));
        assert_eq!(ratio(second), Some(2.0));
        let both_blocks = MantelHaenszelOddsRatio::default()
            .with_block(first.0, first.1)
            .with_block(second.0, second.1);
        assert!((both_blocks.estimate().unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(MantelHaenszelOddsRatio::default().estimate(), None);
    }
}
