//! Header by which a gateway tells the next gateway of a chain the origin that the client called and the
//! subject of the call.
//!
//! The legacy system of a release may be the gateway of the release before. Over the service binding
//! it sees neither the host that the client called nor the first gateway's cookie. So the first gateway
//! writes both into [`CALLER_HEADER`], signed with a secret that only the two of them know. A client's
//! header of that name is removed like every `x-jeffrey-` header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::gateway::request::subject::ResolvedSubject;
use crate::rollout::signing_key::{SigningKey, TAG_BYTES};
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{Subject, UnixMs};

/// Header over the service binding: claims and their tag, in base64url.
pub const CALLER_HEADER: &str = "x-jeffrey-caller";

/// Largest difference between the two gateways' clocks, with the time of the call, in milliseconds.
const AGE_MS_MAX: u64 = 5 * 60_000;

const KEY_PURPOSE: &str = "caller";

/// Origin and subject of a call, as the gateway before this one saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOnCaller {
    /// Scheme of the URL that the client called.
    pub scheme: String,
    /// Host and port of that URL.
    pub host: String,
    /// Subject of the call; `None` if it has none or the gateway did not look for one.
    pub subject: Option<ResolvedSubject>,
}

#[derive(Serialize, Deserialize)]
struct CallerClaims {
    at_ms: u64,
    scheme: String,
    host: String,
    subject: Option<SubjectClaims>,
}

#[derive(Serialize, Deserialize)]
struct SubjectClaims {
    value: String,
    is_new: bool,
    is_trusted: bool,
}

/// Signs what the next gateway needs of a call.
pub fn sign(
    head: &RequestHead,
    subject: Option<&ResolvedSubject>,
    key: &SigningKey,
    now: UnixMs,
) -> String {
    let subject = subject.map(|caller| SubjectClaims {
        value: caller.subject.expose().to_owned(),
        is_new: caller.is_new,
        is_trusted: caller.is_trusted,
    });
    let (scheme, host) = (head.scheme.clone(), head.host.clone());
    let claims = CallerClaims { at_ms: now.0, scheme, host, subject };
    // Strings, numbers and booleans: serialising them cannot fail.
    let claims = serde_json::to_vec(&claims).expect("claims are JSON");
    let tag = key.derive_key(KEY_PURPOSE).compute_tag(&claims);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(tag))
}

/// Verifies a header and returns what it hands on; `None` unless one of `keys` signed it within five
/// minutes. The tag is compared in constant time, before the claims are read.
pub fn verify(header: &str, keys: &[SigningKey], now: UnixMs) -> Option<HandedOnCaller> {
    let (claims, tag) = header.split_once('.')?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok().filter(|tag| tag.len() == TAG_BYTES)?;
    if !keys.iter().any(|key| key.derive_key(KEY_PURPOSE).verifies(&claims, &tag)) {
        return None;
    }
    let claims: CallerClaims = serde_json::from_slice(&claims).ok()?;
    if now.0.abs_diff(claims.at_ms) > AGE_MS_MAX {
        return None;
    }
    let subject = match claims.subject {
        Some(SubjectClaims { value, is_new, is_trusted }) => Some(ResolvedSubject {
            subject: Subject::parse(value).ok()?,
            is_new,
            needs_cookie: false,
            is_trusted,
        }),
        None => None,
    };
    Some(HandedOnCaller { scheme: claims.scheme, host: claims.host, subject })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::parse([seed; 32]).unwrap()
    }

    fn signed(subject: Option<&str>) -> String {
        let head = RequestHead::new("POST".into(), "https://app.example:8443/x", Vec::new());
        let subject = subject.map(|subject| ResolvedSubject {
            subject: Subject::parse(subject).unwrap(),
            is_new: true,
            needs_cookie: true,
            is_trusted: true,
        });
        sign(&head.unwrap(), subject.as_ref(), &key(1), NOW)
    }

    #[test]
    fn the_next_gateway_knows_origin_and_subject_and_gives_no_cookie() {
        let caller = verify(&signed(Some("Zoé \"x\"")), &[key(2), key(1)], NOW).unwrap();
        assert_eq!((caller.scheme.as_str(), caller.host.as_str()), ("https", "app.example:8443"));
        let subject = caller.subject.unwrap();
        assert_eq!(subject.subject.expose(), "Zoé \"x\"");
        assert!(subject.is_new && subject.is_trusted && !subject.needs_cookie);
        assert_eq!(verify(&signed(None), &[key(1)], NOW).unwrap().subject, None);
    }

    #[test]
    fn a_header_of_anyone_else_or_of_another_time_says_nothing() {
        let header = signed(Some("alice"));
        let verify_after =
            |ms: i64| verify(&header, &[key(1)], UnixMs(NOW.0.wrapping_add_signed(ms)));
        assert!(verify_after(300_000).is_some() && verify_after(-300_000).is_some());
        assert!(verify_after(300_001).is_none() && verify_after(-300_001).is_none());
        assert!(verify(&header, &[key(2)], NOW).is_none() && verify(&header, &[], NOW).is_none());
        for index in 0..header.len() {
            let mut bytes = header.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &[key(1)], NOW).is_none(), "{index}");
            assert!(verify(&header[..index], &[key(1)], NOW).is_none(), "{index}");
        }
        // The same bytes under another purpose of the key.
        let (claims, _) = header.split_once('.').unwrap();
        let tag = key(1).compute_tag(&URL_SAFE_NO_PAD.decode(claims).unwrap());
        let other_purpose = format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert!(verify(&other_purpose, &[key(1)], NOW).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_refused_without_a_panic(header in ".{0,200}") {
            prop_assert!(verify(&header, &[key(1)], NOW).is_none());
        }
    }
}
