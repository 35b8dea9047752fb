//! The rollout status as a response, and the bodies of rollout commands, manual changes and
//! release checks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::code::MessageCode;
use crate::catalogue::render::{Catalogue, RenderedMessage};
use crate::gateway::aggregate::summary::SummaryByCohort;
use crate::gateway::api::error::ApiError;
use crate::gateway::config::GatewaySettings;
use crate::gateway::notify::messages;
use crate::rollout::advance_checks::ModelValidation;
use crate::rollout::command::OperatorCommand;
use crate::rollout::release_state::{ReleaseChange, ReleaseState};
use crate::rollout::status::RolloutStatus;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_terms::UnixMs;

/// Builds the status response of a release. `status` is `None` if the release has no plan.
/// `figures` summarizes both cohorts since the stage began; it is `None` without a plan, or if the
/// event store did not respond.
pub fn status_response(
    settings: &GatewaySettings,
    state: &ReleaseState,
    status: Option<&RolloutStatus>,
    figures: Option<&SummaryByCohort>,
) -> HttpReply {
    #[derive(Serialize)]
    struct RolloutStatusBody<'a> {
        release: &'a str,
        #[serde(flatten)]
        state: &'a ReleaseState,
        /// Status of the release as one English sentence.
        message: &'a str,
        /// Code of the sentence.
        message_code: MessageCode,
        /// Arguments of the sentence.
        message_args: &'a Map<String, Value>,
        /// Commands that are allowed while the release has no plan. With a plan, `rollout` lists
        /// them.
        allowed_commands: &'a [&'a str],
        rollout: Option<&'a RolloutStatus>,
        figures: Option<&'a SummaryByCohort>,
    }
    let release = settings.release.as_str();
    let message = messages::describe_status(release, state.share, state.killed, status);
    let message = RenderedMessage::new(message, Catalogue::ENGLISH);
    let allowed_commands: &[&str] = if status.is_none() { &["start"] } else { &[] };
    HttpReply::json(
        200,
        &RolloutStatusBody {
            release,
            state,
            message: &message.text,
            message_code: message.code,
            message_args: &message.args,
            allowed_commands,
            rollout: status,
            figures,
        },
    )
}

/// Rollout command of an operator, as the body of `POST /v1/admin/rollout` carries it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutCommand {
    /// Command to apply to the rollout.
    pub command: CommandName,
    /// Reason for the command, at most 500 characters; empty if not given.
    #[serde(default)]
    pub reason: String,
    /// Name of the operator, at most 500 characters. It is recorded as given and not verified.
    #[serde(default)]
    pub actor: String,
    /// Text of a plan to activate. Without it the current plan stays; `start` uses the shipped plan
    /// if the release has none yet.
    pub plan: Option<String>,
    /// Version of the release state that the operator decided on. The command is refused if the
    /// release has another one by then; without a version, it holds for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Names of the rollout commands.
#[allow(missing_docs, reason = "each is a command of the state machine, `apply_plan` aside")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    Abort,
    Advance,
    Approve,
    Pause,
    /// Activates the given plan and sends no command to the state machine.
    ApplyPlan,
    Resume,
    Rollback,
    Start,
}

impl RolloutCommand {
    /// Converts to the command of the state machine; returns `None` for [`CommandName::ApplyPlan`].
    pub fn to_operator_command(&self) -> Option<OperatorCommand> {
        let reason = self.reason.clone();
        Some(match self.command {
            CommandName::Abort => OperatorCommand::Abort { reason },
            CommandName::Advance => OperatorCommand::Advance { reason },
            CommandName::Approve => OperatorCommand::Approve,
            CommandName::Pause => OperatorCommand::Pause { reason },
            CommandName::ApplyPlan => return None,
            CommandName::Resume => OperatorCommand::Resume { reason },
            CommandName::Rollback => OperatorCommand::RollBack { reason },
            CommandName::Start => OperatorCommand::Start,
        })
    }
}

/// Parses a rollout command.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not a rollout command, or if the reason or the
/// operator's name is longer than 500 characters.
pub fn parse_rollout_command(body: &[u8]) -> Result<RolloutCommand, ApiError> {
    const EXPECTED: &str = "{\"command\": \"start\", \"apply_plan\", \"approve\", \"pause\", \"resume\", \"advance\", \"rollback\" or \
                            \"abort\", \"reason\"?: up to 500 characters, \"actor\"?: the same, \"plan\"?: a plan's text, \"version\"?: number}";
    let expected = ApiError::InvalidBody { expected: EXPECTED };
    let command: RolloutCommand = serde_json::from_slice(body).map_err(|_| expected.clone())?;
    let is_within_limit = |text: &str| text.chars().count() <= 500;
    if is_within_limit(&command.reason) && is_within_limit(&command.actor) {
        Ok(command)
    } else {
        Err(expected)
    }
}

/// Parses a report of `jeffrey validate --json`: the model's SHA-256 and whether the model passed.
/// `now` becomes the time of receipt.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not such a report, or if the SHA-256 is not 64
/// hexadecimal digits.
pub fn parse_model_validation(body: &[u8], now: UnixMs) -> Result<ModelValidation, ApiError> {
    #[derive(Deserialize)]
    struct ValidationBody {
        passed: bool,
        model: ValidatedModel,
    }
    #[derive(Deserialize)]
    struct ValidatedModel {
        sha256: String,
    }
    const EXPECTED: &str = "a report of `jeffrey validate --json` with the model's sha256";
    let report: ValidationBody =
        serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })?;
    let sha256 = report.model.sha256;
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::InvalidBody { expected: EXPECTED });
    }
    Ok(ModelValidation { model_sha256: sha256, passed: report.passed, received_at: now })
}

/// Parses a manual change of the share or the kill flag.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not a [`ReleaseChange`].
pub fn parse_share_change(body: &[u8]) -> Result<ReleaseChange, ApiError> {
    const EXPECTED: &str = "{\"version\": number, \"share\"?: \"10%\", \"killed\"?: true or false}";
    serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })
}
