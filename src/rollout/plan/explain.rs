//! Expected times of a plan's gates before the plan is used: which changes each gate finds in each
//! stage, and how fast.
//!
//! Evidence grows by an average number of nats a minute (the Kullback-Leibler divergence times the
//! requests). It has to reach the gate's threshold, which the search over start minutes and
//! alternatives raises by the logarithm of their weights. The printed time is the quotient: a
//! little more than the median, because the luckiest of many start minutes counts. `jeffrey
//! simulate` measures the same times by simulation.

use serde::Serialize;

use super::{Plan, Stage};
use crate::rollout::counts::Metric;
use crate::rollout::gate::change_evidence::{
    HOURLY_SUBJECT_MIXTURES_MAX, MINUTES_PER_DAY, expected_canary_fraction,
};
use crate::rollout::gate::{Gate, GateEffect, GateRule};
use jeffrey_anytime::odds::NON_INFERIORITY_ALTERNATIVES;
use jeffrey_anytime::{
    ALTERNATIVE_RATIOS, MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT, exp, ln,
};
use jeffrey_terms::Share;

/// Factors by which the canary is worse, one for each column of an explanation.
pub const DEGRADATION_FACTORS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// Expected times of one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageExplanation {
    /// The canary's share in the stage.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// The canary's requests a minute.
    pub canary_per_minute: f64,
    /// Shortest time in the stage, in minutes.
    pub min_duration_minutes: u64,
    /// Minutes until the stage has its samples; `None` if it never has them.
    pub min_samples_after_minutes: Option<u64>,
    /// Expected times of each gate, in the plan's order.
    pub gates: Vec<GateExplanation>,
}

/// Expected times of one gate in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateExplanation {
    /// Name of the gate in the plan.
    pub gate: String,
    /// Metric that the gate counts.
    pub metric: Metric,
    /// Effect of the gate on the release.
    pub effect: GateEffect,
    /// Fewest minutes in which the gate can decide, if every request is a hit (for advancing: if
    /// none is); `None` if it cannot decide.
    pub earliest_verdict_minutes: Option<u64>,
    /// For each of [`DEGRADATION_FACTORS`]: minutes until the gate fails when the canary's rate is
    /// that many times an upper limit (or that fraction of a lower one), or its odds are that many
    /// times stable's; `None` if it never fails.
    pub detects_after_minutes: [Option<u64>; DEGRADATION_FACTORS.len()],
    /// Minutes until the gate passes when the canary is like stable at the usual rate; `None` if it
    /// never does, or has nothing to prove.
    pub passes_after_minutes: Option<u64>,
}

/// Returns a metric's usual rate (0 to 1) in either cohort, the default of an explanation: errors
/// of 1 %, routes and rules as in the published log of the v2.4.2 reference service, 3.2 % above
/// 200 ms (a P95 of 180 ms).
pub const fn baseline_rate(metric: Metric) -> f64 {
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
        Metric::SlowerThanStable => 0.05,
        Metric::Fallbacks
        | Metric::DimensionMismatches
        | Metric::ModelUnavailable
        | Metric::SampleRatio => 0.0,
    }
}

/// Explains each stage of a plan at a number of requests a minute, of both cohorts together, with
/// `baseline` as the usual rates.
pub fn explain(
    plan: &Plan,
    requests_per_minute: f64,
    baseline: &dyn Fn(Metric) -> f64,
) -> Vec<StageExplanation> {
    let stage = |stage: &Stage| {
        let canary_fraction = expected_canary_fraction(stage.share, plan.holdout);
        let split = TrafficSplit {
            canary: requests_per_minute * canary_fraction,
            stable: requests_per_minute * (1.0 - canary_fraction),
        };
        StageExplanation {
            share: stage.share,
            canary_per_minute: split.canary,
            min_duration_minutes: stage.min_duration_minutes,
            min_samples_after_minutes: minutes_until(stage.min_samples as f64, split.canary),
            gates: plan
                .gates
                .iter()
                .map(|gate| split.explain_gate(gate, baseline(gate.metric)))
                .collect(),
        }
    };
    plan.stages.iter().map(stage).collect()
}

/// Requests a minute of each cohort.
#[derive(Clone, Copy)]
struct TrafficSplit {
    canary: f64,
    stable: f64,
}

