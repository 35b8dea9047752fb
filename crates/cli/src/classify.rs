//! `jeffrey classify`: classifies texts from the arguments or from standard input.
//!
//! Each text gives one line of output, in order. A line that cannot be used is reported by number,
//! never by content, and skipped. CSV is read whole; otherwise each result is printed before the
//! next line is read.

use std::io::{self, Read, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::lines::{InputLineError, LineReader, should_read_stdin};
use super::progress::Progress;
use super::{ClassifierFlags, CliError, ExitStatus, print_to_stderr};
use jeffrey_classifier::{Classifier, Prediction};
use jeffrey_http_api::ClassifyResponse;
use jeffrey_terms::{InputText, InputTextError};
use jeffrey_text_table::TextRow;

/// Classify the emotion of each text
#[derive(clap::Args)]
#[command(
    after_help = "Without TEXT, or with `-`, reads one text per line from standard input. Invalid lines \
                  are reported by number and skipped; the exit code is then 1.\n\n\
                  Examples:\n  \
                  jeffrey classify \"What a day!\" \"Encore raté.\"\n  \
                  jeffrey classify --json - < lines.ndjson"
)]
pub(super) struct ClassifyArguments {
    /// Texts, or `-` to read one per line from standard input; put `--` before a text that starts
    /// with a dash
    texts: Vec<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Format of standard input
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    input_format: InputFormat,
    #[command(flatten)]
    classifier_flags: ClassifierFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// JSON objects with `text` where the line is one, otherwise plain text
    Auto,
    /// CSV with a `text` column or a single column; the line number becomes the id of the result
    Csv,
    /// One JSON object with `text` per line; `id` is copied to the result
    Ndjson,
    /// Plain text, one text per line
    Text,
}

/// One text to classify, with the id of its line if it has one.
#[derive(Debug, PartialEq)]
struct TextRecord {
    id: Option<Value>,
    text: InputText,
}

/// Reason for which a line cannot be used; never contains the line's content.
#[derive(Debug, PartialEq, thiserror::Error)]
enum TextRecordError {
    #[error("not JSON at column {column}")]
    Json { column: usize },
    #[error("not a JSON object with a string `text`")]
    NoText,
    #[error("{0}")]
    Line(#[from] InputLineError),
    #[error("{0}")]
    Text(#[from] InputTextError),
}

pub(super) fn run(arguments: &ClassifyArguments) -> Result<ExitStatus, CliError> {
    let read_stdin = should_read_stdin(
        &arguments.texts,
        "`-` stands alone: texts come from arguments or from standard input",
        "no text: give it as an argument, or as lines on standard input",
    )?;
    let classifier = arguments.classifier_flags.load_classifier()?;
    let mut writer = PredictionWriter {
        classifier: &classifier,
        json: arguments.json,
        output: io::stdout().lock(),
        bad_lines: 0,
    };
    if read_stdin && arguments.input_format == InputFormat::Csv {
        writer.classify_table()?;
    } else if read_stdin {
        writer.classify_lines(arguments.input_format)?;
    } else {
        writer.classify_texts(&arguments.texts)?;
    }
    Ok(ExitStatus::from_bad_rows(writer.bad_lines))
}

struct PredictionWriter<'a> {
    classifier: &'a Classifier,
    json: bool,
    /// Standard output, line-buffered: each result is printed as soon as it is known.
    output: io::StdoutLock<'static>,
    bad_lines: usize,
}

impl PredictionWriter<'_> {
    fn classify_texts(&mut self, texts: &[String]) -> Result<(), CliError> {
        let mut progress = Progress::for_streamed_output(Some(texts.len() as u64));
        for (text, number) in texts.iter().zip(1..) {
            match InputText::parse(text.as_str()) {
                Ok(text) => self.write_prediction(TextRecord { id: None, text })?,
                Err(error) => self.reject(&progress, "text", number, &error.into()),
            }
            progress.increment();
        }
        Ok(())
    }

    fn classify_lines(&mut self, input: InputFormat) -> Result<(), CliError> {
        let mut progress = Progress::for_streamed_output(None);
        let mut lines = LineReader::new(io::stdin().lock());
        while let Some(line) = lines.next_line().map_err(CliError::stdin_failed)? {
            let number = line.number;
            match line
                .text
                .map_err(TextRecordError::from)
                .and_then(|line| parse_record(line, input))
            {
                Ok(Some(record)) => self.write_prediction(record)?,
                Ok(None) => {}
                Err(error) => self.reject(&progress, "line", number, &error),
            }
            progress.increment();
        }
        Ok(())
    }

    fn classify_table(&mut self) -> Result<(), CliError> {
        let mut content = String::new();
        io::stdin().read_to_string(&mut content).map_err(CliError::stdin_failed)?;
        let rows = match jeffrey_text_table::parse_table(&content) {
            Ok(rows) => rows,
            Err(error) => {
                print_to_stderr(format_args!("standard input: {error}"));
                self.bad_lines += 1;
                return Ok(());
            }
        };
        let mut progress = Progress::for_streamed_output(Some(rows.len() as u64));
        for TextRow { line, text } in rows {
            match text {
                Ok(text) => self.write_prediction(TextRecord { id: Some(line.into()), text })?,
                Err(error) => {
                    self.bad_lines += 1;
                    progress.suspend(|| print_to_stderr(format_args!("line {line}: {error}")));
                }
            }
            progress.increment();
        }
        Ok(())
    }

