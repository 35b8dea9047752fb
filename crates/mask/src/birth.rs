//! Finds dates of birth: a whole date, with its year, after a word for a birth.
//!
//! A date alone is no personal data. « né » with its accent is a word for a birth; « ne » without it
//! is one only directly before « le » and the date, because it is a negation otherwise.

use super::cue::{Cue, WordsBefore};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words for a birth. « born » is also said of companies, which the mask cannot tell.
const BIRTH_CUES: &str =
    "nee nees naissance dob ddn born birth birthdate geboren nacido nacida geburtsdatum geburtstag";

/// Words after which the date is that of a birthday party, unless its year is long past.
const BIRTHDAY_CUES: &str = "anniversaire birthday bday";

/// Last year that a date after a birthday can have to be a date of birth.
const BIRTHDAY_YEAR_MAX: u32 = 2015;

/// Words that mark another date, when they are nearer than the birth.
const OTHER_DATES: &str = "depuis since expire expires valable valid mort morte decede decedee deces died death \
                           marie mariee married arrive arrivee embauche";

/// Most words between the word for a birth and the date: « née à Saint-Étienne (Loire) le … ».
const BIRTH_WORDS_MAX: usize = 8;

/// Names of months in French and English, and their abbreviations.
const MONTHS: &str = "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre janv fevr avr \
                      juil sept oct nov dec january february march april may june july august september october november \
                      december jan feb mar apr jun jul aug sep";

/// Matches a date after a word for a birth.
pub(super) fn match_birth_date(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.is_word_start(pos) || matches!(scanner.char_before(pos), '/' | '-' | '.' | ':') {
        return None;
    }
    let (to, year) = date_end(scanner, pos)?;
    let words = WordsBefore::read(scanner, pos);
    let cue = words.nearest(BIRTH_WORDS_MAX, BIRTH_CUES, OTHER_DATES);
    let cue = cue.or_else(|| accented_cue(scanner, &words));
    let cue = cue.or_else(|| {
        let weak = words.nearest(5, BIRTHDAY_CUES, OTHER_DATES);
        weak.filter(|_| (1900..=BIRTHDAY_YEAR_MAX).contains(&year))
    })?;
    let found = scanner.match_span(PiiKind::BirthDate, pos, to)?;
    Some(found.because("date after a word for a birth", Some(cue)))
}

/// Returns the place of « né », of « ne le » or « suis du » directly before the date, or of `D.O.B.`
fn accented_cue(scanner: &Scanner<'_>, words: &WordsBefore) -> Option<Cue> {
    // « Je suis du 12/03/1984 »
    if words.word(0).is_in("du") && words.word(1).is_in("suis") {
        return words.place(1);
    }
    if words.word(0).is_in("b") && words.word(1).is_in("o") {
        return words.nearest(3, "d", "");
    }
    let cue = words.nearest(BIRTH_WORDS_MAX, "ne nes", OTHER_DATES)?;
    let accent = matches!(scanner.char_at(cue.0 + 1), 'é' | 'É');
    let direct = words.word(0).is_in("le") && words.word(1).is_in("ne nes");
    (accent || direct).then_some(cue)
}

/// Returns the end of a date with its year, and the year; a year of two digits counts from 1900.
fn date_end(scanner: &Scanner<'_>, pos: usize) -> Option<(usize, u32)> {
    if scanner.char_at(pos).is_alphabetic() {
        return american_date_end(scanner, pos);
    }
    let (first, first_end) = read_number(scanner, pos, 4)?;
    let separator = scanner.char_at(first_end);
    if first_end - pos == 4 {
        // 1984-03-12
        let (month, month_end) = read_number(scanner, first_end + 1, 2)?;
        let (day, to) = read_number(scanner, month_end + 1, 2)?;
        let is_date = matches!(separator, '-' | '/' | '.')
            && scanner.char_at(month_end) == separator
            && is_day_and_month(day, month)
            && (1900..2100).contains(&first);
        return (is_date && ends_date(scanner, to)).then_some((to, first));
    }
    if first == 0 || first > 31 {
        return None;
    }
    written_date_end(scanner, first_end).or_else(|| {
        // 12/03/1984, 12 03 84
        let next = scanner.scan_at_most(first_end, 3, |ch| matches!(ch, ' ' | '/' | '-' | '.'));
        let (second, second_end) = read_number(scanner, next, 2)?;
        let gap = next - first_end;
        let (to, year) = read_year(scanner, second_end + gap)?;
        let same = matches!(separator, '/' | '-' | '.' | ' ')
            && (0..gap).all(|i| scanner.char_at(first_end + i) == scanner.char_at(second_end + i));
        // « 1 12 84 2B … » goes on, so it is no date.
        let continues = separator == ' '
            && scanner.char_at(to) == ' '
            && scanner.char_at(to + 1).is_ascii_digit();
        (same && !continues && is_day_and_month(first, second)).then_some((to, year))
    })
}

