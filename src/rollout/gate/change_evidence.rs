//! Evidence that a metric got worse at an unknown minute.
//!
//! Every minute of a day may be the start of the change ([`ChangePointEProcess`]). Each day opens a
//! new mixture with its own error budget; the evidence of closed days is kept, but not multiplied
//! into the new one. Subjects have one such mixture for each hour: its start minutes lie within that
//! hour, and its data are the subjects that the metric hits for the first time since that hour
//! began.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::change_segment::ChangeSegment;
use super::finding::{GateVerdict, VerdictReason};
use super::{EvidenceUnit, Gate, GateRule};
use crate::rollout::counts::{AffectedSubjects, ClosedMinute, Metric};
use jeffrey_anytime::change_point::{ChangePointEProcess, EDetector, HexFloats};
use jeffrey_anytime::{
    ALTERNATIVE_COUNT, ALTERNATIVE_RATIOS, MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT,
    Proportion, beta, limit, ln, ln_mean_exp, odds,
};
use jeffrey_terms::Share;
use jeffrey_terms::by_cohort::ByCohort;

/// Evidence of a change at an unknown minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeEvidence {
    /// First minute of the current day, in minutes since 1970; `None` before the first minute.
    day: Option<u64>,
    pub(super) requests: ChangePointEProcess,
    /// One mixture for each clock hour, at most [`HOURLY_SUBJECT_MIXTURES_MAX`] of them.
    subjects: Vec<HourEvidence>,
    /// Takes the place of `requests` while the share is 100 % and there is no holdout.
    detector: EDetector,
    pub(super) segment: ChangeSegment,
    /// Evidence with which each closed day ended, in thousandths of a nat; the latest day is last.
    closed: VecDeque<i64>,
}

/// Evidence from subjects that the metric hits for the first time since one hour began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HourEvidence {
    hour: u64,
    starts: ChangePointEProcess,
    /// Expected number of canary subjects among those affected since the hour began, minus the
    /// actual number; then the variance of that difference.
    lack: HexFloats<2>,
}

impl HourEvidence {
    const fn new(hour: u64) -> Self {
        Self { hour, starts: ChangePointEProcess::new(), lack: HexFloats([0.0; 2]) }
    }

    /// Returns whether stable's subjects were used up faster than chance explains, as in an outage
    /// of the legacy system. Of the subjects that are left, more are the canary's than its share, so
    /// the evidence would blame the canary for a change that starts now.
    fn is_depleted(&self) -> bool {
        let [lack, variance] = self.lack.0;
        lack > DEPLETED_DEVIATIONS_MIN * libm::sqrt(variance)
    }

    fn fold_counts(&mut self, stake: f64, subjects: ByCohort<u64>, probability: f64) {
        self.starts.fold_block(
            stake,
            &beta::ln_e_more_than_share(subjects.canary, subjects.stable, probability),
        );
        let total = (subjects.canary + subjects.stable) as f64;
        let [lack, variance] = &mut self.lack.0;
        *lack += total * probability - subjects.canary as f64;
        *variance += total * probability * (1.0 - probability);
    }
}

impl ChangeEvidence {
    /// Folds one minute into the evidence.
    pub(super) fn fold_minute(
        &mut self,
        gate: &Gate,
        rule: GateRule,
        minute: &ClosedMinute,
        proportions: ByCohort<Proportion>,
        holdout: Share,
    ) {
        let day = *self.day.get_or_insert(minute.minute);
        if minute.minute >= day + MINUTES_PER_DAY {
            self.close_day(rule);
            self.day = Some(minute.minute);
        }
        let ByCohort { canary, stable } = proportions;
        let (ln_e, alternative) = match rule {
            GateRule::Max(rate) => (limit::ln_e_above_limit(canary, rate), SEGMENT_ALTERNATIVE),
            GateRule::Min(rate) => (limit::ln_e_below_limit(canary, rate), SEGMENT_ALTERNATIVE),
            _ => match gate.max_without_stable.filter(|_| stable.samples == 0) {
                Some(rate) => (limit::ln_e_above_limit(canary, rate), SEGMENT_ALTERNATIVE),
                None => (odds::ln_e_higher_odds(canary, stable), SEGMENT_ALTERNATIVE),
            },
        };
        self.segment.fold_minute(minute.minute, proportions, ln_e[alternative]);
        let has_no_control = minute.share == Some(Share::FULL) && holdout == Share::NONE;
        if has_no_control {
            self.detector.fold_block(&ln_e);
        } else {
            self.requests.fold_block(1.0 / MINUTES_PER_DAY as f64, &ln_e);
        }
        if gate.evidence_unit != EvidenceUnit::Requests {
            self.fold_subjects(gate.metric, minute, holdout);
        }
    }

