//! What the old system's classify calls look like: which they are, and where text, user, label and
//! the rest stand in their JSON. `docs/legacy.md` describes the default, the v2.4.2 prediction object.
//!
//! Nothing is checked beyond what is read: the old system is the judge of its own requests.

use serde::Serialize;
use serde_json::Value;

use super::answer::Rule;
use jeffrey_terms::{Label, Subject, Text};

/// The old system's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Method and exact path of each classify call.
    pub classify: Vec<(String, String)>,
    /// Where the text stands in a request.
    pub text: Pointer,
    /// Where the user stands in a request.
    pub user: Option<Pointer>,
    /// Where the label stands in an answer.
    pub label: Option<Pointer>,
    /// Where its probability stands.
    pub confidence: Option<Pointer>,
    /// Where the part that answered is named.
    pub route: Option<Pointer>,
    /// Where it says that it is unsure.
    pub low_confidence: Option<Pointer>,
    /// Where an applied rule is named.
    pub rule: Option<Pointer>,
}

impl Default for Contract {
    fn default() -> Self {
        let pointer = |text: &str| Pointer(text.to_owned());
        Self {
            classify: vec![("POST".to_owned(), "/predict".to_owned())],
            text: pointer("/text"),
            user: Some(pointer("/user_id")),
            label: Some(pointer("/prediction/primary")),
            confidence: Some(pointer("/prediction/confidence")),
            route: Some(pointer("/route")),
            low_confidence: Some(pointer("/prediction/low_confidence")),
            rule: Some(pointer("/prediction/rule_applied")),
        }
    }
}

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// Checks the form.
    ///
    /// # Errors
    /// [`PointerError`] unless it begins with a slash and each `~` is part of `~0` or `~1`.
    pub fn parse(pointer: &str) -> Result<Self, PointerError> {
        let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if pointer.starts_with('/') && escaped {
            return Ok(Self(pointer.to_owned()));
        }
        Err(PointerError { pointer: pointer.chars().take(40).collect() })
    }

    fn of<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }
}

/// What is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}` is not a JSON pointer such as /prediction/primary")]
pub struct PointerError {
    pointer: String,
}

/// What is read of a classify request.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text; `None` when there is none, or it is longer than the model takes.
    pub text: Option<Text>,
    /// Who asks, when the request names somebody.
    pub user: Option<Subject>,
}

/// What an old answer says, as far as it says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The label, if it is one of ours.
    pub label: Option<Label>,
    /// The label's probability, 0 to 1.
    pub confidence: Option<f64>,
    /// The part that answered.
    pub route: Option<Route>,
    /// Whether it was unsure.
    pub low_confidence: Option<bool>,
    /// Whether a rule was applied.
    pub rule_applied: Option<bool>,
    /// Which, if it is one of ours: another's name may say anything, and is not kept.
    pub rule: Option<Rule>,
}

/// The parts of a classifier, as both systems name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// None of them: there was nothing but white space, which is neutral.
    Empty,
    /// The linear head over the embedding.
    LinearHead,
    /// The nearest class prototypes.
    Prototypes,
    /// Keyword patterns.
    Regex,
}

impl Route {
    /// The route with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Empty, Self::LinearHead, Self::Prototypes, Self::Regex];
        all.into_iter().find(|route| route.name() == name)
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

impl Contract {
    /// Whether this is one of the classify calls.
    pub fn is_classify(&self, method: &str, path: &str) -> bool {
        self.classify.iter().any(|(m, p)| m == method && p == path)
    }

    /// Reads a request. What is not JSON has neither text nor user.
    pub fn read(&self, body: &[u8]) -> Asked {
        let body: Value = serde_json::from_slice(unmarked(body)).unwrap_or_default();
        let text = self.text.of(&body).and_then(Value::as_str);
        let user = self.user.as_ref().and_then(|user| user.of(&body));
        let user = match user {
            Some(Value::String(user)) => Some(user.clone()),
            // An id may be a number; what it looks like in JSON is its name.
            Some(Value::Number(user)) => Some(user.to_string()),
            _ => None,
        };
        Asked {
            text: text.and_then(|text| Text::parse(text).ok()),
            user: user.and_then(|user| Subject::parse(user).ok()),
        }
    }

    /// Reads an answer; `None` when it is not JSON.
    pub fn observe(&self, body: &[u8]) -> Option<Observed> {
        let body: Value = serde_json::from_slice(unmarked(body)).ok()?;
        let at = |pointer: &Option<Pointer>| pointer.as_ref().and_then(|p| p.of(&body));
        let name = |pointer| at(pointer).and_then(Value::as_str);
        Some(Observed {
            label: name(&self.label).and_then(Label::from_name),
            confidence: at(&self.confidence)
                .and_then(Value::as_f64)
                .filter(|confidence| (0.0..=1.0).contains(confidence)),
            route: name(&self.route).and_then(Route::from_name),
            low_confidence: at(&self.low_confidence).and_then(Value::as_bool),
            rule_applied: at(&self.rule)
                .map(|rule| !matches!(rule, Value::Null | Value::Bool(false))),
            rule: name(&self.rule).and_then(Rule::from_name),
        })
    }
}

/// A byte order mark before the JSON is skipped, as RFC 8259 section 8.1 allows.
fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_v2_4_2_gives_text_and_user() {
        let asked =
            Contract::default().read(r#"{"text":"Été","user_id":"alice","x":1}"#.as_bytes());
        assert_eq!(asked.text.unwrap().expose(), "Été");
        assert_eq!(asked.user.unwrap().expose(), "alice");
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
            let asked = Contract::default().read(body);
            let found = (asked.text.is_some(), asked.user.as_ref().map(Subject::expose));
            assert_eq!(found, (text, user), "{:?}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn an_answer_of_v2_4_2_is_observed_and_a_strange_one_only_as_far_as_it_goes() {
        let contract = Contract::default();
        let body = br#"{"route":"prototypes","prediction":{"primary":"anger","confidence":0.81,
            "low_confidence":false,"rule_applied":"tiebreak_anger_keyword_standard"}}"#;
        let found = contract.observe(body).unwrap();
        assert_eq!(
            found,
            Observed {
                label: Some(Label::Anger),
                confidence: Some(0.81),
                route: Some(Route::Prototypes),
                low_confidence: Some(false),
                rule_applied: Some(true),
                rule: Some(Rule::TieBreakStandard),
            }
        );
        let body =
            br#"{"route":7,"prediction":{"primary":"rage","confidence":81,"rule_applied":null}}"#;
        let expected = Observed { rule_applied: Some(false), ..Observed::default() };
        assert_eq!(contract.observe(body), Some(expected));
        assert_eq!(contract.observe(b"<html>"), None);
    }

    #[test]
    fn pointers_are_checked_when_they_are_read() {
        for good in ["/a", "/a/0/b", "/", "/a~1b~0c"] {
            assert!(Pointer::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/a~2", "/a~", "$.a"] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
    }
}
