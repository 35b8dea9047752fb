//! Words around a value that tell what it is.
//!
//! [`WordsBefore`] reads the words of the same sentence, nearest first, once for each value. A rule
//! then asks for the nearest word of its lists. The number of words and of characters is bounded.

use super::normalize::BARRIER;
use super::scanner::{FoldedWord, Scanner};

/// Place of a word that marks a value, as character indexes; the end is excluded.
pub(super) type Cue = (usize, usize);

/// Most words that are read before a value, and most characters.
const WORDS_MAX: usize = 10;
const CHARS_MAX: usize = 80;

/// Words before a value, nearest first, as far as the same sentence reaches.
pub(super) struct WordsBefore {
    words: [(FoldedWord, usize, usize); WORDS_MAX],
    len: usize,
}

impl WordsBefore {
    /// Reads the words before `pos`. A placeholder counts as a word that no list contains.
    ///
    /// A line break ends the sentence, except directly before the value, which may be below its
    /// label.
    pub(super) fn read(scanner: &Scanner<'_>, pos: usize) -> Self {
        let mut before = Self { words: [(FoldedWord::EMPTY, 0, 0); WORDS_MAX], len: 0 };
        let start_min = pos.saturating_sub(CHARS_MAX);
        let mut to = pos;
        while before.len < WORDS_MAX && to > start_min {
            let ch = scanner.char_before(to);
            if !ch.is_alphanumeric() && ch != BARRIER {
                let is_end = matches!(ch, '!' | '?' | ';')
                    || ch == '\n' && before.len > 0
                    || ch == '.'
                        && scanner.char_at(to) == ' '
                        && follows_long_word(scanner, to - 1);
                if is_end {
                    break;
                }
                to -= 1;
                continue;
            }
            let end = to;
            to -= 1;
            while ch != BARRIER && to > start_min && scanner.char_before(to).is_alphanumeric() {
                to -= 1;
            }
            before.words[before.len] = (scanner.fold_word(to, end), to, end);
            before.len += 1;
        }
        before
    }

    /// Returns the place of the nearest word of `positive` among the nearest `words_max` words;
    /// `None` when there is none, or when a word of `negative` is nearer.
    pub(super) fn nearest(&self, words_max: usize, positive: &str, negative: &str) -> Option<Cue> {
        for (word, start, end) in self.words[..self.len].iter().take(words_max) {
            if word.is_in(positive) {
                return Some((*start, *end));
            }
            if word.is_in(negative) {
                return None;
            }
        }
        None
    }

    /// Returns whether a word of the list is among the nearest `words_max` words.
    pub(super) fn contains(&self, words_max: usize, list: &str) -> bool {
        self.nearest(words_max, list, "").is_some()
    }

    /// Returns the place of the word at `index`, the nearest one at 0.
    pub(super) fn place(&self, index: usize) -> Option<Cue> {
        self.words[..self.len].get(index).map(|(_, start, end)| (*start, *end))
    }

    /// Returns the word at `index`, the nearest one at 0; an empty word where there is none.
    pub(super) fn word(&self, index: usize) -> FoldedWord {
        self.words[..self.len].get(index).map_or(FoldedWord::EMPTY, |(word, _, _)| *word)
    }
}

/// Returns whether a word of four letters or more ends at `end`: a full stop after it ends the
/// sentence, and does not mark an abbreviation.
fn follows_long_word(scanner: &Scanner<'_>, end: usize) -> bool {
    end >= 4 && (end - 4..end).all(|pos| scanner.char_at(pos).is_alphabetic())
}

/// Words before a number that mark it as an order, a product, an amount or another thing.
pub(super) const NON_PERSONAL_CUES: &str = "commande commandes cmd order orders ordre ref reference references ticket tickets dossier \
                     dossiers facture factures invoice invoices colis tracking suivi parcel isbn ean upc sku article \
                     articles id ids identifiant build version timestamp epoch serie serial lot batch contrat contract \
                     transaction reservation booking case issue bug code codes devis modele model produit product \
                     item population habitants total page pages postid tweet montant amount solde prix price barre barres barcode gencod";

/// Returns whether a unit follows: money, people, distance.
pub(super) fn is_quantity(scanner: &Scanner<'_>, pos: usize) -> bool {
    let pos = scanner.skip_spaces(pos);
    let units = "euro euros eur usd dollar dollars f francs km kg g m habitants inhabitants people personnes \
                 visiteurs vues views pounds livres yen octets bytes tonnes users utilisateurs votes voix fois times";
    matches!(scanner.char_at(pos), '€' | '$' | '£' | '%' | '¥')
        || scanner.word_at(pos).0.is_in(units)
}
