//! The state of a model: isolates with their calls, the rollout object, and what the properties
//! remember.
//!
//! Time is counted in steps of [`STEP_MS`]. All times are ages, so the states repeat while time goes
//! on. An age beyond which nothing can depend on it any more is forgotten.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::bounds::{ISOLATES_MAX, VERSIONS_MAX};

/// Length of one step of time, in milliseconds.
pub const STEP_MS: u64 = 2_500;

/// Steps from the receipt of a snapshot to its expiry.
pub const EXPIRY_STEPS: u8 = 12;

/// Steps for which a replaced state may be used while the object can be reached: ten seconds.
pub const BOUND_STEPS: u8 = 4;

/// Steps for which a replaced state may be used otherwise: thirty seconds.
pub const AWAY_BOUND_STEPS: u8 = 12;

/// Steps after a failed call in which an isolate does not call again: five seconds.
pub const RETRY_STEPS: u8 = 2;

/// Steps after which the properties no longer tell ages apart.
pub const AGE_MAX: u8 = AWAY_BOUND_STEPS + 1;

/// Phases of the release that a model reaches. Its plan has neither approvals nor freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PhaseKind {
    /// The release has not started.
    Idle,
    /// In the first stage.
    Ramping,
    /// In the last stage.
    Watching,
    /// Held by its gates.
    Holding,
    /// Stopped by an operator at its share.
    Paused,
    /// Through the last stage.
    Promoted,
    /// The release was rolled back.
    RolledBack,
    /// Ended by an operator.
    Aborted,
}

/// State that the rollout object stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredRelease {
    /// Version of the release state.
    pub version: u8,
    /// The canary's share in basis points.
    pub share: u16,
    /// Whether an operator killed the release.
    pub is_killed: bool,
    /// Phase of the plan.
    pub phase: PhaseKind,
    /// Index of the plan's stage.
    pub stage: u8,
    /// Whether an alarm is set.
    pub has_alarm: bool,
}

impl StoredRelease {
    /// Returns the part that isolates get.
    pub fn snapshot(&self) -> IsolateSnapshot {
        let is_disabled = self.is_killed || self.phase == PhaseKind::RolledBack;
        IsolateSnapshot { version: self.version, share: self.share, is_disabled }
    }

    /// Returns whether the plan gives the canary traffic.
    pub fn is_live(&self) -> bool {
        self.share > 0 && !matches!(self.phase, PhaseKind::RolledBack | PhaseKind::Aborted)
    }
}

/// Part of the state that an isolate gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsolateSnapshot {
    /// Version of the release state.
    pub version: u8,
    /// The canary's share in basis points.
    pub share: u16,
    /// Whether the release was killed or rolled back.
    pub is_disabled: bool,
}

impl IsolateSnapshot {
    /// Returns whether the canary answers calls by this snapshot.
    pub fn is_open(&self) -> bool {
        self.share > 0 && !self.is_disabled
    }
}

/// Time of an event at an isolate, relative to the present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsolateMoment {
    /// Steps since the event, in true time.
    pub age: u8,
    /// Steps by which the isolate's clock was set forward since then; negative if it was set back.
    pub offset: i8,
    /// Whether the isolate has seen that its clock was set back since then.
    pub is_before_set_back: bool,
}

impl IsolateMoment {
    /// Returns the age by the isolate's clock, in steps; negative if it seems to lie ahead.
    pub fn apparent_age(self) -> i16 {
        i16::from(self.age) + i16::from(self.offset)
    }

    /// Returns whether the age is `steps` or more, in truth and by the clock.
    pub fn is_older_than(self, steps: i16) -> bool {
        i16::from(self.age) >= steps && self.apparent_age() >= steps
    }

    /// Returns whether an unnoticed step makes it look younger than it is.
    pub fn looks_younger(self) -> bool {
        self.offset < 0 && !self.is_before_set_back
    }
}

/// Snapshot in an isolate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CachedSnapshot {
    /// Snapshot as the object sent it.
    pub snapshot: IsolateSnapshot,
    /// Time at which the isolate asked for it, or sent the command that it came with.
    pub asked: IsolateMoment,
}

