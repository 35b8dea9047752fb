//! One release, from its start to the end of the simulated time.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::peers;
use super::scenario::Story;
use super::world::{Crowd, World};
use jeffrey_edge::rollout::counts::Minute;
use jeffrey_edge::rollout::evidence::Evidence;
use jeffrey_edge::rollout::gate::Effect;
use jeffrey_edge::rollout::gate::finding::Verdict;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::state::{Action, Cause, Command, News, Phase, State};
use jeffrey_terms::{Cohort, Share, UnixMs};

/// What is tried.
pub(super) struct Trial<'a> {
    pub(super) plan: &'a Plan,
    pub(super) story: &'a Story,
    pub(super) crowd: Crowd,
    pub(super) minutes: u64,
    pub(super) disorder: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// The minute, and the gate's name.
    pub(super) rolled_back: Option<(u64, String)>,
    /// How many minutes each stage took that was left upwards.
    pub(super) stages: Vec<u64>,
    /// Whether a person had to be asked.
    pub(super) undecided: bool,
    /// Gates that rises wait for, at the end.
    pub(super) open: Vec<String>,
    /// When each peer rule would have rolled back.
    pub(super) peers: [Option<u64>; peers::COUNT],
}

impl Trial<'_> {
    pub(super) fn run(&self, seed: u64) -> Outcome {
        let Trial { plan, story, .. } = *self;
        let mut world = World::new(story, plan, self.crowd, seed);
        let mut mail = Mail { rng: Pcg64::seed_from_u64(!seed), late: Vec::new() };
        let mut evidence = Evidence::new(plan);
        let mut state = State::idle(UnixMs(0));
        let mut peers = peers::all();
        let (metric, limit) = story.subject();
        let mut outcome = Outcome {
            rolled_back: None,
            stages: Vec::new(),
            undecided: false,
            open: Vec::new(),
            peers: [None; peers::COUNT],
        };
        let mut asked = Some(Command::Start);
        let mut share = Share::NONE;
        for number in 0..self.minutes {
            let minute_begins = UnixMs(number * 60_000);
            if number == 0 {
                let gates = evidence.summary(plan, 0);
                let news =
                    News { gates: &gates, asked: asked.take(), breach: None, withheld: None };
                state = state.next(plan, &news, minute_begins).0;
            }
            // After a rollback the peers go on at the share that they would have kept.
            share = if outcome.rolled_back.is_none() { state.share(plan) } else { share };
            let minute = world.minute(number, share);
            let parts = [Cohort::Canary, Cohort::Stable].map(|cohort| metric.of(&minute, cohort));
            peers.iter_mut().for_each(|peer| peer.look(number, parts, limit));
            if outcome.rolled_back.is_some() {
                if peers.iter().all(|peer| peer.fired().is_some()) {
                    break;
                }
                continue;
            }
            for minute in mail.delivered(minute, self.disorder) {
                evidence = evidence.fold(plan, &minute);
            }
            let gates = evidence.summary(plan, number);
            let now = UnixMs((number + 1) * 60_000);
            let waits = matches!(state.phase, Phase::AwaitingApproval { undecided: false });
            let asked = waits.then_some(Command::Approve);
            let news = News { gates: &gates, asked, breach: None, withheld: None };
            let (next, actions) = state.next(plan, &news, now);
            if next.stage > state.stage
                || next.phase == Phase::Promoted && state.phase != next.phase
            {
                outcome.stages.push((now.0 - state.entered.0) / 60_000);
            }
            outcome.undecided |= next.phase == Phase::AwaitingApproval { undecided: true };
            for action in actions {
                match action {
                    Action::EnterStage => evidence = evidence.enter_stage(number),
                    Action::ForgetEvidence => evidence = Evidence::new(plan),
                    Action::Alert(_) | Action::SetShare(_) => {}
                }
            }
            state = next;
            if let Phase::RolledBack { cause } = &state.phase {
                let gate = match &**cause {
                    Cause::Gate(finding) => finding.gate.clone(),
                    Cause::Breach(kind) => kind.name().to_owned(),
                    Cause::Person { .. } => "a person".to_owned(),
                };
                outcome.rolled_back = Some((number, gate));
            }
        }
        if outcome.rolled_back.is_none() {
            let findings = evidence.summary(plan, self.minutes.saturating_sub(1)).findings;
            let open = findings
                .into_iter()
                .filter(|found| found.effect != Effect::Warn && found.verdict != Verdict::Pass);
            outcome.open = open.map(|found| found.gate).collect();
        }
        outcome.peers = peers.each_ref().map(peers::Peer::fired);
        outcome
    }
}

