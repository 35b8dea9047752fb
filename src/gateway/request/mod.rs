//! An incoming request: its kind, its subject, its assignment rules and its headers for the next
//! hop.

pub mod classify;

pub mod cohort_override;

pub mod forwarded_headers;

pub mod rules;

pub mod subject;
