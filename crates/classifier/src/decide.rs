//! Scores, and the one rule that may change them: the tie-break between anger and frustration.
//!
//! The two labels are neighbours that annotators confuse too. When their probabilities are close
//! and the text says anger in so many words ("furious", "hors de moi"), anger is lifted just above
//! the larger of the two. Settings come in as text from a flag, an environment or a worker variable
//! and are checked here, so that all three doors refuse the same values with the same words.

use super::lexicon;
use jeffrey_terms::Label;

/// Eight probabilities in the labels' order: finite, at least 0, summing to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelScores([f32; 8]);

impl LabelScores {
    /// The softmax of eight logits, or `None` when the result would not be finite.
    ///
    /// The largest logit is subtracted first, so that no exponential can overflow.
    pub fn softmax(logits: [f32; 8]) -> Option<Self> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = logits.map(|logit| (logit - largest).exp());
        Self::from_unnormalised(exponentials)
    }

    /// Everything on one label.
    pub fn one_hot(label: Label) -> Self {
        let mut scores = [0.0; 8];
        scores[label.index()] = 1.0;
        Self(scores)
    }

    /// Scores of the keyword route, which are finite and positive by construction.
    pub(super) fn from_keywords(scores: [f32; 8]) -> Self {
        Self::from_unnormalised(scores).unwrap_or_else(|| Self::one_hot(Label::Neutral))
    }

    fn from_unnormalised(values: [f32; 8]) -> Option<Self> {
        let sum: f32 = values.iter().sum();
        // NaN compares false with everything, so it is refused here as well.
        let is_valid = sum > 0.0 && sum.is_finite() && values.iter().all(|value| *value >= 0.0);
        is_valid.then(|| Self(values.map(|value| value / sum)))
    }

    /// The scores in the labels' order.
    pub fn as_array(&self) -> &[f32; 8] {
        &self.0
    }

    /// One label's score.
    pub fn score(&self, label: Label) -> f32 {
        self.0[label.index()]
    }

    /// The label with the highest score; of equal ones the first in the labels' order.
    pub fn top_label(&self) -> Label {
        self.ranked()[0].0
    }

    /// Labels with their scores, highest first; equal ones in the labels' order.
    pub fn ranked(&self) -> [(Label, f32); 8] {
        let mut ranked = Label::ALL.map(|label| (label, self.score(label)));
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }
}

/// The rule that changed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreakRule {
    /// The gap between anger and frustration was below the standard delta.
    AngerKeywordStandard,
    /// The gap was below the extended delta and one of the two stood in the top 2.
    AngerKeywordExtended,
}

impl TieBreakRule {
    /// The name in answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AngerKeywordStandard => "tiebreak_anger_keyword_standard",
            Self::AngerKeywordExtended => "tiebreak_anger_keyword_extended",
        }
    }
}

/// Settings of the tie-break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TieBreak {
    enabled: bool,
    delta: f32,
    extended_delta: f32,
}

impl Default for TieBreak {
    /// The reference system's settings: on, 0.05, 0.15.
    fn default() -> Self {
        Self { enabled: true, delta: 0.05, extended_delta: 0.15 }
    }
}

impl TieBreak {
    /// Name of the switch: `true` or `false`.
    pub const ENABLED_VARIABLE: &'static str = "JEFFREY_TIEBREAK_ENABLED";
    /// Name of the standard gap, 0 to 1.
    pub const DELTA_VARIABLE: &'static str = "JEFFREY_TIEBREAK_DELTA";
    /// Name of the extended gap, from the standard one to 1.
    pub const EXTENDED_DELTA_VARIABLE: &'static str = "JEFFREY_TIEBREAK_EXTENDED_DELTA";

    /// How far above the larger of the two anger is put, before all scores are made to sum to 1.
    const LIFT: f32 = 0.02;

