//! Answers folded into figures, per cohort.
//!
//! Answers in, counts and quantiles out. Keeps which cohorts each user has met, as two bits; no
//! report names a user or holds a text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

use super::client::{Answer, Failure, Given};
use super::texts::Kind;
use crate::table::Table;
use jeffrey_terms::{Cohort, Label, Share};

/// Everything that is kept of a rehearsal.
pub(super) struct Report {
    /// In the order of [`COHORTS`].
    sides: [Side; COHORTS.len()],
    /// Arrivals by kind, in the order of [`Kind::ALL`].
    mix: [u64; Kind::ALL.len()],
    /// Arrivals that found all busy.
    late: u64,
    /// In the order of [`FAILURES`].
    failures: [u64; FAILURES.len()],
    /// By user: a bit for each cohort met.
    met: Vec<u8>,
}

/// When a rehearsal was fine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Largest part of the requests that is 5xx or failed.
    pub(super) errors_max: Share,
    /// No user may meet both cohorts.
    pub(super) sticky: bool,
}

impl Report {
    /// For users from 1 to this number.
    pub(super) fn new(users: u32) -> Self {
        Self {
            sides: [(); COHORTS.len()].map(|()| Side::new()),
            mix: [0; Kind::ALL.len()],
            late: 0,
            failures: [0; FAILURES.len()],
            met: vec![0; users as usize + 1],
        }
    }

    /// Counts an arrival; `free` says whether a thread was free for it.
    pub(super) fn count(&mut self, kind: Kind, free: bool) {
        self.late += u64::from(!free);
        for (count, of) in self.mix.iter_mut().zip(Kind::ALL) {
            *count += u64::from(of == kind);
        }
    }

    /// Folds an answer in.
    pub(super) fn fold(&mut self, answer: &Answer) {
        if let Err(failure) = answer.fate {
            for (count, (of, _)) in self.failures.iter_mut().zip(FAILURES) {
                *count += u64::from(of == failure);
            }
        }
        let met = match answer.cohort {
            None => 0,
            Some(Cohort::Canary) => 1,
            Some(Cohort::Stable) => 2,
        };
        if let Some(seen) = self.met.get_mut(answer.user as usize) {
            *seen |= met;
        }
        for (side, (cohort, _)) in self.sides.iter_mut().zip(COHORTS) {
            if cohort == answer.cohort {
                side.fold(answer);
            }
        }
    }

    /// Handed over so far.
    pub(super) fn arrivals(&self) -> u64 {
        self.mix.iter().sum()
    }

    /// Answered or failed so far.
    pub(super) fn requests(&self) -> u64 {
        self.sides.iter().map(|side| side.requests).sum()
    }

    /// Users that met both cohorts.
    pub(super) fn moved(&self) -> usize {
        self.met.iter().filter(|met| **met == 3).count()
    }

    /// 5xx or failed.
    fn errors(&self) -> u64 {
        self.sides.iter().map(|side| side.statuses[CLASS_5XX] + side.failed).sum()
    }

    /// Whether the limits are kept; no request breaks none.
    pub(super) fn passes(&self, limits: Limits) -> bool {
        let allowed = u64::from(limits.errors_max.basis_points()) * self.requests();
        let all = u64::from(Share::ALL.basis_points());
        self.errors() * all <= allowed && !(limits.sticky && self.moved() > 0)
    }

    /// One line while it runs.
    pub(super) fn line(&self) -> String {
        let all = self.all();
        let mut line = format!("{} sent, {} errors", self.arrivals(), self.errors());
        for (side, (_, name)) in self.sides.iter().zip(COHORTS) {
            if side.requests > 0 {
                let _ = write!(line, ", {} {name}", side.requests);
            }
        }
        let [p50, p95, ..] = all.latencies_ms();
        let _ = write!(line, ", p50 {} ms, p95 {} ms", tenth(p50), tenth(p95));
        line
    }

    /// All cohorts together.
    fn all(&self) -> Side {
        let mut all = Side::new();
        for side in &self.sides {
            all.add(side);
        }
        all
    }

