//! What an event counts for: one pure function, and sums of what it gives.
//!
//! The ledger keeps a [`Tally`] for each minute, release, assigned cohort and share, and knows of subjects who was
//! seen and affected before; everything else stands in the event itself, the thresholds that were in force
//! included. Tallies add up, so a ledger in parts is the sum of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contract::Route;
use super::event::{Recorded, RecordedCall, RecordedVerdict};
use crate::rollout::counts::{Affected, Counts, Metric, Minute, Pair, SLOW_MS};
use crate::rollout::gate::track::HOURS;
use crate::rollout::pace::Pace;
use crate::telemetry::analysis::{Sums, shows_more};
use crate::telemetry::sketch::Sketch;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// Everything that is counted of some events of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tally {
    /// What the gates read.
    pub counts: Counts,
    /// Latencies of all requests.
    pub latency: Sketch,
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
    pub discordant: Pair,
    /// Previews that show what a mask should have hidden.
    pub leaks: u64,
}

/// What one event adds, and to what.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Of what release it is evidence.
    pub release: String,
    /// Minutes since 1970.
    pub minute: u64,
    /// The cohort that the subject was assigned to.
    pub cohort: Cohort,
    /// The canary's share when it was decided.
    pub share: Share,
    /// What it adds.
    pub tally: Tally,
    /// Keyed hash of the subject.
    pub subject: Option<String>,
    /// Whether the subject is one of the holdout: no evidence of the draw.
    pub holdout: bool,
    /// What hit the subject; of [`SUBJECT_METRICS`](crate::rollout::counts::SUBJECT_METRICS).
    pub hits: Vec<Metric>,
}

/// What an event counts for; `None` when it is no evidence for or against a release.
pub fn count(event: &Recorded, pace: Pace) -> Option<Counted> {
    match event {
        Recorded::Classify(call) => call.counts.then(|| of_call(call, pace)),
        Recorded::Verdict(verdict) => verdict.counts.then(|| of_verdict(verdict, pace)),
    }
}

fn of_call(call: &RecordedCall, pace: Pace) -> Counted {
    let one = u64::from;
    let failed_open = call.cohort == Cohort::Canary && call.fallback.is_some();
    let error = call.status >= 500 && !failed_open;
    let slow = call.latency_ms > SLOW_MS;
    let limit = match call.cohort {
        Cohort::Canary => call.thresholds.canary_slow_ms,
        Cohort::Stable => call.thresholds.stable_p95_ms,
    };
    let beside = limit.is_some_and(|limit| call.latency_ms as f64 > limit);
    // What the old system said in the canary's place says nothing of the canary.
    let own = call.destination == call.cohort;
    let answer = own && (call.route.is_some() || call.confidence.is_some());
    let low = answer && call.low_confidence == Some(true);
    let ruled = answer && call.rule_applied == Some(true);
    let route = call.route.as_deref().and_then(Route::from_name).filter(|_| answer);
    let mut counts = Counts {
        requests: 1,
        errors_5xx: one(error),
        failed_open: one(failed_open),
        answers: one(answer),
        regex: one(route == Some(Route::Regex)),
        prototypes: one(route == Some(Route::Prototypes)),
        low_confidence: one(low),
        rule_applied: one(ruled),
        mismatches: one(call.fallback.as_deref() == Some("dimension_mismatch")),
        slow: one(slow),
        slow_beside_stable: one(beside),
        ..Counts::default()
    };
    if let Some(label) = call.label.filter(|_| answer) {
        counts.labels[label.index()] = 1;
    }
    let mut tally =
        Tally { counts, linear_head: one(route == Some(Route::LinearHead)), ..Tally::default() };
    tally.latency.add(call.latency_ms);
    if let Some(rule) = call.rule.clone().filter(|_| ruled) {
        tally.rules.insert(rule, 1);
    }
    let confidence = call.confidence.filter(|_| answer).unwrap_or(0.0);
    tally.confidence_millionths = libm::round(1e6 * confidence.clamp(0.0, 1.0)) as u64;
    if let Some(shadow) = &call.shadow {
        tally.shadow_agreed = one(shadow.agrees == Some(true));
        tally.shadow_disagreed = one(shadow.agrees == Some(false));
        if let (Some(stable), Some(canary)) = (call.low_confidence, shadow.low_confidence) {
            tally.discordant =
                Pair { canary: one(canary && !stable), stable: one(stable && !canary) };
        }
    }
    tally.leaks = one(call.preview.as_deref().is_some_and(shows_more));
    let hits = [
        (Metric::Errors, error || failed_open),
        (Metric::LowConfidence, low),
        (Metric::RuleApplied, ruled),
        (Metric::Slow, slow),
        (Metric::SlowBesideStable, beside),
    ];
    Counted {
        release: call.release.clone(),
        minute: pace.minute(UnixMs(call.time_ms)),
        cohort: call.cohort,
        share: call.thresholds.share,
        tally,
        subject: call.subject.clone(),
        holdout: call.by == "holdout",
        hits: hits.into_iter().filter_map(|(metric, hit)| hit.then_some(metric)).collect(),
    }
}

