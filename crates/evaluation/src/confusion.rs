//! Confusion matrix of gold and predicted labels, and the metrics that follow from it.
//!
//! Precision, recall and F1 are those of scikit-learn
//! (<https://scikit-learn.org/stable/modules/model_evaluation.html>, "Precision, recall and
//! F-measures"). Macro-F1 is the mean of the classes' F1, not the F1 of the mean precision and
//! recall; the two differ (Opitz & Burst 2019, <https://arxiv.org/abs/1911.03347>).

use serde::Serialize;

use super::Observation;
use jeffrey_terms::Label;

/// Number of rows as `[gold][predicted]`, both in the order of [`Label::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfusionMatrix {
    counts: [[u64; 8]; 8],
}

/// Metrics of one class; `None` where a metric would divide by zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Share of this class among the rows predicted as it; `None` without predicted rows.
    pub precision: Option<f64>,
    /// Share of the rows of this class that are predicted as it; `None` without rows of the class.
    pub recall: Option<f64>,
    /// F1 = 2·tp / (2·tp + fp + fn); `None` when the class is neither in gold nor predicted.
    pub f1: Option<f64>,
    /// Number of rows with this gold label.
    pub support: u64,
    /// Number of rows predicted as this class.
    pub predicted: u64,
}

impl ConfusionMatrix {
    /// Counts these rows in a new matrix.
    pub fn from_observations<'a>(rows: impl IntoIterator<Item = &'a Observation>) -> Self {
        let mut confusion = Self::default();
        for row in rows {
            confusion.add(row.gold, row.predicted);
        }
        confusion
    }

    /// Adds one row with its gold and its predicted label.
    pub fn add(&mut self, gold: Label, predicted: Label) {
        self.add_rows(gold, predicted, 1);
    }

    /// Adds `count` rows with the same gold and the same predicted label.
    pub fn add_rows(&mut self, gold: Label, predicted: Label, count: u64) {
        self.counts[gold.index()][predicted.index()] += count;
    }

    /// Returns how often `gold` was predicted as `predicted`.
    pub fn count(&self, gold: Label, predicted: Label) -> u64 {
        self.counts[gold.index()][predicted.index()]
    }

    /// Returns the number of rows with this gold label.
    pub fn support(&self, label: Label) -> u64 {
        self.counts[label.index()].iter().sum()
    }

    /// Returns the share of rows on the diagonal; `None` without rows.
    pub fn accuracy(&self) -> Option<f64> {
        let correct: u64 = Label::ALL.into_iter().map(|label| self.count(label, label)).sum();
        ratio(correct, self.counts.iter().flatten().sum())
    }

    /// Returns precision, recall, F1 and counts of one class.
    pub fn class_metrics(&self, label: Label) -> ClassMetrics {
        let true_positives = self.count(label, label);
        let support = self.support(label);
        let predicted = self.counts.iter().map(|row| row[label.index()]).sum();
        ClassMetrics {
            precision: ratio(true_positives, predicted),
            recall: ratio(true_positives, support),
            // tp + fn is the support, and tp + fp the number of predicted rows.
            f1: ratio(2 * true_positives, support + predicted),
            support,
            predicted,
        }
    }

    /// Returns the mean F1 over the classes present in the gold labels; `None` without rows.
    ///
    /// scikit-learn's default also includes labels that are only predicted, each with an F1 of 0.
    /// The first wrong prediction of frustration would then lower the mean of a French set without
    /// frustration twice, because it already lowers the recall of the row's own class.
    pub fn macro_f1(&self) -> Option<f64> {
        let present = Label::ALL.into_iter().filter(|label| self.support(*label) > 0);
        let (mut sum, mut classes) = (0.0, 0_u64);
        for label in present {
            sum += self.class_metrics(label).f1?;
            classes += 1;
        }
        (classes > 0).then(|| sum / classes as f64)
    }
}

fn ratio(numerator: u64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::observations;
    use super::*;

    fn is_close(got: Option<f64>, expected: f64) -> bool {
        got.is_some_and(|got| (got - expected).abs() < 1e-12)
    }

    /// Example from scikit-learn's docs of `f1_score`: y_true 0 1 2 0 1 2 and y_pred 0 2 1 0 0 1
    /// give F1 of 0.8, 0, 0 per class, macro 0.26…; precision 2/3, 0, 0 and recall 1, 0, 0.
    #[test]
    fn f1_equals_the_example_of_scikit_learn() {
        let confusion = ConfusionMatrix::from_observations(&observations(
            &[0, 1, 2, 0, 1, 2],
            &[0, 2, 1, 0, 0, 1],
        ));
        let expected = [(2.0 / 3.0, 1.0, 0.8), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)];
        for (label, (precision, recall, f1)) in Label::ALL.into_iter().zip(expected) {
            let class = confusion.class_metrics(label);
            assert!(is_close(class.precision, precision), "{label} {class:?}");
            assert!(is_close(class.recall, recall), "{label} {class:?}");
            assert!(is_close(class.f1, f1), "{label} {class:?}");
        }
        assert!(is_close(confusion.macro_f1(), 0.8 / 3.0));
        assert!(is_close(confusion.accuracy(), 1.0 / 3.0));
    }

    /// Example from scikit-learn's docs of `confusion_matrix`: 2 0 2 2 0 1 against 0 0 2 2 0 2.
    #[test]
    fn the_matrix_has_gold_in_rows_as_in_scikit_learn() {
        let confusion = ConfusionMatrix::from_observations(&observations(
            &[2, 0, 2, 2, 0, 1],
            &[0, 0, 2, 2, 0, 2],
        ));
        let corner: Vec<&[u64]> = confusion.counts[..3].iter().map(|row| &row[..3]).collect();
        assert_eq!(corner, [[2, 0, 0], [0, 0, 1], [1, 0, 2]]);
    }

    /// Example from scikit-learn's docs of `classification_report`: 0 1 2 2 2 against 0 0 2 2 1
    /// gives precision 0.50 0.00 1.00, recall 1.00 0.00 0.67, F1 0.67 0.00 0.80, macro 0.49,
    /// accuracy 0.60.
    #[test]
    fn a_classification_report_of_scikit_learn_is_met() {
        let confusion =
            ConfusionMatrix::from_observations(&observations(&[0, 1, 2, 2, 2], &[0, 0, 2, 2, 1]));
        assert!(is_close(confusion.class_metrics(Label::Joy).f1, 2.0 / 3.0));
        assert!(is_close(confusion.class_metrics(Label::Anger).precision, 1.0));
        assert!(is_close(confusion.class_metrics(Label::Anger).recall, 2.0 / 3.0));
        assert!(is_close(confusion.class_metrics(Label::Anger).f1, 0.8));
        assert!(is_close(confusion.macro_f1(), (2.0 / 3.0 + 0.8) / 3.0));
        assert!(is_close(confusion.accuracy(), 0.6));
    }

    #[test]
    fn a_class_that_is_only_predicted_is_not_in_the_macro_mean() {
        let confusion = ConfusionMatrix::from_observations(&observations(&[0, 0, 0], &[0, 0, 7]));
        assert_eq!(confusion.class_metrics(Label::Frustration).f1, Some(0.0));
        assert_eq!(confusion.class_metrics(Label::Frustration).recall, None);
        assert!(is_close(confusion.macro_f1(), 0.8));
        assert_eq!(confusion.class_metrics(Label::Fear).f1, None);
    }

    #[test]
    fn without_rows_there_is_no_figure() {
        let empty = ConfusionMatrix::default();
        assert_eq!((empty.accuracy(), empty.macro_f1()), (None, None));
    }
}
