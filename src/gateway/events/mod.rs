//! Events: the record of one classify call, feedback on it, and the signed id that joins them.

pub mod event;

pub mod feedback;

pub mod open_enum;

pub mod signed_id;

pub mod stored;

pub mod thresholds;
