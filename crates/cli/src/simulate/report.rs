//! Report on many simulated releases: rollbacks, detection delays and stage durations.
//!
//! Takes the outcomes of all runs and returns a [`SimulationReport`], printed as a table or as
//! JSON, and a chart. A rollback before the scenario's change, or without a change, is a false
//! rollback. The comparison rules get the same statistics as the plan's gates.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::comparison_rules;
use super::release_simulation::SimulationOutcome;
use super::scenario::ScenarioSet;
use crate::plot::Chart;
use crate::table::{TextTable, format_percent};
use jeffrey_anytime::{Proportion, bounds};
use jeffrey_edge::rollout::plan::Plan;

#[derive(Serialize)]
pub(super) struct SimulationReport {
    runs: usize,
    seed: u64,
    #[serde(flatten)]
    gates: RollbackStats,
    /// Stage advances and promotions, in all runs.
    advances: usize,
    /// Runs with at least one stage advance.
    runs_advanced: usize,
    /// Runs that awaited an operator's approval because the gates were undecided.
    runs_undecided: usize,
    rollbacks_by_gate: BTreeMap<String, usize>,
    /// Gates that did not pass at the end, with the number of runs; runs with a rollback do not
    /// count.
    open_at_the_end: BTreeMap<String, usize>,
    stages: Vec<StageDurations>,
    peers: BTreeMap<&'static str, RollbackStats>,
}

/// Rollbacks of one rule, or of all gates.
#[derive(Serialize)]
struct RollbackStats {
    rollbacks: usize,
    /// Rollbacks before the scenario's change, or without a change.
    false_rollbacks: usize,
    /// Upper end of the one-sided 95 % confidence interval (Clopper & Pearson) of the rate of false
    /// rollbacks.
    false_rate_upper_95: f64,
    /// Minutes from the change to the rollback, over the runs without a false rollback. A quantile
    /// is `null` when too few of these runs were rolled back.
    delay_min: DetectionDelay,
}

#[derive(Serialize)]
struct DetectionDelay {
    p50: Option<u64>,
    p90: Option<u64>,
}

/// Minutes that runs spent in one stage before they advanced or were promoted.
#[derive(Serialize)]
struct StageDurations {
    share_basis_points: u16,
    min_duration_minutes: u64,
    left: usize,
    p50_minutes: u64,
    max_minutes: u64,
}

impl SimulationReport {
    pub(super) fn new(
        scenarios: &ScenarioSet,
        plan: &Plan,
        seed: u64,
        outcomes: &[SimulationOutcome],
    ) -> Self {
        let rollback_stats = |rollback_minute: &dyn Fn(&SimulationOutcome) -> Option<u64>| {
            RollbackStats::new(
                &outcomes.iter().map(rollback_minute).collect::<Vec<_>>(),
                scenarios.change_minute(),
            )
        };
        let mut rollbacks_by_gate = BTreeMap::new();
        for (_, gate) in outcomes.iter().filter_map(|outcome| outcome.rollback.as_ref()) {
            *rollbacks_by_gate.entry(gate.clone()).or_default() += 1;
        }
        let mut open_at_the_end = BTreeMap::new();
        for gate in outcomes.iter().flat_map(|outcome| &outcome.open_gates) {
            *open_at_the_end.entry(gate.clone()).or_default() += 1;
        }
        let names =
            comparison_rules::comparison_rules().map(|rule| rule.name).into_iter().enumerate();
        let peers = names
            .map(|(index, name)| {
                (name, rollback_stats(&|outcome| outcome.comparison_rollbacks[index]))
            })
            .collect();
        Self {
            runs: outcomes.len(),
            seed,
            gates: rollback_stats(&|outcome| outcome.rollback.as_ref().map(|(minute, _)| *minute)),
            advances: outcomes.iter().map(|outcome| outcome.stage_minutes.len()).sum(),
            runs_advanced: outcomes
                .iter()
                .filter(|outcome| !outcome.stage_minutes.is_empty())
                .count(),
            runs_undecided: outcomes.iter().filter(|outcome| outcome.undecided).count(),
            rollbacks_by_gate,
            open_at_the_end,
            stages: stage_durations(plan, outcomes),
            peers,
        }
    }
}

/// Draws the share of runs that the gates and each comparison rule had rolled back by each minute.
pub(super) fn plot_rollbacks<'a>(
    scenarios: &ScenarioSet,
    title: &'a str,
    minutes: u64,
    outcomes: &[SimulationOutcome],
) -> Chart<'a> {
    let rollback_curve = |rollback_minute: &dyn Fn(&SimulationOutcome) -> Option<u64>| {
        let mut rollback_minutes: Vec<u64> = outcomes.iter().filter_map(rollback_minute).collect();
        rollback_minutes.sort_unstable();
        let share_of_runs = |count: usize| count as f64 / outcomes.len().max(1) as f64;
        let mut points = vec![(0.0, 0.0)];
        for (earlier_rollbacks, minute) in rollback_minutes.iter().enumerate() {
            points.extend([
                (*minute as f64, share_of_runs(earlier_rollbacks)),
                (*minute as f64, share_of_runs(earlier_rollbacks + 1)),
            ]);
        }
        points.push((minutes as f64, share_of_runs(rollback_minutes.len())));
        points
    };
    let gates_curve =
        rollback_curve(&|outcome| outcome.rollback.as_ref().map(|(minute, _)| *minute));
    let mut lines = vec![("jeffrey".to_owned(), gates_curve)];
    for (index, rule) in comparison_rules::comparison_rules().into_iter().enumerate() {
        lines.push((
            rule.name.to_owned(),
            rollback_curve(&|outcome| outcome.comparison_rollbacks[index]),
        ));
    }
    let mark = scenarios.change_minute().map(|minute| minute as f64);
    Chart {
        title,
        x_label: "minute",
        y_label: "share of runs rolled back",
        series: lines,
        marked_x: mark,
    }
}

