//! A release under control as people and pages see it.

use serde::{Deserialize, Serialize};

use super::control::{Control, fits};
use super::counts::Counts;
use super::evidence::Summary;
use super::permit::Validation;
use super::plan::{Plan, Stage};
use super::state::{Alert, Command, Phase, State};
use jeffrey_terms::{Share, UnixMs};

/// Everything that is shown of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Where it stands.
    pub state: State,
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
    pub gates: Summary,
    /// The last minute before the stage: what is counted below came after it.
    pub counted_after: u64,
    /// Counted of the canary since the stage began.
    pub canary: Counts,
    /// Counted of stable since then.
    pub stable: Counts,
    /// The commands that fit this phase, by their names.
    pub can: Vec<String>,
    /// Why it does not go on.
    pub told: Option<Alert>,
    /// The last release check that the gate heard of.
    pub validation: Option<Validation>,
    /// Number of the history's last entry.
    pub seq: u64,
    /// The time that stages are counted by.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// How many times as fast as a clock's it passes.
    pub time_factor: u64,
}

/// Every command, in the order in which they are offered; the reason is whoever asks's.
const COMMANDS: [fn() -> Command; 7] = [
    || Command::Start,
    || Command::Approve,
    || Command::Resume { reason: String::new() },
    || Command::Advance { reason: String::new() },
    || Command::Pause { reason: String::new() },
    || Command::RollBack { reason: String::new() },
    || Command::Abort { reason: String::new() },
];

/// The view of a release at a time, with the last closed minute.
pub fn view(
    control: &Control,
    plan: &Plan,
    validation: Option<Validation>,
    time_factor: u64,
    (now, closed): (UnixMs, u64),
) -> View {
    let Control { state, canary, stable, told, seq, entered_after, .. } = control;
    let minutes = now.0.saturating_sub(state.entered.0) / 60_000;
    let moves = !matches!(
        state.phase,
        Phase::Aborted { .. } | Phase::Idle | Phase::Promoted | Phase::RolledBack { .. }
    );
    let stage = plan.stage(state.stage).filter(|_| moves);
    View {
        phase: state.phase.name().to_owned(),
        share: state.share(plan),
        stages: plan.stages.clone(),
        minutes,
        minutes_left: stage.map(|stage| stage.at_least_minutes.saturating_sub(minutes)),
        gates: control.summary(plan, closed),
        counted_after: *entered_after,
        canary: *canary,
        stable: *stable,
        can: COMMANDS
            .map(|command| command())
            .iter()
            .filter(|command| fits(control, plan, command))
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
