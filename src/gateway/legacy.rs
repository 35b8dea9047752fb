//! What the old system's classify calls look like: which they are, and where text, user, label and
//! the rest stand in their JSON. `docs/legacy.md` describes the default, the v2.4.2 prediction object.
//!
//! Nothing is checked beyond what is read: the old system is the judge of its own requests.

use serde::Serialize;
use serde_json::Value;

use super::model::ReportedRule;
use jeffrey_terms::{InputText, Label, Subject};

/// The old system's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyContract {
    /// Method and exact path of each classify call.
    pub classify_calls: Vec<(String, String)>,
    /// Where the text stands in a request.
    pub text_pointer: JsonPointer,
    /// Where the user stands in a request.
    pub user_pointer: Option<JsonPointer>,
    /// Where the label stands in an answer.
    pub label_pointer: Option<JsonPointer>,
    /// Where its probability stands.
    pub confidence_pointer: Option<JsonPointer>,
    /// Where the part that answered is named.
    pub route_pointer: Option<JsonPointer>,
    /// Where it says that it is unsure.
    pub low_confidence_pointer: Option<JsonPointer>,
    /// Where an applied rule is named.
    pub rule_pointer: Option<JsonPointer>,
}

impl Default for LegacyContract {
    fn default() -> Self {
        let pointer = |path: &str| JsonPointer(path.to_owned());
        Self {
            classify_calls: vec![("POST".to_owned(), "/predict".to_owned())],
            text_pointer: pointer("/text"),
            user_pointer: Some(pointer("/user_id")),
            label_pointer: Some(pointer("/prediction/primary")),
            confidence_pointer: Some(pointer("/prediction/confidence")),
            route_pointer: Some(pointer("/route")),
            low_confidence_pointer: Some(pointer("/prediction/low_confidence")),
            rule_pointer: Some(pointer("/prediction/rule_applied")),
        }
    }
}

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// Checks the form.
    ///
    /// # Errors
    /// [`JsonPointerError`] unless it begins with a slash and each `~` is part of `~0` or `~1`.
    pub fn parse(pointer: &str) -> Result<Self, JsonPointerError> {
        let escapes_valid = pointer.split('~').skip(1).all(|escape| escape.starts_with(['0', '1']));
        if pointer.starts_with('/') && escapes_valid {
            return Ok(Self(pointer.to_owned()));
        }
        Err(JsonPointerError { pointer: pointer.chars().take(40).collect() })
    }

    fn resolve<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }
}

/// What is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}` is not a JSON pointer such as /prediction/primary")]
pub struct JsonPointerError {
    pointer: String,
}

/// What is read of a classify request.
#[derive(Debug, PartialEq, Eq)]
pub struct LegacyRequest {
    /// The text; `None` when there is none, or it is longer than the model takes.
    pub text: Option<InputText>,
    /// Who asks, when the request names somebody.
    pub user: Option<Subject>,
}

/// What an old answer says, as far as it says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyResponse {
    /// The label, if it is one of ours.
    pub label: Option<Label>,
    /// The label's probability, 0 to 1.
    pub confidence: Option<f64>,
    /// The part that answered.
    pub route: Option<ReportedRoute>,
    /// Whether it was unsure.
    pub low_confidence: Option<bool>,
    /// Whether a rule was applied.
    pub rule_applied: Option<bool>,
    /// Which, if it is one of ours: another's name may say anything, and is not kept.
    pub rule: Option<ReportedRule>,
}

/// The parts of a classifier, as both systems name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportedRoute {
    /// None of them: there was nothing but white space, which is neutral.
    Empty,
    /// The linear head over the embedding.
    LinearHead,
    /// The nearest class prototypes.
    Prototypes,
    /// Keyword patterns.
    Regex,
}

impl ReportedRoute {
    /// The route with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let routes = [Self::Empty, Self::LinearHead, Self::Prototypes, Self::Regex];
        routes.into_iter().find(|route| route.name() == name)
    }

    /// The name used in every file and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::LinearHead => "linear_head",
            Self::Prototypes => "prototypes",
            Self::Regex => "regex",
        }
    }
}

impl LegacyContract {
    /// Whether this is one of the classify calls.
    pub fn is_classify_call(&self, method: &str, path: &str) -> bool {
        self.classify_calls.iter().any(|(m, p)| m == method && p == path)
    }

