//! A gate's evidence, folded minute by minute, and the finding that follows from it.
//!
//! `Max`, `Min` and `MaxIncrease` ask whether something got worse. For them, every minute of a
//! day may be the start of the change ([`ChangePointEProcess`]). Each day opens a new mixture with
//! its own error budget; the evidence of closed days is kept, but not multiplied into the new one.
//! Subjects have one such mixture for each hour: its start minutes lie within that hour, and its
//! data are the subjects that the metric hits for the first time since that hour began.
//!
//! `NotWorse` and `Estimated` ask whether the canary is good enough. Their evidence is that of the
//! current stage.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::finding::{GateFinding, GateVerdict, VerdictReason};
use super::{EvidenceUnit, Gate, GateEffect, GateRule, WindowLimit};
use crate::rollout::counts::{AffectedSubjects, ClosedMinute, CountByCohort, Metric};
use jeffrey_anytime::change_point::{ChangePointEProcess, EDetector, HexFloats, ProductEProcess};
use jeffrey_anytime::odds::{MantelHaenszelOddsRatio, NON_INFERIORITY_ALTERNATIVES};
use jeffrey_anytime::{
    ALTERNATIVE_COUNT, ALTERNATIVE_RATIOS, MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT,
    Proportion, beta, limit, ln, ln_mean_exp, odds,
};
use jeffrey_terms::{Cohort, Share};

/// The evidence of one gate, as it is stored between minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEvaluator {
    /// Counts since the stage began: the canary's, then stable's.
    stage_counts: [Proportion; 2],
    odds: MantelHaenszelOddsRatio,
    /// Latest minute with canary data for this gate, in minutes since 1970; `None` before the
    /// first.
    last_sample: Option<u64>,
    /// Minute in which the gate began to fail. A gate that rolls back keeps it until an operator
    /// resumes the release; any other gate drops it when it no longer fails.
    failed_at_minute: Option<u64>,
    one_client: bool,
    memory: GateState,
}

/// Evidence that depends on the kind of rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum GateState {
    Change(Box<ChangeEvidence>),
    NotWorse {
        equal: ProductEProcess<{ NON_INFERIORITY_ALTERNATIVES.len() }>,
        below: ProductEProcess<ALTERNATIVE_COUNT>,
    },
    Seen,
    Window(VecDeque<[Proportion; 2]>),
}

/// Evidence of a change at an unknown minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeEvidence {
    /// First minute of the current day, in minutes since 1970; `None` before the first minute.
    day: Option<u64>,
    requests: ChangePointEProcess,
    /// One mixture for each clock hour, at most [`HOURLY_SUBJECT_MIXTURES_MAX`] of them.
    subjects: Vec<HourEvidence>,
    /// Takes the place of `requests` while the share is 100 % and there is no holdout.
    detector: EDetector,
    segment: ChangeSegment,
    /// Evidence with which each closed day ended, in thousandths of a nat; the latest day is last.
    closed: VecDeque<i64>,
}

/// Evidence from subjects that the metric hits for the first time since one hour began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HourEvidence {
    hour: u64,
    starts: ChangePointEProcess,
    /// Expected number of canary subjects among those affected since the hour began, minus the
    /// actual number; then the variance of that difference.
    lack: HexFloats<2>,
}

impl HourEvidence {
    const fn new(hour: u64) -> Self {
        Self { hour, starts: ChangePointEProcess::new(), lack: HexFloats([0.0; 2]) }
    }

    /// Returns whether stable's subjects were used up faster than chance explains, as in an outage
    /// of the legacy system. Of the subjects that are left, more are the canary's than its share, so
    /// the evidence would blame the canary for a change that starts now.
    fn is_depleted(&self) -> bool {
        let [lack, variance] = self.lack.0;
        lack > DEPLETED_DEVIATIONS_MIN * libm::sqrt(variance)
    }

