//! Renders a message from the templates of one language.
//!
//! The catalogue is looked up in its JSON text as it is: one entry a line, without an escape. A
//! gateway renders a few sentences a second, so it needs neither a table in memory nor code to build
//! one.

use jeffrey_terms::UnixMs;
use serde::Serialize;
use serde_json::{Map, Value};

use super::code::MessageCode;
use super::message::Message;
use super::time::format_utc_minute;

/// Number of characters that `{name:short}` keeps: enough to tell two models apart.
const SHORT_LENGTH: usize = 12;

/// Text of an argument that is missing or not known.
const NO_VALUE: &str = "?";

/// Templates of one language, by code.
///
/// | placeholder | renders |
/// |---|---|
/// | `{name}` | text and integers as they are, a message as its sentence, a list like `{name:list}` |
/// | `{name:clauses}` | a list of clauses |
/// | `{name:list}` | a list of names |
/// | `{name:number}` | a number with four decimals |
/// | `{name:percent}` | a share in basis points, as a percentage with two decimals |
/// | `{name:short}` | the first 12 characters of a text |
/// | `{name:time}` | a time in milliseconds since 1970, in UTC to the minute |
///
/// An argument that is missing or `null` is rendered as `?`. A code without a template is rendered
/// as the code and its arguments: during a deploy, a newer version may have made the message.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    json: &'static str,
}

impl Catalogue {
    /// English templates, the only ones that the gateway contains.
    pub const ENGLISH: Self = Self { json: include_str!("en.json") };

    /// French templates, for the command line; the dashboard has its own copy.
    pub const FRENCH: Self = Self { json: include_str!("fr.json") };

    /// Returns the sentence of a message.
    pub fn render(self, message: &Message) -> String {
        self.render_code(message.code.name(), &message.args)
    }

    /// Returns the template of a code, or the convention of an entry `format.…`; `None` for a code
    /// that the catalogue does not have.
    pub fn template(self, code: &str) -> Option<&'static str> {
        let entry_of = |line: &'static str| {
            let entry = line.trim_start().strip_prefix('"')?.strip_prefix(code)?;
            entry.strip_prefix("\": \"")?.split('"').next()
        };
        self.json.lines().find_map(entry_of)
    }

    fn render_code(self, code: &str, args: &Map<String, Value>) -> String {
        let Some(mut rest) = self.template(code) else { return self.render_unknown(code, args) };
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            let (name, format) = placeholder.split_once(':').unwrap_or((placeholder, ""));
            text.push_str(before);
            text.push_str(&self.render_value(args.get(name).unwrap_or(&Value::Null), format));
            rest = after;
        }
        text.push_str(rest);
        text
    }

    /// Renders a code that the catalogue does not have, such as `alert.new (gate: errors, hits: 5)`.
    fn render_unknown(self, code: &str, args: &Map<String, Value>) -> String {
        if args.is_empty() {
            return code.to_owned();
        }
        let render_arg =
            |(name, value): (&String, &Value)| format!("{name}: {}", self.render_value(value, ""));
        let args: Vec<String> = args.iter().map(render_arg).collect();
        format!("{code} ({})", args.join(self.convention("format.list")))
    }

    fn render_value(self, value: &Value, format: &str) -> String {
        match value {
            Value::Null => NO_VALUE.to_owned(),
            Value::String(text) if format == "short" => text.chars().take(SHORT_LENGTH).collect(),
            Value::String(text) => text.clone(),
            Value::Number(number) => match (format, number.as_u64(), number.as_f64()) {
                ("percent", Some(basis_points), _) => self.render_percent(basis_points),
                ("time", Some(ms), _) => format_utc_minute(UnixMs(ms)),
                ("number", _, Some(number)) => {
                    format!("{number:.4}").replace('.', self.convention("format.decimal"))
                }
                _ => number.to_string(),
            },
            Value::Array(parts) => {
                let separator = if format == "clauses" { "format.clauses" } else { "format.list" };
                let parts: Vec<String> =
                    parts.iter().map(|part| self.render_value(part, "")).collect();
                parts.join(self.convention(separator))
            }
            Value::Object(message) => match (message.get("code"), message.get("args")) {
                (Some(Value::String(code)), Some(Value::Object(args))) => {
                    self.render_code(code, args)
                }
                _ => value.to_string(),
            },
            Value::Bool(_) => value.to_string(),
        }
    }

    fn render_percent(self, basis_points: u64) -> String {
        let decimal = self.convention("format.decimal");
        let sign = self.convention("format.percent");
        format!("{}{decimal}{:02}{sign}", basis_points / 100, basis_points % 100)
    }

    fn convention(self, entry: &str) -> &'static str {
        self.template(entry).unwrap_or_default()
    }
}

/// Message with its text in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RenderedMessage {
    /// Code that says what happened.
    pub code: MessageCode,
    /// Arguments of the message, as in [`Message`].
    pub args: Map<String, Value>,
    /// Text of the message, for readers without a catalogue.
    pub text: String,
}

impl RenderedMessage {
    /// Renders a message in the language of `catalogue`.
    pub fn new(message: Message, catalogue: Catalogue) -> Self {
        let text = catalogue.render(&message);
        Self { code: message.code, args: message.args, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_of_a_newer_version_shows_its_code_and_arguments() {
        let args = json!({"gate": "errors", "hits": 5, "gates": ["a", "b"], "value": 0.5});
        let cause = json!({"code": "cause.of_a_newer_version", "args": args});
        let message = Message::new(MessageCode::AlertRolledBack).with("cause", cause);
        assert_eq!(
            Catalogue::ENGLISH.render(&message),
            "rolled back: cause.of_a_newer_version (gate: errors, gates: a, b, hits: 5, value: 0.5)"
        );
        let message = Message::new(MessageCode::AlertRolledBack)
            .with("cause", json!({"code": "cause.new", "args": {}}));
        assert_eq!(Catalogue::FRENCH.render(&message), "retiré : cause.new");
    }

    #[test]
    fn an_argument_that_is_missing_or_of_another_kind_is_shown_as_far_as_possible() {
        let rows = [
            // args of `cause.gate_failed`, the text
            (json!({}), "gate `?` fails: ? against a limit of ?, ? of ? requests"),
            (
                json!({"gate": {"name": 1}, "value": true, "limit": "x", "hits": -1}),
                "gate `{\"name\":1}` fails: true against a limit of x, -1 of ? requests",
            ),
        ];
        for (args, expected) in rows {
            let Value::Object(args) = args else { panic!("not an object") };
            let message = Message { code: MessageCode::CauseGateFailed, args };
            assert_eq!(Catalogue::ENGLISH.render(&message), expected);
        }
    }

    #[test]
    fn braces_in_an_argument_are_not_placeholders() {
        let message = Message::new(MessageCode::CauseOperator).with("reason", "{reason} {");
        assert_eq!(Catalogue::ENGLISH.render(&message), "operator: {reason} {");
    }
}
