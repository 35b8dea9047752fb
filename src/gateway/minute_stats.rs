//! What an event counts for: one pure function, and sums of what it gives.
//!
//! The ledger keeps a [`CohortStats`] for each minute, release, assigned cohort and share, and knows of subjects who was
//! seen and affected before; everything else stands in the event itself, the thresholds that were in force
//! included. Tallies add up, so a ledger in parts is the sum of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{StoredCall, StoredEvent, StoredFeedback};
use super::legacy::ReportedRoute;
use crate::rollout::counts::{
    AffectedSubjects, ClosedMinute, CohortCounts, CountByCohort, Metric, SLOW_MS,
};
use crate::rollout::gate::evaluator::SUBJECT_HOURS_PER_DAY;
use crate::rollout::time_scale::TimeScale;
use crate::telemetry::analysis::{ReadinessCounts, shows_unmasked};
use crate::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// Everything that is counted of some events of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortStats {
    /// What the gates read.
    pub counts: CohortCounts,
    /// Latencies of all requests.
    pub latency: LatencySketch,
    /// Answers by the name of the rule that changed them.
    pub rules: BTreeMap<String, u64>,
    /// Answers of the linear head.
    pub linear_head: u64,
    /// Sum of the answers' confidence, in millionths.
    pub confidence_millionths: u64,
    /// Shadows whose label was the old system's.
    pub shadow_agreed: u64,
    /// Shadows whose label was another.
    pub shadow_disagreed: u64,
    /// Requests scored by both, where one alone was unsure.
    pub discordant: CountByCohort,
    /// Previews that show what a mask should have hidden.
    pub leaks: u64,
}

/// What one event adds, and to what.
#[derive(Clone, Debug, PartialEq)]
pub struct EventContribution {
    /// Of what release it is evidence.
    pub release: String,
    /// Minutes since 1970.
    pub minute: u64,
    /// The cohort that the subject was assigned to.
    pub cohort: Cohort,
    /// The canary's share when it was decided.
    pub share: Share,
    /// What it adds.
    pub stats: CohortStats,
    /// Keyed hash of the subject.
    pub subject: Option<String>,
    /// Whether the subject is one of the holdout: no evidence of the draw.
    pub in_holdout: bool,
    /// What hit the subject; of [`SUBJECT_METRICS`](crate::rollout::counts::SUBJECT_METRICS).
    pub affected_metrics: Vec<Metric>,
}

/// What an event counts for; `None` when it is no evidence for or against a release.
pub fn count_event(event: &StoredEvent, time_scale: TimeScale) -> Option<EventContribution> {
    match event {
        StoredEvent::Classify(call) => call.counts.then(|| count_call(call, time_scale)),
        StoredEvent::Verdict(verdict) => verdict.counts.then(|| count_verdict(verdict, time_scale)),
    }
}

