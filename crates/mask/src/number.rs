//! Finds numbers of persons and companies: cards, accounts, social security.
//!
//! A run of digits is read with the separators between them. Each rule defines the lengths, groups
//! and check digit that it needs. A number without a check digit could be an order number as well.
//! Then the words before it decide, the nearest one first.

use super::checks::{
    has_nir_shape, iban_length, is_french_vat, is_iban, is_nir, is_siret, passes_luhn,
};
use super::cue::{NON_PERSONAL_CUES, is_quantity};
use super::digits::{DigitRun, DigitSeparator, GROUP_SEPARATORS};
use super::phone::{is_ten_digit_phone, match_phone};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

const CARD_CUES: &str = "carte cartes cb card cards visa mastercard amex maestro discover diners credit debit bancaire paiement";
const COMPANY_CUES: &str =
    "siren siret sirene rcs entreprise societe company insee etablissement registre immatricul*";
const SOCIAL_SECURITY_CUES: &str = "ssn social security securite secu sociale nir insee assure*";

/// Matches a number that begins with a digit, a `+` or a bracket.
pub(super) fn match_number(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let ch = scanner.char_at(pos);
    let before = scanner.char_before(pos);
    if !(ch.is_ascii_digit() || matches!(ch, '+' | '(')) || before.is_ascii_digit() || before == '_'
    {
        return None;
    }
    // The digits continue a decimal, a date or a range. The second telephone of « 0612…/0755… »
    // does not.
    let inner = matches!(before, '.' | ',' | '/' | '-' | ':' | '\'')
        && pos > 1
        && scanner.char_at(pos - 2).is_ascii_digit()
        && !(before == '/'
            && is_ten_digit_phone(scanner, pos)
            && pos > 10
            && is_ten_digit_phone(scanner, pos - 11));
    if before == '#' && scanner.nearest_cue_in_clause(pos, "ssn", "").is_some() {
        return match_ssn(scanner, pos, &DigitRun::read(scanner, pos));
    }
    if inner || matches!(before, '$' | '€' | '£' | '#') {
        return None;
    }
    let follows_letter = before.is_alphabetic() && (before as u32) < 0x2e80;
    if !ch.is_ascii_digit() {
        return if ch == '+' && follows_letter && !before.is_lowercase() {
            None
        } else {
            match_phone(scanner, pos)
        };
    }
    if follows_letter {
        // A telephone may follow a word directly, as in « appelle0612345678 »; `CMD0612345678` is
        // an order.
        return if before.is_lowercase() && ch == '0' { match_phone(scanner, pos) } else { None };
    }
    let run = DigitRun::read(scanner, pos);
    let nir_match = match_nir(scanner, pos);
    if run.len < 7 || nir_match.is_some() && !is_fifteen_digit_card(scanner, pos, &run) {
        return nir_match;
    }
    match_ssn(scanner, pos, &run)
        .or_else(|| match_card(scanner, pos, &run))
        .or(nir_match)
        .or_else(|| match_company(scanner, pos, &run))
        .or_else(|| match_phone(scanner, pos))
}

