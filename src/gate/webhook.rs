//! Those who are told of what a rollout does, and those who are asked before a share rises: who they are, what they are
//! sent, and what their answers mean. Nothing of a request is in it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sink::{is_name, is_url};
use crate::rollout::permit::Answer;
use crate::rollout::state::{Alert, Cause};
use jeffrey_terms::{Share, UnixMs};

/// The most receivers of one list.
pub const RECEIVERS_MAX: usize = 8;

/// One who is told or asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its name, 1 to 32 letters, digits, dashes and underscores.
    pub name: String,
    /// What it takes.
    pub shape: Shape,
    /// Where it is.
    pub url: String,
    /// Sent as `Authorization`.
    pub authorization: Option<String>,
}

/// In what shape somebody is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// [`Notice`] as it is.
    #[default]
    Json,
    /// As Slack's incoming webhooks take it, and others who do as Slack does.
    Slack,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may carry a key.
        write!(f, "Receiver({}, {:?})", self.name, self.shape)
    }
}

/// What is no list of receivers. Nothing of a value is shown but a name: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not JSON of the shape.
    #[error(
        "not a list such as [{{\"name\": \"on-call\", \"shape\": \"slack\", \"url\": \"https://…\"}}]"
    )]
    Form,
    /// Too many.
    #[error("holds {receivers} receivers, the most is {RECEIVERS_MAX}")]
    Many {
        /// How many.
        receivers: usize,
    },
    /// The name cannot be one, or is another's.
    #[error(
        "receiver {number} has a name that is taken or not 1 to 32 letters, digits, dashes and underscores"
    )]
    Name {
        /// Which, from 1.
        number: usize,
    },
    /// The URL cannot be asked.
    #[error(
        "receiver `{name}` has a URL that is not http:// or https:// with a host and no user in it"
    )]
    Url {
        /// Its name.
        name: String,
    },
}

/// The receivers of a variable; none when it is empty.
///
/// # Errors
/// [`WebhookError`] names the first fault.
pub fn parse(value: &str) -> Result<Vec<Receiver>, WebhookError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        name: String,
        #[serde(default)]
        shape: Shape,
        url: String,
        authorization: Option<String>,
    }
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let given: Vec<Given> = serde_json::from_str(value).map_err(|_| WebhookError::Form)?;
    if given.len() > RECEIVERS_MAX {
        return Err(WebhookError::Many { receivers: given.len() });
    }
    let mut receivers: Vec<Receiver> = Vec::new();
    for (Given { name, shape, url, authorization }, number) in given.into_iter().zip(1..) {
        if !is_name(&name) || receivers.iter().any(|receiver| receiver.name == name) {
            return Err(WebhookError::Name { number });
        }
        if !is_url(&url) {
            return Err(WebhookError::Url { name });
        }
        receivers.push(Receiver { name, shape, url, authorization });
    }
    Ok(receivers)
}

/// What somebody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// What it is about, the same as long as it lasts: whoever has it is not told again.
    pub key: String,
    /// Whether it is over.
    pub resolved: bool,
    /// How bad.
    pub severity: Severity,
    /// The release.
    pub release: String,
    /// The canary's share now.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// What happened, in one sentence.
    pub text: String,
    /// Commands to act.
    pub commands: Vec<String>,
    /// Number of the history's entry, where there is one.
    pub entry: Option<u64>,
    /// When.
    #[serde(rename = "at_ms")]
    pub at: UnixMs,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The release was taken back.
    Critical,
    /// Somebody should look.
    Warning,
    /// It is well.
    Info,
}

impl Notice {
    /// The body for a receiver of some shape.
    pub fn body(&self, shape: Shape) -> Vec<u8> {
        let body = match shape {
            Shape::Json => serde_json::to_value(self).unwrap_or(Value::Null),
            Shape::Slack => {
                let mark = match (self.resolved, self.severity) {
                    (true, _) => ":white_check_mark: resolved:",
                    (false, Severity::Critical) => ":rotating_light:",
                    (false, Severity::Warning) => ":warning:",
                    (false, Severity::Info) => ":information_source:",
                };
                let commands = self.commands.iter().map(|command| format!("\n`{command}`"));
                let Self { release, share, text, .. } = self;
                let text = format!("{mark} {release} at {share}: {text}");
                json!({ "text": slack(&text) + &commands.map(|line| slack(&line)).collect::<String>() })
            }
        };
        body.to_string().into_bytes()
    }
}

