//! The two systems that can answer a classify call: the legacy system and the model.

pub mod auth_verdict;

pub mod circuit_breaker;

pub mod json_pointer;

pub mod legacy;

pub mod model;

pub mod quarantine;

pub mod report_queue;