    /// A tie-break that never applies.
    pub fn disabled() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Settings from their texts; `None` is the default.
    ///
    /// ```
    /// use jeffrey_classifier::TieBreak;
    /// assert_eq!(TieBreak::parse(None, None, None)?, TieBreak::default());
    /// let error = TieBreak::parse(None, Some("2"), None).unwrap_err();
    /// assert_eq!(error.to_string(), "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1");
    /// # Ok::<(), jeffrey_classifier::TieBreakSettingError>(())
    /// ```
    ///
    /// # Errors
    /// [`TieBreakSettingError`] names the variable, the value seen and the range.
    pub fn parse(
        enabled: Option<&str>,
        delta: Option<&str>,
        extended_delta: Option<&str>,
    ) -> Result<Self, TieBreakSettingError> {
        let default = Self::default();
        let enabled = match enabled.map(str::trim) {
            None => default.enabled,
            Some("true") => true,
            Some("false") => false,
            Some(other) => return Err(TieBreakSettingError::Switch { value: truncate(other) }),
        };
        let delta = parse_gap(Self::DELTA_VARIABLE, delta, 0.0)?.unwrap_or(default.delta);
        // Only a given value is measured against the standard gap: raising that one alone raises
        // the other with it.
        let extended_delta = parse_gap(Self::EXTENDED_DELTA_VARIABLE, extended_delta, delta)?
            .unwrap_or(default.extended_delta.max(delta));
        Ok(Self { enabled, delta, extended_delta })
    }

    /// The scores after the rule, and the rule if it applied.
    pub fn apply(&self, scores: LabelScores, text: &str) -> (LabelScores, Option<TieBreakRule>) {
        let Some(rule) = self.matching_rule(&scores) else { return (scores, None) };
        if lexicon::find_anger_expression(text).is_none() {
            return (scores, None);
        }
        let mut values = scores.0;
        let larger = scores.score(Label::Anger).max(scores.score(Label::Frustration));
        values[Label::Anger.index()] = larger + Self::LIFT;
        LabelScores::from_unnormalised(values).map_or((scores, None), |scores| (scores, Some(rule)))
    }

