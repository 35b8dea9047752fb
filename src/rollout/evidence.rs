//! All gates' evidence of one release, folded minute by minute.
//!
//! A minute counts once, under its number: a doubled one changes nothing, a missing one is simply not
//! there, a late one is folded when it comes as long as it is among the last [`LATE_MINUTES`]. Each
//! minute's e-values are fair given those before it, in whatever order they come; only what arrives must
//! not depend on what it says.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::counts::{Metric, Minute};
use super::plan::Plan;
use crate::rollout::gate::finding::{Finding, Note, Verdict, overall};
use crate::rollout::gate::track::{SILENT_MINUTES, Track};
use crate::rollout::gate::{Effect, Rule};
use jeffrey_anytime::{Part, ln};
use jeffrey_terms::{Cohort, Share};

/// What is known of a release's gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The latest minute folded.
    last: Option<u64>,
    /// Bit `i` is set when minute `last - i` was folded, or lies before the first.
    folded: u64,
    share: Option<Share>,
    /// Errors and slow requests of stable's last minutes.
    stable: VecDeque<[Part; 2]>,
    /// The last minute with any request of the canary's.
    canary: Option<u64>,
    first: Option<u64>,
    /// The canary's requests since the stage began.
    samples: u64,
    /// The minute that the stage began in; its own come after it.
    stage_after: Option<u64>,
    tracks: Vec<Track>,
}

/// What the gates come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Gate by gate, in the plan's order.
    pub findings: Vec<Finding>,
    /// Whether the old system is itself outside the plan's limits for it.
    pub stable_breached: bool,
    /// Whether nothing of the canary's was counted for [`SILENT_MINUTES`].
    pub silent: bool,
    /// The canary's requests since the stage began.
    pub samples: u64,
}

impl Summary {
    /// The worst verdict of the gates that roll back.
    pub fn critical(&self) -> Verdict {
        overall(self.of(Effect::RollBack))
    }

    /// Whether everything that a rise needs has passed.
    pub fn rises(&self) -> bool {
        let needed = self.of(Effect::RollBack).chain(self.of(Effect::Advance));
        overall(needed) == Verdict::Pass && !self.stable_breached && !self.silent
    }

    /// The first gate whose failing rolls back.
    pub fn failing(&self) -> Option<&Finding> {
        let fails =
            |found: &&Finding| found.effect == Effect::RollBack && found.verdict == Verdict::Fail;
        self.findings.iter().find(fails)
    }

    fn of(&self, effect: Effect) -> impl Iterator<Item = Verdict> + '_ {
        self.findings.iter().filter(move |found| found.effect == effect).map(|found| found.verdict)
    }
}

impl Evidence {
    /// Nothing seen.
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
            tracks: plan.gates.iter().map(|gate| Track::new(&gate.rule)).collect(),
        }
    }

    /// With one more minute; unchanged when it was there before, or is too late.
    #[must_use]
    pub fn fold(mut self, plan: &Plan, minute: &Minute) -> Self {
        if !self.take(minute.minute) {
            return self;
        }
        self.first.get_or_insert(minute.minute);
        if self.last == Some(minute.minute) {
            self.share = minute.share.or(self.share);
            let stable = |metric: Metric| metric.of(minute, Cohort::Stable);
            self.stable.push_back([stable(Metric::Errors), stable(Metric::Slow)]);
            while self.stable.len() > STABLE_MINUTES {
                self.stable.pop_front();
            }
        }
        let of_stage = self.stage_after.is_none_or(|after| minute.minute > after);
        if of_stage {
            self.samples = self.samples.saturating_add(minute.canary.requests);
        }
        if minute.canary.requests > 0 {
            self.canary = Some(self.canary.unwrap_or(0).max(minute.minute));
        }
        for (track, gate) in self.tracks.iter_mut().zip(&plan.gates) {
            track.fold(gate, minute, plan.holdout, of_stage);
        }
        self
    }

    /// Marks the minute as folded; whether it was not.
    fn take(&mut self, minute: u64) -> bool {
        let last = *self.last.get_or_insert(minute);
        if self.first.is_none() {
            // Nothing before the first is expected.
            self.folded = u64::MAX;
            return true;
        }
        if minute > last {
            let step = minute - last;
            self.folded = if step < LATE_MINUTES { self.folded << step | 1 } else { 1 };
            self.last = Some(minute);
            return true;
        }
        let age = last - minute;
        if age >= LATE_MINUTES || self.folded >> age & 1 == 1 {
            return false;
        }
        self.folded |= 1 << age;
        true
    }

    /// A stage begins in a minute: what has to be shown of a stage starts anew. Minutes up to it that are still on
    /// their way are no samples of it.
    #[must_use]
    pub fn enter_stage(mut self, minute: u64) -> Self {
        self.samples = 0;
        self.stage_after = Some(minute);
        self.tracks.iter_mut().for_each(Track::enter_stage);
        self
    }

    /// What it comes to at the end of minute `now`.
    pub fn summary(&self, plan: &Plan, now: u64) -> Summary {
        let finding = |(track, gate): (&Track, _)| track.finding(gate, now, self.share);
        let silent = |last: Option<u64>| {
            last.or(self.first).is_none_or(|last| now.saturating_sub(last) >= SILENT_MINUTES)
        };
        let mut findings: Vec<Finding> = self.tracks.iter().zip(&plan.gates).map(finding).collect();
        warn_together(plan, &mut findings);
        Summary {
            findings,
            stable_breached: self.stable_breached(plan),
            silent: silent(self.canary),
            samples: self.samples,
        }
    }

    /// Whether stable's last minutes, together, are outside its own limits. A threshold, no test: to wait
    /// for nothing costs little.
    fn stable_breached(&self, plan: &Plan) -> bool {
        [plan.stable.errors, plan.stable.slow].iter().enumerate().any(|(at, limit)| {
            let sum = self.stable.iter().fold(Part::default(), |sum, minute| sum.plus(minute[at]));
            sum.rate().is_some_and(|rate| rate > *limit)
        })
    }
}