    fn fold_counts(&mut self, stake: f64, subjects: CountByCohort, probability: f64) {
        self.starts.fold_block(
            stake,
            &beta::ln_e_more_than_share(subjects.canary, subjects.stable, probability),
        );
        let total = (subjects.canary + subjects.stable) as f64;
        let [lack, variance] = &mut self.lack.0;
        *lack += total * probability - subjects.canary as f64;
        *variance += total * probability * (1.0 - probability);
    }
}

/// The period in which a change most likely lies: the minutes since a sum of logarithms was last at
/// 0 (Page 1954, "Continuous inspection schemes", Biometrika 41:100–115).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeSegment {
    since: Option<u64>,
    minutes: u64,
    sum: HexFloats<1>,
    canary: Proportion,
    stable: Proportion,
    odds: MantelHaenszelOddsRatio,
}

impl ChangeSegment {
    fn fold_minute(&mut self, minute: u64, proportions: [Proportion; 2], ln_e: f64) {
        if self.sum.0[0] + ln_e <= 0.0 {
            *self = Self::default();
            return;
        }
        let [canary, stable] = proportions;
        self.since.get_or_insert(minute);
        self.minutes += 1;
        self.sum.0[0] += ln_e;
        self.canary = self.canary.merge(canary);
        self.stable = self.stable.merge(stable);
        self.odds = self.odds.with_block(canary, stable);
    }
}

impl GateEvaluator {
    /// Returns the evidence before the first minute, for a gate with this rule.
    pub fn new(rule: &GateRule) -> Self {
        let memory = match rule {
            GateRule::Max(_) | GateRule::Min(_) | GateRule::MaxIncrease(_) => {
                GateState::Change(Box::default())
            }
            GateRule::NotWorse { .. } => {
                GateState::NotWorse { equal: ProductEProcess::new(), below: ProductEProcess::new() }
            }
            GateRule::Estimated { .. } | GateRule::Never | GateRule::SampleRatio => GateState::Seen,
            GateRule::Window { .. } => GateState::Window(VecDeque::new()),
        };
        Self {
            stage_counts: [Proportion::default(); 2],
            odds: MantelHaenszelOddsRatio::default(),
            last_sample: None,
            failed_at_minute: None,
            one_client: false,
            memory,
        }
    }

    /// Starts a new stage: evidence that belongs to a stage is reset, evidence of a change is kept.
    pub fn enter_stage(&mut self) {
        self.stage_counts = [Proportion::default(); 2];
        self.odds = MantelHaenszelOddsRatio::default();
        if let GateState::NotWorse { equal, below } = &mut self.memory {
            (*equal, *below) = (ProductEProcess::new(), ProductEProcess::new());
        }
    }

