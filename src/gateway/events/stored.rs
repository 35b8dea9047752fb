//! Stored events as the event store reads them back.
//!
//! The names in an event are read into their enums here, once: code that receives a
//! [`StoredEvent`] compares no text. A newer version may have written the event, so a name may be
//! unknown. Then it is [`OpenEnum::Unrecognized`], and the rest of the event still counts:
//!
//! | Field | An unrecognized value |
//! |---|---|
//! | `cohort` | counts for no cohort, so the gates do not see the event; metrics show `other` |
//! | `reason` | is not the holdout, so the subject can be newly seen; `is_evidence` decides as always |
//! | `destination` | is not the cohort's own system: a request without an answer of the cohort |
//! | `auth_verdict` | is not `admitted`: the call is evidence in neither cohort |
//! | `fallback_reason` | is a fallback, and not a dimension mismatch |
//! | `label` | is an answer, counted for no label |
//! | `route` | is an answer, counted for no route |
//! | `rule` | is counted under `other` |
//!
//! Only an unknown kind of event (field `event`) is not read at all. The event store keeps it and
//! delivers it like any other.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::gateway::events::event::EventKind;
use crate::gateway::events::open_enum::OpenEnum;
use crate::gateway::events::thresholds::Thresholds;
use crate::gateway::upstream::auth_verdict::AuthVerdict;
use crate::gateway::upstream::model::FallbackReason;
use crate::rollout::assignment::AssignmentReason;
use jeffrey_terms::{Cohort, Label, PredictionRoute, Share, TieBreakRule, UnixMs};

/// Event as the event store reads it back. Only the fields that are counted are read, so an event
/// of an older schema is read as far as possible.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredEvent {
    /// Record of one classify call.
    Classify(Box<StoredClassifyEvent>),
    /// User feedback on one classify call.
    Feedback(StoredFeedback),
}

impl<'de> Deserialize<'de> for StoredEvent {
    /// Reads the kind, then the event of that kind. The derived code would buffer the fields in a
    /// form of its own, for which each type needs a second deserialiser in the wasm.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct EventHead {
            event: EventKind,
        }
        fn read(json: &[u8]) -> serde_json::Result<StoredEvent> {
            let head: EventHead = serde_json::from_slice(json)?;
            Ok(match head.event {
                EventKind::Classify => StoredEvent::Classify(serde_json::from_slice(json)?),
                EventKind::Feedback => StoredEvent::Feedback(serde_json::from_slice(json)?),
            })
        }
        let event = Box::<RawValue>::deserialize(deserializer)?;
        read(event.get().as_bytes()).map_err(D::Error::custom)
    }
}

/// Classify call as it is read back; the fields are those of
/// [`ClassifyEvent`](crate::gateway::events::event::ClassifyEvent).
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredClassifyEvent {
    pub time_ms: u64,
    pub release: String,
    pub cohort: OpenEnum<Cohort>,
    pub reason: OpenEnum<AssignmentReason>,
    pub is_evidence: bool,
    pub subject: Option<String>,
    pub destination: OpenEnum<Cohort>,
    #[serde(default)]
    pub auth_verdict: Option<OpenEnum<AuthVerdict>>,
    pub fallback_reason: Option<OpenEnum<FallbackReason>>,
    pub status: u16,
    pub latency_ms: u64,
    pub label: Option<OpenEnum<Label>>,
    pub confidence: Option<f64>,
    pub low_confidence: Option<bool>,
    pub route: Option<OpenEnum<PredictionRoute>>,
    pub rule_applied: Option<bool>,
    #[serde(default)]
    pub rule: Option<OpenEnum<TieBreakRule>>,
    #[serde(default = "Thresholds::unknown")]
    pub thresholds: Thresholds,
    pub shadow: Option<StoredShadowResult>,
    #[serde(default)]
    pub preview: Option<String>,
}

/// Result of a shadow call as it is read back; the fields are those of
/// [`ShadowResult`](crate::gateway::events::event::ShadowResult).
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredShadowResult {
    pub agrees: Option<bool>,
    #[serde(default)]
    pub low_confidence: Option<bool>,
}

/// User feedback as it is read back; the fields are those of
/// [`FeedbackEvent`](crate::gateway::events::feedback::FeedbackEvent).
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredFeedback {
    pub time_ms: u64,
    pub release: String,
    pub cohort: OpenEnum<Cohort>,
    pub is_evidence: bool,
    #[serde(default = "no_share", rename = "share_basis_points")]
    pub share: Share,
    pub good: Option<bool>,
}

/// Returns the age of a serialized event in milliseconds; 0 if `event` is not an event.
pub fn event_age_ms(event: &str, now: UnixMs) -> u64 {
    let key = serde_json::from_slice::<EventKey>(event.as_bytes());
    key.map_or(0, |key| now.0.saturating_sub(key.time_ms))
}

