//! Fields of a TOML table as values with units; what they are not is a fault with its line.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use super::freeze::Zone;
use crate::rollout::bucket::Release;
use jeffrey_terms::Share;

/// The text, and what was found wrong so far.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl Reader<'_> {
    /// One more fault, at a place of the text.
    pub(super) fn fault(&mut self, at: usize, what: impl fmt::Display) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.faults.push(Fault { line, what: what.to_string() });
    }
}

/// One table, and what of it was asked for.
pub(super) struct Fields<'a> {
    what: &'static str,
    table: &'a DeTable<'a>,
    /// Where it begins.
    pub(super) at: usize,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(what: &'static str, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self::at(what, table.get_ref(), table.span().start)
    }

    pub(super) fn at(what: &'static str, table: &'a DeTable<'a>, at: usize) -> Self {
        Self { what, table, at, asked: Vec::new() }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.given().contains(&key)
    }

    pub(super) fn given(&self) -> Vec<&'a str> {
        self.table.keys().map(|key| key.get_ref().as_ref()).collect()
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, usize)> {
        self.asked.push(key);
        let found = self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        found.map(|(_, value)| (value.get_ref(), value.span().start))
    }

    pub(super) fn nothing_else(&self, reader: &mut Reader<'_>) {
        for key in self.table.keys() {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let (name, what) = (key.get_ref(), self.what);
                reader.fault(key.span().start, format_args!("unknown field `{name}` in {what}"));
            }
        }
    }

    /// A value of the kind that `parse` makes of it, or a fault that says what it should be.
    pub(super) fn parsed<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        should_be: &str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let (value, at) = self.take(key)?;
        let parsed = parse(value);
        if parsed.is_none() {
            reader.fault(at, format_args!("`{key}` is not {should_be}"));
        }
        parsed
    }

    pub(super) fn string(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<(&'a str, usize)> {
        let at = self.take(key)?.1;
        self.parsed(reader, key, "a text", DeValue::as_str).map(|text| (text, at))
    }

    pub(super) fn flag(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<bool> {
        self.parsed(reader, key, "true or false", DeValue::as_bool)
    }

    pub(super) fn number(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<f64> {
        self.parsed(reader, key, "a number of at least 0", |value| {
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

    pub(super) fn share(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Share> {
        self.parsed(reader, key, "a share such as \"10%\", up to 100%", |value| {
            value.as_str()?.parse().ok()
        })
    }

    /// A rate, 0 to 1.
    pub(super) fn rate(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<f64> {
        self.parsed(reader, key, "a rate such as \"2%\", from 0% to 100%", |value| {
            percent(value.as_str()?).filter(|rate| (0.0..=1.0).contains(rate))
        })
    }

    /// How many times as much: `+50%` is 1.5.
    pub(super) fn times(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<f64> {
        self.parsed(reader, key, "a surplus such as \"+50%\", from +0%", |value| {
            let surplus = percent(value.as_str()?.strip_prefix('+')?)?;
            (surplus >= 0.0).then_some(1.0 + surplus)
        })
    }

    pub(super) fn minutes(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<u64> {
        self.parsed(reader, key, "a time such as \"15m\", \"24h\" or \"7d\"", |value| {
            let text = value.as_str()?;
            let (number, unit) = text.split_at(text.len().checked_sub(1)?);
            let unit = match unit {
                "m" => 1,
                "h" => 60,
                "d" => 24 * 60,
                _ => return None,
            };
            // Ten years are enough, and no product of them overflows.
            number.parse::<u64>().ok()?.checked_mul(unit).filter(|minutes| *minutes < 5_000_000)
        })
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.parsed(reader, key, &format!("one of {}", names.join(", ")), |value| {
            let given = value.as_str()?;
            choices.iter().find(|(name, _)| *name == given).map(|(_, choice)| *choice)
        })
    }

    pub(super) fn names(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<String> {
        let names = self.parsed(reader, key, "a list of names", |value| {
            let names = value.as_array()?.iter();
            names.map(|name| name.get_ref().as_str().map(str::to_owned)).collect()
        });
        names.unwrap_or_default()
    }

    pub(super) fn days(&mut self, reader: &mut Reader<'_>) -> Option<[bool; 7]> {
        if !self.has("days") {
            return Some([true; 7]);
        }
        self.parsed(reader, "days", "days such as \"fri-sun\" or \"mon,wed\"", |value| {
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

    pub(super) fn time_of_day(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<u16> {
        self.parsed(reader, key, "a time of day such as \"16:00\", up to \"24:00\"", |value| {
            clock_minutes(value.as_str()?).filter(|minutes| *minutes <= 1_440)
        })
    }

    pub(super) fn release(&mut self, reader: &mut Reader<'_>) -> Option<Release> {
        const SHOULD_BE: &str = "a name of 1 to 64 letters, digits, `-`, `.` and `_`";
        self.parsed(reader, "release", SHOULD_BE, |value| Release::parse(value.as_str()?).ok())
    }

    pub(super) fn zone(&mut self, reader: &mut Reader<'_>) -> Option<Zone> {
        const SHOULD_BE: &str = "a zone such as \"Europe/Paris\" or \"+01:00\"";
        self.parsed(reader, "zone", SHOULD_BE, |value| value.as_str()?.parse().ok())
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let (value, at) = self.take(key)?;
        value.as_table().map(|table| Self::at(key, table, at))
    }

    pub(super) fn tables(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Self> {
        let tables = self.parsed(reader, key, "a list of tables", |value| {
            let one = |item: &'a Spanned<DeValue<'a>>| {
                item.get_ref().as_table().map(|table| Self::at(key, table, item.span().start))
            };
            value.as_array()?.iter().map(one).collect::<Option<Vec<_>>>()
        });
        tables.unwrap_or_default()
    }
}

/// `2%` is 0.02.
fn percent(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%')?.trim();
    // Not "inf", not "1e3".
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse::<f64>().ok().filter(|_| digits).map(|percent| percent / 100.0)
}

/// `16:30` is 990.
pub(super) fn clock_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2);
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours.min(100) * 60 + minutes)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
