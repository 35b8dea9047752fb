//! Rows of texts from a file, and a CSV table of their predictions.
//!
//! Input is plain lines, or a table whose cells are separated by commas, semicolons or tabs. A
//! table has a column called `text`, or one column only. An error names the line of a fault and
//! never quotes the text.

use jeffrey_terms::{InputText, InputTextError};

pub use self::answers::ClassifiedRows;

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRow {
    /// Line in which the row begins, counted from 1.
    pub line: u64,
    /// The text to classify, or the reason why it cannot be classified.
    pub text: Result<InputText, InputTextError>,
}

/// Reason why a file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextTableError {
    /// The table has several columns, and no column is called `text`.
    #[error("the first line names {columns} columns, and none of them `text`")]
    NoColumn {
        /// Number of columns in the first line.
        columns: usize,
    },
    /// The file has no row, or only blank ones.
    #[error("no row in it")]
    Empty,
    /// The file has more than [`ROWS_MAX`] rows.
    #[error("{rows} rows are above the limit of {ROWS_MAX}")]
    TooMany {
        /// Number of rows that are not blank.
        rows: usize,
    },
}

/// Largest number of rows in one file, blank ones not counted.
pub const ROWS_MAX: usize = 100_000;

/// Name of the column that is read; case is ignored.
const TEXT_COLUMN: &str = "text";

/// Parses the rows of a file, without blank ones. A name that ends in `.csv` or `.tsv` means a
/// table; in any other file each line is a text.
///
/// # Errors
/// [`TextTableError`] if the file has no rows, too many rows, or (in a table) no column of texts.
pub fn parse_text_rows(name: &str, content: &str) -> Result<Vec<TextRow>, TextTableError> {
    let name = name.to_ascii_lowercase();
    if name.ends_with(".csv") || name.ends_with(".tsv") {
        return parse_table(content);
    }
    let lines = (1..).zip(strip_bom(content).lines()).filter(|(_, line)| !line.trim().is_empty());
    check_row_count(
        lines.map(|(line, text)| TextRow { line, text: InputText::parse(text) }).collect(),
    )
}

/// Parses the rows of a table, without blank ones.
///
/// # Errors
/// [`TextTableError`] if the table has no rows, too many rows, or no column of texts.
pub fn parse_table(content: &str) -> Result<Vec<TextRow>, TextTableError> {
    check_row_count(parse_csv(strip_bom(content))?)
}

/// Strips the byte order mark that some programs write at the start of a UTF-8 file.
fn strip_bom(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content)
}

fn check_row_count(rows: Vec<TextRow>) -> Result<Vec<TextRow>, TextTableError> {
    match rows.len() {
        0 => Err(TextTableError::Empty),
        rows if rows > ROWS_MAX => Err(TextTableError::TooMany { rows }),
        _ => Ok(rows),
    }
}

fn parse_csv(content: &str) -> Result<Vec<TextRow>, TextTableError> {
    let first_line = content.lines().next().unwrap_or_default();
    // Spreadsheets in much of Europe write semicolons. On a tie the comma wins.
    let count = |candidate: u8| first_line.bytes().filter(|byte| *byte == candidate).count();
    let delimiter =
        [b'\t', b';', b','].into_iter().max_by_key(|candidate| count(*candidate)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(content.as_bytes());
    // Reading cannot fail: the input is UTF-8 in memory, and rows may have any length.
    let mut records = reader.records().filter_map(Result::ok).peekable();
    let find_text_column = |record: &csv::StringRecord| {
        record.iter().position(|cell| cell.trim().eq_ignore_ascii_case(TEXT_COLUMN))
    };
    let first_record = records.peek().map(|record| (record.len(), find_text_column(record)));
    let column = match first_record {
        None => return Err(TextTableError::Empty),
        Some((_, Some(column))) => {
            records.next();
            column
        }
        Some((1, None)) => 0,
        Some((columns, None)) => return Err(TextTableError::NoColumn { columns }),
    };
    let (mut scanned, mut line) = (0, 1);
    let to_row = |record: csv::StringRecord| {
        // The reader's own line numbers are one record late for two-byte line ends.
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

/// Puts a space before a text that a spreadsheet would take for a formula.
pub fn escape_formula(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!(" {text}") } else { text.to_owned() }
}

mod answers {
    use super::{TextRow, escape_formula};
    use jeffrey_classifier::Prediction;
    use jeffrey_terms::TieBreakRule;
    use jeffrey_terms::{InputText, Label};

    /// Rows of a file, with the predictions made so far.
    pub struct ClassifiedRows {
        /// The rows of the file, in their order.
        pub rows: Vec<TextRow>,
        predictions: Vec<Option<Prediction>>,
    }

    impl ClassifiedRows {
        /// Wraps rows that have no prediction yet.
        pub fn new(rows: Vec<TextRow>) -> Self {
            let predictions = vec![None; rows.len()];
            Self { rows, predictions }
        }

        /// Classifies a row, keeps the prediction and returns it; `None` if there is no such row or
        /// it holds no valid text.
        pub fn classify_row(
            &mut self,
            index: usize,
            classify: impl Fn(&InputText) -> Prediction,
        ) -> Option<&Prediction> {
            let text = self.rows.get(index)?.text.as_ref().ok()?;
            Some(self.predictions[index].insert(classify(text)))
        }

        /// Returns all rows as CSV; `None` if writing fails. A row without a prediction has empty
        /// cells, and a row without a valid text has its error in the last cell.
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

    /// Returns the cells of a row. Without a prediction, all cells but line, text and error are
    /// empty.
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
        let rows = parse_text_rows(name, content).map_err(|error| error.to_string())?;
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
