//! Response of the model worker: parsed, validated, and written in the format that callers expect.
//!
//! [`ModelResponse::parse`] rejects error statuses, malformed JSON, unknown labels and routes,
//! scores outside 0 to 1 and reported dimension mismatches. Each rejection is a [`FallbackReason`], and
//! the legacy system then answers the request. [`ModelResponse::to_body`] writes a valid response
//! in the format of the v2.4.2 reference service, in the native format or in that of Hugging Face.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rollout::release_state::HardFailureKind;
use jeffrey_terms::{Label, PredictionRoute, TieBreakRule};

/// Header of the model worker that names a fault of its own; its script sets it
/// (`crates/model-worker/entry.js`), so a response without it is the platform's.
pub const MODEL_FAULT_HEADER: &str = "x-model-fault";

/// Returns whether a response with this status and [`MODEL_FAULT_HEADER`] says that the text ended the
/// model's program.
pub fn reports_trap(status: u16, fault: Option<&str>) -> bool {
    status == 500 && fault == Some("trap")
}

/// Response of the model that passed every check and may be sent to a caller.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResponse {
    /// Label that the model assigned to the text.
    pub label: Label,
    /// Probability of `label`, finite, 0 to 1.
    pub confidence: f64,
    /// Probabilities of all labels, in the order of [`Label::ALL`]; each finite, 0 to 1.
    pub scores: [f64; 8],
    /// Whether the model reports low confidence.
    pub low_confidence: bool,
    /// Part of the classifier that produced the prediction.
    pub route: PredictionRoute,
    /// Tie-break rule that changed the prediction; `None` if no rule applied.
    pub rule: Option<TieBreakRule>,
    /// Whether the model cut the text at its token limit.
    pub truncated: bool,
    /// Name of the model; empty if the worker did not report one.
    pub model: String,
    /// SHA-256 of the model's manifest, from the worker's `x-model-sha256` header.
    /// [`ModelResponse::parse`] sets `None`; the caller fills it in when the header is present.
    pub model_sha256: Option<String>,
    raw_body: Vec<u8>,
}

/// Format of classify responses by the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Nested list, as Hugging Face clients expect it.
    HuggingFace,
    /// Response body of the model worker, unchanged.
    Native,
    /// Prediction object of the v2.4.2 reference service.
    V242,
}

/// Reason why the legacy system answers a request that was assigned to the canary. `Display` and
/// JSON are its [`name`](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum FallbackReason {
    /// The circuit breaker of this isolate is open, so the model was not called.
    BreakerOpen,
    /// The body is not a valid model response, is too large, or names an unknown route.
    InvalidResponse,
    /// The text ended the model worker twice within the last hour in this isolate.
    Quarantined,
    /// The model worker replied with a status that is neither 200 nor 5xx.
    Refused,
    /// The model did not respond within `MODEL_TIMEOUT_MS`.
    Timeout,
    /// The model worker could not be reached, broke off, or replied with a 5xx that is no trap.
    Unavailable,
    /// The model worker failed in a way that no release may.
    #[serde(untagged)]
    HardFailure(HardFailureKind),
}

impl FallbackReason {
    /// All reasons, a hard failure of each kind last.
    pub const ALL: [Self; 10] = [
        Self::BreakerOpen,
        Self::InvalidResponse,
        Self::Quarantined,
        Self::Refused,
        Self::Timeout,
        Self::Unavailable,
        Self::HardFailure(HardFailureKind::DimensionMismatch),
        Self::HardFailure(HardFailureKind::NonFinite),
        Self::HardFailure(HardFailureKind::OtherModel),
        Self::HardFailure(HardFailureKind::Trap),
    ];

    /// Returns the name that every event uses; that of a hard failure is the name of its kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::InvalidResponse => "invalid_response",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::HardFailure(kind) => kind.name(),
        }
    }

    /// Returns whether the call could not reach the model in time. That may be the platform's or the
    /// network's fault, so it says nothing about the release by itself: a gate judges its rate.
    pub const fn is_unavailability(self) -> bool {
        matches!(self, Self::BreakerOpen | Self::Timeout | Self::Unavailable)
    }
}

