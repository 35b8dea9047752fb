//! Addresses of the network: URLs, domains, e-mail, handles, IP, MAC.

use core::net::Ipv6Addr;

use super::number::THING;
use super::seen::{Seen, is_word};
use super::{Kind, Match};

/// Domain ends that nobody takes for a word: enough to see a domain in `example.com`.
const PLAIN_ENDS: &str =
    "com org net fr uk eu ch ca info biz edu gov io dev app gouv bzh paris lu xyz";

/// More ends, where the rest of the form already says that a domain is meant.
const MORE_ENDS: &str = "be de es it pt nl co me us ai tv mc re pro ie au nz pl se no dk fi at name \
                         mobi online site shop tech cloud blog store example test ru jp cn br in";

/// Names with a dot that are no domains, though they end like one.
const PRODUCTS: [&str; 7] =
    ["asp.net", "vb.net", "ado.net", "ml.net", "socket.io", "next.dev", "draw.io"];

/// Short links, which often name a person, or a telephone.
const SHORT: [&str; 10] = [
    "wa.me/",
    "t.me/",
    "paypal.me/",
    "bit.ly/",
    "youtu.be/",
    "discord.gg/",
    "goo.gl/",
    "amzn.to/",
    "m.me/",
    "tinyurl.com/",
];

/// Who keeps people's mail: behind a bare « at » nothing else is meant.
const MAIL_HOSTS: [&str; 14] = [
    "gmail.",
    "googlemail.",
    "hotmail.",
    "outlook.",
    "yahoo.",
    "live.",
    "icloud.",
    "orange.fr",
    "free.fr",
    "sfr.fr",
    "wanadoo.fr",
    "laposte.net",
    "protonmail.",
    "proton.me",
];

/// A URL with its scheme, or one that starts with `www.`: with user, query and fragment.
pub(super) fn url(seen: &Seen<'_>, at: usize) -> Option<Match> {
    if !seen.sign(at).is_ascii_alphabetic() || !seen.word_starts(at) {
        return None;
    }
    if seen.starts_with(at, "www.") && is_word(seen.sign(at + 4)) {
        return seen.found(Kind::Url, at, url_end(seen, at));
    }
    let scheme = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '+' | '.' | '-' | ':');
    let mut host = seen.run_within(at, 24, scheme);
    while host > at && seen.sign(host - 1) != ':' {
        host -= 1;
    }
    let slashes = [seen.sign(host), seen.sign(host + 1)];
    if host < at + 3 || slashes != ['/', '/'] {
        return None;
    }
    let first = seen.sign(host + 2);
    let opens = is_word(first) || matches!(first, '[' | '/' | ':');
    opens.then(|| seen.found(Kind::Url, at, url_end(seen, host + 2)))?
}

/// Where a URL ends: at a blank that is not an escape, a quotation mark, a bracket that it did not
/// open; without the punctuation of the sentence.
fn url_end(seen: &Seen<'_>, from: usize) -> usize {
    let mut to = from;
    let (mut round, mut square) = (0_i32, 0_i32);
    while to < seen.len() {
        let sign = seen.sign(to);
        match sign {
            _ if seen.escaped(to) => {}
            ' ' | '\n' | '"' | '<' | '>' | '«' | '»' | '`' | '“' | '”' | super::BARRIER => {
                break;
            }
            '(' => round += 1,
            '[' => square += 1,
            ')' if round == 0 => break,
            ']' if square == 0 => break,
            ')' => round -= 1,
            ']' => square -= 1,
            _ => {}
        }
        to += 1;
    }
    while to > from && !seen.escaped(to - 1) {
        match seen.sign(to - 1) {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '…' | '*' => to -= 1,
            _ => break,
        }
    }
    to
}

