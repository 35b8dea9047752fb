//! Finds the numbers of documents: passports, identity cards, licences, tax and health numbers.
//!
//! Most of these numbers have no check digit, and no form of their own. So the name of the document
//! must be among the words before the number, nearer than a word for another thing. Health and
//! insurance numbers need their check digit too.

use super::checks::{is_nhs_number, passes_luhn};
use super::cue::{NON_PERSONAL_CUES, WordsBefore, is_quantity};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// A kind of document, the words for it, and the length of its numbers.
struct DocumentRule {
    rule: &'static str,
    /// Words that name the document.
    cues: &'static str,
    /// Words of which one must be near too, where a cue alone is too frequent; else empty.
    also: &'static str,
    /// Words that mark another thing than the document, when they are nearer than a cue.
    negatives: &'static str,
    /// Least and greatest count of letters and digits.
    chars: (usize, usize),
    digits_min: usize,
}

/// Most words between the name of a document and its number.
const DOCUMENT_WORDS_MAX: usize = 7;

/// Words that mark a telephone, a price or a date near the name of a document.
const OTHER_NUMBERS: &str = "tel telephone phone mobile portable fax whatsapp call appel* rappel* joindre contact* \
                             price prix montant amount cout costs cost commande order ticket dossier facture invoice \
                             version page vol flight euros euro";

const DOCUMENT_RULES: [DocumentRule; 7] = [
    DocumentRule {
        rule: "number of a passport after its name",
        cues: "passeport passeports passport passports reisepass pasaporte passaporto",
        also: "",
        negatives: "",
        chars: (7, 9),
        digits_min: 2,
    },
    DocumentRule {
        rule: "number of an identity card after its name",
        cues: "cni cnie identite identity sejour dni nie personalausweis perso",
        also: "",
        negatives: "theft usurpation",
        chars: (7, 12),
        digits_min: 2,
    },
    DocumentRule {
        rule: "number of an identity card after its name",
        cues: "id",
        also: "card national government state photo green",
        negatives: "user order session product",
        chars: (7, 12),
        digits_min: 2,
    },
    DocumentRule {
        rule: "number of a driving licence after its name",
        cues: "permis conduire licence license driver drivers driving dvla dl fuhrerschein",
        also: "",
        negatives: "construire amenager demolir key cle software logiciel plate plates product serial windows \
                    office business fishing hunting marriage mit apache gpl bus taxi",
        chars: (7, 18),
        digits_min: 5,
    },
    DocumentRule {
        rule: "number of a tax payer after its name",
        cues: "fiscal fiscale spi utr itin steuernummer steuerid tin nif taxpayer",
        also: "",
        negatives: "annee year",
        chars: (9, 14),
        digits_min: 9,
    },
    DocumentRule {
        rule: "number of a tax payer after its name",
        cues: "tax impot impots",
        also: "numero number no n id reference identifiant",
        negatives: "annee year taux rate avis",
        chars: (9, 13),
        digits_min: 9,
    },
    DocumentRule {
        rule: "number of a patient or a resident after its name",
        cues: "medicare aadhaar allocataire mutuelle patient adherent mrn",
        also: "numero number no n id card carte",
        negatives: "",
        chars: (7, 15),
        digits_min: 6,
    },
];

/// Matches the number of a document whose name is before it.
pub(super) fn match_document(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.char_at(pos).is_ascii_alphanumeric() || !scanner.is_word_start(pos) {
        return None;
    }
    let groups = Groups::read(scanner, pos);
    if groups.digits == 0 || groups.chars < 7 || is_date(&groups) {
        return None;
    }
    let words = WordsBefore::read(scanner, pos);
    if let Some(found) = match_checked(scanner, pos, &groups, &words) {
        return Some(found);
    }
    for rule in &DOCUMENT_RULES {
        let other = |list: &str| words.nearest(DOCUMENT_WORDS_MAX, rule.cues, list);
        let Some(cue) = other(rule.negatives).filter(|_| other(OTHER_NUMBERS).is_some()) else {
            continue;
        };
        let has_all = rule.also.is_empty() || words.contains(DOCUMENT_WORDS_MAX, rule.also);
        if !has_all {
            continue;
        }
        if let Some(to) = groups.end_within(rule.chars, rule.digits_min)
            && !is_quantity(scanner, to)
        {
            let found = scanner.match_span(PiiKind::Id, pos, to)?;
            return Some(found.because(rule.rule, Some(cue)));
        }
    }
    None
}

