//! Webhooks: targets that are notified about a rollout, and targets that are asked before a share
//! rises.
//!
//! The input is the variables `ALERT_WEBHOOKS` and `CONFIRM_TRAFFIC_INCREASE_WEBHOOKS`, alerts of the rollout, and responses
//! of the targets. The output is [`WebhookTarget`]s, [`Notification`]s and verdicts. A notification
//! contains no data of any request. A list of targets is refused as a whole at its first fault. A
//! response that cannot be read counts as the verdict "retry".

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::messages::describe_alert;
use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;
use crate::catalogue::render::{Catalogue, RenderedMessage};
use crate::gateway::http::target::{is_http_url, is_target_name};
use crate::rollout::advance_checks::WebhookVerdict;
use crate::rollout::effect::RolloutAlert;
use jeffrey_terms::{Share, UnixMs};

/// Largest number of webhook targets in one list.
pub const WEBHOOK_TARGETS_MAX: usize = 8;

/// Command that shows the status of a rollout.
const STATUS: &str = "jeffrey rollout status";

/// Webhook target that is notified, or asked before a share rises.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    /// Name that is unique in its list: 1 to 32 letters, digits, dashes and underscores.
    pub name: String,
    /// Format of its notifications; a question before a share rises is always JSON.
    pub format: WebhookFormat,
    /// Address that requests are posted to.
    pub url: String,
    /// Value of the `Authorization` header; `None` sends no such header.
    pub authorization: Option<String>,
}

/// Format of the body of a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookFormat {
    /// All fields of [`Notification`] as a JSON object.
    #[default]
    Json,
    /// Message for Slack incoming webhooks and for services that accept the same format.
    Slack,
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may carry a key, so it is not shown.
        write!(f, "WebhookTarget({}, {:?})", self.name, self.format)
    }
}

/// Reason why a list of webhook targets is refused. Messages show names and numbers only, because
/// other values may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The value is not JSON of the expected form.
    #[error(
        "not a list such as [{{\"name\": \"on-call\", \"shape\": \"slack\", \"url\": \"https://…\"}}]"
    )]
    InvalidJson,
    /// The list has more than [`WEBHOOK_TARGETS_MAX`] targets.
    #[error("holds {targets} webhook targets, the limit is {WEBHOOK_TARGETS_MAX}")]
    TooMany {
        /// Number of targets in the list.
        targets: usize,
    },
    /// The name is used twice, is empty or too long, or has a character that is not allowed.
    #[error(
        "receiver {number} has a name that is taken or not 1 to 32 letters, digits, dashes and underscores"
    )]
    InvalidName {
        /// Position of the target in the list, from 1.
        number: usize,
    },
    /// The URL is not an HTTP or HTTPS address with a host and without a user.
    #[error(
        "receiver `{name}` has a URL that is not http:// or https:// with a host and no user in it"
    )]
    InvalidUrl {
        /// Name of the target with this URL.
        name: String,
    },
}

/// Parses a list of webhook targets from a variable; an empty value is an empty list.
///
/// # Errors
/// Returns [`WebhookError`] for the first fault in the list.
pub fn parse_targets(value: &str) -> Result<Vec<WebhookTarget>, WebhookError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct WebhookTargetConfig {
        name: String,
        #[serde(default)]
        shape: WebhookFormat,
        url: String,
        authorization: Option<String>,
    }
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let configs: Vec<WebhookTargetConfig> =
        serde_json::from_slice(value.as_bytes()).map_err(|_| WebhookError::InvalidJson)?;
    if configs.len() > WEBHOOK_TARGETS_MAX {
        return Err(WebhookError::TooMany { targets: configs.len() });
    }
    let mut targets: Vec<WebhookTarget> = Vec::new();
    for (WebhookTargetConfig { name, shape: format, url, authorization }, number) in
        configs.into_iter().zip(1..)
    {
        if !is_target_name(&name) || targets.iter().any(|target| target.name == name) {
            return Err(WebhookError::InvalidName { number });
        }
        if !is_http_url(&url) {
            return Err(WebhookError::InvalidUrl { name });
        }
        targets.push(WebhookTarget { name, format, url, authorization });
    }
    Ok(targets)
}

/// Message to the webhook targets about a condition of the rollout.
///
/// The rollout object stores it until its delivery. Another version of the gateway may deliver it,
/// before or after an update, so fields that were added later may be missing, and fields that this
/// version does not know are dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Name of the condition, such as `held`. A target is not notified again under this key until
    /// the condition is resolved.
    pub dedup_key: String,
    /// Whether the condition has ended; `false` when it begins.
    pub resolved: bool,
    /// Urgency for the person who reads the notification.
    pub severity: Severity,
    /// Name of the release concerned.
    pub release: String,
    /// Canary share at the time of the notification.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// One English sentence that describes the condition.
    pub text: String,
    /// Code of the sentence, which may be one of another version; empty if an earlier version
    /// stored the notification.
    #[serde(default)]
    pub code: String,
    /// Arguments of the sentence, as in [`Message`].
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Commands that the operator can run next; may be empty.
    pub commands: Vec<String>,
    /// Number of the history entry that raised it; `None` for a test notification.
    pub history_entry: Option<u64>,
    /// Time at which the notification was created.
    #[serde(rename = "at_ms")]
    pub time: UnixMs,
}

