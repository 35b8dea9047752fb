//! A plan's expectations for the eye, and how often its literal rules are false.

use std::collections::VecDeque;
use std::fmt;

use rand::SeedableRng;
use rand_distr::{Binomial, Distribution, Poisson};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::table::{TextTable, format_percent};
use jeffrey_anytime::Proportion;
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::gate::{Gate, GateEffect, GateRule, WindowLimit};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::plan::explain::{
    self, DEGRADATION_FACTORS, GateExplanation, StageExplanation,
};

#[derive(Serialize)]
pub(super) struct PlanExplainOutput {
    traffic_per_minute: f64,
    /// How many times as bad the columns of `finds_after_minutes` are.
    times: [f64; DEGRADATION_FACTORS.len()],
    stages: Vec<StageExplanation>,
    windows: Vec<WindowFalseAlarms>,
}

/// A literal rule on days on which both cohorts have the usual rate.
#[derive(Serialize)]
struct WindowFalseAlarms {
    gate: String,
    share_basis_points: u16,
    /// Part of the days on which it fails.
    false_days: f64,
}

impl PlanExplainOutput {
    pub(super) fn new(plan: &Plan, traffic: f64, baseline_rate: &dyn Fn(Metric) -> f64) -> Self {
        let stages = explain::explain(plan, traffic, baseline_rate);
        let mut windows = Vec::new();
        for stage in &stages {
            for gate in &plan.gates {
                let (canary, stable) = (stage.canary_per_minute, traffic - stage.canary_per_minute);
                let days = estimate_false_days(gate, canary, stable, baseline_rate(gate.metric));
                windows.extend(days.map(|false_days| WindowFalseAlarms {
                    gate: gate.name.clone(),
                    share_basis_points: stage.share.basis_points(),
                    false_days,
                }));
            }
        }
        Self { traffic_per_minute: traffic, times: DEGRADATION_FACTORS, stages, windows }
    }
}

/// The part of drawn days on which a literal rule fails at least once; `None` for other rules.
fn estimate_false_days(gate: &Gate, canary: f64, stable: f64, rate: f64) -> Option<f64> {
    let GateRule::Window { minutes, limit } = gate.rule else { return None };
    let mut rng = Pcg64::seed_from_u64(1);
    let mut draw_minute = |mean: f64| {
        let requests =
            Poisson::new(mean).map_or(0.0, |distribution| distribution.sample(&mut rng)) as u64;
        Proportion::new(
            Binomial::new(requests, rate).map_or(0, |distribution| distribution.sample(&mut rng)),
            requests,
        )
    };
    let violates_limit = |[canary, stable]: [Proportion; 2]| {
        let Some(canary_rate) = canary.rate() else { return false };
        match limit {
            WindowLimit::AtMost(most) => canary_rate > most,
            WindowLimit::AtLeast(least) => canary_rate < least,
            WindowLimit::Compared(times) => stable
                .rate()
                .is_some_and(|stable_rate| stable_rate > 0.0 && canary_rate / stable_rate > times),
        }
    };
    let day_fails = |_| {
        let mut window: VecDeque<[Proportion; 2]> = VecDeque::new();
        let mut window_sum = [Proportion::default(); 2];
        (0..1_440).any(|_| {
            let minute = [draw_minute(canary), draw_minute(stable)];
            window.push_back(minute);
            window_sum = [window_sum[0].merge(minute[0]), window_sum[1].merge(minute[1])];
            if window.len() > minutes as usize {
                let [canary, stable] = window.pop_front().unwrap_or_default();
                let subtract = |total: Proportion, removed: Proportion| {
                    Proportion::new(total.hits - removed.hits, total.of - removed.of)
                };
                window_sum = [subtract(window_sum[0], canary), subtract(window_sum[1], stable)];
            }
            window.len() == minutes as usize && violates_limit(window_sum)
        })
    };
    Some(
        (0..SIMULATED_DAYS).map(day_fails).filter(|fails| *fails).count() as f64
            / f64::from(SIMULATED_DAYS),
    )
}

/// Enough for a figure within three points.
const SIMULATED_DAYS: u32 = 1_000;

impl fmt::Display for PlanExplainOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            let samples = format_minutes(stage.samples_after_minutes);
            writeln!(
                f,
                "stage of {}: {:.1} of {} requests a minute, at least {}, its samples after {samples}",
                stage.share,
                stage.canary_per_minute,
                self.traffic_per_minute,
                format_minutes(Some(stage.at_least_minutes)),
            )?;
            let mut table = TextTable::new([
                "gate", "then", "earliest", "1.5×", "2×", "3×", "5×", "10×", "shown",
            ]);
            for gate in &stage.gates {
                table.push_row(gate_row(gate));
            }
            writeln!(f, "{table}")?;
        }
        for WindowFalseAlarms { gate, share_basis_points, false_days } in &self.windows {
            let share = f64::from(*share_basis_points) / 10_000.0;
            let (share, days) = (format_percent(share), format_percent(*false_days));
            writeln!(f, "{gate} at {share}: a literal window, false on {days} of healthy days")?;
        }
        writeln!(
            f,
            "1.5× and so on: how long until it fails when the canary is so many times beyond the limit, or as \
             bad as\nstable. shown: how long until a canary like stable has passed. –: never, or not so."
        )
    }
}

fn gate_row(gate: &GateExplanation) -> Vec<String> {
    let effect = match gate.effect {
        GateEffect::Advance => "advance",
        GateEffect::RollBack => "roll back",
        GateEffect::Warn => "warn",
    };
    let mut row = vec![gate.gate.clone(), effect.into(), format_minutes(gate.earliest_minutes)];
    row.extend(gate.finds_after_minutes.map(format_minutes));
    row.push(format_minutes(gate.shown_after_minutes));
    row
}

/// Minutes as a person says them.
fn format_minutes(minutes: Option<u64>) -> String {
    match minutes {
        None => "–".into(),
        Some(minutes) if minutes < 120 => format!("{minutes} min"),
        Some(minutes) if minutes < 48 * 60 => format!("{:.1} h", minutes as f64 / 60.0),
        Some(minutes) => format!("{:.1} d", minutes as f64 / 1_440.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_window_is_false_as_often_as_simulations_say() {
        // 600 requests a minute, 10 %, a rate of 1 % against 2 %: 78 % of days (shared figures: 78 to 80).
        let gate = "[[gate]]\nmetric = \"errors\"\nat_most = \"2%\"\nmethod = \"window\"\neffect = \"roll_back\"";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}\n")).unwrap();
        let days_share = estimate_false_days(&plan.gates[0], 60.0, 540.0, 0.01).unwrap();
        assert!((0.70..0.86).contains(&days_share), "{days_share}");
        assert_eq!(estimate_false_days(&plan.gates[0], 600.0, 5_400.0, 0.001), Some(0.0));
        let text = PlanExplainOutput::new(&plan, 600.0, &explain::baseline_rate).to_string();
        assert!(text.contains("false on 7") || text.contains("false on 8"), "{text}");
    }

    #[test]
    fn times_are_printed_in_the_unit_that_fits() {
        let formatted = [None, Some(1), Some(119), Some(120), Some(2_880)].map(format_minutes);
        assert_eq!(formatted, ["–", "1 min", "119 min", "2.0 h", "2.0 d"]);
    }
}
