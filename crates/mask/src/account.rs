//! Finds bank accounts in their national forms: French RIB, British sort code, American routing
//! number, and the account number beside them.
//!
//! An account number alone is any number. It counts beside a sort code, or after words for a bank
//! account.

use super::checks::{is_rib, is_routing_number};
use super::cue::{Cue, WordsBefore, is_quantity};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Lengths of the parts of a RIB: bank, branch, account, key.
const RIB_PARTS: [usize; 4] = [5, 5, 11, 2];

/// Most words between the word for an account and its number.
const ACCOUNT_WORDS_MAX: usize = 5;

/// Matches a bank account that begins here.
pub(super) fn match_account(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let before = scanner.char_before(pos);
    let is_inner = matches!(before, '-' | '.' | ',' | '/')
        && pos > 1
        && scanner.char_at(pos - 2).is_ascii_digit();
    if !scanner.char_at(pos).is_ascii_alphanumeric() || !scanner.is_word_start(pos) || is_inner {
        return None;
    }
    if scanner.char_at(pos).is_ascii_digit() {
        let found = match_rib(scanner, pos)
            .or_else(|| match_sort_code(scanner, pos))
            .or_else(|| match_routing_number(scanner, pos));
        if found.is_some() {
            return found;
        }
    }
    match_account_number(scanner, pos)
}

/// Matches a RIB by its key, or by its groups after a word for it
/// (<https://fr.wikipedia.org/wiki/Cl%C3%A9_RIB>).
fn match_rib(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let mut chars: Vec<char> = Vec::with_capacity(23);
    let (mut next, mut grouped, mut to) = (pos, true, pos);
    for (index, part) in RIB_PARTS.into_iter().enumerate() {
        for at in 0..part {
            let ch = scanner.char_at(next);
            let is_account = index == 2 && ch.is_ascii_alphabetic();
            if !ch.is_ascii_digit() && !is_account {
                return None;
            }
            chars.push(ch);
            to = next + 1;
            let gap = scanner.scan_at_most(to, 2, |ch| matches!(ch, ' ' | '-' | '\n' | '.' | '/'));
            grouped &= (gap > to) == (at + 1 == part) || chars.len() == 23;
            next = gap;
        }
    }
    if is_word_char(scanner.char_at(to)) {
        return None;
    }
    let found = scanner.match_span(PiiKind::Account, pos, to)?;
    if is_rib(&chars) {
        return Some(found.because("key of a RIB", None));
    }
    let cue = WordsBefore::read(scanner, pos).nearest(6, "rib compte coordonnees bancaire*", "");
    (grouped && cue.is_some()).then(|| found.because("groups of a RIB after a word for it", cue))
}

/// Returns the end of the form of a sort code: three pairs with dashes or spaces.
fn sort_code_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let digit = |pos: usize| scanner.char_at(pos).is_ascii_digit();
    let gap = scanner.char_at(pos + 2);
    let fits = [0, 1, 3, 4, 6, 7].iter().all(|index| digit(pos + index))
        && matches!(gap, '-' | ' ')
        && scanner.char_at(pos + 5) == gap;
    (fits && !is_word_char(scanner.char_at(pos + 8))).then_some(pos + 8)
}

/// Matches a British sort code: three pairs after « sort », or with an account number of eight
/// digits directly behind them.
fn match_sort_code(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let adjacent = scanner.scan_at_most(pos, 7, |ch| ch.is_ascii_digit()) == pos + 6;
    let to = sort_code_end(scanner, pos).or(adjacent.then_some(pos + 6))?;
    let words = WordsBefore::read(scanner, pos);
    // « sort the code by 10-20-30 » is no sort code.
    let is_named = (0..3)
        .any(|index| words.word(index).is_in("code codes") && words.word(index + 1).is_in("sort"));
    let is_label = words.word(0).is_in("sort") && scanner.char_at(pos.saturating_sub(2)) == ':';
    let cue = words
        .nearest(4, "sort sortcode", "")
        .filter(|_| is_named || is_label || words.contains(3, "sortcode"));
    let found = scanner.match_span(PiiKind::Account, pos, to)?;
    if cue.is_some() && scanner.is_word_end(to) {
        return Some(found.because("sort code after its name", cue));
    }
    // 20-45-77 12345678
    let number = scanner.scan_at_most(to, 2, |ch| matches!(ch, ' ' | '/' | ','));
    let end = scanner.scan_at_most(number, 9, |ch| ch.is_ascii_digit());
    let pair = scanner.char_at(pos + 2) == '-' && number > to && end - number == 8;
    let whole = scanner.match_span(PiiKind::Account, pos, end)?;
    (pair && scanner.is_word_end(end))
        .then(|| whole.because("sort code with an account number", None))
}

/// Matches an American routing number: nine digits with their check digit after a word for it.
fn match_routing_number(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let to = scanner.scan_at_most(pos, 10, |ch| ch.is_ascii_digit());
    if to - pos != 9 || !scanner.is_word_end(to) {
        return None;
    }
    let digits: Vec<u8> =
        scanner.chars(pos, to).filter_map(|ch| ch.to_digit(10)).map(|digit| digit as u8).collect();
    let cue = WordsBefore::read(scanner, pos).nearest(ACCOUNT_WORDS_MAX, "routing aba rtn", "")?;
    let found = scanner.match_span(PiiKind::Account, pos, to)?;
    is_routing_number(&digits)
        .then(|| found.because("check digit of a routing number after its name", Some(cue)))
}

/// Matches an account number after words for a bank account: 6 to 17 digits, or a French account's
/// eleven characters.
fn match_account_number(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let is_number_char = |ch: char| ch.is_ascii_digit() || ch.is_ascii_uppercase();
    let mut to = scanner.scan_at_most(pos, 18, is_number_char);
    // 1234 5678
    if to - pos == 4 && scanner.char_at(to) == ' ' {
        let next = scanner.scan_at_most(to + 1, 5, |ch| ch.is_ascii_digit());
        to = if next - to == 5 { next } else { to };
    }
    let digits = scanner.chars(pos, to).filter(char::is_ascii_digit).count();
    let only_digits = digits == scanner.chars(pos, to).filter(|ch| *ch != ' ').count();
    let fits = (6..=17).contains(&digits) && (only_digits || to - pos == 11);
    if !fits || !scanner.is_word_end(to) || is_quantity(scanner, to) {
        return None;
    }
    let cue = account_cue(scanner, pos)?;
    let found = scanner.match_span(PiiKind::Account, pos, to)?;
    Some(found.because("account number after words for a bank account", Some(cue)))
}

/// Returns the place of a word for an account, when a word for a bank or for a number is near too.
fn account_cue(scanner: &Scanner<'_>, pos: usize) -> Option<Cue> {
    let words = WordsBefore::read(scanner, pos);
    let other = "order commande ticket appel* call* tel phone telephone";
    let cue = words.nearest(ACCOUNT_WORDS_MAX, "account acct acc compte konto cpte", other)?;
    // « compte n° 12345678901 », `account number 12345678, sort code …`
    let is_numbered = words.contains(3, "number no numero n nr");
    let bank = "bank banking banque bancaire savings checking courant livret epargne sort iban rib routing \
                guichet bic swift hsbc barclays lloyds natwest monzo chase bnp lcl boursorama";
    (is_numbered || words.contains(10, bank)).then_some(cue)
}
