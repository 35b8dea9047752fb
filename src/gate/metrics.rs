//! The ledger's totals in Prometheus' text format (version 0.0.4): sums since the ledger began.
//!
//! An event becomes a few series to add to ([`series`]); the ledger keeps a number for each,
//! [`exposition`] writes them down for Prometheus, and [`families`] sorts them for other protocols. Labels are names
//! of ours only, never anything of a request.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::contract::Route;
use super::event::{Recorded, RecordedCall, RecordedShadow, RecordedVerdict};
use jeffrey_terms::Share;

/// Upper bounds of the latency histogram, in milliseconds; 200 is the limit of the plan.
pub const BOUNDS_MS: [u64; 11] = [5, 10, 25, 50, 100, 200, 500, 1_000, 2_500, 5_000, 10_000];

/// Names, kinds and what they count.
const FAMILIES: [(&str, &str, &str); 20] = [
    ("jeffrey_answers_total", "counter", "Answers that could be read, by the part that gave them."),
    ("jeffrey_breaches", "gauge", "Breakers opened since the release was last changed."),
    ("jeffrey_events_broken_total", "counter", "Lines that were no event."),
    ("jeffrey_events_dead_total", "counter", "Events that the queue had given up before."),
    (
        "jeffrey_events_erased_total",
        "counter",
        "Events of a subject that was erased while they were on their way.",
    ),
    ("jeffrey_events_lost_total", "counter", "Events that never reached the ledger."),
    (
        "jeffrey_failed_open_total",
        "counter",
        "Canary calls that the old system answered, by reason.",
    ),
    ("jeffrey_labels_total", "counter", "Answers that could be read, by label."),
    ("jeffrey_low_confidence_total", "counter", "Answers below the confidence limit."),
    ("jeffrey_queue_failed_total", "counter", "Events that the queue did not take."),
    ("jeffrey_queue_lag_seconds", "gauge", "Age of the oldest event in the queue's last batch."),
    (
        "jeffrey_request_duration_seconds",
        "histogram",
        "Time of a call, across the awaited subrequest.",
    ),
    (
        "jeffrey_requests_total",
        "counter",
        "Classify calls by assigned cohort, who answered, and status.",
    ),
    ("jeffrey_rule_applied_total", "counter", "Answers that a rule changed."),
    ("jeffrey_shadow_total", "counter", "Stable calls that the model was asked about as well."),
    ("jeffrey_share_ratio", "gauge", "The canary's share, 0 to 1."),
    ("jeffrey_sink_delivered_total", "counter", "Events that a sink has taken."),
    ("jeffrey_sink_dropped_total", "counter", "Events that a sink refused or was too late for."),
    ("jeffrey_sink_waiting", "gauge", "Events that wait for a sink."),
    ("jeffrey_verdicts_total", "counter", "Readers' verdicts on answers."),
];

/// The queue's lag as the ledger tells it, which leaves as seconds.
pub const QUEUE_LAG_MS: &str = "jeffrey_queue_lag_ms";

/// Sums of milliseconds, which leave as seconds.
const SUM: &str = "jeffrey_request_duration_seconds_sum";

/// What an event adds, by series: a name with its labels. Nothing for what is no event of ours.
pub fn series(event: &str) -> Vec<(String, u64)> {
    match serde_json::from_str(event) {
        Ok(Recorded::Classify(call)) => call.series(),
        Ok(Recorded::Verdict(RecordedVerdict { cohort, good, .. })) => {
            let good = good.map_or("unknown", |good| if good { "true" } else { "false" });
            vec![(format!("jeffrey_verdicts_total{{cohort=\"{cohort}\",good=\"{good}\"}}"), 1)]
        }
        Err(_) => Vec::new(),
    }
}

