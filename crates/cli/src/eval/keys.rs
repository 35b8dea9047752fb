//! Keys and votes of the lines that were labelled by reading, without their texts.
//!
//! The files of `training/read` are part of the binary, so an installed `jeffrey` needs no checkout.
//! A key is the SHA-256 of a normalised text, as `training/readings.py` computes it. Errors name a
//! file and a line number, never a key.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::ValueEnum;
use jeffrey_classifier::normalise_text;
use jeffrey_terms::Label;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::CliError;

/// SHA-256 of a normalised text.
pub(super) type TextKey = [u8; 32];

/// Part of the read lines that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReadPart {
    /// Sealed lines in their natural mix, with more lines of rare classes for the recall of these
    Real,
    /// Lines to choose settings by
    Choices,
    /// Questions and orders to a bank, an assistant or a house; most are neutral
    Plain,
}

/// One line that was read: where to find it, and its votes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReadLine {
    pub(super) key: TextKey,
    pub(super) lang: ReadLanguage,
    /// Name of the source, as in `home-assistant_fr`.
    pub(super) source: String,
    /// Id in the source; empty if the source has no ids.
    pub(super) id: String,
    /// Votes in the order of the passes; `None` stands for "unclear".
    pub(super) votes: Vec<Option<Label>>,
    /// Whether the line was drawn by its source's label, for the figures of rare classes only.
    pub(super) is_rare: bool,
}

/// Language of the read lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReadLanguage {
    /// French; its lines come first in every report.
    Fr,
    /// English, with fewer lines than French.
    En,
}

impl ReadLanguage {
    /// Returns the English name of the language.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fr => "French",
            Self::En => "English",
        }
    }
}

/// Contents of the key and vote files.
pub(super) struct KeyFiles {
    random: String,
    thin: String,
    plain: String,
    votes: String,
}

impl KeyFiles {
    /// Returns the files that are part of the binary.
    pub(super) fn embedded() -> Self {
        Self {
            random: include_str!("../../../../training/read/random.tsv").into(),
            thin: include_str!("../../../../training/read/thin.tsv").into(),
            plain: include_str!("../../../../training/read/plain.tsv").into(),
            votes: include_str!("../../../../training/read/votes.tsv").into(),
        }
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// Returns [`CliError::Read`] if one of the four files cannot be read.
    pub(super) fn from_folder(folder: &Path) -> Result<Self, CliError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| CliError::read_failed(&path, &error))
        };
        let (random, thin, plain) = (read(RANDOM)?, read(THIN)?, read(PLAIN)?);
        Ok(Self { random, thin, plain, votes: read(VOTES)? })
    }

    /// Returns the SHA-256 of the four files in hex. Runs are counted by it.
    pub(super) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for file in [&self.random, &self.thin, &self.plain, &self.votes] {
            hasher.update((file.len() as u64).to_le_bytes());
            hasher.update(file.as_bytes());
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the lines of a part in the order of the files; a line without votes is left out.
    ///
    /// # Errors
    /// Returns [`CliError::Keys`] for a line that is not as `training/readings.py` writes it.
    pub(super) fn read_lines(&self, part: ReadPart) -> Result<Vec<ReadLine>, CliError> {
        let mut votes = self.read_votes()?;
        let mut lines = Vec::new();
        for (name, file) in [(RANDOM, &self.random), (THIN, &self.thin), (PLAIN, &self.plain)] {
            for (number, row) in read_tsv::<KeyRow>(name, file)? {
                let is_rare = match (part, row.part.as_str()) {
                    (ReadPart::Real, "real")
                    | (ReadPart::Choices, "choices")
                    | (ReadPart::Plain, "plain") => false,
                    (ReadPart::Real, "real-thin") => true,
                    _ => continue,
                };
                let key = parse_key(&row.key).ok_or(CliError::Keys { name, number })?;
                let Some(votes) = votes.remove(&key) else { continue };
                let KeyRow { lang, source, id, .. } = row;
                lines.push(ReadLine { key, lang, source, id, votes, is_rare });
            }
        }
        Ok(lines)
    }

    /// Returns the votes of each key, in the order of the passes.
    fn read_votes(&self) -> Result<BTreeMap<TextKey, Vec<Option<Label>>>, CliError> {
        let mut by_pass: BTreeMap<TextKey, BTreeMap<u8, Option<Label>>> = BTreeMap::new();
        for (number, row) in read_tsv::<VoteRow>(VOTES, &self.votes)? {
            let fault = CliError::Keys { name: VOTES, number };
            // A batch is called stage-language-pass-number.
            let pass = row.batch.split('-').nth(2).and_then(|pass| pass.parse::<u8>().ok());
            let answer = match row.answer.as_str() {
                "unclear" => Some(None),
                name => Label::from_name(name).map(Some),
            };
            let (Some(key), Some(pass), Some(answer)) = (parse_key(&row.key), pass, answer) else {
                return Err(fault);
            };
            let passes = by_pass.entry(key).or_default();
            if passes.insert(pass, answer).is_some() || passes.len() > PASSES_MAX {
                return Err(fault);
            }
        }
        let to_list = |(key, passes): (_, BTreeMap<_, _>)| (key, passes.into_values().collect());
        Ok(by_pass.into_iter().map(to_list).collect())
    }
}

