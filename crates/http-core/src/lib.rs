//! HTTP values of both Workers: heads of requests, complete replies, error bodies, headers of pages,
//! Prometheus text, and the declaration of settings.
//!
//! Pure values: a shell reads requests and variables, and sends these replies.

pub mod body;

pub mod head;

pub mod page;

pub mod prometheus;

pub mod reply;

pub mod settings;