impl RecordedCall {
    fn series(&self) -> Vec<(String, u64)> {
        let Self { cohort, counts, destination, status, latency_ms, .. } = self;
        let of = format!("cohort=\"{cohort}\"");
        let mut found = vec![
            (
                format!(
                    "jeffrey_requests_total{{{of},destination=\"{destination}\",code=\"{status}\",\
                     counts=\"{counts}\"}}"
                ),
                1,
            ),
            (format!("{SUM}{{{of}}}"), *latency_ms),
        ];
        let mut one = |name: &str, labels: String| found.push((format!("{name}{{{labels}}}"), 1));
        let bound = BOUNDS_MS.into_iter().find(|bound| latency_ms <= bound);
        let le = bound.map_or("+Inf".to_owned(), seconds);
        one("jeffrey_request_duration_seconds_bucket", format!("{of},le=\"{le}\""));
        if let Some(fallback) = &self.fallback {
            one("jeffrey_failed_open_total", format!("reason=\"{fallback}\""));
        }
        if let Some(route) = self.route.as_deref().and_then(Route::from_name) {
            one("jeffrey_answers_total", format!("{of},route=\"{}\"", route.name()));
        }
        if let Some(label) = self.label {
            one("jeffrey_labels_total", format!("{of},label=\"{label}\""));
        }
        if self.low_confidence == Some(true) {
            one("jeffrey_low_confidence_total", of.clone());
        }
        if self.rule_applied == Some(true) {
            one("jeffrey_rule_applied_total", of.clone());
        }
        if let Some(RecordedShadow { agrees, .. }) = self.shadow {
            let agrees = agrees.map_or("unknown", |agrees| if agrees { "true" } else { "false" });
            one("jeffrey_shadow_total", format!("agrees=\"{agrees}\""));
        }
        found
    }
}

/// The share in force and the breaches, as series.
pub fn standing(share: Share, breaches: u64) -> Vec<(String, f64)> {
    let ratio = f64::from(share.basis_points()) / f64::from(Share::ALL.basis_points());
    vec![
        ("jeffrey_share_ratio".to_owned(), ratio),
        ("jeffrey_breaches".to_owned(), breaches as f64),
    ]
}

