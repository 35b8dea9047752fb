//! The rollout status: a release as the CLI, the API and the dashboard show it.
//!
//! [`build_status`] computes it from the controller, the plan and the time; the status itself is
//! not stored.

use serde::{Deserialize, Serialize};

use super::advance_checks::ModelValidation;
use super::controller::RolloutController;
use super::counts::CohortCounts;
use super::effect::RolloutAlert;
use super::gate::summary::GateSummary;
use super::phase::Phase;
use super::plan::{Plan, Stage};
use super::progress::PlanProgress;
use super::refusal::allowed_commands;
use jeffrey_terms::{Share, UnixMs};

/// Everything that is shown of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// State of the release in its plan.
    pub state: PlanProgress,
    /// Name of the phase, in lower-case words.
    pub phase: String,
    /// The canary's share of the traffic.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Stages of the plan, in order.
    pub stages: Vec<Stage>,
    /// Minutes since the stage began.
    pub minutes_in_stage: u64,
    /// Minutes until the stage's shortest time is over; `None` if time does not move the release.
    pub minutes_left: Option<u64>,
    /// Summary of all gates.
    pub gates: GateSummary,
    /// Minute in which the stage began, in minutes since 1970; `canary` and `stable` count later
    /// ones.
    pub stage_start_minute: u64,
    /// Counts of the canary since the stage began.
    pub canary: CohortCounts,
    /// Counts of stable since the stage began.
    pub stable: CohortCounts,
    /// Names of the commands that fit the current phase.
    pub allowed_commands: Vec<String>,
    /// Latest alert of the current phase and stage; `None` if there is none.
    pub active_alert: Option<RolloutAlert>,
    /// Latest release check that the gateway received; `None` if it never received one.
    pub validation: Option<ModelValidation>,
    /// Number of the last history entry; 0 before the first.
    pub seq: u64,
    /// Time that stages are counted by, in milliseconds since 1970.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// Factor by which this time passes faster than the clock; 1 in real time.
    pub time_scale: u64,
}

/// Builds the status of a release at a time, with the last closed minute.
pub fn build_status(
    controller: &RolloutController,
    plan: &Plan,
    validation: Option<ModelValidation>,
    time_factor: u64,
    (now, last_complete_minute): (UnixMs, u64),
) -> RolloutStatus {
    let RolloutController {
        state,
        canary,
        stable,
        active_alert,
        seq,
        stage_entered_after_minute: entered_after,
        ..
    } = controller;
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
        minutes_in_stage: minutes,
        minutes_left: stage.map(|stage| stage.min_duration_minutes.saturating_sub(minutes)),
        gates: controller.summarize_gates(plan, last_complete_minute),
        stage_start_minute: *entered_after,
        canary: *canary,
        stable: *stable,
        allowed_commands: allowed_commands(controller, plan)
            .iter()
            .map(|command| command.name().to_owned())
            .collect(),
        active_alert: active_alert.clone(),
        validation,
        seq: *seq,
        now,
        time_scale: time_factor,
        state: state.clone(),
    }
}
