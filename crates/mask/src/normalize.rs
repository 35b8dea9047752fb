//! Normalises a text for the recognisers: plain characters, each with its byte range in the
//! original.
//!
//! Full-width, mathematical and foreign digits become ASCII digits. Every space becomes a plain
//! space and every dash a `-`. Look-alike letters of Greek and Cyrillic become Latin ones, and
//! `%40`, `&#64;`, `[at]` and `(dot)` become the character that they mean. Marks without width
//! (joiners, soft hyphens, combining accents, the frame of a keycap) belong to the character before
//! them. Recognisers see only normalised characters; matches are mapped back to the original bytes.

use super::PiiKind;

/// One character of the normalised text.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormalizedChar {
    /// Normalised character; [`BARRIER`] for a placeholder.
    pub(super) ch: char,
    /// True for a character that was written as an escape. It tells a space inside a URL from the
    /// space after the URL.
    pub(super) is_escaped: bool,
    /// First byte in the original text.
    pub(super) start: usize,
    /// First byte after the character in the original text.
    pub(super) end: usize,
}

/// Marks a placeholder, from the text itself or from an earlier match. No match crosses it.
///
/// U+10FFFF is not a valid character, and `normalise` replaces it by U+FFFD, so no text can contain
/// it.
pub(super) const BARRIER: char = '\u{10FFFF}';

/// Returns the normalised characters of `text`.
pub(super) fn normalise(text: &str) -> Vec<NormalizedChar> {
    let bytes = text.as_bytes();
    let mut chars: Vec<NormalizedChar> = Vec::with_capacity(text.len());
    let mut pos = 0;
    while let Some(first) = text[pos..].chars().next() {
        let width = first.len_utf8();
        let (ch, length) = match first {
            '[' if placeholder_len(&bytes[pos..]).is_some() => {
                (Some(BARRIER), placeholder_len(&bytes[pos..]).unwrap_or(width))
            }
            '%' | '&' | '[' | '(' | '{' => match decode_escape(&bytes[pos..]) {
                Some((ch, length)) => (Some(ch), length),
                None => (Some(first), width),
            },
            BARRIER => (Some('\u{FFFD}'), width),
            _ => (normalise_char(first), width),
        };
        let end = pos + length;
        match (ch, chars.last_mut()) {
            (Some(ch), _) => {
                chars.push(NormalizedChar { ch, is_escaped: length > width, start: pos, end });
            }
            (None, Some(last)) if last.ch != BARRIER => last.end = end,
            (None, _) => {}
        }
        pos = end;
    }
    chars
}

/// Returns the length of a placeholder at the start, in bytes.
fn placeholder_len(bytes: &[u8]) -> Option<usize> {
    let mut placeholders = PiiKind::ALL.iter().map(|kind| kind.placeholder());
    placeholders.find(|placeholder| bytes.starts_with(placeholder.as_bytes())).map(str::len)
}

/// Spelled characters in brackets, as in an address that its owner hid from programs.
const BRACKETED: [(&[u8], char); 9] = [
    (b"at", '@'),
    (b"arobase", '@'),
    (b"arobas", '@'),
    (b"a", '@'),
    (b"@", '@'),
    (b"dot", '.'),
    (b"point", '.'),
    (b".", '.'),
    (b":", ':'),
];

/// Returns the character that an escape at the start means, and the length in bytes: `%40`,
/// `&#64;`, `&#x40;`, `[at]`.
fn decode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let printable = |code: u32| u8::try_from(code).ok().filter(|code| (b' '..0x7f).contains(code));
    match bytes {
        [b'%', high, low, ..] => {
            let digit = |byte: u8| (byte as char).to_digit(16);
            let code = printable(digit(*high)? * 16 + digit(*low)?)?;
            Some((code as char, 3))
        }
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(6).position(|byte| *byte == b';')?;
            let number = std::str::from_utf8(&rest[..end]).ok()?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(number) => u32::from_str_radix(number, 16),
                None => number.parse(),
            };
            Some((printable(code.ok()?)? as char, end + 3))
        }
        [open @ (b'[' | b'(' | b'{'), rest @ ..] => {
            let close = match open {
                b'[' => b']',
                b'(' => b')',
                _ => b'}',
            };
            let end = rest.iter().take(10).position(|byte| *byte == close)?;
            let word = rest[..end].trim_ascii();
            let (_, ch) = BRACKETED.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
            Some((*ch, end + 2))
        }
        _ => None,
    }
}

