//! Report of a load test: outcomes folded into counts and latency quantiles, per cohort.
//!
//! Takes arrivals and outcomes and returns a text report or JSON. It stores which cohorts have
//! served each user, as two bits. The report names no user and contains no text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};
use strum::VariantNames;

use super::client::{LoadTestOutcome, RequestFailure, ResponseLabel};
use super::texts::TextKind;
use crate::table::TextTable;
use jeffrey_terms::{Cohort, Label, Share};

/// All counters of one load test.
pub(super) struct LoadTestReport {
    /// Responses by cohort, in the order of [`COHORTS`].
    by_cohort: [CohortResponses; COHORTS.len()],
    /// Arrivals by kind of text, in the order of [`TextKind`].
    arrivals_by_kind: [u64; TextKind::VARIANTS.len()],
    /// Arrivals that found all threads busy.
    late_arrivals: u64,
    /// Failed requests by reason, in the order of [`RequestFailure`].
    failures: [u64; RequestFailure::VARIANTS.len()],
    /// Cohorts that served each user, by user number: 0 unknown, 1 canary, 2 stable, 3 both.
    cohorts_met: Vec<u8>,
}

/// Limits that a load test must keep to pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadTestLimits {
    /// Highest share of 5xx responses and failed requests that still passes.
    pub(super) errors_max: Share,
    /// Whether the test fails if any user is served by both cohorts.
    pub(super) require_sticky: bool,
}

impl LoadTestReport {
    /// Creates an empty report for the users 1 to `users`.
    pub(super) fn new(users: u32) -> Self {
        Self {
            by_cohort: [(); COHORTS.len()].map(|()| CohortResponses::new()),
            arrivals_by_kind: [0; TextKind::VARIANTS.len()],
            late_arrivals: 0,
            failures: [0; RequestFailure::VARIANTS.len()],
            cohorts_met: vec![0; users as usize + 1],
        }
    }

    /// Counts an arrival; it is late unless a thread was free for it.
    pub(super) fn count_arrival(&mut self, kind: TextKind, thread_was_free: bool) {
        self.late_arrivals += u64::from(!thread_was_free);
        self.arrivals_by_kind[kind as usize] += 1;
    }

    /// Folds the outcome of one request into the counters.
    pub(super) fn fold_outcome(&mut self, outcome: &LoadTestOutcome) {
        if let Err(failure) = outcome.result {
            self.failures[failure as usize] += 1;
        }
        let cohort_bit = match outcome.cohort {
            None => 0,
            Some(Cohort::Canary) => 1,
            Some(Cohort::Stable) => 2,
        };
        if let Some(cohorts_met) = self.cohorts_met.get_mut(outcome.user as usize) {
            *cohorts_met |= cohort_bit;
        }
        for (responses, (cohort, _)) in self.by_cohort.iter_mut().zip(COHORTS) {
            if cohort == outcome.cohort {
                responses.fold_outcome(outcome);
            }
        }
    }

