//! The state of a release in its plan, and the state machine that moves it: one function of state,
//! input and time.
//!
//! Two invariants hold in every state, and the tests go through all of them. While the canary has
//! any traffic, a failing critical gate or a hard failure rolls back. While stable breaks its own
//! limits, no share increases; without canary data, no share increases after the start.
//!
//! A rollback is latched: only an operator resumes, with a reason. The function returns the actions
//! to take and does not take them itself.

use serde::{Deserialize, Serialize};

use super::advance_checks::AdvanceBlocked;
use super::evidence::GateSummary;
use super::plan::{Plan, Stage};
use super::release_state::HardFailureKind;
use crate::rollout::gate::finding::{GateFinding, GateVerdict};
use jeffrey_terms::{Share, UnixMs};

/// State of a release in its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanProgress {
    /// Current phase of the release.
    pub phase: Phase,
    /// Index of the current stage, from 0. A rollback keeps it, to show where it happened.
    pub stage: usize,
    /// Time at which the stage began, in milliseconds since 1970.
    #[serde(rename = "entered_ms")]
    pub stage_entered_at: UnixMs,
    /// Time at which the phase began, in milliseconds since 1970.
    #[serde(rename = "since_ms")]
    pub phase_entered_at: UnixMs,
}

/// Phase of a release: whether it advances, waits, or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", deny_unknown_fields)]
pub enum Phase {
    /// An operator ended the release; it has no traffic.
    Aborted {
        /// Reason that the operator gave.
        reason: String,
    },
    /// The release does not advance until an operator approves.
    AwaitingApproval {
        /// Whether the gates could not decide before the plan's deadline; `false` if the stage
        /// itself requires approval.
        undecided: bool,
    },
    /// The release could advance, but a freeze of the plan is active.
    Frozen,
    /// The release may not advance now; its traffic continues.
    Holding {
        /// Reason why the release holds.
        reason: HoldReason,
    },
    /// The release has not started; it has no traffic.
    Idle,
    /// An operator, or a webhook that answered `halt`, stopped the release at its current share.
    /// Traffic continues, and so do the gates.
    Paused {
        /// Reason given by the operator, or the advance check that needs an operator.
        reason: String,
    },
    /// The release passed its last stage. Its share stays, and a failing critical gate still rolls
    /// back.
    Promoted,
    /// The release is in a stage before the last one, and nothing blocks it.
    Ramping,
    /// The release was rolled back; it has no traffic.
    RolledBack {
        /// Cause of the rollback.
        cause: Box<RollbackCause>,
    },
    /// The release is in the last stage, and its gates are still active.
    Watching,
}

/// Reasons why a release holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// A gate does not pass: evidence is missing, or speaks against the release.
    Gates,
    /// No canary request for five minutes.
    NoData,
    /// The legacy system is outside the plan's limits for it.
    StableOutsideLimits,
    /// The gates pass, but an advance check blocks the share increase.
    AdvanceBlocked(AdvanceBlocked),
}

impl Phase {
    /// Returns the phase's name in every response, in lower-case words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aborted { .. } => "aborted",
            Self::AwaitingApproval { .. } => "awaiting approval",
            Self::Frozen => "frozen",
            Self::Holding { .. } => "holding",
            Self::Idle => "idle",
            Self::Paused { .. } => "paused",
            Self::Promoted => "promoted",
            Self::Ramping => "ramping",
            Self::RolledBack { .. } => "rolled back",
            Self::Watching => "watching",
        }
    }
}

/// Cause of a rollback, with the numbers that the decision rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackCause {
    /// A hard failure: an event that no canary may cause even once.
    HardFailure(HardFailureKind),
    /// A critical gate failed; this is its finding.
    Gate(GateFinding),
    /// An operator rolled the release back.
    Operator {
        /// Reason that the operator gave.
        reason: String,
    },
}

