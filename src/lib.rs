//! Emotion classification inside the edge, in French and English.
//!
//! Bytes become values at the edge; values flow one way through pure functions; only the shells
//! touch clock, network, storage and screen. The modules stand in the order of their dependencies:
//! each may use what stands above it, and `tests/layers.rs` checks that.
//!
//! What this crate does not do: it trains nothing (see `training/`), it keeps no text, and its core
//! reads no clock, no environment and no file.
#![cfg_attr(
    feature = "classifier",
    doc = r##"
```
use jeffrey_edge::classifier::{Classifier, TieBreak};
use jeffrey_edge::terms::{Label, Text};

// A classifier without a model still answers, by keywords, and says so.
let classifier = Classifier::without_model(TieBreak::default());
let text = Text::parse("Je suis furieux, c’est inadmissible !")?;
let prediction = classifier.classify(&text);
assert_eq!(prediction.primary, Label::Anger);
assert_eq!(prediction.route.name(), "regex");
# Ok::<(), jeffrey_edge::terms::TextError>(())
```
"##
)]

pub mod terms;

#[cfg(feature = "classifier")]
pub mod classifier;

#[cfg(feature = "classifier")]
pub mod evaluation;

pub mod telemetry;

pub mod rollout;

#[cfg(feature = "classifier")]
pub mod wire;

pub mod gate;

#[cfg(any(feature = "embedded", feature = "model", feature = "browser", feature = "gate"))]
pub mod shell;
