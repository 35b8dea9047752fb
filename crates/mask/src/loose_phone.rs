//! Finds telephones that people write to be read by people only: any one separator between the pairs,
//! the letter `o` for a zero, a line break inside, digits in words.
//!
//! The number is that of France, whose ten digits begin with 0; digits in words also make numbers of
//! Britain and North America. The reader takes at most 60 characters, or 24 words.

use super::cue::{WordsBefore, is_quantity};
use super::number_words::{is_number_word, read_spelled_digits};
use super::phone::PHONE_CUES;
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words before five pairs that mark a draw, a score or a list instead of a telephone.
const LIST_CUES: &str = "loto tirage tirages numeros lottery numbers draw euromillions keno scores score resultats results \
                         horaires pages page mois jours days months commande order reference ref";

/// Matches a telephone in one of the forms of this file.
pub(super) fn match_loose_phone(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    if !first.is_alphanumeric() || !scanner.is_word_start(pos) {
        return None;
    }
    let before = scanner.char_before(pos);
    let is_inner =
        !matches!(before, ' ' | '\n') && pos > 1 && scanner.char_at(pos - 2).is_ascii_digit();
    if is_inner {
        return None;
    }
    if matches!(first, '0' | 'o' | 'O') {
        let found = match_pairs(scanner, pos);
        if found.is_some() {
            return found;
        }
    }
    if first.is_ascii_digit() {
        let short = match_short_number(scanner, pos);
        if short.is_some() {
            return short;
        }
    }
    match_spelled(scanner, pos)
}

/// Returns a digit; the letter `o` counts as zero.
fn digit_of(ch: char) -> Option<u32> {
    if matches!(ch, 'o' | 'O') { Some(0) } else { ch.to_digit(10) }
}

/// Matches ten digits from `0` or `o` in pairs with the same separator, any sign, between them.
fn match_pairs(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let mut digits = [0; 10];
    let (mut next, mut signs, mut letters) = (pos, [BETWEEN_NONE; 4], 0);
    for index in 0..10 {
        if index > 0 {
            let (sign, after) = read_separator(scanner, next)?;
            if index % 2 == 0 {
                signs[index / 2 - 1] = sign;
            } else if sign != BETWEEN_NONE && sign != LINE_BREAK {
                return None;
            }
            next = after;
        }
        digits[index] = digit_of(scanner.char_at(next))?;
        letters += usize::from(scanner.char_at(next).is_alphabetic());
        next += 1;
    }
    let mut named = signs.iter().filter(|sign| **sign != LINE_BREAK);
    let sign = *named.next().unwrap_or(&BETWEEN_NONE);
    let same = named.all(|other| *other == sign);
    let (_, after) = read_separator(scanner, next)?;
    let continues = is_word_char(scanner.char_at(next))
        || sign != ' '
            && after > next
            && scanner.char_at(after).is_ascii_digit()
            && scanner.char_at(next) == sign;
    let pair = |index: usize| digits[2 * index] * 10 + digits[2 * index + 1];
    let counts = (1..5).all(|index| pair(index) == pair(index - 1) + 1);
    // Plain spaces, dots and dashes are read with more rules in `phone`.
    let plain = letters == 0
        && matches!(sign, ' ' | '.' | '-' | '/' | BETWEEN_NONE)
        && !scanner.chars(pos, next).any(|ch| ch == '\n')
        && next - pos <= 14;
    if plain || !same || continues || counts || digits[1] == 0 || letters > 2 {
        return None;
    }
    // Five pairs with a comma or a colon can be a list or times: no such word may be before them.
    let words = WordsBefore::read(scanner, pos);
    let is_list = words.contains(6, LIST_CUES);
    let found = scanner.match_span(PiiKind::Phone, pos, next)?;
    (!is_list && !is_quantity(scanner, next))
        .then(|| found.because("ten digits in pairs with one separator", None))
}

/// Separator between two digits without any character, and one with a line break.
const BETWEEN_NONE: char = '0';
const LINE_BREAK: char = '\n';

/// Returns the sign between two digits and the position after it: one sign, up to three times, with
/// spaces around it. `None` when the signs differ.
fn read_separator(scanner: &Scanner<'_>, pos: usize) -> Option<(char, usize)> {
    let next = scanner.scan_at_most(pos, 5, |ch| !ch.is_alphanumeric() && ch != super::BARRIER);
    let mut signs = scanner.chars(pos, next).filter(|ch| *ch != ' ');
    let sign = signs.next();
    let has_break = scanner.chars(pos, next).any(|ch| ch == '\n');
    let same = has_break || signs.all(|other| Some(other) == sign);
    let sign = match sign {
        _ if has_break => LINE_BREAK,
        None if next == pos => BETWEEN_NONE,
        None => ' ',
        Some(sign) => sign,
    };
    same.then_some((sign, next))
}

/// Matches a French mobile number without its first zero, `6 12 34 56 78`, after a word for a
/// telephone.
fn match_short_number(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !matches!(scanner.char_at(pos), '6' | '7') {
        return None;
    }
    let gap = scanner.char_at(pos + 1);
    let digit = |pos: usize| scanner.char_at(pos).is_ascii_digit();
    let fits = matches!(gap, ' ' | '.' | '-')
        && (0..4).all(|pair| {
            let from = pos + 1 + 3 * pair;
            scanner.char_at(from) == gap && digit(from + 1) && digit(from + 2)
        });
    let to = pos + 13;
    if !fits || is_word_char(scanner.char_at(to)) || scanner.char_at(to) == gap && digit(to + 1) {
        return None;
    }
    let found = scanner.match_span(PiiKind::Phone, pos, to)?;
    let ends = |ch: char| matches!(ch, '\n' | super::BARRIER);
    if ends(scanner.char_before(pos)) && ends(scanner.char_at(to)) {
        return Some(found.because("mobile number without its zero on a line of its own", None));
    }
    let cue = WordsBefore::read(scanner, pos).nearest(5, PHONE_CUES, LIST_CUES)?;
    Some(found.because("mobile number without its zero after a word for a telephone", Some(cue)))
}

/// Matches a telephone whose digits are written in words, all or some of them: « zéro six douze … »,
/// `oh seven seven …`.
fn match_spelled(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let spelled = read_spelled_digits(scanner, pos)?;
    let digits = &spelled.digits[..];
    // « one two three four … » is counting, and a number does not begin behind another number word.
    let counts =
        digits.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() + 2 >= digits.len();
    let french = digits.len() == 10 && digits[0] == 0 && digits[1] != 0;
    let british = digits.len() == 11 && digits[0] == 0 && matches!(digits[1], 1..=3 | 7 | 8);
    let american = digits.len() == 10 && digits[0] > 1 && digits[3] > 1 && spelled.words >= 7;
    let fits = french || british || american;
    let found = scanner.match_span(PiiKind::Phone, pos, spelled.end)?;
    let continues = || is_number_word(&WordsBefore::read(scanner, pos).word(0));
    let called = spelled.words >= 5 && (7..=11).contains(&digits.len()) && {
        WordsBefore::read(scanner, pos).nearest(5, PHONE_CUES, LIST_CUES).is_some()
    };
    ((fits || called) && spelled.words > 0 && !counts && !continues())
        .then(|| found.because("telephone with digits in words", None))
}
