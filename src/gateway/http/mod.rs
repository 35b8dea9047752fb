//! HTTP values that only the gateway has: the target of an outgoing call.

pub mod target;
