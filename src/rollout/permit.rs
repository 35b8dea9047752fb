//! What a share needs to rise beside the gates: a release check of exactly the model that is deployed, what the
//! stage's own answers amount to, and the word of those who are asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::telemetry::analysis::Verdict;
use jeffrey_terms::UnixMs;

/// How long a release check is good for.
pub const VALID_MS: u64 = 24 * 60 * 60 * 1_000;

/// A release check, as `jeffrey validate` reports it and the gate heard of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Sha256 of the model's manifest, in hexadecimal digits.
    pub model_sha256: String,
    /// Whether every limit was kept.
    pub passed: bool,
    /// When the gate heard of it.
    #[serde(rename = "heard_ms")]
    pub heard: UnixMs,
}

/// What somebody says who is asked before a rise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// Who.
    pub name: String,
    /// What.
    pub answer: Answer,
}

/// The answer of one who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may rise.
    Go,
    /// Not now; no answer is this as well.
    Wait,
    /// Not without a person.
    Stop,
}

/// What is known when a share would rise.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The last release check.
    pub validation: Option<&'a Validation>,
    /// The model that is deployed, as it says itself.
    pub deployed: Option<&'a str>,
    /// What the stage's own canary answers amount to; `None` before the first stage.
    pub analysis: Option<Verdict>,
    /// Those who were asked.
    pub words: &'a [Word],
}

/// Why a share may not rise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The stage's answers are not ready.
    Analysis,
    /// The deployed model does not say which it is.
    ModelUnknown,
    /// Somebody who is asked says so.
    Said(Word),
    /// The check failed.
    ValidationFailed,
    /// The check was of another model.
    ValidationForeign {
        /// The model checked.
        checked: String,
        /// The model deployed.
        deployed: String,
    },
    /// There was no check.
    ValidationMissing,
    /// The check is too old.
    ValidationStale {
        /// How old, in hours.
        hours: u64,
    },
}

/// Why a share may not rise, if it may not.
pub fn withheld(known: &Known<'_>, now: UnixMs) -> Option<Withheld> {
    let Some(validation) = known.validation else { return Some(Withheld::ValidationMissing) };
    let Some(deployed) = known.deployed else { return Some(Withheld::ModelUnknown) };
    if validation.model_sha256 != deployed {
        let (checked, deployed) = (validation.model_sha256.clone(), deployed.to_owned());
        return Some(Withheld::ValidationForeign { checked, deployed });
    }
    if !validation.passed {
        return Some(Withheld::ValidationFailed);
    }
    let age_ms = now.0.saturating_sub(validation.heard.0);
    if age_ms > VALID_MS {
        return Some(Withheld::ValidationStale { hours: age_ms / 3_600_000 });
    }
    if known.analysis == Some(Verdict::NotReady) {
        return Some(Withheld::Analysis);
    }
    let said = |answer| known.words.iter().find(|word| word.answer == answer);
    said(Answer::Stop).or_else(|| said(Answer::Wait)).cloned().map(Withheld::Said)
}

impl Withheld {
    /// Whether only a person lets it go on.
    pub const fn stops(&self) -> bool {
        matches!(self, Self::Said(Word { answer: Answer::Stop, .. }))
    }

    /// The command to run, where one helps.
    pub const fn command(&self) -> Option<&'static str> {
        match self {
            Self::Analysis => Some("jeffrey analyze URL"),
            Self::ModelUnknown | Self::Said(_) => None,
            Self::ValidationFailed
            | Self::ValidationForeign { .. }
            | Self::ValidationMissing
            | Self::ValidationStale { .. } => Some("jeffrey validate --post URL"),
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |sha: &str| sha.chars().take(12).collect::<String>();
        match self {
            Self::Analysis => f.write_str("the stage's own answers are NOT READY"),
            Self::ModelUnknown => f.write_str("the model worker does not say which model it has"),
            Self::Said(Word { name, answer: Answer::Stop }) => write!(f, "`{name}` says stop"),
            Self::Said(Word { name, .. }) => write!(f, "`{name}` says wait, or nothing"),
            Self::ValidationFailed => f.write_str("the release check of this model failed"),
            Self::ValidationForeign { checked, deployed } => write!(
                f,
                "the release check was of model {}, deployed is {}",
                short(checked),
                short(deployed)
            ),
            Self::ValidationMissing => f.write_str("there is no release check"),
            Self::ValidationStale { hours } => {
                write!(f, "the release check is {hours} hours old, the limit is 24")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn each_thing_that_is_missing_is_named_and_nothing_else_withholds() {
        let now = UnixMs(100 * HOUR);
        let validation = |passed, hours: u64| Validation {
            model_sha256: "ab".repeat(32),
            passed,
            heard: UnixMs((100 - hours) * HOUR),
        };
        let fresh = validation(true, 24);
        let deployed = "ab".repeat(32);
        let known = Known {
            validation: Some(&fresh),
            deployed: Some(&deployed),
            analysis: Some(Verdict::MostlyReady),
            words: &[],
        };
        assert_eq!(withheld(&known, now), None);
        assert_eq!(withheld(&Known { analysis: None, ..known }, now), None);
        let said = |name: &str, answer| Word { name: name.to_owned(), answer };
        let words = [said("a", Answer::Go), said("b", Answer::Wait), said("c", Answer::Stop)];
        let rows = [
            (Known { validation: None, ..known }, Withheld::ValidationMissing),
            (Known { deployed: None, ..known }, Withheld::ModelUnknown),
            (
                Known { deployed: Some("cd"), ..known },
                Withheld::ValidationForeign { checked: deployed.clone(), deployed: "cd".into() },
            ),
            (
                Known { validation: Some(&validation(false, 1)), ..known },
                Withheld::ValidationFailed,
            ),
            (
                Known { validation: Some(&validation(true, 25)), ..known },
                Withheld::ValidationStale { hours: 25 },
            ),
            (Known { analysis: Some(Verdict::NotReady), ..known }, Withheld::Analysis),
            (Known { words: &words[..2], ..known }, Withheld::Said(words[1].clone())),
            (Known { words: &words, ..known }, Withheld::Said(words[2].clone())),
        ];
        for (known, expected) in rows {
            assert_eq!(withheld(&known, now), Some(expected.clone()), "{known:?}");
            assert!(!expected.to_string().is_empty());
            assert_eq!(expected.stops(), expected == Withheld::Said(words[2].clone()));
        }
        assert_eq!(withheld(&Known { words: &words[..1], ..known }, now), None);
        assert_eq!(Withheld::ValidationMissing.command(), Some("jeffrey validate --post URL"));
    }
}
