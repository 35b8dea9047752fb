//! The controller of a release: every input in order, and the actions that follow from each.
//!
//! [`RolloutController`] is a value, and [`RolloutController::apply`] is the only function that
//! changes it. Each input that changes something, or has to be answered, becomes a [`HistoryEntry`]
//! with the numbers that decided. The same inputs in the same order make the same release again, to
//! the last bit; [`replay`](super::replay::replay) checks that.

use serde::{Deserialize, Serialize};

use super::counts::{ClosedMinute, CohortCounts};
use super::effect::{RolloutAction, RolloutAlert};
use super::evidence::GateEvidence;
use super::gate::summary::GateSummary;
use super::history::{HistoryEntry, RolloutInput};
use super::plan::Plan;
use super::progress::{PlanProgress, StepInput};
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// State of a release with its gates' evidence and counts, without its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutController {
    /// State of the release in its plan.
    pub state: PlanProgress,
    /// Evidence of all gates.
    pub evidence: GateEvidence,
    /// Latest minute that was folded, in minutes since 1970; the event store is asked for later
    /// ones.
    pub last_minute: u64,
    /// Counts of the canary since the stage began.
    pub canary: CohortCounts,
    /// Counts of stable since the stage began.
    pub stable: CohortCounts,
    /// Minute in which the stage began, in minutes since 1970; only later minutes are counted for
    /// it.
    pub stage_entered_after_minute: u64,
    /// Latest alert, refused commands aside; `None` if the current phase and stage have raised
    /// none.
    pub active_alert: Option<RolloutAlert>,
    /// Number of the last history entry; 0 before the first.
    pub seq: u64,
}

impl RolloutController {
    /// Returns a release that has not started. It does not ask for minutes up to
    /// `last_complete_minute`.
    pub fn new(plan: &Plan, now: UnixMs, last_complete_minute: u64) -> Self {
        Self {
            state: PlanProgress::idle(now),
            evidence: GateEvidence::new(plan),
            last_minute: last_complete_minute,
            canary: CohortCounts::default(),
            stable: CohortCounts::default(),
            stage_entered_after_minute: last_complete_minute,
            active_alert: None,
            seq: 0,
        }
    }

    /// Returns the release after one input, and its history entry if the input changed anything or
    /// has to be answered.
    ///
    /// The new plan of [`RolloutInput::PlanApplied`] is `plan`; the caller has checked it with
    /// [`validate_plan_change`](super::plan_change::validate_plan_change).
    #[must_use]
    pub fn apply(
        &self,
        plan: &Plan,
        input: &RolloutInput,
        now: UnixMs,
    ) -> (Self, Option<HistoryEntry>) {
        let mut next = self.clone();
        let (step, last_complete_minute) = match input {
            RolloutInput::Minute { minute } => {
                next.fold_minute(plan, minute);
                let entry = (next != *self).then(|| next.record_entry(plan, input, now, None));
                return (next, entry);
            }
            RolloutInput::PlanApplied { last_complete_minute: closed, .. } => {
                if self.state.share(plan) == Share::NONE {
                    let after = self.last_minute.max(*closed);
                    // The evidence is reset; a rolled-back release stays rolled back.
                    let (state, seq) = (self.state.clone(), self.seq);
                    next = Self { state, seq, ..Self::new(plan, now, after) };
                }
                let entry = next.record_entry(plan, input, now, None);
                return (next, Some(entry));
            }
            RolloutInput::Command {
                command,
                blocked_by: withheld,
                last_complete_minute: closed,
                ..
            } => ((Some(command.clone()), None, withheld.clone()), *closed),
            RolloutInput::HardFailure { kind, last_complete_minute: closed } => {
                ((None, Some(*kind), None), *closed)
            }
            RolloutInput::Tick { blocked_by: withheld, last_complete_minute: closed } => {
                ((None, None, withheld.clone()), *closed)
            }
        };
        let gates = self.evidence.summarize(plan, last_complete_minute);
        let (command, hard_failure, blocked_by) = step;
        let step_input = StepInput { gates: &gates, command, hard_failure, blocked_by };
        let (state, actions) = self.state.apply_input(plan, &step_input, now);
        if state == self.state && actions.is_empty() {
            return (next, None);
        }
        if state.phase != self.state.phase || state.stage != self.state.stage {
            next.active_alert = None;
        }
        next.state = state;
        let counted = ByCohort { canary: next.canary, stable: next.stable };
        for action in &actions {
            match action {
                RolloutAction::EnterStage => next.enter_stage(now),
                RolloutAction::ResetEvidence => {
                    next.evidence = GateEvidence::new(plan);
                    // The minute in which the release starts may hold requests of before its
                    // rollback.
                    next.last_minute = next.last_minute.max(now.0 / 60_000);
                }
                RolloutAction::Alert(RolloutAlert::CommandRefused(_))
                | RolloutAction::SetShare(_) => {}
                RolloutAction::Alert(alert) => next.active_alert = Some(alert.clone()),
            }
        }
        let entry = next.record_entry(plan, input, now, Some((actions, gates, counted)));
        (next, Some(entry))
    }

    /// Returns whether a tick would increase the share now, if no advance check blocked it.
    pub fn would_increase_share(
        &self,
        plan: &Plan,
        now: UnixMs,
        last_complete_minute: u64,
    ) -> bool {
        let tick = RolloutInput::Tick { blocked_by: None, last_complete_minute };
        let (next, _) = self.apply(plan, &tick, now);
        next.state.share(plan) > self.state.share(plan)
    }