    fn fold_subjects(&mut self, metric: Metric, minute: &ClosedMinute, holdout: Share) {
        let hour = minute.minute / 60;
        let is_new_hour = self.subjects.last().is_none_or(|last| last.hour < hour);
        if is_new_hour && (self.subjects.len() as u64) < HOURLY_SUBJECT_MIXTURES_MAX {
            self.subjects.push(HourEvidence::new(hour));
        }
        let Some(share) = minute.share.filter(|share| *share != Share::NONE) else { return };
        let probability = expected_canary_fraction(share, holdout);
        if probability >= 1.0 {
            return;
        }
        for hour_evidence in &mut self.subjects {
            let is_of_hour = |entry: &&AffectedSubjects| {
                (entry.metric, entry.since_hour) == (metric, hour_evidence.hour)
            };
            let affected = minute.newly_affected.iter().find(is_of_hour);
            let subjects = affected.map(|entry| entry.subjects).unwrap_or_default();
            // Start minutes lie within the hour; a later hour's mixture finds a later change.
            let may_start = hour_evidence.hour == hour && !hour_evidence.is_depleted();
            let stake = if may_start { 1.0 / 60.0 } else { 0.0 };
            if may_start || subjects != ByCohort::default() {
                hour_evidence.fold_counts(stake, subjects, probability);
            }
        }
    }

    /// Returns the logarithm of the mean evidence of the day's hours. All hours have the same
    /// weight; an hour that has not begun counts as 1.
    pub(super) fn ln_subject_evidence(&self) -> f64 {
        let opened = self.subjects.len() as u64;
        let hours_to_come = (0..HOURLY_SUBJECT_MIXTURES_MAX.saturating_sub(opened)).map(|_| 0.0);
        let ln_e_values: Vec<f64> = self
            .subjects
            .iter()
            .map(|hour| hour.starts.ln_e(&MIXTURE_WEIGHTS_EQUAL))
            .chain(hours_to_come)
            .collect();
        ln_mean_exp(&ln_e_values)
    }

    fn close_day(&mut self, rule: GateRule) {
        let highest = self.requests.ln_e(alternative_weights(rule)).max(self.ln_subject_evidence());
        self.closed.push_back((highest * 1_000.0) as i64);
        while self.closed.len() > CLOSED_DAYS_MAX {
            self.closed.pop_front();
        }
        self.requests = ChangePointEProcess::new();
        self.subjects.clear();
    }

