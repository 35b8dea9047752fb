//! Checks the rules of a plan that can be read but can never fire, or contradict each other.

use super::Stage;
use super::fields::PlanReader;
use super::freeze::Freeze;
use crate::rollout::counts::{Metric, SUBJECT_METRICS};
use crate::rollout::gate::{EvidenceUnit, GateEffect, GateRule, WindowLimit};

impl PlanReader<'_> {
    /// Reports a plan without stages, shares that do not rise, and samples that cannot be reached.
    pub(super) fn check_stages(&mut self, stages: &[(Stage, usize)], traffic: f64) {
        if stages.is_empty() {
            self.report_error(0, "a plan without a stage");
        }
        for pair in stages.windows(2) {
            let [(previous, _), (stage, offset)] = pair else { continue };
            if stage.share <= previous.share {
                let (stage, before) = (stage.share, previous.share);
                self.report_error(
                    *offset,
                    format_args!("stage of {stage} does not rise above {before}"),
                );
            }
        }
        for (stage, offset) in stages {
            let share = f64::from(stage.share.basis_points()) / 10_000.0;
            let expected_samples = traffic * share * stage.min_duration_minutes as f64;
            if traffic > 0.0 && stage.min_samples as f64 > expected_samples {
                self.report_error(
                    *offset,
                    format_args!(
                        "{} samples are more than the {expected_samples:.0} expected in {} minutes at {} of \
                         {traffic} requests a minute",
                        stage.min_samples, stage.min_duration_minutes, stage.share,
                    ),
                );
            }
        }
    }

    /// Reports a gate that can be read but can never fire or has no meaning.
    pub(super) fn check_gate(
        &mut self,
        name: &str,
        metric: Metric,
        rule: GateRule,
        effect: GateEffect,
        evidence_unit: EvidenceUnit,
        offset: usize,
    ) {
        let mut report_never_fires = |why: &str| {
            self.report_error(offset, format_args!("gate `{name}` can never fire: {why}"))
        };
        match rule {
            GateRule::Max(limit) | GateRule::Window { limit: WindowLimit::Max(limit), .. }
                if limit >= 1.0 =>
            {
                report_never_fires("no rate is above 100%");
            }
            GateRule::Max(limit) if limit <= 0.0 => {
                report_never_fires("no test is against 0%; use `never = true`")
            }
            GateRule::Min(limit) | GateRule::Window { limit: WindowLimit::Min(limit), .. }
                if limit <= 0.0 || limit >= 1.0 =>
            {
                report_never_fires("no rate is below 0%, and none need be 100%");
            }
            GateRule::NotWorse { odds, .. } if odds <= 1.0 => {
                report_never_fires(
                    "equal to stable cannot be told from not worse; allow some, such as +50%",
                );
            }
            GateRule::NotWorse { or_below: Some(rate), .. } if rate <= 0.0 || rate >= 1.0 => {
                report_never_fires("`or_below` lies between 0% and 100%");
            }
            GateRule::Window { minutes: 0, .. } => report_never_fires("its window is empty"),
            _ => {}
        }
        let is_comparison = matches!(
            rule,
            GateRule::MaxIncrease(_)
                | GateRule::NotWorse { .. }
                | GateRule::Estimated { max_increase: Some(_), .. }
                | GateRule::Window { limit: WindowLimit::MaxIncrease(_), .. }
        );
        if is_comparison && !metric.is_reported_by_legacy() {
            report_never_fires(&format!(
                "the legacy system has no `{}` to compare with",
                metric.name()
            ));
        }
        if evidence_unit != EvidenceUnit::Requests && !SUBJECT_METRICS.contains(&metric) {
            report_never_fires(&format!("subjects are not counted for `{}`", metric.name()));
        }
        if evidence_unit != EvidenceUnit::Requests && !matches!(rule, GateRule::MaxIncrease(_)) {
            report_never_fires("subjects are evidence for `max_increase` only");
        }
        if (rule == GateRule::SampleRatio) != (metric == Metric::SampleRatio) {
            report_never_fires("`sample_ratio` is a metric and a rule that belong together");
        }
        let blocks_advance = matches!(rule, GateRule::NotWorse { .. } | GateRule::Estimated { .. });
        if blocks_advance && effect != GateEffect::BlockAdvance {
            report_never_fires(
                "what has to be shown before a rise never fails; its effect is `block_advance`",
            );
        }
    }

    /// Checks `max_without_stable`, the absolute limit that takes the place of a comparison.
    pub(super) fn check_fallback(&mut self, name: &str, rule: GateRule, rate: f64, offset: usize) {
        if !matches!(rule, GateRule::MaxIncrease(_)) {
            self.report_error(
                offset,
                format_args!("gate `{name}`: `max_without_stable` goes with `max_increase` only"),
            );
        } else if rate <= 0.0 || rate >= 1.0 {
            let percent = 100.0 * rate;
            self.report_error(
                offset,
                format_args!(
                    "gate `{name}`: `max_without_stable` of {percent}% is not between 0% and 100%"
                ),
            );
        }
    }

    /// Reports a freeze that overlaps an earlier one.
    pub(super) fn check_freezes(&mut self, freezes: &[(Freeze, usize)]) {
        for (number, (freeze, offset)) in freezes.iter().enumerate() {
            if freezes[..number].iter().any(|(earlier, _)| freeze.overlaps(earlier)) {
                self.report_error(*offset, "a freeze that overlaps an earlier one");
            }
        }
    }
}
