//! Header changes of a request that is forwarded to the legacy system.
//!
//! Hop-by-hop headers are removed (RFC 9110, section 7.6.1), the gateway's own headers and cookie
//! are removed, and `via` and `x-forwarded-*` are added. Every other header is forwarded unchanged.
//! Host and scheme of the forwarded request come from the configured origin, through the URL.
//! `accept-encoding` is set back to the client's value: the platform overwrites it with its own
//! list, and the legacy system would otherwise compress for clients that did not ask for it.

use crate::gateway::request::subject::strip_subject_cookie;
use jeffrey_http_core::head::RequestHead;

/// Headers to remove or replace before a request is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Names of headers to remove, in lower case.
    pub remove: Vec<String>,
    /// Names and values of headers to set; each replaces all present values of that name.
    pub set: Vec<(&'static str, String)>,
}

/// Beginning of the names of the gateway's headers. None is forwarded: an override token is a secret,
/// and the legacy system may take what a caller sends under such a name for the gateway's word.
const GATEWAY_HEADER_PREFIX: &str = "x-jeffrey-";

/// Hop-by-hop headers. `expect` is not one of them; it is removed because the runtime has already
/// answered it.
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

/// Entry of the gateway in `via` (RFC 9110, section 7.6.3).
const VIA_ENTRY: &str = "1.1 jeffrey-edge";

/// Returns the header changes for one request. `client_address` is the client's address as the
/// platform reports it; without it `x-forwarded-for` is not changed.
pub fn header_changes(head: &RequestHead, client_address: Option<&str>) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    let connection = head.header("connection").unwrap_or_default();
    let connection_options = connection.split(',').map(|name| name.trim().to_ascii_lowercase());
    // Only the upgrade to a WebSocket is forwarded.
    let is_websocket_upgrade = |name: &str| name == "upgrade" && head.is_websocket();
    let gateway_headers = head
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name.starts_with(GATEWAY_HEADER_PREFIX));
    let upgrade = ["upgrade".to_owned()].into_iter();
    let candidates = HOP_BY_HOP
        .into_iter()
        .map(str::to_owned)
        .chain(gateway_headers)
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

/// Appends an entry to a comma-separated list. The list stays unchanged if it already ends with the
/// entry, because the platform may have added it.
fn append_entry(list: Option<&str>, entry: &str) -> String {
    match list.map(str::trim).filter(|list| !list.is_empty()) {
        Some(list) if list.rsplit(',').next().map(str::trim) == Some(entry) => list.to_owned(),
        Some(list) => format!("{list}, {entry}"),
        None => entry.to_owned(),
    }
}

/// Returns whether a header stays even if `connection` names it. These headers describe the body or
/// identify the client or the target, so a client must not be able to remove them.
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
            ("X-Jeffrey-Cohort", "canary"),
            ("x-jeffrey-id", "a caller's"),
            ("x-jeffreys", "theirs"),
            ("accept-encoding", "gzip"),
            ("expect", "100-continue"),
        ]);
        let expected = [
            "connection",
            "expect",
            "keep-alive",
            "te",
            "x-jeffrey-token",
            "x-jeffrey-cohort",
            "x-jeffrey-id",
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