/// A domain without a scheme, with its path: `example.com/a`. Its end must be a known one in small
/// letters, so that `node.js`, `e.g.` and a missing blank after a full stop stay.
pub(super) fn domain(seen: &Seen<'_>, at: usize) -> Option<Match> {
    if !is_label(seen.sign(at))
        || is_label(seen.before(at))
        || matches!(seen.before(at), '.' | '@' | '_' | '/')
    {
        return None;
    }
    let short = SHORT.iter().find(|name| seen.starts_with(at, name));
    if let Some(name) = short.filter(|name| is_word(seen.sign(at + name.len()))) {
        return seen.found(Kind::Url, at, url_end(seen, at + name.len()));
    }
    let to = host_end(seen, at, true)?;
    let product = |name: &&str| name.len() == to - at && seen.starts_with(at, name);
    if matches!(seen.sign(to), '@' | '(' | '_') || PRODUCTS.iter().any(product) {
        return None;
    }
    let port = match seen.sign(to) {
        ':' => seen.run_within(to + 1, 6, |sign| sign.is_ascii_digit()),
        _ => to,
    };
    let to = if port > to + 1 { port } else { to };
    let path = matches!(seen.sign(to), '/' | '?' | '#');
    seen.found(Kind::Url, at, if path { url_end(seen, to).max(to) } else { to })
}

/// A letter or digit of a domain's label. Scripts without blanks between words do not count: there,
/// the sentence would be taken for the name.
fn is_label(sign: char) -> bool {
    (sign.is_alphanumeric() && (sign as u32) < 0x2e80) || sign == '-'
}

/// Where a host ends that starts here: labels with single dots, the last one of letters.
fn host_end(seen: &Seen<'_>, at: usize, known: bool) -> Option<usize> {
    let mut end = None;
    let mut label = at;
    loop {
        let next = seen.run(label, is_label);
        if next == label || (known && next - label > 63) {
            return end;
        }
        if label > at && is_end(seen, label, next, known) {
            end = Some(next);
        }
        if seen.sign(next) != '.' {
            return end;
        }
        label = next + 1;
    }
}

/// Whether a label can be the last.
fn is_end(seen: &Seen<'_>, from: usize, to: usize, known: bool) -> bool {
    if known {
        let small = seen.signs(from, to).all(|sign| sign.is_ascii_lowercase());
        return small && seen.word(from).0.is_in(PLAIN_ENDS);
    }
    let letters = seen.signs(from, to).all(|sign| sign.is_alphabetic());
    (2..=24).contains(&(to - from)) && (letters || seen.starts_with(from, "xn--"))
}

/// A sign of an e-mail address before the `@`.
fn is_local(sign: char) -> bool {
    is_label(sign) || matches!(sign, '.' | '_' | '+' | '%')
}

/// An e-mail address: as it should be, with blanks in it, or spelled out.
pub(super) fn email(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let first = seen.sign(at);
    if first == '"' {
        let to = seen.run_within(at + 1, 64, |sign| !matches!(sign, '"' | '\n'));
        let host = (seen.sign(to) == '"' && seen.sign(to + 1) == '@').then_some(to + 2)?;
        return seen.found(Kind::Email, at, host_end(seen, host, false)?);
    }
    if !is_local(first) || is_local(seen.before(at)) {
        return None;
    }
    // O’Brien's, but not « l’adresse d’Alice ».
    let irish = matches!(first, 'o' | 'O') && seen.sign(at + 1) == '\'';
    let mut local = seen.run(if irish { at + 2 } else { at }, is_local);
    let from = at + seen.signs(at, local).take_while(|sign| matches!(sign, '.' | '-')).count();
    if from >= local {
        return None;
    }
    if seen.sign(local) == '@'
        && let Some(to) = host_end(seen, local + 1, false)
    {
        return seen.found(Kind::Email, from, to);
    }
    // Further names with a spelled dot between them.
    for _ in 0..4 {
        let Some(next) = spelled(seen, local, LOCAL_SIGNS) else { break };
        let end = seen.run_within(next, 64, is_local);
        if end == next {
            break;
        }
        local = end;
    }
    spelled_host(seen, from, local)
}

const DOTS: &str = "point dot";
const LOCAL_SIGNS: &str = "point dot underscore tiret dash";
const ATS: &str = "arobase arobas arrobase arobaze at";

/// After a spelled sign with blanks around it.
fn spelled(seen: &Seen<'_>, at: usize, words: &str) -> Option<usize> {
    let from = seen.blanks(at);
    let (word, to) = seen.word(from);
    let next = seen.blanks(to);
    (from > at && next > to && word.is_in(words)).then_some(next)
}

