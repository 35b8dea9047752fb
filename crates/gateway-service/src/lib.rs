//! The gateway's request path, queue consumer, Durable Objects and their clients.
//!
//! Everything here is written over [`host::Host`] and [`sql::Sql`], so it runs on Cloudflare's
//! runtime and, in tests, in one process on SQLite. It loads, calls the core, stores and replies;
//! the core decides.

pub mod event_store;

pub mod events_queue;

pub mod host;

pub mod isolate;

pub mod message;

pub mod request;

pub mod request_host;

pub mod rollout;

pub mod sql;
