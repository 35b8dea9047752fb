//! The phases of a release, the reasons why it holds, and the causes of a rollback.
//!
//! The state machine in `progress.rs` decides which phase comes next.

use serde::{Deserialize, Serialize};

use super::advance_checks::AdvanceBlocked;
use super::gate::finding::GateFinding;
use super::release_state::HardFailureKind;

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
