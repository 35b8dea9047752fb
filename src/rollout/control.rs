//! A release under control: everything that happens to it, one input after the other, and what follows from each.
//!
//! [`Control`] is a value; [`Control::apply`] is the only way on. Each input that changes something, or is answered,
//! becomes an [`Entry`] of the history, with what decided; the same entries in the same order make the same release
//! again, to the last bit ([`replay`]).

use serde::{Deserialize, Serialize};

use super::bucket::Release;
use super::counts::{Counts, Minute};
use super::evidence::{Evidence, Summary};
use super::permit::Withheld;
use super::plan::{Fault, Plan};
use super::standing::BreachKind;
use super::state::{Action, Alert, Command, News, Phase, State};
use jeffrey_terms::{Cohort, Share, UnixMs};

/// What is known of a release, without its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Where it stands.
    pub state: State,
    /// Its gates' evidence.
    pub evidence: Evidence,
    /// The last minute that was looked at, in minutes since 1970.
    pub after: u64,
    /// What was counted of the canary since the stage began.
    pub canary: Counts,
    /// And of stable.
    pub stable: Counts,
    /// The minute before the stage's first.
    pub entered_after: u64,
    /// What was last told, while the phase that it was told of lasts.
    pub told: Option<Alert>,
    /// The number of the last entry; 0 before the first.
    pub seq: u64,
}

/// What happens to a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "input", deny_unknown_fields)]
pub enum Input {
    /// A person asks for something.
    Asked {
        /// Who, as they say.
        by: String,
        /// What.
        command: Command,
        /// Why no share may rise.
        withheld: Option<Withheld>,
        /// The last closed minute.
        closed: u64,
    },
    /// An isolate saw what no canary may do even once.
    Breach {
        /// What.
        kind: BreachKind,
        /// The last closed minute.
        closed: u64,
    },
    /// A closed minute was counted.
    Minute {
        /// What.
        minute: Box<Minute>,
    },
    /// A plan comes into force.
    Planned {
        /// Who gave it, as they say.
        by: String,
        /// The file.
        plan: String,
        /// The last closed minute.
        closed: u64,
    },
    /// Time passed.
    Tick {
        /// Why no share may rise.
        withheld: Option<Withheld>,
        /// The last closed minute.
        closed: u64,
    },
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1, without a gap.
    pub seq: u64,
    /// When, by the clock that stages are counted by.
    #[serde(rename = "now_ms")]
    pub now: UnixMs,
    /// What happened.
    pub what: Input,
    /// Where the release stands after it.
    pub state: State,
    /// The canary's share then.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// What followed.
    pub actions: Vec<Action>,
    /// What the gates came to, where something followed.
    pub gates: Option<Summary>,
    /// What was counted of both cohorts since the stage began, where something followed.
    pub counted: Option<[Counts; 2]>,
}

