//! Core library of jeffrey-edge: traffic assignment, rollout decisions and the gateway's request
//! logic.
//!
//! Bytes become values at the edge, and values flow one way through pure functions. Only the
//! programs in `crates/` touch clock, network, storage and screen. The modules are listed in the
//! order of their dependencies: each may use only the modules above it, and `tests/layers.rs`
//! checks this.
//!
//! This crate does not classify text (see `crates/classifier`), stores no text, and reads no clock,
//! environment or file.

pub mod catalogue;

pub mod telemetry;

pub mod rollout;

pub mod gateway;
