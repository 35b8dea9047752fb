//! Finds secrets and cryptocurrency addresses.
//!
//! They are recognised by a name before the value, the prefix of an issuer, a checksum, or a
//! sequence of characters that no person writes.

use super::checks::{Base58Payload, decode_base58check, is_bech32};
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

pub(super) fn match_secret(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    if first == '-' {
        return match_pem(scanner, pos);
    }
    if !first.is_ascii_alphanumeric() || is_word_char(scanner.char_before(pos)) {
        return None;
    }
    let letter = first.is_ascii_alphabetic();
    let named = letter.then(|| match_named_secret(scanner, pos)).flatten().map(|found| {
        found.because("value after the name of a secret", Some((pos, scanner.word_at(pos).1)))
    });
    named.or_else(|| match_token(scanner, pos))
}

/// Matches a private key in PEM, up to its end line or to the end of the text.
fn match_pem(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    const BEGIN: &str = "-----begin ";
    if scanner.char_before(pos) == '-' || !scanner.starts_with(pos, BEGIN) {
        return None;
    }
    let title = scanner.scan_at_most(pos + BEGIN.len(), 40, |ch| ch != '-');
    let private = "private key";
    if !(pos..title).any(|pos| scanner.starts_with(pos, private)) {
        return None;
    }
    let ends = |pos: &usize| scanner.char_at(*pos) == '-' && scanner.starts_with(*pos, "-----end ");
    let end = (title..scanner.len())
        .find(ends)
        .map(|end| scanner.scan_at_most(end + 9, 40, |ch| ch != '-'));
    let to = end.map_or(scanner.len(), |end| scanner.scan_at_most(end, 5, |ch| ch == '-'));
    scanner.match_span(PiiKind::Secret, pos, to)
}

/// Words that name a secret; the value follows the name.
const SECRET_NAMES: &str = "password passwords passwd passphrase pwd pass pw mdp motdepasse secret secrets token tokens \
                     apikey bearer passcode credential credentials psk pin otp";

/// Names after which a value needs no link such as `:` or `=`: « mdp Azerty!99 ».
const PASSWORD_NAMES: &str = "password passwd passphrase pwd pw mdp motdepasse passcode";

/// Names whose values are short and consist of digits.
const PIN_NAMES: &str = "pin otp";

/// Names of a secret with two or three words.
const SECRET_PHRASES: [&str; 25] = [
    "mot de passe",
    "mot-de-passe",
    "code pin",
    "code de verification",
    "code de confirmation",
    "verification code",
    "code d'acces",
    "code wifi",
    "cle wifi",
    "clef wifi",
    "wifi key",
    "clef api",
    "clef d'api",
    "api key",
    "api-key",
    "api_key",
    "cle api",
    "cle d'api",
    "cle secrete",
    "access key",
    "access_key",
    "secret key",
    "secret_key",
    "private key",
    "code secret",
];

