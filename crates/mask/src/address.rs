//! Finds French and English streets with their number, with the place when it follows, and post
//! boxes.
//!
//! A street has a number, a street type (before the name in French, after it in English) and a
//! name. Capitals and the particles between them mark the name. Without capitals, only street types
//! with no other meaning count. A postal code or a town alone stays in the text.

use super::scanner::{Scanner, is_word_char};
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

/// Returns the end of the place after a street (complement, postal code, town, state), or `street`
/// without a place.
fn place_end(scanner: &Scanner<'_>, street: usize) -> usize {
    let mut to = street;
    for _ in 0..2 {
        let pos = skip_comma(scanner, to);
        to = complement_end(scanner, pos).unwrap_or(to);
    }
    let pos = skip_comma(scanner, to);
    if let Some(end) = code_and_town_end(scanner, pos) {
        return end;
    }
    if pos == to {
        return to;
    }
    town_and_code_end(scanner, pos).unwrap_or(to)
}

fn skip_comma(scanner: &Scanner<'_>, pos: usize) -> usize {
    let next = scanner.scan_at_most(pos, 2, |ch| ch == ' ');
    let next = if matches!(scanner.char_at(next), ',' | '-') { next + 1 } else { next };
    scanner.skip_spaces(next)
}

/// Returns the end of a complement such as `Apt. 4B`, `Suite 200` or `bâtiment C`.
fn complement_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let kinds = "apt apartment suite ste unit flat floor room bat batiment appt appartement app etage escalier esc";
    let (word, mut end) = scanner.word_at(pos);
    if scanner.char_at(pos) == '#' {
        end = pos + 1;
    } else if !word.is_in(kinds) {
        return None;
    }
    let next = scanner.scan_at_most(end, 2, |ch| matches!(ch, '.' | ' '));
    let to = scanner.scan_at_most(next, 6, |ch| ch.is_ascii_alphanumeric());
    let short = to - next <= 2 || scanner.char_at(next).is_ascii_digit();
    (to > next && short && scanner.is_word_end(to)).then_some(to)
}

/// Returns the end of a French postal code and its town: `75011 Paris`, `75011 Paris Cedex 04`.
fn code_and_town_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let prefix = if scanner.starts_with(pos, "f-") { pos + 2 } else { pos };
    let mut code = scanner.scan_at_most(prefix, 6, |ch| ch.is_ascii_digit());
    if code - prefix == 2 && scanner.char_at(code) == ' ' {
        // The code may contain a space: 75 011.
        let next = scanner.scan_at_most(code + 1, 4, |ch| ch.is_ascii_digit());
        code = if next - code == 4 { next } else { prefix };
    }
    if !(code - prefix == 5 || code - prefix == 6 && scanner.char_at(prefix + 5) == ' ')
        || !scanner.is_word_end(code)
    {
        return None;
    }
    let town = town_end(scanner, scanner.scan_at_most(code, 2, |ch| matches!(ch, ' ' | ',')), 6);
    Some(town.unwrap_or(code))
}

/// Returns the end of a town: words in capitals, and the particles between them.
fn town_end(scanner: &Scanner<'_>, from: usize, words_max: usize) -> Option<usize> {
    let mut pos = from;
    let mut end = None;
    for _ in 0..words_max {
        let next = scanner.scan_at_most(pos, 24, |ch| ch.is_alphabetic());
        let (word, _) = scanner.word_at(pos);
        if next == pos {
            break;
        }
        if scanner.char_at(pos).is_uppercase() {
            end = Some(next);
        } else if !(end.is_some()
            && (word.is_in("sur sous en les le la de du des l d lez aux et cedex")
                || word.is_in("a") && scanner.char_before(pos) == '-'))
        {
            break;
        }
        if word.is_in("cedex") {
            let number = scanner.scan_at_most(next, 1, |ch| ch == ' ');
            let digits = scanner.scan_at_most(number, 3, |ch| ch.is_ascii_digit());
            return Some(if (1..=2).contains(&(digits - number)) { digits } else { next });
        }
        pos = next + 1;
        let initials = scanner.char_at(next) == '.' && next - from < 4;
        if !(initials || matches!(scanner.char_at(next), ' ' | '-' | '\'')) {
            break;
        }
        if scanner.char_at(next) == '.' {
            pos = scanner.scan_at_most(pos, 1, |ch| ch == ' ');
        }
    }
    end
}

