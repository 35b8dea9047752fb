//! `jeffrey eval`: every figure of `evaluation` over labelled files.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::progress::Progress;
use super::rows::{self, Row, Rows};
use super::table::{Table, figure, percent};
use super::{Given, Identity, Outcome, Settings, Stop, complain, print_json};
use jeffrey_classifier::Classifier;
use jeffrey_evaluation::{Balance, Observation, Options, Report, evaluate, resample::Interval};
use jeffrey_shipped::COMMIT;
use jeffrey_terms::Label;

/// Measure the classifier on labelled rows
#[derive(clap::Args)]
#[command(
    after_help = "Rows are JSONL (`text`, `core8` or `label`, optional `lang` and `id`) or TSV \
                  (label, tab, text; or a first line naming the columns), plain or gzip. Rows \
                  without a label are skipped and counted. Macro-F1 is the mean over the classes \
                  present in the gold labels.\n\n\
                  Examples:\n  \
                  jeffrey eval tests/data/written/eval.en.jsonl tests/data/written/eval.fr.jsonl\n  \
                  jeffrey eval --balanced 50 --draws 200 --json dev.jsonl.gz > report.json"
)]
pub(super) struct Arguments {
    /// Files, `-` for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The whole report as one JSON object
    #[arg(long)]
    json: bool,
    /// Also the macro-F1 over draws with N rows of each class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    balanced: Option<u32>,
    /// How many balanced draws
    #[arg(long, value_name = "D", requires = "balanced", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    draws: u32,
    /// Seed of the balanced draws and the bootstrap
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Bootstrap resamples for the 95 % intervals; 0 leaves them out
    #[arg(long, value_name = "B", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    bootstrap: u32,
    /// Write each row's id, labels, confidence and route to FILE as JSONL, without its text
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
}

/// The JSON report: what was measured, on what, then all figures.
#[derive(Serialize)]
struct FullReport<'a> {
    model: Identity<'a>,
    commit: &'static str,
    settings: Given<'a>,
    seed: u64,
    sources: &'a [Source],
    rows_unlabelled: usize,
    rows_bad: usize,
    #[serde(flatten)]
    report: &'a Report,
}

/// One file's rows, counted.
#[derive(Serialize)]
struct Source {
    /// The file's name without its folder; `-` for standard input.
    name: String,
    rows: usize,
    unlabelled: usize,
    bad: usize,
}

/// A line of the predictions file.
#[derive(Serialize)]
struct PredictionLine<'a> {
    id: &'a str,
    lang: &'a str,
    gold: Label,
    predicted: Label,
    confidence: f32,
    route: &'static str,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> Result<Outcome, Stop> {
    let mut sources = Vec::new();
    let mut labelled = Vec::new();
    for path in &arguments.files {
        let (source, rows) = read(path)?;
        sources.push(source);
        labelled.extend(rows);
    }
    let classifier = settings.classifier()?;
    let observations = classify(labelled, &classifier, arguments.predictions.as_deref())?;
    let rows_per_class = arguments.balanced.map(|rows| rows as usize);
    let draws = arguments.draws as usize;
    let options = Options {
        resamples: arguments.bootstrap as usize,
        balance: rows_per_class.map(|rows_per_class| Balance { rows_per_class, draws }),
        seed: arguments.seed,
    };
    let report = evaluate(&observations, &options)?;
    let full = FullReport {
        model: Identity::of(&classifier),
        commit: COMMIT,
        settings: settings.given(),
        seed: arguments.seed,
        rows_unlabelled: sources.iter().map(|source| source.unlabelled).sum(),
        rows_bad: sources.iter().map(|source| source.bad).sum(),
        sources: &sources,
        report: &report,
    };
    if arguments.json {
        print_json(&full)?;
    } else {
        print(&full)?;
    }
    Ok(Outcome::of_bad_rows(full.rows_bad))
}

/// A file's labelled rows and what else was in it; bad rows go to standard error.
fn read(path: &Path) -> Result<(Source, Vec<Row>), Stop> {
    let failed = |error: io::Error| Stop::read(path, &error);
    let is_stdin = path == Path::new("-");
    let name = match path.file_name() {
        Some(name) if !is_stdin => name.to_string_lossy().into_owned(),
        _ => "-".into(),
    };
    let stream: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let Rows { labelled, unlabelled, bad } = rows::read(&name, stream).map_err(failed)?;
    for (line, error) in bad.iter().take(BAD_ROWS_SHOWN) {
        complain(format_args!("{name}:{line}: {error}"));
    }
    if bad.len() > BAD_ROWS_SHOWN {
        complain(format_args!("{name}: {} more bad rows", bad.len() - BAD_ROWS_SHOWN));
    }
    let source = Source { name, rows: labelled.len(), unlabelled, bad: bad.len() };
    Ok((source, labelled))
}

