//! `jeffrey eval real`: evaluates the classifier on real lines that were labelled by reading.
//!
//! The keys and votes are part of the binary; the texts come from the data folder of the training.
//! The output has counts and metrics only: no text, and no key of a line. If fewer than 95 % of the
//! lines of a language are found, the command refuses, because the rest may differ from the whole.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use jeffrey_evaluation::resample::PercentileInterval;
use jeffrey_evaluation::votes::{
    EMOTIONAL_LOST_MAX, VotedClassMetrics, VotedIntervals, VotedLine, VotedMetrics, VotedReport,
    evaluate_classes, evaluate_votes,
};
use jeffrey_shipped::COMMIT;
use jeffrey_terms::{InputText, Label};
use serde::Serialize;

use super::join::find_texts;
use super::keys::{KeyFiles, ReadLanguage, ReadLine, ReadPart};
use super::run_count::count_run;
use crate::progress::Progress;
use crate::table::{TextTable, format_3_decimals, format_percent};
use crate::{
    ClassifierFlags, CliError, ExitStatus, ModelIdentity, TieBreakSettings, print_json,
    print_to_stderr,
};
use jeffrey_classifier::Classifier;

/// Evaluate the classifier on real lines that were labelled by reading
///
/// The keys and labels of the lines are part of this program; their texts are read from the data
/// folder of the training. The lines are sealed: each run is counted, and the count is printed.
#[derive(clap::Args)]
#[command(
    after_help = "A line is undisputed if all its votes name one label. In the figures by votes, a \
                  line is split evenly among its votes. Only counts and metrics are printed, never a \
                  text. A file named `real` is evaluated with `jeffrey eval ./real`.\n\n\
                  Exit codes: 0 success; 2 usage or file error, or fewer than 95 % of the lines of a \
                  language found.\n\n\
                  Examples:\n  \
                  jeffrey eval real --data ../data\n  \
                  jeffrey eval real --data ../data --part choices --json > choices.json"
)]
pub(super) struct RealArguments {
    /// Folder with the data files from which the lines were drawn
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Lines to measure by
    #[arg(long, value_enum, default_value_t = ReadPart::Real)]
    part: ReadPart,
    /// Use random.tsv, thin.tsv, plain.tsv and votes.tsv of this folder instead of the embedded ones
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Print the whole report as one JSON object
    #[arg(long)]
    json: bool,
    /// Random seed of the bootstrap
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Bootstrap resamples for the 95 % confidence intervals; 0 disables them
    #[arg(long, value_name = "B", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    bootstrap: u32,
    #[command(flatten)]
    classifier_flags: ClassifierFlags,
}

/// JSON report of an evaluation on read lines: model, build and settings, then each language.
#[derive(Serialize)]
struct RealOutput<'a> {
    model: ModelIdentity<'a>,
    commit: &'static str,
    settings: TieBreakSettings<'a>,
    seed: u64,
    part: ReadPart,
    /// Number of runs on this machine; `None` for lines that are not sealed, or without a count.
    run: Option<u64>,
    languages: BTreeMap<ReadLanguage, LanguageOutput>,
}

/// Counts and metrics of one language.
#[derive(Serialize)]
struct LanguageOutput {
    found: FoundCount,
    /// Lines of rare classes; `None` for a part without them.
    rare_found: Option<FoundCount>,
    #[serde(flatten)]
    report: VotedReport,
    /// Metrics of the classes with the lines of rare classes included.
    classes_with_rare: Option<BTreeMap<Label, VotedClassMetrics>>,
}

/// Number of lines whose texts were found, and of all lines.
#[derive(Clone, Copy, Serialize)]
struct FoundCount {
    found: usize,
    wanted: usize,
}

pub(super) fn run(arguments: &RealArguments) -> Result<ExitStatus, CliError> {
    let files = match &arguments.keys {
        Some(folder) => KeyFiles::from_folder(folder)?,
        None => KeyFiles::embedded(),
    };
    let lines = files.read_lines(arguments.part)?;
    let texts = find_texts(&lines, &arguments.data)?;
    let groups = count_found(&lines, &texts);
    for ((lang, is_rare), count) in &groups {
        count.require_share(*lang, *is_rare)?;
    }
    let classifier = arguments.classifier_flags.load_classifier()?;
    let voted = classify_lines(&lines, &texts, &classifier);
    let mut languages = BTreeMap::new();
    for lang in [ReadLanguage::Fr, ReadLanguage::En] {
        let Some(found) = groups.get(&(lang, false)) else { continue };
        let rare_found = groups.get(&(lang, true)).copied();
        let rows_of = |rare: bool| {
            let rows = voted.iter().filter(|row| row.lang == lang && (rare || !row.is_rare));
            rows.map(|row| row.line.clone()).collect::<Vec<_>>()
        };
        let report = evaluate_votes(&rows_of(false), arguments.bootstrap as usize, arguments.seed)?;
        let classes_with_rare = rare_found.map(|_| evaluate_classes(&rows_of(true)));
        let output = LanguageOutput { found: *found, rare_found, report, classes_with_rare };
        languages.insert(lang, output);
    }
    let output = RealOutput {
        model: ModelIdentity::from_classifier(&classifier),
        commit: COMMIT,
        settings: arguments.classifier_flags.tie_break_settings(),
        seed: arguments.seed,
        part: arguments.part,
        run: count_sealed_run(arguments.part, &files),
        languages,
    };
    if arguments.json {
        print_json(&output)?;
    } else {
        print_output(&output)?;
    }
    Ok(ExitStatus::Success)
}

