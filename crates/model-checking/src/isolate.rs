//! An isolate's cached share: the rules of the gateway's `IsolateState` over values without a clock.
//!
//! The shipped functions decide; what `IsolateState` adds to them is repeated here, because it holds
//! its values in cells. A test compares the two.

use jeffrey_edge::rollout::share_cache::{CachedShare, EffectiveShare, Refresh};
use jeffrey_terms::{Share, UnixMs};

use crate::functions::CoreFunctions;
use crate::state::{
    CachedSnapshot, EXPIRY_STEPS, IsolateMoment, IsolateSnapshot, ModelIsolate, STEP_MS,
};

/// Present time by every clock; moments lie around it.
pub const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// Apparent age in steps below which a background refresh blocks another one: the gateway's time
/// limit of two seconds is shorter than a step.
const REFRESH_TIMEOUT_STEPS: i16 = 1;

/// Steps after its expiry for which a snapshot is remembered, so that a missing expiry shows.
const REMEMBERED_STEPS: i16 = 3;

/// Returns the time of a moment by the isolate's clock.
pub fn clock_time(moment: IsolateMoment) -> UnixMs {
    let ms = i64::from(moment.apparent_age()) * STEP_MS as i64;
    UnixMs(NOW.0.saturating_add_signed(-ms))
}

/// Returns a share that the model took from the core.
pub fn share(points: u16) -> Share {
    // Every share of a model was a `Share` before.
    Share::from_basis_points(points).unwrap_or(Share::FULL)
}

fn cached_share(snapshot: IsolateSnapshot, received_at: UnixMs) -> CachedShare {
    CachedShare {
        version: u64::from(snapshot.version),
        share: share(snapshot.share),
        holdout: Share::NONE,
        disabled: snapshot.is_disabled,
        received_at,
    }
}

impl ModelIsolate {
    /// Returns the share that a request would be assigned by now.
    pub fn effective_share(&self, functions: &CoreFunctions) -> EffectiveShare {
        let cached =
            self.cached.map(|cached| cached_share(cached.snapshot, clock_time(cached.received)));
        (functions.effective_share)(cached, self.failed.map(clock_time), NOW)
    }

    /// Returns the cached snapshot if a request that comes now may be answered by the canary
    /// without a call to the object first.
    pub fn serves_canary(&self, functions: &CoreFunctions) -> Option<CachedSnapshot> {
        let effective = self.effective_share(functions);
        let is_open = effective.share > Share::NONE && !effective.disabled;
        self.cached.filter(|_| is_open && effective.refresh != Refresh::Blocking)
    }

    /// Returns whether a request that comes now starts a call to the object.
    pub fn needs_refresh(&self, functions: &CoreFunctions) -> bool {
        match self.effective_share(functions).refresh {
            Refresh::Blocking => true,
            Refresh::Background => !self.is_refreshing(),
            Refresh::Fresh => false,
        }
    }

    /// Returns whether a background refresh blocks another one.
    pub fn is_refreshing(&self) -> bool {
        self.refresh_started
            .is_some_and(|started| started.apparent_age().abs() < REFRESH_TIMEOUT_STEPS)
    }

    /// Records the start of a refresh, in the background or before a request.
    pub fn begin_refresh(&mut self, functions: &CoreFunctions) {
        if self.effective_share(functions).refresh == Refresh::Background {
            self.refresh_started = Some(IsolateMoment::default());
        }
    }

    /// Records the end of a refresh. Returns the receipt of a newer snapshot that an older one
    /// replaced before its expiry.
    pub fn end_refresh(
        &mut self,
        functions: &CoreFunctions,
        snapshot: Option<IsolateSnapshot>,
    ) -> Option<IsolateMoment> {
        self.refresh_started = None;
        match snapshot {
            Some(snapshot) => self.cache_snapshot(functions, snapshot, false),
            None => {
                self.failed = Some(IsolateMoment::default());
                None
            }
        }
    }

    /// Caches a snapshot that was received now. Returns the receipt of a newer snapshot that an older
    /// one replaced before its expiry.
    pub fn cache_snapshot(
        &mut self,
        functions: &CoreFunctions,
        snapshot: IsolateSnapshot,
        is_late: bool,
    ) -> Option<IsolateMoment> {
        let last = self.cached;
        let received = cached_share(snapshot, NOW);
        let cached = last.map(|cached| cached_share(cached.snapshot, clock_time(cached.received)));
        let newer = (functions.pick_newer)(cached, received);
        // The newest is the received one if both are the same.
        let is_kept = newer != received && Some(newer) == cached;
        if !is_kept {
            self.cached =
                Some(CachedSnapshot { snapshot, received: IsolateMoment::default(), is_late });
        }
        last.filter(|last| {
            let is_unexpired = last.received.age < EXPIRY_STEPS;
            !is_kept && last.snapshot.version > snapshot.version && is_unexpired
        })
        .map(|last| last.received)
    }

    /// Lets one step of time pass. What no longer matters is forgotten; a clock that may be set back
    /// by `set_back_max` steps keeps more alive.
    pub fn pass_step(&mut self, set_back_max: i16) {
        let moments = [
            self.cached.as_mut().map(|cached| &mut cached.received),
            self.failed.as_mut(),
            self.refresh_started.as_mut(),
        ];
        for moment in moments.into_iter().flatten() {
            moment.age = moment.age.saturating_add(1);
        }
        self.forget(set_back_max);
    }

    /// Steps the isolate's clock.
    pub fn step_clock(&mut self, steps: i8) {
        let moments = [
            self.cached.as_mut().map(|cached| &mut cached.received),
            self.failed.as_mut(),
            self.refresh_started.as_mut(),
        ];
        for moment in moments.into_iter().flatten() {
            moment.offset += steps;
        }
    }

    /// Forgets what no longer matters.
    pub fn forget(&mut self, set_back_max: i16) {
        let expiry = i16::from(EXPIRY_STEPS) + REMEMBERED_STEPS;
        self.cached =
            self.cached.filter(|cached| !cached.received.is_older_than(expiry + set_back_max));
        let retry = i16::from(crate::state::RETRY_STEPS);
        self.failed = self.failed.filter(|failed| !failed.is_older_than(retry + set_back_max));
        self.refresh_started = self
            .refresh_started
            .filter(|started| !started.is_older_than(REFRESH_TIMEOUT_STEPS + set_back_max));
    }
}
