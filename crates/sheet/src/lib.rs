//! A file of texts: the rows that it has, and the table of their answers.
//!
//! CSV with a column `text` or with one column, between commas, semicolons or tabs; or plain lines. What is wrong with
//! a file or a row is said by its line, never by its words.

use jeffrey_terms::{Text, TextError};

pub use self::answers::Answers;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The line it begins in, counted from 1.
    pub line: u64,
    /// What is to be classified, or why it cannot be.
    pub text: Result<Text, TextError>,
}

/// Why a file has no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// A table of several columns, none of them called `text`.
    #[error("the first line names {columns} columns, and none of them `text`")]
    NoColumn {
        /// Those that it names.
        columns: usize,
    },
    /// No row that is not blank.
    #[error("no row in it")]
    Empty,
    /// More than [`ROWS_MAX`].
    #[error("{rows} rows are above the limit of {ROWS_MAX}")]
    TooMany {
        /// Those that it has.
        rows: usize,
    },
}

/// The most rows of one file.
pub const ROWS_MAX: usize = 100_000;

/// The column that is read.
const COLUMN: &str = "text";

/// The rows of a file, blank ones passed over: a table where its name ends so, else a text a line.
///
/// # Errors
/// As of [`table`].
pub fn rows(name: &str, content: &str) -> Result<Vec<Row>, SheetError> {
    let name = name.to_ascii_lowercase();
    if name.ends_with(".csv") || name.ends_with(".tsv") {
        return table(content);
    }
    let lines = (1..).zip(plain(content).lines()).filter(|(_, line)| !line.trim().is_empty());
    bounded(lines.map(|(line, text)| Row { line, text: Text::parse(text) }).collect())
}

/// The rows of a table, blank ones passed over.
///
/// # Errors
/// [`SheetError`] when there are none, or too many, or no column of texts.
pub fn table(content: &str) -> Result<Vec<Row>, SheetError> {
    bounded(cells(plain(content))?)
}

/// Without the mark that some programs begin a file of UTF-8 with.
fn plain(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content)
}

fn bounded(rows: Vec<Row>) -> Result<Vec<Row>, SheetError> {
    match rows.len() {
        0 => Err(SheetError::Empty),
        rows if rows > ROWS_MAX => Err(SheetError::TooMany { rows }),
        _ => Ok(rows),
    }
}

fn cells(content: &str) -> Result<Vec<Row>, SheetError> {
    let first = content.lines().next().unwrap_or_default();
    // Spreadsheets of half of Europe write semicolons. Of equals the comma.
    let count = |sign: u8| first.bytes().filter(|byte| *byte == sign).count();
    let delimiter = [b'\t', b';', b','].into_iter().max_by_key(|sign| count(*sign)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(content.as_bytes());
    // Reading from memory as text can fail at nothing: UTF-8 comes in, and rows may have any length.
    let mut records = reader.records().filter_map(Result::ok).peekable();
    let names = |record: &csv::StringRecord| {
        record.iter().position(|cell| cell.trim().eq_ignore_ascii_case(COLUMN))
    };
    let head = records.peek().map(|record| (record.len(), names(record)));
    let column = match head {
        None => return Err(SheetError::Empty),
        Some((_, Some(column))) => {
            records.next();
            column
        }
        Some((1, None)) => 0,
        Some((columns, None)) => return Err(SheetError::NoColumn { columns }),
    };
    let (mut seen, mut line) = (0, 1);
    let row = |record: csv::StringRecord| {
        // The reader's own numbers count the two signs of a line's end one record late.
        let mut start = record.position().map_or(0, |at| at.byte() as usize);
        while matches!(content.as_bytes().get(start), Some(b'\r' | b'\n')) {
            start += 1;
        }
        line +=
            content.as_bytes()[seen..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        seen = start;
        let text = record.get(column).unwrap_or_default();
        let blank = record.iter().all(|cell| cell.trim().is_empty());
        (!blank).then(|| Row { line, text: Text::parse(text) })
    };
    Ok(records.filter_map(row).collect())
}

/// A cell that no spreadsheet takes for a formula.
pub fn as_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!(" {text}") } else { text.to_owned() }
}

mod answers {
    use super::{Row, as_cell};
    use jeffrey_classifier::{Prediction, Rule};
    use jeffrey_terms::{Label, Text};

    /// Rows and, as far as they were asked for, their answers.
    pub struct Answers {
        /// The rows of the file, in their order.
        pub rows: Vec<Row>,
        answers: Vec<Option<Prediction>>,
    }

    impl Answers {
        /// Rows of which none is answered yet.
        pub fn new(rows: Vec<Row>) -> Self {
            let answers = vec![None; rows.len()];
            Self { rows, answers }
        }

