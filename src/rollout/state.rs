//! Where a release stands in its plan, and where it goes next: one function of state, news and time.
//!
//! Two laws hold in every state, and the tests go through all of them: while any traffic is the canary's,
//! a failing critical gate or a breach rolls back; and while stable breaks its own limits, or nothing is
//! known, no share rises. A rollback is latched: only a person resumes, with a reason. What is to be done
//! is returned, not done.

use serde::{Deserialize, Serialize};

use super::evidence::Summary;
use super::permit::Withheld;
use super::plan::{Plan, Stage};
use super::standing::BreachKind;
use crate::rollout::gate::finding::{Finding, Verdict};
use jeffrey_terms::{Share, UnixMs};

/// A release in its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// The number of its stage, from 0; kept after a rollback, to say where it was.
    pub stage: usize,
    /// When that stage began.
    #[serde(rename = "entered_ms")]
    pub entered: UnixMs,
    /// When this phase began.
    #[serde(rename = "since_ms")]
    pub since: UnixMs,
}

/// What a release is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", deny_unknown_fields)]
pub enum Phase {
    /// Ended by a person; no traffic.
    Aborted {
        /// Why.
        reason: String,
    },
    /// Nothing rises until a person agrees.
    AwaitingApproval {
        /// Whether it waits because the gates could not decide in time.
        undecided: bool,
    },
    /// It would rise, but for the time of the week.
    Frozen,
    /// It may not rise as things are.
    Holding {
        /// Why not.
        why: Hold,
    },
    /// Not begun; no traffic.
    Idle,
    /// Stopped by a person where it is; its traffic goes on, and so do its gates.
    Paused {
        /// Why.
        reason: String,
    },
    /// Through: all traffic, for as long as it is served here.
    Promoted,
    /// On its way.
    Ramping,
    /// Stopped; no traffic.
    RolledBack {
        /// What decided.
        cause: Box<Cause>,
    },
    /// At the last stage, its gates on.
    Watching,
}

/// Why a release holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Gates do not pass: evidence is missing, or speaks against it.
    Gates,
    /// No canary request was counted for some minutes.
    NoData,
    /// The old system is outside its own limits.
    StableBreached,
    /// It would rise, but for what is missing.
    Withheld(Withheld),
}

impl Phase {
    /// The name used in every answer, as words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aborted { .. } => "aborted",
            Self::AwaitingApproval { .. } => "awaiting approval",
            Self::Frozen => "frozen",
            Self::Holding { .. } => "holding",
            Self::Idle => "idle",
            Self::Paused { .. } => "paused",
            Self::Promoted => "promoted",
            Self::Ramping => "ramping",
            Self::RolledBack { .. } => "rolled back",
            Self::Watching => "watching",
        }
    }
}

/// What rolled back: everything that the decision stood on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// What no canary may do even once.
    Breach(BreachKind),
    /// A critical gate.
    Gate(Finding),
    /// A person.
    Person {
        /// Why.
        reason: String,
    },
}

/// What is new since the last call: the gates', and perhaps a person's or an isolate's word.
#[derive(Clone, Debug)]
pub struct News<'a> {
    /// What the gates come to.
    pub gates: &'a Summary,
    /// What somebody asks for.
    pub asked: Option<Command>,
    /// What an isolate reports.
    pub breach: Option<BreachKind>,
    /// Why no share may rise, whatever the gates say.
    pub withheld: Option<Withheld>,
}

/// What a person may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// End it.
    Abort {
        /// Why.
        reason: String,
    },
    /// Go to the next stage before its time.
    Advance {
        /// Why; not empty.
        reason: String,
    },
    /// Agree to the next stage.
    Approve,
    /// Stop where it is.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on after a pause; begin again after a rollback or an end.
    Resume {
        /// Why; not empty.
        reason: String,
    },
    /// Take it back.
    RollBack {
        /// Why.
        reason: String,
    },
    /// Begin.
    Start,
}

impl Command {
    /// The word that it is asked for by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "abort",
            Self::Advance { .. } => "advance",
            Self::Approve => "approve",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::RollBack { .. } => "rollback",
            Self::Start => "start",
        }
    }
}

/// What a shell has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Tell those whom the plan names.
    Alert(Alert),
    /// What is shown of a stage starts anew.
    EnterStage,
    /// All evidence starts anew.
    ForgetEvidence,
    /// Set the canary's share.
    SetShare(Share),
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// A person is asked; `true` when the gates could not decide in time.
    ApprovalWanted(bool),
    /// It holds, by the gates that do not pass.
    Held(Vec<Finding>),
    /// No canary request was counted for some minutes.
    NoData,
    /// What was asked for is not possible now.
    Refused(Command),
    /// It was rolled back.
    RolledBack(Cause),
    /// The old system is outside its own limits.
    StableBreached,
    /// It would rise, but for what is missing.
    Withheld(Withheld),
}

