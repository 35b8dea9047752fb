//! The shells: the only code that touches a clock, a network, a file or a screen.

#[cfg(feature = "embedded")]
mod embedded;

#[cfg(all(feature = "model", target_family = "wasm"))]
mod model;

#[cfg(all(feature = "gate", target_family = "wasm"))]
mod gate;

#[cfg(all(any(feature = "gate", feature = "model"), target_family = "wasm"))]
mod panics;

#[cfg(all(any(feature = "browser", feature = "gate", feature = "model"), target_family = "wasm"))]
mod random;

#[cfg(all(feature = "browser", target_family = "wasm"))]
mod browser;

#[cfg(any(feature = "cli", all(feature = "browser", target_family = "wasm")))]
mod sheet;

#[cfg(feature = "cli")]
pub mod cli;
