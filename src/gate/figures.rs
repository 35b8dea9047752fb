//! What was counted, as figures for people: parts, means, quantiles.

use serde::{Deserialize, Serialize};

use super::tally::{Quantiles, Side, Totals};
use jeffrey_anytime::Part;
use jeffrey_anytime::bounds::highest_chance;
use jeffrey_terms::Label;

/// The chance that an interval misses.
const ERROR: f64 = 0.05;

/// Figures of both cohorts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Both {
    /// Of the canary.
    pub canary: Figures,
    /// Of stable.
    pub stable: Figures,
    /// The old system's answers that the model was asked for as well and that could be compared.
    pub shadows: u64,
    /// The part of them with the same label.
    pub shadows_agree: Option<f64>,
}

/// Figures of one cohort. A part of nothing is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// All requests.
    pub requests: u64,
    /// Answers that could be read.
    pub answers: u64,
    /// Status 500 and above, and what failed open, of the requests.
    pub errors: Option<f64>,
    /// Above 200 ms, of the requests.
    pub slow: Option<f64>,
    /// By keywords alone, of the answers.
    pub regex: Option<f64>,
    /// By prototypes, of the answers.
    pub prototypes: Option<f64>,
    /// Without confidence, of the answers.
    pub low_confidence: Option<f64>,
    /// How many those were: what `jeffrey export` has to label at most.
    pub low_confidence_answers: u64,
    /// Changed by the tie-break, of the answers.
    pub rule_applied: Option<f64>,
    /// Mean confidence of the answers.
    pub mean_confidence: Option<f64>,
    /// How long requests took.
    pub latency_ms: Option<Quantiles>,
    /// Verdicts of readers.
    pub verdicts: u64,
    /// The bad ones among them.
    pub bad: Option<f64>,
    /// What the chance of a bad one is compatible with: Clopper & Pearson's interval, 95 %.
    pub bad_interval: Option<[f64; 2]>,
    /// Each label's part of the answers, in the order of [`Label::ALL`].
    pub labels: Option<[f64; Label::ALL.len()]>,
}

impl Both {
    /// Of what was counted.
    pub fn of(totals: &Totals) -> Self {
        let Totals { canary, stable } = totals;
        let (agreed, disagreed) = (stable.tally.shadow_agreed, stable.tally.shadow_disagreed);
        let shadows = agreed + disagreed;
        Self {
            canary: Figures::of(canary),
            stable: Figures::of(stable),
            shadows,
            shadows_agree: Part::new(agreed, shadows).rate(),
        }
    }
}

impl Figures {
    fn of(side: &Side) -> Self {
        let counts = &side.tally.counts;
        let part = |hits: u64, of: u64| Part::new(hits, of).rate();
        let verdicts = counts.feedback_good + counts.feedback_bad;
        let highest = |hits| highest_chance(Part::new(hits, verdicts), ERROR / 2.0);
        let labelled: u64 = counts.labels.iter().sum();
        Self {
            requests: counts.requests,
            answers: counts.answers,
            errors: part(counts.errors_5xx + counts.failed_open, counts.requests),
            slow: part(counts.slow, counts.requests),
            regex: part(counts.regex, counts.answers),
            prototypes: part(counts.prototypes, counts.answers),
            low_confidence: part(counts.low_confidence, counts.answers),
            low_confidence_answers: counts.low_confidence,
            rule_applied: part(counts.rule_applied, counts.answers),
            mean_confidence: side.mean_confidence,
            latency_ms: side.latency_ms,
            verdicts,
            bad: part(counts.feedback_bad, verdicts),
            bad_interval: (verdicts > 0)
                .then(|| [1.0 - highest(counts.feedback_good), highest(counts.feedback_bad)]),
            labels: (labelled > 0).then(|| counts.labels.map(|n| n as f64 / labelled as f64)),
        }
    }
}

/// Half the sum of the differences of two mixes: the part that would have to change its label.
pub fn moved(now: &Figures, before: &Figures) -> Option<f64> {
    let (now, before) = now.labels.zip(before.labels)?;
    Some(now.iter().zip(before).map(|(now, before)| (now - before).abs()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tally::Tally;
    use crate::rollout::counts::Counts;

    #[test]
    fn a_part_of_nothing_is_none_and_an_interval_holds_its_rate() {
        let none = Both::of(&Totals::default());
        assert_eq!(none, Both::default());
        let mut labels = [0; 8];
        (labels[0], labels[1]) = (3, 1);
        let counts = Counts {
            requests: 10,
            answers: 4,
            failed_open: 1,
            errors_5xx: 1,
            feedback_good: 9,
            feedback_bad: 1,
            labels,
            ..Counts::default()
        };
        let found = Totals::of([Tally { counts, ..Tally::default() }, Tally::default()]);
        let both = Both::of(&found);
        assert_eq!(both.canary.errors, Some(0.2));
        assert_eq!(both.canary.bad, Some(0.1));
        let [low, high] = both.canary.bad_interval.unwrap();
        // Clopper & Pearson's of 1 in 10: 0.0025 to 0.4450.
        assert!((low - 0.0025).abs() < 1e-4 && (high - 0.4450).abs() < 1e-4, "{low} {high}");
        let other = Figures {
            labels: Some([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ..both.canary.clone()
        };
        assert_eq!(moved(&both.canary, &other), Some(0.25));
        assert_eq!(moved(&both.canary, &both.stable), None);
    }
}
