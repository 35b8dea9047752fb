//! State of one isolate: the cached share, the circuit breaker, and what it measured and lost.
//!
//! An isolate serves many requests at once, so each method reads and writes without waiting: no
//! borrow lasts across an `.await`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::rollout::messages::ReleaseSnapshot;
use jeffrey_edge::gateway::upstream::auth_verdict::AuthVerdictCache;
use jeffrey_edge::gateway::upstream::circuit_breaker::CircuitBreaker;
use jeffrey_edge::gateway::upstream::quarantine::Quarantine;
use jeffrey_edge::gateway::upstream::report_queue::ReportQueue;
use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::share_cache::{
    CachedShare, EffectiveShare, drop_expired, effective_share, pick_newer,
};
use jeffrey_terms::UnixMs;

/// Age in milliseconds at which a background refresh no longer blocks another one: the request that
/// started it may have died.
const REFRESH_TIMEOUT_MS: u64 = 2_000;

/// Least time between two probes after a trap, in milliseconds: a text that traps must not double the
/// work of the model.
const TRAP_PROBE_MS: u64 = 5_000;

/// How long a received p95 serves as a threshold, in milliseconds: a gateway with little traffic
/// receives one seldom.
const STABLE_P95_AGE_MS_MAX: u64 = 5 * 60_000;

/// State of one isolate.
#[derive(Debug, Default)]
pub struct IsolateState {
    /// The last reading of the clock; `None` before the first.
    last_reading: Cell<Option<ClockReading>>,
    cached_share: Cell<Option<CachedShare>>,
    /// Time of the last refresh that failed; a later success does not clear it.
    refresh_failed_at: Cell<Option<ClockReading>>,
    /// Start of the background refresh under way; `None` if there is no such refresh.
    refresh_started_at: Cell<Option<ClockReading>>,
    breaker: RefCell<CircuitBreaker>,
    /// Events that this isolate could not store and has not reported yet.
    lost_events: Cell<u64>,
    reports: RefCell<ReportQueue>,
    quarantine: RefCell<Quarantine>,
    auth_verdicts: RefCell<AuthVerdictCache>,
    /// Sha256 of the only model that may answer, in the last snapshot.
    model_sha256: RefCell<Option<Rc<str>>>,
    /// Name of the salt that the release draws by, in the last snapshot.
    bucket_salt: RefCell<Option<Rc<str>>>,
    /// Time of the last probe after a trap; `None` before the first.
    trap_probed_at: Cell<Option<UnixMs>>,
    /// Index of the plan's stage in the last snapshot; `None` while no plan moves the share.
    stage: Cell<Option<u32>>,
    /// Stable's p95 latency in milliseconds, and when this isolate received it.
    stable_p95: Cell<Option<(f64, UnixMs)>>,
    /// The last closed minute whose p95 of stable this isolate has sent; 0 before the first.
    last_sent_minute: Cell<u64>,
}

impl IsolateState {
    /// Returns the effective share by the cache, without a request to the rollout object.
    pub fn effective_share(&self, now: UnixMs) -> EffectiveShare {
        let now = self.read_clock(now);
        effective_share(self.cached_share.get(), self.refresh_failed_at.get(), now)
    }

    /// Records the start of a background refresh. Returns `false` if another one runs already.
    pub fn begin_background_refresh(&self, now: UnixMs) -> bool {
        let now = self.read_clock(now);
        let ms_since_start = self.refresh_started_at.get().and_then(|at| now.ms_since(at));
        let is_running = ms_since_start.is_some_and(|ms| ms < REFRESH_TIMEOUT_MS);
        if !is_running {
            self.refresh_started_at.set(Some(now));
        }
        !is_running
    }

    /// Records that a message leaves whose reply brings a snapshot, and forgets a snapshot that has
    /// expired. The caller passes the time on with the reply.
    pub fn begin_fetch(&self, now: UnixMs) -> ClockReading {
        let now = self.read_clock(now);
        self.cached_share.set(drop_expired(self.cached_share.get(), now));
        now
    }

