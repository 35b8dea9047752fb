//! Outgoing requests and incoming responses, with the runtime's own types.
//!
//! Bodies stay streams, and a body that this Worker does not read passes through unchanged. Every
//! read has a size limit. Errors hold no message of the platform, because it may quote a URL.

use std::time::Duration;

use futures_util::future::{Either, select};
use std::pin::pin;
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::ext::HeadersExt;
use worker::worker_sys::web_sys;
use worker::{AbortController, Delay, Env};

use super::binding::Binding;
use super::call::Call;
use jeffrey_edge::gateway::request::forwarded_headers::HeaderChanges;
use jeffrey_gateway_service::host::FetchError;
use jeffrey_http_core::body::BodyRead;
use jeffrey_worker_http::read_chunks;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    fn fetch_global(request: &web_sys::Request) -> Result<Promise, JsValue>;
}

/// Destination of an outgoing request.
#[derive(Clone)]
pub(super) enum FetchTarget {
    /// The URL's host, over the network.
    Network,
    /// Another Worker or a Durable Object, whatever the URL's host.
    Binding(Binding),
    /// The legacy system, which gets the request that this call is about.
    Legacy(Call, Option<Binding>),
}

/// Name of the binding of a legacy system that is a Worker.
pub(super) const LEGACY_BINDING: &str = "LEGACY";

/// Name of the binding of the model worker.
pub(super) const MODEL_BINDING: &str = "MODEL";

/// Body of an outgoing request.
pub(super) enum OutboundBody<'a> {
    /// Bytes that are in memory.
    Buffered(&'a [u8]),
    /// The stream of this incoming request, passed on unread.
    Stream(&'a web_sys::Request),
    /// The request has no body.
    None,
}

/// An outgoing request, ready to send.
pub(super) struct OutboundRequest<'a> {
    /// HTTP method; a streamed body keeps the method of its own request instead.
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a web_sys::Headers,
    pub(super) body: OutboundBody<'a>,
}

impl OutboundRequest<'_> {
    /// Sends the request and waits for the response's head, for at most `timeout_ms` if it is set.
    pub(super) async fn send(
        self,
        target: &FetchTarget,
        timeout_ms: Option<u64>,
    ) -> Result<web_sys::Response, FetchError> {
        self.start(target)?.response(timeout_ms).await
    }

    /// Sends the request; the response is awaited by [`Exchange::response`].
    pub(super) fn start(self, target: &FetchTarget) -> Result<Exchange, FetchError> {
        let controller = AbortController::default();
        let init = web_sys::RequestInit::new();
        init.set_headers(self.headers);
        // The caller follows redirects, not the gateway.
        init.set_redirect(web_sys::RequestRedirect::Manual);
        if let OutboundBody::Buffered(bytes) = self.body {
            init.set_body(&Uint8Array::from(bytes));
        }
        let signal = controller.signal();
        init.set_signal(Some(&signal));
        let request = match self.body {
            // A request made from a request may be a GET with a body; one made from `init` may not.
            OutboundBody::Stream(incoming) => {
                let incoming = incoming.unchecked_ref::<web_sys::RequestInit>();
                web_sys::Request::new_with_str_and_init(self.url, incoming).and_then(|incoming| {
                    web_sys::Request::new_with_request_and_init(&incoming, &init)
                })
            }
            OutboundBody::Buffered(_) | OutboundBody::None => {
                init.set_method(self.method);
                web_sys::Request::new_with_str_and_init(self.url, &init)
            }
        };
        let request = request.map_err(|_| FetchError::Failed)?;
        let promise = match target {
            FetchTarget::Network => fetch_global(&request),
            FetchTarget::Binding(binding) => binding.fetch_bound(&request),
            FetchTarget::Legacy(call, binding) => call.send_upstream(&request, binding.clone()),
        };
        let promise = promise.map_err(|_| FetchError::Failed)?;
        Ok(Exchange { promise, controller })
    }
}

/// A request that was sent.
pub(super) struct Exchange {
    promise: Promise,
    controller: AbortController,
}