/// Returns the normalised form of one character; `None` when it belongs to the character before it.
fn normalise_char(ch: char) -> Option<char> {
    if ch.is_ascii() {
        return match ch {
            '\t' | '\u{b}' | '\u{c}' => Some(' '),
            '\r' => None,
            _ => Some(ch),
        };
    }
    let code = ch as u32;
    if let Some(zero) = DIGIT_ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)) {
        return char::from_digit(code - zero, 10);
    }
    Some(match ch {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{20e3}' | '\u{feff}' => return None,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => return None,
        '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' => {
            return None;
        }
        '\u{2028}' | '\u{2029}' | '\u{85}' => '\n',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{b7}' | '\u{2024}' | '\u{2027}' | '\u{3002}' | '\u{ff61}' => '.',
        '\u{fe6b}' => '@',
        '\u{2018}' | '\u{2019}' => '\'',
        // ASCII in full width.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(code - 0xfee0).unwrap_or(ch),
        // Digits in circles: ① to ⑨, and ⓪.
        '\u{2460}'..='\u{2468}' => char::from_digit(code - 0x245f, 10).unwrap_or(ch),
        '\u{24ea}' => '0',
        // Letters in circles and squares.
        '\u{24b6}'..='\u{24cf}' => char::from_u32(code - 0x24b6 + 0x41).unwrap_or(ch),
        '\u{24d0}'..='\u{24e9}' => char::from_u32(code - 0x24d0 + 0x61).unwrap_or(ch),
        '\u{1f130}'..='\u{1f149}' => char::from_u32(code - 0x1f130 + 0x41).unwrap_or(ch),
        // Outlined letters.
        '\u{1ccd6}'..='\u{1ccef}' => char::from_u32(code - 0x1ccd6 + 0x41).unwrap_or(ch),
        // Mathematical letters: 26 capitals and 26 small ones in each style.
        '\u{1d400}'..='\u{1d6a3}' => {
            let place = (code - 0x1d400) % 52;
            let base = if place < 26 { u32::from(b'A') } else { u32::from(b'a') - 26 };
            char::from_u32(base + place).unwrap_or(ch)
        }
        _ if ch.is_whitespace() => ' ',
        _ => match HOMOGLYPHS.binary_search_by_key(&ch, |pair| pair.0) {
            Ok(index) => HOMOGLYPHS[index].1,
            Err(_) => ch,
        },
    })
}

/// Code points of the digit zero; the nine code points after each are 1 to 9. Scripts: Arabic,
/// Persian, Devanagari, Bengali, Thai, full width, outlines, the five mathematical styles, and
/// segments.
const DIGIT_ZEROS: [u32; 13] = [
    0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0xff10, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec,
    0x1d7f6, 0x1fbf0,
];

