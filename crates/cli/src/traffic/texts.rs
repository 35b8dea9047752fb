//! What is sent: a kind by its share, a language by a coin, a template by chance.
//!
//! Seeded generators and the arrival's time in, a text out; no clock. Texts with personal data are
//! at most [`PERSONAL_PER_MINUTE`]: the excess becomes plain.

use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::sentences::{EMOJI, ENGLISH, FRENCH, MIXED, Sentences};

/// What a text tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One clear tone, or none.
    Plain,
    /// Anger against frustration, mixed feelings.
    Borderline,
    /// Invented personal data, to be masked.
    Personal,
    /// Empty, pictures only, slang, two languages, capitals, sarcasm, long.
    Edge,
}

impl Kind {
    /// In the order of their shares.
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Borderline, Self::Personal, Self::Edge];

    /// The name in a report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Borderline => "borderline",
            Self::Personal => "personal",
            Self::Edge => "edge",
        }
    }

    /// 70 % plain, 20 % borderline, 5 % personal, 5 % edge.
    fn draw(rng: &mut Pcg64) -> Self {
        match rng.random_range(0..100_u32) {
            0..70 => Self::Plain,
            70..90 => Self::Borderline,
            90..95 => Self::Personal,
            _ => Self::Edge,
        }
    }
}

/// A stream of texts. The kinds have a generator of their own, so that a changed sentence leaves
/// them as they were.
pub(super) struct Texts {
    kinds: Pcg64,
    words: Pcg64,
    personal: Limit,
}

impl Texts {
    pub(super) fn new(kinds: Pcg64, words: Pcg64) -> Self {
        Self { kinds, words, personal: Limit::default() }
    }

    /// The text that arrives `at` this time after the start; times do not go back.
    pub(super) fn next(&mut self, at: Duration) -> (Kind, String) {
        let kind = match Kind::draw(&mut self.kinds) {
            Kind::Personal if !self.personal.allows(at) => Kind::Plain,
            kind => kind,
        };
        (kind, text(kind, &mut self.words))
    }
}

/// At most so many within any minute.
#[derive(Default)]
struct Limit {
    /// The last ones that were allowed, the oldest first.
    last: [Option<Duration>; PERSONAL_PER_MINUTE],
}

impl Limit {
    fn allows(&mut self, at: Duration) -> bool {
        if self.last[0].is_some_and(|oldest| at.saturating_sub(oldest) <= MINUTE) {
            return false;
        }
        self.last.rotate_left(1);
        self.last[PERSONAL_PER_MINUTE - 1] = Some(at);
        true
    }
}

fn text(kind: Kind, rng: &mut Pcg64) -> String {
    let language = if rng.random() { &FRENCH } else { &ENGLISH };
    match kind {
        Kind::Plain => sentence(language.plain, language, rng),
        Kind::Borderline => sentence(language.borderline, language, rng),
        Kind::Personal => sentence(language.personal, language, rng),
        Kind::Edge => edge(language, rng),
    }
}

/// One of seven edges, each as often.
fn edge(language: &Sentences, rng: &mut Pcg64) -> String {
    match rng.random_range(0..7_u32) {
        0 => " ".repeat(rng.random_range(0..3)),
        1 => {
            let pictures: Vec<&str> = EMOJI.split(' ').collect();
            (0..rng.random_range(1..=5_u32)).map(|_| choose(&pictures, rng)).collect()
        }
        2 => fill(choose(language.slang, rng), language, rng),
        3 => sentence(MIXED, &FRENCH, rng),
        4 => sentence(language.plain, language, rng).to_uppercase(),
        5 => sentence(language.sarcasm, language, rng),
        _ => {
            let mut text = sentence(language.plain, language, rng);
            while text.chars().count() < LONG_CHARS_MIN {
                text += " ";
                text += &sentence(language.plain, language, rng);
            }
            text
        }
    }
}

/// One of the templates, filled; it opens with a capital where it opens with a slot.
fn sentence(templates: &[&str], language: &Sentences, rng: &mut Pcg64) -> String {
    let template = choose(templates, rng);
    let text = fill(template, language, rng);
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if template.starts_with('{') => first.to_uppercase().chain(rest).collect(),
        _ => text,
    }
}