/// The three characters that Slack's texts escape.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What of an alert is told to people: key, severity, sentence and commands. `None` for the answer to a command, which
/// goes to whoever gave it.
pub fn told(alert: &Alert) -> Option<(&'static str, Severity, String, Vec<&'static str>)> {
    const EXPLAIN: &str = "jeffrey rollout explain";
    const STATUS: &str = "jeffrey rollout status";
    Some(match alert {
        Alert::ApprovalWanted(undecided) => {
            let why = if *undecided {
                "the gates could not decide in time"
            } else {
                "the gates pass and the plan wants a person's word"
            };
            let commands = vec!["jeffrey rollout approve", STATUS];
            ("approval", Severity::Warning, format!("waits for approval: {why}"), commands)
        }
        Alert::Held(findings) => {
            let open: Vec<&str> =
                findings.iter().map(|found| found.gate.as_str()).take(5).collect();
            let text = if open.is_empty() {
                "holds: the stage has not had the requests that it needs".to_owned()
            } else {
                format!("holds: {} do not pass yet", open.join(", "))
            };
            ("held", Severity::Warning, text, vec![STATUS])
        }
        Alert::NoData => {
            let text = "holds: no canary request was counted for some minutes".to_owned();
            ("no_data", Severity::Warning, text, vec![STATUS])
        }
        Alert::Refused(_) => return None,
        Alert::RolledBack(cause) => {
            let text = format!("rolled back: {}", of_cause(cause));
            (
                "rolled_back",
                Severity::Critical,
                text,
                vec![EXPLAIN, "jeffrey rollout resume --reason …"],
            )
        }
        Alert::StableBreached => {
            let text =
                "holds: the old system itself is outside the plan's limits for it".to_owned();
            ("stable", Severity::Warning, text, vec![STATUS])
        }
        Alert::Withheld(withheld) => {
            let commands = withheld.command().into_iter().chain([STATUS]).collect();
            ("withheld", Severity::Warning, format!("holds: {withheld}"), commands)
        }
    })
}

/// What rolled back, in a sentence without its subject.
pub fn of_cause(cause: &Cause) -> String {
    match cause {
        Cause::Breach(kind) => format!("the canary did what none may do once: {}", kind.name()),
        Cause::Gate(found) => {
            let number =
                |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.4}"));
            format!(
                "gate `{}` fails: {} against a limit of {}, {} of {} requests",
                found.gate,
                number(found.value),
                number(found.limit),
                found.hits,
                found.samples
            )
        }
        Cause::Person { reason } => format!("a person: {reason}"),
    }
}

/// What somebody who was asked said; what is no answer is "wait".
pub fn answer(status: u16, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Said {
        answer: Answer,
    }
    if status != 200 {
        return Answer::Wait;
    }
    serde_json::from_slice(body).map_or(Answer::Wait, |said: Said| said.answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::standing::BreachKind;

    #[test]
    fn who_is_held_by_no_gate_is_told_what_is_missing() {
        let (_, _, text, _) = told(&Alert::Held(Vec::new())).unwrap();
        assert_eq!(text, "holds: the stage has not had the requests that it needs");
    }

    #[test]
    fn receivers_are_read_whole_or_refused_without_their_secrets() {
        let one = r#"{"name":"on-call","shape":"slack","url":"https://h.example/s3cret"}"#;
        let found = parse(&format!("[{one}]")).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].shape), ("on-call", Shape::Slack));
        assert_eq!(format!("{found:?}"), "[Receiver(on-call, Slack)]");
        assert_eq!(parse(r#"[{"name":"a","url":"http://h"}]"#).unwrap()[0].shape, Shape::Json);
        let rows = [
            ("{}".to_owned(), WebhookError::Form),
            (format!("[{one},{one}]"), WebhookError::Name { number: 2 }),
            (
                one.replace("on-call", "").replace('{', "[{").replace('}', "}]"),
                WebhookError::Name { number: 1 },
            ),
            (
                format!("[{}]", one.replace("https://h", "https://u:p@h")),
                WebhookError::Url { name: "on-call".into() },
            ),
            (format!("[{}]", [one; 9].join(",")), WebhookError::Many { receivers: 9 }),
        ];
        for (value, expected) in rows {
            assert_eq!(parse(&value), Err(expected), "{value}");
        }
    }

    #[test]
    fn a_notice_has_its_reason_and_its_commands_in_both_shapes() {
        let (key, severity, text, commands) =
            told(&Alert::RolledBack(Cause::Person { reason: "<b> & more".to_owned() })).unwrap();
        let notice = Notice {
            key: key.to_owned(),
            resolved: false,
            severity,
            release: "e1".to_owned(),
            share: Share::NONE,
            text,
            commands: commands.into_iter().map(str::to_owned).collect(),
            entry: Some(7),
            at: UnixMs(1),
        };
        let plain: Notice = serde_json::from_slice(&notice.body(Shape::Json)).unwrap();
        assert_eq!(plain, notice);
        let slack: Value = serde_json::from_slice(&notice.body(Shape::Slack)).unwrap();
        let text = slack["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                ":rotating_light: e1 at 0.00%: rolled back: a person: &lt;b&gt; &amp; more"
            ),
            "{text}"
        );
        assert!(text.contains("`jeffrey rollout explain`"), "{text}");
        assert!(
            told(&Alert::RolledBack(Cause::Breach(BreachKind::Trap))).unwrap().2.contains("trap")
        );
    }

    #[test]
    fn no_answer_is_wait() {
        let rows: [(u16, &[u8], Answer); 6] = [
            (200, br#"{"answer":"go"}"#, Answer::Go),
            (200, br#"{"answer":"stop","reason":"x"}"#, Answer::Stop),
            (200, br#"{"answer":"wait"}"#, Answer::Wait),
            (200, br#"{"answer":"maybe"}"#, Answer::Wait),
            (200, b"go", Answer::Wait),
            (500, br#"{"answer":"go"}"#, Answer::Wait),
        ];
        for (status, body, expected) in rows {
            assert_eq!(
                answer(status, body),
                expected,
                "{status} {}",
                String::from_utf8_lossy(body)
            );
        }
    }
}
