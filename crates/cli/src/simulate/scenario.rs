//! Scenarios of a simulation: the rate of every metric in each cohort and minute.
//!
//! Parses the values of `--scenario` and returns the rates, the traffic factor and the counter
//! faults that all given scenarios have in a minute. Refuses unknown metrics and values out of
//! range. Nothing is random here: `traffic_simulator` draws the counters.

use std::fmt;
use std::str::FromStr;

use jeffrey_edge::rollout::counts::{Metric, SLOW_MS};
use jeffrey_edge::rollout::plan::explain::baseline_rate;
use jeffrey_terms::Cohort;

/// One change of a simulation, from its value of `--scenario`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scenario {
    /// Multiplies the traffic by `times` (1 to 100) for 30 minutes, every 4 hours from `minute` on.
    Burst { times: f64, minute: u64 },
    /// From `minute` on, every request of the canary's most active user fails.
    FailingClient { minute: u64 },
    /// Moves the rate of both cohorts from `from` to `to` over the first day, linearly.
    Drift { metric: Metric, from: f64, to: f64 },
    /// Changes nothing: both cohorts keep the healthy rates.
    Healthy,
    /// Sets the p95 latency of both cohorts to `from_ms`, and the canary's to `to_ms` from `minute`
    /// on.
    Latency { from_ms: f64, to_ms: f64, minute: u64 },
    /// Half of a cohort's requests fail for 30 minutes from `minute` on.
    Outage { cohort: Cohort, minute: u64 },
    /// Sets the rate of both cohorts to `from` and moves the canary's to `to` from `minute` on: at
    /// once when `over_minutes` is 0, else linearly over that time.
    MetricRate { metric: Metric, from: f64, to: f64, minute: u64, over_minutes: u64 },
    /// From `minute` on, no canary request is counted.
    Silence { minute: u64 },
    /// The canary's clock is wrong: its counters are reported `minutes` (0 to 30) later.
    ClockSkew { minutes: u64 },
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let error = || ScenarioError { text: text.to_owned() };
        let number = |text: &str| text.parse::<u64>().map_err(|_| error());
        let (text, over_minutes) = match text.split_once('/') {
            Some((text, over_minutes)) => (text, number(over_minutes)?),
            None => (text, 0),
        };
        let (spec, minute) = match text.split_once('@') {
            Some((spec, minute)) => (spec, number(minute)?),
            None => (text, CHANGE_MINUTE_DEFAULT),
        };
        let fields: Vec<&str> = spec.split(':').collect();
        let find_metric =
            |name| Metric::from_name(name).filter(|metric| SCENARIO_METRICS.contains(metric));
        match fields[..] {
            [metric, from, to] if metric != "latency" => {
                let (from, to) =
                    (parse_rate(from).ok_or_else(error)?, parse_rate(to).ok_or_else(error)?);
                let metric = find_metric(metric).ok_or_else(error)?;
                Ok(Self::MetricRate { metric, from, to, minute, over_minutes })
            }
            _ if over_minutes > 0 => Err(error()),
            ["burst", times] => {
                let times = times.parse().ok().filter(|times| (1.0..=100.0).contains(times));
                Ok(Self::Burst { times: times.ok_or_else(error)?, minute })
            }
            ["failing_client"] => Ok(Self::FailingClient { minute }),
            ["drift", metric, from, to] => {
                let (from, to) =
                    (parse_rate(from).ok_or_else(error)?, parse_rate(to).ok_or_else(error)?);
                Ok(Self::Drift { metric: find_metric(metric).ok_or_else(error)?, from, to })
            }
            ["healthy"] => Ok(Self::Healthy),
            ["silence"] => Ok(Self::Silence { minute }),
            ["clock_skew", minutes] => {
                let minutes = number(minutes)?;
                if minutes <= SKEW_MINUTES_MAX {
                    Ok(Self::ClockSkew { minutes })
                } else {
                    Err(error())
                }
            }
            ["outage", cohort] => {
                let cohort = Cohort::from_name(cohort).ok_or_else(error)?;
                Ok(Self::Outage { cohort, minute })
            }
            ["latency", from, to] => {
                let number = |text: &str| {
                    let ms = text.parse::<f64>().ok();
                    ms.filter(|ms| (1.0..=60_000.0).contains(ms)).ok_or_else(error)
                };
                Ok(Self::Latency { from_ms: number(from)?, to_ms: number(to)?, minute })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Scenario {
    /// Writes the scenario in the syntax that [`FromStr`] parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |rate: f64| format!("{}%", (1e6 * rate).round() / 1e4);
        match *self {
            Self::Burst { times, minute } => write!(f, "burst:{times}@{minute}"),
            Self::FailingClient { minute } => write!(f, "failing_client@{minute}"),
            Self::Drift { metric, from, to } => {
                write!(f, "drift:{}:{}:{}", metric.name(), percent(from), percent(to))
            }
            Self::Healthy => write!(f, "healthy"),
            Self::Latency { from_ms, to_ms, minute } => {
                write!(f, "latency:{from_ms}:{to_ms}@{minute}")
            }
            Self::Outage { cohort, minute } => write!(f, "outage:{}@{minute}", cohort.name()),
            Self::MetricRate { metric, from, to, minute, over_minutes: over } => {
                write!(f, "{}:{}:{}@{minute}", metric.name(), percent(from), percent(to))?;
                if over > 0 { write!(f, "/{over}") } else { Ok(()) }
            }
            Self::Silence { minute } => write!(f, "silence@{minute}"),
            Self::ClockSkew { minutes } => write!(f, "clock_skew:{minutes}"),
        }
    }
}

/// A value of `--scenario` that is misspelt or out of range; the message lists the syntax.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scenario `{text}`; expected healthy, METRIC:FROM:TO[@MINUTE][/MINUTES] with rates such as 1%, \
     latency:MS:MS[@MINUTE], drift:METRIC:FROM:TO, burst:FACTOR[@MINUTE] with a factor from 1 to 100, \
     failing_client[@MINUTE], outage:canary[@MINUTE], outage:stable[@MINUTE], silence[@MINUTE], clock_skew:MINUTES up to 30; \
     metrics are errors, feedback_bad, low_confidence, dimension_mismatches, model_unavailable, prototypes, regex, \
     rule_applied, slow"
)]
pub(super) struct ScenarioError {
    text: String,
}

