//! Writes sentences about a release, the same for the terminal, the dashboard and reports.
//!
//! The input is the rollout status and entries of its history. The output is English text; the
//! dashboard also gets French.

use crate::gateway::notify::time::format_utc_minute;
use crate::gateway::notify::webhook::{describe_cause, notification_for};
use crate::rollout::effect::{RolloutAction, RolloutAlert};
use crate::rollout::history::{HistoryEntry, RolloutInput};
use crate::rollout::phase::Phase;
use crate::rollout::status::RolloutStatus;
use jeffrey_terms::{Share, UnixMs};

/// Describes the state of a release in one line.
pub fn status_line(
    release: &str,
    share: Share,
    is_killed: bool,
    status: Option<&RolloutStatus>,
) -> String {
    let killed_suffix = if is_killed { ", killed" } else { "" };
    match status {
        None => format!("{release} at {share}{killed_suffix}: no active plan"),
        Some(status) => {
            let stage = status.state.stage + 1;
            let reason_suffix =
                hold_reason(status).map_or(String::new(), |reason| format!(": {reason}"));
            let (stages, phase) = (status.stages.len(), &status.phase);
            format!(
                "{release} at {share}{killed_suffix}, stage {stage} of {stages}, {phase}{reason_suffix}"
            )
        }
    }
}

/// Describes the state of a release in one line, in French.
pub fn status_line_fr(
    release: &str,
    share: Share,
    is_killed: bool,
    status: Option<&RolloutStatus>,
) -> String {
    super::messages_fr::status_line(release, share, is_killed, status)
}

/// Returns one sentence that says why the release does not advance; `None` if no reason is
/// recorded.
pub fn hold_reason(status: &RolloutStatus) -> Option<String> {
    match &status.state.phase {
        Phase::RolledBack { cause } => Some(describe_cause(cause)),
        Phase::Paused { reason } | Phase::Aborted { reason } => Some(reason.clone()),
        _ => status.active_alert.as_ref().and_then(notification_for).map(|(_, _, text, _)| text),
    }
}

/// Describes the input of a history entry as a clause.
pub fn describe_input(input: &RolloutInput) -> String {
    let actor = |by: &str| if by.is_empty() { "an operator".to_owned() } else { by.to_owned() };
    match input {
        RolloutInput::Command { actor: by, command, .. } => {
            format!("{} asked to {}", actor(by), command.name())
        }
        RolloutInput::HardFailure { kind, .. } => {
            format!("an isolate reported a hard failure: {}", kind.name())
        }
        RolloutInput::Minute { minute } => {
            format!("the minute {} was counted", format_utc_minute(UnixMs(minute.minute * 60_000)))
        }
        RolloutInput::PlanApplied { actor: by, .. } => format!("{} applied a plan", actor(by)),
        RolloutInput::Tick { blocked_by: Some(blocked_by), .. } => {
            format!("the gates were evaluated; {blocked_by}")
        }
        RolloutInput::Tick { .. } => "the gates were evaluated".to_owned(),
    }
}

/// Describes the actions of a history entry as a clause. Without actions, the clause is the phase
/// after the entry.
pub fn describe_effects(entry: &HistoryEntry) -> String {
    let effects = entry.actions.iter().filter_map(|action| match action {
        RolloutAction::Alert(RolloutAlert::RolledBack(cause)) => {
            Some(format!("rolled back: {}", describe_cause(cause)))
        }
        RolloutAction::Alert(RolloutAlert::CommandRefused(command)) => {
            Some(format!("{} was refused", command.name()))
        }
        RolloutAction::Alert(alert) => notification_for(alert).map(|(_, _, text, _)| text),
        RolloutAction::SetShare(share) => Some(format!("the share is set to {share}")),
        RolloutAction::EnterStage | RolloutAction::ResetEvidence => None,
    });
    let effects: Vec<String> = effects.collect();
    match (effects.is_empty(), &entry.state.phase) {
        (false, _) => effects.join("; "),
        (true, Phase::Paused { reason }) => format!("paused: {reason}"),
        (true, phase) => phase.name().to_owned(),
    }
}