/// Command of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommandKind {
    /// Takes the traffic away: `jeffrey rollout rollback`.
    RollBack,
    /// Opens the release again, for the version that the operator saw: `jeffrey rollout resume`.
    /// Without a version, it holds for any.
    Resume(Option<u8>),
    /// Stops the release at its share: `jeffrey rollout pause`.
    Pause,
    /// The kill switch, for the version that the operator saw.
    Kill(u8),
}

/// Message of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// The isolate asks for the snapshot.
    Refresh,
    /// The isolate passes a command on.
    Command {
        /// Command of the operator.
        command: CommandKind,
        /// Whether a rollback was applied since it was sent.
        is_outdated: bool,
    },
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallStage {
    /// On its way to the object.
    Sent,
    /// Answered, but the reply waits for a write to be durable.
    Held(Option<IsolateSnapshot>),
    /// The reply is on its way; without a snapshot if the object refused the command.
    Replied(Option<IsolateSnapshot>),
    /// The object does not know the message.
    Unsupported,
    /// The object ended before its reply left.
    Broken,
}

/// Call of an isolate to the rollout object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingCall {
    /// Message of the call.
    pub kind: CallKind,
    /// Place between the isolate and the object.
    pub stage: CallStage,
    /// Time at which the call began.
    pub asked: IsolateMoment,
    /// Whether it may take longer than one step.
    pub is_slow: bool,
}

impl PendingCall {
    /// Builds a call that begins now.
    pub fn new(kind: CallKind) -> Self {
        Self { kind, stage: CallStage::Sent, asked: IsolateMoment::default(), is_slow: false }
    }
}

/// Name of an isolate in the steps of a path. It is no part of the state: isolates are alike, and
/// states that only exchange them are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct IsolateLabel(pub u8);

impl PartialEq for IsolateLabel {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for IsolateLabel {}

impl Hash for IsolateLabel {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialOrd for IsolateLabel {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IsolateLabel {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// One isolate of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelIsolate {
    /// Whether it runs the version that is being deployed.
    pub is_new: bool,
    /// Whether no request comes at present.
    pub is_idle: bool,
    /// Whether its calls do not reach the object at present.
    pub is_cut_off: bool,
    /// Steps by its clock since it last read the clock; negative if the clock was set back beyond
    /// that. Each request reads the clock, so only an idle isolate has not just read it.
    pub unread_steps: i8,
    /// The cached snapshot; `None` before the first one and long after its expiry.
    pub cached: Option<CachedSnapshot>,
    /// Time of the last refresh that failed.
    pub failed: Option<IsolateMoment>,
    /// Start of the background refresh under way.
    pub refresh_started: Option<IsolateMoment>,
    /// Calls to the object under way.
    pub calls: [Option<PendingCall>; 2],
    /// Name in the steps of a path.
    pub label: IsolateLabel,
}

/// Hard failures that isolates reported and the object has not received yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingReports {
    /// Reports as isolates sent them.
    pub originals: u8,
    /// Second copies of reports.
    pub copies: u8,
}

/// Promises that a single step broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokenPromises {
    /// A rolled-back release opened without a `resume` sent after the rollback.
    pub latch: bool,
    /// An older snapshot replaced a newer one.
    pub order: bool,
    /// The stored version decreased.
    pub version: bool,
}

/// State of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModelState {
    /// Isolates; those beyond the bounds are never used.
    pub isolates: [ModelIsolate; ISOLATES_MAX],
    /// State in the object's memory.
    pub memory: StoredRelease,
    /// State that a restart of the object keeps.
    pub durable: StoredRelease,
    /// Whether the object runs the version that is being deployed.
    pub is_object_new: bool,
    /// Whether a deploy is under way.
    pub is_deploying: bool,
    /// Hard failures on their way.
    pub reports: PendingReports,
    /// Faults that may still happen.
    pub faults_left: u8,
    /// Clock steps that may still happen.
    pub clock_steps_left: u8,
    /// Commands that may still be sent.
    pub commands_left: u8,
    /// For each version, the steps since it was last active; 0 for the current one.
    pub ended: [u8; VERSIONS_MAX as usize + 1],
    /// Steps since the durable state took the canary's traffic away; 0 while it has traffic.
    pub closed_for: u8,
    /// Promises that the last step broke.
    pub broken: BrokenPromises,
}
