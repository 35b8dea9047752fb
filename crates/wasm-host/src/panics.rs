//! Panic hook of the Workers: it prints the place of a panic and never its message.
//!
//! A panic message may quote the text that was being read. After the hook the panic ends the instance;
//! `crates/wasm-host/recovery.js` starts a new one.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Installs the panic hook. A Worker calls this while its module starts.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(report_panic));
}

/// Installs the panic hook again with the first request, once per instance: the start hook of the
/// `worker` crate may run after this crate's, and its panic hook prints messages.
pub fn reinstall_panic_hook_on_first_request() {
    static HOOK: Once = Once::new();
    HOOK.call_once(install_panic_hook);
}

/// Prints the place of a panic without its message, which may quote the text that was being read.
///
/// This hook replaces the hook of the `worker` crate, which prints the message.
fn report_panic(panic: &PanicHookInfo<'_>) {
    match panic.location() {
        Some(place) => {
            console_error(&format!("panic at {}:{}", strip_build_path(place.file()), place.line()));
        }
        None => console_error("panic at an unknown place"),
    }
}

/// Returns a source path without the build machine's registry folder. A path outside the registry
/// stays as it is.
fn strip_build_path(file: &str) -> &str {
    let registry_path = file.split_once("/registry/src/").map(|(_, path)| path);
    registry_path.and_then(|path| path.split_once('/')).map_or(file, |(_, path)| path)
}
