//! Instances of a Worker's wasm module within one isolate.
//!
//! A trap ends an instance, and the next request starts another (`crates/wasm-host/recovery.js`). The
//! count lies in the isolate's `__worker_init_state`, outside of the instance's memory. An isolate
//! that the platform ends takes the count with it.

use js_sys::{Reflect, global};
use wasm_bindgen::JsValue;

/// Name of the count in the isolate's state.
const STARTS: &str = "starts";

/// Counts this instance and returns how many this isolate has started, this one included. An instance
/// calls this once, with its first request.
pub fn record_start() -> u32 {
    let property = |object: &JsValue, name: &str| Reflect::get(object, &name.into()).ok();
    let Some(state) = property(&global(), "__worker_init_state").filter(JsValue::is_object) else {
        return 1;
    };
    let earlier = property(&state, STARTS).and_then(|starts| starts.as_f64());
    // A count of instances is far below the largest `u32`, and never negative.
    let starts = 1 + earlier.unwrap_or_default() as u32;
    let _ = Reflect::set(&state, &STARTS.into(), &starts.into());
    starts
}
