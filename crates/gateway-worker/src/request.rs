//! One incoming request on Cloudflare's runtime: body, streamed responses, limiters, files.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::{Stream, StreamExt};
use worker::js_sys::futures::{JsFuture, future_to_promise};
use worker::js_sys::{Reflect, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use super::binding::service_binding;
use super::call::Call;
use super::host::WorkerHost;
use super::http::{self, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_edge::gateway::request::forwarded_headers::HeaderChanges;
use jeffrey_edge::gateway::request::subject_trust::ClientCertificate;
use jeffrey_gateway_service::forward_host;
use jeffrey_gateway_service::host::{FetchError, Host};
use jeffrey_gateway_service::request_host::{
    HeaderChange, LegacyFetch, PageSource, RateLimiter, RequestHost, StreamedResponse,
};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_worker_http::{read_head, to_response};

/// Header that names the place where a request is to panic, if `JEFFREY_FAULT_INJECTION` is on.
const PLANTED_PANIC_HEADER: &str = "x-jeffrey-panic";

/// The platform of one request.
#[derive(Clone)]
pub(super) struct WorkerRequest {
    host: WorkerHost,
    call: Call,
    request: web_sys::Request,
    /// Headers of the forwarded request, once they are known.
    forwarded_headers: Rc<RefCell<Option<web_sys::Headers>>>,
}

impl WorkerRequest {
    /// Reads the head of a call's request. Fails if its URL is not absolute.
    pub(super) fn read(call: Call) -> Result<(Self, RequestHead), JsValue> {
        let request = call.request();
        let head = read_head(&request).ok_or_else(|| JsValue::from_str("no absolute URL"))?;
        let mut host = WorkerHost::new(call.env());
        if host.settings().fault_injection_enabled {
            host.planted_panic = head.header(PLANTED_PANIC_HEADER).map(Rc::from);
        }
        let forwarded_headers = Rc::default();
        Ok((Self { host, call, request, forwarded_headers }, head))
    }

    /// Panics if the request asks for it, for tests.
    pub(super) fn panic_if_planted(&self, place: &str) {
        self.host.panic_if_planted(place);
    }
}

forward_host!(WorkerRequest, host);

/// A response of the runtime.
pub(super) struct WorkerResponse {
    response: web_sys::Response,
    /// Call of which this is the legacy system's response.
    call: Option<Call>,
}

impl WorkerResponse {
    pub(super) fn into_inner(self) -> web_sys::Response {
        self.response
    }
}

impl From<web_sys::Response> for WorkerResponse {
    fn from(response: web_sys::Response) -> Self {
        Self { response, call: None }
    }
}

impl StreamedResponse for WorkerResponse {
    fn status(&self) -> u16 {
        self.response.status()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.response.headers().get(name).ok().flatten()
    }

    fn cookies(&self) -> Vec<String> {
        http::read_cookies(&self.response.headers())
    }

    fn change_headers(self, changes: &[HeaderChange]) -> Self {
        if changes.is_empty() {
            return self;
        }
        let Ok(copy) = http::clone_mutable(&self.response) else { return self };
        let headers = copy.headers();
        for change in changes {
            let _ = match change {
                HeaderChange::Append(name, value) => headers.append(name, value),
                HeaderChange::Remove(name) => headers.delete(name),
                HeaderChange::Set(name, value) => headers.set(name, value),
            };
        }
        if let Some(call) = &self.call {
            call.keep_response(&copy);
        }
        Self { response: copy, call: self.call }
    }

    fn split(&mut self) -> Option<Self> {
        self.response.clone().ok().map(Self::from)
    }

    async fn read(self, bytes_max: usize) -> BodyRead {
        http::read_body(self.response.body(), bytes_max).await
    }
}

impl RequestHost for WorkerRequest {
    type Response = WorkerResponse;

    fn prepare_forward(&self, url: &str, changes: &HeaderChanges) {
        let Ok(headers) = http::apply_header_changes(&self.request.headers(), changes) else {
            return;
        };
        self.call.prepare_forward(url, &headers);
        self.forwarded_headers.replace(Some(headers));
    }

    fn client_certificate(&self) -> Option<ClientCertificate> {
        let property = |object: &JsValue, name| Reflect::get(object, &JsValue::from_str(name)).ok();
        let platform = property(&self.request, "cf").filter(JsValue::is_object)?;
        let certificate = property(&platform, "tlsClientAuth").filter(JsValue::is_object)?;
        let text = |name| property(&certificate, name).and_then(|value| value.as_string());
        Some(ClientCertificate {
            presented: text("certPresented").unwrap_or_default(),
            verified: text("certVerified").unwrap_or_default(),
            revoked: text("certRevoked").unwrap_or_default(),
        })
    }

    async fn read_body(&self, bytes_max: usize) -> BodyRead {
        let bytes = JsFuture::from(self.call.read_body(bytes_max)).await;
        self.panic_if_planted("body");
        match bytes.map(|bytes| bytes.dyn_into::<Uint8Array>()) {
            Ok(Ok(bytes)) => BodyRead::Complete(bytes.to_vec()),
            Ok(Err(_)) => BodyRead::TooLarge,
            Err(_) => BodyRead::Broken,
        }
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        let this = self.clone();
        self.call.wait_until(&future_to_promise(async move {
            this.panic_if_planted("background");
            future.await;
            Ok(JsValue::UNDEFINED)
        }));
    }

    async fn is_over_limit(&self, limiter: RateLimiter, key: String) -> bool {
        let binding = match limiter {
            RateLimiter::Address => "ADDRESS_LIMIT",
            RateLimiter::Subject => "SUBJECT_LIMIT",
        };
        self.panic_if_planted("limit");
        let Ok(limiter) = self.host.env().rate_limiter(binding) else { return false };
        limiter.limit(key).await.is_ok_and(|outcome| !outcome.success)
    }

    fn has_legacy_binding(&self) -> bool {
        service_binding(self.host.env(), http::LEGACY_BINDING).is_some()
    }

    async fn fetch_legacy(&self, fetch: LegacyFetch<'_>) -> Result<WorkerResponse, FetchError> {
        self.panic_if_planted("legacy");
        let binding = service_binding(self.host.env(), http::LEGACY_BINDING);
        let target = FetchTarget::Legacy(self.call.clone(), binding);
        let headers = match self.forwarded_headers.take() {
            Some(headers) => headers,
            None => http::apply_header_changes(&self.request.headers(), fetch.header_changes)?,
        };
        let body = match (fetch.buffered, self.request.body()) {
            (Some(bytes), _) => OutboundBody::Buffered(bytes),
            (None, Some(_)) => OutboundBody::Stream(&self.request),
            (None, None) => OutboundBody::None,
        };
        let method = self.request.method();
        let outbound = OutboundRequest { method: &method, url: fetch.url, headers: &headers, body };
        let exchange = outbound.start(&target)?;
        self.panic_if_planted("legacy_sent");
        let response = exchange.response(fetch.timeout_ms).await?;
        self.panic_if_planted("legacy_response");
        Ok(WorkerResponse { response, call: Some(self.call.clone()) })
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
        let binding = service_binding(self.host.env(), binding).ok_or(FetchError::Failed)?;
        let headers = http::new_headers(&[])?;
        let (url, body) = (format!("{origin}{path}"), OutboundBody::None);
        let outbound = OutboundRequest { method: "GET", url: &url, headers: &headers, body };
        outbound
            .send(&FetchTarget::Binding(binding), Some(timeout_ms))
            .await
            .map(WorkerResponse::from)
    }

    fn new_response(&self, response: &HttpReply) -> Result<WorkerResponse, FetchError> {
        self.panic_if_planted("response");
        to_response(response).map(WorkerResponse::from).map_err(|_| FetchError::Failed)
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
        Ok(WorkerResponse::from(web_sys::Response::from(response)))
    }
}
