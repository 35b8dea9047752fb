//! What changes in a request's headers on its way to the old system, and nothing else changes.
//!
//! Hop-by-hop headers end here (RFC 9110, section 7.6.1), our own stay here, and `via` and
//! `x-forwarded-*` are added. Host and scheme come from the configuration, by the URL.
//! `accept-encoding` is the client's own again: the platform writes its own over it, and the old
//! system would compress for clients that never asked for it.

use super::intake::Head;
use super::overrides;
use super::subject::without_cookie;

/// Headers that the next hop does not see, or sees with another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names to remove.
    pub remove: Vec<String>,
    /// Names and values to put in the place of what is there.
    pub set: Vec<(&'static str, String)>,
}

/// Headers of ours that the old system has no business with: a token is a secret.
const OURS: [&str; 2] = [overrides::COHORT, overrides::TOKEN];

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
const VIA: &str = "1.1 jeffrey-edge";

/// The changes for one request; `address` is the caller's, as the platform knows it.
pub fn changes(head: &Head, address: Option<&str>) -> Changes {
    let mut changes = Changes::default();
    let connection = head.header("connection").unwrap_or_default();
    let named = connection.split(',').map(|name| name.trim().to_ascii_lowercase());
    // A WebSocket's handshake is the one upgrade that is passed on.
    let kept = |name: &str| name == "upgrade" && head.is_websocket();
    let upgrade = ["upgrade".to_owned()].into_iter();
    let gone = HOP_BY_HOP.into_iter().chain(OURS).map(str::to_owned).chain(upgrade).chain(named);
    for name in gone.filter(|name| is_name(name) && !kept(name) && !is_framing(name)) {
        if !changes.remove.contains(&name) && head.header(&name).is_some() {
            changes.remove.push(name);
        }
    }
    if let Some(cookie) = head.header("cookie") {
        match without_cookie(cookie) {
            Some(rest) if rest != cookie => changes.set.push(("cookie", rest)),
            Some(_) => {}
            None => changes.remove.push("cookie".to_owned()),
        }
    }
    match head.header("accept-encoding") {
        Some(encodings) => changes.set.push(("accept-encoding", encodings.to_owned())),
        None => changes.remove.push("accept-encoding".to_owned()),
    }
    if let Some(address) = address {
        changes.set.push(("x-forwarded-for", appended(head.header("x-forwarded-for"), address)));
    }
    changes.set.push(("x-forwarded-host", head.host.clone()));
    changes.set.push(("x-forwarded-proto", head.scheme.clone()));
    changes.set.push(("via", appended(head.header("via"), VIA)));
    changes
}

/// A list with an entry more, unless it ends with it already: the platform may have added it.
fn appended(list: Option<&str>, entry: &str) -> String {
    match list.map(str::trim).filter(|list| !list.is_empty()) {
        Some(list) if list.rsplit(',').next().map(str::trim) == Some(entry) => list.to_owned(),
        Some(list) => format!("{list}, {entry}"),
        None => entry.to_owned(),
    }
}

/// Whether `connection` may name it: not what says where the body ends, or who is meant. A caller
/// must not be able to take these from a request.
fn is_framing(name: &str) -> bool {
    matches!(name, "content-length" | "content-type" | "host" | "authorization" | "cookie")
        || name.starts_with("x-forwarded-")
        || name.starts_with("cf-")
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(headers: &[(&str, &str)]) -> Changes {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let head = Head::new("POST".into(), "https://edge.example:8443/a", headers).unwrap();
        changes(&head, Some("192.0.2.7"))
    }

    #[test]
    fn hop_by_hop_headers_and_ours_are_removed_and_no_other() {
        let found = changed(&[
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
        assert_eq!(found.remove, expected);
    }

    #[test]
    fn a_websocket_keeps_its_upgrade() {
        let found = changed(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(found.remove, ["connection", "accept-encoding"]);
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
        assert_eq!(changed(&[]).set, expected("192.0.2.7", "1.1 jeffrey-edge"));
        let before = [("x-forwarded-for", "10.0.0.1"), ("via", "1.0 fred")];
        assert_eq!(
            changed(&before).set,
            expected("10.0.0.1, 192.0.2.7", "1.0 fred, 1.1 jeffrey-edge")
        );
        let twice = [("x-forwarded-for", "10.0.0.1, 192.0.2.7")];
        assert_eq!(changed(&twice).set, expected("10.0.0.1, 192.0.2.7", "1.1 jeffrey-edge"));
    }

    #[test]
    fn our_cookie_stays_here_and_the_others_go_on() {
        let found = changed(&[("cookie", "a=1; jeffrey_subject=x; b=2")]);
        assert_eq!(found.set[0], ("cookie", "a=1; b=2".to_owned()));
        let alone = changed(&[("cookie", "jeffrey_subject=x")]);
        assert_eq!(alone.remove, ["cookie", "accept-encoding"]);
    }

    #[test]
    fn the_old_system_compresses_for_whom_it_would_have() {
        let found = changed(&[("accept-encoding", "br;q=1, identity")]);
        assert_eq!(found.set[0], ("accept-encoding", "br;q=1, identity".to_owned()));
        assert_eq!(changed(&[]).remove, ["accept-encoding"]);
    }
}
