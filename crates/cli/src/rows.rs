//! Labelled rows from JSONL or TSV, plain or gzip.
//!
//! JSONL: `text`, and `core8` or `label` (`core8` counts when both are there); `lang` and `id` if
//! present. TSV: label, tab, text; or a first line that names the columns. Fields are taken as they
//! stand: no quoting, no escapes. A row whose label is null (or an empty field) is unlabelled and
//! counted apart; a row that cannot be used is reported by its line number, never by its words.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::lines::{LineError, Lines};
use jeffrey_terms::{Label, Text, TextError};

/// One labelled text.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The row's own id, or `file:line`.
    pub(super) id: String,
    pub(super) text: Text,
    pub(super) gold: Label,
    /// A language tag, or `und`.
    pub(super) lang: String,
}

/// What a file held.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rows {
    pub(super) labelled: Vec<Row>,
    /// Rows without a label.
    pub(super) unlabelled: usize,
    /// Rows that cannot be used, by line number.
    pub(super) bad: Vec<(usize, RowError)>,
}

/// Why a row cannot be used. Says what is wrong, never what stands there.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum RowError {
    #[error("fewer columns than the {wanted} needed")]
    Columns { wanted: usize },
    #[error("not JSON at column {column}")]
    Json { column: usize },
    #[error("the label is none of the eight")]
    Label,
    #[error("neither `core8` nor `label`")]
    NoLabel,
    #[error("not a JSON object with a string `text`")]
    NoText,
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("{0}")]
    Text(#[from] TextError),
}

/// How the lines of a file are read.
enum Format {
    Json,
    Tsv(Columns),
}

/// Places of the fields in a line; `None` where the file has no such column.
struct Columns {
    label: usize,
    text: usize,
    lang: Option<usize>,
    id: Option<usize>,
    /// Without a header, tabs after the first belong to the text.
    headed: bool,
}

/// One row's fields, before they are checked.
struct Fields {
    text: String,
    /// `None` is unlabelled.
    label: Option<String>,
    lang: Option<String>,
    id: Option<String>,
}

/// Reads all rows; `name` (a file's name, or `-`) tells the format by its ending, else the first
/// line does.
///
/// # Errors
/// When the stream cannot be read to its end, as with a cut gzip file.
pub(super) fn read(name: &str, stream: impl Read) -> io::Result<Rows> {
    let mut lines = Lines::new(unpacked(stream)?);
    let mut rows = Rows::default();
    let mut format = None;
    while let Some(line) = lines.next()? {
        let number = line.number;
        let text = match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => text,
            Err(error) => {
                rows.bad.push((number, error.into()));
                continue;
            }
        };
        let format = match &format {
            Some(format) => format,
            None => {
                let (found, is_header) = Format::of(name, text);
                let found = format.insert(found);
                if is_header {
                    continue;
                }
                found
            }
        };
        match format.fields(text).and_then(|fields| row(fields, || format!("{name}:{number}"))) {
            Ok(Some(row)) => rows.labelled.push(row),
            Ok(None) => rows.unlabelled += 1,
            Err(error) => rows.bad.push((number, error)),
        }
    }
    Ok(rows)
}

/// The stream itself, or what is packed in it when it starts as gzip does (RFC 1952, 2.3.1).
pub(super) fn unpacked<'a>(mut stream: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut head = Vec::new();
    stream.by_ref().take(2).read_to_end(&mut head)?;
    let packed = head == [0x1f, 0x8b];
    let whole = BufReader::new(Cursor::new(head).chain(stream));
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

impl Format {
    /// The format, and whether this first line is a header.
    fn of(name: &str, first: &str) -> (Self, bool) {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let json = ends(&[".jsonl", ".ndjson", ".json"])
            || (!ends(&[".tsv", ".txt"]) && first.trim_start().starts_with('{'));
        if json {
            return (Self::Json, false);
        }
        let header = Columns::of(first);
        let is_header = header.is_some();
        let plain = Columns { label: 0, text: 1, lang: None, id: None, headed: false };
        (Self::Tsv(header.unwrap_or(plain)), is_header)
    }

    fn fields(&self, line: &str) -> Result<Fields, RowError> {
        match self {
            Self::Json => json_fields(line),
            Self::Tsv(columns) => columns.fields(line),
        }
    }
}

impl Columns {
    fn of(header: &str) -> Option<Self> {
        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
        let place = |wanted: &str| names.iter().position(|name| *name == wanted);
        let label = place("core8").or_else(|| place("label"))?;
        let (text, lang, id) = (place("text")?, place("lang"), place("id"));
        Some(Self { label, text, lang, id, headed: true })
    }

