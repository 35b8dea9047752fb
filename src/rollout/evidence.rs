//! The evidence of all gates of one release, folded minute by minute.
//!
//! A minute counts once, under its number. A doubled minute changes nothing, a missing one is no
//! evidence, and a late one is folded when it comes if it is among the last [`LATENESS_MINUTES_MAX`].
//! Each minute's e-values are fair given the minutes folded before, in any order; but whether a
//! minute arrives must not depend on its counts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::counts::{ClosedMinute, Metric};
use super::gate::e_bh::apply_e_bh;
use super::gate::evaluator::{GateEvaluator, SILENT_AFTER_MINUTES};
use super::gate::finding::GateFinding;
use super::gate::summary::GateSummary;
use super::plan::Plan;
use jeffrey_anytime::Proportion;
use jeffrey_terms::{Cohort, Share};

/// Evidence of all gates of a release, as it is stored between minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEvidence {
    /// The latest minute folded, in minutes since 1970.
    last: Option<u64>,
    /// Bit `i` is set when minute `last - i` was folded, or lies before the first.
    folded: u64,
    share: Option<Share>,
    /// Errors and slow requests of stable in the last [`STABLE_WINDOW_MINUTES`] minutes.
    stable: VecDeque<[Proportion; 2]>,
    /// Latest minute with a request of the canary, in minutes since 1970.
    canary: Option<u64>,
    first: Option<u64>,
    /// The canary's requests since the stage began.
    samples: u64,
    /// Minute in which the stage began; only later minutes belong to the stage.
    stage_after: Option<u64>,
    tracks: Vec<GateEvaluator>,
}

impl GateEvidence {
    /// Returns the evidence of a plan's gates before the first minute.
    pub fn new(plan: &Plan) -> Self {
        Self {
            last: None,
            folded: u64::MAX,
            share: None,
            stable: VecDeque::new(),
            canary: None,
            first: None,
            samples: 0,
            stage_after: None,
            tracks: plan.gates.iter().map(|gate| GateEvaluator::new(&gate.rule)).collect(),
        }
    }

    /// Returns the evidence with one more minute; unchanged if the minute was folded before or is
    /// too late.
    #[must_use]
    pub fn fold_minute(mut self, plan: &Plan, minute: &ClosedMinute) -> Self {
        if !self.mark_folded(minute.minute) {
            return self;
        }
        self.first.get_or_insert(minute.minute);
        if self.last == Some(minute.minute) {
            self.share = minute.share.or(self.share);
            let stable_proportion = |metric: Metric| metric.proportion(minute, Cohort::Stable);
            self.stable
                .push_back([stable_proportion(Metric::Errors), stable_proportion(Metric::Slow)]);
            while self.stable.len() > STABLE_WINDOW_MINUTES {
                self.stable.pop_front();
            }
        }
        let in_stage = self.stage_after.is_none_or(|after| minute.minute > after);
        if in_stage {
            self.samples = self.samples.saturating_add(minute.canary.requests);
        }
        if minute.canary.requests > 0 {
            self.canary = Some(self.canary.unwrap_or(0).max(minute.minute));
        }
        for (track, gate) in self.tracks.iter_mut().zip(&plan.gates) {
            track.fold_minute(gate, minute, plan.holdout, in_stage);
        }
        self
    }

    /// Marks a minute as folded; returns `false` if it was folded before or is too late.
    fn mark_folded(&mut self, minute: u64) -> bool {
        let last = *self.last.get_or_insert(minute);
        if self.first.is_none() {
            // Minutes before the first one are not expected.
            self.folded = u64::MAX;
            return true;
        }
        if minute > last {
            let step = minute - last;
            self.folded = if step < LATENESS_MINUTES_MAX { self.folded << step | 1 } else { 1 };
            self.last = Some(minute);
            return true;
        }
        let age = last - minute;
        if age >= LATENESS_MINUTES_MAX || self.folded >> age & 1 == 1 {
            return false;
        }
        self.folded |= 1 << age;
        true
    }

    /// Starts a new stage in a minute: evidence that belongs to a stage is reset. Minutes up to
    /// this one that arrive later do not count for the stage.
    #[must_use]
    pub fn enter_stage(mut self, minute: u64) -> Self {
        self.samples = 0;
        self.stage_after = Some(minute);
        self.tracks.iter_mut().for_each(GateEvaluator::enter_stage);
        self
    }

