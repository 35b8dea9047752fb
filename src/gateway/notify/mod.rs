//! Sentences about a release, and the webhooks that get them.

pub mod history;

pub mod messages;

mod messages_fr;

pub mod time;

pub mod webhook;
