#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! The text is normalised once, then read from left to right. At each character the recognisers
//! decide whether a match begins there. Each recogniser looks a bounded distance ahead, or reads a
//! whole word once, so the time is linear. A match is replaced by a barrier, and the remaining text
//! is read again until no match is left. So a number beside another is found too, and masking twice
//! changes nothing. Every recogniser runs on every text, whatever its language. Where a kind has a
//! check digit, the check digit decides.

mod address;
mod checks;
mod cue;
mod digits;
mod network;
mod normalize;
mod number;
mod phone;
mod scanner;
mod secret;

use std::fmt;

use serde::Serialize;

use self::normalize::{BARRIER, NormalizedChar};
use self::scanner::Scanner;

/// Kind of personal data that the mask finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PiiKind {
    /// A street with its number, and its place when it follows; or a post box.
    Address,
    /// Number of a payment card.
    Card,
    /// Address of a cryptocurrency wallet.
    Crypto,
    /// An e-mail address, also when it is spelled out.
    Email,
    /// A user name after an `@`.
    Handle,
    /// An international bank account number.
    Iban,
    /// An IPv4 address in dotted form.
    Ip,
    /// An IPv6 address, with its zone.
    Ipv6,
    /// Hardware address of a network card.
    Mac,
    /// A British National Insurance number.
    Nino,
    /// A French social security number.
    Nir,
    /// A telephone number, with its extension.
    Phone,
    /// A key, a token, or a password that its text names as one.
    Secret,
    /// Number of a French company.
    Siren,
    /// Number of a French establishment.
    Siret,
    /// An American social security number.
    Ssn,
    /// A link or a domain name.
    Url,
    /// A French VAT number, with its `FR`.
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

    /// Placeholder that replaces the data in the masked text.
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

/// Text whose personal data was replaced by placeholders. Only the functions of this crate build
/// one.
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
    /// Length of the longest preview, in characters.
    pub const PREVIEW_CHARS_MAX: usize = 50;

    /// The masked text as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first [`MaskedText::PREVIEW_CHARS_MAX`] characters. A placeholder that does not
    /// fit is omitted, with the rest.
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

/// Bytes of a text that [`mask_preview`] reads, at most.
pub const PREVIEW_READ_BYTES_MAX: usize = 1_024;

/// Bytes before the end of what was read of which a preview shows nothing: personal data there may go
/// on in what was not read, and half of it is not found.
const PREVIEW_MARGIN_BYTES: usize = 256;

/// Range of personal data in the original text, in bytes of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PiiSpan {
    /// Kind of data in the range.
    pub kind: PiiKind,
    /// First byte of the range.
    pub start: usize,
    /// First byte after the range.
    pub end: usize,
}

/// Replaces all personal data that is found in `text` by placeholders.
pub fn mask(text: &str) -> MaskedText {
    mask_with_spans(text).0
}

/// Returns the preview of `text`, [`MaskedText::preview`] of the whole masked text or the beginning of
/// it, in a time that does not grow with the text: at most [`PREVIEW_READ_BYTES_MAX`] bytes are read.
pub fn mask_preview(text: &str) -> MaskedText {
    if text.len() <= PREVIEW_READ_BYTES_MAX {
        return mask(text).preview();
    }
    let read = &text[..text.floor_char_boundary(PREVIEW_READ_BYTES_MAX)];
    let margin_start = read.floor_char_boundary(read.len() - PREVIEW_MARGIN_BYTES);
    // A word that the end cuts is not shown either, however long it is.
    let last_word_start = read
        .char_indices()
        .rev()
        .find(|(_, ch)| ch.is_whitespace())
        .map_or(0, |(pos, ch)| pos + ch.len_utf8());
    let shown_end = margin_start.min(last_word_start);
    let mut spans = find_spans(read);
    spans.retain(|span| span.start < shown_end);
    let end = spans.last().map_or(shown_end, |span| span.end.max(shown_end));
    replace_spans(&read[..end], &spans).preview()
}

/// Masks `text` like [`mask`] and also returns the ranges in the original text, in order.
pub fn mask_with_spans(text: &str) -> (MaskedText, Vec<PiiSpan>) {
    let spans = find_spans(text);
    (replace_spans(text, &spans), spans)
}

/// Replaces ranges, which are in order, by their placeholders.
fn replace_spans(text: &str, spans: &[PiiSpan]) -> MaskedText {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for PiiSpan { kind, start, end } in spans {
        masked.push_str(&text[from..*start]);
        masked.push_str(kind.placeholder());
        from = *end;
    }
    masked.push_str(&text[from..]);
    MaskedText(masked)
}

/// Match in the normalised text, as character indexes; `end` is excluded.
#[derive(Clone, Copy, Debug)]
struct PiiMatch {
    kind: PiiKind,
    start: usize,
    end: usize,
}

/// Most passes over the remaining text. Real texts need two; the limit keeps the time linear for a
/// text made to need more.
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

/// Reads the text once from left to right and returns the matches in order, without overlaps.
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

/// Returns the match that begins at this character, if there is one. The most reliable kinds are
/// tried first.
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