/// Matches a payment card: the prefix of a brand, one of its lengths, and Luhn.
fn match_card(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<PiiMatch> {
    let number = |from: usize, to: usize| {
        run.digits()[from..to.min(run.len)].iter().fold(0, |n, d| n * 10 + u32::from(*d))
    };
    if run.len < 12 {
        return None;
    }
    let lengths: &[usize] = match (run.digits[0], number(0, 2), number(0, 4)) {
        (4, _, _) => &[19, 16, 13],
        (_, 34 | 37, _) => &[15],
        (_, 51..=55, _) | (_, _, 2221..=2720) => &[16],
        (_, 36 | 38 | 39, _) | (_, _, 3000..=3059) => &[14, 16],
        (_, 35, _) => &[16, 15],
        (_, _, 1800 | 2131) => &[15, 16],
        (_, 60 | 62 | 64 | 65, _) => &[19, 18, 17, 16],
        (_, 50 | 56..=58 | 63 | 67 | 68 | 69, _) | (_, _, 604) => &[19, 18, 17, 16, 15, 14, 13, 12],
        _ => return None,
    };
    let cue = scanner.nearest_cue(pos, CARD_CUES, COMPANY_CUES);
    // Groups of one or two digits are accepted when a word marks the number as a card, or when a
    // line break cuts it.
    let any_groups = |count: usize| {
        cue == Some(true) || run.separators[1..count].contains(&DigitSeparator::LineBreak)
    };
    let count = *lengths.iter().find(|count| {
        let groups = run.group_lengths(**count);
        run.can_end_after(**count)
            && run.separators_are_among(**count, &GROUP_SEPARATORS)
            && groups.iter().rev().skip(1).all(|group| *group >= 3 || any_groups(**count))
            && passes_luhn(&run.digits[..**count])
    })?;
    // A SIRET has fourteen digits too; in most of them the last five begin with 00.
    let establishment = cue == Some(false) || run.digits[9..11] == [0, 0];
    if count == 14
        && cue != Some(true)
        && establishment
        && match_company(scanner, pos, run).is_some()
    {
        return None;
    }
    // An EAN has thirteen digits too, and a number without groups may be an order number.
    let bare = run.group_lengths(count).len() == 1;
    let is_ean = count == 13
        && run.digits[0] != 4
        && (is_ean13(&run.digits[..13]) || matches!(number(0, 3), 978 | 979));
    let is_non_personal =
        bare && count < 16 && scanner.nearest_cue(pos, CARD_CUES, NON_PERSONAL_CUES) == Some(false);
    if cue != Some(true)
        && ((is_ean && bare) || is_non_personal || is_continued(scanner, run, count))
    {
        return None;
    }
    scanner.match_span(PiiKind::Card, pos, run.ends[count - 1])
}

/// Returns whether fifteen digits that could be a NIR are a card instead: a brand's prefix and
/// Luhn, without the groups of a NIR and without a word for it.
fn is_fifteen_digit_card(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> bool {
    let groups = run.group_lengths(run.len.min(15));
    !matches!(groups[0], 1 | 13)
        && passes_luhn(&run.digits[..15.min(run.len)])
        && match_card(scanner, pos, run).is_some()
        && !scanner.has_cue(pos, SOCIAL_SECURITY_CUES)
}

/// Returns whether the check digit of an EAN-13 or ISBN-13 is correct: weights 1 and 3 (GS1).
fn is_ean13(digits: &[u8]) -> bool {
    let weighed = digits
        .iter()
        .enumerate()
        .map(|(index, digit)| u32::from(*digit) * if index % 2 == 0 { 1 } else { 3 });
    weighed.sum::<u32>() % 10 == 0
}

/// Returns whether the run is part of something longer, as `1234-5678-…`.
fn is_continued(scanner: &Scanner<'_>, run: &DigitRun, count: usize) -> bool {
    let end = run.ends[count - 1];
    let continues = matches!(scanner.char_at(end), '-' | '/' | '.' | ',')
        && scanner.char_at(end + 1).is_ascii_digit();
    continues || scanner.char_at(end).is_alphanumeric()
}

/// Matches a SIRET or SIREN: Luhn, in groups of three with five digits at the end.
fn match_company(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<PiiMatch> {
    let inner = |index: &usize| matches!(index, 3 | 6 | 9);
    let grouped = |count: usize| {
        (1..count).all(|index| {
            matches!(run.separators[index], DigitSeparator::None | DigitSeparator::LineBreak)
                || inner(&index)
                || index > 9
        })
    };
    let is_allowed = |count: usize| {
        run.separators_are_among(count, &GROUP_SEPARATORS)
            && grouped(count)
            && run.can_end_after(count)
    };
    if run.len >= 14
        && is_allowed(14)
        && is_siret(&run.digits[..14])
        && !is_continued(scanner, run, 14)
    {
        return scanner.match_span(PiiKind::Siret, pos, run.ends[13]);
    }
    if run.len < 9
        || !is_allowed(9)
        || !passes_luhn(&run.digits[..9])
        || is_continued(scanner, run, 9)
    {
        return None;
    }
    let cue = scanner.nearest_cue(pos, COMPANY_CUES, NON_PERSONAL_CUES);
    let spaced = run.group_lengths(9).len() > 1;
    let is_quantity_after = spaced && is_quantity(scanner, run.ends[8]);
    let more = run.len > 9
        && matches!(
            run.separators[9],
            DigitSeparator::Space | DigitSeparator::Dash | DigitSeparator::Dot
        )
        && run.group_lengths(run.len).len() > 3;
    let social = scanner.has_cue(pos, "ssn social");
    let is_excluded = cue == Some(false) || is_quantity_after || social || more && cue.is_none();
    (!is_excluded).then(|| scanner.match_span(PiiKind::Siren, pos, run.ends[8]))?
}

/// Matches an American social security number.
///
/// It has 3, 2 and 4 digits with the same separator, and only issued areas, groups and serials
/// (<https://www.ssa.gov/employer/randomization.html>). Nine adjacent digits match when a word
/// marks them.
fn match_ssn(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<PiiMatch> {
    if run.len < 9 || !run.can_end_after(9) {
        return None;
    }
    let number =
        |from: usize, to: usize| run.digits[from..to].iter().fold(0, |n, d| n * 10 + u32::from(*d));
    let (area, group, serial) = (number(0, 3), number(3, 5), number(5, 9));
    if matches!(area, 0 | 666 | 900..) || group == 0 || serial == 0 {
        return None;
    }
    let gap = run.separators[3];
    let has_ssn_shape = GROUP_SEPARATORS.contains(&gap)
        && (run.separators[5] == gap || run.separators[3..6].contains(&DigitSeparator::LineBreak))
        && run.breaks_only_before(9, &[3, 5])
        && run.separators[5] != DigitSeparator::None;
    let bare = run.group_lengths(9).len() == 1
        && scanner.has_cue(pos, "ssn social")
        && !scanner.has_cue(pos, "siren");
    let is_excluded =
        is_continued(scanner, run, 9) || has_ssn_shape && is_quantity(scanner, run.ends[8]);
    ((has_ssn_shape || bare) && !is_excluded)
        .then(|| scanner.match_span(PiiKind::Ssn, pos, run.ends[8]))?
}

/// Matches a French NIR of fifteen characters, with or without separators. Thirteen characters
/// match when the key follows separately, when they have the usual groups, or when a word marks
/// them.
fn match_nir(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let mut chars = Vec::with_capacity(15);
    let mut ends = Vec::with_capacity(15);
    let mut next = pos;
    while chars.len() < 15 {
        let ch = scanner.char_at(next);
        let corsica = chars.len() == 6 && matches!(ch, 'A' | 'B' | 'a' | 'b');
        if !ch.is_ascii_digit() && !corsica {
            break;
        }
        chars.push(ch);
        ends.push(next + 1);
        next = scanner.scan_at_most(next + 1, 3, |ch| matches!(ch, ' ' | '-' | '.' | '\n' | '/'));
    }
    let ends_word = |count: usize| !is_word_char(scanner.char_at(ends[count - 1]));
    if chars.len() == 15 && ends_word(15) && is_nir(&chars) {
        return scanner.match_span(PiiKind::Nir, pos, ends[14]);
    }
    if chars.len() == 13 && ends_word(13) && has_nir_shape(&chars) {
        if let Some(end) = separate_nir_key_end(scanner, &chars, ends[12]) {
            return scanner.match_span(PiiKind::Nir, pos, end);
        }
        // The usual groups: 1 84 12 76 451 089.
        let grouped = [1, 3, 5, 7, 10].iter().all(|place| ends[*place] - ends[place - 1] > 1);
        if grouped && ends[12] - pos == 18 {
            return scanner.match_span(PiiKind::Nir, pos, ends[12]);
        }
    }
    if chars.len() == 13 && ends_word(13) && is_plain_nir(scanner, pos, &chars) {
        return scanner.match_span(PiiKind::Nir, pos, ends[12]);
    }
    let has_nir_cue = chars.len() >= 13
        && ends_word(13)
        && has_nir_shape(&chars[..13])
        && scanner.has_cue(pos, SOCIAL_SECURITY_CUES);
    (has_nir_cue && (chars.len() == 13 || ends_word(chars.len()))).then(|| {
        scanner.match_span(PiiKind::Nir, pos, if chars.len() == 15 { ends[14] } else { ends[12] })
    })?
}

/// Returns whether thirteen adjacent characters can only be a NIR without its key: a man or a woman, a
/// month of the calendar, a department, no EAN, and no word for another thing.
fn is_plain_nir(scanner: &Scanner<'_>, pos: usize, chars: &[char]) -> bool {
    let number = |from: usize| {
        chars[from..from + 2].iter().filter_map(|ch| ch.to_digit(10)).fold(0, |n, d| n * 10 + d)
    };
    let digits: Vec<u8> =
        chars.iter().filter_map(|ch| ch.to_digit(10)).map(|digit| digit as u8).collect();
    let adjacent = scanner.scan_at_most(pos, 14, |ch| ch.is_ascii_alphanumeric()) == pos + 13;
    let is_department = digits.len() < 13 || matches!(number(5), 1..=95 | 97..=99);
    adjacent
        && has_nir_shape(chars)
        && matches!(chars[0], '1' | '2')
        && (1..=12).contains(&number(3))
        && is_department
        && !(digits.len() == 13 && is_ean13(&digits))
        && scanner.nearest_cue(pos, SOCIAL_SECURITY_CUES, NON_PERSONAL_CUES) != Some(false)
}

/// Returns the end of a NIR key that is named or bracketed: « 1 84 12 76 451 089 clé 35 », « (35)
/// ».
fn separate_nir_key_end(scanner: &Scanner<'_>, chars: &[char], end: usize) -> Option<usize> {
    let skip = |pos| scanner.scan_at_most(pos, 3, |ch| matches!(ch, ' ' | '(' | '|' | ':' | ','));
    let pos = skip(end);
    let (word, word_end) = scanner.word_at(pos);
    let from = if word.is_in("cle clef key") { skip(word_end) } else { pos };
    let to = scanner.scan_at_most(from, 3, |ch| ch.is_ascii_digit());
    let nir_chars: Vec<char> = chars.iter().copied().chain(scanner.chars(from, to)).collect();
    (from > end && to - from == 2 && is_nir(&nir_chars)).then_some(to)
}

/// Matches a number that begins with letters: IBAN, French VAT, NINO.
pub(super) fn match_lettered_number(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let letters = [scanner.char_at(pos), scanner.char_at(pos + 1)];
    if !letters.iter().all(char::is_ascii_alphabetic) || is_word_char(scanner.char_before(pos)) {
        return None;
    }
    match_iban(scanner, pos, letters)
        .or_else(|| match_vat(scanner, pos))
        .or_else(|| match_nino(scanner, pos, letters))
}

/// Returns the next `count` letters and digits and the end of the last one. One or two separators
/// may be between them.
fn read_compact(scanner: &Scanner<'_>, pos: usize, count: usize) -> Option<(Vec<char>, usize)> {
    let mut chars = Vec::with_capacity(count);
    let mut next = pos;
    loop {
        let ch = scanner.char_at(next);
        if !ch.is_ascii_alphanumeric() {
            return None;
        }
        chars.push(ch);
        if chars.len() == count {
            return Some((chars, next + 1));
        }
        next = scanner.scan_at_most(next + 1, 2, |ch| matches!(ch, ' ' | '-' | '.' | '\n'));
    }
}

fn match_iban(scanner: &Scanner<'_>, pos: usize, country: [char; 2]) -> Option<PiiMatch> {
    let check = scanner.scan_at_most(pos + 2, 2, |ch| ch == ' ' || ch == '-');
    if !scanner.char_at(check).is_ascii_digit() {
        return None;
    }
    let (chars, to) = read_compact(scanner, pos, iban_length(&country)?)?;
    // « is 40 … » is no IBAN: small letters match only without spaces.
    let capitals = country.iter().all(char::is_ascii_uppercase);
    let small = country.iter().all(char::is_ascii_lowercase) && to - pos == chars.len();
    let same = chars.iter().all(|ch| ch.is_ascii_digit() || ch.is_ascii_uppercase() == capitals);
    (same && (capitals || small) && is_iban(&chars) && scanner.is_word_end(to))
        .then(|| scanner.match_span(PiiKind::Iban, pos, to))?
}

fn match_vat(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.starts_with(pos, "fr") {
        return None;
    }
    let (chars, to) = read_compact(scanner, pos, 13)?;
    (is_french_vat(&chars[2..]) && scanner.is_word_end(to))
        .then(|| scanner.match_span(PiiKind::Vat, pos, to))?
}

/// Matches a British National Insurance number: letters that are issued, six digits, A to D
/// (<https://www.gov.uk/hmrc-internal-manuals/national-insurance-manual/nim39110>).
fn match_nino(scanner: &Scanner<'_>, pos: usize, letters: [char; 2]) -> Option<PiiMatch> {
    let [first, second] = letters.map(|ch| ch.to_ascii_uppercase());
    let never = ["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"];
    let is_issued = !"DFIQUV".contains(first)
        && !"DFIOQUV".contains(second)
        && !never.iter().any(|pair| pair.chars().eq([first, second]));
    // Letters that are not issued, as in the example QQ 12 34 56 C, count after its name.
    if !is_issued && scanner.nearest_cue(pos, "nino insurance", "") != Some(true) {
        return None;
    }
    let (chars, to) = read_compact(scanner, pos, 9)?;
    let digits = chars[2..8].iter().all(char::is_ascii_digit);
    let last = matches!(chars[8].to_ascii_uppercase(), 'A'..='D');
    // « au 12 34 56 a » is no NINO: small letters match only without spaces.
    let small = chars.iter().any(char::is_ascii_lowercase) && to - pos > 9;
    (digits && last && !small && scanner.is_word_end(to))
        .then(|| scanner.match_span(PiiKind::Nino, pos, to))?
}
