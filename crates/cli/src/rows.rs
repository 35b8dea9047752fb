//! Labelled rows from JSONL or TSV, plain or gzip.
//!
//! JSONL: `text`, and `core8` or `label` (`core8` wins if both are present); `lang` and `id` are
//! optional. TSV: label, tab, text; or a first line that names the columns. TSV fields have no
//! quoting and no escapes. A row whose label is null (or an empty field) is counted as unlabelled;
//! a row that cannot be used is reported by its line number, never by its content.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::lines::{InputLineError, LineReader};
use jeffrey_terms::{InputText, InputTextError, Label};

/// One text with its gold label.
#[derive(Debug, PartialEq)]
pub(super) struct LabelledRow {
    /// Id of the row, or `file:line` if it has none.
    pub(super) id: String,
    pub(super) text: InputText,
    pub(super) gold: Label,
    /// Language tag, or `und` if the row has none or an invalid one.
    pub(super) lang: String,
}

/// Labelled rows of one file, with counts of the others.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ParsedRows {
    pub(super) labelled: Vec<LabelledRow>,
    /// Number of rows without a label.
    pub(super) unlabelled: usize,
    /// Rows that cannot be used, as line number and reason.
    pub(super) bad: Vec<(usize, LabelledRowError)>,
}

/// Reason for which a row cannot be used; never contains the row's content.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum LabelledRowError {
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
    Line(#[from] InputLineError),
    #[error("{0}")]
    Text(#[from] InputTextError),
}

/// Format of the lines of a file.
enum RowFormat {
    Json,
    Tsv(TsvColumns),
}

/// Indices of the fields in a line, from 0; `None` if the file has no such column.
struct TsvColumns {
    label: usize,
    text: usize,
    lang: Option<usize>,
    id: Option<usize>,
    /// Whether the first line names the columns; if not, tabs after the first belong to the text.
    has_header: bool,
}

/// Fields of one row before they are checked.
struct RawRow {
    text: String,
    /// Name of the label; `None` if the row is unlabelled.
    label: Option<String>,
    lang: Option<String>,
    id: Option<String>,
}

/// Reads all rows of a stream. The ending of `name` (a file name, or `-`) decides the format;
/// without a known ending, the first line does.
///
/// # Errors
/// Returns [`io::Error`] if the stream cannot be read to its end, as with a truncated gzip file.
pub(super) fn read_rows(name: &str, stream: impl Read) -> io::Result<ParsedRows> {
    let mut lines = LineReader::new(decompress(stream)?);
    let mut rows = ParsedRows::default();
    let mut format = None;
    while let Some(line) = lines.next_line()? {
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
                let (detected, is_header) = RowFormat::detect(name, text);
                let inserted = format.insert(detected);
                if is_header {
                    continue;
                }
                inserted
            }
        };
        match format
            .parse_line(text)
            .and_then(|fields| to_labelled_row(fields, || format!("{name}:{number}")))
        {
            Ok(Some(row)) => rows.labelled.push(row),
            Ok(None) => rows.unlabelled += 1,
            Err(error) => rows.bad.push((number, error)),
        }
    }
    Ok(rows)
}

/// Returns the stream, decompressed if it starts with the gzip magic bytes (RFC 1952, 2.3.1).
pub(super) fn decompress<'a>(mut stream: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut magic = Vec::new();
    stream.by_ref().take(2).read_to_end(&mut magic)?;
    let is_gzip = magic == [0x1f, 0x8b];
    let rejoined = BufReader::new(Cursor::new(magic).chain(stream));
    Ok(if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(rejoined)))
    } else {
        Box::new(rejoined)
    })
}

impl RowFormat {
    /// Returns the format, and whether the first line is a header.
    fn detect(name: &str, first: &str) -> (Self, bool) {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let ends_with_any = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let is_json = ends_with_any(&[".jsonl", ".ndjson", ".json"])
            || (!ends_with_any(&[".tsv", ".txt"]) && first.trim_start().starts_with('{'));
        if is_json {
            return (Self::Json, false);
        }
        let columns = TsvColumns::from_header(first);
        let is_header = columns.is_some();
        let default_columns =
            TsvColumns { label: 0, text: 1, lang: None, id: None, has_header: false };
        (Self::Tsv(columns.unwrap_or(default_columns)), is_header)
    }

    fn parse_line(&self, line: &str) -> Result<RawRow, LabelledRowError> {
        match self {
            Self::Json => parse_json_line(line),
            Self::Tsv(columns) => columns.parse_line(line),
        }
    }
}

impl TsvColumns {
    fn from_header(header: &str) -> Option<Self> {
        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
        let index_of = |column: &str| names.iter().position(|name| *name == column);
        let label = index_of("core8").or_else(|| index_of("label"))?;
        let (text, lang, id) = (index_of("text")?, index_of("lang"), index_of("id"));
        Some(Self { label, text, lang, id, has_header: true })
    }

