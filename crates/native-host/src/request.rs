//! One incoming request, in memory.

use std::rc::Rc;

use futures_util::Stream;

use crate::platform::{IsolateHost, Platform, RecordedRequest};
use crate::response::StoredResponse;
use jeffrey_gateway_service::host::FetchError;
use jeffrey_gateway_service::request::GatewayRequest;
use jeffrey_gateway_service::request_host::{LegacyFetch, PageSource, RateLimiter, RequestHost};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;

/// An incoming request of an isolate.
#[derive(Clone)]
pub struct IncomingRequest {
    host: IsolateHost,
    head: RequestHead,
    /// `None` if the client breaks the connection off.
    body: Option<Rc<Vec<u8>>>,
}

impl IncomingRequest {
    /// Creates a request to an isolate. `head` has its method, URL and headers.
    pub fn new(host: IsolateHost, head: RequestHead, body: &[u8]) -> Self {
        Self { host, head, body: Some(Rc::new(body.to_vec())) }
    }

    /// Lets the client break the connection off while it sends the body.
    #[must_use]
    pub fn with_broken_body(self) -> Self {
        Self { body: None, ..self }
    }

    /// Answers the request as the gateway Worker does.
    ///
    /// # Errors
    /// Returns [`FetchError::Failed`] if the response that says what failed cannot be built.
    pub async fn respond(self) -> Result<StoredResponse, FetchError> {
        let head = self.head.clone();
        GatewayRequest::new(self, head).respond().await
    }

    fn platform(&self) -> &Rc<Platform> {
        self.host.platform()
    }
}

jeffrey_gateway_service::forward_host!(IncomingRequest, host);

impl RequestHost for IncomingRequest {
    type Response = StoredResponse;

    async fn read_body(&self, bytes_max: usize) -> BodyRead {
        match &self.body {
            None => BodyRead::Broken,
            Some(body) if body.len() > bytes_max => BodyRead::TooLarge,
            Some(body) => BodyRead::Complete(body.to_vec()),
        }
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        self.platform().spawn(future);
    }

    async fn is_over_limit(&self, limiter: RateLimiter, key: String) -> bool {
        self.platform().count_limited_call(limiter, key)
    }

    fn has_legacy_binding(&self) -> bool {
        false
    }

    async fn fetch_legacy(&self, fetch: LegacyFetch<'_>) -> Result<StoredResponse, FetchError> {
        let changes = fetch.header_changes;
        let is_replaced = |name: &String| {
            changes.remove.contains(name) || changes.set.iter().any(|(key, _)| key == name)
        };
        let kept = self.head.headers.iter().filter(|(name, _)| !is_replaced(name)).cloned();
        let set = changes.set.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let request = RecordedRequest {
            url: fetch.url.to_owned(),
            method: self.head.method.clone(),
            headers: kept.chain(set).collect(),
            body: match (fetch.buffered, &self.body) {
                (Some(body), _) => body.to_vec(),
                (None, Some(body)) => body.to_vec(),
                (None, None) => Vec::new(),
            },
        };
        self.platform().fetch_legacy(request)
    }

    async fn fetch_page_file(
        &self,
        source: PageSource,
        path: &str,
        _timeout_ms: u64,
    ) -> Result<StoredResponse, FetchError> {
        let text = format!("{source:?} {path}");
        Ok(StoredResponse::new(200, &[("content-type", "text/plain")], text.as_bytes()))
    }

    fn new_response(&self, response: &HttpReply) -> Result<StoredResponse, FetchError> {
        Ok(StoredResponse::from_reply(response))
    }

    fn stream_response(
        &self,
        headers: &[(&str, &str)],
        chunks: impl Stream<Item = Vec<u8>> + 'static,
    ) -> Result<StoredResponse, FetchError> {
        Ok(StoredResponse::new(200, headers, &[]).with_stream(chunks))
    }
}
