//! What came of many runs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::peers;
use super::scenario::Story;
use super::trial::Outcome;
use crate::plot::Chart;
use crate::table::{Table, percent};
use jeffrey_anytime::{Part, bounds};
use jeffrey_edge::rollout::plan::Plan;

#[derive(Serialize)]
pub(super) struct Report {
    runs: usize,
    seed: u64,
    #[serde(flatten)]
    ours: Figures,
    /// Rises, over all runs.
    advances: usize,
    /// Runs that rose at least once.
    runs_advanced: usize,
    /// Runs that asked a person because the gates could not decide.
    runs_undecided: usize,
    rollbacks_by_gate: BTreeMap<String, usize>,
    /// Gates that rises waited for at the end, and in how many runs.
    open_at_the_end: BTreeMap<String, usize>,
    stages: Vec<StageTimes>,
    peers: BTreeMap<&'static str, Figures>,
}

/// Rollbacks of one rule, or of all gates.
#[derive(Serialize)]
struct Figures {
    rollbacks: usize,
    /// Before the change, or without one.
    false_rollbacks: usize,
    /// Upper end of the 95 % confidence interval (one-sided, Clopper & Pearson) of their rate.
    false_rate_upper_95: f64,
    /// From the change, of the runs that were not rolled back before; `null` when fewer are found.
    delay_min: Delay,
}

#[derive(Serialize)]
struct Delay {
    p50: Option<u64>,
    p90: Option<u64>,
}

/// How long runs stayed in a stage that they left upwards.
#[derive(Serialize)]
struct StageTimes {
    share_basis_points: u16,
    at_least_minutes: u64,
    left: usize,
    p50_minutes: u64,
    max_minutes: u64,
}

impl Report {
    pub(super) fn new(story: &Story, plan: &Plan, seed: u64, outcomes: &[Outcome]) -> Self {
        let figures = |fired: &dyn Fn(&Outcome) -> Option<u64>| {
            Figures::new(&outcomes.iter().map(fired).collect::<Vec<_>>(), story.change())
        };
        let mut rollbacks_by_gate = BTreeMap::new();
        for (_, gate) in outcomes.iter().filter_map(|outcome| outcome.rolled_back.as_ref()) {
            *rollbacks_by_gate.entry(gate.clone()).or_default() += 1;
        }
        let mut open_at_the_end = BTreeMap::new();
        for gate in outcomes.iter().flat_map(|outcome| &outcome.open) {
            *open_at_the_end.entry(gate.clone()).or_default() += 1;
        }
        let names = peers::all().map(|peer| peer.name).into_iter().enumerate();
        let peers = names.map(|(at, name)| (name, figures(&|outcome| outcome.peers[at]))).collect();
        Self {
            runs: outcomes.len(),
            seed,
            ours: figures(&|outcome| outcome.rolled_back.as_ref().map(|(minute, _)| *minute)),
            advances: outcomes.iter().map(|outcome| outcome.stages.len()).sum(),
            runs_advanced: outcomes.iter().filter(|outcome| !outcome.stages.is_empty()).count(),
            runs_undecided: outcomes.iter().filter(|outcome| outcome.undecided).count(),
            rollbacks_by_gate,
            open_at_the_end,
            stages: stage_times(plan, outcomes),
            peers,
        }
    }
}

/// What part of the runs each rule had rolled back by which minute.
pub(super) fn plot<'a>(
    story: &Story,
    title: &'a str,
    minutes: u64,
    outcomes: &[Outcome],
) -> Chart<'a> {
    let line = |fired: &dyn Fn(&Outcome) -> Option<u64>| {
        let mut fired: Vec<u64> = outcomes.iter().filter_map(fired).collect();
        fired.sort_unstable();
        let part = |count: usize| count as f64 / outcomes.len().max(1) as f64;
        let mut points = vec![(0.0, 0.0)];
        for (before, minute) in fired.iter().enumerate() {
            points.extend([(*minute as f64, part(before)), (*minute as f64, part(before + 1))]);
        }
        points.push((minutes as f64, part(fired.len())));
        points
    };
    let ours = line(&|outcome| outcome.rolled_back.as_ref().map(|(minute, _)| *minute));
    let mut lines = vec![("jeffrey".to_owned(), ours)];
    for (at, peer) in peers::all().into_iter().enumerate() {
        lines.push((peer.name.to_owned(), line(&|outcome| outcome.peers[at])));
    }
    let mark = story.change().map(|minute| minute as f64);
    Chart { title, across: "minute", up: "part of the runs rolled back", lines, mark }
}

