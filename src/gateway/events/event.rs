//! Events: one record for each classify call, and one for each piece of user feedback.
//!
//! A classify event holds the assigned cohort, the cohort that answered, the latency, and the
//! prediction. It never holds the text, at most its masked beginning, and never the subject, at
//! most a keyed hash of it. The gateway writes [`ClassifyEvent`]. The event store writes
//! [`FeedbackEvent`](crate::gateway::events::feedback::FeedbackEvent) and reads both back as
//! [`StoredEvent`](crate::gateway::events::stored::StoredEvent).

use serde::{Deserialize, Serialize};

use crate::gateway::LEGACY_RESPONSE_BYTES_MAX;
use crate::gateway::events::thresholds::Thresholds;
use crate::gateway::upstream::auth_verdict::AuthVerdict;
use crate::gateway::upstream::legacy::LegacyResponse;
use crate::gateway::upstream::model::{FallbackReason, ModelResponse};
use crate::rollout::assignment::{Assignment, AssignmentReason};
use crate::rollout::bucket::ReleaseName;
use jeffrey_mask::MaskedText;
use jeffrey_terms::{Cohort, Label, PredictionRoute, ResponseId, TieBreakRule, UnixMs};

/// Record of one classify call, as the event store counts it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifyEvent {
    event: EventKind,
    /// Always [`SCHEMA_VERSION`] at the time of writing.
    schema_version: u8,
    id: String,
    time_ms: u64,
    release: String,
    /// Assigned cohort; it stays the same when the other cohort answered.
    cohort: Cohort,
    reason: AssignmentReason,
    /// Whether the call counts as evidence for or against the release.
    is_evidence: bool,
    /// Whether the subject is a cookie that was created for this call, so it may never be seen
    /// again.
    new_cookie: bool,
    /// Keyed hash of the subject; `None` if no key is set or the caller has no subject.
    subject: Option<String>,
    /// Masked beginning of the text; `None` unless `LOG_TEXT_PREVIEW` is on.
    preview: Option<MaskedText>,
    destination: Cohort,
    /// The legacy system's verdict on the caller; `None` if it was not asked. A call assigned to the
    /// canary with another verdict than `admitted` was answered by the legacy system.
    auth_verdict: Option<AuthVerdict>,
    fallback_reason: Option<FallbackReason>,
    status: u16,
    /// Time in milliseconds from handing the request on to the end of the response, or to its
    /// headers if the body was not read. Includes a failed attempt to use the model.
    latency_ms: u64,
    /// Reason why the legacy system's response was not read; `None` if it was read.
    unreadable_response_reason: Option<UnreadableReason>,
    label: Option<Label>,
    confidence: Option<f64>,
    low_confidence: Option<bool>,
    route: Option<PredictionRoute>,
    rule_applied: Option<bool>,
    /// Name of the applied rule; `None` if the name is not one of [`TieBreakRule`].
    rule: Option<TieBreakRule>,
    /// The two most probable labels with their probabilities; set only if the model answered.
    top2: Option<[(Label, f64); 2]>,
    input_truncated: Option<bool>,
    /// Name of the model that answered; `None` if the legacy system answered. `model_sha256` is the
    /// SHA-256 of its manifest.
    model: Option<String>,
    model_sha256: Option<String>,
    thresholds: Thresholds,
    shadow: Option<ShadowResult>,
}

/// Version of the event schema. The log of the v2.4.2 reference service is version 2.
pub const SCHEMA_VERSION: u8 = 3;

/// Result of the shadow call: the model's prediction for a text that the legacy system answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowResult {
    label: Option<Label>,
    /// Whether both systems gave the same label; `None` unless both gave one.
    agrees: Option<bool>,
    low_confidence: Option<bool>,
    fallback_reason: Option<FallbackReason>,
    latency_ms: u64,
}

/// Kind of a line that the event store keeps, as its field `event` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Record of one classify call.
    Classify,
    /// User feedback on one classify call.
    Feedback,
}