/// Why a plan does not come into force. The one that is in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// It is for another release.
    #[error("the plan is for release `{plan}`, this is `{release}`")]
    Foreign {
        /// The plan's.
        plan: String,
        /// The gate's.
        release: String,
    },
    /// It is no plan.
    #[error("{}", list(.0))]
    Faulty(Vec<Fault>),
    /// It would change what traffic is judged by now.
    #[error(
        "canary traffic flows: stages up to the present one, gates, holdout and stable's limits stay as they are; \
         pause is not enough, abort or roll back first"
    )]
    Flowing,
    /// It has a smaller holdout than the gate has for every release.
    #[error(
        "the plan's holdout is {plan}, the gate's HOLDOUT is {gate}: the plan's is to be as large at least"
    )]
    Holdout {
        /// The plan's.
        plan: Share,
        /// The gate's.
        gate: Share,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Control {
    /// A release that nothing has happened to. Of minutes up to `closed` it knows nothing.
    pub fn new(plan: &Plan, now: UnixMs, closed: u64) -> Self {
        Self {
            state: State::idle(now),
            evidence: Evidence::new(plan),
            after: closed,
            canary: Counts::default(),
            stable: Counts::default(),
            entered_after: closed,
            told: None,
            seq: 0,
        }
    }

    /// The plan of a text, if it may come into force where a release stands so, under such a plan.
    ///
    /// # Errors
    /// [`PlanRefused`] says why not.
    pub fn replan(
        standing: Option<(&Self, &Plan)>,
        text: &str,
        release: &Release,
        holdout: Share,
    ) -> Result<Plan, PlanRefused> {
        let plan = Plan::read(text).map_err(|error| PlanRefused::Faulty(error.faults))?;
        if let Some(of) = plan.release.as_ref().filter(|of| *of != release) {
            let (plan, release) = (of.as_str().to_owned(), release.as_str().to_owned());
            return Err(PlanRefused::Foreign { plan, release });
        }
        if plan.holdout < holdout {
            return Err(PlanRefused::Holdout { plan: plan.holdout, gate: holdout });
        }
        let flows = |(control, old): &(&Self, &Plan)| control.state.share(old) > Share::NONE;
        let Some((control, old)) = standing.filter(flows) else {
            return Ok(plan);
        };
        let kept = control.state.stage + 1;
        let same = old.stages.get(..kept) == plan.stages.get(..kept)
            && old.gates == plan.gates
            && old.holdout == plan.holdout
            && old.stable == plan.stable;
        // Whether a stage is the last says what its traffic is watched for.
        let last = |plan: &Plan| plan.stages.len() == kept;
        if same && last(old) == last(&plan) { Ok(plan) } else { Err(PlanRefused::Flowing) }
    }

    /// After an input; and its entry, if it changed anything or has to be answered. A plan that comes into force was
    /// found good by [`Control::replan`] and is handed in.
    #[must_use]
    pub fn apply(&self, plan: &Plan, what: &Input, now: UnixMs) -> (Self, Option<Entry>) {
        let mut next = self.clone();
        let (news, closed) = match what {
            Input::Minute { minute } => {
                next.look_at(plan, minute);
                let entry = (next != *self).then(|| next.entry(plan, what, now, None));
                return (next, entry);
            }
            Input::Planned { closed, .. } => {
                if self.state.share(plan) == Share::NONE {
                    let after = self.after.max(*closed);
                    // Evidence starts anew; a rollback stays one.
                    let (state, seq) = (self.state.clone(), self.seq);
                    next = Self { state, seq, ..Self::new(plan, now, after) };
                }
                let entry = next.entry(plan, what, now, None);
                return (next, Some(entry));
            }
            Input::Asked { command, withheld, closed, .. } => {
                ((Some(command.clone()), None, withheld.clone()), *closed)
            }
            Input::Breach { kind, closed } => ((None, Some(*kind), None), *closed),
            Input::Tick { withheld, closed } => ((None, None, withheld.clone()), *closed),
        };
        let gates = self.evidence.summary(plan, closed);
        let (asked, breach, withheld) = news;
        let news = News { gates: &gates, asked, breach, withheld };
        let (state, actions) = self.state.next(plan, &news, now);
        if state == self.state && actions.is_empty() {
            return (next, None);
        }
        if state.phase != self.state.phase || state.stage != self.state.stage {
            next.told = None;
        }
        next.state = state;
        let counted = [next.canary, next.stable];
        for action in &actions {
            match action {
                Action::EnterStage => next.enter_stage(now),
                Action::ForgetEvidence => {
                    next.evidence = Evidence::new(plan);
                    // The minute that it begins in may hold what the release did before.
                    next.after = next.after.max(now.0 / 60_000);
                }
                Action::Alert(Alert::Refused(_)) | Action::SetShare(_) => {}
                Action::Alert(alert) => next.told = Some(alert.clone()),
            }
        }
        let entry = next.entry(plan, what, now, Some((actions, gates, counted)));
        (next, Some(entry))
    }

    /// Whether time alone would raise the share now, if nothing withheld it.
    pub fn would_rise(&self, plan: &Plan, now: UnixMs, closed: u64) -> bool {
        let tick = Input::Tick { withheld: None, closed };
        let (next, _) = self.apply(plan, &tick, now);
        next.state.share(plan) > self.state.share(plan)
    }

    /// What the gates come to, at the end of a minute.
    pub fn summary(&self, plan: &Plan, closed: u64) -> Summary {
        self.evidence.summary(plan, closed)
    }

    /// What was counted since the stage began.
    pub const fn counted(&self, cohort: Cohort) -> &Counts {
        match cohort {
            Cohort::Canary => &self.canary,
            Cohort::Stable => &self.stable,
        }
    }

    /// Whether minutes and time matter: something flows, or may yet.
    pub fn is_live(&self, plan: &Plan) -> bool {
        self.state.share(plan) > Share::NONE
    }

    fn look_at(&mut self, plan: &Plan, minute: &Minute) {
        let known = self.evidence.clone();
        self.after = self.after.max(minute.minute);
        self.evidence = self.evidence.clone().fold(plan, minute);
        if self.evidence != known && minute.minute > self.entered_after {
            self.canary.add(&minute.canary);
            self.stable.add(&minute.stable);
        }
    }

    fn enter_stage(&mut self, now: UnixMs) {
        self.evidence = self.evidence.clone().enter_stage(now.0 / 60_000);
        self.canary = Counts::default();
        self.stable = Counts::default();
        self.entered_after = now.0 / 60_000;
    }

    fn entry(
        &mut self,
        plan: &Plan,
        what: &Input,
        now: UnixMs,
        decided: Option<(Vec<Action>, Summary, [Counts; 2])>,
    ) -> Entry {
        self.seq += 1;
        let (actions, gates, counted) = match decided {
            Some((actions, gates, counted)) => (actions, Some(gates), Some(counted)),
            None => (Vec::new(), None, None),
        };
        Entry {
            seq: self.seq,
            now,
            what: what.clone(),
            state: self.state.clone(),
            share: self.state.share(plan),
            actions,
            gates,
            counted,
        }
    }
}

/// Whether a command fits the phase that a release is in; what is asked of it besides is [`refusal`]'s.
pub fn fits(control: &Control, plan: &Plan, command: &Command) -> bool {
    let flows = control.is_live(plan);
    let phase = &control.state.phase;
    match command {
        Command::Start => *phase == Phase::Idle,
        Command::Approve => matches!(phase, Phase::AwaitingApproval { .. }),
        Command::Resume { .. } => {
            matches!(phase, Phase::Paused { .. } | Phase::RolledBack { .. } | Phase::Aborted { .. })
        }
        Command::Advance { .. } | Command::Pause { .. } => {
            flows && !matches!(phase, Phase::Paused { .. } | Phase::Promoted)
        }
        Command::RollBack { .. } => flows,
        Command::Abort { .. } => !matches!(phase, Phase::Aborted { .. }),
    }
}

/// Why what a person asked for is not done, in one sentence.
pub fn refusal(
    control: &Control,
    plan: &Plan,
    command: &Command,
    withheld: Option<&Withheld>,
    (now, closed): (UnixMs, u64),
) -> String {
    let gates = control.summary(plan, closed);
    let reasonless = match command {
        Command::Advance { reason } | Command::Resume { reason } => reason.trim().is_empty(),
        _ => false,
    };
    let name = command.name();
    if !fits(control, plan, command) {
        return format!(
            "`{name}` is not possible while the release is {}",
            control.state.phase.name()
        );
    }
    if reasonless {
        return format!("`{name}` needs a reason");
    }
    let why = if let Some(withheld) = withheld {
        match withheld.command() {
            Some(command) => format!("{withheld}: run `{command}`"),
            None => withheld.to_string(),
        }
    } else if plan.freezes.iter().any(|freeze| freeze.holds(now)) {
        "the plan freezes this time of the week".to_owned()
    } else if gates.stable_breached {
        "the old system itself is outside the plan's limits for it".to_owned()
    } else if gates.silent {
        "no canary request was counted for some minutes".to_owned()
    } else {
        "a critical gate fails".to_owned()
    };
    format!("`{name}` is not done now: {why}")
}

/// What an exported history comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Lines.
    pub entries: u64,
    /// Of them, those in which something was decided.
    pub decisions: u64,
}

