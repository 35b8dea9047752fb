//! Random texts with a fixed seed: the laws of the mask hold.
//!
//! `JEFFREY_MASK_FUZZ_SECONDS=3600 cargo test -p jeffrey-mask --test fuzz` runs for an hour. Without it
//! the test makes a fixed number of texts.

#![expect(
    clippy::disallowed_methods,
    reason = "the time that a person asked for is that of the host"
)]

use std::fs;
use std::time::{Duration, Instant};

use jeffrey_mask::{explain, mask, mask_with_spans};

/// Texts of the run without a time.
const TEXTS: usize = 1_500;

/// Pseudo-random numbers (xorshift64*, <https://en.wikipedia.org/wiki/Xorshift>) from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Words that the rules look for, beside those of the written lines.
const PIECES: [&str; 48] = [
    "né",
    "born",
    "DOB:",
    "plaque",
    "passport",
    "permis",
    "RIB",
    "sort code",
    "account",
    "code",
    "digicode",
    "zéro",
    "six",
    "oh",
    "double",
    "quatre-vingt",
    "lieu-dit",
    "bât",
    "appt",
    "insta",
    "chez",
    "gmail",
    "M.",
    "Mme",
    "Dr",
    "je m'appelle",
    "my name is",
    "Dear",
    "c'est",
    "hi i'm",
    "Cordialement,\n",
    "Léa",
    "léa",
    "Martin",
    "van der",
    "O'Neil",
    "J.",
    "Saint-Étienne",
    "XIV",
    "12/03/1984",
    "48.8566, 2.3522",
    "SW1A 2AA",
    "AB-123-CD",
    "[NAME]",
    "🙂",
    "\u{301}",
    "\u{10ffff}",
    "\n",
];

fn written_words() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/masking/written.txt");
    let text = fs::read_to_string(path).expect("the written lines are in the repository");
    text.replace(['⟦', '⟧', '¬'], "").split(' ').map(str::to_owned).collect()
}

/// Makes a text of pieces and written words, with one to three characters changed.
fn random_text(random: &mut Random, words: &[String]) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(14) {
        match random.below(3) {
            0 => text.push_str(random.pick(&PIECES)),
            _ => text.push_str(&words[random.below(words.len())]),
        }
        text.push_str(random.pick(&[" ", " ", " ", "", ", ", "-", "."]));
    }
    for _ in 0..random.below(4) {
        let chars: Vec<char> = text.chars().collect();
        let place = random.below(chars.len().max(1));
        let changed = random.pick(&[' ', '0', 'A', '-', '@', '\n', '.', 'é']);
        text = chars
            .iter()
            .enumerate()
            .map(|(at, ch)| if at == place { changed } else { *ch })
            .collect();
    }
    text
}

fn assert_laws(text: &str) {
    let (masked, spans) = mask_with_spans(text);
    assert_eq!(mask(masked.as_str()), masked, "masking twice changes {text:?}");
    let mut last = 0;
    for span in &spans {
        assert!(span.start >= last && span.end > span.start, "{text:?} {span:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{text:?}");
        last = span.end;
    }
    for explained in explain(text) {
        let cue = explained.cue.unwrap_or(0..0);
        assert!(!explained.rule.is_empty() && text.get(cue).is_some(), "{text:?}");
    }
}

#[test]
fn the_laws_hold_on_random_texts() {
    let seconds =
        std::env::var("JEFFREY_MASK_FUZZ_SECONDS").ok().and_then(|value| value.parse().ok());
    let (mut random, words) = (Random(0x6a65_6666_7265_7921), written_words());
    let start = Instant::now();
    let mut made = 0;
    while seconds.map_or(made < TEXTS, |seconds| start.elapsed() < Duration::from_secs(seconds)) {
        assert_laws(&random_text(&mut random, &words));
        made += 1;
    }
}