/// Parses a rate from 0 to 1, written as `1%` or `0.01`; `None` for anything else.
pub(super) fn parse_rate(text: &str) -> Option<f64> {
    let rate = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&rate).then_some(rate)
}

/// All scenarios of one simulation; of two that set the same rate, the last one counts.
#[derive(Clone, Debug)]
pub(super) struct ScenarioSet {
    scenarios: Vec<Scenario>,
}

impl ScenarioSet {
    pub(super) fn new(scenarios: &[Scenario]) -> Self {
        Self { scenarios: scenarios.to_vec() }
    }

    /// Returns the first minute in which a rollback is correct: a canary rate changes, its latency
    /// rises or its outage begins. `None` when every rollback is false.
    pub(super) fn change_minute(&self) -> Option<u64> {
        let change_minutes = self.scenarios.iter().filter_map(|scenario| match *scenario {
            Scenario::MetricRate { from, to, minute, .. } if from != to => Some(minute),
            Scenario::Latency { from_ms, to_ms, minute } if from_ms < to_ms => Some(minute),
            Scenario::Outage { cohort: Cohort::Canary, minute } => Some(minute),
            // One failing client is no reason to roll back.
            _ => None,
        });
        change_minutes.min()
    }

    /// Returns the probability (0 to 1) that a request of this cohort counts for `metric` in
    /// `minute`.
    pub(super) fn rate(&self, metric: Metric, cohort: Cohort, minute: u64) -> f64 {
        let canary = cohort == Cohort::Canary;
        let mut rate = healthy_rate(metric);
        for scenario in &self.scenarios {
            match *scenario {
                Scenario::MetricRate {
                    metric: scenario_metric,
                    from,
                    to,
                    minute: start_minute,
                    over_minutes,
                } if scenario_metric == metric => {
                    let progress = match minute.checked_sub(start_minute) {
                        Some(elapsed) if canary => {
                            (elapsed + 1) as f64 / over_minutes.max(1) as f64
                        }
                        _ => 0.0,
                    };
                    rate = if progress >= 1.0 { to } else { from + (to - from) * progress };
                }
                Scenario::Drift { metric: scenario_metric, from, to }
                    if scenario_metric == metric =>
                {
                    rate = from + (to - from) * (minute as f64 / 1_440.0).min(1.0);
                }
                Scenario::Latency { from_ms, to_ms, minute: start_minute } => {
                    let p95 = if canary && minute >= start_minute { to_ms } else { from_ms };
                    let factor = if canary { 1.2 } else { 1.0 };
                    match metric {
                        Metric::Slow => rate = probability_above(SLOW_MS as f64, p95),
                        Metric::SlowerThanStable => rate = probability_above(factor * from_ms, p95),
                        _ => {}
                    }
                }
                Scenario::Outage { cohort: affected_cohort, minute: start_minute }
                    if metric == Metric::Errors
                        && affected_cohort == cohort
                        && (start_minute..start_minute + OUTAGE_MINUTES).contains(&minute) =>
                {
                    rate = 0.5;
                }
                _ => {}
            }
        }
        rate
    }

