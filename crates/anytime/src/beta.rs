//! Tests whether subjects fall into the cohorts with the chance that the share promises.
//!
//! The events are subjects that are seen, or affected, for the first time. Each subject's cohort is
//! drawn once, with the share `s`, whatever the subject does. If the cohorts do not differ, each
//! new subject belongs to the canary with chance `s`. A beta mixture over all other chances is the
//! test of Lindon & Malek (2022, <https://arxiv.org/abs/2011.03567>) in two categories. A grid of
//! odds is the same test on a few points, and it may start anew each minute.

use super::{ALTERNATIVE_COUNT, ALTERNATIVE_RATIOS, Proportion, exp, limit, ln, ln_gamma};

/// Returns one ln e-value for each odds in [`ALTERNATIVE_RATIOS`], against "each new subject is the
/// canary's with chance `share`", looking for more than that.
///
/// `canary` and `stable` count new subjects. `share` lies between 0 and 1, both excluded.
pub fn ln_e_more_than_share(canary: u64, stable: u64, share: f64) -> [f64; ALTERNATIVE_COUNT] {
    let canary_proportion = Proportion::new(canary, canary.saturating_add(stable));
    ALTERNATIVE_RATIOS.map(|odds| {
        limit::ln_likelihood_ratio(
            canary_proportion,
            share,
            odds * share / (1.0 - share + odds * share),
        )
    })
}

/// Returns the evidence that the canary's part of the subjects is not `share`, in either direction.
///
/// The value is `ln` of `B(a + S1, b + S0) / B(a, b) / (s^S1 (1 - s)^S0)`, with a Beta(`a`, `b`)
/// prior over the part. `share` lies between 0 and 1, both excluded.
pub fn ln_e_two_sided(canary: u64, stable: u64, share: f64, a: f64, b: f64) -> f64 {
    let (s1, s0) = (canary as f64, stable as f64);
    ln_beta(a + s1, b + s0) - ln_beta(a, b) - s1 * ln(share) - s0 * ln(1.0 - share)
}

/// Returns the same evidence as [`ln_e_two_sided`], with the Beta prior cut to parts above `share`.
pub fn ln_e_one_sided(canary: u64, stable: u64, share: f64, a: f64, b: f64) -> f64 {
    let ln_mass_above = |a, b| ln(incomplete_beta(b, a, 1.0 - share).max(f64::MIN_POSITIVE));
    ln_e_two_sided(canary, stable, share, a, b)
        + ln_mass_above(a + canary as f64, b + stable as f64)
        - ln_mass_above(a, b)
}

/// Returns the two-sided ln e-value of the sample-ratio test on subjects seen for the first time.
///
/// The prior has `a = 20 s` and `b = 20 (1 - s)`: it weighs as much as twenty subjects. A share of
/// 0 or 1 leaves nothing to test, so the result is 0.
pub fn ln_e_sample_ratio(canary: u64, stable: u64, share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    ln_e_two_sided(canary, stable, share, PRIOR_SUBJECTS * share, PRIOR_SUBJECTS * (1.0 - share))
}

/// Logarithm of the beta function, `ln B(a, b)`.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Returns the regularised incomplete beta function `I_x(a, b)`.
///
/// It uses Lentz's evaluation of the continued fraction (DLMF 8.17.22,
/// <https://dlmf.nist.gov/8.17#v>).
pub(crate) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = exp(a * ln(x) + b * ln(1.0 - x) - ln_beta(a, b)) / a;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for step in 1..STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            fraction *= c * d;
        }
        if (fraction - before).abs() <= f64::EPSILON * fraction.abs() {
            break;
        }
    }
    front * fraction
}

