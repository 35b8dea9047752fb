//! Reads digits that are written in French or English words, mixed with figures.
//!
//! « zéro six douze trente-quatre » gives 0 6 1 2 3 4, and « quatre-vingt-dix-huit » gives 9 8. At
//! most [`TOKENS_MAX`] words or figures are read.

use super::scanner::{FoldedWord, Scanner, is_word_char};

/// Most words and figures of one number.
const TOKENS_MAX: usize = 24;

/// Most digits that are kept; longer numbers are no telephones.
const DIGITS_MAX: usize = 13;

/// Digits that were read, and how much of them was written in words.
pub(super) struct SpelledDigits {
    pub(super) digits: Vec<u8>,
    /// Count of number words.
    pub(super) words: usize,
    /// Position after the last word or figure.
    pub(super) end: usize,
}

/// Returns whether a word is a number from 0 to 99 in French or English.
pub(super) fn is_number_word(word: &FoldedWord) -> bool {
    value_of(word).is_some()
}

/// Returns the value of one number word; `None` for any other word.
fn value_of(word: &FoldedWord) -> Option<u8> {
    Some(match word.as_str() {
        "zero" | "oh" | "o" => 0,
        "un" | "une" | "one" => 1,
        "deux" | "two" => 2,
        "trois" | "three" => 3,
        "quatre" | "four" => 4,
        "cinq" | "five" => 5,
        "six" => 6,
        "sept" | "seven" => 7,
        "huit" | "eight" => 8,
        "neuf" | "nine" => 9,
        "dix" | "ten" => 10,
        "onze" | "eleven" => 11,
        "douze" | "twelve" => 12,
        "treize" | "thirteen" => 13,
        "quatorze" | "fourteen" => 14,
        "quinze" | "fifteen" => 15,
        "seize" | "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        "vingt" | "vingts" | "twenty" => 20,
        "trente" | "thirty" => 30,
        "quarante" | "forty" => 40,
        "cinquante" | "fifty" => 50,
        "soixante" | "sixty" => 60,
        "septante" | "seventy" => 70,
        "huitante" | "octante" | "eighty" => 80,
        "nonante" | "ninety" => 90,
        _ => return None,
    })
}

/// Reads the digits that begin at `pos`; `None` when it is no number, or too long.
pub(super) fn read_spelled_digits(scanner: &Scanner<'_>, pos: usize) -> Option<SpelledDigits> {
    let first_is_figure = scanner.char_at(pos).is_ascii_digit();
    if !first_is_figure && value_of(&scanner.word_at(pos).0).is_none() {
        return None;
    }
    let mut read = SpelledDigits { digits: Vec::new(), words: 0, end: pos };
    let (mut next, mut pending): (usize, Option<u8>) = (pos, None);
    let mut repeat = 1;
    for _ in 0..TOKENS_MAX {
        let figures = scanner.scan_at_most(next, 11, |ch| ch.is_ascii_digit());
        let (word, end) = scanner.word_at(next);
        if figures > next && !is_word_char(scanner.char_at(figures)) {
            push_number(&mut read.digits, pending.take(), 1);
            read.digits.extend(
                scanner.chars(next, figures).filter_map(|ch| ch.to_digit(10)).map(|d| d as u8),
            );
            read.end = figures;
        } else if word.is_in("double triple") {
            push_number(&mut read.digits, pending.take(), 1);
            repeat = if word.is_in("double") { 2 } else { 3 };
            read.words += 1;
            next = skip_gap(scanner, end)?;
            continue;
        } else if word.is_in("et") && pending.is_some() {
            // « vingt et un »
            next = skip_gap(scanner, end)?;
            continue;
        } else if let Some(value) = value_of(&word) {
            match pending {
                Some(tens) if joins(tens, value) => pending = Some(join(tens, value)),
                _ => {
                    push_number(&mut read.digits, pending.take(), repeat);
                    pending = Some(value);
                    if repeat > 1 {
                        push_number(&mut read.digits, pending.take(), repeat);
                        repeat = 1;
                    }
                }
            }
            read.words += 1;
            read.end = end;
        } else {
            break;
        }
        match skip_gap(scanner, read.end) {
            Some(after) => next = after,
            None => break,
        }
    }
    push_number(&mut read.digits, pending, 1);
    (read.digits.len() <= DIGITS_MAX && read.end > pos).then_some(read)
}

/// Returns the position after one to three spaces, dashes, commas or dots; `None` without any.
fn skip_gap(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let next = scanner.scan_at_most(pos, 3, |ch| matches!(ch, ' ' | '-' | ',' | '.' | '\n'));
    (next > pos).then_some(next)
}

/// Returns whether a number word continues the one before it. The pairs are: 60 with 10 to 19; 80 with
/// 1 to 19; another multiple of ten with 1 to 9; 4 with 20 (« quatre-vingt »); 10 with 7 to 9.
fn joins(before: u8, value: u8) -> bool {
    match before {
        4 => value == 20,
        10 => matches!(value, 7..=9),
        60 | 80 => matches!(value, 1..=16),
        70 | 90 => matches!(value, 1..=9),
        20 | 30 | 40 | 50 => matches!(value, 1..=9),
        // « soixante-dix » and « quatre-vingt-dix », which were joined before.
        _ => false,
    }
}

fn join(before: u8, value: u8) -> u8 {
    if before == 4 { 80 } else { before + value }
}

/// Appends the digits of a number below 100, `repeat` times.
fn push_number(digits: &mut Vec<u8>, value: Option<u8>, repeat: usize) {
    let Some(value) = value else { return };
    for _ in 0..repeat {
        if value > 9 {
            digits.push(value / 10);
        }
        digits.push(value % 10);
    }
}