    /// Returns the factor on the usual traffic in minute `now`; 1 without a burst.
    pub(super) fn traffic_factor(&self, now: u64) -> f64 {
        let times = self.scenarios.iter().filter_map(|scenario| match *scenario {
            Scenario::Burst { times, minute } => {
                let is_bursting = now.checked_sub(minute)? % BURST_INTERVAL_MINUTES < BURST_MINUTES;
                is_bursting.then_some(times)
            }
            _ => None,
        });
        times.fold(1.0, f64::max)
    }

    /// Returns whether every request of the canary's most active user fails in minute `now`.
    pub(super) fn client_fails(&self, now: u64) -> bool {
        let has_failing_client = |scenario: &Scenario| matches!(scenario, Scenario::FailingClient { minute } if now >= *minute);
        self.scenarios.iter().any(has_failing_client)
    }

    /// Returns how many minutes late the canary's counters are reported; 0 without a skew.
    pub(super) fn skew_minutes(&self) -> u64 {
        let minutes = self.scenarios.iter().map(|scenario| match scenario {
            Scenario::ClockSkew { minutes } => *minutes,
            _ => 0,
        });
        minutes.max().unwrap_or(0)
    }

    /// Returns whether the canary's counters are missing in minute `now`.
    pub(super) fn is_canary_silent(&self, now: u64) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| matches!(scenario, Scenario::Silence { minute } if now >= *minute))
    }

    /// Returns the metric of the first scenario that changes one, and the limit (0 to 1) that the
    /// comparison rules apply to it. Without such a scenario the metric is `Errors`.
    pub(super) fn metric_and_limit(&self) -> (Metric, f64) {
        let scenario_metric = self.scenarios.iter().find_map(|scenario| match scenario {
            Scenario::Drift { metric, .. } | Scenario::MetricRate { metric, .. } => Some(*metric),
            Scenario::Latency { .. } => Some(Metric::Slow),
            _ => None,
        });
        match scenario_metric.unwrap_or(Metric::Errors) {
            Metric::Slow => (Metric::Slow, 0.05),
            Metric::LowConfidence => (Metric::LowConfidence, 0.25),
            Metric::RuleApplied => (Metric::RuleApplied, 0.1),
            metric => (metric, 0.02),
        }
    }
}

/// Metrics that a scenario can change.
const SCENARIO_METRICS: [Metric; 9] = [
    Metric::Errors,
    Metric::FeedbackBad,
    Metric::LowConfidence,
    Metric::DimensionMismatches,
    Metric::ModelUnavailable,
    Metric::Prototypes,
    Metric::Regex,
    Metric::RuleApplied,
    Metric::Slow,
];

/// Returns the rate of both cohorts when no scenario changes it: for slow requests that of a p95
/// latency of 180 ms, for every other metric its [`baseline_rate`].
fn healthy_rate(metric: Metric) -> f64 {
    match metric {
        Metric::Slow => probability_above(SLOW_MS as f64, 180.0),
        metric => baseline_rate(metric),
    }
}