/// Input of one step of the state machine.
#[derive(Clone, Debug)]
pub struct StepInput<'a> {
    /// Summary of the gates' evidence.
    pub gates: &'a GateSummary,
    /// Command of an operator; `None` on a tick.
    pub command: Option<OperatorCommand>,
    /// Hard failure that an isolate reported; `None` without one.
    pub hard_failure: Option<HardFailureKind>,
    /// Advance check that forbids a share increase, whatever the gates say; `None` if all checks
    /// pass.
    pub blocked_by: Option<AdvanceBlocked>,
}

/// Command that an operator may give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// Ends the release and takes its traffic away.
    Abort {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Goes to the next stage before its time.
    Advance {
        /// Reason that the operator gives; must not be empty.
        reason: String,
    },
    /// Approves the next stage of a release that waits for it.
    Approve,
    /// Stops the release at its current share.
    Pause {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Continues after a pause; starts at the first stage again after a rollback or an abort.
    Resume {
        /// Reason that the operator gives; must not be empty.
        reason: String,
    },
    /// Takes the canary's traffic away.
    RollBack {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Starts the release at the first stage.
    Start,
}

impl OperatorCommand {
    /// Returns the name of the command in the API and the CLI.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "abort",
            Self::Advance { .. } => "advance",
            Self::Approve => "approve",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::RollBack { .. } => "rollback",
            Self::Start => "start",
        }
    }
}

/// Action that follows from a step. `RolloutController::apply` applies those about evidence, the
/// rollout object the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAction {
    /// Alerts the webhook targets that the plan names.
    Alert(RolloutAlert),
    /// Starts a new stage: resets the counts and the evidence that belong to a stage.
    EnterStage,
    /// Resets all evidence of the release.
    ResetEvidence,
    /// Sets the canary's share of the traffic.
    SetShare(Share),
}

/// Event that operators are alerted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAlert {
    /// An operator has to approve; `true` if the gates could not decide before the deadline.
    ApprovalRequired(bool),
    /// The release holds because of these gates, which do not pass.
    Holding(Vec<GateFinding>),
    /// No canary request for five minutes.
    NoData,
    /// The command is not possible now.
    CommandRefused(OperatorCommand),
    /// The release was rolled back for this cause.
    RolledBack(RollbackCause),
    /// The legacy system is outside the plan's limits for it.
    StableOutsideLimits,
    /// The gates pass, but this advance check blocks the share increase.
    AdvanceBlocked(AdvanceBlocked),
}

impl PlanProgress {
    /// Returns the state of a release that has not started.
    pub const fn idle(now: UnixMs) -> Self {
        Self { phase: Phase::Idle, stage: 0, stage_entered_at: now, phase_entered_at: now }
    }

    /// Returns the canary's share in this state.
    pub fn share(&self, plan: &Plan) -> Share {
        match self.phase {
            Phase::Aborted { .. } | Phase::Idle | Phase::RolledBack { .. } => Share::NONE,
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Paused { .. }
            | Phase::Promoted
            | Phase::Ramping
            | Phase::Watching => plan.stage(self.stage).map_or(Share::NONE, |stage| stage.share),
        }
    }

    /// Returns the state after one input, and the actions that follow from it.
    #[must_use]
    pub fn apply_input(
        &self,
        plan: &Plan,
        input: &StepInput<'_>,
        now: UnixMs,
    ) -> (Self, Vec<RolloutAction>) {
        if let Some(cause) = self.rollback_cause(plan, input) {
            let alert = RolloutAction::Alert(RolloutAlert::RolledBack(cause.clone()));
            let next = self.enter_phase(Phase::RolledBack { cause: Box::new(cause) }, now);
            return (next, vec![RolloutAction::SetShare(Share::NONE), alert]);
        }
        match &input.command {
            Some(command) => self.on_command(plan, input, command, now),
            None => self.on_tick(plan, input, now),
        }
    }

