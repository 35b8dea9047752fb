//! `jeffrey export`: rows of the gate's events for another use.

use std::io;
use std::path::PathBuf;
use std::{fs::File, io::Write};

use super::lines::LineReader;
use super::progress::Progress;
use super::source::LogSource;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_edge::telemetry::annotation::{AnnotationRow, AnnotationSet};
use jeffrey_text_table::escape_formula;

/// Write rows of the gate's events for people to label
#[derive(clap::Args)]
#[command(
    after_help = "Reads events of version 3 (a sink's NDJSON, the gate's admin/events), plain or gzip. A URL is read \
                  page by page, with JEFFREY_ADMIN_TOKEN. Only events that show a masked preview can be labelled: \
                  the gate's PREVIEW=on.\n\n\
                  The CSV has text, label, lang, and for whoever labels it why, guess, confidence, second and \
                  time_ms. `label` is filled where a reader has said it; fill the others, and `lang` with en or \
                  fr. `make train EXTRA=rows.csv` takes the file as it is: rows without a label are passed over.\n\n\
                  Exit codes: 0 fine, 1 nothing to label or lines that are no events, 2 usage or file error.\n\n\
                  Examples:\n  \
                  jeffrey export --for-annotation events.ndjson.gz --out rows.csv\n  \
                  jeffrey export --for-annotation https://gate.example/_jeffrey/v1/admin/events > rows.csv"
)]
pub(super) struct ExportArguments {
    /// Answers with low confidence, and those that readers judged
    #[arg(long, required = true)]
    for_annotation: bool,
    /// A file, a URL, or `-` for standard input
    #[arg(value_name = "FILE|URL|-", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    source: String,
    /// Where to write; standard output without it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    out: Option<PathBuf>,
    /// So many rows at most: what readers judged first, then what the model was least sure of
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// One JSON object a line instead of CSV
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
            Ok(text) => annotation.read_line(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            bad_lines += 1;
            progress.suspend(|| print_to_stderr(format_args!("line {}: {error}", line.number)));
        }
    }
    drop(progress);
    let events_without_preview = annotation.without_text;
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
            "no event shows a preview: the gate's PREVIEW is off"
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
    use jeffrey_edge::telemetry::annotation::AnnotationReason;

    #[test]
    fn a_text_is_one_cell_and_no_formula() {
        let row = |text: &str| AnnotationRow {
            text: text.to_owned(),
            label: None,
            lang: None,
            why: AnnotationReason::LowConfidence,
            guess: Some(jeffrey_terms::Label::Joy),
            confidence: Some(0.25),
            second: None,
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
