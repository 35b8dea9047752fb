//! What is kept of one classify call: who was to answer, who did, how long it took, what was said.
//!
//! Never the text, at most its masked beginning; never the subject, at most a keyed hash of it.

use serde::{Deserialize, Serialize};

use super::feedback::Feedback;
use super::legacy::{LegacyResponse, ReportedRoute};
use super::model::{Fallback, ModelResponse, ReportedRule};
use crate::rollout::assignment::{Assignment, AssignmentReason};
use crate::rollout::bucket::ReleaseName;
use crate::rollout::counts::SLOW_MS;
use jeffrey_mask::MaskedText;
use jeffrey_terms::{Cohort, Label, ResponseId, Share, UnixMs};

/// One classify call, as it is counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifyEvent {
    event: &'static str,
    /// [`SCHEMA_VERSION`].
    schema_version: u8,
    id: String,
    time_ms: u64,
    release: String,
    /// The cohort it was assigned to, whoever answered.
    cohort: Cohort,
    by: &'static str,
    /// Whether it is evidence for or against the release.
    counts: bool,
    /// Whether its subject may never come back: a cookie that was made for this call.
    unsticky: bool,
    /// Keyed hash, where a key is set and the caller is known.
    subject: Option<String>,
    /// The masked beginning of the text, where that is switched on.
    preview: Option<MaskedText>,
    destination: Cohort,
    fallback: Option<String>,
    status: u16,
    /// From handing the request on to the end of the answer that was read, or to its headers where
    /// the answer is not read; a failed attempt at the model is part of it.
    latency_ms: u64,
    /// Why the old system's answer was not read.
    unobserved: Option<&'static str>,
    label: Option<Label>,
    confidence: Option<f64>,
    low_confidence: Option<bool>,
    route: Option<&'static str>,
    rule_applied: Option<bool>,
    /// The rule's name, where it is one of ours.
    rule: Option<&'static str>,
    /// The two highest labels and their probabilities.
    top2: Option<[(Label, f64); 2]>,
    truncated: Option<bool>,
    /// The model that answered: its name, and the sha256 of its manifest.
    model: Option<String>,
    model_sha256: Option<String>,
    thresholds: Thresholds,
    shadow: Option<ShadowResult>,
}

/// The version of the events' schema. The reference's log is version 2.
pub const SCHEMA_VERSION: u8 = 3;

/// What a call was held against when it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Above this it is slow.
    pub slow_ms: u64,
    /// Stable's P95 of the last closed minute that is known.
    pub stable_p95_ms: Option<f64>,
    /// 1.2 times that.
    pub canary_slow_ms: Option<f64>,
    /// The canary's share.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// The number of the plan's stage, where a plan is in force.
    pub stage: Option<u32>,
}

impl Thresholds {
    /// At a share and a stage, with what is known of stable's latencies.
    pub fn new(share: Share, stage: Option<u32>, stable_p95_ms: Option<f64>) -> Self {
        let canary_slow_ms = stable_p95_ms.map(|p95| 1.2 * p95);
        Self { slow_ms: SLOW_MS, stable_p95_ms, canary_slow_ms, share, stage }
    }
}

/// What the model says of a text that the old system answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowResult {
    label: Option<Label>,
    /// Whether both gave the same label; `None` unless both gave one.
    agrees: Option<bool>,
    low_confidence: Option<bool>,
    fallback: Option<String>,
    latency_ms: u64,
}

/// Why an answer of the old system was not read beside its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadReason {
    /// The connection ended before the answer did.
    ConnectionLost,
    /// It is compressed, and the client is to have exactly these bytes.
    Compressed,
    /// It was no success.
    ErrorStatus,
    /// It is not JSON.
    NotJson,
    /// It is larger than what is read.
    TooLarge,
}

impl UnreadReason {
    /// The name used in every event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionLost => "broken",
            Self::Compressed => "encoded",
            Self::ErrorStatus => "failed",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
        }
    }
}

impl ClassifyEvent {
    /// A call that was decided and is not yet answered.
    pub fn new(
        id: ResponseId,
        time: UnixMs,
        release: &ReleaseName,
        decision: &Assignment,
        subject: Option<String>,
        preview: Option<MaskedText>,
        thresholds: Thresholds,
    ) -> Self {
        let is_bucketed =
            matches!(decision.reason, AssignmentReason::Bucket | AssignmentReason::Holdout);
        Self {
            event: "classify",
            schema_version: SCHEMA_VERSION,
            id: id.to_string(),
            time_ms: time.0,
            release: release.as_str().to_owned(),
            cohort: decision.cohort,
            by: decision.reason.name(),
            counts: decision.is_evidence,
            unsticky: is_bucketed && !decision.is_evidence,
            subject,
            preview,
            destination: Cohort::Stable,
            fallback: None,
            status: 0,
            latency_ms: 0,
            unobserved: None,
            label: None,
            confidence: None,
            low_confidence: None,
            route: None,
            rule_applied: None,
            rule: None,
            top2: None,
            truncated: None,
            model: None,
            model_sha256: None,
            thresholds,
            shadow: None,
        }
    }

