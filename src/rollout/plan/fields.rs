//! Fields of a TOML table as checked values with units.
//!
//! A value of the wrong form is reported as a fault with its line, and reading goes on: one reading
//! finds all faults of a plan.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::PlanError;
use super::freeze::{Zone, parse_clock_minutes};
use crate::rollout::bucket::ReleaseName;
use jeffrey_terms::Share;

/// Keys by their table, as plans named them before version 0.2 and as they are named now.
const RENAMED_KEYS: [(&str, &str, &str); 15] = [
    ("false_verdict_budget", "advance", "block_advance"),
    ("gate", "at_least", "min"),
    ("gate", "at_most", "max"),
    ("gate", "ceiling", "or_below"),
    ("gate", "compared", "max_increase"),
    ("gate", "estimated_at_most", "estimated_max"),
    ("gate", "estimated_compared", "estimated_max_increase"),
    ("gate", "level", "evidence_unit"),
    ("gate", "or_at_most", "max_without_stable"),
    ("gate", "samples", "estimate_samples"),
    ("the plan", "budget", "false_verdict_budget"),
    ("stable", "errors", "max_error_rate"),
    ("stable", "slow", "max_slow_rate"),
    ("stage", "at_least", "min_duration"),
    ("stage", "samples", "min_samples"),
];

/// Text of a plan, and the faults found in it so far.
pub(super) struct PlanReader<'a> {
    pub(super) text: &'a str,
    pub(super) errors: Vec<PlanError>,
}

impl PlanReader<'_> {
    /// Reports a fault at a byte offset of the text.
    pub(super) fn report_error(&mut self, offset: usize, message: impl fmt::Display) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.errors.push(PlanError { line, message: message.to_string() });
    }
}

/// One table of the plan. It records the keys that were read, so that unknown ones can be reported.
pub(super) struct TableFields<'a> {
    table_name: &'static str,
    table: &'a DeTable<'a>,
    /// Byte offset at which the table begins.
    pub(super) offset: usize,
    known_keys: Vec<&'static str>,
}

impl<'a> TableFields<'a> {
    pub(super) fn new(table_name: &'static str, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self::with_offset(table_name, table.get_ref(), table.span().start)
    }

    pub(super) fn with_offset(
        table_name: &'static str,
        table: &'a DeTable<'a>,
        offset: usize,
    ) -> Self {
        Self { table_name, table, offset, known_keys: Vec::new() }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().contains(&key)
    }

