//! Finds network addresses: URLs, domains, e-mail, IP, MAC.
//!
//! A scheme, an `@` or a known top-level domain marks a host. Words around a match tell an address
//! from a version number, from code or from an ordinary sentence.

use core::net::Ipv6Addr;

use super::cue::NON_PERSONAL_CUES;
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Top-level domains that are no ordinary words, so one is enough to recognise `example.com`.
const UNAMBIGUOUS_TLDS: &str =
    "com org net fr uk eu ch ca info biz edu gov io dev app gouv bzh paris lu xyz";

/// More top-level domains, for text that already has the form of an address.
const OTHER_TLDS: &str = "be de es it pt nl co me us ai tv mc re pro ie au nz pl se no dk fi at name \
                         mobi online site shop tech cloud blog store example test ru jp cn br in";

/// Names with a dot that are no domains, although they end like one.
const PRODUCT_NAMES: [&str; 7] =
    ["asp.net", "vb.net", "ado.net", "ml.net", "socket.io", "next.dev", "draw.io"];

/// Hosts of short links, which often contain a person's name or telephone.
const SHORT_LINK_HOSTS: [&str; 10] = [
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

/// Hosts of e-mail providers. After a bare « at » they can only mean an e-mail address.
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

/// Names of e-mail providers, which stand for their host after an `@` or a « chez ».
const MAIL_PROVIDERS: &str = "gmail googlemail hotmail outlook yahoo live icloud orange free sfr wanadoo laposte protonmail proton aol gmx msn bbox";

/// Matches a URL with a scheme, or one that starts with `www.`, including user, query and fragment.
pub(super) fn match_url(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.char_at(pos).is_ascii_alphabetic() || !scanner.is_word_start(pos) {
        return None;
    }
    if scanner.starts_with(pos, "www.") && is_word_char(scanner.char_at(pos + 4)) {
        return scanner.match_span(PiiKind::Url, pos, find_url_end(scanner, pos));
    }
    let scheme = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '+' | '.' | '-' | ':');
    let mut host = scanner.scan_at_most(pos, 24, scheme);
    while host > pos && scanner.char_at(host - 1) != ':' {
        host -= 1;
    }
    let slashes = [scanner.char_at(host), scanner.char_at(host + 1)];
    if host < pos + 3 || slashes != ['/', '/'] {
        return None;
    }
    let first = scanner.char_at(host + 2);
    let opens = is_word_char(first) || matches!(first, '[' | '/' | ':');
    opens.then(|| scanner.match_span(PiiKind::Url, pos, find_url_end(scanner, host + 2)))?
}

