//! One incoming request on Cloudflare's runtime: body, streamed responses, limiters, files.

use std::rc::Rc;

use futures_util::{Stream, StreamExt};
use worker::Context;
use worker::worker_sys::ext::HeadersExt;
use worker::worker_sys::web_sys;

use super::host::WorkerHost;
use super::http::{self, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_gateway_service::forward_host;
use jeffrey_gateway_service::host::FetchError;
use jeffrey_gateway_service::request_host::{
    HeaderChange, LegacyFetch, PageSource, RateLimiter, RequestHost, StreamedResponse,
};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_worker_http::{read_head, to_response};

/// The platform of one request.
#[derive(Clone)]
pub(super) struct WorkerRequest {
    host: WorkerHost,
    request: web_sys::Request,
    context: Rc<Context>,
}

impl WorkerRequest {
    pub(super) fn new(host: WorkerHost, request: web_sys::Request, context: Context) -> Self {
        Self { host, request, context: Rc::new(context) }
    }

    /// Returns the request's head; `None` if its URL is not absolute.
    pub(super) fn head(&self) -> Option<RequestHead> {
        read_head(&self.request)
    }
}

forward_host!(WorkerRequest, host);

/// A response of the runtime.
pub(super) struct WorkerResponse(pub(super) web_sys::Response);

impl StreamedResponse for WorkerResponse {
    fn status(&self) -> u16 {
        self.0.status()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.0.headers().get(name).ok().flatten()
    }

    fn cookies(&self) -> Vec<String> {
        let cookies = self.0.headers().get_all("set-cookie");
        cookies.iter().filter_map(|cookie| cookie.as_string()).collect()
    }

    fn change_headers(self, changes: &[HeaderChange]) -> Self {
        if changes.is_empty() {
            return self;
        }
        let Ok(copy) = http::clone_mutable(&self.0) else { return self };
        let headers = copy.headers();
        for change in changes {
            let _ = match change {
                HeaderChange::Append(name, value) => headers.append(name, value),
                HeaderChange::Remove(name) => headers.delete(name),
                HeaderChange::Set(name, value) => headers.set(name, value),
            };
        }
        Self(copy)
    }

    fn split(&mut self) -> Option<Self> {
        self.0.clone().ok().map(Self)
    }

    async fn read(self, bytes_max: usize) -> BodyRead {
        http::read_body(self.0.body(), bytes_max).await
    }
}

impl RequestHost for WorkerRequest {
    type Response = WorkerResponse;

    async fn read_body(&self, bytes_max: usize) -> BodyRead {
        http::read_body(self.request.body(), bytes_max).await
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        self.context.wait_until(future);
    }

    async fn is_over_limit(&self, limiter: RateLimiter, key: String) -> bool {
        let binding = match limiter {
            RateLimiter::Address => "ADDRESS_LIMIT",
            RateLimiter::Subject => "SUBJECT_LIMIT",
        };
        let Ok(limiter) = self.host.env().rate_limiter(binding) else { return false };
        limiter.limit(key).await.is_ok_and(|outcome| !outcome.success)
    }

    fn has_legacy_binding(&self) -> bool {
        http::service_binding(self.host.env(), http::LEGACY_BINDING).is_some()
    }

    async fn fetch_legacy(&self, fetch: LegacyFetch<'_>) -> Result<WorkerResponse, FetchError> {
        let target = match http::service_binding(self.host.env(), http::LEGACY_BINDING) {
            Some(binding) => FetchTarget::Binding(binding),
            None => FetchTarget::Network,
        };
        let headers = http::apply_header_changes(&self.request.headers(), fetch.header_changes)?;
        let body = match (fetch.buffered, self.request.body()) {
            (Some(bytes), _) => OutboundBody::Buffered(bytes),
            (None, Some(_)) => OutboundBody::Stream(&self.request),
            (None, None) => OutboundBody::None,
        };
        let method = self.request.method();
        let outbound = OutboundRequest { method: &method, url: fetch.url, headers: &headers, body };
        outbound.send(&target, fetch.timeout_ms).await.map(WorkerResponse)
    }

    async fn fetch_page_file(
        &self,
        source: PageSource,
        path: &str,
        timeout_ms: u64,
    ) -> Result<WorkerResponse, FetchError> {
        let (binding, origin) = match source {
            PageSource::Assets => ("ASSETS", "http://assets"),
            PageSource::Model => (http::MODEL_BINDING, "http://model"),
        };
        let binding = http::service_binding(self.host.env(), binding).ok_or(FetchError::Failed)?;
        let headers = http::new_headers(&[])?;
        let (url, body) = (format!("{origin}{path}"), OutboundBody::None);
        let outbound = OutboundRequest { method: "GET", url: &url, headers: &headers, body };
        outbound.send(&FetchTarget::Binding(binding), Some(timeout_ms)).await.map(WorkerResponse)
    }

    fn new_response(&self, response: &HttpReply) -> Result<WorkerResponse, FetchError> {
        to_response(response).map(WorkerResponse).map_err(|_| FetchError::Failed)
    }

    fn stream_response(
        &self,
        headers: &[(&str, &str)],
        chunks: impl Stream<Item = Vec<u8>> + 'static,
    ) -> Result<WorkerResponse, FetchError> {
        let chunks = chunks.map(Ok::<_, worker::Error>);
        let response = worker::Response::from_stream(chunks).map_err(|_| FetchError::Failed)?;
        for (name, value) in headers {
            response.headers().set(name, value).map_err(|_| FetchError::InvalidHeader)?;
        }
        Ok(WorkerResponse(response.into()))
    }
}