    /// Folds one minute into the evidence. The caller makes sure that the minute is new.
    ///
    /// `in_stage` says whether the current stage had begun before the minute. A late minute of an
    /// earlier stage is no evidence about the current one.
    pub fn fold_minute(
        &mut self,
        gate: &Gate,
        minute: &ClosedMinute,
        holdout: Share,
        in_stage: bool,
    ) {
        let proportions =
            [Cohort::Canary, Cohort::Stable].map(|cohort| gate.metric.proportion(minute, cohort));
        let [canary, stable] = proportions;
        // A minute with two shares has no expected sample ratio.
        let has_known_share = gate.rule != GateRule::SampleRatio || minute.share.is_some();
        if in_stage && has_known_share {
            self.stage_counts =
                [self.stage_counts[0].merge(canary), self.stage_counts[1].merge(stable)];
            self.odds = self.odds.with_block(canary, stable);
        }
        // A rule that is judged over a stage does not need data in every minute, but the canary has
        // to have requests.
        let tolerates_gaps = matches!(
            gate.rule,
            GateRule::Estimated { .. } | GateRule::SampleRatio | GateRule::Never
        );
        if canary.samples > 0 || (tolerates_gaps && minute.canary.requests > 0) {
            self.last_sample = Some(self.last_sample.unwrap_or(0).max(minute.minute));
        }
        self.one_client = minute.top_subjects.is_dominated_by_two_subjects();
        match (&mut self.memory, gate.rule) {
            (GateState::Change(change), rule) => {
                change.fold_minute(gate, rule, minute, proportions, holdout)
            }
            (
                GateState::NotWorse { equal, below },
                GateRule::NotWorse { odds: worse, or_below },
            ) if in_stage => {
                equal.fold_block(&odds::ln_e_non_inferior(canary, stable, worse));
                below.fold_block(&or_below.map_or([0.0; ALTERNATIVE_COUNT], |rate| {
                    limit::ln_e_below_limit(canary, rate)
                }));
            }
            (GateState::Window(recent), GateRule::Window { minutes, .. }) => {
                recent.push_back(proportions);
                while recent.len() > minutes as usize {
                    recent.pop_front();
                }
            }
            _ => {}
        }
        let has_failed = self.evaluate(gate, minute.share).0 == GateVerdict::Fail;
        // A warning ends with its cause; a gate that rolls back fails until an operator resumes.
        if !has_failed && gate.effect != GateEffect::RollBack {
            self.failed_at_minute = None;
        } else if has_failed && self.failed_at_minute.is_none() {
            self.failed_at_minute = Some(minute.minute);
        }
    }

    /// Returns the gate's finding at the end of minute `now_minute`; `share` is the canary's
    /// current share.
    pub fn assess(&self, gate: &Gate, now_minute: u64, share: Option<Share>) -> GateFinding {
        let (raw_verdict, note) = self.evaluate(gate, share);
        let is_silent = self
            .last_sample
            .is_none_or(|last| now_minute.saturating_sub(last) >= SILENT_AFTER_MINUTES);
        let (verdict, note) = if self.failed_at_minute.is_some() {
            (GateVerdict::Fail, None)
        } else if is_silent {
            (GateVerdict::Hold, Some(VerdictReason::NoData))
        } else {
            (raw_verdict, note)
        };
        let (evidence, threshold) = self.nearest_evidence(gate, share);
        let segment = match &self.memory {
            GateState::Change(change) => change.segment,
            _ => ChangeSegment::default(),
        };
        GateFinding {
            gate: gate.name.clone(),
            metric: gate.metric,
            effect: gate.effect,
            verdict,
            reason: note,
            value: self.observed_value(gate, &segment),
            limit: gate
                .max_without_stable
                .filter(|_| self.stage_counts[1].samples == 0)
                .or(rule_limit(gate.rule)),
            samples: self.stage_counts[0].samples,
            hits: self.stage_counts[0].hits,
            ln_evidence: evidence,
            ln_threshold: threshold,
            decides_in_minutes: estimate_remaining_minutes(evidence, threshold, &segment),
            failed_at_minute: self.failed_at_minute,
            verdict_since_minute: segment.since,
        }
    }

