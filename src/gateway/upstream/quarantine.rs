//! Texts that ended the model's program, kept from it for a while.
//!
//! Each trap costs every call that the model's instance was answering, so a text that trapped twice
//! goes to the legacy system. The isolate keeps a keyed hash of the text, never the text.

use crate::rollout::hard_failure_report::TRAP_SUBJECTS_MIN;
use crate::rollout::signing_key::SigningKey;
use jeffrey_terms::{InputText, UnixMs};

/// Traps of a text that quarantine it: the first one may have been the fault of another text.
pub const TRAPS_MAX: u32 = 2;

/// Time for which a text stays in quarantine after its last trap, in milliseconds.
pub const QUARANTINE_MS: u64 = 60 * 60_000;

/// Texts that an isolate keeps; of more, the one whose trap is the longest ago is forgotten.
pub const TEXTS_MAX: usize = 256;

/// HMAC-SHA-256 of a text, cut to 128 bits.
type TextHash = [u8; 16];

/// Texts at which the model trapped. Before the first trap, no text is hashed.
#[derive(Debug, Default)]
pub struct Quarantine {
    /// Random key of the hashes, so that nothing outside the isolate can recognise a text; `None`
    /// before the first trap.
    key: Option<SigningKey>,
    texts: Vec<TrappedText>,
}

#[derive(Debug)]
struct TrappedText {
    hash: TextHash,
    traps: u32,
    last_trap: UnixMs,
    /// Keyed hashes of the subjects that met it, at most [`TRAP_SUBJECTS_MIN`].
    subjects: Vec<String>,
}

impl Quarantine {
    /// Records that the model trapped at a text. `random` becomes the key if there is none yet.
    pub fn record_trap(&mut self, text: &InputText, random: [u8; 16], now: UnixMs) {
        if self.key.is_none() {
            self.key = SigningKey::parse(random).ok();
        }
        let Some(hash) = self.hash(text) else { return };
        self.texts.retain(|text| now.0.abs_diff(text.last_trap.0) < QUARANTINE_MS);
        if let Some(text) = self.texts.iter_mut().find(|text| text.hash == hash) {
            (text.traps, text.last_trap) = (text.traps + 1, now);
            return;
        }
        if self.texts.len() == TEXTS_MAX {
            let oldest = self.texts.iter().enumerate().min_by_key(|(_, text)| text.last_trap);
            if let Some((index, _)) = oldest {
                self.texts.swap_remove(index);
            }
        }
        self.texts.push(TrappedText { hash, traps: 1, last_trap: now, subjects: Vec::new() });
    }

    /// Records that a subject met a text that trapped or is in quarantine. Returns whether that is
    /// news: as many subjects are kept as stop a release.
    pub fn record_subject(&mut self, text: &InputText, subject: &str) -> bool {
        let Some(hash) = self.hash(text) else { return false };
        let Some(text) = self.texts.iter_mut().find(|text| text.hash == hash) else { return true };
        let is_known = text.subjects.iter().any(|known| known == subject);
        if is_known || text.subjects.len() == TRAP_SUBJECTS_MIN {
            return false;
        }
        text.subjects.push(subject.to_owned());
        true
    }

    /// Returns whether a text is in quarantine.
    pub fn contains(&self, text: &InputText, now: UnixMs) -> bool {
        let Some(hash) = self.hash(text) else { return false };
        self.texts.iter().any(|text| {
            text.hash == hash
                && text.traps >= TRAPS_MAX
                && now.0.abs_diff(text.last_trap.0) < QUARANTINE_MS
        })
    }

    fn hash(&self, text: &InputText) -> Option<TextHash> {
        self.key.as_ref().map(|key| key.compute_truncated_tag(text.expose().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [7; 16];

    fn text(text: &str) -> InputText {
        InputText::parse(text).unwrap()
    }

    #[test]
    fn a_text_that_traps_twice_is_kept_away_for_an_hour() {
        let mut quarantine = Quarantine::default();
        quarantine.record_trap(&text("a"), KEY, UnixMs(0));
        assert!(!quarantine.contains(&text("a"), UnixMs(1)), "once may be another text's fault");
        quarantine.record_trap(&text("a"), KEY, UnixMs(2));
        assert!(quarantine.contains(&text("a"), UnixMs(2 + QUARANTINE_MS - 1)));
        assert!(!quarantine.contains(&text("a"), UnixMs(2 + QUARANTINE_MS)));
        assert!(!quarantine.contains(&text("b"), UnixMs(3)));
    }

    #[test]
    fn traps_more_than_an_hour_apart_do_not_add_up() {
        let mut quarantine = Quarantine::default();
        quarantine.record_trap(&text("a"), KEY, UnixMs(0));
        quarantine.record_trap(&text("a"), KEY, UnixMs(QUARANTINE_MS));
        assert!(!quarantine.contains(&text("a"), UnixMs(QUARANTINE_MS + 1)));
    }

    #[test]
    fn it_is_bounded_and_forgets_the_longest_ago() {
        let mut quarantine = Quarantine::default();
        for number in 0..=TEXTS_MAX as u64 {
            for _ in 0..2 {
                quarantine.record_trap(&text(&number.to_string()), KEY, UnixMs(number));
            }
        }
        let now = UnixMs(TEXTS_MAX as u64);
        assert!(!quarantine.contains(&text("0"), now));
        assert!(quarantine.contains(&text("1"), now));
        assert!(quarantine.contains(&text(&TEXTS_MAX.to_string()), now));
    }

    #[test]
    fn each_of_three_subjects_is_news_once() {
        let mut quarantine = Quarantine::default();
        quarantine.record_trap(&text("a"), KEY, UnixMs(0));
        let news =
            ["x", "x", "y", "z", "w"].map(|name| quarantine.record_subject(&text("a"), name));
        assert_eq!(news, [true, false, true, true, false]);
    }

    #[test]
    fn isolates_do_not_share_hashes() {
        let hashes = [[1; 16], [2; 16]].map(|key| {
            let mut quarantine = Quarantine::default();
            quarantine.record_trap(&text("a"), key, UnixMs(0));
            quarantine.texts[0].hash
        });
        assert_ne!(hashes[0], hashes[1]);
    }
}
