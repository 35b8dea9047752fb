//! `jeffrey classify`: texts from arguments or lines from standard input, one answer each.

use std::io::{self, Read, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::lines::{LineError, Lines, lines_asked_for};
use super::progress::Progress;
use super::{Outcome, Settings, Stop, complain};
use jeffrey_classifier::{Classifier, Prediction};
use jeffrey_sheet::Row;
use jeffrey_terms::{Text, TextError};
use jeffrey_wire::Answer;

/// Name the emotion of each text
#[derive(clap::Args)]
#[command(
    after_help = "Without TEXT, or with `-`, lines are read from standard input. A line that cannot \
                  be used is reported with its number, the rest is answered, and the exit code is \
                  1.\n\n\
                  Examples:\n  \
                  jeffrey classify \"What a day!\" \"Encore raté.\"\n  \
                  jeffrey classify --json - < lines.ndjson"
)]
pub(super) struct Arguments {
    /// Texts, or `-` alone for lines from standard input; after `--`, a text may start with a dash
    texts: Vec<String>,
    /// One JSON object a line instead of columns
    #[arg(long)]
    json: bool,
    /// What the lines of standard input are
    #[arg(long, value_enum, default_value_t = Input::Auto)]
    input: Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    /// An object with a `text` where a line is one, else plain text
    Auto,
    /// A table with a column `text`; the line of a row comes back as the answer's id
    Csv,
    /// A JSON object with a `text` on each line; an `id` comes back in the answer
    Ndjson,
    /// Plain text, whatever it looks like
    Text,
}

/// One text to classify.
#[derive(Debug, PartialEq)]
struct Record {
    id: Option<Value>,
    text: Text,
}

/// A line that cannot be used. Says what is wrong, never what stands there.
#[derive(Debug, PartialEq, thiserror::Error)]
enum RecordError {
    #[error("not JSON at column {column}")]
    Json { column: usize },
    #[error("not a JSON object with a string `text`")]
    NoText,
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("{0}")]
    Text(#[from] TextError),
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> Result<Outcome, Stop> {
    let from_lines = lines_asked_for(
        &arguments.texts,
        "`-` stands alone: texts come from arguments or from standard input",
        "no text: give it as an argument, or as lines on standard input",
    )?;
    let classifier = settings.classifier()?;
    let mut answers = Answers {
        classifier: &classifier,
        json: arguments.json,
        output: io::stdout().lock(),
        bad: 0,
    };
    if from_lines && arguments.input == Input::Csv {
        answers.table()?;
    } else if from_lines {
        answers.lines(arguments.input)?;
    } else {
        answers.texts(&arguments.texts)?;
    }
    Ok(Outcome::of_bad_rows(answers.bad))
}

struct Answers<'a> {
    classifier: &'a Classifier,
    json: bool,
    /// Line-buffered: each answer is out as soon as it is known.
    output: io::StdoutLock<'static>,
    bad: usize,
}

