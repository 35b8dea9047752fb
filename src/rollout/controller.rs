//! The controller of a release: every input in order, and the actions that follow from each.
//!
//! [`RolloutController`] is a value, and [`RolloutController::apply`] is the only function that
//! changes it. Each input that changes something, or has to be answered, becomes a [`HistoryEntry`]
//! with the numbers that decided. The same inputs in the same order make the same release again, to
//! the last bit; [`replay`] checks that.

use serde::{Deserialize, Serialize};

use super::advance_checks::AdvanceBlocked;
use super::bucket::ReleaseName;
use super::counts::{ClosedMinute, CohortCounts};
use super::evidence::{GateEvidence, GateSummary};
use super::plan::{Plan, PlanError};
use super::progress::{
    OperatorCommand, Phase, PlanProgress, RolloutAction, RolloutAlert, StepInput,
};
use super::release_state::HardFailureKind;
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

/// Input of the controller: an event that happens to a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum RolloutInput {
    /// An operator gives a command.
    Command {
        /// Name that the operator gave; it is not verified.
        actor: String,
        /// Command that the operator gave.
        command: OperatorCommand,
        /// Advance check that forbids a share increase; `None` if all checks pass.
        blocked_by: Option<AdvanceBlocked>,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// An isolate reported a hard failure.
    HardFailure {
        /// Kind of the hard failure.
        kind: HardFailureKind,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// A closed minute was counted.
    Minute {
        /// Counts of the minute, for both cohorts.
        minute: Box<ClosedMinute>,
    },
    /// A plan replaces the current one.
    PlanApplied {
        /// Name that the operator gave; it is not verified.
        actor: String,
        /// Text of the plan, as TOML.
        plan: String,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// Time passed: the gates and the clock may move the release.
    Tick {
        /// Advance check that forbids a share increase; `None` if all checks pass.
        blocked_by: Option<AdvanceBlocked>,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
}

/// One entry of the history: an input, and all that it decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// Number of the entry, from 1, without gaps.
    pub seq: u64,
    /// Time of the input, by the clock that stages are counted by, in milliseconds since 1970.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// Input that the entry records.
    pub input: RolloutInput,
    /// State of the release after the input.
    pub state: PlanProgress,
    /// The canary's share after the input.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Actions that followed; empty if the input decided nothing.
    pub actions: Vec<RolloutAction>,
    /// Summary of the gates; `None` if the input decided nothing.
    pub gates: Option<GateSummary>,
    /// Counts of the canary and of stable since the stage began; `None` if the input decided
    /// nothing.
    pub counts: Option<[CohortCounts; 2]>,
}

/// Reasons why a plan is rejected; the current plan stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRejected {
    /// The plan is for another release.
    #[error("the plan is for release `{plan}`, this is `{release}`")]
    OtherRelease {
        /// Release that the plan names.
        plan: String,
        /// Release of the gateway.
        release: String,
    },
    /// The text is not a valid plan.
    #[error("{}", join_errors(.0))]
    Invalid(Vec<PlanError>),
    /// The canary has traffic, and the plan would change the rules that it is judged by.
    #[error(
        "canary traffic flows: stages up to the present one, gates, holdout and stable's limits stay as they are; \
         pause is not enough, abort or roll back first"
    )]
    CanaryHasTraffic,
    /// The plan's holdout is smaller than the gateway's, which holds for every release.
    #[error(
        "the plan's holdout is {plan}, the gateway's HOLDOUT is {gateway}: the plan's must be at least as large"
    )]
    HoldoutTooSmall {
        /// Holdout of the plan.
        plan: Share,
        /// Holdout of the gateway.
        gateway: Share,
    },
}