    /// Returns the number of requests enqueued so far.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals_by_kind.iter().sum()
    }

    /// Returns the number of requests answered or failed so far.
    pub(super) fn requests(&self) -> u64 {
        self.by_cohort.iter().map(|responses| responses.requests).sum()
    }

    /// Returns the number of users served by both cohorts.
    pub(super) fn moved_users(&self) -> usize {
        self.cohorts_met.iter().filter(|met| **met == 3).count()
    }

    /// Returns the number of 5xx responses and failed requests.
    fn errors(&self) -> u64 {
        self.by_cohort
            .iter()
            .map(|responses| responses.status_class_counts[STATUS_CLASS_5XX] + responses.failed)
            .sum()
    }

    /// Returns whether the test keeps its limits; a test without requests does.
    pub(super) fn passes(&self, limits: LoadTestLimits) -> bool {
        let allowed = u64::from(limits.errors_max.basis_points()) * self.requests();
        let all = u64::from(Share::FULL.basis_points());
        self.errors() * all <= allowed && !(limits.require_sticky && self.moved_users() > 0)
    }

    /// Returns the progress line that is shown during the test.
    pub(super) fn progress_line(&self) -> String {
        let total = self.total();
        let mut line = format!("{} sent, {} errors", self.arrivals(), self.errors());
        for (responses, (_, name)) in self.by_cohort.iter().zip(COHORTS) {
            if responses.requests > 0 {
                let _ = write!(line, ", {} {name}", responses.requests);
            }
        }
        let [p50, p95, ..] = total.latencies_ms();
        let _ = write!(line, ", p50 {} ms, p95 {} ms", format_tenths(p50), format_tenths(p95));
        line
    }

    /// Returns the responses of all cohorts together.
    fn total(&self) -> CohortResponses {
        let mut total = CohortResponses::new();
        for responses in &self.by_cohort {
            total.add(responses);
        }
        total
    }

    /// Returns the report in the form that `--json` prints.
    pub(super) fn to_json(
        &self,
        seed: u64,
        elapsed: Duration,
        limits: LoadTestLimits,
    ) -> LoadTestJson {
        let count_map = |counts: &[u64], names: &[&str]| -> Map<String, Value> {
            let counts = names.iter().zip(counts);
            counts.map(|(name, count)| ((*name).to_owned(), (*count).into())).collect()
        };
        let cohorts = self.by_cohort.iter().zip(COHORTS);
        LoadTestJson {
            seed,
            seconds: (elapsed.as_secs_f64() * 1_000.0).round() / 1_000.0,
            arrivals: self.arrivals(),
            mix: count_map(&self.arrivals_by_kind, TextKind::VARIANTS),
            late: self.late_arrivals,
            unanswered: self.arrivals() - self.requests(),
            failures: count_map(&self.failures, RequestFailure::VARIANTS),
            cohorts: cohorts.map(|(responses, (_, name))| (name, responses.to_json())).collect(),
            all: self.total().to_json(),
            users: self.users_with_cohort(),
            moved: self.moved_users(),
            errors: self.errors(),
            errors_max_basis_points: limits.errors_max.basis_points(),
            passed: self.passes(limits),
        }
    }

    /// Returns the number of users with a known cohort.
    fn users_with_cohort(&self) -> usize {
        self.cohorts_met.iter().filter(|met| **met != 0).count()
    }

    /// Returns the report as text with tables.
    pub(super) fn to_text(&self, seed: u64, elapsed: Duration, limits: LoadTestLimits) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text, seed, elapsed, limits);
        text
    }

    fn write_text(
        &self,
        output: &mut String,
        seed: u64,
        elapsed: Duration,
        limits: LoadTestLimits,
    ) -> Result<(), fmt::Error> {
        let format_counts = |counts: &[u64], names: &[&str]| -> String {
            let parts = counts.iter().zip(names).map(|(count, name)| format!("{count} {name}"));
            parts.collect::<Vec<_>>().join(", ")
        };
        let mix = format_counts(&self.arrivals_by_kind, TextKind::VARIANTS);
        let (arrivals, seconds) = (self.arrivals(), elapsed.as_secs_f64());
        writeln!(output, "{arrivals} arrivals in {seconds:.1} s, seed {seed}: {mix}\n")?;
        write!(output, "{}", self.summary_table())?;
        if self
            .by_cohort
            .iter()
            .any(|responses| responses.label_counts.iter().any(|count| *count > 0))
        {
            write!(output, "\n{}", self.label_table())?;
        }
        writeln!(output)?;
        if self.failures.iter().any(|count| *count > 0) {
            writeln!(
                output,
                "failed by {}",
                format_counts(&self.failures, RequestFailure::VARIANTS)
            )?;
        }
        writeln!(
            output,
            "late {}: arrivals that had to wait for a free connection; their latency includes the wait",
            self.late_arrivals
        )?;
        if arrivals > self.requests() {
            writeln!(output, "unanswered {} when the test ended", arrivals - self.requests())?;
        }
        writeln!(
            output,
            "moved {} of {} users with a known cohort",
            self.moved_users(),
            self.users_with_cohort()
        )?;
        let verdict = if self.passes(limits) { "PASS" } else { "FAIL" };
        let (errors, requests, max) = (self.errors(), self.requests(), limits.errors_max);
        let sticky = if limits.require_sticky { ", no user moved" } else { "" };
        writeln!(output, "{verdict}: {errors} errors in {requests} requests, limit {max}{sticky}")
    }

    fn summary_table(&self) -> TextTable {
        let mut table = TextTable::new([
            "cohort", "requests", "2xx", "3xx", "4xx", "5xx", "failed", "p50 ms", "p95 ms",
            "p99 ms", "max ms",
        ]);
        let total = self.total();
        let rows = self.by_cohort.iter().zip(COHORTS.map(|(_, name)| name));
        let rows = rows.filter(|(responses, _)| responses.requests > 0).chain([(&total, "all")]);
        for (responses, name) in rows {
            let mut cells = vec![name.to_owned(), responses.requests.to_string()];
            cells.extend(responses.status_class_counts.iter().map(u64::to_string));
            cells.push(responses.failed.to_string());
            cells.extend(responses.latencies_ms().map(format_tenths));
            table.push_row(cells);
        }
        table
    }

    fn label_table(&self) -> TextTable {
        let mut table = TextTable::new(["label", COHORTS[0].1, COHORTS[1].1, COHORTS[2].1]);
        for (index, name) in label_names().enumerate() {
            let counts =
                self.by_cohort.iter().map(|responses| responses.label_counts[index].to_string());
            table.push_row([name.to_owned()].into_iter().chain(counts).collect());
        }
        table
    }
}

