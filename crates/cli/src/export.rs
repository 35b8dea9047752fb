//! `jeffrey export`: writes events of the gateway as rows for annotation.
//!
//! Reads events from a file, a pipe or the gateway, and keeps those with feedback or low confidence
//! that have a masked text preview. Writes CSV, or NDJSON with `--json`. In CSV, a text that a
//! spreadsheet would take for a formula begins with a blank.

use std::io;
use std::path::PathBuf;
use std::{fs::File, io::Write};

use super::lines::LineReader;
use super::progress::Progress;
use super::source::LogSource;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_edge::telemetry::annotation::{AnnotationRow, AnnotationSet};
use jeffrey_text_table::escape_formula;

/// Export events as rows for annotation
#[derive(clap::Args)]
#[command(
    after_help = "Reads version 3 events (NDJSON from a sink or from the gateway), plain or gzip. A URL is read page \
                  by page with JEFFREY_ADMIN_TOKEN. Only events with a masked text preview (LOG_TEXT_PREVIEW=on) can be \
                  labelled.\n\n\
                  The CSV columns are text, label, lang, and for the annotator why, guess, confidence, second \
                  and time_ms. `label` is set if feedback gave or confirmed it. Fill in the other labels, and \
                  `lang` with en or fr. `make train EXTRA=rows.csv` reads the file as it is and skips rows \
                  without a label.\n\n\
                  Exit codes: 0 success; 1 no rows to label, or some lines are not events; 2 usage, file or \
                  connection error.\n\n\
                  Examples:\n  \
                  jeffrey export --for-annotation events.ndjson.gz --out rows.csv\n  \
                  jeffrey export --for-annotation https://gate.example/_jeffrey/v1/admin/events > rows.csv"
)]
pub(super) struct ExportArguments {
    /// Export low-confidence predictions and those with feedback
    #[arg(long, required = true)]
    for_annotation: bool,
    /// File, URL, or `-` for standard input
    #[arg(value_name = "FILE|URL|-", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    source: String,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    out: Option<PathBuf>,
    /// Maximum number of rows; rows with feedback first, then the least confident
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print one JSON object per line instead of CSV
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ExportArguments) -> Result<ExitStatus, CliError> {
    let mut lines = LineReader::new(LogSource::open(&arguments.source)?);
    let mut progress = Progress::new(None);
    let mut annotation = AnnotationSet::default();
    let mut bad_lines = 0;
    let to_read_error =
        |error: io::Error| CliError::Read { name: arguments.source.clone(), kind: error.kind() };
    while let Some(line) = lines.next_line().map_err(to_read_error)? {
        progress.increment();
        let result = match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => annotation.add_event_line(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            bad_lines += 1;
            progress.suspend(|| print_to_stderr(format_args!("line {}: {error}", line.number)));
        }
    }
    drop(progress);
    let events_without_preview = annotation.skipped_without_text;
    let mut rows = annotation.into_rows();
    rows.truncate(arguments.limit.map_or(usize::MAX, |limit| limit as usize));
    match &arguments.out {
        Some(path) => {
            let to_write_error = |error: io::Error| CliError::write_failed(path, &error);
            let mut file = File::create(path).map_err(to_write_error)?;
            write_rows(&rows, arguments.json, &mut file)
                .and_then(|()| file.sync_all())
                .map_err(to_write_error)?;
            print_to_stderr(format_args!("{} rows in {}", rows.len(), path.display()));
        }
        None => write_rows(&rows, arguments.json, &mut io::stdout().lock())?,
    }
    if rows.is_empty() {
        let message = if events_without_preview > 0 {
            "no event has a text preview: LOG_TEXT_PREVIEW is off at the gateway"
        } else {
            "nothing to label"
        };
        print_to_stderr(format_args!("{message}"));
        return Ok(ExitStatus::Negative);
    }
    Ok(ExitStatus::from_bad_rows(bad_lines))
}

fn write_rows(rows: &[AnnotationRow], json: bool, output: &mut impl Write) -> io::Result<()> {
    if json {
        for row in rows {
            serde_json::to_writer(&mut *output, row)?;
            output.write_all(b"\n")?;
        }
        return output.flush();
    }
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(output);
    csv.write_record(["text", "label", "lang", "why", "guess", "confidence", "second", "time_ms"])?;
    for row in rows {
        csv.serialize(AnnotationRow { text: escape_formula(&row.text), ..row.clone() })?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::telemetry::annotation::SelectionReason;

    #[test]
    fn a_text_is_one_cell_and_no_formula() {
        let row = |text: &str| AnnotationRow {
            text: text.to_owned(),
            label: None,
            lang: None,
            selection_reason: SelectionReason::LowConfidence,
            guess: Some(jeffrey_terms::Label::Joy),
            confidence: Some(0.25),
            second_label: None,
            time_ms: 7,
        };
        let mut out = Vec::new();
        write_rows(&[row("=1+1"), row("a, \"b\"\nc")], false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "text,label,lang,why,guess,confidence,second,time_ms\n 1+1,,,low_confidence,joy,0.25,,7\n"
                .replace(" 1+1", " =1+1")
                + "\"a, \"\"b\"\"\nc\",,,low_confidence,joy,0.25,,7\n"
        );
    }
}