fn classify(
    rows: Vec<Row>,
    classifier: &Classifier,
    predictions: Option<&Path>,
) -> Result<Vec<Observation>, Stop> {
    let mut file = match predictions {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| Stop::write(path, &error))?;
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
            written.map_err(|error| Stop::write(path, &error))?;
        }
        observations.push(observation);
        progress.step();
    }
    if let Some((path, mut file)) = file {
        file.flush().map_err(|error| Stop::write(path, &error))?;
    }
    Ok(observations)
}

fn print(full: &FullReport<'_>) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    let report = full.report;
    writeln!(output, "model       {}", full.model)?;
    writeln!(
        output,
        "rows        {} used, {} without a label and {} bad ones skipped",
        report.rows, full.rows_unlabelled, full.rows_bad
    )?;
    let interval = |pick: fn(&jeffrey_evaluation::resample::Intervals) -> Interval| {
        report.intervals.as_ref().map_or_else(String::new, |intervals| {
            let Interval { low, high } = pick(intervals);
            format!("  95 % {low:.3} to {high:.3}")
        })
    };
    let accuracy = interval(|intervals| intervals.accuracy);
    let macro_f1 = interval(|intervals| intervals.macro_f1);
    let ece = interval(|intervals| intervals.ece);
    writeln!(output, "accuracy    {:.3}{accuracy}", report.accuracy)?;
    let present = report.classes.values().filter(|class| class.support > 0).count();
    writeln!(
        output,
        "macro-F1    {:.3}{macro_f1}  (mean over the {present} classes present in gold)",
        report.macro_f1
    )?;
    if let Some(balanced) = &report.balanced {
        writeln!(
            output,
            "balanced    {:.3}  95 % {:.3} to {:.3}  (macro-F1, {} draws of {} rows a class, {} classes; ECE {:.3})",
            balanced.macro_f1,
            balanced.interval.low,
            balanced.interval.high,
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
        percent(report.low_confidence_share),
        percent(report.truncated_share),
    )?;
    let shares = |shares: &std::collections::BTreeMap<&str, f64>| {
        let shares: Vec<String> =
            shares.iter().map(|(name, share)| format!("{name} {}", percent(*share))).collect();
        shares.join(", ")
    };
    writeln!(output, "routes      {}", shares(&report.route_shares))?;
    writeln!(output, "rules       {}", shares(&report.rule_shares))?;
    write!(output, "\n{}", classes(report))?;
    write!(output, "\n{}", languages(report))?;
    write!(output, "\ngold in rows, predicted in columns\n{}", confusion(report))?;
    write!(output, "\n{}", reliability(report))?;
    Ok(output.flush()?)
}

fn classes(report: &Report) -> Table {
    let mut table = Table::new(["class", "precision", "recall", "F1", "rows", "predicted"]);
    for (label, class) in &report.classes {
        table.row(vec![
            label.to_string(),
            figure(class.precision),
            figure(class.recall),
            figure(class.f1),
            class.support.to_string(),
            class.predicted.to_string(),
        ]);
    }
    table
}

fn languages(report: &Report) -> Table {
    let mut table =
        Table::new(["language", "accuracy", "macro-F1", "ECE", "low confidence", "rows"]);
    for (lang, figures) in &report.languages {
        table.row(vec![
            lang.clone(),
            figure(Some(figures.accuracy)),
            figure(Some(figures.macro_f1)),
            figure(Some(figures.ece)),
            percent(figures.low_confidence_share),
            figures.rows.to_string(),
        ]);
    }
    table
}

fn confusion(report: &Report) -> Table {
    let mut headings = [""; 9];
    for label in Label::ALL {
        headings[label.index() + 1] = label.name();
    }
    let mut table = Table::new(headings);
    for gold in Label::ALL {
        let counts = Label::ALL.map(|label| report.confusion.count(gold, label).to_string());
        table.row([vec![gold.to_string()], counts.to_vec()].concat());
    }
    table
}

fn reliability(report: &Report) -> Table {
    let mut table = Table::new(["confidence", "rows", "mean confidence", "accuracy"]);
    for bin in report.reliability.iter().filter(|bin| bin.rows > 0) {
        table.row(vec![
            format!("{:.3} to {:.3}", bin.low, bin.high),
            bin.rows.to_string(),
            figure(bin.confidence),
            figure(bin.accuracy),
        ]);
    }
    table
}

/// Bad rows that are named one by one; a file of the wrong kind would else fill the screen.
const BAD_ROWS_SHOWN: usize = 20;
