//! Reads what follows a street: a complement such as a flat, a postal code, a town, a state.

use super::scanner::Scanner;

/// Returns the end of the place after a street (complement, postal code, town, state), or `street`
/// without a place.
pub(super) fn place_end(scanner: &Scanner<'_>, street: usize) -> usize {
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

pub(super) fn skip_comma(scanner: &Scanner<'_>, pos: usize) -> usize {
    let next = scanner.scan_at_most(pos, 2, |ch| ch == ' ');
    let next = if matches!(scanner.char_at(next), ',' | '-') { next + 1 } else { next };
    scanner.skip_spaces(next)
}

/// Returns the end of a complement such as `Apt. 4B`, `Suite 200` or `bâtiment C`.
pub(super) fn complement_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
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
pub(super) fn code_and_town_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
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
pub(super) fn state_code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
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
