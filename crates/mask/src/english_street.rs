//! Reads an English street: a name and a street type after it, then a direction and the place.

use super::scanner::Scanner;
use super::town::place_end;

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
pub(super) fn english_street_end(scanner: &Scanner<'_>, first: usize) -> Option<usize> {
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