/// Returns the end of a town with its code, as `Springfield, IL 62704` or `London SW1A 2AA`, or of
/// a French town after `à`, as `à Paris`.
fn town_and_code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let (word, end) = scanner.word_at(pos);
    if word.as_str() == "a" && scanner.char_at(pos).is_lowercase() {
        return town_end(scanner, scanner.scan_at_most(end, 2, |ch| ch == ' '), 5);
    }
    let name = town_end(scanner, pos, 4);
    // The town may include the state or the first half of the code, so both are tried after each
    // word.
    let mut from = pos;
    for _ in 0..6 {
        if let Some(to) = state_code_end(scanner, from).or_else(|| british_code_end(scanner, from))
        {
            return Some(to);
        }
        let next = scanner.scan_at_most(from, 24, |ch| ch.is_alphabetic() || ch == '\'');
        if next == from || name.is_none() {
            break;
        }
        from = scanner.skip_spaces(if scanner.char_at(next) == ',' { next + 1 } else { next });
        if from == next {
            break;
        }
    }
    None
}

/// Returns the end of an American state and code, `IL 62704-1234`, or of the code alone.
fn state_code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let mut code = pos;
    let state = scanner.scan_at_most(pos, 3, |ch| ch.is_ascii_uppercase());
    if state - pos == 2 {
        code = scanner.scan_at_most(state, 2, |ch| matches!(ch, ' ' | ','));
    } else if state > pos {
        return None;
    }
    let to = scanner.scan_at_most(code, 6, |ch| ch.is_ascii_digit());
    if to - code != 5 {
        return None;
    }
    let plus = scanner.scan_at_most(to + 1, 5, |ch| ch.is_ascii_digit());
    let to = if scanner.char_at(to) == '-' && plus - to == 5 { plus } else { to };
    scanner.is_word_end(to).then_some(to)
}

/// Returns the end of a British postcode, as `SW1A 2AA` or `M1 1AE`.
fn british_code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let outer = scanner.scan_at_most(pos, 5, |ch| ch.is_ascii_uppercase() || ch.is_ascii_digit());
    let inner = scanner.scan_at_most(outer, 1, |ch| ch == ' ');
    let has_code_shape = (2..=4).contains(&(outer - pos))
        && scanner.char_at(pos).is_ascii_uppercase()
        && scanner.chars(pos, outer).any(|ch| ch.is_ascii_digit())
        && scanner.char_at(inner).is_ascii_digit()
        && scanner.char_at(inner + 1).is_ascii_uppercase()
        && scanner.char_at(inner + 2).is_ascii_uppercase();
    (has_code_shape && inner > outer && scanner.is_word_end(inner + 3)).then_some(inner + 3)
}

/// English street types that count without capitals too. Those in [`CAPITALISED_STREET_TYPES_EN`]
/// are also ordinary words, so they need a capital (USPS Publication 28, appendix C1).
const STREET_TYPES_EN: &str = "street streets avenue avenues road roads lane boulevard blvd";
const CAPITALISED_STREET_TYPES_EN: &str = "alley annex arcade ave av bayou beach bend bluff bluffs bottom branch bridge brook brooks burg \
     burgs bypass camp canyon cape causeway center centers circle circles cliff cliffs close club common corner corners \
     course court courts ct cove coves creek crescent crest crossing crossroad curve dale dam divide dr drive drives estate \
     estates expressway extension extensions fall falls ferry field fields flat flats ford fords forest forge forges fork \
     forks fort freeway garden gardens gateway glen glens green greens grove groves harbor harbors haven heights highway hwy \
     hill hills hollow inlet island islands isle junction junctions key keys knoll knolls lake lakes land landing light \
     lights ln loaf lock locks lodge loop mall manor manors meadow meadows mews mill mills mission motorway mount mountain \
     mountains neck orchard oval overpass park parks parkway parkways pkwy pass passage path pike pine pines pl place plain \
     plains plaza point points port ports prairie radial ramp ranch rapid rapids rd rest ridge ridges rise river route row \
     rue run shoal shoals shore shores skyway spring springs spur spurs sq square squares st station stravenue stream streets \
     summit ter terrace throughway trace track trafficway trail trl tunnel turnpike underpass union unions valley valleys via \
     viaduct view views village villages ville vista walk walks wall way ways well wells wharf yard";

