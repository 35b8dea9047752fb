//! The model: which actions are possible in a state, and the state that each leads to.

use jeffrey_edge::rollout::gate::finding::GateVerdict;
use stateright::{Model, Property};

use crate::action::ModelAction;
use crate::bounds::VERSIONS_MAX;
use crate::object::ObjectInput;
use crate::properties;
use crate::release_model::ReleaseModel;
use crate::state::{
    AGE_MAX, BrokenPromises, CachedSnapshot, CallKind, CallStage, CommandKind, EXPIRY_STEPS,
    IsolateLabel, ModelIsolate, ModelState, PendingCall, PendingReports, PhaseKind, StoredRelease,
};

/// Longest age of a call for the snapshot, in steps. Its time limit is shorter than one step, which
/// may lie across the end of a step.
const REFRESH_AGE_MAX: u8 = 1;

/// Longest age of a command, in steps: its time limit of fifteen seconds.
const COMMAND_AGE_MAX: u8 = 6;

/// Steps that a fault moves a clock by: the expiry.
const CLOCK_STEP: i8 = EXPIRY_STEPS as i8;

/// Largest number of reports on their way.
const REPORTS_MAX: u8 = 1;

impl ReleaseModel {
    /// Adds the actions of one isolate and its calls.
    fn add_isolate_actions(
        &self,
        state: &ModelState,
        place: usize,
        actions: &mut Vec<ModelAction>,
    ) {
        let isolate = &state.isolates[place];
        let has_faults = state.faults_left > 0;
        if self.may_refresh(isolate) && !isolate.is_idle {
            actions.push(ModelAction::Refresh(place));
        }
        for (slot, call) in isolate.calls.iter().enumerate() {
            let Some(call) = call else { continue };
            let may_fail = match call.stage {
                CallStage::Unsupported | CallStage::Broken => true,
                CallStage::Sent => isolate.is_cut_off || has_faults,
                CallStage::Held(_) | CallStage::Replied(_) => has_faults,
            };
            if may_fail || call.asked.age == COMMAND_AGE_MAX {
                actions.push(ModelAction::Fail(place, slot));
            }
            if call.stage == CallStage::Sent && !isolate.is_cut_off {
                actions.push(ModelAction::Deliver(place, slot));
                if has_faults && matches!(call.kind, CallKind::Command { .. }) {
                    actions.push(ModelAction::DeliverTwice(place, slot));
                }
            }
            if matches!(call.stage, CallStage::Replied(_)) {
                actions.push(ModelAction::Reply(place, slot));
            }
            if has_faults && !call.is_slow {
                actions.push(ModelAction::Delay(place, slot));
            }
        }
        if state.commands_left > 0 && isolate.calls[0].is_none() {
            let version = state.durable.version;
            let is_checked = self.exclusions.resume_without_version;
            let commands = [
                CommandKind::RollBack,
                CommandKind::Resume(is_checked.then_some(version)),
                CommandKind::Pause,
                CommandKind::Kill(version),
            ];
            actions.extend(commands.map(|command| ModelAction::Command(place, command)));
        }
        if state.reports.originals < REPORTS_MAX
            && isolate.serves_canary(self.functions()).is_some()
        {
            actions.push(ModelAction::HardFailure(place));
        }
        if isolate.is_idle {
            actions.push(ModelAction::Wake(place));
        }
        if isolate.is_cut_off {
            actions.push(ModelAction::Reconnect(place));
        }
        if has_faults || (state.is_deploying && !isolate.is_new) {
            actions.push(ModelAction::End(place));
        }
        if has_faults && !isolate.is_idle {
            actions.push(ModelAction::Idle(place));
        }
        if has_faults && !isolate.is_cut_off {
            actions.push(ModelAction::CutOff(place));
        }
        if state.clock_steps_left > 0 && isolate.remembers_a_time() {
            actions.extend([true, false].map(|forward| ModelAction::StepClock(place, forward)));
        }
    }

