//! Method, URL and headers of an incoming request.

/// Method, URL and headers of a request, without its body.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// HTTP method, as the client sent it.
    pub method: String,
    /// `http` or `https`: the scheme of the client's request to the gateway.
    pub scheme: String,
    /// Host and port of the gateway, as the client wrote them in the URL.
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

    /// Returns the first value of a header; `name` must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the first value of a query parameter, without percent-decoding it.
    pub fn query_param(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns the `Origin` header if it differs from the origin under which the client reached the
    /// gateway; `None` for a same-origin request or without the header.
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
}

#[cfg(test)]
pub(in crate::gateway) mod tests {
    use super::*;

    /// Head of a request.
    pub(in crate::gateway) fn head(
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
    ) -> RequestHead {
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
        let head = head("GET", "http://h/?xsince=1&since=2&since=3&limit=#limit=4", &[]);
        assert_eq!(head.query_param("since"), Some("2"));
        assert_eq!(head.query_param("limit"), Some(""));
        assert_eq!(head.query_param("sinc"), None);
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
}
