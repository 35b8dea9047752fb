//! A user's verdict on an answer: whether it was right, or what would have been.

use serde::{Deserialize, Serialize};

use super::own::OwnError;
use super::receipt::{self, ReceiptError};
use crate::rollout::key::Key;
use jeffrey_terms::{AnswerId, Label, UnixMs};

/// A verdict on one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the caller said that the label is right.
    pub ok: Option<bool>,
    /// The label that would have been right.
    pub correct_label: Option<Label>,
}

impl Verdict {
    /// Whether the answer was good, by the label that was given; `None` where a label is named and none
    /// was seen in the answer.
    pub fn good(self, given: Option<Label>) -> Option<bool> {
        self.ok.or_else(|| Some(self.correct_label? == given?))
    }
}

const EXPECTED: &str = "{\"id\": the answer's x-jeffrey-id, and \"ok\": true or false, or \"correct_label\": one of the eight}";

/// The verdict of a body, and the answer it is about.
///
/// # Errors
/// [`OwnError`] when the body is none, or the id is forged or too old.
pub fn parse(body: &[u8], keys: &[Key], now: UnixMs) -> Result<(AnswerId, Verdict), OwnError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        id: String,
        ok: Option<bool>,
        correct_label: Option<Label>,
    }
    let not_json = || OwnError::NotJson { expected: EXPECTED };
    let Shape { id, ok, correct_label } = serde_json::from_slice(body).map_err(|_| not_json())?;
    if ok.is_some() == correct_label.is_some() {
        return Err(not_json());
    }
    let id = receipt::verify(&id, keys, now)?;
    Ok((id, Verdict { ok, correct_label }))
}

impl From<ReceiptError> for OwnError {
    fn from(error: ReceiptError) -> Self {
        Self::Receipt(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    #[test]
    fn a_verdict_says_right_or_names_the_right_label_and_not_both() {
        let key = Key::parse([1; 32]).unwrap();
        let id = AnswerId::new(NOW, [7; 10]);
        let signed = receipt::sign(id, &key);
        let ask = |body: &str| {
            parse(body.replace("ID", &signed).as_bytes(), std::slice::from_ref(&key), NOW)
        };
        let ok = Verdict { ok: Some(false), correct_label: None };
        assert_eq!(ask(r#"{"id":"ID","ok":false}"#), Ok((id, ok)));
        let label = Verdict { ok: None, correct_label: Some(Label::Joy) };
        assert_eq!(ask(r#"{"id":"ID","correct_label":"joy"}"#), Ok((id, label)));
        for bad in [
            "",
            r#"{"id":"ID"}"#,
            r#"{"ok":true}"#,
            r#"{"id":"ID","ok":true,"correct_label":"joy"}"#,
            r#"{"id":"ID","correct_label":"rage"}"#,
            r#"{"id":"ID","ok":"yes"}"#,
            r#"{"id":"ID","ok":true,"text":"their words"}"#,
        ] {
            assert_eq!(ask(bad), Err(OwnError::NotJson { expected: EXPECTED }), "{bad}");
        }
        let forged = parse(br#"{"id":"AAAA","ok":true}"#, std::slice::from_ref(&key), NOW);
        assert_eq!(forged, Err(OwnError::Receipt(ReceiptError::Form)));
    }

    #[test]
    fn an_answer_is_good_when_its_reader_says_so_or_names_its_label() {
        let ok = |ok| Verdict { ok: Some(ok), correct_label: None };
        let label = Verdict { ok: None, correct_label: Some(Label::Joy) };
        assert_eq!(ok(true).good(None), Some(true));
        assert_eq!(ok(false).good(Some(Label::Joy)), Some(false));
        assert_eq!(label.good(Some(Label::Joy)), Some(true));
        assert_eq!(label.good(Some(Label::Fear)), Some(false));
        assert_eq!(label.good(None), None);
    }
}
