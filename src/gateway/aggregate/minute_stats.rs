//! Converts one stored event into the counts that it adds, and sums such counts.
//!
//! The event store keeps one [`CohortStats`] for each release, minute, assigned cohort and share.
//! [`count_event`] reads all it needs from the event itself, including the thresholds that applied
//! when the request was decided. Only the counts of first-seen and newly affected subjects need
//! stored state, which the event store keeps. Stats are additive, so the stats of a sharded event
//! store are the sum over its shards. An event that is no evidence for or against a release is not
//! counted. Of a call that the legacy system refused, only the subject is: it was drawn, but its answer
//! says nothing about the release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gateway::events::open_enum::OpenEnum;
use crate::gateway::events::stored::{StoredClassifyEvent, StoredEvent, StoredFeedback};
use crate::gateway::upstream::auth_verdict::AuthVerdict;
use crate::gateway::upstream::model::FallbackReason;
use crate::rollout::assignment::AssignmentReason;
use crate::rollout::counts::{AffectedSubjects, ClosedMinute, CohortCounts, Metric, SLOW_MS};
use crate::rollout::gate::change_evidence::HOURLY_SUBJECT_MIXTURES_MAX;
use crate::rollout::release_state::HardFailureKind;
use crate::rollout::time_scale::TimeScale;
use crate::telemetry::analysis::{AdvanceReadinessCounts, contains_unmasked_pii};
use crate::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, PredictionRoute, Share, TieBreakRule, UnixMs};

/// Counts and sums over some events of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortStats {
    /// Counters that the gates read.
    pub counts: CohortCounts,
    /// Latencies of all requests in milliseconds; quantiles of the sketch are within 5 %.
    pub latency: LatencySketch,
    /// Answers that a rule changed, counted by the name of the rule; `other` is any rule that this
    /// version does not know.
    pub rules: BTreeMap<String, u64>,
    /// Answers whose route was the linear head.
    pub linear_head: u64,
    /// Sum of the confidence (0 to 1) of all answers, in millionths.
    pub confidence_sum_millionths: u64,
    /// Shadow predictions with the same label as the legacy answer.
    pub shadow_agreed: u64,
    /// Shadow predictions with another label than the legacy answer.
    pub shadow_disagreed: u64,
    /// Requests that both cohorts scored and where only one had low confidence, counted for that
    /// one.
    pub discordant_pairs: ByCohort<u64>,
    /// Events whose text preview shows an `@` or `http`, which masking should have removed.
    pub preview_leaks: u64,
}

/// Counts that one event adds, and the key to add them under.
#[derive(Clone, Debug, PartialEq)]
pub struct EventContribution {
    /// Release for or against which the event is evidence.
    pub release: String,
    /// Minute in which the event counts, in minutes since 1970 on the [`TimeScale`] in use.
    pub minute: u64,
    /// Cohort that the subject was assigned to, even if the request failed open.
    pub cohort: Cohort,
    /// Canary share at the time of the decision; for feedback, that of the rated answer.
    pub share: Share,
    /// Counts to add under the key of the fields above.
    pub stats: CohortStats,
    /// Keyed hash of the subject; `None` for feedback, and without a subject or a signing key.
    pub subject: Option<String>,
    /// Whether the subject is in the holdout, and so is never counted as newly seen.
    pub in_holdout: bool,
    /// Metrics that the event counts against; a subset of
    /// [`SUBJECT_METRICS`](crate::rollout::counts::SUBJECT_METRICS).
    pub affected_metrics: Vec<Metric>,
}

/// Returns the counts that an event adds; `None` if it is no evidence for or against a release, or
/// if its cohort is unknown.
pub fn count_event(event: &StoredEvent, time_scale: TimeScale) -> Option<EventContribution> {
    match event {
        StoredEvent::Classify(call) if call.is_evidence => count_call(call, time_scale),
        StoredEvent::Feedback(verdict) if verdict.is_evidence => count_verdict(verdict, time_scale),
        StoredEvent::Classify(_) | StoredEvent::Feedback(_) => None,
    }
}