impl TrafficSplit {
    fn explain_gate(self, gate: &Gate, baseline: f64) -> GateExplanation {
        let rate = |rate: f64| self.minutes_to_prove_rate(gate, rate);
        let (earliest, finds, shown) = match gate.rule {
            GateRule::Max(limit) => {
                (rate(1.0), DEGRADATION_FACTORS.map(|times| rate((times * limit).min(1.0))), None)
            }
            GateRule::Min(limit) => {
                (rate(0.0), DEGRADATION_FACTORS.map(|times| rate(limit / times)), None)
            }
            GateRule::MaxIncrease(tolerated) => {
                let odds = |odds: f64| self.minutes_to_prove_odds(gate, baseline, odds);
                let finds = DEGRADATION_FACTORS
                    .map(|times| if times < tolerated { None } else { odds(times) });
                (odds(f64::INFINITY), finds, None)
            }
            GateRule::NotWorse { odds, or_below } => {
                let shown = |rate| self.minutes_to_show_not_worse(gate, rate, odds, or_below);
                (shown(0.0), [None; DEGRADATION_FACTORS.len()], shown(baseline))
            }
            GateRule::Estimated { samples, max_increase, .. } => {
                let smaller_cohort =
                    if max_increase.is_some() { self.canary.min(self.stable) } else { self.canary };
                // User feedback is rare, and how many users give it is not known here.
                let is_predictable = gate.metric != Metric::FeedbackBad;
                let after =
                    minutes_until(samples as f64, smaller_cohort).filter(|_| is_predictable);
                (after, [None; DEGRADATION_FACTORS.len()], after)
            }
            GateRule::Never => (Some(1), [Some(1); DEGRADATION_FACTORS.len()], None),
            GateRule::SampleRatio => (None, [None; DEGRADATION_FACTORS.len()], None),
            GateRule::Window { minutes, .. } => (
                Some(u64::from(minutes)),
                [Some(u64::from(minutes)); DEGRADATION_FACTORS.len()],
                None,
            ),
        };
        GateExplanation {
            gate: gate.name.clone(),
            metric: gate.metric,
            effect: gate.effect,
            earliest_verdict_minutes: earliest,
            detects_after_minutes: finds,
            passes_after_minutes: shown,
        }
    }

    /// Returns the minutes until the canary's rate is proven to be beyond the limit.
    fn minutes_to_prove_rate(self, gate: &Gate, rate: f64) -> Option<u64> {
        let threshold = gate.ln_threshold_by_request()? + ln(MINUTES_PER_DAY as f64);
        let alternatives =
            ALTERNATIVE_RATIOS.iter().zip(MIXTURE_WEIGHTS_NEAR_LIMIT).map(|(times, weight)| {
                let (limit, alternative) = match gate.rule {
                    GateRule::Max(limit) => (limit, (times * limit).min((1.0 + limit) / 2.0)),
                    GateRule::Min(limit) => (limit, limit / times),
                    _ => return None,
                };
                minutes_to_find_change(
                    threshold - ln(weight),
                    self.canary * expected_ln_gain(rate, limit, alternative),
                )
            });
        alternatives.flatten().min()
    }

    /// Returns the minutes until the canary's odds, `odds` times stable's, are proven to be higher.
    /// Each hit counts as a subject of its own.
    fn minutes_to_prove_odds(self, gate: &Gate, baseline: f64, odds: f64) -> Option<u64> {
        let rate = if odds.is_finite() {
            odds * baseline / (1.0 - baseline + odds * baseline)
        } else {
            1.0
        };
        let ln_starts = ln((HOURLY_SUBJECT_MIXTURES_MAX * 60) as f64);
        let thresholds = [
            gate.ln_threshold_by_request().map(|threshold| threshold + ln(MINUTES_PER_DAY as f64)),
            gate.ln_threshold_by_subject().map(|threshold| threshold + ln_starts),
        ];
        let hits = self.canary * rate + self.stable * baseline;
        let canary_hit_fraction = self.canary * rate / hits.max(f64::MIN_POSITIVE);
        let share = self.canary / (self.canary + self.stable);
        let alternatives =
            ALTERNATIVE_RATIOS.iter().zip(MIXTURE_WEIGHTS_EQUAL).flat_map(|(ratio, weight)| {
                let alternative = ratio * share / (1.0 - share + ratio * share);
                let ln_per_minute =
                    hits * expected_ln_gain(canary_hit_fraction, share, alternative);
                thresholds.into_iter().flatten().map(move |threshold| {
                    minutes_to_find_change(threshold - ln(weight), ln_per_minute)
                })
            });
        if self.stable <= 0.0 {
            return None;
        }
        alternatives.flatten().min()
    }

    /// Returns the minutes until a canary with stable's rate is proven not to be worse.
    fn minutes_to_show_not_worse(
        self,
        gate: &Gate,
        rate: f64,
        worse: f64,
        or_below: Option<f64>,
    ) -> Option<u64> {
        let threshold = -ln(gate.false_verdict_budget / 2.0);
        let share = self.canary / (self.canary + self.stable);
        let hits = (self.canary + self.stable) * rate;
        let canary_fraction_at = |ratio: f64| ratio * share / (1.0 - share + ratio * share);
        let compared = NON_INFERIORITY_ALTERNATIVES.iter().map(|ratio| {
            minutes_until(
                threshold + ln(NON_INFERIORITY_ALTERNATIVES.len() as f64),
                hits * expected_ln_gain(
                    share,
                    canary_fraction_at(worse),
                    canary_fraction_at(*ratio),
                ),
            )
        });
        let below = or_below.into_iter().flat_map(|limit| {
            ALTERNATIVE_RATIOS.iter().zip(MIXTURE_WEIGHTS_EQUAL).map(move |(times, weight)| {
                let ln_per_minute = self.canary * expected_ln_gain(rate, limit, limit / times);
                minutes_until(threshold - ln(weight), ln_per_minute)
            })
        });
        compared.filter(|_| self.stable > 0.0).chain(below).flatten().min()
    }
}

