//! Messages about a release, and the webhooks that get them.

pub mod history;

pub mod messages;

pub mod webhook;
