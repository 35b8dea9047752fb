//! The assignment rules of one request, from settings and effective share.

use crate::gateway::config::GatewaySettings;
use crate::rollout::assignment::AssignmentRules;
use crate::rollout::share_cache::EffectiveShare;

/// Builds the assignment rules for one request from the settings and the effective share.
pub fn assignment_rules(
    settings: &GatewaySettings,
    effective: EffectiveShare,
) -> AssignmentRules<'_> {
    AssignmentRules {
        release: &settings.release,
        share: effective.share,
        // A plan has its own holdout, with which its gates compare at the last stage. A plan whose
        // holdout is smaller than the setting is rejected.
        holdout: settings.holdout.max(effective.holdout),
        disabled: effective.disabled || settings.is_canary_disabled(),
        cohort_overrides: &settings.cohort_overrides,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::GatewayVariables;
    use crate::rollout::share_cache::Refresh;
    use jeffrey_terms::Share;

    fn effective_share(points: u16) -> EffectiveShare {
        let share = Share::from_basis_points(points).unwrap();
        EffectiveShare { share, holdout: Share::NONE, disabled: false, refresh: Refresh::Fresh }
    }

    #[test]
    fn the_larger_holdout_is_in_force() {
        let settings = |holdout: &str| {
            GatewaySettings::parse(&GatewayVariables([("HOLDOUT", holdout.to_owned())].into()))
        };
        for (setting, plan, expected) in [("0%", 100, 100), ("5%", 0, 500), ("1%", 100, 100)] {
            let holdout = Share::from_basis_points(plan).unwrap();
            let holdout = assignment_rules(
                &settings(setting),
                EffectiveShare { holdout, ..effective_share(10_000) },
            )
            .holdout;
            assert_eq!(holdout.basis_points(), expected, "{setting} {plan}");
        }
    }
}
