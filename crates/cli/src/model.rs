//! `jeffrey model`: what the model in use is, and what is switched off in it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::table::Table;
use super::{Outcome, Settings, Stop, print_json};
use jeffrey_classifier::{Classifier, Manifest, Route, SkipReason};
use jeffrey_shipped::COMMIT;
use jeffrey_terms::{Label, Text};

/// Show the model: identity, files, origin
#[derive(clap::Args)]
#[command(
    after_help = "Every file is checked against the manifest first: a model that is shown can \
                  answer.\n\n\
                  Examples:\n  jeffrey model\n  jeffrey model --json --model models/e1-small"
)]
pub(super) struct Arguments {
    /// The same as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    /// Of the manifest, which holds each file's.
    sha256: &'a str,
    /// The commit of this binary; the model's own is under `training`.
    commit: &'static str,
    labels: &'a [Label],
    dim: usize,
    max_tokens: usize,
    vocabulary: usize,
    files: BTreeMap<&'a str, FileCard<'a>>,
    /// Routes whose dimension differs from the encoder's.
    routes_off: Vec<&'static str>,
    training: &'a Value,
}

#[derive(Serialize)]
struct FileCard<'a> {
    bytes: usize,
    sha256: &'a str,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> Result<Outcome, Stop> {
    let classifier = settings.classifier()?;
    let (Some(manifest), Some(sha256)) = (classifier.manifest(), classifier.sha256()) else {
        return Err(Stop::Usage("no model is loaded"));
    };
    let Manifest { id, labels, dim, max_tokens, vocabulary, files, training, .. } = manifest;
    let card = Card {
        id,
        sha256,
        commit: COMMIT,
        labels,
        dim: *dim,
        max_tokens: *max_tokens,
        vocabulary: *vocabulary,
        files: files
            .iter()
            .map(|(name, entry)| {
                (name.as_str(), FileCard { bytes: entry.bytes, sha256: &entry.sha256 })
            })
            .collect(),
        routes_off: routes_off(&classifier),
        training,
    };
    if arguments.json {
        print_json(&card)?;
    } else {
        print(&card)?;
    }
    Ok(Outcome::Fine)
}

/// The routes that were switched off when the model was loaded.
fn routes_off(classifier: &Classifier) -> Vec<&'static str> {
    let mismatches = classifier.dimension_mismatches();
    // Any words ask the head first, and it says when it is off; two letters are no long text.
    let head_off = Text::parse("ok").is_ok_and(|text| {
        classifier.classify(&text).skipped.iter().any(|skipped| {
            skipped.route == Route::LinearHead && skipped.reason == SkipReason::DimensionMismatch
        })
    });
    let prototypes_off = mismatches > usize::from(head_off);
    let routes = [(Route::LinearHead, head_off), (Route::Prototypes, prototypes_off)];
    routes.into_iter().filter(|(_, off)| *off).map(|(route, _)| route.name()).collect()
}

fn print(card: &Card<'_>) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    let labels: Vec<&str> = card.labels.iter().map(|label| label.name()).collect();
    let off = if card.routes_off.is_empty() { "none".into() } else { card.routes_off.join(", ") };
    writeln!(output, "id          {}", card.id)?;
    writeln!(output, "sha256      {}", card.sha256)?;
    writeln!(output, "labels      {}", labels.join(" "))?;
    writeln!(output, "dimension   {}", card.dim)?;
    writeln!(output, "max tokens  {}", card.max_tokens)?;
    writeln!(output, "vocabulary  {} pieces", card.vocabulary)?;
    writeln!(output, "routes off  {off}")?;
    let mut files = Table::new(["file", "bytes", "sha256"]);
    for (name, file) in &card.files {
        files.row(vec![(*name).into(), file.bytes.to_string(), file.sha256.into()]);
    }
    write!(output, "\n{files}")?;
    let mut training = Table::new(["training", ""]);
    let mut facts = Vec::new();
    flatten("", card.training, &mut facts);
    for (name, value) in facts {
        training.row(vec![name, value]);
    }
    write!(output, "\n{training}")?;
    Ok(output.flush()?)
}

/// Nested figures as lines: `figures.en.macro_f1` and its value.
fn flatten(name: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, facts);
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
        flatten("", &value, &mut facts);
        let expected = [("commit", "c0ffee"), ("figures.en.f1", "0.5")];
        assert_eq!(facts, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