    /// Returns the verdict of the evidence alone: a silent canary and an earlier failure are not
    /// considered.
    fn evaluate(&self, gate: &Gate, share: Option<Share>) -> (GateVerdict, Option<VerdictReason>) {
        let [canary, stable] = self.stage_counts;
        match (&self.memory, gate.rule) {
            (GateState::Change(change), rule) => {
                change.evaluate(gate, rule, self.stage_counts, self.one_client)
            }
            (GateState::NotWorse { equal, below }, _) => {
                // The error budget is split over the two proofs.
                let threshold = -ln(gate.false_verdict_budget / 2.0);
                let is_proven = equal.ln_e() >= threshold || below.ln_e() >= threshold;
                (if is_proven { GateVerdict::Pass } else { GateVerdict::Hold }, None)
            }
            (GateState::Seen, GateRule::Estimated { max, max_increase, samples }) => {
                let has_enough_samples = canary.samples >= samples
                    && (max_increase.is_none() || stable.samples >= samples);
                let rate = canary.rate().unwrap_or(1.0);
                // A ratio of few requests is above any limit now and then: it counts only if it is
                // significant.
                let exceeds_limit = |most: f64| {
                    let is_significant = ln_mean_exp(&odds::ln_e_higher_odds(canary, stable))
                        >= -ln(gate.false_verdict_budget);
                    is_significant && self.odds.estimate().is_some_and(|odds| odds > most)
                };
                let is_within_limits =
                    max.is_none_or(|most| rate <= most) && !max_increase.is_some_and(exceeds_limit);
                (
                    if has_enough_samples && is_within_limits {
                        GateVerdict::Pass
                    } else {
                        GateVerdict::Hold
                    },
                    None,
                )
            }
            (GateState::Seen, GateRule::Never) => {
                (if canary.hits > 0 { GateVerdict::Fail } else { GateVerdict::Pass }, None)
            }
            (GateState::Seen, GateRule::SampleRatio) => {
                let is_skewed =
                    ln_sample_ratio_evidence(canary, share) >= -ln(gate.false_verdict_budget);
                (if is_skewed { GateVerdict::Fail } else { GateVerdict::Pass }, None)
            }
            (GateState::Window(recent), GateRule::Window { minutes, limit }) => {
                evaluate_window(recent, minutes, limit)
            }
            _ => (GateVerdict::Hold, None),
        }
    }

    /// Returns the log evidence and its threshold. If requests and subjects are both evidence, it
    /// returns the pair that is closer to its threshold.
    fn nearest_evidence(&self, gate: &Gate, share: Option<Share>) -> (Option<f64>, Option<f64>) {
        match &self.memory {
            GateState::Change(change) => {
                let requests = gate.ln_threshold_by_request().map(|threshold| {
                    (change.requests.ln_e(alternative_weights(gate.rule)), threshold)
                });
                let subjects = gate
                    .ln_threshold_by_subject()
                    .map(|threshold| (change.ln_subject_evidence(), threshold));
                let missing = |(evidence, threshold): &(f64, f64)| threshold - evidence;
                let nearer = [requests, subjects]
                    .into_iter()
                    .flatten()
                    .min_by(|a, b| missing(a).total_cmp(&missing(b)));
                (nearer.map(|(evidence, _)| evidence), nearer.map(|(_, threshold)| threshold))
            }
            GateState::NotWorse { equal, below } => {
                (Some(equal.ln_e().max(below.ln_e())), Some(-ln(gate.false_verdict_budget / 2.0)))
            }
            GateState::Seen if gate.rule == GateRule::SampleRatio => (
                Some(ln_sample_ratio_evidence(self.stage_counts[0], share)),
                Some(-ln(gate.false_verdict_budget)),
            ),
            _ => (None, None),
        }
    }

    fn observed_value(&self, gate: &Gate, segment: &ChangeSegment) -> Option<f64> {
        let has_change = segment.canary.samples > 0;
        match gate.rule {
            GateRule::Max(_) | GateRule::Min(_) if has_change => segment.canary.rate(),
            GateRule::MaxIncrease(_)
                if gate.max_without_stable.is_some() && self.stage_counts[1].samples == 0 =>
            {
                if has_change {
                    segment.canary.rate()
                } else {
                    self.stage_counts[0].rate()
                }
            }
            GateRule::MaxIncrease(_) if has_change => segment.odds.estimate(),
            GateRule::MaxIncrease(_) | GateRule::NotWorse { .. } => self.odds.estimate(),
            GateRule::Estimated { max_increase: Some(_), max: None, .. } => self.odds.estimate(),
            GateRule::Never => Some(self.stage_counts[0].hits as f64),
            GateRule::Window { limit, .. } => match &self.memory {
                GateState::Window(last) => compute_window_value(last, limit),
                _ => None,
            },
            _ => self.stage_counts[0].rate(),
        }
        .filter(|value| value.is_finite())
    }
}

