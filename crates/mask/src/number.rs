//! Finds numbers of persons and companies: telephones, cards, accounts, social security.
//!
//! A run of digits is read with the separators between them. Each rule defines the lengths, groups
//! and check digit that it needs. A number without a check digit could be an order number as well.
//! Then the words before it decide, the nearest one first.

use super::checks::{
    has_nir_shape, iban_length, is_french_vat, is_iban, is_nir, is_siret, passes_luhn,
};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Most digits that are read in one run. IBANs contain letters, so they are read elsewhere.
const DIGITS_MAX: usize = 24;

/// Separator between two digits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DigitSeparator {
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
struct DigitRun {
    digits: [u8; DIGITS_MAX],
    separators: [DigitSeparator; DIGITS_MAX],
    ends: [usize; DIGITS_MAX],
    len: usize,
}

impl DigitRun {
    fn read(scanner: &Scanner<'_>, from: usize) -> Self {
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

    fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// Returns whether a number can end after `count` digits: the run ends there, or a separator
    /// follows.
    fn can_end_after(&self, count: usize) -> bool {
        count > 0
            && count <= self.len
            && (count == self.len || self.separators[count] != DigitSeparator::None)
    }

    /// Returns the number of digits in each group among the first `count` digits.
    fn group_lengths(&self, count: usize) -> Vec<usize> {
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
    fn separators_are_among(&self, count: usize, allowed: &[DigitSeparator]) -> bool {
        self.separators[1..count]
            .iter()
            .all(|gap| *gap == DigitSeparator::None || allowed.contains(gap))
    }

    /// Returns whether groups break only before the digits at `indexes`, or at a line break.
    fn breaks_only_before(&self, count: usize, indexes: &[usize]) -> bool {
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

const GROUP_SEPARATORS: [DigitSeparator; 4] =
    [DigitSeparator::Space, DigitSeparator::LineBreak, DigitSeparator::Dash, DigitSeparator::Dot];

/// Words before a number that mark it as a telephone.
const PHONE_CUES: &str = "tel telephone telephones tels phone phones mobile mobiles portable portables cell \
                      cellphone fax whatsapp sms call* ring text appel* rappel* joindre joignable fixe gsm \
                      numero contact* dial reach";

/// Words before a number that mark it as an order, a product, an amount or another thing.
pub(super) const NON_PERSONAL_CUES: &str = "commande commandes cmd order orders ordre ref reference references ticket tickets dossier \
                     dossiers facture factures invoice invoices colis tracking suivi parcel isbn ean upc sku article \
                     articles id ids identifiant build version timestamp epoch serie serial lot batch contrat contract \
                     transaction reservation booking case issue bug code codes devis modele model produit product \
                     item population habitants total page pages postid tweet montant amount solde prix price barre barres barcode gencod";

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

/// Returns whether ten adjacent digits that begin like a French telephone start at `pos`.
fn is_ten_digit_phone(scanner: &Scanner<'_>, pos: usize) -> bool {
    scanner.char_at(pos) == '0'
        && matches!(scanner.char_at(pos + 1), '1'..='9')
        && !scanner.char_before(pos).is_ascii_digit()
        && scanner.scan_at_most(pos, 11, |ch| ch.is_ascii_digit()) == pos + 10
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

/// Returns whether a unit follows: money, people, distance.
fn is_quantity(scanner: &Scanner<'_>, pos: usize) -> bool {
    let pos = scanner.skip_spaces(pos);
    let units = "euro euros eur usd dollar dollars f francs km kg g m habitants inhabitants people personnes \
                 visiteurs vues views pounds livres yen octets bytes tonnes users utilisateurs votes voix fois times";
    matches!(scanner.char_at(pos), '€' | '$' | '£' | '%' | '¥')
        || scanner.word_at(pos).0.is_in(units)
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
    let has_nir_cue = chars.len() >= 13
        && ends_word(13)
        && has_nir_shape(&chars[..13])
        && scanner.has_cue(pos, SOCIAL_SECURITY_CUES);
    (has_nir_cue && (chars.len() == 13 || ends_word(chars.len()))).then(|| {
        scanner.match_span(PiiKind::Nir, pos, if chars.len() == 15 { ends[14] } else { ends[12] })
    })?
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

/// Matches a telephone: international with `+` or `00`, or national of France, Britain or North
/// America. Any other one needs a word that marks it.
fn match_phone(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let mut from = pos;
    let mut bracket = false;
    if scanner.char_at(from) == '(' {
        (from, bracket) = (from + 1, true);
    }
    let plus = scanner.char_at(from) == '+';
    if plus {
        from = scanner.scan_at_most(from + 1, 2, |ch| matches!(ch, ' ' | '('));
    }
    let run = DigitRun::read(scanner, from);
    if run.len < 7
        || (!plus
            && bracket
            && run.separators[1..6].iter().all(|gap| *gap != DigitSeparator::Parenthesis))
    {
        return None;
    }
    let count = match (plus, &run.digits[..2]) {
        (true, _) => international_digit_count(scanner, &run, 0),
        (false, [0, 0]) => international_digit_count(scanner, &run, 2),
        (false, _) => national_digit_count(scanner, pos, &run),
    };
    let count =
        count.or_else(|| (!plus).then(|| called_digit_count(scanner, pos, &run)).flatten())?;
    let end = run.ends[count - 1];
    let continues = matches!(scanner.char_at(end), '.' | '/' | ':')
        && scanner.char_at(end + 1).is_ascii_digit()
        && !(scanner.char_at(end) == '/' && is_ten_digit_phone(scanner, end + 1))
        && run.group_lengths(count).len() == 1;
    if continues || (plus && is_quantity(scanner, end)) {
        return None;
    }
    scanner.match_span(PiiKind::Phone, pos, phone_extension_end(scanner, end))
}

/// Returns the end of an extension such as `x123`, `ext. 12` or `poste 5`, or `end` without an
/// extension.
fn phone_extension_end(scanner: &Scanner<'_>, end: usize) -> usize {
    let pos = scanner.scan_at_most(end, 2, |ch| matches!(ch, ' ' | ','));
    let (word, mut next) = scanner.word_at(pos);
    if !word.is_in("x ext extension poste") {
        return end;
    }
    next = scanner.scan_at_most(next, 2, |ch| matches!(ch, ' ' | '.' | ':'));
    let to = scanner.scan_at_most(next, 6, |ch| ch.is_ascii_digit());
    if (1..=5).contains(&(to - next)) { to } else { end }
}

/// Returns whether a unit of time follows: « 35 ans », « 18h ».
fn is_followed_by_time(scanner: &Scanner<'_>, pos: usize) -> bool {
    let (word, _) = scanner.word_at(scanner.scan_at_most(pos, 1, |ch| ch == ' '));
    word.is_in("an ans h heure heures min minutes mn")
}

const PHONE_SEPARATORS: [DigitSeparator; 6] = [
    DigitSeparator::Space,
    DigitSeparator::LineBreak,
    DigitSeparator::Dash,
    DigitSeparator::Dot,
    DigitSeparator::Parenthesis,
    DigitSeparator::Slash,
];

/// Digit counts of a country's international numbers, country code included, the likeliest first.
struct KnownLengths {
    country_code: &'static [u8],
    counts: &'static [usize],
    /// Counts when the 0 of national numbers stays after the country code: « +33 (0)6 … ».
    with_trunk_zero: &'static [usize],
}

/// North America, France and Britain: the countries whose numbers are tried with exact lengths.
const KNOWN_LENGTHS: [KnownLengths; 3] = [
    KnownLengths { country_code: &[1], counts: &[11], with_trunk_zero: &[11] },
    KnownLengths { country_code: &[3, 3], counts: &[11], with_trunk_zero: &[12] },
    KnownLengths { country_code: &[4, 4], counts: &[12, 11], with_trunk_zero: &[13, 12] },
];

/// Returns the number of digits of an international number whose country code starts after `skip`
/// digits.
///
/// E.164 allows fifteen digits. The countries of [`KNOWN_LENGTHS`] have known lengths, which are
/// tried first. Otherwise the longest possible count of 8 to 15 digits is taken.
fn international_digit_count(scanner: &Scanner<'_>, run: &DigitRun, skip: usize) -> Option<usize> {
    let digits = run.digits().get(skip..)?;
    if matches!(digits, [0, ..] | []) {
        return None;
    }
    let known = KNOWN_LENGTHS.iter().find(|known| digits.starts_with(known.country_code));
    let exact: &[usize] = known.map_or(&[], |known| {
        let has_trunk_zero = digits.get(known.country_code.len()) == Some(&0);
        if has_trunk_zero { known.with_trunk_zero } else { known.counts }
    });
    let is_allowed = |count: &usize| {
        run.can_end_after(*count) && run.separators_are_among(*count, &PHONE_SEPARATORS)
    };
    let exact_count = exact.iter().map(|count| count + skip).find(|count| is_allowed(count));
    let longest_count = || (skip + 8..=skip + 15).rev().find(|count| is_allowed(count));
    let count = exact_count.or_else(longest_count)?;
    // Many order numbers begin with `00…`. So these need at least eleven digits, and no word that
    // marks an order.
    let start = run.ends[0] - 1;
    let is_accepted = skip == 0
        || count >= 11 && scanner.nearest_cue(start, PHONE_CUES, NON_PERSONAL_CUES) != Some(false);
    is_accepted.then_some(count)
}

/// Returns the number of digits of a national number of France, Britain or North America.
fn national_digit_count(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<usize> {
    let number = NationalNumber { scanner, pos, run };
    match run.digits() {
        [0, 1..=9, ..] if number.is_french() => Some(10),
        [0, 1..=9, ..] => number.is_british().then_some(11),
        _ => number.american_digit_count(),
    }
}

/// Second digits of British numbers, after the 0 (Ofcom, National Telephone Numbering Plan).
const BRITISH_SECOND_DIGITS: [u8; 7] = [1, 2, 3, 5, 7, 8, 9];

/// Groups in which the eleven digits of a British number are written.
const BRITISH_GROUPS: [&[usize]; 8] =
    [&[11], &[5, 6], &[5, 3, 3], &[3, 4, 4], &[4, 3, 4], &[5, 2, 4], &[4, 7], &[3, 8]];

/// Digits that may be a national telephone number, with the words before them.
struct NationalNumber<'a> {
    scanner: &'a Scanner<'a>,
    pos: usize,
    run: &'a DigitRun,
}

impl NationalNumber<'_> {
    /// Returns whether the first ten digits are a French number, and no counting and no date.
    fn is_french(&self) -> bool {
        let run = self.run;
        let groups = run.group_lengths(run.len);
        let date = groups.starts_with(&[2, 2, 4]) && matches!(run.digits[4..6], [1, 9] | [2, 0]);
        // « 0 6 1 2 … » can be a telephone; single digits from « 0 1 » on are counting.
        let single = self.is_french_mobile() && run.group_lengths(10.min(run.len)).len() == 10;
        let wide = groups.iter().take(5).all(|group| *group >= 2);
        let counting = groups.starts_with(&[2, 2])
            && follows_two_pairs(self.scanner, self.pos)
            && !follows_five_pairs(self.scanner, self.pos);
        self.is_allowed(10)
            && !self.is_row_of_pairs(&groups)
            && !counting
            && !date
            && (wide || single || self.cue() == Some(true))
            && !self.is_excluded(10)
            && has_uniform_separators(run, 10)
    }

    /// Returns whether the digits are six pairs or more, which are no telephone, except two
    /// telephones in a row, or a mobile number before an age or an hour.
    fn is_row_of_pairs(&self, groups: &[usize]) -> bool {
        let run = self.run;
        let pair = |index: usize| 10 * run.digits[2 * index] + run.digits[2 * index + 1];
        // « 01 02 03 04 … » is counting.
        let two_telephones = groups.len() == 10
            && groups.iter().all(|group| *group == 2)
            && run.digits[10] == 0
            && pair(1) != pair(0) + 1;
        let aged = self.is_french_mobile()
            && groups.len() == 6
            && is_followed_by_time(self.scanner, run.ends[run.len - 1]);
        groups.starts_with(&[2; 6])
            && run.separators[10] == run.separators[2]
            && !(two_telephones || aged)
    }

    /// Returns whether the first eleven digits are a British number in its usual groups.
    fn is_british(&self) -> bool {
        let groups = self.run.group_lengths(11.min(self.run.len));
        BRITISH_SECOND_DIGITS.contains(&self.run.digits[1])
            && self.is_allowed(11)
            && BRITISH_GROUPS.contains(&&groups[..])
            && !self.is_excluded(11)
    }

    /// Returns the digit count of a North American number: ten, or eleven with the 1 before it.
    fn american_digit_count(&self) -> Option<usize> {
        let run = self.run;
        let skip = usize::from(
            run.digits[0] == 1
                && (run.separators[1] != DigitSeparator::None
                    || run.can_end_after(11) && !run.can_end_after(10)),
        );
        let count = 10 + skip;
        let area = |index: usize| matches!(run.digits().get(skip + index), Some(2..=9));
        let breaks = run.breaks_only_before(count.min(run.len), &[skip, skip + 3, skip + 6]);
        if !self.is_allowed(count) || !breaks {
            return None;
        }
        let after_area = run.separators[skip + 3];
        let split =
            after_area != DigitSeparator::None && run.separators[skip + 6] != DigitSeparator::None;
        let bracket = after_area == DigitSeparator::Parenthesis;
        let has_american_shape = match (split || bracket, self.is_bare(count)) {
            // With dashes or dots, groups of three, three and four digits can only be a telephone.
            (true, _) => {
                area(0)
                    || bracket
                    || after_area != DigitSeparator::Space
                    || self.scanner.has_cue(self.pos, PHONE_CUES)
            }
            (false, true) => skip == 0 && area(0) && area(3) && self.cue() != Some(false),
            (false, false) => area(0) && area(3),
        };
        let is_quantity_after =
            after_area == DigitSeparator::Space && is_quantity(self.scanner, run.ends[count - 1]);
        (has_american_shape
            && !is_quantity_after
            && (skip == 0 || split || self.cue() == Some(true)))
        .then_some(count)
    }

    fn is_french_mobile(&self) -> bool {
        matches!(self.run.digits(), [0, 6 | 7, ..])
    }

    /// Returns whether a number can end after `count` digits, with the separators of telephones.
    fn is_allowed(&self, count: usize) -> bool {
        self.run.can_end_after(count) && self.run.separators_are_among(count, &PHONE_SEPARATORS)
    }

    /// Returns whether the first `count` digits have no separators.
    fn is_bare(&self, count: usize) -> bool {
        self.run.group_lengths(count).len() == 1
    }

    /// Returns whether digits without groups follow a word that marks another thing.
    fn is_excluded(&self, count: usize) -> bool {
        self.is_bare(count) && self.cue() == Some(false)
    }

    /// Returns whether the nearest word marks a telephone or another thing; `None` without one.
    ///
    /// An ungrouped mobile number is an order number only when a word says so in the same clause.
    fn cue(&self) -> Option<bool> {
        match self.is_french_mobile() && self.run.can_end_after(10) && self.is_bare(10) {
            true => self.scanner.nearest_cue_in_clause(self.pos, PHONE_CUES, NON_PERSONAL_CUES),
            false => self.scanner.nearest_cue(self.pos, PHONE_CUES, NON_PERSONAL_CUES),
        }
    }
}

/// Returns whether two pairs of digits precede `pos`. Then the digits end a longer row.
fn follows_two_pairs(scanner: &Scanner<'_>, pos: usize) -> bool {
    let pair = |end: usize| {
        end >= 3
            && scanner.char_at(end - 1) == ' '
            && scanner.char_at(end - 2).is_ascii_digit()
            && scanner.char_at(end - 3).is_ascii_digit()
            && !scanner.char_before(end - 3).is_ascii_digit()
    };
    pair(pos) && pair(pos - 3)
}

/// Returns whether a whole telephone in pairs precedes `pos`.
fn follows_five_pairs(scanner: &Scanner<'_>, pos: usize) -> bool {
    let Some(from) = pos.checked_sub(15) else { return false };
    let pair = |index: usize| {
        scanner.char_at(index).is_ascii_digit()
            && scanner.char_at(index + 1).is_ascii_digit()
            && scanner.char_at(index + 2) == ' '
    };
    let last = |index: usize| scanner.char_at(index + 1).to_digit(10).unwrap_or(0);
    scanner.char_at(from) == '0'
        && !scanner.char_before(from).is_ascii_digit()
        && last(from + 3) != (last(from) + 1) % 10
        && (0..5).all(|number| pair(from + 3 * number))
}

/// Returns whether all groups have the same separator. One may differ; line breaks and brackets do
/// not count.
fn has_uniform_separators(run: &DigitRun, count: usize) -> bool {
    let mut kinds = run.separators[1..count].iter().filter(|gap| {
        matches!(
            gap,
            DigitSeparator::Space
                | DigitSeparator::Dash
                | DigitSeparator::Dot
                | DigitSeparator::Slash
        )
    });
    let first = kinds.next();
    let other = kinds.filter(|gap| Some(*gap) != first).count();
    other <= 1
}

/// Returns the digit count, seven to thirteen, of a number after a word that marks it as a
/// telephone.
fn called_digit_count(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<usize> {
    let strong = "tel telephone phone mobile portable cell cellphone fax whatsapp sms gsm call calling appelez \
                  appeler appelle rappeler rappelez joindre dial";
    let is_allowed = |count: &usize| {
        run.can_end_after(*count) && run.separators_are_among(*count, &PHONE_SEPARATORS)
    };
    let count = (7..=13).rev().find(is_allowed)?;
    let groups = run.group_lengths(count);
    let date = matches!(groups[..], [2, 2, 4] | [4, 2, 2] | [1, 2, 4] | [2, 1, 4] | [1, 1, 4]);
    let has_phone_cue = scanner.nearest_cue(pos, strong, NON_PERSONAL_CUES) == Some(true);
    (has_phone_cue && !date && !is_quantity(scanner, run.ends[count - 1])).then_some(count)
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
    if "DFIQUV".contains(first)
        || "DFIOQUV".contains(second)
        || never.iter().any(|pair| pair.chars().eq([first, second]))
    {
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
