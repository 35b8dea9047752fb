//! Reads the parts of a name: words with a capital, initials and particles.
//!
//! A part is one word with its hyphens, looked up in the list. A name has at most [`PARTS_MAX`] parts,
//! each of at most [`PART_CHARS_MAX`] characters, so reading one takes a bounded time.

use super::name_list::{ListedName, NAME_LETTERS_MAX, NameClass, find_name, fold_letter};
use super::name_words as words;
use super::scanner::{FoldedWord, Scanner, is_word_char};

/// Most parts of one name, particles included.
const PARTS_MAX: usize = 6;

/// Longest part that is read, in characters: double names with hyphens included.
const PART_CHARS_MAX: usize = 32;

/// A word that may be a part of a name.
#[derive(Clone, Copy)]
pub(super) struct NamePart {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) word: FoldedWord,
    pub(super) class: Option<NameClass>,
    /// The part is a listed surname, perhaps besides its class.
    pub(super) is_listed_surname: bool,
    /// The part is a listed name, and no other word has its form.
    pub(super) is_no_word: bool,
    /// The part is a place such as « Saint-Étienne », unless a title or a first name precedes it.
    pub(super) is_saint: bool,
    /// First letter is a capital.
    pub(super) is_capital: bool,
    /// All letters are capitals, at least two.
    pub(super) is_upper: bool,
}

impl NamePart {
    /// Reads the word at `pos` with its hyphens, and with an apostrophe after `O`, `D`, `N` or `M`.
    pub(super) fn read(scanner: &Scanner<'_>, pos: usize) -> Option<Self> {
        let first = scanner.char_at(pos);
        if !first.is_alphabetic() {
            return None;
        }
        let is_part_char = |ch: char| ch.is_alphabetic();
        let mut end = scanner.scan_at_most(pos, PART_CHARS_MAX, is_part_char);
        let irish = end == pos + 1
            && matches!(first, 'O' | 'D' | 'N' | 'M')
            && scanner.char_at(end) == '\'';
        if irish && scanner.char_at(end + 1).is_uppercase() {
            end = scanner.scan_at_most(end + 1, PART_CHARS_MAX, is_part_char);
        }
        let listed = find_part(scanner, pos, end);
        let mut class = listed.map(|listed| listed.class);
        for _ in 0..3 {
            let next = scanner.char_at(end + 1);
            if scanner.char_at(end) != '-'
                || !next.is_alphabetic()
                || next.is_uppercase() != first.is_uppercase()
            {
                break;
            }
            let to = scanner.scan_at_most(end + 1, PART_CHARS_MAX, is_part_char);
            let second = find_part(scanner, end + 1, to).map(|listed| listed.class);
            // « Jean-Pierre » is a first name, « Marie-Claire » too.
            class = match (class, second) {
                (Some(NameClass::First), Some(_)) | (Some(_), Some(NameClass::First)) => {
                    Some(NameClass::First)
                }
                (Some(NameClass::Word), Some(NameClass::Word)) => Some(NameClass::First),
                (Some(_), Some(_)) => Some(NameClass::Surname),
                _ => None,
            };
            end = to;
        }
        let is_saint = scanner.word_at(pos).0.is_in("saint sainte st ste notre san santa mont")
            && scanner.chars(pos, end).any(|ch| ch == '-');
        let letters = || scanner.chars(pos, end).filter(|ch| ch.is_alphabetic());
        Some(Self {
            start: pos,
            end,
            word: scanner.fold_word(pos, end),
            class,
            is_listed_surname: listed.is_some_and(|listed| listed.is_surname),
            is_no_word: listed.is_some_and(|listed| listed.is_no_word),
            is_saint,
            is_capital: first.is_uppercase(),
            is_upper: end - pos >= 2 && letters().all(char::is_uppercase),
        })
    }

    /// Returns whether the part is a listed surname, or ends like the surnames of a country.
    pub(super) fn is_surname(&self, scanner: &Scanner<'_>) -> bool {
        let ends_like =
            || words::SURNAME_ENDS.iter().any(|end| scanner.starts_with(self.end - end.len(), end));
        let long = self.end - self.start >= 6;
        self.is_listed_surname && self.is_no_word || self.class.is_none() && long && ends_like()
    }

    /// Returns whether a letter is of Latin script, but neither French nor English.
    pub(super) fn has_foreign_letter(&self, scanner: &Scanner<'_>) -> bool {
        scanner.chars(self.start, self.end).any(|ch| {
            let is_french = "àâäæçéèêëîïôöœùûüÿ".contains(ch.to_lowercase().next().unwrap_or(ch));
            !ch.is_ascii() && !is_french && fold_letter(ch).is_some()
        })
    }

