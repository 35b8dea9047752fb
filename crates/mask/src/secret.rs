//! Secrets and addresses of money: by the word before them, by how their issuers begin them, by
//! their check, by looking like nothing that a person writes.

use super::checks::{Base58, base58check, bech32};
use super::seen::{Seen, is_word};
use super::{Kind, Match};

pub(super) fn any(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let first = seen.sign(at);
    if first == '-' {
        return pem(seen, at);
    }
    if !first.is_ascii_alphanumeric() || is_word(seen.before(at)) {
        return None;
    }
    let letter = first.is_ascii_alphabetic();
    letter.then(|| named(seen, at)).flatten().or_else(|| token(seen, at))
}

/// A private key in PEM: to its end, or to the text's.
fn pem(seen: &Seen<'_>, at: usize) -> Option<Match> {
    const BEGIN: &str = "-----begin ";
    if seen.before(at) == '-' || !seen.starts_with(at, BEGIN) {
        return None;
    }
    let title = seen.run_within(at + BEGIN.len(), 40, |sign| sign != '-');
    let private = "private key";
    if !(at..title).any(|at| seen.starts_with(at, private)) {
        return None;
    }
    let ends = |at: &usize| seen.sign(*at) == '-' && seen.starts_with(*at, "-----end ");
    let end =
        (title..seen.len()).find(ends).map(|end| seen.run_within(end + 9, 40, |sign| sign != '-'));
    let to = end.map_or(seen.len(), |end| seen.run_within(end, 5, |sign| sign == '-'));
    seen.found(Kind::Secret, at, to)
}

/// Words that a secret is called by.
const NAMES: &str = "password passwords passwd passphrase pwd pass pw mdp motdepasse secret secrets token tokens \
                     apikey bearer passcode credential credentials psk pin otp";

/// Those behind which a value needs nothing that ties it: « mdp Azerty!99 ».
const PASSWORDS: &str = "password passwd passphrase pwd pw mdp motdepasse passcode";

/// Those whose values are short and of digits.
const PINS: &str = "pin otp";