impl TryFrom<String> for FallbackReason {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        let reason = Self::ALL.into_iter().find(|reason| reason.name() == name);
        reason.ok_or("no reason of a fallback has this name")
    }
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for FallbackReason {}

#[derive(Deserialize)]
struct ModelResponseBody {
    primary: Label,
    // JSON has no NaN: a number that is not finite arrives as null.
    confidence: Option<f64>,
    scores: ModelScores,
    low_confidence: bool,
    route: String,
    #[serde(default)]
    skipped: Vec<ReportedSkip>,
    rule_applied: Option<TieBreakRule>,
    truncated: bool,
    model: Option<String>,
}

#[derive(Deserialize)]
struct ModelScores {
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
struct ReportedSkip {
    reason: SkipReason,
}

/// Reason why the model worker skipped a route, as far as the gateway acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SkipReason {
    DimensionMismatch,
    /// The route was off or failed, and the answer is that of the next one.
    #[serde(other)]
    Other,
}

impl ModelResponse {
    /// Parses and validates the response of the model worker.
    ///
    /// # Errors
    /// Returns the [`FallbackReason`] that sends the request to the legacy system: a hard failure for a
    /// reported dimension mismatch or a score that is not a number from 0 to 1; `Unavailable` for a
    /// 5xx status; `Refused` for any other status than 200; `InvalidResponse` for a body that is not
    /// a model response.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, FallbackReason> {
        match status {
            200 => {}
            500..=599 => return Err(FallbackReason::Unavailable),
            _ => return Err(FallbackReason::Refused),
        }
        let response: ModelResponseBody =
            serde_json::from_slice(body).map_err(|_| FallbackReason::InvalidResponse)?;
        if response.skipped.iter().any(|skipped| skipped.reason == SkipReason::DimensionMismatch) {
            return Err(FallbackReason::HardFailure(HardFailureKind::DimensionMismatch));
        }
        let s = response.scores;
        let scores =
            [s.joy, s.sadness, s.anger, s.fear, s.surprise, s.disgust, s.neutral, s.frustration];
        let is_probability = |score: &f64| (0.0..=1.0).contains(score);
        let scores = scores.map(|score| score.filter(is_probability).unwrap_or(f64::NAN));
        let confidence = response.confidence.filter(is_probability).unwrap_or(f64::NAN);
        if confidence.is_nan() || scores.iter().any(|score| score.is_nan()) {
            return Err(FallbackReason::HardFailure(HardFailureKind::NonFinite));
        }
        Ok(Self {
            label: response.primary,
            confidence,
            scores,
            low_confidence: response.low_confidence,
            route: PredictionRoute::from_name(&response.route)
                .ok_or(FallbackReason::InvalidResponse)?,
            rule: response.rule_applied,
            truncated: response.truncated,
            model: response.model.unwrap_or_default(),
            model_sha256: None,
            raw_body: body.to_vec(),
        })
    }

    /// Serializes the response in the given format. `latency_ms` is the time the model took to
    /// respond; only the v2.4.2 format contains it.
    pub fn to_body(&self, shape: ResponseFormat, latency_ms: u64) -> Vec<u8> {
        let body = match shape {
            ResponseFormat::HuggingFace => {
                let to_label_score = |(label, score)| LabelScore { label, score };
                serde_json::to_vec(&[self.labels_by_score().map(to_label_score)])
            }
            ResponseFormat::Native => Ok(self.raw_body.clone()),
            ResponseFormat::V242 => serde_json::to_vec(&self.to_v242(latency_ms)),
        };
        // Strings, finite numbers and booleans only, which JSON can represent, so this cannot fail.
        body.expect("a shape of this file")
    }

    fn to_v242(&self, latency_ms: u64) -> V242Response<'_> {
        let ranked =
            self.labels_by_score().map(|(label, score)| (label, round_to_3_decimals(score)));
        V242Response {
            version: env!("CARGO_PKG_VERSION"),
            // The v2.4.2 reference service has no route name for empty text. This one triggers no
            // alert in its clients.
            route: if self.route == PredictionRoute::Empty {
                PredictionRoute::LinearHead
            } else {
                self.route
            }
            .name(),
            encoder: &self.model,
            prediction: V242Prediction {
                primary: self.label,
                confidence: round_to_3_decimals(self.confidence),
                top2: [ranked[0], ranked[1]],
                low_confidence: self.low_confidence,
                rule_applied: self.rule,
            },
            latency_ms,
            all_scores_top5: [ranked[0], ranked[1], ranked[2], ranked[3], ranked[4]],
        }
    }

    /// Returns the two labels with the highest scores, highest first, with their scores.
    pub fn top2(&self) -> [(Label, f64); 2] {
        let [first, second, ..] = self.labels_by_score();
        [first, second]
    }

    fn labels_by_score(&self) -> [(Label, f64); 8] {
        let mut ranked = Label::ALL.map(|label| (label, self.scores[label.index()]));
        // The sort is stable: labels with equal scores keep the order of `Label::ALL`.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }
}

