//! Calibration: compares the confidence of predictions with how often they are right.
//!
//! With perfect calibration, 80 % of the rows with confidence 0.8 are right. The expected
//! calibration error over [`BIN_COUNT`] bins of equal width is Σ |B|/n · |acc(B) − conf(B)|
//! (Naeini, Cooper & Hauskrecht 2015, <https://ojs.aaai.org/index.php/AAAI/article/view/9602>; Guo
//! et al. 2017, <https://arxiv.org/abs/1706.04599>, equations 3 and 5). Only the top score of each
//! row counts. The error is biased upwards on few rows: even a perfect model's bins miss their mean
//! by chance.

use serde::Serialize;

use super::Observation;

/// Number of bins, the same as in Guo et al. 2017, so that results can be compared with theirs.
pub const BIN_COUNT: usize = 15;

/// Sums of each confidence bin, from which the calibration metrics follow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReliabilityDiagram {
    rows: [u64; BIN_COUNT],
    correct_rows: [u64; BIN_COUNT],
    confidence_sums: [f64; BIN_COUNT],
}

/// One bin of the reliability table: confidences in (low, high].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Lower edge, exclusive; the first bin includes 0.
    pub low: f64,
    /// Upper edge of the bin, inclusive.
    pub high: f64,
    /// Number of rows in the bin.
    pub rows: u64,
    /// Mean confidence of the rows; `None` for an empty bin.
    pub confidence: Option<f64>,
    /// Share of the rows with the right label; `None` for an empty bin.
    pub accuracy: Option<f64>,
}

/// Error of the most confident part of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RiskCoveragePoint {
    /// Share of the rows that are answered, 0.1 to 1.
    pub coverage: f64,
    /// Confidence of the last row that is answered, 0 to 1.
    pub threshold: f64,
    /// Share of the answered rows with a wrong label.
    pub risk: f64,
}

/// Returns the risk-coverage curve at each tenth of coverage (El-Yaniv & Wiener 2010,
/// <https://www.jmlr.org/papers/v11/el-yaniv10a.html>): the rows with the highest confidence are
/// answered first, those of equal confidence in their order. Empty without rows.
pub fn risk_coverage_curve(rows: &[Observation]) -> Vec<RiskCoveragePoint> {
    let mut sorted: Vec<&Observation> = rows.iter().collect();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let to_point = |tenth: usize| {
        // The nearest count, at least one row.
        let count = ((tenth * sorted.len() + 5) / 10).max(1);
        let answered = sorted.get(..count)?;
        let wrong = answered.iter().filter(|row| !row.is_correct()).count();
        Some(RiskCoveragePoint {
            coverage: tenth as f64 / 10.0,
            threshold: f64::from(answered.last()?.confidence),
            risk: wrong as f64 / count as f64,
        })
    };
    (1..=10).filter_map(to_point).collect()
}