    /// Returns the cause if the release has to roll back now; `None` otherwise.
    fn rollback_cause(&self, plan: &Plan, input: &StepInput<'_>) -> Option<RollbackCause> {
        if self.share(plan) == Share::NONE {
            return None;
        }
        let hard_failure = input.hard_failure.map(RollbackCause::HardFailure);
        let gate = || input.gates.first_failure().cloned().map(RollbackCause::Gate);
        let person = || match &input.command {
            Some(OperatorCommand::RollBack { reason }) => {
                Some(RollbackCause::Operator { reason: reason.clone() })
            }
            _ => None,
        };
        hard_failure.or_else(gate).or_else(person)
    }

    /// Handles an input with an operator's command; a command that is not possible now is refused.
    fn on_command(
        &self,
        plan: &Plan,
        input: &StepInput<'_>,
        command: &OperatorCommand,
        now: UnixMs,
    ) -> (Self, Vec<RolloutAction>) {
        let has_traffic = self.share(plan) > Share::NONE;
        let is_frozen = plan.freezes.iter().any(|freeze| freeze.is_active(now));
        let may_start =
            !is_frozen && !input.gates.stable_outside_limits && input.blocked_by.is_none();
        let may_advance = may_start && !input.gates.no_canary_data;
        let refuse = || {
            (
                self.clone(),
                vec![RolloutAction::Alert(RolloutAlert::CommandRefused(command.clone()))],
            )
        };
        match (command, &self.phase) {
            (OperatorCommand::Abort { reason }, phase)
                if !matches!(phase, Phase::Aborted { .. }) =>
            {
                let next = self.enter_phase(Phase::Aborted { reason: reason.clone() }, now);
                (next, vec![RolloutAction::SetShare(Share::NONE)])
            }
            (OperatorCommand::Pause { reason }, phase)
                if has_traffic && !matches!(phase, Phase::Paused { .. } | Phase::Promoted) =>
            {
                (self.enter_phase(Phase::Paused { reason: reason.clone() }, now), Vec::new())
            }
            (OperatorCommand::Resume { reason }, Phase::Paused { .. })
                if !reason.trim().is_empty() =>
            {
                (self.enter_phase(self.running_phase(plan), now), Vec::new())
            }
            (OperatorCommand::Approve, Phase::AwaitingApproval { .. }) if may_advance => {
                self.advance_stage(plan, now)
            }
            (OperatorCommand::Advance { reason }, phase)
                if has_traffic
                    && may_advance
                    && !reason.trim().is_empty()
                    && !matches!(phase, Phase::Paused { .. } | Phase::Promoted) =>
            {
                self.advance_stage(plan, now)
            }
            (OperatorCommand::Start, Phase::Idle) if may_start => {
                start_release(plan, now).unwrap_or_else(refuse)
            }
            (
                OperatorCommand::Resume { reason },
                Phase::RolledBack { .. } | Phase::Aborted { .. },
            ) if !reason.trim().is_empty() && may_start => {
                start_release(plan, now).unwrap_or_else(refuse)
            }
            _ => refuse(),
        }
    }

