//! A release under control as people and pages see it.

use serde::{Deserialize, Serialize};

use super::advance_checks::ModelValidation;
use super::controller::{RolloutController, is_allowed};
use super::counts::CohortCounts;
use super::evidence::GateSummary;
use super::plan::{Plan, Stage};
use super::progress::{OperatorCommand, Phase, PlanProgress, RolloutAlert};
use jeffrey_terms::{Share, UnixMs};

/// Everything that is shown of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Where it stands.
    pub state: PlanProgress,
    /// The same as words.
    pub phase: String,
    /// The canary's share.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// The plan's rungs.
    pub stages: Vec<Stage>,
    /// Minutes in this stage.
    pub minutes: u64,
    /// Minutes until its shortest time is over; `None` where time moves nothing.
    pub minutes_left: Option<u64>,
    /// What the gates come to.
    pub gates: GateSummary,
    /// The last minute before the stage: what is counted below came after it.
    pub counted_after: u64,
    /// Counted of the canary since the stage began.
    pub canary: CohortCounts,
    /// Counted of stable since then.
    pub stable: CohortCounts,
    /// The commands that fit this phase, by their names.
    pub can: Vec<String>,
    /// Why it does not go on.
    pub told: Option<RolloutAlert>,
    /// The last release check that the gate heard of.
    pub validation: Option<ModelValidation>,
    /// Number of the history's last entry.
    pub seq: u64,
    /// The time that stages are counted by.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// How many times as fast as a clock's it passes.
    pub time_factor: u64,
}

/// Every command, in the order in which they are offered; the reason is whoever asks's.
const COMMANDS: [fn() -> OperatorCommand; 7] = [
    || OperatorCommand::Start,
    || OperatorCommand::Approve,
    || OperatorCommand::Resume { reason: String::new() },
    || OperatorCommand::Advance { reason: String::new() },
    || OperatorCommand::Pause { reason: String::new() },
    || OperatorCommand::RollBack { reason: String::new() },
    || OperatorCommand::Abort { reason: String::new() },
];

/// The view of a release at a time, with the last closed minute.
pub fn build_status(
    controller: &RolloutController,
    plan: &Plan,
    validation: Option<ModelValidation>,
    time_factor: u64,
    (now, last_complete_minute): (UnixMs, u64),
) -> RolloutStatus {
    let RolloutController { state, canary, stable, told, seq, entered_after, .. } = controller;
    let minutes = now.0.saturating_sub(state.stage_entered_at.0) / 60_000;
    let is_progressing = !matches!(
        state.phase,
        Phase::Aborted { .. } | Phase::Idle | Phase::Promoted | Phase::RolledBack { .. }
    );
    let stage = plan.stage(state.stage).filter(|_| is_progressing);
    RolloutStatus {
        phase: state.phase.name().to_owned(),
        share: state.share(plan),
        stages: plan.stages.clone(),
        minutes,
        minutes_left: stage.map(|stage| stage.at_least_minutes.saturating_sub(minutes)),
        gates: controller.summarize_gates(plan, last_complete_minute),
        counted_after: *entered_after,
        canary: *canary,
        stable: *stable,
        can: COMMANDS
            .map(|command| command())
            .iter()
            .filter(|command| is_allowed(controller, plan, command))
            .map(|command| command.name().to_owned())
            .collect(),
        told: told.clone(),
        validation,
        seq: *seq,
        now,
        time_factor,
        state: state.clone(),
    }
}
