//! What a plan can find, and how fast, before it is used: expectations worked out from its gates.
//!
//! Evidence grows by so many nats a minute on average (Kullback and Leibler's divergence times the requests),
//! and has to reach its threshold, which the search over start minutes and alternatives raises by the
//! logarithm of their weights. The quotient is the time that is printed: a little more than the median, since
//! of many start minutes the luckiest counts.
//! `jeffrey simulate` measures the same.

use serde::Serialize;

use super::{Plan, Stage};
use crate::rollout::counts::Metric;
use crate::rollout::gate::track::{DAY_MINUTES, HOURS, chance};
use crate::rollout::gate::{Effect, Gate, Rule};
use jeffrey_anytime::odds::EQUAL;
use jeffrey_anytime::{EVEN, GROWTH, NEAR, exp, ln};
use jeffrey_terms::Share;

/// How many times as bad the canary is in the columns of an explanation.
pub const TIMES: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// What one stage can find.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageExplained {
    /// The canary's share.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// The canary's requests a minute.
    pub canary_per_minute: f64,
    /// The shortest time in it.
    pub at_least_minutes: u64,
    /// When its samples are there; `None` when never.
    pub samples_after_minutes: Option<u64>,
    /// Gate by gate, in the plan's order.
    pub gates: Vec<GateExplained>,
}

/// What one gate can find in a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateExplained {
    /// Its name.
    pub gate: String,
    /// What is counted.
    pub metric: Metric,
    /// What follows.
    pub effect: Effect,
    /// The least number of minutes in which it could decide, were every request a hit (for a rise: none).
    pub earliest_minutes: Option<u64>,
    /// For each of [`TIMES`]: minutes until it fails when the canary is so many times as far from the limit,
    /// or as bad as stable; `None` where it never does.
    pub finds_after_minutes: [Option<u64>; TIMES.len()],
    /// Minutes until it passes when the canary is like stable at the usual rate; `None` where it never
    /// does, or need not be shown.
    pub shown_after_minutes: Option<u64>,
}

/// The usual rate of a metric in either cohort, unless something else is said: errors of 1 %, routes and
/// rules as in the reference's published log, 3.2 % above 200 ms (a P95 of 180 ms).
pub const fn usual(metric: Metric) -> f64 {
    match metric {
        Metric::Errors => 0.01,
        Metric::FeedbackBad => 0.1,
        Metric::LowConfidence => 0.2,
        Metric::NotLinearHead => 0.023,
        Metric::Prototypes => 0.02,
        Metric::Regex => 0.003,
        Metric::RuleApplied => 0.017,
        Metric::ShadowWorse => 0.5,
        Metric::Slow => 0.032,
        Metric::SlowBesideStable => 0.05,
        Metric::FailedOpen | Metric::Mismatches | Metric::SampleRatio => 0.0,
    }
}

/// What each stage can find at so many requests a minute, of all cohorts, with these usual rates.
pub fn explain(plan: &Plan, traffic: f64, usual: &dyn Fn(Metric) -> f64) -> Vec<StageExplained> {
    let stage = |stage: &Stage| {
        let part = chance(stage.share, plan.holdout);
        let flow = Flow { canary: traffic * part, stable: traffic * (1.0 - part) };
        StageExplained {
            share: stage.share,
            canary_per_minute: flow.canary,
            at_least_minutes: stage.at_least_minutes,
            samples_after_minutes: minutes(stage.samples as f64, flow.canary),
            gates: plan.gates.iter().map(|gate| flow.gate(gate, usual(gate.metric))).collect(),
        }
    };
    plan.stages.iter().map(stage).collect()
}

/// Requests a minute.
#[derive(Clone, Copy)]
struct Flow {
    canary: f64,
    stable: f64,
}

