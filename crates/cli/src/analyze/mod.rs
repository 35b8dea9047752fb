//! `jeffrey analyze`: summarises a prediction log and rates whether a release may go on.
//!
//! Reads version 3 events and the log of the v2.4.2 reference service (schema 2), from a file, a
//! pipe or a gateway, in constant memory. Malformed lines are counted and listed by number, never
//! quoted. The rating is the exit code.

mod plot;

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::lines::LineReader;
use super::progress::Progress;
use super::source::LogSource;
use super::table::{TextTable, format_3_decimals, format_percent};
use super::{CliError, ExitStatus, print_report};
use jeffrey_edge::telemetry::analysis::{
    AdvanceReadiness, AdvanceReadinessCheck, LogAnalysis, LogAnalysisReport, LogLine,
};
use jeffrey_terms::Cohort;

/// Summarise a prediction log and rate the release READY, MOSTLY READY or NOT READY
#[derive(clap::Args)]
#[command(
    after_help = "Reads version 3 events (NDJSON from a sink or from the gateway's admin/events) and schema 2 logs of \
                  the legacy system, one JSON object a line, plain or gzip. A URL is read page by page with \
                  JEFFREY_ADMIN_TOKEN. Unreadable lines are counted and listed by line number.\n\n\
                  Exit codes: 0 READY; 1 MOSTLY READY; 2 NOT READY, or usage, file or connection error.\n\n\
                  Examples:\n  \
                  jeffrey analyze events.ndjson.gz --plot out.svg\n  \
                  jeffrey analyze https://gate.example/_jeffrey/v1/admin/events --json\n  \
                  tail -n 10000 predictions.log | jeffrey analyze -"
)]
pub(super) struct AnalyzeArguments {
    /// File, URL, or `-` for standard input
    #[arg(value_name = "FILE|URL|-", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    source: String,
    /// Cohort to analyse; schema 2 logs have no cohort and are always included
    #[arg(long, value_enum, default_value_t = CohortFilter::Canary)]
    cohort: CohortFilter,
    /// Write charts of confidence, labels and latency to FILE (SVG)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    plot: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Cohort whose responses are analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CohortFilter {
    /// Responses of both cohorts
    All,
    /// Responses of the new model
    Canary,
    /// Responses of the legacy system
    Stable,
}

impl CohortFilter {
    fn includes(self, destination: Option<Cohort>) -> bool {
        match (self, destination) {
            (Self::All, _) | (_, None) => true,
            (Self::Canary, Some(destination)) => destination == Cohort::Canary,
            (Self::Stable, Some(destination)) => destination == Cohort::Stable,
        }
    }
}

#[derive(Serialize)]
struct AnalyzeOutput {
    #[serde(flatten)]
    findings: LogAnalysisReport,
    lines: usize,
    /// Events without a prediction, or of a cohort that was not asked for.
    left_out: usize,
    broken: usize,
    /// First malformed lines, at most [`MALFORMED_LINES_SHOWN_MAX`].
    broken_lines: Vec<MalformedLine>,
}

#[derive(Serialize)]
struct MalformedLine {
    line: usize,
    why: String,
}

