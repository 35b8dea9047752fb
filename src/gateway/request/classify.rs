//! Head of a request, and the request kind that follows from it.
//!
//! The gateway decides by method, path and headers alone whether a request is a classify call, a
//! call of its own endpoints, or traffic to pass through. The body is not needed for this decision.

use crate::gateway::CLASSIFY_REQUEST_BYTES_MAX;
use crate::gateway::config::GatewaySettings;
use jeffrey_http_core::head::RequestHead;

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
    let is_chunked = head.header("transfer-encoding").is_some();
    head.is_json()
        && !head.is_encoded()
        && !is_chunked
        && head.content_length().is_some_and(|length| length <= CLASSIFY_REQUEST_BYTES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;

    #[test]
    fn only_short_plain_json_on_a_classify_path_is_held() {
        let settings = GatewaySettings::parse(&WorkerVariables::default());
        let json = ("content-type", "application/json");
        let length = ("content-length", "65536");
        let buffered = RequestKind::Classify { buffered: true };
        let streamed = RequestKind::Classify { buffered: false };
        type HeaderRows<'a> = &'a [(&'a str, &'a str)];
        let rows: [(&str, &str, HeaderRows<'_>, RequestKind<'_>); 17] = [
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
            ("POST", "/predict/", &[json, length], buffered),
            ("POST", "/%70redic%74//?x=1", &[json, length], buffered),
            ("POST", "/predict%2f", &[json, length], RequestKind::Proxy),
            ("POST", "/%70%zz%", &[json, length], RequestKind::Proxy),
            ("POST", "/_jeffreys", &[json, length], RequestKind::Proxy),
            ("POST", "/_jeffrey/health", &[json, length], RequestKind::Admin("/health")),
        ];
        for (method, target, headers, expected) in rows {
            let headers: Vec<_> =
                headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let url = format!("http://h{target}");
            let head = RequestHead::new(method.to_owned(), &url, headers.clone()).unwrap();
            assert_eq!(request_kind(&head, &settings), expected, "{method} {target} {headers:?}");
        }
    }
}
