//! Signed override tokens: an engineer who holds one may choose the cohort of their own requests,
//! for example to see the canary's answer.
//!
//! A token is a JSON Web Token (RFC 7519) in the compact form, signed with HS256 (RFC 7518, section
//! 3.2); no other algorithm is accepted, so any language can make one. It is bound to one release and
//! is valid for at most a day. The cohort is not in the token: the request names it in a header of its
//! own.
//!
//! | Part | Field | Meaning |
//! |---|---|---|
//! | header | `alg` | `HS256` |
//! | header | `kid` | [`SigningKey::key_id`] of the key that signed; may be left out |
//! | claims | `aud` | the release, or a list with it |
//! | claims | `exp` | time from which the token is refused, in seconds since 1970 |
//! | claims | `nbf` | time before which the token is refused; may be left out |
//! | claims | `allow_rolled_back` | `true` if the token also chooses while the release is closed; may be left out |
//!
//! Other claims have no effect. A header with `crit` is refused, as RFC 7515, section 4.1.11, demands.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    #[error("token is not signed by HS256 with a key in use")]
    InvalidSignature,
    /// The token is not of the form `HEADER.CLAIMS.TAG`, or one of them is not the expected JSON.
    #[error("token is not a JSON Web Token with `aud` and `exp`")]
    Malformed,
    /// The signature is valid, but the token expires more than [`VALID_MS_MAX`] from now.
    #[error("token is valid for {valid_ms} ms, the most is {VALID_MS_MAX} ms")]
    LifetimeTooLong {
        /// Remaining lifetime of the token, in milliseconds.
        valid_ms: u64,
    },
    /// The token's `nbf` is in the future.
    #[error("token is valid from {} ms, now is {} ms", not_before.0, now.0)]
    NotYetValid {
        /// Time from which the token is valid.
        not_before: UnixMs,
        /// Time at which the token was verified.
        now: UnixMs,
    },
    /// The token is signed for another release.
    #[error("token is for another release")]
    OtherRelease,
    /// The signature is valid, but the header names another algorithm or key, or has `crit`.
    #[error("token's header is not that of HS256 with the key that signed it")]
    UnsupportedHeader,
}

#[derive(Serialize, Deserialize)]
struct TokenHeader {
    alg: String,
    #[serde(default, skip_serializing)]
    crit: Option<Value>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, skip_deserializing)]
    typ: &'static str,
}

#[derive(Serialize, Deserialize)]
struct OverrideClaims {
    aud: Value,
    #[serde(default)]
    allow_rolled_back: bool,
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
}

/// Returns whether `aud` names a release: it is one name or a list of names (RFC 7519, section 4.1.3).
fn is_for(audience: &Value, release: &ReleaseName) -> bool {
    match audience {
        Value::Array(names) => names.iter().any(|name| name == release.as_str()),
        name => name == release.as_str(),
    }
}

/// Signs a permission with `key` and returns the token. A part of a second in the expiry time is kept.
pub fn sign(permission: &OverridePermission, key: &SigningKey) -> String {
    let header =
        TokenHeader { alg: ALGORITHM.to_owned(), crit: None, kid: Some(key.key_id()), typ: "JWT" };
    let claims = OverrideClaims {
        aud: permission.release.as_str().into(),
        allow_rolled_back: permission.allow_rolled_back,
        exp: permission.expires_at.0 as f64 / 1_000.0,
        nbf: None,
    };
    let signed = format!("{}.{}", encode_part(&header), encode_part(&claims));
    let tag = URL_SAFE_NO_PAD.encode(key.compute_tag(signed.as_bytes()));
    format!("{signed}.{tag}")
}

/// Verifies a token for `release` at `now` and returns its permission.
///
/// Any of `keys` may have signed the token: there are two keys during a key rotation. The signature
/// is compared in constant time, before header and claims are read, and always by HS256.
///
/// # Errors
/// [`OverrideTokenError`] when the token is malformed, is not signed with one of `keys`, is for
/// another release, is not valid yet or no longer, or is valid for more than [`VALID_MS_MAX`].
pub fn verify(
    token: &str,
    keys: &[SigningKey],
    release: &ReleaseName,
    now: UnixMs,
) -> Result<OverridePermission, OverrideTokenError> {
    let (signed, tag) = token.rsplit_once('.').ok_or(OverrideTokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(OverrideTokenError::Malformed)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| OverrideTokenError::Malformed)?;
    let key = keys.iter().find(|key| key.verifies(signed.as_bytes(), &tag));
    let key = key.ok_or(OverrideTokenError::InvalidSignature)?;
    let header: TokenHeader = decode_part(header)?;
    let is_other_key = header.kid.is_some_and(|kid| kid != key.key_id());
    if header.alg != ALGORITHM || header.crit.is_some() || is_other_key {
        return Err(OverrideTokenError::UnsupportedHeader);
    }
    let claims: OverrideClaims = decode_part(claims)?;
    if !is_for(&claims.aud, release) {
        return Err(OverrideTokenError::OtherRelease);
    }
    let expires = parse_time(claims.exp)?;
    let not_before = claims.nbf.map(parse_time).transpose()?;
    if let Some(not_before) = not_before.filter(|not_before| *not_before > now) {
        return Err(OverrideTokenError::NotYetValid { not_before, now });
    }
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

const ALGORITHM: &str = "HS256";

fn encode_part(part: &impl Serialize) -> String {
    // Strings, a finite number and a boolean: serialising them cannot fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("a part is JSON"))
}

fn decode_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, OverrideTokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| OverrideTokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| OverrideTokenError::Malformed)
}

