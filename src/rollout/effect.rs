//! The effects of a decision: the actions to take, and the events that operators are alerted to.

use serde::{Deserialize, Serialize};

use super::advance_checks::AdvanceBlocked;
use super::command::OperatorCommand;
use super::gate::finding::GateFinding;
use super::phase::RollbackCause;
use jeffrey_terms::Share;

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