fn count_call(call: &StoredClassifyEvent, time_scale: TimeScale) -> Option<EventContribution> {
    let cohort = call.cohort.known()?;
    if is_refused(call) {
        return Some(EventContribution::of_subject(call, cohort, time_scale));
    }
    let as_count = u64::from;
    let failed_open = cohort == Cohort::Canary && call.fallback_reason.is_some();
    let is_unavailable = failed_open && is_unavailability(call);
    let is_error = call.status >= 500 && !failed_open;
    let is_slow = call.latency_ms > SLOW_MS;
    let slower_than_stable = is_slower_than_stable(call, cohort);
    // A legacy answer in place of the canary's is no evidence about the canary's answers.
    let answered_by_own_cohort = call.destination == OpenEnum::Known(cohort);
    let has_answer = answered_by_own_cohort && (call.route.is_some() || call.confidence.is_some());
    let low_confidence = has_answer && call.low_confidence == Some(true);
    let rule_applied = has_answer && call.rule_applied == Some(true);
    let route = call.route.and_then(OpenEnum::known).filter(|_| has_answer);
    let mut counts = CohortCounts {
        requests: 1,
        errors_5xx: as_count(is_error),
        fallbacks: as_count(failed_open),
        model_unavailable: as_count(is_unavailable),
        scored_responses: as_count(has_answer),
        regex: as_count(route == Some(PredictionRoute::Regex)),
        prototypes: as_count(route == Some(PredictionRoute::Prototypes)),
        low_confidence: as_count(low_confidence),
        rule_applied: as_count(rule_applied),
        dimension_mismatches: as_count(call.fallback_reason == Some(DIMENSION_MISMATCH)),
        slow: as_count(is_slow),
        slower_than_stable: as_count(slower_than_stable),
        ..CohortCounts::default()
    };
    if let Some(label) = call.label.and_then(OpenEnum::known).filter(|_| has_answer) {
        counts.labels[label.index()] = 1;
    }
    let mut stats = CohortStats {
        counts,
        linear_head: as_count(route == Some(PredictionRoute::LinearHead)),
        ..CohortStats::default()
    };
    stats.latency.add(call.latency_ms);
    if let Some(rule) = call.rule.filter(|_| rule_applied) {
        stats.rules.insert(rule.name(TieBreakRule::name).to_owned(), 1);
    }
    let confidence = call.confidence.filter(|_| has_answer).unwrap_or(0.0);
    stats.confidence_sum_millionths = libm::round(1e6 * confidence.clamp(0.0, 1.0)) as u64;
    count_shadow(call, &mut stats);
    stats.preview_leaks = as_count(call.preview.as_deref().is_some_and(contains_unmasked_pii));
    let affected_metrics = [
        (Metric::Errors, is_error || (failed_open && !is_unavailable)),
        (Metric::LowConfidence, low_confidence),
        (Metric::RuleApplied, rule_applied),
        (Metric::Slow, is_slow),
        (Metric::SlowerThanStable, slower_than_stable),
    ];
    Some(EventContribution {
        stats,
        affected_metrics: affected_metrics
            .into_iter()
            .filter_map(|(metric, is_affected)| is_affected.then_some(metric))
            .collect(),
        ..EventContribution::of_subject(call, cohort, time_scale)
    })
}

/// Returns whether the legacy system refused a call: it answered with a 4xx, or its check did not admit
/// the caller.
fn is_refused(call: &StoredClassifyEvent) -> bool {
    let is_admitted = |verdict| verdict == OpenEnum::Known(AuthVerdict::Admitted);
    (400..500).contains(&call.status)
        || call.auth_verdict.is_some_and(|verdict| !is_admitted(verdict))
}

impl EventContribution {
    /// Returns what every drawn call adds: its subject, and no counts.
    fn of_subject(call: &StoredClassifyEvent, cohort: Cohort, time_scale: TimeScale) -> Self {
        Self {
            release: call.release.clone(),
            minute: time_scale.minute_of(UnixMs(call.time_ms)),
            cohort,
            share: call.thresholds.share,
            stats: CohortStats::default(),
            subject: call.subject.clone(),
            in_holdout: call.reason == OpenEnum::Known(AssignmentReason::Holdout),
            affected_metrics: Vec::new(),
        }
    }
}

fn is_slower_than_stable(call: &StoredClassifyEvent, cohort: Cohort) -> bool {
    let limit_ms = match cohort {
        Cohort::Canary => call.thresholds.canary_slow_ms,
        Cohort::Stable => call.thresholds.stable_p95_ms,
    };
    limit_ms.is_some_and(|limit_ms| call.latency_ms as f64 > limit_ms)
}

fn is_unavailability(call: &StoredClassifyEvent) -> bool {
    let reason = call.fallback_reason.and_then(OpenEnum::known);
    reason.is_some_and(FallbackReason::is_unavailability)
}