impl Figures {
    fn new(fired: &[Option<u64>], change: Option<u64>) -> Self {
        let early = |minute: &u64| change.is_none_or(|change| *minute < change);
        let false_rollbacks = fired.iter().flatten().filter(|minute| early(minute)).count();
        let mut delays: Vec<u64> = fired
            .iter()
            .flatten()
            .filter(|minute| !early(minute))
            .map(|minute| minute + 1 - change.unwrap_or(0))
            .collect();
        delays.sort_unstable();
        let fair = fired.len() - false_rollbacks;
        // Runs in which nothing was found stand at the end.
        let quantile = |part: f64| {
            let rank = (part * fair as f64).ceil().max(1.0) as usize;
            delays.get(rank - 1).copied()
        };
        let part = Part::new(false_rollbacks as u64, fired.len() as u64);
        Self {
            rollbacks: fired.iter().flatten().count(),
            false_rollbacks,
            false_rate_upper_95: bounds::highest_chance(part, 0.05),
            delay_min: Delay { p50: quantile(0.5), p90: quantile(0.9) },
        }
    }
}

fn stage_times(plan: &Plan, outcomes: &[Outcome]) -> Vec<StageTimes> {
    let times = |(at, stage): (usize, &jeffrey_edge::rollout::plan::Stage)| {
        let mut minutes: Vec<u64> =
            outcomes.iter().filter_map(|outcome| outcome.stages.get(at).copied()).collect();
        minutes.sort_unstable();
        Some(StageTimes {
            share_basis_points: stage.share.basis_points(),
            at_least_minutes: stage.at_least_minutes,
            left: minutes.len(),
            p50_minutes: *minutes.get(minutes.len() / 2)?,
            max_minutes: *minutes.last()?,
        })
    };
    plan.stages.iter().enumerate().filter_map(times).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["rule", "rolled back", "falsely", "up to", "p50 min", "p90 min"]);
        let minutes = |minutes: Option<u64>| minutes.map_or("–".to_owned(), |m| m.to_string());
        let mut row = |name: &str, figures: &Figures| {
            let runs = self.runs.max(1) as f64;
            table.row(vec![
                name.to_owned(),
                percent(figures.rollbacks as f64 / runs),
                percent(figures.false_rollbacks as f64 / runs),
                percent(figures.false_rate_upper_95),
                minutes(figures.delay_min.p50),
                minutes(figures.delay_min.p90),
            ]);
        };
        row("jeffrey", &self.ours);
        for (name, figures) in &self.peers {
            row(name, figures);
        }
        write!(f, "{table}")?;
        let (rises, runs) = (self.advances, self.runs);
        writeln!(f, "{rises} rises in {runs} runs, {} undecided", self.runs_undecided)?;
        for (gate, count) in &self.rollbacks_by_gate {
            writeln!(f, "{count} by {gate}")?;
        }
        for (gate, count) in &self.open_at_the_end {
            writeln!(f, "{count} waiting at the end for {gate}")?;
        }
        for stage in &self.stages {
            writeln!(
                f,
                "stage of {} bp, at least {} min: left {} times, after {} min (p50), {} at most",
                stage.share_basis_points,
                stage.at_least_minutes,
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
        let fired = [Some(365), Some(370), None, Some(10), None];
        let figures = Figures::new(&fired, Some(360));
        assert_eq!((figures.rollbacks, figures.false_rollbacks), (3, 1));
        assert_eq!((figures.delay_min.p50, figures.delay_min.p90), (Some(11), None));
        let healthy = Figures::new(&fired, None);
        assert_eq!((healthy.false_rollbacks, healthy.delay_min.p50), (3, None));
    }
}
