//! Streets with their number, French and English, with the place when it follows; post boxes.
//!
//! A street is a number, a word for a street on the side where its language has it, and a name. Names
//! are told by capitals and by the small words between them; without capitals only words that mean
//! nothing but a street count. A postal code or a town alone stays.

use super::seen::{Seen, is_word};
use super::{Kind, Match};

pub(super) fn any(seen: &Seen<'_>, at: usize) -> Option<Match> {
    if !is_word(seen.sign(at)) || !seen.word_starts(at) {
        return None;
    }
    let before = seen.before(at);
    let inner = matches!(before, '.' | ',' | '/' | ':' | '-' | '\'')
        && at > 1
        && is_word(seen.sign(at - 2));
    if inner && before != '\'' && !(before == ',' || before == '.') {
        return None;
    }
    let to = if seen.sign(at).is_ascii_digit() {
        if inner && at > 1 && seen.sign(at - 2).is_ascii_digit() {
            return None;
        }
        let number = house_number(seen, at)?;
        let name = seen.run_within(number, 2, |sign| sign == ' ');
        let english = || (name > number).then(|| english(seen, name)).flatten();
        french(seen, at, number).or_else(english)
    } else {
        post_box(seen, at)
            .or_else(|| military(seen, at))
            .or_else(|| nameless(seen, at))
            .or_else(|| flat(seen, at))
    };
    seen.found(Kind::Address, at, to?)
}

/// After a number of one to five digits, with a letter or `bis`.
fn house_number(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let end = seen.run_within(at, 6, |sign| sign.is_ascii_digit());
    if end - at > 5 {
        return None;
    }
    // 12-14, 12/14.
    let mut to = end;
    if matches!(seen.sign(to), '-' | '/') {
        let next = seen.run_within(to + 1, 5, |sign| sign.is_ascii_digit());
        if (1..=4).contains(&(next - to - 1)) {
            to = next;
        }
    }
    let (word, word_end) = seen.word(to);
    // « la 2e rue » counts streets.
    if word_end == to + 1 && seen.sign(to) == 'e' {
        return None;
    }
    if word_end > to {
        return (word.is_in("bis ter quater") || word_end - to == 1).then_some(word_end);
    }
    let blank = seen.run_within(to, 2, |sign| sign == ' ');
    let (word, word_end) = seen.word(blank);
    let letter = word_end == blank + 1
        && seen.sign(blank).is_ascii_uppercase()
        && seen.word_ends(word_end)
        && word.is_in("a b c d");
    if seen.word_ends(word_end) && (word.is_in("bis ter quater") || letter) {
        return Some(word_end);
    }
    Some(to)
}

/// Words that mean nothing but a street after a number, and those that need a name in capitals.
const STREETS_FR: &str = "rue avenue av ave boulevard bd bld blvd boul impasse imp allee allees chemin chem quai ruelle \
                          faubourg fbg rond-point r";
const PLACES_FR: &str = "place pl cour cours crs route rte passage psge square sq villa sentier sente voie hameau lotissement lot \
                         residence res esplanade promenade cite clos mail parvis traverse montee cote venelle rocade ch \
                         galerie terrasse hotel domaine zone za zi zac";

/// Small words inside a French name.
const PARTICLES: &str = "de du des la le les l d sur sous en au aux et a saint sainte st ste lieu dit general marechal docteur \
                         dr president capitaine colonel commandant abbe pere professeur";

/// What follows a house number in French: the street's word and its name, then the place.
fn french(seen: &Seen<'_>, start: usize, number: usize) -> Option<usize> {
    let mut at = number;
    if seen.sign(at) == ',' {
        at += 1;
    }
    let mut word_at = seen.blanks(at);
    // « au 5 de la rue Victor-Hugo ».
    let of = ["de la ", "de l'", "du "].into_iter().find(|of| seen.starts_with(word_at, of));
    word_at += of.map_or(0, str::len);
    let (kind, mut end) = seen.word(word_at);
    let strong = kind.is_in(STREETS_FR);
    if word_at == number || !(strong || kind.is_in(PLACES_FR)) || !seen.word_ends(end) {
        return None;
    }
    if seen.sign(end) == '.' {
        end += 1;
    }
    let abbreviated = kind.is_in("r ch lot res sq av imp st");
    // « 3 allées de légumes », « 2 rue barrée ».
    let (next, _) = seen.word(seen.run_within(end, 2, |sign| sign == ' '));
    let state = "barree barrees fermee fermees bloquee bloquees coupee coupees deserte de";
    let counts = kind.is_in("allees impasse impasses") && next.is_in("de")
        || next.is_in(state) && !next.is_in("de");
    let capitals =
        !strong || abbreviated || of.is_some() || counts || seen.told(start, "kilometre");
    let name = name_fr(seen, end, capitals)?;
    Some(place(seen, name))
}

