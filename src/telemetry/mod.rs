//! What is kept of a request, and what is taken out of it first.

pub mod analysis;

pub mod annotation;

pub mod latency_sketch;