    pub(super) fn keys(&self) -> Vec<&'a str> {
        self.table.keys().map(|key| key.get_ref().as_ref()).collect()
    }

    pub(super) fn take_value(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, usize)> {
        self.known_keys.push(key);
        let entry = self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        entry.map(|(_, value)| (value.get_ref(), value.span().start))
    }

    pub(super) fn reject_unknown_keys(&self, reader: &mut PlanReader<'_>) {
        for key in self.table.keys() {
            if !self.known_keys.contains(&key.get_ref().as_ref()) {
                let (name, table_name) = (key.get_ref(), self.table_name);
                let renamed = RENAMED_KEYS
                    .iter()
                    .find(|(table, old, _)| *table == table_name && *old == name.as_ref());
                let hint =
                    renamed.map_or(String::new(), |(.., new)| format!("; it is `{new}` now"));
                reader.report_error(
                    key.span().start,
                    format_args!("unknown field `{name}` in {table_name}{hint}"),
                );
            }
        }
    }

    /// Reads a field with `parse`. A value that `parse` refuses is reported with `should_be`; a
    /// missing field is `None` without a report.
    pub(super) fn parse_field<T>(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
        should_be: &str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let (value, offset) = self.take_value(key)?;
        let parsed = parse(value);
        if parsed.is_none() {
            reader.report_error(offset, format_args!("`{key}` is not {should_be}"));
        }
        parsed
    }

    pub(super) fn parse_string(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<(&'a str, usize)> {
        let offset = self.take_value(key)?.1;
        self.parse_field(reader, key, "a text", DeValue::as_str).map(|text| (text, offset))
    }

    pub(super) fn parse_flag(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<bool> {
        self.parse_field(reader, key, "true or false", DeValue::as_bool)
    }

    pub(super) fn parse_number(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<f64> {
        self.parse_field(reader, key, "a number of at least 0", |value| {
            let text = value
                .as_integer()
                .map(|number| number.as_str())
                .or_else(|| value.as_float().map(|number| number.as_str()))?;
            text.replace('_', "")
                .parse()
                .ok()
                .filter(|number: &f64| *number >= 0.0 && number.is_finite())
        })
    }

    pub(super) fn parse_share(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<Share> {
        self.parse_field(reader, key, "a share such as \"10%\", up to 100%", |value| {
            value.as_str()?.parse().ok()
        })
    }

    /// Reads a rate such as `2%` as a fraction, 0 to 1.
    pub(super) fn parse_rate(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<f64> {
        self.parse_field(reader, key, "a rate such as \"2%\", from 0% to 100%", |value| {
            parse_percent(value.as_str()?).filter(|rate| (0.0..=1.0).contains(rate))
        })
    }

    /// Reads a surplus as a factor of at least 1: `+50%` is 1.5.
    pub(super) fn parse_factor(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<f64> {
        self.parse_field(reader, key, "a surplus such as \"+50%\", from +0%", |value| {
            let surplus = parse_percent(value.as_str()?.strip_prefix('+')?)?;
            (surplus >= 0.0).then_some(1.0 + surplus)
        })
    }

    pub(super) fn parse_minutes(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<u64> {
        self.parse_field(reader, key, "a time such as \"15m\", \"24h\" or \"7d\"", |value| {
            let text = value.as_str()?;
            let (number, unit) = text.split_at(text.len().checked_sub(1)?);
            let unit = match unit {
                "m" => 1,
                "h" => 60,
                "d" => 24 * 60,
                _ => return None,
            };
            // Ten years are enough, and no product of such times overflows.
            number.parse::<u64>().ok()?.checked_mul(unit).filter(|minutes| *minutes < 5_000_000)
        })
    }

    pub(super) fn parse_choice<T: Copy>(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.parse_field(reader, key, &format!("one of {}", names.join(", ")), |value| {
            let text = value.as_str()?;
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        })
    }

    pub(super) fn parse_names(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Vec<String> {
        let names = self.parse_field(reader, key, "a list of names", |value| {
            let names = value.as_array()?.iter();
            names.map(|name| name.get_ref().as_str().map(str::to_owned)).collect()
        });
        names.unwrap_or_default()
    }

    pub(super) fn parse_days(&mut self, reader: &mut PlanReader<'_>) -> Option<[bool; 7]> {
        if !self.has("days") {
            return Some([true; 7]);
        }
        self.parse_field(reader, "days", "days such as \"fri-sun\" or \"mon,wed\"", |value| {
            let mut days = [false; 7];
            for range in value.as_str()?.split(',') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let day = |name: &str| DAYS.iter().position(|day| *day == name.trim());
                let (first, last) = (day(first)?, day(last)?);
                (0..=(last + 7 - first) % 7).for_each(|step| days[(first + step) % 7] = true);
            }
            Some(days)
        })
    }

    pub(super) fn parse_time_of_day(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Option<u16> {
        self.parse_field(reader, key, "a time of day such as \"16:00\", up to \"24:00\"", |value| {
            parse_clock_minutes(value.as_str()?).filter(|minutes| *minutes <= 1_440)
        })
    }

    pub(super) fn parse_release(&mut self, reader: &mut PlanReader<'_>) -> Option<ReleaseName> {
        const SHOULD_BE: &str = "a name of 1 to 64 letters, digits, `-`, `.` and `_`";
        self.parse_field(reader, "release", SHOULD_BE, |value| {
            ReleaseName::parse(value.as_str()?).ok()
        })
    }

    pub(super) fn parse_zone(&mut self, reader: &mut PlanReader<'_>) -> Option<Zone> {
        const SHOULD_BE: &str = "a zone such as \"Europe/Paris\" or \"+01:00\"";
        self.parse_field(reader, "zone", SHOULD_BE, |value| value.as_str()?.parse().ok())
    }

    pub(super) fn take_table(&mut self, key: &'static str) -> Option<Self> {
        let (value, offset) = self.take_value(key)?;
        value.as_table().map(|table| Self::with_offset(key, table, offset))
    }

    pub(super) fn take_tables(
        &mut self,
        reader: &mut PlanReader<'_>,
        key: &'static str,
    ) -> Vec<Self> {
        let tables = self.parse_field(reader, key, "a list of tables", |value| {
            let to_fields = |item: &'a Spanned<DeValue<'a>>| {
                item.get_ref()
                    .as_table()
                    .map(|table| Self::with_offset(key, table, item.span().start))
            };
            value.as_array()?.iter().map(to_fields).collect::<Option<Vec<_>>>()
        });
        tables.unwrap_or_default()
    }
}

/// Parses a percentage as a fraction: `2%` is 0.02.
fn parse_percent(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%')?.trim();
    // Neither `inf` nor `1e3` is a percentage.
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse::<f64>().ok().filter(|_| digits).map(|percent| percent / 100.0)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