    /// Records the end of a refresh that [`Self::begin_fetch`] began at `asked_at`: caches the
    /// snapshot, or the time of the failure.
    pub fn end_refresh(
        &self,
        snapshot: Option<&ReleaseSnapshot>,
        asked_at: ClockReading,
        now: UnixMs,
    ) {
        self.refresh_started_at.set(None);
        match snapshot {
            Some(snapshot) => self.cache_snapshot(snapshot, asked_at, now),
            None => self.refresh_failed_at.set(Some(self.read_clock(now))),
        }
    }

    /// Caches a release snapshot that was asked for at `asked_at` and received `now`. An older
    /// snapshot does not replace a newer one.
    pub fn cache_snapshot(&self, snapshot: &ReleaseSnapshot, asked_at: ClockReading, now: UnixMs) {
        self.read_clock(now);
        let state = &snapshot.release_state;
        let received = CachedShare {
            version: state.version,
            share: state.share,
            holdout: snapshot.holdout,
            disabled: state.killed || snapshot.rolled_back,
            asked_at,
        };
        let newer = pick_newer(self.cached_share.get(), received);
        self.cached_share.set(Some(newer));
        if newer == received {
            self.stage.set(snapshot.stage);
            self.model_sha256.replace(snapshot.model_sha256.as_deref().map(Rc::from));
            self.bucket_salt.replace(snapshot.bucket_salt.as_deref().map(Rc::from));
        }
        if let Some(p95_ms) = snapshot.stable_p95_ms {
            self.record_stable_p95(p95_ms, now);
        }
    }

    /// Reads the clock, which shows `now`, and notices a clock that was set back.
    fn read_clock(&self, now: UnixMs) -> ClockReading {
        let last = self.last_reading.get();
        let reading = last.map_or(ClockReading::first(now), |last| last.next(now));
        self.last_reading.set(Some(reading));
        reading
    }

    /// Returns the sha256 of the only model that may answer, by the last snapshot; `None` before a release
    /// check passed.
    pub fn model_sha256(&self) -> Option<Rc<str>> {
        self.model_sha256.borrow().clone()
    }

    /// Returns whether the release draws its subjects by another salt than the one of this name.
    pub fn has_other_bucket_salt(&self, name: &str) -> bool {
        self.bucket_salt.borrow().as_deref().is_some_and(|of_release| of_release != name)
    }

    /// Returns the index of the plan's stage in the last snapshot; `None` while no plan moves the
    /// share.
    pub fn stage(&self) -> Option<u32> {
        self.stage.get()
    }

    /// Records stable's p95 latency in milliseconds.
    pub fn record_stable_p95(&self, p95_ms: f64, now: UnixMs) {
        self.stable_p95.set(Some((p95_ms, now)));
    }

    /// Returns stable's p95 in milliseconds; `None` if this isolate never received it, or received
    /// it five minutes ago or earlier.
    pub fn stable_p95_ms(&self, now: UnixMs) -> Option<f64> {
        let (p95_ms, received_at) = self.stable_p95.get()?;
        (now.0.saturating_sub(received_at.0) < STABLE_P95_AGE_MS_MAX).then_some(p95_ms)
    }

    /// Records that this isolate sends the p95 of a minute. Returns `false` if it has sent this
    /// minute's already.
    pub fn begin_sending_minute(&self, minute: u64) -> bool {
        let is_new = self.last_sent_minute.get() < minute;
        if is_new {
            self.last_sent_minute.set(minute);
        }
        is_new
    }

    /// Records that the p95 of the last minute was not sent; the next batch tries again.
    pub fn cancel_sending_minute(&self) {
        self.last_sent_minute.set(0);
    }

    /// Counts events that this isolate could not store.
    pub fn add_lost_events(&self, count: u64) {
        self.lost_events.set(self.lost_events.get() + count);
    }

