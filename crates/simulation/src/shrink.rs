//! The smallest schedule of faults that still breaks the same promise.

use crate::fault::ScheduledFault;
use crate::invariants::Invariant;
use crate::run::run;
use crate::scenario::Scenario;

/// Time of traffic that is kept after the violation, in milliseconds.
const KEPT_MS: u64 = 60_000;

/// Leaves out faults, halves first and then one by one, as long as the scenario still breaks the
/// promise (delta debugging: Zeller and Hildebrandt 2002, "Simplifying and Isolating
/// Failure-Inducing Input"). `on_run` is called before each run with the number of faults.
pub fn shrink(
    scenario: &Scenario,
    invariant: Invariant,
    mut on_run: impl FnMut(usize),
) -> Scenario {
    let mut fails = |candidate: &Scenario| {
        on_run(candidate.faults.len());
        let report = run(candidate.clone(), false);
        report.violations.into_iter().find(|violation| violation.invariant == invariant)
    };
    let mut smallest = scenario.clone();
    let mut chunk = smallest.faults.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        while start < smallest.faults.len() {
            let kept: Vec<ScheduledFault> = smallest
                .faults
                .iter()
                .enumerate()
                .filter(|(place, _)| !(start..start + chunk).contains(place))
                .map(|(_, fault)| *fault)
                .collect();
            let candidate = smallest.with_faults(kept);
            if fails(&candidate).is_some() {
                smallest = candidate;
            } else {
                start += chunk;
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    let last_ms = smallest.faults.last().map_or(0, |fault| fault.at_ms);
    let shorter = Scenario { duration_ms: last_ms + KEPT_MS, ..smallest.clone() };
    if shorter.duration_ms < smallest.duration_ms && fails(&shorter).is_some() {
        return shorter;
    }
    smallest
}
