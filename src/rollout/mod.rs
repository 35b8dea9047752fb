//! The release: who gets it, and how far it has come. Decisions only; shells act on them.

pub mod bucket;

pub mod control;

pub mod counts;

pub mod decision;

pub mod evidence;

pub mod gate;

pub mod key;

pub mod pace;

pub mod permit;

pub mod plan;

pub mod share;

pub mod standing;

pub mod state;

pub mod token;

pub mod view;
