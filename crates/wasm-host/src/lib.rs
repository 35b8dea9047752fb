//! Randomness and panic reports for programs in wasm, by the host that runs them.
#![cfg(target_family = "wasm")]

pub mod panics;

pub mod random;
