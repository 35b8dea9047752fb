//! Stored events as the event store reads them back.

use serde::Deserialize;

use crate::gateway::events::thresholds::Thresholds;
use jeffrey_terms::{Cohort, Label, Share, UnixMs};

/// Event as the event store reads it back. Only the fields that are counted are read, so an event
/// of an older schema is read as far as possible.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum StoredEvent {
    /// Record of one classify call.
    Classify(Box<StoredClassifyEvent>),
    /// User feedback on one classify call.
    Feedback(StoredFeedback),
}

/// Classify call as it is read back; the fields are those of [`ClassifyEvent`].
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredClassifyEvent {
    pub time_ms: u64,
    pub release: String,
    pub cohort: Cohort,
    pub reason: String,
    pub is_evidence: bool,
    pub subject: Option<String>,
    pub destination: Cohort,
    pub fallback_reason: Option<String>,
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

/// Result of a shadow call as it is read back; the fields are those of [`ShadowResult`].
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredShadowResult {
    pub agrees: Option<bool>,
    #[serde(default)]
    pub low_confidence: Option<bool>,
}

/// User feedback as it is read back; the fields are those of [`FeedbackEvent`].
#[allow(missing_docs, reason = "each is described where it is written")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredFeedback {
    pub time_ms: u64,
    pub release: String,
    pub cohort: Cohort,
    pub is_evidence: bool,
    #[serde(default = "no_share", rename = "share_basis_points")]
    pub share: Share,
    pub good: Option<bool>,
}

/// Returns the age of a serialized event in milliseconds; 0 if `event` is not an event.
pub fn event_age_ms(event: &str, now: UnixMs) -> u64 {
    let key = serde_json::from_str::<EventKey>(event);
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
