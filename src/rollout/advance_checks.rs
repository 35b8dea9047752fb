//! Checks before a share increase, besides the gates.
//!
//! A share increases only if the release check passed for exactly the model that is deployed, the
//! canary answers of the current stage are ready, and every advance webhook agrees.
//! [`check_advance`] returns the first check that blocks the increase.

use serde::{Deserialize, Serialize};

use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;
use crate::telemetry::analysis::AdvanceReadiness;
use jeffrey_terms::UnixMs;

/// Longest age of a release check that is still valid: 24 hours, in milliseconds.
pub const VALIDATION_VALID_MS: u64 = 24 * 60 * 60 * 1_000;

/// Result of a release check, as `jeffrey validate` reports it to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelValidation {
    /// Sha256 of the model's manifest, in hexadecimal digits.
    pub model_sha256: String,
    /// Whether the model kept every limit of the check.
    pub passed: bool,
    /// Time at which the gateway received the result, in milliseconds since 1970.
    #[serde(rename = "heard_ms")]
    pub received_at: UnixMs,
}

/// Response of one webhook that is asked before a share increase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookResponse {
    /// Name of the webhook target.
    pub name: String,
    /// Verdict of the webhook.
    pub verdict: WebhookVerdict,
}

/// Verdict of a webhook that is asked before a share increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookVerdict {
    /// The share may increase.
    Approve,
    /// The share may not increase now; a webhook that does not answer counts as this.
    Retry,
    /// The share may not increase until an operator resumes the release.
    Halt,
}

/// Facts that decide whether a share may increase.
#[derive(Clone, Copy, Debug)]
pub struct AdvanceInputs<'a> {
    /// Latest release check; `None` if the gateway never received one.
    pub validation: Option<&'a ModelValidation>,
    /// Sha256 of the deployed model, as the model worker reports it; `None` if it reports none.
    pub deployed_model: Option<&'a str>,
    /// Readiness of the current stage's canary answers; `None` before the first stage.
    pub readiness: Option<AdvanceReadiness>,
    /// Responses of the webhooks; empty if none was asked.
    pub webhook_responses: &'a [WebhookResponse],
}

/// Reasons why a share may not increase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvanceBlocked {
    /// The canary answers of the current stage are not ready.
    AnalysisNotReady,
    /// The model worker does not report which model it has.
    ModelUnknown,
    /// A webhook answered `retry` or `halt`, or did not answer.
    Webhook(WebhookResponse),
    /// The release check failed for the deployed model.
    ValidationFailed,
    /// The release check was of another model than the deployed one.
    ValidationOfOtherModel {
        /// Sha256 of the model that was checked.
        checked: String,
        /// Sha256 of the model that is deployed.
        deployed: String,
    },
    /// The gateway never received a release check.
    ValidationMissing,
    /// The release check is older than [`VALIDATION_VALID_MS`].
    ValidationStale {
        /// Age of the release check, in whole hours.
        hours: u64,
    },
}

/// Returns the first reason why the share may not increase at `now`; `None` if it may.
pub fn check_advance(inputs: &AdvanceInputs<'_>, now: UnixMs) -> Option<AdvanceBlocked> {
    let Some(validation) = inputs.validation else {
        return Some(AdvanceBlocked::ValidationMissing);
    };
    let Some(deployed) = inputs.deployed_model else { return Some(AdvanceBlocked::ModelUnknown) };
    if validation.model_sha256 != deployed {
        let (checked, deployed) = (validation.model_sha256.clone(), deployed.to_owned());
        return Some(AdvanceBlocked::ValidationOfOtherModel { checked, deployed });
    }
    if !validation.passed {
        return Some(AdvanceBlocked::ValidationFailed);
    }
    let age_ms = now.0.saturating_sub(validation.received_at.0);
    if age_ms > VALIDATION_VALID_MS {
        return Some(AdvanceBlocked::ValidationStale { hours: age_ms / 3_600_000 });
    }
    if inputs.readiness == Some(AdvanceReadiness::NotReady) {
        return Some(AdvanceBlocked::AnalysisNotReady);
    }
    let response_with =
        |verdict| inputs.webhook_responses.iter().find(|response| response.verdict == verdict);
    response_with(WebhookVerdict::Halt)
        .or_else(|| response_with(WebhookVerdict::Retry))
        .cloned()
        .map(AdvanceBlocked::Webhook)
}

impl AdvanceBlocked {
    /// Returns whether only an operator can let the release go on.
    pub const fn needs_operator(&self) -> bool {
        matches!(self, Self::Webhook(WebhookResponse { verdict: WebhookVerdict::Halt, .. }))
    }

