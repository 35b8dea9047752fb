//! Finds number plates of vehicles: France, Britain, Germany and, after a word for them, all others.
//!
//! Only the French form with dashes is rare enough to count alone. Every other form needs a word for
//! a plate or a vehicle before it.

use super::cue::{NON_PERSONAL_CUES, WordsBefore};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words that name a number plate. After them any form counts.
const PLATE_CUES: &str = "plaque plaques plate plates immatriculation immatriculee immatriculees immatricule immatricules \
                          immat kennzeichen numberplate matricula targa";

/// Words that name a registration or a vehicle. After them only the forms of a country count.
const VEHICLE_CUES: &str = "registration registered reg rego vehicule vehicle voiture voitures car cars van camion truck moto \
                            scooter motorbike bike auto clio golf peugeot renault citroen bmw audi toyota ford tesla";

/// Words of which one before « plate » or « plaque » marks another thing.
const OTHER_PLATES: &str =
    "cuisson chauffante induction platre plasterboard tectonique commemorative dinner hot steel";

/// Most words between the word for a plate and the plate.
const PLATE_WORDS_MAX: usize = 5;

/// Matches a number plate.
pub(super) fn match_plate(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    if !first.is_alphanumeric() || !scanner.is_word_start(pos) || scanner.char_before(pos) == '-' {
        return None;
    }
    let french = french_plate_end(scanner, pos);
    let shaped = french
        .or_else(|| shape_end(scanner, pos, "AA00 AAA"))
        .or_else(|| shape_end(scanner, pos, "AA00AAA"))
        .or_else(|| german_plate_end(scanner, pos));
    let any = any_plate_end(scanner, pos);
    if shaped.is_none() && any.is_none() {
        return None;
    }
    let words = WordsBefore::read(scanner, pos);
    let negatives = OTHER_PLATES;
    if let Some(cue) = words.nearest(PLATE_WORDS_MAX, PLATE_CUES, negatives)
        && !words.contains(PLATE_WORDS_MAX, OTHER_PLATES)
        && let Some(to) = shaped.or(any)
    {
        let found = scanner.match_span(PiiKind::Plate, pos, to)?;
        return Some(found.because("number plate after a word for it", Some(cue)));
    }
    let to = shaped?;
    let vehicle = words.nearest(PLATE_WORDS_MAX, VEHICLE_CUES, NON_PERSONAL_CUES);
    let found = scanner.match_span(PiiKind::Plate, pos, to)?;
    if vehicle.is_some() {
        return Some(found.because("form of a number plate after a word for a vehicle", vehicle));
    }
    let has_dashes =
        french.is_some() && scanner.chars(pos, to).filter(|ch| *ch == '-').count() == 2;
    let is_thing = words.contains(3, NON_PERSONAL_CUES);
    let alone = has_dashes && first.is_ascii_uppercase() && to - pos == 9 && !is_thing;
    alone.then(|| found.because("French number plate with dashes", None))
}

/// Returns the end of a form at `pos`, in which `A` is a capital, `0` a digit, and any other
/// character itself; nothing may continue it.
fn shape_end(scanner: &Scanner<'_>, pos: usize, shape: &str) -> Option<usize> {
    let fits = shape.chars().enumerate().all(|(index, expected)| {
        let ch = scanner.char_at(pos + index);
        match expected {
            'A' => ch.is_ascii_uppercase(),
            '0' => ch.is_ascii_digit(),
            _ => ch == expected,
        }
    });
    let to = pos + shape.chars().count();
    (fits && ends_plate(scanner, to)).then_some(to)
}

/// Returns the end of a French plate: `AB-123-CD` without the letters that are never issued
/// (<https://fr.wikipedia.org/wiki/Plaque_d%27immatriculation_fran%C3%A7aise>), or `1234 AB 75` of
/// before 2009. Small letters count too.
fn french_plate_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let letter = |pos: usize| {
        let ch = scanner.char_at(pos).to_ascii_uppercase();
        ch.is_ascii_uppercase() && !matches!(ch, 'I' | 'O' | 'U')
    };
    let digit = |pos: usize| scanner.char_at(pos).is_ascii_digit();
    let gap = |pos: usize| scanner.scan_at_most(pos, 1, |ch| matches!(ch, ' ' | '-' | '.'));
    if letter(pos) && letter(pos + 1) {
        let middle = gap(pos + 2);
        let last = gap(middle + 3);
        let fits = (middle..middle + 3).all(digit) && letter(last) && letter(last + 1);
        let same = last - (middle + 3) == middle - (pos + 2);
        return (fits && same && ends_plate(scanner, last + 2)).then_some(last + 2);
    }
    let number = scanner.scan_at_most(pos, 5, |ch| ch.is_ascii_digit());
    let middle = gap(number);
    let letters = scanner.scan_at_most(middle, 4, |ch| ch.is_ascii_uppercase());
    let department = gap(letters);
    let fits = (2..=4).contains(&(number - pos))
        && (2..=3).contains(&(letters - middle))
        && digit(department)
        && (digit(department + 1) || matches!(scanner.char_at(department + 1), 'A' | 'B'));
    (fits && ends_plate(scanner, department + 2)).then_some(department + 2)
}

/// Returns the end of a German plate: one to three letters, one or two letters, one to four digits,
/// `E` or `H`: `B-AB 1234`, `HH AB 123E`.
fn german_plate_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let is_letter = |ch: char| ch.is_ascii_uppercase() || matches!(ch, 'Ä' | 'Ö' | 'Ü');
    let town = scanner.scan_at_most(pos, 4, is_letter);
    let middle = scanner.scan_at_most(town, 1, |ch| matches!(ch, ' ' | '-' | ':'));
    let letters = scanner.scan_at_most(middle, 3, is_letter);
    let number = scanner.scan_at_most(letters, 1, |ch| matches!(ch, ' ' | '-'));
    let digits = scanner.scan_at_most(number, 5, |ch| ch.is_ascii_digit());
    let to = scanner.scan_at_most(digits, 1, |ch| matches!(ch, 'E' | 'H'));
    let fits = (1..=3).contains(&(town - pos))
        && middle > town
        && (1..=2).contains(&(letters - middle))
        && (1..=4).contains(&(digits - number));
    (fits && ends_plate(scanner, to)).then_some(to)
}

/// Returns the end of one to four groups of capitals and digits, five to ten characters in all,
/// with letters and digits.
fn any_plate_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let is_plate_char = |ch: char| ch.is_ascii_uppercase() || ch.is_ascii_digit();
    let (mut from, mut chars, mut end) = (pos, 0, None);
    let (mut digits, mut letters) = (0, 0);
    for _ in 0..4 {
        let to = scanner.scan_at_most(from, 9, is_plate_char);
        if to == from || is_word_char(scanner.char_at(to)) {
            break;
        }
        chars += to - from;
        digits += scanner.chars(from, to).filter(char::is_ascii_digit).count();
        letters += scanner.chars(from, to).filter(char::is_ascii_uppercase).count();
        if (5..=10).contains(&chars) && digits > 0 && letters > 0 && ends_plate(scanner, to) {
            end = Some(to);
        }
        if !matches!(scanner.char_at(to), ' ' | '-' | '.') {
            break;
        }
        from = to + 1;
    }
    end
}

/// Returns whether nothing continues the plate at `pos`.
fn ends_plate(scanner: &Scanner<'_>, pos: usize) -> bool {
    let continues = scanner.char_at(pos) == '-' && is_word_char(scanner.char_at(pos + 1));
    scanner.is_word_end(pos) && !continues
}
