//! The whole gateway in one process, on a virtual clock, with faults by seed.
//!
//! A run has the shipped request path, queue consumer and Durable Objects on SQLite, isolates that
//! end, a queue that repeats and reorders, and the systems around the gateway. Everything random
//! comes from the seed, so a seed is a test: [`run::run`] gives the same report each time.
//! [`invariants`] checks the promises of the documentation.

mod checks;

mod clients;

mod conditions;

mod consumer;

mod event_checks;

mod event_fields;

pub mod executor;

pub mod fault;

mod guard;

mod host;

mod injector;

pub mod invariants;

mod isolate;

pub mod known;

mod object;

mod object_cell;

mod operator;

mod peers;

mod queue;

pub mod random;

mod record;

mod reference_bucket;

pub mod run;

pub mod scenario;

pub mod scripted;

pub mod shrink;

mod simulation;

mod stage_checks;

pub use record::Counts;
