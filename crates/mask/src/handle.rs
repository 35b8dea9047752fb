//! Finds user names: after an `@`, and after the name of a network.
//!
//! A user name without its `@` has a form that words do not have: an underscore, a dot inside, or digits
//! behind letters.

use super::cue::WordsBefore;
use super::network::{find_host_end, is_label_char};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words after an `@` that name no person: parts of code, places, and groups such as `everyone`.
const NON_HANDLES: &str = "all after angular app app* autowired babel before bean channel charset chez \
                      class classmethod component controller dataclass deprecated entity everyone \
                      extend font fontface gmail hotmail here home import include inject injectable \
                      interface keyframes layer license link maison media mixin next noon nullable \
                      override package page param private property protected public pytest react \
                      repository return returns school see service since staticmethod \
                      supports suppresswarnings tailwind test throws todo type typedef types version \
                      vue work";

/// Matches a handle: `@jeanne_d`, `@user@instance.social`. It does not match `@5pm`, `@Override` or
/// `@scope/package`.
pub(super) fn match_handle(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let before = scanner.char_before(pos);
    if scanner.char_at(pos) != '@'
        || (is_word_char(before) && is_label_char(before))
        || matches!(before, '/' | '@' | '.' | '-')
    {
        return None;
    }
    let is_handle = |ch: char| is_label_char(ch) || matches!(ch, '_' | '.');
    let mut to = scanner.scan_at_most(pos + 1, 64, is_handle);
    while to > pos + 1 && matches!(scanner.char_at(to - 1), '.' | '-') {
        to -= 1;
    }
    let name = || scanner.chars(pos + 1, to);
    let letters = name().filter(|ch| ch.is_alphabetic()).count();
    let digit_first = name().next().is_some_and(|ch| ch.is_ascii_digit());
    if letters < if digit_first { 4 } else { 1 } || to - pos < 3 {
        return None;
    }
    if scanner.char_at(to) == '@' {
        to = find_host_end(scanner, to + 1, false)?;
        return scanner.match_span(PiiKind::Handle, pos, to);
    }
    let (word, word_end) = scanner.word_at(pos + 1);
    let is_code = matches!(scanner.char_at(to), '(' | '/' | ':' | '=' | '[')
        && !matches!(
            (scanner.char_at(to), scanner.char_at(to + 1)),
            (':' | '/', ' ' | super::BARRIER)
        );
    let is_non_handle = word.is_in(NON_HANDLES)
        && (word_end == to || matches!(scanner.char_at(word_end), '.' | '-'));
    (!is_code && !is_non_handle).then(|| scanner.match_span(PiiKind::Handle, pos, to))?
}

/// Networks, games and forms that name their users.
const NETWORKS: &str = "insta instagram ig snap snapchat tiktok twitter discord telegram tg twitch reddit steam psn xbox skype \
                        kik wechat mastodon bluesky linkedin facebook fb messenger pseudo pseudonyme gamertag username \
                        battletag vinted github gitlab venmo cashapp threads onlyfans";

/// Words that mark something else of a network than a user, when they are nearer.
const NOT_USERS: &str = "app appli application version update message error erreur bug page groupe group server serveur \
                         channel canal model modele";

/// Matches a user name behind the name of its network: `insta jeanne_d75`, `discord jeanne#1234`.
pub(super) fn match_network_handle(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.char_at(pos).is_alphabetic()
        || !scanner.is_word_start(pos)
        || scanner.char_before(pos) == '@'
    {
        return None;
    }
    let is_name = |ch: char| is_label_char(ch) || matches!(ch, '_' | '.');
    let mut to = scanner.scan_at_most(pos, 33, is_name);
    while to > pos && matches!(scanner.char_at(to - 1), '.' | '-') {
        to -= 1;
    }
    let tag = scanner.scan_at_most(to + 1, 5, |ch| ch.is_ascii_digit());
    let has_tag = scanner.char_at(to) == '#' && tag == to + 5;
    if to - pos < 3 || to - pos > 32 || !(has_tag || has_handle_form(scanner, pos, to)) {
        return None;
    }
    let end = if has_tag { tag } else { to };
    if is_word_char(scanner.char_at(end)) || matches!(scanner.char_at(end), '(' | '/' | '=') {
        return None;
    }
    let cue = WordsBefore::read(scanner, pos).nearest(3, NETWORKS, NOT_USERS)?;
    let found = scanner.match_span(PiiKind::Handle, pos, end)?;
    Some(found.because("user name after the name of a network", Some(cue)))
}

/// Returns whether characters have the form of a user name: an underscore, a dot between letters, or
/// three letters and then digits to the end.
fn has_handle_form(scanner: &Scanner<'_>, pos: usize, to: usize) -> bool {
    let inner = |index: usize| {
        scanner.char_at(index) == '_'
            || scanner.char_at(index) == '.'
                && scanner.char_at(index - 1).is_alphanumeric()
                && scanner.char_at(index + 1).is_alphanumeric()
    };
    let letters_end = scanner.scan_at_most(pos, 33, char::is_alphabetic);
    let digits_end = scanner.scan_at_most(letters_end, 33, |ch| ch.is_ascii_digit());
    let small = scanner.chars(pos + 1, letters_end).all(char::is_lowercase);
    (pos + 1..to - 1).any(inner)
        || letters_end - pos >= 3 && small && digits_end > letters_end && digits_end == to
}