fn count_call(call: &StoredCall, time_scale: TimeScale) -> EventContribution {
    let as_count = u64::from;
    let failed_open = call.cohort == Cohort::Canary && call.fallback.is_some();
    let is_error = call.status >= 500 && !failed_open;
    let is_slow = call.latency_ms > SLOW_MS;
    let slow_limit_ms = match call.cohort {
        Cohort::Canary => call.thresholds.canary_slow_ms,
        Cohort::Stable => call.thresholds.stable_p95_ms,
    };
    let slower_than_stable =
        slow_limit_ms.is_some_and(|limit_ms| call.latency_ms as f64 > limit_ms);
    // What the old system said in the canary's place says nothing of the canary.
    let answered_by_own_cohort = call.destination == call.cohort;
    let has_answer = answered_by_own_cohort && (call.route.is_some() || call.confidence.is_some());
    let low_confidence = has_answer && call.low_confidence == Some(true);
    let rule_applied = has_answer && call.rule_applied == Some(true);
    let route = call.route.as_deref().and_then(ReportedRoute::from_name).filter(|_| has_answer);
    let mut counts = CohortCounts {
        requests: 1,
        errors_5xx: as_count(is_error),
        failed_open: as_count(failed_open),
        answers: as_count(has_answer),
        regex: as_count(route == Some(ReportedRoute::Regex)),
        prototypes: as_count(route == Some(ReportedRoute::Prototypes)),
        low_confidence: as_count(low_confidence),
        rule_applied: as_count(rule_applied),
        mismatches: as_count(call.fallback.as_deref() == Some("dimension_mismatch")),
        slow: as_count(is_slow),
        slow_beside_stable: as_count(slower_than_stable),
        ..CohortCounts::default()
    };
    if let Some(label) = call.label.filter(|_| has_answer) {
        counts.labels[label.index()] = 1;
    }
    let mut stats = CohortStats {
        counts,
        linear_head: as_count(route == Some(ReportedRoute::LinearHead)),
        ..CohortStats::default()
    };
    stats.latency.add(call.latency_ms);
    if let Some(rule) = call.rule.clone().filter(|_| rule_applied) {
        stats.rules.insert(rule, 1);
    }
    let confidence = call.confidence.filter(|_| has_answer).unwrap_or(0.0);
    stats.confidence_millionths = libm::round(1e6 * confidence.clamp(0.0, 1.0)) as u64;
    if let Some(shadow) = &call.shadow {
        stats.shadow_agreed = as_count(shadow.agrees == Some(true));
        stats.shadow_disagreed = as_count(shadow.agrees == Some(false));
        if let (Some(stable), Some(canary)) = (call.low_confidence, shadow.low_confidence) {
            stats.discordant = CountByCohort {
                canary: as_count(canary && !stable),
                stable: as_count(stable && !canary),
            };
        }
    }
    stats.leaks = as_count(call.preview.as_deref().is_some_and(shows_unmasked));
    let affected_metrics = [
        (Metric::Errors, is_error || failed_open),
        (Metric::LowConfidence, low_confidence),
        (Metric::RuleApplied, rule_applied),
        (Metric::Slow, is_slow),
        (Metric::SlowBesideStable, slower_than_stable),
    ];
    EventContribution {
        release: call.release.clone(),
        minute: time_scale.minute_of(UnixMs(call.time_ms)),
        cohort: call.cohort,
        share: call.thresholds.share,
        stats,
        subject: call.subject.clone(),
        in_holdout: call.by == "holdout",
        affected_metrics: affected_metrics
            .into_iter()
            .filter_map(|(metric, is_affected)| is_affected.then_some(metric))
            .collect(),
    }
}

fn count_verdict(verdict: &StoredFeedback, time_scale: TimeScale) -> EventContribution {
    let count_if = |good| u64::from(verdict.good == Some(good));
    let counts = CohortCounts {
        feedback_good: count_if(true),
        feedback_bad: count_if(false),
        ..CohortCounts::default()
    };
    EventContribution {
        release: verdict.release.clone(),
        minute: time_scale.minute_of(UnixMs(verdict.time_ms)),
        cohort: verdict.cohort,
        share: verdict.share,
        stats: CohortStats { counts, ..CohortStats::default() },
        subject: None,
        in_holdout: false,
        affected_metrics: Vec::new(),
    }
}

impl CohortStats {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.latency.merge(&other.latency);
        for (rule, count) in &other.rules {
            *self.rules.entry(rule.clone()).or_default() += count;
        }
        self.linear_head += other.linear_head;
        self.confidence_millionths += other.confidence_millionths;
        self.shadow_agreed += other.shadow_agreed;
        self.shadow_disagreed += other.shadow_disagreed;
        self.discordant.canary += other.discordant.canary;
        self.discordant.stable += other.discordant.stable;
        self.leaks += other.leaks;
    }

    /// What the answers amount to.
    pub fn prediction_sums(&self) -> ReadinessCounts {
        let CohortCounts { answers, regex, prototypes, low_confidence, .. } = self.counts;
        let linear_head = self.linear_head;
        let routed = linear_head + regex + prototypes;
        ReadinessCounts {
            predictions: answers,
            routed,
            linear_head,
            regex,
            low_confidence,
            leaks: self.leaks,
        }
    }
}

/// What both cohorts did in some minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TotalsByCohort {
    /// Who is answered by the release, as far as its share goes.
    pub canary: CohortTotals,
    /// Everybody else.
    pub stable: CohortTotals,
}

/// What one cohort did in some minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortTotals {
    /// All that was counted.
    pub tally: CohortStats,
    /// How long its requests took; `None` without any.
    pub latency_ms: Option<LatencyQuantiles>,
    /// Mean of its answers' confidence; `None` without any.
    pub mean_confidence: Option<f64>,
}

