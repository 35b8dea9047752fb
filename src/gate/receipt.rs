//! The id of an answer as callers see it: signed, so that a verdict can be tied to a prediction that
//! was really given, and silent about who asked and who answered.
//!
//! It is the id's sixteen bytes and half a tag over them, in base64url: 43 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::rollout::key::{HALF_TAG_BYTES, Key};
use jeffrey_terms::{AnswerId, UnixMs};

/// How long it is taken.
pub const VALID_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How far another isolate's clock may be ahead of this one's.
pub const AHEAD_MS_MAX: u64 = 60_000;

const ID_BYTES: usize = 16;

/// A receipt that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not signed with a key in use, or changed.
    #[error("id was not given by this service")]
    Forged,
    /// Not of its form.
    #[error("id is not of the form that `x-jeffrey-id` has")]
    Form,
    /// Made after now.
    #[error("id is {ahead_ms} ms ahead of now")]
    Ahead {
        /// How far.
        ahead_ms: u64,
    },
    /// Its time is over.
    #[error("id is {age_ms} ms old, the most is {VALID_MS} ms")]
    Old {
        /// How old it is.
        age_ms: u64,
    },
}

/// The receipt of an id.
pub fn sign(id: AnswerId, key: &Key) -> String {
    let tag = key.derive(PURPOSE).half_tag(id.as_bytes());
    URL_SAFE_NO_PAD.encode([*id.as_bytes(), tag].concat())
}

/// The id of a receipt. Any of `keys` may have signed it.
///
/// # Errors
/// [`ReceiptError`] says why it is not taken.
pub fn verify(receipt: &str, keys: &[Key], now: UnixMs) -> Result<AnswerId, ReceiptError> {
    let bytes = URL_SAFE_NO_PAD.decode(receipt).map_err(|_| ReceiptError::Form)?;
    let (id, tag) = bytes.split_at_checked(ID_BYTES).ok_or(ReceiptError::Form)?;
    let id = id.try_into().ok().and_then(AnswerId::from_bytes).ok_or(ReceiptError::Form)?;
    if tag.len() != HALF_TAG_BYTES {
        return Err(ReceiptError::Form);
    }
    if !keys.iter().any(|key| key.derive(PURPOSE).verifies_half(id.as_bytes(), tag)) {
        return Err(ReceiptError::Forged);
    }
    let made = id.made().0;
    match (now.0.checked_sub(made), made.saturating_sub(now.0)) {
        (Some(age_ms), _) if age_ms > VALID_MS => Err(ReceiptError::Old { age_ms }),
        (None, ahead_ms) if ahead_ms > AHEAD_MS_MAX => Err(ReceiptError::Ahead { ahead_ms }),
        _ => Ok(id),
    }
}

const PURPOSE: &str = "answer id";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn key(seed: u8) -> Key {
        Key::parse([seed; 32]).unwrap()
    }

    fn id() -> AnswerId {
        AnswerId::new(NOW, [9; 10])
    }

    #[test]
    fn a_receipt_comes_back_for_seven_days() {
        let receipt = sign(id(), &key(1));
        assert_eq!(receipt.len(), 43);
        let at = |ms: i64| verify(&receipt, &[key(1)], UnixMs(NOW.0.wrapping_add_signed(ms)));
        assert_eq!(at(0), Ok(id()));
        assert_eq!(at(VALID_MS as i64), Ok(id()));
        assert_eq!(at(VALID_MS as i64 + 1), Err(ReceiptError::Old { age_ms: VALID_MS + 1 }));
        assert_eq!(at(-60_000), Ok(id()));
        assert_eq!(at(-60_001), Err(ReceiptError::Ahead { ahead_ms: 60_001 }));
    }

    #[test]
    fn no_changed_character_is_taken_and_either_key_of_a_rotation_is() {
        let receipt = sign(id(), &key(1));
        assert!(verify(&receipt, &[key(2), key(1)], NOW).is_ok());
        assert_eq!(verify(&receipt, &[key(2)], NOW), Err(ReceiptError::Forged));
        for at in 0..receipt.len() {
            let mut bytes = receipt.clone().into_bytes();
            bytes[at] = if bytes[at] == b'Q' { b'w' } else { b'Q' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &[key(1)], NOW).is_err(), "{at}");
            assert!(verify(&receipt[..at], &[key(1)], NOW).is_err(), "{at}");
        }
        for strange in ["", "é", "a.b", &receipt.repeat(2)] {
            assert_eq!(verify(strange, &[key(1)], NOW), Err(ReceiptError::Form), "{strange}");
        }
    }

    #[test]
    fn a_tag_made_for_something_else_is_worth_nothing_here() {
        let tag = key(1).tag(id().as_bytes());
        let receipt = URL_SAFE_NO_PAD.encode([id().as_bytes(), &tag[..16]].concat());
        assert_eq!(verify(&receipt, &[key(1)], NOW), Err(ReceiptError::Forged));
    }
}
