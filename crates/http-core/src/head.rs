//! Method, URL and headers of an incoming request, and what they say about its body.

use std::borrow::Cow;

use crate::reply::JSON;

/// Method, URL and headers of a request, without its body.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// HTTP method, as the client sent it; case matters.
    pub method: String,
    /// `http` or `https`: the scheme of the client's request to the Worker.
    pub scheme: String,
    /// Host and port of the Worker, as the client wrote them in the URL.
    pub host: String,
    /// Path and query, exactly as the runtime's parsed URL has them; begins with a slash.
    pub target: String,
    /// Header names in lower case with their values, in the order received.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// Splits an absolute URL that the runtime has parsed, without parsing its path again. Returns
    /// `None` if `url` is not absolute.
    pub fn new(method: String, url: &str, headers: Vec<(String, String)>) -> Option<Self> {
        let (scheme, after_scheme) = url.split_once("://")?;
        let host_end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
        let (host, target) = after_scheme.split_at(host_end);
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Some(Self { method, scheme: scheme.to_owned(), host: host.to_owned(), target, headers })
    }

    /// Returns the first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the first value of a query parameter, decoded as a form's (`+` is a space).
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns the `Origin` header if it differs from the origin under which the client reached the
    /// Worker; `None` for a same-origin request or without the header.
    pub fn foreign_origin(&self) -> Option<&str> {
        let same_origin = |origin: &str| {
            let host = origin.strip_prefix(self.scheme.as_str())?.strip_prefix("://")?;
            (host == self.host).then_some(())
        };
        self.header("origin").filter(|origin| same_origin(origin).is_none())
    }

    /// Returns whether the client asks for an upgrade to a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// Returns whether the request is a CORS preflight.
    pub fn is_preflight(&self) -> bool {
        self.method == "OPTIONS"
            && self.header("origin").is_some()
            && self.header("access-control-request-method").is_some()
    }

    /// Returns whether the body is JSON by its media type, with any parameters.
    pub fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|content_type| {
            let media_type = content_type.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case(JSON)
        })
    }

    /// Returns whether the body has a content coding, such as gzip.
    pub fn is_encoded(&self) -> bool {
        let coding = self.header("content-encoding");
        coding.is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity"))
    }

    /// Returns the declared length of the body in bytes; `None` if the header is missing or not a
    /// number.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|length| length.trim().parse().ok())
    }
}

/// Returns whether a path that takes the method `takes` accepts `method`: `HEAD` is accepted wherever
/// `GET` is.
pub fn accepts_method(takes: &str, method: &str) -> bool {
    method == takes || (method == "HEAD" && takes == "GET")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Head of a request.
    fn head(method: &str, url: &str, headers: &[(&str, &str)]) -> RequestHead {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RequestHead::new(method.to_owned(), url, headers).unwrap()
    }

    #[test]
    fn a_path_comes_through_as_the_runtime_wrote_it() {
        let rows = [
            ("http://h:8787/a%2Fb//c%2e?q=%C3%A9&x=/", "h:8787", "/a%2Fb//c%2e?q=%C3%A9&x=/"),
            ("https://h/", "h", "/"),
            ("https://h", "h", "/"),
            ("https://h?q", "h", "/?q"),
            ("http://[::1]:1/x#y", "[::1]:1", "/x"),
        ];
        for (url, host, target) in rows {
            let head = head("GET", url, &[]);
            assert_eq!((head.host.as_str(), head.target.as_str()), (host, target), "{url}");
        }
        assert!(RequestHead::new("GET".into(), "/relative", Vec::new()).is_none());
    }

    #[test]
    fn a_query_is_read_by_whole_names() {
        let url = "http://h/?xsince=1&since=2&since=3&limit=&%61ctor=a%20b+%C3%A9&flag#limit=4";
        let head = head("GET", url, &[]);
        let rows = [
            ("since", Some("2")),
            ("limit", Some("")),
            ("sinc", None),
            ("actor", Some("a b é")),
            ("flag", Some("")),
        ];
        for (name, expected) in rows {
            assert_eq!(head.query_param(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn an_origin_is_foreign_unless_it_is_the_one_we_were_reached_by() {
        let rows = [
            (None, None),
            (Some("https://h:8443"), None),
            (Some("http://h:8443"), Some("http://h:8443")),
            (Some("https://h"), Some("https://h")),
            (Some("https://h:8443.example.org"), Some("https://h:8443.example.org")),
            (Some("null"), Some("null")),
        ];
        for (origin, expected) in rows {
            let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let head = head("POST", "https://h:8443/predict", &headers);
            assert_eq!(head.foreign_origin(), expected, "{origin:?}");
        }
    }

    #[test]
    fn a_header_is_found_whatever_its_case_and_its_first_value_counts() {
        let headers = [("x-user-id", "a"), ("X-User-Id", "b"), ("x-user", "c")];
        let head = head("GET", "http://h/", &headers);
        assert_eq!(head.header("X-USER-ID"), Some("a"));
        assert_eq!(head.header("x-user-i"), None);
    }

    #[test]
    fn a_body_is_described_by_its_media_type_coding_and_length() {
        let read = |headers: &[(&str, &str)]| {
            let head = head("POST", "http://h/", headers);
            (head.is_json(), head.is_encoded(), head.content_length())
        };
        type Headers<'a> = &'a [(&'a str, &'a str)];
        type Row<'a> = (Headers<'a>, (bool, bool, Option<u64>));
        let rows: [Row<'_>; 8] = [
            (&[], (false, false, None)),
            (&[("content-type", "Application/JSON ; charset=utf-8")], (true, false, None)),
            (&[("content-type", "application/json-patch+json")], (false, false, None)),
            (&[("content-encoding", " Identity ")], (false, false, None)),
            (&[("content-encoding", "gzip")], (false, true, None)),
            (&[("content-encoding", "identity, gzip")], (false, true, None)),
            (&[("content-length", "18446744073709551615")], (false, false, Some(u64::MAX))),
            (&[("content-length", "-1")], (false, false, None)),
        ];
        for (headers, expected) in rows {
            assert_eq!(read(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_preflight_is_an_options_request_that_asks_for_a_method() {
        let (origin, method) = (("origin", "https://a"), ("access-control-request-method", "PUT"));
        assert!(head("OPTIONS", "http://h/", &[origin, method]).is_preflight());
        assert!(!head("OPTIONS", "http://h/", &[origin]).is_preflight());
        assert!(!head("OPTIONS", "http://h/", &[method]).is_preflight());
        assert!(!head("POST", "http://h/", &[origin, method]).is_preflight());
    }

    #[test]
    fn head_is_accepted_wherever_get_is_and_nowhere_else() {
        assert!(accepts_method("GET", "GET") && accepts_method("GET", "HEAD"));
        assert!(accepts_method("PUT", "PUT") && !accepts_method("PUT", "HEAD"));
        assert!(!accepts_method("GET", "get") && !accepts_method("HEAD", "GET"));
    }
}
