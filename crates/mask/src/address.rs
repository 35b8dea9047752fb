//! Finds French and English streets with their number, with the place when it follows, and post
//! boxes.
//!
//! A street has a number, a street type (before the name in French, after it in English) and a
//! name. Capitals and the particles between them mark the name. Without capitals, only street types
//! with no other meaning count. A postal code or a town alone stays in the text.

use super::english_street::english_street_end;
use super::place::named_place_end;
use super::scanner::{Scanner, is_word_char};
use super::town::{code_and_town_end, complement_end, place_end, skip_comma, state_code_end};
use super::{PiiKind, PiiMatch};

pub(super) fn match_address(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !is_word_char(scanner.char_at(pos)) || !scanner.is_word_start(pos) {
        return None;
    }
    let before = scanner.char_before(pos);
    let is_inner = matches!(before, '.' | ',' | '/' | ':' | '-' | '\'')
        && pos > 1
        && is_word_char(scanner.char_at(pos - 2));
    if is_inner && before != '\'' && !(before == ',' || before == '.') {
        return None;
    }
    let to = if scanner.char_at(pos).is_ascii_digit() {
        if is_inner && pos > 1 && scanner.char_at(pos - 2).is_ascii_digit() {
            return None;
        }
        let number = house_number_end(scanner, pos)?;
        let name = scanner.scan_at_most(number, 2, |ch| ch == ' ');
        let english = || (name > number).then(|| english_street_end(scanner, name)).flatten();
        french_street_end(scanner, pos, number).or_else(english)
    } else {
        post_box_end(scanner, pos)
            .or_else(|| military_end(scanner, pos))
            .or_else(|| unnumbered_street_end(scanner, pos))
            .or_else(|| flat_end(scanner, pos))
            .or_else(|| complements_end(scanner, pos))
            .or_else(|| named_place_end(scanner, pos).map(|end| place_end(scanner, end)))
    };
    scanner.match_span(PiiKind::Address, pos, to?)
}

/// Returns the end of a house number of one to five digits, with a range, a letter or `bis`; `None`
/// when it is no house number.
fn house_number_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let end = scanner.scan_at_most(pos, 6, |ch| ch.is_ascii_digit());
    if end - pos > 5 {
        return None;
    }
    // Ranges: 12-14, 12/14.
    let mut to = end;
    if matches!(scanner.char_at(to), '-' | '/') {
        let next = scanner.scan_at_most(to + 1, 5, |ch| ch.is_ascii_digit());
        if (1..=4).contains(&(next - to - 1)) {
            to = next;
        }
    }
    let (word, word_end) = scanner.word_at(to);
    // In « la 2e rue » the number counts streets.
    if word_end == to + 1 && scanner.char_at(to) == 'e' {
        return None;
    }
    if word_end > to {
        return (word.is_in("bis ter quater") || word_end - to == 1).then_some(word_end);
    }
    let blank = scanner.scan_at_most(to, 2, |ch| ch == ' ');
    let (word, word_end) = scanner.word_at(blank);
    let letter = word_end == blank + 1
        && scanner.char_at(blank).is_ascii_uppercase()
        && scanner.is_word_end(word_end)
        && word.is_in("a b c d");
    if scanner.is_word_end(word_end) && (word.is_in("bis ter quater") || letter) {
        return Some(word_end);
    }
    Some(to)
}

/// Street types that have no other meaning after a number. Those in [`AMBIGUOUS_STREET_TYPES_FR`]
/// need a name in capitals.
const STREET_TYPES_FR: &str = "rue avenue av ave boulevard bd bld blvd boul impasse imp allee allees chemin chem quai ruelle \
                          faubourg fbg rond-point r";
const AMBIGUOUS_STREET_TYPES_FR: &str = "place pl cour cours crs route rte passage psge square sq villa sentier sente voie hameau lotissement lot \
                         residence res esplanade promenade cite clos mail parvis traverse montee cote venelle rocade ch \
                         galerie terrasse hotel domaine zone za zi zac";

