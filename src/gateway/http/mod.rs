//! HTTP values: the head of a request and the target of an outgoing call.

pub mod head;

pub mod target;
