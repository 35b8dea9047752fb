//! HTTP API of the gateway itself, below `ADMIN_PREFIX`: health, rollout status, metrics, manual
//! changes, rollout commands, feedback and erasure.
//!
//! [`endpoint`] maps paths to endpoints and roles, [`error::ApiError`] is the one table of errors,
//! statuses and codes, and the other files parse bodies and build responses. The request path in
//! `crates/gateway-service` calls the event store and the rollout object.

pub mod auth;

pub mod endpoint;

pub mod error;

pub mod feedback;

pub mod health;

pub mod ofrep;

pub mod query;

pub mod rollout;

/// Largest request body of these endpoints, in bytes; a larger one is rejected with 413.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Largest body of a rollout command or a validation report, in bytes. A command may contain a
/// plan.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;
