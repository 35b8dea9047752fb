//! Evaluation of the classifier: gold labels and predictions in, metrics out.
//!
//! Takes one [`Observation`] per row and returns an [`EvaluationReport`]. No text enters, so no
//! text can leave. It reads no clock and no system randomness: resampling is seeded, so the same
//! rows give the same report. Each formula names its source: [`confusion`] for accuracy and F1,
//! [`calibration`] for the expected calibration error, [`resample`] for intervals and balanced
//! draws, [`release`] for the checks that must pass before a stage advances, [`votes`] for lines that
//! several readers labelled.

pub mod calibration;

pub mod confusion;

pub mod release;

pub mod resample;

pub mod votes;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use calibration::{ReliabilityBin, ReliabilityDiagram, RiskCoveragePoint, risk_coverage_curve};
use confusion::{ClassMetrics, ConfusionMatrix};
use jeffrey_classifier::Prediction;
use jeffrey_terms::{Label, PredictionRoute, TieBreakRule};
use resample::{BalancedMetrics, BootstrapIntervals, bootstrap, evaluate_balanced_draws, quantile};

/// One labelled row after its classification, without its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Gold label of the row.
    pub gold: Label,
    /// Label that the classifier predicted.
    pub predicted: Label,
    /// Score of the predicted label, 0 to 1.
    pub confidence: f32,
    /// Whether the prediction is marked `low_confidence`.
    pub low_confidence: bool,
    /// Language of the row; `und` when the row does not name one.
    pub lang: String,
    /// Classifier route that produced the prediction.
    pub route: PredictionRoute,
    /// Tie-break rule that changed the scores; `None` when no rule did.
    pub rule: Option<TieBreakRule>,
    /// Whether the text was longer than the encoder reads, so that its end was ignored.
    pub truncated: bool,
}

impl Observation {
    /// Combines the gold label and the language of a row with its prediction.
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

    /// Returns whether the prediction equals the gold label.
    pub fn is_correct(&self) -> bool {
        self.gold == self.predicted
    }
}

/// Metrics to compute beyond those that need no resampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationOptions {
    /// Number of bootstrap resamples for the 95 % intervals; 0 omits the intervals.
    pub resamples: usize,
    /// Size and number of the draws balanced by class; `None` omits them.
    pub balanced_sampling: Option<BalancedSampling>,
    /// Random seed of the bootstrap and of the balanced draws.
    pub seed: u64,
}

/// Size and number of draws with the same number of rows of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancedSampling {
    /// Rows of each class in a draw; above 0.
    pub rows_per_class: usize,
    /// Number of draws; above 0.
    pub draws: usize,
}

/// Reason why rows cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// There is no labelled row, or the balanced draws are empty.
    #[error("no labelled rows; at least 1 is needed")]
    NoRows,
    /// A class has too few rows for a balanced draw.
    #[error("class {label} has {rows} rows; a balanced draw needs {rows_per_class}")]
    TooFewRows {
        /// First class with too few rows.
        label: Label,
        /// Number of rows of this class.
        rows: usize,
        /// Rows of each class that a draw needs.
        rows_per_class: usize,
    },
}

/// All metrics of one evaluation; shares are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationReport {
    /// Number of evaluated rows; at least 1.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean F1 over the classes present in the gold labels.
    pub macro_f1: f64,
    /// Expected calibration error, 0 to 1, over 15 bins of equal width.
    pub ece: f64,
    /// Bootstrap 95 % intervals of the three metrics above; `None` without resamples.
    pub intervals: Option<BootstrapIntervals>,
    /// Macro-F1 over draws balanced by class; `None` without such draws.
    pub balanced_metrics: Option<BalancedMetrics>,
    /// Mean and quantiles of the confidence.
    pub confidence: ConfidenceSummary,
    /// Share of predictions marked `low_confidence`.
    pub low_confidence_share: f64,
    /// Share of texts that were longer than the encoder reads.
    pub truncated_share: f64,
    /// Share of rows that each route answered, by the route's name.
    pub route_shares: BTreeMap<&'static str, f64>,
    /// Share of rows that each tie-break rule changed, by the rule's name.
    pub tie_break_rule_shares: BTreeMap<&'static str, f64>,
    /// Precision, recall, F1 and counts of each class.
    pub classes: BTreeMap<Label, ClassMetrics>,
    /// Metrics of the rows in each language.
    pub languages: BTreeMap<String, LanguageMetrics>,
    /// Counts as `[gold][predicted]`, both in the order of [`Label::ALL`].
    pub confusion: ConfusionMatrix,
    /// Bins of the expected calibration error, lowest confidence first.
    pub reliability: Vec<ReliabilityBin>,
    /// Error of the most confident part of the rows, for each tenth of coverage.
    pub risk_coverage: Vec<RiskCoveragePoint>,
}

