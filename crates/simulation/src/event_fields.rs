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
    pub(crate) fallback_reason: Option<String>,
    #[serde(default)]
    pub(crate) status: u16,
    /// Id of the rated event, of feedback.
    #[serde(default)]
    pub(crate) classify_id: Option<String>,
    #[serde(default)]
    pub(crate) thresholds: Option<ThresholdFields>,
}

/// Thresholds of an event that the checks read.
#[derive(Deserialize)]
pub(crate) struct ThresholdFields {
    pub(crate) share_basis_points: Option<u16>,
}
