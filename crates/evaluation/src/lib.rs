//! How good the classifier is: gold labels and predictions in, figures out.
//!
//! Enters one [`Observation`] a row, leaves a [`EvaluationReport`]. No text enters and none can leave. It reads
//! no clock and no randomness: resampling is seeded, so the same rows give the same report.
//! Every formula names its source where it stands: [`confusion`] for accuracy and F1,
//! [`calibration`] for the expected calibration error, [`resample`] for intervals and balanced
//! draws, [`release`] for the checks that must pass before a rise.

pub mod calibration;

pub mod confusion;

pub mod release;

pub mod resample;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use calibration::{ReliabilityBin, ReliabilityDiagram};
use confusion::{ClassMetrics, ConfusionMatrix};
use jeffrey_classifier::{ClassifierRoute, Prediction, TieBreakRule};
use jeffrey_terms::Label;
use resample::{BalancedMetrics, BootstrapIntervals, bootstrap, evaluate_balanced_draws, quantile};

/// What is kept of one labelled row once it is classified.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The label that the row carries.
    pub gold: Label,
    /// The label that the classifier gave.
    pub predicted: Label,
    /// The score of that label, 0 to 1.
    pub confidence: f32,
    /// Whether the answer was marked `low_confidence`.
    pub low_confidence: bool,
    /// The row's language, `und` when it names none.
    pub lang: String,
    /// The route that answered.
    pub route: ClassifierRoute,
    /// The rule that changed the scores, if one did.
    pub rule: Option<TieBreakRule>,
    /// Whether the text was longer than the encoder reads.
    pub truncated: bool,
}

impl Observation {
    /// Joins a row's label and language with its prediction.
    pub fn new(gold: Label, lang: String, prediction: &Prediction) -> Self {
        Self {
            gold,
            predicted: prediction.primary,
            confidence: prediction.confidence(),
            low_confidence: prediction.is_low_confidence(),
            lang,
            route: prediction.route,
            rule: prediction.rule_applied,
            truncated: prediction.truncated,
        }
    }

    /// Whether the prediction is the gold label.
    pub fn is_correct(&self) -> bool {
        self.gold == self.predicted
    }
}

/// What to compute beyond the plain figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationOptions {
    /// Bootstrap resamples for the 95 % intervals; 0 leaves the intervals out.
    pub resamples: usize,
    /// Draws balanced by class; `None` leaves them out.
    pub balanced_sampling: Option<BalancedSampling>,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// Draws with the same number of rows of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancedSampling {
    /// Rows of each class in a draw.
    pub rows_per_class: usize,
    /// How many draws.
    pub draws: usize,
}

/// Rows that no report can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// No row with a label.
    #[error("0 rows with a label, at least 1 is needed")]
    NoRows,
    /// A class has too few rows for a balanced draw.
    #[error("class {label} has {rows} rows, fewer than the {rows_per_class} of a balanced draw")]
    TooFewRows {
        /// The first such class.
        label: Label,
        /// Its rows.
        rows: usize,
        /// Rows of each class in a draw.
        rows_per_class: usize,
    },
}

/// All figures of one evaluation. Shares are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationReport {
    /// Rows that the figures stand on.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean F1 over the classes present in the gold labels.
    pub macro_f1: f64,
    /// Expected calibration error, 15 bins of equal width.
    pub ece: f64,
    /// Bootstrap 95 % intervals of the three figures above.
    pub intervals: Option<BootstrapIntervals>,
    /// Macro-F1 over draws balanced by class.
    pub balanced: Option<BalancedMetrics>,
    /// How sure the classifier is.
    pub confidence: ConfidenceSummary,
    /// Share of answers marked `low_confidence`.
    pub low_confidence_share: f64,
    /// Share of texts that were longer than the encoder reads.
    pub truncated_share: f64,
    /// Share of each route, under its name.
    pub route_shares: BTreeMap<&'static str, f64>,
    /// Share of rows that each rule changed, under its name.
    pub rule_shares: BTreeMap<&'static str, f64>,
    /// Each class's figures.
    pub classes: BTreeMap<Label, ClassMetrics>,
    /// Each language's figures.
    pub languages: BTreeMap<String, LanguageMetrics>,
    /// `[gold][predicted]`, both in the labels' order.
    pub confusion: ConfusionMatrix,
    /// The bins of the expected calibration error.
    pub reliability: Vec<ReliabilityBin>,
}