impl ChangeEvidence {
    fn fold_minute(
        &mut self,
        gate: &Gate,
        rule: GateRule,
        minute: &ClosedMinute,
        proportions: [Proportion; 2],
        holdout: Share,
    ) {
        let day = *self.day.get_or_insert(minute.minute);
        if minute.minute >= day + MINUTES_PER_DAY {
            self.close_day(rule);
            self.day = Some(minute.minute);
        }
        let [canary, stable] = proportions;
        let (ln_e, alternative) = match rule {
            GateRule::Max(rate) => (limit::ln_e_above_limit(canary, rate), SEGMENT_ALTERNATIVE),
            GateRule::Min(rate) => (limit::ln_e_below_limit(canary, rate), SEGMENT_ALTERNATIVE),
            _ => match gate.max_without_stable.filter(|_| stable.samples == 0) {
                Some(rate) => (limit::ln_e_above_limit(canary, rate), SEGMENT_ALTERNATIVE),
                None => (odds::ln_e_higher_odds(canary, stable), SEGMENT_ALTERNATIVE),
            },
        };
        self.segment.fold_minute(minute.minute, proportions, ln_e[alternative]);
        let has_no_control = minute.share == Some(Share::FULL) && holdout == Share::NONE;
        if has_no_control {
            self.detector.fold_block(&ln_e);
        } else {
            self.requests.fold_block(1.0 / MINUTES_PER_DAY as f64, &ln_e);
        }
        if gate.evidence_unit != EvidenceUnit::Requests {
            self.fold_subjects(gate.metric, minute, holdout);
        }
    }

    fn fold_subjects(&mut self, metric: Metric, minute: &ClosedMinute, holdout: Share) {
        let hour = minute.minute / 60;
        let is_new_hour = self.subjects.last().is_none_or(|last| last.hour < hour);
        if is_new_hour && (self.subjects.len() as u64) < HOURLY_SUBJECT_MIXTURES_MAX {
            self.subjects.push(HourEvidence::new(hour));
        }
        let Some(share) = minute.share.filter(|share| *share != Share::NONE) else { return };
        let probability = expected_canary_fraction(share, holdout);
        if probability >= 1.0 {
            return;
        }
        for hour_evidence in &mut self.subjects {
            let is_of_hour = |entry: &&AffectedSubjects| {
                (entry.metric, entry.since_hour) == (metric, hour_evidence.hour)
            };
            let affected = minute.newly_affected.iter().find(is_of_hour);
            let subjects = affected.map(|entry| entry.subjects).unwrap_or_default();
            // Start minutes lie within the hour; a later hour's mixture finds a later change.
            let may_start = hour_evidence.hour == hour && !hour_evidence.is_depleted();
            let stake = if may_start { 1.0 / 60.0 } else { 0.0 };
            if may_start || subjects != CountByCohort::default() {
                hour_evidence.fold_counts(stake, subjects, probability);
            }
        }
    }

    /// Returns the logarithm of the mean evidence of the day's hours. All hours have the same
    /// weight; an hour that has not begun counts as 1.
    fn ln_subject_evidence(&self) -> f64 {
        let opened = self.subjects.len() as u64;
        let hours_to_come = (0..HOURLY_SUBJECT_MIXTURES_MAX.saturating_sub(opened)).map(|_| 0.0);
        let ln_e_values: Vec<f64> = self
            .subjects
            .iter()
            .map(|hour| hour.starts.ln_e(&MIXTURE_WEIGHTS_EQUAL))
            .chain(hours_to_come)
            .collect();
        ln_mean_exp(&ln_e_values)
    }

