//! What every program in wasm needs of its host.
#![cfg(target_family = "wasm")]

pub mod panics;

pub mod random;