/// Mean and quantiles of the top score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConfidenceSummary {
    /// Arithmetic mean.
    pub mean: f64,
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
}

/// One language's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LanguageMetrics {
    /// Rows in this language.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean F1 over the classes present in this language's gold labels.
    pub macro_f1: f64,
    /// Expected calibration error.
    pub ece: f64,
    /// Share of answers marked `low_confidence`.
    pub low_confidence_share: f64,
}

/// All figures of a set of rows.
///
/// # Errors
/// [`EvaluationError`] without rows, or with too few of a class for the balanced draws.
pub fn evaluate(
    rows: &[Observation],
    options: &EvaluationOptions,
) -> Result<EvaluationReport, EvaluationError> {
    let confusion = ConfusionMatrix::from_observations(rows);
    let reliability = ReliabilityDiagram::from_observations(rows);
    // No row, no figure: each of the three is `None` for an empty set only.
    let metrics = (confusion.accuracy(), confusion.macro_f1(), reliability.ece());
    let (Some(accuracy), Some(macro_f1), Some(ece)) = metrics else {
        return Err(EvaluationError::NoRows);
    };
    let balanced = options
        .balanced_sampling
        .map(|sampling| evaluate_balanced_draws(rows, sampling, options.seed))
        .transpose()?;
    Ok(EvaluationReport {
        rows: rows.len(),
        accuracy,
        macro_f1,
        ece,
        intervals: bootstrap(rows, options.resamples, options.seed),
        balanced,
        confidence: summarize_confidence(rows),
        low_confidence_share: share_where(rows, |row| row.low_confidence),
        truncated_share: share_where(rows, |row| row.truncated),
        route_shares: ClassifierRoute::ALL
            .into_iter()
            .map(|route| (route.name(), share_where(rows, |row| row.route == route)))
            .collect(),
        rule_shares: [TieBreakRule::AngerKeywordStandard, TieBreakRule::AngerKeywordExtended]
            .into_iter()
            .map(|rule| (rule.name(), share_where(rows, |row| row.rule == Some(rule))))
            .collect(),
        classes: Label::ALL
            .into_iter()
            .map(|label| (label, confusion.class_metrics(label)))
            .collect(),
        languages: evaluate_languages(rows),
        reliability: reliability.bins(),
        confusion,
    })
}

/// Share of the rows for which `holds`; 0 without rows.
fn share_where(rows: &[Observation], predicate: impl Fn(&Observation) -> bool) -> f64 {
    let count = rows.iter().filter(|row| predicate(row)).count();
    if rows.is_empty() { 0.0 } else { count as f64 / rows.len() as f64 }
}

fn summarize_confidence(rows: &[Observation]) -> ConfidenceSummary {
    let mut values: Vec<f64> = rows.iter().map(|row| f64::from(row.confidence)).collect();
    values.sort_by(f64::total_cmp);
    ConfidenceSummary {
        mean: values.iter().sum::<f64>() / values.len() as f64,
        p10: quantile(&values, 0.1),
        p50: quantile(&values, 0.5),
        p90: quantile(&values, 0.9),
    }
}