/// All series as text; the histogram's buckets are added up here.
pub fn exposition(totals: &[(String, u64)], gauges: &[(String, f64)]) -> String {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut latencies: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, number) in totals {
        let (base, labels) = name.split_once('{').unwrap_or((name, ""));
        if base == "jeffrey_request_duration_seconds_bucket" {
            if let Some((of, le)) = labels.trim_end_matches("\"}").split_once(",le=\"") {
                latencies.entry(of).or_default().insert(le, *number);
            }
        } else if base == SUM {
            let line = format!("{name} {}", seconds(*number));
            lines.entry("jeffrey_request_duration_seconds").or_default().push(line);
        } else {
            lines.entry(base).or_default().push(format!("{name} {number}"));
        }
    }
    for (name, number) in gauges {
        let base = name.split('{').next().unwrap_or(name);
        lines.entry(base).or_default().push(format!("{name} {number}"));
    }
    for (of, counts) in latencies {
        let family = lines.entry("jeffrey_request_duration_seconds").or_default();
        let mut sum = 0;
        for le in BOUNDS_MS.map(seconds).iter().map(String::as_str).chain(["+Inf"]) {
            sum += counts.get(le).unwrap_or(&0);
            family
                .push(format!("jeffrey_request_duration_seconds_bucket{{{of},le=\"{le}\"}} {sum}"));
        }
        family.push(format!("jeffrey_request_duration_seconds_count{{{of}}} {sum}"));
    }
    let mut text = String::new();
    for (name, kind, help) in FAMILIES {
        if let Some(lines) = lines.get(name) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for line in lines {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

/// A name, without the endings that say kind and unit, and what the ledger has of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// Such as `jeffrey_requests`.
    pub name: &'static str,
    /// After UCUM.
    pub unit: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Its series.
    pub points: Points<'a>,
}

/// Series by their labels.
#[derive(Clone, Debug, PartialEq)]
pub enum Points<'a> {
    /// Sums that only grow.
    Sums(Vec<(Labels<'a>, u64)>),
    /// What is now.
    Gauges(Vec<(Labels<'a>, u64)>),
    /// Latencies.
    Histograms(Vec<(Labels<'a>, Histogram)>),
}

/// Names and values.
pub type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Latencies between the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many lie up to each of [`BOUNDS_MS`] and above the one before; how many above all.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// Their sum, in milliseconds.
    pub sum_ms: u64,
}

/// The ledger's totals by name, in the order of their names.
pub fn families(totals: &[(String, u64)]) -> Vec<Family<'_>> {
    let mut numbers: BTreeMap<&str, Vec<(Labels<'_>, u64)>> = BTreeMap::new();
    let mut latencies: BTreeMap<Labels<'_>, Histogram> = BTreeMap::new();
    for (series, number) in totals {
        let (name, of) = series.split_once('{').unwrap_or((series, ""));
        let mut of = labels(of);
        if name == "jeffrey_request_duration_seconds_bucket" {
            let le = of.pop().map_or("", |(_, le)| le);
            let bound = BOUNDS_MS.iter().position(|bound| seconds(*bound) == le);
            let counts = &mut latencies.entry(of).or_default().counts;
            counts[bound.unwrap_or(BOUNDS_MS.len())] += number;
        } else if name == "jeffrey_request_duration_seconds_sum" {
            latencies.entry(of).or_default().sum_ms += number;
        } else {
            numbers.entry(name).or_default().push((of, *number));
        }
    }
    let of_name = |(name, kind, help): (&'static str, &str, &'static str)| {
        let plain = name.strip_suffix("_total").unwrap_or(name);
        let (name, unit, points) = match (kind, name) {
            ("histogram", _) => {
                let all = std::mem::take(&mut latencies).into_iter().collect();
                ("jeffrey_request_duration", "s", Points::Histograms(all))
            }
            (_, "jeffrey_queue_lag_seconds") => {
                ("jeffrey_queue_lag", "ms", Points::Gauges(numbers.remove(QUEUE_LAG_MS)?))
            }
            ("gauge", _) => (plain, "1", Points::Gauges(numbers.remove(name)?)),
            _ => (plain, "1", Points::Sums(numbers.remove(name)?)),
        };
        Some(Family { name, unit, help, points })
    };
    FAMILIES.into_iter().filter_map(of_name).collect()
}

/// The labels of a series: names of ours, in which nothing is escaped.
fn labels(text: &str) -> Labels<'_> {
    let pairs = text.trim_end_matches('}').split_terminator("\",");
    pairs.filter_map(|pair| pair.trim_end_matches('"').split_once("=\"")).collect()
}

fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"event":"classify","id":"x","time_ms":1,"release":"e1","cohort":"canary","by":"bucket","counts":true,
        "destination":"stable","fallback":"timeout","status":200,"latency_ms":201,"label":"joy",
        "low_confidence":true,"route":"linear_head","rule_applied":false,"truncated":null,
        "shadow":{"label":"joy","agrees":null,"fallback":null,"latency_ms":3}}"#;

    fn totals(events: &[&str]) -> Vec<(String, u64)> {
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        for (name, number) in events.iter().flat_map(|event| series(event)) {
            *totals.entry(name).or_default() += number;
        }
        totals.into_iter().collect()
    }

    #[test]
    fn an_event_adds_to_each_series_that_it_belongs_to() {
        let text = exposition(&totals(&[CALL]), &[]);
        for line in [
            "jeffrey_requests_total{cohort=\"canary\",destination=\"stable\",code=\"200\",counts=\"true\"} 1",
            "jeffrey_failed_open_total{reason=\"timeout\"} 1",
            "jeffrey_answers_total{cohort=\"canary\",route=\"linear_head\"} 1",
            "jeffrey_labels_total{cohort=\"canary\",label=\"joy\"} 1",
            "jeffrey_low_confidence_total{cohort=\"canary\"} 1",
            "jeffrey_shadow_total{agrees=\"unknown\"} 1",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"0.2\"} 0",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"0.5\"} 1",
            "jeffrey_request_duration_seconds_bucket{cohort=\"canary\",le=\"+Inf\"} 1",
            "jeffrey_request_duration_seconds_sum{cohort=\"canary\"} 0.201",
            "jeffrey_request_duration_seconds_count{cohort=\"canary\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("rule_applied"), "{text}");
    }

    #[test]
    fn a_histogram_adds_up_and_keeps_the_limit_of_the_plan_apart() {
        let at = |ms: u64| CALL.replace("201", &ms.to_string());
        let events = [at(0), at(200), at(201), at(60_000)];
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let text = exposition(&totals(&events), &[]);
        for (le, count) in
            [("0.005", 1), ("0.1", 1), ("0.2", 2), ("0.5", 3), ("10", 3), ("+Inf", 4)]
        {
            let line = format!("_bucket{{cohort=\"canary\",le=\"{le}\"}} {count}");
            assert!(text.contains(&line), "{line}\nin\n{text}");
        }
        assert!(text.contains("_sum{cohort=\"canary\"} 60.401"), "{text}");
    }

    #[test]
    fn families_hold_all_that_the_ledger_has() {
        let mut totals = totals(&[CALL, &CALL.replace("201", "60000")]);
        totals.push((QUEUE_LAG_MS.to_owned(), 1_250));
        totals.push(("jeffrey_sink_waiting{sink=\"logs\"}".to_owned(), 3));
        let found = families(&totals);
        let of =
            |name| found.iter().find(|family| family.name == name).map(|family| &family.points);
        let requests = vec![
            ("cohort", "canary"),
            ("destination", "stable"),
            ("code", "200"),
            ("counts", "true"),
        ];
        assert_eq!(of("jeffrey_requests"), Some(&Points::Sums(vec![(requests, 2)])));
        assert_eq!(of("jeffrey_queue_lag"), Some(&Points::Gauges(vec![(vec![], 1_250)])));
        let waiting = vec![(vec![("sink", "logs")], 3)];
        assert_eq!(of("jeffrey_sink_waiting"), Some(&Points::Gauges(waiting)));
        let mut histogram = Histogram { sum_ms: 60_201, ..Histogram::default() };
        histogram.counts[6] = 1;
        histogram.counts[11] = 1;
        let latencies = vec![(vec![("cohort", "canary")], histogram)];
        assert_eq!(of("jeffrey_request_duration"), Some(&Points::Histograms(latencies)));
        let series: usize = found
            .iter()
            .map(|family| match &family.points {
                Points::Sums(all) | Points::Gauges(all) => all.len(),
                Points::Histograms(all) => 3 * all.len(),
            })
            .sum();
        assert_eq!(series, totals.len(), "none is left out: {found:?}");
    }

    #[test]
    fn what_is_no_event_adds_nothing_and_every_name_has_its_help() {
        for strange in ["", "{}", "[]", r#"{"event":"other"}"#, r#"{"event":"classify"}"#] {
            assert_eq!(series(strange), Vec::new(), "{strange}");
        }
        let verdict = r#"{"event":"verdict","time_ms":1,"release":"e1","cohort":"stable","counts":true,"good":false}"#;
        let names = [series(CALL), series(verdict)].concat();
        for (name, _) in names {
            let base = name.split('{').next().unwrap();
            let base =
                ["_bucket", "_sum"].iter().fold(base, |b, end| b.strip_suffix(end).unwrap_or(b));
            assert!(FAMILIES.iter().any(|(family, ..)| *family == base), "{base}");
        }
        let text = exposition(&[], &standing("12.5%".parse().unwrap(), 2));
        assert!(text.contains("jeffrey_share_ratio 0.125") && text.contains("jeffrey_breaches 2"));
    }
}
