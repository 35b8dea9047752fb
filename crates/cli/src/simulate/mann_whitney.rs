//! Canary judge like Kayenta's: the Mann-Whitney test on both cohorts' rates per minute.
//!
//! Follows the published description (<https://spinnaker.io/docs/guides/user/canary/judge/>): a
//! metric is "high" when the 98 % interval of the shift lies above a quarter of the estimated
//! shift. With one critical metric, a high one fails the canary. The interval is that of Hodges and
//! Lehmann, by the normal approximation with ties (Mann & Whitney 1947, Ann. Math. Statist.
//! 18:50–60; Hodges & Lehmann 1963, 34:598–611). The tool itself was not run.

use jeffrey_anytime::Proportion;
use jeffrey_terms::by_cohort::ByCohort;

/// Rates of one metric in both cohorts, one for each minute with requests.
#[derive(Clone, Debug, Default)]
pub(super) struct MannWhitneyTest {
    rates: ByCohort<Vec<f64>>,
}

impl MannWhitneyTest {
    /// Adds one minute of both cohorts; a cohort without requests adds nothing.
    pub(super) fn fold_minute(&mut self, proportions: ByCohort<Proportion>) {
        for (cohort, proportion) in proportions.iter() {
            self.rates[cohort].extend(proportion.rate());
        }
    }

    /// Returns whether the canary's rate is significantly higher; `false` with too few minutes.
    pub(super) fn is_canary_higher(&self) -> bool {
        let ByCohort { canary, stable } = self.rates.clone().map(|mut rates| {
            rates.sort_unstable_by(f64::total_cmp);
            rates
        });
        let Some(rank) = lower_rank(&canary, &stable) else { return false };
        // The `rank`-th smallest difference is above 0 only if fewer than `rank` differences are
        // not. This cheap check mostly settles the result.
        let (mut below, mut not_above) = (0, 0);
        for rate in &stable {
            while canary.get(below).is_some_and(|other| other <= rate) {
                below += 1;
            }
            not_above += below;
        }
        if not_above >= rank {
            return false;
        }
        let mut shifts: Vec<f64> =
            canary.iter().flat_map(|a| stable.iter().map(move |b| a - b)).collect();
        let middle = shifts.len() / 2;
        let estimate = *shifts.select_nth_unstable_by(middle, f64::total_cmp).1;
        let lower = *shifts.select_nth_unstable_by(rank - 1, f64::total_cmp).1;
        lower > SHIFT_TOLERANCE * estimate
    }
}

/// Returns the rank of the difference that is the lower end of the interval; `None` when the
/// samples are too small.
fn lower_rank(canary: &[f64], stable: &[f64]) -> Option<usize> {
    let (m, n) = (canary.len() as f64, stable.len() as f64);
    let total = m + n;
    let mut pooled: Vec<f64> = canary.iter().chain(stable).copied().collect();
    pooled.sort_unstable_by(f64::total_cmp);
    let ties: f64 = pooled
        .chunk_by(|a, b| a == b)
        .map(|tied| {
            let tie_count = tied.len() as f64;
            tie_count * (tie_count * tie_count - 1.0)
        })
        .sum();
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let rank = (m * n / 2.0 - Z_98 * variance.sqrt()).floor();
    (total > 2.0 && rank >= 1.0).then_some(rank as usize)
}

/// 99th percentile of the standard normal distribution: a 98 % interval leaves 1 % on each side.
const Z_98: f64 = 2.326_347_874_040_841;
/// Part of the estimated shift that the lower end of the interval must exceed.
const SHIFT_TOLERANCE: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_beyond_chance_is_found_and_chance_is_not() {
        let is_higher = |canary: &dyn Fn(u64) -> u64, minutes: u64| {
            let mut test = MannWhitneyTest::default();
            for minute in 0..minutes {
                test.fold_minute(ByCohort {
                    canary: Proportion::new(canary(minute), 100),
                    stable: Proportion::new(minute % 5, 100),
                });
            }
            test.is_canary_higher()
        };
        assert!(!is_higher(&|minute| (minute + 2) % 5, 60));
        assert!(is_higher(&|minute| minute % 5 + 3, 60));
        assert!(!is_higher(&|minute| minute % 5 + 3, 4), "four minutes are too few");
        assert!(!is_higher(&|_| 0, 60));
        assert!(!MannWhitneyTest::default().is_canary_higher());
    }

    #[test]
    fn the_rank_is_that_of_the_tables() {
        // Two samples of 10 without ties: 50 - 2.326 sqrt(175) = 19.2.
        let a: Vec<f64> = (0..10).map(f64::from).collect();
        let b: Vec<f64> = (0..10).map(|i| f64::from(i) + 0.5).collect();
        assert_eq!(lower_rank(&a, &b), Some(19));
        assert_eq!(lower_rank(&a[..2], &b[..2]), None);
    }
}