/// Minutes on their way: some come twice, some later, some never.
struct Mail {
    rng: Pcg64,
    late: Vec<(u64, Minute)>,
}

impl Mail {
    fn delivered(&mut self, minute: Minute, disorder: f64) -> Vec<Minute> {
        let now = minute.minute;
        let (mut due, late): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        let mut delivered: Vec<Minute> = due.drain(..).map(|(_, minute)| minute).collect();
        if self.rng.random::<f64>() >= disorder {
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
    use jeffrey_edge::rollout::plan::{SHIPPED, Stage};

    fn outcomes(scenario: &str, runs: u64, minutes: u64, disorder: f64) -> Vec<Outcome> {
        let mut plan = Plan::read(SHIPPED).unwrap();
        let share = "10%".parse().unwrap();
        plan.stages = vec![Stage { share, at_least_minutes: 10_000, samples: 0, approval: false }];
        let story = Story::new(&[scenario.parse().unwrap()]);
        let holdout = Share::NONE;
        let crowd =
            Crowd { traffic: 600.0, users: 5_000, zipf: 0.0, broken: 0.0, daily: 0.0, holdout };
        let trial = Trial { plan: &plan, story: &story, crowd, minutes, disorder };
        (0..runs).map(|seed| trial.run(seed)).collect()
    }

    #[test]
    fn a_tenfold_error_rate_rolls_back_within_minutes_and_never_before() {
        for outcome in outcomes("errors:1%:10%@60", 4, 120, 0.0) {
            let (minute, gate) = outcome.rolled_back.unwrap();
            assert!((60..75).contains(&minute), "{minute}");
            assert_eq!(gate, "errors against stable");
            let [trailing, consecutive, ..] = outcome.peers;
            assert!(trailing.is_some() && consecutive.unwrap() > minute, "{:?}", outcome.peers);
        }
    }

    #[test]
    fn minutes_that_come_late_twice_or_never_do_no_harm() {
        for outcome in outcomes("healthy", 4, 240, 0.3) {
            assert_eq!(outcome.rolled_back, None);
        }
        for outcome in outcomes("errors:1%:10%@60", 4, 150, 0.3) {
            assert!((60..100).contains(&outcome.rolled_back.unwrap().0));
        }
    }

    #[test]
    fn an_outage_of_stable_and_a_silent_canary_roll_nothing_back() {
        // An outage within an hour uses up stable's subjects: what is left is the canary's more often.
        for outcome in outcomes("outage:stable@60", 3, 600, 0.0) {
            assert_eq!(outcome.rolled_back, None);
        }
        for scenario in ["outage:stable@30", "silence@30", "client@30", "skew:5", "burst:10@30"] {
            for outcome in outcomes(scenario, 3, 120, 0.0) {
                assert_eq!((outcome.rolled_back, outcome.stages), (None, vec![]), "{scenario}");
            }
        }
    }

    #[test]
    fn a_slow_rise_is_found_and_a_drift_of_both_is_not() {
        for outcome in outcomes("errors:1%:10%@60/60", 3, 150, 0.0) {
            assert!((60..130).contains(&outcome.rolled_back.unwrap().0));
        }
        for outcome in outcomes("drift:errors:1%:4%", 3, 600, 0.0) {
            assert_eq!(outcome.rolled_back, None);
        }
    }

    #[test]
    fn a_story_is_the_same_each_time_it_is_told() {
        assert_eq!(
            outcomes("errors:1%:5%@30", 2, 90, 0.1),
            outcomes("errors:1%:5%@30", 2, 90, 0.1)
        );
    }
}