/// Returns the nats that one draw gains on average for the probability `alternative` against
/// `null`, if it hits with probability `rate`.
fn expected_ln_gain(rate: f64, null: f64, alternative: f64) -> f64 {
    let term = |probability: f64, alternative: f64, null: f64| {
        if probability > 0.0 { probability * ln(alternative / null) } else { 0.0 }
    };
    term(rate, alternative, null) + term(1.0 - rate, 1.0 - alternative, 1.0 - null)
}

/// Returns the minutes of [`minutes_until`] for a change at an unknown start. The starts around it
/// add up, each later one weaker by one minute's gain, to `1 / (1 - exp(-ln_per_minute))` times one
/// start.
fn minutes_to_find_change(ln_needed: f64, ln_per_minute: f64) -> Option<u64> {
    let ln_start_bonus = -ln(1.0 - exp(-ln_per_minute));
    (ln_per_minute > 0.0)
        .then(|| minutes_until((ln_needed - ln_start_bonus).max(0.0), ln_per_minute))
        .flatten()
}

/// Returns the minutes until `amount` is reached at `per_minute`; `None` if it is never reached, or
/// not within ten years.
fn minutes_until(amount: f64, per_minute: f64) -> Option<u64> {
    let minutes = libm::ceil(amount / per_minute);
    (per_minute > 0.0 && minutes < 5_000_000.0).then(|| (minutes as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;

    fn explain_default_plan(traffic: f64) -> Vec<StageExplanation> {
        explain(&Plan::read(DEFAULT_PLAN_TOML).unwrap(), traffic, &baseline_rate)
    }

    fn find_gate<'a>(stage: &'a StageExplanation, name: &str) -> &'a GateExplanation {
        stage.gates.iter().find(|gate| gate.gate == name).unwrap()
    }

    /// Medians of simulations with the shipped plan at 600 requests a minute and 10 %
    /// (`docs/proof.md`).
    #[test]
    fn the_times_are_near_those_that_simulations_find() {
        let stages = explain_default_plan(600.0);
        let assert_near = |minutes: Option<u64>, low: u64, high: u64| {
            assert!(minutes.is_some_and(|found| (low..=high).contains(&found)), "{minutes:?}");
        };
        let errors = find_gate(&stages[0], "errors against stable");
        assert_near(errors.detects_after_minutes[2], 15, 24);
        assert_near(errors.detects_after_minutes[3], 6, 13);
        assert_near(find_gate(&stages[0], "regex above 2 %").detects_after_minutes[0], 55, 100);
        assert_near(find_gate(&stages[0], "P95 above 200 ms").detects_after_minutes[1], 8, 15);
    }

    #[test]
    fn more_traffic_and_a_larger_share_find_faster() {
        let (few, many) = (explain_default_plan(60.0), explain_default_plan(6_000.0));
        for (few, many) in few.iter().zip(&many) {
            for (few, many) in few.gates.iter().zip(&many.gates) {
                let times = few.detects_after_minutes.iter().zip(many.detects_after_minutes);
                for (slow, fast) in times.filter_map(|(slow, fast)| Some(((*slow)?, fast?))) {
                    assert!(slow >= fast, "{}: {slow} {fast}", few.gate);
                }
                assert!(
                    few.earliest_verdict_minutes >= many.earliest_verdict_minutes,
                    "{}",
                    few.gate
                );
            }
        }
        let canary: Vec<f64> = few.iter().map(|stage| stage.canary_per_minute).collect();
        assert!(canary.is_sorted());
    }

    #[test]
    fn what_can_never_be_shown_or_found_has_no_time() {
        let plan = DEFAULT_PLAN_TOML.replace("holdout = \"1%\"", "holdout = \"0%\"");
        let stages = explain(&Plan::read(&plan).unwrap(), 600.0, &baseline_rate);
        // The canary has all traffic: there is nothing to compare with, and 1 % is not below 0.5 %.
        let last = stages.last().unwrap();
        assert_eq!(
            find_gate(last, "errors against stable").detects_after_minutes,
            [None; DEGRADATION_FACTORS.len()]
        );
        assert_eq!(find_gate(last, "errors not worse").passes_after_minutes, None);
        // Rare errors are proven to be below the or_below, not to be like stable's.
        let rare = |metric| if metric == Metric::Errors { 0.0001 } else { baseline_rate(metric) };
        let stages = explain(&Plan::read(&plan).unwrap(), 600.0, &rare);
        let shown = find_gate(&stages[0], "errors not worse").passes_after_minutes.unwrap();
        assert!((10..60).contains(&shown), "{shown}");
        // A tolerance of +150 % allows all that is below it.
        let wide = plan.replace("max_increase = \"+50%\"", "max_increase = \"+150%\"");
        let stages = explain(&Plan::read(&wide).unwrap(), 600.0, &baseline_rate);
        let errors = find_gate(&stages[0], "errors against stable").detects_after_minutes;
        assert_eq!((errors[0], errors[1], errors[2].is_some()), (None, None, true));
    }
}