/// Matches a value after its name: `password=hunter2`, `mot de passe : soleil42`, `Bearer abc…`.
///
/// A linked value, or one that can only be a password, needs at least six characters; any other
/// value needs 16. Among them must be a digit or a character that words do not have, or a random
/// mix of cases. A linked PIN has four to eight digits.
fn match_named_secret(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let (word, mut end) = scanner.word_at(pos);
    let mut is_named = word.is_in(SECRET_NAMES);
    let (mut password, mut pin) = (word.is_in(PASSWORD_NAMES), word.is_in(PIN_NAMES));
    if let Some(name) = SECRET_PHRASES.iter().find(|name| scanner.starts_with(pos, name)) {
        (is_named, end) = (true, pos + name.chars().count());
        password = name.starts_with("mot");
        pin = name.contains("pin") || name.contains("ation");
    }
    // Names may be part of a longer identifier: `client_secret` and `DB_PASSWORD` begin earlier,
    // `secret_key_base` continues.
    for _ in 0..4 {
        if scanner.char_at(end) != '_' && scanner.char_at(end) != '-' {
            break;
        }
        let (next, next_end) = scanner.word_at(end + 1);
        let name_pairs = [("api", "key"), ("access", "key"), ("private", "key")];
        is_named |=
            next.is_in(SECRET_NAMES) || name_pairs.contains(&(word.as_str(), next.as_str()));
        end = next_end;
    }
    if !is_named || is_word_char(scanner.char_at(end)) {
        return None;
    }
    let skip = |pos: usize| skip_quotes(scanner, pos);
    let mut from = skip(end);
    // In `"token": "…"` the quotation mark of the name closes first.
    let linked_value = find_linked_value(scanner, end);
    from = linked_value.unwrap_or(from);
    // In `password "…"` the quotation marks link the value to the name.
    let quoted =
        from > end + 1 && scanner.char_before(from) == '"' && scanner.char_before(end) != '"';
    let is_linked = linked_value.is_some() || quoted;
    let (scheme, scheme_end) = scanner.word_at(from);
    if scheme.is_in("bearer basic token") && scanner.char_at(scheme_end) == ' ' {
        from = skip(scheme_end);
    }
    let is_value_char =
        |ch: char| !matches!(ch, ' ' | '\n' | '"' | '`' | '»' | '”' | '<' | '>' | super::BARRIER);
    let mut to = scanner.scan_at_most(from, 256, is_value_char);
    while to > from
        && matches!(scanner.char_at(to - 1), '.' | ',' | ';' | ')' | '?' | ':' | '\'' | '}' | ']')
    {
        // A password may end like this, but a sentence does so more often.
        to -= 1;
    }
    let digits = scanner.chars(from, to).filter(|ch| ch.is_ascii_digit()).count();
    let letters = scanner.chars(from, to).filter(|ch| ch.is_alphabetic()).count();
    let has_symbol = scanner
        .chars(from, to)
        .any(|ch| matches!(ch, '!' | '@' | '#' | '$' | '%' | '&' | '*' | '_' | '+' | '='));
    // « mdp Azerty!99 » needs no link, because only a password has digits, letters and symbols.
    let sure = password && digits > 0 && letters > 0 && has_symbol;
    let short = pin && is_linked && (4..=8).contains(&digits) && digits == to - from;
    if short {
        return scanner.match_span(PiiKind::Secret, from, to);
    }
    let chars_min = if is_linked || sure { 6 } else { 16 };
    let mixed = (to - from >= 20 && has_random_case(scanner, from, to))
        || (digits > 0 && letters > 0)
        || (has_symbol && letters > 0)
        || (is_linked && digits >= 6 && digits == to - from);
    let code = scanner.char_at(to) == '('
        || scanner.chars(from, to).any(|ch| matches!(ch, '(' | '{' | '['));
    (to - from >= chars_min && mixed && !code)
        .then(|| scanner.match_span(PiiKind::Secret, from, to))?
}

/// Returns the position after up to three spaces and quotation marks.
fn skip_quotes(scanner: &Scanner<'_>, pos: usize) -> usize {
    scanner.scan_at_most(pos, 3, |ch| matches!(ch, ' ' | '"' | '\'' | '`' | '«' | '“'))
}

/// Returns the start of a value that `:`, `=` or a verb links to the name ending at `end`. A few
/// words may come between: « le mot de passe du wifi est … ».
fn find_linked_value(scanner: &Scanner<'_>, end: usize) -> Option<usize> {
    let mut from = skip_quotes(scanner, end);
    for _ in 0..5 {
        let arrow = scanner.char_at(from) == '→' || scanner.starts_with(from, "->");
        if arrow || matches!(scanner.char_at(from), ':' | '=') {
            let link_end =
                scanner.scan_at_most(from, 2, |ch| matches!(ch, ':' | '=' | '>' | '-' | '→'));
            return Some(skip_quotes(scanner, link_end));
        }
        let (verb, verb_end) = scanner.word_at(from);
        if from == end || verb_end == from {
            return None;
        }
        let is_c_est = verb.is_in("c") && scanner.starts_with(verb_end, "'est ");
        if is_c_est || verb.is_in("is est was etait") {
            let next = skip_quotes(scanner, if is_c_est { verb_end + 5 } else { verb_end });
            return Some(if scanner.char_at(next) == ':' {
                skip_quotes(scanner, next + 1)
            } else {
                next
            });
        }
        let next = scanner.scan_at_most(verb_end, 1, |ch| matches!(ch, ' ' | '\''));
        if next == verb_end {
            return None;
        }
        from = next;
    }
    None
}

