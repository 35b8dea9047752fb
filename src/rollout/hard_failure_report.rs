//! Reports of hard failures, and the rule by which a reported trap stops a release.
//!
//! A dimension mismatch, a score that is no finite number and another model than the validated one are
//! faults whatever the text, so one report is enough. A trap may be the fault of one text that one client sends, so it
//! counts when several subjects met one, or when the fixed sentence of a probe did.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::release_state::{HardFailure, HardFailureKind};
use jeffrey_terms::UnixMs;

/// Different subjects that have to meet a trap within [`TRAP_WINDOW_MS`].
pub const TRAP_SUBJECTS_MIN: usize = 3;

/// Time within which traps count together, in milliseconds.
pub const TRAP_WINDOW_MS: u64 = 5 * 60_000;

/// Report of an isolate, which sends it until the rollout object acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardFailureReport {
    /// Id of the report: one that arrives twice counts once.
    pub id: String,
    /// The hard failure, with its time by the isolate's clock.
    pub failure: HardFailure,
    /// Source of the text at which the model failed.
    pub source: FailureSource,
}

/// Source of the text at which the model failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureSource {
    /// Some caller's text. Which caller it was makes no difference.
    Anonymous,
    /// The fixed sentence of a probe.
    Probe,
    /// The text of a subject, by its keyed hash.
    Subject(String),
}

/// Returns whether a report stops the release. `earlier` are the reported traps that have not
/// stopped it, in any order; only those within [`TRAP_WINDOW_MS`] of this report count.
pub fn stops_release(report: &HardFailureReport, earlier: &[HardFailureReport]) -> bool {
    if report.failure.kind != HardFailureKind::Trap || report.source == FailureSource::Probe {
        return true;
    }
    let is_near = |other: &&HardFailureReport| {
        let UnixMs(at) = other.failure.detected_at;
        at.abs_diff(report.failure.detected_at.0) < TRAP_WINDOW_MS
    };
    let near = earlier.iter().filter(is_near).chain([report]);
    let subjects: BTreeSet<_> = near
        .map(|trap| &trap.source)
        .filter(|source| matches!(source, FailureSource::Subject(_)))
        .collect();
    subjects.len() >= TRAP_SUBJECTS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(at_s: u64, source: FailureSource) -> HardFailureReport {
        let failure =
            HardFailure { kind: HardFailureKind::Trap, detected_at: UnixMs(1_000 * at_s) };
        HardFailureReport { id: format!("{at_s}"), failure, source }
    }

    fn subject(name: &str) -> FailureSource {
        FailureSource::Subject(name.to_owned())
    }

    #[test]
    fn a_trap_stops_a_release_when_three_subjects_met_one_in_five_minutes() {
        let a_and_b = [trap(1_000, subject("a")), trap(1_100, subject("b"))];
        assert!(stops_release(&trap(1_299, subject("c")), &a_and_b));
        assert!(!stops_release(&trap(1_300, subject("c")), &a_and_b), "a's is five minutes old");
        assert!(!stops_release(&trap(1_200, subject("b")), &a_and_b));
        assert!(!stops_release(&trap(1_200, FailureSource::Anonymous), &a_and_b));
    }

    #[test]
    fn one_client_stops_no_release_however_often_it_sends_its_text() {
        let many: Vec<_> = (0..1_000).map(|at_s| trap(at_s, subject("a"))).collect();
        assert!(!stops_release(&trap(1_000, subject("a")), &many));
        let anonymous: Vec<_> =
            (0..1_000).map(|at_s| trap(at_s, FailureSource::Anonymous)).collect();
        assert!(!stops_release(&trap(1_000, FailureSource::Anonymous), &anonymous));
    }

    /// Seconds until a model that traps at one text of a hundred is stopped, at this many canary
    /// calls a second of 50,000 users; the calls come at random times.
    fn seconds_to_stop(calls_per_s: f64, seed: u64) -> f64 {
        let mut state = 2 * seed + 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for _ in 0..20 {
            uniform();
        }
        let (mut at_s, mut earlier) = (0.0, Vec::new());
        loop {
            at_s -= libm::log(1.0 - uniform()) / (calls_per_s / 100.0);
            let user = (50_000.0 * uniform()) as u32;
            let mut report = trap(0, subject(&user.to_string()));
            report.failure.detected_at = UnixMs((1_000.0 * at_s) as u64);
            if stops_release(&report, &earlier) {
                return at_s;
            }
            earlier.push(report);
        }
    }

    #[test]
    fn a_model_that_traps_at_one_text_of_a_hundred_is_stopped_within_a_minute() {
        // The third trap comes within a minute with 1 - exp(-m) (1 + m + m^2 / 2), m traps a minute
        // on average: 0.938 at 10 calls a second, 0.9995 at 20.
        for (calls_per_s, expected) in [(10.0, 0.938), (20.0, 0.9995), (100.0, 1.0)] {
            let in_time = (0..2_000).filter(|seed| seconds_to_stop(calls_per_s, *seed) <= 60.0);
            let share = in_time.count() as f64 / 2_000.0;
            assert!((share - expected).abs() < 0.02, "{calls_per_s} a second: {share}");
        }
    }

    #[test]
    fn a_probe_and_any_other_kind_stop_it_at_once() {
        assert!(stops_release(&trap(1, FailureSource::Probe), &[]));
        for kind in [HardFailureKind::DimensionMismatch, HardFailureKind::NonFinite] {
            let mut report = trap(1, FailureSource::Anonymous);
            report.failure.kind = kind;
            assert!(stops_release(&report, &[]), "{kind:?}");
        }
    }
}