/// Returns the end of `12 mars 1984`, `12th of March, 1984` or `1er mai 84`, after the day.
fn written_date_end(scanner: &Scanner<'_>, day_end: usize) -> Option<(usize, u32)> {
    let (suffix, suffix_end) = scanner.word_at(day_end);
    let after_day = if suffix.is_in("er e st nd rd th") { suffix_end } else { day_end };
    let mut pos = scanner.scan_at_most(after_day, 2, |ch| matches!(ch, ' ' | '-' | '/'));
    let (word, end) = scanner.word_at(pos);
    if word.is_in("of de") {
        pos = scanner.scan_at_most(end, 2, |ch| ch == ' ');
    }
    let (month, month_end) = scanner.word_at(pos);
    if !month.is_in(MONTHS) || pos == after_day {
        return None;
    }
    let year =
        scanner.scan_at_most(month_end, 3, |ch| matches!(ch, ' ' | ',' | '.' | '-' | '/' | '\''));
    read_year(scanner, year)
}

/// Returns the end of `March 12th, 1984`.
fn american_date_end(scanner: &Scanner<'_>, pos: usize) -> Option<(usize, u32)> {
    let (month, month_end) = scanner.word_at(pos);
    let day = scanner.scan_at_most(month_end, 2, |ch| matches!(ch, ' ' | '.'));
    if !scanner.char_at(day).is_ascii_digit() || !month.is_in(MONTHS) {
        return None;
    }
    let (number, day_end) = read_number(scanner, day, 2)?;
    let (suffix, suffix_end) = scanner.word_at(day_end);
    let after_day = if suffix.is_in("st nd rd th") { suffix_end } else { day_end };
    let year = scanner.scan_at_most(after_day, 2, |ch| matches!(ch, ' ' | ','));
    if number == 0 || number > 31 || year == after_day {
        return None;
    }
    read_year(scanner, year)
}

/// Returns a number of at most `digits_max` digits and its end; `None` when more digits follow.
fn read_number(scanner: &Scanner<'_>, pos: usize, digits_max: usize) -> Option<(u32, usize)> {
    let end = scanner.scan_at_most(pos, digits_max + 1, |ch| ch.is_ascii_digit());
    let value = scanner.chars(pos, end).filter_map(|ch| ch.to_digit(10)).fold(0, |n, d| n * 10 + d);
    (end > pos && end - pos <= digits_max).then_some((value, end))
}

/// Returns the end of a year of four digits from 1900 to 2099, or of two digits, and the year.
fn read_year(scanner: &Scanner<'_>, pos: usize) -> Option<(usize, u32)> {
    let (year, to) = read_number(scanner, pos, 4)?;
    let year = match to - pos {
        4 if (1900..2100).contains(&year) => year,
        2 => 1900 + year,
        _ => return None,
    };
    ends_date(scanner, to).then_some((to, year))
}

fn is_day_and_month(first: u32, second: u32) -> bool {
    (1..=31).contains(&first) && (1..=31).contains(&second) && first.min(second) <= 12
}

/// Returns whether nothing continues the date at `pos`.
fn ends_date(scanner: &Scanner<'_>, pos: usize) -> bool {
    let continues =
        matches!(scanner.char_at(pos), '/' | '-') && is_word_char(scanner.char_at(pos + 1));
    scanner.is_word_end(pos) && !continues
}