impl Exchange {
    /// Waits for the response's head, for at most `timeout_ms` if it is set.
    pub(super) async fn response(
        self,
        timeout_ms: Option<u64>,
    ) -> Result<web_sys::Response, FetchError> {
        let head = async {
            let response = JsFuture::from(self.promise).await.map_err(|_| FetchError::Failed)?;
            response.dyn_into().map_err(|_| FetchError::Failed)
        };
        let Some(timeout_ms) = timeout_ms else { return head.await };
        match with_timeout(timeout_ms, head).await {
            Some(result) => result,
            None => {
                self.controller.abort();
                Err(FetchError::TimedOut)
            }
        }
    }
}

/// Returns a future's output; `None` if it takes longer than `timeout_ms`.
pub(super) async fn with_timeout<T>(timeout_ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let delay = Delay::from(Duration::from_millis(timeout_ms));
    match select(pin!(future), pin!(delay)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// Waits for `ms` milliseconds.
pub(super) async fn sleep(ms: u64) {
    Delay::from(Duration::from_millis(ms)).await;
}

/// Returns a copy of a request's headers with the changes for the next hop.
pub(super) fn apply_header_changes(
    headers: &web_sys::Headers,
    changes: &HeaderChanges,
) -> Result<web_sys::Headers, FetchError> {
    let copy = web_sys::Headers::new_with_headers(headers).map_err(|_| FetchError::Failed)?;
    for name in &changes.remove {
        copy.delete(name).map_err(|_| FetchError::Failed)?;
    }
    for (name, value) in &changes.set {
        copy.set(name, value).map_err(|_| FetchError::Failed)?;
    }
    Ok(copy)
}

/// Reads a stream of at most `bytes_max` bytes. A missing stream counts as an empty body.
pub(super) async fn read_body(
    stream: Option<web_sys::ReadableStream>,
    bytes_max: usize,
) -> BodyRead {
    let Some(stream) = stream else { return BodyRead::Complete(Vec::new()) };
    // The `worker` crate converts a stream only as the body of a response.
    let Ok(body) = web_sys::Response::new_with_opt_readable_stream(Some(&stream)) else {
        return BodyRead::Broken;
    };
    let Ok(chunks) = worker::Response::from(body).stream() else { return BodyRead::Broken };
    read_chunks(chunks, bytes_max, bytes_max).await
}

/// Returns the values of all `set-cookie` headers.
pub(super) fn read_cookies(headers: &web_sys::Headers) -> Vec<String> {
    headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.as_string()).collect()
}

/// Builds headers from names and values.
pub(super) fn new_headers(pairs: &[(&str, &str)]) -> Result<web_sys::Headers, FetchError> {
    let headers = web_sys::Headers::new().map_err(|_| FetchError::Failed)?;
    for (name, value) in pairs {
        headers.set(name, value).map_err(|_| FetchError::InvalidHeader)?;
    }
    Ok(headers)
}

/// Sends a message to the Durable Object of a name and reads its whole reply. `timeout_ms` limits
/// the wait for the head, and again the wait for the body. A status other than 200 is an error.
pub(super) async fn call_object(
    env: &Env,
    (namespace, name): (&str, &str),
    message: &[u8],
    timeout_ms: u64,
    reply_bytes_max: usize,
) -> Result<Vec<u8>, FetchError> {
    let failed = |_| FetchError::Failed;
    let stub = env.durable_object(namespace).map_err(failed)?.get_by_name(name).map_err(failed)?;
    let target = FetchTarget::Binding(stub.into_rpc::<Binding>());
    let headers = new_headers(&[])?;
    let body = OutboundBody::Buffered(message);
    let outbound =
        OutboundRequest { method: "POST", url: "http://object/", headers: &headers, body };
    let response = outbound.send(&target, Some(timeout_ms)).await?;
    match with_timeout(timeout_ms, read_body(response.body(), reply_bytes_max)).await {
        Some(BodyRead::Complete(body)) if response.status() == 200 => Ok(body),
        Some(_) => Err(FetchError::Failed),
        None => Err(FetchError::TimedOut),
    }
}

/// Copies a response so that its headers can be changed; status, text and stream stay.
pub(super) fn clone_mutable(response: &web_sys::Response) -> Result<web_sys::Response, JsValue> {
    // `new Response(body, response)`: the original response serves as `init`.
    let init = response.unchecked_ref::<web_sys::ResponseInit>();
    web_sys::Response::new_with_opt_readable_stream_and_init(response.body().as_ref(), init)
}
