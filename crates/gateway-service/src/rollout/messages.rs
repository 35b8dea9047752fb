//! Messages to the rollout object of a release, and its replies.

use serde::{Deserialize, Serialize};

use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::api::rollout::RolloutCommand;
use jeffrey_edge::rollout::advance_checks::ModelValidation;
use jeffrey_edge::rollout::hard_failure_report::HardFailureReport;
use jeffrey_edge::rollout::release_state::{ReleaseChange, ReleaseState};
use jeffrey_edge::rollout::status::RolloutStatus;
use jeffrey_terms::Share;

/// Message to the rollout object.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RolloutRequest {
    /// Applies an operator's command. The reply is a [`ChangeOutcome`].
    Command(RolloutCommand),
    /// Records a hard failure that an isolate saw. A report that arrives twice counts once.
    HardFailure(HardFailureReport),
    /// Asks for the history's entries after entry `since`, as lines of JSON.
    History {
        /// Number of the last entry that the caller has; 0 for all.
        since: u64,
        /// Largest number of entries in the reply.
        limit: u64,
    },
    /// Applies a manual change. The reply is a [`ChangeOutcome`].
    ManualChange(ReleaseChange),
    /// Asks for the [`ReleaseSnapshot`].
    Snapshot,
    /// Records stable's p95 latency of the last closed minute.
    StableP95 {
        /// The p95, in milliseconds.
        p95_ms: f64,
    },
    /// Asks for the [`StatusResponse`].
    Status,
    /// Sends a test alert to every webhook target. The reply is a list of [`TestAlertResult`].
    TestAlert,
    /// Records a release check. The reply is the check.
    Validation(ModelValidation),
    /// Sets the alarm again if the object lost it.
    Wake,
}

/// State that the object sends to isolates: the release state, and the values that calls are
/// decided and measured by.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ReleaseSnapshot {
    /// State of the release.
    pub release_state: ReleaseState,
    /// The plan's holdout; zero without a plan.
    pub holdout: Share,
    /// `true` while the plan's phase is rolled back, for any cause.
    pub rolled_back: bool,
    /// Index of the plan's stage; `None` while no plan moves the share.
    pub stage: Option<u32>,
    /// Stable's p95 latency, in milliseconds; `None` if the object does not know it.
    pub stable_p95_ms: Option<f64>,
    /// Sha256 of the only model that may answer: that of the release check that passed before the release
    /// was started or resumed; `None` before one.
    #[serde(default)]
    pub model_sha256: Option<String>,
    /// Name of the salt that this release draws by ([`bucket_salt_name`]); `None` before the release had a
    /// share, and in a snapshot of an earlier version.
    ///
    /// [`bucket_salt_name`]: jeffrey_edge::rollout::bucket::bucket_salt_name
    #[serde(default)]
    pub bucket_salt: Option<String>,
}

/// The release snapshot, and the rollout status if the release has a plan.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct StatusResponse {
    /// Snapshot that isolates cache.
    pub snapshot: ReleaseSnapshot,
    /// Status of the plan; `None` without a plan.
    pub status: Option<RolloutStatus>,
}

/// Outcome of an operator's change or command.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The object applied it; the new status.
    Applied(Box<StatusResponse>),
    /// The object refused it.
    Rejected {
        /// HTTP status of the refusal.
        status: u16,
        /// The refusal's JSON error.
        body: String,
    },
}

impl ChangeOutcome {
    /// Builds the outcome of a refused change.
    pub fn rejected(error: &ApiError) -> Self {
        let response = error.to_response();
        let body = String::from_utf8_lossy(&response.body).into_owned();
        Self::Rejected { status: response.status, body }
    }
}

/// Result of a test alert for one webhook target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TestAlertResult {
    /// Name of the target.
    pub name: String,
    /// HTTP status of its response; `None` without a response.
    pub status: Option<u16>,
    /// `true` if the target accepted the alert.
    pub delivered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While a deployment spreads, an isolate may ask an object that still runs the former version.
    #[test]
    fn a_snapshot_of_the_former_version_is_read() {
        let snapshot = r#"{"release_state":{"version":3,"share_basis_points":1000,"killed":false,
            "changed_ms":1,"hard_failures":0,"last_hard_failure":null},"holdout":100,
            "rolled_back":false,"stage":0,"stable_p95_ms":null}"#;
        let snapshot: ReleaseSnapshot = serde_json::from_str(snapshot).unwrap();
        assert_eq!((snapshot.model_sha256, snapshot.bucket_salt), (None, None));
    }
}