impl State {
    /// Before the start.
    pub const fn idle(now: UnixMs) -> Self {
        Self { phase: Phase::Idle, stage: 0, entered: now, since: now }
    }

    /// The canary's share in this state.
    pub fn share(&self, plan: &Plan) -> Share {
        match self.phase {
            Phase::Aborted { .. } | Phase::Idle | Phase::RolledBack { .. } => Share::NONE,
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Paused { .. }
            | Phase::Promoted
            | Phase::Ramping
            | Phase::Watching => plan.stage(self.stage).map_or(Share::NONE, |stage| stage.share),
        }
    }

    /// The state after some news, and what is to be done.
    #[must_use]
    pub fn next(&self, plan: &Plan, news: &News<'_>, now: UnixMs) -> (Self, Vec<Action>) {
        if let Some(cause) = self.cause(plan, news) {
            let alert = Action::Alert(Alert::RolledBack(cause.clone()));
            let next = self.now_in(Phase::RolledBack { cause: Box::new(cause) }, now);
            return (next, vec![Action::SetShare(Share::NONE), alert]);
        }
        match &news.asked {
            Some(command) => self.asked(plan, news, command, now),
            None => self.went_on(plan, news, now),
        }
    }

    /// Why it has to be rolled back now, if it has to.
    fn cause(&self, plan: &Plan, news: &News<'_>) -> Option<Cause> {
        if self.share(plan) == Share::NONE {
            return None;
        }
        let breach = news.breach.map(Cause::Breach);
        let gate = || news.gates.failing().cloned().map(Cause::Gate);
        let person = || match &news.asked {
            Some(Command::RollBack { reason }) => Some(Cause::Person { reason: reason.clone() }),
            _ => None,
        };
        breach.or_else(gate).or_else(person)
    }

    /// A person's word.
    fn asked(
        &self,
        plan: &Plan,
        news: &News<'_>,
        command: &Command,
        now: UnixMs,
    ) -> (Self, Vec<Action>) {
        let flows = self.share(plan) > Share::NONE;
        let frozen = plan.freezes.iter().any(|freeze| freeze.holds(now));
        let may_begin = !frozen && !news.gates.stable_breached && news.withheld.is_none();
        let may_rise = may_begin && !news.gates.silent;
        let refused = || (self.clone(), vec![Action::Alert(Alert::Refused(command.clone()))]);
        match (command, &self.phase) {
            (Command::Abort { reason }, phase) if !matches!(phase, Phase::Aborted { .. }) => {
                let next = self.now_in(Phase::Aborted { reason: reason.clone() }, now);
                (next, vec![Action::SetShare(Share::NONE)])
            }
            (Command::Pause { reason }, phase)
                if flows && !matches!(phase, Phase::Paused { .. } | Phase::Promoted) =>
            {
                (self.now_in(Phase::Paused { reason: reason.clone() }, now), Vec::new())
            }
            (Command::Resume { reason }, Phase::Paused { .. }) if !reason.trim().is_empty() => {
                (self.now_in(self.under_way(plan), now), Vec::new())
            }
            (Command::Approve, Phase::AwaitingApproval { .. }) if may_rise => self.risen(plan, now),
            (Command::Advance { reason }, phase)
                if flows
                    && may_rise
                    && !reason.trim().is_empty()
                    && !matches!(phase, Phase::Paused { .. } | Phase::Promoted) =>
            {
                self.risen(plan, now)
            }
            (Command::Start, Phase::Idle) if may_begin => begun(plan, now).unwrap_or_else(refused),
            (Command::Resume { reason }, Phase::RolledBack { .. } | Phase::Aborted { .. })
                if !reason.trim().is_empty() && may_begin =>
            {
                begun(plan, now).unwrap_or_else(refused)
            }
            _ => refused(),
        }
    }