    /// Adds the actions of the object, its alarm, and the reports.
    fn add_object_actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        let has_faults = state.faults_left > 0;
        if state.memory != state.durable {
            actions.push(ModelAction::Commit);
        }
        // A restart that loses nothing and changes no version changes nothing.
        let starts_new = state.is_deploying && !state.is_object_new;
        if starts_new || (has_faults && state.memory != state.durable) {
            actions.push(ModelAction::Restart);
        }
        let verdicts = [GateVerdict::Pass, GateVerdict::Fail];
        if state.memory.has_alarm {
            actions.extend(verdicts.map(ModelAction::Alarm));
        } else if has_faults {
            actions.extend(verdicts.map(ModelAction::AlarmAgain));
        }
        if has_faults && state.memory.has_alarm && state.memory == state.durable {
            actions.push(ModelAction::LoseAlarm);
        }
        if state.reports.originals > 0 {
            actions.push(ModelAction::Report);
            if has_faults {
                actions.extend([ModelAction::CopyReport, ModelAction::LoseReport]);
            }
        }
        if state.reports.copies > 0 {
            actions.push(ModelAction::ReportCopy);
        }
        if has_faults && !state.is_deploying {
            actions.push(ModelAction::Deploy);
        }
    }

    /// Returns whether an isolate would start a call for a request that comes now. One call in a
    /// step is enough, also after a failure: another one would get the same.
    fn may_refresh(&self, isolate: &ModelIsolate) -> bool {
        let has_asked = isolate
            .calls
            .iter()
            .flatten()
            .any(|call| call.kind == CallKind::Refresh && call.asked.age == 0);
        let has_failed = isolate.failed.is_some_and(|failed| failed.age == 0);
        isolate.calls[0].is_none()
            && !has_asked
            && !has_failed
            && isolate.needs_refresh(self.functions())
    }

    /// Returns whether everything has happened that does not take a step.
    fn may_step(&self, state: &ModelState) -> bool {
        let may_last = |call: &PendingCall| match call.kind {
            CallKind::Refresh => call.is_slow && call.asked.age < REFRESH_AGE_MAX,
            CallKind::Command { .. } => call.is_slow && call.asked.age < COMMAND_AGE_MAX,
        };
        state.memory == state.durable
            && state.isolates[..self.bounds.isolates].iter().all(|isolate| {
                isolate.calls.iter().flatten().all(may_last)
                    && (isolate.is_idle || !self.may_refresh(isolate))
            })
    }

    /// Does an action on an isolate or its calls.
    fn act_on_isolate(
        &self,
        state: &mut ModelState,
        place: usize,
        action: ModelAction,
    ) -> Option<()> {
        let isolate = &mut state.isolates[place];
        match action {
            ModelAction::Refresh(_) => {
                isolate.begin_refresh(self.functions());
                isolate.calls[0] = Some(PendingCall::new(CallKind::Refresh));
            }
            ModelAction::Command(_, command) => {
                state.commands_left -= 1;
                isolate.begin_fetch(self.functions());
                isolate.calls[0] =
                    Some(PendingCall::new(CallKind::Command { command, is_outdated: false }));
            }
            ModelAction::HardFailure(_) => {
                // The message of a new isolate is unknown to an old object: it is lost.
                let is_lost = isolate.is_cut_off || (isolate.is_new && !state.is_object_new);
                if is_lost {
                    return None;
                }
                state.reports.originals += 1;
            }
            ModelAction::Idle(_) | ModelAction::Wake(_) => isolate.is_idle = !isolate.is_idle,
            ModelAction::CutOff(_) | ModelAction::Reconnect(_) => {
                isolate.is_cut_off = !isolate.is_cut_off
            }
            ModelAction::End(_) => {
                let (label, is_new) = (isolate.label, state.is_deploying);
                *isolate = ModelIsolate { label, is_new, ..ModelIsolate::default() };
            }
            ModelAction::StepClock(_, is_forward) => {
                isolate.step_clock(if is_forward { CLOCK_STEP } else { -CLOCK_STEP });
                state.clock_steps_left -= 1;
            }
            _ => return None,
        }
        Some(())
    }

    /// Does an action on a call.
    fn act_on_call(
        &self,
        state: &mut ModelState,
        (place, slot): (usize, usize),
        action: ModelAction,
    ) -> Option<()> {
        let call = state.isolates[place].calls[slot]?;
        match action {
            ModelAction::Delay(..) => {
                state.isolates[place].calls[slot] = Some(PendingCall { is_slow: true, ..call });
            }
            ModelAction::Deliver(..) => {
                let stage = self.deliver(state, place, call)?;
                state.isolates[place].calls[slot] = Some(PendingCall { stage, ..call });
            }
            ModelAction::DeliverTwice(..) => {
                // The copy stays on its way and brings the reply.
                let before = state.memory;
                self.deliver(state, place, call)?;
                if state.memory == before {
                    return None;
                }
            }
            ModelAction::Fail(..) => {
                state.isolates[place].calls[slot] = None;
                if call.kind == CallKind::Refresh {
                    state.isolates[place].end_refresh(self.functions(), None);
                }
            }
            ModelAction::Reply(..) => {
                let CallStage::Replied(snapshot) = call.stage else { return None };
                let isolate = &mut state.isolates[place];
                isolate.read_clock();
                let call = isolate.calls[slot].take()?;
                let functions = &self.core.functions;
                let received =
                    snapshot.map(|snapshot| CachedSnapshot { snapshot, asked: call.asked });
                state.broken.order |= match (call.kind, received) {
                    (CallKind::Refresh, received) => isolate.end_refresh(functions, received),
                    (CallKind::Command { .. }, Some(received)) => {
                        isolate.cache_snapshot(functions, received)
                    }
                    (CallKind::Command { .. }, None) => false,
                };
            }
            _ => return None,
        }
        Some(())
    }

    /// Hands a message to the object and returns where its call is then.
    fn deliver(
        &self,
        state: &mut ModelState,
        place: usize,
        call: PendingCall,
    ) -> Option<CallStage> {
        if state.isolates[place].is_new && !state.is_object_new {
            return Some(CallStage::Unsupported);
        }
        let snapshot = match call.kind {
            CallKind::Refresh => Some(()),
            CallKind::Command { command, is_outdated } => {
                let is_resume = matches!(command, CommandKind::Resume(_));
                self.apply(state, ObjectInput::Command(command), is_resume && !is_outdated)?
            }
        };
        ensure_alarm(&mut state.memory);
        let reply = snapshot.map(|()| state.memory.snapshot());
        let must_wait = self.functions().replies_wait_for_commit && state.memory != state.durable;
        Some(if must_wait { CallStage::Held(reply) } else { CallStage::Replied(reply) })
    }

    /// Applies an input to the object in memory. Returns `None` if it leads beyond the bounds, and
    /// `Some(None)` if the object refuses it.
    fn apply(
        &self,
        state: &mut ModelState,
        input: ObjectInput,
        may_open: bool,
    ) -> Option<Option<()>> {
        let before = state.memory;
        let Some(after) = self.core.apply(&before, input) else { return Some(None) };
        if after.version > self.bounds.version_max {
            return None;
        }
        let is_rolled_back = |stored: &StoredRelease| stored.phase == PhaseKind::RolledBack;
        let opens = is_rolled_back(&before) && after.share > 0;
        state.broken.latch |= opens && !may_open;
        state.broken.version |= after.version < before.version;
        if is_rolled_back(&after) && !is_rolled_back(&before) {
            for call in state.isolates.iter_mut().flat_map(|isolate| &mut isolate.calls).flatten() {
                if let CallKind::Command { command: CommandKind::Resume(_), is_outdated } =
                    &mut call.kind
                {
                    *is_outdated = call.stage == CallStage::Sent;
                }
            }
        }
        state.memory = after;
        Some(Some(()))
    }

    /// Does an action of the object, its alarm, or the reports.
    fn act_on_object(&self, state: &mut ModelState, action: ModelAction) -> Option<()> {
        match action {
            ModelAction::Commit => commit(state),
            ModelAction::Restart => {
                state.memory = state.durable;
                state.is_object_new = state.is_deploying;
                for call in
                    state.isolates.iter_mut().flat_map(|isolate| &mut isolate.calls).flatten()
                {
                    if matches!(call.stage, CallStage::Held(_)) {
                        call.stage = CallStage::Broken;
                    }
                }
            }
            ModelAction::Alarm(verdict) | ModelAction::AlarmAgain(verdict) => {
                // The next alarm is set before the minutes are folded.
                state.memory.has_alarm = state.memory.is_live();
                self.apply(state, ObjectInput::Tick(verdict), false)?;
            }
            ModelAction::LoseAlarm => {
                state.memory.has_alarm = false;
                state.durable.has_alarm = false;
            }
            ModelAction::Report | ModelAction::ReportCopy => {
                let reports = &mut state.reports;
                let is_copy = action == ModelAction::ReportCopy;
                *(if is_copy { &mut reports.copies } else { &mut reports.originals }) -= 1;
                self.apply(state, ObjectInput::HardFailure, false)?;
                ensure_alarm(&mut state.memory);
            }
            ModelAction::CopyReport => state.reports.copies += 1,
            ModelAction::LoseReport => state.reports.originals -= 1,
            ModelAction::Deploy => state.is_deploying = true,
            _ => return None,
        }
        Some(())
    }

    /// Lets one step of time pass.
    fn pass_step(&self, state: &mut ModelState) {
        let set_back_max = set_back_max(state);
        for isolate in &mut state.isolates[..self.bounds.isolates] {
            isolate.pass_step(set_back_max);
        }
        let current = usize::from(state.durable.version);
        for (version, ended) in state.ended.iter_mut().enumerate() {
            if version != current {
                *ended = (*ended + 1).min(AGE_MAX);
            }
        }
        if !state.durable.snapshot().is_open() {
            state.closed_for = (state.closed_for + 1).min(AGE_MAX);
        }
    }

    /// Brings a state into its normal form: what cannot matter any more is forgotten, and isolates
    /// and calls are sorted.
    fn normalize(&self, state: &mut ModelState) {
        state.clock_steps_left = state.clock_steps_left.min(state.faults_left);
        let set_back_max = set_back_max(state);
        let isolates = &mut state.isolates[..self.bounds.isolates];
        let mut is_held = [false; VERSIONS_MAX as usize + 1];
        let mut is_open_held = false;
        for isolate in isolates.iter_mut() {
            isolate.forget(set_back_max);
            isolate.calls.sort_unstable();
            let replies = isolate.calls.iter().flatten().filter_map(|call| match call.stage {
                CallStage::Held(snapshot) | CallStage::Replied(snapshot) => snapshot,
                CallStage::Sent | CallStage::Unsupported | CallStage::Broken => None,
            });
            for snapshot in replies.chain(isolate.cached.map(|cached| cached.snapshot)) {
                is_held[usize::from(snapshot.version)] = true;
                is_open_held |= snapshot.is_open();
            }
        }
        for (version, ended) in state.ended.iter_mut().enumerate() {
            if version == usize::from(state.durable.version) {
                *ended = 0;
            } else if !is_held[version] {
                *ended = AGE_MAX;
            }
        }
        if state.durable.snapshot().is_open() {
            state.closed_for = 0;
        } else if !is_open_held {
            state.closed_for = AGE_MAX;
        }
        if state.is_object_new && isolates.iter().all(|isolate| isolate.is_new) {
            (state.is_deploying, state.is_object_new) = (false, false);
            isolates.iter_mut().for_each(|isolate| isolate.is_new = false);
        }
        isolates.sort_unstable();
    }
}