const DIMENSION_MISMATCH: OpenEnum<FallbackReason> =
    OpenEnum::Known(FallbackReason::HardFailure(HardFailureKind::DimensionMismatch));

fn count_shadow(call: &StoredClassifyEvent, stats: &mut CohortStats) {
    let Some(shadow) = &call.shadow else { return };
    stats.shadow_agreed = u64::from(shadow.agrees == Some(true));
    stats.shadow_disagreed = u64::from(shadow.agrees == Some(false));
    if let (Some(stable), Some(canary)) = (call.low_confidence, shadow.low_confidence) {
        stats.discordant_pairs =
            ByCohort { canary: u64::from(canary && !stable), stable: u64::from(stable && !canary) };
    }
}

fn count_verdict(verdict: &StoredFeedback, time_scale: TimeScale) -> Option<EventContribution> {
    let cohort = verdict.cohort.known()?;
    let count_if = |good| u64::from(verdict.good == Some(good));
    let counts = CohortCounts {
        feedback_good: count_if(true),
        feedback_bad: count_if(false),
        ..CohortCounts::default()
    };
    Some(EventContribution {
        release: verdict.release.clone(),
        minute: time_scale.minute_of(UnixMs(verdict.time_ms)),
        cohort,
        share: verdict.share,
        stats: CohortStats { counts, ..CohortStats::default() },
        subject: None,
        in_holdout: false,
        affected_metrics: Vec::new(),
    })
}

impl CohortStats {
    /// Adds the counts of `other` to these stats.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.latency.merge(&other.latency);
        for (rule, count) in &other.rules {
            *self.rules.entry(rule.clone()).or_default() += count;
        }
        self.linear_head += other.linear_head;
        self.confidence_sum_millionths += other.confidence_sum_millionths;
        self.shadow_agreed += other.shadow_agreed;
        self.shadow_disagreed += other.shadow_disagreed;
        self.discordant_pairs.canary += other.discordant_pairs.canary;
        self.discordant_pairs.stable += other.discordant_pairs.stable;
        self.preview_leaks += other.preview_leaks;
    }

    /// Returns the counts that the readiness checks use.
    pub fn prediction_sums(&self) -> AdvanceReadinessCounts {
        let CohortCounts { scored_responses: answers, regex, prototypes, low_confidence, .. } =
            self.counts;
        let linear_head = self.linear_head;
        let routed = linear_head + regex + prototypes;
        AdvanceReadinessCounts {
            predictions: answers,
            non_empty_predictions: routed,
            linear_head,
            regex,
            low_confidence,
            leaks: self.preview_leaks,
        }
    }
}

/// Returns each hour (minutes since 1970, divided by 60) for which a hit in `minute` is the
/// subject's first hit since that hour began.
///
/// `after_last_hit` is the minute after the subject's last hit, or 0 if there was none. The range
/// reaches back over at most [`HOURLY_SUBJECT_MIXTURES_MAX`] hours. It is empty if the last hit was in
/// the same hour or later.
pub fn newly_affected_hours(minute: u64, after_last_hit: u64) -> std::ops::RangeInclusive<u64> {
    let hour = minute / 60;
    after_last_hit.div_ceil(60).max((hour + 1).saturating_sub(HOURLY_SUBJECT_MIXTURES_MAX))..=hour
}

/// Sums newly affected subjects by metric and hour, sorted by both. Each item of `counts` holds
/// metric, hour, cohort and number of subjects.
pub fn sum_newly_affected_subjects(
    counts: impl Iterator<Item = (Metric, u64, Cohort, u64)>,
) -> Vec<AffectedSubjects> {
    let mut counts_by_hour: BTreeMap<(Metric, u64), ByCohort<u64>> = BTreeMap::new();
    for (metric, hour, cohort, count) in counts {
        counts_by_hour.entry((metric, hour)).or_default()[cohort] += count;
    }
    let to_affected =
        |((metric, since_hour), subjects)| AffectedSubjects { metric, since_hour, subjects };
    counts_by_hour.into_iter().map(to_affected).collect()
}

