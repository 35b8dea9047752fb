//! Looks up first names and surnames in the list that `names/build.py` builds.
//!
//! The list holds about 23,000 names of many countries, folded to a–z and front-coded in blocks of 32.
//! A lookup searches the blocks by halving, then reads one block.

/// Names in the format that `names/build.py` describes. Sources: Faker (MIT License); see NOTICE.
static NAMES: &[u8] = include_bytes!("../names/names.bin");

/// Class of a listed name, by what else the word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameClass {
    /// A surname that is no first name.
    Surname,
    /// A first name that is no other word.
    First,
    /// A first name that is also a word: Mark, Rose, Claire.
    Word,
    /// A first name that is also a place, a month, a brand or a title: Paris, May.
    Place,
}

/// Entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListedName {
    pub(super) class: NameClass,
    /// The name is a surname, perhaps besides its class: Martin is also a first name.
    pub(super) is_surname: bool,
    /// No French or English word has this form, so the name counts in small letters too.
    pub(super) is_no_word: bool,
}

/// Longest name of the list, in letters.
pub(super) const NAME_LETTERS_MAX: usize = 15;

/// Byte that fills a block up to an even length.
const PADDING: u8 = 0xff;

/// Bit of the count of shared letters that marks a surname.
const SURNAME: u8 = 0x40;

/// Bit of the count of shared letters that marks a name which is no form of any word.
const NO_WORD: u8 = 0x80;

/// Bits of the last letter of a name in the list: the end mark and the class.
const END: u8 = 0x80;
const CLASS_SHIFT: u32 = 5;
const LETTER: u8 = 0x1f;

/// Returns the entry of a name of folded letters, `a` to `z`; `None` for a name that the list lacks.
pub(super) fn find_name(name: &[u8]) -> Option<ListedName> {
    if name.len() < 2 || name.len() > NAME_LETTERS_MAX {
        return None;
    }
    let count = read_u16(0);
    let (mut low, mut high) = (0, count);
    while high - low > 1 {
        let middle = low.midpoint(high);
        match first_name_of(middle).cmp(name.iter().copied()) {
            std::cmp::Ordering::Greater => high = middle,
            _ => low = middle,
        }
    }
    find_in_block(&NAMES[block_start(low)..block_start(low + 1)], name)
}

fn read_u16(index: usize) -> usize {
    let bytes = &NAMES[2 * index..2 * index + 2];
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// Position of a block in the file; the end of the file after the last one.
fn block_start(block: usize) -> usize {
    let count = read_u16(0);
    let head = 2 * (count + 1);
    if block >= count { NAMES.len() } else { head + 2 * read_u16(block + 1) }
}

/// Letters of the first name of a block, which is not front-coded.
fn first_name_of(block: usize) -> impl Iterator<Item = u8> {
    let mut ended = false;
    NAMES[block_start(block) + 1..].iter().map_while(move |byte| {
        let letter = (!ended).then_some((byte & LETTER) + b'a' - 1);
        ended |= byte & END != 0;
        letter
    })
}

/// Reads a block name by name until `name` or a later one.
fn find_in_block(block: &[u8], name: &[u8]) -> Option<ListedName> {
    let mut known = [0; NAME_LETTERS_MAX];
    let mut bytes = block.iter().copied();
    while let Some(head) = bytes.next().filter(|head| *head != PADDING) {
        let mut len = usize::from(head & !(SURNAME | NO_WORD));
        let class = loop {
            let byte = bytes.next()?;
            *known.get_mut(len)? = (byte & LETTER) + b'a' - 1;
            len += 1;
            if byte & END != 0 {
                break (byte & !END) >> CLASS_SHIFT;
            }
        };
        if known[..len] == *name {
            let class = match class {
                0 => NameClass::Surname,
                1 => NameClass::First,
                2 => NameClass::Word,
                _ => NameClass::Place,
            };
            return Some(ListedName {
                class,
                is_surname: head & SURNAME != 0,
                is_no_word: head & NO_WORD != 0,
            });
        }
    }
    None
}

/// Letters of U+0100 to U+017F and of U+1EA0 to U+1EF9 without their marks.
const LATIN_EXTENDED_A: &[u8; 128] = b"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
const VIETNAMESE: &[u8; 90] =
    b"aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeeeeeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy";

/// Returns the folded letters of one letter of a name, one or two; `None` for another character.
pub(super) fn fold_letter(ch: char) -> Option<(u8, Option<u8>)> {
    let folded = super::normalize::fold_char(ch);
    let code = ch as usize;
    match (folded, code) {
        (_, 0x152 | 0x153) => Some((b'o', Some(b'e'))),
        ('a'..='z', _) => Some((folded as u8, None)),
        ('ß', _) => Some((b's', Some(b's'))),
        ('æ' | 'Æ', _) => Some((b'a', Some(b'e'))),
        ('ð' | 'Ð', _) => Some((b'd', None)),
        ('þ' | 'Þ', _) => Some((b't', Some(b'h'))),
        (_, 0x100..0x180) => Some((LATIN_EXTENDED_A[code - 0x100], None)),
        (_, 0x1ea0..0x1efa) => Some((VIETNAMESE[code - 0x1ea0], None)),
        (_, 0x218 | 0x219) => Some((b's', None)),
        (_, 0x21a | 0x21b) => Some((b't', None)),
        (_, 0x1a0 | 0x1a1) => Some((b'o', None)),
        (_, 0x1af | 0x1b0) => Some((b'u', None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_found_by_its_first_name_and_names_have_their_class() {
        let count = read_u16(0);
        for block in 0..count {
            let name: Vec<u8> = first_name_of(block).collect();
            assert!(find_name(&name).is_some(), "{}", String::from_utf8_lossy(&name));
            assert!(block == 0 || first_name_of(block - 1).lt(first_name_of(block)));
        }
        for (name, expected) in [
            ("camille", Some(NameClass::First)),
            ("jean", Some(NameClass::First)),
            ("oluwaseun", None),
            ("nguyen", Some(NameClass::Surname)),
            ("rose", Some(NameClass::Word)),
            ("claire", Some(NameClass::Word)),
            ("paris", Some(NameClass::Place)),
            ("may", Some(NameClass::Place)),
            ("zzzz", None),
            ("a", None),
            ("the", None),
        ] {
            assert_eq!(find_name(name.as_bytes()).map(|listed| listed.class), expected, "{name}");
        }
    }

    #[test]
    fn letters_of_europe_and_vietnam_lose_their_marks() {
        let fold = |text: &str| -> String {
            let pairs = text.chars().filter_map(fold_letter);
            pairs
                .flat_map(|(first, second)| [Some(first), second])
                .flatten()
                .map(char::from)
                .collect()
        };
        for (text, expected) in [
            ("Łukasz", "lukasz"),
            ("Žižek", "zizek"),
            ("Gürşen", "gursen"),
            ("Nguyễn", "nguyen"),
            ("Ștefan", "stefan"),
            ("Œdipe", "oedipe"),
            ("Groß", "gross"),
            ("Håkon", "hakon"),
            ("Đặng", "dang"),
        ] {
            assert_eq!(fold(text), expected);
        }
    }
}
