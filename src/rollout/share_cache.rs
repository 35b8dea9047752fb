//! The share that an isolate acts on between two snapshots from the rollout object.
//!
//! An isolate keeps the object's last snapshot, and the snapshot ages from the time at which the
//! isolate asked for it: what the object stored since then, the snapshot may lack. Until
//! [`BACKGROUND_REFRESH_AFTER_MS`] it is used as it is. Until [`BLOCKING_REFRESH_AFTER_MS`] the isolate fetches a
//! new one in the background of the request. After that it fetches before it decides, so that no
//! isolate, however seldom it is used, acts on an older snapshot while a newer one can be had.
//!
//! If the object does not respond, the snapshot is used until [`EXPIRE_AFTER_MS`]. Then the release
//! counts as disabled, because an isolate that cannot learn of a rollback must not continue without
//! it. Meanwhile one request in each [`BLOCKING_REFRESH_AFTER_MS`] waits for the object, and the others do
//! not. A snapshot whose age is unknown, because the clock was set back, counts as expired.

use super::clock_reading::ClockReading;
use jeffrey_terms::Share;

/// Age until which a snapshot is used without a fetch, in milliseconds.
pub const BACKGROUND_REFRESH_AFTER_MS: u64 = 2_500;

/// Age until which a snapshot is used while a newer one could be had, in milliseconds: the part of
/// the time from a hard failure to the last canary answer that the isolates' caches may take.
pub const BLOCKING_REFRESH_AFTER_MS: u64 = 5_000;

/// Age until which a snapshot is used if no newer one can be had, in milliseconds.
pub const EXPIRE_AFTER_MS: u64 = 30_000;

/// The last snapshot from the rollout object, and when the isolate asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedShare {
    /// Version of the release state; the object counts it up.
    pub version: u64,
    /// The canary's share in the snapshot.
    pub share: Share,
    /// The plan's holdout in the snapshot.
    pub holdout: Share,
    /// Whether the release was killed or rolled back.
    pub disabled: bool,
    /// When the isolate asked for the snapshot, or sent the command that it came with.
    pub asked_at: ClockReading,
}

/// The share that a request is assigned by, and whether to fetch a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveShare {
    /// The canary's share for this request; none if the release is disabled by age.
    pub share: Share,
    /// The plan's holdout; the gateway's own setting may only enlarge it.
    pub holdout: Share,
    /// Whether the release is disabled, or has to count as disabled because no snapshot is recent
    /// enough.
    pub disabled: bool,
    /// Whether and when to fetch a snapshot.
    pub refresh: Refresh,
}

/// Time at which to fetch a snapshot from the rollout object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Before the request is assigned: the snapshot is missing or too old.
    Blocking,
    /// In the background, while the request continues.
    Background,
    /// Not now: the snapshot is fresh, or a recent fetch failed.
    Fresh,
}

/// Returns the newer of two snapshots: the later version, or of one version the one that was asked
/// for later. Replies may overtake each other, so their arrival says nothing.
///
/// An expired snapshot is in the way of an object that started again from nothing:
/// [`drop_expired`] takes it out before the isolate asks again.
pub fn pick_newer(cached: Option<CachedShare>, received: CachedShare) -> CachedShare {
    let order = |snapshot: &CachedShare| (snapshot.version, snapshot.asked_at);
    cached.filter(|last| order(last) > order(&received)).unwrap_or(received)
}

/// Returns the cached snapshot; `None` if it has expired or its age is unknown.
pub fn drop_expired(cached: Option<CachedShare>, now: ClockReading) -> Option<CachedShare> {
    cached.filter(|last| now.ms_since(last.asked_at).is_some_and(|age| age < EXPIRE_AFTER_MS))
}

