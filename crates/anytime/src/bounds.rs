//! Mixtures over normal and binomial deviations, and what they bound: for reports, and to be compared
//! with the figures of another implementation.
//!
//! After Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
//! sequences", <https://arxiv.org/abs/1810.08240>; their own code is `confseq`
//! (<https://github.com/gostevehoward/confseq>), whose tests give the known values below. `s` is a sum of
//! deviations, `v` its variance process; evidence is 1 in expectation at any time.

use super::beta::{incomplete, ln_beta};
use super::{Part, ln};

/// The scale of a normal mixture that makes its two-sided bound lowest at `v_best` (their
/// proposition 3, in the approximation used by `confseq`).
pub fn normal_scale(v_best: f64, budget: f64) -> f64 {
    let nats = 2.0 * ln(1.0 / budget);
    v_best / (nats + ln(1.0 + nats))
}

/// How far a sum may deviate, either way: crossed with a chance of at most `budget`, ever.
pub fn normal_bound(v: f64, budget: f64, scale: f64) -> f64 {
    ((v + scale) * (ln(1.0 + v / scale) + 2.0 * ln(1.0 / budget))).sqrt()
}

/// A beta mixture over deviations that go up by at most `h` and down by at most `g`.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomial {
    g: f64,
    h: f64,
    scale: f64,
    one_sided: bool,
}

impl BetaBinomial {
    /// The mixture that is sharpest at `v_best` for this budget.
    pub fn new(v_best: f64, budget: f64, g: f64, h: f64, one_sided: bool) -> Self {
        let scale = normal_scale(v_best, if one_sided { 2.0 * budget } else { budget });
        Self { g, h, scale: (scale - g * h).max(1e-3 * g * h), one_sided }
    }

    /// Logarithm of the evidence of a sum `s` with variance `v`.
    pub fn ln_e(&self, s: f64, v: f64) -> f64 {
        let Self { g, h, scale, .. } = *self;
        let (range, ups, downs) = (g + h, (v + h * s) / h, (v - g * s) / g);
        v / (g * h) * ln(range) - ups / range * ln(g) - downs / range * ln(h)
            + self.ln_mass((scale + v - g * s) / (g * range), (scale + v + h * s) / (h * range))
            - self.ln_mass(scale / (g * range), scale / (h * range))
    }

    /// How far the sum may go up at variance `v`: crossed with a chance of at most `budget`, ever.
    pub fn bound(&self, v: f64, budget: f64) -> f64 {
        let wanted = ln(1.0 / budget);
        crossing(0.0, v / self.g, |s| self.ln_e(s, v) > wanted)
    }

    /// `ln` of the beta function, cut to the upward side where only that is looked for.
    fn ln_mass(&self, a: f64, b: f64) -> f64 {
        let part = if self.one_sided { incomplete(a, b, self.h / (self.g + self.h)) } else { 1.0 };
        ln(part) + ln_beta(a, b)
    }
}

/// A chance's confidence sequence: it holds the true one at all times, but for a chance of `budget`. The
/// mixture is sharpest at `best` draws, for a budget of 0.05.
pub fn bernoulli(part: Part, budget: f64, best: f64) -> (f64, f64) {
    let Some(rate) = part.rate() else { return (0.0, 1.0) };
    let n = part.of as f64;
    let outside = |p: f64| {
        let variance = p * (1.0 - p);
        let mixture = BetaBinomial::new(variance * best, 0.05, p, 1.0 - p, false);
        mixture.ln_e((rate - p) * n, variance * n) > ln(1.0 / budget)
    };
    (1.0 - crossing(1.0 - rate, 1.0, |q| outside(1.0 - q)), crossing(rate, 1.0, outside))
}

/// The highest chance that is still compatible with what was drawn a fixed number of times: the upper end of
/// Clopper & Pearson's one-sided interval (1934, Biometrika 26:404–413). Not for looks along the way.
pub fn highest_chance(part: Part, error: f64) -> f64 {
    let (hits, misses) = (part.hits as f64, part.of.saturating_sub(part.hits) as f64);
    if misses == 0.0 {
        return 1.0;
    }
    crossing(0.0, 1.0, |p| incomplete(hits + 1.0, misses, p) > 1.0 - error)
}

/// Where `beyond` becomes true between `low` and `high`, by halving.
fn crossing(mut low: f64, mut high: f64, beyond: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = low.midpoint(high);
        if middle > low && middle < high {
            if beyond(middle) { high = middle } else { low = middle }
        }
    }
    low.midpoint(high)
}

/// As many as a number between 0 and 1 has bits.
const HALVINGS: u32 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, known: f64, tolerance: f64) {
        assert!((found - known).abs() < tolerance, "{found} instead of {known}");
    }

    #[test]
    fn the_normal_mixture_has_the_known_scale_and_bound() {
        let scale = normal_scale(100.0, 0.05);
        near(scale, 12.60056, 5e-6);
        near(normal_bound(100.0, 0.05, scale), 30.35209, 5e-6);
    }

    #[test]
    fn the_beta_binomial_mixture_has_the_known_bound() {
        let mixture = BetaBinomial::new(100.0, 0.05, 0.2, 0.8, true);
        near(mixture.bound(100.0, 0.05), 28.41238, 5e-6);
    }

    #[test]
    fn the_bernoulli_confidence_sequence_has_the_known_ends() {
        let (low, high) = bernoulli(Part::new(700, 1_000), 0.05, 100.0);
        near(low, 0.651_629, 1e-6);
        near(high, 0.745_949, 1e-6);
    }

    #[test]
    fn the_exact_interval_has_its_known_ends() {
        // None of n: 1 - 0.05^(1/n), about 3 / n. One of two: sqrt(0.95).
        near(highest_chance(Part::new(0, 100), 0.05), 1.0 - 0.05_f64.powf(0.01), 1e-9);
        near(highest_chance(Part::new(1, 2), 0.05), 0.95_f64.sqrt(), 1e-9);
        assert_eq!(highest_chance(Part::new(3, 3), 0.05), 1.0);
    }

    #[test]
    fn nothing_seen_excludes_nothing() {
        assert_eq!(bernoulli(Part::default(), 0.05, 100.0), (0.0, 1.0));
        let (low, high) = bernoulli(Part::new(0, 100), 0.05, 100.0);
        assert!(low < 1e-9 && high < 0.1, "{low} {high}");
    }
}
