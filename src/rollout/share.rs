//! The share that an isolate acts on between two words from the object that holds it.
//!
//! An isolate asks the object rarely and remembers the answer. What it remembers ages: for
//! [`FRESH_MS`] it is taken as it is; then it is still used, but the object is asked again beside the
//! request; after [`KEPT_MS`] without an answer nobody is canary any more, because an isolate that
//! cannot hear of a rollback must not go on without it.

use crate::terms::{Share, UnixMs};

/// How long an answer is used without asking again: the part of "breach to last canary answer" that
/// isolates' memories may take.
pub const FRESH_MS: u64 = 5_000;

/// How long an answer is used when no newer one can be had.
pub const KEPT_MS: u64 = 30_000;

/// The object's last word, and when it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The share in force then.
    pub share: Share,
    /// When the answer came.
    pub at: UnixMs,
}

/// What to act on, and whether to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The share of this request.
    pub share: Share,
    /// Whether the object should be asked again.
    pub ask: bool,
}

/// The share in force now. A clock that was set back makes a word as old as it stands before it: how
/// old it is, nobody knows.
pub fn in_force(last: Option<Heard>, now: UnixMs) -> InForce {
    let Some(Heard { share, at }) = last else {
        return InForce { share: Share::NONE, ask: true };
    };
    let age = now.0.abs_diff(at.0);
    let share = if age < KEPT_MS { share } else { Share::NONE };
    InForce { share, ask: age >= FRESH_MS }
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
        let last = Some(Heard { share: share(2_000), at: UnixMs(1_000_000) });
        let rows = [
            (0, 2_000, false),
            (FRESH_MS - 1, 2_000, false),
            (FRESH_MS, 2_000, true),
            (KEPT_MS - 1, 2_000, true),
            (KEPT_MS, 0, true),
            (u64::MAX - 1_000_000, 0, true),
        ];
        for (age, points, ask) in rows {
            let found = in_force(last, UnixMs(1_000_000 + age));
            assert_eq!(found, InForce { share: share(points), ask }, "age {age}");
        }
        assert_eq!(in_force(None, UnixMs(0)), InForce { share: Share::NONE, ask: true });
        let backwards = in_force(last, UnixMs(1_000_000 - KEPT_MS));
        assert_eq!(backwards, InForce { share: Share::NONE, ask: true });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Never more than was said, nothing after the limit, and never silent about an old word.
        #[test]
        fn the_share_is_the_last_word_or_none(
            points in 0_u16..=10_000, at in 0_u64..1 << 40, age in 0_u64..120_000,
        ) {
            let last = Heard { share: share(points), at: UnixMs(at) };
            let found = in_force(Some(last), UnixMs(at + age));
            prop_assert!(found.share == last.share || found.share == Share::NONE);
            prop_assert!(age < KEPT_MS || found.share == Share::NONE);
            prop_assert!(age >= KEPT_MS || found.share == last.share);
            prop_assert_eq!(found.ask, age >= FRESH_MS);
        }
    }
}