impl ReliabilityDiagram {
    /// Computes the sums of these rows.
    pub fn from_observations<'a>(rows: impl IntoIterator<Item = &'a Observation>) -> Self {
        let mut reliability = Self::default();
        for row in rows {
            reliability.add(row.confidence, row.is_correct());
        }
        reliability
    }

    /// Adds one row with a confidence from 0 to 1.
    pub fn add(&mut self, confidence: f32, is_correct: bool) {
        let confidence = f64::from(confidence);
        // Bin m is ((m − 1)/M, m/M], as in the paper. The cast saturates and the result is clamped,
        // so the index is in range.
        let bin = ((confidence * BIN_COUNT as f64).ceil() as usize).clamp(1, BIN_COUNT) - 1;
        self.rows[bin] += 1;
        self.correct_rows[bin] += u64::from(is_correct);
        self.confidence_sums[bin] += confidence;
    }

    /// Returns the expected calibration error, 0 to 1; `None` without rows.
    pub fn ece(&self) -> Option<f64> {
        let total: u64 = self.rows.iter().sum();
        // In |B|/n · |right/|B| − confidence/|B|| the number of rows |B| cancels out.
        let gaps = self.correct_rows.iter().zip(self.confidence_sums);
        let gap: f64 = gaps.map(|(right, confidence)| (*right as f64 - confidence).abs()).sum();
        (total > 0).then(|| gap / total as f64)
    }

    /// Returns the reliability table, lowest confidence first.
    pub fn bins(&self) -> Vec<ReliabilityBin> {
        let mean = |sum: f64, rows: u64| (rows > 0).then(|| sum / rows as f64);
        (0..BIN_COUNT)
            .map(|bin| ReliabilityBin {
                low: bin as f64 / BIN_COUNT as f64,
                high: (bin + 1) as f64 / BIN_COUNT as f64,
                rows: self.rows[bin],
                confidence: mean(self.confidence_sums[bin], self.rows[bin]),
                accuracy: mean(self.correct_rows[bin] as f64, self.rows[bin]),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::resample::SplitMix64;
    use super::*;

    #[test]
    fn the_most_confident_rows_are_answered_first() {
        use super::super::testing::observation;
        use jeffrey_terms::Label;
        let row = |index: usize, predicted| {
            observation(Label::Joy, predicted, 0.99 - 0.01 * index as f32)
        };
        // The less confident half is wrong, and comes first in the rows.
        let rows: Vec<_> = (10..20)
            .map(|index| row(index, Label::Fear))
            .chain((0..10).map(|index| row(index, Label::Joy)))
            .collect();
        let curve = risk_coverage_curve(&rows);
        let risks: Vec<f64> = curve.iter().map(|point| point.risk).collect();
        assert_eq!(curve.len(), 10);
        assert_eq!(&risks[..5], [0.0; 5]);
        assert_eq!((risks[5], risks[9]), (2.0 / 12.0, 0.5));
        assert!((curve[4].threshold - 0.9).abs() < 1e-6, "{:?}", curve[4]);
        assert_eq!(risk_coverage_curve(&[]), []);
        assert_eq!(risk_coverage_curve(&rows[..1]).len(), 10);
    }

    fn build_diagram(rows: &[(f32, bool)]) -> ReliabilityDiagram {
        let mut reliability = ReliabilityDiagram::default();
        for (confidence, is_correct) in rows {
            reliability.add(*confidence, *is_correct);
        }
        reliability
    }

    /// Computed by hand: bin 8 of 15 has 0.5 and 0.53 (one right: |0.5 − 0.515| · 2/4 = 0.0075),
    /// bin 14 has 0.9 twice (both right: |1 − 0.9| · 2/4 = 0.05).
    #[test]
    fn the_error_equals_a_computation_by_hand() {
        let reliability = build_diagram(&[(0.5, true), (0.53, false), (0.9, true), (0.9, true)]);
        let ece = reliability.ece().unwrap();
        assert!((ece - 0.0575).abs() < 1e-6, "{ece}");
        let bins = reliability.bins();
        assert_eq!((bins[7].rows, bins[13].rows), (2, 2));
        assert_eq!(bins[7].accuracy, Some(0.5));
        assert!((bins[7].confidence.unwrap() - 0.515).abs() < 1e-6);
        assert_eq!(bins[0].accuracy, None);
    }

    #[test]
    fn a_perfectly_calibrated_set_has_no_error() {
        // One of 4 rows at 0.25 is right, 3 of 4 at 0.75, and both rows at 1.0.
        let mut rows = vec![(0.25, true), (0.75, false), (1.0, true), (1.0, true)];
        rows.extend([(0.25, false); 3]);
        rows.extend([(0.75, true); 3]);
        assert_eq!(build_diagram(&rows).ece(), Some(0.0));
    }

    #[test]
    fn being_sure_and_always_wrong_is_the_largest_error() {
        assert_eq!(build_diagram(&[(1.0, false); 5]).ece(), Some(1.0));
        assert_eq!(ReliabilityDiagram::default().ece(), None);
    }

    #[test]
    fn every_confidence_has_its_bin_and_the_upper_edge_belongs_to_it() {
        for (confidence, expected) in [(0.0, 0), (0.01, 0), (0.5, 7), (0.999, 14), (1.0, 14)] {
            let bins = build_diagram(&[(confidence, true)]).bins();
            let bin = bins.iter().position(|bin| bin.rows == 1).unwrap();
            assert_eq!(bin, expected, "{confidence}");
            assert!(f64::from(confidence) <= bins[bin].high);
        }
        // Scores are finite by construction; any other value still gets an index in range.
        build_diagram(&[(f32::NAN, true), (f32::INFINITY, true), (-1.0, true)]);
    }

    #[test]
    fn the_error_stays_between_zero_and_one_on_random_rows() {
        let mut rng = SplitMix64::new(3);
        for _ in 0..200 {
            let rows: Vec<(f32, bool)> = (0..1 + rng.next_below(50))
                .map(|_| (rng.next_below(1001) as f32 / 1000.0, rng.next_below(2) == 0))
                .collect();
            let ece = build_diagram(&rows).ece().unwrap();
            assert!((0.0..=1.0).contains(&ece), "{ece}");
        }
    }
}
