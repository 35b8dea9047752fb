//! Metrics on lines that people or models labelled by reading them, each line with its votes.
//!
//! Two figures are taken of each metric. One uses only the undisputed lines, whose votes all name
//! one label. The other uses every vote: a line counts as one row, split evenly among its votes, and
//! a vote for "unclear" has no label and is left out. Both are counted in a [`ConfusionMatrix`], so
//! its formulas and sources apply.
//!
//! Neutral has figures of its own, because most real lines are neutral. The sweep over the score of
//! neutral says how well this score ranks the lines, whatever label has the highest score.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::EvaluationError;
use super::confusion::ConfusionMatrix;
use super::resample::{PercentileInterval, SplitMix64};
use jeffrey_terms::Label;

/// Largest share of the emotional lines that the sweep may read as neutral.
pub const EMOTIONAL_LOST_MAX: f64 = 0.2;

/// Parts into which the confusion matrix divides a line, so that 1 to 6 votes share it evenly.
const UNITS_PER_LINE: u64 = 60;

/// One line with the votes of its readers and its prediction, without its text.
#[derive(Clone, Debug, PartialEq)]
pub struct VotedLine {
    /// Votes in the order of the passes, 1 to 6; `None` stands for "unclear".
    pub votes: Vec<Option<Label>>,
    /// Label that the classifier predicted.
    pub predicted: Label,
    /// Score that the classifier gave to neutral, 0 to 1.
    pub neutral_score: f32,
    /// Name of the source from which the line was drawn.
    pub source: String,
}

/// All metrics of a set of read lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VotedReport {
    /// Number of lines, disputed ones included; at least 1.
    pub lines: usize,
    /// Metrics of the lines whose votes all name one label.
    pub undisputed: VotedMetrics,
    /// Metrics of all lines, each split evenly among its votes.
    pub all: VotedMetrics,
    /// Agreement of the classifier with the readers, by the source of the lines.
    pub sources: BTreeMap<String, SourceAgreement>,
}

/// Metrics of a set of lines by their votes; `None` where a metric would divide by zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VotedMetrics {
    /// Number of lines with at least one counted vote.
    pub lines: usize,
    /// Share of the votes that the prediction equals.
    pub accuracy: Option<f64>,
    /// Mean F1 over the classes that have votes.
    pub macro_f1: Option<f64>,
    /// Metrics that concern the label neutral alone.
    pub neutral: NeutralMetrics,
    /// Bootstrap 95 % intervals of the metrics above; `None` without resamples.
    pub intervals: Option<VotedIntervals>,
    /// Precision, recall, F1 and counts of each class.
    pub classes: BTreeMap<Label, VotedClassMetrics>,
}

/// How well neutral is told from the seven emotions; shares are 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NeutralMetrics {
    /// Share of the neutral lines that are predicted as neutral.
    pub recall: Option<f64>,
    /// Share of the emotional lines that are predicted as neutral.
    pub emotional_lost: Option<f64>,
    /// Share of the neutral lines at or above `threshold`.
    pub recall_at_threshold: Option<f64>,
    /// Lowest score of neutral at which at most [`EMOTIONAL_LOST_MAX`] of the emotional lines reach
    /// it; `None` if too many of them have the highest score.
    pub threshold: Option<f32>,
}

/// Metrics of one class by votes; `None` where a metric would divide by zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VotedClassMetrics {
    /// Share of this class among the votes on lines predicted as it.
    pub precision: Option<f64>,
    /// Share of the votes for this class whose lines are predicted as it.
    pub recall: Option<f64>,
    /// F1 = 2·tp / (2·tp + fp + fn).
    pub f1: Option<f64>,
    /// Number of lines with this label; a split line counts in part.
    pub support: f64,
    /// Number of lines predicted as this class; a line counts in part if some votes are "unclear".
    pub predicted: f64,
}

/// Bootstrap 95 % percentile intervals; `None` if no resample has a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VotedIntervals {
    /// Number of resamples; at least 1.
    pub resamples: usize,
    /// Interval of the accuracy, 0 to 1.
    pub accuracy: Option<PercentileInterval>,
    /// Interval of the macro-F1, 0 to 1.
    pub macro_f1: Option<PercentileInterval>,
    /// Interval of the neutral recall, 0 to 1.
    pub neutral_recall: Option<PercentileInterval>,
    /// Interval of the share of emotional lines that are predicted as neutral.
    pub emotional_lost: Option<PercentileInterval>,
    /// Interval of the neutral recall at the threshold, which each resample sets anew.
    pub recall_at_threshold: Option<PercentileInterval>,
}

