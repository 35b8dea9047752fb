//! A plan's expectations for the eye, and how often its literal rules are false.

use std::collections::VecDeque;
use std::fmt;

use rand::SeedableRng;
use rand_distr::{Binomial, Distribution, Poisson};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::table::{Table, percent};
use jeffrey_anytime::Part;
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::gate::{Effect, Gate, Limit, Rule};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::plan::explain::{self, GateExplained, StageExplained, TIMES};

#[derive(Serialize)]
pub(super) struct Explained {
    traffic_per_minute: f64,
    /// How many times as bad the columns of `finds_after_minutes` are.
    times: [f64; TIMES.len()],
    stages: Vec<StageExplained>,
    windows: Vec<WindowAlarms>,
}

/// A literal rule on days on which both cohorts have the usual rate.
#[derive(Serialize)]
struct WindowAlarms {
    gate: String,
    share_basis_points: u16,
    /// Part of the days on which it fails.
    false_days: f64,
}

impl Explained {
    pub(super) fn new(plan: &Plan, traffic: f64, usual: &dyn Fn(Metric) -> f64) -> Self {
        let stages = explain::explain(plan, traffic, usual);
        let mut windows = Vec::new();
        for stage in &stages {
            for gate in &plan.gates {
                let (canary, stable) = (stage.canary_per_minute, traffic - stage.canary_per_minute);
                let days = false_days(gate, canary, stable, usual(gate.metric));
                windows.extend(days.map(|false_days| WindowAlarms {
                    gate: gate.name.clone(),
                    share_basis_points: stage.share.basis_points(),
                    false_days,
                }));
            }
        }
        Self { traffic_per_minute: traffic, times: TIMES, stages, windows }
    }
}

/// The part of drawn days on which a literal rule fails at least once; `None` for other rules.
fn false_days(gate: &Gate, canary: f64, stable: f64, rate: f64) -> Option<f64> {
    let Rule::Window { minutes, limit } = gate.rule else { return None };
    let mut rng = Pcg64::seed_from_u64(1);
    let mut part = |mean: f64| {
        let of = Poisson::new(mean).map_or(0.0, |law| law.sample(&mut rng)) as u64;
        Part::new(Binomial::new(of, rate).map_or(0, |law| law.sample(&mut rng)), of)
    };
    let outside = |[canary, stable]: [Part; 2]| {
        let Some(seen) = canary.rate() else { return false };
        match limit {
            Limit::AtMost(most) => seen > most,
            Limit::AtLeast(least) => seen < least,
            Limit::Compared(times) => stable.rate().is_some_and(|of| of > 0.0 && seen / of > times),
        }
    };
    let fails = |_| {
        let mut last: VecDeque<[Part; 2]> = VecDeque::new();
        let mut sum = [Part::default(); 2];
        (0..1_440).any(|_| {
            let minute = [part(canary), part(stable)];
            last.push_back(minute);
            sum = [sum[0].plus(minute[0]), sum[1].plus(minute[1])];
            if last.len() > minutes as usize {
                let [canary, stable] = last.pop_front().unwrap_or_default();
                let less =
                    |sum: Part, gone: Part| Part::new(sum.hits - gone.hits, sum.of - gone.of);
                sum = [less(sum[0], canary), less(sum[1], stable)];
            }
            last.len() == minutes as usize && outside(sum)
        })
    };
    Some((0..DAYS).map(fails).filter(|fails| *fails).count() as f64 / f64::from(DAYS))
}

/// Enough for a figure within three points.
const DAYS: u32 = 1_000;

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            let samples = time(stage.samples_after_minutes);
            writeln!(
                f,
                "stage of {}: {:.1} of {} requests a minute, at least {}, its samples after {samples}",
                stage.share,
                stage.canary_per_minute,
                self.traffic_per_minute,
                time(Some(stage.at_least_minutes)),
            )?;
            let mut table =
                Table::new(["gate", "then", "earliest", "1.5×", "2×", "3×", "5×", "10×", "shown"]);
            for gate in &stage.gates {
                table.row(row(gate));
            }
            writeln!(f, "{table}")?;
        }
        for WindowAlarms { gate, share_basis_points, false_days } in &self.windows {
            let share = f64::from(*share_basis_points) / 10_000.0;
            let (share, days) = (percent(share), percent(*false_days));
            writeln!(f, "{gate} at {share}: a literal window, false on {days} of healthy days")?;
        }
        writeln!(
            f,
            "1.5× and so on: how long until it fails when the canary is so many times beyond the limit, or as \
             bad as\nstable. shown: how long until a canary like stable has passed. –: never, or not so."
        )
    }
}

fn row(gate: &GateExplained) -> Vec<String> {
    let then = match gate.effect {
        Effect::Advance => "advance",
        Effect::RollBack => "roll back",
        Effect::Warn => "warn",
    };
    let mut row = vec![gate.gate.clone(), then.into(), time(gate.earliest_minutes)];
    row.extend(gate.finds_after_minutes.map(time));
    row.push(time(gate.shown_after_minutes));
    row
}

/// Minutes as a person says them.
fn time(minutes: Option<u64>) -> String {
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
        let found = false_days(&plan.gates[0], 60.0, 540.0, 0.01).unwrap();
        assert!((0.70..0.86).contains(&found), "{found}");
        assert_eq!(false_days(&plan.gates[0], 600.0, 5_400.0, 0.001), Some(0.0));
        let text = Explained::new(&plan, 600.0, &explain::usual).to_string();
        assert!(text.contains("false on 7") || text.contains("false on 8"), "{text}");
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let all = [None, Some(1), Some(119), Some(120), Some(2_880)].map(time);
        assert_eq!(all, ["–", "1 min", "119 min", "2.0 h", "2.0 d"]);
    }
}
