//! The evidence of all gates of one release, folded minute by minute.
//!
//! A minute counts once, under its number. A doubled minute changes nothing, a missing one is no
//! evidence, and a late one is folded when it comes if it is among the last [`LATENESS_MINUTES_MAX`].
//! Each minute's e-values are fair given the minutes folded before, in any order; but whether a
//! minute arrives must not depend on its counts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::counts::{ClosedMinute, Metric};
use super::plan::Plan;
use crate::rollout::gate::evaluator::{GateEvaluator, SILENT_AFTER_MINUTES};
use crate::rollout::gate::finding::{GateFinding, GateVerdict, VerdictReason, worst_verdict};
use crate::rollout::gate::{GateEffect, GateRule};
use jeffrey_anytime::{Proportion, ln};
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

/// Summary of all gates at the end of a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSummary {
    /// Findings of the gates, in the plan's order.
    pub findings: Vec<GateFinding>,
    /// Whether the legacy system is outside the plan's limits for it.
    pub stable_outside_limits: bool,
    /// Whether no canary request was counted for [`SILENT_AFTER_MINUTES`].
    pub no_canary_data: bool,
    /// The canary's requests since the stage began.
    pub samples: u64,
}

impl GateSummary {
    /// Returns the worst verdict of the gates that roll back.
    pub fn rollback_verdict(&self) -> GateVerdict {
        worst_verdict(self.verdicts_of(GateEffect::RollBack))
    }

    /// Returns whether the gates allow the release to advance.
    pub fn allows_advance(&self) -> bool {
        let required = self
            .verdicts_of(GateEffect::RollBack)
            .chain(self.verdicts_of(GateEffect::BlockAdvance));
        worst_verdict(required) == GateVerdict::Pass
            && !self.stable_outside_limits
            && !self.no_canary_data
    }

    /// Returns the first failing gate that rolls back; `None` if there is none.
    pub fn first_failure(&self) -> Option<&GateFinding> {
        let fails = |finding: &&GateFinding| {
            finding.effect == GateEffect::RollBack && finding.verdict == GateVerdict::Fail
        };
        self.findings.iter().find(fails)
    }

    fn verdicts_of(&self, effect: GateEffect) -> impl Iterator<Item = GateVerdict> + '_ {
        self.findings
            .iter()
            .filter(move |finding| finding.effect == effect)
            .map(|finding| finding.verdict)
    }
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

