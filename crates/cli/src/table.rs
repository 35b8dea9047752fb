//! Text tables for the terminal: names to the left, numbers to the right.
//!
//! A column is as wide as its widest cell, counted in characters. Numbers that are missing are
//! shown as a dash.

use std::fmt;

/// Table of text cells; the first row holds the headings.
#[derive(Default)]
pub(super) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Creates a table with these headings.
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    pub(super) fn push_row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for TextTable {
    /// Aligns the first column to the left and the others to the right; no line ends in blanks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if column == 0 {
                    line += &format!("{cell:width$}");
                } else {
                    line += &format!("  {cell:>width$}");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Formats a share of 0 to 1 in percent, with one decimal.
pub(super) fn format_percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Formats a number with three decimals; a dash for `None`.
pub(super) fn format_3_decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

/// Formats a number with four decimals, as gate values, limits and evidence are shown; a dash for
/// `None`.
pub(super) fn format_4_decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(["class", "F1", ""]);
        table.push_row(vec!["joy".into(), format_3_decimals(Some(0.5)), String::new()]);
        table.push_row(vec!["étonnement".into(), format_3_decimals(None), "x".into()]);
        let expected = "class          F1\njoy         0.500\nétonnement      –  x\n";
        assert_eq!(table.to_string(), expected);
        assert_eq!(format_percent(0.0213), "2.1 %");
    }
}
