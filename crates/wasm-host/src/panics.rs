//! What a worker says when it panics: where, and nothing else.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Sets the hook while the module starts.
pub fn report_places_only() {
    panic::set_hook(Box::new(report));
}

/// Sets it once more with the first request: the runtime's own start hook may run after ours, and its
/// panic hook prints messages.
pub fn report_places_only_from_now() {
    static HOOK: Once = Once::new();
    HOOK.call_once(report_places_only);
}

/// Prints where a panic happened and nothing it says: a message may quote what was being read.
///
/// It replaces the hook of the `worker` crate, which prints the message, and does the other half of
/// that hook's work (its `init.rs`): the flag that makes the next request start a new instance.
fn report(panic: &PanicHookInfo<'_>) {
    match panic.location() {
        Some(place) => {
            console_error(&format!("panic at {}:{}", within(place.file()), place.line()));
        }
        None => console_error("panic at an unknown place"),
    }
    let state = js_sys::Reflect::get(&js_sys::global(), &"__worker_init_state".into());
    if let Ok(state) = state {
        let _ = js_sys::Reflect::set(&state, &"criticalError".into(), &true.into());
    }
}

/// A source file without the folder of the machine that compiled it.
fn within(file: &str) -> &str {
    let in_registry = file.split_once("/registry/src/").map(|(_, rest)| rest);
    in_registry.and_then(|rest| rest.split_once('/')).map_or(file, |(_, rest)| rest)
}
