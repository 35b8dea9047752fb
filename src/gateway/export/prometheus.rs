//! Writes the event store's totals in Prometheus' text format (version 0.0.4).
//!
//! [`series_increments`] returns the series that an event adds to. The event store keeps one number
//! for each series, summed since it was created. [`write_exposition`] writes the series as
//! Prometheus text, and [`group_by_family`] groups them for other protocols. Labels hold names from
//! the code and the settings, and status codes, but never content of a request. A name in an event
//! that this version does not know is the label value `other`.

use std::collections::BTreeMap;

use crate::gateway::events::open_enum::OpenEnum;
use crate::gateway::events::stored::{
    StoredClassifyEvent, StoredEvent, StoredFeedback, StoredShadowResult,
};
use crate::gateway::upstream::auth_verdict::AuthVerdict;
use crate::gateway::upstream::model::FallbackReason;
use crate::rollout::assignment::AssignmentReason;
use jeffrey_http_core::prometheus::{Exposition, MetricType};
use jeffrey_terms::{Cohort, Label, PredictionRoute, Share};

/// Upper bounds of the latency histogram, in milliseconds. 200 is among them because a request
/// above [`SLOW_MS`](crate::rollout::counts::SLOW_MS) counts as slow.
pub const LATENCY_BOUNDS_MS: [u64; 11] =
    [5, 10, 25, 50, 100, 200, 500, 1_000, 2_500, 5_000, 10_000];

use MetricType::{Counter, Gauge, Histogram};

/// Name, type and help text of each metric family, in the order of the output.
const METRIC_FAMILIES: [(&str, MetricType, &str); 24] = [
    (
        "jeffrey_predictions_total",
        Counter,
        "Answers that could be read, by the part that gave them.",
    ),
    (
        "jeffrey_auth_checks_total",
        Counter,
        "Canary calls about whose caller the legacy system was asked, by its verdict.",
    ),
    ("jeffrey_hard_failures", Gauge, "Breakers opened since the release was last changed."),
    ("jeffrey_events_malformed_total", Counter, "Lines that were no event."),
    ("jeffrey_events_dead_lettered_total", Counter, "Events that the queue had given up before."),
    (
        "jeffrey_events_erased_total",
        Counter,
        "Events of a subject that was erased while they were on their way.",
    ),
    ("jeffrey_events_lost_total", Counter, "Events that never reached the event store."),
    (
        "jeffrey_subjects_forgotten_total",
        Counter,
        "Subjects that a full shard forgot; they count as new when they come again.",
    ),
    (
        "jeffrey_fallbacks_total",
        Counter,
        "Canary calls that the legacy system answered, by reason.",
    ),
    (
        "jeffrey_gateway_faults_total",
        Counter,
        "Classify calls that the legacy system answered because the gateway failed.",
    ),
    ("jeffrey_labels_total", Counter, "Answers that could be read, by label."),
    ("jeffrey_low_confidence_total", Counter, "Answers below the confidence limit."),
    ("jeffrey_queue_send_failures_total", Counter, "Events that the queue did not take."),
    ("jeffrey_queue_lag_seconds", Gauge, "Age of the oldest event in the queue's last batch."),
    (
        "jeffrey_rate_limited_total",
        Counter,
        "Classify calls of callers above a rate limit; the legacy system answers them.",
    ),
    (
        "jeffrey_request_duration_seconds",
        Histogram,
        "Time of a call, across the awaited subrequest.",
    ),
    (
        "jeffrey_requests_total",
        Counter,
        "Classify calls by assigned cohort, who answered, and status.",
    ),
    ("jeffrey_tie_breaks_applied_total", Counter, "Answers that a rule changed."),
    ("jeffrey_shadow_total", Counter, "Stable calls that the model was asked about as well."),
    ("jeffrey_share_ratio", Gauge, "The canary's share, 0 to 1."),
    ("jeffrey_sink_delivered_total", Counter, "Events that a sink has taken."),
    ("jeffrey_sink_dropped_total", Counter, "Events that a sink refused or was too late for."),
    ("jeffrey_sink_pending_events", Gauge, "Events that wait for a sink."),
    ("jeffrey_feedback_total", Counter, "Users' feedback on answers."),
];