/// Words in small letters inside a French street name.
const NAME_PARTICLES_FR: &str = "de du des la le les l d sur sous en au aux et a saint sainte st ste lieu dit general marechal docteur \
                         dr president capitaine colonel commandant abbe pere professeur";

/// Returns the end of a French street after a house number: street type, name and place.
fn french_street_end(scanner: &Scanner<'_>, start: usize, number: usize) -> Option<usize> {
    let mut pos = number;
    if scanner.char_at(pos) == ',' {
        pos += 1;
    }
    let mut word_at = scanner.skip_spaces(pos);
    // Example: « au 5 de la rue Victor-Hugo ».
    let article = ["de la ", "de l'", "du "]
        .into_iter()
        .find(|article| scanner.starts_with(word_at, article));
    word_at += article.map_or(0, str::len);
    let (street_type, mut end) = scanner.word_at(word_at);
    let strong = street_type.is_in(STREET_TYPES_FR);
    if word_at == number
        || !(strong || street_type.is_in(AMBIGUOUS_STREET_TYPES_FR))
        || !scanner.is_word_end(end)
    {
        return None;
    }
    if scanner.char_at(end) == '.' {
        end += 1;
    }
    let abbreviated = street_type.is_in("r ch lot res sq av imp st");
    // No address: « 3 allées de légumes », « 2 rue barrée ».
    let (next, _) = scanner.word_at(scanner.scan_at_most(end, 2, |ch| ch == ' '));
    let adjectives = "barree barrees fermee fermees bloquee bloquees coupee coupees deserte de";
    let is_count = street_type.is_in("allees impasse impasses") && next.is_in("de")
        || next.is_in(adjectives) && !next.is_in("de");
    let capitals = !strong
        || abbreviated
        || article.is_some()
        || is_count
        || scanner.has_cue(start, "kilometre");
    let name = french_name_end(scanner, end, capitals)?;
    Some(place_end(scanner, name))
}

/// Returns the end of a French street name: up to nine words, at least one of which is no particle.
///
/// With `capitals`, the first such word must have a capital. Otherwise one word in small letters is
/// accepted.
fn french_name_end(scanner: &Scanner<'_>, from: usize, capitals: bool) -> Option<usize> {
    let mut pos = from;
    let mut end = None;
    let mut small = 0;
    for _ in 0..9 {
        let blank = scanner.scan_at_most(pos, 2, |ch| matches!(ch, ' ' | '\'' | '-'));
        let first = scanner.char_at(blank);
        if blank == pos || !first.is_alphanumeric() {
            break;
        }
        let next = scanner.scan_at_most(blank, 24, |ch| ch.is_alphanumeric());
        let (word, _) = scanner.word_at(blank);
        let hyphen = scanner.char_at(pos) == '-';
        if first.is_ascii_digit() {
            // Dates: « rue du 8 Mai 1945 », « rue du 11 novembre »; a postal code ends the name.
            let month = |pos: usize| {
                let (word, _) = scanner.word_at(scanner.scan_at_most(pos, 2, |ch| ch == ' '));
                word.is_in("janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre")
            };
            let digits = next - blank;
            // Example: « rue des 3 Frères ».
            let named = end.is_none()
                && scanner.char_at(next) == ' '
                && scanner.char_at(next + 1).is_uppercase();
            let year = digits == 4 && end.is_some() && matches!(scanner.char_at(blank), '1' | '2');
            if !(digits <= 2 && (month(next) || named) || year) {
                break;
            }
            pos = next;
            end = if year { Some(next) } else { end };
            continue;
        }
        if first.is_uppercase() || hyphen {
            // A single letter is no name: « quai 7, voie B ».
            end = if next - blank > 1 { Some(next) } else { end };
        } else if word.is_in(NAME_PARTICLES_FR) && small == 0 {
            // A particle belongs to the name only when another word follows.
        } else if !capitals && small == 0 && end.is_none() {
            (small, end) = (1, Some(next));
        } else if word.is_in(
            "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
        ) && end.is_none()
        {
            end = Some(next);
        } else {
            break;
        }
        pos = next;
    }
    end
}

