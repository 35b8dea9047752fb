//! Subject of a request: taken from a header, the request's user or the gateway's cookie, or newly
//! created with a cookie if the settings allow it.
//!
//! The raw subject is never logged or stored. Events carry a keyed hash of it that changes with the
//! release, so a user cannot be followed from one release to the next.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::gateway::config::{GatewaySettings, SubjectCookiePolicy, SubjectTrust};
use crate::rollout::bucket::ReleaseName;
use crate::rollout::signing_key::{SigningKey, to_hex};
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{Subject, UnixMs};

/// Name of the cookie that carries a subject created by the gateway.
pub const COOKIE_NAME: &str = "jeffrey_subject";

/// Number of random bytes in a cookie's subject: 16 bytes, or 128 bits.
pub const COOKIE_RANDOM_BYTES: usize = 16;

/// Age from which a cookie is given anew, in hours. It must be longer than first calls that a client
/// sends at once can take: each of those gives a cookie of its own, the client keeps the last one, and a
/// renewal of another one would take its place.
const RENEW_AFTER_HOURS: u64 = 2;

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// Subject of a request, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSubject {
    /// Sticky key of the caller.
    pub subject: Subject,
    /// `true` if the gateway created the subject for this request; the request is then not evidence.
    pub is_new: bool,
    /// `true` if the response sets the cookie: the subject is new, or its cookie is hours old.
    pub needs_cookie: bool,
    /// `true` if a trusted server named the subject.
    pub is_trusted: bool,
}

/// Where a call may say who its caller is.
#[derive(Clone)]
pub struct CallerFacts<'a> {
    /// Head of the request, with the subject's header and the cookie.
    pub head: &'a RequestHead,
    /// The user in the body.
    pub user: Option<Subject>,
    /// `true` for a classify call.
    pub is_classify: bool,
    /// Result of [`is_subject_trusted`](super::subject_trust::is_subject_trusted): the header and the body
    /// may name a subject.
    pub is_trusted: bool,
}

/// Returns the first subject found in the header, the request's user and the cookie. Without one it
/// creates a subject from `random` if the settings allow a cookie, and returns `None` otherwise. A
/// header or user that is not a valid subject (empty or too long) is ignored, and so are both if the
/// settings trust only some callers and this is none of them.
pub fn resolve(
    facts: CallerFacts<'_>,
    settings: &GatewaySettings,
    random: [u8; COOKIE_RANDOM_BYTES],
    now: UnixMs,
) -> Option<ResolvedSubject> {
    let CallerFacts { head, user, is_classify, is_trusted } = facts;
    let header = head.header(&settings.subject_header).and_then(|s| Subject::parse(s.trim()).ok());
    let may_name = is_trusted || settings.subject_trust == SubjectTrust::Anyone;
    if let Some(subject) = header.or(user).filter(|_| may_name) {
        return Some(ResolvedSubject { subject, is_new: false, needs_cookie: false, is_trusted });
    }
    let cookie = head.header("cookie").and_then(|cookie| parse_subject_cookie(cookie, now));
    let may_issue = match settings.subject_cookie {
        SubjectCookiePolicy::All => true,
        SubjectCookiePolicy::Classify => is_classify,
        SubjectCookiePolicy::Off => false,
    };
    if let Some((subject, is_old)) = cookie {
        let needs_cookie = is_old && may_issue;
        return Some(ResolvedSubject { subject, is_new: false, needs_cookie, is_trusted: false });
    }
    let subject = may_issue.then(|| Subject::parse(URL_SAFE_NO_PAD.encode(random)));
    let subject = subject.and_then(Result::ok)?;
    Some(ResolvedSubject { subject, is_new: true, needs_cookie: true, is_trusted: false })
}

/// Returns the subject in a `Cookie` header, and whether the cookie is so old that it should be given
/// anew. Only values that the gateway could have created are accepted: a subject, or a subject with the
/// hour in which the cookie was given.
fn parse_subject_cookie(header: &str, now: UnixMs) -> Option<(Subject, bool)> {
    let value =
        cookie_pairs(header).find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))?;
    let (value, hour) = match value.split_once('.') {
        Some((value, hour)) => (value, hour.parse::<u64>().ok()),
        None => (value, None),
    };
    let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
    let subject =
        (bytes.len() == COOKIE_RANDOM_BYTES).then(|| Subject::parse(value).ok()).flatten()?;
    let age_hours = hour.map(|hour| (now.0 / HOUR_MS).abs_diff(hour));
    Some((subject, age_hours.is_none_or(|hours| hours >= RENEW_AFTER_HOURS)))
}

