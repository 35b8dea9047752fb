//! Requests out and answers back, as the runtime has them: bodies stay streams, and what nobody reads
//! is passed on as it is.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use std::pin::pin;
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;
use worker::{AbortController, Delay, Env};

use jeffrey_edge::gate::forward::Changes;
use jeffrey_edge::gate::own::Reply;

#[wasm_bindgen]
extern "C" {
    /// Anything with a `fetch`: a service binding, or a Durable Object's stub.
    #[derive(Clone)]
    pub(super) type Binding;

    #[wasm_bindgen(method, catch, js_name = fetch)]
    fn fetch_bound(this: &Binding, request: &web_sys::Request) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = fetch)]
    fn fetch_global(request: &web_sys::Request) -> Result<Promise, JsValue>;
}

/// Where a request goes.
#[derive(Clone)]
pub(super) enum Target {
    /// By URL, over the network.
    Network,
    /// To another worker.
    Bound(Binding),
}

/// Why there is no answer. The platform's message is not kept: it may hold a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection failed, or the other end is away.
    Failed,
    /// It took too long.
    Late,
}

/// A service binding of this name, if there is one.
pub(super) fn binding(env: &Env, name: &str) -> Option<Binding> {
    env.service(name).ok().map(worker::Fetcher::into_rpc)
}

/// A request's body on its way out.
pub(super) enum Outgoing<'a> {
    /// Bytes that are held.
    Held(&'a [u8]),
    /// What comes in, with this request.
    Stream(&'a web_sys::Request),
    /// No body.
    None,
}

/// Everything about a request that goes out.
pub(super) struct Parts<'a> {
    /// That of the request whose body is streamed, where one is.
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a web_sys::Headers,
    pub(super) body: Outgoing<'a>,
}

impl Parts<'_> {
    /// Sends it and waits for the head of the answer, at most so long where a limit is given.
    pub(super) async fn send(
        self,
        target: &Target,
        within_ms: Option<u64>,
    ) -> Result<web_sys::Response, NoAnswer> {
        let controller = AbortController::default();
        let init = web_sys::RequestInit::new();
        init.set_headers(self.headers);
        // A redirect is the caller's to follow.
        init.set_redirect(web_sys::RequestRedirect::Manual);
        if let Outgoing::Held(bytes) = self.body {
            init.set_body(&Uint8Array::from(bytes));
        }
        let signal = controller.signal();
        init.set_signal(Some(&signal));
        let request = match self.body {
            // A request made from a request may be GET and have a body; one made from `init` may not.
            Outgoing::Stream(incoming) => {
                let incoming = incoming.unchecked_ref::<web_sys::RequestInit>();
                web_sys::Request::new_with_str_and_init(self.url, incoming).and_then(|incoming| {
                    web_sys::Request::new_with_request_and_init(&incoming, &init)
                })
            }
            Outgoing::Held(_) | Outgoing::None => {
                init.set_method(self.method);
                web_sys::Request::new_with_str_and_init(self.url, &init)
            }
        };
        let request = request.map_err(|_| NoAnswer::Failed)?;
        let promise = match target {
            Target::Network => fetch_global(&request),
            Target::Bound(binding) => binding.fetch_bound(&request),
        };
        let promise = promise.map_err(|_| NoAnswer::Failed)?;
        let answer = async {
            let response = JsFuture::from(promise).await.map_err(|_| NoAnswer::Failed)?;
            response.dyn_into().map_err(|_| NoAnswer::Failed)
        };
        let Some(within_ms) = within_ms else { return answer.await };
        match before(within_ms, answer).await {
            Some(answer) => answer,
            None => {
                controller.abort();
                Err(NoAnswer::Late)
            }
        }
    }
}

/// The outcome of a future, or nothing when it takes longer.
pub(super) async fn before<T>(within_ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let delay = Delay::from(Duration::from_millis(within_ms));
    match select(pin!(future), pin!(delay)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// Waits.
pub(super) async fn pause(ms: u64) {
    Delay::from(Duration::from_millis(ms)).await;
}

/// The headers of a request with the changes for the next hop.
pub(super) fn changed(
    headers: &web_sys::Headers,
    changes: &Changes,
) -> Result<web_sys::Headers, NoAnswer> {
    let copy = web_sys::Headers::new_with_headers(headers).map_err(|_| NoAnswer::Failed)?;
    for name in &changes.remove {
        copy.delete(name).map_err(|_| NoAnswer::Failed)?;
    }
    for (name, value) in &changes.set {
        copy.set(name, value).map_err(|_| NoAnswer::Failed)?;
    }
    Ok(copy)
}

/// What was read of a body.
pub(super) enum Read {
    /// The stream broke.
    Broken,
    /// More than the limit; reading stopped there.
    TooLarge,
    /// All of it.
    Whole(Vec<u8>),
}

/// Reads a stream up to a limit. A body that is not there is empty.
pub(super) async fn read(stream: Option<web_sys::ReadableStream>, bytes_max: usize) -> Read {
    let mut whole = Vec::new();
    let Some(stream) = stream else { return Read::Whole(whole) };
    // `worker` turns a stream into Rust's only as the body of something.
    let Ok(body) = web_sys::Response::new_with_opt_readable_stream(Some(&stream)) else {
        return Read::Broken;
    };
    let Ok(mut chunks) = worker::Response::from(body).stream() else { return Read::Broken };
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return Read::Broken };
        if whole.len() + chunk.len() > bytes_max {
            return Read::TooLarge;
        }
        whole.extend_from_slice(&chunk);
    }
    Read::Whole(whole)
}