/// Severity of a notification, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The release was rolled back.
    Critical,
    /// A person should look at the rollout.
    Warning,
    /// No action is needed.
    Info,
}

impl Notification {
    /// Creates the notification for the beginning of a condition. `history_entry` is the entry that
    /// raised it, `None` for a test.
    pub fn new(
        notice: AlertNotice,
        release: &str,
        share: Share,
        history_entry: Option<u64>,
        now: UnixMs,
    ) -> Self {
        let message = RenderedMessage::new(notice.message, Catalogue::ENGLISH);
        Self {
            dedup_key: notice.dedup_key.to_owned(),
            resolved: false,
            severity: notice.severity,
            release: release.to_owned(),
            share,
            text: message.text,
            code: message.code.name().to_owned(),
            args: message.args,
            commands: notice.commands.into_iter().map(str::to_owned).collect(),
            history_entry,
            time: now,
        }
    }

    /// Returns the body of the request that delivers the notification, in the format of its target.
    pub fn to_body(&self, format: WebhookFormat) -> Vec<u8> {
        let body = match format {
            WebhookFormat::Json => serde_json::to_value(self).unwrap_or(Value::Null),
            WebhookFormat::Slack => {
                let emoji = match (self.resolved, self.severity) {
                    (true, _) => ":white_check_mark: resolved:",
                    (false, Severity::Critical) => ":rotating_light:",
                    (false, Severity::Warning) => ":warning:",
                    (false, Severity::Info) => ":information_source:",
                };
                let commands = self.commands.iter().map(|command| format!("\n`{command}`"));
                let Self { release, share, text, .. } = self;
                let text = format!("{emoji} {release} at {share}: {text}");
                json!({ "text": escape_slack(&text) + &commands.map(|line| escape_slack(&line)).collect::<String>() })
            }
        };
        body.to_string().into_bytes()
    }
}

/// Escapes `&`, `<` and `>`, the three characters that Slack reserves in texts.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Content of a notification that does not depend on the release: what happened, how urgent it is,
/// and what the operator can do.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertNotice {
    /// Name of the condition, as in [`Notification::dedup_key`].
    pub dedup_key: &'static str,
    /// Urgency for the person who reads the notification.
    pub severity: Severity,
    /// Message that describes the condition.
    pub message: Message,
    /// Commands that the operator can run next; may be empty.
    pub commands: Vec<&'static str>,
}

impl AlertNotice {
    /// Returns the notice of an alert; `None` for a refused command, which notifies no target.
    pub fn for_alert(alert: &RolloutAlert) -> Option<Self> {
        let message = describe_alert(alert)?;
        let (dedup_key, severity, commands) = match alert {
            RolloutAlert::ApprovalRequired(_) => {
                ("awaiting_approval", Severity::Warning, vec!["jeffrey rollout approve", STATUS])
            }
            RolloutAlert::Holding(_) => ("holding", Severity::Warning, vec![STATUS]),
            RolloutAlert::NoData => ("no_data", Severity::Warning, vec![STATUS]),
            RolloutAlert::CommandRefused(_) => return None,
            RolloutAlert::RolledBack(_) => {
                let commands = vec!["jeffrey rollout explain", "jeffrey rollout resume --reason …"];
                ("rolled_back", Severity::Critical, commands)
            }
            RolloutAlert::StableOutsideLimits => {
                ("stable_unhealthy", Severity::Warning, vec![STATUS])
            }
            RolloutAlert::AdvanceBlocked(blocked_by) => {
                let commands = blocked_by.suggested_command().into_iter().chain([STATUS]).collect();
                ("advance_blocked", Severity::Warning, commands)
            }
        };
        Some(Self { dedup_key, severity, message, commands })
    }

    /// Returns the notice that a release was promoted.
    pub fn promoted() -> Self {
        let message = Message::new(MessageCode::AlertPromoted);
        Self { dedup_key: "promoted", severity: Severity::Info, message, commands: Vec::new() }
    }

    /// Returns the notice of a test: nothing happened.
    pub fn test() -> Self {
        let message = Message::new(MessageCode::AlertTest);
        Self { dedup_key: "test", severity: Severity::Info, message, commands: vec![STATUS] }
    }
}