/// Parses a `NumericDate`: seconds since 1970, which may have a fraction.
fn parse_time(seconds: f64) -> Result<UnixMs, OverrideTokenError> {
    let ms = libm::round(seconds * 1_000.0);
    if (0.0..=TIME_MS_MAX).contains(&ms) {
        Ok(UnixMs(ms as u64))
    } else {
        Err(OverrideTokenError::Malformed)
    }
}

/// Largest number of milliseconds that a `f64` holds exactly.
const TIME_MS_MAX: f64 = 9_007_199_254_740_991.0;

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

    /// Key of the tokens that PyJWT 2.15.1 made, which expire an hour after [`NOW`].
    const PYJWT_KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn tokens_of_another_library_are_read_and_only_by_hs256() {
        let keys = [SigningKey::parse(PYJWT_KEY).unwrap()];
        let verify = |token: &str| verify(token, &keys, &release("e1"), NOW);
        let expires_at = UnixMs(NOW.0 + 3_600_000);
        let permission = |allow_rolled_back| {
            Ok(OverridePermission { release: release("e1"), expires_at, allow_rolled_back })
        };
        // With `kid`, `iat` and `sub`.
        let with_key_id = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjUyYzU0ZjI5NzlmYTFmMmQiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiJlMSIsImV4cCI6MTc5MDAwMzYwMCwiaWF0IjoxNzkwMDAwMDAwLCJzdWIiOiJvbi1jYWxsIn0.R0xnmq4VgdM7wkU5qkwrphs2cxAtrb1-dBto_fEODGQ";
        assert_eq!(verify(with_key_id), permission(false));
        // For the releases `e0` and `e1`, with `allow_rolled_back`.
        let for_two = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOlsiZTAiLCJlMSJdLCJleHAiOjE3OTAwMDM2MDAsImFsbG93X3JvbGxlZF9iYWNrIjp0cnVlfQ.SPahrKp7EOXC8zaV6EF_ZoGWK85LTBKJq59UA1BazLM";
        assert_eq!(verify(for_two), permission(true));
        let by_hs512 = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJlMSIsImV4cCI6MTc5MDAwMzYwMH0.6PqWOwo-D3wkGRfgXLcTP22klznhXCaeKRzW7jCchwHpReYv4zyEQG1GOlokELGD4AkMa8q9M4KCMyEjR2IVmg";
        assert_eq!(verify(by_hs512), Err(OverrideTokenError::InvalidSignature));
        let by_none =
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJhdWQiOiJlMSIsImV4cCI6MTc5MDAwMzYwMH0.";
        assert_eq!(verify(by_none), Err(OverrideTokenError::InvalidSignature));
    }

    /// Signs any header and claims.
    fn sign_parts(header: &str, claims: &str) -> String {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key(1).compute_tag(signed.as_bytes())))
    }

    #[test]
    fn a_signed_token_is_still_read_strictly() {
        let header = r#"{"alg":"HS256"}"#;
        let claims = r#"{"aud":"e1","exp":1790000001}"#;
        let unsupported = Err(OverrideTokenError::UnsupportedHeader);
        let malformed = Err(OverrideTokenError::Malformed);
        let not_before = UnixMs(NOW.0 + 500);
        let rows = [
            (header, claims, Ok(())),
            (header, r#"{"aud":"e1","exp":1790000000.001}"#, Ok(())),
            (header, r#"{"aud":"e1","exp":1790000001,"nbf":1790000000}"#, Ok(())),
            (
                header,
                r#"{"aud":"e1","exp":1790000001,"nbf":1790000000.5}"#,
                Err(OverrideTokenError::NotYetValid { not_before, now: NOW }),
            ),
            (r#"{"alg":"none"}"#, claims, unsupported.clone()),
            (r#"{"alg":"hs256"}"#, claims, unsupported.clone()),
            (r#"{"alg":"HS256","crit":["exp"]}"#, claims, unsupported.clone()),
            (r#"{"alg":"HS256","kid":"another"}"#, claims, unsupported),
            (r#"{"typ":"JWT"}"#, claims, malformed.clone()),
            ("[]", claims, malformed.clone()),
            (header, r#"{"exp":1790000001}"#, malformed.clone()),
            (header, r#"{"aud":"e1"}"#, malformed.clone()),
            (header, r#"{"aud":"e1","exp":"1790000001"}"#, malformed.clone()),
            (header, r#"{"aud":"e1","exp":-1}"#, malformed.clone()),
            (header, r#"{"aud":"e1","exp":1e300}"#, malformed),
            (header, r#"{"aud":[],"exp":1790000001}"#, Err(OverrideTokenError::OtherRelease)),
        ];
        for (header, claims, expected) in rows {
            let token = sign_parts(header, claims);
            let result = verify(&token, &[key(1)], &release("e1"), NOW).map(|_| ());
            assert_eq!(result, expected, "{header} {claims}");
        }
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