    fn close_day(&mut self, rule: GateRule) {
        let highest = self.requests.ln_e(alternative_weights(rule)).max(self.ln_subject_evidence());
        self.closed.push_back((highest * 1_000.0) as i64);
        while self.closed.len() > CLOSED_DAYS_MAX {
            self.closed.pop_front();
        }
        self.requests = ChangePointEProcess::new();
        self.subjects.clear();
    }

    fn evaluate(
        &self,
        gate: &Gate,
        rule: GateRule,
        [_, stable]: [Proportion; 2],
        one_client: bool,
    ) -> (GateVerdict, Option<VerdictReason>) {
        let reaches = |evidence: f64, threshold: Option<f64>| {
            threshold.is_some_and(|threshold| evidence >= threshold)
        };
        let proven_by_subjects =
            reaches(self.ln_subject_evidence(), gate.ln_threshold_by_subject());
        let proven_by_requests =
            reaches(self.requests.ln_e(alternative_weights(rule)), gate.ln_threshold_by_request());
        // The detector gives a false alarm once in `A` minutes on average. With `A` = minutes of a
        // day / daily budget, the false alarms of a day are the daily budget on average.
        let detector_threshold =
            gate.ln_threshold_by_request().map(|threshold| threshold + ln(MINUTES_PER_DAY as f64));
        let proven_by_detector =
            reaches(self.detector.ln_e(alternative_weights(rule)), detector_threshold);
        let GateRule::MaxIncrease(tolerated) = rule else {
            let has_failed = proven_by_requests || proven_by_detector;
            return (if has_failed { GateVerdict::Fail } else { GateVerdict::Pass }, None);
        };
        if proven_by_requests
            && !proven_by_subjects
            && gate.evidence_unit == EvidenceUnit::Both
            && one_client
        {
            return (GateVerdict::Hold, Some(VerdictReason::OneClient));
        }
        let absolute_limit = gate.max_without_stable.filter(|_| stable.samples == 0);
        if proven_by_subjects || proven_by_requests {
            if let Some(limit) = absolute_limit {
                let exceeds_limit = self.segment.canary.rate().is_some_and(|rate| rate > limit);
                let verdict = if exceeds_limit { GateVerdict::Fail } else { GateVerdict::Hold };
                return (verdict, Some(VerdictReason::AbsoluteLimit));
            }
            let estimate = self.segment.odds.estimate().unwrap_or(0.0);
            let exceeds_tolerance = estimate >= tolerated && self.segment.canary.hits >= HITS_MIN;
            return if exceeds_tolerance {
                (GateVerdict::Fail, None)
            } else {
                (GateVerdict::Hold, Some(VerdictReason::Tolerated))
            };
        }
        if absolute_limit.is_some() {
            return (GateVerdict::Pass, Some(VerdictReason::AbsoluteLimit));
        }
        if stable.samples == 0 {
            return (GateVerdict::Hold, Some(VerdictReason::NoStableData));
        }
        (GateVerdict::Pass, None)
    }
}

/// Returns the weights of the alternatives for this rule; they add up to 1.
fn alternative_weights(rule: GateRule) -> &'static [f64; ALTERNATIVE_COUNT] {
    if matches!(rule, GateRule::MaxIncrease(_)) {
        &MIXTURE_WEIGHTS_EQUAL
    } else {
        &MIXTURE_WEIGHTS_NEAR_LIMIT
    }
}

/// Returns the probability, 0 to 1, that a subject is in the canary; subjects of the holdout count
/// as stable.
pub fn expected_canary_fraction(share: Share, holdout: Share) -> f64 {
    let fraction =
        |share: Share| f64::from(share.basis_points()) / f64::from(Share::FULL.basis_points());
    fraction(share) * (1.0 - fraction(holdout))
}

fn ln_sample_ratio_evidence(canary: Proportion, share: Option<Share>) -> f64 {
    share.map_or(0.0, |share| {
        let probability = expected_canary_fraction(share, Share::NONE);
        beta::ln_e_sample_ratio(canary.hits, canary.samples - canary.hits, probability)
    })
}

