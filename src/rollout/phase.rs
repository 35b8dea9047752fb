//! The phases of a release, the reasons why it holds, and the causes of a rollback.
//!
//! The state machine in `progress.rs` decides which phase comes next.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::advance_checks::AdvanceBlocked;
use super::gate::finding::GateFinding;
use super::release_state::HardFailureKind;
use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;

/// Phase of a release: whether it advances, waits, or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", try_from = "PhaseFields")]
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

/// Fields of all phases. [`Phase`] is read through them: the derived code would buffer the fields in
/// a form of its own, for which each type needs a second deserialiser in the wasm.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseFields {
    phase: PhaseType,
    cause: Option<Box<RollbackCause>>,
    /// A text or a [`HoldReason`], by the phase.
    reason: Option<Box<RawValue>>,
    undecided: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseType {
    Aborted,
    AwaitingApproval,
    Frozen,
    Holding,
    Idle,
    Paused,
    Promoted,
    Ramping,
    RolledBack,
    Watching,
}

/// Error for fields that are not those of the phase.
#[derive(Debug, thiserror::Error)]
#[error("the fields are not those of the phase")]
struct PhaseFieldsError;

impl TryFrom<PhaseFields> for Phase {
    type Error = PhaseFieldsError;

    fn try_from(fields: PhaseFields) -> Result<Self, PhaseFieldsError> {
        fn read<T: DeserializeOwned>(json: &RawValue) -> Result<T, PhaseFieldsError> {
            serde_json::from_slice(json.get().as_bytes()).map_err(|_| PhaseFieldsError)
        }
        let PhaseFields { phase, cause, reason, undecided } = fields;
        Ok(match (phase, cause, reason, undecided) {
            (PhaseType::Aborted, None, Some(reason), None) => {
                Self::Aborted { reason: read(&reason)? }
            }
            (PhaseType::AwaitingApproval, None, None, Some(undecided)) => {
                Self::AwaitingApproval { undecided }
            }
            (PhaseType::Holding, None, Some(reason), None) => {
                Self::Holding { reason: read(&reason)? }
            }
            (PhaseType::Paused, None, Some(reason), None) => {
                Self::Paused { reason: read(&reason)? }
            }
            (PhaseType::RolledBack, Some(cause), None, None) => Self::RolledBack { cause },
            (PhaseType::Frozen, None, None, None) => Self::Frozen,
            (PhaseType::Idle, None, None, None) => Self::Idle,
            (PhaseType::Promoted, None, None, None) => Self::Promoted,
            (PhaseType::Ramping, None, None, None) => Self::Ramping,
            (PhaseType::Watching, None, None, None) => Self::Watching,
            _ => return Err(PhaseFieldsError),
        })
    }
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

    /// Returns the message with the phase's name, without a reason.
    pub fn to_message(&self) -> Message {
        Message::new(match self {
            Self::Aborted { .. } => MessageCode::PhaseAborted,
            Self::AwaitingApproval { .. } => MessageCode::PhaseAwaitingApproval,
            Self::Frozen => MessageCode::PhaseFrozen,
            Self::Holding { .. } => MessageCode::PhaseHolding,
            Self::Idle => MessageCode::PhaseIdle,
            Self::Paused { .. } => MessageCode::PhasePaused,
            Self::Promoted => MessageCode::PhasePromoted,
            Self::Ramping => MessageCode::PhaseRamping,
            Self::RolledBack { .. } => MessageCode::PhaseRolledBack,
            Self::Watching => MessageCode::PhaseWatching,
        })
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

impl RollbackCause {
    /// Returns the message that says what rolled the release back.
    pub fn to_message(&self) -> Message {
        match self {
            Self::HardFailure(kind) => {
                Message::new(MessageCode::CauseHardFailure).with("kind", kind.to_message())
            }
            Self::Gate(finding) => Message::new(MessageCode::CauseGateFailed)
                .with("gate", finding.gate.as_str())
                .with("value", finding.value)
                .with("limit", finding.limit)
                .with("hits", finding.hits)
                .with("samples", finding.samples),
            Self::Operator { reason } => {
                Message::new(MessageCode::CauseOperator).with("reason", reason.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_read_back_as_it_was_written() {
        let reason = "because \"so\"".to_owned();
        for phase in [
            Phase::Aborted { reason: reason.clone() },
            Phase::AwaitingApproval { undecided: true },
            Phase::Frozen,
            Phase::Holding { reason: HoldReason::NoData },
            Phase::Holding {
                reason: HoldReason::AdvanceBlocked(AdvanceBlocked::ValidationMissing),
            },
            Phase::Idle,
            Phase::Paused { reason: reason.clone() },
            Phase::Promoted,
            Phase::Ramping,
            Phase::RolledBack { cause: Box::new(RollbackCause::Operator { reason }) },
            Phase::RolledBack {
                cause: Box::new(RollbackCause::HardFailure(HardFailureKind::Trap)),
            },
            Phase::Watching,
        ] {
            let json = serde_json::to_string(&phase).unwrap();
            assert_eq!(serde_json::from_str::<Phase>(&json).unwrap(), phase, "{json}");
        }
    }

    #[test]
    fn a_phase_with_a_missing_foreign_or_unknown_field_is_refused() {
        for json in [
            "{}",
            r#"{"phase":"waiting"}"#,
            r#"{"phase":"idle","reason":"none"}"#,
            r#"{"phase":"idle","user":"alice"}"#,
            r#"{"phase":"aborted"}"#,
            r#"{"phase":"aborted","reason":7}"#,
            r#"{"phase":"holding","reason":"tired"}"#,
            r#"{"phase":"awaiting_approval","undecided":null}"#,
            r#"{"phase":"rolled_back","cause":{"operator":{"reason":"slow"}},"undecided":true}"#,
        ] {
            assert!(serde_json::from_str::<Phase>(json).is_err(), "{json}");
        }
    }
}
