//! Origins whose pages may read the model worker's responses (the Fetch standard's CORS protocol).
//!
//! The Worker variable `ALLOWED_ORIGINS` names them: empty (no other origin, the default), `*`
//! (every origin), or a list separated by commas. No response depends on credentials, so
//! credentials are never allowed.

use jeffrey_http_core::head::RequestHead;

/// Origins whose pages may read responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Pages of every origin.
    All,
    /// Pages of these origins, each written as browsers send it.
    Listed(Vec<String>),
    /// Only pages of the Worker's own origin.
    #[default]
    None,
}

/// A fault in the variable `ALLOWED_ORIGINS`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// An entry is not an origin in the form that browsers send.
    #[error(
        "ALLOWED_ORIGINS: `{value}` is not an origin as browsers send it: scheme://host or \
         scheme://host:port, http or https, lower case, without the scheme's own port, no path"
    )]
    InvalidOrigin {
        /// The entry, cut to 80 characters.
        value: String,
    },
    /// The entry `*` stands beside other entries.
    #[error("ALLOWED_ORIGINS: `*` stands alone or not at all")]
    WildcardNotAlone,
}

impl AllowedOrigins {
    /// Parses the variable; `None` and white space alone mean [`AllowedOrigins::None`].
    ///
    /// ```
    /// use jeffrey_http_api::AllowedOrigins;
    /// assert_eq!(AllowedOrigins::parse(None)?, AllowedOrigins::None);
    /// assert_eq!(AllowedOrigins::parse(Some("*"))?, AllowedOrigins::All);
    /// assert!(AllowedOrigins::parse(Some("https://a.example, http://localhost:3000")).is_ok());
    /// // A path is never part of an origin.
    /// assert!(AllowedOrigins::parse(Some("https://a.example/")).is_err());
    /// # Ok::<(), jeffrey_http_api::OriginError>(())
    /// ```
    ///
    /// # Errors
    /// [`OriginError`] names the first entry that no browser sends, or a `*` that is not alone.
    pub fn parse(value: Option<&str>) -> Result<Self, OriginError> {
        let value = value.unwrap_or_default().trim();
        match value {
            "" => return Ok(Self::None),
            "*" => return Ok(Self::All),
            _ => {}
        }
        let entries = value.split(',').map(str::trim).map(|entry| match entry {
            "*" => Err(OriginError::WildcardNotAlone),
            _ if is_origin(entry) => Ok(entry.to_owned()),
            _ => Err(OriginError::InvalidOrigin { value: entry.chars().take(80).collect() }),
        });
        Ok(Self::Listed(entries.collect::<Result<_, _>>()?))
    }

    /// Returns the CORS headers of the response to `head`; `allow` holds the path's methods.
    pub(super) fn headers(&self, head: &RequestHead, allow: &str) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let allowed = match self {
            Self::None => None,
            Self::All => Some("*"),
            Self::Listed(list) => {
                // The response differs by origin, so a cache must not share it between origins.
                headers.push(("vary", "Origin".to_owned()));
                head.header("origin").filter(|origin| list.iter().any(|entry| entry == origin))
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

/// Returns whether `entry` is an origin in the form that browsers send (the HTML standard's
/// "serialisation of an origin"), so that comparing bytes compares origins.
fn is_origin(entry: &str) -> bool {
    let (authority, default_port) =
        match (entry.strip_prefix("https://"), entry.strip_prefix("http://")) {
            (Some(authority), _) => (authority, "443"),
            (_, Some(authority)) => (authority, "80"),
            _ => return false,
        };
    let host_end = authority.rfind(']').map_or(0, |index| index + 1);
    let (host, port) = match authority[host_end..].split_once(':') {
        Some((_, port)) => (&authority[..authority.len() - port.len() - 1], Some(port)),
        None => (authority, None),
    };
    let is_host_valid = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
            };
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    let is_port_valid = port.is_none_or(|port| {
        let is_canonical = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        is_canonical && port != default_port && port.parse::<u16>().is_ok()
    });
    is_host_valid && is_port_valid
}

/// Request headers that a page may set. The Hugging Face client sends its own user agent, and a
/// token if it has one; the Worker reads neither.
const REQUEST_HEADERS: &str = "authorization, content-type, user-agent";

/// How long a browser may cache a preflight response, in seconds: Chromium caches for two hours at
/// most.
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
            assert_eq!(
                AllowedOrigins::parse(Some(entry)),
                Ok(AllowedOrigins::Listed(vec![entry.to_owned()]))
            );
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
            let error = AllowedOrigins::parse(Some(entry)).unwrap_err();
            assert!(matches!(error, OriginError::InvalidOrigin { .. }), "{entry}: {error}");
        }
        assert_eq!(
            AllowedOrigins::parse(Some("*, https://a.example")),
            Err(OriginError::WildcardNotAlone)
        );
        assert_eq!(AllowedOrigins::parse(Some("  ")), Ok(AllowedOrigins::None));
    }

    #[test]
    fn only_a_listed_origin_is_told_that_it_may_read() {
        let head = |method: &str, origin: Option<&str>, requested: Option<&str>| {
            let headers = [("origin", origin), ("access-control-request-method", requested)];
            let headers = headers
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value.to_owned())));
            let url = "https://worker.example/v1/classify";
            RequestHead::new(method.to_owned(), url, headers.collect()).unwrap()
        };
        let listed = AllowedOrigins::parse(Some("https://a.example")).unwrap();
        let a = Some("https://a.example");
        let names = |origins: &AllowedOrigins, head: &RequestHead| -> Vec<String> {
            let headers = origins.headers(head, "POST, OPTIONS");
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        // origins, request, headers
        let rows: [(&AllowedOrigins, RequestHead, &[&str]); 7] = [
            (&AllowedOrigins::None, head("POST", a, None), &[]),
            (&AllowedOrigins::All, head("POST", a, None), &["access-control-allow-origin: *"]),
            (&AllowedOrigins::All, head("POST", None, None), &["access-control-allow-origin: *"]),
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
            assert_eq!(
                names(origins, &head),
                expected,
                "{origins:?} {} {:?}",
                head.method,
                head.headers
            );
        }
    }
}
