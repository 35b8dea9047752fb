//! `jeffrey eval`: evaluates the classifier on labelled files.
//!
//! Rows without a label are counted and skipped; malformed rows are reported by line number and
//! make the exit code 1. The report has all metrics of `jeffrey_evaluation`. No output contains a
//! text. `jeffrey eval real` evaluates on real lines that were labelled by reading.

mod join;

mod keys;

mod real;

mod run_count;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::progress::Progress;
use super::rows::{self, LabelledRow, ParsedRows};
use super::table::{TextTable, format_3_decimals, format_percent};
use super::{
    ClassifierFlags, CliError, ExitStatus, ModelIdentity, TieBreakSettings, print_json,
    print_to_stderr,
};
use jeffrey_classifier::Classifier;
use jeffrey_evaluation::{
    BalancedSampling, EvaluationOptions, EvaluationReport, Observation, evaluate,
    resample::PercentileInterval,
};
use jeffrey_shipped::COMMIT;
use jeffrey_terms::Label;

/// Evaluate the classifier on labelled data
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Rows are JSONL (`text`, `core8` or `label`, optional `lang` and `id`) or TSV \
                  (label, tab, text; or a first line naming the columns), plain or gzip. Rows \
                  without a label are skipped and counted. Macro-F1 is the mean over the classes \
                  present in the gold labels.\n\n\
                  Examples:\n  \
                  jeffrey eval tests/data/written/eval.en.jsonl tests/data/written/eval.fr.jsonl\n  \
                  jeffrey eval --balanced 50 --draws 200 --json dev.jsonl.gz > report.json\n  \
                  jeffrey eval real --data ../data"
)]
pub(super) struct EvalArguments {
    #[command(subcommand)]
    command: Option<EvalCommand>,
    /// Labelled files, or `-` for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print the whole report as one JSON object
    #[arg(long)]
    json: bool,
    /// Also report macro-F1 over balanced samples of N rows per class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    balanced: Option<u32>,
    /// Number of balanced samples
    #[arg(long, value_name = "D", requires = "balanced", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    draws: u32,
    /// Random seed of the balanced samples and the bootstrap
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Bootstrap resamples for the 95 % confidence intervals; 0 disables them
    #[arg(long, value_name = "B", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    bootstrap: u32,
    /// Write each row's id, labels, confidence and route to FILE as JSONL, without its text
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    classifier_flags: ClassifierFlags,
}

/// Evaluation on other lines than those of labelled files.
#[derive(clap::Subcommand)]
enum EvalCommand {
    Real(real::RealArguments),
}

/// JSON report of an evaluation: model, build, settings and input files, then all metrics.
#[derive(Serialize)]
struct EvalOutput<'a> {
    model: ModelIdentity<'a>,
    commit: &'static str,
    settings: TieBreakSettings<'a>,
    seed: u64,
    sources: &'a [FileRowCounts],
    rows_unlabelled: usize,
    rows_bad: usize,
    #[serde(flatten)]
    report: &'a EvaluationReport,
}

/// Row counts of one input file.
#[derive(Serialize)]
struct FileRowCounts {
    /// Name of the file without its folder; `-` for standard input.
    name: String,
    rows: usize,
    unlabelled: usize,
    bad: usize,
}

/// One line of the predictions file, without the text of the row.
#[derive(Serialize)]
struct PredictionLine<'a> {
    id: &'a str,
    lang: &'a str,
    gold: Label,
    predicted: Label,
    confidence: f32,
    route: &'static str,
}

pub(super) fn run(arguments: &EvalArguments) -> Result<ExitStatus, CliError> {
    if let Some(EvalCommand::Real(arguments)) = &arguments.command {
        return real::run(arguments);
    }
    let mut sources = Vec::new();
    let mut labelled = Vec::new();
    for path in &arguments.files {
        let (source, rows) = read_labelled_file(path)?;
        sources.push(source);
        labelled.extend(rows);
    }
    let classifier = arguments.classifier_flags.load_classifier()?;
    let observations = classify_rows(labelled, &classifier, arguments.predictions.as_deref())?;
    let rows_per_class = arguments.balanced.map(|rows| rows as usize);
    let draws = arguments.draws as usize;
    let options = EvaluationOptions {
        resamples: arguments.bootstrap as usize,
        balanced_sampling: rows_per_class
            .map(|rows_per_class| BalancedSampling { rows_per_class, draws }),
        seed: arguments.seed,
    };
    let report = evaluate(&observations, &options)?;
    let eval_output = EvalOutput {
        model: ModelIdentity::from_classifier(&classifier),
        commit: COMMIT,
        settings: arguments.classifier_flags.tie_break_settings(),
        seed: arguments.seed,
        rows_unlabelled: sources.iter().map(|source| source.unlabelled).sum(),
        rows_bad: sources.iter().map(|source| source.bad).sum(),
        sources: &sources,
        report: &report,
    };
    if arguments.json {
        print_json(&eval_output)?;
    } else {
        print_evaluation(&eval_output)?;
    }
    Ok(ExitStatus::from_bad_rows(eval_output.rows_bad))
}

