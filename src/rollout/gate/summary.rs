//! The summary of all gates: the findings, and what they mean together for a release.

use serde::{Deserialize, Serialize};

use super::GateEffect;
use super::finding::{GateFinding, GateVerdict, worst_verdict};

/// Summary of all gates at the end of a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSummary {
    /// Findings of the gates, in the plan's order.
    pub findings: Vec<GateFinding>,
    /// Whether the legacy system is outside the plan's limits for it.
    pub stable_outside_limits: bool,
    /// Whether no canary request was counted for
    /// [`SILENT_AFTER_MINUTES`](super::evaluator::SILENT_AFTER_MINUTES).
    pub no_canary_data: bool,
    /// The canary's requests since the stage began.
    pub samples: u64,
}

impl GateSummary {
    /// Returns the worst verdict of the gates that roll back.
    pub fn rollback_verdict(&self) -> GateVerdict {
        worst_verdict(self.verdicts_of(GateEffect::RollBack))
    }

    /// Returns whether the gates allow the release to advance.
    pub fn allows_advance(&self) -> bool {
        let required = self
            .verdicts_of(GateEffect::RollBack)
            .chain(self.verdicts_of(GateEffect::BlockAdvance));
        worst_verdict(required) == GateVerdict::Pass
            && !self.stable_outside_limits
            && !self.no_canary_data
    }

    /// Returns the first failing gate that rolls back; `None` if there is none.
    pub fn first_failure(&self) -> Option<&GateFinding> {
        let fails = |finding: &&GateFinding| {
            finding.effect == GateEffect::RollBack && finding.verdict == GateVerdict::Fail
        };
        self.findings.iter().find(fails)
    }

    fn verdicts_of(&self, effect: GateEffect) -> impl Iterator<Item = GateVerdict> + '_ {
        self.findings
            .iter()
            .filter(move |finding| finding.effect == effect)
            .map(|finding| finding.verdict)
    }
}
