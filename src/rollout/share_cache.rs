//! The share that an isolate acts on between two words from the object that holds it.
//!
//! An isolate remembers the object's last word, and what it remembers ages. Until [`REVALIDATE_AFTER_MS`] it is
//! taken as it is; until [`REFETCH_AFTER_MS`] the object is asked again beside the request; after that it is
//! asked before anything is decided, so that no isolate, however seldom it is used, acts on an older
//! word while a newer one can be had. If the object is away, the old word serves until [`EXPIRE_AFTER_MS`], and
//! then the release counts as closed, because an isolate that cannot hear of a rollback must not go on
//! without it. While it is away, one request in [`REFETCH_AFTER_MS`] waits for it, and the others do not.

use jeffrey_terms::{Share, UnixMs};

/// How long a word is used without asking again.
pub const REVALIDATE_AFTER_MS: u64 = 2_500;

/// How long a word is used while a newer one could be had: the part of "breach to last canary answer"
/// that isolates' memories may take.
pub const REFETCH_AFTER_MS: u64 = 5_000;

/// How long a word is used when no newer one can be had.
pub const EXPIRE_AFTER_MS: u64 = 30_000;

/// The object's last word, and when it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedShare {
    /// Which of the object's words it is.
    pub version: u64,
    /// The share in force then.
    pub share: Share,
    /// The plan's holdout then.
    pub holdout: Share,
    /// Whether the release was closed then.
    pub disabled: bool,
    /// When the answer came.
    pub received_at: UnixMs,
}

/// What to act on, and whether to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveShare {
    /// The share of this request.
    pub share: Share,
    /// The plan's holdout, which the gate's own may only enlarge.
    pub holdout: Share,
    /// Whether the release is closed, or has to be taken for closed.
    pub disabled: bool,
    /// Whether the object should be asked.
    pub refresh: Refresh,
}

/// When to ask the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Before anything is decided: nothing is known.
    Blocking,
    /// While the request goes on.
    Background,
    /// Not now.
    Fresh,
}

/// The newer of two words: of two questions under way the first may be answered last.
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

/// The share in force now, by the last word and the time of the last question that found no answer. A
/// clock that was set back makes a word as old as it stands before it: how old it is, nobody knows.
pub fn effective_share(
    cached: Option<CachedShare>,
    failed_at: Option<UnixMs>,
    now: UnixMs,
) -> EffectiveShare {
    let age = |time: UnixMs| now.0.abs_diff(time.0);
    let failed_recently = failed_at.is_some_and(|at| age(at) < REFETCH_AFTER_MS);
    let refresh = match cached.map(|last| age(last.received_at)) {
        Some(..REVALIDATE_AFTER_MS) => Refresh::Fresh,
        Some(REVALIDATE_AFTER_MS..REFETCH_AFTER_MS) => Refresh::Background,
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
            (REVALIDATE_AFTER_MS - 1, 2_000, false, Refresh::Fresh),
            (REVALIDATE_AFTER_MS, 2_000, false, Refresh::Background),
            (REFETCH_AFTER_MS - 1, 2_000, false, Refresh::Background),
            (REFETCH_AFTER_MS, 2_000, false, Refresh::Blocking),
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
        assert_eq!(refresh_after(REFETCH_AFTER_MS - 1), Refresh::Fresh);
        assert_eq!(refresh_after(REFETCH_AFTER_MS), Refresh::Blocking);
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
        // An object that begins anew is believed in the end.
        assert_eq!(
            pick_newer(Some(cached(2, 5)), cached(1, 5 + EXPIRE_AFTER_MS)),
            cached(1, 5 + EXPIRE_AFTER_MS)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Never more than was said, nothing after the limit, and never silent about an old word.
        #[test]
        fn the_share_is_the_last_word_or_none(
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
            prop_assert_eq!(effective.refresh == Refresh::Fresh, age < REVALIDATE_AFTER_MS);
            prop_assert_eq!(effective.refresh == Refresh::Blocking, age >= REFETCH_AFTER_MS);
        }
    }
}
