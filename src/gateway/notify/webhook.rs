//! Webhooks: targets that are notified about a rollout, and targets that are asked before a share
//! rises.
//!
//! The input is the variables `ALERT_WEBHOOKS` and `CONFIRM_TRAFFIC_INCREASE_WEBHOOKS`, alerts of the rollout, and responses
//! of the targets. The output is [`WebhookTarget`]s, [`Notification`]s and verdicts. A notification
//! contains no data of any request. A list of targets is refused as a whole at its first fault. A
//! response that cannot be read counts as the verdict "retry".

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gateway::http::target::{is_http_url, is_target_name};
use crate::rollout::advance_checks::WebhookVerdict;
use crate::rollout::effect::RolloutAlert;
use crate::rollout::phase::RollbackCause;
use jeffrey_terms::{Share, UnixMs};

/// Largest number of webhook targets in one list.
pub const WEBHOOK_TARGETS_MAX: usize = 8;

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
        serde_json::from_str(value).map_err(|_| WebhookError::InvalidJson)?;
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// One sentence that describes the condition.
    pub text: String,
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

/// Returns the key, severity, text and commands of the notification for an alert. `None` for a
/// refused command: only the operator who gave it gets that answer.
pub fn notification_for(
    alert: &RolloutAlert,
) -> Option<(&'static str, Severity, String, Vec<&'static str>)> {
    const EXPLAIN: &str = "jeffrey rollout explain";
    const STATUS: &str = "jeffrey rollout status";
    Some(match alert {
        RolloutAlert::ApprovalRequired(gates_undecided) => {
            let reason = if *gates_undecided {
                "the gates could not decide in time"
            } else {
                "the gates pass and the plan requires an approval"
            };
            let commands = vec!["jeffrey rollout approve", STATUS];
            (
                "awaiting_approval",
                Severity::Warning,
                format!("waits for approval: {reason}"),
                commands,
            )
        }
        RolloutAlert::Holding(findings) => {
            let open_gates: Vec<&str> =
                findings.iter().map(|finding| finding.gate.as_str()).take(5).collect();
            let text = if open_gates.is_empty() {
                "holds: the stage has not had enough requests".to_owned()
            } else {
                format!("holds: gates that do not pass yet: {}", open_gates.join(", "))
            };
            ("holding", Severity::Warning, text, vec![STATUS])
        }
        RolloutAlert::NoData => {
            let text = "holds: no canary request for five minutes".to_owned();
            ("no_data", Severity::Warning, text, vec![STATUS])
        }
        RolloutAlert::CommandRefused(_) => return None,
        RolloutAlert::RolledBack(cause) => {
            let text = format!("rolled back: {}", describe_cause(cause));
            (
                "rolled_back",
                Severity::Critical,
                text,
                vec![EXPLAIN, "jeffrey rollout resume --reason …"],
            )
        }
        RolloutAlert::StableOutsideLimits => {
            let text = "holds: the legacy system is outside the plan's limits".to_owned();
            ("stable_unhealthy", Severity::Warning, text, vec![STATUS])
        }
        RolloutAlert::AdvanceBlocked(withheld) => {
            let commands = withheld.suggested_command().into_iter().chain([STATUS]).collect();
            ("advance_blocked", Severity::Warning, format!("holds: {withheld}"), commands)
        }
    })
}

/// Describes the cause of a rollback, as the text that follows "rolled back: ".
pub fn describe_cause(cause: &RollbackCause) -> String {
    match cause {
        RollbackCause::HardFailure(kind) => {
            format!("hard failure of the canary: {}", kind.name())
        }
        RollbackCause::Gate(finding) => {
            let format_number =
                |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.4}"));
            format!(
                "gate `{}` fails: {} against a limit of {}, {} of {} requests",
                finding.gate,
                format_number(finding.value),
                format_number(finding.limit),
                finding.hits,
                finding.samples
            )
        }
        RollbackCause::Operator { reason } => format!("operator: {reason}"),
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
    use crate::rollout::release_state::HardFailureKind;

    #[test]
    fn a_hold_without_open_gates_says_that_requests_are_missing() {
        let (_, _, text, _) = notification_for(&RolloutAlert::Holding(Vec::new())).unwrap();
        assert_eq!(text, "holds: the stage has not had enough requests");
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
        let (key, severity, text, commands) =
            notification_for(&RolloutAlert::RolledBack(RollbackCause::Operator {
                reason: "<b> & more".to_owned(),
            }))
            .unwrap();
        let notification = Notification {
            dedup_key: key.to_owned(),
            resolved: false,
            severity,
            release: "e1".to_owned(),
            share: Share::NONE,
            text,
            commands: commands.into_iter().map(str::to_owned).collect(),
            history_entry: Some(7),
            time: UnixMs(1),
        };
        let parsed: Notification =
            serde_json::from_slice(&notification.to_body(WebhookFormat::Json)).unwrap();
        assert_eq!(parsed, notification);
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
        assert!(
            notification_for(&RolloutAlert::RolledBack(RollbackCause::HardFailure(
                HardFailureKind::Trap
            )))
            .unwrap()
            .2
            .contains("trap")
        );
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
