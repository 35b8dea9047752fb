//! The core of jeffrey-edge without the classifier: who gets a release, what the evidence allows, and
//! what the gate does with a request.
//!
//! Bytes become values at the edge; values flow one way through pure functions; only the programs in
//! `crates/` touch clock, network, storage and screen. The modules stand in the order of their
//! dependencies: each may use what stands above it, and `tests/layers.rs` checks that.
//!
//! What this crate does not do: it classifies nothing (see `crates/classifier`), it keeps no text, and it
//! reads no clock, no environment and no file.

pub mod telemetry;

pub mod rollout;

pub mod gate;
