//! Interface of the legacy system: identifies its classify calls, and locates text, user, label and
//! the other fields in its JSON.
//!
//! The default is the prediction object of the v2.4.2 reference service, which `docs/legacy.md`
//! describes. Only the fields that the gateway reads are checked; the legacy system validates its
//! own requests.

use std::borrow::Cow;

use serde_json::Value;

use crate::gateway::upstream::json_pointer::JsonPointer;
use jeffrey_terms::{InputText, Label, PredictionRoute, Subject, TieBreakRule};

/// Describes the classify calls of the legacy system and the JSON pointers into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyContract {
    /// Method and exact path of each classify call; never empty when parsed from `LEGACY_CLASSIFY_ROUTES`.
    pub classify_endpoints: Vec<(String, String)>,
    /// Pointer to the text in a request.
    pub text_pointer: JsonPointer,
    /// Pointer to the user id in a request; `None` if requests carry no user id.
    pub user_pointer: Option<JsonPointer>,
    /// Pointer to the label in a response; `None` if the legacy system does not report it.
    pub label_pointer: Option<JsonPointer>,
    /// Pointer to the label's probability in a response; `None` if it is not reported.
    pub confidence_pointer: Option<JsonPointer>,
    /// Pointer to the route name in a response; `None` if it is not reported.
    pub route_pointer: Option<JsonPointer>,
    /// Pointer to the low-confidence boolean in a response; `None` if it is not reported.
    pub low_confidence_pointer: Option<JsonPointer>,
    /// Pointer to the applied rule in a response; `None` if it is not reported.
    pub rule_pointer: Option<JsonPointer>,
}

impl Default for LegacyContract {
    fn default() -> Self {
        let pointer = |path: &str| JsonPointer(path.to_owned());
        Self {
            classify_endpoints: vec![("POST".to_owned(), "/predict".to_owned())],
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

/// Fields that the gateway reads from a classify request.
#[derive(Debug, PartialEq, Eq)]
pub struct LegacyRequest {
    /// Text to classify; `None` if it is missing, not a string, or longer than
    /// [`InputText::BYTES_MAX`].
    pub text: Option<InputText>,
    /// User id from the request; `None` if it is missing, empty or too long.
    pub user: Option<Subject>,
}

/// Fields read from a response of the legacy system. A field is `None` if it is missing or has an
/// unexpected type or value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyResponse {
    /// Predicted label; `None` if it is not one of the eight labels.
    pub label: Option<Label>,
    /// Probability of the label, 0 to 1; `None` for a value outside that range.
    pub confidence: Option<f64>,
    /// Part of the classifier that produced the prediction; `None` if its name is unknown.
    pub route: Option<PredictionRoute>,
    /// Whether the legacy system reported low confidence.
    pub low_confidence: Option<bool>,
    /// Whether a rule was applied: any value except `null` and `false` counts as a rule. `None` if
    /// the response has no such field.
    pub rule_applied: Option<bool>,
    /// Applied rule, if its name is one of [`TieBreakRule`]. An unknown name may contain arbitrary
    /// text, so it is not stored.
    pub rule: Option<TieBreakRule>,
}

/// Returns a path without slashes at its end, and with the characters decoded that need no
/// percent-encoding (RFC 3986, section 6.2.2).
fn normalize_path(path: &str) -> Cow<'_, str> {
    let path = path.trim_end_matches('/');
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut parts = path.split('%');
    let mut normalized = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let decoded = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (decoded.map(char::from), part.get(2..)) {
            (Some(ch), Some(rest)) if ch.is_ascii_alphanumeric() || "-._~".contains(ch) => {
                normalized.push(ch);
                normalized.push_str(rest);
            }
            _ => {
                normalized.push('%');
                normalized.push_str(part);
            }
        }
    }
    Cow::Owned(normalized)
}

impl LegacyContract {
    /// Returns whether a request with this method and path is a classify call; `path` has no query.
    /// Slashes at its end and characters that need no percent-encoding make no difference, as they make
    /// none to most systems: a call in another spelling is no way around the gateway.
    pub fn is_classify_call(&self, method: &str, path: &str) -> bool {
        let path = normalize_path(path);
        self.classify_endpoints.iter().any(|(m, p)| m == method && normalize_path(p) == path)
    }

    /// Parses a request body. A body that is not JSON yields neither text nor user.
    pub fn parse_request(&self, body: &[u8]) -> LegacyRequest {
        let body: Value = serde_json::from_slice(strip_byte_order_mark(body)).unwrap_or_default();
        let text = self.text_pointer.resolve(&body).and_then(Value::as_str);
        let user = self.user_pointer.as_ref().and_then(|user| user.resolve(&body));
        let user = match user {
            Some(Value::String(user)) => Some(user.clone()),
            // A user id may be a number; its JSON text is then the id.
            Some(Value::Number(user)) => Some(user.to_string()),
            _ => None,
        };
        LegacyRequest {
            text: text.and_then(|text| InputText::parse(text).ok()),
            user: user.and_then(|user| Subject::parse(user).ok()),
        }
    }

    /// Parses a response body; returns `None` if it is not JSON.
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
            route: str_at(&self.route_pointer).and_then(PredictionRoute::from_name),
            low_confidence: value_at(&self.low_confidence_pointer).and_then(Value::as_bool),
            rule_applied: value_at(&self.rule_pointer)
                .map(|rule| !matches!(rule, Value::Null | Value::Bool(false))),
            rule: str_at(&self.rule_pointer).and_then(TieBreakRule::from_name),
        })
    }
}

/// Removes a leading UTF-8 byte order mark, which RFC 8259, section 8.1, allows a parser to ignore.
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
                route: Some(PredictionRoute::Prototypes),
                low_confidence: Some(false),
                rule_applied: Some(true),
                rule: Some(TieBreakRule::AngerKeywordStandard),
            }
        );
        let body =
            br#"{"route":7,"prediction":{"primary":"rage","confidence":81,"rule_applied":null}}"#;
        let expected = LegacyResponse { rule_applied: Some(false), ..LegacyResponse::default() };
        assert_eq!(contract.parse_response(body), Some(expected));
        assert_eq!(contract.parse_response(b"<html>"), None);
    }
}
