//! The actions of a model: what may happen next. Isolates and calls are named by their places.

use jeffrey_edge::rollout::gate::finding::GateVerdict;

use crate::state::CommandKind;

/// Event of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelAction {
    /// One step of time passes: everything that a step is long enough for has happened.
    Step,
    /// An isolate asks for the snapshot.
    Refresh(usize),
    /// A message reaches the object.
    Deliver(usize, usize),
    /// A command reaches the object, and a copy of it follows.
    DeliverTwice(usize, usize),
    /// A reply reaches its isolate.
    Reply(usize, usize),
    /// A call fails: it is lost on its way, or its isolate is cut off.
    Fail(usize, usize),
    /// A call takes longer than one step.
    Delay(usize, usize),
    /// The object's writes are durable.
    Commit,
    /// The object ends and starts again from what is durable.
    Restart,
    /// The alarm runs, with this verdict of the gates.
    Alarm(GateVerdict),
    /// The alarm runs once more after it ended.
    AlarmAgain(GateVerdict),
    /// The alarm is lost.
    LoseAlarm,
    /// An isolate sees a hard failure and reports it.
    HardFailure(usize),
    /// A report reaches the object.
    Report,
    /// A report is doubled on its way.
    CopyReport,
    /// The copy of a report reaches the object.
    ReportCopy,
    /// A report is lost.
    LoseReport,
    /// An operator sends a command by way of an isolate.
    Command(usize, CommandKind),
    /// No request comes to an isolate any more.
    Idle(usize),
    /// Requests come to an isolate again.
    Wake(usize),
    /// The calls of an isolate no longer reach the object.
    CutOff(usize),
    /// They reach it again.
    Reconnect(usize),
    /// An isolate ends, and a new one takes its place.
    End(usize),
    /// The clock of an isolate is set forward by the expiry, or back.
    StepClock(usize, bool),
    /// A deploy starts: what starts from now on runs the new version.
    Deploy,
}