    /// As one JSON object.
    pub(super) fn json(&self, seed: u64, took: Duration, limits: Limits) -> Json {
        let names = |names: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
            names.map(|(name, count)| (name.to_owned(), count.into())).collect()
        };
        let sides = self.sides.iter().zip(COHORTS);
        Json {
            seed,
            seconds: (took.as_secs_f64() * 1_000.0).round() / 1_000.0,
            arrivals: self.arrivals(),
            mix: names(&mut Kind::ALL.map(Kind::name).into_iter().zip(self.mix)),
            late: self.late,
            unanswered: self.arrivals() - self.requests(),
            failures: names(&mut FAILURES.map(|(_, name)| name).into_iter().zip(self.failures)),
            cohorts: sides.map(|(side, (_, name))| (name, side.json())).collect(),
            all: self.all().json(),
            users: self.users(),
            moved: self.moved(),
            errors: self.errors(),
            errors_max_basis_points: limits.errors_max.basis_points(),
            passed: self.passes(limits),
        }
    }

    /// Users of whom a cohort is known.
    fn users(&self) -> usize {
        self.met.iter().filter(|met| **met != 0).count()
    }

    /// As tables for the eye.
    pub(super) fn text(&self, seed: u64, took: Duration, limits: Limits) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, seed, took, limits);
        text
    }

    fn write(
        &self,
        to: &mut String,
        seed: u64,
        took: Duration,
        limits: Limits,
    ) -> Result<(), fmt::Error> {
        let list = |counts: &[u64], names: &[&str]| -> String {
            let parts = counts.iter().zip(names).map(|(count, name)| format!("{count} {name}"));
            parts.collect::<Vec<_>>().join(", ")
        };
        let mix = list(&self.mix, &Kind::ALL.map(Kind::name));
        let (arrivals, seconds) = (self.arrivals(), took.as_secs_f64());
        writeln!(to, "{arrivals} arrivals in {seconds:.1} s, seed {seed}: {mix}\n")?;
        write!(to, "{}", self.figures())?;
        if self.sides.iter().any(|side| side.labels.iter().any(|count| *count > 0)) {
            write!(to, "\n{}", self.labels())?;
        }
        writeln!(to)?;
        if self.failures.iter().any(|count| *count > 0) {
            writeln!(to, "failed by {}", list(&self.failures, &FAILURES.map(|(_, name)| name)))?;
        }
        writeln!(
            to,
            "late {}: arrivals that found all busy; their wait is in the latency",
            self.late
        )?;
        if arrivals > self.requests() {
            writeln!(to, "unanswered {} when it was ended", arrivals - self.requests())?;
        }
        writeln!(to, "moved {} of {} users whose cohort is known", self.moved(), self.users())?;
        let verdict = if self.passes(limits) { "fine" } else { "FAIL" };
        let (errors, requests, max) = (self.errors(), self.requests(), limits.errors_max);
        let sticky = if limits.sticky { ", no user moved" } else { "" };
        writeln!(to, "{verdict}: {errors} errors in {requests} requests, limit {max}{sticky}")
    }

    fn figures(&self) -> Table {
        let mut table = Table::new([
            "cohort", "requests", "2xx", "3xx", "4xx", "5xx", "failed", "p50 ms", "p95 ms",
            "p99 ms", "max ms",
        ]);
        let all = self.all();
        let sides = self.sides.iter().zip(COHORTS.map(|(_, name)| name));
        let sides = sides.filter(|(side, _)| side.requests > 0).chain([(&all, "all")]);
        for (side, name) in sides {
            let mut cells = vec![name.to_owned(), side.requests.to_string()];
            cells.extend(side.statuses.iter().map(u64::to_string));
            cells.push(side.failed.to_string());
            cells.extend(side.latencies_ms().map(tenth));
            table.row(cells);
        }
        table
    }

    fn labels(&self) -> Table {
        let mut table = Table::new(["label", COHORTS[0].1, COHORTS[1].1, COHORTS[2].1]);
        for (index, name) in label_names().enumerate() {
            let counts = self.sides.iter().map(|side| side.labels[index].to_string());
            table.row([name.to_owned()].into_iter().chain(counts).collect());
        }
        table
    }
}