    /// Returns the number of lost events, and starts again at 0: the caller reports them.
    pub fn take_lost_events(&self) -> u64 {
        self.lost_events.take()
    }

    /// Calls `use_reports` with the reports of hard failures that wait for an acknowledgement.
    pub fn with_reports<T>(&self, use_reports: impl FnOnce(&mut ReportQueue) -> T) -> T {
        use_reports(&mut self.reports.borrow_mut())
    }

    /// Calls `use_quarantine` with the texts at which the model trapped.
    pub fn with_quarantine<T>(&self, use_quarantine: impl FnOnce(&mut Quarantine) -> T) -> T {
        use_quarantine(&mut self.quarantine.borrow_mut())
    }

    /// Runs a function on the legacy system's verdicts on callers.
    pub fn with_auth_verdicts<T>(
        &self,
        use_verdicts: impl FnOnce(&mut AuthVerdictCache) -> T,
    ) -> T {
        use_verdicts(&mut self.auth_verdicts.borrow_mut())
    }

    /// Returns whether a probe after a trap may start, at most one in five seconds.
    pub fn begin_trap_probe(&self, now: UnixMs) -> bool {
        let is_recent =
            self.trap_probed_at.get().is_some_and(|at| now.0.abs_diff(at.0) < TRAP_PROBE_MS);
        if !is_recent {
            self.trap_probed_at.set(Some(now));
        }
        !is_recent
    }

