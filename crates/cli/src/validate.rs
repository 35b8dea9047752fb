//! `jeffrey validate`: the release checks on the written sentences that are embedded in the binary.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::rollout::Gate;
use super::rows;
use super::table::{Table, percent};
use super::{Given, Identity, Outcome, Settings, Stop, print_json};
use jeffrey_classifier::Classifier;
use jeffrey_evaluation::Observation;
use jeffrey_evaluation::release::{
    Bound, Check, MASKED_RIGHT_MIN, SMOKE_FALLBACK_MAX, SMOKE_RIGHT_MIN, Sentence,
    TIE_BREAK_RIGHT_MIN, fallback, kept, right,
};
use jeffrey_mask::mask;
use jeffrey_shipped::COMMIT;

/// Run the release checks on the embedded sentences
#[derive(clap::Args)]
#[command(after_help = "Exit code 0 when every limit is kept, 1 when one is not.\n\n\
                  Example:\n  jeffrey validate --json > validation.json\n  \
                  jeffrey validate --post http://127.0.0.1:8787/_jeffrey")]
pub(super) struct Arguments {
    /// The report as one JSON object
    #[arg(long)]
    json: bool,
    /// Also tell this gate, which asks for it before a share rises; with JEFFREY_ADMIN_TOKEN
    #[arg(long, value_name = "URL")]
    post: Option<String>,
}

/// The JSON report: which model in which build with which settings passed what.
#[derive(Serialize)]
struct Validation<'a> {
    passed: bool,
    model: Identity<'a>,
    commit: &'static str,
    settings: Given<'a>,
    checks: Vec<Check>,
}

/// The sentences of one set and language.
struct Set {
    name: &'static str,
    file: &'static str,
}

const TIE_BREAK_EN: Set = Set {
    name: "tiebreak.en.jsonl",
    file: include_str!("../../../tests/data/release/tiebreak.en.jsonl"),
};
const TIE_BREAK_FR: Set = Set {
    name: "tiebreak.fr.jsonl",
    file: include_str!("../../../tests/data/release/tiebreak.fr.jsonl"),
};
const SMOKE_EN: Set = Set {
    name: "smoke.en.jsonl",
    file: include_str!("../../../tests/data/release/smoke.en.jsonl"),
};
const SMOKE_FR: Set = Set {
    name: "smoke.fr.jsonl",
    file: include_str!("../../../tests/data/release/smoke.fr.jsonl"),
};

/// Texts with what the mask must make of them.
const MASKING: &str = include_str!("../../../tests/data/release/masking.jsonl");

/// One of them.
#[derive(Deserialize)]
struct Masking {
    id: String,
    text: String,
    masked: String,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> Result<Outcome, Stop> {
    let classifier = settings.classifier()?;
    let checks = checks(&classifier)?;
    let passed = checks.iter().all(|check| check.passed);
    let validation = Validation {
        passed,
        model: Identity::of(&classifier),
        commit: COMMIT,
        settings: settings.given(),
        checks,
    };
    if arguments.json {
        print_json(&validation)?;
    } else {
        print(&validation)?;
    }
    if let Some(url) = &arguments.post {
        Gate::new(url)?.validation(&serde_json::to_vec(&validation)?)?;
        writeln!(io::stderr(), "the gate has the report")?;
    }
    Ok(if passed { Outcome::Fine } else { Outcome::Negative })
}

fn checks(classifier: &Classifier) -> Result<Vec<Check>, Stop> {
    let mut tie_break = TIE_BREAK_EN.classified(classifier)?;
    tie_break.extend(TIE_BREAK_FR.classified(classifier)?);
    let english = SMOKE_EN.classified(classifier)?;
    let french = SMOKE_FR.classified(classifier)?;
    Ok(vec![
        right("tiebreak_right", TIE_BREAK_RIGHT_MIN, &tie_break),
        right("smoke_en_right", SMOKE_RIGHT_MIN, &english),
        fallback("smoke_en_fallback", SMOKE_FALLBACK_MAX, &english),
        right("smoke_fr_right", SMOKE_RIGHT_MIN, &french),
        fallback("smoke_fr_fallback", SMOKE_FALLBACK_MAX, &french),
        kept("masked_right", MASKED_RIGHT_MIN, &masked()?),
    ])
}

/// Ids of the texts to mask, and whether each comes out as it must.
fn masked() -> Result<Vec<(String, bool)>, Stop> {
    let row = |line: &str| {
        let row: Masking = serde_json::from_str(line)?;
        let right = mask(&row.text).as_str() == row.masked;
        Ok((row.id, right))
    };
    MASKING.lines().map(row).collect()
}

impl Set {
    fn classified(&self, classifier: &Classifier) -> Result<Vec<Sentence>, Stop> {
        let rows = rows::read(self.name, self.file.as_bytes())
            .map_err(|error| Stop::Read { name: self.name.into(), kind: error.kind() })?;
        let sentence = |row: rows::Row| Sentence {
            observation: Observation::new(row.gold, row.lang, &classifier.classify(&row.text)),
            id: row.id,
        };
        Ok(rows.labelled.into_iter().map(sentence).collect())
    }
}

fn print(validation: &Validation<'_>) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    writeln!(output, "model {}", validation.model)?;
    let mut table = Table::new(["check", "figure", "limit", "rows", "result"]);
    for check in &validation.checks {
        let sign = match check.bound {
            Bound::AtLeast => "≥",
            Bound::AtMost => "≤",
        };
        table.row(vec![
            check.name.into(),
            check.figure.map_or_else(|| "–".into(), percent),
            format!("{sign} {}", percent(check.limit)),
            check.rows.to_string(),
            if check.passed { "pass" } else { "FAIL" }.into(),
        ]);
    }
    write!(output, "{table}")?;
    for check in validation.checks.iter().filter(|check| !check.against.is_empty()) {
        writeln!(output, "against {}: {}", check.name, check.against.join(" "))?;
    }
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_classifier::TieBreak;

    #[test]
    fn every_embedded_sentence_is_read_and_has_an_id_of_its_own() {
        let classifier = Classifier::without_model(TieBreak::default());
        let mut ids = std::collections::BTreeSet::new();
        for set in [TIE_BREAK_EN, TIE_BREAK_FR, SMOKE_EN, SMOKE_FR] {
            let sentences = set.classified(&classifier).unwrap();
            let lines = set.file.lines().filter(|line| !line.trim().is_empty()).count();
            assert_eq!(sentences.len(), lines, "{}", set.name);
            // The reference system's sets: 56 smoke sentences in both languages.
            assert!(sentences.len() >= 20, "{}", set.name);
            let lang = set.name.split('.').nth(1).unwrap();
            assert!(sentences.iter().all(|sentence| sentence.observation.lang == lang));
            for sentence in sentences {
                assert!(ids.insert(sentence.id.clone()), "{}", sentence.id);
            }
        }
    }

    #[test]
    fn every_text_of_the_release_is_masked_as_it_must_be() {
        let masked = masked().unwrap();
        assert!(masked.len() >= 100, "{}", masked.len());
        for (id, right) in masked {
            assert!(right, "{id}");
        }
    }

    #[test]
    fn without_a_model_the_fallback_checks_fail() {
        let classifier = Classifier::without_model(TieBreak::default());
        let checks = checks(&classifier).unwrap();
        for check in checks.iter().filter(|check| check.name.ends_with("fallback")) {
            assert_eq!((check.figure, check.passed), (Some(1.0), false), "{}", check.name);
        }
    }
}
