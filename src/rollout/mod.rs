//! The release: who gets it, and how far it has come. Decisions only; shells act on them.

pub mod bucket;

pub mod decision;

pub mod share;

pub mod token;