    /// Returns the verdict of the evidence; `one_client` says whether few subjects cause most errors.
    pub(super) fn evaluate(
        &self,
        gate: &Gate,
        rule: GateRule,
        stage_counts: ByCohort<Proportion>,
        one_client: bool,
    ) -> (GateVerdict, Option<VerdictReason>) {
        let has_no_stable_data = stage_counts.stable.samples == 0;
        let reaches = |evidence: f64, threshold: Option<f64>| {
            threshold.is_some_and(|threshold| evidence >= threshold)
        };
        let proven_by_subjects =
            reaches(self.ln_subject_evidence(), gate.ln_threshold_by_subject());
        let proven_by_requests =
            reaches(self.requests.ln_e(alternative_weights(rule)), gate.ln_threshold_by_request());
        // The detector gives a false alarm once in `A` minutes on average. With `A` = minutes of a
        // day / daily budget, the false alarms of a day are the daily budget on average.
        let detector_threshold =
            gate.ln_threshold_by_request().map(|threshold| threshold + ln(MINUTES_PER_DAY as f64));
        let proven_by_detector =
            reaches(self.detector.ln_e(alternative_weights(rule)), detector_threshold);
        let GateRule::MaxIncrease(tolerated) = rule else {
            let has_failed = proven_by_requests || proven_by_detector;
            return (if has_failed { GateVerdict::Fail } else { GateVerdict::Pass }, None);
        };
        if proven_by_requests
            && !proven_by_subjects
            && gate.evidence_unit == EvidenceUnit::Both
            && one_client
        {
            return (GateVerdict::Hold, Some(VerdictReason::OneClient));
        }
        let absolute_limit = gate.max_without_stable.filter(|_| has_no_stable_data);
        if proven_by_subjects || proven_by_requests {
            if let Some(limit) = absolute_limit {
                let exceeds_limit = self.segment.canary.rate().is_some_and(|rate| rate > limit);
                let verdict = if exceeds_limit { GateVerdict::Fail } else { GateVerdict::Hold };
                return (verdict, Some(VerdictReason::AbsoluteLimit));
            }
            let estimate = self.segment.odds.estimate().unwrap_or(0.0);
            let exceeds_tolerance = estimate >= tolerated && self.segment.canary.hits >= HITS_MIN;
            return if exceeds_tolerance {
                (GateVerdict::Fail, None)
            } else {
                (GateVerdict::Hold, Some(VerdictReason::Tolerated))
            };
        }
        if absolute_limit.is_some() {
            return (GateVerdict::Pass, Some(VerdictReason::AbsoluteLimit));
        }
        if has_no_stable_data {
            return (GateVerdict::Hold, Some(VerdictReason::NoStableData));
        }
        (GateVerdict::Pass, None)
    }
}

/// Returns the weights of the alternatives for this rule; they add up to 1.
pub(super) fn alternative_weights(rule: GateRule) -> &'static [f64; ALTERNATIVE_COUNT] {
    if matches!(rule, GateRule::MaxIncrease(_)) {
        &MIXTURE_WEIGHTS_EQUAL
    } else {
        &MIXTURE_WEIGHTS_NEAR_LIMIT
    }
}

/// Returns the probability, 0 to 1, that a subject is in the canary; subjects of the holdout count
/// as stable.
pub fn expected_canary_fraction(share: Share, holdout: Share) -> f64 {
    let fraction =
        |share: Share| f64::from(share.basis_points()) / f64::from(Share::FULL.basis_points());
    fraction(share) * (1.0 - fraction(holdout))
}

