//! Gates under test: minutes with plausible counts, folded into the evidence of the shipped plan.
//!
//! Only tests use it.

use super::counts::{AffectedSubjects, ClosedMinute, CohortCounts, Metric};
use super::evidence::GateEvidence;
use super::gate::finding::GateFinding;
use super::plan::{DEFAULT_PLAN_TOML, Plan};
use jeffrey_terms::by_cohort::ByCohort;

/// Returns the shipped plan, with requests as evidence too.
pub(in crate::rollout) fn plan() -> Plan {
    Plan::read(
        &DEFAULT_PLAN_TOML.replace("evidence_unit = \"subjects\"", "evidence_unit = \"both\""),
    )
    .unwrap()
}

/// Returns the counts of a cohort; metrics other than errors have plausible rates.
pub(in crate::rollout) fn counts(requests: u64, errors: u64) -> CohortCounts {
    CohortCounts {
        requests,
        errors_5xx: errors,
        scored_responses: requests - errors,
        low_confidence: requests / 5,
        rule_applied: requests / 50,
        slow: requests / 50,
        slower_than_stable: requests / 20,
        ..CohortCounts::default()
    }
}

/// Returns a minute with 60 canary requests and 540 stable requests, and one subject for each error.
pub(in crate::rollout) fn minute(minute: u64, canary: u64, stable: u64) -> ClosedMinute {
    ClosedMinute {
        minute,
        share: Some("10%".parse().unwrap()),
        canary: counts(60, canary),
        stable: counts(540, stable),
        newly_affected: vec![AffectedSubjects {
            metric: Metric::Errors,
            since_hour: minute / 60,
            subjects: ByCohort { canary, stable },
        }],
        ..ClosedMinute::default()
    }
}

/// Returns the evidence after these minutes.
pub(in crate::rollout) fn fold_all(
    plan: &Plan,
    minutes: impl IntoIterator<Item = ClosedMinute>,
) -> GateEvidence {
    minutes
        .into_iter()
        .fold(GateEvidence::new(plan), |evidence, minute| evidence.fold_minute(plan, &minute))
}

/// Returns the finding of one gate at the end of minute `now`.
pub(in crate::rollout) fn finding(
    evidence: &GateEvidence,
    plan: &Plan,
    gate: &str,
    now: u64,
) -> GateFinding {
    let summary = evidence.summarize(plan, now);
    summary.findings.into_iter().find(|finding| finding.gate == gate).unwrap()
}

/// Name of the gate that compares errors in the shipped plan.
pub(in crate::rollout) const ERRORS: &str = "errors against stable";
