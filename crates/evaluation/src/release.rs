//! The checks on written sentences that must pass before a model takes more traffic.
//!
//! Enter rows of the release sets with their predictions, leave [`Check`]s: a figure, a limit, and
//! whether it is kept. The limits are the reference system's release rules. A set without rows
//! passes nothing: no evidence is not good evidence.

use serde::Serialize;

use super::Observation;
use jeffrey_classifier::Route;

/// Least share of tie-break sentences with the right label.
pub const TIE_BREAK_RIGHT_MIN: f64 = 0.80;

/// Least share of smoke sentences, in each language, with the right label.
pub const SMOKE_RIGHT_MIN: f64 = 0.60;

/// Largest share of smoke sentences, in each language, that another route than the linear head
/// answered.
pub const SMOKE_FALLBACK_MAX: f64 = 0.02;

/// Least share of texts that come out of the mask as they should: one that does not is a leak, or
/// takes a harmless number for somebody's.
pub const MASKED_RIGHT_MIN: f64 = 1.0;

/// On which side of its limit a figure must lie; the limit itself is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At least the limit.
    AtLeast,
    /// At most the limit.
    AtMost,
}

/// One figure against its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is measured, such as `smoke_fr_right`.
    pub name: &'static str,
    /// The share seen, 0 to 1; `None` without rows.
    pub figure: Option<f64>,
    /// On which side of the limit it must lie.
    pub bound: Bound,
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
pub struct Sentence {
    /// The sentence's id in its file.
    pub id: String,
    /// The label it should get, and the answer.
    pub observation: Observation,
}

/// At least `limit` of the sentences are right.
pub fn right(name: &'static str, limit: f64, set: &[Sentence]) -> Check {
    let wrong = |sentence: &&Sentence| !sentence.observation.right();
    let against = ids(set.iter().filter(wrong));
    let figure = share(set.len() - against.len(), set.len());
    let passed = figure.is_some_and(|figure| figure >= limit);
    Check { name, figure, bound: Bound::AtLeast, limit, rows: set.len(), passed, against }
}

/// At most `limit` of the sentences were answered by another route than the linear head.
pub fn fallback(name: &'static str, limit: f64, set: &[Sentence]) -> Check {
    let fell_back = |sentence: &&Sentence| sentence.observation.route != Route::LinearHead;
    let against = ids(set.iter().filter(fell_back));
    let figure = share(against.len(), set.len());
    let passed = figure.is_some_and(|figure| figure <= limit);
    Check { name, figure, bound: Bound::AtMost, limit, rows: set.len(), passed, against }
}

/// At least `limit` of the texts came out as they should; each is its id and whether it did.
pub fn kept(name: &'static str, limit: f64, set: &[(String, bool)]) -> Check {
    let wrong = set.iter().filter(|(_, right)| !right);
    let against: Vec<String> = wrong.map(|(id, _)| id.clone()).collect();
    let figure = share(set.len() - against.len(), set.len());
    let passed = figure.is_some_and(|figure| figure >= limit);
    Check { name, figure, bound: Bound::AtLeast, limit, rows: set.len(), passed, against }
}

fn ids<'a>(sentences: impl Iterator<Item = &'a Sentence>) -> Vec<String> {
    sentences.map(|sentence| sentence.id.clone()).collect()
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::observation;
    use super::*;
    use jeffrey_terms::Label;

    /// `rows` sentences, the first `wrong` of them with the wrong label and by keywords.
    fn set(rows: usize, wrong: usize) -> Vec<Sentence> {
        let sentence = |row: usize| {
            let predicted = if row < wrong { Label::Joy } else { Label::Anger };
            let mut observation = observation(Label::Anger, predicted, 0.9);
            if row < wrong {
                observation.route = Route::Regex;
            }
            Sentence { id: format!("row-{row}"), observation }
        };
        (0..rows).map(sentence).collect()
    }

    #[test]
    fn a_figure_on_its_limit_is_kept_and_one_beyond_is_not() {
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
            let (count, wrong, right_kept, fallback_kept) = row;
            let set = set(count, wrong);
            let right = right("right", TIE_BREAK_RIGHT_MIN, &set);
            assert_eq!(right.passed, right_kept, "{row:?} {right:?}");
            let fallback = fallback("fallback", SMOKE_FALLBACK_MAX, &set);
            assert_eq!(fallback.passed, fallback_kept, "{row:?} {fallback:?}");
        }
    }

    #[test]
    fn one_text_in_a_thousand_that_is_masked_wrongly_is_too_many() {
        let set = |wrong| -> Vec<(String, bool)> {
            (0..1000).map(|row| (format!("row-{row}"), row >= wrong)).collect()
        };
        let one = kept("masked", MASKED_RIGHT_MIN, &set(1));
        assert_eq!((one.passed, one.against), (false, vec!["row-0".to_owned()]));
        assert!(kept("masked", MASKED_RIGHT_MIN, &set(0)).passed);
        assert!(!kept("masked", MASKED_RIGHT_MIN, &[]).passed);
    }

    #[test]
    fn the_rows_that_count_against_a_check_are_named() {
        let set = set(4, 2);
        let check = right("right", 0.6, &set);
        assert_eq!(check.against, ["row-0", "row-1"]);
        assert_eq!((check.figure, check.rows), (Some(0.5), 4));
        assert_eq!(fallback("fallback", 0.02, &set).against, ["row-0", "row-1"]);
    }
}
