//! The promises that every state has to keep, and the events that a search has to meet.
//!
//! All promises with a time are deadlines: a state beyond one breaks it. Stateright's `eventually`
//! is correct without cycles only, and the states of this model repeat.

use stateright::Property;

use crate::release_model::ReleaseModel;
use crate::state::{
    AWAY_BOUND_STEPS, BOUND_STEPS, CachedSnapshot, CallKind, CallStage, EXPIRY_STEPS, ModelIsolate,
    ModelState, PendingCall, PhaseKind, RETRY_STEPS,
};

type Condition = fn(&ReleaseModel, &ModelState) -> bool;

/// Returns all properties of the model.
pub fn all() -> Vec<Property<ReleaseModel>> {
    [promises(), events_at_isolates(), events_at_the_object()].into_iter().flatten().collect()
}

fn always(name: &'static str, holds: Condition) -> Property<ReleaseModel> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, holds: Condition) -> Property<ReleaseModel> {
    Property::sometimes(name, holds)
}

fn promises() -> Vec<Property<ReleaseModel>> {
    vec![
        always(
            "after a stored rollback no isolate serves the canary later than its bound",
            |model, state| !model.finds(0, || serves_after_rollback(model, state)),
        ),
        always("a rollback is latched until an operator resumes", |model, state| {
            !model.finds(1, || state.broken.latch)
        }),
        always("the version never goes back", |model, state| {
            !model.finds(2, || state.broken.version || knows_the_future(model, state))
        }),
        always("a share in use was current within the bound", |model, state| {
            !model.finds(3, || uses_old_share(model, state))
        }),
        always("an older snapshot never replaces a newer one before its expiry", |model, state| {
            !model.finds(4, || state.broken.order)
        }),
    ]
}

fn events_at_isolates() -> Vec<Property<ReleaseModel>> {
    vec![
        sometimes("an isolate serves the canary after a rollback", |model, state| {
            model.finds(10, || state.closed_for > 0 && serving(model, state).count() > 0)
        }),
        sometimes("an isolate serves it to the end of its bound", |model, state| {
            model.finds(11, || {
                state.closed_for + 1 == AWAY_BOUND_STEPS && serving(model, state).count() > 0
            })
        }),
        sometimes("a snapshot expires", |model, state| {
            model.finds(12, || any_cached(model, state, |cached| cached.asked.age > EXPIRY_STEPS))
        }),
        sometimes("a refresh fails", |model, state| {
            model.finds(13, || isolates(model, state).any(|isolate| isolate.failed.is_some()))
        }),
        sometimes("an older reply comes after a newer one", |model, state| {
            model.finds(14, || isolates(model, state).any(has_overtaken_reply))
        }),
        sometimes("an isolate sees that its clock was set back", |model, state| {
            model.finds(15, || any_cached(model, state, |cached| cached.asked.is_before_set_back))
        }),
        sometimes("an old object answers a new message", |model, state| {
            model.finds(16, || any_call_is(model, state, CallStage::Unsupported))
        }),
        sometimes("a call takes longer than a step", |model, state| {
            model.finds(17, || {
                calls(model, state).any(|call| call.kind == CallKind::Refresh && call.asked.age > 0)
            })
        }),
        sometimes("a reply to a command is late", |model, state| {
            model.finds(18, || calls(model, state).any(is_late_reply))
        }),
        sometimes("an isolate is idle until its snapshot is old", |model, state| {
            model.finds(19, || {
                isolates(model, state).any(|isolate| {
                    isolate.is_idle
                        && isolate.cached.is_some_and(|cached| cached.asked.age > BOUND_STEPS)
                })
            })
        }),
    ]
}

