//! Subject of a request: taken from a header, the request's user or the gateway's cookie, or newly
//! created with a cookie if the settings allow it.
//!
//! The raw subject is never logged or stored. Events carry a keyed hash of it that changes with the
//! release, so a user cannot be followed from one release to the next.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::gateway::config::{GatewaySettings, SubjectCookiePolicy};
use crate::rollout::bucket::ReleaseName;
use crate::rollout::signing_key::SigningKey;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::Subject;

/// Name of the cookie that carries a subject created by the gateway.
pub const COOKIE_NAME: &str = "jeffrey_subject";

/// Number of random bytes in a cookie's subject: 16 bytes, or 128 bits.
pub const COOKIE_RANDOM_BYTES: usize = 16;

/// Subject of a request, and whether the gateway created it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSubject {
    /// Sticky key of the caller.
    pub subject: Subject,
    /// Whether the gateway created the subject for this request. The response then needs a cookie,
    /// and the request is not evidence.
    pub is_new: bool,
}

/// Returns the first subject found in the header, the request's user and the cookie. Without one it
/// creates a subject from `random` if the settings allow a cookie, and returns `None` otherwise. A
/// header or user that is not a valid subject (empty or too long) is ignored.
pub fn resolve(
    head: &RequestHead,
    user: Option<Subject>,
    is_classify: bool,
    settings: &GatewaySettings,
    random: [u8; COOKIE_RANDOM_BYTES],
) -> Option<ResolvedSubject> {
    let header = head.header(&settings.subject_header).and_then(|s| Subject::parse(s.trim()).ok());
    let provided = header.or(user).or_else(|| parse_subject_cookie(head.header("cookie")?));
    if let Some(subject) = provided {
        return Some(ResolvedSubject { subject, is_new: false });
    }
    let may_issue = match settings.subject_cookie {
        SubjectCookiePolicy::All => true,
        SubjectCookiePolicy::Classify => is_classify,
        SubjectCookiePolicy::Off => false,
    };
    let subject = may_issue.then(|| Subject::parse(URL_SAFE_NO_PAD.encode(random)));
    subject.and_then(Result::ok).map(|subject| ResolvedSubject { subject, is_new: true })
}

/// Returns the subject in a `Cookie` header. Only values that the gateway could have created are
/// accepted.
fn parse_subject_cookie(header: &str) -> Option<Subject> {
    let value =
        cookie_pairs(header).find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))?;
    let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
    (bytes.len() == COOKIE_RANDOM_BYTES).then(|| Subject::parse(value).ok())?
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

/// Returns the `Set-Cookie` value for a new subject, valid for `days`. It is `Secure` except on
/// plain HTTP to localhost, where a browser would drop such a cookie.
pub fn format_subject_cookie(subject: &Subject, head: &RequestHead, days: u64) -> String {
    let is_host_end = |rest_of_host: &str| rest_of_host.is_empty() || rest_of_host.starts_with(':');
    let mut local_hosts = ["localhost", "127.0.0.1", "[::1]"].into_iter();
    let is_local = local_hosts.any(|name| head.host.strip_prefix(name).is_some_and(is_host_end));
    let secure = if head.scheme == "http" && is_local { "" } else { "; Secure" };
    let seconds = days * 24 * 60 * 60;
    let value = subject.expose();
    format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Returns whether a response may carry a cookie. A response that a shared cache may store must
/// not, because the cache would send one user's subject to others (RFC 9111, section 3). A response
/// to GET or HEAD without directives may be stored, too.
pub fn may_set_cookie(method: &str, cache_control: Option<&str>, has_expires: bool) -> bool {
    let directives = cache_control.unwrap_or_default().to_ascii_lowercase();
    let mut directives = directives.split(',').map(|directive| directive.trim());
    let is_private = |directive: &str| {
        matches!(directive.split('=').next(), Some("private" | "no-store" | "no-cache"))
    };
    if directives.clone().any(is_private) {
        return true;
    }
    let is_cacheable = |directive: &str| {
        matches!(directive.split('=').next(), Some("public" | "s-maxage" | "max-age"))
    };
    !(directives.any(is_cacheable) || has_expires || matches!(method, "GET" | "HEAD"))
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

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;

    const RANDOM: [u8; 16] = [7; 16];
    const NEW_SUBJECT: &str = "BwcHBwcHBwcHBwcHBwcHBw";

    fn settings(cookie: &str) -> GatewaySettings {
        let variables = [("SUBJECT_COOKIE", cookie.to_owned())];
        GatewaySettings::parse(&WorkerVariables(variables.into()))
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
            let resolved =
                resolve(&head("http://h/", headers), user, true, &settings("classify"), RANDOM);
            let resolved = resolved.unwrap();
            assert_eq!((resolved.subject.expose(), resolved.is_new), (subject, new), "{headers:?}");
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
            let resolved =
                resolve(&head("http://h/", &[]), None, classify, &settings(setting), RANDOM);
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
            let cookie = format_subject_cookie(&subject, &head(url, &[]), 30);
            assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        }
        assert_eq!(
            format_subject_cookie(&subject, &head("https://h/", &[]), 30),
            format!(
                "jeffrey_subject={NEW_SUBJECT}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
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
            ("GET", Some("private=\"x\""), true, true),
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