        /// The answer of a row, and keeps it; `None` where there is no such row or no text in it.
        pub fn answer(
            &mut self,
            at: usize,
            classify: impl Fn(&Text) -> Prediction,
        ) -> Option<&Prediction> {
            let text = self.rows.get(at)?.text.as_ref().ok()?;
            Some(self.answers[at].insert(classify(text)))
        }

        /// The rows that were answered, and those that cannot be, as CSV.
        pub fn csv(&self) -> Option<String> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            let labels = Label::ALL.map(Label::name);
            let head = ["line", "text", "primary", "confidence", "low_confidence"];
            let more = ["route", "rule_applied", "truncated", "error"];
            csv.write_record(head.iter().chain(&labels).chain(&more)).ok()?;
            for (row, answer) in self.rows.iter().zip(&self.answers) {
                csv.write_record(record(row, answer.as_ref())).ok()?;
            }
            String::from_utf8(csv.into_inner().ok()?).ok()
        }
    }

    /// The cells of a row; of one that was not asked for all but its line and text are empty.
    fn record(row: &Row, answer: Option<&Prediction>) -> Vec<String> {
        let text = row.text.as_ref().map_or_else(|_| String::new(), |text| as_cell(text.expose()));
        let mut cells = vec![row.line.to_string(), text];
        if let Some(answer) = answer {
            cells.push(answer.primary.name().to_owned());
            cells.push(answer.confidence().to_string());
            cells.push(answer.low_confidence().to_string());
            cells.extend(answer.scores.as_array().map(|score| score.to_string()));
            cells.push(answer.route.name().to_owned());
            cells.push(answer.rule_applied.map_or("", Rule::name).to_owned());
            cells.push(answer.truncated.to_string());
        }
        cells.resize(5 + Label::ALL.len() + 3, String::new());
        cells.push(row.text.as_ref().err().map_or_else(String::new, ToString::to_string));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Result<Vec<(u64, String)>, String> {
        let text = |row: &Row| match &row.text {
            Ok(text) => text.expose().to_owned(),
            Err(error) => format!("! {error}"),
        };
        let rows = rows(name, content).map_err(|error| error.to_string())?;
        Ok(rows.iter().map(|row| (row.line, text(row))).collect())
    }

    fn found(rows: &[(u64, &str)]) -> Result<Vec<(u64, String)>, String> {
        Ok(rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect())
    }

    #[test]
    fn a_table_is_read_by_its_column_text_whatever_stands_between_its_cells() {
        let expected = found(&[(2, "a, b"), (3, "c\n\"d\""), (5, "é;")]);
        for (sign, head) in
            [(',', "id,Text,lang"), (';', "id; text ;lang"), ('\t', "id\ttext\tlang")]
        {
            let content = format!(
                "\u{feff}{head}\r\n1{sign}\"a, b\"{sign}en\r\n2{sign}\"c\n\"\"d\"\"\"{sign}en\r\n3{sign}\"é;\"\r\n{sign}{sign}\r\n"
            );
            assert_eq!(read("a.CSV", &content), expected, "{sign}");
        }
        // One column needs no name.
        assert_eq!(
            read("a.csv", "so far\n\n\"so, good\"\n"),
            found(&[(1, "so far"), (3, "so, good")])
        );
        assert_eq!(read("a.tsv", "text\nalone\n"), found(&[(2, "alone")]));
    }

    #[test]
    fn lines_are_texts_and_blank_ones_are_none() {
        let content = "one\r\n\n  \ntwo, {\"text\":3}";
        assert_eq!(read("a.txt", content), found(&[(1, "one"), (4, "two, {\"text\":3}")]));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_never_quoted() {
        for (name, content, why) in [
            (
                "a.csv",
                "geheimnis,b\n1,2\n",
                "the first line names 2 columns, and none of them `text`",
            ),
            ("a.csv", "", "no row in it"),
            ("a.csv", "text\n", "no row in it"),
            ("a.txt", "\n \n", "no row in it"),
            ("a.txt", &"a\n".repeat(100_001), "100001 rows are above the limit of 100000"),
        ] {
            assert_eq!(read(name, content), Err(why.to_owned()));
        }
        let long = format!("short\n{}\n", "x".repeat(70_000));
        let refused = "! text of 70000 bytes is above the limit of 65536 bytes";
        assert_eq!(read("a", &long), found(&[(1, "short"), (2, refused)]));
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(["=1+1", "-1", "plain", ""].map(as_cell), [" =1+1", " -1", "plain", ""]);
    }
}