fn events_at_the_object() -> Vec<Property<ReleaseModel>> {
    vec![
        sometimes("the release rolls back", |model, state| {
            model.finds(30, || state.durable.phase == PhaseKind::RolledBack)
        }),
        sometimes("a resume opens it again", |model, state| {
            // Nothing else leads to the first stage with a later version.
            model.finds(31, || is_resumed(state))
        }),
        sometimes("the release is promoted", |model, state| {
            model.finds(32, || state.durable.phase == PhaseKind::Promoted)
        }),
        sometimes("the release is paused", |model, state| {
            model.finds(33, || state.durable.phase == PhaseKind::Paused)
        }),
        sometimes("the release is killed", |model, state| {
            model.finds(34, || state.durable.is_killed)
        }),
        sometimes("a reply waits for a write", |model, state| {
            model.finds(35, || {
                calls(model, state).any(|call| matches!(call.stage, CallStage::Held(_)))
            })
        }),
        sometimes("a restart loses a write", |model, state| {
            model.finds(36, || any_call_is(model, state, CallStage::Broken))
        }),
        sometimes("the alarm is lost", |model, state| {
            model.finds(37, || state.durable.is_live() && !state.durable.has_alarm)
        }),
        sometimes("a lost alarm is set again", |model, state| {
            model.finds(38, || {
                // A resume sets an alarm that had ended; its version is a new one.
                let is_same_version = state.memory.version == state.durable.version;
                is_same_version && state.memory.has_alarm && !state.durable.has_alarm
            })
        }),
        sometimes("a doubled report outlives a rollback and a resume", |model, state| {
            model.finds(39, || state.reports.copies > 0 && is_resumed(state))
        }),
        sometimes("a resume is on its way while a rollback comes", |model, state| {
            model.finds(40, || {
                calls(model, state)
                    .any(|call| matches!(call.kind, CallKind::Command { is_outdated: true, .. }))
            })
        }),
        sometimes("two versions run side by side", |model, state| {
            model.finds(41, || {
                state.is_object_new != isolates(model, state).all(|isolate| isolate.is_new)
            })
        }),
    ]
}

fn is_resumed(state: &ModelState) -> bool {
    let durable = &state.durable;
    durable.is_live() && durable.stage == 0 && durable.version >= 3 && !durable.is_killed
}

fn isolates<'a>(
    model: &ReleaseModel,
    state: &'a ModelState,
) -> impl Iterator<Item = &'a ModelIsolate> {
    state.isolates[..model.bounds.isolates].iter()
}

fn calls<'a>(model: &ReleaseModel, state: &'a ModelState) -> impl Iterator<Item = &'a PendingCall> {
    isolates(model, state).flat_map(|isolate| isolate.calls.iter().flatten())
}

fn any_call_is(model: &ReleaseModel, state: &ModelState, stage: CallStage) -> bool {
    calls(model, state).any(|call| call.stage == stage)
}

fn any_cached(
    model: &ReleaseModel,
    state: &ModelState,
    holds: impl Fn(&CachedSnapshot) -> bool,
) -> bool {
    isolates(model, state).any(|isolate| isolate.cached.is_some_and(|cached| holds(&cached)))
}

/// Returns the isolates that would let the canary answer a request now, with their snapshots.
fn serving<'a>(
    model: &'a ReleaseModel,
    state: &'a ModelState,
) -> impl Iterator<Item = (&'a ModelIsolate, CachedSnapshot)> {
    isolates(model, state).filter_map(|isolate| {
        isolate.serves_canary(&model.core.functions).map(|cached| (isolate, cached))
    })
}

/// Returns the steps for which a replaced state may still be used; `None` if a known fault is
/// excluded that reaches this isolate.
fn bound(model: &ReleaseModel, isolate: &ModelIsolate, cached: CachedSnapshot) -> Option<u8> {
    let exclusions = &model.exclusions;
    if exclusions.unseen_set_back && cached.asked.looks_younger() {
        return None;
    }
    let is_away = isolate.failed.is_some_and(|failed| {
        failed.age < RETRY_STEPS || (exclusions.unseen_set_back && failed.looks_younger())
    });
    Some(if is_away { AWAY_BOUND_STEPS } else { BOUND_STEPS })
}

fn serves_after_rollback(model: &ReleaseModel, state: &ModelState) -> bool {
    serving(model, state).any(|(isolate, cached)| {
        bound(model, isolate, cached).is_some_and(|bound| state.closed_for > bound)
    })
}

fn uses_old_share(model: &ReleaseModel, state: &ModelState) -> bool {
    let current = state.durable.snapshot();
    serving(model, state).any(|(isolate, cached)| {
        let is_current = current.is_open() && current.share == cached.snapshot.share;
        let ended = state.ended[usize::from(cached.snapshot.version)];
        !is_current && bound(model, isolate, cached).is_some_and(|bound| ended > bound)
    })
}

/// Returns whether an isolate has a version that the object could still lose.
fn knows_the_future(model: &ReleaseModel, state: &ModelState) -> bool {
    any_cached(model, state, |cached| cached.snapshot.version > state.durable.version)
}

fn is_late_reply(call: &PendingCall) -> bool {
    let is_command = matches!(call.kind, CallKind::Command { .. });
    is_command && matches!(call.stage, CallStage::Replied(_)) && call.asked.age >= RETRY_STEPS
}

fn has_overtaken_reply(isolate: &ModelIsolate) -> bool {
    let Some(cached) = isolate.cached else { return false };
    isolate.calls.iter().flatten().any(|call| {
        matches!(call.stage, CallStage::Replied(Some(reply)) if reply.version < cached.snapshot.version)
    })
}
