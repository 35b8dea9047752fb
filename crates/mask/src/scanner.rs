//! Read access to the normalised characters, with the queries that all recognisers share.
//!
//! A position outside the text reads as [`BARRIER`], so recognisers need no bounds checks.

use super::normalize::{BARRIER, NormalizedChar, fold_char};
use super::{PiiKind, PiiMatch};

/// Normalised characters of one text or of the rest of it.
pub(super) struct Scanner<'a> {
    chars: &'a [NormalizedChar],
    /// Count of [`CHARS_READ`] since this scanner was made.
    #[cfg(test)]
    read: std::cell::Cell<u64>,
}

/// Word in small letters without accents, of at most [`FoldedWord::MAX`] letters.
#[derive(Clone, Copy)]
pub(super) struct FoldedWord {
    letters: [u8; Self::MAX],
    len: usize,
}

impl FoldedWord {
    /// Longest word that is read, in letters. No listed word is longer.
    pub(super) const MAX: usize = 16;

    /// A word that no list contains.
    pub(super) const EMPTY: Self = Self { letters: [0; Self::MAX], len: 0 };

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[..self.len]).unwrap_or_default()
    }

    /// Returns whether the word is in a list of words separated by spaces. An entry `call*` matches
    /// every word that begins with `call`.
    pub(super) fn is_in(&self, list: &str) -> bool {
        let (word, list) = (&self.letters[..self.len], list.as_bytes());
        let mut pos = 0;
        while !word.is_empty() && pos < list.len() {
            let same = word.iter().zip(&list[pos..]).take_while(|(a, b)| a == b).count();
            pos += same;
            match list.get(pos) {
                Some(b'*') => return true,
                None | Some(b' ') if same == word.len() => return true,
                _ => {}
            }
            while pos < list.len() && list[pos] != b' ' {
                pos += 1;
            }
            pos += 1;
        }
        false
    }
}

/// Greatest distance, in characters, between a number and a word that marks it. The next two limits
/// count words.
const CUE_CHARS_MAX: usize = 48;
const CUE_WORDS_MAX: usize = 5;
const CLAUSE_CUE_WORDS_MAX: usize = 2;

