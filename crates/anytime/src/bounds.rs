//! Mixtures over normal and binomial deviations, and what they bound: for reports, and to be compared
//! with the figures of another implementation.
//!
//! After Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
//! sequences", <https://arxiv.org/abs/1810.08240>; their own code is `confseq`
//! (<https://github.com/gostevehoward/confseq>), whose tests give the known values below. `s` is a sum of
//! deviations, `v` its variance process; evidence is 1 in expectation at any time.

use super::beta::{incomplete_beta, ln_beta};
use super::{Proportion, ln};

/// The scale of a normal mixture that makes its two-sided bound lowest at `v_best` (their
/// proposition 3, in the approximation used by `confseq`).
pub fn normal_mixture_scale(v_best: f64, budget: f64) -> f64 {
    let nats = 2.0 * ln(1.0 / budget);
    v_best / (nats + ln(1.0 + nats))
}

/// How far a sum may deviate, either way: crossed with a chance of at most `budget`, ever.
pub fn normal_mixture_bound(v: f64, budget: f64, scale: f64) -> f64 {
    ((v + scale) * (ln(1.0 + v / scale) + 2.0 * ln(1.0 / budget))).sqrt()
}

/// A beta mixture over deviations that go up by at most `h` and down by at most `g`.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomialMixture {
    down_max: f64,
    up_max: f64,
    scale: f64,
    is_one_sided: bool,
}

impl BetaBinomialMixture {
    /// The mixture that is sharpest at `v_best` for this budget.
    pub fn new(v_best: f64, budget: f64, g: f64, h: f64, one_sided: bool) -> Self {
        let scale = normal_mixture_scale(v_best, if one_sided { 2.0 * budget } else { budget });
        Self {
            down_max: g,
            up_max: h,
            scale: (scale - g * h).max(1e-3 * g * h),
            is_one_sided: one_sided,
        }
    }

    /// Logarithm of the evidence of a sum `s` with variance `v`.
    pub fn ln_e(&self, s: f64, v: f64) -> f64 {
        let Self { down_max: g, up_max: h, scale, .. } = *self;
        let (range, ups, downs) = (g + h, (v + h * s) / h, (v - g * s) / g);
        v / (g * h) * ln(range) - ups / range * ln(g) - downs / range * ln(h)
            + self.ln_mass((scale + v - g * s) / (g * range), (scale + v + h * s) / (h * range))
            - self.ln_mass(scale / (g * range), scale / (h * range))
    }

    /// How far the sum may go up at variance `v`: crossed with a chance of at most `budget`, ever.
    pub fn bound(&self, v: f64, budget: f64) -> f64 {
        let threshold = ln(1.0 / budget);
        bisect_crossing(0.0, v / self.down_max, |s| self.ln_e(s, v) > threshold)
    }

    /// `ln` of the beta function, cut to the upward side where only that is looked for.
    fn ln_mass(&self, a: f64, b: f64) -> f64 {
        let mass = if self.is_one_sided {
            incomplete_beta(a, b, self.up_max / (self.down_max + self.up_max))
        } else {
            1.0
        };
        ln(mass) + ln_beta(a, b)
    }
}

/// A chance's confidence sequence: it holds the true one at all times, but for a chance of `budget`. The
/// mixture is sharpest at `best` draws, for a budget of 0.05.
pub fn bernoulli_confidence_sequence(
    proportion: Proportion,
    budget: f64,
    n_best: f64,
) -> (f64, f64) {
    let Some(rate) = proportion.rate() else { return (0.0, 1.0) };
    let n = proportion.of as f64;
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

/// The highest chance that is still compatible with what was drawn a fixed number of times: the upper end of
/// Clopper & Pearson's one-sided interval (1934, Biometrika 26:404–413). Not for looks along the way.
pub fn clopper_pearson_upper(proportion: Proportion, error: f64) -> f64 {
    let (hits, misses) =
        (proportion.hits as f64, proportion.of.saturating_sub(proportion.hits) as f64);
    if misses == 0.0 {
        return 1.0;
    }
    bisect_crossing(0.0, 1.0, |p| incomplete_beta(hits + 1.0, misses, p) > 1.0 - error)
}

/// Where `beyond` becomes true between `low` and `high`, by halving.
fn bisect_crossing(mut low: f64, mut high: f64, is_beyond: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS_MAX {
        let middle = low.midpoint(high);
        if middle > low && middle < high {
            if is_beyond(middle) { high = middle } else { low = middle }
        }
    }
    low.midpoint(high)
}

/// As many as a number between 0 and 1 has bits.
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
        // None of n: 1 - 0.05^(1/n), about 3 / n. One of two: sqrt(0.95).
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