/// Agreement of the classifier with the readers on the lines of one source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SourceAgreement {
    /// Number of lines, disputed ones included.
    pub lines: usize,
    /// Number of lines whose votes all name one label.
    pub undisputed: usize,
    /// Share of the undisputed lines with that label as prediction; `None` without such lines.
    pub agreement: Option<f64>,
    /// Share of the undisputed neutral lines that are predicted as neutral.
    pub neutral_recall: Option<f64>,
    /// Share of the undisputed emotional lines that are predicted as any emotion.
    pub emotional_found: Option<f64>,
}

impl VotedLine {
    /// Returns the label that all votes name; `None` for a disputed or unclear line.
    pub fn undisputed_label(&self) -> Option<Label> {
        let first = (*self.votes.first()?)?;
        self.votes.iter().all(|vote| *vote == Some(first)).then_some(first)
    }
}

/// Computes all metrics of read lines, with `resamples` bootstrap samples by `seed`.
///
/// # Errors
/// [`EvaluationError::NoRows`] if no line is undisputed.
pub fn evaluate_votes(
    lines: &[VotedLine],
    resamples: usize,
    seed: u64,
) -> Result<VotedReport, EvaluationError> {
    let undisputed = weigh_undisputed(lines);
    if undisputed.is_empty() {
        return Err(EvaluationError::NoRows);
    }
    Ok(VotedReport {
        lines: lines.len(),
        undisputed: summarize(&undisputed, resamples, seed),
        all: summarize(&weigh_by_votes(lines), resamples, seed),
        sources: summarize_sources(lines),
    })
}

/// Computes the class metrics of the undisputed lines alone, as for lines drawn by their labels,
/// whose mix is not a natural one.
pub fn evaluate_classes(lines: &[VotedLine]) -> BTreeMap<Label, VotedClassMetrics> {
    let weighted = weigh_undisputed(lines);
    summarize_classes(&count_sample(&weighted, &vec![1; weighted.len()]).confusion)
}

/// One line as units of a [`ConfusionMatrix`].
struct WeightedLine {
    /// Units of each label in the order of [`Label::ALL`], together at most [`UNITS_PER_LINE`].
    units: [u64; 8],
    predicted: Label,
    neutral_score: f32,
}

impl WeightedLine {
    fn neutral_units(&self) -> u64 {
        self.units[Label::Neutral.index()]
    }

    fn emotional_units(&self) -> u64 {
        self.units.iter().sum::<u64>() - self.neutral_units()
    }
}

/// Counts of a sample, from which every metric follows.
struct SampleCounts {
    confusion: ConfusionMatrix,
    neutral: NeutralMetrics,
}

/// Returns the undisputed lines with their whole weight, highest score of neutral first.
fn weigh_undisputed(lines: &[VotedLine]) -> Vec<WeightedLine> {
    weigh(lines, |line| {
        let mut units = [0; 8];
        units[line.undisputed_label()?.index()] = UNITS_PER_LINE;
        Some(units)
    })
}

/// Returns all lines that have a vote for a label, highest score of neutral first.
fn weigh_by_votes(lines: &[VotedLine]) -> Vec<WeightedLine> {
    weigh(lines, |line| {
        let mut units = [0; 8];
        for label in line.votes.iter().flatten() {
            units[label.index()] += UNITS_PER_LINE / line.votes.len() as u64;
        }
        (units != [0; 8]).then_some(units)
    })
}

fn weigh(
    lines: &[VotedLine],
    to_units: impl Fn(&VotedLine) -> Option<[u64; 8]>,
) -> Vec<WeightedLine> {
    let to_weighted = |line: &VotedLine| {
        let (predicted, neutral_score) = (line.predicted, line.neutral_score);
        Some(WeightedLine { units: to_units(line)?, predicted, neutral_score })
    };
    let mut weighted: Vec<WeightedLine> = lines.iter().filter_map(to_weighted).collect();
    weighted.sort_by(|a, b| b.neutral_score.total_cmp(&a.neutral_score));
    weighted
}