/// Reads the labelled rows of a file and counts the others; reports bad rows on standard error.
fn read_labelled_file(path: &Path) -> Result<(FileRowCounts, Vec<LabelledRow>), CliError> {
    let to_read_error = |error: io::Error| CliError::read_failed(path, &error);
    let is_stdin = path == Path::new("-");
    let name = match path.file_name() {
        Some(name) if !is_stdin => name.to_string_lossy().into_owned(),
        _ => "-".into(),
    };
    let stream: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(to_read_error)?)
    };
    let ParsedRows { labelled, unlabelled, bad } =
        rows::read_rows(&name, stream).map_err(to_read_error)?;
    for (line, error) in bad.iter().take(BAD_ROWS_SHOWN_MAX) {
        print_to_stderr(format_args!("{name}:{line}: {error}"));
    }
    if bad.len() > BAD_ROWS_SHOWN_MAX {
        print_to_stderr(format_args!("{name}: {} more bad rows", bad.len() - BAD_ROWS_SHOWN_MAX));
    }
    let source = FileRowCounts { name, rows: labelled.len(), unlabelled, bad: bad.len() };
    Ok((source, labelled))
}

fn classify_rows(
    rows: Vec<LabelledRow>,
    classifier: &Classifier,
    predictions: Option<&Path>,
) -> Result<Vec<Observation>, CliError> {
    let mut file = match predictions {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| CliError::write_failed(path, &error))?;
            Some((path, BufWriter::new(file)))
        }
    };
    let mut progress = Progress::new(Some(rows.len() as u64));
    let mut observations = Vec::with_capacity(rows.len());
    for row in rows {
        let prediction = classifier.classify(&row.text);
        let observation = Observation::new(row.gold, row.lang, &prediction);
        if let Some((path, file)) = &mut file {
            let line = PredictionLine {
                id: &row.id,
                lang: &observation.lang,
                gold: observation.gold,
                predicted: observation.predicted,
                confidence: observation.confidence,
                route: observation.route.name(),
            };
            let written = serde_json::to_writer(&mut *file, &line).map_err(io::Error::from);
            let written = written.and_then(|()| file.write_all(b"\n"));
            written.map_err(|error| CliError::write_failed(path, &error))?;
        }
        observations.push(observation);
        progress.increment();
    }
    if let Some((path, mut file)) = file {
        file.flush().map_err(|error| CliError::write_failed(path, &error))?;
    }
    Ok(observations)
}