/// The template with a choice for each `{slot}` and a digit for each `#`.
fn fill(template: &str, language: &Sentences, rng: &mut Pcg64) -> String {
    let mut text = String::with_capacity(2 * template.len());
    let mut rest = template;
    while !rest.is_empty() {
        let (before, after) = rest.split_once('{').unwrap_or((rest, ""));
        text.extend(before.chars().map(|char| if char == '#' { digit(rng) } else { char }));
        let (slot, after) = after.split_once('}').unwrap_or(("", ""));
        match slot {
            "" => {}
            "iban-fr" => text += &iban("FR", "99999", 18, rng),
            "iban-gb" => text += &iban("GB", "ZZZZ", 14, rng),
            name => {
                let held = language.slots.iter().find(|(slot, _)| *slot == name);
                let choices: Vec<&str> = held.map_or("", |(_, held)| held).split('|').collect();
                text += &fill(choose(&choices, rng), language, rng);
            }
        }
        rest = after;
    }
    text
}

/// An account at a bank that does not exist, with check digits that are right (ISO 7064, mod 97-10:
/// <https://en.wikipedia.org/wiki/International_Bank_Account_Number>), in groups of four.
fn iban(country: &str, bank: &str, digits: usize, rng: &mut Pcg64) -> String {
    let account: String = (0..digits).map(|_| digit(rng)).collect();
    let bban = format!("{bank}{account}");
    let check = 98 - mod_97(&format!("{bban}{country}00"));
    let whole: Vec<char> = format!("{country}{check:02}{bban}").chars().collect();
    let groups: Vec<String> = whole.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

/// The remainder by 97, letters read as 10 to 35.
fn mod_97(text: &str) -> u32 {
    let values = text.chars().filter_map(|char| char.to_digit(36));
    values.fold(0, |sum, value| (sum * if value < 10 { 10 } else { 100 } + value) % 97)
}

fn digit(rng: &mut Pcg64) -> char {
    char::from(b'0' + rng.random_range(0..10_u8))
}

fn choose<'a>(items: &[&'a str], rng: &mut Pcg64) -> &'a str {
    items[rng.random_range(0..items.len())]
}

/// Texts with personal data within any minute: a rehearsal shows that they are masked, it does not
/// fill a log with them.
const PERSONAL_PER_MINUTE: usize = 2;

const MINUTE: Duration = Duration::from_secs(60);

