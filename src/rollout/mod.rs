//! Decisions about a release: which cohort answers a request, which share the canary has, and when
//! the release advances, holds or rolls back.
//!
//! Every function here is pure: the time and all settings are arguments, and the result says what
//! to do. The workers load the state, call one function, store the result and act on it.

pub mod bucket;

pub mod controller;

pub mod history;

pub mod plan_change;

pub mod refusal;

pub mod replay;

pub mod counts;

pub mod assignment;

pub mod evidence;

pub mod gate;

pub mod signing_key;

pub mod time_scale;

pub mod advance_checks;

pub mod plan;

pub mod clock_reading;

pub mod share_cache;

pub mod release_state;

pub mod hard_failure_report;

pub mod progress;

pub mod phase;

pub mod command;

pub mod effect;

pub mod override_token;

pub mod status;

#[cfg(test)]
mod evidence_harness;

#[cfg(test)]
mod replay_harness;
