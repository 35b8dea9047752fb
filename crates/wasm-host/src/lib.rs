//! Randomness, panic reports and a count of instances for Rust programs in wasm.
//!
//! `random` answers `getrandom` from the JavaScript host. `panics` prints the place of a panic
//! without its message. The Workers and the browser module use both; `instance` counts how often a
//! Worker's module was started. On other targets this crate is empty.
#![cfg(target_family = "wasm")]

pub mod instance;

pub mod panics;

pub mod random;