#[cfg(test)]
thread_local! {
    /// Characters that recognisers have read on this thread: the measure of the tests for linear time.
    pub(super) static CHARS_READ: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl<'a> Scanner<'a> {
    pub(super) fn new(chars: &'a [NormalizedChar]) -> Self {
        Self {
            chars,
            #[cfg(test)]
            read: std::cell::Cell::new(0),
        }
    }

    /// Counts characters that were read, in tests only.
    #[cfg_attr(not(test), expect(clippy::unused_self, unused_variables, reason = "for tests"))]
    fn count_read(&self, chars: usize) {
        #[cfg(test)]
        self.read.set(self.read.get() + chars as u64);
    }

    pub(super) fn len(&self) -> usize {
        self.chars.len()
    }

    /// Character at `pos`; [`BARRIER`] outside the text.
    pub(super) fn char_at(&self, pos: usize) -> char {
        self.count_read(1);
        self.chars.get(pos).map_or(BARRIER, |c| c.ch)
    }

    /// Character before `pos`; [`BARRIER`] at the start.
    pub(super) fn char_before(&self, pos: usize) -> char {
        pos.checked_sub(1).map_or(BARRIER, |pos| self.char_at(pos))
    }

    pub(super) fn is_escaped(&self, pos: usize) -> bool {
        self.chars.get(pos).is_some_and(|c| c.is_escaped)
    }

    pub(super) fn match_span(&self, kind: PiiKind, from: usize, to: usize) -> Option<PiiMatch> {
        (to > from && to <= self.len()).then_some(PiiMatch {
            kind,
            start: from,
            end: to,
            rule: kind.rule(),
            cue: None,
        })
    }

    /// Returns whether no word continues from the left.
    pub(super) fn is_word_start(&self, pos: usize) -> bool {
        !is_word_char(self.char_before(pos))
    }

    /// Returns whether no word continues to the right.
    pub(super) fn is_word_end(&self, pos: usize) -> bool {
        !is_word_char(self.char_at(pos))
    }

    /// Returns the end of the run of characters that satisfy `predicate`.
    pub(super) fn scan_while(&self, mut pos: usize, predicate: impl Fn(char) -> bool) -> usize {
        while pos < self.len() && predicate(self.char_at(pos)) {
            pos += 1;
        }
        pos
    }

    /// Returns the same end as [`Scanner::scan_while`], at most `chars_max` characters further.
    pub(super) fn scan_at_most(
        &self,
        pos: usize,
        chars_max: usize,
        predicate: impl Fn(char) -> bool,
    ) -> usize {
        let mut to = pos;
        while to < self.len() && to - pos < chars_max && predicate(self.char_at(to)) {
            to += 1;
        }
        to
    }

    /// Returns the position after up to three spaces, and after one line break with the spaces
    /// behind it.
    pub(super) fn skip_spaces(&self, pos: usize) -> usize {
        let to = self.scan_at_most(pos, 3, |ch| ch == ' ');
        if self.char_at(to) == '\n' { self.scan_at_most(to + 1, 3, |ch| ch == ' ') } else { to }
    }

    pub(super) fn chars(&self, from: usize, to: usize) -> impl Iterator<Item = char> + '_ {
        let to = to.min(self.len());
        self.count_read(to.saturating_sub(from));
        self.chars[from.min(to)..to].iter().map(|c| c.ch)
    }

    /// Returns the word of letters that starts at `pos`, and its end. A word longer than
    /// [`FoldedWord::MAX`] is returned empty.
    pub(super) fn word_at(&self, pos: usize) -> (FoldedWord, usize) {
        let end = self.scan_at_most(pos, FoldedWord::MAX + 1, char::is_alphabetic);
        (self.fold_word(pos, end), end)
    }

    /// Returns the characters from `pos` to `end` as a word. More than [`FoldedWord::MAX`] give an
    /// empty one.
    pub(super) fn fold_word(&self, pos: usize, end: usize) -> FoldedWord {
        let mut word = FoldedWord::EMPTY;
        if end - pos <= FoldedWord::MAX {
            for ch in self.chars(pos, end) {
                word.letters[word.len] = u8::try_from(fold_char(ch)).unwrap_or(b'?') & 0x7f;
                word.len += 1;
            }
        }
        word
    }

    /// Returns whether the characters at `pos` are `text`, without regard to case and accents.
    pub(super) fn starts_with(&self, pos: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(index, ch)| fold_char(self.char_at(pos + index)) == ch)
    }

    /// Finds the nearest listed word before `pos`: `Some(true)` when it is in `positive`,
    /// `Some(false)` when it is in `negative`.
    pub(super) fn nearest_cue(&self, pos: usize, positive: &str, negative: &str) -> Option<bool> {
        self.find_cue(pos, CUE_WORDS_MAX, positive, negative)
    }

    /// Finds the nearest listed word among the two words before `pos`, within the same clause.
    pub(super) fn nearest_cue_in_clause(
        &self,
        pos: usize,
        positive: &str,
        negative: &str,
    ) -> Option<bool> {
        self.find_cue(pos, CLAUSE_CUE_WORDS_MAX, positive, negative)
    }

    fn find_cue(&self, pos: usize, words: usize, positive: &str, negative: &str) -> Option<bool> {
        let start_min = pos.saturating_sub(CUE_CHARS_MAX);
        let mut to = pos;
        for _ in 0..words {
            while to > start_min && !self.char_before(to).is_alphabetic() {
                to -= 1;
                if matches!(self.char_at(to), '\n' | '!' | '?') {
                    return None;
                }
                // « réf. 0612… » is one clause, « … est perdue. 0612… » is two.
                let ends_sentence = self.char_at(to) == '.'
                    && self.char_at(to + 1) == ' '
                    && (1..=4).all(|back| {
                        to.checked_sub(back).is_some_and(|pos| self.char_at(pos).is_alphabetic())
                    });
                if words < CUE_WORDS_MAX && (ends_sentence || matches!(self.char_at(to), ',' | ';'))
                {
                    return None;
                }
            }
            let end = to;
            while to > start_min && self.char_before(to).is_alphabetic() {
                to -= 1;
            }
            if to == end {
                return None;
            }
            let (word, _) = self.word_at(to);
            if word.is_in(positive) {
                return Some(true);
            }
            if word.is_in(negative) {
                return Some(false);
            }
        }
        None
    }

    /// Returns whether a word of the list is shortly before `pos`.
    pub(super) fn has_cue(&self, pos: usize, list: &str) -> bool {
        self.nearest_cue(pos, list, "") == Some(true)
    }
}

#[cfg(test)]
impl Drop for Scanner<'_> {
    fn drop(&mut self) {
        CHARS_READ.with(|read| read.set(read.get() + self.read.get()));
    }
}

/// Returns whether `ch` can be part of a word or a number.
pub(super) fn is_word_char(ch: char) -> bool {
    ch.is_alphanumeric() || ch == '_'
}
