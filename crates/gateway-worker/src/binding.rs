//! Service bindings and stubs of Durable Objects, as JavaScript objects.

use worker::Env;
use worker::js_sys::Promise;
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

#[wasm_bindgen]
extern "C" {
    /// A JavaScript object with `fetch`: a service binding or a Durable Object's stub.
    #[derive(Clone)]
    pub(super) type Binding;

    #[wasm_bindgen(method, catch, js_name = fetch)]
    pub(super) fn fetch_bound(
        this: &Binding,
        request: &web_sys::Request,
    ) -> Result<Promise, JsValue>;
}

/// Returns the service binding of this name; `None` if there is no such binding.
pub(super) fn service_binding(env: &Env, name: &str) -> Option<Binding> {
    env.service(name).ok().map(worker::Fetcher::into_rpc)
}
