//! A file of texts: the rows that it has, and the table of their answers.
//!
//! CSV with a column `text` or with one column, between commas, semicolons or tabs; or plain lines. What is wrong with
//! a file or a row is said by its line, never by its words.

use jeffrey_terms::{InputText, InputTextError};

pub use self::answers::ClassifiedRows;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRow {
    /// The line it begins in, counted from 1.
    pub line: u64,
    /// What is to be classified, or why it cannot be.
    pub text: Result<InputText, InputTextError>,
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
const TEXT_COLUMN: &str = "text";

/// The rows of a file, blank ones passed over: a table where its name ends so, else a text a line.
///
/// # Errors
/// As of [`parse_table`].
pub fn parse_file(name: &str, content: &str) -> Result<Vec<TextRow>, SheetError> {
    let name = name.to_ascii_lowercase();
    if name.ends_with(".csv") || name.ends_with(".tsv") {
        return parse_table(content);
    }
    let lines = (1..).zip(strip_bom(content).lines()).filter(|(_, line)| !line.trim().is_empty());
    check_row_count(
        lines.map(|(line, text)| TextRow { line, text: InputText::parse(text) }).collect(),
    )
}

/// The rows of a table, blank ones passed over.
///
/// # Errors
/// [`SheetError`] when there are none, or too many, or no column of texts.
pub fn parse_table(content: &str) -> Result<Vec<TextRow>, SheetError> {
    check_row_count(parse_csv(strip_bom(content))?)
}

/// Without the mark that some programs begin a file of UTF-8 with.
fn strip_bom(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content)
}

fn check_row_count(rows: Vec<TextRow>) -> Result<Vec<TextRow>, SheetError> {
    match rows.len() {
        0 => Err(SheetError::Empty),
        rows if rows > ROWS_MAX => Err(SheetError::TooMany { rows }),
        _ => Ok(rows),
    }
}