    /// Answered by the model.
    pub fn record_model_response(&mut self, response: &ModelResponse, latency_ms: u64) {
        self.destination = Cohort::Canary;
        self.status = 200;
        self.latency_ms = latency_ms;
        self.label = Some(response.label);
        self.confidence = Some(response.confidence);
        self.low_confidence = Some(response.low_confidence);
        self.route = Some(response.route.name());
        self.rule_applied = Some(response.rule.is_some());
        self.rule = response.rule.map(ReportedRule::name);
        self.top2 = Some(response.top2());
        self.model = Some(response.model.clone());
        self.model_sha256.clone_from(&response.model_sha256);
        self.truncated = Some(response.truncated);
    }

    /// Not answered by the model, though it was to be.
    pub fn record_fallback(&mut self, fallback: Fallback) {
        self.fallback = Some(fallback.to_string());
    }

    /// Answered by the old system.
    pub fn record_legacy_response(
        &mut self,
        status: u16,
        latency_ms: u64,
        response: Result<&LegacyResponse, UnreadReason>,
    ) {
        self.destination = Cohort::Stable;
        self.status = status;
        self.latency_ms = latency_ms;
        match response {
            Ok(response) => {
                self.label = response.label;
                self.confidence = response.confidence;
                self.low_confidence = response.low_confidence;
                self.route = response.route.map(ReportedRoute::name);
                self.rule_applied = response.rule_applied;
                self.rule = response.rule.map(ReportedRule::name);
            }
            Err(reason) => self.unobserved = Some(reason.name()),
        }
    }

    /// The model was asked as well, after the old system's answer.
    pub fn record_shadow(&mut self, result: &Result<ModelResponse, Fallback>, latency_ms: u64) {
        let label = result.as_ref().ok().map(|response| response.label);
        self.shadow = Some(ShadowResult {
            label,
            agrees: self.label.zip(label).map(|(legacy, canary)| legacy == canary),
            low_confidence: result.as_ref().ok().map(|response| response.low_confidence),
            fallback: result.as_ref().err().map(ToString::to_string),
            latency_ms,
        });
    }
}

/// An event as it is read back: what is counted of it. Fields that are not counted are not read, so an older
/// event is read as far as it goes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum StoredEvent {
    /// A classify call.
    Classify(Box<StoredCall>),
    /// A verdict on one.
    Verdict(StoredFeedback),
}

/// A classify call as it is read back; the fields are [`ClassifyEvent`]'s.
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredCall {
    pub time_ms: u64,
    pub release: String,
    pub cohort: Cohort,
    pub by: String,
    pub counts: bool,
    pub subject: Option<String>,
    pub destination: Cohort,
    pub fallback: Option<String>,
    pub status: u16,
    pub latency_ms: u64,
    pub label: Option<Label>,
    pub confidence: Option<f64>,
    pub low_confidence: Option<bool>,
    pub route: Option<String>,
    pub rule_applied: Option<bool>,
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default = "Thresholds::unknown")]
    pub thresholds: Thresholds,
    pub shadow: Option<StoredShadowResult>,
    #[serde(default)]
    pub preview: Option<String>,
}

impl Thresholds {
    /// Of an event that was written before they were.
    fn unknown() -> Self {
        Self::new(Share::NONE, None, None)
    }
}

/// What the model said beside the old system, as it is read back.
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredShadowResult {
    pub agrees: Option<bool>,
    #[serde(default)]
    pub low_confidence: Option<bool>,
}

/// A verdict as it is read back.
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredFeedback {
    pub time_ms: u64,
    pub release: String,
    pub cohort: Cohort,
    pub counts: bool,
    #[serde(default = "nobody", rename = "share_basis_points")]
    pub share: Share,
    pub good: Option<bool>,
}

/// How long ago an event was made, in milliseconds; 0 for what is none.
pub fn event_age_ms(event: &str, now: UnixMs) -> u64 {
    let key = serde_json::from_str::<EventKey>(event);
    key.map_or(0, |key| now.0.saturating_sub(key.time_ms))
}

fn nobody() -> Share {
    Share::NONE
}

/// What the ledger needs of an event that it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventKey {
    /// Under which it counts once.
    pub id: String,
    /// When it was made.
    pub time_ms: u64,
    /// The release that it is about.
    pub release: String,
    /// Keyed hash of whom it is about.
    #[serde(default)]
    pub subject: Option<String>,
}