/// Returns the `Cookie` header without the gateway's cookie; `None` if no cookie is left.
pub fn strip_subject_cookie(header: &str) -> Option<String> {
    if !cookie_pairs(header).any(|(name, _)| name == COOKIE_NAME) {
        return Some(header.to_owned());
    }
    let other_cookies = header.split(';').filter(|pair| cookie_name(pair) != COOKIE_NAME);
    let remaining = other_cookies.map(str::trim).collect::<Vec<_>>().join("; ");
    (!remaining.is_empty()).then_some(remaining)
}

/// Returns whether a `Set-Cookie` line sets the gateway's cookie. The legacy system may be an
/// earlier release of this gateway. It sets one for every caller, because this gateway's cookie is
/// not forwarded to it.
pub fn sets_subject_cookie(line: &str) -> bool {
    line.split(';').next().is_some_and(|pair| cookie_name(pair) == COOKIE_NAME)
}

fn cookie_pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.trim(), v.trim()))
}

fn cookie_name(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default().trim()
}

/// Returns the `Set-Cookie` value for a subject, valid for `days` from `now`. It is `Secure` except on
/// plain HTTP to localhost, where a browser would drop such a cookie.
pub fn format_subject_cookie(
    subject: &Subject,
    head: &RequestHead,
    days: u64,
    now: UnixMs,
) -> String {
    let is_host_end = |rest_of_host: &str| rest_of_host.is_empty() || rest_of_host.starts_with(':');
    let mut local_hosts = ["localhost", "127.0.0.1", "[::1]"].into_iter();
    let is_local = local_hosts.any(|name| head.host.strip_prefix(name).is_some_and(is_host_end));
    let secure = if head.scheme == "http" && is_local { "" } else { "; Secure" };
    let seconds = days * 24 * 60 * 60;
    let (value, hour) = (subject.expose(), now.0 / HOUR_MS);
    format!(
        "{COOKIE_NAME}={value}.{hour}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    )
}

/// Returns whether a response may carry a cookie. A response that a shared cache may store must
/// not, because the cache would send one user's subject to others (RFC 9111, section 3). A response
/// to GET or HEAD without directives may be stored, too. `no-cache` permits to store, and so does
/// `private` with a list of fields, which only concerns those.
pub fn may_set_cookie(method: &str, cache_control: Option<&str>, has_expires: bool) -> bool {
    let directives = split_directives(cache_control.unwrap_or_default());
    let has = |name: &str| directives.iter().any(|directive| directive == name);
    if has("private") || has("no-store") {
        return true;
    }
    let is_cacheable = |directive: &String| {
        matches!(directive.split('=').next(), Some("public" | "s-maxage" | "max-age"))
    };
    !(directives.iter().any(is_cacheable) || has_expires || matches!(method, "GET" | "HEAD"))
}

/// Splits `Cache-Control` at the commas that stand outside quotes, and returns the directives in lower
/// case.
fn split_directives(header: &str) -> Vec<String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |ch: char| {
        match ch {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    };
    let directives = header.split(is_separator);
    directives.map(|directive| directive.trim().to_ascii_lowercase()).collect()
}

/// Returns the keyed hash of a subject for one release, as 32 hexadecimal digits.
pub fn hash_subject(subject: &Subject, key: &SigningKey, release: &ReleaseName) -> String {
    let key = key.derive_key(&format!("subject {}", release.as_str()));
    to_hex(&key.compute_truncated_tag(subject.expose().as_bytes()))
}

/// Returns the key for rate limits by address: a keyed hash of it, as 32 hexadecimal digits. Only
/// the first 64 bits of an IPv6 address count, because one household holds all addresses below
/// them.
pub fn hash_address(address: &str, key: &SigningKey) -> String {
    let network = match address.parse::<core::net::IpAddr>() {
        Ok(core::net::IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
        _ => address.to_owned(),
    };
    to_hex(&key.derive_key("address").compute_truncated_tag(network.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;

    const RANDOM: [u8; 16] = [7; 16];
    const NEW_SUBJECT: &str = "BwcHBwcHBwcHBwcHBwcHBw";

    /// Hour 500,000 since 1970, and a quarter of an hour.
    const NOW: UnixMs = UnixMs(500_000 * HOUR_MS + HOUR_MS / 4);

    fn settings(variables: &[(&'static str, &str)]) -> GatewaySettings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        GatewaySettings::parse(&WorkerVariables(variables.collect()))
    }

    fn resolve_call(
        headers: &[(&str, &str)],
        user: Option<Subject>,
        (is_classify, is_trusted): (bool, bool),
        settings: &GatewaySettings,
    ) -> Option<ResolvedSubject> {
        let head = head("http://h/", headers);
        let facts = CallerFacts { head: &head, user, is_classify, is_trusted };
        resolve(facts, settings, RANDOM, NOW)
    }

    fn head(url: &str, headers: &[(&str, &str)]) -> RequestHead {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RequestHead::new("POST".to_owned(), url, headers).unwrap()
    }

    #[test]
    fn the_first_of_header_user_and_cookie_is_the_subject() {
        let user = || Subject::parse("from-user").ok();
        let cookie = ("cookie", "a=b; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA");
        let long = "x".repeat(257);
        type SubjectHeaders<'a> = &'a [(&'a str, &'a str)];
        let rows: [(SubjectHeaders<'_>, Option<Subject>, &str, bool); 8] = [
            (&[("x-user-id", "from-header"), cookie], user(), "from-header", false),
            (&[("x-user-id", "  "), cookie], user(), "from-user", false),
            (&[("x-user-id", &long)], user(), "from-user", false),
            (&[cookie], user(), "from-user", false),
            (&[cookie], None, "AAAAAAAAAAAAAAAAAAAAAA", false),
            (&[("cookie", "jeffrey_subject=chosen-by-hand")], None, NEW_SUBJECT, true),
            (&[("cookie", "xjeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA")], None, NEW_SUBJECT, true),
            (&[], None, NEW_SUBJECT, true),
        ];
        for (headers, user, subject, new) in rows {
            let resolved = resolve_call(headers, user, (true, false), &settings(&[])).unwrap();
            assert_eq!((resolved.subject.expose(), resolved.is_new), (subject, new), "{headers:?}");
            assert!(!resolved.is_trusted);
        }
    }

    #[test]
    fn a_header_and_a_user_count_only_from_those_who_are_trusted() {
        let secret = "0123456789abcdef";
        let trust = [("SUBJECT_TRUST", "secret"), ("JEFFREY_SUBJECT_SECRET", secret)];
        let settings = settings(&trust);
        let headers =
            [("x-user-id", "alice"), ("cookie", "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA")];
        let user = || Subject::parse("from-user").ok();
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<Subject>, bool, &'a str);
        let rows: [Row<'_>; 6] = [
            (&headers, None, true, "alice"),
            (&headers, None, false, "AAAAAAAAAAAAAAAAAAAAAA"),
            (&headers[..1], user(), false, NEW_SUBJECT),
            (&[], user(), false, NEW_SUBJECT),
            (&[], user(), true, "from-user"),
            (&headers[1..], None, true, "AAAAAAAAAAAAAAAAAAAAAA"),
        ];
        for (headers, user, is_trusted, expected) in rows {
            let is_named = user.is_some() || headers.len() == 2;
            let resolved = resolve_call(headers, user, (true, is_trusted), &settings).unwrap();
            assert_eq!(resolved.subject.expose(), expected, "{headers:?}");
            // A cookie is the client's word, even if a trusted server passes it on.
            assert_eq!(resolved.is_trusted, is_trusted && is_named, "{headers:?}");
        }
    }

    #[test]
    fn a_cookie_is_given_anew_once_it_is_two_hours_old() {
        let rows = [
            ("AAAAAAAAAAAAAAAAAAAAAA.500000", Some(false)),
            ("AAAAAAAAAAAAAAAAAAAAAA.499999", Some(false)),
            ("AAAAAAAAAAAAAAAAAAAAAA.499998", Some(true)),
            ("AAAAAAAAAAAAAAAAAAAAAA.0", Some(true)),
            // The clock of the isolate that gave it was ahead.
            ("AAAAAAAAAAAAAAAAAAAAAA.500001", Some(false)),
            ("AAAAAAAAAAAAAAAAAAAAAA.500002", Some(true)),
            // Before version 0.2 it had no hour.
            ("AAAAAAAAAAAAAAAAAAAAAA", Some(true)),
            ("AAAAAAAAAAAAAAAAAAAAAA.x", Some(true)),
            ("AAAAAAAAAAAAAAAAAAAAA.500000", None),
            ("AAAAAAAAAAAAAAAAAAAAAAA.500000", None),
        ];
        for (value, expected) in rows {
            let cookie = format!("jeffrey_subject={value}");
            let headers = [("cookie", cookie.as_str())];
            let resolved = resolve_call(&headers, None, (true, false), &settings(&[])).unwrap();
            assert_eq!(resolved.is_new, expected.is_none(), "{value}");
            assert_eq!(resolved.needs_cookie, expected.unwrap_or(true), "{value}");
            if expected.is_some() {
                assert_eq!(resolved.subject.expose(), "AAAAAAAAAAAAAAAAAAAAAA");
            }
            let off = settings(&[("SUBJECT_COOKIE", "off")]);
            let resolved = resolve_call(&headers, None, (true, false), &off);
            assert!(resolved.is_none_or(|resolved| !resolved.needs_cookie), "{value}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..Default::default()
        })]

        /// A client sends calls at once, before it has a cookie; its responses come in any order. Each
        /// item is the time of a call or response within ten minutes around the change of an hour.
        #[test]
        fn first_calls_at_once_end_on_one_subject(
            calls in proptest::collection::vec((0_u64..600, 1_u64..300), 1..30)
        ) {
            let start = UnixMs(500_000 * HOUR_MS - 300_000);
            let settings = settings(&[]);
            let at = |second: u64| UnixMs(start.0 + second * 1_000);
            // (time, order, None for a call or the cookie of its response)
            let mut events: Vec<(u64, usize, bool)> = Vec::new();
            for (number, (sent, took)) in calls.iter().enumerate() {
                events.push((*sent, number, false));
                events.push((sent + took, number, true));
            }
            events.sort_unstable();
            let mut jar: Option<String> = None;
            let mut answers = vec![None; calls.len()];
            for (second, number, is_response) in events {
                if is_response {
                    if let Some(cookie) = answers[number].take() {
                        jar = Some(cookie);
                    }
                    continue;
                }
                let cookie = jar.as_ref().map(|value| format!("jeffrey_subject={value}"));
                let headers: Vec<_> =
                    cookie.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
                let head = head("http://h/", &headers);
                let facts = CallerFacts {
                    head: &head, user: None, is_classify: true, is_trusted: false,
                };
                let resolved = resolve(facts, &settings, [number as u8; 16], at(second)).unwrap();
                let cookie = format_subject_cookie(&resolved.subject, &head, 30, at(second));
                let value = cookie["jeffrey_subject=".len()..].split(';').next().unwrap();
                answers[number] = resolved.needs_cookie.then(|| value.to_owned());
            }
            // All responses are here: from now on every call has one subject, and a renewal keeps it.
            let subject = jar.clone().unwrap().split('.').next().unwrap().to_owned();
            for hour in 1..60 {
                let cookie = format!("jeffrey_subject={}", jar.clone().unwrap());
                let head = head("http://h/", &[("cookie", cookie.as_str())]);
                let facts = CallerFacts {
                    head: &head, user: None, is_classify: true, is_trusted: false,
                };
                let now = at(600 + hour * 3_600);
                let resolved = resolve(facts, &settings, RANDOM, now).unwrap();
                proptest::prop_assert!(!resolved.is_new);
                proptest::prop_assert_eq!(resolved.subject.expose(), &subject);
                if resolved.needs_cookie {
                    let cookie = format_subject_cookie(&resolved.subject, &head, 30, now);
                    let value = cookie["jeffrey_subject=".len()..].split(';').next().unwrap();
                    jar = Some(value.to_owned());
                }
            }
        }
    }

    #[test]
    fn a_cookie_is_given_to_whom_the_setting_says() {
        for (setting, classify, expected) in [
            ("off", true, false),
            ("off", false, false),
            ("classify", true, true),
            ("classify", false, false),
            ("all", true, true),
            ("all", false, true),
        ] {
            let settings = settings(&[("SUBJECT_COOKIE", setting)]);
            let resolved = resolve_call(&[], None, (classify, false), &settings);
            assert_eq!(resolved.is_some(), expected, "{setting} {classify}");
        }
    }

    #[test]
    fn only_our_cookie_is_taken_out() {
        let rows = [
            ("a=1; jeffrey_subject=x; b=2", Some("a=1; b=2")),
            ("jeffrey_subject=x", None),
            ("jeffrey_subject", Some("jeffrey_subject")),
            ("a=1;b=2", Some("a=1;b=2")),
            ("a=jeffrey_subject=x", Some("a=jeffrey_subject=x")),
            ("", Some("")),
        ];
        for (header, expected) in rows {
            assert_eq!(strip_subject_cookie(header).as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn only_a_line_that_gives_our_cookie_is_ours() {
        let rows = [
            ("jeffrey_subject=x; Path=/", true),
            (" jeffrey_subject =x", true),
            ("jeffrey_subjects=x", false),
            ("a=1; jeffrey_subject=x", false),
            ("a=jeffrey_subject=x", false),
            ("", false),
        ];
        for (line, ours) in rows {
            assert_eq!(sets_subject_cookie(line), ours, "{line:?}");
        }
    }

    #[test]
    fn a_cookie_is_secure_but_on_plain_localhost() {
        let subject = Subject::parse(NEW_SUBJECT).unwrap();
        let rows = [
            ("http://localhost:8787/", false),
            ("http://127.0.0.1:8787/", false),
            ("http://[::1]/", false),
            ("https://localhost/", true),
            ("http://localhost.example.org/", true),
            ("https://example.org/", true),
        ];
        for (url, secure) in rows {
            let cookie = format_subject_cookie(&subject, &head(url, &[]), 30, NOW);
            assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        }
        assert_eq!(
            format_subject_cookie(&subject, &head("https://h/", &[]), 30, NOW),
            format!(
                "jeffrey_subject={NEW_SUBJECT}.500000; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
            )
        );
    }

    #[test]
    fn no_cookie_rides_on_what_a_shared_cache_may_keep() {
        let rows = [
            ("POST", None, false, true),
            ("POST", Some("public, max-age=60"), false, false),
            ("POST", None, true, false),
            ("GET", None, false, false),
            ("GET", Some("no-store"), false, true),
            ("GET", Some("max-age=60, Private"), false, true),
            ("GET", Some("PRIVATE"), true, true),
            ("GET", Some("no-cache"), false, false),
            ("GET", Some("private=\"x\""), false, false),
            ("GET", Some("x=\"a, private, b\""), false, false),
            ("GET", Some("x=\"a\\\", private, b\""), false, false),
            ("GET", Some("x=\"a\", private"), false, true),
            ("POST", Some("no-cache"), false, true),
            ("POST", Some("no-cache, max-age=60"), false, false),
            ("POST", Some("private=\"x\""), true, false),
            ("GET", Some("s-maxage=1"), false, false),
            ("HEAD", Some("must-revalidate"), false, false),
        ];
        for (method, control, expires, expected) in rows {
            assert_eq!(may_set_cookie(method, control, expires), expected, "{method} {control:?}");
        }
    }

    #[test]
    fn a_hash_depends_on_key_release_and_subject_and_shows_none() {
        let key = |seed| SigningKey::parse([seed; 16]).unwrap();
        let (a, b) = (Subject::parse("alice").unwrap(), Subject::parse("bob").unwrap());
        let (first_release, second_release) =
            (ReleaseName::parse("e1").unwrap(), ReleaseName::parse("e2").unwrap());
        let hash = hash_subject(&a, &key(1), &first_release);
        assert_eq!(hash.len(), 32);
        assert_eq!(hash, hash_subject(&a, &key(1), &first_release));
        for other_hash in [
            hash_subject(&b, &key(1), &first_release),
            hash_subject(&a, &key(2), &first_release),
            hash_subject(&a, &key(1), &second_release),
        ] {
            assert_ne!(hash, other_hash);
        }
        let address = |address| hash_address(address, &key(1));
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2:ffff::1"));
        assert_ne!(address("2001:db8:1:2::"), address("2001:db8:1:3::"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }
}
