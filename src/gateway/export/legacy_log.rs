//! Converts events to log lines of the v2.4.2 reference service, for tools that read its log.
//!
//! The input is the JSON line of an event, the output one line with `schema_version` 2. An event
//! keeps the two highest scores, so `all_scores_top5` has at most two entries. Feedback and answers
//! that could not be read have no line.
//!
//! A newer version may have written the event. A route or rule that this version does not know is
//! `other`, and a score of an unknown label is left out. An answer whose label is unknown has no
//! line, because a line must have one of the eight labels.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::gateway::events::open_enum::OpenEnum;
use jeffrey_terms::{Label, PredictionRoute, TieBreakRule};

#[derive(Deserialize)]
struct LegacyLogInput {
    time_ms: u64,
    route: Option<OpenEnum<PredictionRoute>>,
    label: Label,
    confidence: f64,
    low_confidence: Option<bool>,
    rule: Option<OpenEnum<TieBreakRule>>,
    top2: Option<[(OpenEnum<Label>, f64); 2]>,
    latency_ms: f64,
    preview: Option<String>,
    model: Option<String>,
}

#[derive(Serialize)]
struct LegacyLogLine<'a> {
    timestamp: String,
    schema_version: u8,
    version: &'a str,
    route: &'a str,
    encoder: Option<&'a str>,
    text_preview: &'a str,
    prediction: LegacyLogPrediction<'a>,
    latency_ms: Box<RawValue>,
    all_scores_top5: Vec<(Label, f64)>,
}

#[derive(Serialize)]
struct LegacyLogPrediction<'a> {
    primary: Label,
    confidence: f64,
    top2: Vec<(Label, f64)>,
    low_confidence: bool,
    rule_applied: Option<&'a str>,
}

/// Formats an event as a log line without the line break. `None` for feedback and for an answer
/// that could not be read.
///
/// Scores have three decimals and latencies two, as in the reference service's log.
pub fn format_line(event: &str) -> Option<String> {
    let event: LegacyLogInput = serde_json::from_slice(event.as_bytes()).ok()?;
    let time = jiff::Timestamp::from_millisecond(i64::try_from(event.time_ms).ok()?).ok()?;
    let round_score = |score: f64| libm::round(1_000.0 * score) / 1_000.0;
    let scores: Vec<_> = match event.top2 {
        Some(top2) => {
            let known = |(label, score): (OpenEnum<Label>, f64)| Some((label.known()?, score));
            let known_scores = top2.into_iter().filter_map(known);
            known_scores.map(|(label, score)| (label, round_score(score))).collect()
        }
        None => vec![(event.label, round_score(event.confidence))],
    };
    serde_json::to_string(&LegacyLogLine {
        timestamp: time.to_string(),
        schema_version: 2,
        version: env!("CARGO_PKG_VERSION"),
        route: event.route?.name(PredictionRoute::name),
        encoder: event.model.as_deref(),
        text_preview: event.preview.as_deref().unwrap_or_default(),
        prediction: LegacyLogPrediction {
            primary: event.label,
            confidence: round_score(event.confidence),
            top2: scores.clone(),
            low_confidence: event.low_confidence == Some(true),
            rule_applied: event.rule.map(|rule| rule.name(TieBreakRule::name)),
        },
        latency_ms: RawValue::from_string(format!("{:.2}", event.latency_ms)).ok()?,
        all_scores_top5: scores,
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::analysis;

    #[test]
    fn a_line_is_what_the_reference_writes_and_its_readers_read() {
        let event = r#"{"event":"classify","time_ms":1795514400500,"route":"linear_head","label":"anger",
            "confidence":0.81234,"low_confidence":false,"rule":"tiebreak_anger_keyword_standard",
            "top2":[["anger",0.81234],["frustration",0.1]],"latency_ms":41,"preview":"Call [PHONE]","model":"e1-small"}"#;
        let line = format_line(event).unwrap();
        let expected = "{\"timestamp\":\"2026-11-24T10:00:00.5Z\",\"schema_version\":2,\"version\":\"0.1.0\",\
            \"route\":\"linear_head\",\"encoder\":\"e1-small\",\"text_preview\":\"Call [PHONE]\",\"prediction\":{\
            \"primary\":\"anger\",\"confidence\":0.812,\"top2\":[[\"anger\",0.812],[\"frustration\",0.1]],\
            \"low_confidence\":false,\"rule_applied\":\"tiebreak_anger_keyword_standard\"},\"latency_ms\":41.00,\
            \"all_scores_top5\":[[\"anger\",0.812],[\"frustration\",0.1]]}";
        assert_eq!(line, expected);
        assert!(matches!(analysis::LogLine::parse(&line), Ok(analysis::LogLine::Prediction(_))));
        assert_eq!(format_line(r#"{"event":"feedback","time_ms":1}"#), None);
    }

    #[test]
    fn an_unrecognized_route_or_rule_is_other_and_an_unrecognized_label_is_left_out() {
        let event = serde_json::json!({"event": "classify", "time_ms": 1, "route": "linear_head",
            "label": "anger", "confidence": 0.5, "low_confidence": false,
            "rule": "tiebreak_anger_keyword_standard", "top2": [["anger", 0.5], ["joy", 0.25]],
            "latency_ms": 41});
        let line_of = |name: &str, value: serde_json::Value| {
            let mut event = event.clone();
            event[name] = value;
            let line = format_line(&event.to_string())?;
            Some(serde_json::from_str::<serde_json::Value>(&line).unwrap())
        };
        assert_eq!(line_of("route", "from_the_future".into()).unwrap()["route"], "other");
        let line = line_of("rule", "from_the_future".into()).unwrap();
        assert_eq!(line["prediction"]["rule_applied"], "other");
        let top2 = serde_json::json!([["anger", 0.5], ["from_the_future", 0.25]]);
        let line = line_of("top2", top2).unwrap();
        assert_eq!(line["prediction"]["top2"], serde_json::json!([["anger", 0.5]]));
        assert_eq!(line_of("label", "from_the_future".into()), None);
        assert_eq!(line_of("route", serde_json::Value::Null), None, "no answer was read");
    }
}
