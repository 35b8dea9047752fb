//! The share that an isolate acts on between two words from the object that holds it.
//!
//! An isolate remembers the object's last word, and what it remembers ages. Until [`ASKED_MS`] it is
//! taken as it is; until [`FRESH_MS`] the object is asked again beside the request; after that it is
//! asked before anything is decided, so that no isolate, however seldom it is used, acts on an older
//! word while a newer one can be had. If the object is away, the old word serves until [`KEPT_MS`], and
//! then the release counts as closed, because an isolate that cannot hear of a rollback must not go on
//! without it. While it is away, one request in [`FRESH_MS`] waits for it, and the others do not.

use jeffrey_terms::{Share, UnixMs};

/// How long a word is used without asking again.
pub const ASKED_MS: u64 = 2_500;

/// How long a word is used while a newer one could be had: the part of "breach to last canary answer"
/// that isolates' memories may take.
pub const FRESH_MS: u64 = 5_000;

/// How long a word is used when no newer one can be had.
pub const KEPT_MS: u64 = 30_000;

/// The object's last word, and when it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which of the object's words it is.
    pub version: u64,
    /// The share in force then.
    pub share: Share,
    /// The plan's holdout then.
    pub holdout: Share,
    /// Whether the release was closed then.
    pub closed: bool,
    /// When the answer came.
    pub at: UnixMs,
}

/// What to act on, and whether to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The share of this request.
    pub share: Share,
    /// The plan's holdout, which the gate's own may only enlarge.
    pub holdout: Share,
    /// Whether the release is closed, or has to be taken for closed.
    pub closed: bool,
    /// Whether the object should be asked.
    pub ask: Ask,
}

/// When to ask the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Before anything is decided: nothing is known.
    Before,
    /// While the request goes on.
    Beside,
    /// Not now.
    No,
}

/// The newer of two words: of two questions under way the first may be answered last.
pub fn newer(last: Option<Heard>, heard: Heard) -> Heard {
    match last {
        Some(last) if last.version > heard.version && heard.at.0.abs_diff(last.at.0) < KEPT_MS => {
            last
        }
        _ => heard,
    }
}

/// The share in force now, by the last word and the time of the last question that found no answer. A
/// clock that was set back makes a word as old as it stands before it: how old it is, nobody knows.
pub fn in_force(last: Option<Heard>, failed: Option<UnixMs>, now: UnixMs) -> InForce {
    let age = |at: UnixMs| now.0.abs_diff(at.0);
    let in_vain = failed.is_some_and(|at| age(at) < FRESH_MS);
    let ask = match last.map(|last| age(last.at)) {
        Some(..ASKED_MS) => Ask::No,
        Some(ASKED_MS..FRESH_MS) => Ask::Beside,
        _ if in_vain => Ask::No,
        _ => Ask::Before,
    };
    match last {
        Some(Heard { share, holdout, closed, at, .. }) if age(at) < KEPT_MS => {
            InForce { share, holdout, closed, ask }
        }
        _ => InForce { share: Share::NONE, holdout: Share::NONE, closed: true, ask },
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
    fn a_word_ages_from_fresh_to_kept_to_none() {
        let last = Some(Heard {
            version: 1,
            share: share(2_000),
            holdout: share(100),
            closed: false,
            at: UnixMs(1_000_000),
        });
        let rows = [
            (0, 2_000, false, Ask::No),
            (ASKED_MS - 1, 2_000, false, Ask::No),
            (ASKED_MS, 2_000, false, Ask::Beside),
            (FRESH_MS - 1, 2_000, false, Ask::Beside),
            (FRESH_MS, 2_000, false, Ask::Before),
            (KEPT_MS - 1, 2_000, false, Ask::Before),
            (KEPT_MS, 0, true, Ask::Before),
            (u64::MAX - 1_000_000, 0, true, Ask::Before),
        ];
        for (age, points, closed, ask) in rows {
            let found = in_force(last, None, UnixMs(1_000_000 + age));
            let holdout = share(if closed { 0 } else { 100 });
            assert_eq!(found, InForce { share: share(points), holdout, closed, ask }, "age {age}");
        }
        let backwards = in_force(last, None, UnixMs(1_000_000 - KEPT_MS));
        assert_eq!((backwards.closed, backwards.ask), (true, Ask::Before));
    }

    #[test]
    fn while_the_object_is_away_few_wait_for_it() {
        let asked = |since| in_force(None, Some(UnixMs(1_000)), UnixMs(1_000 + since)).ask;
        assert_eq!(in_force(None, None, UnixMs(0)).ask, Ask::Before);
        assert_eq!(asked(0), Ask::No);
        assert_eq!(asked(FRESH_MS - 1), Ask::No);
        assert_eq!(asked(FRESH_MS), Ask::Before);
    }

    #[test]
    fn an_answer_that_comes_late_does_not_undo_a_newer_one() {
        let word = |version, at| Heard {
            version,
            share: share(0),
            holdout: share(0),
            closed: false,
            at: UnixMs(at),
        };
        assert_eq!(newer(None, word(1, 0)), word(1, 0));
        assert_eq!(newer(Some(word(1, 0)), word(2, 5)), word(2, 5));
        assert_eq!(newer(Some(word(2, 5)), word(2, 9)), word(2, 9));
        assert_eq!(newer(Some(word(2, 5)), word(1, 9)), word(2, 5));
        // An object that begins anew is believed in the end.
        assert_eq!(newer(Some(word(2, 5)), word(1, 5 + KEPT_MS)), word(1, 5 + KEPT_MS));
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
            let last = Heard { version: 1, share: share(points), holdout, closed, at: UnixMs(at) };
            let found = in_force(Some(last), None, UnixMs(at + age));
            prop_assert!(found.share == last.share || found.share == Share::NONE);
            prop_assert!(age < KEPT_MS || found.share == Share::NONE);
            prop_assert!(age >= KEPT_MS || found.share == last.share);
            prop_assert_eq!(found.closed, closed || age >= KEPT_MS);
            prop_assert_eq!(found.ask == Ask::No, age < ASKED_MS);
            prop_assert_eq!(found.ask == Ask::Before, age >= FRESH_MS);
        }
    }
}