/// Counts a run by the sealed lines; a count that cannot be kept is reported on standard error.
fn count_sealed_run(part: ReadPart, files: &KeyFiles) -> Option<u64> {
    if part == ReadPart::Choices {
        return None;
    }
    match count_run(&files.sha256()) {
        Ok(count) => Some(count),
        Err(error) => {
            print_to_stderr(format_args!("warning: this run is not counted: {}", error.kind()));
            None
        }
    }
}

/// Counts the found lines of each language, apart for lines of rare classes.
fn count_found(
    lines: &[ReadLine],
    texts: &[Option<InputText>],
) -> BTreeMap<(ReadLanguage, bool), FoundCount> {
    let mut groups = BTreeMap::new();
    for (line, text) in lines.iter().zip(texts) {
        let none = FoundCount { found: 0, wanted: 0 };
        let count: &mut FoundCount = groups.entry((line.lang, line.is_rare)).or_insert(none);
        count.wanted += 1;
        count.found += usize::from(text.is_some());
    }
    groups
}

impl FoundCount {
    /// Refuses a group of which fewer than [`FOUND_PERCENT_MIN`] percent are found.
    fn require_share(self, lang: ReadLanguage, is_rare: bool) -> Result<(), CliError> {
        let Self { found, wanted } = self;
        if found * 100 >= wanted * FOUND_PERCENT_MIN {
            return Ok(());
        }
        let lines = self.describe(lang, is_rare);
        Err(CliError::TooFewLines { lines, percent_min: FOUND_PERCENT_MIN })
    }

    /// Returns a phrase such as "1,187 of 1,200 French lines".
    fn describe(self, lang: ReadLanguage, is_rare: bool) -> String {
        let (found, wanted) = (format_count(self.found), format_count(self.wanted));
        let rare = if is_rare { " of rare classes" } else { "" };
        format!("{found} of {wanted} {} lines{rare}", lang.name())
    }
}

/// Read line after its classification.
struct ClassifiedLine {
    lang: ReadLanguage,
    is_rare: bool,
    line: VotedLine,
}

fn classify_lines(
    lines: &[ReadLine],
    texts: &[Option<InputText>],
    classifier: &Classifier,
) -> Vec<ClassifiedLine> {
    let found = texts.iter().flatten().count();
    let mut progress = Progress::new(Some(found as u64));
    let mut classified = Vec::with_capacity(found);
    for (line, text) in lines.iter().zip(texts) {
        let Some(text) = text else { continue };
        let prediction = classifier.classify(text);
        let voted = VotedLine {
            votes: line.votes.clone(),
            predicted: prediction.primary,
            neutral_score: prediction.scores.score(Label::Neutral),
            source: line.source.clone(),
        };
        classified.push(ClassifiedLine { lang: line.lang, is_rare: line.is_rare, line: voted });
        progress.increment();
    }
    classified
}

fn print_output(real: &RealOutput<'_>) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    writeln!(output, "model  {}", real.model)?;
    for (lang, language) in &real.languages {
        writeln!(output, "found  {}", language.found.describe(*lang, false))?;
        if let Some(rare) = language.rare_found {
            writeln!(output, "found  {}", rare.describe(*lang, true))?;
        }
    }
    let part = match real.part {
        ReadPart::Real => "real",
        ReadPart::Choices => "choices",
        ReadPart::Plain => "plain",
    };
    match (real.part, real.run) {
        (ReadPart::Choices, _) => writeln!(output, "part   {part}")?,
        (_, Some(run)) => writeln!(output, "part   {part}, run {run} on this machine")?,
        (_, None) => writeln!(output, "part   {part}, not counted")?,
    }
    for (lang, language) in &real.languages {
        writeln!(output, "\n{}", lang.name())?;
        write!(output, "{}", metrics_table(&language.report))?;
        write!(output, "\n{}", classes_table(language))?;
        write!(output, "\n{}", sources_table(&language.report))?;
    }
    Ok(output.flush()?)
}

/// Selects a metric of a set of lines.
type PickMetric = fn(&VotedMetrics) -> Option<f64>;

/// Selects the interval of that metric.
type PickInterval = fn(&VotedIntervals) -> Option<PercentileInterval>;

