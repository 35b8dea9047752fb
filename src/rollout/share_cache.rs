//! The share that an isolate acts on between two snapshots from the rollout object.
//!
//! An isolate keeps the object's last snapshot, and the snapshot ages. Until
//! [`BACKGROUND_REFRESH_AFTER_MS`] it is used as it is. Until [`BLOCKING_REFRESH_AFTER_MS`] the isolate fetches a
//! new one in the background of the request. After that it fetches before it decides, so that no
//! isolate, however seldom it is used, acts on an older snapshot while a newer one can be had.
//!
//! If the object does not respond, the snapshot is used until [`EXPIRE_AFTER_MS`]. Then the release
//! counts as disabled, because an isolate that cannot learn of a rollback must not continue without
//! it. Meanwhile one request in each [`BLOCKING_REFRESH_AFTER_MS`] waits for the object, and the others do
//! not.

use jeffrey_terms::{Share, UnixMs};

/// Age until which a snapshot is used without a fetch, in milliseconds.
pub const BACKGROUND_REFRESH_AFTER_MS: u64 = 2_500;

/// Age until which a snapshot is used while a newer one could be had, in milliseconds: the part of
/// the time from a hard failure to the last canary answer that the isolates' caches may take.
pub const BLOCKING_REFRESH_AFTER_MS: u64 = 5_000;

/// Age until which a snapshot is used if no newer one can be had, in milliseconds.
pub const EXPIRE_AFTER_MS: u64 = 30_000;

/// The last snapshot from the rollout object, and when it was received.
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
    /// Time at which the isolate received the snapshot, in milliseconds since 1970.
    pub received_at: UnixMs,
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

/// Returns the newer of two snapshots: of two concurrent fetches, the first may be answered last.
pub fn pick_newer(cached: Option<CachedShare>, received: CachedShare) -> CachedShare {
    match cached {
        Some(last)
            if last.version > received.version
                && received.received_at.0.abs_diff(last.received_at.0) < EXPIRE_AFTER_MS =>
        {
            last
        }
        _ => received,
    }
}

/// Returns the share for a request at `now`, from the cached snapshot and the time of the last
/// failed fetch.
///
/// A clock that was set back makes a snapshot as old as it seems to lie in the future, because its
/// real age is unknown.
pub fn effective_share(
    cached: Option<CachedShare>,
    failed_at: Option<UnixMs>,
    now: UnixMs,
) -> EffectiveShare {
    let age = |time: UnixMs| now.0.abs_diff(time.0);
    let failed_recently = failed_at.is_some_and(|at| age(at) < BLOCKING_REFRESH_AFTER_MS);
    let refresh = match cached.map(|last| age(last.received_at)) {
        Some(..BACKGROUND_REFRESH_AFTER_MS) => Refresh::Fresh,
        Some(BACKGROUND_REFRESH_AFTER_MS..BLOCKING_REFRESH_AFTER_MS) => Refresh::Background,
        _ if failed_recently => Refresh::Fresh,
        _ => Refresh::Blocking,
    };
    match cached {
        Some(CachedShare { share, holdout, disabled, received_at, .. })
            if age(received_at) < EXPIRE_AFTER_MS =>
        {
            EffectiveShare { share, holdout, disabled, refresh }
        }
        _ => EffectiveShare { share: Share::NONE, holdout: Share::NONE, disabled: true, refresh },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            received_at: UnixMs(1_000_000),
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
            let effective = effective_share(cached, None, UnixMs(1_000_000 + age));
            let holdout = share(if disabled { 0 } else { 100 });
            assert_eq!(
                effective,
                EffectiveShare { share: share(points), holdout, disabled, refresh },
                "age {age}"
            );
        }
        let backwards = effective_share(cached, None, UnixMs(1_000_000 - EXPIRE_AFTER_MS));
        assert_eq!((backwards.disabled, backwards.refresh), (true, Refresh::Blocking));
    }

    #[test]
    fn while_the_object_is_away_few_wait_for_it() {
        let refresh_after =
            |since| effective_share(None, Some(UnixMs(1_000)), UnixMs(1_000 + since)).refresh;
        assert_eq!(effective_share(None, None, UnixMs(0)).refresh, Refresh::Blocking);
        assert_eq!(refresh_after(0), Refresh::Fresh);
        assert_eq!(refresh_after(BLOCKING_REFRESH_AFTER_MS - 1), Refresh::Fresh);
        assert_eq!(refresh_after(BLOCKING_REFRESH_AFTER_MS), Refresh::Blocking);
    }

    #[test]
    fn an_answer_that_comes_late_does_not_undo_a_newer_one() {
        let cached = |version, at| CachedShare {
            version,
            share: share(0),
            holdout: share(0),
            disabled: false,
            received_at: UnixMs(at),
        };
        assert_eq!(pick_newer(None, cached(1, 0)), cached(1, 0));
        assert_eq!(pick_newer(Some(cached(1, 0)), cached(2, 5)), cached(2, 5));
        assert_eq!(pick_newer(Some(cached(2, 5)), cached(2, 9)), cached(2, 9));
        assert_eq!(pick_newer(Some(cached(2, 5)), cached(1, 9)), cached(2, 5));
        // A rollout object that starts again from nothing is believed in the end.
        assert_eq!(
            pick_newer(Some(cached(2, 5)), cached(1, 5 + EXPIRE_AFTER_MS)),
            cached(1, 5 + EXPIRE_AFTER_MS)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// The share is the cached one or none, none after the expiry, and an old snapshot is
        /// always fetched again.
        #[test]
        fn the_share_is_the_cached_one_or_none(
            points in 0_u16..=10_000, at in 0_u64..1 << 40, age in 0_u64..120_000,
            closed: bool,
        ) {
            let holdout = share(0);
            let cached = CachedShare { version: 1, share: share(points), holdout, disabled: closed, received_at: UnixMs(at) };
            let effective = effective_share(Some(cached), None, UnixMs(at + age));
            prop_assert!(effective.share == cached.share || effective.share == Share::NONE);
            prop_assert!(age < EXPIRE_AFTER_MS || effective.share == Share::NONE);
            prop_assert!(age >= EXPIRE_AFTER_MS || effective.share == cached.share);
            prop_assert_eq!(effective.disabled, closed || age >= EXPIRE_AFTER_MS);
            prop_assert_eq!(effective.refresh == Refresh::Fresh, age < BACKGROUND_REFRESH_AFTER_MS);
            prop_assert_eq!(effective.refresh == Refresh::Blocking, age >= BLOCKING_REFRESH_AFTER_MS);
        }
    }
}
