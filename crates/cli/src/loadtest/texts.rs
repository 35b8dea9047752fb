//! Texts of a load test, drawn at random: the kind by its share, then the language and a template.
//!
//! Takes seeded generators and the time of the arrival, and returns a text; uses no clock. At most
//! [`PERSONAL_TEXTS_PER_MINUTE_MAX`] texts per minute have personal data; the excess becomes plain
//! texts.

use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::sentences::{EMOJI, ENGLISH, FRENCH, MIXED_LANGUAGES, SentenceTemplates};

/// Kind of a text, by the behaviour that it tests; the names are those in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantNames)]
#[cfg_attr(test, derive(strum::EnumIter))]
#[strum(serialize_all = "lowercase")]
pub(super) enum TextKind {
    /// A text with one clear emotion, or a neutral one.
    Plain,
    /// A text between anger and frustration, or with mixed feelings.
    Borderline,
    /// A text with fictitious personal data, which has to be masked.
    #[strum(serialize = "personal")]
    PersonalData,
    /// An unusual text: blank, emoji only, slang, two languages, capitals, sarcasm or long.
    #[strum(serialize = "edge")]
    EdgeCase,
}

impl TextKind {
    /// Draws a kind: 70 % plain, 20 % borderline, 5 % personal data, 5 % edge case.
    fn draw(rng: &mut Pcg64) -> Self {
        match rng.random_range(0..100_u32) {
            0..70 => Self::Plain,
            70..90 => Self::Borderline,
            90..95 => Self::PersonalData,
            _ => Self::EdgeCase,
        }
    }
}

/// Generator of the texts. The kinds have their own random generator, so that a changed sentence
/// does not change the kinds.
pub(super) struct TextGenerator {
    kind_rng: Pcg64,
    text_rng: Pcg64,
    personal_data_limit: PersonalDataLimit,
}

impl TextGenerator {
    pub(super) fn new(kind_rng: Pcg64, text_rng: Pcg64) -> Self {
        Self { kind_rng, text_rng, personal_data_limit: PersonalDataLimit::default() }
    }

    /// Returns the kind and the text of the arrival at `offset` after the start; the offset must
    /// not decrease from call to call.
    pub(super) fn next_text(&mut self, offset: Duration) -> (TextKind, String) {
        let kind = match TextKind::draw(&mut self.kind_rng) {
            TextKind::PersonalData if !self.personal_data_limit.try_acquire(offset) => {
                TextKind::Plain
            }
            kind => kind,
        };
        (kind, generate_text(kind, &mut self.text_rng))
    }
}

/// Limit on the texts with personal data within any minute.
#[derive(Default)]
struct PersonalDataLimit {
    /// Offsets of the last texts that were allowed, oldest first.
    recent_offsets: [Option<Duration>; PERSONAL_TEXTS_PER_MINUTE_MAX],
}

impl PersonalDataLimit {
    fn try_acquire(&mut self, offset: Duration) -> bool {
        if self.recent_offsets[0].is_some_and(|oldest| offset.saturating_sub(oldest) <= MINUTE) {
            return false;
        }
        self.recent_offsets.rotate_left(1);
        self.recent_offsets[PERSONAL_TEXTS_PER_MINUTE_MAX - 1] = Some(offset);
        true
    }
}

fn generate_text(kind: TextKind, rng: &mut Pcg64) -> String {
    let language = if rng.random() { &FRENCH } else { &ENGLISH };
    match kind {
        TextKind::Plain => generate_sentence(language.plain, language, rng),
        TextKind::Borderline => generate_sentence(language.borderline, language, rng),
        TextKind::PersonalData => generate_sentence(language.personal, language, rng),
        TextKind::EdgeCase => generate_edge_case(language, rng),
    }
}

/// Generates one of seven edge cases, all equally likely.
fn generate_edge_case(language: &SentenceTemplates, rng: &mut Pcg64) -> String {
    match rng.random_range(0..7_u32) {
        0 => " ".repeat(rng.random_range(0..3)),
        1 => {
            let emoji: Vec<&str> = EMOJI.split(' ').collect();
            (0..rng.random_range(1..=5_u32)).map(|_| choose(&emoji, rng)).collect()
        }
        2 => fill_template(choose(language.slang, rng), language, rng),
        3 => generate_sentence(MIXED_LANGUAGES, &FRENCH, rng),
        4 => generate_sentence(language.plain, language, rng).to_uppercase(),
        5 => generate_sentence(language.sarcasm, language, rng),
        _ => {
            let mut text = generate_sentence(language.plain, language, rng);
            while text.chars().count() < LONG_TEXT_CHARS_MIN {
                text += " ";
                text += &generate_sentence(language.plain, language, rng);
            }
            text
        }
    }
}

