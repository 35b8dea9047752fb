//! Latencies counted in buckets whose bounds grow by a tenth: quantiles are within 5 %, and sums of
//! sketches are exact.
//!
//! The method is DDSketch (Masson, Rim & Lee 2019, <https://arxiv.org/abs/1908.10693>) with γ =
//! 1.1. Bucket `k` counts latencies above `γ^(k-1)` and up to `γ^k` milliseconds, bucket 0 those up
//! to 1 ms. Adding is counting, so the order does not matter, and the sketch of several shards is
//! the sum of theirs. A sketch may use another unit for all its values: the log analysis uses
//! microseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Number of latencies in each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LatencySketch {
    buckets: BTreeMap<u16, u64>,
}

impl LatencySketch {
    /// Adds one latency, in milliseconds.
    pub fn add(&mut self, ms: u64) {
        *self.buckets.entry(bucket_index(ms)).or_default() += 1;
    }

    /// Adds the counts of another sketch.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    /// Returns the number of latencies added.
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Returns the latency that a fraction (0 to 1) of all do not exceed, in milliseconds, within 5
    /// %; `None` if the sketch is empty.
    pub fn quantile(&self, fraction: f64) -> Option<f64> {
        let rank = libm::ceil(fraction.clamp(0.0, 1.0) * self.count() as f64).max(1.0) as u64;
        let mut cumulative = 0;
        let entry = self.buckets.iter().find(|(_, count)| {
            cumulative += **count;
            cumulative >= rank
        });
        // The point of the bucket with the same relative error to both ends: 2 γ^k / (γ + 1).
        entry.map(|(bucket, _)| match bucket {
            0 => 1.0,
            bucket => 2.0 * libm::pow(BUCKET_GROWTH, f64::from(*bucket)) / (BUCKET_GROWTH + 1.0),
        })
    }
}

fn bucket_index(ms: u64) -> u16 {
    let index = libm::ceil(libm::log(ms.max(1) as f64) / libm::log(BUCKET_GROWTH));
    // 2^64 ms lie in bucket 466.
    index as u16
}

const BUCKET_GROWTH: f64 = 1.1;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sketches_ddsketch::{Config, DDSketch};

    use super::*;

    /// Relative error that the buckets allow: (γ − 1) / (γ + 1).
    const ACCURACY: f64 = (BUCKET_GROWTH - 1.0) / (BUCKET_GROWTH + 1.0);

    /// Latencies of all sizes, the small ones as often as the large ones.
    fn any_latency() -> impl Strategy<Value = u64> {
        (0_u32..48, any::<u64>()).prop_map(|(bits, value)| 1 + (value & ((1 << bits) - 1)))
    }

    fn sketch_of(latencies: &[u64]) -> LatencySketch {
        let mut sketch = LatencySketch::default();
        latencies.iter().for_each(|ms| sketch.add(*ms));
        sketch
    }

    fn other_sketch_of(latencies: &[u64]) -> DDSketch {
        let mut sketch = DDSketch::new(Config::new(ACCURACY, 2_048, 1.0e-9));
        latencies.iter().for_each(|ms| sketch.add(*ms as f64));
        sketch
    }

    proptest! {
        #[test]
        fn quantiles_agree_with_another_sketch_and_with_the_exact_ones(
            latencies in vec(any_latency(), 2..300),
        ) {
            let mut sorted = latencies.clone();
            sorted.sort_unstable();
            let (sketch, other) = (sketch_of(&latencies), other_sketch_of(&latencies));
            let count = latencies.len();
            for (index, exact) in sorted[..count - 1].iter().enumerate() {
                // Half a rank before the next one: both definitions of a rank choose this latency.
                let place = index as f64 + 0.5;
                let estimate = sketch.quantile(place / count as f64).unwrap();
                let other_estimate = other.quantile(place / (count - 1) as f64).unwrap().unwrap();
                for value in [estimate, other_estimate] {
                    let error = (value / *exact as f64 - 1.0).abs();
                    prop_assert!(error <= ACCURACY + 1e-9, "{} for {}", value, exact);
                }
                // Ours has whole milliseconds, so the lowest bucket is 1, not the point below it.
                let expected = if *exact == 1 { 1.0 } else { other_estimate };
                prop_assert!((estimate / expected - 1.0).abs() < 1e-9, "{} for {}", estimate, exact);
            }
        }

        #[test]
        fn merged_sketches_are_the_sketch_of_all_as_in_another_sketch(
            first in vec(any_latency(), 0..200),
            second in vec(any_latency(), 0..200),
        ) {
            let all = [&first[..], &second].concat();
            let mut merged = sketch_of(&first);
            merged.merge(&sketch_of(&second));
            prop_assert_eq!(&merged, &sketch_of(&all));
            let mut other = other_sketch_of(&first);
            other.merge(&other_sketch_of(&second)).unwrap();
            prop_assert_eq!(merged.count(), other.count() as u64);
        }
    }

    #[test]
    fn a_quantile_is_within_five_percent() {
        let mut sketch = LatencySketch::default();
        (1..=10_000).for_each(|ms| sketch.add(ms));
        for fraction in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let (estimate, exact) = (sketch.quantile(fraction).unwrap(), fraction * 10_000.0);
            assert!((estimate / exact - 1.0).abs() < 0.05, "{fraction}: {estimate}");
        }
        assert_eq!(LatencySketch::default().quantile(0.5), None);
        sketch.add(u64::MAX);
        sketch.add(0);
        assert_eq!(sketch.count(), 10_002);
    }

    #[test]
    fn parts_merge_to_the_whole_in_any_order_and_are_stored_as_they_are() {
        let mut parts = [LatencySketch::default(), LatencySketch::default()];
        let mut whole = LatencySketch::default();
        for ms in 0..500 {
            parts[usize::from(ms % 3 == 0)].add(ms * ms);
            whole.add(ms * ms);
        }
        let [mut a, mut b] = parts.clone();
        a.merge(&parts[1]);
        b.merge(&parts[0]);
        assert_eq!((&a, &b), (&whole, &whole));
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<LatencySketch>(&json).unwrap(), whole);
    }
}