fn evaluate_window(
    recent: &VecDeque<[Proportion; 2]>,
    minutes: u32,
    limit: WindowLimit,
) -> (GateVerdict, Option<VerdictReason>) {
    if recent.len() < minutes as usize {
        return (GateVerdict::Hold, None);
    }
    let Some(value) = compute_window_value(recent, limit) else {
        return (GateVerdict::Hold, Some(VerdictReason::NoData));
    };
    let is_outside = match limit {
        WindowLimit::Max(most) | WindowLimit::MaxIncrease(most) => value > most,
        WindowLimit::Min(least) => value < least,
    };
    (if is_outside { GateVerdict::Fail } else { GateVerdict::Pass }, None)
}

fn compute_window_value(recent: &VecDeque<[Proportion; 2]>, limit: WindowLimit) -> Option<f64> {
    let sum = |index: usize| {
        recent.iter().fold(Proportion::default(), |sum, parts| sum.merge(parts[index]))
    };
    let canary = sum(0).rate()?;
    match limit {
        WindowLimit::Max(_) | WindowLimit::Min(_) => Some(canary),
        WindowLimit::MaxIncrease(_) => {
            sum(1).rate().filter(|rate| *rate > 0.0).map(|rate| canary / rate)
        }
    }
}

fn rule_limit(rule: GateRule) -> Option<f64> {
    match rule {
        GateRule::Max(limit) | GateRule::Min(limit) | GateRule::MaxIncrease(limit) => Some(limit),
        GateRule::Estimated { max, max_increase, .. } => max.or(max_increase),
        GateRule::Never => Some(0.0),
        GateRule::NotWorse { odds, .. } => Some(odds),
        GateRule::SampleRatio => None,
        GateRule::Window { limit, .. } => match limit {
            WindowLimit::Max(limit) | WindowLimit::Min(limit) | WindowLimit::MaxIncrease(limit) => {
                Some(limit)
            }
        },
    }
}

/// Estimates the minutes until the evidence reaches the threshold, at the average gain of the
/// segment; `None` if the threshold is reached or the evidence does not grow.
fn estimate_remaining_minutes(
    evidence: Option<f64>,
    threshold: Option<f64>,
    segment: &ChangeSegment,
) -> Option<u64> {
    let missing = threshold? - evidence?;
    let ln_per_minute = segment.sum.0[0] / segment.minutes.max(1) as f64;
    (missing > 0.0 && ln_per_minute > 0.0).then(|| libm::ceil(missing / ln_per_minute) as u64)
}

/// Minutes without canary data after which a gate holds with [`VerdictReason::NoData`].
pub const SILENT_AFTER_MINUTES: u64 = 5;
/// Horizon of one mixture over start minutes: a day, in minutes.
pub const MINUTES_PER_DAY: u64 = 24 * 60;
/// Most hourly mixtures over subjects in one day: a day that begins within an hour touches 25 clock
/// hours.
pub const HOURLY_SUBJECT_MIXTURES_MAX: u64 = 25;
/// Most closed days that are kept. The last stage takes seven days, a slow release a few more.
const CLOSED_DAYS_MAX: usize = 32;
/// Standard deviations by which stable's affected subjects have to exceed chance for an hour to
/// count as depleted.
const DEPLETED_DEVIATIONS_MIN: f64 = 3.0;
/// Index in [`ALTERNATIVE_RATIOS`] of the alternative that delimits a segment: 1.5, the usual
/// tolerance of +50 %.
const SEGMENT_ALTERNATIVE: usize = 1;
/// Fewest canary hits for an estimate of the odds ratio to count.
const HITS_MIN: u64 = 5;
const _: () = assert!(ALTERNATIVE_RATIOS[SEGMENT_ALTERNATIVE] == odds::NON_INFERIORITY_MARGIN);
