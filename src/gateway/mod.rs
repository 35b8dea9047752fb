//! Gateway logic: reads a request, decides whether the model or the legacy system answers it, and
//! builds the event that records the outcome.
//!
//! All functions are pure. Headers, bounded bodies, variables, time and random bytes come in as
//! values; decisions, header changes and bytes go out. The Worker in `crates/gateway-worker`
//! fetches, streams and stores. This module does not depend on the classifier: the model runs in a
//! separate Worker, and its responses are validated like any other external input.
//!
//! The modules below stand in order: each uses only those before it.

pub mod upstream;

pub mod events;

pub mod http;

pub mod export;

pub mod notify;

pub mod aggregate;

pub mod store;

pub mod config;

pub mod request;

pub mod api;

/// Largest classify request that the gateway buffers, in bytes. A larger request is streamed to the
/// legacy system and never reaches the canary.
pub const CLASSIFY_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Largest response of the legacy system that the gateway reads, in bytes. The response still
/// streams to the client; a larger one is recorded as
/// [`TooLarge`](events::event::UnreadableReason::TooLarge).
pub const LEGACY_RESPONSE_BYTES_MAX: usize = 256 * 1024;
