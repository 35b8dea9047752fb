//! Randomness and panic reports for Rust programs in wasm.
//!
//! `random` answers `getrandom` from the JavaScript host. `panics` prints the place of a panic
//! without its message. The Workers and the browser module use both; on other targets this crate is
//! empty.
#![cfg(target_family = "wasm")]

pub mod panics;

pub mod random;