/// Warnings whose evidence together is enough: the base procedure of Benjamini and Hochberg on e-values,
/// weighed (Wang & Ramdas 2022, "False discovery rate control with e-values",
/// <https://arxiv.org/abs/2009.02824>). With e-values `e` and budgets `a`, the `k` highest `a e` warn for the
/// largest `k` with all of them at least `1 / k`; of the warnings given, at most the budgets' sum is false on
/// average. A gate that warns alone (`k = 1`) still does.
fn warn_together(plan: &Plan, findings: &mut [Finding]) {
    let missing = |found: &Finding| Some(found.ln_threshold? - found.ln_evidence?);
    let mut order: Vec<(usize, f64)> = findings
        .iter()
        .enumerate()
        .filter(|(_, found)| found.effect == Effect::Warn && found.note.is_none())
        .filter_map(|(at, found)| Some((at, missing(found)?)))
        .collect();
    order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let reached = |rank: &usize| order[rank - 1].1 <= ln(*rank as f64);
    let together = (1..=order.len()).rev().find(reached).unwrap_or(0);
    for (at, _) in &order[..together] {
        let found = &mut findings[*at];
        let beyond = found.value.is_some_and(|value| match plan.gates[*at].rule {
            Rule::AtMost(limit) => value > limit,
            Rule::AtLeast(limit) => value < limit,
            Rule::Compared(tolerated) => value >= tolerated,
            _ => false,
        });
        if found.verdict == Verdict::Pass && beyond {
            found.verdict = Verdict::Fail;
            found.note = Some(Note::Together);
        }
    }
}