/// Two or three words that a secret is called by.
const LONG_NAMES: [&str; 25] = [
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

/// A value behind its name: `password=hunter2`, `mot de passe : soleil42`, `Bearer abc…`. It has six
/// signs or more and among them a digit or a sign that words do not have.
fn named(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let (word, mut end) = seen.word(at);
    let mut called = word.is_in(NAMES);
    let (mut password, mut pin) = (word.is_in(PASSWORDS), word.is_in(PINS));
    if let Some(name) = LONG_NAMES.iter().find(|name| seen.starts_with(at, name)) {
        (called, end) = (true, at + name.chars().count());
        password = name.starts_with("mot");
        pin = name.contains("pin") || name.contains("ation");
    }
    // `client_secret`, `DB_PASSWORD` begin earlier; `secret_key_base` goes on.
    for _ in 0..4 {
        if seen.sign(end) != '_' && seen.sign(end) != '-' {
            break;
        }
        let (next, next_end) = seen.word(end + 1);
        let two = [("api", "key"), ("access", "key"), ("private", "key")];
        called |= next.is_in(NAMES) || two.contains(&(word.as_str(), next.as_str()));
        end = next_end;
    }
    if !called || is_word(seen.sign(end)) {
        return None;
    }
    let skip = |at: usize| skip(seen, at);
    let mut from = skip(end);
    // `"token": "…"` closes its name's quotation mark first.
    let linked = link(seen, end);
    from = linked.unwrap_or(from);
    // `password "…"`: the quotation marks tie it as well.
    let quoted = from > end + 1 && seen.before(from) == '"' && seen.before(end) != '"';
    let link = linked.is_some() || quoted;
    let (scheme, scheme_end) = seen.word(from);
    if scheme.is_in("bearer basic token") && seen.sign(scheme_end) == ' ' {
        from = skip(scheme_end);
    }
    let open = |sign: char| {
        !matches!(sign, ' ' | '\n' | '"' | '`' | '»' | '”' | '<' | '>' | super::BARRIER)
    };
    let mut to = seen.run_within(from, 256, open);
    while to > from
        && matches!(seen.sign(to - 1), '.' | ',' | ';' | ')' | '?' | ':' | '\'' | '}' | ']')
    {
        // A password may end so, but a sentence does more often.
        to -= 1;
    }
    let digits = seen.signs(from, to).filter(|sign| sign.is_ascii_digit()).count();
    let letters = seen.signs(from, to).filter(|sign| sign.is_alphabetic()).count();
    let signs = seen
        .signs(from, to)
        .any(|sign| matches!(sign, '!' | '@' | '#' | '$' | '%' | '&' | '*' | '_' | '+' | '='));
    // « mdp Azerty!99 » needs no link: nothing but a password has all three.
    let sure = password && digits > 0 && letters > 0 && signs;
    let short = pin && link && (4..=8).contains(&digits) && digits == to - from;
    if short {
        return seen.found(Kind::Secret, from, to);
    }
    let least = if link || sure { 6 } else { 16 };
    let mixed = (to - from >= 20 && cases(seen, from, to))
        || (digits > 0 && letters > 0)
        || (signs && letters > 0)
        || (link && digits >= 6 && digits == to - from);
    let code =
        seen.sign(to) == '(' || seen.signs(from, to).any(|sign| matches!(sign, '(' | '{' | '['));
    (to - from >= least && mixed && !code).then(|| seen.found(Kind::Secret, from, to))?
}

/// After blanks and quotation marks.
fn skip(seen: &Seen<'_>, at: usize) -> usize {
    seen.run_within(at, 3, |sign| matches!(sign, ' ' | '"' | '\'' | '`' | '«' | '“'))
}

/// Where the value starts that `:`, `=` or a verb ties to a name that ends here; a few words may stand
/// between: « le mot de passe du wifi est … ».
fn link(seen: &Seen<'_>, end: usize) -> Option<usize> {
    let mut from = skip(seen, end);
    for _ in 0..5 {
        let arrow = seen.sign(from) == '→' || seen.starts_with(from, "->");
        if arrow || matches!(seen.sign(from), ':' | '=') {
            let sign = seen.run_within(from, 2, |sign| matches!(sign, ':' | '=' | '>' | '-' | '→'));
            return Some(skip(seen, sign));
        }
        let (verb, verb_end) = seen.word(from);
        if from == end || verb_end == from {
            return None;
        }
        let told = verb.is_in("c") && seen.starts_with(verb_end, "'est ");
        if told || verb.is_in("is est was etait") {
            let next = skip(seen, if told { verb_end + 5 } else { verb_end });
            return Some(if seen.sign(next) == ':' { skip(seen, next + 1) } else { next });
        }
        let next = seen.run_within(verb_end, 1, |sign| matches!(sign, ' ' | '\''));
        if next == verb_end {
            return None;
        }
        from = next;
    }
    None
}

/// How issuers begin their keys, with the fewest signs that follow.
const PREFIXES: [(&str, usize); 48] = [
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

/// Shortest run of signs that is a secret by its looks alone.
const RANDOM_MIN: usize = 20;

/// Longest run that is read: what is longer and looks so at its start is one.
const RANDOM_MAX: usize = 512;

fn is_token(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | '+' | '/' | '=')
}

/// Signs that follow another as in no name of code: a capital after a capital, a letter after a digit.
fn odd_pairs(seen: &Seen<'_>, from: usize, to: usize) -> usize {
    let pairs = seen.signs(from, to).zip(seen.signs(from + 1, to));
    let odd = |(before, sign): &(char, char)| match before {
        'A'..='Z' => sign.is_ascii_uppercase(),
        '0'..='9' => sign.is_ascii_alphabetic(),
        _ => false,
    };
    pairs.filter(odd).count()
}

/// Whether letters alone look drawn: both cases, mixed as no name of code has them.
fn cases(seen: &Seen<'_>, from: usize, to: usize) -> bool {
    let small = seen.signs(from, to).filter(char::is_ascii_lowercase).count();
    let capitals = seen.signs(from, to).filter(char::is_ascii_uppercase).count();
    small > 3 && capitals > 3 && odd_pairs(seen, from, to) >= 3
}

fn token(seen: &Seen<'_>, at: usize) -> Option<Match> {
    // A token with dots is one whole, as a JSON web token is.
    let dotted = |sign: char| is_token(sign) || matches!(sign, '.' | '~');
    let mut to = seen.run_within(at, RANDOM_MAX, dotted);
    if matches!(seen.before(at), '+' | '/' | '=' | '~' | '.' | '-') && is_word_before(seen, at) {
        return None;
    }
    while to > at && matches!(seen.sign(to - 1), '.' | '/' | '-') {
        to -= 1;
    }
    if to - at < 20 {
        return None;
    }
    let prefixed = |(prefix, least): &(&str, usize)| {
        prefix.chars().enumerate().all(|(place, sign)| seen.sign(at + place) == sign)
            && to - at >= prefix.len() + least
    };
    if let Some((prefix, _)) = PREFIXES.iter().find(|prefix| prefixed(prefix)) {
        // Where words could follow so short a beginning, a digit or a mix of cases must too.
        let digit = seen.signs(at, to).any(|sign| sign.is_ascii_digit());
        let drawn = digit || prefix.len() > 4 || *prefix == "AKIA" || cases(seen, at, to);
        if drawn
            && (*prefix != "AKIA"
                || seen.run_within(at, 20, |c| c.is_ascii_alphanumeric()) - at == 20)
        {
            return seen.found(Kind::Secret, at, rest(seen, to, dotted));
        }
    }
    let plain = seen.run_within(at, to - at, is_token);
    if let Some(kind) =
        checked(seen, at, seen.run_within(at, 120, |sign| sign.is_ascii_alphanumeric()))
    {
        return seen.found(kind.0, at, kind.1);
    }
    let random = |to: usize| to - at >= RANDOM_MIN && is_random(seen, at, to);
    if random(to) && to > plain && !seen.signs(at, to).any(|sign| sign == '/') {
        return seen.found(Kind::Secret, at, rest(seen, to, dotted));
    }
    random(plain).then(|| seen.found(Kind::Secret, at, rest(seen, plain, is_token)))?
}

/// The end of a match whose reading stopped at [`RANDOM_MAX`]: read on only now, so that no sign is
/// read often.
fn rest(seen: &Seen<'_>, to: usize, passes: impl Fn(char) -> bool) -> usize {
    let mut end = seen.run(to, passes);
    while end > to && matches!(seen.sign(end - 1), '.' | '/' | '-') {
        end -= 1;
    }
    end
}

/// Whether what stands before the punctuation before is a word too: then the run began earlier and
/// was judged whole.
fn is_word_before(seen: &Seen<'_>, at: usize) -> bool {
    at > 1 && is_word(seen.sign(at - 2))
}

/// An address or a key with a check, or of a shape that nothing else has.
fn checked(seen: &Seen<'_>, at: usize, to: usize) -> Option<(Kind, usize)> {
    let text: Vec<char> = seen.signs(at, to).collect();
    if is_word(seen.sign(to)) {
        return None;
    }
    let hex = text.starts_with(&['0', 'x']) && text[2..].iter().all(char::is_ascii_hexdigit);
    match (text.len(), hex) {
        (42, true) => return Some((Kind::Crypto, to)),
        (66, true) => return Some((Kind::Secret, to)),
        // Monero: 95 signs of base58, whose check is Keccak's.
        (95, false) if matches!(text[0], '4' | '8') => return Some((Kind::Crypto, to)),
        (25..=112, false) => {}
        _ => return None,
    }
    match base58check(&text) {
        Some(Base58::Address) => Some((Kind::Crypto, to)),
        Some(Base58::Key) => Some((Kind::Secret, to)),
        None => (text.len() <= 90 && bech32(&text)).then_some((Kind::Crypto, to)),
    }
}

/// Words before a run of hexadecimal digits that say it is public.
const PUBLIC: &str = "commit commits sha md hash hachage checksum checksums digest empreinte etag \
                      revision rev integrity somme uuid guid fingerprint image tree";

/// Whether signs look drawn: letters and digits both, and the class (capital, small, digit) changing
/// from one sign to the next as often as in a drawn text, which is 0.62 for base62 and 0.47 for
/// hexadecimal; in names of code, words with a number, IBANs or paths it is below 0.25.
fn is_random(seen: &Seen<'_>, at: usize, to: usize) -> bool {
    let to = to.min(at + RANDOM_MAX);
    let class = |sign: char| match sign {
        '0'..='9' => 0,
        'a'..='z' => 1,
        'A'..='Z' => 2,
        _ => 3,
    };
    let mut count = [0_usize; 4];
    let (mut changes, mut pairs, mut last) = (0_usize, 0_usize, 3);
    for sign in seen.signs(at, to) {
        let now = class(sign);
        count[now] += 1;
        if last != 3 && now != 3 {
            pairs += 1;
            changes += usize::from(last != now);
        }
        last = now;
    }
    let [digits, small, capitals, others] = count;
    let letters = small + capitals;
    let hex = seen.signs(at, to).all(|sign| sign.is_ascii_hexdigit());
    if (digits < 2 && to - at < 32) || letters < 3 || others * 4 > to - at {
        return false;
    }
    if hex {
        let lengths = to - at >= 32 && changes * 10 >= pairs * 3;
        return lengths && !seen.told(at, PUBLIC);
    }
    if is_uuid(seen, at, to) {
        return false;
    }
    if digits < 2 {
        return changes * 100 >= pairs * 30 && cases(seen, at, to);
    }
    // A product key: five groups of five.
    let groups = to - at == 29 && (5..29).step_by(6).all(|place| seen.sign(at + place) == '-');
    let one_case = small == 0 || capitals == 0;
    let needed = if one_case { 35 } else { 38 };
    let long_enough = to - at >= if one_case { 24 } else { RANDOM_MIN };
    (groups && others == 4 && small == 0)
        || (long_enough
            && changes * 100 >= pairs * needed
            && (one_case || odd_pairs(seen, at, to) >= 3))
}

/// Eight, four, four, four and twelve hexadecimal digits: an id, which opens nothing.
fn is_uuid(seen: &Seen<'_>, at: usize, to: usize) -> bool {
    let dash = |place: usize| matches!(place, 8 | 13 | 18 | 23);
    to - at == 36
        && seen.signs(at, to).enumerate().all(|(place, sign)| match dash(place) {
            true => sign == '-',
            false => sign.is_ascii_hexdigit(),
        })
}
