//! The commands of an operator.

use serde::{Deserialize, Serialize};

use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;

/// Command that an operator may give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// Ends the release and takes its traffic away.
    Abort {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Goes to the next stage before its time.
    Advance {
        /// Reason that the operator gives; must not be empty.
        reason: String,
    },
    /// Approves the next stage of a release that waits for it.
    Approve,
    /// Stops the release at its current share.
    Pause {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Continues after a pause; starts at the first stage again after a rollback or an abort.
    Resume {
        /// Reason that the operator gives; must not be empty.
        reason: String,
    },
    /// Takes the canary's traffic away.
    RollBack {
        /// Reason that the operator gives.
        reason: String,
    },
    /// Starts the release at the first stage.
    Start,
}

impl OperatorCommand {
    /// Returns the name of the command in the API and the CLI.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "abort",
            Self::Advance { .. } => "advance",
            Self::Approve => "approve",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::RollBack { .. } => "rollback",
            Self::Start => "start",
        }
    }

    /// Returns the message with the command's name.
    pub fn to_message(&self) -> Message {
        Message::new(match self {
            Self::Abort { .. } => MessageCode::CommandAbort,
            Self::Advance { .. } => MessageCode::CommandAdvance,
            Self::Approve => MessageCode::CommandApprove,
            Self::Pause { .. } => MessageCode::CommandPause,
            Self::Resume { .. } => MessageCode::CommandResume,
            Self::RollBack { .. } => MessageCode::CommandRollback,
            Self::Start => MessageCode::CommandStart,
        })
    }
}
