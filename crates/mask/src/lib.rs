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

mod account;
mod address;
mod birth;
mod checks;
mod code;
mod cue;
mod digits;
mod document;
mod english_street;
mod handle;
mod loose_phone;
mod name_announcement;
mod name_list;
mod name_parts;
mod name_words;
mod names;
mod network;
mod normalize;
mod number;
mod number_words;
mod phone;
mod place;
mod plate;
mod scanner;
mod secret;
mod town;

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use self::cue::Cue;
use self::normalize::{BARRIER, NormalizedChar};
use self::scanner::Scanner;

/// Kind of personal data that the mask finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PiiKind {
    /// A bank account in its national form: RIB, sort code, routing number, account number.
    Account,
    /// A street with its number, and its place when it follows; or a post box.
    Address,
    /// A date that a word beside it marks as a date of birth.
    BirthDate,
    /// Number of a payment card.
    Card,
    /// Address of a cryptocurrency wallet.
    Crypto,
    /// An e-mail address, also when it is spelled out.
    Email,
    /// Latitude and longitude of a place.
    Gps,
    /// A user name after an `@`.
    Handle,
    /// An international bank account number.
    Iban,
    /// Number of a passport, an identity card, a licence, a tax payer or a patient.
    Id,
    /// An IPv4 address in dotted form.
    Ip,
    /// An IPv6 address, with its zone.
    Ipv6,
    /// Hardware address of a network card.
    Mac,
    /// Name of a person.
    Name,
    /// A British National Insurance number.
    Nino,
    /// A French social security number.
    Nir,
    /// A telephone number, with its extension.
    Phone,
    /// Number plate of a vehicle.
    Plate,
    /// A British or Canadian postcode outside an address.
    Postcode,
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
    pub const ALL: [Self; 25] = [
        Self::Account,
        Self::Address,
        Self::BirthDate,
        Self::Card,
        Self::Crypto,
        Self::Email,
        Self::Gps,
        Self::Handle,
        Self::Iban,
        Self::Id,
        Self::Ip,
        Self::Ipv6,
        Self::Mac,
        Self::Name,
        Self::Nino,
        Self::Nir,
        Self::Phone,
        Self::Plate,
        Self::Postcode,
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
            Self::Account => "[ACCOUNT]",
            Self::Address => "[ADDRESS]",
            Self::BirthDate => "[BIRTHDATE]",
            Self::Card => "[CARD]",
            Self::Crypto => "[CRYPTO]",
            Self::Email => "[EMAIL]",
            Self::Gps => "[GPS]",
            Self::Handle => "[HANDLE]",
            Self::Iban => "[IBAN]",
            Self::Id => "[ID]",
            Self::Ip => "[IP]",
            Self::Ipv6 => "[IPV6]",
            Self::Mac => "[MAC]",
            Self::Name => "[NAME]",
            Self::Nino => "[NINO]",
            Self::Nir => "[NIR]",
            Self::Phone => "[PHONE]",
            Self::Plate => "[PLATE]",
            Self::Postcode => "[POSTCODE]",
            Self::Secret => "[SECRET]",
            Self::Siren => "[SIREN]",
            Self::Siret => "[SIRET]",
            Self::Ssn => "[SSN]",
            Self::Url => "[URL]",
            Self::Vat => "[VAT]",
        }
    }

    /// Returns the rule that `--explain` prints if the recogniser names no more precise one.
    const fn rule(self) -> &'static str {
        match self {
            Self::Account => "groups or check digits of a national bank account",
            Self::Address => "street with its number, or a post box",
            Self::BirthDate => "date after a word for a birth",
            Self::Card => "prefix and length of a brand, and Luhn",
            Self::Crypto => "checksum or form of a wallet",
            Self::Email => "e-mail address",
            Self::Gps => "latitude and longitude",
            Self::Handle => "user name after @",
            Self::Iban => "length of its country and remainder 1 of 97",
            Self::Id => "number after the name of a document",
            Self::Ip => "four numbers to 255",
            Self::Ipv6 => "form of RFC 4291",
            Self::Mac => "six pairs or three groups of hexadecimal digits",
            Self::Name => "name of a person",
            Self::Nino => "issued letters, six digits, suffix A to D",
            Self::Nir => "key, usual groups, or a word for it",
            Self::Phone => "groups of a telephone number",
            Self::Plate => "form of a number plate",
            Self::Postcode => "form and area of a postcode",
            Self::Secret => "prefix, checksum or randomness of a key",
            Self::Siren => "Luhn and groups of three",
            Self::Siret => "Luhn and fourteen digits",
            Self::Ssn => "issued area, group and serial",
            Self::Url => "scheme or known top-level domain",
            Self::Vat => "Luhn of its SIREN, and its key",
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
        Self(self.0[..before_cut_placeholder(&self.0, end)].to_owned())
    }
}

