//! `jeffrey validate`: runs the release checks on the test sentences embedded in the binary.
//!
//! The checks cover the tie-break, a smoke set and its fallback share in both languages, and the
//! mask. The report can be posted to a gateway, which requires a passed one before the canary share
//! grows.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::rollout::GatewayClient;
use super::rows;
use super::table::{TextTable, format_percent};
use super::{ClassifierFlags, CliError, ExitStatus, ModelIdentity, TieBreakSettings, print_json};
use jeffrey_classifier::Classifier;
use jeffrey_evaluation::Observation;
use jeffrey_evaluation::release::{
    EvaluatedSentence, LimitDirection, MASKED_CORRECTLY_SHARE_MIN, ReleaseCheck,
    SMOKE_ACCURACY_MIN, SMOKE_FALLBACK_SHARE_MAX, TIE_BREAK_ACCURACY_MIN, check_accuracy,
    check_fallback_share, check_masking,
};
use jeffrey_mask::mask;
use jeffrey_shipped::COMMIT;

/// Run the release checks on the embedded test sentences
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 all checks passed; 1 a check failed; 2 usage, file or \
                  connection error.\n\n\
                  Example:\n  jeffrey validate --json > validation.json\n  \
                  jeffrey validate --post http://127.0.0.1:8787/_jeffrey")]
pub(super) struct ValidateArguments {
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    /// Also post the report to this gateway, which requires it before the canary share grows; needs
    /// JEFFREY_ADMIN_TOKEN
    #[arg(long, value_name = "URL")]
    post: Option<String>,
    #[command(flatten)]
    classifier_flags: ClassifierFlags,
}

/// JSON report of the release checks: model, build, settings, and the result of each check.
#[derive(Serialize)]
struct ValidateOutput<'a> {
    passed: bool,
    model: ModelIdentity<'a>,
    commit: &'static str,
    settings: TieBreakSettings<'a>,
    checks: Vec<ReleaseCheck>,
}

/// Labelled sentences of one set in one language.
struct SentenceSet {
    name: &'static str,
    file: &'static str,
}

const TIE_BREAK_EN: SentenceSet = SentenceSet {
    name: "tiebreak.en.jsonl",
    file: include_str!("../../../tests/data/release/tiebreak.en.jsonl"),
};
const TIE_BREAK_FR: SentenceSet = SentenceSet {
    name: "tiebreak.fr.jsonl",
    file: include_str!("../../../tests/data/release/tiebreak.fr.jsonl"),
};
const SMOKE_EN: SentenceSet = SentenceSet {
    name: "smoke.en.jsonl",
    file: include_str!("../../../tests/data/release/smoke.en.jsonl"),
};
const SMOKE_FR: SentenceSet = SentenceSet {
    name: "smoke.fr.jsonl",
    file: include_str!("../../../tests/data/release/smoke.fr.jsonl"),
};

/// Texts with the output that the mask must give, one JSON object per line.
const MASKING_CASES: &str = include_str!("../../../tests/data/release/masking.jsonl");

/// One line of [`MASKING_CASES`]: a text and its expected masked form.
#[derive(Deserialize)]
struct MaskingCase {
    id: String,
    text: String,
    masked: String,
}

pub(super) fn run(arguments: &ValidateArguments) -> Result<ExitStatus, CliError> {
    let classifier = arguments.classifier_flags.load_classifier()?;
    let checks = run_checks(&classifier)?;
    let passed = checks.iter().all(|check| check.passed);
    let validation = ValidateOutput {
        passed,
        model: ModelIdentity::from_classifier(&classifier),
        commit: COMMIT,
        settings: arguments.classifier_flags.tie_break_settings(),
        checks,
    };
    if arguments.json {
        print_json(&validation)?;
    } else {
        print_validation(&validation)?;
    }
    if let Some(url) = &arguments.post {
        GatewayClient::new(url)?.post_validation(&serde_json::to_vec(&validation)?)?;
        writeln!(io::stderr(), "report posted to the gateway")?;
    }
    Ok(if passed { ExitStatus::Success } else { ExitStatus::Negative })
}

