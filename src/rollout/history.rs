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
#[serde(rename_all = "snake_case", tag = "type", try_from = "InputFields")]
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

/// Fields of all inputs. [`RolloutInput`] is read through them: the derived code would buffer the
/// fields in a form of its own, for which each type needs a second deserialiser in the wasm.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputFields {
    #[serde(rename = "type")]
    input_type: InputType,
    actor: Option<String>,
    command: Option<OperatorCommand>,
    blocked_by: Option<AdvanceBlocked>,
    kind: Option<HardFailureKind>,
    minute: Option<Box<ClosedMinute>>,
    plan: Option<String>,
    last_complete_minute: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum InputType {
    Command,
    HardFailure,
    Minute,
    PlanApplied,
    Tick,
}

/// Error for fields that are not those of the input's type.
#[derive(Debug, thiserror::Error)]
#[error("the fields are not those of the input's type")]
struct InputFieldsError;

impl TryFrom<InputFields> for RolloutInput {
    type Error = InputFieldsError;

    fn try_from(fields: InputFields) -> Result<Self, InputFieldsError> {
        let InputFields { input_type, actor, command, blocked_by, kind, minute, plan, .. } = fields;
        let given = (input_type, actor, command, kind, minute, plan, fields.last_complete_minute);
        Ok(match given {
            (InputType::Command, Some(actor), Some(command), None, None, None, Some(closed)) => {
                Self::Command { actor, command, blocked_by, last_complete_minute: closed }
            }
            (InputType::Tick, None, None, None, None, None, Some(closed)) => {
                Self::Tick { blocked_by, last_complete_minute: closed }
            }
            _ if blocked_by.is_some() => return Err(InputFieldsError),
            (InputType::HardFailure, None, None, Some(kind), None, None, Some(closed)) => {
                Self::HardFailure { kind, last_complete_minute: closed }
            }
            (InputType::Minute, None, None, None, Some(minute), None, None) => {
                Self::Minute { minute }
            }
            (InputType::PlanApplied, Some(actor), None, None, None, Some(plan), Some(closed)) => {
                Self::PlanApplied { actor, plan, last_complete_minute: closed }
            }
            _ => return Err(InputFieldsError),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::release_state::HardFailureKind;

    #[test]
    fn each_input_is_read_back_as_it_was_written() {
        let (actor, last_complete_minute) = ("operator".to_owned(), 7);
        let blocked_by = Some(AdvanceBlocked::ValidationMissing);
        for input in [
            RolloutInput::Command {
                actor: actor.clone(),
                command: OperatorCommand::Start,
                blocked_by: blocked_by.clone(),
                last_complete_minute,
            },
            RolloutInput::HardFailure { kind: HardFailureKind::Trap, last_complete_minute },
            RolloutInput::Minute {
                minute: Box::new(ClosedMinute { minute: 3, ..ClosedMinute::default() }),
            },
            RolloutInput::PlanApplied { actor, plan: "# a plan".to_owned(), last_complete_minute },
            RolloutInput::Tick { blocked_by, last_complete_minute },
            RolloutInput::Tick { blocked_by: None, last_complete_minute },
        ] {
            let json = serde_json::to_string(&input).unwrap();
            assert_eq!(serde_json::from_str::<RolloutInput>(&json).unwrap(), input, "{json}");
        }
    }

    #[test]
    fn an_input_with_a_missing_foreign_or_unknown_field_is_refused() {
        for json in [
            r#"{"blocked_by":null,"last_complete_minute":7}"#,
            r#"{"type":"tock","last_complete_minute":7}"#,
            r#"{"type":"tick","blocked_by":null}"#,
            r#"{"type":"tick","last_complete_minute":7,"actor":"operator"}"#,
            r#"{"type":"tick","last_complete_minute":7,"user":"alice"}"#,
            r#"{"type":"minute","last_complete_minute":7}"#,
            r#"{"type":"hard_failure","kind":"trap"}"#,
            r#"{"type":"hard_failure","kind":"trap","last_complete_minute":7,"blocked_by":"validation_missing"}"#,
            r#"{"type":"plan_applied","actor":"operator","last_complete_minute":7}"#,
            r#"{"type":"command","command":"start","last_complete_minute":7}"#,
        ] {
            assert!(serde_json::from_str::<RolloutInput>(json).is_err(), "{json}");
        }
    }
}
