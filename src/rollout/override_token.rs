//! Signed override tokens: an engineer who holds one may choose the cohort of their own requests,
//! for example to see the canary's answer.
//!
//! A token is `v1.CLAIMS.TAG`: the claims as JSON in base64url, and the HMAC-SHA256 (RFC 2104) of
//! all bytes before the last dot, in base64url. A token is bound to one release and is valid for at
//! most a day. The cohort is not in the token: the request names it in a header of its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::bucket::ReleaseName;
use super::signing_key::SigningKey;
use jeffrey_terms::UnixMs;

/// Longest remaining lifetime of a token that is accepted: a day, in milliseconds.
pub const VALID_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The permission that a verified token gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverridePermission {
    /// Release that the token is bound to.
    pub release: ReleaseName,
    /// Time from which the token is refused, in milliseconds since 1970.
    pub expires_at: UnixMs,
    /// Whether the token also chooses the cohort while the release is killed or rolled back.
    pub allow_rolled_back: bool,
}

/// Reasons why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideTokenError {
    /// The token's expiry time has passed.
    #[error("token expired at {} ms, now is {} ms", expires.0, now.0)]
    Expired {
        /// Expiry time in the token's claims.
        expires: UnixMs,
        /// Time at which the token was verified.
        now: UnixMs,
    },
    /// The tag matches none of the keys in use.
    #[error("token is not signed with a key in use")]
    InvalidSignature,
    /// The token is not of the form `v1.CLAIMS.TAG`, or its claims are not the expected JSON.
    #[error("token is not of the form v1.CLAIMS.TAG")]
    Malformed,
    /// The signature is valid, but the token expires more than [`VALID_MS_MAX`] from now.
    #[error("token is valid for {valid_ms} ms, the most is {VALID_MS_MAX} ms")]
    LifetimeTooLong {
        /// Remaining lifetime of the token, in milliseconds.
        valid_ms: u64,
    },
    /// The token is signed for another release.
    #[error("token is for another release")]
    OtherRelease,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideClaims {
    release: String,
    expires_ms: u64,
    allow_rolled_back: bool,
}

/// Signs a permission with `key` and returns the token.
pub fn sign(permission: &OverridePermission, key: &SigningKey) -> String {
    let claims = OverrideClaims {
        release: permission.release.as_str().to_owned(),
        expires_ms: permission.expires_at.0,
        allow_rolled_back: permission.allow_rolled_back,
    };
    // The claims are a string, a number and a boolean: serialising them cannot fail.
    let claims = serde_json::to_vec(&claims).expect("claims are JSON");
    let signed = format!("{TOKEN_VERSION}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = URL_SAFE_NO_PAD.encode(key.compute_tag(signed.as_bytes()));
    format!("{signed}.{tag}")
}

/// Verifies a token for `release` at `now` and returns its permission.
///
/// Any of `keys` may have signed the token: there are two keys during a key rotation. The signature
/// is compared in constant time, before any claim is read.
///
/// # Errors
/// [`OverrideTokenError`] when the token is malformed, is not signed with one of `keys`, is for
/// another release, has expired, or is valid for more than [`VALID_MS_MAX`].
pub fn verify(
    token: &str,
    keys: &[SigningKey],
    release: &ReleaseName,
    now: UnixMs,
) -> Result<OverridePermission, OverrideTokenError> {
    let (signed, tag) = token.rsplit_once('.').ok_or(OverrideTokenError::Malformed)?;
    let claims = signed.strip_prefix(TOKEN_VERSION).and_then(|rest| rest.strip_prefix('.'));
    let claims = claims.ok_or(OverrideTokenError::Malformed)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| OverrideTokenError::Malformed)?;
    if !keys.iter().any(|key| key.verifies(signed.as_bytes(), &tag)) {
        return Err(OverrideTokenError::InvalidSignature);
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| OverrideTokenError::Malformed)?;
    let claims: OverrideClaims =
        serde_json::from_slice(&claims).map_err(|_| OverrideTokenError::Malformed)?;
    if claims.release != release.as_str() {
        return Err(OverrideTokenError::OtherRelease);
    }
    let expires = UnixMs(claims.expires_ms);
    let valid_ms = expires.0.saturating_sub(now.0);
    if valid_ms == 0 {
        return Err(OverrideTokenError::Expired { expires, now });
    }
    if valid_ms > VALID_MS_MAX {
        return Err(OverrideTokenError::LifetimeTooLong { valid_ms });
    }
    let allow_rolled_back = claims.allow_rolled_back;
    Ok(OverridePermission { release: release.clone(), expires_at: expires, allow_rolled_back })
}

const TOKEN_VERSION: &str = "v1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn release(name: &str) -> ReleaseName {
        ReleaseName::parse(name).unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::parse([seed; 32]).unwrap()
    }

    fn permission(valid_ms: u64) -> OverridePermission {
        let expires_at = UnixMs(NOW.0 + valid_ms);
        OverridePermission { release: release("e1"), expires_at, allow_rolled_back: true }
    }

    #[test]
    fn a_signed_permission_comes_back_until_it_ends() {
        let token = sign(&permission(1_000), &key(1));
        let verify_at = |ms| verify(&token, &[key(1)], &release("e1"), UnixMs(NOW.0 + ms));
        assert_eq!(verify_at(0), Ok(permission(1_000)));
        assert_eq!(verify_at(999), Ok(permission(1_000)));
        let (expires, now) = (UnixMs(NOW.0 + 1_000), UnixMs(NOW.0 + 1_000));
        assert_eq!(verify_at(1_000), Err(OverrideTokenError::Expired { expires, now }));
    }

    #[test]
    fn either_key_of_a_rotation_opens_it_and_no_other_does() {
        let token = sign(&permission(1_000), &key(1));
        let verify_with =
            |keys: &[SigningKey]| verify(&token, keys, &release("e1"), NOW).map(|_| ());
        assert_eq!(verify_with(&[key(2), key(1)]), Ok(()));
        assert_eq!(verify_with(&[key(2)]), Err(OverrideTokenError::InvalidSignature));
        assert_eq!(verify_with(&[]), Err(OverrideTokenError::InvalidSignature));
    }

    #[test]
    fn another_release_and_a_longer_life_than_a_day_are_refused_though_signed() {
        let token = sign(&permission(1_000), &key(1));
        let result = verify(&token, &[key(1)], &release("e2"), NOW);
        assert_eq!(result, Err(OverrideTokenError::OtherRelease));
        let longest_token = sign(&permission(VALID_MS_MAX), &key(1));
        assert!(verify(&longest_token, &[key(1)], &release("e1"), NOW).is_ok());
        let too_long_token = sign(&permission(VALID_MS_MAX + 1), &key(1));
        let valid_ms = VALID_MS_MAX + 1;
        let result = verify(&too_long_token, &[key(1)], &release("e1"), NOW);
        assert_eq!(result, Err(OverrideTokenError::LifetimeTooLong { valid_ms }));
    }

    #[test]
    fn no_changed_character_and_no_cut_is_accepted() {
        let token = sign(&permission(1_000), &key(1));
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let result = verify(&changed, &[key(1)], &release("e1"), NOW);
            assert!(result.is_err(), "{index}");
            assert!(verify(&token[..index], &[key(1)], &release("e1"), NOW).is_err(), "{index}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_refused_without_a_panic(token in ".{0,200}") {
            prop_assert!(verify(&token, &[key(1)], &release("e1"), NOW).is_err());
        }
    }
}
