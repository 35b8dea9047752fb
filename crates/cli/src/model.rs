//! `jeffrey model`: shows the identity, the files and the training data of the model in use.
//!
//! The model is verified against its manifest and loaded first. Routes that had to be disabled,
//! because their dimension differs from the encoder's, are listed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::table::TextTable;
use super::{ClassifierFlags, CliError, ExitStatus, print_json};
use jeffrey_classifier::{Classifier, ModelManifest, SkipReason};
use jeffrey_shipped::COMMIT;
use jeffrey_terms::{InputText, Label, PredictionRoute};

/// Show the model: id, checksums, training data
#[derive(clap::Args)]
#[command(after_help = "Verifies every file against the manifest before printing.\n\n\
                  Examples:\n  jeffrey model\n  jeffrey model --json --model models/e1-small")]
pub(super) struct ModelArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier_flags: ClassifierFlags,
}

#[derive(Serialize)]
struct ModelCard<'a> {
    id: &'a str,
    /// Sha256 of the manifest, which holds the sha256 of every file.
    sha256: &'a str,
    /// Commit of this binary; the commit that trained the model is under `training`.
    commit: &'static str,
    labels: &'a [Label],
    dim: usize,
    max_tokens: usize,
    vocabulary: usize,
    files: BTreeMap<&'a str, ModelCardFile<'a>>,
    /// Names of the routes that are disabled, because their dimension differs from the encoder's.
    routes_off: Vec<&'static str>,
    training: &'a Value,
}

#[derive(Serialize)]
struct ModelCardFile<'a> {
    bytes: usize,
    sha256: &'a str,
}

pub(super) fn run(arguments: &ModelArguments) -> Result<ExitStatus, CliError> {
    let classifier = arguments.classifier_flags.load_classifier()?;
    let (Some(manifest), Some(sha256)) = (classifier.manifest(), classifier.model_sha256()) else {
        return Err(CliError::Usage("no model is loaded"));
    };
    let ModelManifest { id, labels, dim, max_tokens, vocabulary_size, files, training, .. } =
        manifest;
    let card = ModelCard {
        id,
        sha256,
        commit: COMMIT,
        labels,
        dim: *dim,
        max_tokens: *max_tokens,
        vocabulary: *vocabulary_size,
        files: files
            .iter()
            .map(|(name, entry)| {
                (name.as_str(), ModelCardFile { bytes: entry.bytes, sha256: &entry.sha256 })
            })
            .collect(),
        routes_off: disabled_routes(&classifier),
        training,
    };
    if arguments.json {
        print_json(&card)?;
    } else {
        print_model_card(&card)?;
    }
    Ok(ExitStatus::Success)
}

/// Returns the names of the routes that were disabled when the model was loaded.
fn disabled_routes(classifier: &Classifier) -> Vec<&'static str> {
    let mismatches = classifier.dimension_mismatches();
    // Every text asks the linear head first, and a disabled head is among the skipped routes. Two
    // letters are a short text to try.
    let is_head_disabled = InputText::parse("ok").is_ok_and(|text| {
        classifier.classify(&text).skipped_routes.iter().any(|skipped| {
            skipped.route == PredictionRoute::LinearHead
                && skipped.reason == SkipReason::DimensionMismatch
        })
    });
    let are_prototypes_disabled = mismatches > usize::from(is_head_disabled);
    let routes = [
        (PredictionRoute::LinearHead, is_head_disabled),
        (PredictionRoute::Prototypes, are_prototypes_disabled),
    ];
    routes
        .into_iter()
        .filter(|(_, is_disabled)| *is_disabled)
        .map(|(route, _)| route.name())
        .collect()
}

fn print_model_card(card: &ModelCard<'_>) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    let labels: Vec<&str> = card.labels.iter().map(|label| label.name()).collect();
    let disabled =
        if card.routes_off.is_empty() { "none".into() } else { card.routes_off.join(", ") };
    writeln!(output, "id          {}", card.id)?;
    writeln!(output, "sha256      {}", card.sha256)?;
    writeln!(output, "labels      {}", labels.join(" "))?;
    writeln!(output, "dimension   {}", card.dim)?;
    writeln!(output, "max tokens  {}", card.max_tokens)?;
    writeln!(output, "vocabulary  {} pieces", card.vocabulary)?;
    writeln!(output, "routes off  {disabled}")?;
    let mut files = TextTable::new(["file", "bytes", "sha256"]);
    for (name, file) in &card.files {
        files.push_row(vec![(*name).into(), file.bytes.to_string(), file.sha256.into()]);
    }
    write!(output, "\n{files}")?;
    let mut training = TextTable::new(["training", ""]);
    let mut facts = Vec::new();
    flatten_facts("", card.training, &mut facts);
    for (name, value) in facts {
        training.push_row(vec![name, value]);
    }
    write!(output, "\n{training}")?;
    Ok(output.flush()?)
}

/// Collects nested training facts as pairs of a path, such as `figures.en.macro_f1`, and a value.
/// Nulls are left out.
fn flatten_facts(name: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten_facts(&name, value, facts);
            }
        }
        Value::Null => {}
        Value::String(text) => facts.push((name.into(), text.clone())),
        other => facts.push((name.into(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_training_facts_become_lines() {
        let value =
            serde_json::json!({"commit": "c0ffee", "figures": {"en": {"f1": 0.5}, "fr": {}}});
        let mut facts = Vec::new();
        flatten_facts("", &value, &mut facts);
        let expected = [("commit", "c0ffee"), ("figures.en.f1", "0.5")];
        assert_eq!(facts, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
