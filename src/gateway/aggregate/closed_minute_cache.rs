//! Caches sums over closed minutes, which rarely change.
//!
//! The rollout status is polled every second and covers all minutes of the current stage, which can
//! last for days. The cache keeps the sum of the closed minutes, so that a query reads only the
//! newer ones. If an event arrives late for a cached minute, the cache is dropped and the next
//! query reads the whole range again.

use crate::gateway::aggregate::minute_stats::CohortStats;
use jeffrey_terms::by_cohort::ByCohort;

/// Stats of both cohorts over the closed minutes of the range that was queried last.
#[derive(Debug, Default)]
pub struct ClosedMinuteCache(Option<CachedRange>);

#[derive(Debug)]
struct CachedRange {
    release: String,
    after: u64,
    before: u64,
    stats: ByCohort<CohortStats>,
}

impl ClosedMinuteCache {
    /// Returns the stats of the canary and of stable for the minutes after `after` and before
    /// `before`.
    ///
    /// `read_range` sums the stats between two such exclusive bounds. Minutes from
    /// `first_open_minute` on are read in every query and are not cached.
    ///
    /// # Errors
    /// Returns the error of `read_range`; the cache is empty then.
    pub fn totals_between<E>(
        &mut self,
        release: &str,
        (after, before): (u64, u64),
        first_open_minute: u64,
        read_range: impl Fn(u64, u64) -> Result<ByCohort<CohortStats>, E>,
    ) -> Result<ByCohort<CohortStats>, E> {
        let closed_before = before.min(first_open_minute);
        let is_reusable = |cached: &CachedRange| {
            cached.release == release && cached.after == after && cached.before <= closed_before
        };
        let mut cached = self.0.take().filter(is_reusable).unwrap_or_else(|| CachedRange {
            release: release.to_owned(),
            after,
            before: after.saturating_add(1),
            stats: ByCohort::default(),
        });
        if cached.before < closed_before {
            add_stats(&mut cached.stats, &read_range(cached.before - 1, closed_before)?);
            cached.before = closed_before;
        }
        let mut totals = cached.stats.clone();
        if cached.before < before {
            add_stats(&mut totals, &read_range(cached.before - 1, before)?);
        }
        self.0 = Some(cached);
        Ok(totals)
    }

    /// Drops the cached range if it contains `minute` of `release`.
    pub fn invalidate_minute(&mut self, release: &str, minute: u64) {
        self.0.take_if(|cached| {
            cached.release == release && cached.after < minute && minute < cached.before
        });
    }

    /// Drops the cached range after a change that may affect any minute.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

fn add_stats(stats: &mut ByCohort<CohortStats>, added: &ByCohort<CohortStats>) {
    for (cohort, more) in added.iter() {
        stats[cohort].add(more);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use jeffrey_terms::Cohort;

    fn stats_with_requests(number: u64) -> CohortStats {
        let mut stats = CohortStats::default();
        stats.counts.requests = number;
        stats
    }

    /// Requests of the canary and of stable, by minute.
    type RequestsByMinute = BTreeMap<u64, ByCohort<u64>>;

    fn sum_uncached(minutes: &RequestsByMinute, after: u64, before: u64) -> ByCohort<CohortStats> {
        let mut requests = ByCohort::<u64>::default();
        for (_, counts) in
            minutes.iter().filter(|(minute, _)| **minute > after && **minute < before)
        {
            requests.canary += counts.canary;
            requests.stable += counts.stable;
        }
        requests.map(stats_with_requests)
    }

    #[derive(Clone, Debug)]
    enum CacheStep {
        Event { minute: u64, cohort: Cohort },
        Query { release: bool, since: u64, before: u64 },
        CloseMinutes,
    }

    fn any_step() -> impl Strategy<Value = CacheStep> {
        prop_oneof![
            (0..40_u64, prop_oneof![Just(Cohort::Canary), Just(Cohort::Stable)])
                .prop_map(|(minute, cohort)| CacheStep::Event { minute, cohort }),
            (prop::bool::weighted(0.9), 0..8_u64, prop_oneof![0..45_u64, Just(u64::MAX)])
                .prop_map(|(release, since, before)| CacheStep::Query { release, since, before }),
            Just(CacheStep::CloseMinutes),
        ]
    }

    proptest! {
        #[test]
        fn a_query_returns_the_sum_of_its_minutes(steps in prop::collection::vec(any_step(), 1..120)) {
            let mut minutes: [RequestsByMinute; 2] = Default::default();
            let (mut settled, mut open_from) = (ClosedMinuteCache::default(), 0);
            for step in steps {
                match step {
                    CacheStep::Event { minute, cohort } => {
                        minutes[1].entry(minute).or_default()[cohort] += 1;
                        settled.invalidate_minute("e1", minute);
                    }
                    CacheStep::Query { release, since, before } => {
                        let (name, requests_by_minute) = [("e0", &minutes[0]), ("e1", &minutes[1])][usize::from(release)];
                        let read = |since, before| Ok::<_, Infallible>(sum_uncached(requests_by_minute, since, before));
                        let sums = settled.totals_between(name, (since, before), open_from, read);
                        prop_assert_eq!(sums.unwrap(), sum_uncached(requests_by_minute, since, before));
                    }
                    CacheStep::CloseMinutes => open_from += 3,
                }
            }
        }
    }

    #[test]
    fn a_second_query_reads_only_the_open_minutes() {
        let read = Cell::new(0);
        let look = |cache: &mut ClosedMinuteCache| {
            read.set(0);
            let count = |since: u64, before: u64| {
                read.set(read.get() + before - since - 1);
                Ok::<_, Infallible>(ByCohort::default())
            };
            cache.totals_between("e1", (0, 1_001), 990, count).unwrap();
            read.get()
        };
        let mut cache = ClosedMinuteCache::default();
        assert_eq!([look(&mut cache), look(&mut cache)], [1_000, 11]);
        cache.invalidate_minute("e1", 995);
        assert_eq!(look(&mut cache), 11);
        cache.invalidate_minute("e1", 989);
        assert_eq!(look(&mut cache), 1_000);
        cache.clear();
        assert_eq!(look(&mut cache), 1_000);
    }

    #[test]
    fn a_failed_read_is_repeated() {
        let mut cache = ClosedMinuteCache::default();
        assert_eq!(cache.totals_between("e1", (0, 20), 10, |_, _| Err(())), Err(()));
        let read_once = |since, before| {
            let canary = stats_with_requests(before - since - 1);
            Ok::<_, ()>(ByCohort { canary, stable: CohortStats::default() })
        };
        assert_eq!(
            cache.totals_between("e1", (0, 20), 10, read_once).unwrap().canary,
            stats_with_requests(19)
        );
    }
}