impl Answers<'_> {
    fn texts(&mut self, texts: &[String]) -> Result<(), Stop> {
        let mut progress = Progress::beside_output(Some(texts.len() as u64));
        for (text, number) in texts.iter().zip(1..) {
            match Text::parse(text.as_str()) {
                Ok(text) => self.answer(Record { id: None, text })?,
                Err(error) => self.reject(&progress, "text", number, &error.into()),
            }
            progress.step();
        }
        Ok(())
    }

    fn lines(&mut self, input: Input) -> Result<(), Stop> {
        let mut progress = Progress::beside_output(None);
        let mut lines = Lines::new(io::stdin().lock());
        while let Some(line) = lines.next().map_err(Stop::standard_input)? {
            let number = line.number;
            match line.text.map_err(RecordError::from).and_then(|line| record(line, input)) {
                Ok(Some(record)) => self.answer(record)?,
                Ok(None) => {}
                Err(error) => self.reject(&progress, "line", number, &error),
            }
            progress.step();
        }
        Ok(())
    }

    fn table(&mut self) -> Result<(), Stop> {
        let mut content = String::new();
        io::stdin().read_to_string(&mut content).map_err(Stop::standard_input)?;
        let rows = match jeffrey_sheet::table(&content) {
            Ok(rows) => rows,
            Err(error) => {
                complain(format_args!("standard input: {error}"));
                self.bad += 1;
                return Ok(());
            }
        };
        let mut progress = Progress::beside_output(Some(rows.len() as u64));
        for Row { line, text } in rows {
            match text {
                Ok(text) => self.answer(Record { id: Some(line.into()), text })?,
                Err(error) => {
                    self.bad += 1;
                    progress.aside(|| complain(format_args!("line {line}: {error}")));
                }
            }
            progress.step();
        }
        Ok(())
    }

    fn reject(&mut self, progress: &Progress, what: &str, number: usize, error: &RecordError) {
        self.bad += 1;
        progress.aside(|| complain(format_args!("{what} {number}: {error}")));
    }

    fn answer(&mut self, record: Record) -> Result<(), Stop> {
        let prediction = self.classifier.classify(&record.text);
        if !self.json {
            writeln!(self.output, "{}", columns(&prediction))?;
            return Ok(());
        }
        let model = self.classifier.manifest().map(|manifest| manifest.id.clone());
        let line = AnswerLine { id: record.id, answer: Answer::new(&prediction, None, model) };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")?;
        Ok(())
    }
}

/// An answer under the id that its line came with, of whatever JSON type.
#[derive(Serialize)]
struct AnswerLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(flatten)]
    answer: Answer,
}

/// `anger 0.83 linear_head second=frustration:0.10`, then what else a reader should know.
fn columns(prediction: &Prediction) -> String {
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
    for skipped in &prediction.skipped {
        line += &format!(" skipped={}:{}", skipped.route.name(), skipped.reason.name());
    }
    for (name, holds) in
        [("low_confidence", prediction.low_confidence()), ("truncated", prediction.truncated)]
    {
        if holds {
            line += &format!(" {name}");
        }
    }
    line
}

/// The text of a line; `None` for a blank line between objects, which NDJSON readers pass over.
fn record(line: &str, input: Input) -> Result<Option<Record>, RecordError> {
    match input {
        Input::Ndjson if line.trim().is_empty() => return Ok(None),
        Input::Ndjson => {
            let value = serde_json::from_str(line)
                .map_err(|error| RecordError::Json { column: error.column() })?;
            let (id, text) = id_and_text(value).ok_or(RecordError::NoText)?;
            return Ok(Some(Record { id, text: Text::parse(text)? }));
        }
        Input::Auto if line.trim_start().starts_with('{') => {
            let value = serde_json::from_str(line).ok();
            if let Some((id, text)) = value.and_then(id_and_text) {
                return Ok(Some(Record { id, text: Text::parse(text)? }));
            }
        }
        Input::Auto | Input::Csv | Input::Text => {}
    }
    Ok(Some(Record { id: None, text: Text::parse(line)? }))
}

fn id_and_text(value: Value) -> Option<(Option<Value>, String)> {
    let Value::Object(mut fields) = value else { return None };
    let Some(Value::String(text)) = fields.remove("text") else { return None };
    Some((fields.remove("id"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str, input: Input) -> Result<Option<String>, String> {
        record(line, input)
            .map(|record| record.map(|record| record.text.expose().to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_read_as_its_input_says() {
        let object = r#"{"text":"caf\u00e9","id":7}"#;
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(text(object, Input::Auto), some("café"));
        assert_eq!(text(object, Input::Ndjson), some("café"));
        assert_eq!(text(object, Input::Text), some(object));
        // An object without a string `text`, and what only looks like one, are plain text.
        for plain in [r#"{"text":5}"#, "{oops", "[1]", "\"quoted\"", ""] {
            assert_eq!(text(plain, Input::Auto), some(plain), "{plain}");
        }
        assert_eq!(text(" ", Input::Ndjson), Ok(None));
        let id = record(object, Input::Auto).unwrap().unwrap().id;
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
            let error = text(line, Input::Ndjson).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}
