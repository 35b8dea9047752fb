//! Fields of a stored event that the checks read.

use serde::Deserialize;

use jeffrey_terms::Cohort;

/// Fields of a stored event that the checks read. They are read anew here, so that a fault of the
/// store's own reader is found.
#[derive(Deserialize)]
pub(crate) struct EventFields {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) time_ms: u64,
    pub(crate) release: String,
    #[serde(default)]
    pub(crate) subject: Option<String>,
    pub(crate) cohort: Cohort,
    pub(crate) is_evidence: bool,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) destination: Option<Cohort>,
    #[serde(default)]
    pub(crate) auth_verdict: Option<String>,
    #[serde(default)]
    pub(crate) fallback_reason: Option<String>,
    #[serde(default)]
    pub(crate) status: u16,
    /// Id of the rated event, of feedback.
    #[serde(default)]
    pub(crate) classify_id: Option<String>,
    #[serde(default)]
    pub(crate) thresholds: Option<ThresholdFields>,
}

impl EventFields {
    /// Returns whether the legacy system refused the call, or was asked and did not admit its caller.
    pub(crate) fn is_refused(&self) -> bool {
        (400..500).contains(&self.status) || self.is_kept_out()
    }

    /// Returns whether the legacy system was asked about the caller and did not admit it.
    pub(crate) fn is_kept_out(&self) -> bool {
        self.auth_verdict.as_deref().is_some_and(|verdict| verdict != "admitted")
    }
}

/// Thresholds of an event that the checks read.
#[derive(Deserialize)]
pub(crate) struct ThresholdFields {
    pub(crate) share_basis_points: Option<u16>,
}