    /// Returns the summary of all gates at the end of minute `now_minute`.
    pub fn summarize(&self, plan: &Plan, now_minute: u64) -> GateSummary {
        let assess =
            |(track, gate): (&GateEvaluator, _)| track.assess(gate, now_minute, self.share);
        let is_silent = |last: Option<u64>| {
            last.or(self.first)
                .is_none_or(|last| now_minute.saturating_sub(last) >= SILENT_AFTER_MINUTES)
        };
        let mut findings: Vec<GateFinding> =
            self.tracks.iter().zip(&plan.gates).map(assess).collect();
        apply_e_bh(plan, &mut findings);
        GateSummary {
            findings,
            stable_outside_limits: self.is_stable_breached(plan),
            no_canary_data: is_silent(self.canary),
            samples: self.samples,
        }
    }

    /// Returns whether stable's last minutes together are outside the plan's limits for it. This is
    /// a threshold and not a test, because to wait without need costs little.
    fn is_stable_breached(&self, plan: &Plan) -> bool {
        [plan.stable_limits.max_error_rate, plan.stable_limits.max_slow_rate]
            .iter()
            .enumerate()
            .any(|(index, limit)| {
                let sum = self
                    .stable
                    .iter()
                    .fold(Proportion::default(), |sum, minute| sum.merge(minute[index]));
                sum.rate().is_some_and(|rate| rate > *limit)
            })
    }
}