impl RollbackStats {
    fn new(rollback_minutes: &[Option<u64>], change_minute: Option<u64>) -> Self {
        let is_early =
            |minute: &u64| change_minute.is_none_or(|change_minute| *minute < change_minute);
        let false_rollbacks =
            rollback_minutes.iter().flatten().filter(|minute| is_early(minute)).count();
        let mut delays: Vec<u64> = rollback_minutes
            .iter()
            .flatten()
            .filter(|minute| !is_early(minute))
            .map(|minute| minute + 1 - change_minute.unwrap_or(0))
            .collect();
        delays.sort_unstable();
        let runs_until_change = rollback_minutes.len() - false_rollbacks;
        // Runs without a rollback come last, as the longest delays.
        let quantile = |probability: f64| {
            let rank = (probability * runs_until_change as f64).ceil().max(1.0) as usize;
            delays.get(rank - 1).copied()
        };
        let proportion = Proportion::new(false_rollbacks as u64, rollback_minutes.len() as u64);
        Self {
            rollbacks: rollback_minutes.iter().flatten().count(),
            false_rollbacks,
            false_rate_upper_95: bounds::clopper_pearson_upper(proportion, 0.05),
            delay_min: DetectionDelay { p50: quantile(0.5), p90: quantile(0.9) },
        }
    }
}

fn stage_durations(plan: &Plan, outcomes: &[SimulationOutcome]) -> Vec<StageDurations> {
    let durations = |(index, stage): (usize, &jeffrey_edge::rollout::plan::Stage)| {
        let mut minutes: Vec<u64> = outcomes
            .iter()
            .filter_map(|outcome| outcome.stage_minutes.get(index).copied())
            .collect();
        minutes.sort_unstable();
        Some(StageDurations {
            share_basis_points: stage.share.basis_points(),
            min_duration_minutes: stage.min_duration_minutes,
            left: minutes.len(),
            p50_minutes: *minutes.get(minutes.len() / 2)?,
            max_minutes: *minutes.last()?,
        })
    };
    plan.stages.iter().enumerate().filter_map(durations).collect()
}

impl fmt::Display for SimulationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::new([
            "rule",
            "rolled back",
            "false",
            "upper 95 %",
            "delay p50 min",
            "delay p90 min",
        ]);
        let format_minutes =
            |minutes: Option<u64>| minutes.map_or("–".to_owned(), |m| m.to_string());
        let mut row = |name: &str, stats: &RollbackStats| {
            let runs = self.runs.max(1) as f64;
            table.push_row(vec![
                name.to_owned(),
                format_percent(stats.rollbacks as f64 / runs),
                format_percent(stats.false_rollbacks as f64 / runs),
                format_percent(stats.false_rate_upper_95),
                format_minutes(stats.delay_min.p50),
                format_minutes(stats.delay_min.p90),
            ]);
        };
        row("jeffrey", &self.gates);
        for (name, stats) in &self.peers {
            row(name, stats);
        }
        write!(f, "{table}")?;
        let (advances, runs) = (self.advances, self.runs);
        writeln!(
            f,
            "{advances} stage advances in {runs} runs; {} runs awaited approval with undecided gates",
            self.runs_undecided
        )?;
        for (gate, count) in &self.rollbacks_by_gate {
            writeln!(f, "{count} rolled back by {gate}")?;
        }
        for (gate, count) in &self.open_at_the_end {
            writeln!(f, "{count} still waiting for {gate} at the end")?;
        }
        for stage in &self.stages {
            writeln!(
                f,
                "stage at {} bp, minimum {} min: advanced in {} runs, after {} min (p50), {} min (max)",
                stage.share_basis_points,
                stage.min_duration_minutes,
                stage.left,
                stage.p50_minutes,
                stage.max_minutes,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_found_counts_as_the_longest_delay() {
        let rollback_minutes = [Some(365), Some(370), None, Some(10), None];
        let stats = RollbackStats::new(&rollback_minutes, Some(360));
        assert_eq!((stats.rollbacks, stats.false_rollbacks), (3, 1));
        assert_eq!((stats.delay_min.p50, stats.delay_min.p90), (Some(11), None));
        let healthy = RollbackStats::new(&rollback_minutes, None);
        assert_eq!((healthy.false_rollbacks, healthy.delay_min.p50), (3, None));
    }
}