/// Returns the probability of a latency above `ms` when the p95 latency is `p95_ms`.
///
/// The latency is log-normal. Its spread gives 3.2 % above 200 ms at a p95 of 180 ms, and 10 % at
/// 240 ms.
fn probability_above(ms: f64, p95_ms: f64) -> f64 {
    let z = Z_95 + libm::log(ms / p95_ms) / LATENCY_LOG_STD_DEV;
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// 95th percentile of the standard normal distribution.
const Z_95: f64 = 1.644_853_626_951_472_7;
/// Standard deviation of the logarithm of the latency, the spread in [`probability_above`].
const LATENCY_LOG_STD_DEV: f64 = 0.509;
/// Minute in which a change starts without `@MINUTE`: hour 6.
const CHANGE_MINUTE_DEFAULT: u64 = 360;
const OUTAGE_MINUTES: u64 = 30;
const BURST_MINUTES: u64 = 30;
const BURST_INTERVAL_MINUTES: u64 = 240;
const SKEW_MINUTES_MAX: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_whole_or_not_at_all() {
        let (metric, from, to) = (Metric::Errors, 0.01, 0.03);
        let rate = Scenario::MetricRate { metric, from, to, minute: 360, over_minutes: 0 };
        assert_eq!("errors:1%:3%".parse(), Ok(rate.clone()));
        assert_eq!("errors:0.01:0.03@360".parse(), Ok(rate));
        let slow_rise = Scenario::MetricRate { metric, from, to, minute: 5, over_minutes: 120 };
        assert_eq!("errors:1%:3%@5/120".parse(), Ok(slow_rise));
        assert_eq!("drift:errors:1%:3%".parse(), Ok(Scenario::Drift { metric, from, to }));
        assert_eq!("burst:5@10".parse(), Ok(Scenario::Burst { times: 5.0, minute: 10 }));
        assert_eq!("clock_skew:2".parse(), Ok(Scenario::ClockSkew { minutes: 2 }));
        let stable = Scenario::Outage { cohort: Cohort::Stable, minute: 7 };
        assert_eq!("outage:stable@7".parse(), Ok(stable));
        for text in [
            "burst:5@10",
            "failing_client@7",
            "drift:regex:0.1%:2%",
            "healthy",
            "latency:180:240@360",
            "outage:canary@1",
            "slow:3.2%:10%@360",
            "errors:1%:3%@5/120",
            "silence@9",
            "clock_skew:2",
        ] {
            assert_eq!(text.parse::<Scenario>().unwrap().to_string(), text);
        }
        for invalid in [
            "",
            "errors",
            "errors:1%",
            "errors:1%:300%",
            "x:1%:2%",
            "healthy@x",
            "latency:0:1",
            "healthy/3",
            "errors:1%:2%@3/x",
            "burst:0.5",
            "clock_skew:31",
            "drift:errors:1%",
        ] {
            assert!(invalid.parse::<Scenario>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn what_rises_slowly_drifts_or_comes_in_bursts_is_where_it_should_be() {
        let parse_scenarios = |text: &str| ScenarioSet::new(&[text.parse().unwrap()]);
        let canary = |scenarios: &ScenarioSet, minute| {
            scenarios.rate(Metric::Errors, Cohort::Canary, minute)
        };
        let slow_rise = parse_scenarios("errors:1%:3%@10/100");
        assert_eq!(
            (canary(&slow_rise, 9), canary(&slow_rise, 109), canary(&slow_rise, 500)),
            (0.01, 0.03, 0.03)
        );
        assert!((canary(&slow_rise, 59) - 0.02).abs() < 1e-12);
        let drift = parse_scenarios("drift:errors:1%:3%");
        assert!((drift.rate(Metric::Errors, Cohort::Stable, 720) - 0.02).abs() < 1e-12);
        assert_eq!(drift.change_minute(), None);
        let burst = parse_scenarios("burst:5@10");
        let times = [9, 10, 39, 40, 250].map(|minute| burst.traffic_factor(minute));
        assert_eq!(times, [1.0, 5.0, 5.0, 1.0, 5.0]);
    }

    #[test]
    fn the_latency_law_is_that_of_the_statistics() {
        let cases = [(180.0, 0.032), (200.0, 0.05), (240.0, 0.1)];
        for (p95, expected) in cases {
            assert!((probability_above(200.0, p95) - expected).abs() < 1e-3, "{p95}");
        }
    }

    #[test]
    fn only_the_canary_changes_and_only_from_its_minute_on() {
        let scenarios = ScenarioSet::new(&["errors:1%:3%@10".parse().unwrap()]);
        let rate = |cohort, minute| scenarios.rate(Metric::Errors, cohort, minute);
        assert_eq!(rate(Cohort::Canary, 9), 0.01);
        assert_eq!(rate(Cohort::Canary, 10), 0.03);
        assert_eq!(rate(Cohort::Stable, 10), 0.01);
        assert_eq!(scenarios.change_minute(), Some(10));
        assert_eq!(ScenarioSet::new(&["errors:1%:1%".parse().unwrap()]).change_minute(), None);
    }
}