/// Returns the share for a request at `now`, from the cached snapshot and the time of the last
/// failed fetch.
pub fn effective_share(
    cached: Option<CachedShare>,
    failed_at: Option<ClockReading>,
    now: ClockReading,
) -> EffectiveShare {
    let age_of_failure = failed_at.and_then(|at| now.ms_since(at));
    let failed_recently = age_of_failure.is_some_and(|age| age < BLOCKING_REFRESH_AFTER_MS);
    let refresh = match cached.and_then(|last| now.ms_since(last.asked_at)) {
        Some(..BACKGROUND_REFRESH_AFTER_MS) => Refresh::Fresh,
        Some(BACKGROUND_REFRESH_AFTER_MS..BLOCKING_REFRESH_AFTER_MS) => Refresh::Background,
        _ if failed_recently => Refresh::Fresh,
        _ => Refresh::Blocking,
    };
    match drop_expired(cached, now) {
        Some(CachedShare { share, holdout, disabled, .. }) => {
            EffectiveShare { share, holdout, disabled, refresh }
        }
        None => {
            EffectiveShare { share: Share::NONE, holdout: Share::NONE, disabled: true, refresh }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use jeffrey_terms::UnixMs;

    fn at(ms: u64) -> ClockReading {
        ClockReading::first(UnixMs(ms))
    }

    fn share(points: u16) -> Share {
        Share::from_basis_points(points).unwrap()
    }

    #[test]
    fn a_cached_share_ages_from_fresh_to_stale_to_none() {
        let cached = Some(CachedShare {
            version: 1,
            share: share(2_000),
            holdout: share(100),
            disabled: false,
            asked_at: at(1_000_000),
        });
        let rows = [
            (0, 2_000, false, Refresh::Fresh),
            (BACKGROUND_REFRESH_AFTER_MS - 1, 2_000, false, Refresh::Fresh),
            (BACKGROUND_REFRESH_AFTER_MS, 2_000, false, Refresh::Background),
            (BLOCKING_REFRESH_AFTER_MS - 1, 2_000, false, Refresh::Background),
            (BLOCKING_REFRESH_AFTER_MS, 2_000, false, Refresh::Blocking),
            (EXPIRE_AFTER_MS - 1, 2_000, false, Refresh::Blocking),
            (EXPIRE_AFTER_MS, 0, true, Refresh::Blocking),
            (u64::MAX - 1_000_000, 0, true, Refresh::Blocking),
        ];
        for (age, points, disabled, refresh) in rows {
            let effective = effective_share(cached, None, at(1_000_000 + age));
            let holdout = share(if disabled { 0 } else { 100 });
            assert_eq!(
                effective,
                EffectiveShare { share: share(points), holdout, disabled, refresh },
                "age {age}"
            );
        }
    }

    /// The old rule took the distance from the clock as the age, and called this snapshot fresh.
    #[test]
    fn a_clock_that_was_set_back_makes_a_snapshot_stale() {
        let asked_at = at(1_000_000);
        let cached = CachedShare {
            version: 1,
            share: share(2_000),
            holdout: share(0),
            disabled: false,
            asked_at,
        };
        let last_request = asked_at.next(UnixMs(1_030_000));
        for set_back_to in [970_000, 998_000, 1_000_000, 1_001_000] {
            let now = last_request.next(UnixMs(set_back_to));
            let effective = effective_share(Some(cached), None, now);
            assert_eq!(
                (effective.share, effective.disabled, effective.refresh),
                (Share::NONE, true, Refresh::Blocking),
                "set back to {set_back_to}"
            );
            // A failure before the step does not keep requests from asking.
            let effective = effective_share(Some(cached), Some(last_request), now);
            assert_eq!(effective.refresh, Refresh::Blocking, "set back to {set_back_to}");
        }
    }

    #[test]
    fn while_the_object_is_away_few_wait_for_it() {
        let refresh_after =
            |since| effective_share(None, Some(at(1_000)), at(1_000 + since)).refresh;
        assert_eq!(effective_share(None, None, at(0)).refresh, Refresh::Blocking);
        assert_eq!(refresh_after(0), Refresh::Fresh);
        assert_eq!(refresh_after(BLOCKING_REFRESH_AFTER_MS - 1), Refresh::Fresh);
        assert_eq!(refresh_after(BLOCKING_REFRESH_AFTER_MS), Refresh::Blocking);
    }

    fn snapshot(version: u64, asked_at: ClockReading) -> CachedShare {
        let (share, holdout) = (share(0), share(0));
        CachedShare { version, share, holdout, disabled: false, asked_at }
    }

    #[test]
    fn a_reply_that_comes_late_does_not_undo_a_newer_one() {
        let rows = [
            (None, snapshot(1, at(0)), 1),
            (Some(snapshot(1, at(0))), snapshot(2, at(5)), 2),
            (Some(snapshot(2, at(5))), snapshot(1, at(9)), 2),
            (Some(snapshot(2, at(5))), snapshot(3, at(0)), 3),
        ];
        for (cached, received, expected) in rows {
            assert_eq!(pick_newer(cached, received).version, expected, "{cached:?} {received:?}");
        }
        // Of one version, the one that was asked for later is younger.
        for (first, second) in [(5, 9), (9, 5)] {
            let newer = pick_newer(Some(snapshot(2, at(first))), snapshot(2, at(second)));
            assert_eq!(newer.asked_at, at(9));
        }
    }

    /// The old rule compared the times of receipt, and took the older one after any step of 30 s.
    #[test]
    fn a_step_of_the_clock_does_not_let_an_older_reply_win() {
        let asked_at = at(1_000_000);
        for now in [970_000, 1_030_000, 2_000_000] {
            let older = snapshot(1, asked_at.next(UnixMs(now)));
            assert_eq!(pick_newer(Some(snapshot(2, asked_at)), older).version, 2, "now {now}");
        }
    }

    #[test]
    fn a_rollout_object_that_starts_again_from_nothing_is_believed_in_the_end() {
        let cached = Some(snapshot(2, at(5)));
        for (age, is_dropped) in [(0, false), (EXPIRE_AFTER_MS - 1, false), (EXPIRE_AFTER_MS, true)]
        {
            let asked_at = at(5 + age);
            let newer = pick_newer(drop_expired(cached, asked_at), snapshot(0, asked_at));
            assert_eq!(newer.version, if is_dropped { 0 } else { 2 }, "age {age}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// The share is the cached one or none, none after the expiry, and an old snapshot is
        /// always fetched again.
        #[test]
        fn the_share_is_the_cached_one_or_none(
            points in 0_u16..=10_000, asked in 0_u64..1 << 40, age in 0_u64..120_000,
            closed: bool,
        ) {
            let holdout = share(0);
            let cached = CachedShare { version: 1, share: share(points), holdout, disabled: closed, asked_at: at(asked) };
            let effective = effective_share(Some(cached), None, at(asked + age));
            prop_assert!(effective.share == cached.share || effective.share == Share::NONE);
            prop_assert!(age < EXPIRE_AFTER_MS || effective.share == Share::NONE);
            prop_assert!(age >= EXPIRE_AFTER_MS || effective.share == cached.share);
            prop_assert_eq!(effective.disabled, closed || age >= EXPIRE_AFTER_MS);
            prop_assert_eq!(effective.refresh == Refresh::Fresh, age < BACKGROUND_REFRESH_AFTER_MS);
            prop_assert_eq!(effective.refresh == Refresh::Blocking, age >= BLOCKING_REFRESH_AFTER_MS);
        }
    }
}