impl Flow {
    fn gate(self, gate: &Gate, usual: f64) -> GateExplained {
        let rate = |rate: f64| self.of_rate(gate, rate);
        let (earliest, finds, shown) = match gate.rule {
            Rule::AtMost(limit) => {
                (rate(1.0), TIMES.map(|times| rate((times * limit).min(1.0))), None)
            }
            Rule::AtLeast(limit) => (rate(0.0), TIMES.map(|times| rate(limit / times)), None),
            Rule::Compared(tolerated) => {
                let odds = |odds: f64| self.of_odds(gate, usual, odds);
                let finds = TIMES.map(|times| if times < tolerated { None } else { odds(times) });
                (odds(f64::INFINITY), finds, None)
            }
            Rule::NotWorse { odds, ceiling } => {
                let shown = |rate| self.shown(gate, rate, odds, ceiling);
                (shown(0.0), [None; TIMES.len()], shown(usual))
            }
            Rule::Estimated { samples, compared, .. } => {
                let fewer =
                    if compared.is_some() { self.canary.min(self.stable) } else { self.canary };
                // Verdicts are rare: how many readers give one is not known here.
                let known = gate.metric != Metric::FeedbackBad;
                let after = minutes(samples as f64, fewer).filter(|_| known);
                (after, [None; TIMES.len()], after)
            }
            Rule::Never => (Some(1), [Some(1); TIMES.len()], None),
            Rule::SampleRatio => (None, [None; TIMES.len()], None),
            Rule::Window { minutes, .. } => {
                (Some(u64::from(minutes)), [Some(u64::from(minutes)); TIMES.len()], None)
            }
        };
        GateExplained {
            gate: gate.name.clone(),
            metric: gate.metric,
            effect: gate.effect,
            earliest_minutes: earliest,
            finds_after_minutes: finds,
            shown_after_minutes: shown,
        }
    }

    /// Until a rate of the canary's is proven to be beyond the limit.
    fn of_rate(self, gate: &Gate, rate: f64) -> Option<u64> {
        let threshold = gate.requests_threshold()? + ln(DAY_MINUTES as f64);
        let alternatives = GROWTH.iter().zip(NEAR).map(|(times, weight)| {
            let (limit, other) = match gate.rule {
                Rule::AtMost(limit) => (limit, (times * limit).min((1.0 + limit) / 2.0)),
                Rule::AtLeast(limit) => (limit, limit / times),
                _ => return None,
            };
            found_after(threshold - ln(weight), self.canary * gain(rate, limit, other))
        });
        alternatives.flatten().min()
    }

    /// Until odds of the canary's so many times stable's are proven to be higher; each hit counts as a
    /// subject of its own.
    fn of_odds(self, gate: &Gate, usual: f64, odds: f64) -> Option<u64> {
        let rate = if odds.is_finite() { odds * usual / (1.0 - usual + odds * usual) } else { 1.0 };
        let starts = ln((HOURS * 60) as f64);
        let thresholds = [
            gate.requests_threshold().map(|needs| needs + ln(DAY_MINUTES as f64)),
            gate.subjects_threshold().map(|needs| needs + starts),
        ];
        let hits = self.canary * rate + self.stable * usual;
        let part = self.canary * rate / hits.max(f64::MIN_POSITIVE);
        let share = self.canary / (self.canary + self.stable);
        let alternatives = GROWTH.iter().zip(EVEN).flat_map(|(ratio, weight)| {
            let with = ratio * share / (1.0 - share + ratio * share);
            let pace = hits * gain(part, share, with);
            thresholds.into_iter().flatten().map(move |needs| found_after(needs - ln(weight), pace))
        });
        if self.stable <= 0.0 {
            return None;
        }
        alternatives.flatten().min()
    }

    /// Until a canary with this rate, as stable has it, is proven not to be worse.
    fn shown(self, gate: &Gate, rate: f64, worse: f64, ceiling: Option<f64>) -> Option<u64> {
        let threshold = -ln(gate.budget / 2.0);
        let share = self.canary / (self.canary + self.stable);
        let hits = (self.canary + self.stable) * rate;
        let at = |ratio: f64| ratio * share / (1.0 - share + ratio * share);
        let compared = EQUAL.iter().map(|ratio| {
            minutes(threshold + ln(EQUAL.len() as f64), hits * gain(share, at(worse), at(*ratio)))
        });
        let below = ceiling.into_iter().flat_map(|limit| {
            GROWTH.iter().zip(EVEN).map(move |(times, weight)| {
                let pace = self.canary * gain(rate, limit, limit / times);
                minutes(threshold - ln(weight), pace)
            })
        });
        compared.filter(|_| self.stable > 0.0).chain(below).flatten().min()
    }
}