/// Responses and failures of one cohort.
struct CohortResponses {
    requests: u64,
    /// Responses by status class: 2xx, 3xx, 4xx, 5xx; ureq never returns a 1xx as the response.
    status_class_counts: [u64; 4],
    failed: u64,
    /// Latencies in microseconds, measured from the scheduled arrival.
    latency_us: Histogram<u64>,
    /// Labels in the order of [`Label::ALL`], then all other strings.
    label_counts: [u64; Label::ALL.len() + 1],
}

impl CohortResponses {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self {
            requests: 0,
            status_class_counts: [0; 4],
            failed: 0,
            // The bounds are constant and valid: 1 µs to 1 hour, and 3 of at most 5 digits.
            latency_us: histogram.expect("bounds of a histogram"),
            label_counts: [0; Label::ALL.len() + 1],
        }
    }

    fn fold_outcome(&mut self, outcome: &LoadTestOutcome) {
        self.requests += 1;
        match outcome.result {
            Ok(status) => {
                let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
                self.status_class_counts[class] += 1;
            }
            Err(_) => self.failed += 1,
        }
        if let Some(latency) = outcome.latency {
            self.latency_us.saturating_record(latency.as_micros() as u64);
        }
        match outcome.label {
            Some(ResponseLabel::Known(label)) => self.label_counts[label.index()] += 1,
            Some(ResponseLabel::Other) => self.label_counts[Label::ALL.len()] += 1,
            None => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        for (sum, count) in self.status_class_counts.iter_mut().zip(other.status_class_counts) {
            *sum += count;
        }
        for (sum, count) in self.label_counts.iter_mut().zip(other.label_counts) {
            *sum += count;
        }
        // Both histograms have the same bounds, so no value can lie outside.
        let _ = self.latency_us.add(&other.latency_us);
    }

    /// Returns p50, p95, p99 and the maximum in milliseconds; `None` without a latency.
    fn latencies_ms(&self) -> [Option<f64>; 4] {
        let to_ms = |us: u64| (!self.latency_us.is_empty()).then_some(us as f64 / 1_000.0);
        let quantile_ms = |quantile| to_ms(self.latency_us.value_at_quantile(quantile));
        [quantile_ms(0.5), quantile_ms(0.95), quantile_ms(0.99), to_ms(self.latency_us.max())]
    }

    fn to_json(&self) -> CohortResponsesJson {
        let [status_2xx, status_3xx, status_4xx, status_5xx] = self.status_class_counts;
        let [latency_ms_p50, latency_ms_p95, latency_ms_p99, latency_ms_max] = self.latencies_ms();
        CohortResponsesJson {
            requests: self.requests,
            status_2xx,
            status_3xx,
            status_4xx,
            status_5xx,
            failed: self.failed,
            latency_ms_p50,
            latency_ms_p95,
            latency_ms_p99,
            latency_ms_max,
            labels: label_names()
                .zip(self.label_counts)
                .map(|(name, count)| (name.to_owned(), count.into()))
                .collect(),
        }
    }
}

