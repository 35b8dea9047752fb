//! Messages about a release, the same for alerts, the terminal, the dashboard and reports.
//!
//! The input is the rollout status, alerts and entries of the history. The output is a
//! [`Message`]: a catalogue renders it in a language.

use serde_json::Value;

use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;
use crate::rollout::counts::CohortCounts;
use crate::rollout::effect::{RolloutAction, RolloutAlert};
use crate::rollout::history::{HistoryEntry, RolloutInput};
use crate::rollout::phase::Phase;
use crate::rollout::status::RolloutStatus;
use jeffrey_terms::Share;
use jeffrey_terms::by_cohort::ByCohort;

/// Most gates that the message of a holding release names.
const NAMED_GATES_MAX: usize = 5;

/// Describes the state of a release; `status` is `None` without a plan.
pub fn describe_status(
    release: &str,
    share: Share,
    is_killed: bool,
    status: Option<&RolloutStatus>,
) -> Message {
    let code = match (status, is_killed) {
        (None, false) => MessageCode::StatusNoPlan,
        (None, true) => MessageCode::StatusNoPlanKilled,
        (Some(_), false) => MessageCode::StatusStage,
        (Some(_), true) => MessageCode::StatusStageKilled,
    };
    let message = Message::new(code)
        .with("release", release)
        .with("share_basis_points", share.basis_points());
    let Some(status) = status else { return message };
    message
        .with("stage", status.state.stage + 1)
        .with("stages", status.stages.len())
        .with("state", describe_phase(&status.state.phase, hold_reason(status)))
}

/// Returns the reason why the release does not advance, as text of an operator or a message;
/// `None` if no reason is recorded.
fn hold_reason(status: &RolloutStatus) -> Option<Value> {
    match &status.state.phase {
        Phase::RolledBack { cause } => Some(cause.to_message().into()),
        Phase::Paused { reason } | Phase::Aborted { reason } => Some(reason.as_str().into()),
        _ => status.active_alert.as_ref().and_then(describe_alert).map(Value::from),
    }
}

fn describe_phase(phase: &Phase, reason: Option<Value>) -> Message {
    match reason {
        Some(reason) => Message::new(MessageCode::PhaseWithReason)
            .with("phase", phase.to_message())
            .with("reason", reason),
        None => phase.to_message(),
    }
}

/// Describes an alert; `None` for a refused command, because only the operator who gave it gets
/// that answer.
pub fn describe_alert(alert: &RolloutAlert) -> Option<Message> {
    Some(match alert {
        RolloutAlert::ApprovalRequired(false) => Message::new(MessageCode::AlertApprovalRequired),
        RolloutAlert::ApprovalRequired(true) => Message::new(MessageCode::AlertApprovalUndecided),
        RolloutAlert::Holding(findings) if findings.is_empty() => {
            Message::new(MessageCode::AlertTooFewRequests)
        }
        RolloutAlert::Holding(findings) => {
            let names = findings.iter().take(NAMED_GATES_MAX);
            let gates: Vec<&str> = names.map(|finding| finding.gate.as_str()).collect();
            Message::new(MessageCode::AlertGatesNotPassing).with("gates", gates)
        }
        RolloutAlert::NoData => Message::new(MessageCode::AlertNoData),
        RolloutAlert::CommandRefused(_) => return None,
        RolloutAlert::RolledBack(cause) => {
            Message::new(MessageCode::AlertRolledBack).with("cause", cause.to_message())
        }
        RolloutAlert::StableOutsideLimits => Message::new(MessageCode::AlertStableOutsideLimits),
        RolloutAlert::AdvanceBlocked(blocked_by) => Message::new(MessageCode::AlertAdvanceBlocked)
            .with("blocked_by", blocked_by.to_message()),
    })
}

/// Describes the input of a history entry as a clause.
pub fn describe_input(input: &RolloutInput) -> Message {
    match input {
        RolloutInput::Command { actor, command, .. } => Message::new(MessageCode::InputCommand)
            .with("actor", name_actor(actor))
            .with("command", command.to_message()),
        RolloutInput::HardFailure { kind, .. } => {
            Message::new(MessageCode::InputHardFailure).with("kind", kind.to_message())
        }
        RolloutInput::Minute { minute } => {
            Message::new(MessageCode::InputMinuteCounted).with("minute_ms", minute.minute * 60_000)
        }
        RolloutInput::PlanApplied { actor, .. } => {
            Message::new(MessageCode::InputPlanApplied).with("actor", name_actor(actor))
        }
        RolloutInput::Tick { blocked_by: Some(blocked_by), .. } => {
            Message::new(MessageCode::InputGatesEvaluatedBlocked)
                .with("blocked_by", blocked_by.to_message())
        }
        RolloutInput::Tick { .. } => Message::new(MessageCode::InputGatesEvaluated),
    }
}

/// Returns the name that an operator gave, or the message for an operator without a name.
fn name_actor(actor: &str) -> Value {
    if actor.is_empty() { Message::new(MessageCode::ActorUnnamed).into() } else { actor.into() }
}

/// Describes the actions of a history entry as a clause. Without actions, the clause is the phase
/// after the entry.
pub fn describe_effects(entry: &HistoryEntry) -> Message {
    let effects = entry.actions.iter().filter_map(|action| match action {
        RolloutAction::Alert(RolloutAlert::CommandRefused(command)) => Some(
            Message::new(MessageCode::EffectCommandRefused).with("command", command.to_message()),
        ),
        RolloutAction::Alert(alert) => describe_alert(alert),
        RolloutAction::SetShare(share) => Some(
            Message::new(MessageCode::EffectShareSet)
                .with("share_basis_points", share.basis_points()),
        ),
        RolloutAction::EnterStage | RolloutAction::ResetEvidence => None,
    });
    let mut effects: Vec<Message> = effects.collect();
    match (effects.len(), &entry.state.phase) {
        (0, Phase::Paused { reason }) => {
            describe_phase(&entry.state.phase, Some(reason.as_str().into()))
        }
        (0, phase) => phase.to_message(),
        (1, _) => effects.remove(0),
        _ => Message::new(MessageCode::EffectSeveral).with("effects", effects),
    }
}

/// Describes a history entry in full: its input, and the release after it.
pub fn describe_entry(entry: &HistoryEntry) -> Message {
    Message::new(MessageCode::ExplainEntry)
        .with("entry", entry.seq)
        .with("at_ms", entry.now.0)
        .with("trigger", describe_input(&entry.input))
        .with("phase", entry.state.phase.to_message())
        .with("stage", entry.state.stage + 1)
        .with("share_basis_points", entry.share.basis_points())
        .with("outcome", describe_effects(entry))
}

/// Describes the requests and errors of both cohorts since the stage began.
pub fn describe_counts(counts: &ByCohort<CohortCounts>) -> Message {
    let count_errors = |counts: &CohortCounts| counts.errors_5xx + counts.fallbacks;
    let ByCohort { canary, stable } = counts;
    Message::new(MessageCode::ExplainCounts)
        .with("canary_requests", canary.requests)
        .with("canary_errors", count_errors(canary))
        .with("stable_requests", stable.requests)
        .with("stable_errors", count_errors(stable))
}