    fn parse_line(&self, line: &str) -> Result<RawRow, LabelledRowError> {
        let cells_max = if self.has_header { usize::MAX } else { 2 };
        let cells: Vec<&str> = line.splitn(cells_max, '\t').collect();
        let cells_needed = self.label.max(self.text) + 1;
        let cell = |column: usize| {
            cells.get(column).copied().ok_or(LabelledRowError::Columns { wanted: cells_needed })
        };
        let optional = |column: Option<usize>| {
            let cell = column.and_then(|column| cells.get(column)).map(|cell| cell.trim());
            cell.filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        let label = Some(cell(self.label)?.trim()).filter(|label| !matches!(*label, "" | "null"));
        Ok(RawRow {
            text: cell(self.text)?.to_owned(),
            label: label.map(str::to_owned),
            lang: optional(self.lang),
            id: optional(self.id),
        })
    }
}

fn parse_json_line(line: &str) -> Result<RawRow, LabelledRowError> {
    let value = serde_json::from_str(line)
        .map_err(|error: serde_json::Error| LabelledRowError::Json { column: error.column() })?;
    let Value::Object(mut fields) = value else { return Err(LabelledRowError::NoText) };
    let Some(Value::String(text)) = fields.remove("text") else {
        return Err(LabelledRowError::NoText);
    };
    let label = match fields.remove("core8").or_else(|| fields.remove("label")) {
        None => return Err(LabelledRowError::NoLabel),
        Some(Value::Null) => None,
        Some(Value::String(label)) => Some(label),
        Some(_) => return Err(LabelledRowError::Label),
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
    Ok(RawRow { text, label, lang, id })
}

fn to_labelled_row(
    fields: RawRow,
    default_id: impl Fn() -> String,
) -> Result<Option<LabelledRow>, LabelledRowError> {
    let Some(label) = fields.label else { return Ok(None) };
    let gold = Label::from_name(&label).ok_or(LabelledRowError::Label)?;
    let lang = fields.lang.filter(|lang| is_language_tag(lang)).unwrap_or_else(|| "und".into());
    let id = fields.id.unwrap_or_else(default_id);
    Ok(Some(LabelledRow { id, text: InputText::parse(fields.text)?, gold, lang }))
}

/// Accepts letters, digits and hyphens, up to the 35 characters that RFC 5646 (4.4.1) asks every
/// reader to accept. A report prints the language, so it must not be free text.
fn is_language_tag(tag: &str) -> bool {
    let is_tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=35).contains(&tag.len()) && tag.bytes().all(is_tag_byte)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn summarize(rows: &ParsedRows) -> Vec<(&str, &str, &str, &str)> {
        rows.labelled
            .iter()
            .map(|row| (row.id.as_str(), row.gold.name(), row.lang.as_str(), row.text.expose()))
            .collect()
    }

    fn describe_bad(rows: &ParsedRows) -> Vec<String> {
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
        let rows = read_rows("set.jsonl", file.as_bytes()).unwrap();
        let expected = [
            ("x-1", "joy", "en", "a"),
            ("7", "fear", "und", "b"),
            ("set.jsonl:5", "neutral", "und", "d"),
        ];
        assert_eq!(summarize(&rows), expected);
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
        let rows = read_rows("set.jsonl", file.as_bytes()).unwrap();
        let expected = [
            "1: not JSON at column 1",
            "2: neither `core8` nor `label`",
            "3: the label is none of the eight",
            "4: the label is none of the eight",
            "5: not a JSON object with a string `text`",
        ];
        assert_eq!(describe_bad(&rows), expected);
        assert_eq!(rows.labelled.len(), 1);
        let not_utf8 = read_rows("-", &b"joy\tgeheimnis\xff\n"[..]).unwrap();
        assert_eq!(describe_bad(&not_utf8), ["1: not UTF-8 after byte 13"]);
    }

    #[test]
    fn tsv_is_label_and_text_or_what_its_header_names() {
        let plain = read_rows("-", "joy\ta\tb\n\tc\nfear\nhappy\tx\n".as_bytes()).unwrap();
        assert_eq!(summarize(&plain), [("-:1", "joy", "und", "a\tb")]);
        assert_eq!(plain.unlabelled, 1);
        let expected = ["3: fewer columns than the 2 needed", "4: the label is none of the eight"];
        assert_eq!(describe_bad(&plain), expected);

        let headed = "id\ttext\tlang\tlabel\nr1\tça va\tfr\tneutral\nr2\tb\t\tnull\n";
        let headed = read_rows("set.tsv", headed.as_bytes()).unwrap();
        assert_eq!(summarize(&headed), [("r1", "neutral", "fr", "ça va")]);
        assert_eq!(headed.unlabelled, 1);
    }

    #[test]
    fn the_first_line_tells_the_format_where_the_name_does_not() {
        for name in ["-", "set"] {
            let rows = read_rows(name, "{\"text\":\"a\",\"label\":\"joy\"}\n".as_bytes()).unwrap();
            assert_eq!(rows.labelled.len(), 1, "{name}");
        }
    }

    #[test]
    fn gzip_is_unpacked_whatever_the_name_and_a_cut_file_is_an_error() {
        let gzip = |text: &str| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(text.as_bytes()).unwrap();
            writer.finish().unwrap()
        };
        // Two members, as `cat a.gz b.gz` makes them.
        let members = [gzip("joy\ta\n"), gzip("fear\tb\n")].concat();
        assert_eq!(read_rows("set", &members[..]).unwrap().labelled.len(), 2);
        assert!(read_rows("set.tsv.gz", &members[..members.len() - 6]).is_err());
        assert_eq!(read_rows("set.tsv.gz", &b"joy\ta\n"[..]).unwrap().labelled.len(), 1);
        assert_eq!(read_rows("-", &b""[..]).unwrap(), ParsedRows::default());
    }
}