/// JSON form of the report; a latency is `null` for a cohort without one.
#[derive(Serialize)]
pub(super) struct LoadTestJson {
    seed: u64,
    seconds: f64,
    arrivals: u64,
    mix: Map<String, Value>,
    late: u64,
    unanswered: u64,
    failures: Map<String, Value>,
    cohorts: BTreeMap<&'static str, CohortResponsesJson>,
    all: CohortResponsesJson,
    users: usize,
    moved: usize,
    errors: u64,
    errors_max_basis_points: u16,
    passed: bool,
}

#[derive(Serialize)]
struct CohortResponsesJson {
    requests: u64,
    status_2xx: u64,
    status_3xx: u64,
    status_4xx: u64,
    status_5xx: u64,
    failed: u64,
    latency_ms_p50: Option<f64>,
    latency_ms_p95: Option<f64>,
    latency_ms_p99: Option<f64>,
    latency_ms_max: Option<f64>,
    labels: Map<String, Value>,
}

fn label_names() -> impl Iterator<Item = &'static str> {
    Label::ALL.into_iter().map(Label::name).chain(["other"])
}

fn format_tenths(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".into(), |ms| format!("{ms:.1}"))
}

const COHORTS: [(Option<Cohort>, &str); 3] = [
    (Some(Cohort::Canary), Cohort::Canary.name()),
    (Some(Cohort::Stable), Cohort::Stable.name()),
    (None, "unknown"),
];

/// Index of 5xx in `status_class_counts`.
const STATUS_CLASS_5XX: usize = 3;

