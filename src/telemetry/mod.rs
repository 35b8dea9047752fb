//! Analysis of stored predictions: log reports, texts for annotation, and latency quantiles.
//!
//! The input is log lines and events, which hold at most the masked beginning of a text. Nothing
//! here reads a clock, a file or the network.

pub mod analysis;

pub mod annotation;

pub mod latency_sketch;