    /// Nobody asked for anything: the gates and the time decide.
    fn went_on(&self, plan: &Plan, news: &News<'_>, now: UnixMs) -> (Self, Vec<Action>) {
        let gates = news.gates;
        let moves = match self.phase {
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Ramping
            | Phase::Watching => true,
            Phase::Aborted { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::Promoted
            | Phase::RolledBack { .. } => false,
        };
        let Some(stage) = plan.stage(self.stage).filter(|_| moves) else {
            return (self.clone(), Vec::new());
        };
        let minutes = now.0.saturating_sub(self.entered.0) / 60_000;
        let due = minutes >= stage.at_least_minutes;
        let shown = gates.rises() && gates.samples >= stage.samples;
        let late = plan.deadline_minutes > 0
            && minutes >= plan.deadline_minutes.max(stage.at_least_minutes);
        let waits = matches!(self.phase, Phase::AwaitingApproval { .. });
        // To be through is no rise.
        let withheld = news.withheld.clone().filter(|_| self.stage + 1 < plan.stages.len());
        if let Some(withheld) = withheld.filter(|_| due && shown) {
            let phase = if withheld.stops() {
                Phase::Paused { reason: withheld.to_string() }
            } else {
                Phase::Holding { why: Hold::Withheld(withheld.clone()) }
            };
            let alert = (phase != self.phase).then_some(Action::Alert(Alert::Withheld(withheld)));
            return (self.in_phase(phase, now), alert.into_iter().collect());
        }
        if due && shown && stage.approval {
            return self.moved(Phase::AwaitingApproval { undecided: false }, gates, now);
        }
        if due && shown && plan.freezes.iter().any(|freeze| freeze.holds(now)) {
            return self.moved(Phase::Frozen, gates, now);
        }
        if due && shown {
            return self.risen(plan, now);
        }
        if late {
            return self.moved(Phase::AwaitingApproval { undecided: true }, gates, now);
        }
        let fine = gates.critical() == Verdict::Pass && !gates.stable_breached && !gates.silent;
        let why = match (gates.silent, gates.stable_breached) {
            (true, _) => Hold::NoData,
            (false, true) => Hold::StableBreached,
            (false, false) => Hold::Gates,
        };
        let holds = due || !fine || waits;
        let phase = if holds { Phase::Holding { why } } else { self.under_way(plan) };
        self.moved(phase, gates, now)
    }

    /// One stage higher, or through.
    fn risen(&self, plan: &Plan, now: UnixMs) -> (Self, Vec<Action>) {
        let Some(stage) = plan.stages.get(self.stage + 1) else {
            return (self.now_in(Phase::Promoted, now), Vec::new());
        };
        enter(plan, self.stage + 1, stage, now)
    }

    /// In another phase, with what is to be told of it; the same phase is no news.
    fn moved(&self, phase: Phase, gates: &Summary, now: UnixMs) -> (Self, Vec<Action>) {
        if phase == self.phase {
            return (self.clone(), Vec::new());
        }
        let alert = match &phase {
            Phase::AwaitingApproval { undecided } => Some(Alert::ApprovalWanted(*undecided)),
            Phase::Holding { why: Hold::NoData } => Some(Alert::NoData),
            Phase::Holding { why: Hold::StableBreached } => Some(Alert::StableBreached),
            Phase::Holding { .. } => {
                let open = gates.findings.iter().filter(|found| found.verdict != Verdict::Pass);
                Some(Alert::Held(open.cloned().collect()))
            }
            _ => None,
        };
        (self.now_in(phase, now), alert.map(Action::Alert).into_iter().collect())
    }

    /// The phase of a release that nothing stops.
    fn under_way(&self, plan: &Plan) -> Phase {
        if self.stage + 1 < plan.stages.len() { Phase::Ramping } else { Phase::Watching }
    }

    /// In a phase, since now unless it is in it.
    fn in_phase(&self, phase: Phase, now: UnixMs) -> Self {
        if phase == self.phase { self.clone() } else { self.now_in(phase, now) }
    }

    fn now_in(&self, phase: Phase, now: UnixMs) -> Self {
        Self { phase, since: now, ..self.clone() }
    }
}

/// At the first stage; `None` without one.
fn begun(plan: &Plan, now: UnixMs) -> Option<(State, Vec<Action>)> {
    let (state, mut actions) = enter(plan, 0, plan.stages.first()?, now);
    actions.push(Action::ForgetEvidence);
    Some((state, actions))
}

fn enter(plan: &Plan, number: usize, stage: &Stage, now: UnixMs) -> (State, Vec<Action>) {
    let phase = if number + 1 < plan.stages.len() { Phase::Ramping } else { Phase::Watching };
    let state = State { phase, stage: number, entered: now, since: now };
    (state, vec![Action::SetShare(stage.share), Action::EnterStage])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::Metric;
    use crate::rollout::gate::Effect;
    use crate::rollout::plan::SHIPPED;

    const VERDICTS: [Verdict; 3] = [Verdict::Pass, Verdict::Hold, Verdict::Fail];
    /// Monday, 2026-11-23, 12:00 UTC, when nothing below is frozen.
    const NOW: UnixMs = UnixMs(1_795_435_200_000);

    fn finding(effect: Effect, verdict: Verdict) -> Finding {
        Finding {
            gate: format!("{effect:?}"),
            metric: Metric::Errors,
            effect,
            verdict,
            note: None,
            value: None,
            limit: None,
            samples: 0,
            hits: 0,
            ln_evidence: None,
            ln_threshold: None,
            decides_in_minutes: None,
            crossed: None,
            since: None,
        }
    }

    fn summary(critical: Verdict, advance: Verdict) -> Summary {
        Summary {
            findings: vec![
                finding(Effect::RollBack, critical),
                finding(Effect::Warn, Verdict::Fail),
                finding(Effect::Advance, advance),
            ],
            stable_breached: false,
            silent: false,
            samples: 1_000_000,
        }
    }

    /// Every summary of interest.
    fn summaries() -> Vec<Summary> {
        let mut all = Vec::new();
        for critical in VERDICTS {
            for advance in [Verdict::Pass, Verdict::Hold] {
                for bits in 0..8_u8 {
                    let mut one = summary(critical, advance);
                    one.stable_breached = bits & 1 > 0;
                    one.silent = bits & 2 > 0;
                    one.samples = if bits & 4 > 0 { 0 } else { 1_000_000 };
                    all.push(one);
                }
            }
        }
        all
    }

    fn phases() -> [Phase; 11] {
        [
            Phase::Aborted { reason: "x".into() },
            Phase::AwaitingApproval { undecided: false },
            Phase::AwaitingApproval { undecided: true },
            Phase::Frozen,
            Phase::Holding { why: Hold::Gates },
            Phase::Idle,
            Phase::Paused { reason: "x".into() },
            Phase::Promoted,
            Phase::Ramping,
            Phase::RolledBack { cause: Box::new(Cause::Breach(BreachKind::Trap)) },
            Phase::Watching,
        ]
    }

    fn commands() -> [Option<Command>; 10] {
        let (reason, empty) = ("seen and understood".to_owned(), " ".to_owned());
        [
            None,
            Some(Command::Abort { reason: reason.clone() }),
            Some(Command::Approve),
            Some(Command::Pause { reason: reason.clone() }),
            Some(Command::Resume { reason: empty }),
            Some(Command::Resume { reason: reason.clone() }),
            Some(Command::RollBack { reason: reason.clone() }),
            Some(Command::Advance { reason: " ".to_owned() }),
            Some(Command::Advance { reason }),
            Some(Command::Start),
        ]
    }

    fn plan() -> Plan {
        let freeze = "[[freeze]]\ndays = \"fri\"\nfrom = \"00:00\"\nto = \"24:00\"\n";
        Plan::read(&format!("{SHIPPED}\n{freeze}")).unwrap()
    }

    /// Every state, with every news, at every kind of time: so many transitions.
    fn every_transition(mut check: impl FnMut(&Plan, &State, &News<'_>, &State, &[Action])) {
        let plan = plan();
        let day = 24 * 3_600_000;
        let summaries = summaries();
        for phase in phases() {
            // The first, one that wants approval, the last.
            for stage in [0, 3, 4] {
                // In time, due and past the deadline, and that in a freeze.
                for (age, now) in [(0, NOW), (8 * day, NOW), (8 * day, UnixMs(NOW.0 + 4 * day))] {
                    let entered = UnixMs(now.0 - age);
                    let state = State { phase: phase.clone(), stage, entered, since: entered };
                    for gates in &summaries {
                        for asked in commands() {
                            for breach in [None, Some(BreachKind::DimensionMismatch)] {
                                for withheld in [None, Some(Withheld::ValidationMissing)] {
                                    let asked = asked.clone();
                                    let news = News { gates, asked, breach, withheld };
                                    let (next, actions) = state.next(&plan, &news, now);
                                    check(&plan, &state, &news, &next, &actions);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_failing_critical_gate_rolls_back_wherever_traffic_is_the_canarys() {
        let mut rolled_back = 0;
        every_transition(|plan, state, news, next, actions| {
            let flows = state.share(plan) > Share::NONE;
            let asked = matches!(news.asked, Some(Command::RollBack { .. }));
            let fails = news.gates.critical() == Verdict::Fail || news.breach.is_some() || asked;
            if flows && fails {
                rolled_back += 1;
                assert!(matches!(next.phase, Phase::RolledBack { .. }), "{state:?} {news:?}");
                assert_eq!(actions[0], Action::SetShare(Share::NONE));
                assert!(matches!(actions[1], Action::Alert(Alert::RolledBack(_))));
            }
            if fails {
                let began = matches!(news.asked, Some(Command::Start | Command::Resume { .. }));
                assert!(next.share(plan) == Share::NONE || (!flows && began));
            }
        });
        assert!(rolled_back > 10_000, "{rolled_back}");
    }

    #[test]
    fn nothing_rises_while_stable_is_broken_or_nothing_is_known() {
        let mut risen = 0;
        every_transition(|plan, state, news, next, _| {
            let (before, after) = (state.share(plan), next.share(plan));
            if after <= before {
                return;
            }
            risen += 1;
            let began = before == Share::NONE;
            assert!(!news.gates.stable_breached, "{state:?} {news:?}");
            assert!(began || !news.gates.silent, "{state:?} {news:?}");
            // By the gates alone only when all pass and the stage was long enough; else by a person.
            assert!(news.withheld.is_none(), "{state:?} {news:?}");
            let approved = matches!(&news.asked, Some(Command::Approve | Command::Advance { .. }));
            assert!(began || approved || news.gates.rises(), "{state:?} {news:?}");
            assert!(!began || news.asked.is_some(), "{state:?}");
            let stage = if began { 0 } else { state.stage + 1 };
            assert_eq!(after, plan.stages[stage].share, "one stage at a time");
            assert!(
                approved || began || !plan.stages[state.stage].approval,
                "a stage that wants approval is left without: {state:?}"
            );
        });
        assert!(risen > 100, "{risen}");
    }

    #[test]
    fn a_rollback_stays_until_a_person_resumes_with_a_reason() {
        every_transition(|plan, state, news, next, actions| {
            let (Phase::RolledBack { .. }, true) = (&state.phase, next.phase != state.phase) else {
                return;
            };
            match &news.asked {
                Some(Command::Abort { .. }) => assert_eq!(next.share(plan), Share::NONE),
                Some(Command::Resume { reason }) => {
                    assert!(!reason.trim().is_empty());
                    assert_eq!(next.stage, 0);
                    assert!(actions.contains(&Action::ForgetEvidence));
                }
                other => panic!("{other:?} ended a rollback"),
            }
        });
    }

    #[test]
    fn whatever_share_is_in_force_was_set() {
        every_transition(|plan, state, _, next, actions| {
            let set = actions.iter().rev().find_map(|action| match action {
                Action::SetShare(share) => Some(*share),
                _ => None,
            });
            assert_eq!(set.unwrap_or(state.share(plan)), next.share(plan), "{state:?} to {next:?}");
            let entered = next.stage != state.stage;
            assert!(!entered || actions.contains(&Action::EnterStage));
        });
    }

    #[test]
    fn a_good_release_goes_through_every_stage_to_promotion() {
        let plan = plan();
        let gates = summary(Verdict::Pass, Verdict::Pass);
        let mut state = State::idle(NOW);
        let mut now = NOW;
        let mut seen = Vec::new();
        for minute in 0..20_000_u64 {
            let asked = match &state.phase {
                Phase::Idle => Some(Command::Start),
                Phase::AwaitingApproval { .. } if minute % 60 == 0 => Some(Command::Approve),
                _ => None,
            };
            let news = News { gates: &gates, asked, breach: None, withheld: None };
            state = state.next(&plan, &news, now).0;
            let share = state.share(&plan);
            if seen.last() != Some(&share.basis_points()) {
                seen.push(share.basis_points());
            }
            now = UnixMs(now.0 + 60_000);
        }
        assert_eq!(seen, [1_000, 2_000, 5_000, 7_500, 10_000]);
        assert_eq!(state.phase, Phase::Promoted);
    }

    #[test]
    fn the_same_hold_is_told_once() {
        let plan = plan();
        let mut gates = summary(Verdict::Pass, Verdict::Pass);
        gates.silent = true;
        let state = State { phase: Phase::Ramping, ..State::idle(NOW) };
        let news = News { gates: &gates, asked: None, breach: None, withheld: None };
        let (held, actions) = state.next(&plan, &news, NOW);
        assert_eq!(actions, [Action::Alert(Alert::NoData)]);
        assert!(matches!(held.phase, Phase::Holding { .. }), "{held:?}");
        assert_eq!(held.next(&plan, &news, NOW).1, []);
    }

    #[test]
    fn a_state_is_stored_and_read_back_the_same() {
        for phase in phases() {
            let state = State { phase, stage: 3, entered: NOW, since: NOW };
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state, "{json}");
        }
    }
}
