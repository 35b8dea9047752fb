//! JSON shape of one prediction: the same from the model worker, the page and the command line.
//!
//! A [`Prediction`] of the classifier comes in; [`ClassifyResponse`] serialises it. The field names
//! are part of the public interface (`docs/api.md`).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use jeffrey_classifier::{LabelScores, Prediction};
use jeffrey_terms::Label;

/// One prediction as JSON.
///
/// `scores` is an object in the labels' order; `top2` holds `[label, score]` pairs, highest first.
#[derive(Debug, Serialize)]
pub struct ClassifyResponse {
    /// Id of the response; left out if the shell issues no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    primary: Label,
    confidence: f32,
    scores: ScoresObject,
    top2: [(Label, f32); 2],
    low_confidence: bool,
    route: &'static str,
    /// Routes that were tried first, each with the reason why it gave no answer; left out if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<SkippedObject>,
    rule_applied: Option<&'static str>,
    truncated: bool,
    /// Id of the model; `null` if no model could be loaded.
    pub model: Option<String>,
}

impl ClassifyResponse {
    /// Builds the response from a prediction; `id` and `model` come from the shell.
    pub fn new(prediction: &Prediction, id: Option<String>, model: Option<String>) -> Self {
        let ranked = prediction.scores.ranked();
        let to_object = |skipped: &jeffrey_classifier::SkippedRoute| SkippedObject {
            route: skipped.route.name(),
            reason: skipped.reason.name(),
        };
        Self {
            id,
            primary: prediction.primary,
            confidence: prediction.confidence(),
            scores: ScoresObject(prediction.scores),
            top2: [ranked[0], ranked[1]],
            low_confidence: prediction.is_low_confidence(),
            route: prediction.route.name(),
            skipped: prediction.skipped_routes.iter().map(to_object).collect(),
            rule_applied: prediction.rule_applied.map(jeffrey_terms::TieBreakRule::name),
            truncated: prediction.truncated,
            model,
        }
    }
}

#[derive(Debug, Serialize)]
struct SkippedObject {
    route: &'static str,
    reason: &'static str,
}

#[derive(Debug)]
struct ScoresObject(LabelScores);

impl Serialize for ScoresObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Label::ALL.len()))?;
        for label in Label::ALL {
            map.serialize_entry(&label, &self.0.score(label))?;
        }
        map.end()
    }
}