    /// Returns the summary of all gates at the end of a minute.
    pub fn summarize_gates(&self, plan: &Plan, last_complete_minute: u64) -> GateSummary {
        self.evidence.summarize(plan, last_complete_minute)
    }

    /// Returns a cohort's counts since the stage began.
    pub const fn stage_counts(&self, cohort: Cohort) -> &CohortCounts {
        match cohort {
            Cohort::Canary => &self.canary,
            Cohort::Stable => &self.stable,
        }
    }

    /// Returns whether the canary's share is above 0, so that minutes and time matter.
    pub fn has_canary_traffic(&self, plan: &Plan) -> bool {
        self.state.share(plan) > Share::NONE
    }

    fn fold_minute(&mut self, plan: &Plan, minute: &ClosedMinute) {
        let before = self.evidence.clone();
        self.last_minute = self.last_minute.max(minute.minute);
        self.evidence = self.evidence.clone().fold_minute(plan, minute);
        if self.evidence != before && minute.minute > self.stage_entered_after_minute {
            self.canary.add(&minute.canary);
            self.stable.add(&minute.stable);
        }
    }

    fn enter_stage(&mut self, now: UnixMs) {
        self.evidence = self.evidence.clone().enter_stage(now.0 / 60_000);
        self.canary = CohortCounts::default();
        self.stable = CohortCounts::default();
        self.stage_entered_after_minute = now.0 / 60_000;
    }

    fn record_entry(
        &mut self,
        plan: &Plan,
        input: &RolloutInput,
        now: UnixMs,
        outcome: Option<(Vec<RolloutAction>, GateSummary, ByCohort<CohortCounts>)>,
    ) -> HistoryEntry {
        self.seq += 1;
        let (actions, gates, counted) = match outcome {
            Some((actions, gates, counted)) => (actions, Some(gates), Some(counted)),
            None => (Vec::new(), None, None),
        };
        HistoryEntry {
            seq: self.seq,
            now,
            input: input.clone(),
            state: self.state.clone(),
            share: self.state.share(plan),
            actions,
            gates,
            counts: counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::command::OperatorCommand;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;
    use crate::rollout::release_state::HardFailureKind;
    use crate::rollout::replay_harness::{
        NOW, ReplayHarness, command_input, first_minute, minute, time_at,
    };

    #[test]
    fn a_hard_failure_rolls_back_at_once_and_the_history_says_so_bit_for_bit() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        assert!(run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW).is_some());
        for number in 1..40 {
            run.feed(
                &RolloutInput::Minute { minute: minute(first_minute() + number, number % 2) },
                time_at(number + 1),
            );
            run.feed(
                &RolloutInput::Tick {
                    blocked_by: None,
                    last_complete_minute: first_minute() + number,
                },
                time_at(number + 1),
            );
        }
        assert_eq!(run.controller.stage_counts(Cohort::Canary).requests, 39 * 60);
        let hard_failure = RolloutInput::HardFailure {
            kind: HardFailureKind::Trap,
            last_complete_minute: first_minute() + 39,
        };
        let entry = run.feed(&hard_failure, time_at(41)).unwrap();
        assert_eq!(entry.share, Share::NONE);
        assert!(entry.gates.is_some() && entry.counts.unwrap().canary.requests == 39 * 60);
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(json["counts"][0]["requests"], 39 * 60, "an array, the canary first");
        assert!(run.feed(&hard_failure, time_at(42)).is_none(), "latched, and once is enough");
        let replayed = run.replay().unwrap();
        assert_eq!(replayed.entries, run.lines.len() as u64);
        assert!(replayed.decisions >= 2);
    }

    #[test]
    fn what_a_release_did_before_a_rollback_is_not_held_against_it_again() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        let hard_failure = RolloutInput::HardFailure {
            kind: HardFailureKind::Trap,
            last_complete_minute: first_minute() + 5,
        };
        run.feed(&hard_failure, time_at(6)).unwrap();
        // Some minutes in which the canary had traffic are not closed yet.
        let resume = OperatorCommand::Resume { reason: "mended".to_owned() };
        run.feed(&command_input(resume, first_minute() + 5), time_at(7)).unwrap();
        assert_eq!(
            run.controller.last_minute,
            first_minute() + 7,
            "the event store is asked for later ones"
        );
        assert_eq!(run.controller.stage_entered_after_minute, first_minute() + 7);
        run.replay().unwrap();
    }

    #[test]
    fn another_plan_does_not_end_a_rollback() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        run.feed(
            &RolloutInput::HardFailure {
                kind: HardFailureKind::Trap,
                last_complete_minute: first_minute(),
            },
            time_at(1),
        )
        .unwrap();
        let plan =
            DEFAULT_PLAN_TOML.replacen("min_duration = \"24h\"", "min_duration = \"23h\"", 1);
        run.plan = Plan::read(&plan).unwrap();
        let plan_input = RolloutInput::PlanApplied {
            actor: "test".to_owned(),
            plan,
            last_complete_minute: first_minute(),
        };
        run.feed(&plan_input, time_at(2)).unwrap();
        let start =
            run.feed(&command_input(OperatorCommand::Start, first_minute()), time_at(3)).unwrap();
        assert_eq!(
            start.actions,
            [RolloutAction::Alert(RolloutAlert::CommandRefused(OperatorCommand::Start))]
        );
        let resume = OperatorCommand::Resume { reason: "mended".to_owned() };
        let resumed = run.feed(&command_input(resume, first_minute()), time_at(4)).unwrap();
        assert_eq!(resumed.state.stage, 0);
        assert!(resumed.share > Share::NONE);
        run.replay().unwrap();
    }
}