/// Where a history is not what its inputs make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A line is no entry.
    #[error("line {line} is no entry of a history")]
    Form {
        /// From 1.
        line: u64,
    },
    /// Numbers have a gap, or go back.
    #[error(
        "line {line} has number {found}, expected was {expected}: something is missing or doubled"
    )]
    Gap {
        /// From 1.
        line: u64,
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The first line brings no plan, or a later one a faulty one.
    #[error("line {line} should bring a plan into force, and does not")]
    Plan {
        /// From 1.
        line: u64,
    },
    /// The same input decides something else.
    #[error(
        "entry {seq} was recorded otherwise than its inputs decide: recorded `{recorded}`, decided `{decided}`"
    )]
    Decision {
        /// The entry's number.
        seq: u64,
        /// The first difference as it was recorded.
        recorded: String,
        /// And as it is decided now.
        decided: String,
    },
}

/// Decides everything again that an exported history records, line by line, and compares it to the last bit.
///
/// # Errors
/// [`Difference`] names the first line that is not what its inputs make.
pub fn replay<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Replayed, Difference> {
    let mut standing: Option<(Plan, Control)> = None;
    let mut found = Replayed { entries: 0, decisions: 0 };
    for (text, line) in lines.into_iter().filter(|line| !line.trim().is_empty()).zip(1..) {
        let recorded: Entry = serde_json::from_str(text).map_err(|_| Difference::Form { line })?;
        let read = |text: &str| Plan::read(text).map_err(|_| Difference::Plan { line });
        if let Input::Planned { plan: text, .. } = &recorded.what {
            let plan = read(text)?;
            // Before the first plan there was a release that nothing had happened to.
            let control = match standing.take() {
                Some((_, control)) => control,
                None => Control::new(&plan, recorded.now, 0),
            };
            standing = Some((plan, control));
        }
        let Some((plan, control)) = standing.as_mut() else {
            return Err(Difference::Plan { line });
        };
        if recorded.seq != control.seq + 1 {
            let (expected, found) = (control.seq + 1, recorded.seq);
            return Err(Difference::Gap { line, expected, found });
        }
        let (next, entry) = control.apply(plan, &recorded.what, recorded.now);
        let decided = entry.map_or("nothing".to_owned(), |entry| {
            serde_json::to_string(&entry).unwrap_or_default()
        });
        if decided != text.trim() {
            let at = decided.bytes().zip(text.trim().bytes()).take_while(|(a, b)| a == b).count();
            let part = |text: &str| {
                let from = text.floor_char_boundary(at.saturating_sub(20));
                text[from..].chars().take(60).collect::<String>()
            };
            let (recorded, decided) = (part(text.trim()), part(&decided));
            return Err(Difference::Decision { seq: control.seq + 1, recorded, decided });
        }
        *control = next;
        found.entries += 1;
        found.decisions += u64::from(!recorded.actions.is_empty());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::plan::SHIPPED;

    const NOW: UnixMs = UnixMs(1_795_435_200_000);
    const MINUTE_MS: u64 = 60_000;

    fn minute(number: u64, errors: u64) -> Box<Minute> {
        let counts = |requests, errors_5xx| Counts {
            requests,
            errors_5xx,
            answers: requests - errors_5xx,
            ..Counts::default()
        };
        Box::new(Minute {
            minute: number,
            share: Some("10%".parse().unwrap()),
            canary: counts(60, errors),
            stable: counts(540, 5),
            ..Minute::default()
        })
    }

    fn asked(command: Command, closed: u64) -> Input {
        Input::Asked { by: "test".to_owned(), command, withheld: None, closed }
    }

    /// A release, and its history as it is exported.
    struct Run {
        plan: Plan,
        control: Control,
        lines: Vec<String>,
    }

    impl Run {
        fn new(text: &str) -> Self {
            let plan = Plan::read(text).unwrap();
            let control = Control::new(&plan, NOW, 0);
            let mut run = Self { plan, control, lines: Vec::new() };
            let planned =
                Input::Planned { by: "test".to_owned(), plan: text.to_owned(), closed: first() };
            run.feed(&planned, NOW);
            run
        }

        fn feed(&mut self, what: &Input, now: UnixMs) -> Option<Entry> {
            let (next, entry) = self.control.apply(&self.plan, what, now);
            // What an object stores is what it goes on with.
            let stored = serde_json::to_string(&next).unwrap();
            assert_eq!(serde_json::from_str::<Control>(&stored).unwrap(), next);
            self.control = next;
            self.lines.extend(entry.as_ref().map(|entry| serde_json::to_string(entry).unwrap()));
            entry
        }

        fn replayed(&self) -> Result<Replayed, Difference> {
            replay(self.lines.iter().map(String::as_str))
        }
    }

    fn first() -> u64 {
        NOW.0 / MINUTE_MS
    }

    fn at(minutes: u64) -> UnixMs {
        UnixMs(NOW.0 + minutes * MINUTE_MS)
    }

    #[test]
    fn a_breach_takes_it_back_at_once_and_the_history_says_so_bit_for_bit() {
        let mut run = Run::new(SHIPPED);
        assert!(run.feed(&asked(Command::Start, first()), NOW).is_some());
        for number in 1..40 {
            run.feed(
                &Input::Minute { minute: minute(first() + number, number % 2) },
                at(number + 1),
            );
            run.feed(&Input::Tick { withheld: None, closed: first() + number }, at(number + 1));
        }
        assert_eq!(run.control.counted(Cohort::Canary).requests, 39 * 60);
        let breach = Input::Breach { kind: BreachKind::Trap, closed: first() + 39 };
        let entry = run.feed(&breach, at(41)).unwrap();
        assert_eq!(entry.share, Share::NONE);
        assert!(entry.gates.is_some() && entry.counted.unwrap()[0].requests == 39 * 60);
        assert!(run.feed(&breach, at(42)).is_none(), "latched, and once is enough");
        let replayed = run.replayed().unwrap();
        assert_eq!(replayed.entries, run.lines.len() as u64);
        assert!(replayed.decisions >= 2);
    }

    #[test]
    fn what_a_release_did_before_it_was_taken_back_is_not_held_against_it_again() {
        let mut run = Run::new(SHIPPED);
        run.feed(&asked(Command::Start, first()), NOW);
        let breach = Input::Breach { kind: BreachKind::Trap, closed: first() + 5 };
        run.feed(&breach, at(6)).unwrap();
        // Some minutes that it flowed in are not closed yet.
        let resume = Command::Resume { reason: "mended".to_owned() };
        run.feed(&asked(resume, first() + 5), at(7)).unwrap();
        assert_eq!(run.control.after, first() + 7, "the ledger is asked for later ones");
        assert_eq!(run.control.entered_after, first() + 7);
        run.replayed().unwrap();
    }

    #[test]
    fn another_plan_does_not_end_a_rollback() {
        let mut run = Run::new(SHIPPED);
        run.feed(&asked(Command::Start, first()), NOW);
        run.feed(&Input::Breach { kind: BreachKind::Trap, closed: first() }, at(1)).unwrap();
        let plan = SHIPPED.replacen("at_least = \"24h\"", "at_least = \"23h\"", 1);
        run.plan = Plan::read(&plan).unwrap();
        let planned = Input::Planned { by: "test".to_owned(), plan, closed: first() };
        run.feed(&planned, at(2)).unwrap();
        let start = run.feed(&asked(Command::Start, first()), at(3)).unwrap();
        assert_eq!(start.actions, [Action::Alert(Alert::Refused(Command::Start))]);
        let resume = Command::Resume { reason: "mended".to_owned() };
        let resumed = run.feed(&asked(resume, first()), at(4)).unwrap();
        assert_eq!(resumed.state.stage, 0);
        assert!(resumed.share > Share::NONE);
        run.replayed().unwrap();
    }

    #[test]
    fn a_doubled_minute_is_no_entry_and_a_changed_history_is_found() {
        let mut run = Run::new(SHIPPED);
        run.feed(&asked(Command::Start, first()), NOW);
        let one = Input::Minute { minute: minute(first() + 1, 3) };
        assert!(run.feed(&one, at(2)).is_some());
        assert!(run.feed(&one, at(2)).is_none());
        assert_eq!(run.control.counted(Cohort::Canary).requests, 60);
        run.feed(&asked(Command::Pause { reason: "lunch".to_owned() }, first() + 1), at(3));
        run.replayed().unwrap();
        let lines = run.lines.clone();
        let changed = |from: &str, to: &str| {
            let lines: Vec<String> = lines.iter().map(|line| line.replace(from, to)).collect();
            assert_ne!(lines, run.lines, "{from}");
            replay(lines.iter().map(String::as_str)).unwrap_err()
        };
        assert!(matches!(
            changed("\"errors_5xx\":3", "\"errors_5xx\":4"),
            Difference::Decision { .. }
        ));
        assert!(matches!(
            changed("\"phase\":\"paused\"", "\"phase\":\"holding\""),
            Difference::Form { .. } | Difference::Decision { .. }
        ));
        let missing = [&lines[..2], &lines[3..]].concat();
        let missing = replay(missing.iter().map(String::as_str)).unwrap_err();
        assert_eq!(missing, Difference::Gap { line: 3, expected: 3, found: 4 });
        assert_eq!(
            replay(lines[1..].iter().map(String::as_str)),
            Err(Difference::Plan { line: 1 })
        );
        assert_eq!(replay(["no entry"]), Err(Difference::Form { line: 1 }));
    }

    #[test]
    fn what_is_refused_says_why_in_a_sentence() {
        let mut run = Run::new(SHIPPED);
        let why = |run: &Run, command: &Command, withheld: Option<&Withheld>, now| {
            refusal(&run.control, &run.plan, command, withheld, (now, first()))
        };
        let reason = |text: &str| Command::Advance { reason: text.to_owned() };
        assert_eq!(
            why(&run, &Command::Approve, None, NOW),
            "`approve` is not possible while the release is idle"
        );
        assert_eq!(
            why(&run, &Command::Start, Some(&Withheld::ValidationMissing), NOW),
            "`start` is not done now: there is no release check: run `jeffrey validate --post URL`"
        );
        run.feed(&asked(Command::Start, first()), NOW);
        assert_eq!(why(&run, &reason(" "), None, NOW), "`advance` needs a reason");
        assert_eq!(
            why(&run, &reason("hurry"), None, NOW),
            "`advance` is not done now: no canary request was counted for some minutes"
        );
        let entry = run.feed(&asked(reason("hurry"), first()), at(1)).unwrap();
        assert_eq!(entry.actions, [Action::Alert(Alert::Refused(reason("hurry")))]);
        assert_eq!(run.control.told, None);
    }

    #[test]
    fn a_plan_changes_under_traffic_only_where_nothing_is_judged_by_it() {
        let release: Release = "e1-small".parse().unwrap();
        let mut run = Run::new(SHIPPED);
        let replan = |run: &Run, text: &str| {
            Control::replan(Some((&run.control, &run.plan)), text, &release, Share::NONE)
        };
        let later = SHIPPED.replacen("at_least = \"9h\"", "at_least = \"8h\"", 1);
        let now = SHIPPED.replacen("at_least = \"24h\"", "at_least = \"23h\"", 1);
        let gate = SHIPPED.replacen("compared = \"+50%\"", "compared = \"+60%\"", 1);
        for text in [&later, &now, &gate] {
            assert!(replan(&run, text).is_ok(), "nothing flows");
        }
        run.feed(&asked(Command::Start, first()), NOW);
        assert!(replan(&run, &later).is_ok());
        assert_eq!(replan(&run, &now), Err(PlanRefused::Flowing));
        assert_eq!(replan(&run, &gate), Err(PlanRefused::Flowing));
        let foreign = SHIPPED.replace("release = \"e1-small\"", "release = \"e2\"");
        assert!(matches!(replan(&run, &foreign), Err(PlanRefused::Foreign { .. })));
        let [plan, gate] = [100, 101].map(|points| Share::from_basis_points(points).unwrap());
        let held_out = |holdout| Control::replan(None, SHIPPED, &release, holdout);
        assert!(held_out(plan).is_ok());
        assert_eq!(held_out(gate), Err(PlanRefused::Holdout { plan, gate }));
        let faulty = SHIPPED.replace("metric = \"slow\"", "metric = \"speed\"");
        let Err(PlanRefused::Faulty(faults)) = replan(&run, &faulty) else { panic!() };
        assert!(!faults.is_empty());
        // The evidence of the running stage outlives a change of a later one.
        run.feed(&Input::Minute { minute: minute(first() + 1, 0) }, at(2));
        run.plan = replan(&run, &later).unwrap();
        let planned = Input::Planned { by: "test".to_owned(), plan: later, closed: first() + 1 };
        run.feed(&planned, at(3)).unwrap();
        assert_eq!(run.control.counted(Cohort::Canary).requests, 60);
        run.replayed().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        /// Whatever happens in whatever order: the share in force is what the actions set, minutes count once, and the
        /// history makes the same release again.
        #[test]
        fn every_history_replays(inputs in prop::collection::vec((0_u8..9, 0_u64..6, 0_u64..30), 1..120)) {
            let mut run = Run::new(SHIPPED);
            let mut share = Share::NONE;
            let mut clock = 0;
            for (what, number, errors) in inputs {
                clock += number;
                let closed = first() + clock;
                let reason = "because".to_owned();
                let withheld = (errors % 3 == 0).then_some(Withheld::ValidationMissing);
                let input = match what {
                    0 => asked(Command::Start, closed),
                    1 => asked(Command::Resume { reason }, closed),
                    2 => asked(Command::Pause { reason }, closed),
                    3 => asked(Command::Advance { reason }, closed),
                    4 => Input::Breach { kind: BreachKind::Trap, closed },
                    5 => Input::Tick { withheld, closed },
                    _ => Input::Minute { minute: minute(closed.saturating_sub(errors), errors) },
                };
                let entry = run.feed(&input, at(clock + 1));
                for action in entry.iter().flat_map(|entry| &entry.actions) {
                    if let Action::SetShare(set) = action {
                        share = *set;
                    }
                }
                prop_assert_eq!(run.control.state.share(&run.plan), share);
            }
            let replayed = run.replayed();
            prop_assert!(replayed.is_ok(), "{:?}", replayed);
        }
    }
}