    /// Handles an input without a command: the gates and the time decide.
    fn on_tick(
        &self,
        plan: &Plan,
        input: &StepInput<'_>,
        now: UnixMs,
    ) -> (Self, Vec<RolloutAction>) {
        let gates = input.gates;
        let is_progressing = match self.phase {
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Ramping
            | Phase::Watching => true,
            Phase::Aborted { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::Promoted
            | Phase::RolledBack { .. } => false,
        };
        let Some(stage) = plan.stage(self.stage).filter(|_| is_progressing) else {
            return (self.clone(), Vec::new());
        };
        let minutes = now.0.saturating_sub(self.stage_entered_at.0) / 60_000;
        let is_due = minutes >= stage.min_duration_minutes;
        let has_passed = gates.allows_advance() && gates.samples >= stage.min_samples;
        let is_past_deadline = plan.deadline_minutes > 0
            && minutes >= plan.deadline_minutes.max(stage.min_duration_minutes);
        let awaits_approval = matches!(self.phase, Phase::AwaitingApproval { .. });
        // Promotion after the last stage does not increase the share, so no advance check blocks
        // it.
        let blocked_by = input.blocked_by.clone().filter(|_| self.stage + 1 < plan.stages.len());
        if let Some(blocker) = blocked_by.filter(|_| is_due && has_passed) {
            let phase = if blocker.needs_operator() {
                Phase::Paused { reason: blocker.to_string() }
            } else {
                Phase::Holding { reason: HoldReason::AdvanceBlocked(blocker.clone()) }
            };
            let alert = (phase != self.phase)
                .then_some(RolloutAction::Alert(RolloutAlert::AdvanceBlocked(blocker)));
            return (self.keep_or_enter_phase(phase, now), alert.into_iter().collect());
        }
        if is_due && has_passed && stage.approval {
            return self.transition(Phase::AwaitingApproval { undecided: false }, gates, now);
        }
        if is_due && has_passed && plan.freezes.iter().any(|freeze| freeze.is_active(now)) {
            return self.transition(Phase::Frozen, gates, now);
        }
        if is_due && has_passed {
            return self.advance_stage(plan, now);
        }
        if is_past_deadline {
            return self.transition(Phase::AwaitingApproval { undecided: true }, gates, now);
        }
        let is_healthy = gates.rollback_verdict() == GateVerdict::Pass
            && !gates.stable_outside_limits
            && !gates.no_canary_data;
        let why = match (gates.no_canary_data, gates.stable_outside_limits) {
            (true, _) => HoldReason::NoData,
            (false, true) => HoldReason::StableOutsideLimits,
            (false, false) => HoldReason::Gates,
        };
        let must_hold = is_due || !is_healthy || awaits_approval;
        let phase =
            if must_hold { Phase::Holding { reason: why } } else { self.running_phase(plan) };
        self.transition(phase, gates, now)
    }

    /// Goes to the next stage, or promotes the release after the last one.
    fn advance_stage(&self, plan: &Plan, now: UnixMs) -> (Self, Vec<RolloutAction>) {
        let Some(stage) = plan.stages.get(self.stage + 1) else {
            return (self.enter_phase(Phase::Promoted, now), Vec::new());
        };
        enter_stage(plan, self.stage + 1, stage, now)
    }

    /// Enters a phase and returns the alert that it needs; nothing changes if it is the current
    /// phase.
    fn transition(
        &self,
        phase: Phase,
        gates: &GateSummary,
        now: UnixMs,
    ) -> (Self, Vec<RolloutAction>) {
        if phase == self.phase {
            return (self.clone(), Vec::new());
        }
        let alert = match &phase {
            Phase::AwaitingApproval { undecided } => {
                Some(RolloutAlert::ApprovalRequired(*undecided))
            }
            Phase::Holding { reason: HoldReason::NoData } => Some(RolloutAlert::NoData),
            Phase::Holding { reason: HoldReason::StableOutsideLimits } => {
                Some(RolloutAlert::StableOutsideLimits)
            }
            Phase::Holding { .. } => {
                let open_findings =
                    gates.findings.iter().filter(|finding| finding.verdict != GateVerdict::Pass);
                Some(RolloutAlert::Holding(open_findings.cloned().collect()))
            }
            _ => None,
        };
        (self.enter_phase(phase, now), alert.map(RolloutAction::Alert).into_iter().collect())
    }

    /// Returns the phase of a release that nothing stops.
    fn running_phase(&self, plan: &Plan) -> Phase {
        if self.stage + 1 < plan.stages.len() { Phase::Ramping } else { Phase::Watching }
    }

    /// Enters a phase, unless it is the current one; its start time stays then.
    fn keep_or_enter_phase(&self, phase: Phase, now: UnixMs) -> Self {
        if phase == self.phase { self.clone() } else { self.enter_phase(phase, now) }
    }

    fn enter_phase(&self, phase: Phase, now: UnixMs) -> Self {
        Self { phase, phase_entered_at: now, ..self.clone() }
    }
}

/// Enters the first stage; `None` if the plan has no stage.
fn start_release(plan: &Plan, now: UnixMs) -> Option<(PlanProgress, Vec<RolloutAction>)> {
    let (state, mut actions) = enter_stage(plan, 0, plan.stages.first()?, now);
    actions.push(RolloutAction::ResetEvidence);
    Some((state, actions))
}

fn enter_stage(
    plan: &Plan,
    stage_index: usize,
    stage: &Stage,
    now: UnixMs,
) -> (PlanProgress, Vec<RolloutAction>) {
    let phase = if stage_index + 1 < plan.stages.len() { Phase::Ramping } else { Phase::Watching };
    let state =
        PlanProgress { phase, stage: stage_index, stage_entered_at: now, phase_entered_at: now };
    (state, vec![RolloutAction::SetShare(stage.share), RolloutAction::EnterStage])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::Metric;
    use crate::rollout::gate::GateEffect;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;

    const VERDICTS: [GateVerdict; 3] = [GateVerdict::Pass, GateVerdict::Hold, GateVerdict::Fail];
    /// Monday, 2026-11-23, 12:00 UTC: the test plan's freeze is not active.
    const NOW: UnixMs = UnixMs(1_795_435_200_000);

    fn finding(effect: GateEffect, verdict: GateVerdict) -> GateFinding {
        GateFinding {
            gate: format!("{effect:?}"),
            metric: Metric::Errors,
            effect,
            verdict,
            reason: None,
            value: None,
            limit: None,
            samples: 0,
            hits: 0,
            ln_evidence: None,
            ln_threshold: None,
            decides_in_minutes: None,
            failed_at_minute: None,
            verdict_since_minute: None,
        }
    }

    fn summary(critical: GateVerdict, advance: GateVerdict) -> GateSummary {
        GateSummary {
            findings: vec![
                finding(GateEffect::RollBack, critical),
                finding(GateEffect::Warn, GateVerdict::Fail),
                finding(GateEffect::BlockAdvance, advance),
            ],
            stable_outside_limits: false,
            no_canary_data: false,
            samples: 1_000_000,
        }
    }

    /// All combinations of gate verdicts, stable's state, silence and sample counts.
    fn summaries() -> Vec<GateSummary> {
        let mut all = Vec::new();
        for critical in VERDICTS {
            for advance in [GateVerdict::Pass, GateVerdict::Hold] {
                for bits in 0..8_u8 {
                    let mut gates = summary(critical, advance);
                    gates.stable_outside_limits = bits & 1 > 0;
                    gates.no_canary_data = bits & 2 > 0;
                    gates.samples = if bits & 4 > 0 { 0 } else { 1_000_000 };
                    all.push(gates);
                }
            }
        }
        all
    }

    fn phases() -> [Phase; 11] {
        [
            Phase::Aborted { reason: "x".into() },
            Phase::AwaitingApproval { undecided: false },
            Phase::AwaitingApproval { undecided: true },
            Phase::Frozen,
            Phase::Holding { reason: HoldReason::Gates },
            Phase::Idle,
            Phase::Paused { reason: "x".into() },
            Phase::Promoted,
            Phase::Ramping,
            Phase::RolledBack {
                cause: Box::new(RollbackCause::HardFailure(HardFailureKind::Trap)),
            },
            Phase::Watching,
        ]
    }

    fn commands() -> [Option<OperatorCommand>; 10] {
        let (reason, empty) = ("seen and understood".to_owned(), " ".to_owned());
        [
            None,
            Some(OperatorCommand::Abort { reason: reason.clone() }),
            Some(OperatorCommand::Approve),
            Some(OperatorCommand::Pause { reason: reason.clone() }),
            Some(OperatorCommand::Resume { reason: empty }),
            Some(OperatorCommand::Resume { reason: reason.clone() }),
            Some(OperatorCommand::RollBack { reason: reason.clone() }),
            Some(OperatorCommand::Advance { reason: " ".to_owned() }),
            Some(OperatorCommand::Advance { reason }),
            Some(OperatorCommand::Start),
        ]
    }

    fn plan() -> Plan {
        let freeze = "[[freeze]]\ndays = \"fri\"\nfrom = \"00:00\"\nto = \"24:00\"\n";
        Plan::read(&format!("{DEFAULT_PLAN_TOML}\n{freeze}")).unwrap()
    }

    /// Calls `check` with every state, every input and every kind of time.
    fn every_transition(
        mut check: impl FnMut(&Plan, &PlanProgress, &StepInput<'_>, &PlanProgress, &[RolloutAction]),
    ) {
        let plan = plan();
        let day = 24 * 3_600_000;
        let summaries = summaries();
        for phase in phases() {
            // The first stage, the one that needs approval, and the last.
            for stage in [0, 3, 4] {
                // Just entered; due and past the deadline; the same in a freeze.
                for (age, now) in [(0, NOW), (8 * day, NOW), (8 * day, UnixMs(NOW.0 + 4 * day))] {
                    let entered = UnixMs(now.0 - age);
                    let state = PlanProgress {
                        phase: phase.clone(),
                        stage,
                        stage_entered_at: entered,
                        phase_entered_at: entered,
                    };
                    for gates in &summaries {
                        for command in commands() {
                            for hard_failure in [None, Some(HardFailureKind::DimensionMismatch)] {
                                for blocked_by in [None, Some(AdvanceBlocked::ValidationMissing)] {
                                    let command = command.clone();
                                    let input =
                                        StepInput { gates, command, hard_failure, blocked_by };
                                    let (next, actions) = state.apply_input(&plan, &input, now);
                                    check(&plan, &state, &input, &next, &actions);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_failing_critical_gate_rolls_back_wherever_traffic_is_the_canarys() {
        let mut rolled_back = 0;
        every_transition(|plan, state, input, next, actions| {
            let flows = state.share(plan) > Share::NONE;
            let is_rollback_command =
                matches!(input.command, Some(OperatorCommand::RollBack { .. }));
            let must_roll_back = input.gates.rollback_verdict() == GateVerdict::Fail
                || input.hard_failure.is_some()
                || is_rollback_command;
            if flows && must_roll_back {
                rolled_back += 1;
                assert!(matches!(next.phase, Phase::RolledBack { .. }), "{state:?} {input:?}");
                assert_eq!(actions[0], RolloutAction::SetShare(Share::NONE));
                assert!(matches!(actions[1], RolloutAction::Alert(RolloutAlert::RolledBack(_))));
            }
            if must_roll_back {
                let began = matches!(
                    input.command,
                    Some(OperatorCommand::Start | OperatorCommand::Resume { .. })
                );
                assert!(next.share(plan) == Share::NONE || (!flows && began));
            }
        });
        assert!(rolled_back > 10_000, "{rolled_back}");
    }

    #[test]
    fn nothing_rises_while_stable_is_broken_or_nothing_is_known() {
        let mut increases = 0;
        every_transition(|plan, state, input, next, _| {
            let (before, after) = (state.share(plan), next.share(plan));
            if after <= before {
                return;
            }
            increases += 1;
            let began = before == Share::NONE;
            assert!(!input.gates.stable_outside_limits, "{state:?} {input:?}");
            assert!(began || !input.gates.no_canary_data, "{state:?} {input:?}");
            // Without a command, the share increases only when all gates pass and the stage was
            // long enough.
            assert!(input.blocked_by.is_none(), "{state:?} {input:?}");
            let approved = matches!(
                &input.command,
                Some(OperatorCommand::Approve | OperatorCommand::Advance { .. })
            );
            assert!(began || approved || input.gates.allows_advance(), "{state:?} {input:?}");
            assert!(!began || input.command.is_some(), "{state:?}");
            let stage = if began { 0 } else { state.stage + 1 };
            assert_eq!(after, plan.stages[stage].share, "one stage at a time");
            assert!(
                approved || began || !plan.stages[state.stage].approval,
                "a stage that wants approval is left without: {state:?}"
            );
        });
        assert!(increases > 100, "{increases}");
    }

    #[test]
    fn a_rollback_stays_until_a_person_resumes_with_a_reason() {
        every_transition(|plan, state, input, next, actions| {
            let (Phase::RolledBack { .. }, true) = (&state.phase, next.phase != state.phase) else {
                return;
            };
            match &input.command {
                Some(OperatorCommand::Abort { .. }) => assert_eq!(next.share(plan), Share::NONE),
                Some(OperatorCommand::Resume { reason }) => {
                    assert!(!reason.trim().is_empty());
                    assert_eq!(next.stage, 0);
                    assert!(actions.contains(&RolloutAction::ResetEvidence));
                }
                other => panic!("{other:?} ended a rollback"),
            }
        });
    }

    #[test]
    fn the_share_of_every_state_was_set_by_an_action() {
        every_transition(|plan, state, _, next, actions| {
            let set = actions.iter().rev().find_map(|action| match action {
                RolloutAction::SetShare(share) => Some(*share),
                _ => None,
            });
            assert_eq!(set.unwrap_or(state.share(plan)), next.share(plan), "{state:?} to {next:?}");
            let entered = next.stage != state.stage;
            assert!(!entered || actions.contains(&RolloutAction::EnterStage));
        });
    }

    #[test]
    fn a_good_release_goes_through_every_stage_to_promotion() {
        let plan = plan();
        let gates = summary(GateVerdict::Pass, GateVerdict::Pass);
        let mut state = PlanProgress::idle(NOW);
        let mut now = NOW;
        let mut shares = Vec::new();
        for minute in 0..20_000_u64 {
            let command = match &state.phase {
                Phase::Idle => Some(OperatorCommand::Start),
                Phase::AwaitingApproval { .. } if minute % 60 == 0 => {
                    Some(OperatorCommand::Approve)
                }
                _ => None,
            };
            let input = StepInput { gates: &gates, command, hard_failure: None, blocked_by: None };
            state = state.apply_input(&plan, &input, now).0;
            let share = state.share(&plan);
            if shares.last() != Some(&share.basis_points()) {
                shares.push(share.basis_points());
            }
            now = UnixMs(now.0 + 60_000);
        }
        assert_eq!(shares, [1_000, 2_000, 5_000, 7_500, 10_000]);
        assert_eq!(state.phase, Phase::Promoted);
    }

    #[test]
    fn the_same_hold_alerts_once() {
        let plan = plan();
        let mut gates = summary(GateVerdict::Pass, GateVerdict::Pass);
        gates.no_canary_data = true;
        let state = PlanProgress { phase: Phase::Ramping, ..PlanProgress::idle(NOW) };
        let input =
            StepInput { gates: &gates, command: None, hard_failure: None, blocked_by: None };
        let (holding, actions) = state.apply_input(&plan, &input, NOW);
        assert_eq!(actions, [RolloutAction::Alert(RolloutAlert::NoData)]);
        assert!(matches!(holding.phase, Phase::Holding { .. }), "{holding:?}");
        assert_eq!(holding.apply_input(&plan, &input, NOW).1, []);
    }

    #[test]
    fn a_state_is_stored_and_read_back_the_same() {
        for phase in phases() {
            let state =
                PlanProgress { phase, stage: 3, stage_entered_at: NOW, phase_entered_at: NOW };
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<PlanProgress>(&json).unwrap(), state, "{json}");
        }
    }
}
