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
mod net;
mod number;
mod secret;
mod seen;
mod view;

use std::fmt;

use serde::Serialize;

use self::seen::Seen;
use self::view::{BARRIER, Unit};

/// What something found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
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

impl Kind {
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
pub struct Masked(String);

impl Masked {
    /// Longest preview, in characters.
    pub const PREVIEW_CHARS_MAX: usize = 50;

    /// The masked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first [`Masked::PREVIEW_CHARS_MAX`] characters; a placeholder that would be cut is left
    /// out whole.
    pub fn preview(&self) -> Self {
        let Some((end, _)) = self.0.char_indices().nth(Self::PREVIEW_CHARS_MAX) else {
            return self.clone();
        };
        let cut = |kind: &Kind| {
            let placeholder = kind.placeholder();
            let from = self.0.floor_char_boundary(end.saturating_sub(placeholder.len() - 1));
            let at = from + self.0[from..].find(placeholder)?;
            (at < end && at + placeholder.len() > end).then_some(at)
        };
        let end = Kind::ALL.iter().find_map(cut).unwrap_or(end);
        Self(self.0[..end].to_owned())
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where in a text something was found, in bytes of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

/// The text with a placeholder for everything that was found in it.
pub fn mask(text: &str) -> Masked {
    mask_and_find(text).0
}

/// The same, with what was found in the text as it came, in its order.
pub fn mask_and_find(text: &str) -> (Masked, Vec<Found>) {
    let found = find(text);
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for Found { kind, start, end } in &found {
        masked.push_str(&text[from..*start]);
        masked.push_str(kind.placeholder());
        from = *end;
    }
    masked.push_str(&text[from..]);
    (Masked(masked), found)
}

/// What of a view's signs is one thing.
#[derive(Clone, Copy, Debug)]
struct Match {
    kind: Kind,
    from: usize,
    to: usize,
}

/// How often the rest is read again. Texts of people need two; the limit keeps the time linear for
/// one made to need more.
const PASSES_MAX: usize = 8;

fn find(text: &str) -> Vec<Found> {
    let mut units = view::view(text);
    let mut found = Vec::new();
    for _ in 0..PASSES_MAX {
        let matches = pass(&Seen::new(&units));
        if matches.is_empty() {
            break;
        }
        let mut rest = Vec::with_capacity(units.len());
        let mut from = 0;
        for Match { kind, from: first, to } in matches {
            rest.extend_from_slice(&units[from..first]);
            let (start, end) = (units[first].start, units[to - 1].end);
            rest.push(Unit { sign: BARRIER, escaped: false, start, end });
            found.push(Found { kind, start, end });
            from = to;
        }
        rest.extend_from_slice(&units[from..]);
        units = rest;
    }
    found.sort_by_key(|found| found.start);
    found
}

/// One reading from left to right: matches in their order, none within another.
fn pass(seen: &Seen<'_>) -> Vec<Match> {
    let mut matches: Vec<Match> = Vec::new();
    let mut at = 0;
    while at < seen.len() {
        match recognise(seen, at) {
            Some(found) => {
                debug_assert!(found.from >= at && found.to > found.from, "{found:?}");
                matches.push(found);
                at = found.to;
            }
            None => at += 1,
        }
    }
    matches
}

/// What begins at this sign, if anything; the surest kinds are asked first.
fn recognise(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let sign = seen.sign(at);
    if sign == ' ' || sign == BARRIER {
        return None;
    }
    let any = None
        .or_else(|| net::url(seen, at))
        .or_else(|| net::email(seen, at))
        .or_else(|| secret::any(seen, at))
        .or_else(|| net::mac(seen, at))
        .or_else(|| net::ipv6(seen, at))
        .or_else(|| number::lettered(seen, at))
        .or_else(|| net::domain(seen, at));
    if any.is_some() || sign.is_alphabetic() {
        return any.or_else(|| address::any(seen, at));
    }
    None.or_else(|| net::handle(seen, at))
        .or_else(|| net::ip(seen, at))
        .or_else(|| number::any(seen, at))
        .or_else(|| address::any(seen, at))
}

#[cfg(test)]
mod tests;