/// Counts a sample in which each line occurs `counts[line]` times; the lines are sorted as by
/// [`weigh`].
fn count_sample(lines: &[WeightedLine], counts: &[u64]) -> SampleCounts {
    let mut confusion = ConfusionMatrix::default();
    let (mut neutral_total, mut emotional_total) = (0, 0);
    for (line, count) in lines.iter().zip(counts) {
        for gold in Label::ALL {
            confusion.add_rows(gold, line.predicted, line.units[gold.index()] * count);
        }
        neutral_total += line.neutral_units() * count;
        emotional_total += line.emotional_units() * count;
    }
    let predicted_neutral = |gold: Label| confusion.count(gold, Label::Neutral);
    let emotional_lost: u64 =
        Label::ALL.into_iter().filter(|gold| *gold != Label::Neutral).map(predicted_neutral).sum();
    let share = |part: u64, total: u64| (total > 0).then(|| part as f64 / total as f64);
    let (neutral_reached, threshold) = sweep_threshold(lines, counts, emotional_total);
    let neutral = NeutralMetrics {
        recall: share(predicted_neutral(Label::Neutral), neutral_total),
        emotional_lost: share(emotional_lost, emotional_total),
        recall_at_threshold: share(neutral_reached, neutral_total),
        threshold,
    };
    SampleCounts { confusion, neutral }
}

/// Returns the lowest threshold that at most [`EMOTIONAL_LOST_MAX`] of the emotional units reach,
/// and the neutral units that reach it. Lines of one score stand on the same side of a threshold.
fn sweep_threshold(
    lines: &[WeightedLine],
    counts: &[u64],
    emotional_total: u64,
) -> (u64, Option<f32>) {
    let emotional_max = EMOTIONAL_LOST_MAX * emotional_total as f64;
    let (mut best, mut neutral, mut emotional) = ((0, None), 0, 0);
    for (index, (line, count)) in lines.iter().zip(counts).enumerate() {
        neutral += line.neutral_units() * count;
        emotional += line.emotional_units() * count;
        if emotional as f64 > emotional_max {
            break;
        }
        let next = lines.get(index + 1).map(|line| line.neutral_score);
        if next != Some(line.neutral_score) {
            best = (neutral, Some(line.neutral_score));
        }
    }
    best
}

fn summarize(lines: &[WeightedLine], resamples: usize, seed: u64) -> VotedMetrics {
    let SampleCounts { confusion, neutral } = count_sample(lines, &vec![1; lines.len()]);
    VotedMetrics {
        lines: lines.len(),
        accuracy: confusion.accuracy(),
        macro_f1: confusion.macro_f1(),
        neutral,
        intervals: bootstrap_lines(lines, resamples, seed),
        classes: summarize_classes(&confusion),
    }
}

fn summarize_classes(confusion: &ConfusionMatrix) -> BTreeMap<Label, VotedClassMetrics> {
    let to_metrics = |label: Label| {
        let class = confusion.class_metrics(label);
        let metrics = VotedClassMetrics {
            precision: class.precision,
            recall: class.recall,
            f1: class.f1,
            support: class.support as f64 / UNITS_PER_LINE as f64,
            predicted: class.predicted as f64 / UNITS_PER_LINE as f64,
        };
        (label, metrics)
    };
    Label::ALL.into_iter().map(to_metrics).collect()
}

/// Computes the intervals by drawing lines with replacement; `None` without lines or resamples.
fn bootstrap_lines(lines: &[WeightedLine], resamples: usize, seed: u64) -> Option<VotedIntervals> {
    if lines.is_empty() || resamples == 0 {
        return None;
    }
    let mut rng = SplitMix64::new(seed);
    let mut values: [Vec<f64>; 5] = Default::default();
    let mut counts = vec![0; lines.len()];
    for _ in 0..resamples {
        counts.fill(0);
        for _ in 0..lines.len() {
            counts[rng.next_below(lines.len())] += 1;
        }
        let SampleCounts { confusion, neutral } = count_sample(lines, &counts);
        let drawn = [
            confusion.accuracy(),
            confusion.macro_f1(),
            neutral.recall,
            neutral.emotional_lost,
            neutral.recall_at_threshold,
        ];
        for (values, drawn) in values.iter_mut().zip(drawn) {
            values.extend(drawn);
        }
    }
    let [accuracy, macro_f1, neutral_recall, emotional_lost, recall_at_threshold] =
        values.map(|mut values| {
            (!values.is_empty()).then(|| PercentileInterval::from_values(&mut values))
        });
    Some(VotedIntervals {
        resamples,
        accuracy,
        macro_f1,
        neutral_recall,
        emotional_lost,
        recall_at_threshold,
    })
}