/// Returns the end of an English street after a house number: up to six words, the last one a
/// street type, then the place.
fn english_street_end(scanner: &Scanner<'_>, first: usize) -> Option<usize> {
    let mut pos = first;
    let mut end = None;
    let mut capitals = 0;
    for index in 0..6 {
        let next =
            scanner.scan_at_most(pos, 24, |ch| ch.is_alphanumeric() || matches!(ch, '\'' | '-'));
        let first = scanner.char_at(pos);
        let (word, word_end) = scanner.word_at(pos);
        let whole = word_end == next;
        // Ordinals: `5th`, `42nd`.
        let ordinal = first.is_ascii_digit()
            && scanner.char_at(next.max(1) - 1).is_ascii_lowercase()
            && next - pos <= 5;
        if next == pos || !(first.is_alphabetic() || ordinal) {
            break;
        }
        let capital = first.is_uppercase() || ordinal;
        let street = whole && word.is_in(STREET_TYPES_EN)
            || capital && whole && word.is_in(CAPITALISED_STREET_TYPES_EN);
        if index > 0 && street && (capitals > 0 || (index == 1 && is_english_name(scanner, pos))) {
            end = Some(next);
        }
        // No address: « 24 Hour Drive », « 2 Lane Road », « 360 Street View ».
        let unit = "hour hours day days minute minutes week weeks month months year years mile miles star wheel way \
                    lane to step";
        if index == 0
            && (word.is_in(unit)
                || whole && word.is_in("street") && scanner.starts_with(next, " view"))
        {
            break;
        }
        let small = "of the and in on by to for way lane minute hour mile block more other";
        if !capital && (index > 0 || word.is_in(small)) {
            break;
        }
        capitals += usize::from(capital);
        let dot = usize::from(scanner.char_at(next) == '.' && next - pos <= 4);
        if dot == 1
            && end == Some(next)
            && (scanner.char_at(next + 1) == ',' || scanner.char_at(next + 2).is_ascii_lowercase())
        {
            end = Some(next + 1);
        }
        pos = scanner.scan_at_most(next + dot, 2, |ch| ch == ' ');
        if pos == next + dot {
            break;
        }
    }
    Some(place_end(scanner, direction_end(scanner, end?)))
}

/// Returns whether the word before a street type can be a name although it is in small letters:
/// `12 main street`.
fn is_english_name(scanner: &Scanner<'_>, street: usize) -> bool {
    let end = street - 1;
    let mut from = end;
    while from > 0 && scanner.char_before(from).is_alphabetic() {
        from -= 1;
    }
    let (word, _) = scanner.word_at(from);
    end - from >= 3
        && !word.is_in("way lane minute minutes hour mile miles block blocks side busy long old new same main-road wide narrow dirt other different empty")
}

/// Returns the end of a direction after a street, as in `Main St NW`, or `end` without a direction.
fn direction_end(scanner: &Scanner<'_>, end: usize) -> usize {
    let pos = scanner.scan_at_most(end, 2, |ch| matches!(ch, ' ' | '.'));
    let (word, to) = scanner.word_at(pos);
    let points = word.is_in("n s e w nw ne sw se north south east west");
    if pos > end && points && scanner.char_at(pos).is_uppercase() && scanner.is_word_end(to) {
        to
    } else {
        end
    }
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
