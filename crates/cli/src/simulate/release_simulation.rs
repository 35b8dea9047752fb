//! One simulated release, from its start to the end of the simulated time.
//!
//! Draws the counters of each minute, delivers them with optional faults, and feeds them to the
//! evidence and the state machine that also run in the gateway. A stage that needs an approval gets
//! it one minute later; a release with undecided gates is not approved. The comparison rules get
//! every minute without delivery faults, also after a rollback. Returns a [`SimulationOutcome`];
//! the same seed gives the same outcome.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::comparison_rules;
use super::scenario::ScenarioSet;
use super::traffic_simulator::{TrafficSimulator, UserPopulation};
use jeffrey_edge::rollout::command::OperatorCommand;
use jeffrey_edge::rollout::counts::ClosedMinute;
use jeffrey_edge::rollout::effect::RolloutAction;
use jeffrey_edge::rollout::evidence::GateEvidence;
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::GateVerdict;
use jeffrey_edge::rollout::phase::{Phase, RollbackCause};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::progress::{PlanProgress, StepInput};
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Share, UnixMs};

/// Parameters of the simulated releases; only the seed differs between runs.
pub(super) struct ReleaseSimulation<'a> {
    pub(super) plan: &'a Plan,
    pub(super) scenarios: &'a ScenarioSet,
    pub(super) population: UserPopulation,
    /// Simulated time in minutes.
    pub(super) minutes: u64,
    /// Probability (0 to 1) that a minute is delivered twice, late or never.
    pub(super) disorder_rate: f64,
}

/// Result of one simulated release.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SimulationOutcome {
    /// Minute of the rollback and name of the gate that caused it; `None` without a rollback.
    pub(super) rollback: Option<(u64, String)>,
    /// Duration in minutes of each stage that ended with an advance or with the promotion, in
    /// order.
    pub(super) stage_minutes: Vec<u64>,
    /// Whether the release awaited an operator's approval because the gates were undecided.
    pub(super) undecided: bool,
    /// Gates that did not pass at the end, warnings left out; empty after a rollback.
    pub(super) open_gates: Vec<String>,
    /// Minute in which each comparison rule would have rolled back; `None` when it never did.
    pub(super) comparison_rollbacks: [Option<u64>; comparison_rules::COMPARISON_RULE_COUNT],
}

impl ReleaseSimulation<'_> {
    pub(super) fn run(&self, seed: u64) -> SimulationOutcome {
        let ReleaseSimulation { plan, scenarios, .. } = *self;
        let mut simulator = TrafficSimulator::new(scenarios, plan, self.population, seed);
        let mut delivery =
            UnreliableDelivery { rng: Pcg64::seed_from_u64(!seed), late: Vec::new() };
        let mut rules = comparison_rules::comparison_rules();
        let (metric, limit) = scenarios.metric_and_limit();
        let mut release = SimulatedRelease::start(plan);
        for minute_index in 0..self.minutes {
            // After a rollback the comparison rules keep running at the last share.
            let minute = simulator.draw_minute(minute_index, release.share);
            let proportions = ByCohort::new_with(|cohort| metric.proportion(&minute, cohort));
            rules.iter_mut().for_each(|rule| rule.fold_minute(minute_index, proportions, limit));
            if release.rollback.is_none() {
                let minutes = delivery.deliver(minute, self.disorder_rate);
                release = release.fold_minutes(&minutes).advance(minute_index);
            } else if rules.iter().all(|rule| rule.rollback_minute().is_some()) {
                break;
            }
        }
        SimulationOutcome {
            open_gates: release.open_gates(self.minutes.saturating_sub(1)),
            rollback: release.rollback,
            stage_minutes: release.stage_minutes,
            undecided: release.is_undecided,
            comparison_rollbacks: rules
                .each_ref()
                .map(comparison_rules::ComparisonRule::rollback_minute),
        }
    }
}