fn summarize_sources(lines: &[VotedLine]) -> BTreeMap<String, SourceAgreement> {
    let names: BTreeSet<&str> = lines.iter().map(|line| line.source.as_str()).collect();
    let summarize_source = |name: &str| {
        let mut confusion = ConfusionMatrix::default();
        let (mut count, mut undisputed) = (0, 0);
        let (mut emotional, mut emotional_found) = (0_u32, 0_u32);
        for line in lines.iter().filter(|line| line.source == name) {
            count += 1;
            let Some(label) = line.undisputed_label() else { continue };
            undisputed += 1;
            confusion.add(label, line.predicted);
            emotional += u32::from(label != Label::Neutral);
            emotional_found +=
                u32::from(label != Label::Neutral && line.predicted != Label::Neutral);
        }
        SourceAgreement {
            lines: count,
            undisputed,
            agreement: confusion.accuracy(),
            neutral_recall: confusion.class_metrics(Label::Neutral).recall,
            emotional_found: (emotional > 0)
                .then(|| f64::from(emotional_found) / f64::from(emotional)),
        }
    };
    names.into_iter().map(|name| (name.to_owned(), summarize_source(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::observation;
    use super::*;

    fn line(votes: &[Option<Label>], predicted: Label, neutral_score: f32) -> VotedLine {
        VotedLine { votes: votes.to_vec(), predicted, neutral_score, source: "a".into() }
    }

    fn agreed(gold: Label, predicted: Label, neutral_score: f32) -> VotedLine {
        line(&[Some(gold), Some(gold)], predicted, neutral_score)
    }

    /// Builds `count` random lines of two votes, about a third of them disputed.
    fn random_lines(count: usize, seed: u64) -> Vec<VotedLine> {
        let mut rng = SplitMix64::new(seed);
        (0..count)
            .map(|_| {
                let gold = Some(Label::ALL[rng.next_below(8)]);
                let second = match rng.next_below(6) {
                    0 => None,
                    1 => Some(Label::ALL[rng.next_below(8)]),
                    _ => gold,
                };
                let score = rng.next_below(100) as f32 / 100.0;
                line(&[gold, second], Label::ALL[rng.next_below(8)], score)
            })
            .collect()
    }

    #[test]
    fn a_line_is_undisputed_only_if_all_votes_name_one_label() {
        let (joy, fear) = (Some(Label::Joy), Some(Label::Fear));
        let rows = [
            (vec![joy, joy], joy),
            (vec![joy], joy),
            (vec![joy, fear, joy], None),
            (vec![joy, None], None),
            (vec![None, None], None),
            (vec![], None),
        ];
        for (votes, expected) in rows {
            assert_eq!(line(&votes, Label::Joy, 0.0).undisputed_label(), expected, "{votes:?}");
        }
    }

    #[test]
    fn undisputed_lines_have_the_metrics_of_labelled_rows() {
        let lines = random_lines(300, 3);
        let report = evaluate_votes(&lines, 0, 1).unwrap();
        let rows: Vec<_> = lines
            .iter()
            .filter_map(|line| Some(observation(line.undisputed_label()?, line.predicted, 0.5)))
            .collect();
        let confusion = ConfusionMatrix::from_observations(&rows);
        assert_eq!(report.undisputed.lines, rows.len());
        assert!(rows.len() < report.all.lines && report.all.lines <= report.lines);
        assert_eq!(report.undisputed.macro_f1, confusion.macro_f1());
        assert_eq!(report.undisputed.accuracy, confusion.accuracy());
        for (label, class) in &report.undisputed.classes {
            let expected = confusion.class_metrics(*label);
            assert_eq!((class.f1, class.recall), (expected.f1, expected.recall), "{label}");
            assert_eq!(class.support, expected.support as f64, "{label}");
            assert_eq!(class.predicted, expected.predicted as f64, "{label}");
        }
    }

    #[test]
    fn a_disputed_line_counts_in_parts_and_unclear_votes_do_not() {
        let (joy, fear) = (Some(Label::Joy), Some(Label::Fear));
        let lines = [
            line(&[joy, fear, joy], Label::Joy, 0.0),
            line(&[joy, None], Label::Fear, 0.0),
            line(&[None, None], Label::Fear, 0.0),
            agreed(Label::Fear, Label::Fear, 0.0),
        ];
        let report = evaluate_votes(&lines, 0, 1).unwrap();
        assert_eq!((report.lines, report.all.lines, report.undisputed.lines), (4, 3, 1));
        let joy = report.all.classes[&Label::Joy];
        // Two thirds of the first line and half of the second; the first is predicted as joy.
        assert!((joy.support - 7.0 / 6.0).abs() < 1e-12, "{joy:?}");
        assert!((joy.predicted - 1.0).abs() < 1e-12, "{joy:?}");
        assert!((joy.recall.unwrap() - 4.0 / 7.0).abs() < 1e-12, "{joy:?}");
        assert!((joy.precision.unwrap() - 2.0 / 3.0).abs() < 1e-12, "{joy:?}");
        // Of 2.5 counted lines, 2/3 and 1 are right.
        assert!((report.all.accuracy.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn neutral_metrics_are_those_of_a_hand_count() {
        let lines = [
            agreed(Label::Neutral, Label::Neutral, 0.9),
            agreed(Label::Neutral, Label::Joy, 0.4),
            agreed(Label::Neutral, Label::Joy, 0.2),
            agreed(Label::Neutral, Label::Joy, 0.1),
            agreed(Label::Joy, Label::Neutral, 0.5),
            agreed(Label::Joy, Label::Joy, 0.2),
            agreed(Label::Fear, Label::Joy, 0.15),
            agreed(Label::Fear, Label::Joy, 0.1),
            agreed(Label::Anger, Label::Anger, 0.0),
        ];
        let neutral = evaluate_votes(&lines, 0, 1).unwrap().undisputed.neutral;
        assert_eq!(neutral.recall, Some(0.25));
        assert_eq!(neutral.emotional_lost, Some(0.2));
        // One of five emotional lines may be lost: that at 0.5. The next is at 0.2, beside a neutral
        // one, so the threshold is 0.4.
        assert_eq!((neutral.recall_at_threshold, neutral.threshold), (Some(0.5), Some(0.4)));
    }

    #[test]
    fn a_score_that_says_nothing_finds_no_neutral_line() {
        let lines = [agreed(Label::Neutral, Label::Joy, 0.5), agreed(Label::Joy, Label::Joy, 0.5)];
        let neutral = evaluate_votes(&lines, 0, 1).unwrap().undisputed.neutral;
        assert_eq!((neutral.recall_at_threshold, neutral.threshold), (Some(0.0), None));
        // Without emotional lines, every threshold is allowed.
        let neutral = evaluate_votes(&lines[..1], 0, 1).unwrap().undisputed.neutral;
        assert_eq!((neutral.recall_at_threshold, neutral.threshold), (Some(1.0), Some(0.5)));
        assert_eq!(neutral.emotional_lost, None);
    }

    #[test]
    fn the_intervals_hold_the_estimates_and_the_seed_repeats_them() {
        let lines = random_lines(400, 5);
        let report = evaluate_votes(&lines, 300, 7).unwrap();
        assert_eq!(report, evaluate_votes(&lines, 300, 7).unwrap());
        assert_ne!(report, evaluate_votes(&lines, 300, 8).unwrap());
        for metrics in [&report.undisputed, &report.all] {
            let intervals = metrics.intervals.unwrap();
            for (name, interval, estimate) in [
                ("accuracy", intervals.accuracy, metrics.accuracy),
                ("macro-F1", intervals.macro_f1, metrics.macro_f1),
                ("neutral recall", intervals.neutral_recall, metrics.neutral.recall),
                ("emotional lost", intervals.emotional_lost, metrics.neutral.emotional_lost),
            ] {
                let (interval, estimate) = (interval.unwrap(), estimate.unwrap());
                assert!(interval.low < interval.high, "{name} {interval:?}");
                let is_inside = (interval.low..=interval.high).contains(&estimate);
                assert!(is_inside, "{name} {estimate} {interval:?}");
            }
        }
    }

    #[test]
    fn the_agreement_is_counted_by_source() {
        let mut lines = vec![
            agreed(Label::Neutral, Label::Neutral, 0.5),
            agreed(Label::Joy, Label::Neutral, 0.5),
            line(&[Some(Label::Joy), None], Label::Joy, 0.5),
            agreed(Label::Joy, Label::Fear, 0.5),
        ];
        lines[1].source = "b".into();
        lines[3].source = "b".into();
        let report = evaluate_votes(&lines, 0, 1).unwrap();
        let (a, b) = (report.sources["a"], report.sources["b"]);
        assert_eq!(
            (a.lines, a.undisputed, a.agreement, a.neutral_recall),
            (2, 1, Some(1.0), Some(1.0))
        );
        assert_eq!((b.lines, b.undisputed, b.agreement, b.neutral_recall), (2, 2, Some(0.0), None));
        // Another emotion than the readers' is an emotion, too.
        assert_eq!((a.emotional_found, b.emotional_found), (None, Some(0.5)));
    }

    #[test]
    fn lines_without_an_undisputed_one_are_refused() {
        let disputed = line(&[Some(Label::Joy), None], Label::Joy, 0.5);
        assert_eq!(evaluate_votes(&[disputed], 0, 1), Err(EvaluationError::NoRows));
        assert_eq!(evaluate_votes(&[], 0, 1), Err(EvaluationError::NoRows));
    }
}