/// Series that holds the queue's lag in milliseconds. The `/metrics` output converts it to seconds.
pub const QUEUE_LAG_SERIES: &str = "jeffrey_queue_lag_ms";

/// Family of the latency histogram.
const DURATION_FAMILY: &str = "jeffrey_request_duration_seconds";

/// Series that holds the sum of latencies in milliseconds; outputs convert it to seconds.
const DURATION_SUM_SERIES: &str = "jeffrey_request_duration_seconds_sum";

/// Series that holds the number of latencies in one bucket, not cumulative.
const DURATION_BUCKET_SERIES: &str = "jeffrey_request_duration_seconds_bucket";

/// Returns the series that an event adds to, each as a name with labels, and the amounts.
pub fn series_increments(event: &StoredEvent) -> Vec<(String, u64)> {
    match event {
        StoredEvent::Classify(call) => call.series_increments(),
        StoredEvent::Feedback(StoredFeedback { cohort, good, .. }) => {
            let cohort = cohort.name(Cohort::name);
            let good = good.map_or("unknown", |good| if good { "true" } else { "false" });
            vec![(format!("jeffrey_feedback_total{{cohort=\"{cohort}\",good=\"{good}\"}}"), 1)]
        }
    }
}

impl StoredClassifyEvent {
    fn series_increments(&self) -> Vec<(String, u64)> {
        let Self { is_evidence, status, latency_ms, .. } = self;
        let cohort = self.cohort.name(Cohort::name);
        let destination = self.destination.name(Cohort::name);
        let cohort_label = format!("cohort=\"{cohort}\"");
        let mut increments = vec![
            (
                format!(
                    "jeffrey_requests_total{{{cohort_label},destination=\"{destination}\",code=\"{status}\",\
                     is_evidence=\"{is_evidence}\"}}"
                ),
                1,
            ),
            (format!("{DURATION_SUM_SERIES}{{{cohort_label}}}"), *latency_ms),
        ];
        let counter_of_reason = match self.reason {
            OpenEnum::Known(AssignmentReason::GatewayFault) => Some("jeffrey_gateway_faults_total"),
            OpenEnum::Known(AssignmentReason::RateLimited) => Some("jeffrey_rate_limited_total"),
            _ => None,
        };
        increments.extend(counter_of_reason.map(|name| (name.to_owned(), 1)));
        let mut increment =
            |name: &str, labels: String| increments.push((format!("{name}{{{labels}}}"), 1));
        let bound = LATENCY_BOUNDS_MS.into_iter().find(|bound| latency_ms <= bound);
        let le = bound.map_or("+Inf".to_owned(), format_seconds);
        increment(DURATION_BUCKET_SERIES, format!("{cohort_label},le=\"{le}\""));
        if let Some(verdict) = name_of(self.auth_verdict, AuthVerdict::name) {
            increment("jeffrey_auth_checks_total", format!("verdict=\"{verdict}\""));
        }
        if let Some(reason) = name_of(self.fallback_reason, FallbackReason::name) {
            increment("jeffrey_fallbacks_total", format!("reason=\"{reason}\""));
        }
        if let Some(route) = name_of(self.route, PredictionRoute::name) {
            increment("jeffrey_predictions_total", format!("{cohort_label},route=\"{route}\""));
        }
        if let Some(label) = name_of(self.label, Label::name) {
            increment("jeffrey_labels_total", format!("{cohort_label},label=\"{label}\""));
        }
        if self.low_confidence == Some(true) {
            increment("jeffrey_low_confidence_total", cohort_label.clone());
        }
        if self.rule_applied == Some(true) {
            increment("jeffrey_tie_breaks_applied_total", cohort_label.clone());
        }
        if let Some(StoredShadowResult { agrees, .. }) = self.shadow {
            let agrees = agrees.map_or("unknown", |agrees| if agrees { "true" } else { "false" });
            increment("jeffrey_shadow_total", format!("agrees=\"{agrees}\""));
        }
        increments
    }
}

