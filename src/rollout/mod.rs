//! The release: who gets it, and how far it has come. Decisions only; shells act on them.

pub mod bucket;

pub mod controller;

pub mod counts;

pub mod assignment;

pub mod evidence;

pub mod gate;

pub mod signing_key;

pub mod time_scale;

pub mod advance_checks;

pub mod plan;

pub mod share_cache;

pub mod release_state;

pub mod progress;

pub mod override_token;

pub mod status;
