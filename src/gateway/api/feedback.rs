//! User feedback on one response: whether its label was right, or which label would have been
//! right.
//!
//! [`parse`] reads the body of `POST /v1/feedback`. It rejects a body that says both or neither,
//! and an id that the gateway did not sign or that has expired.

use serde::Deserialize;

use crate::gateway::api::error::ApiError;
use crate::gateway::events::feedback::Feedback;
use crate::gateway::events::signed_id::{self, SignedIdError};
use crate::rollout::signing_key::SigningKey;
use jeffrey_terms::{Label, ResponseId, UnixMs};

const EXPECTED: &str = "{\"id\": the answer's x-jeffrey-id, and \"ok\": true or false, or \"correct_label\": one of the eight}";

/// Parses a feedback body and returns the id of the rated response with the feedback.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body does not have the expected form, or
/// [`ApiError::SignedId`] if the id is malformed, forged, expired or from the future.
pub fn parse(
    body: &[u8],
    keys: &[SigningKey],
    now: UnixMs,
) -> Result<(ResponseId, Feedback), ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct FeedbackBody {
        id: String,
        ok: Option<bool>,
        correct_label: Option<Label>,
    }
    let invalid_body = || ApiError::InvalidBody { expected: EXPECTED };
    let FeedbackBody { id, ok, correct_label } =
        serde_json::from_slice(body).map_err(|_| invalid_body())?;
    if ok.is_some() == correct_label.is_some() {
        return Err(invalid_body());
    }
    let id = signed_id::verify(&id, keys, now)?;
    Ok((id, Feedback { ok, correct_label }))
}

impl From<SignedIdError> for ApiError {
    fn from(error: SignedIdError) -> Self {
        Self::SignedId(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    #[test]
    fn feedback_says_right_or_names_the_right_label_and_not_both() {
        let key = SigningKey::parse([1; 32]).unwrap();
        let id = ResponseId::new(NOW, [7; 10]);
        let signed = signed_id::sign(id, &key);
        let parse_body = |body: &str| {
            parse(body.replace("ID", &signed).as_bytes(), std::slice::from_ref(&key), NOW)
        };
        let ok = Feedback { ok: Some(false), correct_label: None };
        assert_eq!(parse_body(r#"{"id":"ID","ok":false}"#), Ok((id, ok)));
        let label = Feedback { ok: None, correct_label: Some(Label::Joy) };
        assert_eq!(parse_body(r#"{"id":"ID","correct_label":"joy"}"#), Ok((id, label)));
        for invalid in [
            "",
            r#"{"id":"ID"}"#,
            r#"{"ok":true}"#,
            r#"{"id":"ID","ok":true,"correct_label":"joy"}"#,
            r#"{"id":"ID","correct_label":"rage"}"#,
            r#"{"id":"ID","ok":"yes"}"#,
            r#"{"id":"ID","ok":true,"text":"their words"}"#,
        ] {
            assert_eq!(
                parse_body(invalid),
                Err(ApiError::InvalidBody { expected: EXPECTED }),
                "{invalid}"
            );
        }
        let forged = parse(br#"{"id":"AAAA","ok":true}"#, std::slice::from_ref(&key), NOW);
        assert_eq!(forged, Err(ApiError::SignedId(SignedIdError::Malformed)));
    }

    #[test]
    fn an_answer_is_good_when_its_reader_says_so_or_names_its_label() {
        let ok = |ok| Feedback { ok: Some(ok), correct_label: None };
        let label = Feedback { ok: None, correct_label: Some(Label::Joy) };
        assert_eq!(ok(true).confirms_label(None), Some(true));
        assert_eq!(ok(false).confirms_label(Some(Label::Joy)), Some(false));
        assert_eq!(label.confirms_label(Some(Label::Joy)), Some(true));
        assert_eq!(label.confirms_label(Some(Label::Fear)), Some(false));
        assert_eq!(label.confirms_label(None), None);
    }
}
