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
use super::command::OperatorCommand;
use super::effect::{RolloutAction, RolloutAlert};
use super::gate::finding::GateVerdict;
use super::gate::summary::GateSummary;
use super::phase::{HoldReason, Phase, RollbackCause};
use super::plan::{Plan, Stage};
use super::release_state::HardFailureKind;
use crate::catalogue::render::Catalogue;
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
                // The history keeps the reason as text, so it is in one language.
                Phase::Paused { reason: Catalogue::ENGLISH.render(&blocker.to_message()) }
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
mod tests;
