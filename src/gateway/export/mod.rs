//! What leaves the event store: deliveries to sinks, OpenTelemetry, Prometheus, Cloudflare's own
//! stores.

pub mod cloudflare;

pub mod delivery_cursor;

pub mod legacy_log;

pub mod otlp;

pub mod prometheus;

pub mod sink;

pub mod status;