fn of_verdict(verdict: &RecordedVerdict, pace: Pace) -> Counted {
    let one = |good| u64::from(verdict.good == Some(good));
    let counts = Counts { feedback_good: one(true), feedback_bad: one(false), ..Counts::default() };
    Counted {
        release: verdict.release.clone(),
        minute: pace.minute(UnixMs(verdict.time_ms)),
        cohort: verdict.cohort,
        share: verdict.share,
        tally: Tally { counts, ..Tally::default() },
        subject: None,
        holdout: false,
        hits: Vec::new(),
    }
}

impl Tally {
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
    pub fn sums(&self) -> Sums {
        let Counts { answers, regex, prototypes, low_confidence, .. } = self.counts;
        let linear_head = self.linear_head;
        let routed = linear_head + regex + prototypes;
        Sums { predictions: answers, routed, linear_head, regex, low_confidence, leaks: self.leaks }
    }
}

/// What both cohorts did in some minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Who is answered by the release, as far as its share goes.
    pub canary: Side,
    /// Everybody else.
    pub stable: Side,
}

/// What one cohort did in some minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// All that was counted.
    pub tally: Tally,
    /// How long its requests took; `None` without any.
    pub latency_ms: Option<Quantiles>,
    /// Mean of its answers' confidence; `None` without any.
    pub mean_confidence: Option<f64>,
}

/// Latencies that a half, nineteen of twenty and ninety-nine of a hundred requests do not exceed, in milliseconds,
/// within 5 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Of nineteen in twenty.
    pub p95: f64,
    /// Of ninety-nine in a hundred.
    pub p99: f64,
}

impl Totals {
    /// Of what was counted of the canary and of stable.
    pub fn of([canary, stable]: [Tally; 2]) -> Self {
        Self { canary: Side::of(canary), stable: Side::of(stable) }
    }
}

impl Side {
    fn of(tally: Tally) -> Self {
        let at = |part| tally.latency.quantile(part);
        let latency_ms = at(0.5).zip(at(0.95)).zip(at(0.99)).map(|((p50, p95), p99)| Quantiles {
            p50,
            p95,
            p99,
        });
        let answers = tally.counts.answers;
        let mean = || tally.confidence_millionths as f64 / 1e6 / answers as f64;
        let mean_confidence = (answers > 0).then(mean);
        Self { tally, latency_ms, mean_confidence }
    }
}

/// The hours (minutes since 1970, divided by 60) since whose beginning a hit in a minute is a subject's first, when
/// its last one was just before minute `after`; 0 when there was none. At most [`HOURS`] are looked back on.
pub fn newly_affected_since(minute: u64, after: u64) -> std::ops::RangeInclusive<u64> {
    let hour = minute / 60;
    after.div_ceil(60).max((hour + 1).saturating_sub(HOURS))..=hour
}

/// Newly affected subjects by metric and hour, of counts for each cohort; sorted by both.
pub fn affected(counts: impl Iterator<Item = (Metric, u64, Cohort, u64)>) -> Vec<Affected> {
    let mut found: BTreeMap<(Metric, u64), Pair> = BTreeMap::new();
    for (metric, hour, cohort, count) in counts {
        let pair = found.entry((metric, hour)).or_default();
        match cohort {
            Cohort::Canary => pair.canary += count,
            Cohort::Stable => pair.stable += count,
        }
    }
    let one = |((metric, since_hour), subjects)| Affected { metric, since_hour, subjects };
    found.into_iter().map(one).collect()
}