/// Latencies that a half, nineteen of twenty and ninety-nine of a hundred requests do not exceed, in milliseconds,
/// within 5 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// The median.
    pub p50: f64,
    /// Of nineteen in twenty.
    pub p95: f64,
    /// Of ninety-nine in a hundred.
    pub p99: f64,
}

impl TotalsByCohort {
    /// Of what was counted of the canary and of stable.
    pub fn from_stats([canary_stats, stable_stats]: [CohortStats; 2]) -> Self {
        Self {
            canary: CohortTotals::from_stats(canary_stats),
            stable: CohortTotals::from_stats(stable_stats),
        }
    }
}

impl CohortTotals {
    fn from_stats(stats: CohortStats) -> Self {
        let quantile = |rank| stats.latency.quantile(rank);
        let latency_ms = quantile(0.5)
            .zip(quantile(0.95))
            .zip(quantile(0.99))
            .map(|((p50, p95), p99)| LatencyQuantiles { p50, p95, p99 });
        let answers = stats.counts.answers;
        let mean = || stats.confidence_millionths as f64 / 1e6 / answers as f64;
        let mean_confidence = (answers > 0).then(mean);
        Self { tally: stats, latency_ms, mean_confidence }
    }
}

/// The hours (minutes since 1970, divided by 60) since whose beginning a hit in a minute is a subject's first, when
/// its last one was just before minute `after`; 0 when there was none. At most [`SUBJECT_HOURS_PER_DAY`] are looked back on.
pub fn newly_affected_hours(minute: u64, after_last_hit: u64) -> std::ops::RangeInclusive<u64> {
    let hour = minute / 60;
    after_last_hit.div_ceil(60).max((hour + 1).saturating_sub(SUBJECT_HOURS_PER_DAY))..=hour
}

/// Newly affected subjects by metric and hour, of counts for each cohort; sorted by both.
pub fn sum_newly_affected(
    counts: impl Iterator<Item = (Metric, u64, Cohort, u64)>,
) -> Vec<AffectedSubjects> {
    let mut counts_by_hour: BTreeMap<(Metric, u64), CountByCohort> = BTreeMap::new();
    for (metric, hour, cohort, count) in counts {
        let by_cohort = counts_by_hour.entry((metric, hour)).or_default();
        match cohort {
            Cohort::Canary => by_cohort.canary += count,
            Cohort::Stable => by_cohort.stable += count,
        }
    }
    let to_affected =
        |((metric, since_hour), subjects)| AffectedSubjects { metric, since_hour, subjects };
    counts_by_hour.into_iter().map(to_affected).collect()
}

