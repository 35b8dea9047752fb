//! An incoming request: its kind, its subject, its assignment rules and its headers for the next
//! hop.

pub mod auth_check;

pub mod classify;

pub mod client_address;

pub mod cohort_override;

pub mod forwarded_headers;

pub mod handed_on;

pub mod rules;

pub mod subject;

pub mod subject_trust;