/// Prefixes of issued keys, each with the smallest number of characters after it.
const TOKEN_PREFIXES: [(&str, usize); 48] = [
    ("sk-", 20),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("pk_live_", 10),
    ("pk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 20),
    ("SG.", 30),
    ("hf_", 20),
    ("npm_", 20),
    ("pypi-", 20),
    ("dop_v1_", 20),
    ("shpat_", 20),
    ("shpss_", 20),
    ("sq0atp-", 16),
    ("sq0csp-", 16),
    ("EAACEdEose0cBA", 6),
    ("glsa_", 20),
    ("dckr_pat_", 16),
    ("sntrys_", 16),
    ("lin_api_", 16),
    ("figd_", 16),
    ("tvly-", 16),
    ("xai-", 20),
    ("gsk_", 20),
    ("r8_", 20),
    ("AGE-SECRET-KEY-", 20),
    ("hvs.", 20),
    ("ATATT3", 20),
    ("eyJ", 20),
    ("key-", 28),
];

/// Shortest run of characters that is a secret by its randomness alone.
const RANDOM_CHARS_MIN: usize = 20;

/// Longest run that is checked. A longer run counts as random when its start does.
const RANDOM_CHARS_MAX: usize = 512;

fn is_token_char(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || matches!(ch, '_' | '-' | '+' | '/' | '=')
}

/// Counts the pairs that are rare in identifiers: a capital after a capital, a letter after a
/// digit.
fn count_odd_pairs(scanner: &Scanner<'_>, from: usize, to: usize) -> usize {
    let pairs = scanner.chars(from, to).zip(scanner.chars(from + 1, to));
    let odd = |(before, ch): &(char, char)| match before {
        'A'..='Z' => ch.is_ascii_uppercase(),
        '0'..='9' => ch.is_ascii_alphabetic(),
        _ => false,
    };
    pairs.filter(odd).count()
}

/// Returns whether letters alone look random: both cases, mixed as in no identifier.
fn has_random_case(scanner: &Scanner<'_>, from: usize, to: usize) -> bool {
    let small = scanner.chars(from, to).filter(char::is_ascii_lowercase).count();
    let capitals = scanner.chars(from, to).filter(char::is_ascii_uppercase).count();
    small > 3 && capitals > 3 && count_odd_pairs(scanner, from, to) >= 3
}

fn match_token(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    // A token with dots is read as a whole, as for a JSON web token.
    let is_dotted_token_char = |ch: char| is_token_char(ch) || matches!(ch, '.' | '~');
    let mut to = scanner.scan_at_most(pos, RANDOM_CHARS_MAX, is_dotted_token_char);
    if matches!(scanner.char_before(pos), '+' | '/' | '=' | '~' | '.' | '-')
        && follows_word(scanner, pos)
    {
        return None;
    }
    while to > pos && matches!(scanner.char_at(to - 1), '.' | '/' | '-') {
        to -= 1;
    }
    if to - pos < 20 {
        return None;
    }
    let has_prefix = |(prefix, chars_min): &(&str, usize)| {
        prefix.chars().enumerate().all(|(index, ch)| scanner.char_at(pos + index) == ch)
            && to - pos >= prefix.len() + chars_min
    };
    if let Some((prefix, _)) = TOKEN_PREFIXES.iter().find(|prefix| has_prefix(prefix)) {
        // After a short prefix ordinary words are possible, so a digit or a mix of cases is needed
        // too.
        let digit = scanner.chars(pos, to).any(|ch| ch.is_ascii_digit());
        let looks_random =
            digit || prefix.len() > 4 || *prefix == "AKIA" || has_random_case(scanner, pos, to);
        if looks_random
            && (*prefix != "AKIA"
                || scanner.scan_at_most(pos, 20, |c| c.is_ascii_alphanumeric()) - pos == 20)
        {
            return scanner.match_span(
                PiiKind::Secret,
                pos,
                scan_to_token_end(scanner, to, is_dotted_token_char),
            );
        }
    }
    let token_end = scanner.scan_at_most(pos, to - pos, is_token_char);
    if let Some(checksummed) = match_checksummed(
        scanner,
        pos,
        scanner.scan_at_most(pos, 120, |ch| ch.is_ascii_alphanumeric()),
    ) {
        return scanner.match_span(checksummed.0, pos, checksummed.1);
    }
    let is_random_until = |to: usize| to - pos >= RANDOM_CHARS_MIN && is_random(scanner, pos, to);
    if is_random_until(to) && to > token_end && !scanner.chars(pos, to).any(|ch| ch == '/') {
        return scanner.match_span(
            PiiKind::Secret,
            pos,
            scan_to_token_end(scanner, to, is_dotted_token_char),
        );
    }
    is_random_until(token_end).then(|| {
        scanner.match_span(
            PiiKind::Secret,
            pos,
            scan_to_token_end(scanner, token_end, is_token_char),
        )
    })?
}

/// Returns the end of a match that was checked up to [`RANDOM_CHARS_MAX`] only. It reads on after
/// the match is certain, so that no character is read often.
fn scan_to_token_end(scanner: &Scanner<'_>, to: usize, predicate: impl Fn(char) -> bool) -> usize {
    let mut end = scanner.scan_while(to, predicate);
    while end > to && matches!(scanner.char_at(end - 1), '.' | '/' | '-') {
        end -= 1;
    }
    end
}

/// Returns whether a word precedes the punctuation before `pos`. Then the run began earlier and was
/// checked as a whole.
fn follows_word(scanner: &Scanner<'_>, pos: usize) -> bool {
    pos > 1 && is_word_char(scanner.char_at(pos - 2))
}

/// Matches an address or a key that has a checksum, or a form that nothing else has.
fn match_checksummed(scanner: &Scanner<'_>, pos: usize, to: usize) -> Option<(PiiKind, usize)> {
    let text: Vec<char> = scanner.chars(pos, to).collect();
    if is_word_char(scanner.char_at(to)) {
        return None;
    }
    let hex = text.starts_with(&['0', 'x']) && text[2..].iter().all(char::is_ascii_hexdigit);
    match (text.len(), hex) {
        (42, true) => return Some((PiiKind::Crypto, to)),
        (66, true) => return Some((PiiKind::Secret, to)),
        // Monero: 95 characters of base58. Their Keccak checksum is not verified.
        (95, false) if matches!(text[0], '4' | '8') => return Some((PiiKind::Crypto, to)),
        (25..=112, false) => {}
        _ => return None,
    }
    match decode_base58check(&text) {
        Some(Base58Payload::Address) => Some((PiiKind::Crypto, to)),
        Some(Base58Payload::Key) => Some((PiiKind::Secret, to)),
        None => (text.len() <= 90 && is_bech32(&text)).then_some((PiiKind::Crypto, to)),
    }
}

/// Words before a run of hexadecimal digits that mark it as public.
const PUBLIC_HASH_CUES: &str = "commit commits sha md hash hachage checksum checksums digest empreinte etag \
                      revision rev integrity somme uuid guid fingerprint image tree";

/// Returns whether characters look random: letters and digits, with frequent changes of class
/// (capital, small, digit) from one character to the next.
///
/// The rate of changes is 0.62 in random base62 and 0.47 in random hexadecimal. In identifiers,
/// words with a number, IBANs or paths it is below 0.25.
fn is_random(scanner: &Scanner<'_>, pos: usize, to: usize) -> bool {
    let to = to.min(pos + RANDOM_CHARS_MAX);
    let class = |ch: char| match ch {
        '0'..='9' => 0,
        'a'..='z' => 1,
        'A'..='Z' => 2,
        _ => 3,
    };
    let mut count = [0_usize; 4];
    let (mut changes, mut pairs, mut previous) = (0_usize, 0_usize, 3);
    for ch in scanner.chars(pos, to) {
        let current = class(ch);
        count[current] += 1;
        if previous != 3 && current != 3 {
            pairs += 1;
            changes += usize::from(previous != current);
        }
        previous = current;
    }
    let [digits, small, capitals, others] = count;
    let letters = small + capitals;
    let hex = scanner.chars(pos, to).all(|ch| ch.is_ascii_hexdigit());
    if (digits < 2 && to - pos < 32) || letters < 3 || others * 4 > to - pos {
        return false;
    }
    if hex {
        let lengths = to - pos >= 32 && changes * 10 >= pairs * 3;
        return lengths && !scanner.has_cue(pos, PUBLIC_HASH_CUES);
    }
    if is_uuid(scanner, pos, to) {
        return false;
    }
    if digits < 2 {
        return changes * 100 >= pairs * 30 && has_random_case(scanner, pos, to);
    }
    // A product key: five groups of five characters.
    let is_product_key =
        to - pos == 29 && (5..29).step_by(6).all(|index| scanner.char_at(pos + index) == '-');
    let one_case = small == 0 || capitals == 0;
    let needed = if one_case { 35 } else { 38 };
    let long_enough = to - pos >= if one_case { 24 } else { RANDOM_CHARS_MIN };
    (is_product_key && others == 4 && small == 0)
        || (long_enough
            && changes * 100 >= pairs * needed
            && (one_case || count_odd_pairs(scanner, pos, to) >= 3))
}

/// Returns whether the characters are a UUID: 8, 4, 4, 4 and 12 hexadecimal digits. A UUID is an id
/// and grants no access.
fn is_uuid(scanner: &Scanner<'_>, pos: usize, to: usize) -> bool {
    let dash = |index: usize| matches!(index, 8 | 13 | 18 | 23);
    to - pos == 36
        && scanner.chars(pos, to).enumerate().all(|(index, ch)| match dash(index) {
            true => ch == '-',
            false => ch.is_ascii_hexdigit(),
        })
}