    fn reject(&mut self, progress: &Progress, unit: &str, number: usize, error: &TextRecordError) {
        self.bad_lines += 1;
        progress.suspend(|| print_to_stderr(format_args!("{unit} {number}: {error}")));
    }

    fn write_prediction(&mut self, record: TextRecord) -> Result<(), CliError> {
        let prediction = self.classifier.classify(&record.text);
        if !self.json {
            writeln!(self.output, "{}", format_columns(&prediction))?;
            return Ok(());
        }
        let model = self.classifier.manifest().map(|manifest| manifest.id.clone());
        let line = ClassifyOutput {
            id: record.id,
            answer: ClassifyResponse::new(&prediction, None, model),
        };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")?;
        Ok(())
    }
}

/// Result in JSON, with the id of its input line, which may have any JSON type.
#[derive(Serialize)]
struct ClassifyOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(flatten)]
    answer: ClassifyResponse,
}

/// Formats a prediction as `anger 0.83 linear_head second=frustration:0.10`, followed by the
/// applied rule, the skipped routes, `low_confidence` and `truncated`.
fn format_columns(prediction: &Prediction) -> String {
    let (second, score) = prediction.scores.ranked()[1];
    let mut line = format!(
        "{} {:.2} {} second={second}:{score:.2}",
        prediction.primary,
        prediction.confidence(),
        prediction.route.name(),
    );
    if let Some(rule) = prediction.rule_applied {
        line += &format!(" rule={}", rule.name());
    }
    for skipped in &prediction.skipped_routes {
        line += &format!(" skipped={}:{}", skipped.route.name(), skipped.reason.name());
    }
    for (name, is_set) in
        [("low_confidence", prediction.is_low_confidence()), ("truncated", prediction.truncated)]
    {
        if is_set {
            line += &format!(" {name}");
        }
    }
    line
}

/// Parses the text of a line; returns `None` for a blank line between NDJSON objects, which is
/// skipped.
fn parse_record(line: &str, input: InputFormat) -> Result<Option<TextRecord>, TextRecordError> {
    match input {
        InputFormat::Ndjson if line.trim().is_empty() => return Ok(None),
        InputFormat::Ndjson => {
            let value = serde_json::from_str(line)
                .map_err(|error| TextRecordError::Json { column: error.column() })?;
            let (id, text) = take_id_and_text(value).ok_or(TextRecordError::NoText)?;
            return Ok(Some(TextRecord { id, text: InputText::parse(text)? }));
        }
        InputFormat::Auto if line.trim_start().starts_with('{') => {
            let value = serde_json::from_str(line).ok();
            if let Some((id, text)) = value.and_then(take_id_and_text) {
                return Ok(Some(TextRecord { id, text: InputText::parse(text)? }));
            }
        }
        InputFormat::Auto | InputFormat::Csv | InputFormat::Text => {}
    }
    Ok(Some(TextRecord { id: None, text: InputText::parse(line)? }))
}

fn take_id_and_text(value: Value) -> Option<(Option<Value>, String)> {
    let Value::Object(mut fields) = value else { return None };
    let Some(Value::String(text)) = fields.remove("text") else { return None };
    Some((fields.remove("id"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(line: &str, input: InputFormat) -> Result<Option<String>, String> {
        parse_record(line, input)
            .map(|record| record.map(|record| record.text.expose().to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_read_as_its_input_says() {
        let object = r#"{"text":"caf\u00e9","id":7}"#;
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(parse_text(object, InputFormat::Auto), some("café"));
        assert_eq!(parse_text(object, InputFormat::Ndjson), some("café"));
        assert_eq!(parse_text(object, InputFormat::Text), some(object));
        // An object without a string `text`, and what only looks like one, are plain text.
        for plain in [r#"{"text":5}"#, "{oops", "[1]", "\"quoted\"", ""] {
            assert_eq!(parse_text(plain, InputFormat::Auto), some(plain), "{plain}");
        }
        assert_eq!(parse_text(" ", InputFormat::Ndjson), Ok(None));
        let id = parse_record(object, InputFormat::Auto).unwrap().unwrap().id;
        assert_eq!(id, Some(Value::from(7)));
    }

    #[test]
    fn a_bad_line_is_described_and_never_quoted() {
        let secret = "geheimnis";
        let long = format!(r#"{{"text":"{}"}}"#, secret.repeat(10_000));
        let deep = format!("{}{secret}", "[".repeat(100_000));
        let rows = [
            (secret, "not JSON at column 1"),
            (r#"{"text":"geheimnis""#, "not JSON at column 19"),
            (r#"{"text":["geheimnis"]}"#, "not a JSON object with a string `text`"),
            (r#"{"geheimnis":1}"#, "not a JSON object with a string `text`"),
            (r#""geheimnis""#, "not a JSON object with a string `text`"),
            (r#"{"text":"\ud800"}"#, "not JSON at column 16"),
            (&long, "text of 90000 bytes is above the limit of 65536 bytes"),
            (&deep, "not JSON at column 128"),
        ];
        for (line, expected) in rows {
            let error = parse_text(line, InputFormat::Ndjson).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}
