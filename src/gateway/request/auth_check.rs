//! The request that asks the legacy system whether it would answer a caller, before the canary does.
//!
//! It has the caller's own headers and no body. After a refusal the legacy system gets the original
//! call, and its own answer is given.

use crate::gateway::request::forwarded_headers::HeaderChanges;
use jeffrey_http_core::head::RequestHead;

/// Beginnings of the names of headers that describe a body or ask for a part of a response. The check
/// has no body and wants a whole verdict.
const BODY_HEADER_PREFIXES: [&str; 3] = ["content-", "if-", "range"];

/// Returns the headers of the check: those of the forwarded call, without the ones that belong to its
/// body or make the request conditional. `changes` are those of the forwarded call.
pub fn check_headers(head: &RequestHead, changes: &HeaderChanges) -> Vec<(String, String)> {
    let is_kept = |name: &str| {
        !changes.remove.iter().any(|removed| removed == name)
            && !changes.set.iter().any(|(set, _)| *set == name)
            && name != "host"
            && !BODY_HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let kept = head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let set = changes.set.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    kept.filter(|(name, _)| is_kept(name)).chain(set).collect()
}

/// Returns all that the legacy system may decide by: the values of the named headers, the client's
/// address and the host that the client called. Lengths stand before values, so that no two callers
/// have the same bytes.
pub fn caller_bytes(
    head: &RequestHead,
    header_names: &[String],
    client_address: Option<&str>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |value: &str| {
        bytes.extend((value.len() as u64).to_le_bytes());
        bytes.extend(value.as_bytes());
    };
    push(&head.host);
    push(client_address.unwrap_or_default());
    for name in header_names {
        let values = head.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        for (_, value) in values {
            push(name);
            push(value);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::request::forwarded_headers::header_changes;

    fn head(headers: &[(&str, &str)]) -> RequestHead {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RequestHead::new("POST".into(), "https://app.example/predict", headers).unwrap()
    }

    #[test]
    fn the_check_has_the_callers_credentials_and_nothing_of_the_body() {
        let head = head(&[
            ("Authorization", "Bearer x"),
            ("cookie", "jeffrey_subject=s; session=a"),
            ("x-api-key", "k"),
            ("content-type", "application/json"),
            ("content-length", "20"),
            ("if-none-match", "\"e\""),
            ("range", "bytes=0-1"),
            ("host", "app.example"),
            ("x-jeffrey-token", "secret"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        let headers = check_headers(&head, &header_changes(&head, Some("192.0.2.7")));
        let value = |name: &str| {
            headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let rows = [
            ("authorization", Some("Bearer x")),
            ("cookie", Some("session=a")),
            ("x-api-key", Some("k")),
            ("x-forwarded-for", Some("192.0.2.7")),
            ("x-forwarded-host", Some("app.example")),
            ("content-type", None),
            ("content-length", None),
            ("if-none-match", None),
            ("range", None),
            ("host", None),
            ("x-jeffrey-token", None),
            ("x-hop", None),
        ];
        for (name, expected) in rows {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    #[test]
    fn a_verdict_is_for_these_headers_from_this_address_at_this_host() {
        let names = ["authorization".to_owned(), "cookie".to_owned()];
        let bytes =
            |headers: &[(&str, &str)], address| caller_bytes(&head(headers), &names, address);
        let alice = bytes(&[("authorization", "a"), ("x-other", "1")], Some("192.0.2.7"));
        assert_eq!(alice, bytes(&[("Authorization", "a"), ("x-other", "2")], Some("192.0.2.7")));
        let others = [
            bytes(&[("authorization", "b")], Some("192.0.2.7")),
            bytes(&[("authorization", "a")], Some("192.0.2.8")),
            bytes(&[("authorization", "a")], None),
            bytes(&[("cookie", "a")], Some("192.0.2.7")),
            bytes(&[("authorization", "a"), ("authorization", "")], Some("192.0.2.7")),
            bytes(&[("authorization", "a"), ("cookie", "c")], Some("192.0.2.7")),
            bytes(&[], Some("192.0.2.7")),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(&alice, other, "{index}");
        }
    }
}
