//! Confidence and latency limits that an event is measured against.

use serde::{Deserialize, Serialize};

use crate::rollout::counts::SLOW_MS;
use jeffrey_terms::Share;

/// Latency limits, share and stage that applied when a call was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Fixed latency limit in milliseconds; a longer call is slow. Always [`SLOW_MS`].
    pub slow_ms: u64,
    /// P95 latency of the stable cohort in the last closed minute that the isolate knows of, in
    /// milliseconds; `None` if unknown or too old.
    pub stable_p95_ms: Option<f64>,
    /// 1.2 times `stable_p95_ms`, in milliseconds; a longer canary call is slow compared with
    /// stable.
    pub canary_slow_ms: Option<f64>,
    /// Traffic share of the canary, in basis points.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Number of the plan's stage, from 0; `None` while no plan controls the share.
    pub stage: Option<u32>,
}

impl Thresholds {
    /// Builds the thresholds for a share and a stage; `stable_p95_ms` is `None` if stable's latency
    /// is unknown.
    pub fn new(share: Share, stage: Option<u32>, stable_p95_ms: Option<f64>) -> Self {
        let canary_slow_ms = stable_p95_ms.map(|p95| 1.2 * p95);
        Self { slow_ms: SLOW_MS, stable_p95_ms, canary_slow_ms, share, stage }
    }
}

impl Thresholds {
    /// Returns the thresholds of an event that was written before events carried them: share 0, no
    /// stage, no stable P95.
    pub(super) fn unknown() -> Self {
        Self::new(Share::NONE, None, None)
    }
}