pub(super) fn run(arguments: &AnalyzeArguments) -> Result<ExitStatus, CliError> {
    let source = LogSource::open(&arguments.source)?;
    let mut lines = LineReader::new(source);
    let mut progress = Progress::new(None);
    let mut analysis = LogAnalysis::default();
    let mut report = AnalyzeOutput {
        findings: analysis.report(),
        lines: 0,
        left_out: 0,
        broken: 0,
        broken_lines: Vec::new(),
    };
    let to_read_error =
        |error: io::Error| CliError::Read { name: arguments.source.clone(), kind: error.kind() };
    while let Some(line) = lines.next_line().map_err(to_read_error)? {
        progress.increment();
        let parsed = match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => LogLine::parse(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        report.lines += 1;
        match parsed {
            Ok(LogLine::Prediction(prediction))
                if arguments.cohort.includes(prediction.destination) =>
            {
                analysis.add(&prediction);
            }
            Ok(_) => report.left_out += 1,
            Err(why) => {
                report.broken += 1;
                if report.broken_lines.len() < MALFORMED_LINES_SHOWN_MAX {
                    report.broken_lines.push(MalformedLine { line: line.number, why });
                }
            }
        }
    }
    report.findings = analysis.report();
    if let Some(path) = &arguments.plot {
        plot::write_plots(&analysis, &report.findings, path)?;
    }
    print_report(&report, arguments.json)?;
    Ok(match report.findings.verdict {
        AdvanceReadiness::Ready => ExitStatus::Success,
        AdvanceReadiness::MostlyReady => ExitStatus::Negative,
        AdvanceReadiness::NotReady => ExitStatus::Failed,
    })
}

/// Most malformed lines that a report lists by number.
const MALFORMED_LINES_SHOWN_MAX: usize = 10;

impl fmt::Display for AnalyzeOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = &self.findings;
        let format_share =
            |count: u64| format_percent(count as f64 / findings.predictions.max(1) as f64);
        let mut table = TextTable::new(["route", "predictions", "share"]);
        for (route, count) in &findings.routes {
            table.push_row(vec![route.clone(), count.to_string(), format_share(*count)]);
        }
        writeln!(f, "{table}")?;
        let mut table = TextTable::new(["label", "predictions", "share"]);
        for (label, count) in &findings.labels {
            table.push_row(vec![label.name().into(), count.to_string(), format_share(*count)]);
        }
        writeln!(f, "{table}")?;
        let mut table = TextTable::new(["rule", "predictions", "share"]);
        for (rule, count) in &findings.rules {
            table.push_row(vec![rule.clone(), count.to_string(), format_share(*count)]);
        }
        if !findings.rules.is_empty() {
            writeln!(f, "{table}")?;
        }
        let mut table = TextTable::new(["", "mean", "P10", "P50", "P90", "P95"]);
        let confidence = findings.confidence;
        let mut row = vec!["confidence".to_owned()];
        row.extend(
            [confidence.mean, confidence.p10, confidence.p50, confidence.p90]
                .map(format_3_decimals),
        );
        row.push(String::new());
        table.push_row(row);
        let format_ms = |value: Option<f64>| value.map_or("–".into(), |ms| format!("{ms:.2}"));
        let (empty, latency) = (String::new, findings.latency_ms);
        table.push_row(vec![
            "latency, ms".into(),
            empty(),
            empty(),
            format_ms(latency.p50),
            empty(),
            format_ms(latency.p95),
        ]);
        writeln!(f, "{table}")?;
        let mut table = TextTable::new(["check", "found", "limit", ""]);
        for check in &findings.checks {
            table.push_row(check_row(check));
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "{} predictions of {} lines, {} left out, {} broken, {} previews",
            findings.predictions, self.lines, self.left_out, self.broken, findings.previews
        )?;
        for MalformedLine { line, why } in &self.broken_lines {
            writeln!(f, "line {line}: {why}")?;
        }
        if self.broken > self.broken_lines.len() {
            writeln!(f, "… and {} more", self.broken - self.broken_lines.len())?;
        }
        writeln!(f, "{}", findings.verdict.name())
    }
}

fn check_row(check: &AdvanceReadinessCheck) -> Vec<String> {
    let is_count = check.name.starts_with("previews");
    let format_value =
        |value: f64| if is_count { format!("{value}") } else { format_percent(value) };
    let limit = match (check.at_most, check.at_least) {
        (Some(most), _) => format!("≤ {}", format_value(most)),
        (_, least) => format!("≥ {}", format_value(least.unwrap_or(0.0))),
    };
    let value = check.value.map_or("–".to_owned(), format_value);
    let result = if check.passed { "holds" } else { "fails" };
    vec![check.name.to_owned(), value, limit, result.to_owned()]
}