    fn fields(&self, line: &str) -> Result<Fields, RowError> {
        let most = if self.headed { usize::MAX } else { 2 };
        let cells: Vec<&str> = line.splitn(most, '\t').collect();
        let wanted = self.label.max(self.text) + 1;
        let cell = |place: usize| cells.get(place).copied().ok_or(RowError::Columns { wanted });
        let optional = |place: Option<usize>| {
            let cell = place.and_then(|place| cells.get(place)).map(|cell| cell.trim());
            cell.filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        let label = Some(cell(self.label)?.trim()).filter(|label| !matches!(*label, "" | "null"));
        Ok(Fields {
            text: cell(self.text)?.to_owned(),
            label: label.map(str::to_owned),
            lang: optional(self.lang),
            id: optional(self.id),
        })
    }
}

fn json_fields(line: &str) -> Result<Fields, RowError> {
    let value = serde_json::from_str(line)
        .map_err(|error: serde_json::Error| RowError::Json { column: error.column() })?;
    let Value::Object(mut fields) = value else { return Err(RowError::NoText) };
    let Some(Value::String(text)) = fields.remove("text") else { return Err(RowError::NoText) };
    let label = match fields.remove("core8").or_else(|| fields.remove("label")) {
        None => return Err(RowError::NoLabel),
        Some(Value::Null) => None,
        Some(Value::String(label)) => Some(label),
        Some(_) => return Err(RowError::Label),
    };
    let lang = match fields.remove("lang") {
        Some(Value::String(lang)) => Some(lang),
        _ => None,
    };
    let id = match fields.remove("id") {
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    Ok(Fields { text, label, lang, id })
}

fn row(fields: Fields, place: impl Fn() -> String) -> Result<Option<Row>, RowError> {
    let Some(label) = fields.label else { return Ok(None) };
    let gold = Label::from_name(&label).ok_or(RowError::Label)?;
    let lang = fields.lang.filter(|lang| is_language_tag(lang)).unwrap_or_else(|| "und".into());
    let id = fields.id.unwrap_or_else(place);
    Ok(Some(Row { id, text: Text::parse(fields.text)?, gold, lang }))
}

/// Letters, digits and hyphens, as long as RFC 5646 (4.4.1) asks every reader to take: what a report
/// prints as a language must not be somebody's words.
fn is_language_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=35).contains(&tag.len()) && tag.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn short(rows: &Rows) -> Vec<(&str, &str, &str, &str)> {
        rows.labelled
            .iter()
            .map(|row| (row.id.as_str(), row.gold.name(), row.lang.as_str(), row.text.expose()))
            .collect()
    }

    fn bad(rows: &Rows) -> Vec<String> {
        rows.bad.iter().map(|(line, error)| format!("{line}: {error}")).collect()
    }

    #[test]
    fn json_lines_are_read_with_their_labels_languages_and_ids() {
        let file = concat!(
            r#"{"text":"a","core8":"joy","label":"fear","lang":"en","id":"x-1"}"#,
            "\n\n",
            r#"{"text":"b","label":"fear","id":7}"#,
            "\n",
            r#"{"text":"c","core8":null,"label":"joy"}"#,
            "\r\n",
            r#"{"text":"d","core8":"neutral","lang":"not a tag"}"#,
        );
        let rows = read("set.jsonl", file.as_bytes()).unwrap();
        let expected = [
            ("x-1", "joy", "en", "a"),
            ("7", "fear", "und", "b"),
            ("set.jsonl:5", "neutral", "und", "d"),
        ];
        assert_eq!(short(&rows), expected);
        assert_eq!((rows.unlabelled, rows.bad.len()), (1, 0));
    }

    #[test]
    fn bad_rows_are_described_and_never_quoted() {
        let file = concat!(
            "geheimnis\n",
            "{\"text\":\"geheimnis\"}\n",
            "{\"text\":\"geheimnis\",\"core8\":\"geheimnis\"}\n",
            "{\"text\":\"geheimnis\",\"core8\":3}\n",
            "{\"core8\":\"joy\"}\n",
            "{\"text\":\"good\",\"core8\":\"joy\"}\n",
        );
        let rows = read("set.jsonl", file.as_bytes()).unwrap();
        let expected = [
            "1: not JSON at column 1",
            "2: neither `core8` nor `label`",
            "3: the label is none of the eight",
            "4: the label is none of the eight",
            "5: not a JSON object with a string `text`",
        ];
        assert_eq!(bad(&rows), expected);
        assert_eq!(rows.labelled.len(), 1);
        let not_utf8 = read("-", &b"joy\tgeheimnis\xff\n"[..]).unwrap();
        assert_eq!(bad(&not_utf8), ["1: not UTF-8 after byte 13"]);
    }

    #[test]
    fn tsv_is_label_and_text_or_what_its_header_names() {
        let plain = read("-", "joy\ta\tb\n\tc\nfear\nhappy\tx\n".as_bytes()).unwrap();
        assert_eq!(short(&plain), [("-:1", "joy", "und", "a\tb")]);
        assert_eq!(plain.unlabelled, 1);
        let expected = ["3: fewer columns than the 2 needed", "4: the label is none of the eight"];
        assert_eq!(bad(&plain), expected);

        let headed = "id\ttext\tlang\tlabel\nr1\tça va\tfr\tneutral\nr2\tb\t\tnull\n";
        let headed = read("set.tsv", headed.as_bytes()).unwrap();
        assert_eq!(short(&headed), [("r1", "neutral", "fr", "ça va")]);
        assert_eq!(headed.unlabelled, 1);
    }

    #[test]
    fn the_first_line_tells_the_format_where_the_name_does_not() {
        for name in ["-", "set"] {
            let rows = read(name, "{\"text\":\"a\",\"label\":\"joy\"}\n".as_bytes()).unwrap();
            assert_eq!(rows.labelled.len(), 1, "{name}");
        }
    }

    #[test]
    fn gzip_is_unpacked_whatever_the_name_and_a_cut_file_is_an_error() {
        let packed = |text: &str| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(text.as_bytes()).unwrap();
            writer.finish().unwrap()
        };
        // Two members, as `cat a.gz b.gz` makes them.
        let both = [packed("joy\ta\n"), packed("fear\tb\n")].concat();
        assert_eq!(read("set", &both[..]).unwrap().labelled.len(), 2);
        assert!(read("set.tsv.gz", &both[..both.len() - 6]).is_err());
        assert_eq!(read("set.tsv.gz", &b"joy\ta\n"[..]).unwrap().labelled.len(), 1);
        assert_eq!(read("-", &b""[..]).unwrap(), Rows::default());
    }
}
