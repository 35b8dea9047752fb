//! The history of a release: every input in order, and what each decided.
//!
//! The rollout object stores the entries, the CLI exports them, and the replay checks them.

use serde::{Deserialize, Serialize};

use super::advance_checks::AdvanceBlocked;
use super::command::OperatorCommand;
use super::counts::{ClosedMinute, CohortCounts};
use super::effect::RolloutAction;
use super::gate::summary::GateSummary;
use super::progress::PlanProgress;
use super::release_state::HardFailureKind;
use jeffrey_terms::by_cohort::{ByCohort, as_array};
use jeffrey_terms::{Share, UnixMs};

/// Input of the controller: an event that happens to a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum RolloutInput {
    /// An operator gives a command.
    Command {
        /// Name that the operator gave; it is not verified.
        actor: String,
        /// Command that the operator gave.
        command: OperatorCommand,
        /// Advance check that forbids a share increase; `None` if all checks pass.
        blocked_by: Option<AdvanceBlocked>,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// An isolate reported a hard failure.
    HardFailure {
        /// Kind of the hard failure.
        kind: HardFailureKind,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// A closed minute was counted.
    Minute {
        /// Counts of the minute, for both cohorts.
        minute: Box<ClosedMinute>,
    },
    /// A plan replaces the current one.
    PlanApplied {
        /// Name that the operator gave; it is not verified.
        actor: String,
        /// Text of the plan, as TOML.
        plan: String,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
    /// Time passed: the gates and the clock may move the release.
    Tick {
        /// Advance check that forbids a share increase; `None` if all checks pass.
        blocked_by: Option<AdvanceBlocked>,
        /// Last closed minute, in minutes since 1970.
        last_complete_minute: u64,
    },
}

/// One entry of the history: an input, and all that it decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// Number of the entry, from 1, without gaps.
    pub seq: u64,
    /// Time of the input, by the clock that stages are counted by, in milliseconds since 1970.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// Input that the entry records.
    pub input: RolloutInput,
    /// State of the release after the input.
    pub state: PlanProgress,
    /// The canary's share after the input.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Actions that followed; empty if the input decided nothing.
    pub actions: Vec<RolloutAction>,
    /// Summary of the gates; `None` if the input decided nothing.
    pub gates: Option<GateSummary>,
    /// Counts of the canary and of stable since the stage began; `None` if the input decided
    /// nothing.
    #[serde(default, with = "as_array::option")]
    pub counts: Option<ByCohort<CohortCounts>>,
}
