//! The segment of minutes in which a change most likely lies, and the estimates over it.

use serde::{Deserialize, Serialize};

use jeffrey_anytime::Proportion;
use jeffrey_anytime::change_point::HexFloats;
use jeffrey_anytime::odds::MantelHaenszelOddsRatio;
use jeffrey_terms::by_cohort::ByCohort;

/// The period in which a change most likely lies: the minutes since a sum of logarithms was last at
/// 0 (Page 1954, "Continuous inspection schemes", Biometrika 41:100–115).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeSegment {
    pub(super) since: Option<u64>,
    minutes: u64,
    sum: HexFloats<1>,
    pub(super) canary: Proportion,
    stable: Proportion,
    pub(super) odds: MantelHaenszelOddsRatio,
}

impl ChangeSegment {
    /// Folds one minute; `ln_e` is the logarithm of its e-value. The segment starts anew if the sum
    /// does not stay above 0.
    pub(super) fn fold_minute(
        &mut self,
        minute: u64,
        proportions: ByCohort<Proportion>,
        ln_e: f64,
    ) {
        if self.sum.0[0] + ln_e <= 0.0 {
            *self = Self::default();
            return;
        }
        let ByCohort { canary, stable } = proportions;
        self.since.get_or_insert(minute);
        self.minutes += 1;
        self.sum.0[0] += ln_e;
        self.canary = self.canary.merge(canary);
        self.stable = self.stable.merge(stable);
        self.odds = self.odds.with_block(canary, stable);
    }

    /// Estimates the minutes until the evidence reaches the threshold, at the average gain of the
    /// segment; `None` if the threshold is reached or the evidence does not grow.
    pub(super) fn estimate_remaining_minutes(
        &self,
        evidence: Option<f64>,
        threshold: Option<f64>,
    ) -> Option<u64> {
        let missing = threshold? - evidence?;
        let ln_per_minute = self.sum.0[0] / self.minutes.max(1) as f64;
        (missing > 0.0 && ln_per_minute > 0.0).then(|| libm::ceil(missing / ln_per_minute) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_begins_when_its_sum_rises_and_ends_when_it_is_used_up() {
        let proportions =
            ByCohort { canary: Proportion::new(3, 60), stable: Proportion::new(5, 540) };
        let mut segment = ChangeSegment::default();
        segment.fold_minute(7, proportions, -1.0);
        assert_eq!(segment, ChangeSegment::default());
        segment.fold_minute(8, proportions, 0.5);
        segment.fold_minute(9, proportions, 1.5);
        assert_eq!((segment.since, segment.canary), (Some(8), Proportion::new(6, 120)));
        // Two nats in two minutes: three more nats take three minutes.
        assert_eq!(segment.estimate_remaining_minutes(Some(1.0), Some(4.0)), Some(3));
        assert_eq!(segment.estimate_remaining_minutes(Some(4.0), Some(4.0)), None);
        assert_eq!(segment.estimate_remaining_minutes(None, Some(4.0)), None);
        segment.fold_minute(10, proportions, -2.0);
        assert_eq!(segment, ChangeSegment::default());
        assert_eq!(segment.estimate_remaining_minutes(Some(1.0), Some(4.0)), None);
    }
}
