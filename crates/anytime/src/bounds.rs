//! Bounds and confidence sequences from mixtures over normal and binomial deviations.
//!
//! Reports use them, and tests compare them with the figures of another implementation. The method
//! is that of Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic
//! confidence sequences", <https://arxiv.org/abs/1810.08240>. Their own code is `confseq`
//! (<https://github.com/gostevehoward/confseq>), whose tests give the known values below. `s` is a
//! sum of deviations and `v` its variance process. The e-value has expectation 1 at any time.

use super::beta::{incomplete_beta, ln_beta};
use super::{Proportion, ln};

/// Returns the scale of the normal mixture whose two-sided bound is lowest at `v_best`.
///
/// This is proposition 3 of the paper, in the approximation that `confseq` uses.
pub fn normal_mixture_scale(v_best: f64, budget: f64) -> f64 {
    let nats = 2.0 * ln(1.0 / budget);
    v_best / (nats + ln(1.0 + nats))
}

/// Returns how far a sum may deviate, either way, at variance `v`. The chance that it ever deviates
/// further is at most `budget`.
pub fn normal_mixture_bound(v: f64, budget: f64, scale: f64) -> f64 {
    ((v + scale) * (ln(1.0 + v / scale) + 2.0 * ln(1.0 / budget))).sqrt()
}

/// Beta mixture over deviations that go up by at most `up_max` and down by at most `down_max`.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomialMixture {
    down_max: f64,
    up_max: f64,
    scale: f64,
    is_one_sided: bool,
}

impl BetaBinomialMixture {
    /// Returns the mixture that is sharpest at variance `v_best` for this budget. Deviations go
    /// down by at most `g` and up by at most `h`.
    pub fn new(v_best: f64, budget: f64, g: f64, h: f64, one_sided: bool) -> Self {
        let scale = normal_mixture_scale(v_best, if one_sided { 2.0 * budget } else { budget });
        Self {
            down_max: g,
            up_max: h,
            scale: (scale - g * h).max(1e-3 * g * h),
            is_one_sided: one_sided,
        }
    }

    /// Returns the ln e-value of a sum `s` with variance `v`.
    pub fn ln_e(&self, s: f64, v: f64) -> f64 {
        let Self { down_max: g, up_max: h, scale, .. } = *self;
        let (range, ups, downs) = (g + h, (v + h * s) / h, (v - g * s) / g);
        v / (g * h) * ln(range) - ups / range * ln(g) - downs / range * ln(h)
            + self.ln_mass((scale + v - g * s) / (g * range), (scale + v + h * s) / (h * range))
            - self.ln_mass(scale / (g * range), scale / (h * range))
    }

    /// Returns how far the sum may go up at variance `v`. The chance that it ever goes further is
    /// at most `budget`.
    pub fn bound(&self, v: f64, budget: f64) -> f64 {
        let threshold = ln(1.0 / budget);
        bisect_crossing(0.0, v / self.down_max, |s| self.ln_e(s, v) > threshold)
    }

    /// Logarithm of the beta function. A one-sided mixture counts only the upward side of its mass.
    fn ln_mass(&self, a: f64, b: f64) -> f64 {
        let mass = if self.is_one_sided {
            incomplete_beta(a, b, self.up_max / (self.down_max + self.up_max))
        } else {
            1.0
        };
        ln(mass) + ln_beta(a, b)
    }
}

/// Returns the confidence sequence of a chance as `(low, high)`.
///
/// It contains the true chance at all times, except with a chance of `budget`. The mixture is
/// sharpest at `n_best` draws, for a budget of 0.05. Without a draw the result is `(0.0, 1.0)`.
pub fn bernoulli_confidence_sequence(
    proportion: Proportion,
    budget: f64,
    n_best: f64,
) -> (f64, f64) {
    let Some(rate) = proportion.rate() else { return (0.0, 1.0) };
    let n = proportion.samples as f64;
    let is_outside = |p: f64| {
        let variance = p * (1.0 - p);
        let mixture = BetaBinomialMixture::new(variance * n_best, 0.05, p, 1.0 - p, false);
        mixture.ln_e((rate - p) * n, variance * n) > ln(1.0 / budget)
    };
    (
        1.0 - bisect_crossing(1.0 - rate, 1.0, |q| is_outside(1.0 - q)),
        bisect_crossing(rate, 1.0, is_outside),
    )
}

/// Returns the upper end of Clopper & Pearson's one-sided interval (1934, Biometrika 26:404–413):
/// the highest chance that is still compatible with the draws.
///
/// It holds for a number of draws fixed in advance, not for repeated looks.
pub fn clopper_pearson_upper(proportion: Proportion, error: f64) -> f64 {
    let (hits, misses) =
        (proportion.hits as f64, proportion.samples.saturating_sub(proportion.hits) as f64);
    if misses == 0.0 {
        return 1.0;
    }
    bisect_crossing(0.0, 1.0, |p| incomplete_beta(hits + 1.0, misses, p) > 1.0 - error)
}

/// Returns where `is_beyond` becomes true between `low` and `high`, by halving the interval.
fn bisect_crossing(mut low: f64, mut high: f64, is_beyond: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS_MAX {
        let middle = low.midpoint(high);
        if middle > low && middle < high {
            if is_beyond(middle) { high = middle } else { low = middle }
        }
    }
    low.midpoint(high)
}

/// Number of halvings: an `f64` has 53 bits of precision.
const HALVINGS_MAX: u32 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() < tolerance, "{actual} instead of {expected}");
    }

    #[test]
    fn the_normal_mixture_has_the_known_scale_and_bound() {
        let scale = normal_mixture_scale(100.0, 0.05);
        assert_near(scale, 12.60056, 5e-6);
        assert_near(normal_mixture_bound(100.0, 0.05, scale), 30.35209, 5e-6);
    }

    #[test]
    fn the_beta_binomial_mixture_has_the_known_bound() {
        let mixture = BetaBinomialMixture::new(100.0, 0.05, 0.2, 0.8, true);
        assert_near(mixture.bound(100.0, 0.05), 28.41238, 5e-6);
    }

    #[test]
    fn the_bernoulli_confidence_sequence_has_the_known_ends() {
        let (low, high) = bernoulli_confidence_sequence(Proportion::new(700, 1_000), 0.05, 100.0);
        assert_near(low, 0.651_629, 1e-6);
        assert_near(high, 0.745_949, 1e-6);
    }

    #[test]
    fn the_exact_interval_has_its_known_ends() {
        // Zero hits of n: 1 - 0.05^(1/n), about 3 / n. One hit of two: sqrt(0.95).
        assert_near(
            clopper_pearson_upper(Proportion::new(0, 100), 0.05),
            1.0 - 0.05_f64.powf(0.01),
            1e-9,
        );
        assert_near(clopper_pearson_upper(Proportion::new(1, 2), 0.05), 0.95_f64.sqrt(), 1e-9);
        assert_eq!(clopper_pearson_upper(Proportion::new(3, 3), 0.05), 1.0);
    }

    #[test]
    fn nothing_seen_excludes_nothing() {
        assert_eq!(bernoulli_confidence_sequence(Proportion::default(), 0.05, 100.0), (0.0, 1.0));
        let (low, high) = bernoulli_confidence_sequence(Proportion::new(0, 100), 0.05, 100.0);
        assert!(low < 1e-9 && high < 0.1, "{low} {high}");
    }
}
