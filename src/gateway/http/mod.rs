//! HTTP values: the head of a request, a complete response, the target of an outgoing call.

pub mod head;

pub mod reply;

pub mod target;
