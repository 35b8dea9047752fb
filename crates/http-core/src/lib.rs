//! HTTP values that both Workers send: complete replies, error bodies, headers of pages, Prometheus text.
//!
//! Pure values: a shell reads requests and sends these replies.

pub mod body;

pub mod page;

pub mod prometheus;

pub mod reply;

pub mod settings;