/// Sums the stats kept for minute `number` into the closed minute that the gates read. Its share is
/// `None` unless all stats have the same share.
pub fn sum_minute(number: u64, stats: &[(Cohort, Share, CohortStats)]) -> ClosedMinute {
    let mut minute = ClosedMinute { minute: number, ..ClosedMinute::default() };
    for (cohort, _, cohort_stats) in stats {
        match cohort {
            Cohort::Canary => minute.canary.add(&cohort_stats.counts),
            Cohort::Stable => minute.stable.add(&cohort_stats.counts),
        }
        minute.discordant_pairs.canary += cohort_stats.discordant_pairs.canary;
        minute.discordant_pairs.stable += cohort_stats.discordant_pairs.stable;
    }
    let first_share = stats.first().map(|(_, share, _)| *share);
    minute.share = first_share.filter(|first| stats.iter().all(|(_, share, _)| share == first));
    minute
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use jeffrey_terms::Label;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    fn recorded_call(edit: impl FnOnce(&mut Value)) -> StoredEvent {
        let mut event = json!({
            "event": "classify", "id": "x", "time_ms": 120_500, "release": "e1", "cohort": "canary",
            "reason": "bucket", "is_evidence": true, "subject": "5ab1", "destination": "canary", "fallback_reason": null,
            "status": 200, "latency_ms": 150, "label": "joy", "confidence": 0.9, "low_confidence": false,
            "route": "linear_head", "rule_applied": false, "rule": null, "shadow": null,
            "thresholds": {"slow_ms": 200, "stable_p95_ms": 100.0, "canary_slow_ms": 120.0,
                "share_basis_points": 1000, "stage": null},
        });
        edit(&mut event);
        serde_json::from_value(event).unwrap()
    }

    /// Contribution of a canary call whose event `edit` changed.
    pub(in crate::gateway::aggregate) fn contribution_of(
        edit: impl FnOnce(&mut Value),
    ) -> EventContribution {
        count_event(&recorded_call(edit), TimeScale::REAL_TIME).unwrap()
    }

    #[test]
    fn a_fast_sure_answer_is_a_request_and_an_answer_and_no_more() {
        let contribution = contribution_of(|_| {});
        let mut expected = CohortCounts {
            requests: 1,
            scored_responses: 1,
            slower_than_stable: 1,
            ..CohortCounts::default()
        };
        expected.labels[0] = 1;
        assert_eq!(contribution.stats.counts, expected);
        assert_eq!(
            (contribution.minute, contribution.cohort, contribution.share.basis_points()),
            (2, Cohort::Canary, 1_000)
        );
        assert_eq!(
            (contribution.stats.linear_head, contribution.stats.confidence_sum_millionths),
            (1, 900_000)
        );
        assert_eq!(contribution.affected_metrics, [Metric::SlowerThanStable]);
    }

    #[test]
    fn a_call_that_the_legacy_system_refused_adds_its_subject_and_no_counts() {
        type Edit = fn(&mut Value);
        let refused: [Edit; 5] = [
            |call| call["status"] = json!(401),
            |call| (call["status"], call["cohort"]) = (json!(422), json!("stable")),
            |call| call["auth_verdict"] = json!("refused"),
            |call| call["auth_verdict"] = json!("unavailable"),
            |call| call["auth_verdict"] = json!("from_the_future"),
        ];
        for edit in refused {
            let contribution = contribution_of(|call| {
                call["latency_ms"] = json!(5_000);
                edit(call);
            });
            assert_eq!(contribution.stats, CohortStats::default());
            assert_eq!(contribution.affected_metrics, []);
            assert_eq!(contribution.subject.as_deref(), Some("5ab1"));
        }
        let counted: [Edit; 4] = [
            |call| call["auth_verdict"] = json!("admitted"),
            |call| call["auth_verdict"] = json!(null),
            |call| call["status"] = json!(399),
            |call| call["status"] = json!(500),
        ];
        for edit in counted {
            assert_eq!(contribution_of(edit).stats.counts.requests, 1);
        }
    }

    #[test]
    fn each_counter_counts_what_it_says() {
        let counts_of = |edit: &dyn Fn(&mut Value)| contribution_of(edit).stats.counts;
        let failed_open = counts_of(&|call| {
            call["destination"] = json!("stable");
            call["fallback_reason"] = json!("timeout");
            call["status"] = json!(502);
            call["route"] = json!("regex");
        });
        // The legacy status does not matter: the request counts as one failure of the canary.
        assert_eq!(
            (
                failed_open.fallbacks,
                failed_open.errors_5xx,
                failed_open.scored_responses,
                failed_open.regex
            ),
            (1, 0, 0, 0)
        );
        let mismatch = counts_of(&|call| {
            call["destination"] = json!("stable");
            call["fallback_reason"] = json!("dimension_mismatch");
        });
        assert_eq!((mismatch.dimension_mismatches, mismatch.fallbacks), (1, 1));
        let stable = |edit: &dyn Fn(&mut Value)| {
            counts_of(&|call| {
                call["cohort"] = json!("stable");
                call["destination"] = json!("stable");
                edit(call);
            })
        };
        assert_eq!(stable(&|call| call["status"] = json!(500)).errors_5xx, 1);
        assert_eq!(stable(&|call| call["status"] = json!(499)).errors_5xx, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(100)).slower_than_stable, 0);
        assert_eq!(stable(&|call| call["latency_ms"] = json!(101)).slower_than_stable, 1);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(120)).slower_than_stable, 0);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(200)).slow, 0);
        assert_eq!(counts_of(&|call| call["latency_ms"] = json!(201)).slow, 1);
        assert_eq!(counts_of(&|call| call["route"] = json!("prototypes")).prototypes, 1);
        assert_eq!(counts_of(&|call| call["route"] = json!("regex")).regex, 1);
        assert_eq!(counts_of(&|call| call["low_confidence"] = json!(true)).low_confidence, 1);
        // An answer that could not be read counts as a request and not as an answer.
        let unread = stable(&|call| {
            for name in ["route", "confidence", "low_confidence", "rule_applied", "label"] {
                call[name] = Value::Null;
            }
        });
        assert_eq!((unread.requests, unread.scored_responses, unread.labels), (1, 0, [0; 8]));
        let before_any = counts_of(&|call| {
            call["thresholds"]["stable_p95_ms"] = Value::Null;
            call["thresholds"]["canary_slow_ms"] = Value::Null;
        });
        assert_eq!(before_any.slower_than_stable, 0);
    }

    #[test]
    fn an_event_that_is_not_evidence_counts_for_nothing() {
        assert_eq!(
            count_event(
                &recorded_call(|call| call["is_evidence"] = json!(false)),
                TimeScale::REAL_TIME
            ),
            None
        );
    }

    #[test]
    fn a_verdict_counts_for_the_cohort_and_share_of_its_answer() {
        let verdict = |good: Value| {
            let verdict = json!({"event": "feedback", "id": "y", "time_ms": 180_000, "classify_id": "x", "release": "e1",
                "cohort": "stable", "is_evidence": true, "share_basis_points": 2000, "good": good});
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
                contribution.stats.discordant_pairs.canary,
                contribution.stats.discordant_pairs.stable,
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
        assert_eq!(hours(day + 125, 0).len(), HOURLY_SUBJECT_MIXTURES_MAX as usize);
        assert_eq!(hours(day + 125, day + 70), [1_002]);
        assert_eq!(hours(day + 125, day + 60), [1_001, 1_002]);
        // A second hit in the same hour adds nothing, and neither does a hit that arrives late.
        assert!(hours(day + 125, day + 121).is_empty());
        assert!(hours(day + 65, day + 126).is_empty());
        let hits = |cohort, count| (Metric::Slow, 7, cohort, count);
        let affected = sum_newly_affected_subjects(
            [hits(Cohort::Stable, 3), hits(Cohort::Canary, 2)].into_iter(),
        );
        assert_eq!(
            affected,
            [AffectedSubjects {
                metric: Metric::Slow,
                since_hour: 7,
                subjects: ByCohort { canary: 2, stable: 3 }
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

    #[test]
    fn an_unrecognized_value_costs_no_evidence_but_its_own() {
        let known = contribution_of(|call| call["rule_applied"] = json!(true));
        let with_unknown = |name: &str| {
            contribution_of(|call| {
                call["rule_applied"] = json!(true);
                call[name] = json!("from_the_future");
            })
        };
        // A reason that is not the holdout changes nothing: the event itself says what is evidence.
        assert_eq!(with_unknown("reason"), known);
        let mut unlabelled = known.clone();
        unlabelled.stats.counts.labels = [0; 8];
        assert_eq!(with_unknown("label"), unlabelled);
        let mut unrouted = known.clone();
        unrouted.stats.linear_head = 0;
        assert_eq!(with_unknown("route"), unrouted);
        let mut other_rule = known.clone();
        other_rule.stats.rules = BTreeMap::from([("other".to_owned(), 1)]);
        assert_eq!(with_unknown("rule"), other_rule);
        // It failed open, whatever the reason is called.
        let mut failed_open = known.clone();
        failed_open.stats.counts.fallbacks = 1;
        failed_open.affected_metrics.insert(0, Metric::Errors);
        assert_eq!(with_unknown("fallback_reason"), failed_open);
        // Another system answered: a request of the cohort, and no answer of it.
        let counts = with_unknown("destination").stats.counts;
        assert_eq!((counts.requests, counts.scored_responses, counts.labels), (1, 0, [0; 8]));
    }

    #[test]
    fn an_event_of_an_unrecognized_cohort_counts_for_no_cohort() {
        let call = recorded_call(|call| call["cohort"] = json!("from_the_future"));
        assert_eq!(count_event(&call, TimeScale::REAL_TIME), None);
        let feedback = json!({"event": "feedback", "time_ms": 1, "release": "e1",
            "cohort": "from_the_future", "is_evidence": true, "good": true});
        let feedback = serde_json::from_value(feedback).unwrap();
        assert_eq!(count_event(&feedback, TimeScale::REAL_TIME), None);
    }

    #[test]
    fn only_the_holdout_is_never_newly_seen() {
        for reason in AssignmentReason::ALL {
            let contribution = contribution_of(|call| call["reason"] = json!(reason));
            assert_eq!(contribution.in_holdout, reason == AssignmentReason::Holdout, "{reason:?}");
        }
    }

    /// Counts that depend on names in an event, by the texts of the names alone.
    fn counts_by_text(call: &Value) -> [u64; 7] {
        let is = |name: &str, text: &str| call[name] == text;
        let has_answer = call["destination"] == call["cohort"];
        let count = |counted: bool| u64::from(counted);
        [
            count(is("cohort", "canary") && !call["fallback_reason"].is_null()),
            count(is("fallback_reason", "dimension_mismatch")),
            count(has_answer),
            count(has_answer && is("route", "regex")),
            count(has_answer && is("route", "prototypes")),
            count(has_answer && is("route", "linear_head")),
            count(is("reason", "holdout")),
        ]
    }

    fn name_or_unknown<T: Copy>(
        values: &[T],
        name_of: fn(T) -> &'static str,
    ) -> impl Strategy<Value = &'static str> + use<T> {
        let names = values.iter().map(|value| name_of(*value)).chain(["from_the_future"]);
        select(names.collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// The enums count what a comparison of the texts would count, of known and unknown names.
        #[test]
        fn counts_are_those_of_the_texts_in_the_event(
            cohort in select(&[Cohort::Canary, Cohort::Stable][..]),
            destination in name_or_unknown(&[Cohort::Canary, Cohort::Stable], Cohort::name),
            reason in name_or_unknown(&AssignmentReason::ALL, AssignmentReason::name),
            fallback in prop::option::of(name_or_unknown(&FallbackReason::ALL, FallbackReason::name)),
            route in name_or_unknown(&PredictionRoute::ALL, PredictionRoute::name),
            label in name_or_unknown(&Label::ALL, Label::name),
            rule in name_or_unknown(&TieBreakRule::ALL, TieBreakRule::name),
        ) {
            let mut json = Value::Null;
            let contribution = contribution_of(|call| {
                call["cohort"] = json!(cohort);
                call["destination"] = json!(destination);
                call["reason"] = json!(reason);
                call["fallback_reason"] = json!(fallback);
                call["route"] = json!(route);
                call["label"] = json!(label);
                call["rule"] = json!(rule);
                call["rule_applied"] = json!(true);
                json = call.clone();
            });
            let EventContribution { stats, in_holdout, .. } = contribution;
            let counts = &stats.counts;
            let counted = [
                counts.fallbacks,
                counts.dimension_mismatches,
                counts.scored_responses,
                counts.regex,
                counts.prototypes,
                stats.linear_head,
                u64::from(in_holdout),
            ];
            prop_assert_eq!(counted, counts_by_text(&json), "{}", json);
            let has_answer = json["destination"] == json["cohort"];
            for known in Label::ALL {
                let expected = u64::from(has_answer && known.name() == label);
                prop_assert_eq!(counts.labels[known.index()], expected);
            }
            let rule = if rule == "from_the_future" { "other" } else { rule };
            let rules: Vec<&str> = stats.rules.keys().map(String::as_str).collect();
            prop_assert_eq!(rules, if has_answer { vec![rule] } else { Vec::new() });
        }
    }
}
