//! Reads a run of digits together with the separators between them.
//!
//! Rules for numbers ask for lengths, groups and separators; they never look at the characters
//! between the digits themselves.

use super::scanner::Scanner;

/// Most digits that are read in one run. IBANs contain letters, so they are read elsewhere.
const DIGITS_MAX: usize = 24;

/// Separator between two digits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigitSeparator {
    /// The digits are adjacent, without a separator.
    None,
    /// One space or several spaces.
    Space,
    LineBreak,
    Dash,
    Dot,
    Parenthesis,
    Slash,
    /// Punctuation with a space: two numbers, unless a line break cuts one number.
    Boundary,
}

/// Run of digits, with the separator before each digit and the position after it.
pub(super) struct DigitRun {
    pub(super) digits: [u8; DIGITS_MAX],
    pub(super) separators: [DigitSeparator; DIGITS_MAX],
    pub(super) ends: [usize; DIGITS_MAX],
    pub(super) len: usize,
}

impl DigitRun {
    pub(super) fn read(scanner: &Scanner<'_>, from: usize) -> Self {
        let mut run = Self {
            digits: [0; DIGITS_MAX],
            separators: [DigitSeparator::None; DIGITS_MAX],
            ends: [from; DIGITS_MAX],
            len: 0,
        };
        let mut pos = from;
        let mut gap = DigitSeparator::None;
        while run.len < DIGITS_MAX {
            let Some(digit) = scanner.char_at(pos).to_digit(10) else { break };
            run.digits[run.len] = digit as u8;
            run.separators[run.len] = gap;
            run.ends[run.len] = pos + 1;
            run.len += 1;
            let next = scanner.scan_at_most(pos + 1, 4, |c| {
                matches!(c, ' ' | '-' | '_' | '.' | '/' | '(' | ')' | '\n')
            });
            gap = separator_between(scanner, pos + 1, next);
            pos = next;
        }
        run
    }

    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// Returns whether a number can end after `count` digits: the run ends there, or a separator
    /// follows.
    pub(super) fn can_end_after(&self, count: usize) -> bool {
        count > 0
            && count <= self.len
            && (count == self.len || self.separators[count] != DigitSeparator::None)
    }

    /// Returns the number of digits in each group among the first `count` digits.
    pub(super) fn group_lengths(&self, count: usize) -> Vec<usize> {
        let mut groups = Vec::new();
        for index in 0..count {
            match groups.last_mut() {
                Some(group) if self.separators[index] == DigitSeparator::None => *group += 1,
                _ => groups.push(1),
            }
        }
        groups
    }

    /// Returns whether all separators between the first `count` digits are among `allowed`.
    pub(super) fn separators_are_among(&self, count: usize, allowed: &[DigitSeparator]) -> bool {
        self.separators[1..count]
            .iter()
            .all(|gap| *gap == DigitSeparator::None || allowed.contains(gap))
    }

    /// Returns whether groups break only before the digits at `indexes`, or at a line break.
    pub(super) fn breaks_only_before(&self, count: usize, indexes: &[usize]) -> bool {
        (1..count).all(|index| {
            matches!(self.separators[index], DigitSeparator::None | DigitSeparator::LineBreak)
                || indexes.contains(&index)
        })
    }
}

fn separator_between(scanner: &Scanner<'_>, from: usize, to: usize) -> DigitSeparator {
    let mut chars = scanner.chars(from, to).filter(|ch| *ch != ' ');
    let (first, second) = (chars.next(), chars.next());
    match (first, second, to - from) {
        (None, _, 0) => DigitSeparator::None,
        (None, _, _) => DigitSeparator::Space,
        (Some('('), Some(')'), _) | (Some(')'), Some('('), _) => DigitSeparator::Boundary,
        (Some('(' | ')'), None | Some('-' | '.' | ' '), _) => DigitSeparator::Parenthesis,
        (Some('-'), Some('('), _) => DigitSeparator::Parenthesis,
        (Some('\n'), None, _) | (Some('-' | '.'), Some('\n'), _) => DigitSeparator::LineBreak,
        (Some('-' | '_'), None, 1 | 3) => DigitSeparator::Dash,
        (Some('.'), None, 1 | 3) => DigitSeparator::Dot,
        (Some('/'), None, 1) => DigitSeparator::Slash,
        _ => DigitSeparator::Boundary,
    }
}

pub(super) const GROUP_SEPARATORS: [DigitSeparator; 4] =
    [DigitSeparator::Space, DigitSeparator::LineBreak, DigitSeparator::Dash, DigitSeparator::Dot];
