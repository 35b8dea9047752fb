//! The JavaScript object through which a request is read and answered (`guard.js`).

use worker::Env;
use worker::js_sys::Promise;
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use super::binding::Binding;

#[wasm_bindgen]
extern "C" {
    /// One request, and how far its answer came.
    #[derive(Clone)]
    pub type Call;

    #[wasm_bindgen(method, getter)]
    pub(super) fn request(this: &Call) -> web_sys::Request;

    #[wasm_bindgen(method, getter)]
    pub(super) fn env(this: &Call) -> Env;

    /// Sets what is forwarded if this instance dies before it forwards the request.
    #[wasm_bindgen(method, js_name = prepareForward)]
    pub(super) fn prepare_forward(this: &Call, url: &str, headers: &web_sys::Headers);

    /// Reads the body: its bytes, or `null` if it is longer than the limit.
    #[wasm_bindgen(method, js_name = readBody)]
    pub(super) fn read_body(this: &Call, bytes_max: usize) -> Promise;

    /// Sends a request to the legacy system: over a binding, or over the network.
    #[wasm_bindgen(method, catch, js_name = sendUpstream)]
    pub(super) fn send_upstream(
        this: &Call,
        request: &web_sys::Request,
        binding: Option<Binding>,
    ) -> Result<Promise, JsValue>;

    /// Keeps the legacy system's response after its headers have changed.
    #[wasm_bindgen(method, js_name = keepResponse)]
    pub(super) fn keep_response(this: &Call, response: &web_sys::Response);

    /// Keeps the request alive until a promise ends or this instance dies.
    #[wasm_bindgen(method, js_name = waitUntil)]
    pub(super) fn wait_until(this: &Call, promise: &Promise);
}