/// What one cohort answered.
struct Side {
    requests: u64,
    /// 2xx, 3xx, 4xx, 5xx; ureq never gives a 1xx as the answer.
    statuses: [u64; 4],
    failed: u64,
    /// In microseconds.
    latency: Histogram<u64>,
    /// In the order of [`Label::ALL`], and what is none of them.
    labels: [u64; Label::ALL.len() + 1],
}

impl Side {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self {
            requests: 0,
            statuses: [0; 4],
            failed: 0,
            // Constant bounds: 1 to an hour, and 3 digits of the 5 that the library can.
            latency: latency.expect("bounds of a histogram"),
            labels: [0; Label::ALL.len() + 1],
        }
    }

    fn fold(&mut self, answer: &Answer) {
        self.requests += 1;
        match answer.fate {
            Ok(status) => {
                let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
                self.statuses[class] += 1;
            }
            Err(_) => self.failed += 1,
        }
        if let Some(latency) = answer.latency {
            self.latency.saturating_record(latency.as_micros() as u64);
        }
        match answer.label {
            Some(Given::Label(label)) => self.labels[label.index()] += 1,
            Some(Given::Other) => self.labels[Label::ALL.len()] += 1,
            None => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        for (sum, count) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += count;
        }
        for (sum, count) in self.labels.iter_mut().zip(other.labels) {
            *sum += count;
        }
        // The same bounds: nothing can lie outside.
        let _ = self.latency.add(&other.latency);
    }

    /// p50, p95, p99 and the largest.
    fn latencies_ms(&self) -> [Option<f64>; 4] {
        let ms = |us: u64| (!self.latency.is_empty()).then_some(us as f64 / 1_000.0);
        let at = |quantile| ms(self.latency.value_at_quantile(quantile));
        [at(0.5), at(0.95), at(0.99), ms(self.latency.max())]
    }

    fn json(&self) -> SideJson {
        let [status_2xx, status_3xx, status_4xx, status_5xx] = self.statuses;
        let [latency_ms_p50, latency_ms_p95, latency_ms_p99, latency_ms_max] = self.latencies_ms();
        SideJson {
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
                .zip(self.labels)
                .map(|(name, count)| (name.to_owned(), count.into()))
                .collect(),
        }
    }
}

/// The report for a program. A latency is `null` where nothing was answered.
#[derive(Serialize)]
pub(super) struct Json {
    seed: u64,
    seconds: f64,
    arrivals: u64,
    mix: Map<String, Value>,
    late: u64,
    unanswered: u64,
    failures: Map<String, Value>,
    cohorts: BTreeMap<&'static str, SideJson>,
    all: SideJson,
    users: usize,
    moved: usize,
    errors: u64,
    errors_max_basis_points: u16,
    passed: bool,
}

#[derive(Serialize)]
struct SideJson {
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

fn tenth(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".into(), |ms| format!("{ms:.1}"))
}

const COHORTS: [(Option<Cohort>, &str); 3] = [
    (Some(Cohort::Canary), Cohort::Canary.name()),
    (Some(Cohort::Stable), Cohort::Stable.name()),
    (None, "unknown"),
];

const FAILURES: [(Failure, &str); 3] = [
    (Failure::Connection, "connection"),
    (Failure::Protocol, "protocol"),
    (Failure::Timeout, "timeout"),
];

/// The place of 5xx among the classes of status.
const CLASS_5XX: usize = 3;

/// What is slower counts as an hour.
const LATENCY_US_MAX: u64 = 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use ureq::http::StatusCode;

    use super::*;

    const STRICT: Limits = Limits { errors_max: Share::NONE, sticky: false };

    fn answered(user: u32, cohort: Option<Cohort>, status: u16, ms: u64) -> Answer {
        Answer {
            user,
            cohort,
            fate: Ok(StatusCode::from_u16(status).unwrap()),
            latency: Some(Duration::from_millis(ms)),
            label: (status == 200).then_some(Given::Label(Label::Joy)),
        }
    }