/// Matches the health and insurance numbers that have a check digit: the British NHS number and the
/// Canadian social insurance number.
fn match_checked(
    scanner: &Scanner<'_>,
    pos: usize,
    groups: &Groups,
    words: &WordsBefore,
) -> Option<PiiMatch> {
    let digits: Vec<u8> = groups.number_digits();
    if digits.len() != groups.chars {
        return None;
    }
    let nhs = words.nearest(DOCUMENT_WORDS_MAX, "nhs", NON_PERSONAL_CUES);
    if let Some(cue) = nhs.filter(|_| digits.len() == 10 && is_nhs_number(&digits)) {
        let found = scanner.match_span(PiiKind::Id, pos, groups.end())?;
        return Some(found.because("check digit of an NHS number after its name", Some(cue)));
    }
    let sin = words
        .nearest(DOCUMENT_WORDS_MAX, "sin nas insurance assurance", NON_PERSONAL_CUES)
        .filter(|_| words.contains(DOCUMENT_WORDS_MAX, "sin nas social sociale"));
    if let Some(cue) = sin.filter(|_| digits.len() == 9 && passes_luhn(&digits)) {
        let found = scanner.match_span(PiiKind::Id, pos, groups.end())?;
        return Some(found.because("Luhn, after a name of the social insurance", Some(cue)));
    }
    None
}

/// Most groups of one number, and most characters of all of them.
const GROUPS_MAX: usize = 6;
const GROUP_CHARS_MAX: usize = 20;

/// Groups of letters and digits with one separator between them.
pub(super) struct Groups {
    /// Length of each group, how many of its characters are digits, and its end.
    parts: [(usize, usize, usize); GROUPS_MAX],
    len: usize,
    /// Counts over all groups.
    chars: usize,
    digits: usize,
    text: Vec<char>,
}

impl Groups {
    /// Reads the groups at `pos`. A group of small letters, or one without digits that is longer than
    /// three capitals, begins the next word instead.
    pub(super) fn read(scanner: &Scanner<'_>, pos: usize) -> Self {
        let mut groups =
            Self { parts: [(0, 0, 0); GROUPS_MAX], len: 0, chars: 0, digits: 0, text: Vec::new() };
        let mut from = pos;
        while groups.len < GROUPS_MAX {
            let to =
                scanner.scan_at_most(from, GROUP_CHARS_MAX + 1, |ch| ch.is_ascii_alphanumeric());
            let digits = scanner.chars(from, to).filter(char::is_ascii_digit).count();
            let capitals = scanner.chars(from, to).all(|ch| !ch.is_ascii_lowercase());
            let is_group = to > from
                && to - from <= GROUP_CHARS_MAX
                && !is_word_char(scanner.char_at(to))
                && if groups.len == 0 { digits > 0 || capitals } else { capitals }
                && (groups.len == 0 || digits > 0 || to - from <= 3);
            if !is_group {
                break;
            }
            groups.parts[groups.len] = (to - from, digits, to);
            groups.len += 1;
            groups.chars += to - from;
            groups.digits += digits;
            groups.text.extend(scanner.chars(from, to));
            if !matches!(scanner.char_at(to), ' ' | '-' | '.' | '/') {
                break;
            }
            from = to + 1;
        }
        groups
    }

    /// Position after the last group.
    fn end(&self) -> usize {
        self.parts[self.len - 1].2
    }

    /// Returns the end of the longest number that begins with the first group and has a count of
    /// characters in `chars` and at least `digits_min` digits.
    pub(super) fn end_within(&self, chars: (usize, usize), digits_min: usize) -> Option<usize> {
        (1..=self.len).rev().find_map(|len| {
            let parts = &self.parts[..len];
            let count: usize = parts.iter().map(|part| part.0).sum();
            let digits: usize = parts.iter().map(|part| part.1).sum();
            let whole = (chars.0..=chars.1).contains(&count) && digits >= digits_min;
            // Small letters are read only in a number that digits prevail in.
            let text = &self.text[..count];
            let small = text.iter().any(char::is_ascii_lowercase) && digits * 2 < count;
            // A last group of letters is the next word, unless the number has a check letter there.
            let ends = len == 1 || parts[len - 1].1 > 0 || parts[len - 1].0 == 1;
            let french_phone = count == 10 && digits == 10 && text[0] == '0';
            (whole && !small && ends && !french_phone).then(|| parts[len - 1].2)
        })
    }

    fn number_digits(&self) -> Vec<u8> {
        self.text.iter().filter_map(|ch| ch.to_digit(10)).map(|digit| digit as u8).collect()
    }
}

/// Returns whether the groups are a date, or years.
fn is_date(groups: &Groups) -> bool {
    let lengths: Vec<usize> = groups.parts[..groups.len].iter().map(|part| part.0).collect();
    let only_digits = groups.digits == groups.chars;
    only_digits && matches!(lengths[..], [1 | 2, 1 | 2, 4, ..] | [4, 1 | 2, 1 | 2, ..] | [4, 4])
}
