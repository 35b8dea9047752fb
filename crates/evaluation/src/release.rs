//! The checks on written sentences that must pass before a model takes more traffic.
//!
//! Enter rows of the release sets with their predictions, leave [`ReleaseCheck`]s: a figure, a limit, and
//! whether it is kept. The limits are the reference system's release rules. A set without rows
//! passes nothing: no evidence is not good evidence.

use serde::Serialize;

use super::Observation;
use jeffrey_classifier::ClassifierRoute;

/// Least share of tie-break sentences with the right label.
pub const TIE_BREAK_ACCURACY_MIN: f64 = 0.80;

/// Least share of smoke sentences, in each language, with the right label.
pub const SMOKE_ACCURACY_MIN: f64 = 0.60;

/// Largest share of smoke sentences, in each language, that another route than the linear head
/// answered.
pub const SMOKE_FALLBACK_SHARE_MAX: f64 = 0.02;

/// Least share of texts that come out of the mask as they should: one that does not is a leak, or
/// takes a harmless number for somebody's.
pub const MASKED_CORRECTLY_SHARE_MIN: f64 = 1.0;

/// On which side of its limit a figure must lie; the limit itself is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitDirection {
    /// At least the limit.
    AtLeast,
    /// At most the limit.
    AtMost,
}

/// One figure against its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseCheck {
    /// What is measured, such as `smoke_fr_right`.
    pub name: &'static str,
    /// The share seen, 0 to 1; `None` without rows.
    pub figure: Option<f64>,
    /// On which side of the limit it must lie.
    pub bound: LimitDirection,
    /// The limit, 0 to 1.
    pub limit: f64,
    /// Rows that the share stands on.
    pub rows: usize,
    /// Whether the limit is kept.
    pub passed: bool,
    /// Ids of the rows that count against it.
    pub against: Vec<String>,
}

/// One sentence of a release set with its id and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSentence {
    /// The sentence's id in its file.
    pub id: String,
    /// The label it should get, and the answer.
    pub observation: Observation,
}

/// At least `limit` of the sentences are right.
pub fn check_accuracy(
    name: &'static str,
    limit: f64,
    sentences: &[EvaluatedSentence],
) -> ReleaseCheck {
    let is_wrong = |sentence: &&EvaluatedSentence| !sentence.observation.is_correct();
    let against = collect_ids(sentences.iter().filter(is_wrong));
    let figure = ratio(sentences.len() - against.len(), sentences.len());
    let passed = figure.is_some_and(|figure| figure >= limit);
    ReleaseCheck {
        name,
        figure,
        bound: LimitDirection::AtLeast,
        limit,
        rows: sentences.len(),
        passed,
        against,
    }
}

/// At most `limit` of the sentences were answered by another route than the linear head.
pub fn check_fallback_share(
    name: &'static str,
    limit: f64,
    sentences: &[EvaluatedSentence],
) -> ReleaseCheck {
    let is_fallback =
        |sentence: &&EvaluatedSentence| sentence.observation.route != ClassifierRoute::LinearHead;
    let against = collect_ids(sentences.iter().filter(is_fallback));
    let figure = ratio(against.len(), sentences.len());
    let passed = figure.is_some_and(|figure| figure <= limit);
    ReleaseCheck {
        name,
        figure,
        bound: LimitDirection::AtMost,
        limit,
        rows: sentences.len(),
        passed,
        against,
    }
}

/// At least `limit` of the texts came out as they should; each is its id and whether it did.
pub fn check_masking(name: &'static str, limit: f64, texts: &[(String, bool)]) -> ReleaseCheck {
    let wrongly_masked = texts.iter().filter(|(_, masked_correctly)| !masked_correctly);
    let against: Vec<String> = wrongly_masked.map(|(id, _)| id.clone()).collect();
    let figure = ratio(texts.len() - against.len(), texts.len());
    let passed = figure.is_some_and(|figure| figure >= limit);
    ReleaseCheck {
        name,
        figure,
        bound: LimitDirection::AtLeast,
        limit,
        rows: texts.len(),
        passed,
        against,
    }
}

fn collect_ids<'a>(sentences: impl Iterator<Item = &'a EvaluatedSentence>) -> Vec<String> {
    sentences.map(|sentence| sentence.id.clone()).collect()
}

fn ratio(numerator: usize, denominator: usize) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::observation;
    use super::*;
    use jeffrey_terms::Label;

    /// `rows` sentences, the first `wrong` of them with the wrong label and by keywords.
    fn build_sentences(rows: usize, wrong: usize) -> Vec<EvaluatedSentence> {
        let sentence = |row: usize| {
            let predicted = if row < wrong { Label::Joy } else { Label::Anger };
            let mut observation = observation(Label::Anger, predicted, 0.9);
            if row < wrong {
                observation.route = ClassifierRoute::Regex;
            }
            EvaluatedSentence { id: format!("row-{row}"), observation }
        };
        (0..rows).map(sentence).collect()
    }

    #[test]
    fn a_figure_on_its_limit_passes_and_one_beyond_fails() {
        // rows, wrong, kept by "at least 80 % right", kept by "at most 2 % fallback"
        let rows = [
            (50, 0, true, true),
            (50, 1, true, true),
            (50, 2, true, false),
            (50, 10, true, false),
            (50, 11, false, false),
            (30, 6, true, false),
            (0, 0, false, false),
        ];
        for row in rows {
            let (count, wrong, accuracy_passes, fallback_passes) = row;
            let sentences = build_sentences(count, wrong);
            let accuracy_check = check_accuracy("right", TIE_BREAK_ACCURACY_MIN, &sentences);
            assert_eq!(accuracy_check.passed, accuracy_passes, "{row:?} {accuracy_check:?}");
            let fallback_check =
                check_fallback_share("fallback", SMOKE_FALLBACK_SHARE_MAX, &sentences);
            assert_eq!(fallback_check.passed, fallback_passes, "{row:?} {fallback_check:?}");
        }
    }

    #[test]
    fn one_text_in_a_thousand_that_is_masked_wrongly_is_too_many() {
        let texts = |wrong| -> Vec<(String, bool)> {
            (0..1000).map(|row| (format!("row-{row}"), row >= wrong)).collect()
        };
        let check = check_masking("masked", MASKED_CORRECTLY_SHARE_MIN, &texts(1));
        assert_eq!((check.passed, check.against), (false, vec!["row-0".to_owned()]));
        assert!(check_masking("masked", MASKED_CORRECTLY_SHARE_MIN, &texts(0)).passed);
        assert!(!check_masking("masked", MASKED_CORRECTLY_SHARE_MIN, &[]).passed);
    }

    #[test]
    fn the_rows_that_count_against_a_check_are_named() {
        let sentences = build_sentences(4, 2);
        let check = check_accuracy("right", 0.6, &sentences);
        assert_eq!(check.against, ["row-0", "row-1"]);
        assert_eq!((check.figure, check.rows), (Some(0.5), 4));
        assert_eq!(check_fallback_share("fallback", 0.02, &sentences).against, ["row-0", "row-1"]);
    }
}