/// The rest of an address that is spelled, or has blanks, after its local part. With a bare `at`,
/// which every English sentence has, a dot must be spelled too, or the words before must speak of
/// e-mail.
fn spelled_host(seen: &Seen<'_>, from: usize, local: usize) -> Option<Match> {
    let sign = seen.blanks(local);
    let (mut at, sure) = if seen.sign(sign) == '@' {
        (seen.blanks(sign + 1), true)
    } else {
        let at = spelled(seen, local, ATS)?;
        let mail = MAIL_HOSTS.iter().any(|host| seen.starts_with(at, host));
        (at, mail || !seen.starts_with(sign, "at "))
    };
    // « at a dot com café » has one letter.
    let host_letters = seen.run_within(at, 64, is_label) - at;
    let (mut spelled_dots, mut point) = (0, false);
    let mut end = None;
    for place in 0..6 {
        let label = seen.run_within(at, 64, |sign| is_label(sign) || sign == '_');
        let (word, word_end) = seen.word(at);
        // « at this point in life »: the English sign and the French dot leave only plain ends.
        let more = (sure || !point) && word.is_in(MORE_ENDS);
        let known = word_end == label && (more || word.is_in(PLAIN_ENDS));
        if place > 0 && known {
            end = Some((label, spelled_dots));
        }
        let dot = seen.blanks(label);
        at = if seen.sign(dot) == '.' {
            let next = seen.blanks(dot + 1);
            // « … @ gmail.com. Merci »: a full stop, not a dot.
            if label == at || (end.is_some() && next > dot + 1) {
                break;
            }
            next
        } else {
            spelled_dots += 1;
            point |= seen.starts_with(dot, "point");
            match spelled(seen, label, DOTS) {
                Some(next) if label > at => next,
                _ => break,
            }
        };
    }
    let (to, spelled_dots) = end?;
    let mail =
        "mail mails email emails courriel courriels adresse address contact* ecri* write reach";
    let named = spelled_dots > 0 && host_letters > 1;
    (sure || named || seen.told(from, mail)).then(|| seen.found(Kind::Email, from, to))?
}

/// Words behind an `@` that name nobody: parts of code, and everybody.
const NOBODY: &str = "all after angular app app* autowired babel before bean channel charset chez \
                      class classmethod component controller dataclass deprecated entity everyone \
                      extend font fontface gmail hotmail here home import include inject injectable \
                      interface keyframes layer license link maison media mixin next noon nullable \
                      override package page param private property protected public pytest react \
                      repository return returns school see service since staticmethod \
                      supports suppresswarnings tailwind test throws todo type typedef types version \
                      vue work";

/// A handle: `@jeanne_d`, `@user@instance.social`. Not `@5pm`, `@Override` or `@scope/package`.
pub(super) fn handle(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let before = seen.before(at);
    if seen.sign(at) != '@'
        || (is_word(before) && is_label(before))
        || matches!(before, '/' | '@' | '.' | '-')
    {
        return None;
    }
    let is_handle = |sign: char| is_label(sign) || matches!(sign, '_' | '.');
    let mut to = seen.run_within(at + 1, 64, is_handle);
    while to > at + 1 && matches!(seen.sign(to - 1), '.' | '-') {
        to -= 1;
    }
    let name = || seen.signs(at + 1, to);
    let letters = name().filter(|sign| sign.is_alphabetic()).count();
    let digit_first = name().next().is_some_and(|sign| sign.is_ascii_digit());
    if letters < if digit_first { 4 } else { 1 } || to - at < 3 {
        return None;
    }
    if seen.sign(to) == '@' {
        to = host_end(seen, to + 1, false)?;
        return seen.found(Kind::Handle, at, to);
    }
    let (word, word_end) = seen.word(at + 1);
    let code = matches!(seen.sign(to), '(' | '/' | ':' | '=' | '[')
        && !matches!((seen.sign(to), seen.sign(to + 1)), (':' | '/', ' ' | super::BARRIER));
    let nobody = word.is_in(NOBODY) && (word_end == to || matches!(seen.sign(word_end), '.' | '-'));
    (!code && !nobody).then(|| seen.found(Kind::Handle, at, to))?
}

