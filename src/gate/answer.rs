//! The model worker's answer: read with suspicion, and written in the shape that callers expect.

use serde::{Deserialize, Serialize};

use super::contract::Route;
use super::settings::ResponseShape;
use crate::rollout::standing::BreachKind;
use jeffrey_terms::Label;

/// An answer of the model that a caller may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The label.
    pub label: Label,
    /// Its probability, 0 to 1.
    pub confidence: f64,
    /// All probabilities, in the labels' order; each finite, 0 to 1.
    pub scores: [f64; 8],
    /// Whether the model is unsure.
    pub low_confidence: bool,
    /// The part that answered.
    pub route: Route,
    /// The rule that was applied.
    pub rule: Option<Rule>,
    /// Whether the text was cut at the token limit.
    pub truncated: bool,
    /// Id of the model.
    pub model: String,
    /// The sha256 of its manifest, where the worker says it.
    pub model_sha256: Option<String>,
    native: Vec<u8>,
}

/// The classifier's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// The gap was within the wider limit.
    #[serde(rename = "tiebreak_anger_keyword_extended")]
    TieBreakExtended,
    /// The gap was within the narrower limit.
    #[serde(rename = "tiebreak_anger_keyword_standard")]
    TieBreakStandard,
}

impl Rule {
    /// The name used in every event and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TieBreakExtended => "tiebreak_anger_keyword_extended",
            Self::TieBreakStandard => "tiebreak_anger_keyword_standard",
        }
    }

    /// The rule with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::TieBreakExtended, Self::TieBreakStandard]
            .into_iter()
            .find(|rule| rule.name() == name)
    }
}

/// Why the old system answers in the model's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// Something that no canary may do even once.
    #[error("{}", .0.name())]
    Breach(BreachKind),
    /// This isolate's breaker is open.
    #[error("breaker_open")]
    BreakerOpen,
    /// The answer is none of the model's.
    #[error("garbled")]
    Garbled,
    /// The model refused the request, with its status.
    #[error("refused")]
    Refused(u16),
    /// The model took too long.
    #[error("timeout")]
    Timeout,
}

#[derive(Deserialize)]
struct Shape {
    primary: Label,
    // JSON has no NaN: what is not finite is written as null.
    confidence: Option<f64>,
    scores: Scores,
    low_confidence: bool,
    route: String,
    #[serde(default)]
    skipped: Vec<Skipped>,
    rule_applied: Option<Rule>,
    truncated: bool,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Scores {
    joy: Option<f64>,
    sadness: Option<f64>,
    anger: Option<f64>,
    fear: Option<f64>,
    surprise: Option<f64>,
    disgust: Option<f64>,
    neutral: Option<f64>,
    frustration: Option<f64>,
}

#[derive(Deserialize)]
struct Skipped {
    reason: String,
}

impl Answer {
    /// Reads what the model worker sent.
    ///
    /// # Errors
    /// The [`Fallback`] that makes the old system answer: the worker ended (5xx), refused (4xx), or
    /// sent what is no answer, a score that is none, or word of a dimension mismatch.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, Fallback> {
        match status {
            200 => {}
            500..=599 => return Err(Fallback::Breach(BreachKind::Trap)),
            _ => return Err(Fallback::Refused(status)),
        }
        let shape: Shape = serde_json::from_slice(body).map_err(|_| Fallback::Garbled)?;
        if shape.skipped.iter().any(|skipped| skipped.reason == "dimension_mismatch") {
            return Err(Fallback::Breach(BreachKind::DimensionMismatch));
        }
        let s = shape.scores;
        let scores =
            [s.joy, s.sadness, s.anger, s.fear, s.surprise, s.disgust, s.neutral, s.frustration];
        let sound = |score: &f64| (0.0..=1.0).contains(score);
        let scores = scores.map(|score| score.filter(sound).unwrap_or(f64::NAN));
        let confidence = shape.confidence.filter(sound).unwrap_or(f64::NAN);
        if confidence.is_nan() || scores.iter().any(|score| score.is_nan()) {
            return Err(Fallback::Breach(BreachKind::NonFinite));
        }
        Ok(Self {
            label: shape.primary,
            confidence,
            scores,
            low_confidence: shape.low_confidence,
            route: Route::from_name(&shape.route).ok_or(Fallback::Garbled)?,
            rule: shape.rule_applied,
            truncated: shape.truncated,
            model: shape.model.unwrap_or_default(),
            model_sha256: None,
            native: body.to_vec(),
        })
    }

    /// The answer's bytes in a shape; `latency_ms` is the time that the model's answer took.
    pub fn body(&self, shape: ResponseShape, latency_ms: u64) -> Vec<u8> {
        let body = match shape {
            ResponseShape::HuggingFace => {
                let scored = |(label, score)| Scored { label, score };
                serde_json::to_vec(&[self.ranked().map(scored)])
            }
            ResponseShape::Native => Ok(self.native.clone()),
            ResponseShape::V242 => serde_json::to_vec(&self.v242(latency_ms)),
        };
        // Strings, finite numbers and truth values: JSON can hold them all.
        body.expect("a shape of this file")
    }