/// The minute that the gates read, of the tallies that were kept for it. Its share is known when one share was in
/// force for all of it.
pub fn minute(number: u64, tallies: &[(Cohort, Share, Tally)]) -> Minute {
    let mut minute = Minute { minute: number, ..Minute::default() };
    for (cohort, _, tally) in tallies {
        match cohort {
            Cohort::Canary => minute.canary.add(&tally.counts),
            Cohort::Stable => minute.stable.add(&tally.counts),
        }
        minute.discordant.canary += tally.discordant.canary;
        minute.discordant.stable += tally.discordant.stable;
    }
    let first = tallies.first().map(|(_, share, _)| *share);
    minute.share = first.filter(|first| tallies.iter().all(|(_, share, _)| share == first));
    minute
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn call(change: impl FnOnce(&mut Value)) -> Recorded {
        let mut call = json!({
            "event": "classify", "id": "x", "time_ms": 120_500, "release": "e1", "cohort": "canary",
            "by": "bucket", "counts": true, "subject": "5ab1", "destination": "canary", "fallback": null,
            "status": 200, "latency_ms": 150, "label": "joy", "confidence": 0.9, "low_confidence": false,
            "route": "linear_head", "rule_applied": false, "rule": null, "shadow": null,
            "thresholds": {"slow_ms": 200, "stable_p95_ms": 100.0, "canary_slow_ms": 120.0,
                "share_basis_points": 1000, "stage": null},
        });
        change(&mut call);
        serde_json::from_value(call).unwrap()
    }

    fn counted(change: impl FnOnce(&mut Value)) -> Counted {
        count(&call(change), Pace::REAL).unwrap()
    }

    #[test]
    fn a_fast_sure_answer_is_a_request_and_an_answer_and_no_more() {
        let found = counted(|_| {});
        let mut expected =
            Counts { requests: 1, answers: 1, slow_beside_stable: 1, ..Counts::default() };
        expected.labels[0] = 1;
        assert_eq!(found.tally.counts, expected);
        assert_eq!(
            (found.minute, found.cohort, found.share.basis_points()),
            (2, Cohort::Canary, 1_000)
        );
        assert_eq!((found.tally.linear_head, found.tally.confidence_millionths), (1, 900_000));
        assert_eq!(found.hits, [Metric::SlowBesideStable]);
    }

    #[test]
    fn each_counter_counts_what_it_says() {
        let counts = |change: &dyn Fn(&mut Value)| counted(change).tally.counts;
        let open = counts(&|call| {
            call["destination"] = json!("stable");
            call["fallback"] = json!("timeout");
            call["status"] = json!(502);
            call["route"] = json!("regex");
        });
        // Whatever the old system answered, it is the canary's failure, once.
        assert_eq!((open.failed_open, open.errors_5xx, open.answers, open.regex), (1, 0, 0, 0));
        let mismatch = counts(&|call| {
            call["destination"] = json!("stable");
            call["fallback"] = json!("dimension_mismatch");
        });
        assert_eq!((mismatch.mismatches, mismatch.failed_open), (1, 1));
        let stable = |change: &dyn Fn(&mut Value)| {
            counts(&|call| {
                call["cohort"] = json!("stable");
                call["destination"] = json!("stable");
                change(call);
            })
        };
        assert_eq!(stable(&|call| call["status"] = json!(500)).errors_5xx, 1);
        assert_eq!(stable(&|call| call["status"] = json!(499)).errors_5xx, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(100)).slow_beside_stable, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(101)).slow_beside_stable, 1);
        assert_eq!(counts(&|call| call["latency_ms"] = json!(120)).slow_beside_stable, 0);
        assert_eq!(counts(&|call| call["latency_ms"] = json!(200)).slow, 0);
        assert_eq!(counts(&|call| call["latency_ms"] = json!(201)).slow, 1);
        assert_eq!(counts(&|call| call["route"] = json!("prototypes")).prototypes, 1);
        assert_eq!(counts(&|call| call["route"] = json!("regex")).regex, 1);
        assert_eq!(counts(&|call| call["low_confidence"] = json!(true)).low_confidence, 1);
        // An answer that nobody could read is a request, and no answer.
        let unread = stable(&|call| {
            for name in ["route", "confidence", "low_confidence", "rule_applied", "label"] {
                call[name] = Value::Null;
            }
        });
        assert_eq!((unread.requests, unread.answers, unread.labels), (1, 0, [0; 8]));
        let before_any = counts(&|call| {
            call["thresholds"]["stable_p95_ms"] = Value::Null;
            call["thresholds"]["canary_slow_ms"] = Value::Null;
        });
        assert_eq!(before_any.slow_beside_stable, 0);
    }

    #[test]
    fn what_was_chosen_and_not_drawn_counts_for_nothing() {
        assert_eq!(count(&call(|call| call["counts"] = json!(false)), Pace::REAL), None);
    }

    #[test]
    fn totals_know_their_quantiles_and_mean_and_nothing_of_nobody() {
        let mut canary = counted(|call| call["latency_ms"] = json!(1_000)).tally;
        for _ in 0..98 {
            canary.add(&counted(|call| call["latency_ms"] = json!(100)).tally);
        }
        let Totals { canary, stable } = Totals::of([canary, Tally::default()]);
        let found = canary.latency_ms.unwrap();
        let near = |value: f64, known: f64| (value / known - 1.0).abs() < 0.05;
        assert!(near(found.p50, 100.0) && near(found.p95, 100.0) && near(found.p99, 1_000.0));
        assert!((canary.mean_confidence.unwrap() - 0.9).abs() < 1e-9);
        assert_eq!((stable.latency_ms, stable.mean_confidence), (None, None));
    }

    #[test]
    fn a_verdict_counts_for_the_cohort_and_share_of_its_answer() {
        let verdict = |good: Value| {
            let verdict = json!({"event": "verdict", "id": "y", "time_ms": 180_000, "of": "x", "release": "e1",
                "cohort": "stable", "counts": true, "share_basis_points": 2000, "good": good});
            count(&serde_json::from_value(verdict).unwrap(), Pace::REAL).unwrap()
        };
        let found = verdict(json!(false));
        assert_eq!(
            (found.minute, found.cohort, found.share.basis_points()),
            (3, Cohort::Stable, 2_000)
        );
        assert_eq!((found.tally.counts.feedback_bad, found.tally.counts.feedback_good), (1, 0));
        assert_eq!(verdict(json!(true)).tally.counts.feedback_good, 1);
        assert_eq!(verdict(Value::Null).tally.counts, Counts::default());
    }

    #[test]
    fn a_shadow_counts_who_alone_was_unsure() {
        let shadow = |stable: bool, canary: Value| {
            let found = counted(|call| {
                call["cohort"] = json!("stable");
                call["destination"] = json!("stable");
                call["low_confidence"] = json!(stable);
                call["shadow"] = json!({"label": "joy", "agrees": true, "low_confidence": canary});
            });
            (
                found.tally.discordant.canary,
                found.tally.discordant.stable,
                found.tally.shadow_agreed,
            )
        };
        assert_eq!(shadow(false, json!(true)), (1, 0, 1));
        assert_eq!(shadow(true, json!(false)), (0, 1, 1));
        assert_eq!(shadow(true, json!(true)), (0, 0, 1));
        assert_eq!(shadow(true, Value::Null), (0, 0, 1));
    }

    #[test]
    fn a_hit_is_the_first_since_every_hour_that_began_after_the_last() {
        let since = |minute, after| newly_affected_since(minute, after).collect::<Vec<u64>>();
        let day = 60 * 1_000;
        assert_eq!(since(day + 125, 0).len(), HOURS as usize);
        assert_eq!(since(day + 125, day + 70), [1_002]);
        assert_eq!(since(day + 125, day + 60), [1_001, 1_002]);
        // The second hit of an hour is no news, nor is one that comes late.
        assert!(since(day + 125, day + 121).is_empty());
        assert!(since(day + 65, day + 126).is_empty());
        let of = |cohort, count| (Metric::Slow, 7, cohort, count);
        let found = affected([of(Cohort::Stable, 3), of(Cohort::Canary, 2)].into_iter());
        assert_eq!(
            found,
            [Affected {
                metric: Metric::Slow,
                since_hour: 7,
                subjects: Pair { canary: 2, stable: 3 }
            }]
        );
    }

    #[test]
    fn a_minute_is_the_sum_of_its_parts_and_has_a_share_if_it_was_one() {
        let share = |points| Share::from_basis_points(points).unwrap();
        let of = |cohort, points, found: Counted| (cohort, share(points), found.tally);
        let parts = [
            of(Cohort::Canary, 1_000, counted(|_| {})),
            of(Cohort::Canary, 1_000, counted(|call| call["latency_ms"] = json!(300))),
            of(Cohort::Stable, 1_000, counted(|call| call["status"] = json!(500))),
        ];
        let found = minute(2, &parts);
        assert_eq!((found.canary.requests, found.canary.slow, found.stable.errors_5xx), (2, 1, 1));
        assert_eq!(found.share, Some(share(1_000)));
        let moved = [parts[0].clone(), of(Cohort::Stable, 2_000, counted(|_| {}))];
        assert_eq!(minute(2, &moved).share, None);
        let mut sum = parts[0].2.clone();
        sum.add(&parts[1].2);
        assert_eq!((sum.counts, sum.latency.count()), (found.canary, 2));
    }
}