/// A minute that comes later than that after the latest is left out.
pub const LATE_MINUTES: u64 = 64;
/// How long stable is looked back on.
const STABLE_MINUTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::{Affected, Concentration, Counts, Pair};
    use crate::rollout::plan::SHIPPED;

    /// The shipped plan, with requests as evidence too.
    fn plan() -> Plan {
        Plan::read(&SHIPPED.replace("level = \"subjects\"", "level = \"both\"")).unwrap()
    }

    fn counts(requests: u64, errors: u64) -> Counts {
        Counts {
            requests,
            errors_5xx: errors,
            answers: requests - errors,
            low_confidence: requests / 5,
            rule_applied: requests / 50,
            slow: requests / 50,
            slow_beside_stable: requests / 20,
            ..Counts::default()
        }
    }

    /// A minute of 60 requests of the canary's and 540 of stable's, a subject an error.
    fn minute(minute: u64, canary: u64, stable: u64) -> Minute {
        Minute {
            minute,
            share: Some("10%".parse().unwrap()),
            canary: counts(60, canary),
            stable: counts(540, stable),
            first_affected: vec![Affected {
                metric: Metric::Errors,
                since_hour: minute / 60,
                subjects: Pair { canary, stable },
            }],
            ..Minute::default()
        }
    }

    fn folded(plan: &Plan, minutes: impl IntoIterator<Item = Minute>) -> Evidence {
        minutes
            .into_iter()
            .fold(Evidence::new(plan), |evidence, minute| evidence.fold(plan, &minute))
    }

    fn finding(evidence: &Evidence, plan: &Plan, gate: &str, now: u64) -> Finding {
        let summary = evidence.summary(plan, now);
        summary.findings.into_iter().find(|found| found.gate == gate).unwrap()
    }

    const ERRORS: &str = "errors against stable";

    #[test]
    fn errors_that_triple_roll_back_and_say_on_what_grounds() {
        let plan = plan();
        let quiet = (0..120).map(|at| minute(at, u64::from(at % 2 == 0), 5));
        let bad = (120..180).map(|at| minute(at, 3, 5));
        let evidence = folded(&plan, quiet.clone());
        assert_eq!(finding(&evidence, &plan, ERRORS, 119).verdict, Verdict::Pass);
        let evidence = folded(&plan, quiet.chain(bad));
        let found = finding(&evidence, &plan, ERRORS, 179);
        assert_eq!(found.verdict, Verdict::Fail);
        let crossed = found.crossed.unwrap();
        assert!((122..140).contains(&crossed), "{crossed}");
        assert!(found.ln_evidence > found.ln_threshold, "{found:?}");
        // The estimate speaks of the change, not of the two quiet hours before it.
        assert!(found.value.unwrap() > 4.0 && found.since.unwrap() >= 118, "{found:?}");
        assert_eq!(evidence.summary(&plan, 179).failing().unwrap().gate, ERRORS);
    }

    #[test]
    fn a_doubled_minute_changes_nothing_and_order_changes_no_verdict() {
        let plan = plan();
        let minutes: Vec<Minute> = (0..50).map(|at| minute(at, at % 3, 5)).collect();
        let once = folded(&plan, minutes.clone());
        let twice = minutes.iter().flat_map(|minute| [minute.clone(), minute.clone()]);
        assert_eq!(folded(&plan, twice), once);
        let (old, late) = (minute(10, 60, 0), minute(0, 60, 0));
        assert_eq!(once.clone().fold(&plan, &old), once, "known, whatever it says now");
        // One late minute is folded; one that is too late is not.
        let gap = folded(&plan, minutes.iter().filter(|minute| minute.minute != 40).cloned());
        let filled = gap.clone().fold(&plan, &minutes[40]);
        assert_ne!(filled, gap);
        assert_eq!(filled.summary(&plan, 49).samples, once.summary(&plan, 49).samples);
        let far = once.fold(&plan, &minute(200, 1, 5));
        assert_eq!(far.clone().fold(&plan, &late), far);
    }

    #[test]
    fn no_data_neither_passes_nor_fails() {
        let plan = plan();
        let none = Evidence::new(&plan).summary(&plan, 0);
        assert!(none.silent && !none.rises() && none.failing().is_none());
        assert!(none.findings.iter().all(|found| found.verdict == Verdict::Hold));
        let fine = folded(&plan, (0..30).map(|at| minute(at, 0, 5)));
        assert_eq!(finding(&fine, &plan, ERRORS, 33).verdict, Verdict::Pass);
        let silent = finding(&fine, &plan, ERRORS, 34);
        assert_eq!((silent.verdict, silent.note), (Verdict::Hold, Some(Note::NoData)));
        assert!(fine.summary(&plan, 34).silent);
        // Empty minutes are no data either, and no evidence.
        let empty = (30..40).map(|at| Minute { canary: Counts::default(), ..minute(at, 0, 5) });
        let evidence = empty.fold(fine, |evidence, minute| evidence.fold(&plan, &minute));
        assert!(evidence.summary(&plan, 39).silent);
    }

    #[test]
    fn one_client_that_fails_holds_and_does_not_roll_back() {
        let plan = plan();
        let by_one = |at: u64| {
            let of_two = 4 * at.min(60);
            let concentration = Concentration {
                requests: 3_600,
                errors: of_two + 30,
                of_two,
                stable_requests: 32_400,
                stable_errors: 324,
            };
            // The same subject again and again: newly affected once.
            Minute { first_affected: Vec::new(), concentration, ..minute(at, 4, 5) }
        };
        let evidence = folded(&plan, (1..90).map(by_one));
        let found = finding(&evidence, &plan, ERRORS, 89);
        assert_eq!((found.verdict, found.note), (Verdict::Hold, Some(Note::OneClient)));
        // The same errors by many clients roll back.
        let many =
            (1..90).map(|at| Minute { concentration: Concentration::default(), ..by_one(at) });
        assert_eq!(finding(&folded(&plan, many), &plan, ERRORS, 89).verdict, Verdict::Fail);
    }

    #[test]
    fn worse_within_what_is_tolerated_holds() {
        let plan = plan();
        // Odds of 1.3, for a day: certain, and below +50 %.
        let minutes = (0..1_400).map(|at| {
            let (canary, stable) = (78, 540);
            let mut minute = minute(at, 0, 0);
            (minute.canary, minute.stable) = (counts(600, canary / 10), counts(5_400, stable / 10));
            minute.canary.errors_5xx += u64::from(at % 5 < 4);
            minute
        });
        let found = finding(&folded(&plan, minutes), &plan, ERRORS, 1_399);
        assert_eq!((found.verdict, found.note), (Verdict::Hold, Some(Note::Tolerated)));
        assert!((found.value.unwrap() - 1.45).abs() < 0.2, "{found:?}");
    }

    #[test]
    fn a_comparison_without_a_stable_side_is_held_against_its_absolute_limit() {
        let compared = "metric = \"errors\"\ncompared = \"+50%\"";
        let text = SHIPPED.replace("level = \"subjects\"", "level = \"requests\"");
        let without = Plan::read(&text).unwrap();
        let text = text.replace(compared, &format!("{compared}\nor_at_most = \"3%\""));
        let with = Plan::read(&text).unwrap();
        let alone = |at, errors| Minute { stable: Counts::default(), ..minute(at, errors, 0) };
        let found = |plan: &Plan, errors: u64| {
            let evidence =
                folded(plan, (0..240).map(|at| alone(at, errors * u64::from(at % 2 == 0))));
            let found = finding(&evidence, plan, ERRORS, 239);
            (found.verdict, found.note, found.limit)
        };
        assert_eq!(found(&with, 2), (Verdict::Pass, Some(Note::AbsoluteLimit), Some(0.03)));
        assert_eq!(found(&with, 12), (Verdict::Fail, None, Some(0.03)));
        assert_eq!(found(&without, 12), (Verdict::Hold, Some(Note::NotAvailable), Some(1.5)));
    }

    #[test]
    fn warnings_that_miss_their_own_limit_may_reach_it_together() {
        let gate = |name, limit| {
            format!(
                "[[gate]]\nname = \"{name}\"\nmetric = \"low_confidence\"\nat_most = \"{limit}%\"\neffect = \"warn\"\n"
            )
        };
        let text = |gates: &str| format!("[[stage]]\nshare = \"10%\"\n{gates}");
        let one = Plan::read(&text(&gate("a", 25))).unwrap();
        let budget = one.gates[0].budget;
        // Three gates on the same question share the budget: each alone needs three times the evidence.
        let three = text(&["a", "b", "c"].map(|name| gate(name, 25)).concat());
        let three = Plan::read(&three).unwrap();
        assert!((3.0 * three.gates[0].budget - budget).abs() < 1e-12);
        let high = |at| {
            let mut minute = minute(at, 0, 5);
            minute.canary.low_confidence = 19;
            minute
        };
        let first = |plan: &Plan| {
            (1..2_000).find(|minutes| {
                let evidence = folded(plan, (0..*minutes).map(high));
                finding(&evidence, plan, "a", minutes - 1).verdict == Verdict::Fail
            })
        };
        // Together they need no more than one gate that has the budget for itself.
        let (alone, together) = (first(&one).unwrap(), first(&three).unwrap());
        assert_eq!(alone, together);
        let evidence = folded(&three, (0..together).map(high));
        let found = finding(&evidence, &three, "a", together - 1);
        assert_eq!(found.note, Some(Note::Together));
        assert!(found.ln_evidence < found.ln_threshold && found.crossed.is_none(), "{found:?}");
        // One in three is not enough.
        let mixed = text(&[gate("a", 25), gate("b", 60), gate("c", 60)].concat());
        let mixed = Plan::read(&mixed).unwrap();
        assert!(first(&mixed).unwrap() > together);
    }

    #[test]
    fn slow_answers_can_be_judged_by_subjects_too() {
        let gate = "[[gate]]\nname = \"slow\"\nmetric = \"slow\"\ncompared = \"+50%\"\nlevel = \"subjects\"\neffect = \"roll_back\"\n";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}")).unwrap();
        let with = |metric, canary| {
            let bad = move |at: u64| {
                let mut minute = minute(at, 0, 0);
                minute.canary.slow = canary;
                minute.first_affected = vec![Affected {
                    metric,
                    since_hour: at / 60,
                    subjects: Pair { canary, stable: 9 },
                }];
                minute
            };
            folded(&plan, (0..60).map(bad)).summary(&plan, 59).critical()
        };
        assert_eq!(with(Metric::Slow, 6), Verdict::Fail);
        assert_eq!(with(Metric::Slow, 1), Verdict::Pass);
        assert_eq!(with(Metric::Errors, 6), Verdict::Pass, "other subjects are no evidence here");
    }

    #[test]
    fn a_mismatch_rolls_back_at_once_and_stays() {
        let plan = plan();
        let mut bad = minute(1, 0, 5);
        bad.canary.mismatches = 1;
        let minutes = [minute(0, 0, 5), bad, minute(2, 0, 5)];
        let found = finding(&folded(&plan, minutes), &plan, "dimension mismatch", 2);
        assert_eq!(
            (found.verdict, found.crossed, found.value),
            (Verdict::Fail, Some(1), Some(1.0))
        );
    }

    #[test]
    fn stable_that_breaks_its_own_limits_is_told_and_lets_nothing_rise() {
        let plan = plan();
        let fine = folded(&plan, (0..30).map(|at| minute(at, 0, 5)));
        assert!(!fine.summary(&plan, 29).stable_breached);
        let broken = fine.fold(&plan, &minute(30, 0, 300));
        let summary = broken.summary(&plan, 30);
        assert!(summary.stable_breached && !summary.rises());
        assert!(summary.failing().is_none());
    }

    #[test]
    fn a_stage_has_to_show_its_own_but_a_change_is_looked_for_across_stages() {
        let plan = plan();
        let evidence = folded(&plan, (0..600).map(|at| minute(at, 0, 5)));
        let not_worse = |evidence: &Evidence| finding(evidence, &plan, "errors not worse", 600);
        assert_eq!(not_worse(&evidence).verdict, Verdict::Pass);
        let before = finding(&evidence, &plan, ERRORS, 600).ln_evidence;
        let entered = evidence.enter_stage(0);
        assert_eq!(not_worse(&entered).verdict, Verdict::Hold);
        assert_eq!(finding(&entered, &plan, ERRORS, 600).ln_evidence, before);
        assert_eq!(entered.summary(&plan, 600).samples, 0);
    }

    #[test]
    fn subjects_drawn_at_the_share_before_are_not_held_against_the_share_now() {
        let plan = plan();
        let seen = |number: u64, share: Option<&str>, canary, stable| Minute {
            share: share.map(|share| share.parse().unwrap()),
            first_seen: Pair { canary, stable },
            ..minute(number, 0, 5)
        };
        let evidence = folded(&plan, (0..5).map(|at| seen(at, Some("10%"), 10, 90)));
        // The stage rises in minute 10; some minutes of the one before come only now, and one has both shares.
        let evidence = evidence.enter_stage(10);
        let late = (5..10).map(|at| seen(at, Some("10%"), 10, 90));
        let now = (11..15).map(|at| seen(at, Some("50%"), 50, 50));
        let all = late.chain([seen(10, None, 20, 80)]).chain(now);
        let evidence = all.fold(evidence, |evidence, minute| {
            let evidence = evidence.fold(&plan, &minute);
            let found = finding(&evidence, &plan, "sample ratio", minute.minute);
            assert_ne!(found.verdict, Verdict::Fail, "minute {}: {found:?}", minute.minute);
            evidence
        });
        let found = finding(&evidence, &plan, "sample ratio", 14);
        assert_eq!((found.verdict, found.samples, found.hits), (Verdict::Pass, 400, 200));
    }

    #[test]
    fn evidence_is_stored_with_all_its_bits() {
        let plan = plan();
        let evidence = folded(&plan, (0..100).map(|at| minute(at, at % 4, 5)));
        let json = serde_json::to_string(&evidence).unwrap();
        assert!(json.len() < 40_000, "{}", json.len());
        let read: Evidence = serde_json::from_str(&json).unwrap();
        assert_eq!(read, evidence);
        let next = minute(100, 2, 5);
        assert_eq!(read.fold(&plan, &next), evidence.fold(&plan, &next));
    }
}
