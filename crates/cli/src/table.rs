//! Text tables for the terminal: names to the left, numbers to the right.
//!
//! A column is as wide as its widest cell on the terminal, where an emoji takes two places and a
//! combining accent none. Numbers that are missing are shown as a dash.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jeffrey_edge::rollout::gate::GateEffect;

/// Table of text cells under headings, without lines; two blanks separate the columns.
pub(super) struct TextTable(Table);

impl TextTable {
    /// Creates a table with these headings: the first column is aligned to the left, the others to
    /// the right.
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(headings);
        for (number, column) in table.column_iter_mut().enumerate() {
            if number == 0 {
                column.set_padding((0, 0));
            } else {
                column.set_padding((2, 0)).set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// Adds a row with a cell for each heading.
    pub(super) fn push_row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
    }
}

impl fmt::Display for TextTable {
    /// Writes a line for each row; no line ends in blanks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lines().try_for_each(|line| writeln!(f, "{}", line.trim_end()))
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

/// Formats the effect of a gate as words.
pub(super) fn format_gate_effect(effect: GateEffect) -> &'static str {
    match effect {
        GateEffect::BlockAdvance => "block advance",
        GateEffect::RollBack => "roll back",
        GateEffect::Warn => "warn",
    }
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

    #[test]
    fn columns_line_up_on_the_terminal() {
        let mut table = TextTable::new(["text", "rows"]);
        // One character of two places, one of two characters that take one place, one of each.
        for text in ["好的", "e\u{301}tonne\u{301}", "étonné", "😀 ok"] {
            table.push_row(vec![text.into(), "1".into()]);
        }
        let expected =
            "text    rows\n好的       1\ne\u{301}tonne\u{301}     1\nétonné     1\n😀 ok      1\n";
        assert_eq!(table.to_string(), expected);
    }
}
