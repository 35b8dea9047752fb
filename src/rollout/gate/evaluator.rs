//! A gate's evidence, folded minute by minute, and the finding that follows from it.
//!
//! `Max`, `Min` and `MaxIncrease` ask whether something got worse: their evidence is in
//! `change_evidence.rs`. `NotWorse` and `Estimated` ask whether the canary is good enough. Their
//! evidence is that of the current stage.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::change_evidence::{ChangeEvidence, alternative_weights, expected_canary_fraction};
use super::change_segment::ChangeSegment;
use super::finding::{GateFinding, GateVerdict, VerdictReason};
use super::{Gate, GateEffect, GateRule, WindowLimit};
use crate::rollout::counts::ClosedMinute;
use jeffrey_anytime::change_point::ProductEProcess;
use jeffrey_anytime::odds::{MantelHaenszelOddsRatio, NON_INFERIORITY_ALTERNATIVES};
use jeffrey_anytime::{ALTERNATIVE_COUNT, Proportion, beta, limit, ln, ln_mean_exp, odds};
use jeffrey_terms::Share;
use jeffrey_terms::by_cohort::{ByCohort, as_array};

/// The evidence of one gate, as it is stored between minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEvaluator {
    /// Counts since the stage began.
    #[serde(with = "as_array")]
    stage_counts: ByCohort<Proportion>,
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
    Window(#[serde(with = "as_array::queue")] VecDeque<ByCohort<Proportion>>),
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
            stage_counts: ByCohort::default(),
            odds: MantelHaenszelOddsRatio::default(),
            last_sample: None,
            failed_at_minute: None,
            one_client: false,
            memory,
        }
    }

    /// Starts a new stage: evidence that belongs to a stage is reset, evidence of a change is kept.
    pub fn enter_stage(&mut self) {
        self.stage_counts = ByCohort::default();
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
        let proportions = ByCohort::new_with(|cohort| gate.metric.proportion(minute, cohort));
        let ByCohort { canary, stable } = proportions;
        // A minute with two shares has no expected sample ratio.
        let has_known_share = gate.rule != GateRule::SampleRatio || minute.share.is_some();
        if in_stage && has_known_share {
            self.stage_counts = merge_pairs(self.stage_counts, proportions);
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
                .filter(|_| self.stage_counts.stable.samples == 0)
                .or(rule_limit(gate.rule)),
            samples: self.stage_counts.canary.samples,
            hits: self.stage_counts.canary.hits,
            ln_evidence: evidence,
            ln_threshold: threshold,
            decides_in_minutes: segment.estimate_remaining_minutes(evidence, threshold),
            failed_at_minute: self.failed_at_minute,
            verdict_since_minute: segment.since,
        }
    }

    /// Returns the verdict of the evidence alone: a silent canary and an earlier failure are not
    /// considered.
    fn evaluate(&self, gate: &Gate, share: Option<Share>) -> (GateVerdict, Option<VerdictReason>) {
        let ByCohort { canary, stable } = self.stage_counts;
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
                Some(ln_sample_ratio_evidence(self.stage_counts.canary, share)),
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
                if gate.max_without_stable.is_some() && self.stage_counts.stable.samples == 0 =>
            {
                if has_change {
                    segment.canary.rate()
                } else {
                    self.stage_counts.canary.rate()
                }
            }
            GateRule::MaxIncrease(_) if has_change => segment.odds.estimate(),
            GateRule::MaxIncrease(_) | GateRule::NotWorse { .. } => self.odds.estimate(),
            GateRule::Estimated { max_increase: Some(_), max: None, .. } => self.odds.estimate(),
            GateRule::Never => Some(self.stage_counts.canary.hits as f64),
            GateRule::Window { limit, .. } => match &self.memory {
                GateState::Window(last) => compute_window_value(last, limit),
                _ => None,
            },
            _ => self.stage_counts.canary.rate(),
        }
        .filter(|value| value.is_finite())
    }
}

fn ln_sample_ratio_evidence(canary: Proportion, share: Option<Share>) -> f64 {
    share.map_or(0.0, |share| {
        let probability = expected_canary_fraction(share, Share::NONE);
        beta::ln_e_sample_ratio(canary.hits, canary.samples - canary.hits, probability)
    })
}

fn merge_pairs(a: ByCohort<Proportion>, b: ByCohort<Proportion>) -> ByCohort<Proportion> {
    ByCohort::new_with(|cohort| a[cohort].merge(b[cohort]))
}

fn evaluate_window(
    recent: &VecDeque<ByCohort<Proportion>>,
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

fn compute_window_value(
    recent: &VecDeque<ByCohort<Proportion>>,
    limit: WindowLimit,
) -> Option<f64> {
    let sum = recent.iter().fold(ByCohort::default(), |sum, minute| merge_pairs(sum, *minute));
    let canary = sum.canary.rate()?;
    match limit {
        WindowLimit::Max(_) | WindowLimit::Min(_) => Some(canary),
        WindowLimit::MaxIncrease(_) => {
            sum.stable.rate().filter(|rate| *rate > 0.0).map(|rate| canary / rate)
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

/// Minutes without canary data after which a gate holds with [`VerdictReason::NoData`].
pub const SILENT_AFTER_MINUTES: u64 = 5;

#[cfg(test)]
mod tests {
    use crate::rollout::evidence_harness::{fold_all, minute};
    use crate::rollout::plan::Plan;
    use serde_json::json;

    #[test]
    fn pairs_of_counts_are_stored_as_arrays() {
        let gate = "[[gate]]\nname = \"w\"\nmetric = \"errors\"\nmethod = \"window\"\nwindow = \"2m\"\nmax = \"3%\"\neffect = \"warn\"\n";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}")).unwrap();
        let evidence = fold_all(&plan, (0..3).map(|at| minute(at, at, 5)));
        let stored = &serde_json::to_value(&evidence).unwrap()["tracks"][0];
        let pair = |canary, stable| json!([{"hits": canary, "samples": 60}, {"hits": stable, "samples": 540}]);
        assert_eq!(stored["memory"], json!({"window": [pair(1, 5), pair(2, 5)]}));
        assert_eq!(
            stored["stage_counts"],
            json!([{"hits": 3, "samples": 180}, {"hits": 15, "samples": 1_620}])
        );
    }
}