/// Letters that look like Latin ones, in the order of their code points, for a binary search: Greek,
/// Cyrillic, and the mathematical letters that Unicode had before it had their alphabets.
const HOMOGLYPHS: [(char, char); 75] = [
    ('Α', 'A'),
    ('Β', 'B'),
    ('Ε', 'E'),
    ('Ζ', 'Z'),
    ('Η', 'H'),
    ('Ι', 'I'),
    ('Κ', 'K'),
    ('Μ', 'M'),
    ('Ν', 'N'),
    ('Ο', 'O'),
    ('Ρ', 'P'),
    ('Τ', 'T'),
    ('Υ', 'Y'),
    ('Χ', 'X'),
    ('α', 'a'),
    ('ι', 'i'),
    ('ν', 'v'),
    ('ο', 'o'),
    ('ρ', 'p'),
    ('Ѕ', 'S'),
    ('І', 'I'),
    ('Ј', 'J'),
    ('А', 'A'),
    ('В', 'B'),
    ('Е', 'E'),
    ('К', 'K'),
    ('М', 'M'),
    ('Н', 'H'),
    ('О', 'O'),
    ('Р', 'P'),
    ('С', 'C'),
    ('Т', 'T'),
    ('У', 'Y'),
    ('Х', 'X'),
    ('а', 'a'),
    ('е', 'e'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('у', 'y'),
    ('х', 'x'),
    ('ѕ', 's'),
    ('і', 'i'),
    ('ј', 'j'),
    ('ℂ', 'C'),
    ('ℊ', 'g'),
    ('ℋ', 'H'),
    ('ℌ', 'H'),
    ('ℍ', 'H'),
    ('ℎ', 'h'),
    ('ℐ', 'I'),
    ('ℑ', 'I'),
    ('ℒ', 'L'),
    ('ℓ', 'l'),
    ('ℕ', 'N'),
    ('ℙ', 'P'),
    ('ℚ', 'Q'),
    ('ℛ', 'R'),
    ('ℜ', 'R'),
    ('ℝ', 'R'),
    ('ℤ', 'Z'),
    ('ℨ', 'Z'),
    ('\u{212a}', 'K'),
    ('ℬ', 'B'),
    ('ℭ', 'C'),
    ('ℯ', 'e'),
    ('ℰ', 'E'),
    ('ℱ', 'F'),
    ('ℳ', 'M'),
    ('ℴ', 'o'),
    ('ⅅ', 'D'),
    ('ⅆ', 'd'),
    ('ⅇ', 'e'),
    ('ⅈ', 'i'),
    ('ⅉ', 'j'),
];

/// Returns a letter in lower case without its accent; `œ` gives `o`. Other characters stay.
pub(super) fn fold_char(ch: char) -> char {
    match ch {
        'a'..='z' => ch,
        'A'..='Z' => ch.to_ascii_lowercase(),
        'à'..='å' | 'À'..='Å' | 'ā' | 'Ā' => 'a',
        'ç' | 'Ç' => 'c',
        'è'..='ë' | 'È'..='Ë' | 'ē' | 'Ē' => 'e',
        'ì'..='ï' | 'Ì'..='Ï' => 'i',
        'ñ' | 'Ñ' => 'n',
        'ò'..='ö' | 'Ò'..='Ö' | 'ø' | 'Ø' | 'œ' | 'Œ' => 'o',
        'ù'..='ü' | 'Ù'..='Ü' => 'u',
        'ý' | 'ÿ' | 'Ý' => 'y',
        _ => ch,
    }
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    /// Characters that only Unicode's compatibility makes letters or digits of ASCII.
    const RAISED_LOWERED_AND_SIGNS: &str = "\
        ª²³¹ºſʰʲʳʷʸˡˢˣᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁᵂᵃᵇᵈᵉᵍᵏᵐᵒᵖᵗᵘᵛᵢᵣᵤᵥᶜᶠᶻ⁰ⁱ⁴⁵⁶⁷⁸⁹ⁿ\
        ₀₁₂₃₄₅₆₇₈₉ₐₑₒₓₕₖₗₘₙₚₛₜ\u{209d}\u{209e}\u{209f}ℹⅠⅤⅩⅬⅭⅮⅯⅰⅴⅹⅼⅽⅾⅿⱼⱽ\u{a7f1}ꟲꟳꟴ𐞥🄫🄬";

    /// Returns the letter or digit of ASCII that a character is compatible with in Unicode.
    fn compatible_ascii(ch: char) -> Option<char> {
        let mut chars = ch.nfkc();
        let first = chars.next().filter(char::is_ascii_alphanumeric)?;
        chars.next().is_none().then_some(first)
    }

    fn normalised(text: &str) -> String {
        normalise(text).iter().map(|c| if c.ch == BARRIER { '#' } else { c.ch }).collect()
    }

    #[test]
    fn what_is_written_otherwise_is_seen_plain() {
        for (text, expected) in [
            ("０６\u{a0}１２\u{202f}٣٤", "06 12 34"),
            ("0\u{200b}6\u{feff}1", "061"),
            ("0\u{fe0f}\u{20e3}6\u{fe0f}\u{20e3}", "06"),
            ("jean%40ex%2Efr", "jean@ex.fr"),
            ("jean&#64;ex&#x2e;fr", "jean@ex.fr"),
            ("jean [at] ex (dot) fr", "jean @ ex . fr"),
            ("jean(arobase)ex{ point }fr", "jean@ex.fr"),
            ("jеаn", "jean"),
            ("𝟎𝟔 𝐣𝐞𝐚𝐧", "06 jean"),
            // Script and double-struck alphabets, part of which has older code points.
            ("𝒿ℯ𝒶𝓃@ℊ𝓂𝒶𝒾𝓁.𝒸ℴ𝓂 ℝ𝔼ℕ𝔼", "jean@gmail.com RENE"),
            ("ⓙⓔⓐⓝ 🄹🄴🄰🄽 🯰🯶", "jean JEAN 06"),
            ("100% sûr, 5%, (a b), &#9;", "100% sûr, 5%, (a b), &#9;"),
            ("%C3%A9 %zz", "%C3%A9 %zz"),
            ("[EMAIL][EMAI] [PHONE]", "#[EMAI] #"),
            ("e\u{301}te\u{301}", "ete"),
        ] {
            assert_eq!(normalised(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_in_order_and_on_boundaries() {
        let text = "\u{200b}é\u{301}０%40[IP]\u{200b}x";
        let mut last = 0;
        for c in normalise(text) {
            assert!(c.start >= last && c.end > c.start, "{c:?}");
            assert!(text.is_char_boundary(c.start) && text.is_char_boundary(c.end));
            last = c.end;
        }
    }

    #[test]
    fn digits_and_letters_are_those_of_unicode() {
        let (mut both, mut only_unicode) = (0, String::new());
        for ch in '\u{80}'..=char::MAX {
            let seen = normalise_char(ch).filter(char::is_ascii_alphanumeric);
            match (seen, compatible_ascii(ch)) {
                (Some(seen), Some(compatible)) => {
                    assert_eq!(seen, compatible, "{ch} U+{:X}", u32::from(ch));
                    both += 1;
                }
                (None, Some(_)) => only_unicode.push(ch),
                (Some(_) | None, None) => {}
            }
        }
        assert_eq!(both, 929);
        // A raised figure ends a number as the mark of a footnote, and « m² » is no number. The others
        // are signs of their own: Roman numerals, ordinals, the long s, copyright and information.
        assert_eq!(only_unicode, RAISED_LOWERED_AND_SIGNS);
    }

    #[test]
    fn look_alikes_are_in_the_order_that_the_search_needs() {
        assert!(HOMOGLYPHS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
