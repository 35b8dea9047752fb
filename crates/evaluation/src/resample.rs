//! Bootstrap intervals and draws balanced by class; the same seed gives the same results.
//!
//! The bootstrap draws as many rows as there are, with replacement, and takes the 2.5th and 97.5th
//! percentile of each metric (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section
//! 13.3). A resample of few rows can lack a class; macro-F1 is then the mean over the classes that
//! it has. The calibration error of a resample is biased upwards, so its interval can lie above the
//! estimate: read it as an upper bound.

use serde::Serialize;

use super::calibration::ReliabilityDiagram;
use super::confusion::ConfusionMatrix;
use super::{BalancedSampling, EvaluationError, Observation};
use jeffrey_terms::Label;

/// A small random generator with 64 bits of state (Steele, Lea & Flood 2014, "Fast splittable
/// pseudorandom number generators"; <https://prng.di.unimi.it/splitmix64.c>). Not for secrets.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `bound` − 1, all equally likely; 0 when `bound` is 0.
    ///
    /// The number is the high half of a product; a low half below the rejection threshold is drawn
    /// again (Lemire 2019, <https://arxiv.org/abs/1805.10941>).
    pub fn next_below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        let rejection_threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= rejection_threshold {
                return (product >> 64) as usize;
            }
        }
    }
}

/// Interval that contains the middle 95 % of a metric over all resamples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PercentileInterval {
    /// 2.5th percentile of the values.
    pub low: f64,
    /// 97.5th percentile of the values.
    pub high: f64,
}

impl PercentileInterval {
    /// Computes the interval of the values, of which there must be at least one; sorts them.
    pub(super) fn from_values(values: &mut [f64]) -> Self {
        values.sort_by(f64::total_cmp);
        Self { low: quantile(values, 0.025), high: quantile(values, 0.975) }
    }
}

/// Bootstrap 95 % percentile intervals of the main metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BootstrapIntervals {
    /// Number of resamples; at least 1.
    pub resamples: usize,
    /// Interval of the accuracy, 0 to 1.
    pub accuracy: PercentileInterval,
    /// Interval of the macro-F1, 0 to 1.
    pub macro_f1: PercentileInterval,
    /// Interval of the expected calibration error; read it as an upper bound (see the module's
    /// docs).
    pub ece: PercentileInterval,
}

/// Metrics over draws with the same number of rows of each class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BalancedMetrics {
    /// Rows of each class in a draw.
    pub rows_per_class: usize,
    /// Number of draws; at least 1.
    pub draws: usize,
    /// Classes that are drawn from: those present in the gold labels.
    pub classes: Vec<Label>,
    /// Mean macro-F1 over the draws.
    pub macro_f1: f64,
    /// Interval that contains the macro-F1 of the middle 95 % of the draws.
    pub macro_f1_interval: PercentileInterval,
    /// Expected calibration error of all draws together, 0 to 1.
    pub ece: f64,
    /// Mean of the calibration errors of the single draws. A draw is small, so its error is biased
    /// far upwards.
    pub mean_draw_ece: f64,
}

/// Returns the quantile of sorted values at `probability` (0 to 1); NaN without values.
///
/// Interpolates linearly between neighbours: type 7 of Hyndman & Fan 1996, the default of numpy and
/// R.
pub fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = probability.clamp(0.0, 1.0) * last as f64;
    let lower = position.floor() as usize;
    let upper = (lower + 1).min(last);
    sorted[lower] + (position - lower as f64) * (sorted[upper] - sorted[lower])
}

/// Computes the bootstrap intervals of these rows; `None` without rows or without resamples.
pub fn bootstrap(rows: &[Observation], resamples: usize, seed: u64) -> Option<BootstrapIntervals> {
    if rows.is_empty() || resamples == 0 {
        return None;
    }
    let mut rng = SplitMix64::new(seed);
    let (mut accuracies, mut macro_f1s, mut eces) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..resamples {
        let mut confusion = ConfusionMatrix::default();
        let mut reliability = ReliabilityDiagram::default();
        for _ in 0..rows.len() {
            let row = &rows[rng.next_below(rows.len())];
            confusion.add(row.gold, row.predicted);
            reliability.add(row.confidence, row.is_correct());
        }
        // Each is `None` only without rows, and a resample has as many rows as the set.
        accuracies.extend(confusion.accuracy());
        macro_f1s.extend(confusion.macro_f1());
        eces.extend(reliability.ece());
    }
    Some(BootstrapIntervals {
        resamples,
        accuracy: PercentileInterval::from_values(&mut accuracies),
        macro_f1: PercentileInterval::from_values(&mut macro_f1s),
        ece: PercentileInterval::from_values(&mut eces),
    })
}