/// Returns the start of the placeholder that `end` would cut in two, or `end` where it cuts none.
fn before_cut_placeholder(text: &str, end: usize) -> usize {
    let start_of_cut_placeholder = |kind: &PiiKind| {
        let placeholder = kind.placeholder();
        let from = text.floor_char_boundary(end.saturating_sub(placeholder.len() - 1));
        let to = text.ceil_char_boundary(end + placeholder.len());
        let pos = from + text[from..to].find(placeholder)?;
        (pos < end && pos + placeholder.len() > end).then_some(pos)
    };
    PiiKind::ALL.iter().find_map(start_of_cut_placeholder).unwrap_or(end)
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

/// A range of personal data, and why it was masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedSpan {
    /// The range and its kind.
    #[serde(flatten)]
    pub span: PiiSpan,
    /// Rule that matched, in a few English words; it never contains text of the input.
    pub rule: &'static str,
    /// Bytes of the word that marked the data; `None` where its form alone decided.
    pub cue: Option<Range<usize>>,
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
    // Nor is half of a placeholder that stood in the text already.
    let shown_end = before_cut_placeholder(read, margin_start.min(last_word_start));
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

/// Returns the ranges of [`mask_with_spans`], each with what decided.
///
/// ```
/// let explained = jeffrey_mask::explain("sort code 20-45-77");
/// assert_eq!(explained[0].rule, "sort code after its name");
/// assert_eq!(explained[0].cue, Some(0..4));
/// ```
pub fn explain(text: &str) -> Vec<ExplainedSpan> {
    find_explained_spans(text)
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
    /// Rule that matched, in a few words.
    rule: &'static str,
    /// Place of the word that marked the value, where one did.
    cue: Option<Cue>,
}

impl PiiMatch {
    /// Returns the match with the rule that decided and the word that marked the value.
    fn because(self, rule: &'static str, cue: Option<Cue>) -> Self {
        Self { rule, cue, ..self }
    }
}

/// Most passes over the remaining text. Real texts need two; the limit keeps the time linear for a
/// text made to need more.
const PASSES_MAX: usize = 8;

fn find_spans(text: &str) -> Vec<PiiSpan> {
    find_explained_spans(text).into_iter().map(|explained| explained.span).collect()
}

fn find_explained_spans(text: &str) -> Vec<ExplainedSpan> {
    let mut chars = normalize::normalise(text);
    let mut spans = Vec::new();
    for _ in 0..PASSES_MAX {
        let matches = scan_once(&Scanner::new(&chars));
        if matches.is_empty() {
            break;
        }
        let mut remaining = Vec::with_capacity(chars.len());
        let mut from = 0;
        for PiiMatch { kind, start: first, end: to, rule, cue } in matches {
            remaining.extend_from_slice(&chars[from..first]);
            let (start, end) = (chars[first].start, chars[to - 1].end);
            remaining.push(NormalizedChar { ch: BARRIER, is_escaped: false, start, end });
            let cue = cue.map(|(first, end)| chars[first].start..chars[end - 1].end);
            spans.push(ExplainedSpan { span: PiiSpan { kind, start, end }, rule, cue });
            from = to;
        }
        remaining.extend_from_slice(&chars[from..]);
        chars = remaining;
    }
    spans.sort_by_key(|explained| explained.span.start);
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
        .or_else(|| account::match_account(scanner, pos))
        .or_else(|| birth::match_birth_date(scanner, pos))
        .or_else(|| document::match_document(scanner, pos))
        .or_else(|| plate::match_plate(scanner, pos))
        .or_else(|| place::match_postcode(scanner, pos))
        .or_else(|| place::match_gps(scanner, pos))
        .or_else(|| network::match_domain(scanner, pos))
        .or_else(|| handle::match_network_handle(scanner, pos))
        .or_else(|| code::match_code(scanner, pos))
        .or_else(|| loose_phone::match_loose_phone(scanner, pos));
    if matched.is_some() || ch.is_alphabetic() {
        return matched
            .or_else(|| address::match_address(scanner, pos))
            .or_else(|| names::match_name(scanner, pos));
    }
    None.or_else(|| handle::match_handle(scanner, pos))
        .or_else(|| network::match_ipv4(scanner, pos))
        .or_else(|| number::match_number(scanner, pos))
        .or_else(|| address::match_address(scanner, pos))
}

#[cfg(test)]
mod tests;