/// State of a started release, with the parts of the outcome that are known so far.
struct SimulatedRelease<'a> {
    plan: &'a Plan,
    evidence: GateEvidence,
    state: PlanProgress,
    /// Traffic share of the canary in the next minute; after a rollback, the last one before it.
    share: Share,
    rollback: Option<(u64, String)>,
    stage_minutes: Vec<u64>,
    is_undecided: bool,
}

impl<'a> SimulatedRelease<'a> {
    /// Starts the release at minute 0.
    fn start(plan: &'a Plan) -> Self {
        let evidence = GateEvidence::new(plan);
        let input = StepInput {
            gates: &evidence.summarize(plan, 0),
            command: Some(OperatorCommand::Start),
            hard_failure: None,
            blocked_by: None,
        };
        let state = PlanProgress::idle(UnixMs(0)).apply_input(plan, &input, UnixMs(0)).0;
        Self {
            plan,
            evidence,
            share: state.share(plan),
            state,
            rollback: None,
            stage_minutes: Vec::new(),
            is_undecided: false,
        }
    }

    fn fold_minutes(mut self, minutes: &[ClosedMinute]) -> Self {
        for minute in minutes {
            self.evidence = self.evidence.fold_minute(self.plan, minute);
        }
        self
    }

    /// Applies the evidence at the end of a minute, and the approval of a stage that awaits it.
    fn advance(mut self, minute_index: u64) -> Self {
        let (plan, state) = (self.plan, &self.state);
        let now = UnixMs((minute_index + 1) * 60_000);
        let awaits_approval = matches!(state.phase, Phase::AwaitingApproval { undecided: false });
        let input = StepInput {
            gates: &self.evidence.summarize(plan, minute_index),
            command: awaits_approval.then_some(OperatorCommand::Approve),
            hard_failure: None,
            blocked_by: None,
        };
        let (next, actions) = state.apply_input(plan, &input, now);
        if next.stage > state.stage || next.phase == Phase::Promoted && state.phase != next.phase {
            self.stage_minutes.push((now.0 - state.stage_entered_at.0) / 60_000);
        }
        self.is_undecided |= next.phase == Phase::AwaitingApproval { undecided: true };
        for action in actions {
            match action {
                RolloutAction::EnterStage => {
                    self.evidence = self.evidence.enter_stage(minute_index);
                }
                RolloutAction::ResetEvidence => self.evidence = GateEvidence::new(plan),
                RolloutAction::Alert(_) | RolloutAction::SetShare(_) => {}
            }
        }
        match &next.phase {
            Phase::RolledBack { cause } => self.rollback = Some((minute_index, cause_name(cause))),
            _ => self.share = next.share(plan),
        }
        self.state = next;
        self
    }

    /// Returns the names of the gates that did not pass by the end of `minute_index`, warnings left
    /// out; none after a rollback.
    fn open_gates(&self, minute_index: u64) -> Vec<String> {
        if self.rollback.is_some() {
            return Vec::new();
        }
        let findings = self.evidence.summarize(self.plan, minute_index).findings;
        let open_gates = findings.into_iter().filter(|finding| {
            finding.effect != GateEffect::Warn && finding.verdict != GateVerdict::Pass
        });
        open_gates.map(|finding| finding.gate).collect()
    }
}

/// Returns the name of the gate, the hard failure or the operator that caused a rollback.
fn cause_name(cause: &RollbackCause) -> String {
    match cause {
        RollbackCause::Gate(finding) => finding.gate.clone(),
        RollbackCause::HardFailure(kind) => kind.name().to_owned(),
        RollbackCause::Operator { .. } => "operator".to_owned(),
    }
}

/// Delivery of closed minutes with faults: a minute may arrive twice, late or never.
struct UnreliableDelivery {
    rng: Pcg64,
    /// Held-back minutes, each with the minute in which it is delivered.
    late: Vec<(u64, ClosedMinute)>,
}

