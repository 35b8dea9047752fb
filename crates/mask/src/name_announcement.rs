//! Finds what before a name announces it: a title, an introduction, a greeting, « c'est ».
//!
//! The nearest two words decide, with the signs between them and the name.

use super::cue::{Cue, WordsBefore};
use super::name_words as words;
use super::normalize::BARRIER;
use super::scanner::{FoldedWord, Scanner};

/// Kind of words that announce a name, from the surest to none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Announcement {
    /// A title: any word with a capital follows.
    Title,
    /// « je m'appelle », `my name is`, a label, a signature: any word with a capital follows.
    Introduction,
    /// A greeting, a relative, `ask for`: a single word with a capital follows.
    Address,
    /// « c'est », `this is`, `I'm`: a first name, or a full name.
    Copula,
    None,
}

/// Returns what announces a name at `pos`, and its word.
pub(super) fn announcement_of(
    scanner: &Scanner<'_>,
    pos: usize,
    before: &WordsBefore,
) -> (Announcement, Option<Cue>) {
    let Some((start, end)) = before.place(0) else { return (Announcement::None, None) };
    let word = before.word(0);
    let gap = || scanner.chars(end, pos);
    let cue = Some((start, end));
    let short_title = word.is_in(words::SHORT_TITLES) && scanner.char_at(start).is_uppercase();
    if gap().all(|ch| matches!(ch, ' ' | '.')) && (word.is_in(words::TITLES) || short_title) {
        return (Announcement::Title, cue);
    }
    let is_linked = gap().all(|ch| matches!(ch, ' ' | ':' | '"' | '«' | '\''));
    let is_labelled = word.is_in(words::LABELS) && gap().any(|ch| ch == ':');
    let is_closing = word.is_in(words::CLOSINGS)
        && gap().all(|ch| matches!(ch, ' ' | ',' | '\n' | '-' | '.' | '!'))
        && gap().any(|ch| matches!(ch, ',' | '\n'))
        && ends_line(scanner, pos);
    if is_linked && is_introduced(before) || is_labelled || is_closing {
        return (Announcement::Introduction, cue);
    }
    let is_direct = gap().all(|ch| ch == ' ');
    let after_comma = gap().all(|ch| matches!(ch, ' ' | ','))
        && word.is_in("hi hello hey bonjour bonsoir salut coucou moi");
    match (is_direct, after_comma) {
        (true, _) if is_addressed(before) => (Announcement::Address, cue),
        (true, _) if is_copula(before) => (Announcement::Copula, cue),
        (false, true) => (Announcement::Copula, cue),
        _ => (Announcement::None, None),
    }
}

/// Returns whether the words before introduce a name: « je m'appelle », `my name is`, « nommé ».
fn is_introduced(before: &WordsBefore) -> bool {
    let (word, second) = (before.word(0), before.word(1));
    let names = "nom prenom name names firstname surname";
    let is_called = word.is_in("mappelle") || word.is_in("appelle") && second.is_in("m t s");
    let name_is = word.is_in("est is etait was s") && second.is_in(names)
        || word.is_in("est is etait was") && before.contains(6, names);
    is_called || name_is || word.is_in(words::ANNOUNCING)
}

/// Returns whether the words before address or ask for a person, or say whose name follows.
fn is_addressed(before: &WordsBefore) -> bool {
    let (word, second) = (before.word(0), before.word(1));
    let asks = word.is_in(words::ASKING)
        || word.is_in("for") && second.is_in("ask asked asking")
        || word.is_in("attn")
        || word.is_in("de") && second.is_in("attention part nom")
        || word.is_in("me") && second.is_in("call")
        || word.is_in("moi") && second.is_in("appelez appelle appeler");
    asks || word.is_in(words::GREETINGS) || word.is_in(words::RELATIVES) && !second.is_in("a an")
}

/// Returns whether the words before say who a person is: « c'est », `I'm`, `this is`, « ici ».
fn is_copula(before: &WordsBefore) -> bool {
    let (word, second) = (before.word(0), before.word(1));
    word.is_in("im cest ici")
        || word.is_in("suis") && second.is_in("je j")
        || word.is_in("est etait") && second.is_in("c moi")
        || word.is_in("am m") && second.is_in("i")
        || word.is_in("is s") && second.is_in("this that here it he she")
}

/// Returns whether at most four words stand between `pos` and the end of its line.
fn ends_line(scanner: &Scanner<'_>, pos: usize) -> bool {
    let end = scanner
        .scan_at_most(pos, 48, |ch| ch.is_alphabetic() || matches!(ch, ' ' | '-' | '\'' | '.'));
    let spaces = scanner.chars(pos, end).filter(|ch| *ch == ' ').count();
    spaces <= 4 && matches!(scanner.char_at(end), '\n' | BARRIER | '!' | ')' | ',')
}

/// Returns whether the word directly before `pos` can introduce an unknown name in small letters, or a
/// particle of one. The check is cheap, because every word in small letters is asked.
pub(super) fn follows_name_word(scanner: &Scanner<'_>, pos: usize) -> bool {
    let mut end = pos;
    while end > 0 && pos - end < 2 && matches!(scanner.char_before(end), ' ' | '.') {
        end -= 1;
    }
    let mut start = end;
    while start > 0 && end - start <= FoldedWord::MAX && scanner.char_before(start).is_alphabetic()
    {
        start -= 1;
    }
    let word = scanner.fold_word(start, end);
    end < pos && word.is_in("appelle mappelle is est m me mr mrs ms dr mme mlle monsieur madame mademoiselle docteur doctor prof")
}
