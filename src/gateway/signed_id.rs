//! The id of an answer as callers see it: signed, so that a verdict can be tied to a prediction that
//! was really given, and silent about who asked and who answered.
//!
//! It is the id's sixteen bytes and half a tag over them, in base64url: 43 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::rollout::signing_key::{HALF_TAG_BYTES, SigningKey};
use jeffrey_terms::{ResponseId, UnixMs};

/// How long it is taken.
pub const VALID_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How far another isolate's clock may be ahead of this one's.
pub const CLOCK_SKEW_MS_MAX: u64 = 60_000;

const ID_BYTES: usize = 16;

/// A receipt that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedIdError {
    /// Not signed with a key in use, or changed.
    #[error("id was not given by this service")]
    Forged,
    /// Not of its form.
    #[error("id is not of the form that `x-jeffrey-id` has")]
    Malformed,
    /// Made after now.
    #[error("id is {ahead_ms} ms ahead of now")]
    InFuture {
        /// How far.
        ahead_ms: u64,
    },
    /// Its time is over.
    #[error("id is {age_ms} ms old, the most is {VALID_MS} ms")]
    Expired {
        /// How old it is.
        age_ms: u64,
    },
}

/// The receipt of an id.
pub fn sign(id: ResponseId, key: &SigningKey) -> String {
    let tag = key.derive_key(KEY_PURPOSE).compute_half_tag(id.as_bytes());
    URL_SAFE_NO_PAD.encode([*id.as_bytes(), tag].concat())
}

/// The id of a receipt. Any of `keys` may have signed it.
///
/// # Errors
/// [`SignedIdError`] says why it is not taken.
pub fn verify(
    signed_id: &str,
    keys: &[SigningKey],
    now: UnixMs,
) -> Result<ResponseId, SignedIdError> {
    let bytes = URL_SAFE_NO_PAD.decode(signed_id).map_err(|_| SignedIdError::Malformed)?;
    let (id, tag) = bytes.split_at_checked(ID_BYTES).ok_or(SignedIdError::Malformed)?;
    let id = id.try_into().ok().and_then(ResponseId::from_bytes).ok_or(SignedIdError::Malformed)?;
    if tag.len() != HALF_TAG_BYTES {
        return Err(SignedIdError::Malformed);
    }
    if !keys.iter().any(|key| key.derive_key(KEY_PURPOSE).verifies_half_tag(id.as_bytes(), tag)) {
        return Err(SignedIdError::Forged);
    }
    let made_ms = id.created_at().0;
    match (now.0.checked_sub(made_ms), made_ms.saturating_sub(now.0)) {
        (Some(age_ms), _) if age_ms > VALID_MS => Err(SignedIdError::Expired { age_ms }),
        (None, ahead_ms) if ahead_ms > CLOCK_SKEW_MS_MAX => {
            Err(SignedIdError::InFuture { ahead_ms })
        }
        _ => Ok(id),
    }
}

const KEY_PURPOSE: &str = "answer id";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::parse([seed; 32]).unwrap()
    }

    fn id() -> ResponseId {
        ResponseId::new(NOW, [9; 10])
    }

    #[test]
    fn a_receipt_comes_back_for_seven_days() {
        let signed_id = sign(id(), &key(1));
        assert_eq!(signed_id.len(), 43);
        let verify_after =
            |ms: i64| verify(&signed_id, &[key(1)], UnixMs(NOW.0.wrapping_add_signed(ms)));
        assert_eq!(verify_after(0), Ok(id()));
        assert_eq!(verify_after(VALID_MS as i64), Ok(id()));
        assert_eq!(
            verify_after(VALID_MS as i64 + 1),
            Err(SignedIdError::Expired { age_ms: VALID_MS + 1 })
        );
        assert_eq!(verify_after(-60_000), Ok(id()));
        assert_eq!(verify_after(-60_001), Err(SignedIdError::InFuture { ahead_ms: 60_001 }));
    }

    #[test]
    fn no_changed_character_is_taken_and_either_key_of_a_rotation_is() {
        let signed_id = sign(id(), &key(1));
        assert!(verify(&signed_id, &[key(2), key(1)], NOW).is_ok());
        assert_eq!(verify(&signed_id, &[key(2)], NOW), Err(SignedIdError::Forged));
        for index in 0..signed_id.len() {
            let mut bytes = signed_id.clone().into_bytes();
            bytes[index] = if bytes[index] == b'Q' { b'w' } else { b'Q' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &[key(1)], NOW).is_err(), "{index}");
            assert!(verify(&signed_id[..index], &[key(1)], NOW).is_err(), "{index}");
        }
        for malformed in ["", "é", "a.b", &signed_id.repeat(2)] {
            assert_eq!(
                verify(malformed, &[key(1)], NOW),
                Err(SignedIdError::Malformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn a_tag_made_for_something_else_is_worth_nothing_here() {
        let tag = key(1).compute_tag(id().as_bytes());
        let signed_id = URL_SAFE_NO_PAD.encode([id().as_bytes(), &tag[..16]].concat());
        assert_eq!(verify(&signed_id, &[key(1)], NOW), Err(SignedIdError::Forged));
    }
}
