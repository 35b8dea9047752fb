//! What changes in a request's headers on its way to the old system, and nothing else changes.
//!
//! Hop-by-hop headers end here (RFC 9110, section 7.6.1), our own stay here, and `via` and
//! `x-forwarded-*` are added. Host and scheme come from the configuration, by the URL.
//! `accept-encoding` is the client's own again: the platform writes its own over it, and the old
//! system would compress for clients that never asked for it.

use super::cohort_override;
use super::request::RequestHead;
use super::subject::strip_subject_cookie;

/// Headers that the next hop does not see, or sees with another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Names to remove.
    pub remove: Vec<String>,
    /// Names and values to put in the place of what is there.
    pub set: Vec<(&'static str, String)>,
}

/// Headers of ours that the old system has no business with: a token is a secret.
const GATEWAY_HEADERS: [&str; 2] = [cohort_override::COHORT, cohort_override::TOKEN];

/// `expect` is none of them, but the runtime has answered it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Our name in `via` (RFC 9110, section 7.6.3).
const VIA_ENTRY: &str = "1.1 jeffrey-edge";

/// The changes for one request; `address` is the caller's, as the platform knows it.
pub fn header_changes(head: &RequestHead, client_address: Option<&str>) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    let connection = head.header("connection").unwrap_or_default();
    let connection_options = connection.split(',').map(|name| name.trim().to_ascii_lowercase());
    // A WebSocket's handshake is the one upgrade that is passed on.
    let is_websocket_upgrade = |name: &str| name == "upgrade" && head.is_websocket();
    let upgrade = ["upgrade".to_owned()].into_iter();
    let candidates = HOP_BY_HOP
        .into_iter()
        .chain(GATEWAY_HEADERS)
        .map(str::to_owned)
        .chain(upgrade)
        .chain(connection_options);
    for name in candidates.filter(|name| {
        is_header_name(name) && !is_websocket_upgrade(name) && !is_protected_header(name)
    }) {
        if !changes.remove.contains(&name) && head.header(&name).is_some() {
            changes.remove.push(name);
        }
    }
    if let Some(cookie) = head.header("cookie") {
        match strip_subject_cookie(cookie) {
            Some(other_cookies) if other_cookies != cookie => {
                changes.set.push(("cookie", other_cookies))
            }
            Some(_) => {}
            None => changes.remove.push("cookie".to_owned()),
        }
    }
    match head.header("accept-encoding") {
        Some(encodings) => changes.set.push(("accept-encoding", encodings.to_owned())),
        None => changes.remove.push("accept-encoding".to_owned()),
    }
    if let Some(client_address) = client_address {
        changes.set.push((
            "x-forwarded-for",
            append_entry(head.header("x-forwarded-for"), client_address),
        ));
    }
    changes.set.push(("x-forwarded-host", head.host.clone()));
    changes.set.push(("x-forwarded-proto", head.scheme.clone()));
    changes.set.push(("via", append_entry(head.header("via"), VIA_ENTRY)));
    changes
}

/// A list with an entry more, unless it ends with it already: the platform may have added it.
fn append_entry(list: Option<&str>, entry: &str) -> String {
    match list.map(str::trim).filter(|list| !list.is_empty()) {
        Some(list) if list.rsplit(',').next().map(str::trim) == Some(entry) => list.to_owned(),
        Some(list) => format!("{list}, {entry}"),
        None => entry.to_owned(),
    }
}

/// Whether `connection` may name it: not what says where the body ends, or who is meant. A caller
/// must not be able to take these from a request.
fn is_protected_header(name: &str) -> bool {
    matches!(name, "content-length" | "content-type" | "host" | "authorization" | "cookie")
        || name.starts_with("x-forwarded-")
        || name.starts_with("cf-")
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes_for(headers: &[(&str, &str)]) -> HeaderChanges {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let head = RequestHead::new("POST".into(), "https://edge.example:8443/a", headers).unwrap();
        header_changes(&head, Some("192.0.2.7"))
    }

    #[test]
    fn hop_by_hop_headers_and_ours_are_removed_and_no_other() {
        let changes = changes_for(&[
            ("connection", "keep-alive, X-Hop, content-length, authorization, cookie,"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer theirs"),
            ("content-length", "7"),
            ("cookie", "a=b"),
            ("x-jeffrey-token", "v1.x.y"),
            ("x-jeffrey-cohort", "canary"),
            ("accept-encoding", "gzip"),
            ("expect", "100-continue"),
        ]);
        let expected = [
            "connection",
            "expect",
            "keep-alive",
            "te",
            "x-jeffrey-cohort",
            "x-jeffrey-token",
            "upgrade",
            "x-hop",
        ];
        assert_eq!(changes.remove, expected);
    }

    #[test]
    fn a_websocket_keeps_its_upgrade() {
        let changes = changes_for(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(changes.remove, ["connection", "accept-encoding"]);
    }

    #[test]
    fn the_way_is_written_down_behind_what_was_written_before() {
        let expected = |forwarded: &str, via: &str| {
            vec![
                ("x-forwarded-for", forwarded.to_owned()),
                ("x-forwarded-host", "edge.example:8443".to_owned()),
                ("x-forwarded-proto", "https".to_owned()),
                ("via", via.to_owned()),
            ]
        };
        assert_eq!(changes_for(&[]).set, expected("192.0.2.7", "1.1 jeffrey-edge"));
        let upstream_hops = [("x-forwarded-for", "10.0.0.1"), ("via", "1.0 fred")];
        assert_eq!(
            changes_for(&upstream_hops).set,
            expected("10.0.0.1, 192.0.2.7", "1.0 fred, 1.1 jeffrey-edge")
        );
        let already_listed = [("x-forwarded-for", "10.0.0.1, 192.0.2.7")];
        assert_eq!(
            changes_for(&already_listed).set,
            expected("10.0.0.1, 192.0.2.7", "1.1 jeffrey-edge")
        );
    }

    #[test]
    fn our_cookie_stays_here_and_the_others_go_on() {
        let changes = changes_for(&[("cookie", "a=1; jeffrey_subject=x; b=2")]);
        assert_eq!(changes.set[0], ("cookie", "a=1; b=2".to_owned()));
        let only_subject_cookie = changes_for(&[("cookie", "jeffrey_subject=x")]);
        assert_eq!(only_subject_cookie.remove, ["cookie", "accept-encoding"]);
    }

    #[test]
    fn the_old_system_compresses_for_whom_it_would_have() {
        let changes = changes_for(&[("accept-encoding", "br;q=1, identity")]);
        assert_eq!(changes.set[0], ("accept-encoding", "br;q=1, identity".to_owned()));
        assert_eq!(changes_for(&[]).remove, ["accept-encoding"]);
    }
}
