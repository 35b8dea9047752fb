//! A view with the questions that all recognisers ask of it.

use super::view::{BARRIER, Unit, folded};
use super::{Kind, Match};

/// The signs of a text.
pub(super) struct Seen<'a> {
    units: &'a [Unit],
}

/// A word in small letters without accents, at most [`Word::MAX`] of them.
#[derive(Clone, Copy)]
pub(super) struct Word {
    letters: [u8; Self::MAX],
    length: usize,
}

impl Word {
    /// Longer than every word of the lists here.
    const MAX: usize = 16;

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[..self.length]).unwrap_or_default()
    }

    /// Whether it stands in a list of words with blanks between; `call*` stands for all that begin
    /// with `call`.
    pub(super) fn is_in(&self, list: &str) -> bool {
        let word = self.as_str();
        !word.is_empty()
            && list.split(' ').any(|known| match known.strip_suffix('*') {
                Some(start) => word.starts_with(start),
                None => word == known,
            })
    }
}

/// How far before a number a word may say what it is, in signs and in words.
const CUE_SIGNS_MAX: usize = 48;
const CUE_WORDS_MAX: usize = 5;
const NEAR_WORDS_MAX: usize = 2;

impl<'a> Seen<'a> {
    pub(super) fn new(units: &'a [Unit]) -> Self {
        Self { units }
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// The sign there; [`BARRIER`] outside the text.
    pub(super) fn sign(&self, at: usize) -> char {
        self.units.get(at).map_or(BARRIER, |unit| unit.sign)
    }

    /// The sign before; [`BARRIER`] at the start.
    pub(super) fn before(&self, at: usize) -> char {
        at.checked_sub(1).map_or(BARRIER, |at| self.sign(at))
    }

    pub(super) fn escaped(&self, at: usize) -> bool {
        self.units.get(at).is_some_and(|unit| unit.escaped)
    }

    pub(super) fn found(&self, kind: Kind, from: usize, to: usize) -> Option<Match> {
        (to > from && to <= self.len()).then_some(Match { kind, from, to })
    }

    /// Whether no word goes on from the left.
    pub(super) fn word_starts(&self, at: usize) -> bool {
        !is_word(self.before(at))
    }

    /// Whether no word goes on to the right.
    pub(super) fn word_ends(&self, at: usize) -> bool {
        !is_word(self.sign(at))
    }

    /// Where the run of signs that pass ends.
    pub(super) fn run(&self, mut at: usize, passes: impl Fn(char) -> bool) -> usize {
        while at < self.len() && passes(self.sign(at)) {
            at += 1;
        }
        at
    }

    /// The same, at most `most` signs on.
    pub(super) fn run_within(
        &self,
        at: usize,
        most: usize,
        passes: impl Fn(char) -> bool,
    ) -> usize {
        let mut to = at;
        while to < self.len() && to - at < most && passes(self.sign(to)) {
            to += 1;
        }
        to
    }

    /// After blanks, and one line break among them.
    pub(super) fn blanks(&self, at: usize) -> usize {
        let to = self.run_within(at, 3, |sign| sign == ' ');
        if self.sign(to) == '\n' { self.run_within(to + 1, 3, |sign| sign == ' ') } else { to }
    }

    pub(super) fn signs(&self, from: usize, to: usize) -> impl Iterator<Item = char> + '_ {
        self.units[from.min(to)..to.min(self.len())].iter().map(|unit| unit.sign)
    }

    /// The word of letters that starts there, and where it ends. Too long a one is empty.
    pub(super) fn word(&self, at: usize) -> (Word, usize) {
        let mut word = Word { letters: [0; Word::MAX], length: 0 };
        let end = self.run_within(at, Word::MAX + 1, char::is_alphabetic);
        if end - at <= Word::MAX {
            for sign in self.signs(at, end) {
                word.letters[word.length] = u8::try_from(folded(sign)).unwrap_or(b'?') & 0x7f;
                word.length += 1;
            }
        }
        (word, end)
    }

    /// Whether these letters stand there, as they are written or in capitals.
    pub(super) fn starts_with(&self, at: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(place, sign)| folded(self.sign(at + place)) == sign)
    }

    /// The nearest word before that stands in a list, of two: `Some(true)` for the first.
    pub(super) fn cue(&self, at: usize, yes: &str, no: &str) -> Option<bool> {
        self.cue_within(at, CUE_WORDS_MAX, yes, no)
    }

    /// The same in the same clause, among the two words before.
    pub(super) fn near_cue(&self, at: usize, yes: &str, no: &str) -> Option<bool> {
        self.cue_within(at, NEAR_WORDS_MAX, yes, no)
    }

    fn cue_within(&self, at: usize, words: usize, yes: &str, no: &str) -> Option<bool> {
        let stop = at.saturating_sub(CUE_SIGNS_MAX);
        let mut to = at;
        for _ in 0..words {
            while to > stop && !self.before(to).is_alphabetic() {
                to -= 1;
                if matches!(self.sign(to), '\n' | '!' | '?') {
                    return None;
                }
                // « réf. 0612… » is one clause, « … est perdue. 0612… » is two.
                let ends = self.sign(to) == '.'
                    && self.sign(to + 1) == ' '
                    && (1..=4).all(|back| {
                        to.checked_sub(back).is_some_and(|at| self.sign(at).is_alphabetic())
                    });
                if words < CUE_WORDS_MAX && (ends || matches!(self.sign(to), ',' | ';')) {
                    return None;
                }
            }
            let end = to;
            while to > stop && self.before(to).is_alphabetic() {
                to -= 1;
            }
            if to == end {
                return None;
            }
            let (word, _) = self.word(to);
            if word.is_in(yes) {
                return Some(true);
            }
            if word.is_in(no) {
                return Some(false);
            }
        }
        None
    }

    /// Whether a word of the list stands shortly before.
    pub(super) fn told(&self, at: usize, list: &str) -> bool {
        self.cue(at, list, "") == Some(true)
    }
}

/// A sign of a word or a number.
pub(super) fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}
