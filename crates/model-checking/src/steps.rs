//! A path of a search as sentences.

use jeffrey_edge::rollout::gate::finding::GateVerdict;

use crate::action::ModelAction;
use crate::release_model::ReleaseModel;
use crate::state::{CallKind, CallStage, CommandKind, ModelState, StoredRelease};

/// Returns the step that an action is, in the words of an operator.
pub(crate) fn describe(
    model: &ReleaseModel,
    state: &ModelState,
    action: ModelAction,
    next: &ModelState,
) -> String {
    let name = |place: usize| format!("isolate {}", state.isolates[place].label.0);
    let call = |place: usize, slot: usize| call_name(state, place, slot);
    match action {
        ModelAction::Step => format!("2.5 s pass{}", describe_serving(model, next)),
        ModelAction::Refresh(place) => format!("{} asks for the snapshot", name(place)),
        ModelAction::Deliver(place, slot) => {
            let sentence = format!("{} of {} reaches the object", call(place, slot), name(place));
            format!("{sentence}{}", describe_change(&state.memory, &next.memory))
        }
        ModelAction::DeliverTwice(place, slot) => {
            let sentence = format!(
                "{} of {} reaches the object, and a copy follows",
                call(place, slot),
                name(place)
            );
            format!("{sentence}{}", describe_change(&state.memory, &next.memory))
        }
        ModelAction::Reply(place, slot) => {
            let stage = state.isolates[place].calls[slot].map(|call| call.stage);
            let what = match stage {
                Some(CallStage::Replied(Some(snapshot))) => {
                    let open = if snapshot.is_open() { "open" } else { "closed" };
                    format!("version {}, {open}", snapshot.version)
                }
                _ => "a refusal".to_owned(),
            };
            format!("{} receives the reply: {what}", name(place))
        }
        ModelAction::Fail(place, slot) => format!("{} of {} fails", call(place, slot), name(place)),
        ModelAction::Delay(place, slot) => {
            format!("{} of {} takes longer than a step", call(place, slot), name(place))
        }
        ModelAction::Command(place, command) => {
            format!("an operator sends `{}` by way of {}", command_name(command), name(place))
        }
        ModelAction::HardFailure(place) => format!("{} reports a hard failure", name(place)),
        ModelAction::Idle(place) => format!("no request comes to {} any more", name(place)),
        ModelAction::Wake(place) => format!("requests come to {} again", name(place)),
        ModelAction::CutOff(place) => format!("{} no longer reaches the object", name(place)),
        ModelAction::Reconnect(place) => format!("{} reaches the object again", name(place)),
        ModelAction::End(place) => format!("{} ends, and a new one starts", name(place)),
        ModelAction::StepClock(place, is_forward) => {
            let way = if is_forward { "forward" } else { "back" };
            format!("the clock of {} is set {way} by 30 s", name(place))
        }
        _ => describe_object_action(state, action, next),
    }
}

fn describe_object_action(state: &ModelState, action: ModelAction, next: &ModelState) -> String {
    let change = describe_change(&state.memory, &next.memory);
    let verdict_name = |verdict| if verdict == GateVerdict::Fail { "fails" } else { "passes" };
    match action {
        ModelAction::Commit => format!("version {} is durable", next.durable.version),
        ModelAction::Restart => "the object restarts".to_owned(),
        ModelAction::Alarm(verdict) => {
            format!("the alarm runs, and the gate {}{change}", verdict_name(verdict))
        }
        ModelAction::AlarmAgain(verdict) => {
            format!("the alarm runs once more, and the gate {}{change}", verdict_name(verdict))
        }
        ModelAction::LoseAlarm => "the alarm is lost".to_owned(),
        ModelAction::Report => format!("the report reaches the object{change}"),
        ModelAction::CopyReport => "the report is doubled".to_owned(),
        ModelAction::ReportCopy => format!("the copy of the report reaches the object{change}"),
        ModelAction::LoseReport => "the report is lost".to_owned(),
        ModelAction::Deploy => "a deploy starts".to_owned(),
        _ => format!("{action:?}"),
    }
}

fn call_name(state: &ModelState, place: usize, slot: usize) -> String {
    match state.isolates[place].calls[slot].map(|call| call.kind) {
        Some(CallKind::Refresh) => "the question".to_owned(),
        Some(CallKind::Command { command, .. }) => format!("`{}`", command_name(command)),
        None => "nothing".to_owned(),
    }
}

const fn command_name(command: CommandKind) -> &'static str {
    match command {
        CommandKind::RollBack => "rollback",
        CommandKind::Resume(_) => "resume",
        CommandKind::Pause => "pause",
        CommandKind::Kill(_) => "kill",
    }
}

fn describe_change(before: &StoredRelease, after: &StoredRelease) -> String {
    if (before.version, before.phase) == (after.version, after.phase) {
        return String::new();
    }
    let share = f64::from(after.share) / 100.0;
    format!(": {:?}, version {}, {share} %", after.phase, after.version)
}

/// Says which isolates serve the canary although the release is closed.
fn describe_serving(model: &ReleaseModel, state: &ModelState) -> String {
    let is_serving = |place: &usize| {
        state.isolates[*place].serves_canary(&model.core.functions).is_some()
            && !state.durable.snapshot().is_open()
    };
    let serving: Vec<String> = (0..model.bounds.isolates)
        .filter(is_serving)
        .map(|place| state.isolates[place].label.0.to_string())
        .collect();
    if serving.is_empty() {
        return String::new();
    }
    format!("; the release is closed, and isolate {} still serves the canary", serving.join(", "))
}