pub(in crate::gateway) fn no_share() -> Share {
    Share::NONE
}

/// Fields of an event that the event store uses as columns, to deduplicate, expire and erase it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventKey {
    /// Unique id; the event store counts each id once.
    pub id: String,
    /// Creation time in milliseconds since 1970.
    pub time_ms: u64,
    /// Name of the release that the event belongs to.
    pub release: String,
    /// Keyed hash of the subject; `None` if the event has no subject.
    #[serde(default)]
    pub subject: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::events::event::{ClassifyEvent, UnreadableReason};
    use crate::gateway::upstream::legacy::LegacyResponse;
    use crate::gateway::upstream::model::ModelResponse;
    use crate::rollout::assignment::Assignment;
    use crate::rollout::bucket::ReleaseName;
    use jeffrey_terms::ResponseId;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    fn call_json() -> Value {
        json!({
            "event": "classify", "id": "x", "time_ms": 120_500, "release": "e1", "cohort": "canary",
            "reason": "bucket", "is_evidence": true, "subject": "5ab1", "destination": "canary",
            "fallback_reason": null, "status": 200, "latency_ms": 150, "label": "joy",
            "confidence": 0.9, "low_confidence": false, "route": "linear_head",
            "rule_applied": true, "rule": "tiebreak_anger_keyword_standard",
            "shadow": {"label": "joy", "agrees": true, "low_confidence": false,
                "fallback_reason": null, "latency_ms": 3},
        })
    }

    fn read_call(json: Value) -> Box<StoredClassifyEvent> {
        match serde_json::from_value(json).unwrap() {
            StoredEvent::Classify(call) => call,
            StoredEvent::Feedback(feedback) => panic!("{feedback:?}"),
        }
    }

    /// Value that takes the place of one field, and the change to the event that is read.
    type ChangedField = (&'static str, fn(&mut StoredClassifyEvent));

    #[test]
    fn an_unrecognized_value_changes_its_own_field_and_no_other() {
        let rows: [ChangedField; 7] = [
            ("cohort", |call| call.cohort = OpenEnum::Unrecognized),
            ("reason", |call| call.reason = OpenEnum::Unrecognized),
            ("destination", |call| call.destination = OpenEnum::Unrecognized),
            ("fallback_reason", |call| call.fallback_reason = Some(OpenEnum::Unrecognized)),
            ("label", |call| call.label = Some(OpenEnum::Unrecognized)),
            ("route", |call| call.route = Some(OpenEnum::Unrecognized)),
            ("rule", |call| call.rule = Some(OpenEnum::Unrecognized)),
        ];
        for (field, change) in rows {
            for value in [json!("from_the_future"), json!({"kind": "from_the_future"}), json!(7)] {
                let mut json = call_json();
                json[field] = value.clone();
                let mut expected = read_call(call_json());
                change(&mut expected);
                assert_eq!(read_call(json), expected, "{field}: {value}");
            }
        }
    }

    #[test]
    fn an_event_of_unrecognized_names_only_is_still_read() {
        let mut json = call_json();
        for name in ["cohort", "reason", "destination", "fallback_reason", "label", "route", "rule"]
        {
            json[name] = json!("from_the_future");
        }
        json["shadow"]["label"] = json!("from_the_future");
        json["shadow"]["fallback_reason"] = json!("from_the_future");
        json["unreadable_response_reason"] = json!("from_the_future");
        json["field_of_the_future"] = json!("from_the_future");
        let call = read_call(json);
        assert_eq!((call.time_ms, call.status, call.latency_ms), (120_500, 200, 150));
        assert_eq!((call.is_evidence, call.shadow.unwrap().agrees), (true, Some(true)));
    }

    #[test]
    fn feedback_of_an_unrecognized_cohort_is_still_read() {
        let json = json!({"event": "feedback", "id": "y", "time_ms": 1, "release": "e1",
            "cohort": "from_the_future", "is_evidence": true, "good": true});
        let StoredEvent::Feedback(feedback) = serde_json::from_value(json).unwrap() else {
            panic!("it is feedback")
        };
        assert_eq!((feedback.cohort, feedback.good), (OpenEnum::Unrecognized, Some(true)));
    }

    #[test]
    fn a_line_that_is_no_event_or_of_another_kind_is_not_read() {
        for line in ["", "{}", "[]", r#"{"event":"other"}"#, r#"{"event":"classify"}"#] {
            assert!(serde_json::from_str::<StoredEvent>(line).is_err(), "{line}");
        }
    }

    fn cohort() -> impl Strategy<Value = Cohort> {
        select(&[Cohort::Canary, Cohort::Stable][..])
    }

    fn unreadable_reason() -> impl Strategy<Value = UnreadableReason> {
        use UnreadableReason::{Compressed, ConnectionLost, ErrorStatus, NotJson, TooLarge};
        select(&[Compressed, ConnectionLost, ErrorStatus, NotJson, TooLarge][..])
    }

    fn legacy_response() -> impl Strategy<Value = LegacyResponse> {
        let label = prop::option::of(select(&Label::ALL[..]));
        let route = prop::option::of(select(&PredictionRoute::ALL[..]));
        let rule = prop::option::of(select(&TieBreakRule::ALL[..]));
        let applied = prop::option::of(any::<bool>());
        (label, prop::option::of(0.0..=1.0), route, prop::option::of(any::<bool>()), applied, rule)
            .prop_map(|(label, confidence, route, low_confidence, rule_applied, rule)| {
                LegacyResponse { label, confidence, route, low_confidence, rule_applied, rule }
            })
    }

    fn model_response() -> impl Strategy<Value = ModelResponse> {
        let rule = prop::option::of(select(&TieBreakRule::ALL[..]));
        (select(&Label::ALL[..]), select(&PredictionRoute::ALL[..]), rule, any::<bool>()).prop_map(
            |(label, route, rule, low_confidence)| {
                let scores: serde_json::Map<String, Value> = Label::ALL
                    .map(|label| (label.name().to_owned(), json!(0.125)))
                    .into_iter()
                    .collect();
                let body = json!({"primary": label, "confidence": 0.125, "scores": scores,
                    "low_confidence": low_confidence, "route": route, "rule_applied": rule,
                    "truncated": false, "model": "e1-small"});
                ModelResponse::parse(200, body.to_string().as_bytes()).unwrap()
            },
        )
    }

    fn new_event(cohort: Cohort, reason: AssignmentReason, is_evidence: bool) -> ClassifyEvent {
        ClassifyEvent::new(
            ResponseId::new(UnixMs(5), [7; 10]),
            UnixMs(5),
            &ReleaseName::parse("e1").unwrap(),
            &Assignment { cohort, reason, bucket: None, is_evidence },
            Some("5ab1".to_owned()),
            Thresholds::new(Share::FULL, Some(1), Some(100.0)),
        )
    }

    fn write_and_read(event: &ClassifyEvent) -> Box<StoredClassifyEvent> {
        read_call(serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever the gateway records of a legacy answer, the event store reads the same values.
        #[test]
        fn a_written_legacy_answer_is_read_back_to_the_same_enums(
            cohort in cohort(),
            reason in select(&AssignmentReason::ALL[..]),
            is_evidence in any::<bool>(),
            fallback in prop::option::of(select(&FallbackReason::ALL[..])),
            response in prop::result::maybe_ok(legacy_response(), unreadable_reason()),
            shadow_error in select(&FallbackReason::ALL[..]),
        ) {
            let mut event = new_event(cohort, reason, is_evidence);
            if let Some(fallback) = fallback {
                event.record_fallback(fallback);
            }
            event.record_legacy_response(200, 41, response.as_ref().map_err(|reason| *reason));
            event.record_shadow(&Err(shadow_error), 3);
            let call = write_and_read(&event);
            prop_assert_eq!(call.cohort, OpenEnum::Known(cohort));
            prop_assert_eq!(call.reason, OpenEnum::Known(reason));
            prop_assert_eq!(call.is_evidence, is_evidence);
            prop_assert_eq!(call.destination, OpenEnum::Known(Cohort::Stable));
            prop_assert_eq!(call.fallback_reason, fallback.map(OpenEnum::Known));
            let response = response.unwrap_or_default();
            prop_assert_eq!(call.label, response.label.map(OpenEnum::Known));
            prop_assert_eq!(call.confidence, response.confidence);
            prop_assert_eq!(call.low_confidence, response.low_confidence);
            prop_assert_eq!(call.route, response.route.map(OpenEnum::Known));
            prop_assert_eq!(call.rule_applied, response.rule_applied);
            prop_assert_eq!(call.rule, response.rule.map(OpenEnum::Known));
        }

        /// The same for an answer of the model.
        #[test]
        fn a_written_model_answer_is_read_back_to_the_same_enums(
            reason in select(&AssignmentReason::ALL[..]),
            response in model_response(),
        ) {
            let mut event = new_event(Cohort::Canary, reason, true);
            event.record_model_response(&response, 41);
            let call = write_and_read(&event);
            prop_assert_eq!(call.reason, OpenEnum::Known(reason));
            prop_assert_eq!(call.destination, OpenEnum::Known(Cohort::Canary));
            prop_assert_eq!(call.fallback_reason, None);
            prop_assert_eq!(call.label, Some(OpenEnum::Known(response.label)));
            prop_assert_eq!(call.route, Some(OpenEnum::Known(response.route)));
            prop_assert_eq!(call.rule, response.rule.map(OpenEnum::Known));
            prop_assert_eq!(call.low_confidence, Some(response.low_confidence));
        }
    }
}
