//! Label scores, and the one rule that may change them: the tie-break between anger and
//! frustration.
//!
//! The two labels are close, and annotators confuse them too. When their probabilities are close
//! and the text expresses anger explicitly ("furious", "hors de moi"), the rule lifts anger just
//! above the larger of the two. Settings arrive as text from a flag, an environment variable or a
//! Worker variable. All three are checked here, so they refuse the same values with the same
//! message.

use super::lexicon;
use jeffrey_terms::{Label, TieBreakRule};

/// Eight probabilities in the labels' order: finite, at least 0, summing to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelScores([f32; 8]);

impl LabelScores {
    /// Returns the softmax of eight logits, or `None` when the result would not be finite.
    ///
    /// The largest logit is subtracted first, so that no exponential can overflow.
    pub fn softmax(logits: [f32; 8]) -> Option<Self> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = logits.map(|logit| (logit - largest).exp());
        Self::from_unnormalised(exponentials)
    }

    /// Returns scores of 1 for `label` and 0 for all others.
    pub fn one_hot(label: Label) -> Self {
        let mut scores = [0.0; 8];
        scores[label.index()] = 1.0;
        Self(scores)
    }

    /// Normalises the scores of the keyword route, which are finite and positive by construction.
    pub(super) fn from_keywords(scores: [f32; 8]) -> Self {
        Self::from_unnormalised(scores).unwrap_or_else(|| Self::one_hot(Label::Neutral))
    }

    fn from_unnormalised(values: [f32; 8]) -> Option<Self> {
        let sum: f32 = values.iter().sum();
        // NaN compares false with everything, so it is refused here as well.
        let is_valid = sum > 0.0 && sum.is_finite() && values.iter().all(|value| *value >= 0.0);
        is_valid.then(|| Self(values.map(|value| value / sum)))
    }

    /// The eight scores in the order of [`Label::ALL`].
    pub fn as_array(&self) -> &[f32; 8] {
        &self.0
    }

    /// Score of one label, 0 to 1.
    pub fn score(&self, label: Label) -> f32 {
        self.0[label.index()]
    }

    /// Returns the label with the highest score. Among equal scores the first label in
    /// [`Label::ALL`] wins.
    pub fn top_label(&self) -> Label {
        self.ranked()[0].0
    }

    /// Returns the labels with their scores, highest first. Equal scores keep the order of
    /// [`Label::ALL`].
    pub fn ranked(&self) -> [(Label, f32); 8] {
        let mut ranked = Label::ALL.map(|label| (label, self.score(label)));
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }
}

/// Settings of the tie-break between anger and frustration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TieBreak {
    enabled: bool,
    delta: f32,
    extended_delta: f32,
}

impl Default for TieBreak {
    /// Returns the settings of the v2.4.2 reference service: enabled, delta 0.05, extended delta
    /// 0.15.
    fn default() -> Self {
        Self { enabled: true, delta: 0.05, extended_delta: 0.15 }
    }
}

impl TieBreak {
    /// Variable that enables the rule: `true` or `false`.
    pub const ENABLED_VARIABLE: &'static str = "JEFFREY_TIEBREAK_ENABLED";
    /// Variable for the standard delta, 0 to 1.
    pub const DELTA_VARIABLE: &'static str = "JEFFREY_TIEBREAK_DELTA";
    /// Variable for the extended delta, from the standard delta to 1.
    pub const EXTENDED_DELTA_VARIABLE: &'static str = "JEFFREY_TIEBREAK_EXTENDED_DELTA";

    /// Distance by which anger is put above the larger of the two scores, before all scores are
    /// normalised to sum to 1.
    const LIFT: f32 = 0.02;

    /// Returns a tie-break that never applies.
    pub fn disabled() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Parses the settings from their texts; `None` means the default.
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
    /// [`TieBreakSettingError`] for a value that cannot be parsed or is outside its range; it names
    /// the variable, the value and the range.
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
        // Only an explicit value is checked against the standard delta. Without one, a higher
        // standard delta raises the extended delta too.
        let extended_delta = parse_gap(Self::EXTENDED_DELTA_VARIABLE, extended_delta, delta)?
            .unwrap_or(default.extended_delta.max(delta));
        Ok(Self { enabled, delta, extended_delta })
    }

    /// Applies the rule to the scores of `text`. Returns the new scores with the rule, or the same
    /// scores and `None` when it does not apply.
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

/// Tie-break setting that was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TieBreakSettingError {
    /// The delta is not a number, or it is outside its range.
    #[error("{name} of `{value}` is not a number from {least} to 1")]
    Gap {
        /// Name of the refused variable.
        name: &'static str,
        /// The value seen, cut to 40 characters.
        value: String,
        /// Smallest allowed value; the largest is 1.
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
    // NaN is outside every range.
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
            // The two labels are not in the top two, so a gap between the deltas changes nothing.
            (0.02, 0.10, 0.45, furious, None),
            // The standard rule does not require a place in the top two.
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