/// Reason why the gateway did not read a response that it streamed from the legacy system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreadableReason {
    /// The connection ended before the response did, or the response could not be copied.
    ConnectionLost,
    /// The response is compressed, and the client must receive exactly these bytes.
    Compressed,
    /// The status is not 2xx, or there was no response.
    ErrorStatus,
    /// The gateway failed, so the response was passed on without it.
    GatewayFault,
    /// The body is not valid JSON.
    NotJson,
    /// The body is larger than [`LEGACY_RESPONSE_BYTES_MAX`].
    TooLarge,
}

impl UnreadableReason {
    /// Returns why a legacy response with this head cannot be read beside its stream; `None` if it
    /// can: a success, not compressed, not too large.
    pub fn find_in_head(
        status: u16,
        content_encoding: Option<&str>,
        content_length: Option<&str>,
    ) -> Option<Self> {
        let length = content_length.and_then(|length| length.parse::<usize>().ok());
        if !(200..300).contains(&status) {
            Some(Self::ErrorStatus)
        } else if content_encoding
            .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
        {
            Some(Self::Compressed)
        } else if length.is_some_and(|length| length > LEGACY_RESPONSE_BYTES_MAX) {
            Some(Self::TooLarge)
        } else {
            None
        }
    }
}

impl ClassifyEvent {
    /// Creates the event of a call that was assigned and not yet answered. `subject` is the keyed
    /// hash.
    pub fn new(
        id: ResponseId,
        time: UnixMs,
        release: &ReleaseName,
        decision: &Assignment,
        subject: Option<String>,
        thresholds: Thresholds,
    ) -> Self {
        let is_bucketed =
            matches!(decision.reason, AssignmentReason::Bucket | AssignmentReason::Holdout);
        Self {
            event: EventKind::Classify,
            schema_version: SCHEMA_VERSION,
            id: id.to_string(),
            time_ms: time.0,
            release: release.as_str().to_owned(),
            cohort: decision.cohort,
            reason: decision.reason,
            is_evidence: decision.is_evidence,
            new_cookie: is_bucketed && !decision.is_evidence,
            subject,
            preview: None,
            destination: Cohort::Stable,
            auth_verdict: None,
            fallback_reason: None,
            status: 0,
            latency_ms: 0,
            unreadable_response_reason: None,
            label: None,
            confidence: None,
            low_confidence: None,
            route: None,
            rule_applied: None,
            rule: None,
            top2: None,
            input_truncated: None,
            model: None,
            model_sha256: None,
            thresholds,
            shadow: None,
        }
    }