/// Fills one of the templates; a sentence that begins with a slot begins with a capital letter.
fn generate_sentence(templates: &[&str], language: &SentenceTemplates, rng: &mut Pcg64) -> String {
    let template = choose(templates, rng);
    let text = fill_template(template, language, rng);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if template.starts_with('{') => first.to_uppercase().chain(chars).collect(),
        _ => text,
    }
}

/// Replaces each `{slot}` of the template by a random value and each `#` by a random digit.
fn fill_template(template: &str, language: &SentenceTemplates, rng: &mut Pcg64) -> String {
    let mut text = String::with_capacity(2 * template.len());
    let mut remaining = template;
    while !remaining.is_empty() {
        let (before, after) = remaining.split_once('{').unwrap_or((remaining, ""));
        text.extend(before.chars().map(|char| if char == '#' { random_digit(rng) } else { char }));
        let (slot, after) = after.split_once('}').unwrap_or(("", ""));
        match slot {
            "" => {}
            "iban-fr" => text += &generate_iban("FR", "99999", 18, rng),
            "iban-gb" => text += &generate_iban("GB", "ZZZZ", 14, rng),
            name => {
                let slot_values = language.slots.iter().find(|(slot, _)| *slot == name);
                let choices: Vec<&str> =
                    slot_values.map_or("", |(_, values)| values).split('|').collect();
                text += &fill_template(choose(&choices, rng), language, rng);
            }
        }
        remaining = after;
    }
    text
}

/// Generates the account number of a bank that does not exist, in groups of four. The check digits
/// are valid (ISO 7064, mod 97-10:
/// <https://en.wikipedia.org/wiki/International_Bank_Account_Number>).
fn generate_iban(country: &str, bank: &str, digits: usize, rng: &mut Pcg64) -> String {
    let account: String = (0..digits).map(|_| random_digit(rng)).collect();
    let bban = format!("{bank}{account}");
    let check_digits = 98 - mod_97(&format!("{bban}{country}00"));
    let iban_chars: Vec<char> = format!("{country}{check_digits:02}{bban}").chars().collect();
    let groups: Vec<String> = iban_chars.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

/// Returns the remainder by 97, with letters read as 10 to 35.
fn mod_97(text: &str) -> u32 {
    let values = text.chars().filter_map(|char| char.to_digit(36));
    values.fold(0, |sum, value| (sum * if value < 10 { 10 } else { 100 } + value) % 97)
}

fn random_digit(rng: &mut Pcg64) -> char {
    char::from(b'0' + rng.random_range(0..10_u8))
}

fn choose<'a>(items: &[&'a str], rng: &mut Pcg64) -> &'a str {
    items[rng.random_range(0..items.len())]
}

/// Highest number of texts with personal data within any minute. A load test shows that they are
/// masked; it must not fill a log with them.
const PERSONAL_TEXTS_PER_MINUTE_MAX: usize = 2;

const MINUTE: Duration = Duration::from_secs(60);