/// Returns the key of a text, which is normalised first.
pub(super) fn key_of(text: &str) -> TextKey {
    Sha256::digest(normalise_text(text).as_bytes()).into()
}

/// One line of the files of keys.
#[derive(Deserialize)]
struct KeyRow {
    key: String,
    lang: ReadLanguage,
    source: String,
    id: String,
    part: String,
}

/// One line of the file of votes.
#[derive(Deserialize)]
struct VoteRow {
    key: String,
    batch: String,
    answer: String,
}

/// Returns the rows of a file with a header, each with its line number.
fn read_tsv<Row: for<'de> Deserialize<'de>>(
    name: &'static str,
    file: &str,
) -> Result<Vec<(u64, Row)>, CliError> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(file.as_bytes());
    let mut rows = Vec::new();
    // The header is line 1.
    for (index, row) in reader.deserialize().enumerate() {
        let number = index as u64 + 2;
        rows.push((number, row.map_err(|_| CliError::Keys { name, number })?));
    }
    Ok(rows)
}

fn parse_key(hex: &str) -> Option<TextKey> {
    let mut key = [0; 32];
    if hex.len() != 2 * key.len() || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(key)
}

const RANDOM: &str = "random.tsv";
const THIN: &str = "thin.tsv";
const PLAIN: &str = "plain.tsv";
const VOTES: &str = "votes.tsv";
/// Most passes of a line; the metrics split a line evenly among up to six votes.
const PASSES_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// The same file is read by `training/tests.py`, so that both languages find the same lines.
    #[test]
    fn texts_have_the_keys_that_the_training_computes() {
        #[derive(Deserialize)]
        struct GoldenKey {
            text: String,
            normalised: String,
            key: String,
        }
        let golden = include_str!("../../../../tests/data/read/keys.jsonl");
        let rows: Vec<GoldenKey> =
            golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rows.len() >= 15, "{}", rows.len());
        for row in rows {
            assert_eq!(normalise_text(&row.text), row.normalised, "{:?}", row.text);
            assert_eq!(Some(key_of(&row.text)), parse_key(&row.key), "{:?}", row.text);
        }
    }

    #[test]
    fn the_embedded_files_hold_all_lines_of_each_part() {
        let files = KeyFiles::embedded();
        let count = |part, lang, is_rare| {
            let lines = files.read_lines(part).unwrap();
            lines.iter().filter(|line| line.lang == lang && line.is_rare == is_rare).count()
        };
        // The quotas of training/readings.py.
        assert_eq!(count(ReadPart::Real, ReadLanguage::Fr, false), 1200);
        assert_eq!(count(ReadPart::Real, ReadLanguage::En, false), 600);
        assert_eq!(count(ReadPart::Real, ReadLanguage::Fr, true), 600);
        assert_eq!(count(ReadPart::Real, ReadLanguage::En, true), 540);
        assert_eq!(count(ReadPart::Choices, ReadLanguage::Fr, false), 750);
        assert_eq!(count(ReadPart::Choices, ReadLanguage::En, false), 300);
        assert_eq!(count(ReadPart::Plain, ReadLanguage::Fr, false), 150);
        assert_eq!(count(ReadPart::Plain, ReadLanguage::En, false), 550);
        for line in files.read_lines(ReadPart::Real).unwrap() {
            assert!((2..=3).contains(&line.votes.len()), "{:?}", line.votes);
        }
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_quoted() {
        let key = "ab".repeat(32);
        let files = |random: &str, votes: &str| KeyFiles {
            random: format!("key\tlang\tsource\tid\tpart\n{random}"),
            thin: "key\tlang\tsource\tid\tpart\n".into(),
            plain: "key\tlang\tsource\tid\tpart\n".into(),
            votes: format!("key\tbatch\tanswer\n{votes}"),
        };
        let read = |files: KeyFiles| files.read_lines(ReadPart::Real);
        let right = format!("{key}\tfr\txed_fr\tx-1\treal\n");
        let vote = format!("{key}\tfull-fr-1-01\tjoy\n");
        let second = format!("{key}\tfull-fr-2-07\tunclear\n");
        let lines = read(files(&right, &format!("{second}{vote}"))).unwrap();
        assert_eq!(lines[0].votes, [Some(Label::Joy), None]);
        let rows = [
            (files("ab\tfr\txed_fr\tx-1\treal\n", ""), "random.tsv: line 2"),
            (files(&right.replace("\tfr\t", "\tde\t"), ""), "random.tsv: line 2"),
            (files(&right, "ab\tfull-fr-1-01\tjoy\n"), "votes.tsv: line 2"),
            (files(&right, &vote.replace("joy", "glee")), "votes.tsv: line 2"),
            (files(&right, &vote.replace("-1-", "-x-")), "votes.tsv: line 2"),
            (files(&right, &format!("{vote}{vote}")), "votes.tsv: line 3"),
        ];
        for (files, expected) in rows {
            let error = read(files).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains(&key) && !error.contains("ab"), "{error}");
        }
        assert_eq!(read(files(&right, "")).unwrap(), []);
    }
}
