//! Randomness and panic reports for Rust programs in wasm.
//!
//! `random` answers `getrandom` from the JavaScript host. `panics` prints the place of a panic
//! without its message. The Workers and the browser module use both. `http` reads bodies and builds
//! responses for the Workers. On other targets this crate is empty.
#![cfg(target_family = "wasm")]

#[cfg(feature = "worker")]
pub mod http;

pub mod panics;

pub mod random;