/// Longest recorded latency in microseconds; a longer one counts as one hour.
const LATENCY_US_MAX: u64 = 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use ureq::http::StatusCode;

    use super::*;

    const STRICT: LoadTestLimits =
        LoadTestLimits { errors_max: Share::NONE, require_sticky: false };

    fn outcome_with_status(
        user: u32,
        cohort: Option<Cohort>,
        status: u16,
        ms: u64,
    ) -> LoadTestOutcome {
        LoadTestOutcome {
            user,
            cohort,
            result: Ok(StatusCode::from_u16(status).unwrap()),
            latency: Some(Duration::from_millis(ms)),
            label: (status == 200).then_some(ResponseLabel::Known(Label::Joy)),
        }
    }

    fn outcome_with_failure(failure: RequestFailure, latency: Option<Duration>) -> LoadTestOutcome {
        LoadTestOutcome { user: 1, cohort: None, result: Err(failure), latency, label: None }
    }

    fn report_from(outcomes: &[LoadTestOutcome]) -> LoadTestReport {
        let mut report = LoadTestReport::new(10);
        for outcome in outcomes {
            report.count_arrival(TextKind::Plain, true);
            report.fold_outcome(outcome);
        }
        report
    }

    fn to_json_value(report: &LoadTestReport) -> Value {
        serde_json::to_value(report.to_json(1, Duration::from_secs(1), STRICT)).unwrap()
    }

    #[test]
    fn every_answer_is_counted_once_under_its_cohort_and_once_under_all() {
        let canary = Some(Cohort::Canary);
        let report = report_from(&[
            outcome_with_status(1, canary, 200, 10),
            outcome_with_status(2, canary, 503, 20),
            outcome_with_status(3, Some(Cohort::Stable), 429, 30),
            outcome_with_status(4, None, 302, 40),
            outcome_with_failure(RequestFailure::Connection, None),
        ]);
        let json = to_json_value(&report);
        let canary = &json["cohorts"]["canary"];
        assert_eq!((&canary["status_2xx"], &canary["status_5xx"]), (&1.into(), &1.into()));
        assert_eq!(json["cohorts"]["stable"]["status_4xx"], 1);
        assert_eq!(json["cohorts"]["unknown"]["status_3xx"], 1);
        assert_eq!(json["cohorts"]["unknown"]["failed"], 1);
        assert_eq!((&json["all"]["requests"], &json["errors"]), (&5.into(), &2.into()));
        assert_eq!(json["all"]["labels"]["joy"], 1);
        assert_eq!(json["failures"]["connection"], 1);
    }

    #[test]
    fn quantiles_are_right_to_a_thousandth_and_a_timeout_counts_with_its_wait() {
        let mut outcomes: Vec<LoadTestOutcome> =
            (1..=100).map(|ms| outcome_with_status(1, None, 200, ms * 10)).collect();
        let json = to_json_value(&report_from(&outcomes));
        let expected = [("p50", 500.0), ("p95", 950.0), ("p99", 990.0), ("max", 1_000.0)];
        for (name, expected) in expected {
            let actual = json["all"][format!("latency_ms_{name}")].as_f64().unwrap();
            assert!((actual / expected - 1.0).abs() < 0.001, "{name}: {actual}");
        }
        outcomes.push(outcome_with_failure(RequestFailure::Timeout, Some(Duration::from_secs(10))));
        outcomes.push(outcome_with_failure(RequestFailure::Connection, None));
        let report = report_from(&outcomes);
        let [.., max] = report.total().latencies_ms();
        assert!((max.unwrap() / 10_000.0 - 1.0).abs() < 0.001, "{max:?}");
        assert_eq!(report.total().latency_us.len(), 101);
        assert_eq!(to_json_value(&self::report_from(&[]))["all"]["latency_ms_p50"], Value::Null);
    }

    #[test]
    fn a_user_who_met_both_cohorts_has_moved_and_breaks_only_sticky() {
        let (canary, stable) = (Some(Cohort::Canary), Some(Cohort::Stable));
        let report = report_from(&[
            outcome_with_status(1, canary, 200, 1),
            outcome_with_status(1, stable, 200, 1),
            outcome_with_status(1, canary, 200, 1),
            outcome_with_status(2, canary, 200, 1),
            outcome_with_status(2, None, 200, 1),
            outcome_with_status(3, stable, 200, 1),
        ]);
        assert_eq!((report.moved_users(), report.users_with_cohort()), (1, 3));
        assert!(report.passes(STRICT));
        assert!(!report.passes(LoadTestLimits { require_sticky: true, ..STRICT }));
    }

    #[test]
    fn errors_pass_up_to_their_limit_and_not_beyond() {
        let outcomes: Vec<LoadTestOutcome> = (0..200)
            .map(|n| outcome_with_status(1, None, if n == 0 { 500 } else { 400 }, 1))
            .collect();
        let report = report_from(&outcomes);
        for (errors_max, passes) in [("0%", false), ("0.49%", false), ("0.5%", true), ("1%", true)]
        {
            let limits = LoadTestLimits { errors_max: errors_max.parse().unwrap(), ..STRICT };
            assert_eq!(report.passes(limits), passes, "{errors_max}");
        }
        assert!(LoadTestReport::new(1).passes(STRICT), "no request");
    }

    #[test]
    fn the_text_says_what_matters_and_leaves_out_what_did_not_happen() {
        let mut report = report_from(&[outcome_with_status(1, Some(Cohort::Canary), 200, 10)]);
        report.count_arrival(TextKind::EdgeCase, false);
        let text = report.to_text(7, Duration::from_millis(1_500), STRICT);
        let start = "2 arrivals in 1.5 s, seed 7: 1 plain, 0 borderline, 0 personal, 1 edge\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("\ncanary         1    1    0    0    0       0    10.0"), "{text}");
        assert!(text.contains("\nlate 1: ") && text.contains("\nunanswered 1 "), "{text}");
        assert!(text.ends_with("\nPASS: 0 errors in 1 requests, limit 0.00%\n"), "{text}");
        assert!(!text.contains("failed by") && !text.contains("\nstable  "), "{text}");
        assert_eq!(report.progress_line(), "2 sent, 0 errors, 1 canary, p50 10.0 ms, p95 10.0 ms");
    }
}