fn evaluate_languages(rows: &[Observation]) -> BTreeMap<String, LanguageMetrics> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.lang.as_str()).collect();
    let evaluate_language = |name: &str| {
        let rows_in_language = || rows.iter().filter(|row| row.lang == name);
        let confusion = ConfusionMatrix::from_observations(rows_in_language());
        let (count, low_confidence_rows) = (
            rows_in_language().count(),
            rows_in_language().filter(|row| row.low_confidence).count(),
        );
        Some(LanguageMetrics {
            rows: count,
            accuracy: confusion.accuracy()?,
            macro_f1: confusion.macro_f1()?,
            ece: ReliabilityDiagram::from_observations(rows_in_language()).ece()?,
            low_confidence_share: low_confidence_rows as f64 / count as f64,
        })
    };
    names.into_iter().filter_map(|name| Some((name.to_owned(), evaluate_language(name)?))).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A row in English by the linear head.
    pub(crate) fn observation(gold: Label, predicted: Label, confidence: f32) -> Observation {
        Observation {
            gold,
            predicted,
            confidence,
            low_confidence: confidence < jeffrey_classifier::LOW_CONFIDENCE_THRESHOLD,
            lang: "en".into(),
            route: ClassifierRoute::LinearHead,
            rule: None,
            truncated: false,
        }
    }

    /// Rows from (gold, predicted) indices into `Label::ALL`, all with the same confidence.
    pub(crate) fn observations(gold: &[usize], predicted: &[usize]) -> Vec<Observation> {
        gold.iter()
            .zip(predicted)
            .map(|(gold, predicted)| observation(Label::ALL[*gold], Label::ALL[*predicted], 0.5))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{observation, observations};
    use super::*;

    const WITHOUT_RESAMPLING: EvaluationOptions =
        EvaluationOptions { resamples: 0, balanced_sampling: None, seed: 1 };

    #[test]
    fn no_rows_are_refused_and_not_reported_as_zero() {
        assert_eq!(evaluate(&[], &WITHOUT_RESAMPLING), Err(EvaluationError::NoRows));
    }

    #[test]
    fn everything_right_gives_one_in_every_class_and_language() {
        let mut rows = observations(&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7]);
        rows[3].lang = "fr".into();
        let report = evaluate(&rows, &WITHOUT_RESAMPLING).unwrap();
        assert_eq!((report.accuracy, report.macro_f1), (1.0, 1.0));
        assert!(report.classes.values().all(|class| class.f1 == Some(1.0)));
        assert_eq!(report.languages["fr"].rows, 1);
        assert_eq!(report.languages["fr"].macro_f1, 1.0);
        assert_eq!(report.languages["en"].rows, 7);
    }

    #[test]
    fn shares_and_confidence_are_those_of_a_hand_count() {
        let mut rows = vec![
            observation(Label::Joy, Label::Joy, 0.25),
            observation(Label::Joy, Label::Fear, 0.5),
            observation(Label::Fear, Label::Fear, 0.75),
            observation(Label::Fear, Label::Fear, 1.0),
        ];
        rows[0].route = ClassifierRoute::Regex;
        rows[1].rule = Some(TieBreakRule::AngerKeywordExtended);
        rows[2].truncated = true;
        let report = evaluate(&rows, &WITHOUT_RESAMPLING).unwrap();
        assert_eq!(report.accuracy, 0.75);
        assert_eq!(report.low_confidence_share, 0.25);
        assert_eq!(report.truncated_share, 0.25);
        assert_eq!(report.route_shares["linear_head"], 0.75);
        assert_eq!(report.route_shares["regex"], 0.25);
        assert_eq!(report.route_shares["prototypes"], 0.0);
        assert_eq!(report.rule_shares["tiebreak_anger_keyword_extended"], 0.25);
        assert_eq!(report.rule_shares["tiebreak_anger_keyword_standard"], 0.0);
        assert_eq!(report.confidence.mean, 0.625);
        // numpy.quantile([0.25, 0.5, 0.75, 1.0], [0.1, 0.5, 0.9]) -> 0.325, 0.625, 0.925
        for (got, expected) in [
            (report.confidence.p10, 0.325),
            (report.confidence.p50, 0.625),
            (report.confidence.p90, 0.925),
        ] {
            assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
        }
    }

    #[test]
    fn the_report_is_json_with_labels_as_keys_in_their_order() {
        let report = evaluate(&observations(&[0, 7], &[0, 2]), &WITHOUT_RESAMPLING).unwrap();
        let json = serde_json::to_string(&report).unwrap();
        let positions: Vec<usize> = Label::ALL
            .iter()
            .map(|label| json.find(&format!("\"{label}\":{{\"precision\"")).unwrap())
            .collect();
        assert!(positions.is_sorted(), "{positions:?}");
        assert!(json.contains(r#""confusion":[[1,0,0,0,0,0,0,0],"#), "{json}");
    }
}
