//! Sums over minutes, of which the older ones hardly change any more.
//!
//! Where a release stands is asked for every second, over all minutes of its stage, which may be days. What settled
//! minutes add up to is kept, so that a look reads the newer ones alone; an event that comes late for one of them
//! makes it be read again.

use super::tally::Tally;

/// What the two cohorts did in the settled minutes of the range that was asked for last.
#[derive(Debug, Default)]
pub struct Settled(Option<Kept>);

#[derive(Debug)]
struct Kept {
    release: String,
    since: u64,
    before: u64,
    sums: [Tally; 2],
}

impl Settled {
    /// What the canary and stable did after minute `since` and before minute `before`. `read` sums up such a range;
    /// of what it finds, minutes from `open_from` on are not kept.
    ///
    /// # Errors
    ///
    /// What `read` fails with; nothing is kept then.
    pub fn between<E>(
        &mut self,
        release: &str,
        (since, before): (u64, u64),
        open_from: u64,
        read: impl Fn(u64, u64) -> Result<[Tally; 2], E>,
    ) -> Result<[Tally; 2], E> {
        let settled = before.min(open_from);
        let of_this =
            |kept: &Kept| kept.release == release && kept.since == since && kept.before <= settled;
        let mut kept = self.0.take().filter(of_this).unwrap_or_else(|| Kept {
            release: release.to_owned(),
            since,
            before: since.saturating_add(1),
            sums: <[Tally; 2]>::default(),
        });
        if kept.before < settled {
            add(&mut kept.sums, &read(kept.before - 1, settled)?);
            kept.before = settled;
        }
        let mut sums = kept.sums.clone();
        if kept.before < before {
            add(&mut sums, &read(kept.before - 1, before)?);
        }
        self.0 = Some(kept);
        Ok(sums)
    }

    /// A minute of a release has changed.
    pub fn changed(&mut self, release: &str, minute: u64) {
        self.0
            .take_if(|kept| kept.release == release && kept.since < minute && minute < kept.before);
    }

    /// Any minute may have changed.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

fn add(sums: &mut [Tally; 2], more: &[Tally; 2]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| sum.add(more));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn requests(number: u64) -> Tally {
        let mut tally = Tally::default();
        tally.counts.requests = number;
        tally
    }

    /// Requests of the canary and of stable, by minute.
    type Minutes = BTreeMap<u64, [u64; 2]>;

    fn plain(minutes: &Minutes, since: u64, before: u64) -> [Tally; 2] {
        let mut sums = [0; 2];
        for (_, counts) in minutes.iter().filter(|(at, _)| **at > since && **at < before) {
            sums[0] += counts[0];
            sums[1] += counts[1];
        }
        sums.map(requests)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Event { minute: u64, stable: bool },
        Look { release: bool, since: u64, before: u64 },
        Later,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40_u64, any::<bool>()).prop_map(|(minute, stable)| Step::Event { minute, stable }),
            (prop::bool::weighted(0.9), 0..8_u64, prop_oneof![0..45_u64, Just(u64::MAX)])
                .prop_map(|(release, since, before)| Step::Look { release, since, before }),
            Just(Step::Later),
        ]
    }

    proptest! {
        #[test]
        fn a_look_finds_what_the_minutes_add_up_to(steps in prop::collection::vec(step(), 1..120)) {
            let mut minutes: [Minutes; 2] = Default::default();
            let (mut settled, mut open_from) = (Settled::default(), 0);
            for step in steps {
                match step {
                    Step::Event { minute, stable } => {
                        minutes[1].entry(minute).or_default()[usize::from(stable)] += 1;
                        settled.changed("e1", minute);
                    }
                    Step::Look { release, since, before } => {
                        let (name, of) = [("e0", &minutes[0]), ("e1", &minutes[1])][usize::from(release)];
                        let read = |since, before| Ok::<_, Infallible>(plain(of, since, before));
                        let found = settled.between(name, (since, before), open_from, read);
                        prop_assert_eq!(found.unwrap(), plain(of, since, before));
                    }
                    Step::Later => open_from += 3,
                }
            }
        }
    }

    #[test]
    fn a_second_look_reads_the_open_minutes_alone() {
        let read = Cell::new(0);
        let look = |settled: &mut Settled| {
            read.set(0);
            let count = |since: u64, before: u64| {
                read.set(read.get() + before - since - 1);
                Ok::<_, Infallible>(<[Tally; 2]>::default())
            };
            settled.between("e1", (0, 1_001), 990, count).unwrap();
            read.get()
        };
        let mut settled = Settled::default();
        assert_eq!([look(&mut settled), look(&mut settled)], [1_000, 11]);
        settled.changed("e1", 995);
        assert_eq!(look(&mut settled), 11);
        settled.changed("e1", 989);
        assert_eq!(look(&mut settled), 1_000);
        settled.clear();
        assert_eq!(look(&mut settled), 1_000);
    }

    #[test]
    fn what_failed_is_read_again() {
        let mut settled = Settled::default();
        assert_eq!(settled.between("e1", (0, 20), 10, |_, _| Err(())), Err(()));
        let once = |since, before| Ok::<_, ()>([requests(before - since - 1), Tally::default()]);
        assert_eq!(settled.between("e1", (0, 20), 10, once).unwrap()[0], requests(19));
    }
}
