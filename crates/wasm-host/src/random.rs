//! Randomness for wasm: what `getrandom` calls (`--cfg getrandom_backend="custom"`).
//!
//! A deployed worker may draw no random bytes while its module starts, and workerd refuses it too.
//! Yet loading the tokenizer asks for some: `ahash` seeds its maps on first use and panics when it
//! cannot. So until the first request these bytes come from a fixed sequence, and the host is asked
//! after that. Nothing secret is drawn before: seeds of maps whose keys are the model's own. The page
//! uses the same backend and asks its host from the start.

use std::cell::Cell;

use getrandom::Error;
use wasm_bindgen::prelude::*;

thread_local! {
    static HOST_ASKED: Cell<bool> = const { Cell::new(false) };
    static SEQUENCE: Cell<u64> = const { Cell::new(0) };
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn random_values(into: &mut [u8]) -> Result<(), JsValue>;
}

/// From here on the host is asked: a request is being answered, or this is a page.
pub fn ask_the_host() {
    HOST_ASKED.set(true);
}

/// Fills `len` bytes at `dest`.
///
/// # Safety
/// As `getrandom` documents its custom backend: `dest` is valid for writes of `len` bytes, which may
/// be uninitialised.
#[expect(unsafe_code, reason = "the signature that getrandom links to")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: valid for writes by the contract above; written before a slice is made of it.
    let bytes = unsafe {
        dest.write_bytes(0, len);
        std::slice::from_raw_parts_mut(dest, len)
    };
    if HOST_ASKED.get() {
        // The most that one call of `getRandomValues` fills.
        for part in bytes.chunks_mut(65_536) {
            random_values(part).map_err(|_| Error::new_custom(1))?;
        }
        return Ok(());
    }
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&next().to_le_bytes()[..part.len()]);
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
fn next() -> u64 {
    let state = SEQUENCE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    SEQUENCE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