fn join_errors(errors: &[PlanError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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

    /// Reads a plan and checks whether it may replace the current one, in the release's current
    /// state.
    ///
    /// `current` is the release with its plan, or `None` before the first plan; `holdout` is the
    /// gateway's.
    ///
    /// # Errors
    /// [`PlanRejected`] when the text is not a valid plan, the plan is for another release, its
    /// holdout is smaller than the gateway's, or the canary has traffic and the plan changes what
    /// it is judged by.
    pub fn validate_plan_change(
        current: Option<(&Self, &Plan)>,
        text: &str,
        release: &ReleaseName,
        holdout: Share,
    ) -> Result<Plan, PlanRejected> {
        let plan = Plan::read(text).map_err(|error| PlanRejected::Invalid(error.errors))?;
        if let Some(plan_release) = plan.release.as_ref().filter(|name| *name != release) {
            let (plan, release) = (plan_release.as_str().to_owned(), release.as_str().to_owned());
            return Err(PlanRejected::OtherRelease { plan, release });
        }
        if plan.holdout < holdout {
            return Err(PlanRejected::HoldoutTooSmall { plan: plan.holdout, gateway: holdout });
        }
        let has_traffic =
            |(controller, old): &(&Self, &Plan)| controller.state.share(old) > Share::NONE;
        let Some((controller, old)) = current.filter(has_traffic) else {
            return Ok(plan);
        };
        let stages_in_use = controller.state.stage + 1;
        let is_unchanged = old.stages.get(..stages_in_use) == plan.stages.get(..stages_in_use)
            && old.gates == plan.gates
            && old.holdout == plan.holdout
            && old.stable_limits == plan.stable_limits;
        // The last stage is judged differently, so it has to stay the last.
        let is_last_stage = |plan: &Plan| plan.stages.len() == stages_in_use;
        if is_unchanged && is_last_stage(old) == is_last_stage(&plan) {
            Ok(plan)
        } else {
            Err(PlanRejected::CanaryHasTraffic)
        }
    }

    /// Returns the release after one input, and its history entry if the input changed anything or
    /// has to be answered.
    ///
    /// The new plan of [`RolloutInput::PlanApplied`] is `plan`; the caller has checked it with
    /// [`RolloutController::validate_plan_change`].
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
        let counted = [next.canary, next.stable];
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
        outcome: Option<(Vec<RolloutAction>, GateSummary, [CohortCounts; 2])>,
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

/// Returns whether a command fits the release's phase. A command that fits may still be refused for
/// another reason; see [`explain_refusal`].
pub fn is_allowed(controller: &RolloutController, plan: &Plan, command: &OperatorCommand) -> bool {
    let has_traffic = controller.has_canary_traffic(plan);
    let phase = &controller.state.phase;
    match command {
        OperatorCommand::Start => *phase == Phase::Idle,
        OperatorCommand::Approve => matches!(phase, Phase::AwaitingApproval { .. }),
        OperatorCommand::Resume { .. } => {
            matches!(phase, Phase::Paused { .. } | Phase::RolledBack { .. } | Phase::Aborted { .. })
        }
        OperatorCommand::Advance { .. } | OperatorCommand::Pause { .. } => {
            has_traffic && !matches!(phase, Phase::Paused { .. } | Phase::Promoted)
        }
        OperatorCommand::RollBack { .. } => has_traffic,
        OperatorCommand::Abort { .. } => !matches!(phase, Phase::Aborted { .. }),
    }
}

/// Returns the commands that are possible now, in the order in which they are offered. Each has an
/// empty reason.
pub fn allowed_commands(controller: &RolloutController, plan: &Plan) -> Vec<OperatorCommand> {
    let reason = String::new;
    let commands = [
        OperatorCommand::Start,
        OperatorCommand::Approve,
        OperatorCommand::Resume { reason: reason() },
        OperatorCommand::Advance { reason: reason() },
        OperatorCommand::Pause { reason: reason() },
        OperatorCommand::RollBack { reason: reason() },
        OperatorCommand::Abort { reason: reason() },
    ];
    commands.into_iter().filter(|command| is_allowed(controller, plan, command)).collect()
}

/// Returns one sentence that says why an operator's command is not possible now, and which commands
/// are if the phase rules it out.
pub fn explain_refusal(
    controller: &RolloutController,
    plan: &Plan,
    command: &OperatorCommand,
    blocked_by: Option<&AdvanceBlocked>,
    (now, last_complete_minute): (UnixMs, u64),
) -> String {
    let gates = controller.summarize_gates(plan, last_complete_minute);
    let lacks_reason = match command {
        OperatorCommand::Advance { reason } | OperatorCommand::Resume { reason } => {
            reason.trim().is_empty()
        }
        _ => false,
    };
    let name = command.name();
    if !is_allowed(controller, plan, command) {
        return format!(
            "`{name}` is not possible while the release is {}; possible now: {}",
            controller.state.phase.name(),
            allowed_commands(controller, plan)
                .iter()
                .map(|command| format!("`jeffrey rollout {}`", command.name()))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    if lacks_reason {
        return format!("`{name}` needs a reason");
    }
    let why = if let Some(blocker) = blocked_by {
        match blocker.suggested_command() {
            Some(command) => format!("{blocker}: run `{command}`"),
            None => blocker.to_string(),
        }
    } else if plan.freezes.iter().any(|freeze| freeze.is_active(now)) {
        "the plan freezes this time of the week".to_owned()
    } else if gates.stable_outside_limits {
        "the legacy system is outside the plan's limits".to_owned()
    } else if gates.no_canary_data {
        "no canary request for five minutes".to_owned()
    } else {
        "a critical gate fails".to_owned()
    };
    format!("`{name}` is not done now: {why}")
}

/// Counts of a history that was replayed without a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryReplaySummary {
    /// Number of history entries.
    pub entries: u64,
    /// Number of entries that led to an action.
    pub decisions: u64,
}

/// First difference between a history and the decisions that its inputs lead to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayMismatch {
    /// A line is not a history entry.
    #[error("line {line} is no entry of a history")]
    Malformed {
        /// Line of the export, from 1.
        line: u64,
    },
    /// The entries' numbers have a gap, or go back.
    #[error(
        "line {line} has number {found}, expected was {expected}: something is missing or doubled"
    )]
    Gap {
        /// Line of the export, from 1.
        line: u64,
        /// Number that the entry should have.
        expected: u64,
        /// Number that the entry has.
        found: u64,
    },
    /// The first line has no plan, or a later line has a plan that is not valid.
    #[error("line {line} should bring a plan into force, and does not")]
    Plan {
        /// Line of the export, from 1.
        line: u64,
    },
    /// The recorded entry differs from the one that the same input leads to.
    #[error(
        "entry {seq} was recorded otherwise than its inputs decide: recorded `{recorded}`, decided `{decided}`"
    )]
    Decision {
        /// Number of the entry.
        seq: u64,
        /// Recorded text around the first difference.
        recorded: String,
        /// Text of the repeated decision around the first difference.
        decided: String,
    },
}