    /// Returns the keyed hash of the subject; `None` if no key is set or the caller has no subject.
    pub fn subject_hash(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Records that the model answered, with status 200 and its prediction.
    pub fn record_model_response(&mut self, response: &ModelResponse, latency_ms: u64) {
        self.destination = Cohort::Canary;
        self.status = 200;
        self.latency_ms = latency_ms;
        self.label = Some(response.label);
        self.confidence = Some(response.confidence);
        self.low_confidence = Some(response.low_confidence);
        self.route = Some(response.route);
        self.rule_applied = Some(response.rule.is_some());
        self.rule = response.rule;
        self.top2 = Some(response.top2());
        self.model = Some(response.model.clone());
        self.model_sha256.clone_from(&response.model_sha256);
        self.input_truncated = Some(response.truncated);
    }

    /// Records the legacy system's verdict on the caller.
    pub const fn record_auth_verdict(&mut self, verdict: AuthVerdict) {
        self.auth_verdict = Some(verdict);
    }

    /// Records why the model did not answer a call that was assigned to the canary.
    pub fn record_fallback(&mut self, fallback: FallbackReason) {
        self.fallback_reason = Some(fallback);
    }

    /// Records the masked beginning of the text.
    pub fn record_preview(&mut self, preview: MaskedText) {
        self.preview = Some(preview);
    }

    /// Records that the legacy system answered, with the fields of its response or the reason why
    /// it was not read.
    pub fn record_legacy_response(
        &mut self,
        status: u16,
        latency_ms: u64,
        response: Result<&LegacyResponse, UnreadableReason>,
    ) {
        self.destination = Cohort::Stable;
        self.status = status;
        self.latency_ms = latency_ms;
        match response {
            Ok(response) => {
                self.label = response.label;
                self.confidence = response.confidence;
                self.low_confidence = response.low_confidence;
                self.route = response.route;
                self.rule_applied = response.rule_applied;
                self.rule = response.rule;
            }
            Err(reason) => self.unreadable_response_reason = Some(reason),
        }
    }

    /// Records the shadow call that followed the legacy system's response. Call this after
    /// [`ClassifyEvent::record_legacy_response`], whose label it compares.
    pub fn record_shadow(
        &mut self,
        result: &Result<ModelResponse, FallbackReason>,
        latency_ms: u64,
    ) {
        let label = result.as_ref().ok().map(|response| response.label);
        self.shadow = Some(ShadowResult {
            label,
            agrees: self.label.zip(label).map(|(legacy, canary)| legacy == canary),
            low_confidence: result.as_ref().ok().map(|response| response.low_confidence),
            fallback_reason: result.as_ref().err().copied(),
            latency_ms,
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gateway::events::stored::StoredEvent;
    use crate::rollout::assignment::{
        AssignmentRules, CanaryEligibility, RequestFacts, assign_cohort,
    };
    use crate::rollout::release_state::HardFailureKind;
    use jeffrey_terms::{Share, Subject};

    /// Event of one canary call.
    pub(in crate::gateway::events) fn event() -> ClassifyEvent {
        let release = ReleaseName::parse("e1").unwrap();
        let subject = Subject::parse("alice").unwrap();
        let facts = RequestFacts {
            subject: Some(&subject),
            is_subject_trusted: false,
            requested_cohort: None,
            is_sticky: true,
            eligibility: CanaryEligibility::Eligible,
            is_over_limit: false,
        };
        let no_share = Share::NONE;
        let rules = AssignmentRules {
            release: &release,
            bucket_salt: None,
            share: Share::FULL,
            holdout: no_share,
            disabled: false,
            cohort_overrides: &[],
        };
        let id = ResponseId::new(UnixMs(1), [0; 10]);
        let subject = Some("5ab1".to_owned());
        let thresholds = Thresholds::new(Share::FULL, Some(1), Some(100.0));
        ClassifyEvent::new(
            id,
            UnixMs(1),
            &release,
            &assign_cohort(&facts, &rules),
            subject,
            thresholds,
        )
    }

    #[test]
    fn a_failed_open_call_stays_in_its_cohort_and_names_who_answered() {
        let mut event = event();
        event.record_fallback(FallbackReason::Timeout);
        event.record_legacy_response(200, 2_041, Ok(&LegacyResponse::default()));
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["cohort"], &json["destination"]), (&"canary".into(), &"stable".into()));
        assert_eq!(
            (&json["fallback_reason"], &json["latency_ms"]),
            (&"timeout".into(), &2_041.into())
        );
        assert_eq!(json["is_evidence"], true);
        assert_eq!((&json["schema_version"], &json["new_cookie"]), (&3.into(), &false.into()));
        assert_eq!(json["thresholds"]["canary_slow_ms"], 120.0);
        assert!(serde_json::from_value::<StoredEvent>(json).is_ok(), "what is written can be read");
    }

    #[test]
    fn a_shadow_agrees_only_when_both_gave_a_label() {
        let invalid = Err(FallbackReason::InvalidResponse);
        let mut event = event();
        event.record_legacy_response(
            200,
            40,
            Ok(&LegacyResponse { label: Some(Label::Joy), ..LegacyResponse::default() }),
        );
        event.record_shadow(&invalid, 7);
        let shadow = event.shadow.unwrap();
        assert_eq!(
            (shadow.agrees, shadow.fallback_reason),
            (None, Some(FallbackReason::InvalidResponse))
        );
    }

    #[test]
    fn an_event_names_why_a_response_was_not_read() {
        let rows = [
            (UnreadableReason::ConnectionLost, "connection_lost"),
            (UnreadableReason::Compressed, "compressed"),
            (UnreadableReason::ErrorStatus, "error_status"),
            (UnreadableReason::GatewayFault, "gateway_fault"),
            (UnreadableReason::NotJson, "not_json"),
            (UnreadableReason::TooLarge, "too_large"),
        ];
        for (reason, name) in rows {
            let mut event = event();
            event.record_legacy_response(200, 1, Err(reason));
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["unreadable_response_reason"], name);
            assert_eq!(serde_json::from_value::<UnreadableReason>(name.into()).unwrap(), reason);
        }
    }

    #[test]
    fn the_json_of_an_event_keeps_its_form() {
        let mut event = event();
        event.record_fallback(FallbackReason::HardFailure(HardFailureKind::NonFinite));
        let response = LegacyResponse {
            label: Some(Label::Anger),
            confidence: Some(0.5),
            route: Some(PredictionRoute::LinearHead),
            low_confidence: Some(true),
            rule_applied: Some(true),
            rule: Some(TieBreakRule::AngerKeywordExtended),
        };
        event.record_legacy_response(200, 41, Ok(&response));
        event.record_shadow(&Err(FallbackReason::BreakerOpen), 7);
        let expected = "{\"event\":\"classify\",\"schema_version\":3,\
            \"id\":\"00000000-0001-7000-8000-000000000000\",\"time_ms\":1,\"release\":\"e1\",\
            \"cohort\":\"canary\",\"reason\":\"bucket\",\"is_evidence\":true,\"new_cookie\":false,\
            \"subject\":\"5ab1\",\"preview\":null,\"destination\":\"stable\",\"auth_verdict\":null,\
            \"fallback_reason\":\"non_finite\",\"status\":200,\"latency_ms\":41,\
            \"unreadable_response_reason\":null,\"label\":\"anger\",\"confidence\":0.5,\
            \"low_confidence\":true,\"route\":\"linear_head\",\"rule_applied\":true,\
            \"rule\":\"tiebreak_anger_keyword_extended\",\"top2\":null,\"input_truncated\":null,\
            \"model\":null,\"model_sha256\":null,\"thresholds\":{\"slow_ms\":200,\
            \"stable_p95_ms\":100.0,\"canary_slow_ms\":120.0,\"share_basis_points\":10000,\
            \"stage\":1},\"shadow\":{\"label\":null,\"agrees\":null,\"low_confidence\":null,\
            \"fallback_reason\":\"breaker_open\",\"latency_ms\":7}}";
        assert_eq!(serde_json::to_string(&event).unwrap(), expected);
    }

    #[test]
    fn a_response_is_read_only_if_it_is_a_success_plain_and_small() {
        let rows = [
            // status, content-encoding, content-length, reason
            (200, None, None, None),
            (204, Some("identity"), Some("262144"), None),
            (200, Some("Identity"), None, None),
            (200, None, Some("not a number"), None),
            (200, None, Some("262145"), Some(UnreadableReason::TooLarge)),
            (200, Some("gzip"), Some("10"), Some(UnreadableReason::Compressed)),
            (199, None, None, Some(UnreadableReason::ErrorStatus)),
            (304, None, None, Some(UnreadableReason::ErrorStatus)),
            (500, Some("gzip"), Some("262145"), Some(UnreadableReason::ErrorStatus)),
        ];
        for (status, encoding, length, expected) in rows {
            let found = UnreadableReason::find_in_head(status, encoding, length);
            assert_eq!(found, expected, "{status} {encoding:?} {length:?}");
        }
    }
}
