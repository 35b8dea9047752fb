//! Signed id of a response, as callers see it in `x-jeffrey-id`.
//!
//! The signature proves that feedback refers to a prediction that this gateway really gave. The id
//! reveals neither the subject nor the cohort. It consists of the 16 bytes of the response id and
//! half an HMAC-SHA256 tag over them, in base64url: 43 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::rollout::signing_key::{HALF_TAG_BYTES, SigningKey};
use jeffrey_terms::{ResponseId, UnixMs};

/// Time after creation during which an id is accepted, in milliseconds: 7 days.
pub const VALID_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Largest accepted lead of another isolate's clock over this one's, in milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 60_000;

const ID_BYTES: usize = 16;

/// Reason why a signed id is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedIdError {
    /// The id is not signed with a current key, or it was changed.
    #[error("id was not given by this service")]
    Forged,
    /// The id is not base64url of a version 7 UUID and half a tag.
    #[error("id is not of the form that `x-jeffrey-id` has")]
    Malformed,
    /// The id was created further in the future than [`CLOCK_SKEW_MS_MAX`].
    #[error("id is {ahead_ms} ms ahead of now")]
    InFuture {
        /// Lead of the id's creation time over now, in milliseconds.
        ahead_ms: u64,
    },
    /// The id is older than [`VALID_MS`].
    #[error("id is {age_ms} ms old, the most is {VALID_MS} ms")]
    Expired {
        /// Age of the id, in milliseconds.
        age_ms: u64,
    },
}

/// Signs the id of a response and returns it as 43 characters of base64url.
pub fn sign(id: ResponseId, key: &SigningKey) -> String {
    let tag = key.derive_key(KEY_PURPOSE).compute_truncated_tag(id.as_bytes());
    URL_SAFE_NO_PAD.encode([*id.as_bytes(), tag].concat())
}

/// Verifies a signed id and returns the id of the response. Any of `keys` may have signed it.
///
/// # Errors
/// Returns [`SignedIdError`] if the id is malformed, not signed with any of `keys`, expired, or too
/// far in the future.
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
    if !keys
        .iter()
        .any(|key| key.derive_key(KEY_PURPOSE).verifies_truncated_tag(id.as_bytes(), tag))
    {
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
    fn a_signed_id_is_accepted_for_seven_days() {
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