/// Returns the end of a French street without a number, when a place such as a postal code follows
/// it.
fn unnumbered_street_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let (street_type, end) = scanner.word_at(pos);
    if !street_type.is_in("rue avenue boulevard impasse allee chemin quai place cours route")
        || !scanner.is_word_end(end)
    {
        return None;
    }
    let name = french_name_end(scanner, end, true)?;
    let to = place_end(scanner, name);
    (to > name).then_some(to)
}

/// Returns the end of an address that begins with a flat, as `Flat 4b, Evans Junction`. The street
/// needs no number.
fn flat_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let (unit_type, end) = scanner.word_at(pos);
    if !unit_type.is_in("flat studio apartment apt unit suite")
        || !scanner.char_at(pos).is_uppercase()
    {
        return None;
    }
    let number = scanner.scan_at_most(end + 1, 5, |ch| ch.is_ascii_alphanumeric());
    let street = skip_comma(scanner, number);
    if scanner.char_at(end) != ' ' || !scanner.char_at(end + 1).is_ascii_digit() || street == number
    {
        return None;
    }
    let house = house_number_end(scanner, street).filter(|to| *to > street);
    english_street_end(
        scanner,
        house.map_or(street, |to| scanner.scan_at_most(to, 2, |ch| ch == ' ')),
    )
}

/// Returns the end of complements without a street: two of them, one of which is a flat, or one before a
/// postal code and a town: `bât C, appt 23, 93200 Saint-Denis`.
fn complements_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let (mut at, mut end, mut count, mut has_flat) = (pos, pos, 0, false);
    for _ in 0..4 {
        let Some(to) = complement_end(scanner, at) else { break };
        has_flat |= scanner.word_at(at).0.is_in("apt apartment flat unit appt appartement app");
        (end, count) = (to, count + 1);
        at = skip_comma(scanner, to);
    }
    if count == 0 {
        return None;
    }
    let town = code_and_town_end(scanner, at).filter(|to| {
        // The code alone can be any number of five digits.
        scanner.chars(at, *to).any(char::is_alphabetic)
    });
    town.or((count >= 2 && has_flat).then_some(end))
}

/// Returns the end of a post box with its place: `PO Box 123`, `BP 4012`, `CS 70001`.
fn post_box_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let mut next = None;
    for name in ["po box ", "p.o. box ", "p.o.box ", "post office box ", "boite postale "] {
        if scanner.starts_with(pos, name) {
            next = Some(pos + name.chars().count());
        }
    }
    let capitals = scanner.char_at(pos).is_ascii_uppercase()
        && scanner.char_at(pos + 1).is_ascii_uppercase()
        && scanner.char_at(pos + 2) == ' ';
    let is_french_box = capitals && ["bp", "cs"].iter().any(|name| scanner.starts_with(pos, name));
    let from = next.or(is_french_box.then_some(pos + 3))?;
    let to = scanner.scan_at_most(from, 7, |ch| ch.is_ascii_digit());
    let end = place_end(scanner, to);
    // BP and CS have other meanings, so at least five digits or a place must follow.
    let sure = next.is_some() || end > to || (5..=6).contains(&(to - from));
    (to > from && scanner.is_word_end(to) && sure).then_some(end)
}

/// Returns the end of an American military address: `PSC 1234, Box 5678\nAPO AE 12345`,
/// `USNS Smith\nFPO AP 12345`.
fn military_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let ships = ["usns", "usnv", "uss", "uscgc", "psc", "unit"];
    let name = ships.iter().find(|name| scanner.starts_with(pos, name))?;
    let start = pos + name.len();
    if scanner.char_at(start) != ' ' {
        return None;
    }
    let posts = ["apo a", "fpo a", "dpo a"];
    let post = (start..start + 40).find(|pos| {
        scanner.char_at(*pos).is_ascii_uppercase()
            && posts.iter().any(|post| scanner.starts_with(*pos, post))
    })?;
    state_code_end(scanner, post + 4)
}