    /// Returns the command that removes the obstacle; `None` if no command helps.
    pub const fn suggested_command(&self) -> Option<&'static str> {
        match self {
            Self::AnalysisNotReady => Some("jeffrey analyze URL"),
            Self::ModelUnknown | Self::Webhook(_) => None,
            Self::ValidationFailed
            | Self::ValidationOfOtherModel { .. }
            | Self::ValidationMissing
            | Self::ValidationStale { .. } => Some("jeffrey validate --post URL"),
        }
    }

    /// Returns the message that says which check blocks the increase.
    pub fn to_message(&self) -> Message {
        match self {
            Self::AnalysisNotReady => Message::new(MessageCode::CheckAnalysisNotReady),
            Self::ModelUnknown => Message::new(MessageCode::CheckModelUnknown),
            Self::Webhook(WebhookResponse { name, verdict: WebhookVerdict::Halt }) => {
                Message::new(MessageCode::CheckWebhookHalt).with("name", name.as_str())
            }
            Self::Webhook(WebhookResponse { name, .. }) => {
                Message::new(MessageCode::CheckWebhookRetry).with("name", name.as_str())
            }
            Self::ValidationFailed => Message::new(MessageCode::CheckValidationFailed),
            Self::ValidationOfOtherModel { checked, deployed } => {
                Message::new(MessageCode::CheckValidationOfOtherModel)
                    .with("checked", checked.as_str())
                    .with("deployed", deployed.as_str())
            }
            Self::ValidationMissing => Message::new(MessageCode::CheckValidationMissing),
            Self::ValidationStale { hours } => {
                Message::new(MessageCode::CheckValidationStale).with("hours", *hours)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn each_thing_that_is_missing_is_named_and_nothing_else_blocks() {
        let now = UnixMs(100 * HOUR);
        let validation = |passed, hours: u64| ModelValidation {
            model_sha256: "ab".repeat(32),
            passed,
            received_at: UnixMs((100 - hours) * HOUR),
        };
        let fresh = validation(true, 24);
        let deployed = "ab".repeat(32);
        let inputs = AdvanceInputs {
            validation: Some(&fresh),
            deployed_model: Some(&deployed),
            readiness: Some(AdvanceReadiness::MostlyReady),
            webhook_responses: &[],
        };
        assert_eq!(check_advance(&inputs, now), None);
        assert_eq!(check_advance(&AdvanceInputs { readiness: None, ..inputs }, now), None);
        let response =
            |name: &str, answer| WebhookResponse { name: name.to_owned(), verdict: answer };
        let responses = [
            response("a", WebhookVerdict::Approve),
            response("b", WebhookVerdict::Retry),
            response("c", WebhookVerdict::Halt),
        ];
        let rows = [
            (AdvanceInputs { validation: None, ..inputs }, AdvanceBlocked::ValidationMissing),
            (AdvanceInputs { deployed_model: None, ..inputs }, AdvanceBlocked::ModelUnknown),
            (
                AdvanceInputs { deployed_model: Some("cd"), ..inputs },
                AdvanceBlocked::ValidationOfOtherModel {
                    checked: deployed.clone(),
                    deployed: "cd".into(),
                },
            ),
            (
                AdvanceInputs { validation: Some(&validation(false, 1)), ..inputs },
                AdvanceBlocked::ValidationFailed,
            ),
            (
                AdvanceInputs { validation: Some(&validation(true, 25)), ..inputs },
                AdvanceBlocked::ValidationStale { hours: 25 },
            ),
            (
                AdvanceInputs { readiness: Some(AdvanceReadiness::NotReady), ..inputs },
                AdvanceBlocked::AnalysisNotReady,
            ),
            (
                AdvanceInputs { webhook_responses: &responses[..2], ..inputs },
                AdvanceBlocked::Webhook(responses[1].clone()),
            ),
            (
                AdvanceInputs { webhook_responses: &responses, ..inputs },
                AdvanceBlocked::Webhook(responses[2].clone()),
            ),
        ];
        for (inputs, expected) in rows {
            assert_eq!(check_advance(&inputs, now), Some(expected.clone()), "{inputs:?}");
            assert_eq!(
                expected.needs_operator(),
                expected == AdvanceBlocked::Webhook(responses[2].clone())
            );
        }
        assert_eq!(
            check_advance(&AdvanceInputs { webhook_responses: &responses[..1], ..inputs }, now),
            None
        );
        assert_eq!(
            AdvanceBlocked::ValidationMissing.suggested_command(),
            Some("jeffrey validate --post URL")
        );
    }
}