fn parse_csv(content: &str) -> Result<Vec<TextRow>, SheetError> {
    let first_line = content.lines().next().unwrap_or_default();
    // Spreadsheets of half of Europe write semicolons. Of equals the comma.
    let count = |candidate: u8| first_line.bytes().filter(|byte| *byte == candidate).count();
    let delimiter =
        [b'\t', b';', b','].into_iter().max_by_key(|candidate| count(*candidate)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(content.as_bytes());
    // Reading from memory as text can fail at nothing: UTF-8 comes in, and rows may have any length.
    let mut records = reader.records().filter_map(Result::ok).peekable();
    let find_text_column = |record: &csv::StringRecord| {
        record.iter().position(|cell| cell.trim().eq_ignore_ascii_case(TEXT_COLUMN))
    };
    let first_record = records.peek().map(|record| (record.len(), find_text_column(record)));
    let column = match first_record {
        None => return Err(SheetError::Empty),
        Some((_, Some(column))) => {
            records.next();
            column
        }
        Some((1, None)) => 0,
        Some((columns, None)) => return Err(SheetError::NoColumn { columns }),
    };
    let (mut scanned, mut line) = (0, 1);
    let to_row = |record: csv::StringRecord| {
        // The reader's own numbers count the two signs of a line's end one record late.
        let mut start = record.position().map_or(0, |position| position.byte() as usize);
        while matches!(content.as_bytes().get(start), Some(b'\r' | b'\n')) {
            start += 1;
        }
        line +=
            content.as_bytes()[scanned..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        scanned = start;
        let text = record.get(column).unwrap_or_default();
        let is_blank = record.iter().all(|cell| cell.trim().is_empty());
        (!is_blank).then(|| TextRow { line, text: InputText::parse(text) })
    };
    Ok(records.filter_map(to_row).collect())
}

/// A cell that no spreadsheet takes for a formula.
pub fn escape_formula(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!(" {text}") } else { text.to_owned() }
}

mod answers {
    use super::{TextRow, escape_formula};
    use jeffrey_classifier::{Prediction, TieBreakRule};
    use jeffrey_terms::{InputText, Label};

    /// Rows and, as far as they were asked for, their answers.
    pub struct ClassifiedRows {
        /// The rows of the file, in their order.
        pub rows: Vec<TextRow>,
        predictions: Vec<Option<Prediction>>,
    }

    impl ClassifiedRows {
        /// Rows of which none is answered yet.
        pub fn new(rows: Vec<TextRow>) -> Self {
            let predictions = vec![None; rows.len()];
            Self { rows, predictions }
        }

        /// The answer of a row, and keeps it; `None` where there is no such row or no text in it.
        pub fn classify_row(
            &mut self,
            index: usize,
            classify: impl Fn(&InputText) -> Prediction,
        ) -> Option<&Prediction> {
            let text = self.rows.get(index)?.text.as_ref().ok()?;
            Some(self.predictions[index].insert(classify(text)))
        }

        /// The rows that were answered, and those that cannot be, as CSV.
        pub fn to_csv(&self) -> Option<String> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            let labels = Label::ALL.map(Label::name);
            let first_columns = ["line", "text", "primary", "confidence", "low_confidence"];
            let last_columns = ["route", "rule_applied", "truncated", "error"];
            csv.write_record(first_columns.iter().chain(&labels).chain(&last_columns)).ok()?;
            for (row, prediction) in self.rows.iter().zip(&self.predictions) {
                csv.write_record(csv_record(row, prediction.as_ref())).ok()?;
            }
            String::from_utf8(csv.into_inner().ok()?).ok()
        }
    }

    /// The cells of a row; of one that was not asked for all but its line and text are empty.
    fn csv_record(row: &TextRow, prediction: Option<&Prediction>) -> Vec<String> {
        let text =
            row.text.as_ref().map_or_else(|_| String::new(), |text| escape_formula(text.expose()));
        let mut cells = vec![row.line.to_string(), text];
        if let Some(answer) = prediction {
            cells.push(answer.primary.name().to_owned());
            cells.push(answer.confidence().to_string());
            cells.push(answer.is_low_confidence().to_string());
            cells.extend(answer.scores.as_array().map(|score| score.to_string()));
            cells.push(answer.route.name().to_owned());
            cells.push(answer.rule_applied.map_or("", TieBreakRule::name).to_owned());
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

    fn read_texts(name: &str, content: &str) -> Result<Vec<(u64, String)>, String> {
        let row_text = |row: &TextRow| match &row.text {
            Ok(text) => text.expose().to_owned(),
            Err(error) => format!("! {error}"),
        };
        let rows = parse_file(name, content).map_err(|error| error.to_string())?;
        Ok(rows.iter().map(|row| (row.line, row_text(row))).collect())
    }

    fn expected_rows(rows: &[(u64, &str)]) -> Result<Vec<(u64, String)>, String> {
        Ok(rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect())
    }

    #[test]
    fn a_table_is_read_by_its_column_text_whatever_stands_between_its_cells() {
        let expected = expected_rows(&[(2, "a, b"), (3, "c\n\"d\""), (5, "é;")]);
        for (delimiter, head) in
            [(',', "id,Text,lang"), (';', "id; text ;lang"), ('\t', "id\ttext\tlang")]
        {
            let content = format!(
                "\u{feff}{head}\r\n1{delimiter}\"a, b\"{delimiter}en\r\n2{delimiter}\"c\n\"\"d\"\"\"{delimiter}en\r\n3{delimiter}\"é;\"\r\n{delimiter}{delimiter}\r\n"
            );
            assert_eq!(read_texts("a.CSV", &content), expected, "{delimiter}");
        }
        // One column needs no name.
        assert_eq!(
            read_texts("a.csv", "so far\n\n\"so, good\"\n"),
            expected_rows(&[(1, "so far"), (3, "so, good")])
        );
        assert_eq!(read_texts("a.tsv", "text\nalone\n"), expected_rows(&[(2, "alone")]));
    }

    #[test]
    fn lines_are_texts_and_blank_ones_are_none() {
        let content = "one\r\n\n  \ntwo, {\"text\":3}";
        assert_eq!(
            read_texts("a.txt", content),
            expected_rows(&[(1, "one"), (4, "two, {\"text\":3}")])
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_and_never_quoted() {
        for (name, content, message) in [
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
            assert_eq!(read_texts(name, content), Err(message.to_owned()));
        }
        let long = format!("short\n{}\n", "x".repeat(70_000));
        let refused = "! text of 70000 bytes is above the limit of 65536 bytes";
        assert_eq!(read_texts("a", &long), expected_rows(&[(1, "short"), (2, refused)]));
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(["=1+1", "-1", "plain", ""].map(escape_formula), [" =1+1", " -1", "plain", ""]);
    }
}
