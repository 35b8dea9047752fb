//! The gate: what it reads of a request, whom it hands it to, and what it says of that afterwards.
//!
//! Pure: heads, bounded bodies, variables, time and randomness come in as values; decisions, header
//! changes and bytes go out. The shell in `shell/gate` fetches, streams and stores. It knows no
//! classifier: the model worker is another worker, whose answers are read as any other's.

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

/// Largest classify request that is read, in bytes; a larger one is streamed to the old system.
pub const CLASSIFY_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// How far an answer of the old system is read beside its stream, in bytes.
pub const LEGACY_RESPONSE_BYTES_MAX: usize = 256 * 1024;
