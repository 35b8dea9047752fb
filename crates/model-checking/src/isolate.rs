//! An isolate's cached share: the rules of the gateway's `IsolateState` over values without a clock.
//!
//! The shipped functions decide; what `IsolateState` adds to them is repeated here, because it holds
//! its values in cells. A test compares the two.

use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::share_cache::{CachedShare, EffectiveShare, Refresh};
use jeffrey_terms::{Share, UnixMs};

use crate::functions::CoreFunctions;
use crate::state::{CachedSnapshot, EXPIRY_STEPS, IsolateMoment, ModelIsolate, STEP_MS};

/// Present time by every clock; moments lie around it.
pub const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// Time after every moment, from which the clock was set back once.
const BEFORE_SET_BACK: UnixMs = UnixMs(2 * NOW.0);

/// Apparent age in steps below which a background refresh blocks another one: the gateway's time
/// limit of two seconds is shorter than a step.
const REFRESH_TIMEOUT_STEPS: i16 = 1;

/// Steps after its expiry for which a snapshot is remembered, so that a missing expiry shows.
const REMEMBERED_STEPS: i16 = 3;

/// Returns the isolate's reading of its clock at a moment. The readings of a model lie on both sides
/// of one step back, which stands for all.
pub fn clock_reading(moment: IsolateMoment) -> ClockReading {
    let ms = i64::from(moment.apparent_age()) * STEP_MS as i64;
    let time = UnixMs(NOW.0.saturating_add_signed(-ms));
    if moment.is_before_set_back {
        return ClockReading::first(time);
    }
    ClockReading::first(BEFORE_SET_BACK).next(time)
}

/// Returns a share that the model took from the core.
pub fn share(points: u16) -> Share {
    // Every share of a model was a `Share` before.
    Share::from_basis_points(points).unwrap_or(Share::FULL)
}

fn cached_share(cached: CachedSnapshot) -> CachedShare {
    CachedShare {
        version: u64::from(cached.snapshot.version),
        share: share(cached.snapshot.share),
        holdout: Share::NONE,
        disabled: cached.snapshot.is_disabled,
        asked_at: clock_reading(cached.asked),
    }
}

impl ModelIsolate {
    /// Returns the share that a request would be assigned by now. The request reads the clock.
    pub fn effective_share(&self, functions: &CoreFunctions) -> EffectiveShare {
        let mut isolate = *self;
        isolate.read_clock();
        let now = clock_reading(IsolateMoment::default());
        let failed_at = isolate.failed.map(clock_reading);
        (functions.effective_share)(isolate.cached.map(cached_share), failed_at, now)
    }

    /// Reads the clock, and notices a step back.
    pub fn read_clock(&mut self) {
        if self.unread_steps < 0 {
            self.moments()
                .for_each(|moment| (moment.is_before_set_back, moment.offset) = (true, 0));
        }
        self.unread_steps = 0;
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
        self.refresh_started.is_some_and(|started| {
            !started.is_before_set_back && started.apparent_age() < REFRESH_TIMEOUT_STEPS
        })
    }

    /// Records the start of a refresh, in the background or before a request.
    pub fn begin_refresh(&mut self, functions: &CoreFunctions) {
        if self.effective_share(functions).refresh == Refresh::Background {
            self.refresh_started = Some(IsolateMoment::default());
        }
        self.begin_fetch(functions);
    }

    /// Forgets an expired snapshot before a message leaves whose reply brings one.
    pub fn begin_fetch(&mut self, functions: &CoreFunctions) {
        self.read_clock();
        let now = clock_reading(IsolateMoment::default());
        let kept = (functions.drop_expired)(self.cached.map(cached_share), now);
        self.cached = self.cached.filter(|_| kept.is_some());
    }

    /// Records the end of a refresh. Returns whether the snapshot replaced a later version.
    pub fn end_refresh(
        &mut self,
        functions: &CoreFunctions,
        received: Option<CachedSnapshot>,
    ) -> bool {
        self.refresh_started = None;
        match received {
            Some(received) => self.cache_snapshot(functions, received),
            None => {
                self.read_clock();
                self.failed = Some(IsolateMoment::default());
                false
            }
        }
    }

    /// Caches a snapshot that was received now. Returns whether it replaced a later version.
    pub fn cache_snapshot(&mut self, functions: &CoreFunctions, received: CachedSnapshot) -> bool {
        self.read_clock();
        let last = self.cached;
        let newer = (functions.pick_newer)(last.map(cached_share), cached_share(received));
        // The newest is the received one if both are the same.
        let is_kept = newer != cached_share(received);
        if !is_kept {
            self.cached = Some(received);
        }
        !is_kept && last.is_some_and(|last| last.snapshot.version > received.snapshot.version)
    }

    /// Lets one step of time pass. What no longer matters is forgotten; a clock that may be set back
    /// by `set_back_max` steps keeps more alive.
    pub fn pass_step(&mut self, set_back_max: i16) {
        self.moments().for_each(|moment| moment.age = moment.age.saturating_add(1));
        self.unread_steps = self.unread_steps.saturating_add(1);
        self.forget(set_back_max);
    }

    /// Steps the isolate's clock.
    pub fn step_clock(&mut self, steps: i8) {
        let moments = self.moments().filter(|moment| !moment.is_before_set_back);
        moments.for_each(|moment| moment.offset += steps);
        self.unread_steps = self.unread_steps.saturating_add(steps);
    }

    /// Forgets what no longer matters. An isolate with requests reads its clock all the time.
    pub fn forget(&mut self, set_back_max: i16) {
        if !self.is_idle {
            self.read_clock();
        }
        // No step back that is still to come reaches further.
        let unread_max = i8::try_from(set_back_max).unwrap_or(i8::MAX);
        self.unread_steps = self.unread_steps.min(unread_max);
        let expiry = i16::from(EXPIRY_STEPS) + REMEMBERED_STEPS;
        // An older snapshot that is still on its way does not replace an expired one.
        let has_calls = self.calls.iter().any(Option::is_some);
        self.cached = self
            .cached
            .filter(|cached| has_calls || !cached.asked.is_older_than(expiry + set_back_max));
        let retry = i16::from(crate::state::RETRY_STEPS);
        let matters = |moment: &IsolateMoment, steps: i16| {
            !moment.is_before_set_back && !moment.is_older_than(steps + set_back_max)
        };
        self.failed = self.failed.filter(|failed| matters(failed, retry));
        self.refresh_started =
            self.refresh_started.filter(|started| matters(started, REFRESH_TIMEOUT_STEPS));
    }

    /// Returns whether a step of the clock can matter to the isolate.
    pub fn remembers_a_time(&self) -> bool {
        self.cached.is_some() || self.calls.iter().any(Option::is_some)
    }

    /// Returns all moments that the isolate remembers, those of its calls included.
    fn moments(&mut self) -> impl Iterator<Item = &mut IsolateMoment> {
        let calls = self.calls.iter_mut().flatten().map(|call| &mut call.asked);
        let cached = self.cached.as_mut().map(|cached| &mut cached.asked);
        let own = [cached, self.failed.as_mut(), self.refresh_started.as_mut()];
        own.into_iter().flatten().chain(calls)
    }
}
