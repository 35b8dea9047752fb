//! `jeffrey analyze`: what a log of predictions amounts to, and whether a release may go on.

mod plot;

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::lines::Lines;
use super::progress::Progress;
use super::source::Source;
use super::table::{Table, figure, percent};
use super::{Outcome, Stop, print_report};
use jeffrey_edge::telemetry::analysis::{Analysis, Check, Findings, Line, Verdict};
use jeffrey_terms::Cohort;

/// Say what a log of predictions amounts to: READY, MOSTLY READY or NOT READY
#[derive(clap::Args)]
#[command(
    after_help = "Reads events of version 3 (a sink's NDJSON, the gate's admin/events) and the reference's log, \
                  schema 2, one JSON object a line, plain or gzip. A URL is read page by page, with \
                  JEFFREY_ADMIN_TOKEN. Lines that cannot be read are counted and named by number.\n\n\
                  Exit codes: 0 READY, 1 MOSTLY READY, 2 NOT READY, or usage or file error.\n\n\
                  Examples:\n  \
                  jeffrey analyze events.ndjson.gz --plot out.svg\n  \
                  jeffrey analyze https://gate.example/_jeffrey/v1/admin/events --json\n  \
                  tail -n 10000 predictions.log | jeffrey analyze -"
)]
pub(super) struct Arguments {
    /// A file, a URL, or `-` for standard input
    #[arg(value_name = "FILE|URL|-", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    source: String,
    /// Whose answers: events name who gave them, the reference's log is one system's
    #[arg(long, value_enum, default_value_t = Of::Canary)]
    of: Of,
    /// Draw confidence, labels and latency, as SVG
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    plot: Option<PathBuf>,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Whose answers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// Everybody's
    All,
    /// The model's
    Canary,
    /// The old system's
    Stable,
}

impl Of {
    fn takes(self, destination: Option<Cohort>) -> bool {
        match (self, destination) {
            (Self::All, _) | (_, None) => true,
            (Self::Canary, Some(destination)) => destination == Cohort::Canary,
            (Self::Stable, Some(destination)) => destination == Cohort::Stable,
        }
    }
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    findings: Findings,
    lines: usize,
    /// Events that are no prediction, or another's.
    left_out: usize,
    broken: usize,
    /// The first of them.
    broken_lines: Vec<Broken>,
}

#[derive(Serialize)]
struct Broken {
    line: usize,
    why: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let source = Source::open(&arguments.source)?;
    let mut lines = Lines::new(source);
    let mut progress = Progress::new(None);
    let mut analysis = Analysis::default();
    let mut report = Report {
        findings: analysis.findings(),
        lines: 0,
        left_out: 0,
        broken: 0,
        broken_lines: Vec::new(),
    };
    let read = |error: io::Error| Stop::Read { name: arguments.source.clone(), kind: error.kind() };
    while let Some(line) = lines.next().map_err(read)? {
        progress.step();
        let parsed = match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => Line::parse(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        report.lines += 1;
        match parsed {
            Ok(Line::Prediction(prediction)) if arguments.of.takes(prediction.destination) => {
                analysis.add(&prediction);
            }
            Ok(_) => report.left_out += 1,
            Err(why) => {
                report.broken += 1;
                if report.broken_lines.len() < BROKEN_SHOWN {
                    report.broken_lines.push(Broken { line: line.number, why });
                }
            }
        }
    }
    report.findings = analysis.findings();
    if let Some(path) = &arguments.plot {
        plot::write(&analysis, &report.findings, path)?;
    }
    print_report(&report, arguments.json)?;
    Ok(match report.findings.verdict {
        Verdict::Ready => Outcome::Fine,
        Verdict::MostlyReady => Outcome::Negative,
        Verdict::NotReady => Outcome::Worse,
    })
}

/// So many broken lines are named.
const BROKEN_SHOWN: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.findings;
        let of = |count: u64| percent(count as f64 / found.predictions.max(1) as f64);
        let mut table = Table::new(["route", "predictions", "share"]);
        for (route, count) in &found.routes {
            table.row(vec![route.clone(), count.to_string(), of(*count)]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(["label", "predictions", "share"]);
        for (label, count) in &found.labels {
            table.row(vec![label.name().into(), count.to_string(), of(*count)]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(["rule", "predictions", "share"]);
        for (rule, count) in &found.rules {
            table.row(vec![rule.clone(), count.to_string(), of(*count)]);
        }
        if !found.rules.is_empty() {
            writeln!(f, "{table}")?;
        }
        let mut table = Table::new(["", "mean", "P10", "P50", "P90", "P95"]);
        let c = found.confidence;
        let mut row = vec!["confidence".to_owned()];
        row.extend([c.mean, c.p10, c.p50, c.p90].map(figure));
        row.push(String::new());
        table.row(row);
        let ms = |value: Option<f64>| value.map_or("–".into(), |ms| format!("{ms:.2}"));
        let (none, l) = (String::new, found.latency_ms);
        table.row(vec!["latency, ms".into(), none(), none(), ms(l.p50), none(), ms(l.p95)]);
        writeln!(f, "{table}")?;
        let mut table = Table::new(["check", "found", "limit", ""]);
        for check in &found.checks {
            table.row(row_of(check));
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "{} predictions of {} lines, {} left out, {} broken, {} previews",
            found.predictions, self.lines, self.left_out, self.broken, found.previews
        )?;
        for Broken { line, why } in &self.broken_lines {
            writeln!(f, "line {line}: {why}")?;
        }
        if self.broken > self.broken_lines.len() {
            writeln!(f, "… and {} more", self.broken - self.broken_lines.len())?;
        }
        writeln!(f, "{}", found.verdict.name())
    }
}

fn row_of(check: &Check) -> Vec<String> {
    let counted = check.name.starts_with("previews");
    let shown = |value: f64| if counted { format!("{value}") } else { percent(value) };
    let limit = match (check.at_most, check.at_least) {
        (Some(most), _) => format!("≤ {}", shown(most)),
        (_, least) => format!("≥ {}", shown(least.unwrap_or(0.0))),
    };
    let found = check.value.map_or("–".to_owned(), shown);
    let holds = if check.holds { "holds" } else { "fails" };
    vec![check.name.to_owned(), found, limit, holds.to_owned()]
}