/// What counts as a long text, in characters.
const LONG_CHARS_MIN: usize = 200;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use rand::SeedableRng;
    use serde_json::Value;

    use super::*;

    fn rng(seed: u64) -> Pcg64 {
        Pcg64::seed_from_u64(seed)
    }

    #[test]
    fn the_mix_is_kept_within_a_point() {
        let mut rng = rng(1);
        let drawn: Vec<Kind> = (0..100_000).map(|_| Kind::draw(&mut rng)).collect();
        for (kind, expected) in Kind::ALL.into_iter().zip([70.0, 20.0, 5.0, 5.0]) {
            let count = drawn.iter().filter(|drawn| **drawn == kind).count();
            let percent = count as f64 / 1_000.0;
            assert!((percent - expected).abs() < 1.0, "{}: {percent} %", kind.name());
        }
    }

    #[test]
    fn no_minute_has_more_than_two_texts_with_personal_data() {
        let mut texts = Texts::new(rng(1), rng(2));
        let mut seen = Vec::new();
        let mut marked = 0;
        // Half an hour at 40 a second.
        for step in 0..72_000 {
            let at = Duration::from_millis(25 * step);
            let (kind, text) = texts.next(at);
            if kind == Kind::Personal {
                seen.push(at);
                marked += usize::from(text.contains(|char: char| char.is_ascii_digit()));
            } else {
                let mail = text.contains('@') || text.contains("http");
                assert!(!mail && !text.contains(|char: char| char.is_ascii_digit()), "{kind:?}");
            }
        }
        assert!(seen.windows(3).all(|three| three[2] - three[0] > MINUTE));
        assert!((50..=60).contains(&seen.len()), "{}", seen.len());
        assert!(marked > seen.len() / 2, "{marked}");
    }

    #[test]
    fn thousands_of_texts_differ_and_none_keeps_a_slot() {
        for kind in [Kind::Plain, Kind::Borderline] {
            let mut rng = rng(3);
            let texts: BTreeSet<String> = (0..10_000).map(|_| text(kind, &mut rng)).collect();
            assert!(texts.len() > 3_000, "{kind:?}: {}", texts.len());
        }
        let mut rng = rng(4);
        for kind in Kind::ALL {
            for _ in 0..5_000 {
                let text = text(kind, &mut rng);
                assert!(!text.contains(['{', '}', '|', '#']), "{text}");
                assert!(kind == Kind::Edge || text.chars().count() > 10, "{text:?}");
            }
        }
    }

    #[test]
    fn half_of_the_texts_are_french() {
        let mut rng = rng(5);
        let french = (0..10_000).filter(|_| text(Kind::Plain, &mut rng).ends_with(" !")).count();
        let expected = FRENCH.plain.iter().filter(|template| template.ends_with(" !")).count();
        let expected = expected as f64 / FRENCH.plain.len() as f64 * 5_000.0;
        assert!((french as f64 / expected - 1.0).abs() < 0.1, "{french} of {expected}");
    }

    #[test]
    fn every_edge_turns_up() {
        let mut rng = rng(6);
        let texts: Vec<String> = (0..2_000).map(|_| text(Kind::Edge, &mut rng)).collect();
        let some = |holds: fn(&str) -> bool| texts.iter().filter(|text| holds(text)).count() > 100;
        assert!(some(|text| text.trim().is_empty()));
        assert!(some(|text| !text.is_empty() && !text.contains(|c: char| c.is_ascii())));
        assert!(some(|text| text.chars().count() >= LONG_CHARS_MIN));
        assert!(some(|text| text.contains('A') && !text.contains(char::is_lowercase)));
    }

    #[test]
    fn invented_accounts_have_right_check_digits() {
        // The example of ISO 13616's registry: moved to the end, country and check leave 1.
        assert_eq!(mod_97("WEST12345698765432GB82"), 1);
        let mut rng = rng(7);
        for (country, bank, digits) in [("FR", "99999", 18), ("GB", "ZZZZ", 14)] {
            for _ in 0..100 {
                let account = iban(country, bank, digits, &mut rng).replace(' ', "");
                let turned = format!("{}{}", &account[4..], &account[..4]);
                assert_eq!(mod_97(&turned), 1, "{account}");
            }
        }
    }

    #[test]
    fn no_four_words_in_a_row_stand_in_a_frozen_set() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
        let mut files = vec![data.join("rehearsal.jsonl")];
        for folder in ["release", "written"] {
            let entries = fs::read_dir(data.join(folder)).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
        assert!(files.len() >= 5, "{files:?}");
        let frozen: BTreeSet<Vec<String>> = files.iter().flat_map(rows_of).collect();
        let mut rng = rng(8);
        let mut found = BTreeSet::new();
        for _ in 0..20_000 {
            for kind in Kind::ALL {
                found.extend(fours(&text(kind, &mut rng)).filter(|words| frozen.contains(words)));
            }
        }
        assert!(found.is_empty(), "{found:?}");
    }

    fn rows_of(file: &PathBuf) -> Vec<Vec<String>> {
        let lines = fs::read_to_string(file).unwrap();
        let texts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        texts.flat_map(|row| fours(row["text"].as_str().unwrap()).collect::<Vec<_>>()).collect()
    }

    /// Split at apostrophes, as `training/text.py` does for its own check.
    fn fours(text: &str) -> impl Iterator<Item = Vec<String>> + use<> {
        let text = text.to_lowercase();
        let words = text.split(|char: char| !char.is_alphanumeric());
        let words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
        // Digits do not count: a range of telephone numbers for fiction is everybody's.
        let spoken = |words: &&[String]| !words.concat().contains(|c: char| c.is_ascii_digit());
        let fours: Vec<Vec<String>> =
            words.windows(4).filter(spoken).map(<[String]>::to_vec).collect();
        fours.into_iter()
    }
}
