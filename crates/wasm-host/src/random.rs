//! Randomness for wasm: the function that `getrandom` calls (`--cfg getrandom_backend="custom"`).
//!
//! A deployed Worker may not draw random bytes while its module starts, and workerd refuses it too.
//! But loading the tokenizer needs some: `ahash` seeds its maps on first use and panics without
//! them. Until the first request the bytes therefore come from a fixed sequence; after that they
//! come from the host. Nothing secret is drawn before the first request: only seeds of maps whose
//! keys are the model's own. The page uses the same backend and asks its host from the start.

use std::cell::Cell;

use getrandom::Error;
use wasm_bindgen::prelude::*;

thread_local! {
    static USES_HOST: Cell<bool> = const { Cell::new(false) };
    static SEQUENCE: Cell<u64> = const { Cell::new(0) };
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn random_values(into: &mut [u8]) -> Result<(), JsValue>;
}

/// Draws random bytes from the host from now on. A Worker calls this with each request, a page at
/// its start.
pub fn use_host_randomness() {
    USES_HOST.set(true);
}

/// Fills `len` bytes at `dest`, from the host or from the fixed sequence.
///
/// # Safety
/// As `getrandom` documents its custom backend: `dest` is valid for writes of `len` bytes, which
/// may be uninitialised.
#[expect(unsafe_code, reason = "the signature that getrandom links to")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: valid for writes by the contract above; written before a slice is made of it.
    let bytes = unsafe {
        dest.write_bytes(0, len);
        std::slice::from_raw_parts_mut(dest, len)
    };
    if USES_HOST.get() {
        // `getRandomValues` fills at most 65,536 bytes in one call.
        for chunk in bytes.chunks_mut(65_536) {
            random_values(chunk).map_err(|_| Error::new_custom(1))?;
        }
        return Ok(());
    }
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next_u64().to_le_bytes()[..chunk.len()]);
    }
    Ok(())
}

/// Returns the next number of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom
/// number generators").
fn next_u64() -> u64 {
    let state = SEQUENCE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    SEQUENCE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