    fn matching_rule(&self, scores: &LabelScores) -> Option<TieBreakRule> {
        if !self.enabled {
            return None;
        }
        let gap = (scores.score(Label::Anger) - scores.score(Label::Frustration)).abs();
        if gap < self.delta {
            return Some(TieBreakRule::AngerKeywordStandard);
        }
        let is_in_top_two = scores.ranked()[..2]
            .iter()
            .any(|(label, _)| matches!(label, Label::Anger | Label::Frustration));
        (gap < self.extended_delta && is_in_top_two).then_some(TieBreakRule::AngerKeywordExtended)
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TieBreakSettingError {
    /// Not a number, or outside the range.
    #[error("{name} of `{value}` is not a number from {least} to 1")]
    Gap {
        /// The variable's name.
        name: &'static str,
        /// The value seen, cut to 40 characters.
        value: String,
        /// The least value allowed.
        least: f32,
    },
    /// The switch is neither `true` nor `false`.
    #[error("JEFFREY_TIEBREAK_ENABLED of `{value}` is neither `true` nor `false`")]
    Switch {
        /// The value seen, cut to 40 characters.
        value: String,
    },
}

fn parse_gap(
    name: &'static str,
    value: Option<&str>,
    least: f32,
) -> Result<Option<f32>, TieBreakSettingError> {
    let Some(value) = value else { return Ok(None) };
    let error = || TieBreakSettingError::Gap { name, value: truncate(value), least };
    let gap: f32 = value.trim().parse().map_err(|_| error())?;
    // NaN is in no range.
    if (least..=1.0).contains(&gap) { Ok(Some(gap)) } else { Err(error()) }
}

fn truncate(value: &str) -> String {
    value.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores_with(anger: f32, frustration: f32, joy: f32) -> LabelScores {
        let mut values = [0.0; 8];
        values[Label::Anger.index()] = anger;
        values[Label::Frustration.index()] = frustration;
        values[Label::Joy.index()] = joy;
        values[Label::Neutral.index()] = 1.0 - anger - frustration - joy;
        LabelScores::from_unnormalised(values).unwrap()
    }

    #[test]
    fn softmax_never_lets_a_number_out_that_is_not_finite() {
        assert!(LabelScores::softmax([f32::NAN; 8]).is_none());
        let mut logits = [0.0; 8];
        logits[3] = f32::NAN;
        assert!(LabelScores::softmax(logits).is_none());
        logits[3] = f32::INFINITY;
        assert!(LabelScores::softmax(logits).is_none());
        assert!(LabelScores::softmax([f32::NEG_INFINITY; 8]).is_none());
        let huge = LabelScores::softmax([3e38, -3e38, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!(huge.as_array()[0], 1.0);
    }

    #[test]
    fn softmax_equals_its_definition() {
        let got = LabelScores::softmax([0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, 0.25]).unwrap();
        let exact: Vec<f64> =
            [0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, 0.25].iter().map(|x: &f64| x.exp()).collect();
        let sum: f64 = exact.iter().sum();
        for (got, exact) in got.as_array().iter().zip(exact) {
            assert!((f64::from(*got) - exact / sum).abs() < 1e-6);
        }
    }

    #[test]
    fn of_equal_scores_the_first_label_wins() {
        assert_eq!(LabelScores::softmax([0.0; 8]).unwrap().top_label(), Label::Joy);
    }

    #[test]
    fn the_tie_break_follows_the_reference_table() {
        let rule = TieBreak::default();
        let furious = "I am furious";
        let calm = "again the same page";
        // anger, frustration, joy, text, rule
        let rows = [
            (0.40, 0.44, 0.0, furious, Some(TieBreakRule::AngerKeywordStandard)),
            (0.44, 0.40, 0.0, furious, Some(TieBreakRule::AngerKeywordStandard)),
            (0.40, 0.44, 0.0, calm, None),
            (0.30, 0.44, 0.0, furious, Some(TieBreakRule::AngerKeywordExtended)),
            (0.30, 0.46, 0.0, furious, None),
            // Far from the top, a gap between the two deltas is left alone.
            (0.02, 0.10, 0.45, furious, None),
            // The standard rule asks for no place in the top 2.
            (0.02, 0.03, 0.50, furious, Some(TieBreakRule::AngerKeywordStandard)),
        ];
        for row in rows {
            let (anger, frustration, joy, text, expected) = row;
            let before = scores_with(anger, frustration, joy);
            let (after, applied) = rule.apply(before, text);
            assert_eq!(applied, expected, "{row:?}");
            if expected.is_some() {
                assert!(after.score(Label::Anger) > after.score(Label::Frustration), "{row:?}");
                let sum: f32 = after.as_array().iter().sum();
                assert!((sum - 1.0).abs() < 1e-6, "{row:?} sums to {sum}");
            } else {
                assert_eq!(before, after, "{row:?}");
            }
        }
    }

    #[test]
    fn the_lift_is_two_hundredths_above_the_larger_before_renormalising() {
        let (after, _) = TieBreak::default().apply(scores_with(0.40, 0.44, 0.0), "furious");
        let expected = 0.46 / (1.0 - 0.40 + 0.46);
        assert!((after.score(Label::Anger) - expected).abs() < 1e-6);
    }

    #[test]
    fn switched_off_it_changes_nothing() {
        let before = scores_with(0.40, 0.41, 0.0);
        assert_eq!(TieBreak::disabled().apply(before, "furious"), (before, None));
    }

    #[test]
    fn settings_outside_their_range_are_refused_with_the_range() {
        let rows = [
            (Some("yes"), None, None, "`true` nor `false`"),
            (
                None,
                Some("-0.1"),
                None,
                "JEFFREY_TIEBREAK_DELTA of `-0.1` is not a number from 0 to 1",
            ),
            (None, Some("NaN"), None, "from 0 to 1"),
            (None, Some("inf"), None, "from 0 to 1"),
            (None, Some(""), None, "from 0 to 1"),
            (None, Some("0.3"), Some("0.2"), "from 0.3 to 1"),
            (None, None, Some("1.5"), "JEFFREY_TIEBREAK_EXTENDED_DELTA of `1.5`"),
        ];
        for (enabled, delta, extended, expected) in rows {
            let error = TieBreak::parse(enabled, delta, extended).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(TieBreak::parse(Some("false"), Some("0"), Some("1")).is_ok());
    }

    #[test]
    fn raising_the_standard_gap_alone_raises_the_extended_one() {
        let raised = TieBreak::parse(None, Some("0.3"), None).unwrap();
        assert_eq!(raised.extended_delta, 0.3);
    }
}