/// Parses the verdict of a webhook target. A status other than 200 and an unreadable body count as
/// [`WebhookVerdict::Retry`].
pub fn parse_verdict(status: u16, body: &[u8]) -> WebhookVerdict {
    #[derive(Deserialize)]
    struct WebhookResponseBody {
        verdict: WebhookVerdict,
    }
    if status != 200 {
        return WebhookVerdict::Retry;
    }
    serde_json::from_slice(body)
        .map_or(WebhookVerdict::Retry, |response: WebhookResponseBody| response.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::command::OperatorCommand;
    use crate::rollout::phase::RollbackCause;

    #[test]
    fn a_refused_command_notifies_no_target() {
        let refused = RolloutAlert::CommandRefused(OperatorCommand::Start);
        assert_eq!(AlertNotice::for_alert(&refused), None);
    }

    #[test]
    fn webhook_targets_are_read_whole_or_refused_without_their_secrets() {
        let target_json = r#"{"name":"on-call","shape":"slack","url":"https://h.example/s3cret"}"#;
        let targets = parse_targets(&format!("[{target_json}]")).unwrap();
        assert_eq!(
            (targets[0].name.as_str(), targets[0].format),
            ("on-call", WebhookFormat::Slack)
        );
        assert_eq!(format!("{targets:?}"), "[WebhookTarget(on-call, Slack)]");
        assert_eq!(
            parse_targets(r#"[{"name":"a","url":"http://h"}]"#).unwrap()[0].format,
            WebhookFormat::Json
        );
        let rows = [
            ("{}".to_owned(), WebhookError::InvalidJson),
            (format!("[{target_json},{target_json}]"), WebhookError::InvalidName { number: 2 }),
            (
                target_json.replace("on-call", "").replace('{', "[{").replace('}', "}]"),
                WebhookError::InvalidName { number: 1 },
            ),
            (
                format!("[{}]", target_json.replace("https://h", "https://u:p@h")),
                WebhookError::InvalidUrl { name: "on-call".into() },
            ),
            (format!("[{}]", [target_json; 9].join(",")), WebhookError::TooMany { targets: 9 }),
        ];
        for (value, expected) in rows {
            assert_eq!(parse_targets(&value), Err(expected), "{value}");
        }
    }

    #[test]
    fn a_notification_has_its_reason_and_its_commands_in_both_formats() {
        let alert =
            RolloutAlert::RolledBack(RollbackCause::Operator { reason: "<b> & more".to_owned() });
        let notice = AlertNotice::for_alert(&alert).unwrap();
        let notification = Notification::new(notice, "e1", Share::NONE, Some(7), UnixMs(1));
        let parsed: Notification =
            serde_json::from_slice(&notification.to_body(WebhookFormat::Json)).unwrap();
        assert_eq!(parsed, notification);
        assert_eq!(parsed.code, "alert.rolled_back");
        let cause = json!({"code": "cause.operator", "args": {"reason": "<b> & more"}});
        assert_eq!(parsed.args["cause"], cause);
        let slack_body: Value =
            serde_json::from_slice(&notification.to_body(WebhookFormat::Slack)).unwrap();
        let text = slack_body["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                ":rotating_light: e1 at 0.00%: rolled back: operator: &lt;b&gt; &amp; more"
            ),
            "{text}"
        );
        assert!(text.contains("`jeffrey rollout explain`"), "{text}");
    }

    #[test]
    fn a_notification_that_another_version_stored_is_delivered() {
        let notice = AlertNotice::for_alert(&RolloutAlert::NoData).unwrap();
        let notification = Notification::new(notice, "e1", Share::NONE, Some(7), UnixMs(1));
        let mut stored = serde_json::to_value(&notification).unwrap();
        stored["of_a_later_version"] = json!(1);
        let read: Notification = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read, notification);
        for field in ["code", "args"] {
            stored.as_object_mut().unwrap().remove(field);
        }
        let read: Notification = serde_json::from_value(stored).unwrap();
        assert_eq!((read.text.as_str(), read.code.as_str()), (notification.text.as_str(), ""));
    }

    #[test]
    fn an_unreadable_response_means_retry() {
        let rows: [(u16, &[u8], WebhookVerdict); 6] = [
            (200, br#"{"verdict":"approve"}"#, WebhookVerdict::Approve),
            (200, br#"{"verdict":"halt","reason":"x"}"#, WebhookVerdict::Halt),
            (200, br#"{"verdict":"retry"}"#, WebhookVerdict::Retry),
            (200, br#"{"verdict":"maybe"}"#, WebhookVerdict::Retry),
            (200, b"approve", WebhookVerdict::Retry),
            (500, br#"{"verdict":"approve"}"#, WebhookVerdict::Retry),
        ];
        for (status, body, expected) in rows {
            assert_eq!(
                parse_verdict(status, body),
                expected,
                "{status} {}",
                String::from_utf8_lossy(body)
            );
        }
    }
}