fn name_of<T>(
    field: Option<OpenEnum<T>>,
    name_of_value: impl FnOnce(T) -> &'static str,
) -> Option<&'static str> {
    field.map(|value| value.name(name_of_value))
}

/// Returns the canary share (0 to 1) and the number of hard failures as gauge series. Hard failures
/// are counted since the last manual change or planned increase of the share.
pub fn rollout_gauges(share: Share, hard_failures: u64) -> Vec<(String, f64)> {
    let ratio = f64::from(share.basis_points()) / f64::from(Share::FULL.basis_points());
    vec![
        ("jeffrey_share_ratio".to_owned(), ratio),
        ("jeffrey_hard_failures".to_owned(), hard_failures as f64),
    ]
}

/// Writes the metrics of the event store in the text format. Gauges among `store_counters` are
/// recognised by their names; all other numbers are counters.
pub fn write_store_exposition(
    store_counters: Vec<(String, u64)>,
    mut gauges: Vec<(String, f64)>,
) -> String {
    let mut counters = Vec::new();
    for (name, number) in store_counters {
        if name == QUEUE_LAG_SERIES {
            gauges.push(("jeffrey_queue_lag_seconds".to_owned(), number as f64 / 1_000.0));
        } else if name.starts_with("jeffrey_sink_pending_events") {
            gauges.push((name, number as f64));
        } else {
            counters.push((name, number));
        }
    }
    write_exposition(&counters, &gauges)
}

/// Writes all series as Prometheus text. Histogram buckets become cumulative here. A series of an
/// unknown family is left out.
pub fn write_exposition(totals: &[(String, u64)], gauges: &[(String, f64)]) -> String {
    /// Series with their values as text, by family.
    type SamplesByFamily<'a> = BTreeMap<&'a str, Vec<(String, String)>>;
    let mut samples = SamplesByFamily::new();
    let mut bucket_counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, number) in totals {
        let (metric_name, labels) = name.split_once('{').unwrap_or((name, ""));
        if metric_name == DURATION_BUCKET_SERIES {
            if let Some((cohort_label, le)) = labels.trim_end_matches("\"}").split_once(",le=\"") {
                bucket_counts.entry(cohort_label).or_default().insert(le, *number);
            }
        } else if metric_name == DURATION_SUM_SERIES {
            let sample = (name.clone(), format_seconds(*number));
            samples.entry(DURATION_FAMILY).or_default().push(sample);
        } else {
            samples.entry(metric_name).or_default().push((name.clone(), number.to_string()));
        }
    }
    for (name, number) in gauges {
        let metric_name = name.split('{').next().unwrap_or(name);
        samples.entry(metric_name).or_default().push((name.clone(), number.to_string()));
    }
    for (cohort_label, counts) in bucket_counts {
        let family = samples.entry(DURATION_FAMILY).or_default();
        let mut cumulative_count = 0;
        for le in LATENCY_BOUNDS_MS.map(format_seconds).iter().map(String::as_str).chain(["+Inf"]) {
            cumulative_count += counts.get(le).unwrap_or(&0);
            let series = format!("{DURATION_FAMILY}_bucket{{{cohort_label},le=\"{le}\"}}");
            family.push((series, cumulative_count.to_string()));
        }
        let series = format!("{DURATION_FAMILY}_count{{{cohort_label}}}");
        family.push((series, cumulative_count.to_string()));
    }
    let mut exposition = Exposition::default();
    for (name, kind, help) in METRIC_FAMILIES {
        if let Some(samples) = samples.get(name) {
            exposition.begin_family(name, kind, help);
            for (series, value) in samples {
                exposition.write_sample(series, value);
            }
        }
    }
    exposition.into_text()
}