/// The minute that the gates read, of the tallies that were kept for it. Its share is known when one share was in
/// force for all of it.
pub fn sum_minute(number: u64, stats: &[(Cohort, Share, CohortStats)]) -> ClosedMinute {
    let mut minute = ClosedMinute { minute: number, ..ClosedMinute::default() };
    for (cohort, _, cohort_stats) in stats {
        match cohort {
            Cohort::Canary => minute.canary.add(&cohort_stats.counts),
            Cohort::Stable => minute.stable.add(&cohort_stats.counts),
        }
        minute.discordant.canary += cohort_stats.discordant.canary;
        minute.discordant.stable += cohort_stats.discordant.stable;
    }
    let first_share = stats.first().map(|(_, share, _)| *share);
    minute.share = first_share.filter(|first| stats.iter().all(|(_, share, _)| share == first));
    minute
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn recorded_call(edit: impl FnOnce(&mut Value)) -> StoredEvent {
        let mut event = json!({
            "event": "classify", "id": "x", "time_ms": 120_500, "release": "e1", "cohort": "canary",
            "by": "bucket", "counts": true, "subject": "5ab1", "destination": "canary", "fallback": null,
            "status": 200, "latency_ms": 150, "label": "joy", "confidence": 0.9, "low_confidence": false,
            "route": "linear_head", "rule_applied": false, "rule": null, "shadow": null,
            "thresholds": {"slow_ms": 200, "stable_p95_ms": 100.0, "canary_slow_ms": 120.0,
                "share_basis_points": 1000, "stage": null},
        });
        edit(&mut event);
        serde_json::from_value(event).unwrap()
    }

    fn contribution_of(edit: impl FnOnce(&mut Value)) -> EventContribution {
        count_event(&recorded_call(edit), TimeScale::REAL_TIME).unwrap()
    }

    #[test]
    fn a_fast_sure_answer_is_a_request_and_an_answer_and_no_more() {
        let contribution = contribution_of(|_| {});
        let mut expected = CohortCounts {
            requests: 1,
            answers: 1,
            slow_beside_stable: 1,
            ..CohortCounts::default()
        };
        expected.labels[0] = 1;
        assert_eq!(contribution.stats.counts, expected);
        assert_eq!(
            (contribution.minute, contribution.cohort, contribution.share.basis_points()),
            (2, Cohort::Canary, 1_000)
        );
        assert_eq!(
            (contribution.stats.linear_head, contribution.stats.confidence_millionths),
            (1, 900_000)
        );
        assert_eq!(contribution.affected_metrics, [Metric::SlowBesideStable]);
    }

    #[test]
    fn each_counter_counts_what_it_says() {
        let counts_of = |edit: &dyn Fn(&mut Value)| contribution_of(edit).stats.counts;
        let failed_open = counts_of(&|call| {
            call["destination"] = json!("stable");
            call["fallback"] = json!("timeout");
            call["status"] = json!(502);
            call["route"] = json!("regex");
        });
        // Whatever the old system answered, it is the canary's failure, once.
        assert_eq!(
            (
                failed_open.failed_open,
                failed_open.errors_5xx,
                failed_open.answers,
                failed_open.regex
            ),
            (1, 0, 0, 0)
        );
        let mismatch = counts_of(&|call| {
            call["destination"] = json!("stable");
            call["fallback"] = json!("dimension_mismatch");
        });
        assert_eq!((mismatch.mismatches, mismatch.failed_open), (1, 1));
        let stable = |edit: &dyn Fn(&mut Value)| {
            counts_of(&|call| {
                call["cohort"] = json!("stable");
                call["destination"] = json!("stable");
                edit(call);
            })
        };
        assert_eq!(stable(&|call| call["status"] = json!(500)).errors_5xx, 1);
        assert_eq!(stable(&|call| call["status"] = json!(499)).errors_5xx, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(100)).slow_beside_stable, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(101)).slow_beside_stable, 1);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(120)).slow_beside_stable, 0);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(200)).slow, 0);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(201)).slow, 1);
        assert_eq!(counts_of(&|call| call["route"] = json!("prototypes")).prototypes, 1);
        assert_eq!(counts_of(&|call| call["route"] = json!("regex")).regex, 1);
        assert_eq!(counts_of(&|call| call["low_confidence"] = json!(true)).low_confidence, 1);
        // An answer that nobody could read is a request, and no answer.
        let unread = stable(&|call| {
            for name in ["route", "confidence", "low_confidence", "rule_applied", "label"] {
                call[name] = Value::Null;
            }
        });
        assert_eq!((unread.requests, unread.answers, unread.labels), (1, 0, [0; 8]));
        let before_any = counts_of(&|call| {
            call["thresholds"]["stable_p95_ms"] = Value::Null;
            call["thresholds"]["canary_slow_ms"] = Value::Null;
        });
        assert_eq!(before_any.slow_beside_stable, 0);
    }

    #[test]
    fn an_event_that_is_not_evidence_counts_for_nothing() {
        assert_eq!(
            count_event(&recorded_call(|call| call["counts"] = json!(false)), TimeScale::REAL_TIME),
            None
        );
    }

    #[test]
    fn totals_have_quantiles_and_a_mean_and_none_without_requests() {
        let mut canary = contribution_of(|call| call["latency_ms"] = json!(1_000)).stats;
        for _ in 0..98 {
            canary.add(&contribution_of(|call| call["latency_ms"] = json!(100)).stats);
        }
        let TotalsByCohort { canary, stable } =
            TotalsByCohort::from_stats([canary, CohortStats::default()]);
        let latency = canary.latency_ms.unwrap();
        let is_near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.05;
        assert!(
            is_near(latency.p50, 100.0)
                && is_near(latency.p95, 100.0)
                && is_near(latency.p99, 1_000.0)
        );
        assert!((canary.mean_confidence.unwrap() - 0.9).abs() < 1e-9);
        assert_eq!((stable.latency_ms, stable.mean_confidence), (None, None));
    }

    #[test]
    fn a_verdict_counts_for_the_cohort_and_share_of_its_answer() {
        let verdict = |good: Value| {
            let verdict = json!({"event": "verdict", "id": "y", "time_ms": 180_000, "of": "x", "release": "e1",
                "cohort": "stable", "counts": true, "share_basis_points": 2000, "good": good});
            count_event(&serde_json::from_value(verdict).unwrap(), TimeScale::REAL_TIME).unwrap()
        };
        let contribution = verdict(json!(false));
        assert_eq!(
            (contribution.minute, contribution.cohort, contribution.share.basis_points()),
            (3, Cohort::Stable, 2_000)
        );
        assert_eq!(
            (contribution.stats.counts.feedback_bad, contribution.stats.counts.feedback_good),
            (1, 0)
        );
        assert_eq!(verdict(json!(true)).stats.counts.feedback_good, 1);
        assert_eq!(verdict(Value::Null).stats.counts, CohortCounts::default());
    }

    #[test]
    fn a_shadow_counts_the_cohort_that_alone_had_low_confidence() {
        let shadow = |stable: bool, canary: Value| {
            let contribution = contribution_of(|call| {
                call["cohort"] = json!("stable");
                call["destination"] = json!("stable");
                call["low_confidence"] = json!(stable);
                call["shadow"] = json!({"label": "joy", "agrees": true, "low_confidence": canary});
            });
            (
                contribution.stats.discordant.canary,
                contribution.stats.discordant.stable,
                contribution.stats.shadow_agreed,
            )
        };
        assert_eq!(shadow(false, json!(true)), (1, 0, 1));
        assert_eq!(shadow(true, json!(false)), (0, 1, 1));
        assert_eq!(shadow(true, json!(true)), (0, 0, 1));
        assert_eq!(shadow(true, Value::Null), (0, 0, 1));
    }

    #[test]
    fn a_subject_is_newly_affected_since_every_hour_after_its_last_hit() {
        let hours = |minute, after| newly_affected_hours(minute, after).collect::<Vec<u64>>();
        let day = 60 * 1_000;
        assert_eq!(hours(day + 125, 0).len(), SUBJECT_HOURS_PER_DAY as usize);
        assert_eq!(hours(day + 125, day + 70), [1_002]);
        assert_eq!(hours(day + 125, day + 60), [1_001, 1_002]);
        // The second hit of an hour is no news, nor is one that comes late.
        assert!(hours(day + 125, day + 121).is_empty());
        assert!(hours(day + 65, day + 126).is_empty());
        let hits = |cohort, count| (Metric::Slow, 7, cohort, count);
        let affected =
            sum_newly_affected([hits(Cohort::Stable, 3), hits(Cohort::Canary, 2)].into_iter());
        assert_eq!(
            affected,
            [AffectedSubjects {
                metric: Metric::Slow,
                since_hour: 7,
                subjects: CountByCohort { canary: 2, stable: 3 }
            }]
        );
    }

    #[test]
    fn a_minute_is_the_sum_of_its_stats_and_has_a_share_if_it_was_constant() {
        let share = |points| Share::from_basis_points(points).unwrap();
        let cohort_entry = |cohort, points, contribution: EventContribution| {
            (cohort, share(points), contribution.stats)
        };
        let stats = [
            cohort_entry(Cohort::Canary, 1_000, contribution_of(|_| {})),
            cohort_entry(
                Cohort::Canary,
                1_000,
                contribution_of(|call| call["latency_ms"] = json!(300)),
            ),
            cohort_entry(
                Cohort::Stable,
                1_000,
                contribution_of(|call| call["status"] = json!(500)),
            ),
        ];
        let minute = sum_minute(2, &stats);
        assert_eq!(
            (minute.canary.requests, minute.canary.slow, minute.stable.errors_5xx),
            (2, 1, 1)
        );
        assert_eq!(minute.share, Some(share(1_000)));
        let moved =
            [stats[0].clone(), cohort_entry(Cohort::Stable, 2_000, contribution_of(|_| {}))];
        assert_eq!(sum_minute(2, &moved).share, None);
        let mut sum = stats[0].2.clone();
        sum.add(&stats[1].2);
        assert_eq!((sum.counts, sum.latency.count()), (minute.canary, 2));
    }
}
