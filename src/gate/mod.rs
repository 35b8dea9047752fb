//! The gate: what it reads of a request, whom it hands it to, and what it says of that afterwards.
//!
//! Pure: heads, bounded bodies, variables, time and randomness come in as values; decisions, header
//! changes and bytes go out. The shell in `shell/gate` fetches, streams and stores. It knows no
//! classifier: the model worker is another worker, whose answers are read as any other's.

pub mod access;

pub mod answer;

pub mod archive;

pub mod breaker;

pub mod contract;

pub mod event;

pub mod feedback;

pub mod figures;

pub mod forward;

pub mod intake;

pub mod metrics;

pub mod otlp;

pub mod outbox;

pub mod overrides;

pub mod own;

pub mod receipt;

pub mod report;

pub mod schema_2;

pub mod settings;

pub mod settled;

pub mod shard;

pub mod sink;

pub mod status;

pub mod subject;

pub mod tally;

pub mod webhook;

pub mod words;

/// Largest classify request that is read, in bytes; a larger one is streamed to the old system.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// How far an answer of the old system is read beside its stream, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