/// Metric family with its series, named without the suffixes for type and unit.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily<'a> {
    /// Name without suffixes, such as `jeffrey_requests`.
    pub name: &'static str,
    /// Unit of the values in UCUM notation: `1`, `s` or `ms`.
    pub unit: &'static str,
    /// Text that says which quantity the family measures.
    pub help: &'static str,
    /// Series of the family, by their labels.
    pub points: MetricPoints<'a>,
}

/// Series of one family, each with its labels.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricPoints<'a> {
    /// Counters that grow since the event store was created.
    Sums(Vec<(MetricLabels<'a>, u64)>),
    /// Current values, which rise and fall.
    Gauges(Vec<(MetricLabels<'a>, u64)>),
    /// Latency histograms, one for each combination of labels.
    Histograms(Vec<(MetricLabels<'a>, LatencyHistogram)>),
}

/// Label names and values of one series.
pub type MetricLabels<'a> = Vec<(&'a str, &'a str)>;

/// Histogram of latencies over the buckets of [`LATENCY_BOUNDS_MS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Number of latencies in each bucket, not cumulative: up to the bound and above the one
    /// before. The last entry counts latencies above all bounds.
    pub counts: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum of all latencies, in milliseconds.
    pub sum_ms: u64,
}

/// Groups the event store's totals by metric family, in the order of `METRIC_FAMILIES`. Only
/// the histogram's family is present without a series.
pub fn group_by_family(totals: &[(String, u64)]) -> Vec<MetricFamily<'_>> {
    let mut series_by_name: BTreeMap<&str, Vec<(MetricLabels<'_>, u64)>> = BTreeMap::new();
    let mut histograms: BTreeMap<MetricLabels<'_>, LatencyHistogram> = BTreeMap::new();
    for (series, number) in totals {
        let (name, label_text) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = parse_labels(label_text);
        if name == DURATION_BUCKET_SERIES {
            let le = labels.pop().map_or("", |(_, le)| le);
            let bound = LATENCY_BOUNDS_MS.iter().position(|bound| format_seconds(*bound) == le);
            let counts = &mut histograms.entry(labels).or_default().counts;
            counts[bound.unwrap_or(LATENCY_BOUNDS_MS.len())] += number;
        } else if name == DURATION_SUM_SERIES {
            histograms.entry(labels).or_default().sum_ms += number;
        } else {
            series_by_name.entry(name).or_default().push((labels, *number));
        }
    }
    let to_family = |(name, kind, help): (&'static str, MetricType, &'static str)| {
        let base_name = name.strip_suffix("_total").unwrap_or(name);
        let (name, unit, points) = match (kind, name) {
            (Histogram, _) => {
                let points = std::mem::take(&mut histograms).into_iter().collect();
                ("jeffrey_request_duration", "s", MetricPoints::Histograms(points))
            }
            (_, "jeffrey_queue_lag_seconds") => (
                "jeffrey_queue_lag",
                "ms",
                MetricPoints::Gauges(series_by_name.remove(QUEUE_LAG_SERIES)?),
            ),
            (Gauge, _) => (base_name, "1", MetricPoints::Gauges(series_by_name.remove(name)?)),
            _ => (base_name, "1", MetricPoints::Sums(series_by_name.remove(name)?)),
        };
        Some(MetricFamily { name, unit, help, points })
    };
    METRIC_FAMILIES.into_iter().filter_map(to_family).collect()
}

/// Parses the labels of a series. Label values contain no character that Prometheus escapes.
fn parse_labels(text: &str) -> MetricLabels<'_> {
    let pairs = text.trim_end_matches('}').split_terminator("\",");
    pairs.filter_map(|pair| pair.trim_end_matches('"').split_once("=\"")).collect()
}

fn format_seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"event":"classify","id":"x","time_ms":1,"release":"e1","cohort":"canary","reason":"bucket","is_evidence":true,
        "destination":"stable","fallback_reason":"timeout","status":200,"latency_ms":201,"label":"joy",
        "low_confidence":true,"route":"linear_head","rule_applied":false,"input_truncated":null,
        "shadow":{"label":"joy","agrees":null,"fallback_reason":null,"latency_ms":3}}"#;

    fn increments_of(event: &str) -> Vec<(String, u64)> {
        series_increments(&serde_json::from_str(event).unwrap())
    }

    fn totals(events: &[&str]) -> Vec<(String, u64)> {
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        for (name, number) in events.iter().flat_map(|event| increments_of(event)) {
            *totals.entry(name).or_default() += number;
        }
        totals.into_iter().collect()
    }

    #[test]
    fn an_event_adds_to_each_series_that_it_belongs_to() {
        let text = write_exposition(&totals(&[CALL]), &[]);
        for line in [
            "jeffrey_requests_total{cohort=\"canary\",destination=\"stable\",code=\"200\",is_evidence=\"true\"} 1",
            "jeffrey_fallbacks_total{reason=\"timeout\"} 1",
            "jeffrey_predictions_total{cohort=\"canary\",route=\"linear_head\"} 1",
            "jeffrey_labels_total{cohort=\"canary\",label=\"joy\"} 1",
            "jeffrey_low_confidence_total{cohort=\"canary\"} 1",
            "jeffrey_shadow_total{agrees=\"unknown\"} 1",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"0.2\"} 0",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"0.5\"} 1",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"+Inf\"} 1",
            "jeffrey_request_duration_seconds_sum{cohort=\"canary\"} 0.201",
            "jeffrey_request_duration_seconds_count{cohort=\"canary\"} 1",
        ] {
            assert!(text.lines().any(|text_line| text_line == line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("rule_applied"), "{text}");
    }

    #[test]
    fn a_histogram_adds_up_and_keeps_the_limit_of_the_plan_apart() {
        let with_latency_ms = |ms: u64| CALL.replace("201", &ms.to_string());
        let events = [
            with_latency_ms(0),
            with_latency_ms(200),
            with_latency_ms(201),
            with_latency_ms(60_000),
        ];
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let text = write_exposition(&totals(&events), &[]);
        for (le, count) in
            [("0.005", 1), ("0.1", 1), ("0.2", 2), ("0.5", 3), ("10", 3), ("+Inf", 4)]
        {
            let line = format!("_bucket{{cohort=\"canary\",le=\"{le}\"}} {count}");
            assert!(text.contains(&line), "{line}\nin\n{text}");
        }
        assert!(text.contains("_sum{cohort=\"canary\"} 60.401"), "{text}");
    }

    #[test]
    fn families_hold_all_totals_of_the_event_store() {
        let mut totals = totals(&[CALL, &CALL.replace("201", "60000")]);
        totals.push((QUEUE_LAG_SERIES.to_owned(), 1_250));
        totals.push(("jeffrey_sink_pending_events{sink=\"logs\"}".to_owned(), 3));
        let families = group_by_family(&totals);
        let points_of =
            |name| families.iter().find(|family| family.name == name).map(|family| &family.points);
        let requests = vec![
            ("cohort", "canary"),
            ("destination", "stable"),
            ("code", "200"),
            ("is_evidence", "true"),
        ];
        assert_eq!(points_of("jeffrey_requests"), Some(&MetricPoints::Sums(vec![(requests, 2)])));
        assert_eq!(
            points_of("jeffrey_queue_lag"),
            Some(&MetricPoints::Gauges(vec![(vec![], 1_250)]))
        );
        let waiting = vec![(vec![("sink", "logs")], 3)];
        assert_eq!(points_of("jeffrey_sink_pending_events"), Some(&MetricPoints::Gauges(waiting)));
        let mut histogram = LatencyHistogram { sum_ms: 60_201, ..LatencyHistogram::default() };
        histogram.counts[6] = 1;
        histogram.counts[11] = 1;
        let latencies = vec![(vec![("cohort", "canary")], histogram)];
        assert_eq!(
            points_of("jeffrey_request_duration"),
            Some(&MetricPoints::Histograms(latencies))
        );
        let series: usize = families
            .iter()
            .map(|family| match &family.points {
                MetricPoints::Sums(points) | MetricPoints::Gauges(points) => points.len(),
                MetricPoints::Histograms(points) => 3 * points.len(),
            })
            .sum();
        assert_eq!(series, totals.len(), "none is left out: {families:?}");
    }

    #[test]
    fn every_metric_has_its_help() {
        let verdict = r#"{"event":"feedback","time_ms":1,"release":"e1","cohort":"stable","is_evidence":true,"good":false}"#;
        let names = [increments_of(CALL), increments_of(verdict)].concat();
        for (name, _) in names {
            let base = name.split('{').next().unwrap();
            let base =
                ["_bucket", "_sum"].iter().fold(base, |b, end| b.strip_suffix(end).unwrap_or(b));
            assert!(METRIC_FAMILIES.iter().any(|(family, ..)| *family == base), "{base}");
        }
        let text = write_exposition(&[], &rollout_gauges("12.5%".parse().unwrap(), 2));
        assert!(
            text.contains("jeffrey_share_ratio 0.125") && text.contains("jeffrey_hard_failures 2")
        );
    }

    #[test]
    fn an_unrecognized_value_is_the_label_other_and_its_text_never_shows() {
        // A text that would forge a series if it were written as it is.
        let hostile = "x\"} 9\njeffrey_forged_total{a=\"";
        let mut call: serde_json::Value = serde_json::from_str(CALL).unwrap();
        for name in ["cohort", "reason", "destination", "fallback_reason", "label", "route", "rule"]
        {
            call[name] = hostile.into();
        }
        let feedback = serde_json::json!({"event": "feedback", "time_ms": 1, "release": "e1",
            "cohort": hostile, "is_evidence": true, "good": true});
        let text = write_exposition(&totals(&[&call.to_string(), &feedback.to_string()]), &[]);
        for line in [
            "jeffrey_requests_total{cohort=\"other\",destination=\"other\",code=\"200\",is_evidence=\"true\"} 1",
            "jeffrey_fallbacks_total{reason=\"other\"} 1",
            "jeffrey_predictions_total{cohort=\"other\",route=\"other\"} 1",
            "jeffrey_labels_total{cohort=\"other\",label=\"other\"} 1",
            "jeffrey_feedback_total{cohort=\"other\",good=\"true\"} 1",
            "jeffrey_request_duration_seconds_count{cohort=\"other\"} 1",
        ] {
            assert!(text.lines().any(|text_line| text_line == line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("forged"), "{text}");
    }

    #[test]
    fn ever_new_values_add_no_new_series() {
        let with_values = |value: &str| {
            let mut call: serde_json::Value = serde_json::from_str(CALL).unwrap();
            for name in ["cohort", "destination", "fallback_reason", "label", "route"] {
                call[name] = value.into();
            }
            call.to_string()
        };
        let events: Vec<String> =
            (0..50).map(|number| with_values(&format!("v{number}"))).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        assert_eq!(totals(&events).len(), totals(&events[..1]).len());
        assert_eq!(
            totals(&events).iter().find(|(name, _)| name.starts_with("jeffrey_labels_total")),
            Some(&("jeffrey_labels_total{cohort=\"other\",label=\"other\"}".to_owned(), 50))
        );
    }

    #[test]
    fn each_family_says_its_type() {
        let text = write_exposition(&totals(&[CALL]), &rollout_gauges(Share::FULL, 0));
        for line in [
            "# TYPE jeffrey_requests_total counter",
            "# TYPE jeffrey_share_ratio gauge",
            "# TYPE jeffrey_request_duration_seconds histogram",
        ] {
            assert!(text.lines().any(|text_line| text_line == line), "{line}\nin\n{text}");
        }
    }
}
