//! Feedback of a user on one response, and its event.

use serde::{Deserialize, Serialize};

use crate::gateway::events::event::{EventKind, SCHEMA_VERSION};
use crate::gateway::events::open_enum::OpenEnum;
use crate::gateway::events::thresholds::Thresholds;
use jeffrey_terms::{Cohort, Label, ResponseId, Share, UnixMs};

/// Feedback of a user on one response. [`crate::gateway::api::feedback::parse`] sets exactly one of the two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// `true` if the user confirms the label, `false` if not; `None` if the user named another label.
    pub ok: Option<bool>,
    /// Label that would have been right; `None` if the user said only right or wrong.
    pub correct_label: Option<Label>,
}

impl Feedback {
    /// Returns whether the predicted label was right. Returns `None` if the user named a label and
    /// the predicted one is unknown.
    pub fn confirms_label(self, predicted: Option<Label>) -> Option<bool> {
        self.ok.or_else(|| Some(self.correct_label? == predicted?))
    }
}

/// User feedback as a separate event. It carries release, cohort, share and subject of the response
/// that the user rated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedbackEvent {
    event: EventKind,
    schema_version: u8,
    id: String,
    time_ms: u64,
    /// Id of the classify event of the rated response.
    classify_id: String,
    release: String,
    cohort: Cohort,
    is_evidence: bool,
    /// Traffic share of the canary when the response was given, in basis points.
    #[serde(rename = "share_basis_points")]
    share: Share,
    subject: Option<String>,
    label: Option<Label>,
    correct_label: Option<Label>,
    good: Option<bool>,
}

impl FeedbackEvent {
    /// Creates the feedback event for a response. `call_json` is its classify event as the event
    /// store holds it; returns `None` if that is not a classify event of a known cohort.
    ///
    /// A predicted label that this version does not know is recorded as none, so feedback that
    /// names another label says neither good nor bad.
    pub fn new(id: ResponseId, time: UnixMs, call_json: &str, feedback: Feedback) -> Option<Self> {
        #[derive(Deserialize)]
        struct RatedCall {
            id: String,
            release: String,
            cohort: Cohort,
            is_evidence: bool,
            subject: Option<String>,
            label: Option<OpenEnum<Label>>,
            #[serde(default = "Thresholds::unknown")]
            thresholds: Thresholds,
        }
        let call: RatedCall = serde_json::from_slice(call_json.as_bytes()).ok()?;
        let label = call.label.and_then(OpenEnum::known);
        Some(Self {
            event: EventKind::Feedback,
            schema_version: SCHEMA_VERSION,
            id: id.to_string(),
            time_ms: time.0,
            classify_id: call.id,
            release: call.release,
            cohort: call.cohort,
            is_evidence: call.is_evidence,
            share: call.thresholds.share,
            subject: call.subject,
            label,
            correct_label: feedback.correct_label,
            good: feedback.confirms_label(label),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::events::event::tests::event;
    use crate::gateway::events::stored::EventKey;

    #[test]
    fn feedback_counts_for_the_cohort_of_its_answer() {
        let call_json = serde_json::to_string(&event()).unwrap();
        let key: EventKey = serde_json::from_str(&call_json).unwrap();
        assert_eq!((key.time_ms, key.subject.as_deref()), (1, Some("5ab1")));
        let id = ResponseId::new(UnixMs(2), [1; 10]);
        let feedback = Feedback { ok: Some(false), correct_label: None };
        let feedback_event = FeedbackEvent::new(id, UnixMs(2), &call_json, feedback).unwrap();
        assert_eq!(
            (feedback_event.cohort, feedback_event.is_evidence, feedback_event.good),
            (Cohort::Canary, true, Some(false))
        );
        assert_eq!(feedback_event.classify_id, key.id);
        let feedback_json = serde_json::to_string(&feedback_event).unwrap();
        assert!(
            serde_json::from_str::<EventKey>(&feedback_json).is_ok(),
            "it is kept like any other"
        );
        assert_eq!(FeedbackEvent::new(id, UnixMs(2), "{}", feedback), None);
    }

    #[test]
    fn feedback_on_an_answer_of_a_newer_version_is_kept() {
        let id = ResponseId::new(UnixMs(2), [1; 10]);
        let named = Feedback { ok: None, correct_label: Some(Label::Joy) };
        let wrong = Feedback { ok: Some(false), correct_label: None };
        let mut call = serde_json::to_value(event()).unwrap();
        for name in ["label", "reason", "destination", "fallback_reason", "route", "rule"] {
            call[name] = "from_the_future".into();
        }
        let feedback_on = |call: &serde_json::Value, feedback| {
            FeedbackEvent::new(id, UnixMs(2), &call.to_string(), feedback)
        };
        // A label that is unknown here can be rated, but not compared with another one.
        let rated = feedback_on(&call, wrong).unwrap();
        assert_eq!((rated.label, rated.good), (None, Some(false)));
        let compared = feedback_on(&call, named).unwrap();
        assert_eq!((compared.correct_label, compared.good), (Some(Label::Joy), None));
        call["label"] = "joy".into();
        let known = feedback_on(&call, named).unwrap();
        assert_eq!((known.label, known.good), (Some(Label::Joy), Some(true)));
        call["cohort"] = "from_the_future".into();
        assert_eq!(feedback_on(&call, wrong), None, "there is no cohort to count it for");
    }
}