/// Words that say of four numbers with dots that they are no address.
const PARTS: &str = "version versions v ver release build firmware maj update patch section sections \
                     chapter chapitre article annexe figure paragraph paragraphe clause alinea rev \
                     revision driver pilote";

/// An IPv4 address: four numbers to 255 without leading zeros. What a word before calls a version or
/// a section stays.
pub(super) fn ip(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let before = seen.before(at);
    let inner = matches!(before, '.' | ',' | '-') && at > 1 && seen.sign(at - 2).is_ascii_digit();
    if !seen.sign(at).is_ascii_digit() || is_word(before) || inner {
        return None;
    }
    let mut to = at;
    for part in 0..4 {
        if part > 0 {
            to = (seen.sign(to) == '.').then_some(to + 1)?;
        }
        let end = seen.run_within(to, 4, |sign| sign.is_ascii_digit());
        let value =
            seen.signs(to, end).filter_map(|sign| sign.to_digit(10)).fold(0, |n, d| n * 10 + d);
        if end == to || value > 255 || (end > to + 1 && seen.sign(to) == '0') {
            return None;
        }
        to = end;
    }
    let goes_on = seen.sign(to) == '.' && seen.sign(to + 1).is_ascii_digit();
    let part = !goes_on
        && seen.word_ends(to)
        && seen.cue(at, "ip ips ipv adresse address serveur server host", PARTS) != Some(false);
    part.then(|| seen.found(Kind::Ip, at, to))?
}

/// An IPv6 address. `a::b`, as code has it, is none: three groups, or a digit, must be there.
pub(super) fn ipv6(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let first = seen.sign(at);
    let before = seen.before(at);
    let opens = first.is_ascii_hexdigit() || (first == ':' && seen.sign(at + 1) == ':');
    if !opens || is_word(before) || matches!(before, ':' | '.') {
        return None;
    }
    let to = seen.run_within(at, 46, |sign| sign.is_ascii_hexdigit() || matches!(sign, ':' | '.'));
    let mut text: String = seen.signs(at, to).collect();
    if text.matches(':').count() < 2 {
        return None;
    }
    let kept = text.trim_end_matches('.').len();
    text.truncate(kept);
    if text.ends_with(':') && !text.ends_with("::") {
        text.pop();
    }
    let to = at + text.len();
    text.parse::<Ipv6Addr>().ok()?;
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let code = groups < 3 && !(digit && groups > 0);
    if code || !seen.word_ends(to) {
        return None;
    }
    let zone = match seen.sign(to) {
        '%' => seen.run_within(to + 1, 16, |sign| sign.is_ascii_alphanumeric()),
        _ => to,
    };
    seen.found(Kind::Ipv6, at, if zone > to + 1 { zone } else { to })
}

/// A MAC address: six pairs with `:` or `-` between, or three groups of four with dots.
pub(super) fn mac(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let hex =
        |at: usize, count: usize| (at..at + count).all(|at| seen.sign(at).is_ascii_hexdigit());
    if !seen.sign(at).is_ascii_hexdigit()
        || !seen.word_starts(at)
        || matches!(seen.before(at), ':' | '-')
    {
        return None;
    }
    let (size, count) = if seen.sign(at + 4) == '.' { (4, 3) } else { (2, 6) };
    let between = seen.sign(at + size);
    if !matches!((size, between), (4, '.') | (2, ':' | '-')) {
        return None;
    }
    let shape = (0..count).all(|group| {
        let from = at + group * (size + 1);
        hex(from, size) && (group == 0 || seen.sign(from - 1) == between)
    });
    let to = at + count * (size + 1) - 1;
    let goes_on =
        !seen.word_ends(to) || (seen.sign(to) == between && seen.sign(to + 1).is_ascii_hexdigit());
    // Digits alone may be a thing's number, when a word says so.
    let letter = seen.signs(at, to).any(|sign| sign.is_alphabetic());
    let sure = between == ':' || letter || seen.cue(at, "mac", THING) != Some(false);
    (shape && !goes_on && sure).then(|| seen.found(Kind::Mac, at, to))?
}