/// Replays an exported history line by line, and compares every entry to the last bit.
///
/// # Errors
/// [`ReplayMismatch`] when a line is not the entry that its inputs lead to; it names the first such
/// line.
pub fn replay<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<HistoryReplaySummary, ReplayMismatch> {
    let mut current: Option<(Plan, RolloutController)> = None;
    let mut summary = HistoryReplaySummary { entries: 0, decisions: 0 };
    for (text, line) in lines.into_iter().filter(|line| !line.trim().is_empty()).zip(1..) {
        let recorded: HistoryEntry =
            serde_json::from_str(text).map_err(|_| ReplayMismatch::Malformed { line })?;
        let read_plan = |text: &str| Plan::read(text).map_err(|_| ReplayMismatch::Plan { line });
        if let RolloutInput::PlanApplied { plan: text, .. } = &recorded.input {
            let plan = read_plan(text)?;
            // Before the first plan, the release has not started.
            let controller = match current.take() {
                Some((_, controller)) => controller,
                None => RolloutController::new(&plan, recorded.now, 0),
            };
            current = Some((plan, controller));
        }
        let Some((plan, controller)) = current.as_mut() else {
            return Err(ReplayMismatch::Plan { line });
        };
        if recorded.seq != controller.seq + 1 {
            let (expected, found) = (controller.seq + 1, recorded.seq);
            return Err(ReplayMismatch::Gap { line, expected, found });
        }
        let (next, entry) = controller.apply(plan, &recorded.input, recorded.now);
        let decided = entry.map_or("nothing".to_owned(), |entry| {
            serde_json::to_string(&entry).unwrap_or_default()
        });
        if decided != text.trim() {
            let mismatch_index =
                decided.bytes().zip(text.trim().bytes()).take_while(|(a, b)| a == b).count();
            let excerpt = |text: &str| {
                let from = text.floor_char_boundary(mismatch_index.saturating_sub(20));
                text[from..].chars().take(60).collect::<String>()
            };
            let (recorded, decided) = (excerpt(text.trim()), excerpt(&decided));
            return Err(ReplayMismatch::Decision { seq: controller.seq + 1, recorded, decided });
        }
        *controller = next;
        summary.entries += 1;
        summary.decisions += u64::from(!recorded.actions.is_empty());
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;

    const NOW: UnixMs = UnixMs(1_795_435_200_000);
    const MINUTE_MS: u64 = 60_000;

    fn minute(number: u64, errors: u64) -> Box<ClosedMinute> {
        let counts = |requests, errors_5xx| CohortCounts {
            requests,
            errors_5xx,
            scored_responses: requests - errors_5xx,
            ..CohortCounts::default()
        };
        Box::new(ClosedMinute {
            minute: number,
            share: Some("10%".parse().unwrap()),
            canary: counts(60, errors),
            stable: counts(540, 5),
            ..ClosedMinute::default()
        })
    }

    fn command_input(command: OperatorCommand, closed: u64) -> RolloutInput {
        RolloutInput::Command {
            actor: "test".to_owned(),
            command,
            blocked_by: None,
            last_complete_minute: closed,
        }
    }

    /// A release with its history, as it is exported.
    struct ReplayHarness {
        plan: Plan,
        controller: RolloutController,
        lines: Vec<String>,
    }

    impl ReplayHarness {
        fn new(text: &str) -> Self {
            let plan = Plan::read(text).unwrap();
            let controller = RolloutController::new(&plan, NOW, 0);
            let mut run = Self { plan, controller, lines: Vec::new() };
            let plan_input = RolloutInput::PlanApplied {
                actor: "test".to_owned(),
                plan: text.to_owned(),
                last_complete_minute: first_minute(),
            };
            run.feed(&plan_input, NOW);
            run
        }

        fn feed(&mut self, input: &RolloutInput, now: UnixMs) -> Option<HistoryEntry> {
            let (next, entry) = self.controller.apply(&self.plan, input, now);
            // The rollout object goes on with what it stored.
            let stored = serde_json::to_string(&next).unwrap();
            assert_eq!(serde_json::from_str::<RolloutController>(&stored).unwrap(), next);
            self.controller = next;
            self.lines.extend(entry.as_ref().map(|entry| serde_json::to_string(entry).unwrap()));
            entry
        }

        fn replay(&self) -> Result<HistoryReplaySummary, ReplayMismatch> {
            replay(self.lines.iter().map(String::as_str))
        }
    }

    fn first_minute() -> u64 {
        NOW.0 / MINUTE_MS
    }

    fn time_at(minutes: u64) -> UnixMs {
        UnixMs(NOW.0 + minutes * MINUTE_MS)
    }

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
        assert!(entry.gates.is_some() && entry.counts.unwrap()[0].requests == 39 * 60);
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

    #[test]
    fn a_doubled_minute_is_no_entry_and_a_changed_history_is_found() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        let input = RolloutInput::Minute { minute: minute(first_minute() + 1, 3) };
        assert!(run.feed(&input, time_at(2)).is_some());
        assert!(run.feed(&input, time_at(2)).is_none());
        assert_eq!(run.controller.stage_counts(Cohort::Canary).requests, 60);
        run.feed(
            &command_input(
                OperatorCommand::Pause { reason: "lunch".to_owned() },
                first_minute() + 1,
            ),
            time_at(3),
        );
        run.replay().unwrap();
        let lines = run.lines.clone();
        let changed = |from: &str, to: &str| {
            let lines: Vec<String> = lines.iter().map(|line| line.replace(from, to)).collect();
            assert_ne!(lines, run.lines, "{from}");
            replay(lines.iter().map(String::as_str)).unwrap_err()
        };
        assert!(matches!(
            changed("\"errors_5xx\":3", "\"errors_5xx\":4"),
            ReplayMismatch::Decision { .. }
        ));
        assert!(matches!(
            changed("\"phase\":\"paused\"", "\"phase\":\"holding\""),
            ReplayMismatch::Malformed { .. } | ReplayMismatch::Decision { .. }
        ));
        let missing = [&lines[..2], &lines[3..]].concat();
        let missing = replay(missing.iter().map(String::as_str)).unwrap_err();
        assert_eq!(missing, ReplayMismatch::Gap { line: 3, expected: 3, found: 4 });
        assert_eq!(
            replay(lines[1..].iter().map(String::as_str)),
            Err(ReplayMismatch::Plan { line: 1 })
        );
        assert_eq!(replay(["no entry"]), Err(ReplayMismatch::Malformed { line: 1 }));
    }

    #[test]
    fn what_is_refused_says_why_in_a_sentence() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        let explain = |run: &ReplayHarness,
                       command: &OperatorCommand,
                       blocked_by: Option<&AdvanceBlocked>,
                       now| {
            explain_refusal(&run.controller, &run.plan, command, blocked_by, (now, first_minute()))
        };
        let advance = |text: &str| OperatorCommand::Advance { reason: text.to_owned() };
        assert_eq!(
            explain(&run, &OperatorCommand::Approve, None, NOW),
            "`approve` is not possible while the release is idle; \
             possible now: `jeffrey rollout start`, `jeffrey rollout abort`"
        );
        assert_eq!(
            explain(&run, &OperatorCommand::Start, Some(&AdvanceBlocked::ValidationMissing), NOW),
            "`start` is not done now: there is no release check: run `jeffrey validate --post URL`"
        );
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        assert_eq!(explain(&run, &advance(" "), None, NOW), "`advance` needs a reason");
        assert_eq!(
            explain(&run, &advance("hurry"), None, NOW),
            "`advance` is not done now: no canary request for five minutes"
        );
        let entry = run.feed(&command_input(advance("hurry"), first_minute()), time_at(1)).unwrap();
        assert_eq!(
            entry.actions,
            [RolloutAction::Alert(RolloutAlert::CommandRefused(advance("hurry")))]
        );
        assert_eq!(run.controller.active_alert, None);
    }

    #[test]
    fn a_plan_changes_under_traffic_only_where_nothing_is_judged_by_it() {
        let release: ReleaseName = "e1-small".parse().unwrap();
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        let validate = |run: &ReplayHarness, text: &str| {
            RolloutController::validate_plan_change(
                Some((&run.controller, &run.plan)),
                text,
                &release,
                Share::NONE,
            )
        };
        let later_stage_plan =
            DEFAULT_PLAN_TOML.replacen("min_duration = \"9h\"", "min_duration = \"8h\"", 1);
        let current_stage_plan =
            DEFAULT_PLAN_TOML.replacen("min_duration = \"24h\"", "min_duration = \"23h\"", 1);
        let gate_plan =
            DEFAULT_PLAN_TOML.replacen("max_increase = \"+50%\"", "max_increase = \"+60%\"", 1);
        for text in [&later_stage_plan, &current_stage_plan, &gate_plan] {
            assert!(validate(&run, text).is_ok(), "nothing flows");
        }
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        assert!(validate(&run, &later_stage_plan).is_ok());
        assert_eq!(validate(&run, &current_stage_plan), Err(PlanRejected::CanaryHasTraffic));
        assert_eq!(validate(&run, &gate_plan), Err(PlanRejected::CanaryHasTraffic));
        let foreign = DEFAULT_PLAN_TOML.replace("release = \"e1-small\"", "release = \"e2\"");
        assert!(matches!(validate(&run, &foreign), Err(PlanRejected::OtherRelease { .. })));
        let [plan, gateway] = [100, 101].map(|points| Share::from_basis_points(points).unwrap());
        let held_out = |holdout| {
            RolloutController::validate_plan_change(None, DEFAULT_PLAN_TOML, &release, holdout)
        };
        assert!(held_out(plan).is_ok());
        assert_eq!(held_out(gateway), Err(PlanRejected::HoldoutTooSmall { plan, gateway }));
        let faulty = DEFAULT_PLAN_TOML.replace("metric = \"slow\"", "metric = \"speed\"");
        let Err(PlanRejected::Invalid(faults)) = validate(&run, &faulty) else { panic!() };
        assert!(!faults.is_empty());
        // The evidence of the current stage outlives a change of a later one.
        run.feed(&RolloutInput::Minute { minute: minute(first_minute() + 1, 0) }, time_at(2));
        run.plan = validate(&run, &later_stage_plan).unwrap();
        let plan_input = RolloutInput::PlanApplied {
            actor: "test".to_owned(),
            plan: later_stage_plan,
            last_complete_minute: first_minute() + 1,
        };
        run.feed(&plan_input, time_at(3)).unwrap();
        assert_eq!(run.controller.stage_counts(Cohort::Canary).requests, 60);
        run.replay().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        /// For any inputs in any order, the canary's share is the one that the actions set, and the
        /// history makes the same release again.
        #[test]
        fn every_history_replays(inputs in prop::collection::vec((0_u8..9, 0_u64..6, 0_u64..30), 1..120)) {
            let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
            let mut share = Share::NONE;
            let mut clock = 0;
            for (what, number, errors) in inputs {
                clock += number;
                let closed = first_minute() + clock;
                let reason = "because".to_owned();
                let withheld = (errors % 3 == 0).then_some(AdvanceBlocked::ValidationMissing);
                let input = match what {
                    0 => command_input(OperatorCommand::Start, closed),
                    1 => command_input(OperatorCommand::Resume { reason }, closed),
                    2 => command_input(OperatorCommand::Pause { reason }, closed),
                    3 => command_input(OperatorCommand::Advance { reason }, closed),
                    4 => RolloutInput::HardFailure { kind: HardFailureKind::Trap, last_complete_minute: closed },
                    5 => RolloutInput::Tick { blocked_by: withheld, last_complete_minute: closed },
                    _ => RolloutInput::Minute { minute: minute(closed.saturating_sub(errors), errors) },
                };
                let entry = run.feed(&input, time_at(clock + 1));
                for action in entry.iter().flat_map(|entry| &entry.actions) {
                    if let RolloutAction::SetShare(set) = action {
                        share = *set;
                    }
                }
                prop_assert_eq!(run.controller.state.share(&run.plan), share);
            }
            let replayed = run.replay();
            prop_assert!(replayed.is_ok(), "{:?}", replayed);
        }
    }
}