fn metrics_table(report: &VotedReport) -> TextTable {
    let (undisputed, all) = (&report.undisputed, &report.all);
    let mut table = TextTable::new(["metric", "undisputed", "95 %", "by votes", "95 %"]);
    table.push_row(vec![
        "lines".into(),
        format_count(undisputed.lines),
        String::new(),
        format_count(all.lines),
        String::new(),
    ]);
    let lost = format!("neutral recall at {:.0} % emotional lost", 100.0 * EMOTIONAL_LOST_MAX);
    let rows: [(&str, PickMetric, PickInterval); 5] = [
        ("macro-F1", |metrics| metrics.macro_f1, |intervals| intervals.macro_f1),
        ("accuracy", |metrics| metrics.accuracy, |intervals| intervals.accuracy),
        ("neutral recall", |metrics| metrics.neutral.recall, |i| i.neutral_recall),
        (
            "emotional lines called neutral",
            |metrics| metrics.neutral.emotional_lost,
            |intervals| intervals.emotional_lost,
        ),
        (
            &lost,
            |metrics| metrics.neutral.recall_at_threshold,
            |intervals| intervals.recall_at_threshold,
        ),
    ];
    for (name, pick, pick_interval) in rows {
        let mut cells = vec![name.to_owned()];
        for metrics in [undisputed, all] {
            cells.push(format_3_decimals(pick(metrics)));
            let interval = metrics.intervals.as_ref().and_then(pick_interval);
            cells.push(interval.map_or_else(String::new, |PercentileInterval { low, high }| {
                format!("{low:.3} to {high:.3}")
            }));
        }
        table.push_row(cells);
    }
    let threshold =
        |metrics: &VotedMetrics| format_3_decimals(metrics.neutral.threshold.map(f64::from));
    table.push_row(vec![
        "  at a score of neutral from".into(),
        threshold(undisputed),
        String::new(),
        threshold(all),
        String::new(),
    ]);
    table
}

fn classes_table(language: &LanguageOutput) -> TextTable {
    let report = &language.report;
    let mut table = TextTable::new([
        "class",
        "precision",
        "recall",
        "F1",
        "lines",
        "F1 by votes",
        "lines",
        "recall with rare",
        "lines",
    ]);
    for (label, class) in &report.undisputed.classes {
        let by_votes = report.all.classes.get(label);
        let with_rare = language.classes_with_rare.as_ref().and_then(|rare| rare.get(label));
        let format_lines = |class: Option<&VotedClassMetrics>, decimals: usize| {
            class.map_or_else(|| "–".into(), |class| format!("{:.decimals$}", class.support))
        };
        table.push_row(vec![
            label.to_string(),
            format_3_decimals(class.precision),
            format_3_decimals(class.recall),
            format_3_decimals(class.f1),
            format_lines(Some(class), 0),
            format_3_decimals(by_votes.and_then(|class| class.f1)),
            format_lines(by_votes, 1),
            format_3_decimals(with_rare.and_then(|class| class.recall)),
            format_lines(with_rare, 0),
        ]);
    }
    table
}

fn sources_table(report: &VotedReport) -> TextTable {
    let mut table = TextTable::new([
        "source",
        "agreement",
        "neutral recall",
        "emotional found",
        "undisputed",
        "lines",
    ]);
    for (source, agreement) in &report.sources {
        table.push_row(vec![
            source.clone(),
            agreement.agreement.map_or_else(|| "–".into(), format_percent),
            agreement.neutral_recall.map_or_else(|| "–".into(), format_percent),
            agreement.emotional_found.map_or_else(|| "–".into(), format_percent),
            format_count(agreement.undisputed),
            format_count(agreement.lines),
        ]);
    }
    table
}

/// Formats a count with commas between thousands.
fn format_count(count: usize) -> String {
    let digits = count.to_string();
    let mut formatted = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            formatted.push(',');
        }
        formatted.push(digit);
    }
    formatted
}

/// Smallest share of the lines of a language that must be found, in percent.
const FOUND_PERCENT_MIN: usize = 95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        let counts = [0, 12, 187, 1_187, 12_345, 1_234_567].map(format_count);
        assert_eq!(counts, ["0", "12", "187", "1,187", "12,345", "1,234,567"]);
    }

    #[test]
    fn fewer_than_95_percent_are_refused_with_count_and_limit() {
        let require = |found, wanted, is_rare| {
            FoundCount { found, wanted }.require_share(ReadLanguage::Fr, is_rare)
        };
        for (found, wanted) in [(1_200, 1_200), (1_140, 1_200), (19, 20), (0, 0)] {
            assert!(require(found, wanted, false).is_ok(), "{found} of {wanted}");
        }
        let error = require(1_139, 1_200, false).unwrap_err().to_string();
        assert!(
            error.starts_with("found 1,139 of 1,200 French lines; at least 95 % are"),
            "{error}"
        );
        let error = require(9, 10, true).unwrap_err().to_string();
        assert!(error.contains("9 of 10 French lines of rare classes;"), "{error}");
    }
}