    pub(super) fn is_first(&self) -> bool {
        self.class == Some(NameClass::First)
    }

    pub(super) fn is_any_first(&self) -> bool {
        matches!(self.class, Some(NameClass::First | NameClass::Word | NameClass::Place))
    }

    /// Returns whether the part has a capital and can belong to a name.
    pub(super) fn is_candidate(&self) -> bool {
        let short_caps = self.is_upper && self.end - self.start <= 4 && self.class.is_none();
        self.is_capital
            && self.end - self.start >= 2
            && !short_caps
            && !words::is_no_name(&self.word)
    }

    /// Returns whether the part is a single capital with a full stop, an initial.
    pub(super) fn is_initial(&self, scanner: &Scanner<'_>) -> bool {
        self.is_capital && self.end == self.start + 1 && scanner.char_at(self.end) == '.'
    }
}

/// Returns the entry of a word in the list, folded.
pub(super) fn find_part(scanner: &Scanner<'_>, from: usize, to: usize) -> Option<ListedName> {
    let mut letters = [0; NAME_LETTERS_MAX + 1];
    let mut len = 0;
    for ch in scanner.chars(from, to).filter(|ch| *ch != '\'') {
        let (first, second) = fold_letter(ch)?;
        for letter in [Some(first), second].into_iter().flatten() {
            *letters.get_mut(len)? = letter;
            len += 1;
        }
    }
    find_name(&letters[..len])
}

/// End of a name that begins with a capital, and what its other parts show.
pub(super) struct NameEnd {
    pub(super) end: usize,
    /// Parts without particles and initials.
    pub(super) parts: usize,
    pub(super) initials: usize,
    /// At least one part is a listed name.
    pub(super) has_known: bool,
    /// The second part is a listed name.
    pub(super) second_known: bool,
    pub(super) second_is_surname: bool,
    pub(super) second_is_first: bool,
    /// A part contains a letter that neither French nor English uses.
    pub(super) has_foreign: bool,
}

impl NameEnd {
    /// Reads the parts after `first`: words with a capital, initials, and particles before such a word.
    pub(super) fn read(scanner: &Scanner<'_>, first: &NamePart) -> Self {
        let initial = first.is_initial(scanner);
        let mut name = Self {
            end: if initial { first.end + 1 } else { first.end },
            parts: usize::from(!initial),
            initials: usize::from(initial),
            has_known: first.class.is_some(),
            second_known: false,
            second_is_surname: false,
            second_is_first: false,
            has_foreign: first.has_foreign_letter(scanner),
        };
        let mut from = name.end;
        let (mut has_second, mut follows_dutch) = (false, false);
        for _ in 1..PARTS_MAX {
            let gap = scanner.scan_at_most(from, 2, |ch| ch == ' ');
            // « J.-P. Martin », « J.K. Rowling »
            let joined = from == gap && scanner.char_before(from) == '.';
            let next = if joined { scanner.scan_at_most(from, 1, |ch| ch == '-') } else { gap };
            if !(joined || gap == from + 1) {
                break;
            }
            let Some(part) = NamePart::read(scanner, next) else { break };
            if is_word_char(scanner.char_at(part.end)) {
                break;
            }
            if part.word.is_in(words::NO_SURNAMES) {
                break;
            }
            if part.is_initial(scanner) {
                name.initials += 1;
                from = part.end + 1;
                continue;
            }
            // « John Brown »: behind a first name a listed surname may also be a word.
            let surname = first.is_first()
                && part.is_capital
                && part.class.is_some()
                && part.end - part.start >= 4;
            let particle = part.word.is_in(words::PARTICLES) && part.end - part.start <= 5;
            if particle && !(part.is_capital && part.class.is_some()) {
                follows_dutch = part.word.is_in("van von der den ten ter");
                from = part.end;
                continue;
            }
            let surname = surname || follows_dutch && part.is_capital;
            if !part.is_candidate() && !surname
                || part.is_upper
                    && !first.is_upper
                    && part.class.is_none()
                    && part.end - part.start < 4
            {
                break;
            }
            name.parts += 1;
            name.has_known |= part.class.is_some();
            name.has_foreign |= part.has_foreign_letter(scanner);
            if !has_second {
                has_second = true;
                name.second_known = part.class.is_some();
                name.second_is_first = part.is_first();
                name.second_is_surname = part.is_surname(scanner);
            }
            (name.end, from) = (part.end, part.end);
        }
        name
    }
}
