//! Finds codes that open something once or always: one-time codes and the codes of doors.
//!
//! A code has four to eight digits and letters, as many things have. So a word for a code and a word
//! for what it opens must be before it, or the words « is your … code » behind it.

use super::cue::{Cue, WordsBefore};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words that alone name a code that opens something.
const CODE_NAMES: &str = "digicode interphone otp 2fa mfa tan pin passcode";

/// Words for a code, which also need a word for what it opens.
const CODE_WORDS: &str = "code codes";

/// Words for the door, device or message that a code belongs to. `connexion` and `login` stand for a
/// session.
const OPENED: &str = "sms porte portes entree immeuble portail portillon garage hall batiment residence coffre alarme parking \
                      boite cles door gate entry building lobby alarm safe locker lockbox keypad keybox security securite \
                      login connexion verification confirmation validation authentification authentication access acces \
                      unlock usage time onetime 2fa otp recu received temporaire activation whatsapp google apple";

/// Words that mark the code of another thing.
const OTHER_CODES: &str = "zip erreur error postal postcode zip promo promotion discount coupon source html http barre bar route civil \
                           penal travail article dress naf ape insee produit product country pays couleur color colour commande \
                           version page qr";

/// Most words between the word for a code and the code.
const CODE_WORDS_MAX: usize = 7;

/// Matches a one-time code or the code of a door.
pub(super) fn match_code(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    if !(first.is_ascii_digit() || first.is_ascii_uppercase() || matches!(first, '*' | '#')) {
        return None;
    }
    if !scanner.is_word_start(pos)
        || matches!(scanner.char_before(pos), '.' | ',' | '/' | ':' | '€' | '$' | '£')
    {
        return None;
    }
    let to = code_end(scanner, pos)?;
    let found = scanner.match_span(PiiKind::Secret, pos, to)?;
    let words = WordsBefore::read(scanner, pos);
    if let Some(cue) = door_cue(&words).filter(|_| is_linked(&words)) {
        return Some(found.because("code after a word for what it opens", Some(cue)));
    }
    let digits = scanner.chars(pos, to).filter(char::is_ascii_digit).count();
    let only_digits = digits == to - pos;
    if let Some(cue) = own_code_cue(scanner, &words, pos).filter(|_| only_digits) {
        return Some(found.because("code that belongs to a person", Some(cue)));
    }
    let cue = cue_behind(scanner, to).filter(|_| only_digits)?;
    Some(found.because("code before the words for it", Some(cue)))
}

/// Returns the end of four to eight digits and capitals, among them three digits. A dash may be in the
/// middle, and `#` or `*` at both ends.
fn code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let is_code_char = |ch: char| ch.is_ascii_digit() || ch.is_ascii_uppercase();
    let from = scanner.scan_at_most(pos, 1, |ch| matches!(ch, '*' | '#'));
    let mut to = scanner.scan_at_most(from, 9, is_code_char);
    if to - from == 3 && matches!(scanner.char_at(to), '-' | ' ') {
        let next = scanner.scan_at_most(to + 1, 4, |ch| ch.is_ascii_digit());
        to = if next == to + 4 { next } else { to };
    }
    let digits = scanner.chars(from, to).filter(char::is_ascii_digit).count();
    let end = scanner.scan_at_most(to, 1, |ch| matches!(ch, '*' | '#'));
    let continues = is_word_char(scanner.char_at(end))
        || matches!(scanner.char_at(end), '.' | ',' | '/' | '-' | ':' | '%' | '€' | '$')
            && is_word_char(scanner.char_at(end + 1))
        || matches!(scanner.char_at(end), '%' | '€' | '$');
    ((4..=8).contains(&(to - from)) && digits >= 3 && !continues).then_some(end)
}

/// Returns whether the word directly before a value leads to it: a verb, « n° », the word for a code, or what
/// it opens. « The security code of conduct has 1200 pages » does not.
fn is_linked(words: &WordsBefore) -> bool {
    let word = words.word(0);
    [CODE_NAMES, CODE_WORDS, OPENED, "est is s etait was n no numero number"]
        .iter()
        .any(|list| word.is_in(list))
}

/// Returns the place of a word for a code, when a word for what it opens is beside it.
fn door_cue(words: &WordsBefore) -> Option<Cue> {
    let others = OTHER_CODES;
    words.nearest(4, CODE_NAMES, others).or_else(|| {
        let cue = words.nearest(CODE_WORDS_MAX, CODE_WORDS, others)?;
        (words.contains(CODE_WORDS_MAX + 2, OPENED) && !words.contains(4, others)).then_some(cue)
    })
}

/// Returns the place of « code » in « your code is », « votre code : » and the like.
fn own_code_cue(scanner: &Scanner<'_>, words: &WordsBefore, pos: usize) -> Option<Cue> {
    let cue = words.nearest(2, CODE_WORDS, OTHER_CODES)?;
    let linked = words.word(0).is_in("is est etait was") && words.word(1).is_in(CODE_WORDS)
        || words.word(0).is_in(CODE_WORDS)
            && scanner.chars(cue.1, pos).any(|ch| matches!(ch, ':' | '='));
    let owner = words.contains(4, "votre ton mon your my");
    (linked && owner && !words.contains(4, OTHER_CODES)).then_some(cue)
}

/// Returns the place of « code » in « 482913 is your code », « 482913 est votre code », after the code.
fn cue_behind(scanner: &Scanner<'_>, end: usize) -> Option<Cue> {
    let mut pos = end;
    for index in 0..6 {
        let from = scanner.scan_at_most(pos, 1, |ch| matches!(ch, ' ' | '\'' | '-'));
        let (word, to) = scanner.word_at(from);
        let expected = match index {
            0 => "is est",
            1 => "your votre ton the le",
            _ => "code pin otp",
        };
        if from == pos || to == from {
            return None;
        }
        match (index, word.is_in(expected)) {
            (0 | 1, false) => return None,
            (2.., true) => return Some((from, to)),
            _ => pos = to,
        }
    }
    None
}
