//! Head of a request, and the request kind that follows from it.
//!
//! The gateway decides by method, path and headers alone whether a request is a classify call, a
//! call of its own endpoints, or traffic to pass through. The body is not needed for this decision.

use crate::gateway::CLASSIFY_REQUEST_BYTES_MAX;
use crate::gateway::config::GatewaySettings;
use crate::gateway::http::head::RequestHead;

/// Kind of a request, decided by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind<'a> {
    /// Classify call of the legacy system.
    Classify {
        /// Whether the body is unencoded JSON of at most [`CLASSIFY_REQUEST_BYTES_MAX`] bytes and
        /// is buffered. An unbuffered body is streamed to the legacy system.
        buffered: bool,
    },
    /// Any other request, which is passed through to the legacy system.
    Proxy,
    /// Request to an endpoint of the gateway: the path below the prefix, with its leading slash, or
    /// empty.
    Admin(&'a str),
}

/// Returns the kind of a request. The gateway's own prefix comes first, then the classify calls.
pub fn request_kind<'a>(head: &'a RequestHead, settings: &GatewaySettings) -> RequestKind<'a> {
    let path = head.path();
    if let Some(admin_path) = path.strip_prefix(settings.admin_prefix.as_str())
        && (admin_path.is_empty() || admin_path.starts_with('/'))
    {
        return RequestKind::Admin(admin_path);
    }
    if settings.contract.is_classify_call(&head.method, path) && !head.is_websocket() {
        return RequestKind::Classify { buffered: is_bufferable(head) };
    }
    RequestKind::Proxy
}

/// Returns whether the gateway buffers a body: JSON, not encoded, with a declared length within the
/// limit. The length of a chunked body is unknown before its end, so it is not buffered.
fn is_bufferable(head: &RequestHead) -> bool {
    let is_json = head.header("content-type").is_some_and(|content_type| {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    });
    let is_unencoded = head
        .header("content-encoding")
        .is_none_or(|encoding| encoding.trim().eq_ignore_ascii_case("identity"));
    let length = head.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = head.header("transfer-encoding").is_some();
    is_json
        && is_unencoded
        && !is_chunked
        && length.is_some_and(|length| length <= CLASSIFY_REQUEST_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::GatewayVariables;
    use crate::gateway::http::head::tests::head;

    #[test]
    fn only_short_plain_json_on_a_classify_path_is_held() {
        let settings = GatewaySettings::parse(&GatewayVariables::default());
        let json = ("content-type", "application/json");
        let length = ("content-length", "65536");
        let buffered = RequestKind::Classify { buffered: true };
        let streamed = RequestKind::Classify { buffered: false };
        type HeaderRows<'a> = &'a [(&'a str, &'a str)];
        let rows: [(&str, &str, HeaderRows<'_>, RequestKind<'_>); 14] = [
            ("POST", "/predict", &[json, length], buffered),
            ("POST", "/predict?x=1", &[json, length], buffered),
            (
                "POST",
                "/predict",
                &[("content-type", "Application/JSON; charset=utf-8"), length],
                buffered,
            ),
            ("POST", "/predict", &[json, length, ("content-encoding", "identity")], buffered),
            ("POST", "/predict", &[json, ("content-length", "65537")], streamed),
            ("POST", "/predict", &[json, ("content-length", "-1")], streamed),
            ("POST", "/predict", &[json], streamed),
            ("POST", "/predict", &[json, length, ("transfer-encoding", "chunked")], streamed),
            ("POST", "/predict", &[json, length, ("content-encoding", "gzip")], streamed),
            ("POST", "/predict", &[("content-type", "text/plain"), length], streamed),
            ("GET", "/predict", &[], RequestKind::Proxy),
            ("POST", "/predict/", &[json, length], RequestKind::Proxy),
            ("POST", "/_jeffreys", &[json, length], RequestKind::Proxy),
            ("POST", "/_jeffrey/health", &[json, length], RequestKind::Admin("/health")),
        ];
        for (method, target, headers, expected) in rows {
            let head = head(method, &format!("http://h{target}"), headers);
            assert_eq!(request_kind(&head, &settings), expected, "{method} {target} {headers:?}");
        }
    }
}
