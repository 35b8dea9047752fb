//! Gateway logic: reads a request, decides whether the model or the legacy system answers it, and
//! builds the event that records the outcome.
//!
//! All functions are pure. Headers, bounded bodies, variables, time and random bytes come in as
//! values; decisions, header changes and bytes go out. The Worker in `crates/gateway-worker`
//! fetches, streams and stores. This module does not depend on the classifier: the model runs in a
//! separate Worker, and its responses are validated like any other external input.

pub mod access;

pub mod model;

pub mod cloudflare_export;

pub mod circuit_breaker;

pub mod legacy;

pub mod event;

pub mod feedback;

pub mod summary;

pub mod forwarded_headers;

pub mod request;

pub mod prometheus;

pub mod otlp;

pub mod delivery_cursor;

pub mod cohort_override;

pub mod api;

pub mod signed_id;

pub mod weekly_report;

pub mod legacy_log;

pub mod settings;

pub mod closed_minute_cache;

pub mod shard;

pub mod sink;

pub mod status;

pub mod subject;

pub mod minute_stats;

pub mod webhook;

pub mod messages;

/// Largest classify request that the gateway buffers, in bytes. A larger request is streamed to the
/// legacy system and never reaches the canary.
pub const CLASSIFY_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Largest response of the legacy system that the gateway reads, in bytes. The response still
/// streams to the client; a larger one is recorded as [`event::UnreadableReason::TooLarge`].
pub const LEGACY_RESPONSE_BYTES_MAX: usize = 256 * 1024;