/// Minimum length of a long text, in characters.
const LONG_TEXT_CHARS_MIN: usize = 200;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use rand::SeedableRng;
    use serde_json::Value;
    use strum::IntoEnumIterator;

    use super::*;

    fn rng(seed: u64) -> Pcg64 {
        Pcg64::seed_from_u64(seed)
    }

    #[test]
    fn the_mix_is_kept_within_a_point() {
        let mut rng = rng(1);
        let kinds: Vec<TextKind> = (0..100_000).map(|_| TextKind::draw(&mut rng)).collect();
        for (kind, expected) in TextKind::iter().zip([70.0, 20.0, 5.0, 5.0]) {
            let count = kinds.iter().filter(|drawn_kind| **drawn_kind == kind).count();
            let percent = count as f64 / 1_000.0;
            assert!((percent - expected).abs() < 1.0, "{kind:?}: {percent} %");
        }
    }

    #[test]
    fn no_minute_has_more_than_two_texts_with_personal_data() {
        let mut texts = TextGenerator::new(rng(1), rng(2));
        let mut personal_offsets = Vec::new();
        let mut with_digits = 0;
        // Half an hour at 40 texts per second.
        for step in 0..72_000 {
            let offset = Duration::from_millis(25 * step);
            let (kind, text) = texts.next_text(offset);
            if kind == TextKind::PersonalData {
                personal_offsets.push(offset);
                with_digits += usize::from(text.contains(|char: char| char.is_ascii_digit()));
            } else {
                let has_address = text.contains('@') || text.contains("http");
                assert!(
                    !has_address && !text.contains(|char: char| char.is_ascii_digit()),
                    "{kind:?}"
                );
            }
        }
        assert!(personal_offsets.windows(3).all(|three| three[2] - three[0] > MINUTE));
        assert!((50..=60).contains(&personal_offsets.len()), "{}", personal_offsets.len());
        assert!(with_digits > personal_offsets.len() / 2, "{with_digits}");
    }

    #[test]
    fn thousands_of_texts_differ_and_none_keeps_a_slot() {
        for kind in [TextKind::Plain, TextKind::Borderline] {
            let mut rng = rng(3);
            let texts: BTreeSet<String> =
                (0..10_000).map(|_| generate_text(kind, &mut rng)).collect();
            assert!(texts.len() > 3_000, "{kind:?}: {}", texts.len());
        }
        let mut rng = rng(4);
        for kind in TextKind::iter() {
            for _ in 0..5_000 {
                let text = generate_text(kind, &mut rng);
                assert!(!text.contains(['{', '}', '|', '#']), "{text}");
                assert!(kind == TextKind::EdgeCase || text.chars().count() > 10, "{text:?}");
            }
        }
    }

    #[test]
    fn half_of_the_texts_are_french() {
        let mut rng = rng(5);
        let french = (0..10_000)
            .filter(|_| generate_text(TextKind::Plain, &mut rng).ends_with(" !"))
            .count();
        let expected = FRENCH.plain.iter().filter(|template| template.ends_with(" !")).count();
        let expected = expected as f64 / FRENCH.plain.len() as f64 * 5_000.0;
        assert!((french as f64 / expected - 1.0).abs() < 0.1, "{french} of {expected}");
    }

    #[test]
    fn every_edge_case_turns_up() {
        let mut rng = rng(6);
        let texts: Vec<String> =
            (0..2_000).map(|_| generate_text(TextKind::EdgeCase, &mut rng)).collect();
        let occurs_often =
            |holds: fn(&str) -> bool| texts.iter().filter(|text| holds(text)).count() > 100;
        assert!(occurs_often(|text| text.trim().is_empty()));
        assert!(occurs_often(|text| !text.is_empty() && !text.contains(|c: char| c.is_ascii())));
        assert!(occurs_often(|text| text.chars().count() >= LONG_TEXT_CHARS_MIN));
        assert!(occurs_often(|text| text.contains('A') && !text.contains(char::is_lowercase)));
    }

    #[test]
    fn invented_accounts_have_right_check_digits() {
        // Example of the ISO 13616 registry: with the country and the check digits moved to the
        // end, the remainder is 1.
        assert_eq!(mod_97("WEST12345698765432GB82"), 1);
        let mut rng = rng(7);
        for (country, bank, digits) in [("FR", "99999", 18), ("GB", "ZZZZ", 14)] {
            for _ in 0..100 {
                let account = generate_iban(country, bank, digits, &mut rng).replace(' ', "");
                let rotated = format!("{}{}", &account[4..], &account[..4]);
                assert_eq!(mod_97(&rotated), 1, "{account}");
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
        let frozen: BTreeSet<Vec<String>> = files.iter().flat_map(four_word_runs_of_file).collect();
        let mut rng = rng(8);
        let mut shared_runs = BTreeSet::new();
        for _ in 0..20_000 {
            for kind in TextKind::iter() {
                shared_runs.extend(
                    four_word_runs(&generate_text(kind, &mut rng))
                        .filter(|words| frozen.contains(words)),
                );
            }
        }
        assert!(shared_runs.is_empty(), "{shared_runs:?}");
    }

    fn four_word_runs_of_file(file: &PathBuf) -> Vec<Vec<String>> {
        let lines = fs::read_to_string(file).unwrap();
        let texts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        texts
            .flat_map(|row| four_word_runs(row["text"].as_str().unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// Returns all runs of four words; words are split at apostrophes, as in `training/text.py`.
    fn four_word_runs(text: &str) -> impl Iterator<Item = Vec<String>> + use<> {
        let text = text.to_lowercase();
        let tokens = text.split(|char: char| !char.is_alphanumeric());
        let words: Vec<String> =
            tokens.filter(|word| !word.is_empty()).map(str::to_owned).collect();
        // Runs with digits do not count: other texts may use the fictitious telephone numbers, too.
        let has_no_digits =
            |words: &&[String]| !words.concat().contains(|c: char| c.is_ascii_digit());
        let runs: Vec<Vec<String>> =
            words.windows(4).filter(has_no_digits).map(<[String]>::to_vec).collect();
        runs.into_iter()
    }
}