/// Horizon of one mixture over start minutes: a day, in minutes.
pub const MINUTES_PER_DAY: u64 = 24 * 60;
/// Most hourly mixtures over subjects in one day: a day that begins within an hour touches 25 clock
/// hours.
pub const HOURLY_SUBJECT_MIXTURES_MAX: u64 = 25;
/// Most closed days that are kept. The last stage takes seven days, a slow release a few more.
const CLOSED_DAYS_MAX: usize = 32;
/// Standard deviations by which stable's affected subjects have to exceed chance for an hour to
/// count as depleted.
const DEPLETED_DEVIATIONS_MIN: f64 = 3.0;
/// Index in [`ALTERNATIVE_RATIOS`] of the alternative that delimits a segment: 1.5, the usual
/// tolerance of +50 %.
const SEGMENT_ALTERNATIVE: usize = 1;
/// Fewest canary hits for an estimate of the odds ratio to count.
const HITS_MIN: u64 = 5;
const _: () = assert!(ALTERNATIVE_RATIOS[SEGMENT_ALTERNATIVE] == odds::NON_INFERIORITY_MARGIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::{CohortCounts, TopSubjects};
    use crate::rollout::evidence_harness::{ERRORS, counts, finding, fold_all, minute, plan};
    use crate::rollout::plan::{DEFAULT_PLAN_TOML, Plan};

    #[test]
    fn one_client_that_fails_holds_and_does_not_roll_back() {
        let plan = plan();
        let by_one = |number: u64| {
            let of_two = 4 * number.min(60);
            let top_subjects = TopSubjects {
                canary_requests: 3_600,
                canary_errors: of_two + 30,
                two_worst_subjects_errors: of_two,
                stable_requests: 32_400,
                stable_errors: 324,
            };
            // The same subject fails again and again: it is newly affected once.
            ClosedMinute { newly_affected: Vec::new(), top_subjects, ..minute(number, 4, 5) }
        };
        let evidence = fold_all(&plan, (1..90).map(by_one));
        let result = finding(&evidence, &plan, ERRORS, 89);
        assert_eq!(
            (result.verdict, result.reason),
            (GateVerdict::Hold, Some(VerdictReason::OneClient))
        );
        // The same errors of many clients roll back.
        let many =
            (1..90).map(|at| ClosedMinute { top_subjects: TopSubjects::default(), ..by_one(at) });
        assert_eq!(finding(&fold_all(&plan, many), &plan, ERRORS, 89).verdict, GateVerdict::Fail);
    }

    #[test]
    fn worse_within_what_is_tolerated_holds() {
        let plan = plan();
        // Odds of 1.3 for a day: proven, and below +50 %.
        let minutes = (0..1_400).map(|number| {
            let (canary, stable) = (78, 540);
            let mut minute = minute(number, 0, 0);
            (minute.canary, minute.stable) = (counts(600, canary / 10), counts(5_400, stable / 10));
            minute.canary.errors_5xx += u64::from(number % 5 < 4);
            minute
        });
        let result = finding(&fold_all(&plan, minutes), &plan, ERRORS, 1_399);
        assert_eq!(
            (result.verdict, result.reason),
            (GateVerdict::Hold, Some(VerdictReason::Tolerated))
        );
        assert!((result.value.unwrap() - 1.45).abs() < 0.2, "{result:?}");
    }

    #[test]
    fn a_comparison_without_a_stable_side_is_held_against_its_absolute_limit() {
        let compared = "metric = \"errors\"\nmax_increase = \"+50%\"";
        let text = DEFAULT_PLAN_TOML
            .replace("evidence_unit = \"subjects\"", "evidence_unit = \"requests\"");
        let without = Plan::read(&text).unwrap();
        let text = text.replace(compared, &format!("{compared}\nmax_without_stable = \"3%\""));
        let with = Plan::read(&text).unwrap();
        let alone =
            |at, errors| ClosedMinute { stable: CohortCounts::default(), ..minute(at, errors, 0) };
        let assess = |plan: &Plan, errors: u64| {
            let evidence =
                fold_all(plan, (0..240).map(|at| alone(at, errors * u64::from(at % 2 == 0))));
            let result = finding(&evidence, plan, ERRORS, 239);
            (result.verdict, result.reason, result.limit)
        };
        assert_eq!(
            assess(&with, 2),
            (GateVerdict::Pass, Some(VerdictReason::AbsoluteLimit), Some(0.03))
        );
        assert_eq!(assess(&with, 12), (GateVerdict::Fail, None, Some(0.03)));
        assert_eq!(
            assess(&without, 12),
            (GateVerdict::Hold, Some(VerdictReason::NoStableData), Some(1.5))
        );
    }

    #[test]
    fn slow_answers_can_be_judged_by_subjects_too() {
        let gate = "[[gate]]\nname = \"slow\"\nmetric = \"slow\"\nmax_increase = \"+50%\"\nevidence_unit = \"subjects\"\neffect = \"roll_back\"\n";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}")).unwrap();
        let verdict_with = |metric, canary| {
            let bad = move |number: u64| {
                let mut minute = minute(number, 0, 0);
                minute.canary.slow = canary;
                minute.newly_affected = vec![AffectedSubjects {
                    metric,
                    since_hour: number / 60,
                    subjects: ByCohort { canary, stable: 9 },
                }];
                minute
            };
            fold_all(&plan, (0..60).map(bad)).summarize(&plan, 59).rollback_verdict()
        };
        assert_eq!(verdict_with(Metric::Slow, 6), GateVerdict::Fail);
        assert_eq!(verdict_with(Metric::Slow, 1), GateVerdict::Pass);
        assert_eq!(
            verdict_with(Metric::Errors, 6),
            GateVerdict::Pass,
            "other subjects are no evidence here"
        );
    }
}