/// Mean and quantiles of the confidence, which is the score of the predicted label, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConfidenceSummary {
    /// Arithmetic mean of the confidences.
    pub mean: f64,
    /// 10th percentile of the confidences.
    pub p10: f64,
    /// Median of the confidences.
    pub p50: f64,
    /// 90th percentile of the confidences.
    pub p90: f64,
}

/// Metrics of the rows in one language.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LanguageMetrics {
    /// Number of rows in this language; at least 1.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean F1 over the classes present in this language's gold labels.
    pub macro_f1: f64,
    /// Expected calibration error, 0 to 1.
    pub ece: f64,
    /// Share of predictions marked `low_confidence`.
    pub low_confidence_share: f64,
}

/// Computes all metrics of a set of rows.
///
/// # Errors
/// [`EvaluationError::NoRows`] without rows or with empty balanced draws, and
/// [`EvaluationError::TooFewRows`] when a class has fewer rows than a balanced draw needs.
pub fn evaluate(
    rows: &[Observation],
    options: &EvaluationOptions,
) -> Result<EvaluationReport, EvaluationError> {
    let confusion = ConfusionMatrix::from_observations(rows);
    let reliability = ReliabilityDiagram::from_observations(rows);
    // Each of the three metrics is `None` only for an empty set.
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
        balanced_metrics: balanced,
        confidence: summarize_confidence(rows),
        low_confidence_share: share_where(rows, |row| row.low_confidence),
        truncated_share: share_where(rows, |row| row.truncated),
        route_shares: PredictionRoute::ALL
            .into_iter()
            .map(|route| (route.name(), share_where(rows, |row| row.route == route)))
            .collect(),
        tie_break_rule_shares: [
            TieBreakRule::AngerKeywordStandard,
            TieBreakRule::AngerKeywordExtended,
        ]
        .into_iter()
        .map(|rule| (rule.name(), share_where(rows, |row| row.rule == Some(rule))))
        .collect(),
        classes: Label::ALL
            .into_iter()
            .map(|label| (label, confusion.class_metrics(label)))
            .collect(),
        languages: evaluate_languages(rows),
        reliability: reliability.bins(),
        risk_coverage: risk_coverage_curve(rows),
        confusion,
    })
}

/// Returns the share of the rows that satisfy `predicate`; 0 without rows.
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

    /// Builds an English row that the linear head answered.
    pub(crate) fn observation(gold: Label, predicted: Label, confidence: f32) -> Observation {
        Observation {
            gold,
            predicted,
            confidence,
            low_confidence: confidence < jeffrey_classifier::LOW_CONFIDENCE_THRESHOLD,
            lang: "en".into(),
            route: PredictionRoute::LinearHead,
            rule: None,
            truncated: false,
        }
    }

    /// Builds rows from gold and predicted indices into `Label::ALL`, all with confidence 0.5.
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
        rows[0].route = PredictionRoute::Regex;
        rows[1].rule = Some(TieBreakRule::AngerKeywordExtended);
        rows[2].truncated = true;
        let report = evaluate(&rows, &WITHOUT_RESAMPLING).unwrap();
        assert_eq!(report.accuracy, 0.75);
        assert_eq!(report.low_confidence_share, 0.25);
        assert_eq!(report.truncated_share, 0.25);
        assert_eq!(report.route_shares["linear_head"], 0.75);
        assert_eq!(report.route_shares["regex"], 0.25);
        assert_eq!(report.route_shares["prototypes"], 0.0);
        assert_eq!(report.tie_break_rule_shares["tiebreak_anger_keyword_extended"], 0.25);
        assert_eq!(report.tie_break_rule_shares["tiebreak_anger_keyword_standard"], 0.0);
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