fn run_checks(classifier: &Classifier) -> Result<Vec<ReleaseCheck>, CliError> {
    let mut tie_break = TIE_BREAK_EN.classify(classifier)?;
    tie_break.extend(TIE_BREAK_FR.classify(classifier)?);
    let english = SMOKE_EN.classify(classifier)?;
    let french = SMOKE_FR.classify(classifier)?;
    Ok(vec![
        check_accuracy("tiebreak_right", TIE_BREAK_ACCURACY_MIN, &tie_break),
        check_accuracy("smoke_en_right", SMOKE_ACCURACY_MIN, &english),
        check_fallback_share("smoke_en_fallback", SMOKE_FALLBACK_SHARE_MAX, &english),
        check_accuracy("smoke_fr_right", SMOKE_ACCURACY_MIN, &french),
        check_fallback_share("smoke_fr_fallback", SMOKE_FALLBACK_SHARE_MAX, &french),
        check_masking("masked_right", MASKED_CORRECTLY_SHARE_MIN, &run_masking_cases()?),
    ])
}

/// Returns the id of each masking case, and whether the mask gave the expected output.
fn run_masking_cases() -> Result<Vec<(String, bool)>, CliError> {
    let check_case = |line: &str| {
        let case: MaskingCase = serde_json::from_str(line)?;
        let is_masked_right = mask(&case.text).as_str() == case.masked;
        Ok((case.id, is_masked_right))
    };
    MASKING_CASES.lines().map(check_case).collect()
}

impl SentenceSet {
    fn classify(&self, classifier: &Classifier) -> Result<Vec<EvaluatedSentence>, CliError> {
        let rows = rows::read_rows(self.name, self.file.as_bytes())
            .map_err(|error| CliError::Read { name: self.name.into(), kind: error.kind() })?;
        let to_sentence = |row: rows::LabelledRow| EvaluatedSentence {
            observation: Observation::new(row.gold, row.lang, &classifier.classify(&row.text)),
            id: row.id,
        };
        Ok(rows.labelled.into_iter().map(to_sentence).collect())
    }
}

fn print_validation(validation: &ValidateOutput<'_>) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    writeln!(output, "model {}", validation.model)?;
    let mut table = TextTable::new(["check", "figure", "limit", "rows", "result"]);
    for check in &validation.checks {
        let sign = match check.limit_direction {
            LimitDirection::AtLeast => "≥",
            LimitDirection::AtMost => "≤",
        };
        table.push_row(vec![
            check.name.into(),
            check.figure.map_or_else(|| "–".into(), format_percent),
            format!("{sign} {}", format_percent(check.limit)),
            check.rows.to_string(),
            if check.passed { "pass" } else { "FAIL" }.into(),
        ]);
    }
    write!(output, "{table}")?;
    for check in validation.checks.iter().filter(|check| !check.failed_row_ids.is_empty()) {
        writeln!(output, "wrong in {}: {}", check.name, check.failed_row_ids.join(" "))?;
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
            let sentences = set.classify(&classifier).unwrap();
            let lines = set.file.lines().filter(|line| !line.trim().is_empty()).count();
            assert_eq!(sentences.len(), lines, "{}", set.name);
            // The sets of the v2.4.2 reference service: 56 smoke sentences in both languages.
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
        let cases = run_masking_cases().unwrap();
        assert!(cases.len() >= 100, "{}", cases.len());
        for (id, is_masked_right) in cases {
            assert!(is_masked_right, "{id}");
        }
    }

    #[test]
    fn without_a_model_the_fallback_checks_fail() {
        let classifier = Classifier::without_model(TieBreak::default());
        let checks = run_checks(&classifier).unwrap();
        for check in checks.iter().filter(|check| check.name.ends_with("fallback")) {
            assert_eq!((check.figure, check.passed), (Some(1.0), false), "{}", check.name);
        }
    }
}
