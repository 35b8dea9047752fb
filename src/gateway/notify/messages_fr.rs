//! Writes the sentences of the parent module in French, for the dashboard.
//!
//! The functions mirror those of the parent module and of `webhook.rs`; a new sentence there needs
//! its translation here. Numbers have a decimal comma. Reasons and names that people entered are
//! not translated.

use super::time::format_utc_minute;
use crate::rollout::advance_checks::{AdvanceBlocked, WebhookResponse, WebhookVerdict};
use crate::rollout::command::OperatorCommand;
use crate::rollout::effect::{RolloutAction, RolloutAlert};
use crate::rollout::history::{HistoryEntry, RolloutInput};
use crate::rollout::phase::{Phase, RollbackCause};
use crate::rollout::release_state::HardFailureKind;
use crate::rollout::status::RolloutStatus;
use jeffrey_terms::{Share, UnixMs};

/// Describes the state of a release in one line.
pub(in crate::gateway) fn status_line(
    release: &str,
    share: Share,
    is_killed: bool,
    status: Option<&RolloutStatus>,
) -> String {
    let share = format_percent(share);
    let killed_suffix = if is_killed { ", coupé" } else { "" };
    match status {
        None => format!("{release} à {share}{killed_suffix} : aucun plan actif"),
        Some(status) => {
            let (stage, stages) = (status.state.stage + 1, status.stages.len());
            let reason_suffix =
                hold_reason(status).map_or(String::new(), |reason| format!(" : {reason}"));
            let phase = phase_name(&status.state.phase);
            format!(
                "{release} à {share}{killed_suffix}, palier {stage} sur {stages}, {phase}{reason_suffix}"
            )
        }
    }
}

fn hold_reason(status: &RolloutStatus) -> Option<String> {
    match &status.state.phase {
        Phase::RolledBack { cause } => Some(describe_cause(cause)),
        Phase::Paused { reason } | Phase::Aborted { reason } => Some(reason.clone()),
        _ => status.active_alert.as_ref().and_then(notification_text),
    }
}

/// Describes the input of a history entry as a clause.
pub(in crate::gateway) fn describe_input(input: &RolloutInput) -> String {
    let actor = |by: &str| if by.is_empty() { "un opérateur".to_owned() } else { by.to_owned() };
    match input {
        RolloutInput::Command { actor: by, command, .. } => {
            format!("{} a demandé : {}", actor(by), command_name(command))
        }
        RolloutInput::HardFailure { kind, .. } => {
            format!("un isolat a signalé une panne grave : {}", hard_failure_name(*kind))
        }
        RolloutInput::Minute { minute } => {
            format!("la minute {} a été comptée", format_utc_minute(UnixMs(minute.minute * 60_000)))
        }
        RolloutInput::PlanApplied { actor: by, .. } => format!("{} a appliqué un plan", actor(by)),
        RolloutInput::Tick { blocked_by: Some(blocked_by), .. } => {
            format!("les critères ont été évalués ; {}", describe_blocked(blocked_by))
        }
        RolloutInput::Tick { .. } => "les critères ont été évalués".to_owned(),
    }
}

/// Describes the actions of a history entry as a clause. Without actions, the clause is the phase
/// after the entry.
pub(in crate::gateway) fn describe_effects(entry: &HistoryEntry) -> String {
    let effects = entry.actions.iter().filter_map(|action| match action {
        RolloutAction::Alert(RolloutAlert::CommandRefused(command)) => {
            Some(format!("refusé : {}", command_name(command)))
        }
        RolloutAction::Alert(alert) => notification_text(alert),
        RolloutAction::SetShare(share) => {
            Some(format!("la part est fixée à {}", format_percent(*share)))
        }
        RolloutAction::EnterStage | RolloutAction::ResetEvidence => None,
    });
    let effects: Vec<String> = effects.collect();
    match (effects.is_empty(), &entry.state.phase) {
        (false, _) => effects.join(" ; "),
        (true, Phase::Paused { reason }) => format!("suspendu : {reason}"),
        (true, phase) => phase_name(phase).to_owned(),
    }
}