/// The name of a street: up to eight words, with at least one that is no particle. Where capitals
/// are asked for, the first such word must have one; elsewhere one small word is taken.
fn name_fr(seen: &Seen<'_>, from: usize, capitals: bool) -> Option<usize> {
    let mut at = from;
    let mut end = None;
    let mut small = 0;
    for _ in 0..9 {
        let blank = seen.run_within(at, 2, |sign| matches!(sign, ' ' | '\'' | '-'));
        let first = seen.sign(blank);
        if blank == at || !first.is_alphanumeric() {
            break;
        }
        let next = seen.run_within(blank, 24, |sign| sign.is_alphanumeric());
        let (word, _) = seen.word(blank);
        let hyphen = seen.sign(at) == '-';
        if first.is_ascii_digit() {
            // « rue du 8 Mai 1945 », « rue du 11 novembre »; not a postal code.
            let month = |at: usize| {
                let (word, _) = seen.word(seen.run_within(at, 2, |sign| sign == ' '));
                word.is_in("janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre")
            };
            let digits = next - blank;
            // « rue des 3 Frères ».
            let named =
                end.is_none() && seen.sign(next) == ' ' && seen.sign(next + 1).is_uppercase();
            let year = digits == 4 && end.is_some() && matches!(seen.sign(blank), '1' | '2');
            if !(digits <= 2 && (month(next) || named) || year) {
                break;
            }
            at = next;
            end = if year { Some(next) } else { end };
            continue;
        }
        if first.is_uppercase() || hyphen {
            // « quai 7, voie B » names no street.
            end = if next - blank > 1 { Some(next) } else { end };
        } else if word.is_in(PARTICLES) && small == 0 {
            // Belongs to the name only when one follows.
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
        at = next;
    }
    end
}

/// A French street without a number, when a postal code follows it.
fn nameless(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let (kind, end) = seen.word(at);
    if !kind.is_in("rue avenue boulevard impasse allee chemin quai place cours route")
        || !seen.word_ends(end)
    {
        return None;
    }
    let name = name_fr(seen, end, true)?;
    let to = place(seen, name);
    (to > name).then_some(to)
}

/// `Flat 4b, Evans Junction`: a flat's number before a street that may have none.
fn flat(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let (kind, end) = seen.word(at);
    if !kind.is_in("flat studio apartment apt unit suite") || !seen.sign(at).is_uppercase() {
        return None;
    }
    let number = seen.run_within(end + 1, 5, |sign| sign.is_ascii_alphanumeric());
    let street = comma(seen, number);
    if seen.sign(end) != ' ' || !seen.sign(end + 1).is_ascii_digit() || street == number {
        return None;
    }
    let house = house_number(seen, street).filter(|to| *to > street);
    english(seen, house.map_or(street, |to| seen.run_within(to, 2, |sign| sign == ' ')))
}

/// After the place that follows a street, if one does: complement, postal code, town, state.
fn place(seen: &Seen<'_>, street: usize) -> usize {
    let mut to = street;
    for _ in 0..2 {
        let at = comma(seen, to);
        to = complement(seen, at).unwrap_or(to);
    }
    let at = comma(seen, to);
    if let Some(end) = code_and_town(seen, at) {
        return end;
    }
    if at == to {
        return to;
    }
    town_and_code(seen, at).unwrap_or(to)
}

fn comma(seen: &Seen<'_>, at: usize) -> usize {
    let next = seen.run_within(at, 2, |sign| sign == ' ');
    let next = if matches!(seen.sign(next), ',' | '-') { next + 1 } else { next };
    seen.blanks(next)
}

/// `Apt. 4B`, `Suite 200`, `bâtiment C`.
fn complement(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let kinds = "apt apartment suite ste unit flat floor room bat batiment appt appartement app etage escalier esc";
    let (word, mut end) = seen.word(at);
    if seen.sign(at) == '#' {
        end = at + 1;
    } else if !word.is_in(kinds) {
        return None;
    }
    let next = seen.run_within(end, 2, |sign| matches!(sign, '.' | ' '));
    let to = seen.run_within(next, 6, |sign| sign.is_ascii_alphanumeric());
    let short = to - next <= 2 || seen.sign(next).is_ascii_digit();
    (to > next && short && seen.word_ends(to)).then_some(to)
}

/// `75011 Paris`, `75011 Paris Cedex 04`.
fn code_and_town(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let prefix = if seen.starts_with(at, "f-") { at + 2 } else { at };
    let mut code = seen.run_within(prefix, 6, |sign| sign.is_ascii_digit());
    if code - prefix == 2 && seen.sign(code) == ' ' {
        // 75 011.
        let next = seen.run_within(code + 1, 4, |sign| sign.is_ascii_digit());
        code = if next - code == 4 { next } else { prefix };
    }
    if !(code - prefix == 5 || code - prefix == 6 && seen.sign(prefix + 5) == ' ')
        || !seen.word_ends(code)
    {
        return None;
    }
    let town = town(seen, seen.run_within(code, 2, |sign| matches!(sign, ' ' | ',')), 6);
    Some(town.unwrap_or(code))
}

/// Words with capitals and the small ones between them.
fn town(seen: &Seen<'_>, from: usize, most: usize) -> Option<usize> {
    let mut at = from;
    let mut end = None;
    for _ in 0..most {
        let next = seen.run_within(at, 24, |sign| sign.is_alphabetic());
        let (word, _) = seen.word(at);
        if next == at {
            break;
        }
        if seen.sign(at).is_uppercase() {
            end = Some(next);
        } else if !(end.is_some()
            && (word.is_in("sur sous en les le la de du des l d lez aux et cedex")
                || word.is_in("a") && seen.before(at) == '-'))
        {
            break;
        }
        if word.is_in("cedex") {
            let number = seen.run_within(next, 1, |sign| sign == ' ');
            let digits = seen.run_within(number, 3, |sign| sign.is_ascii_digit());
            return Some(if (1..=2).contains(&(digits - number)) { digits } else { next });
        }
        at = next + 1;
        let initials = seen.sign(next) == '.' && next - from < 4;
        if !(initials || matches!(seen.sign(next), ' ' | '-' | '\'')) {
            break;
        }
        if seen.sign(next) == '.' {
            at = seen.run_within(at, 1, |sign| sign == ' ');
        }
    }
    end
}

/// `Springfield, IL 62704`, `London SW1A 2AA`, `à Paris`: a town with a code, or a French one behind `à`.
fn town_and_code(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let (word, end) = seen.word(at);
    if word.as_str() == "a" && seen.sign(at).is_lowercase() {
        return town(seen, seen.run_within(end, 2, |sign| sign == ' '), 5);
    }
    let name = town(seen, at, 4);
    // The town may have swallowed the state or the first half of the code.
    let mut from = at;
    for _ in 0..6 {
        if let Some(to) = state_code(seen, from).or_else(|| british_code(seen, from)) {
            return Some(to);
        }
        let next = seen.run_within(from, 24, |sign| sign.is_alphabetic() || sign == '\'');
        if next == from || name.is_none() {
            break;
        }
        from = seen.blanks(if seen.sign(next) == ',' { next + 1 } else { next });
        if from == next {
            break;
        }
    }
    None
}

/// `IL 62704-1234`, or the code alone.
fn state_code(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let mut code = at;
    let state = seen.run_within(at, 3, |sign| sign.is_ascii_uppercase());
    if state - at == 2 {
        code = seen.run_within(state, 2, |sign| matches!(sign, ' ' | ','));
    } else if state > at {
        return None;
    }
    let to = seen.run_within(code, 6, |sign| sign.is_ascii_digit());
    if to - code != 5 {
        return None;
    }
    let plus = seen.run_within(to + 1, 5, |sign| sign.is_ascii_digit());
    let to = if seen.sign(to) == '-' && plus - to == 5 { plus } else { to };
    seen.word_ends(to).then_some(to)
}

/// `SW1A 2AA`, `M1 1AE`.
fn british_code(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let outer = seen.run_within(at, 5, |sign| sign.is_ascii_uppercase() || sign.is_ascii_digit());
    let inner = seen.run_within(outer, 1, |sign| sign == ' ');
    let shape = (2..=4).contains(&(outer - at))
        && seen.sign(at).is_ascii_uppercase()
        && seen.signs(at, outer).any(|sign| sign.is_ascii_digit())
        && seen.sign(inner).is_ascii_digit()
        && seen.sign(inner + 1).is_ascii_uppercase()
        && seen.sign(inner + 2).is_ascii_uppercase();
    (shape && inner > outer && seen.word_ends(inner + 3)).then_some(inner + 3)
}

/// Ends of English street names that are taken without capitals too, and those that are words else
/// (USPS Publication 28, appendix C1).
const STREETS_EN: &str = "street streets avenue avenues road roads lane boulevard blvd";
const MORE_STREETS_EN: &str = "alley annex arcade ave av bayou beach bend bluff bluffs bottom branch bridge brook brooks burg \
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

/// What follows a house number in English: up to four words with capitals, the last one a street's.
fn english(seen: &Seen<'_>, first: usize) -> Option<usize> {
    let mut at = first;
    let mut end = None;
    let mut capitals = 0;
    for place in 0..6 {
        let next =
            seen.run_within(at, 24, |sign| sign.is_alphanumeric() || matches!(sign, '\'' | '-'));
        let first = seen.sign(at);
        let (word, word_end) = seen.word(at);
        let whole = word_end == next;
        // `5th`, `42nd`.
        let ordinal = first.is_ascii_digit()
            && seen.sign(next.max(1) - 1).is_ascii_lowercase()
            && next - at <= 5;
        if next == at || !(first.is_alphabetic() || ordinal) {
            break;
        }
        let capital = first.is_uppercase() || ordinal;
        let street =
            whole && word.is_in(STREETS_EN) || capital && whole && word.is_in(MORE_STREETS_EN);
        if place > 0 && street && (capitals > 0 || (place == 1 && name_en(seen, at))) {
            end = Some(next);
        }
        // « 24 Hour Drive », « 2 Lane Road », « 360 Street View ».
        let unit = "hour hours day days minute minutes week weeks month months year years mile miles star wheel way \
                    lane to step";
        if place == 0
            && (word.is_in(unit)
                || whole && word.is_in("street") && seen.starts_with(next, " view"))
        {
            break;
        }
        let small = "of the and in on by to for way lane minute hour mile block more other";
        if !capital && (place > 0 || word.is_in(small)) {
            break;
        }
        capitals += usize::from(capital);
        let dot = usize::from(seen.sign(next) == '.' && next - at <= 4);
        if dot == 1
            && end == Some(next)
            && (seen.sign(next + 1) == ',' || seen.sign(next + 2).is_ascii_lowercase())
        {
            end = Some(next + 1);
        }
        at = seen.run_within(next + dot, 2, |sign| sign == ' ');
        if at == next + dot {
            break;
        }
    }
    Some(place(seen, direction(seen, end?)))
}

/// Whether the word before a street's, in small letters, can be a name: `12 main street`.
fn name_en(seen: &Seen<'_>, street: usize) -> bool {
    let end = street - 1;
    let mut from = end;
    while from > 0 && seen.before(from).is_alphabetic() {
        from -= 1;
    }
    let (word, _) = seen.word(from);
    end - from >= 3
        && !word.is_in("way lane minute minutes hour mile miles block blocks side busy long old new same main-road wide narrow dirt other different empty")
}

/// `Main St NW`.
fn direction(seen: &Seen<'_>, end: usize) -> usize {
    let at = seen.run_within(end, 2, |sign| matches!(sign, ' ' | '.'));
    let (word, to) = seen.word(at);
    let points = word.is_in("n s e w nw ne sw se north south east west");
    if at > end && points && seen.sign(at).is_uppercase() && seen.word_ends(to) { to } else { end }
}

/// `PO Box 123`, `BP 4012`, `CS 70001`, with the place.
fn post_box(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let mut next = None;
    for name in ["po box ", "p.o. box ", "p.o.box ", "post office box ", "boite postale "] {
        if seen.starts_with(at, name) {
            next = Some(at + name.chars().count());
        }
    }
    let capitals = seen.sign(at).is_ascii_uppercase()
        && seen.sign(at + 1).is_ascii_uppercase()
        && seen.sign(at + 2) == ' ';
    let french = capitals && ["bp", "cs"].iter().any(|name| seen.starts_with(at, name));
    let from = next.or(french.then_some(at + 3))?;
    let to = seen.run_within(from, 7, |sign| sign.is_ascii_digit());
    let place = place(seen, to);
    // BP and CS may be anything: five digits or a place must follow.
    let sure = next.is_some() || place > to || (5..=6).contains(&(to - from));
    (to > from && seen.word_ends(to) && sure).then_some(place)
}

/// An American military address: `PSC 1234, Box 5678\nAPO AE 12345`, `USNS Smith\nFPO AP 12345`.
fn military(seen: &Seen<'_>, at: usize) -> Option<usize> {
    let ships = ["usns", "usnv", "uss", "uscgc", "psc", "unit"];
    let name = ships.iter().find(|name| seen.starts_with(at, name))?;
    let start = at + name.len();
    if seen.sign(start) != ' ' {
        return None;
    }
    let posts = ["apo a", "fpo a", "dpo a"];
    let post = (start..start + 40).find(|at| {
        seen.sign(*at).is_ascii_uppercase() && posts.iter().any(|post| seen.starts_with(*at, post))
    })?;
    state_code(seen, post + 4)
}
