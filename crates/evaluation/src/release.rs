//! Release checks on written sentences; they must pass before a model gets more traffic.
//!
//! Takes the rows of the release sets with their predictions and returns [`ReleaseCheck`]s: a
//! measured share, its limit, and whether the limit is kept. The limits are the release rules of
//! the v2.4.2 reference service. A set without rows fails its checks: missing evidence is not good
//! evidence.

use serde::Serialize;

use super::Observation;
use jeffrey_terms::PredictionRoute;

/// Lowest share of tie-break sentences with the right label that passes.
pub const TIE_BREAK_ACCURACY_MIN: f64 = 0.80;

/// Lowest share of smoke sentences with the right label that passes, in each language.
pub const SMOKE_ACCURACY_MIN: f64 = 0.60;

/// Highest share of smoke sentences answered by a route other than the linear head that passes, in
/// each language.
pub const SMOKE_FALLBACK_SHARE_MAX: f64 = 0.02;

/// Lowest share of correctly masked texts that passes. A wrongly masked text is either a leak or a
/// harmless number that was taken for personal data.
pub const MASKED_CORRECTLY_SHARE_MIN: f64 = 1.0;

/// Side of the limit on which a share passes; a share equal to the limit passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitDirection {
    /// The share must be at least the limit.
    AtLeast,
    /// The share must be at most the limit.
    AtMost,
}

/// One measured share compared with its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseCheck {
    /// Name of the check, such as `smoke_fr_right`.
    pub name: &'static str,
    /// Measured share, 0 to 1; `None` without rows.
    pub figure: Option<f64>,
    /// Side of the limit on which the share passes.
    pub limit_direction: LimitDirection,
    /// Limit of the share, 0 to 1.
    pub limit: f64,
    /// Number of rows that were measured.
    pub rows: usize,
    /// Whether the share is within the limit; `false` without rows.
    pub passed: bool,
    /// IDs of the rows that fail, in the order of the set.
    pub failed_row_ids: Vec<String>,
}

/// One sentence of a release set after its classification.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSentence {
    /// ID of the sentence in its file.
    pub id: String,
    /// Gold label and prediction of the sentence.
    pub observation: Observation,
}

/// Checks that at least the share `limit` of the sentences has the right label.
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
        limit_direction: LimitDirection::AtLeast,
        limit,
        rows: sentences.len(),
        passed,
        failed_row_ids: against,
    }
}

/// Checks that at most the share `limit` of the sentences was answered by a route other than the
/// linear head.
pub fn check_fallback_share(
    name: &'static str,
    limit: f64,
    sentences: &[EvaluatedSentence],
) -> ReleaseCheck {
    let is_fallback =
        |sentence: &&EvaluatedSentence| sentence.observation.route != PredictionRoute::LinearHead;
    let against = collect_ids(sentences.iter().filter(is_fallback));
    let figure = ratio(against.len(), sentences.len());
    let passed = figure.is_some_and(|figure| figure <= limit);
    ReleaseCheck {
        name,
        figure,
        limit_direction: LimitDirection::AtMost,
        limit,
        rows: sentences.len(),
        passed,
        failed_row_ids: against,
    }
}

/// Checks that at least the share `limit` of the texts is masked correctly. Each text is given as
/// its ID and whether it is.
pub fn check_masking(name: &'static str, limit: f64, texts: &[(String, bool)]) -> ReleaseCheck {
    let wrongly_masked = texts.iter().filter(|(_, masked_correctly)| !masked_correctly);
    let against: Vec<String> = wrongly_masked.map(|(id, _)| id.clone()).collect();
    let figure = ratio(texts.len() - against.len(), texts.len());
    let passed = figure.is_some_and(|figure| figure >= limit);
    ReleaseCheck {
        name,
        figure,
        limit_direction: LimitDirection::AtLeast,
        limit,
        rows: texts.len(),
        passed,
        failed_row_ids: against,
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
    use jeffrey_terms::{Label, PredictionRoute};

    /// Builds `rows` sentences; the first `wrong` have the wrong label and the regex route.
    fn build_sentences(rows: usize, wrong: usize) -> Vec<EvaluatedSentence> {
        let sentence = |row: usize| {
            let predicted = if row < wrong { Label::Joy } else { Label::Anger };
            let mut observation = observation(Label::Anger, predicted, 0.9);
            if row < wrong {
                observation.route = PredictionRoute::Regex;
            }
            EvaluatedSentence { id: format!("row-{row}"), observation }
        };
        (0..rows).map(sentence).collect()
    }

    #[test]
    fn a_figure_on_its_limit_passes_and_one_beyond_fails() {
        // rows, wrong, passes "at least 80 % right", passes "at most 2 % fallback"
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
        assert_eq!((check.passed, check.failed_row_ids), (false, vec!["row-0".to_owned()]));
        assert!(check_masking("masked", MASKED_CORRECTLY_SHARE_MIN, &texts(0)).passed);
        assert!(!check_masking("masked", MASKED_CORRECTLY_SHARE_MIN, &[]).passed);
    }

    #[test]
    fn the_rows_that_count_against_a_check_are_named() {
        let sentences = build_sentences(4, 2);
        let check = check_accuracy("right", 0.6, &sentences);
        assert_eq!(check.failed_row_ids, ["row-0", "row-1"]);
        assert_eq!((check.figure, check.rows), (Some(0.5), 4));
        assert_eq!(
            check_fallback_share("fallback", 0.02, &sentences).failed_row_ids,
            ["row-0", "row-1"]
        );
    }
}