/// A verdict as an event of its own, with the cohort of the answer that it is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedbackEvent {
    event: &'static str,
    schema_version: u8,
    id: String,
    time_ms: u64,
    /// The id of the answer.
    of: String,
    release: String,
    cohort: Cohort,
    counts: bool,
    /// The canary's share when the answer was given.
    #[serde(rename = "share_basis_points")]
    share: Share,
    subject: Option<String>,
    label: Option<Label>,
    correct_label: Option<Label>,
    good: Option<bool>,
}

impl FeedbackEvent {
    /// The verdict on an answer, whose event is `answer` as the ledger keeps it; `None` when that is the
    /// event of no answer.
    pub fn new(id: ResponseId, time: UnixMs, call_json: &str, feedback: Feedback) -> Option<Self> {
        #[derive(Deserialize)]
        struct RatedCall {
            id: String,
            release: String,
            cohort: Cohort,
            counts: bool,
            subject: Option<String>,
            label: Option<Label>,
            #[serde(default = "Thresholds::unknown")]
            thresholds: Thresholds,
        }
        let call: RatedCall = serde_json::from_str(call_json).ok()?;
        Some(Self {
            event: "verdict",
            schema_version: SCHEMA_VERSION,
            id: id.to_string(),
            time_ms: time.0,
            of: call.id,
            release: call.release,
            cohort: call.cohort,
            counts: call.counts,
            share: call.thresholds.share,
            subject: call.subject,
            label: call.label,
            correct_label: feedback.correct_label,
            good: feedback.is_good(call.label),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::assignment::{
        AssignmentRules, CanaryEligibility, RequestFacts, assign_cohort,
    };
    use jeffrey_terms::Subject;

    fn event() -> ClassifyEvent {
        let release = ReleaseName::parse("e1").unwrap();
        let subject = Subject::parse("alice").unwrap();
        let facts = RequestFacts {
            subject: Some(&subject),
            requested_cohort: None,
            is_sticky: true,
            eligibility: CanaryEligibility::Eligible,
        };
        let no_share = Share::NONE;
        let rules = AssignmentRules {
            release: &release,
            share: Share::ALL,
            holdout: no_share,
            disabled: false,
            cohort_overrides: &[],
        };
        let id = ResponseId::new(UnixMs(1), [0; 10]);
        let subject = Some("5ab1".to_owned());
        let thresholds = Thresholds::new(Share::ALL, Some(1), Some(100.0));
        ClassifyEvent::new(
            id,
            UnixMs(1),
            &release,
            &assign_cohort(&facts, &rules),
            subject,
            None,
            thresholds,
        )
    }

    #[test]
    fn a_failed_open_call_stays_in_its_cohort_and_names_who_answered() {
        let mut event = event();
        event.record_fallback(Fallback::Timeout);
        event.record_legacy_response(200, 2_041, Ok(&LegacyResponse::default()));
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["cohort"], &json["destination"]), (&"canary".into(), &"stable".into()));
        assert_eq!((&json["fallback"], &json["latency_ms"]), (&"timeout".into(), &2_041.into()));
        assert_eq!(json["counts"], true);
        assert_eq!((&json["schema_version"], &json["unsticky"]), (&3.into(), &false.into()));
        assert_eq!(json["thresholds"]["canary_slow_ms"], 120.0);
        assert!(serde_json::from_value::<StoredEvent>(json).is_ok(), "what is written can be read");
    }

    #[test]
    fn a_shadow_agrees_only_when_both_gave_a_label() {
        let invalid = Err(Fallback::InvalidResponse);
        let mut event = event();
        event.record_legacy_response(
            200,
            40,
            Ok(&LegacyResponse { label: Some(Label::Joy), ..LegacyResponse::default() }),
        );
        event.record_shadow(&invalid, 7);
        let shadow = event.shadow.unwrap();
        assert_eq!((shadow.agrees, shadow.fallback.as_deref()), (None, Some("garbled")));
    }

    #[test]
    fn a_verdict_counts_for_the_cohort_of_its_answer() {
        let call_json = serde_json::to_string(&event()).unwrap();
        let key: EventKey = serde_json::from_str(&call_json).unwrap();
        assert_eq!((key.time_ms, key.subject.as_deref()), (1, Some("5ab1")));
        let id = ResponseId::new(UnixMs(2), [1; 10]);
        let feedback = Feedback { ok: Some(false), correct_label: None };
        let feedback_event = FeedbackEvent::new(id, UnixMs(2), &call_json, feedback).unwrap();
        assert_eq!(
            (feedback_event.cohort, feedback_event.counts, feedback_event.good),
            (Cohort::Canary, true, Some(false))
        );
        assert_eq!(feedback_event.of, key.id);
        let feedback_json = serde_json::to_string(&feedback_event).unwrap();
        assert!(
            serde_json::from_str::<EventKey>(&feedback_json).is_ok(),
            "it is kept like any other"
        );
        assert_eq!(FeedbackEvent::new(id, UnixMs(2), "{}", feedback), None);
    }
}