fn print_evaluation(eval_output: &EvalOutput<'_>) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    let report = eval_output.report;
    writeln!(output, "model       {}", eval_output.model)?;
    writeln!(
        output,
        "rows        {} used, {} without a label and {} bad ones skipped",
        report.rows, eval_output.rows_unlabelled, eval_output.rows_bad
    )?;
    let format_interval =
        |pick: fn(&jeffrey_evaluation::resample::BootstrapIntervals) -> PercentileInterval| {
            report.intervals.as_ref().map_or_else(String::new, |intervals| {
                let PercentileInterval { low, high } = pick(intervals);
                format!("  95 % {low:.3} to {high:.3}")
            })
        };
    let accuracy = format_interval(|intervals| intervals.accuracy);
    let macro_f1 = format_interval(|intervals| intervals.macro_f1);
    let ece = format_interval(|intervals| intervals.ece);
    writeln!(output, "accuracy    {:.3}{accuracy}", report.accuracy)?;
    let classes_present = report.classes.values().filter(|class| class.support > 0).count();
    writeln!(
        output,
        "macro-F1    {:.3}{macro_f1}  (mean over the {classes_present} classes present in gold)",
        report.macro_f1
    )?;
    if let Some(balanced) = &report.balanced_metrics {
        writeln!(
            output,
            "balanced    {:.3}  95 % {:.3} to {:.3}  (macro-F1, {} draws of {} rows a class, {} classes; ECE {:.3})",
            balanced.macro_f1,
            balanced.macro_f1_interval.low,
            balanced.macro_f1_interval.high,
            balanced.draws,
            balanced.rows_per_class,
            balanced.classes.len(),
            balanced.ece,
        )?;
    }
    writeln!(output, "ECE         {:.3}{ece}  ({} bins)", report.ece, report.reliability.len())?;
    let confidence = &report.confidence;
    writeln!(
        output,
        "confidence  mean {:.3}, P10 {:.3}, median {:.3}, P90 {:.3}; low {}; truncated {}",
        confidence.mean,
        confidence.p10,
        confidence.p50,
        confidence.p90,
        format_percent(report.low_confidence_share),
        format_percent(report.truncated_share),
    )?;
    let format_shares = |shares: &std::collections::BTreeMap<&str, f64>| {
        let shares: Vec<String> = shares
            .iter()
            .map(|(name, share)| format!("{name} {}", format_percent(*share)))
            .collect();
        shares.join(", ")
    };
    writeln!(output, "routes      {}", format_shares(&report.route_shares))?;
    writeln!(output, "rules       {}", format_shares(&report.tie_break_rule_shares))?;
    write!(output, "\n{}", classes_table(report))?;
    write!(output, "\n{}", languages_table(report))?;
    write!(output, "\ngold in rows, predicted in columns\n{}", confusion_table(report))?;
    write!(output, "\n{}", reliability_table(report))?;
    write!(output, "\n{}", risk_coverage_table(report))?;
    Ok(output.flush()?)
}

fn classes_table(report: &EvaluationReport) -> TextTable {
    let mut table = TextTable::new(["class", "precision", "recall", "F1", "rows", "predicted"]);
    for (label, class) in &report.classes {
        table.push_row(vec![
            label.to_string(),
            format_3_decimals(class.precision),
            format_3_decimals(class.recall),
            format_3_decimals(class.f1),
            class.support.to_string(),
            class.predicted.to_string(),
        ]);
    }
    table
}

fn languages_table(report: &EvaluationReport) -> TextTable {
    let mut table =
        TextTable::new(["language", "accuracy", "macro-F1", "ECE", "low confidence", "rows"]);
    for (lang, metrics) in &report.languages {
        table.push_row(vec![
            lang.clone(),
            format_3_decimals(Some(metrics.accuracy)),
            format_3_decimals(Some(metrics.macro_f1)),
            format_3_decimals(Some(metrics.ece)),
            format_percent(metrics.low_confidence_share),
            metrics.rows.to_string(),
        ]);
    }
    table
}

fn confusion_table(report: &EvaluationReport) -> TextTable {
    let mut headings = [""; 9];
    for label in Label::ALL {
        headings[label.index() + 1] = label.name();
    }
    let mut table = TextTable::new(headings);
    for gold in Label::ALL {
        let counts = Label::ALL.map(|label| report.confusion.count(gold, label).to_string());
        table.push_row([vec![gold.to_string()], counts.to_vec()].concat());
    }
    table
}

fn reliability_table(report: &EvaluationReport) -> TextTable {
    let mut table = TextTable::new(["confidence", "rows", "mean confidence", "accuracy"]);
    for bin in report.reliability.iter().filter(|bin| bin.rows > 0) {
        table.push_row(vec![
            format!("{:.3} to {:.3}", bin.low, bin.high),
            bin.rows.to_string(),
            format_3_decimals(bin.confidence),
            format_3_decimals(bin.accuracy),
        ]);
    }
    table
}

fn risk_coverage_table(report: &EvaluationReport) -> TextTable {
    let mut table = TextTable::new(["most confident", "confidence from", "error"]);
    for point in &report.risk_coverage {
        table.push_row(vec![
            format_percent(point.coverage),
            format_3_decimals(Some(point.threshold)),
            format_percent(point.risk),
        ]);
    }
    table
}

/// Most bad rows of a file that are reported one by one; a file of the wrong kind would otherwise
/// fill the screen.
const BAD_ROWS_SHOWN_MAX: usize = 20;