/// Age from which a late minute is left out, in minutes before the latest one: one bit of a `u64`
/// for each.
pub const LATENESS_MINUTES_MAX: u64 = 64;
/// Minutes over which stable is held against its own limits.
const STABLE_WINDOW_MINUTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::CohortCounts;
    use crate::rollout::evidence_harness::{ERRORS, finding, fold_all, minute, plan};
    use crate::rollout::gate::finding::{GateVerdict, VerdictReason};
    use jeffrey_terms::by_cohort::ByCohort;

    #[test]
    fn errors_that_triple_roll_back_and_say_on_what_grounds() {
        let plan = plan();
        let quiet = (0..120).map(|at| minute(at, u64::from(at % 2 == 0), 5));
        let bad = (120..180).map(|at| minute(at, 3, 5));
        let evidence = fold_all(&plan, quiet.clone());
        assert_eq!(finding(&evidence, &plan, ERRORS, 119).verdict, GateVerdict::Pass);
        let evidence = fold_all(&plan, quiet.chain(bad));
        let result = finding(&evidence, &plan, ERRORS, 179);
        assert_eq!(result.verdict, GateVerdict::Fail);
        let crossed = result.failed_at_minute.unwrap();
        assert!((122..140).contains(&crossed), "{crossed}");
        assert!(result.ln_evidence > result.ln_threshold, "{result:?}");
        // The estimate covers the change, not the two quiet hours before it.
        assert!(
            result.value.unwrap() > 4.0 && result.verdict_since_minute.unwrap() >= 118,
            "{result:?}"
        );
        assert_eq!(evidence.summarize(&plan, 179).first_failure().unwrap().gate, ERRORS);
    }

    #[test]
    fn a_doubled_minute_changes_nothing_and_order_changes_no_verdict() {
        let plan = plan();
        let minutes: Vec<ClosedMinute> = (0..50).map(|at| minute(at, at % 3, 5)).collect();
        let once = fold_all(&plan, minutes.clone());
        let twice = minutes.iter().flat_map(|minute| [minute.clone(), minute.clone()]);
        assert_eq!(fold_all(&plan, twice), once);
        let (old, late) = (minute(10, 60, 0), minute(0, 60, 0));
        assert_eq!(once.clone().fold_minute(&plan, &old), once, "known, whatever it says now");
        // A late minute is folded; one that is too late is not.
        let gap = fold_all(&plan, minutes.iter().filter(|minute| minute.minute != 40).cloned());
        let filled = gap.clone().fold_minute(&plan, &minutes[40]);
        assert_ne!(filled, gap);
        assert_eq!(filled.summarize(&plan, 49).samples, once.summarize(&plan, 49).samples);
        let far = once.fold_minute(&plan, &minute(200, 1, 5));
        assert_eq!(far.clone().fold_minute(&plan, &late), far);
    }

    #[test]
    fn no_data_neither_passes_nor_fails() {
        let plan = plan();
        let none = GateEvidence::new(&plan).summarize(&plan, 0);
        assert!(none.no_canary_data && !none.allows_advance() && none.first_failure().is_none());
        assert!(none.findings.iter().all(|found| found.verdict == GateVerdict::Hold));
        let fine = fold_all(&plan, (0..30).map(|at| minute(at, 0, 5)));
        assert_eq!(finding(&fine, &plan, ERRORS, 33).verdict, GateVerdict::Pass);
        let silent = finding(&fine, &plan, ERRORS, 34);
        assert_eq!(
            (silent.verdict, silent.reason),
            (GateVerdict::Hold, Some(VerdictReason::NoData))
        );
        assert!(fine.summarize(&plan, 34).no_canary_data);
        // Empty minutes are neither data nor evidence.
        let empty =
            (30..40).map(|at| ClosedMinute { canary: CohortCounts::default(), ..minute(at, 0, 5) });
        let evidence = empty.fold(fine, |evidence, minute| evidence.fold_minute(&plan, &minute));
        assert!(evidence.summarize(&plan, 39).no_canary_data);
    }

    #[test]
    fn a_mismatch_rolls_back_at_once_and_stays() {
        let plan = plan();
        let mut bad = minute(1, 0, 5);
        bad.canary.dimension_mismatches = 1;
        let minutes = [minute(0, 0, 5), bad, minute(2, 0, 5)];
        let result = finding(&fold_all(&plan, minutes), &plan, "dimension mismatch", 2);
        assert_eq!(
            (result.verdict, result.failed_at_minute, result.value),
            (GateVerdict::Fail, Some(1), Some(1.0))
        );
    }

    #[test]
    fn stable_that_breaks_its_own_limits_is_reported_and_lets_nothing_rise() {
        let plan = plan();
        let fine = fold_all(&plan, (0..30).map(|at| minute(at, 0, 5)));
        assert!(!fine.summarize(&plan, 29).stable_outside_limits);
        let broken = fine.fold_minute(&plan, &minute(30, 0, 300));
        let summary = broken.summarize(&plan, 30);
        assert!(summary.stable_outside_limits && !summary.allows_advance());
        assert!(summary.first_failure().is_none());
    }

    #[test]
    fn a_stage_has_to_show_its_own_but_a_change_is_looked_for_across_stages() {
        let plan = plan();
        let evidence = fold_all(&plan, (0..600).map(|at| minute(at, 0, 5)));
        let not_worse = |evidence: &GateEvidence| finding(evidence, &plan, "errors not worse", 600);
        assert_eq!(not_worse(&evidence).verdict, GateVerdict::Pass);
        let before = finding(&evidence, &plan, ERRORS, 600).ln_evidence;
        let entered = evidence.enter_stage(0);
        assert_eq!(not_worse(&entered).verdict, GateVerdict::Hold);
        assert_eq!(finding(&entered, &plan, ERRORS, 600).ln_evidence, before);
        assert_eq!(entered.summarize(&plan, 600).samples, 0);
    }

    #[test]
    fn subjects_drawn_at_the_share_before_are_not_held_against_the_share_now() {
        let plan = plan();
        let with_first_seen = |number: u64, share: Option<&str>, canary, stable| ClosedMinute {
            share: share.map(|share| share.parse().unwrap()),
            new_subjects: ByCohort { canary, stable },
            ..minute(number, 0, 5)
        };
        let evidence = fold_all(&plan, (0..5).map(|at| with_first_seen(at, Some("10%"), 10, 90)));
        // The stage begins in minute 10. Some minutes of the stage before arrive later, and one
        // minute has both shares.
        let evidence = evidence.enter_stage(10);
        let late = (5..10).map(|at| with_first_seen(at, Some("10%"), 10, 90));
        let now = (11..15).map(|at| with_first_seen(at, Some("50%"), 50, 50));
        let all = late.chain([with_first_seen(10, None, 20, 80)]).chain(now);
        let evidence = all.fold(evidence, |evidence, minute| {
            let evidence = evidence.fold_minute(&plan, &minute);
            let result = finding(&evidence, &plan, "sample ratio", minute.minute);
            assert_ne!(result.verdict, GateVerdict::Fail, "minute {}: {result:?}", minute.minute);
            evidence
        });
        let result = finding(&evidence, &plan, "sample ratio", 14);
        assert_eq!((result.verdict, result.samples, result.hits), (GateVerdict::Pass, 400, 200));
    }

    #[test]
    fn evidence_is_stored_with_all_its_bits() {
        let plan = plan();
        let evidence = fold_all(&plan, (0..100).map(|at| minute(at, at % 4, 5)));
        let json = serde_json::to_string(&evidence).unwrap();
        assert!(json.len() < 40_000, "{}", json.len());
        let read: GateEvidence = serde_json::from_str(&json).unwrap();
        assert_eq!(read, evidence);
        let next = minute(100, 2, 5);
        assert_eq!(read.fold_minute(&plan, &next), evidence.fold_minute(&plan, &next));
    }
}