/// Fails the warnings whose evidence is enough together: the base procedure of Benjamini and
/// Hochberg on e-values, with weights (Wang & Ramdas 2022, "False discovery rate control with
/// e-values", <https://arxiv.org/abs/2009.02824>).
///
/// With e-values `e` and budgets `a`, the `k` highest `a e` warn for the largest `k` with all of
/// them at least `1 / k`. Of the warnings given, at most the sum of the budgets is false on
/// average. A gate that warns alone (`k = 1`) still does.
fn apply_e_bh(plan: &Plan, findings: &mut [GateFinding]) {
    let missing = |finding: &GateFinding| Some(finding.ln_threshold? - finding.ln_evidence?);
    let mut order: Vec<(usize, f64)> = findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.effect == GateEffect::Warn && finding.reason.is_none())
        .filter_map(|(index, finding)| Some((index, missing(finding)?)))
        .collect();
    order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let is_reached = |rank: &usize| order[rank - 1].1 <= ln(*rank as f64);
    let warning_count = (1..=order.len()).rev().find(is_reached).unwrap_or(0);
    for (index, _) in &order[..warning_count] {
        let finding = &mut findings[*index];
        let exceeds_limit = finding.value.is_some_and(|value| match plan.gates[*index].rule {
            GateRule::Max(limit) => value > limit,
            GateRule::Min(limit) => value < limit,
            GateRule::MaxIncrease(tolerated) => value >= tolerated,
            _ => false,
        });
        if finding.verdict == GateVerdict::Pass && exceeds_limit {
            finding.verdict = GateVerdict::Fail;
            finding.reason = Some(VerdictReason::CombinedEvidence);
        }
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
    use crate::rollout::counts::{AffectedSubjects, CohortCounts, CountByCohort, TopSubjects};
    use crate::rollout::plan::DEFAULT_PLAN_TOML;

    /// The shipped plan, with requests as evidence too.
    fn plan() -> Plan {
        Plan::read(
            &DEFAULT_PLAN_TOML.replace("evidence_unit = \"subjects\"", "evidence_unit = \"both\""),
        )
        .unwrap()
    }

    fn counts(requests: u64, errors: u64) -> CohortCounts {
        CohortCounts {
            requests,
            errors_5xx: errors,
            scored_responses: requests - errors,
            low_confidence: requests / 5,
            rule_applied: requests / 50,
            slow: requests / 50,
            slower_than_stable: requests / 20,
            ..CohortCounts::default()
        }
    }

    /// A minute with 60 canary requests and 540 stable requests, and one subject for each error.
    fn minute(minute: u64, canary: u64, stable: u64) -> ClosedMinute {
        ClosedMinute {
            minute,
            share: Some("10%".parse().unwrap()),
            canary: counts(60, canary),
            stable: counts(540, stable),
            newly_affected: vec![AffectedSubjects {
                metric: Metric::Errors,
                since_hour: minute / 60,
                subjects: CountByCohort { canary, stable },
            }],
            ..ClosedMinute::default()
        }
    }

    fn fold_all(plan: &Plan, minutes: impl IntoIterator<Item = ClosedMinute>) -> GateEvidence {
        minutes
            .into_iter()
            .fold(GateEvidence::new(plan), |evidence, minute| evidence.fold_minute(plan, &minute))
    }

    fn finding(evidence: &GateEvidence, plan: &Plan, gate: &str, now: u64) -> GateFinding {
        let summary = evidence.summarize(plan, now);
        summary.findings.into_iter().find(|finding| finding.gate == gate).unwrap()
    }

    const ERRORS: &str = "errors against stable";

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
    fn warnings_that_miss_their_own_limit_may_reach_it_together() {
        let gate = |name, limit| {
            format!(
                "[[gate]]\nname = \"{name}\"\nmetric = \"low_confidence\"\nmax = \"{limit}%\"\neffect = \"warn\"\n"
            )
        };
        let text = |gates: &str| format!("[[stage]]\nshare = \"10%\"\n{gates}");
        let single = Plan::read(&text(&gate("a", 25))).unwrap();
        let budget = single.gates[0].false_verdict_budget;
        // Three gates on the same metric share the budget: each alone needs three times the
        // evidence.
        let three = text(&["a", "b", "c"].map(|name| gate(name, 25)).concat());
        let three = Plan::read(&three).unwrap();
        assert!((3.0 * three.gates[0].false_verdict_budget - budget).abs() < 1e-12);
        let high = |number| {
            let mut minute = minute(number, 0, 5);
            minute.canary.low_confidence = 19;
            minute
        };
        let first_failing_minute = |plan: &Plan| {
            (1..2_000).find(|minutes| {
                let evidence = fold_all(plan, (0..*minutes).map(high));
                finding(&evidence, plan, "a", minutes - 1).verdict == GateVerdict::Fail
            })
        };
        // Together they need no more evidence than one gate with the whole budget.
        let (alone, together) =
            (first_failing_minute(&single).unwrap(), first_failing_minute(&three).unwrap());
        assert_eq!(alone, together);
        let evidence = fold_all(&three, (0..together).map(high));
        let result = finding(&evidence, &three, "a", together - 1);
        assert_eq!(result.reason, Some(VerdictReason::CombinedEvidence));
        assert!(
            result.ln_evidence < result.ln_threshold && result.failed_at_minute.is_none(),
            "{result:?}"
        );
        // One of three gates is not enough.
        let mixed = text(&[gate("a", 25), gate("b", 60), gate("c", 60)].concat());
        let mixed = Plan::read(&mixed).unwrap();
        assert!(first_failing_minute(&mixed).unwrap() > together);
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
                    subjects: CountByCohort { canary, stable: 9 },
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
            new_subjects: CountByCohort { canary, stable },
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