/// Nats that one draw gains on average for the chance `other` against `null`, when it hits with `rate`.
fn gain(rate: f64, null: f64, other: f64) -> f64 {
    let term =
        |part: f64, other: f64, null: f64| if part > 0.0 { part * ln(other / null) } else { 0.0 };
    term(rate, other, null) + term(1.0 - rate, 1.0 - other, 1.0 - null)
}

/// As [`minutes`], for a change at an unknown start: the starts around it add up, the later by a pace less
/// each, to `1 / (1 - exp(-pace))` times one.
fn found_after(needs: f64, pace: f64) -> Option<u64> {
    let together = -ln(1.0 - exp(-pace));
    (pace > 0.0).then(|| minutes((needs - together).max(0.0), pace)).flatten()
}

/// How many minutes so much takes at a pace; `None` when it never comes, or not in ten years.
fn minutes(needs: f64, pace: f64) -> Option<u64> {
    let minutes = libm::ceil(needs / pace);
    (pace > 0.0 && minutes < 5_000_000.0).then(|| (minutes as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::plan::SHIPPED;

    fn explained(traffic: f64) -> Vec<StageExplained> {
        explain(&Plan::read(SHIPPED).unwrap(), traffic, &usual)
    }

    fn gate<'a>(stage: &'a StageExplained, name: &str) -> &'a GateExplained {
        stage.gates.iter().find(|gate| gate.gate == name).unwrap()
    }

    /// Medians of simulations with the shipped plan at 600 a minute and 10 % (`docs/proof.md`).
    #[test]
    fn the_times_are_near_those_that_simulations_find() {
        let stages = explained(600.0);
        let near = |found: Option<u64>, low: u64, high: u64| {
            assert!(found.is_some_and(|found| (low..=high).contains(&found)), "{found:?}");
        };
        let errors = gate(&stages[0], "errors against stable");
        near(errors.finds_after_minutes[2], 15, 24);
        near(errors.finds_after_minutes[3], 6, 13);
        near(gate(&stages[0], "regex above 2 %").finds_after_minutes[0], 55, 100);
        near(gate(&stages[0], "P95 above 200 ms").finds_after_minutes[1], 8, 15);
    }

    #[test]
    fn more_traffic_and_a_larger_share_find_faster() {
        let (few, many) = (explained(60.0), explained(6_000.0));
        for (few, many) in few.iter().zip(&many) {
            for (few, many) in few.gates.iter().zip(&many.gates) {
                let times = few.finds_after_minutes.iter().zip(many.finds_after_minutes);
                for (slow, fast) in times.filter_map(|(slow, fast)| Some(((*slow)?, fast?))) {
                    assert!(slow >= fast, "{}: {slow} {fast}", few.gate);
                }
                assert!(few.earliest_minutes >= many.earliest_minutes, "{}", few.gate);
            }
        }
        let canary: Vec<f64> = few.iter().map(|stage| stage.canary_per_minute).collect();
        assert!(canary.is_sorted());
    }

    #[test]
    fn what_can_never_be_shown_or_found_has_no_time() {
        let plan = SHIPPED.replace("holdout = \"1%\"", "holdout = \"0%\"");
        let stages = explain(&Plan::read(&plan).unwrap(), 600.0, &usual);
        // All traffic is the canary's: nothing to compare with, and 1 % is not below 0.5 %.
        let last = stages.last().unwrap();
        assert_eq!(gate(last, "errors against stable").finds_after_minutes, [None; TIMES.len()]);
        assert_eq!(gate(last, "errors not worse").shown_after_minutes, None);
        // Rare errors are shown to be below the ceiling, not to be like stable's.
        let rare = |metric| if metric == Metric::Errors { 0.0001 } else { usual(metric) };
        let stages = explain(&Plan::read(&plan).unwrap(), 600.0, &rare);
        let shown = gate(&stages[0], "errors not worse").shown_after_minutes.unwrap();
        assert!((10..60).contains(&shown), "{shown}");
        // A margin of +50 % tolerates what is below it.
        let wide = plan.replace("compared = \"+50%\"", "compared = \"+150%\"");
        let stages = explain(&Plan::read(&wide).unwrap(), 600.0, &usual);
        let errors = gate(&stages[0], "errors against stable").finds_after_minutes;
        assert_eq!((errors[0], errors[1], errors[2].is_some()), (None, None, true));
    }
}