fn set_back_max(state: &ModelState) -> i16 {
    i16::from(state.clock_steps_left) * i16::from(CLOCK_STEP)
}

/// Sets the alarm again if it was lost, as the object does with every message.
fn ensure_alarm(stored: &mut StoredRelease) {
    stored.has_alarm |= stored.is_live();
}

/// Makes the object's writes durable; the replies that waited for them leave.
fn commit(state: &mut ModelState) {
    let (before, after) = (state.durable, state.memory);
    // States that were written and replaced before this commit were active no longer than that.
    for version in before.version..=after.version {
        state.ended[usize::from(version)] = 0;
    }
    if before.snapshot().is_open() || after.snapshot().is_open() {
        state.closed_for = 0;
    }
    state.broken.version |= after.version < before.version;
    state.durable = after;
    for call in state.isolates.iter_mut().flat_map(|isolate| &mut isolate.calls).flatten() {
        if let CallStage::Held(snapshot) = call.stage {
            call.stage = CallStage::Replied(snapshot);
        }
    }
}

/// Returns whether an action is a fault, which the bounds limit.
fn is_fault(state: &ModelState, action: ModelAction) -> bool {
    match action {
        ModelAction::Fail(place, slot) => {
            let isolate = &state.isolates[place];
            let call = isolate.calls[slot].filter(|call| call.asked.age < COMMAND_AGE_MAX);
            call.is_some_and(|call| match call.stage {
                CallStage::Unsupported | CallStage::Broken => false,
                CallStage::Sent => !isolate.is_cut_off,
                CallStage::Held(_) | CallStage::Replied(_) => true,
            })
        }
        ModelAction::End(place) => !state.is_deploying || state.isolates[place].is_new,
        ModelAction::Restart => !state.is_deploying || state.is_object_new,
        ModelAction::DeliverTwice(..)
        | ModelAction::Delay(..)
        | ModelAction::AlarmAgain(_)
        | ModelAction::LoseAlarm
        | ModelAction::CopyReport
        | ModelAction::LoseReport
        | ModelAction::Idle(_)
        | ModelAction::CutOff(_)
        | ModelAction::StepClock(..)
        | ModelAction::Deploy => true,
        _ => false,
    }
}

