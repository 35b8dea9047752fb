//! Finds the texts of read lines in the data files from which the lines were drawn.
//!
//! A line is found if a row of its source has the same key and the same id. Rows that are not of the
//! expected form are passed over, because a line that is missing for it is counted as missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use jeffrey_terms::InputText;
use serde::Deserialize;

use super::keys::{ReadLanguage, ReadLine, TextKey, key_of};
use crate::lines::LineReader;
use crate::progress::Progress;
use crate::{CliError, rows};

/// Data file that holds one or more sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DataFile {
    /// Rows with labels and ids; the file has the name of the source.
    Labelled(&'static str),
    /// Sentence pairs of Tatoeba, English and French.
    Pairs,
    /// Rows without labels, whose source is a field.
    Plain(ReadLanguage),
}

/// One JSON row; only the rows of the labelled files have an id.
#[derive(Deserialize)]
struct DataRow {
    text: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    source: String,
}

/// Returns the text of each line, in the order of the lines; `None` if it is not found.
///
/// # Errors
/// Returns [`CliError::Read`] if a file with lines cannot be read to its end, and
/// [`CliError::Source`] if a line names an unknown source.
pub(super) fn find_texts(
    lines: &[ReadLine],
    folder: &Path,
) -> Result<Vec<Option<InputText>>, CliError> {
    let mut wanted: BTreeMap<TextKey, Vec<usize>> = BTreeMap::new();
    let mut files = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        wanted.entry(line.key).or_default().push(index);
        files.insert(DataFile::of_source(&line.source).ok_or(CliError::Source)?);
    }
    let mut texts = vec![None; lines.len()];
    let mut progress = Progress::new(None);
    for file in files {
        file.visit_rows(folder, |source, id, text| {
            progress.increment();
            for index in wanted.get(&key_of(text)).into_iter().flatten() {
                let line = &lines[*index];
                if line.source == source && line.id == id {
                    texts[*index] = InputText::parse(text).ok();
                }
            }
        })?;
    }
    Ok(texts)
}

impl DataFile {
    /// Returns the file that holds a source; `None` for an unknown source.
    fn of_source(source: &str) -> Option<Self> {
        Some(match source {
            "goemotions_train" => Self::Labelled("goemotions_train"),
            "xed_en" => Self::Labelled("xed_en"),
            "xed_fr" => Self::Labelled("xed_fr"),
            "tatoeba_en" | "tatoeba_fr" => Self::Pairs,
            "banking77" | "clinc150" | "home-assistant_en" => Self::Plain(ReadLanguage::En),
            "home-assistant_fr" => Self::Plain(ReadLanguage::Fr),
            _ => return None,
        })
    }

    fn name(self) -> String {
        match self {
            Self::Labelled(name) => format!("{name}.jsonl.gz"),
            Self::Pairs => "tatoeba_en_fr.tsv.gz".into(),
            Self::Plain(ReadLanguage::En) => "plain_en.jsonl.gz".into(),
            Self::Plain(ReadLanguage::Fr) => "plain_fr.jsonl.gz".into(),
        }
    }

    /// Calls `visit` with source, id and text of each row.
    fn visit_rows(
        self,
        folder: &Path,
        mut visit: impl FnMut(&str, &str, &str),
    ) -> Result<(), CliError> {
        let path = folder.join(self.name());
        let to_read_error = |error: io::Error| CliError::read_failed(&path, &error);
        let file = File::open(&path).map_err(to_read_error)?;
        let mut reader = LineReader::new(rows::decompress(file).map_err(to_read_error)?);
        while let Some(line) = reader.next_line().map_err(to_read_error)? {
            let Ok(text) = line.text else { continue };
            self.visit_row(text, &mut visit);
        }
        Ok(())
    }

    fn visit_row(self, row: &str, mut visit: impl FnMut(&str, &str, &str)) {
        if self == Self::Pairs {
            if let Some((english, french)) = row.split_once('\t') {
                visit("tatoeba_en", "", english);
                visit("tatoeba_fr", "", french);
            }
            return;
        }
        let Ok(row) = serde_json::from_str::<DataRow>(row) else { return };
        match self {
            Self::Labelled(name) => visit(name, &row.id, &row.text),
            // The other sources of these files occur in one language only.
            Self::Plain(ReadLanguage::Fr) if row.source == "home-assistant" => {
                visit("home-assistant_fr", "", &row.text);
            }
            Self::Plain(_) if row.source == "home-assistant" => {
                visit("home-assistant_en", "", &row.text);
            }
            _ => visit(&row.source, "", &row.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(source: &str, id: &str, text: &str) -> ReadLine {
        ReadLine {
            key: key_of(text),
            lang: ReadLanguage::Fr,
            source: source.into(),
            id: id.into(),
            votes: vec![],
            is_rare: false,
        }
    }

    #[test]
    fn a_line_is_found_by_key_source_and_id_together() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: &str| fs::write(folder.path().join(name), rows).unwrap();
        write(
            "xed_fr.jsonl.gz",
            "not json\n{\"text\":\" il  pleut\",\"id\":\"x-1\",\"source\":\"p\"}\n",
        );
        write("tatoeba_en_fr.tsv.gz", "it rains\til pleut\nno tab\n");
        write(
            "plain_fr.jsonl.gz",
            "{\"text\":\"allume\",\"source\":\"home-assistant\",\"lang\":\"fr\"}\n",
        );
        let lines = [
            line("xed_fr", "x-1", "il pleut"),
            line("xed_fr", "x-2", "il pleut"),
            line("tatoeba_fr", "", "il pleut"),
            line("tatoeba_en", "", "il pleut"),
            line("tatoeba_en", "", "it rains"),
            line("home-assistant_fr", "", "allume"),
            line("tatoeba_fr", "", "il neige"),
        ];
        let texts = find_texts(&lines, folder.path()).unwrap();
        let found: Vec<bool> = texts.iter().map(Option::is_some).collect();
        assert_eq!(found, [true, false, true, false, true, true, false]);
        assert_eq!(texts[0].as_ref().unwrap().expose(), " il  pleut");
    }

    #[test]
    fn a_missing_file_and_an_unknown_source_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = find_texts(&[line("xed_en", "x-1", "a")], folder.path()).unwrap_err();
        assert!(error.to_string().contains("xed_en.jsonl.gz: "), "{error}");
        let error = find_texts(&[line("other", "x-1", "a")], folder.path()).unwrap_err();
        assert!(matches!(error, CliError::Source), "{error}");
    }
}