    fn failed(failure: Failure, latency: Option<Duration>) -> Answer {
        Answer { user: 1, cohort: None, fate: Err(failure), latency, label: None }
    }

    fn report(answers: &[Answer]) -> Report {
        let mut report = Report::new(10);
        for answer in answers {
            report.count(Kind::Plain, true);
            report.fold(answer);
        }
        report
    }

    fn value(report: &Report) -> Value {
        serde_json::to_value(report.json(1, Duration::from_secs(1), STRICT)).unwrap()
    }

    #[test]
    fn every_answer_is_counted_once_under_its_cohort_and_once_under_all() {
        let canary = Some(Cohort::Canary);
        let report = report(&[
            answered(1, canary, 200, 10),
            answered(2, canary, 503, 20),
            answered(3, Some(Cohort::Stable), 429, 30),
            answered(4, None, 302, 40),
            failed(Failure::Connection, None),
        ]);
        let json = value(&report);
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
        let mut answers: Vec<Answer> =
            (1..=100).map(|ms| answered(1, None, 200, ms * 10)).collect();
        let json = value(&report(&answers));
        let expected = [("p50", 500.0), ("p95", 950.0), ("p99", 990.0), ("max", 1_000.0)];
        for (name, expected) in expected {
            let found = json["all"][format!("latency_ms_{name}")].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < 0.001, "{name}: {found}");
        }
        answers.push(failed(Failure::Timeout, Some(Duration::from_secs(10))));
        answers.push(failed(Failure::Connection, None));
        let report = report(&answers);
        let [.., max] = report.all().latencies_ms();
        assert!((max.unwrap() / 10_000.0 - 1.0).abs() < 0.001, "{max:?}");
        assert_eq!(report.all().latency.len(), 101);
        assert_eq!(value(&self::report(&[]))["all"]["latency_ms_p50"], Value::Null);
    }

    #[test]
    fn a_user_who_met_both_cohorts_has_moved_and_breaks_only_sticky() {
        let (canary, stable) = (Some(Cohort::Canary), Some(Cohort::Stable));
        let report = report(&[
            answered(1, canary, 200, 1),
            answered(1, stable, 200, 1),
            answered(1, canary, 200, 1),
            answered(2, canary, 200, 1),
            answered(2, None, 200, 1),
            answered(3, stable, 200, 1),
        ]);
        assert_eq!((report.moved(), report.users()), (1, 3));
        assert!(report.passes(STRICT));
        assert!(!report.passes(Limits { sticky: true, ..STRICT }));
    }

    #[test]
    fn errors_pass_up_to_their_limit_and_not_beyond() {
        let answers: Vec<Answer> =
            (0..200).map(|n| answered(1, None, if n == 0 { 500 } else { 400 }, 1)).collect();
        let report = report(&answers);
        for (errors_max, passes) in [("0%", false), ("0.49%", false), ("0.5%", true), ("1%", true)]
        {
            let limits = Limits { errors_max: errors_max.parse().unwrap(), ..STRICT };
            assert_eq!(report.passes(limits), passes, "{errors_max}");
        }
        assert!(Report::new(1).passes(STRICT), "no request");
    }

    #[test]
    fn the_text_says_what_matters_and_leaves_out_what_did_not_happen() {
        let mut report = report(&[answered(1, Some(Cohort::Canary), 200, 10)]);
        report.count(Kind::Edge, false);
        let text = report.text(7, Duration::from_millis(1_500), STRICT);
        let start = "2 arrivals in 1.5 s, seed 7: 1 plain, 0 borderline, 0 personal, 1 edge\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("\ncanary         1    1    0    0    0       0    10.0"), "{text}");
        assert!(text.contains("\nlate 1: ") && text.contains("\nunanswered 1 "), "{text}");
        assert!(text.ends_with("\nfine: 0 errors in 1 requests, limit 0.00%\n"), "{text}");
        assert!(!text.contains("failed by") && !text.contains("\nstable  "), "{text}");
        assert_eq!(report.line(), "2 sent, 0 errors, 1 canary, p50 10.0 ms, p95 10.0 ms");
    }
}
