//! Which pages of other origins may read our answers (the Fetch standard's CORS protocol).
//!
//! The worker variable `ALLOWED_ORIGINS` names them: nothing (none, the default), `*` (all), or a
//! list with commas. No answer depends on credentials, so none are ever allowed.

use super::Head;

/// Origins allowed to read answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Every origin.
    All,
    /// These, as browsers send them.
    Listed(Vec<String>),
    /// Only our own pages.
    #[default]
    None,
}

/// An entry of `ALLOWED_ORIGINS` that no browser would ever send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// An entry is not an origin.
    #[error(
        "ALLOWED_ORIGINS: `{value}` is not an origin as browsers send it: scheme://host or \
         scheme://host:port, http or https, lower case, without the scheme's own port, no path"
    )]
    Entry {
        /// The entry, cut to 80 characters.
        value: String,
    },
    /// `*` beside other entries.
    #[error("ALLOWED_ORIGINS: `*` stands alone or not at all")]
    Star,
}

impl Origins {
    /// Name of the worker variable.
    pub const VARIABLE: &'static str = "ALLOWED_ORIGINS";

    /// Reads the variable; `None` and white space alone allow nobody.
    ///
    /// ```
    /// use jeffrey_wire::Origins;
    /// assert_eq!(Origins::parse(None)?, Origins::None);
    /// assert_eq!(Origins::parse(Some("*"))?, Origins::All);
    /// assert!(Origins::parse(Some("https://a.example, http://localhost:3000")).is_ok());
    /// // A path is never part of an origin.
    /// assert!(Origins::parse(Some("https://a.example/")).is_err());
    /// # Ok::<(), jeffrey_wire::OriginError>(())
    /// ```
    ///
    /// # Errors
    /// [`OriginError`] names the first entry that could never match.
    pub fn parse(value: Option<&str>) -> Result<Self, OriginError> {
        let value = value.unwrap_or_default().trim();
        match value {
            "" => return Ok(Self::None),
            "*" => return Ok(Self::All),
            _ => {}
        }
        let entries = value.split(',').map(str::trim).map(|entry| match entry {
            "*" => Err(OriginError::Star),
            _ if is_origin(entry) => Ok(entry.to_owned()),
            _ => Err(OriginError::Entry { value: entry.chars().take(80).collect() }),
        });
        Ok(Self::Listed(entries.collect::<Result<_, _>>()?))
    }

    /// The headers of an answer to this request; `allow` are the path's methods.
    pub(super) fn headers(&self, head: &Head<'_>, allow: &str) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let allowed = match self {
            Self::None => None,
            Self::All => Some("*"),
            Self::Listed(list) => {
                // The answer differs by origin: no cache may give one origin's to another.
                headers.push(("vary", "Origin".to_owned()));
                head.origin.filter(|origin| list.iter().any(|entry| entry == origin))
            }
        };
        let Some(allowed) = allowed else { return headers };
        headers.push(("access-control-allow-origin", allowed.to_owned()));
        if head.is_preflight() {
            headers.push(("access-control-allow-methods", allow.to_owned()));
            headers.push(("access-control-allow-headers", REQUEST_HEADERS.to_owned()));
            headers.push(("access-control-max-age", MAX_AGE_SECONDS.to_owned()));
        }
        headers
    }
}

/// Whether this is an origin in the form that browsers send (the HTML standard's "serialisation of
/// an origin"), so that comparing bytes is comparing origins.
fn is_origin(entry: &str) -> bool {
    let (rest, own_port) = match (entry.strip_prefix("https://"), entry.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (_, Some(rest)) => (rest, "80"),
        _ => return false,
    };
    let bracket = rest.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match rest[bracket..].split_once(':') {
        Some((_, port)) => (&rest[..rest.len() - port.len() - 1], Some(port)),
        None => (rest, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
            };
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    let port_ok = port.is_none_or(|port| {
        let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        plain && port != own_port && port.parse::<u16>().is_ok()
    });
    host_ok && port_ok
}

/// Headers that a page may set. The Hugging Face client sends a user agent of its own, and a token
/// when it is given one; neither is read.
const REQUEST_HEADERS: &str = "authorization, content-type, user-agent";

/// How long a browser may keep a preflight's answer: two hours is the most that Chromium keeps.
const MAX_AGE_SECONDS: &str = "7200";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_no_browser_sends_are_refused() {
        let good = [
            "https://a.example",
            "http://localhost:3000",
            "http://127.0.0.1:8788",
            "http://[::1]:8788",
            "https://xn--caf-dma.example",
            "http://a.example:443",
        ];
        for entry in good {
            assert_eq!(Origins::parse(Some(entry)), Ok(Origins::Listed(vec![entry.to_owned()])));
        }
        let bad = [
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example:443",
            "http://a.example:80",
            "https://A.example",
            "HTTPS://a.example",
            "ftp://a.example",
            "https://*.a.example",
            "https://user@a.example",
            "https://a.example:",
            "https://a.example:0",
            "https://a.example:080",
            "https://a.example:65536",
            "https://a b",
            "https://café.example",
            "http://[::1",
            "http://[zz]",
            "null",
            "https://a.example,",
            "https://a.example,,https://b.example",
        ];
        for entry in bad {
            let error = Origins::parse(Some(entry)).unwrap_err();
            assert!(matches!(error, OriginError::Entry { .. }), "{entry}: {error}");
        }
        assert_eq!(Origins::parse(Some("*, https://a.example")), Err(OriginError::Star));
        assert_eq!(Origins::parse(Some("  ")), Ok(Origins::None));
    }

    #[test]
    fn only_a_listed_origin_is_told_that_it_may_read() {
        let head = |method, origin, requested| Head {
            method,
            path: "/v1/classify",
            origin,
            requested_method: requested,
            content_length: None,
        };
        let listed = Origins::parse(Some("https://a.example")).unwrap();
        let a = Some("https://a.example");
        let names = |origins: &Origins, head: &Head<'_>| -> Vec<String> {
            let headers = origins.headers(head, "POST, OPTIONS");
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        // origins, request, headers
        let rows: [(&Origins, Head<'_>, &[&str]); 7] = [
            (&Origins::None, head("POST", a, None), &[]),
            (&Origins::All, head("POST", a, None), &["access-control-allow-origin: *"]),
            (&Origins::All, head("POST", None, None), &["access-control-allow-origin: *"]),
            (&listed, head("POST", None, None), &["vary: Origin"]),
            (&listed, head("POST", Some("https://a.example.evil"), None), &["vary: Origin"]),
            (
                &listed,
                head("POST", a, None),
                &["vary: Origin", "access-control-allow-origin: https://a.example"],
            ),
            (
                &listed,
                head("OPTIONS", a, Some("POST")),
                &[
                    "vary: Origin",
                    "access-control-allow-origin: https://a.example",
                    "access-control-allow-methods: POST, OPTIONS",
                    "access-control-allow-headers: authorization, content-type, user-agent",
                    "access-control-max-age: 7200",
                ],
            ),
        ];
        for (origins, head, expected) in rows {
            assert_eq!(names(origins, &head), expected, "{origins:?} {head:?}");
        }
    }
}