/// Weight of the prior in the sample-ratio test, in subjects.
const PRIOR_SUBJECTS: f64 = 20.0;
/// Guard against a division by 0 in Lentz's evaluation: it replaces every value closer to 0.
const TINY: f64 = 1e-300;
/// Most steps of the continued fraction. It needs about the square root of the larger argument, so
/// this is enough for ten million subjects.
const STEPS_MAX: u32 = 20_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::function::beta::beta_reg;

    use super::*;

    proptest! {
        /// Sizes from a hundredth to 3,000, above which the other implementation stops after too few
        /// steps, and places within eight deviations of the mean.
        ///
        /// Both take an exponential of a difference of gamma functions as large as `a + b`, so the
        /// error grows with it: relative to the fraction, which is the complement for a large `x`.
        /// Against integrals of 40 digits ours is below 1e-13 and ten roundings of `a + b`.
        #[test]
        fn the_incomplete_beta_function_is_that_of_another_implementation(
            ln_a in -4.6..8.0_f64,
            ln_b in -4.6..8.0_f64,
            place in -8.0..8.0_f64,
        ) {
            let (a, b) = (ln_a.exp(), ln_b.exp());
            let mean = a / (a + b);
            let deviation = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
            let x = (mean + place * deviation).clamp(1e-3 * mean, 1.0 - 1e-3 * (1.0 - mean));
            let (actual, expected) = (incomplete_beta(a, b, x), beta_reg(a, b, x));
            let fraction = if x > (a + 1.0) / (a + b + 2.0) { 1.0 - expected } else { expected };
            let tolerance = (1e-11 + 100.0 * f64::EPSILON * (a + b)) * fraction;
            prop_assert!(
                (actual - expected).abs() <= tolerance + 2.0 * f64::EPSILON * expected,
                "I_{x}({a}, {b}) = {actual}, not {expected}"
            );
        }
    }

    #[test]
    fn the_incomplete_beta_function_has_its_closed_forms() {
        let rows = [
            // I_x(1, 1) = x. I_x(2, 3) and I_x(3, 2) follow from their polynomials, I_x(1/2, 1/2)
            // from the arc sine.
            (1.0, 1.0, 0.3, 0.3),
            (2.0, 3.0, 0.5, 0.6875),
            (3.0, 2.0, 0.5, 0.3125),
            (5.0, 1.0, 0.9, 0.59049),
            (0.5, 0.5, 0.25, 1.0 / 3.0),
            (2_000.0, 2_000.0, 0.5, 0.5),
            (2.0, 2.0, 0.0, 0.0),
            (2.0, 2.0, 1.0, 1.0),
        ];
        for (a, b, x, expected) in rows {
            let actual = incomplete_beta(a, b, x);
            assert!((actual - expected).abs() < 1e-10, "I_{x}({a}, {b}) = {actual}");
        }
    }

    #[test]
    fn few_events_have_the_evidence_worked_out_by_hand() {
        // B(2, 1) / B(1, 1) / (1/2) = 1; above one half: (1 - 1/4) / (1 - 1/2) = 3/2.
        assert!(ln_e_two_sided(1, 0, 0.5, 1.0, 1.0).abs() < 1e-12);
        assert!((exp(ln_e_one_sided(1, 0, 0.5, 1.0, 1.0)) - 1.5).abs() < 1e-12);
        // B(3, 1) / B(1, 1) / (1/4) = 4/3.
        assert!((exp(ln_e_two_sided(2, 0, 0.5, 1.0, 1.0)) - 4.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_expectation_is_one_when_each_is_drawn_with_the_share() {
        let (count, share) = (12_u64, 0.1_f64);
        let forms: [&dyn Fn(u64, u64) -> f64; 4] = [
            &|s1, s0| ln_e_sample_ratio(s1, s0, share),
            &|s1, s0| ln_e_one_sided(s1, s0, share, 1.0, 9.0),
            &|s1, s0| ln_e_more_than_share(s1, s0, share)[0],
            &|s1, s0| ln_e_more_than_share(s1, s0, share)[5],
        ];
        for (index, form) in forms.iter().enumerate() {
            let mut mean = 0.0;
            for s1 in 0..=count {
                let s0 = count - s1;
                let choose = -ln_beta(s1 as f64 + 1.0, s0 as f64 + 1.0) - ln(count as f64 + 1.0);
                let chance = s1 as f64 * ln(share) + s0 as f64 * ln(1.0 - share) + choose;
                mean += exp(chance + form(s1, s0));
            }
            assert!((mean - 1.0).abs() < 1e-9, "form {index}: {mean}");
        }
    }

    #[test]
    fn a_subject_counted_twice_breaks_the_expectation() {
        let share = 0.1;
        let twice = share * exp(ln_e_more_than_share(2, 0, share)[3])
            + (1.0 - share) * exp(ln_e_more_than_share(0, 2, share)[3]);
        assert!(twice > 1.2, "{twice}");
    }

    #[test]
    fn a_sample_ratio_is_found_and_a_share_of_all_has_none() {
        assert!(ln_e_sample_ratio(1_300, 8_700, 0.1) > 20.0);
        assert!(ln_e_sample_ratio(700, 9_300, 0.1) > 20.0);
        assert!(ln_e_sample_ratio(1_000, 9_000, 0.1) < 0.0);
        assert_eq!(ln_e_sample_ratio(10, 0, 1.0), 0.0);
        assert!(ln_e_one_sided(0, 50_000, 0.5, 1.0, 1.0).is_finite());
    }
}