/// Rounds a score to three decimals, as the v2.4.2 reference service does.
fn round_to_3_decimals(score: f64) -> f64 {
    (score * 1_000.0).round() / 1_000.0
}

#[derive(Serialize)]
struct LabelScore {
    label: Label,
    score: f64,
}

#[derive(Serialize)]
struct V242Response<'a> {
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
    rule_applied: Option<TieBreakRule>,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const VALID_BODY: &str = r#"{"id":"x","primary":"anger","confidence":0.8125,"scores":{"joy":0.01,
        "sadness":0.02,"anger":0.8125,"fear":0.0175,"surprise":0.02,"disgust":0.02,"neutral":0.0,
        "frustration":0.1},"top2":[["anger",0.8125],["frustration",0.1]],"low_confidence":false,
        "route":"linear_head","rule_applied":null,"truncated":false,"model":"e1-small"}"#;

    #[test]
    fn a_good_answer_is_written_in_each_shape() {
        let response = ModelResponse::parse(200, VALID_BODY.as_bytes()).unwrap();
        let json =
            |shape| -> Value { serde_json::from_slice(&response.to_body(shape, 41)).unwrap() };
        let legacy = json(ResponseFormat::V242);
        assert_eq!(legacy["prediction"]["primary"], "anger");
        assert_eq!(legacy["prediction"]["confidence"], 0.813);
        assert_eq!(legacy["prediction"]["top2"][1], serde_json::json!(["frustration", 0.1]));
        assert_eq!(legacy["all_scores_top5"].as_array().unwrap().len(), 5);
        assert_eq!((&legacy["encoder"], &legacy["latency_ms"]), (&"e1-small".into(), &41.into()));
        let hugging_face = json(ResponseFormat::HuggingFace);
        assert_eq!(hugging_face[0][0], serde_json::json!({"label": "anger", "score": 0.8125}));
        assert_eq!(hugging_face[0].as_array().unwrap().len(), 8);
        assert_eq!(
            json(ResponseFormat::Native),
            serde_json::from_str::<Value>(VALID_BODY).unwrap()
        );
    }

    #[test]
    fn what_the_old_system_observes_in_our_answer_is_what_the_model_said() {
        let response = ModelResponse::parse(200, VALID_BODY.as_bytes()).unwrap();
        let body = response.to_body(ResponseFormat::V242, 1);
        let legacy_response = crate::gateway::upstream::legacy::LegacyContract::default()
            .parse_response(&body)
            .unwrap();
        assert_eq!(legacy_response.label, Some(Label::Anger));
        assert_eq!(legacy_response.route, Some(PredictionRoute::LinearHead));
        assert_eq!(
            (legacy_response.low_confidence, legacy_response.rule_applied),
            (Some(false), Some(false))
        );
    }

    #[test]
    fn white_space_is_answered_without_a_route_of_its_own_in_the_old_shape() {
        let body = VALID_BODY.replace("linear_head", "empty");
        let response = ModelResponse::parse(200, body.as_bytes()).unwrap();
        assert_eq!(response.route, PredictionRoute::Empty);
        let legacy: Value =
            serde_json::from_slice(&response.to_body(ResponseFormat::V242, 1)).unwrap();
        assert_eq!(legacy["route"], "linear_head");
    }

    #[test]
    fn nothing_unsound_reaches_a_caller() {
        let skipped =
            r#""skipped":[{"route":"linear_head","reason":"dimension_mismatch"}],"route""#;
        let hard_failure = FallbackReason::HardFailure;
        let rows = [
            (
                200,
                VALID_BODY.replace("\"anger\":0.8125", "\"anger\":null"),
                hard_failure(HardFailureKind::NonFinite),
            ),
            (
                200,
                VALID_BODY.replace("\"anger\":0.8125", "\"anger\":1.5"),
                hard_failure(HardFailureKind::NonFinite),
            ),
            (
                200,
                VALID_BODY.replace("e\":0.8125", "e\":null"),
                hard_failure(HardFailureKind::NonFinite),
            ),
            (
                200,
                VALID_BODY.replace("\"route\"", skipped),
                hard_failure(HardFailureKind::DimensionMismatch),
            ),
            (200, VALID_BODY.replace("linear_head", "magic"), FallbackReason::InvalidResponse),
            (
                200,
                VALID_BODY.replace("\"primary\":\"anger\"", "\"primary\":\"rage\""),
                FallbackReason::InvalidResponse,
            ),
            (200, VALID_BODY[..100].to_owned(), FallbackReason::InvalidResponse),
            (200, String::new(), FallbackReason::InvalidResponse),
            (500, VALID_BODY.to_owned(), FallbackReason::Unavailable),
            (503, String::new(), FallbackReason::Unavailable),
            (422, "{}".to_owned(), FallbackReason::Refused),
            (302, String::new(), FallbackReason::Refused),
        ];
        for (status, body, expected) in rows {
            assert_eq!(
                ModelResponse::parse(status, body.as_bytes()),
                Err(expected),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn only_the_model_worker_s_own_word_is_a_trap() {
        assert!(reports_trap(500, Some("trap")));
        for (status, fault) in [(500, None), (500, Some("")), (503, Some("trap")), (200, None)] {
            assert!(!reports_trap(status, fault), "{status} {fault:?}");
        }
    }

    #[test]
    fn the_name_of_a_fallback_reason_is_its_json_and_leads_back_to_it() {
        let names = [
            "breaker_open",
            "invalid_response",
            "quarantined",
            "refused",
            "timeout",
            "unavailable",
            "dimension_mismatch",
            "non_finite",
            "other_model",
            "trap",
        ];
        assert_eq!(FallbackReason::ALL.map(FallbackReason::name), names);
        for (reason, name) in FallbackReason::ALL.into_iter().zip(names) {
            let json = Value::from(name);
            assert_eq!(serde_json::to_value(reason).unwrap(), json);
            assert_eq!(serde_json::from_value::<FallbackReason>(json).unwrap(), reason);
            assert_eq!(reason.to_string(), name);
        }
        for kind in HardFailureKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert!(FallbackReason::ALL.contains(&FallbackReason::HardFailure(kind)));
        }
        for unknown in ["hard_failure", "HardFailure", "Timeout", ""] {
            assert!(serde_json::from_value::<FallbackReason>(unknown.into()).is_err(), "{unknown}");
        }
    }

    #[test]
    fn only_a_dimension_mismatch_among_the_skipped_routes_rejects_a_response() {
        let with_skip = |reason: &str| {
            let skipped = format!(r#""skipped":[{{"route":"regex","reason":"{reason}"}}],"route""#);
            ModelResponse::parse(200, VALID_BODY.replace(r#""route""#, &skipped).as_bytes())
        };
        for reason in ["encoder_failed", "no_model", "not_finite", "from_the_future"] {
            assert!(with_skip(reason).is_ok(), "{reason}");
        }
        assert_eq!(
            with_skip("dimension_mismatch"),
            Err(FallbackReason::HardFailure(HardFailureKind::DimensionMismatch))
        );
    }
}