fn notification_text(alert: &RolloutAlert) -> Option<String> {
    Some(match alert {
        RolloutAlert::ApprovalRequired(true) => {
            "attend un accord : les critères n’ont pas pu décider à temps".to_owned()
        }
        RolloutAlert::ApprovalRequired(false) => {
            "attend un accord : les critères sont remplis et le plan exige un accord".to_owned()
        }
        RolloutAlert::Holding(findings) => {
            let open_gates: Vec<&str> =
                findings.iter().map(|finding| finding.gate.as_str()).take(5).collect();
            if open_gates.is_empty() {
                "retenu : le palier n’a pas eu assez de requêtes".to_owned()
            } else {
                format!("retenu : critères pas encore remplis : {}", open_gates.join(", "))
            }
        }
        RolloutAlert::NoData => "retenu : aucune requête du canari depuis cinq minutes".to_owned(),
        RolloutAlert::CommandRefused(_) => return None,
        RolloutAlert::RolledBack(cause) => format!("retiré : {}", describe_cause(cause)),
        RolloutAlert::StableOutsideLimits => {
            "retenu : le système existant est lui-même hors des limites du plan".to_owned()
        }
        RolloutAlert::AdvanceBlocked(blocked_by) => {
            format!("retenu : {}", describe_blocked(blocked_by))
        }
    })
}

fn describe_cause(cause: &RollbackCause) -> String {
    match cause {
        RollbackCause::HardFailure(kind) => {
            format!("panne grave du canari : {}", hard_failure_name(*kind))
        }
        RollbackCause::Gate(finding) => {
            let format_number = |value: Option<f64>| {
                value.map_or("?".to_owned(), |value| format!("{value:.4}").replace('.', ","))
            };
            format!(
                "le critère « {} » échoue : {} pour une limite de {}, {} requêtes sur {}",
                finding.gate,
                format_number(finding.value),
                format_number(finding.limit),
                finding.hits,
                finding.samples
            )
        }
        RollbackCause::Operator { reason } => format!("opérateur : {reason}"),
    }
}

fn describe_blocked(blocked_by: &AdvanceBlocked) -> String {
    let shorten = |sha: &str| sha.chars().take(12).collect::<String>();
    match blocked_by {
        AdvanceBlocked::AnalysisNotReady => {
            "les réponses du palier lui-même ne sont pas prêtes".to_owned()
        }
        AdvanceBlocked::ModelUnknown => "le worker du modèle n’indique pas son modèle".to_owned(),
        AdvanceBlocked::Webhook(WebhookResponse { name, verdict: WebhookVerdict::Halt }) => {
            format!("« {name} » a répondu halt")
        }
        AdvanceBlocked::Webhook(WebhookResponse { name, .. }) => {
            format!("« {name} » a répondu retry, ou n’a pas répondu")
        }
        AdvanceBlocked::ValidationFailed => "la vérification de ce modèle a échoué".to_owned(),
        AdvanceBlocked::ValidationOfOtherModel { checked, deployed } => format!(
            "la vérification était celle du modèle {}, c’est {} qui est déployé",
            shorten(checked),
            shorten(deployed)
        ),
        AdvanceBlocked::ValidationMissing => "il n’y a pas de vérification du modèle".to_owned(),
        AdvanceBlocked::ValidationStale { hours } => {
            format!("la vérification date de {hours} heures, la limite est de 24")
        }
    }
}

const fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Aborted { .. } => "abandonné",
        Phase::AwaitingApproval { .. } => "en attente d’accord",
        Phase::Frozen => "gelé",
        Phase::Holding { .. } => "retenu",
        Phase::Idle => "pas commencé",
        Phase::Paused { .. } => "suspendu",
        Phase::Promoted => "promu",
        Phase::Ramping => "en montée",
        Phase::RolledBack { .. } => "retiré",
        Phase::Watching => "sous surveillance",
    }
}

const fn command_name(command: &OperatorCommand) -> &'static str {
    match command {
        OperatorCommand::Abort { .. } => "abandonner",
        OperatorCommand::Advance { .. } => "avancer",
        OperatorCommand::Approve => "approuver",
        OperatorCommand::Pause { .. } => "suspendre",
        OperatorCommand::Resume { .. } => "reprendre",
        OperatorCommand::RollBack { .. } => "revenir en arrière",
        OperatorCommand::Start => "commencer",
    }
}

const fn hard_failure_name(kind: HardFailureKind) -> &'static str {
    match kind {
        HardFailureKind::DimensionMismatch => "une dimension qui n’est pas celle de l’encodeur",
        HardFailureKind::NonFinite => "des scores non finis",
        HardFailureKind::Trap => "un plantage du modèle (trap)",
    }
}

fn format_percent(share: Share) -> String {
    let basis_points = share.basis_points();
    format!("{},{:02} %", basis_points / 100, basis_points % 100)
}