impl Model for ReleaseModel {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        let started = self.core.started();
        let mut isolates = [ModelIsolate::default(); crate::bounds::ISOLATES_MAX];
        for (place, isolate) in isolates.iter_mut().enumerate() {
            isolate.label = IsolateLabel(place as u8 + 1);
        }
        let mut state = ModelState {
            isolates,
            memory: started,
            durable: started,
            is_object_new: false,
            is_deploying: false,
            reports: PendingReports::default(),
            faults_left: self.bounds.faults,
            clock_steps_left: self.bounds.clock_steps,
            commands_left: self.bounds.commands,
            ended: [AGE_MAX; VERSIONS_MAX as usize + 1],
            closed_for: 0,
            broken: BrokenPromises::default(),
        };
        self.normalize(&mut state);
        vec![state]
    }

    fn actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        // A broken promise is the end of a path.
        if state.broken != BrokenPromises::default() {
            return;
        }
        for place in 0..self.bounds.isolates {
            // Isolates in the same state do the same.
            if place == 0 || state.isolates[place] != state.isolates[place - 1] {
                self.add_isolate_actions(state, place, actions);
            }
        }
        self.add_object_actions(state, actions);
        if self.may_step(state) {
            actions.push(ModelAction::Step);
        }
    }

    fn next_state(&self, last_state: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut state = *last_state;
        match action {
            ModelAction::Step => self.pass_step(&mut state),
            ModelAction::Refresh(place)
            | ModelAction::HardFailure(place)
            | ModelAction::Command(place, _)
            | ModelAction::Idle(place)
            | ModelAction::Wake(place)
            | ModelAction::CutOff(place)
            | ModelAction::Reconnect(place)
            | ModelAction::End(place)
            | ModelAction::StepClock(place, _) => self.act_on_isolate(&mut state, place, action)?,
            ModelAction::Deliver(place, slot)
            | ModelAction::DeliverTwice(place, slot)
            | ModelAction::Reply(place, slot)
            | ModelAction::Fail(place, slot)
            | ModelAction::Delay(place, slot) => {
                self.act_on_call(&mut state, (place, slot), action)?;
            }
            _ => self.act_on_object(&mut state, action)?,
        }
        if is_fault(last_state, action) {
            state.faults_left = state.faults_left.checked_sub(1)?;
        }
        self.normalize(&mut state);
        (state != *last_state).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
