//! Sentences about a release, the same for the terminal, the page and a report; for the page in French as well.

mod french;

use serde::{Deserialize, Serialize};

use super::webhook::{of_cause, told};
use crate::rollout::control::{Entry, Input};
use crate::rollout::counts::Counts;
use crate::rollout::evidence::Summary;
use crate::rollout::state::{Action, Alert, Phase};
use crate::rollout::view::View;
use jeffrey_terms::{Share, UnixMs};

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The number of its entry.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, in a sentence.
    pub what: String,
    /// What followed.
    pub then: String,
    /// What happened and what followed, in French.
    pub fr: Clauses,
    /// The phase that the release is in after it.
    pub phase: String,
    /// The canary's share then.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// What the gates came to, where something followed.
    pub gates: Option<Summary>,
    /// What was counted of canary and stable since the stage began, where something followed.
    pub counted: Option<[Counts; 2]>,
}

/// What is said of a decision in another language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clauses {
    /// What happened.
    pub what: String,
    /// What followed.
    pub then: String,
}

/// A page of a history as what was decided in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// The earliest first; none where only minutes were counted.
    pub decisions: Vec<Decision>,
    /// The number of the last entry that was read, after which the next page is asked for; the one that was asked for
    /// where there is none.
    pub after: u64,
}

/// What was decided in a history's lines after an entry; a line that is no entry is passed over.
pub fn decisions(lines: &[u8], since: u64) -> Decisions {
    let mut found = Decisions { decisions: Vec::new(), after: since };
    for line in lines.split(|byte| *byte == b'\n') {
        if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
            found.after = entry.seq;
            found.decisions.extend(decision(&entry));
        }
    }
    found
}

/// Where a release stands, in one line.
pub fn line(release: &str, share: Share, killed: bool, view: Option<&View>) -> String {
    let killed = if killed { ", killed" } else { "" };
    match view {
        None => format!("{release} at {share}{killed}: no plan is in force"),
        Some(view) => {
            let stage = view.state.stage + 1;
            let why = why(view).map_or(String::new(), |why| format!(": {why}"));
            let (stages, phase) = (view.stages.len(), &view.phase);
            format!("{release} at {share}{killed}, stage {stage} of {stages}, {phase}{why}")
        }
    }
}

/// The same in French.
pub fn line_fr(release: &str, share: Share, killed: bool, view: Option<&View>) -> String {
    french::line(release, share, killed, view)
}

/// Why it does not go on, in one sentence.
pub fn why(view: &View) -> Option<String> {
    match &view.state.phase {
        Phase::RolledBack { cause } => Some(of_cause(cause)),
        Phase::Paused { reason } | Phase::Aborted { reason } => Some(reason.clone()),
        _ => view.told.as_ref().and_then(told).map(|(_, _, text, _)| text),
    }
}

/// What is said of an entry; nothing of a minute in which nothing was decided.
pub fn decision(entry: &Entry) -> Option<Decision> {
    let decided = !matches!(entry.what, Input::Minute { .. }) || !entry.actions.is_empty();
    decided.then(|| Decision {
        id: entry.seq,
        at_ms: entry.now.0,
        what: what(&entry.what),
        then: then(entry),
        fr: Clauses { what: french::what(&entry.what), then: french::then(entry) },
        phase: entry.state.phase.name().to_owned(),
        share: entry.share,
        gates: entry.gates.clone(),
        counted: entry.counted,
    })
}

/// What happened, as a clause.
pub fn what(input: &Input) -> String {
    let who = |by: &str| if by.is_empty() { "somebody".to_owned() } else { by.to_owned() };
    match input {
        Input::Asked { by, command, .. } => format!("{} asked to {}", who(by), command.name()),
        Input::Breach { kind, .. } => format!("an isolate saw: {}", kind.name()),
        Input::Minute { minute } => {
            format!("the minute {} was counted", when(UnixMs(minute.minute * 60_000)))
        }
        Input::Planned { by, .. } => format!("{} brought a plan", who(by)),
        Input::Tick { withheld: Some(withheld), .. } => {
            format!("its minutes were looked at; {withheld}")
        }
        Input::Tick { .. } => "its minutes were looked at".to_owned(),
    }
}

/// What followed, as a clause.
pub fn then(entry: &Entry) -> String {
    let said = entry.actions.iter().filter_map(|action| match action {
        Action::Alert(Alert::RolledBack(cause)) => {
            Some(format!("rolled back: {}", of_cause(cause)))
        }
        Action::Alert(Alert::Refused(command)) => Some(format!("{} was refused", command.name())),
        Action::Alert(alert) => told(alert).map(|(_, _, text, _)| text),
        Action::SetShare(share) => Some(format!("the share is set to {share}")),
        Action::EnterStage | Action::ForgetEvidence => None,
    });
    let said: Vec<String> = said.collect();
    match (said.is_empty(), &entry.state.phase) {
        (false, _) => said.join("; "),
        (true, Phase::Paused { reason }) => format!("paused: {reason}"),
        (true, phase) => phase.name().to_owned(),
    }
}

/// A time in UTC, to the minute.
pub fn when(at: UnixMs) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or("?".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::control::Control;
    use crate::rollout::counts::Minute;
    use crate::rollout::plan::{Plan, SHIPPED};
    use crate::rollout::state::Command;

    #[test]
    fn quiet_minutes_are_read_past() {
        let plan = Plan::read(SHIPPED).unwrap();
        let now = UnixMs(60_000 * 100);
        let start =
            Input::Asked { by: String::new(), command: Command::Start, withheld: None, closed: 99 };
        let (mut control, first) = Control::new(&plan, now, 0).apply(&plan, &start, now);
        let mut lines = serde_json::to_vec(&first.unwrap()).unwrap();
        for minute in 101..104 {
            let what = Input::Minute { minute: Box::new(Minute { minute, ..Minute::default() }) };
            let (next, entry) = control.apply(&plan, &what, UnixMs(60_000 * (minute + 1)));
            control = next;
            lines.push(b'\n');
            lines.extend(serde_json::to_vec(&entry.unwrap()).unwrap());
        }
        let Decisions { decisions: found, after } = decisions(&lines, 0);
        assert_eq!((found.len(), after), (1, control.seq));
        assert_eq!((found[0].id, found[0].what.as_str()), (1, "somebody asked to start"));
        let quiet = lines.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        assert_eq!(decisions(quiet, 1), Decisions { decisions: Vec::new(), after: control.seq });
        assert_eq!(decisions(b"", 7).after, 7);
    }
}
