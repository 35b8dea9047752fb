//! The core of jeffrey-edge without the classifier: who gets a release, what the evidence allows, and
//! what the gate does with a request.
//!
//! Bytes become values at the edge; values flow one way through pure functions; only the programs in
//! `crates/` touch clock, network, storage and screen. The modules stand in the order of their
//! dependencies: each may use what stands above it, and `tests/layers.rs` checks that.
//!
//! This crate classifies nothing (see `crates/classifier`), keeps no text, and reads no clock, environment
//! or file.

pub mod telemetry;

pub mod rollout;

pub mod gateway;