/// Returns the end of a URL: a space that is not an escape, a quotation mark, or a bracket that the
/// URL did not open. Trailing punctuation belongs to the sentence.
fn find_url_end(scanner: &Scanner<'_>, from: usize) -> usize {
    let mut to = from;
    let (mut round, mut square) = (0_i32, 0_i32);
    while to < scanner.len() {
        let ch = scanner.char_at(to);
        match ch {
            _ if scanner.is_escaped(to) => {}
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
    while to > from && !scanner.is_escaped(to - 1) {
        match scanner.char_at(to - 1) {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '…' | '*' => to -= 1,
            _ => break,
        }
    }
    to
}

/// Matches a domain without a scheme, with its path: `example.com/a`.
///
/// Its top-level domain must be a known one in small letters. So `node.js`, `e.g.` and a missing
/// space after a full stop stay.
pub(super) fn match_domain(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !is_label_char(scanner.char_at(pos))
        || is_label_char(scanner.char_before(pos))
        || matches!(scanner.char_before(pos), '.' | '@' | '_' | '/')
    {
        return None;
    }
    let short = SHORT_LINK_HOSTS.iter().find(|name| scanner.starts_with(pos, name));
    if let Some(name) = short.filter(|name| is_word_char(scanner.char_at(pos + name.len()))) {
        return scanner.match_span(PiiKind::Url, pos, find_url_end(scanner, pos + name.len()));
    }
    let to = find_host_end(scanner, pos, true)?;
    let product = |name: &&str| name.len() == to - pos && scanner.starts_with(pos, name);
    if matches!(scanner.char_at(to), '@' | '(' | '_') || PRODUCT_NAMES.iter().any(product) {
        return None;
    }
    let port = match scanner.char_at(to) {
        ':' => scanner.scan_at_most(to + 1, 6, |ch| ch.is_ascii_digit()),
        _ => to,
    };
    let to = if port > to + 1 { port } else { to };
    let path = matches!(scanner.char_at(to), '/' | '?' | '#');
    scanner.match_span(PiiKind::Url, pos, if path { find_url_end(scanner, to).max(to) } else { to })
}

/// Returns whether `ch` can be in a label of a domain. Scripts without spaces between words are
/// excluded, because a whole sentence would become the name.
pub(super) fn is_label_char(ch: char) -> bool {
    (ch.is_alphanumeric() && (ch as u32) < 0x2e80) || ch == '-'
}

/// Returns the end of a host that starts at `pos`: labels with single dots, the last one of
/// letters.
pub(super) fn find_host_end(
    scanner: &Scanner<'_>,
    pos: usize,
    known_tlds_only: bool,
) -> Option<usize> {
    let mut end = None;
    let mut label = pos;
    loop {
        let next = scanner.scan_while(label, is_label_char);
        if next == label || (known_tlds_only && next - label > 63) {
            return end;
        }
        if label > pos && is_tld(scanner, label, next, known_tlds_only) {
            end = Some(next);
        }
        if scanner.char_at(next) != '.' {
            return end;
        }
        label = next + 1;
    }
}

/// Returns whether a label can be a top-level domain.
fn is_tld(scanner: &Scanner<'_>, from: usize, to: usize, known_tlds_only: bool) -> bool {
    if known_tlds_only {
        let small = scanner.chars(from, to).all(|ch| ch.is_ascii_lowercase());
        return small && scanner.word_at(from).0.is_in(UNAMBIGUOUS_TLDS);
    }
    let letters = scanner.chars(from, to).all(|ch| ch.is_alphabetic());
    (2..=24).contains(&(to - from)) && (letters || scanner.starts_with(from, "xn--"))
}

/// Returns whether `ch` can be in an e-mail address before the `@`.
fn is_local_part_char(ch: char) -> bool {
    is_label_char(ch) || matches!(ch, '.' | '_' | '+' | '%')
}

/// Matches an e-mail address in its normal form, with spaces in it, or spelled out.
pub(super) fn match_email(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    if first == '"' {
        let to = scanner.scan_at_most(pos + 1, 64, |ch| !matches!(ch, '"' | '\n'));
        let host =
            (scanner.char_at(to) == '"' && scanner.char_at(to + 1) == '@').then_some(to + 2)?;
        return scanner.match_span(PiiKind::Email, pos, find_host_end(scanner, host, false)?);
    }
    if !is_local_part_char(first) || is_local_part_char(scanner.char_before(pos)) {
        return None;
    }
    // O’Brien's address begins with the O, but « l’adresse d’Alice » has no such prefix.
    let irish = matches!(first, 'o' | 'O') && scanner.char_at(pos + 1) == '\'';
    let mut local = scanner.scan_while(if irish { pos + 2 } else { pos }, is_local_part_char);
    let from = pos + scanner.chars(pos, local).take_while(|ch| matches!(ch, '.' | '-')).count();
    if from >= local {
        return None;
    }
    if scanner.char_at(local) == '@'
        && let Some(to) = find_host_end(scanner, local + 1, false)
    {
        return scanner.match_span(PiiKind::Email, from, to);
    }
    if scanner.char_at(local) == '@'
        && let Some(to) = find_unfinished_host_end(scanner, local + 1)
    {
        let found = scanner.match_span(PiiKind::Email, from, to)?;
        return Some(found.because("e-mail address whose end is missing or mistyped", None));
    }
    // The local part may have more names, with a spelled dot between them.
    for _ in 0..4 {
        let Some(next) = skip_spelled_char(scanner, local, SPELLED_LOCAL_CHARS) else { break };
        let end = scanner.scan_at_most(next, 64, is_local_part_char);
        if end == next {
            break;
        }
        local = end;
    }
    match_spelled_host(scanner, from, local)
}

/// Returns the end of a host that lacks its dot: a known provider, `gmail`, or a name with a comma or
/// a space before a frequent top-level domain, `gmail,com`.
fn find_unfinished_host_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let end = scanner.scan_at_most(pos, 64, is_label_char);
    let (word, word_end) = scanner.word_at(pos);
    let is_provider = word_end == end && word.is_in(MAIL_PROVIDERS);
    let (tld, tld_end) = scanner.word_at(end + 1);
    let gap = scanner.char_at(end);
    let has_tld = (gap == ',' || is_provider && gap == ' ')
        && tld.is_in("com fr org net uk")
        && scanner.is_word_end(tld_end)
        && scanner.char_at(end + 1).is_ascii_lowercase();
    if end > pos && has_tld {
        return Some(tld_end);
    }
    if !is_provider || is_word_char(gap) || gap == '@' {
        return None;
    }
    // « hotmail.c0m »
    let mistyped = scanner.scan_at_most(end + 1, 6, |ch| ch.is_ascii_alphanumeric());
    Some(if gap == '.' && mistyped > end + 1 { mistyped } else { end })
}

const SPELLED_DOTS: &str = "point dot";
const SPELLED_LOCAL_CHARS: &str = "point dot underscore tiret dash";
const SPELLED_ATS: &str = "arobase arobas arrobase arobaze at";

/// Returns the position after a spelled character with spaces around it.
fn skip_spelled_char(scanner: &Scanner<'_>, pos: usize, words: &str) -> Option<usize> {
    let from = scanner.skip_spaces(pos);
    let (word, to) = scanner.word_at(from);
    let next = scanner.skip_spaces(to);
    (from > pos && next > to && word.is_in(words)).then_some(next)
}

/// Matches a spelled address that ends with the name of a provider: `bob.smith at gmail`. After a bare
/// `at` the local part must have a sign that words do not have.
fn match_spelled_provider(
    scanner: &Scanner<'_>,
    from: usize,
    local: usize,
    (host, is_explicit): (usize, bool),
) -> Option<PiiMatch> {
    let (word, end) = scanner.word_at(host);
    let is_address = |ch: char| ch.is_ascii_digit() || matches!(ch, '.' | '_');
    let is_local = is_explicit || scanner.chars(from, local).any(is_address);
    if !is_local || !word.is_in(MAIL_PROVIDERS) || !scanner.is_word_end(end) || local - from < 3 {
        return None;
    }
    let found = scanner.match_span(PiiKind::Email, from, end)?;
    Some(found.because("spelled e-mail address without its end", None))
}

/// Matches the rest of an address that is spelled out, or has spaces, after its local part.
///
/// A bare `at` is frequent in English sentences. So with it a dot must be spelled too, or a word
/// before must refer to e-mail.
fn match_spelled_host(scanner: &Scanner<'_>, from: usize, local: usize) -> Option<PiiMatch> {
    let at_sign_pos = scanner.skip_spaces(local);
    let (mut pos, is_explicit) = if scanner.char_at(at_sign_pos) == '@' {
        (scanner.skip_spaces(at_sign_pos + 1), true)
    } else if let Some(pos) = skip_spelled_char(scanner, local, "chez") {
        // « chez » is an ordinary word; only before a provider it means the sign.
        (scanner.word_at(pos).0.is_in(MAIL_PROVIDERS).then_some(pos)?, true)
    } else {
        let pos = skip_spelled_char(scanner, local, SPELLED_ATS)?;
        let is_mail_host = MAIL_HOSTS.iter().any(|host| scanner.starts_with(pos, host));
        (pos, is_mail_host || !scanner.starts_with(at_sign_pos, "at "))
    };
    let host = (pos, is_explicit);
    // The host in « at a dot com café » has one letter, so it does not count.
    let host_letters = scanner.scan_at_most(pos, 64, is_label_char) - pos;
    let (mut spelled_dots, mut has_french_dot) = (0, false);
    let mut end = None;
    for index in 0..6 {
        let label = scanner.scan_at_most(pos, 64, |ch| is_label_char(ch) || ch == '_');
        let (word, word_end) = scanner.word_at(pos);
        // No address: « at this point in life ». After the English « at » and the French dot only
        // unambiguous top-level domains count.
        let more = (is_explicit || !has_french_dot) && word.is_in(OTHER_TLDS);
        let is_tld_word = word_end == label && (more || word.is_in(UNAMBIGUOUS_TLDS));
        if index > 0 && is_tld_word {
            end = Some((label, spelled_dots));
        }
        let dot = scanner.skip_spaces(label);
        pos = if scanner.char_at(dot) == '.' {
            let next = scanner.skip_spaces(dot + 1);
            // In « … @ gmail.com. Merci » the last one is a full stop.
            if label == pos || (end.is_some() && next > dot + 1) {
                break;
            }
            next
        } else {
            spelled_dots += 1;
            has_french_dot |= scanner.starts_with(dot, "point");
            match skip_spelled_char(scanner, label, SPELLED_DOTS) {
                Some(next) if label > pos => next,
                _ => break,
            }
        };
    }
    let Some((to, spelled_dots)) = end else {
        return match_spelled_provider(scanner, from, local, host);
    };
    let mail_cues =
        "mail mails email emails courriel courriels adresse address contact* ecri* write reach";
    let is_spelled = spelled_dots > 0 && host_letters > 1;
    (is_explicit || is_spelled || scanner.has_cue(from, mail_cues))
        .then(|| scanner.match_span(PiiKind::Email, from, to))?
}

/// Words before four numbers with dots that mark a version or a section instead of an address.
const VERSION_CUES: &str = "version versions v ver release build firmware maj update patch section sections \
                     chapter chapitre article annexe figure paragraph paragraphe clause alinea rev \
                     revision driver pilote";

/// Matches an IPv4 address: four numbers to 255 without leading zeros. A version or section number,
/// by the word before it, stays.
pub(super) fn match_ipv4(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let before = scanner.char_before(pos);
    let inner =
        matches!(before, '.' | ',' | '-') && pos > 1 && scanner.char_at(pos - 2).is_ascii_digit();
    if !scanner.char_at(pos).is_ascii_digit() || is_word_char(before) || inner {
        return None;
    }
    let mut to = pos;
    for octet in 0..4 {
        if octet > 0 {
            to = (scanner.char_at(to) == '.').then_some(to + 1)?;
        }
        let end = scanner.scan_at_most(to, 4, |ch| ch.is_ascii_digit());
        let value =
            scanner.chars(to, end).filter_map(|ch| ch.to_digit(10)).fold(0, |n, d| n * 10 + d);
        if end == to || value > 255 || (end > to + 1 && scanner.char_at(to) == '0') {
            return None;
        }
        to = end;
    }
    let is_continued = scanner.char_at(to) == '.' && scanner.char_at(to + 1).is_ascii_digit();
    let cue =
        scanner.nearest_cue(pos, "ip ips ipv adresse address serveur server host", VERSION_CUES);
    // « mon IP est 192.168.1.1.1 » is mistyped; without the word five numbers are a section.
    let is_ipv4 = (!is_continued || cue == Some(true) || scanner.starts_with(pos, "192.168."))
        && scanner.is_word_end(to)
        && cue != Some(false);
    let more = |ch: char| ch == '.' || ch.is_ascii_digit();
    let to = if is_continued { scanner.scan_at_most(to, 8, more) } else { to };
    let to = if scanner.char_at(to - 1) == '.' { to - 1 } else { to };
    is_ipv4.then(|| scanner.match_span(PiiKind::Ip, pos, to))?
}

/// Matches an IPv6 address. Code such as `a::b` does not match: three groups are needed, or a
/// digit.
pub(super) fn match_ipv6(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    let before = scanner.char_before(pos);
    let opens = first.is_ascii_hexdigit() || (first == ':' && scanner.char_at(pos + 1) == ':');
    if !opens || is_word_char(before) || matches!(before, ':' | '.') {
        return None;
    }
    let to = scanner.scan_at_most(pos, 46, |ch| ch.is_ascii_hexdigit() || matches!(ch, ':' | '.'));
    let mut text: String = scanner.chars(pos, to).collect();
    if text.matches(':').count() < 2 {
        return None;
    }
    let trimmed_len = text.trim_end_matches('.').len();
    text.truncate(trimmed_len);
    if text.ends_with(':') && !text.ends_with("::") {
        text.pop();
    }
    let to = pos + text.len();
    text.parse::<Ipv6Addr>().ok()?;
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_code = groups < 3 && !(digit && groups > 0);
    if is_code || !scanner.is_word_end(to) {
        return None;
    }
    let zone = match scanner.char_at(to) {
        '%' => scanner.scan_at_most(to + 1, 16, |ch| ch.is_ascii_alphanumeric()),
        _ => to,
    };
    scanner.match_span(PiiKind::Ipv6, pos, if zone > to + 1 { zone } else { to })
}

/// Matches a MAC address: six pairs separated by `:` or `-`, or three groups of four separated by
/// dots.
pub(super) fn match_mac(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let hex = |pos: usize, count: usize| {
        (pos..pos + count).all(|pos| scanner.char_at(pos).is_ascii_hexdigit())
    };
    if !scanner.char_at(pos).is_ascii_hexdigit()
        || !scanner.is_word_start(pos)
        || matches!(scanner.char_before(pos), ':' | '-')
    {
        return None;
    }
    let (size, count) = if scanner.char_at(pos + 4) == '.' { (4, 3) } else { (2, 6) };
    let separator = scanner.char_at(pos + size);
    if !matches!((size, separator), (4, '.') | (2, ':' | '-')) {
        return None;
    }
    let has_mac_shape = (0..count).all(|group| {
        let from = pos + group * (size + 1);
        hex(from, size) && (group == 0 || scanner.char_at(from - 1) == separator)
    });
    let to = pos + count * (size + 1) - 1;
    let is_continued = !scanner.is_word_end(to)
        || (scanner.char_at(to) == separator && scanner.char_at(to + 1).is_ascii_hexdigit());
    // Digits alone may be an order or product number, when a word says so.
    let letter = scanner.chars(pos, to).any(|ch| ch.is_alphabetic());
    let sure = separator == ':'
        || letter
        || scanner.nearest_cue(pos, "mac", NON_PERSONAL_CUES) != Some(false);
    (has_mac_shape && !is_continued && sure).then(|| scanner.match_span(PiiKind::Mac, pos, to))?
}