impl UnreliableDelivery {
    fn deliver(&mut self, minute: ClosedMinute, disorder_rate: f64) -> Vec<ClosedMinute> {
        let now = minute.minute;
        let (mut due, late): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(due_minute, _)| *due_minute <= now);
        self.late = late;
        let mut delivered: Vec<ClosedMinute> = due.drain(..).map(|(_, minute)| minute).collect();
        if self.rng.random::<f64>() >= disorder_rate {
            delivered.push(minute);
            return delivered;
        }
        match self.rng.random_range(0..3) {
            0 => delivered.extend([minute.clone(), minute]),
            1 => self.late.push((now + self.rng.random_range(1..30), minute)),
            _ => {}
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::rollout::plan::{DEFAULT_PLAN_TOML, Stage};

    fn outcomes(
        scenario: &str,
        runs: u64,
        minutes: u64,
        disorder_rate: f64,
    ) -> Vec<SimulationOutcome> {
        let mut plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
        let share = "10%".parse().unwrap();
        plan.stages =
            vec![Stage { share, min_duration_minutes: 10_000, min_samples: 0, approval: false }];
        let scenarios = ScenarioSet::new(&[scenario.parse().unwrap()]);
        let holdout = Share::NONE;
        let population = UserPopulation {
            requests_per_minute: 600.0,
            user_count: 5_000,
            zipf_exponent: 0.0,
            failing_user_share: 0.0,
            daily_amplitude: 0.0,
            holdout,
        };
        let simulation = ReleaseSimulation {
            plan: &plan,
            scenarios: &scenarios,
            population,
            minutes,
            disorder_rate,
        };
        (0..runs).map(|seed| simulation.run(seed)).collect()
    }

    #[test]
    fn a_tenfold_error_rate_rolls_back_within_minutes_and_never_before() {
        for outcome in outcomes("errors:1%:10%@60", 4, 120, 0.0) {
            let (minute, gate) = outcome.rollback.unwrap();
            assert!((60..75).contains(&minute), "{minute}");
            assert_eq!(gate, "errors against stable");
            let [trailing_window, consecutive, ..] = outcome.comparison_rollbacks;
            assert!(
                trailing_window.is_some() && consecutive.unwrap() > minute,
                "{:?}",
                outcome.comparison_rollbacks
            );
        }
    }

    #[test]
    fn minutes_that_come_late_twice_or_never_do_no_harm() {
        for outcome in outcomes("healthy", 4, 240, 0.3) {
            assert_eq!(outcome.rollback, None);
        }
        for outcome in outcomes("errors:1%:10%@60", 4, 150, 0.3) {
            assert!((60..100).contains(&outcome.rollback.unwrap().0));
        }
    }

    #[test]
    fn an_outage_of_stable_and_a_silent_canary_roll_nothing_back() {
        // After an outage most stable subjects are already affected, so newly affected subjects are
        // more often the canary's.
        for outcome in outcomes("outage:stable@60", 3, 600, 0.0) {
            assert_eq!(outcome.rollback, None);
        }
        for scenario in
            ["outage:stable@30", "silence@30", "failing_client@30", "clock_skew:5", "burst:10@30"]
        {
            for outcome in outcomes(scenario, 3, 120, 0.0) {
                assert_eq!((outcome.rollback, outcome.stage_minutes), (None, vec![]), "{scenario}");
            }
        }
    }

    #[test]
    fn a_slow_rise_is_found_and_a_drift_of_both_is_not() {
        for outcome in outcomes("errors:1%:10%@60/60", 3, 150, 0.0) {
            assert!((60..130).contains(&outcome.rollback.unwrap().0));
        }
        for outcome in outcomes("drift:errors:1%:4%", 3, 600, 0.0) {
            assert_eq!(outcome.rollback, None);
        }
    }

    #[test]
    fn the_same_seeds_give_the_same_outcomes() {
        assert_eq!(
            outcomes("errors:1%:5%@30", 2, 90, 0.1),
            outcomes("errors:1%:5%@30", 2, 90, 0.1)
        );
    }
}