    fn v242(&self, latency_ms: u64) -> V242<'_> {
        let ranked = self.ranked().map(|(label, score)| (label, rounded(score)));
        V242 {
            version: env!("CARGO_PKG_VERSION"),
            // v2.4.2 has no name for an answer without a text; this one raises nobody's alarm.
            route: if self.route == Route::Empty { Route::LinearHead } else { self.route }.name(),
            encoder: &self.model,
            prediction: V242Prediction {
                primary: self.label,
                confidence: rounded(self.confidence),
                top2: [ranked[0], ranked[1]],
                low_confidence: self.low_confidence,
                rule_applied: self.rule,
            },
            latency_ms,
            all_scores_top5: [ranked[0], ranked[1], ranked[2], ranked[3], ranked[4]],
        }
    }

    /// The two highest labels.
    pub fn top2(&self) -> [(Label, f64); 2] {
        let [first, second, ..] = self.ranked();
        [first, second]
    }

    fn ranked(&self) -> [(Label, f64); 8] {
        let mut ranked = Label::ALL.map(|label| (label, self.scores[label.index()]));
        // Stable: of equal scores the label that comes first in the labels' order.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }
}

/// Scores of v2.4.2 have three decimals.
fn rounded(score: f64) -> f64 {
    (score * 1_000.0).round() / 1_000.0
}

#[derive(Serialize)]
struct Scored {
    label: Label,
    score: f64,
}

#[derive(Serialize)]
struct V242<'a> {
    version: &'static str,
    route: &'static str,
    encoder: &'a str,
    prediction: V242Prediction,
    latency_ms: u64,
    all_scores_top5: [(Label, f64); 5],
}

#[derive(Serialize)]
struct V242Prediction {
    primary: Label,
    confidence: f64,
    top2: [(Label, f64); 2],
    low_confidence: bool,
    rule_applied: Option<Rule>,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const GOOD: &str = r#"{"id":"x","primary":"anger","confidence":0.8125,"scores":{"joy":0.01,
        "sadness":0.02,"anger":0.8125,"fear":0.0175,"surprise":0.02,"disgust":0.02,"neutral":0.0,
        "frustration":0.1},"top2":[["anger",0.8125],["frustration",0.1]],"low_confidence":false,
        "route":"linear_head","rule_applied":null,"truncated":false,"model":"e1-small"}"#;

    #[test]
    fn a_good_answer_is_written_in_each_shape() {
        let answer = Answer::parse(200, GOOD.as_bytes()).unwrap();
        let json = |shape| -> Value { serde_json::from_slice(&answer.body(shape, 41)).unwrap() };
        let old = json(ResponseShape::V242);
        assert_eq!(old["prediction"]["primary"], "anger");
        assert_eq!(old["prediction"]["confidence"], 0.813);
        assert_eq!(old["prediction"]["top2"][1], serde_json::json!(["frustration", 0.1]));
        assert_eq!(old["all_scores_top5"].as_array().unwrap().len(), 5);
        assert_eq!((&old["encoder"], &old["latency_ms"]), (&"e1-small".into(), &41.into()));
        let nested = json(ResponseShape::HuggingFace);
        assert_eq!(nested[0][0], serde_json::json!({"label": "anger", "score": 0.8125}));
        assert_eq!(nested[0].as_array().unwrap().len(), 8);
        assert_eq!(json(ResponseShape::Native), serde_json::from_str::<Value>(GOOD).unwrap());
    }

    #[test]
    fn what_the_old_system_observes_in_our_answer_is_what_the_model_said() {
        let answer = Answer::parse(200, GOOD.as_bytes()).unwrap();
        let body = answer.body(ResponseShape::V242, 1);
        let seen = crate::gate::contract::Contract::default().observe(&body).unwrap();
        assert_eq!(seen.label, Some(Label::Anger));
        assert_eq!(seen.route, Some(Route::LinearHead));
        assert_eq!((seen.low_confidence, seen.rule_applied), (Some(false), Some(false)));
    }

    #[test]
    fn white_space_is_answered_without_a_route_of_its_own_in_the_old_shape() {
        let body = GOOD.replace("linear_head", "empty");
        let answer = Answer::parse(200, body.as_bytes()).unwrap();
        assert_eq!(answer.route, Route::Empty);
        let old: Value = serde_json::from_slice(&answer.body(ResponseShape::V242, 1)).unwrap();
        assert_eq!(old["route"], "linear_head");
    }

    #[test]
    fn nothing_unsound_reaches_a_caller() {
        let skipped =
            r#""skipped":[{"route":"linear_head","reason":"dimension_mismatch"}],"route""#;
        let breach = Fallback::Breach;
        let rows = [
            (
                200,
                GOOD.replace("\"anger\":0.8125", "\"anger\":null"),
                breach(BreachKind::NonFinite),
            ),
            (200, GOOD.replace("\"anger\":0.8125", "\"anger\":1.5"), breach(BreachKind::NonFinite)),
            (200, GOOD.replace("e\":0.8125", "e\":null"), breach(BreachKind::NonFinite)),
            (200, GOOD.replace("\"route\"", skipped), breach(BreachKind::DimensionMismatch)),
            (200, GOOD.replace("linear_head", "magic"), Fallback::Garbled),
            (200, GOOD.replace("\"primary\":\"anger\"", "\"primary\":\"rage\""), Fallback::Garbled),
            (200, GOOD[..100].to_owned(), Fallback::Garbled),
            (200, String::new(), Fallback::Garbled),
            (500, GOOD.to_owned(), breach(BreachKind::Trap)),
            (503, String::new(), breach(BreachKind::Trap)),
            (422, "{}".to_owned(), Fallback::Refused(422)),
            (302, String::new(), Fallback::Refused(302)),
        ];
        for (status, body, expected) in rows {
            assert_eq!(Answer::parse(status, body.as_bytes()), Err(expected), "{status} {body}");
        }
    }
}