/// Computes the metrics of balanced draws, without replacement within each class that is present.
///
/// # Errors
/// [`EvaluationError::TooFewRows`] when a class that is present has fewer rows than a draw needs,
/// and [`EvaluationError::NoRows`] when no class is present, or `sampling` has 0 draws or 0 rows.
pub fn evaluate_balanced_draws(
    rows: &[Observation],
    sampling: BalancedSampling,
    seed: u64,
) -> Result<BalancedMetrics, EvaluationError> {
    let BalancedSampling { rows_per_class, draws } = sampling;
    let mut classes = Vec::new();
    let mut by_class: Vec<Vec<&Observation>> = Vec::new();
    for label in Label::ALL {
        let class_rows: Vec<&Observation> = rows.iter().filter(|row| row.gold == label).collect();
        if class_rows.is_empty() {
            continue;
        }
        if class_rows.len() < rows_per_class {
            let (rows, rows_per_class) = (class_rows.len(), rows_per_class);
            return Err(EvaluationError::TooFewRows { label, rows, rows_per_class });
        }
        classes.push(label);
        by_class.push(class_rows);
    }
    let mut rng = SplitMix64::new(seed);
    let (mut macro_f1s, mut eces) = (Vec::new(), Vec::new());
    let mut all_draws = ReliabilityDiagram::default();
    for _ in 0..draws {
        let mut confusion = ConfusionMatrix::default();
        let mut reliability = ReliabilityDiagram::default();
        for class_rows in &mut by_class {
            // The first steps of a Fisher–Yates shuffle; any initial order will do, so the order
            // that the last draw left is kept.
            for drawn in 0..rows_per_class {
                let swap_index = drawn + rng.next_below(class_rows.len() - drawn);
                class_rows.swap(drawn, swap_index);
                let row = class_rows[drawn];
                confusion.add(row.gold, row.predicted);
                reliability.add(row.confidence, row.is_correct());
                all_draws.add(row.confidence, row.is_correct());
            }
        }
        macro_f1s.extend(confusion.macro_f1());
        eces.extend(reliability.ece());
    }
    if macro_f1s.is_empty() {
        return Err(EvaluationError::NoRows);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (macro_f1, ece_of_a_draw) = (mean(&macro_f1s), mean(&eces));
    let ece = all_draws.ece().ok_or(EvaluationError::NoRows)?;
    let interval = PercentileInterval::from_values(&mut macro_f1s);
    Ok(BalancedMetrics {
        rows_per_class,
        draws,
        classes,
        macro_f1,
        macro_f1_interval: interval,
        ece,
        mean_draw_ece: ece_of_a_draw,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::observation;
    use super::*;

    /// Builds `rows` random rows over the first `classes` labels; about half of them are right.
    fn random_rows(rows: usize, classes: usize, seed: u64) -> Vec<Observation> {
        let mut rng = SplitMix64::new(seed);
        (0..rows)
            .map(|_| {
                let gold = rng.next_below(classes);
                let predicted = if rng.next_below(2) == 0 { gold } else { rng.next_below(8) };
                let confidence = 0.2 + rng.next_below(80) as f32 / 100.0;
                observation(Label::ALL[gold], Label::ALL[predicted], confidence)
            })
            .collect()
    }

    /// Compares with the first outputs of the authors' implementation for seed 1234567.
    #[test]
    fn the_generator_gives_the_published_sequence() {
        let mut rng = SplitMix64::new(1_234_567);
        let expected: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn bounded_numbers_are_in_range_and_even() {
        let mut rng = SplitMix64::new(9);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[rng.next_below(7)] += 1;
        }
        // Five standard deviations (√(70000 · 1/7 · 6/7) ≈ 93) around 10,000.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 465), "{counts:?}");
        assert_eq!((rng.next_below(1), rng.next_below(0)), (0, 0));
    }

    #[test]
    fn quantiles_equal_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.025, 0.5, 0.975, 1]) -> 1, 1.075, 3, 7.7, 8
        let values = [1.0, 2.0, 4.0, 8.0];
        for (probability, expected) in
            [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)]
        {
            let got = quantile(&values, probability);
            assert!((got - expected).abs() < 1e-12, "{probability}: {got}");
        }
        assert_eq!(quantile(&[5.0], 0.975), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_same_seed_repeats_the_intervals_and_another_does_not() {
        let rows = random_rows(120, 8, 1);
        assert_eq!(bootstrap(&rows, 200, 7), bootstrap(&rows, 200, 7));
        assert_ne!(bootstrap(&rows, 200, 7), bootstrap(&rows, 200, 8));
        assert_eq!(bootstrap(&rows, 0, 7), None);
        assert_eq!(bootstrap(&[], 200, 7), None);
    }

    #[test]
    fn the_intervals_hold_the_estimates() {
        for seed in 0..20 {
            let rows = random_rows(200, 8, seed);
            let intervals = bootstrap(&rows, 300, seed).unwrap();
            let confusion = ConfusionMatrix::from_observations(&rows);
            for (name, interval, estimate) in [
                ("accuracy", intervals.accuracy, confusion.accuracy().unwrap()),
                ("macro-F1", intervals.macro_f1, confusion.macro_f1().unwrap()),
            ] {
                assert!(interval.low < interval.high, "{name} {interval:?}");
                let is_inside = (interval.low..=interval.high).contains(&estimate);
                assert!(is_inside, "seed {seed}: {name} {estimate} {interval:?}");
            }
        }
    }

    /// Compares with the binomial standard error: accuracy 0.5 on 400 rows ± 1.96 · 0.025.
    #[test]
    fn the_interval_of_the_accuracy_is_as_wide_as_the_binomial() {
        let rows: Vec<Observation> =
            (0..400).map(|row| observation(Label::Joy, Label::ALL[row % 2], 0.5)).collect();
        let interval = bootstrap(&rows, 2000, 5).unwrap().accuracy;
        assert!((interval.low - 0.451).abs() < 0.006, "{interval:?}");
        assert!((interval.high - 0.549).abs() < 0.006, "{interval:?}");
    }

    #[test]
    fn a_balanced_draw_of_whole_classes_is_the_set_itself() {
        let mut rows = Vec::new();
        for (class_index, label) in Label::ALL.into_iter().enumerate() {
            rows.extend((0..10).map(|row| {
                observation(label, if row < class_index { Label::Joy } else { label }, 0.5)
            }));
        }
        let sampling = BalancedSampling { rows_per_class: 10, draws: 5 };
        let balanced = evaluate_balanced_draws(&rows, sampling, 1).unwrap();
        let whole_set = ConfusionMatrix::from_observations(&rows).macro_f1().unwrap();
        assert!((balanced.macro_f1 - whole_set).abs() < 1e-12);
        assert!((balanced.macro_f1_interval.high - balanced.macro_f1_interval.low).abs() < 1e-12);
        assert_eq!(balanced.classes, Label::ALL);
    }

    #[test]
    fn balanced_draws_undo_the_weight_of_a_large_class() {
        // All 900 rows of joy are right, all 100 rows of fear are predicted as joy. In a balanced
        // draw half of the rows that are predicted as joy are joy.
        let mut rows = vec![observation(Label::Joy, Label::Joy, 0.9); 900];
        rows.extend(vec![observation(Label::Fear, Label::Joy, 0.9); 100]);
        let sampling = BalancedSampling { rows_per_class: 50, draws: 20 };
        let balanced = evaluate_balanced_draws(&rows, sampling, 1).unwrap();
        // The F1 of joy is 2·50/(50 + 100), that of fear is 0.
        assert!((balanced.macro_f1 - 1.0 / 3.0).abs() < 1e-12, "{balanced:?}");
        // Half of the rows are right at a confidence of 0.9.
        assert!((balanced.ece - 0.4).abs() < 1e-6, "{balanced:?}");
        assert!((balanced.mean_draw_ece - 0.4).abs() < 1e-6, "{balanced:?}");
        assert_eq!(balanced.classes, [Label::Joy, Label::Fear]);
    }

    #[test]
    fn a_class_with_too_few_rows_is_named() {
        let rows = random_rows(40, 2, 1);
        let sampling = BalancedSampling { rows_per_class: 100, draws: 10 };
        let error = evaluate_balanced_draws(&rows, sampling, 1).unwrap_err().to_string();
        assert!(error.starts_with("class joy has "), "{error}");
        assert!(error.ends_with(" rows; a balanced draw needs 100"), "{error}");
        let no_draws = BalancedSampling { rows_per_class: 1, draws: 0 };
        assert_eq!(evaluate_balanced_draws(&rows, no_draws, 1), Err(EvaluationError::NoRows));
    }

    #[test]
    fn the_same_seed_repeats_the_draws() {
        let rows = random_rows(800, 8, 4);
        let sampling = BalancedSampling { rows_per_class: 20, draws: 30 };
        assert_eq!(
            evaluate_balanced_draws(&rows, sampling, 3),
            evaluate_balanced_draws(&rows, sampling, 3)
        );
        assert_ne!(
            evaluate_balanced_draws(&rows, sampling, 3),
            evaluate_balanced_draws(&rows, sampling, 4)
        );
    }
}
