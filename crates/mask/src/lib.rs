#![doc = include_str!("../README.md")]
//!
//! # How it is made
//!
//! The text is made plain once (`view`), then read from left to right; at each sign the recognisers
//! say whether something begins there. Each looks a bounded way ahead, or at a whole word once, so
//! the time is linear. What was found is closed to further matches and the rest is read again, until
//! nothing more is found: a number beside another is not missed, and masking twice changes nothing.
//! Every recogniser runs on every text, whatever its language; a check digit decides where there is
//! one.

mod address;
mod checks;
mod network;
mod normalize;
mod number;
mod scanner;
mod secret;

use std::fmt;

use serde::Serialize;

use self::normalize::{BARRIER, NormalizedChar};
use self::scanner::Scanner;

/// What something found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PiiKind {
    /// A street with its number, its place if it follows; a post box.
    Address,
    /// A payment card's number.
    Card,
    /// An address of a cryptocurrency.
    Crypto,
    /// An e-mail address, spelled out too.
    Email,
    /// A name behind an `@`.
    Handle,
    /// An international bank account number.
    Iban,
    /// An IPv4 address.
    Ip,
    /// An IPv6 address.
    Ipv6,
    /// The address of a network card.
    Mac,
    /// A British National Insurance number.
    Nino,
    /// A French social security number.
    Nir,
    /// A telephone number.
    Phone,
    /// A key, a token, a password that is called so.
    Secret,
    /// A French company's number.
    Siren,
    /// A French establishment's number.
    Siret,
    /// An American social security number.
    Ssn,
    /// A link or a domain.
    Url,
    /// A French VAT number.
    Vat,
}

impl PiiKind {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 18] = [
        Self::Address,
        Self::Card,
        Self::Crypto,
        Self::Email,
        Self::Handle,
        Self::Iban,
        Self::Ip,
        Self::Ipv6,
        Self::Mac,
        Self::Nino,
        Self::Nir,
        Self::Phone,
        Self::Secret,
        Self::Siren,
        Self::Siret,
        Self::Ssn,
        Self::Url,
        Self::Vat,
    ];

    /// What stands in the text instead.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Address => "[ADDRESS]",
            Self::Card => "[CARD]",
            Self::Crypto => "[CRYPTO]",
            Self::Email => "[EMAIL]",
            Self::Handle => "[HANDLE]",
            Self::Iban => "[IBAN]",
            Self::Ip => "[IP]",
            Self::Ipv6 => "[IPV6]",
            Self::Mac => "[MAC]",
            Self::Nino => "[NINO]",
            Self::Nir => "[NIR]",
            Self::Phone => "[PHONE]",
            Self::Secret => "[SECRET]",
            Self::Siren => "[SIREN]",
            Self::Siret => "[SIRET]",
            Self::Ssn => "[SSN]",
            Self::Url => "[URL]",
            Self::Vat => "[VAT]",
        }
    }
}

/// Text that passed [`mask`]; nothing else makes one.
///
/// ```
/// use jeffrey_mask::mask;
/// let masked = mask("Écrivez à jean.dupont@example.org ou au 06 12 34 56 78, merci !");
/// assert_eq!(masked.as_str(), "Écrivez à [EMAIL] ou au [PHONE], merci !");
/// assert_eq!(masked.preview().as_str(), "Écrivez à [EMAIL] ou au [PHONE], merci !");
/// assert_eq!(mask(masked.as_str()), masked);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MaskedText(String);

impl MaskedText {
    /// Longest preview, in characters.
    pub const PREVIEW_CHARS_MAX: usize = 50;

