//! The procedure that judges all warnings of a release together (e-BH).

use super::finding::{GateFinding, GateVerdict, VerdictReason};
use super::{GateEffect, GateRule};
use crate::rollout::plan::Plan;
use jeffrey_anytime::ln;

/// Fails the warnings whose evidence is enough together: the base procedure of Benjamini and
/// Hochberg on e-values, with weights (Wang & Ramdas 2022, "False discovery rate control with
/// e-values", <https://arxiv.org/abs/2009.02824>).
///
/// With e-values `e` and budgets `a`, the `k` highest `a e` warn for the largest `k` with all of
/// them at least `1 / k`. Of the warnings given, at most the sum of the budgets is false on
/// average. A gate that warns alone (`k = 1`) still does.
pub(in crate::rollout) fn apply_e_bh(plan: &Plan, findings: &mut [GateFinding]) {
    let missing = |finding: &GateFinding| Some(finding.ln_threshold? - finding.ln_evidence?);
    let mut order: Vec<(usize, f64)> = findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.effect == GateEffect::Warn && finding.reason.is_none())
        .filter_map(|(index, finding)| Some((index, missing(finding)?)))
        .collect();
    order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let is_reached = |rank: &usize| order[rank - 1].1 <= ln(*rank as f64);
    let warning_count = (1..=order.len()).rev().find(is_reached).unwrap_or(0);
    for (index, _) in &order[..warning_count] {
        let finding = &mut findings[*index];
        let exceeds_limit = finding.value.is_some_and(|value| match plan.gates[*index].rule {
            GateRule::Max(limit) => value > limit,
            GateRule::Min(limit) => value < limit,
            GateRule::MaxIncrease(tolerated) => value >= tolerated,
            _ => false,
        });
        if finding.verdict == GateVerdict::Pass && exceeds_limit {
            finding.verdict = GateVerdict::Fail;
            finding.reason = Some(VerdictReason::CombinedEvidence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::evidence_harness::{finding, fold_all, minute};

    #[test]
    fn warnings_that_miss_their_own_limit_may_reach_it_together() {
        let gate = |name, limit| {
            format!(
                "[[gate]]\nname = \"{name}\"\nmetric = \"low_confidence\"\nmax = \"{limit}%\"\neffect = \"warn\"\n"
            )
        };
        let text = |gates: &str| format!("[[stage]]\nshare = \"10%\"\n{gates}");
        let single = Plan::read(&text(&gate("a", 25))).unwrap();
        let budget = single.gates[0].false_verdict_budget;
        // Three gates on the same metric share the budget: each alone needs three times the
        // evidence.
        let three = text(&["a", "b", "c"].map(|name| gate(name, 25)).concat());
        let three = Plan::read(&three).unwrap();
        assert!((3.0 * three.gates[0].false_verdict_budget - budget).abs() < 1e-12);
        let high = |number| {
            let mut minute = minute(number, 0, 5);
            minute.canary.low_confidence = 19;
            minute
        };
        let first_failing_minute = |plan: &Plan| {
            (1..2_000).find(|minutes| {
                let evidence = fold_all(plan, (0..*minutes).map(high));
                finding(&evidence, plan, "a", minutes - 1).verdict == GateVerdict::Fail
            })
        };
        // Together they need no more evidence than one gate with the whole budget.
        let (alone, together) =
            (first_failing_minute(&single).unwrap(), first_failing_minute(&three).unwrap());
        assert_eq!(alone, together);
        let evidence = fold_all(&three, (0..together).map(high));
        let result = finding(&evidence, &three, "a", together - 1);
        assert_eq!(result.reason, Some(VerdictReason::CombinedEvidence));
        assert!(
            result.ln_evidence < result.ln_threshold && result.failed_at_minute.is_none(),
            "{result:?}"
        );
        // One of three gates is not enough.
        let mixed = text(&[gate("a", 25), gate("b", 60), gate("c", 60)].concat());
        let mixed = Plan::read(&mixed).unwrap();
        assert!(first_failing_minute(&mixed).unwrap() > together);
    }
}
