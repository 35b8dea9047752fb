//! Requests, bodies and responses of the Workers' runtime.
//!
//! Not a part of `wasm-host`: the browser module uses that crate, and one build of all programs would
//! link the runtime of the Workers into the module. On other targets this crate is empty.
#![cfg(target_family = "wasm")]

use futures_util::{Stream, StreamExt};
use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::JsValue;
use worker::worker_sys::web_sys;

use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;

/// Reads the head of a request; `None` if its URL is not absolute.
pub fn read_head(request: &web_sys::Request) -> Option<RequestHead> {
    RequestHead::new(request.method(), &request.url(), read_headers(request))
}

fn read_headers(request: &web_sys::Request) -> Vec<(String, String)> {
    let entries = js_sys::try_iter(&request.headers()).ok().flatten();
    let to_pair = |entry: JsValue| {
        let entry = Array::from(&entry);
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    let mut headers: Vec<_> =
        entries.into_iter().flatten().filter_map(|entry| to_pair(entry.ok()?)).collect();
    // The platform overwrites `accept-encoding` with its own list and keeps the client's in
    // `cf.clientAcceptEncoding`.
    let property = |object: &JsValue, name: &str| Reflect::get(object, &name.into()).ok();
    if let Some(cf) = property(request, "cf").filter(JsValue::is_object) {
        let accept_encoding =
            property(&cf, "clientAcceptEncoding").and_then(|value| value.as_string());
        headers.retain(|(name, _)| name != "accept-encoding");
        let accept_encoding = accept_encoding.filter(|value| !value.is_empty());
        headers.extend(accept_encoding.map(|value| ("accept-encoding".to_owned(), value)));
    }
    headers
}

/// Reads the chunks of a body and keeps at most `kept_bytes_max` bytes.
///
/// A longer body is read and dropped until it exceeds `read_bytes_max`: a caller that is answered in
/// the middle of its body may see a broken connection instead of the reply.
pub async fn read_chunks<E>(
    mut chunks: impl Stream<Item = Result<Vec<u8>, E>> + Unpin,
    kept_bytes_max: usize,
    read_bytes_max: usize,
) -> BodyRead {
    let mut body = Vec::new();
    let mut bytes_read = 0;
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return BodyRead::Broken };
        bytes_read += chunk.len();
        if bytes_read <= kept_bytes_max {
            body.extend_from_slice(&chunk);
        } else if bytes_read > read_bytes_max {
            break;
        }
    }
    if bytes_read > kept_bytes_max { BodyRead::TooLarge } else { BodyRead::Complete(body) }
}

/// Builds the runtime's response of a reply.
///
/// # Errors
/// Returns the runtime's exception if it refuses a header or the status.
pub fn to_response(reply: &HttpReply) -> Result<web_sys::Response, JsValue> {
    let init = web_sys::ResponseInit::new();
    init.set_status(reply.status);
    let headers = web_sys::Headers::new()?;
    for (name, value) in &reply.headers {
        headers.append(name, value)?;
    }
    init.set_headers(&headers);
    // A response of a status such as 204 takes no body, not even an empty one.
    let bytes = (!reply.body.is_empty()).then(|| Uint8Array::from(reply.body.as_slice()));
    web_sys::Response::new_with_opt_buffer_source_and_init(bytes.as_deref(), &init)
}