    /// Reads a request. What is not JSON has neither text nor user.
    pub fn parse_request(&self, body: &[u8]) -> LegacyRequest {
        let body: Value = serde_json::from_slice(strip_byte_order_mark(body)).unwrap_or_default();
        let text = self.text_pointer.resolve(&body).and_then(Value::as_str);
        let user = self.user_pointer.as_ref().and_then(|user| user.resolve(&body));
        let user = match user {
            Some(Value::String(user)) => Some(user.clone()),
            // An id may be a number; what it looks like in JSON is its name.
            Some(Value::Number(user)) => Some(user.to_string()),
            _ => None,
        };
        LegacyRequest {
            text: text.and_then(|text| InputText::parse(text).ok()),
            user: user.and_then(|user| Subject::parse(user).ok()),
        }
    }

    /// Reads an answer; `None` when it is not JSON.
    pub fn parse_response(&self, body: &[u8]) -> Option<LegacyResponse> {
        let body: Value = serde_json::from_slice(strip_byte_order_mark(body)).ok()?;
        let value_at =
            |pointer: &Option<JsonPointer>| pointer.as_ref().and_then(|p| p.resolve(&body));
        let str_at = |pointer| value_at(pointer).and_then(Value::as_str);
        Some(LegacyResponse {
            label: str_at(&self.label_pointer).and_then(Label::from_name),
            confidence: value_at(&self.confidence_pointer)
                .and_then(Value::as_f64)
                .filter(|confidence| (0.0..=1.0).contains(confidence)),
            route: str_at(&self.route_pointer).and_then(ReportedRoute::from_name),
            low_confidence: value_at(&self.low_confidence_pointer).and_then(Value::as_bool),
            rule_applied: value_at(&self.rule_pointer)
                .map(|rule| !matches!(rule, Value::Null | Value::Bool(false))),
            rule: str_at(&self.rule_pointer).and_then(ReportedRule::from_name),
        })
    }
}

/// A byte order mark before the JSON is skipped, as RFC 8259 section 8.1 allows.
fn strip_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_v2_4_2_gives_text_and_user() {
        let request = LegacyContract::default()
            .parse_request(r#"{"text":"Été","user_id":"alice","x":1}"#.as_bytes());
        assert_eq!(request.text.unwrap().expose(), "Été");
        assert_eq!(request.user.unwrap().expose(), "alice");
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_not_guessed() {
        let long = format!(r#"{{"text":"{}","user_id":"u"}}"#, "a".repeat(65_537));
        let deep = "[".repeat(20_000);
        let rows: [(&[u8], bool, Option<&str>); 10] = [
            (b"", false, None),
            (b"{", false, None),
            (b"\xff\xff", false, None),
            (br#"{"text":1}"#, false, None),
            (br#"{"text":"a","user_id":7}"#, true, Some("7")),
            (br#"{"text":"a","user_id":""}"#, true, None),
            (br#"{"text":"a","user_id":["u"]}"#, true, None),
            (b"\xef\xbb\xbf{\"text\":\"a\"}", true, None),
            (long.as_bytes(), false, Some("u")),
            (deep.as_bytes(), false, None),
        ];
        for (body, text, user) in rows {
            let request = LegacyContract::default().parse_request(body);
            let actual = (request.text.is_some(), request.user.as_ref().map(Subject::expose));
            assert_eq!(actual, (text, user), "{:?}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn an_answer_of_v2_4_2_is_observed_and_a_strange_one_only_as_far_as_it_goes() {
        let contract = LegacyContract::default();
        let body = br#"{"route":"prototypes","prediction":{"primary":"anger","confidence":0.81,
            "low_confidence":false,"rule_applied":"tiebreak_anger_keyword_standard"}}"#;
        let response = contract.parse_response(body).unwrap();
        assert_eq!(
            response,
            LegacyResponse {
                label: Some(Label::Anger),
                confidence: Some(0.81),
                route: Some(ReportedRoute::Prototypes),
                low_confidence: Some(false),
                rule_applied: Some(true),
                rule: Some(ReportedRule::TieBreakStandard),
            }
        );
        let body =
            br#"{"route":7,"prediction":{"primary":"rage","confidence":81,"rule_applied":null}}"#;
        let expected = LegacyResponse { rule_applied: Some(false), ..LegacyResponse::default() };
        assert_eq!(contract.parse_response(body), Some(expected));
        assert_eq!(contract.parse_response(b"<html>"), None);
    }

    #[test]
    fn pointers_are_checked_when_they_are_read() {
        for valid in ["/a", "/a/0/b", "/", "/a~1b~0c"] {
            assert!(JsonPointer::parse(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "a", "/a~2", "/a~", "$.a"] {
            assert!(JsonPointer::parse(invalid).is_err(), "{invalid}");
        }
    }
}