    /// The masked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first [`MaskedText::PREVIEW_CHARS_MAX`] characters; a placeholder that would be cut is left
    /// out whole.
    pub fn preview(&self) -> Self {
        let Some((end, _)) = self.0.char_indices().nth(Self::PREVIEW_CHARS_MAX) else {
            return self.clone();
        };
        let start_of_cut_placeholder = |kind: &PiiKind| {
            let placeholder = kind.placeholder();
            let from = self.0.floor_char_boundary(end.saturating_sub(placeholder.len() - 1));
            let pos = from + self.0[from..].find(placeholder)?;
            (pos < end && pos + placeholder.len() > end).then_some(pos)
        };
        let end = PiiKind::ALL.iter().find_map(start_of_cut_placeholder).unwrap_or(end);
        Self(self.0[..end].to_owned())
    }
}

impl fmt::Display for MaskedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where in a text something was found, in bytes of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PiiSpan {
    /// What it is.
    pub kind: PiiKind,
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

/// The text with a placeholder for everything that was found in it.
pub fn mask(text: &str) -> MaskedText {
    mask_with_spans(text).0
}

/// The same, with what was found in the text as it came, in its order.
pub fn mask_with_spans(text: &str) -> (MaskedText, Vec<PiiSpan>) {
    let spans = find_spans(text);
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for PiiSpan { kind, start, end } in &spans {
        masked.push_str(&text[from..*start]);
        masked.push_str(kind.placeholder());
        from = *end;
    }
    masked.push_str(&text[from..]);
    (MaskedText(masked), spans)
}

/// What of a view's signs is one thing.
#[derive(Clone, Copy, Debug)]
struct PiiMatch {
    kind: PiiKind,
    start: usize,
    end: usize,
}

/// How often the rest is read again. Texts of people need two; the limit keeps the time linear for
/// one made to need more.
const PASSES_MAX: usize = 8;

fn find_spans(text: &str) -> Vec<PiiSpan> {
    let mut chars = normalize::normalise(text);
    let mut spans = Vec::new();
    for _ in 0..PASSES_MAX {
        let matches = scan_once(&Scanner::new(&chars));
        if matches.is_empty() {
            break;
        }
        let mut remaining = Vec::with_capacity(chars.len());
        let mut from = 0;
        for PiiMatch { kind, start: first, end: to } in matches {
            remaining.extend_from_slice(&chars[from..first]);
            let (start, end) = (chars[first].start, chars[to - 1].end);
            remaining.push(NormalizedChar { ch: BARRIER, is_escaped: false, start, end });
            spans.push(PiiSpan { kind, start, end });
            from = to;
        }
        remaining.extend_from_slice(&chars[from..]);
        chars = remaining;
    }
    spans.sort_by_key(|span| span.start);
    spans
}

/// One reading from left to right: matches in their order, none within another.
fn scan_once(scanner: &Scanner<'_>) -> Vec<PiiMatch> {
    let mut matches: Vec<PiiMatch> = Vec::new();
    let mut pos = 0;
    while pos < scanner.len() {
        match match_at(scanner, pos) {
            Some(matched) => {
                debug_assert!(matched.start >= pos && matched.end > matched.start, "{matched:?}");
                matches.push(matched);
                pos = matched.end;
            }
            None => pos += 1,
        }
    }
    matches
}

/// What begins at this sign, if anything; the surest kinds are asked first.
fn match_at(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let ch = scanner.char_at(pos);
    if ch == ' ' || ch == BARRIER {
        return None;
    }
    let matched = None
        .or_else(|| network::match_url(scanner, pos))
        .or_else(|| network::match_email(scanner, pos))
        .or_else(|| secret::match_secret(scanner, pos))
        .or_else(|| network::match_mac(scanner, pos))
        .or_else(|| network::match_ipv6(scanner, pos))
        .or_else(|| number::match_lettered_number(scanner, pos))
        .or_else(|| network::match_domain(scanner, pos));
    if matched.is_some() || ch.is_alphabetic() {
        return matched.or_else(|| address::match_address(scanner, pos));
    }
    None.or_else(|| network::match_handle(scanner, pos))
        .or_else(|| network::match_ipv4(scanner, pos))
        .or_else(|| number::match_number(scanner, pos))
        .or_else(|| address::match_address(scanner, pos))
}

#[cfg(test)]
mod tests;