    /// Calls `use_breaker` with the circuit breaker.
    pub fn with_breaker<T>(&self, use_breaker: impl FnOnce(&mut CircuitBreaker) -> T) -> T {
        use_breaker(&mut self.breaker.borrow_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::rollout::release_state::ReleaseState;
    use jeffrey_edge::rollout::share_cache::Refresh;
    use jeffrey_terms::Share;

    fn snapshot(version: u64, points: u16) -> ReleaseSnapshot {
        let share = Share::from_basis_points(points).unwrap_or(Share::NONE);
        ReleaseSnapshot {
            model_sha256: None,
            bucket_salt: None,
            release_state: ReleaseState { version, ..ReleaseState::initial(share) },
            holdout: Share::NONE,
            rolled_back: false,
            stage: Some(1),
            stable_p95_ms: Some(120.0),
        }
    }

    #[test]
    fn a_snapshot_that_overtook_another_is_kept() {
        let state = IsolateState::default();
        assert_eq!(state.effective_share(UnixMs(0)).refresh, Refresh::Blocking);
        let asked_at = state.begin_fetch(UnixMs(999));
        let older = ReleaseSnapshot { stage: Some(0), ..snapshot(2, 1_000) };
        state.end_refresh(Some(&snapshot(3, 5_000)), asked_at, UnixMs(1_000));
        state.end_refresh(Some(&older), asked_at, UnixMs(1_001));
        assert_eq!(state.effective_share(UnixMs(1_002)).share.basis_points(), 5_000);
        assert_eq!(state.stage(), Some(1), "the stage is that of the cached snapshot");
    }

    #[test]
    fn a_snapshot_is_as_old_as_its_question() {
        let state = IsolateState::default();
        let asked_at = state.begin_fetch(UnixMs(100_000));
        // The object answered at once, and then rolled back; the reply came 14 s later.
        state.cache_snapshot(&snapshot(1, 1_000), asked_at, UnixMs(114_000));
        assert_eq!(state.effective_share(UnixMs(114_000)).refresh, Refresh::Blocking);
        assert!(!state.effective_share(UnixMs(129_999)).disabled);
        assert!(state.effective_share(UnixMs(130_000)).disabled);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_the_share_stale() {
        let state = IsolateState::default();
        let asked_at = state.begin_fetch(UnixMs(100_000));
        state.end_refresh(Some(&snapshot(1, 1_000)), asked_at, UnixMs(100_100));
        assert!(!state.effective_share(UnixMs(129_000)).disabled);
        let effective = state.effective_share(UnixMs(101_000));
        assert_eq!((effective.disabled, effective.refresh), (true, Refresh::Blocking));
        // A reply that was on its way does not make it fresh again.
        state.end_refresh(Some(&snapshot(1, 1_000)), asked_at, UnixMs(101_100));
        assert!(state.effective_share(UnixMs(101_100)).disabled);
        let asked_at = state.begin_fetch(UnixMs(101_200));
        state.end_refresh(Some(&snapshot(1, 1_000)), asked_at, UnixMs(101_300));
        assert!(!state.effective_share(UnixMs(101_300)).disabled);
    }

    #[test]
    fn a_clock_that_was_set_forward_lets_no_older_reply_win() {
        let state = IsolateState::default();
        let asked_at = [99_000, 99_100].map(|ms| state.begin_fetch(UnixMs(ms)));
        let closed = ReleaseSnapshot { rolled_back: true, ..snapshot(2, 0) };
        state.end_refresh(Some(&closed), asked_at[1], UnixMs(100_000));
        state.end_refresh(Some(&snapshot(1, 1_000)), asked_at[0], UnixMs(130_000));
        assert!(state.effective_share(UnixMs(130_000)).disabled);
    }

    #[test]
    fn a_rolled_back_release_is_disabled_whatever_its_share() {
        let state = IsolateState::default();
        let rolled_back = ReleaseSnapshot { rolled_back: true, ..snapshot(1, 1_000) };
        state.cache_snapshot(&rolled_back, state.begin_fetch(UnixMs(1_000)), UnixMs(1_000));
        assert!(state.effective_share(UnixMs(1_000)).disabled);
    }

    #[test]
    fn one_background_refresh_runs_at_a_time_until_it_ends_or_dies() {
        let state = IsolateState::default();
        assert!(state.begin_background_refresh(UnixMs(10_000)));
        assert!(!state.begin_background_refresh(UnixMs(11_999)));
        assert!(state.begin_background_refresh(UnixMs(12_000)), "the first one died");
        state.end_refresh(None, state.begin_fetch(UnixMs(12_000)), UnixMs(12_100));
        assert!(state.begin_background_refresh(UnixMs(12_101)));
        // A clock that was set back does not block for long either.
        assert!(state.begin_background_refresh(UnixMs(5_000)));
    }

    #[test]
    fn the_p95_of_stable_serves_five_minutes() {
        let state = IsolateState::default();
        assert_eq!(state.stable_p95_ms(UnixMs(0)), None);
        state.cache_snapshot(&snapshot(1, 1_000), state.begin_fetch(UnixMs(1_000)), UnixMs(1_000));
        assert_eq!(state.stable_p95_ms(UnixMs(300_999)), Some(120.0));
        assert_eq!(state.stable_p95_ms(UnixMs(301_000)), None);
        // A snapshot without a p95 keeps the last one.
        state.record_stable_p95(90.0, UnixMs(301_000));
        let without = ReleaseSnapshot { stable_p95_ms: None, ..snapshot(2, 1_000) };
        state.cache_snapshot(&without, state.begin_fetch(UnixMs(301_000)), UnixMs(301_001));
        assert_eq!(state.stable_p95_ms(UnixMs(301_002)), Some(90.0));
    }

    #[test]
    fn a_minute_is_sent_once_unless_sending_failed() {
        let state = IsolateState::default();
        assert!(state.begin_sending_minute(7));
        assert!(!state.begin_sending_minute(7));
        state.cancel_sending_minute();
        assert!(state.begin_sending_minute(7));
        assert!(!state.begin_sending_minute(6), "an earlier minute is not sent again");
    }

    #[test]
    fn lost_events_are_reported_once() {
        let state = IsolateState::default();
        state.add_lost_events(2);
        state.add_lost_events(1);
        assert_eq!((state.take_lost_events(), state.take_lost_events()), (3, 0));
    }
}