/// What somebody on the network said to a body.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    /// Empty where it was not read whole: the head has said what counts.
    pub(super) body: Vec<u8>,
}

/// Why there is nothing.
pub(super) enum Unsaid {
    /// A header of ours cannot be one.
    Headers,
    /// No answer in time, or at all.
    NoAnswer,
}

/// Posts a body of a content type, and waits at most so long for the head and again for the body.
pub(super) async fn post(
    (url, authorization): (&str, Option<&str>),
    (kind, body): (&str, &[u8]),
    within_ms: u64,
    bytes_max: usize,
) -> Result<Said, Unsaid> {
    let headers = web_sys::Headers::new().map_err(|_| Unsaid::NoAnswer)?;
    let authorization = authorization.map(|value| ("authorization", value));
    for (name, value) in [("content-type", kind)].into_iter().chain(authorization) {
        headers.set(name, value).map_err(|_| Unsaid::Headers)?;
    }
    let parts = Parts { method: "POST", url, headers: &headers, body: Outgoing::Held(body) };
    let response = parts.send(&Target::Network, Some(within_ms)).await;
    let response = response.map_err(|_| Unsaid::NoAnswer)?;
    let retry_after = response.headers().get("retry-after").ok().flatten();
    let body = match before(within_ms, read(response.body(), bytes_max)).await {
        Some(Read::Whole(body)) => body,
        _ => Vec::new(),
    };
    Ok(Said { status: response.status(), retry_after, body })
}

/// Asks the Durable Object of a name, and reads its whole answer, at most so long for its head and again for
/// its body. An answer of 500 or above is none.
pub(super) async fn ask_object(
    env: &Env,
    (namespace, name): (&str, &str),
    (method, url): (&str, &str),
    body: Outgoing<'_>,
    within_ms: u64,
    bytes_max: usize,
) -> Result<(u16, Vec<u8>), NoAnswer> {
    let failed = |_| NoAnswer::Failed;
    let stub = env.durable_object(namespace).map_err(failed)?.get_by_name(name).map_err(failed)?;
    let target = Target::Bound(stub.into_rpc::<Binding>());
    let headers = web_sys::Headers::new().map_err(|_| NoAnswer::Failed)?;
    let parts = Parts { method, url, headers: &headers, body };
    let response = parts.send(&target, Some(within_ms)).await?;
    match before(within_ms, read(response.body(), bytes_max)).await {
        Some(Read::Whole(body)) if response.status() < 500 => Ok((response.status(), body)),
        Some(_) => Err(NoAnswer::Failed),
        None => Err(NoAnswer::Late),
    }
}

/// An answer with headers that may be changed; status, text and stream stay.
pub(super) fn mutable(response: &web_sys::Response) -> Result<web_sys::Response, JsValue> {
    // `new Response(body, response)`: a response serves as its own description.
    let init = response.unchecked_ref::<web_sys::ResponseInit>();
    web_sys::Response::new_with_opt_readable_stream_and_init(response.body().as_ref(), init)
}

/// An answer of ours.
pub(super) fn response(
    status: u16,
    headers: &[(&str, String)],
    body: &[u8],
) -> Result<web_sys::Response, JsValue> {
    let init = web_sys::ResponseInit::new();
    init.set_status(status);
    let list = web_sys::Headers::new()?;
    for (name, value) in headers {
        list.append(name, value)?;
    }
    init.set_headers(&list);
    let bytes = Uint8Array::from(body);
    web_sys::Response::new_with_opt_buffer_source_and_init(Some(&bytes), &init)
}

/// A reply of ours.
pub(super) fn reply(reply: &Reply) -> Result<web_sys::Response, JsValue> {
    response(reply.status, &reply.headers, &reply.body)
}
