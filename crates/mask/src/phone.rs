//! Finds telephones: international ones, and national ones of France, Britain and North America.
//!
//! The groups of the digits and the words before them decide. A number that could also be an order
//! number needs a word that marks it as a telephone.

use super::cue::{NON_PERSONAL_CUES, WordsBefore, is_quantity};
use super::digits::{DigitRun, DigitSeparator};
use super::scanner::Scanner;
use super::{PiiKind, PiiMatch};

/// Words before a number that mark it as a telephone.
pub(super) const PHONE_CUES: &str = "tel telephone telephones tels phone phones mobile mobiles portable portables cell \
                      cellphone fax whatsapp sms call* ring text appel* rappel* joindre joignable fixe gsm \
                      numero contact* dial reach";

/// Matches a telephone: international with `+` or `00`, or national of France, Britain or North
/// America. Any other one needs a word that marks it.
pub(super) fn match_phone(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
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
    let is_called = count.is_none();
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
    let found = scanner.match_span(PiiKind::Phone, pos, phone_extension_end(scanner, end))?;
    if !is_called {
        return Some(found);
    }
    let cue = WordsBefore::read(scanner, pos).nearest(CALLED_WORDS_MAX, PHONE_CUES, "");
    Some(found.because("digits after a word for a telephone", cue))
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

/// Words after which seven to thirteen digits are a telephone, whatever their groups.
const CALL_CUES: &str = "tel telephone phone mobile portable cell cellphone fax whatsapp sms gsm call calling appelez \
                         appeler appelle rappeler rappelez joindre dial";

/// Most words between such a word and the number.
const CALLED_WORDS_MAX: usize = 6;

/// Returns the digit count, seven to thirteen, of a number after a word that marks it as a
/// telephone.
fn called_digit_count(scanner: &Scanner<'_>, pos: usize, run: &DigitRun) -> Option<usize> {
    let is_allowed = |count: &usize| {
        run.can_end_after(*count) && run.separators_are_among(*count, &PHONE_SEPARATORS)
    };
    let count = (7..=13).rev().find(is_allowed)?;
    let groups = run.group_lengths(count);
    let date = matches!(groups[..], [2, 2, 4] | [4, 2, 2] | [1, 2, 4] | [2, 1, 4] | [1, 1, 4]);
    let has_phone_cue = scanner.nearest_cue(pos, CALL_CUES, NON_PERSONAL_CUES) == Some(true)
        || count >= 9 && follows_number_is(scanner, pos);
    (has_phone_cue && !date && !is_quantity(scanner, run.ends[count - 1])).then_some(count)
}

/// Returns whether « number is », « numéro est » or « number: » is directly before `pos`, and no word
/// for the number of another thing.
fn follows_number_is(scanner: &Scanner<'_>, pos: usize) -> bool {
    let words = WordsBefore::read(scanner, pos);
    let number = "number numero";
    let linked = words.word(0).is_in("is est")
        && (words.word(1).is_in(number) || words.word(2).is_in(number))
        || words.word(0).is_in(number)
            && scanner.chars(pos.saturating_sub(3), pos).any(|ch| ch == ':');
    let others = "account compte card carte social security securite secu plate passport passeport licence license \
                  permis fiscal tax client customer member membre siret siren room lucky winning";
    linked && !words.contains(6, NON_PERSONAL_CUES) && !words.contains(6, others)
}

/// Returns whether ten adjacent digits that begin like a French telephone start at `pos`.
pub(super) fn is_ten_digit_phone(scanner: &Scanner<'_>, pos: usize) -> bool {
    scanner.char_at(pos) == '0'
        && matches!(scanner.char_at(pos + 1), '1'..='9')
        && !scanner.char_before(pos).is_ascii_digit()
        && scanner.scan_at_most(pos, 11, |ch| ch.is_ascii_digit()) == pos + 10
}
