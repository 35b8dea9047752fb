//! Arrivals of a load test: which user sends which text at what time.
//!
//! Takes a seed and returns a stream of arrivals; uses no clock and no network. Arrivals are a
//! Poisson process (gaps drawn from an exponential distribution) with additional bursts. Users
//! follow Zipf's law: few send often, most send rarely. The same seed gives the same stream.

use std::time::Duration;

use rand::SeedableRng;
use rand_distr::{Distribution, Exp, Zipf};
use rand_pcg::Pcg64;

use super::texts::{TextGenerator, TextKind};

/// Rate of the arrivals, with bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ArrivalPattern {
    /// Mean arrivals per second without bursts; above 0.
    pub(super) rate_per_second: f64,
    /// Requests in one burst; 0 disables bursts.
    pub(super) burst_size: u32,
    /// Time between two bursts, and from the start to the first burst; above 0.
    pub(super) burst_interval: Duration,
}

/// One request that the load test sends.
#[derive(Clone, PartialEq)]
pub(super) struct Arrival {
    /// Time of the arrival after the start.
    pub(super) offset: Duration,
    /// Number of the user, from 1; lower numbers send more often.
    pub(super) user: u32,
    /// Kind of the text to send.
    pub(super) kind: TextKind,
    /// Text to send; may be empty.
    pub(super) text: String,
}

/// Endless stream of arrivals in order of time.
pub(super) struct ArrivalStream {
    times: ArrivalTimes,
    users: UserSampler,
    texts: TextGenerator,
}

impl ArrivalStream {
    /// Creates the stream of a seed; `None` when the pattern or the number of users is out of
    /// range.
    pub(super) fn new(seed: u64, pattern: ArrivalPattern, users: u32) -> Option<Self> {
        // Each part has its own generator: more users or another rate do not change the texts.
        let mut seeds = Pcg64::seed_from_u64(seed);
        let mut rng = || Pcg64::from_rng(&mut seeds);
        Some(Self {
            times: ArrivalTimes::new(rng(), pattern)?,
            users: UserSampler::new(rng(), users)?,
            texts: TextGenerator::new(rng(), rng()),
        })
    }
}

impl Iterator for ArrivalStream {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let offset = self.times.next()?;
        let user = self.users.next()?;
        let (kind, text) = self.texts.next_text(offset);
        Some(Arrival { offset, user, kind, text })
    }
}

/// Times of the arrivals after the start, in ascending order.
struct ArrivalTimes {
    rng: Pcg64,
    gaps: Exp<f64>,
    /// Time of the next arrival outside bursts, in seconds.
    next_single_seconds: f64,
    burst_size: u32,
    burst_interval: Duration,
    /// Time of the current or next burst.
    next_burst: Duration,
    /// Requests of that burst that are not returned yet.
    burst_remaining: u32,
}

impl ArrivalTimes {
    fn new(mut rng: Pcg64, pattern: ArrivalPattern) -> Option<Self> {
        let ArrivalPattern { rate_per_second, burst_size, burst_interval } = pattern;
        if !(rate_per_second.is_finite() && rate_per_second > 0.0) || burst_interval.is_zero() {
            return None;
        }
        let gaps = Exp::new(rate_per_second).ok()?;
        let next_single_seconds = gaps.sample(&mut rng);
        Some(Self {
            rng,
            gaps,
            next_single_seconds,
            burst_size,
            burst_interval,
            next_burst: burst_interval,
            burst_remaining: burst_size,
        })
    }
}

impl Iterator for ArrivalTimes {
    type Item = Duration;

    /// Returns the next time; `None` when a [`Duration`] cannot hold it.
    fn next(&mut self) -> Option<Duration> {
        let single = Duration::try_from_secs_f64(self.next_single_seconds).ok()?;
        if self.burst_size == 0 || single < self.next_burst {
            self.next_single_seconds += self.gaps.sample(&mut self.rng);
            return Some(single);
        }
        let burst_time = self.next_burst;
        self.burst_remaining -= 1;
        if self.burst_remaining == 0 {
            self.burst_remaining = self.burst_size;
            self.next_burst = burst_time.checked_add(self.burst_interval)?;
        }
        Some(burst_time)
    }
}

/// Sampler of user numbers by Zipf's law.
struct UserSampler {
    rng: Pcg64,
    distribution: Zipf<f64>,
}

impl UserSampler {
    fn new(rng: Pcg64, user_count: u32) -> Option<Self> {
        Some(Self { rng, distribution: Zipf::new(f64::from(user_count), ZIPF_EXPONENT).ok()? })
    }
}

impl Iterator for UserSampler {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        Some(self.distribution.sample(&mut self.rng) as u32)
    }
}

/// Exponent of Zipf's law. It is a little above the 1 of word frequencies, so that with 1,000 users
/// the most active user sends 18 % of the requests.
const ZIPF_EXPONENT: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN: ArrivalPattern = ArrivalPattern {
        rate_per_second: 20.0,
        burst_size: 10,
        burst_interval: Duration::from_secs(30),
    };

    fn rng() -> Pcg64 {
        Pcg64::seed_from_u64(1)
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_does_not() {
        let stream = |seed| -> Vec<Arrival> {
            ArrivalStream::new(seed, PATTERN, 1000).unwrap().take(2_000).collect()
        };
        assert!(stream(7) == stream(7));
        assert!(stream(7) != stream(8));
    }

    #[test]
    fn another_rate_or_more_users_leave_the_texts_as_they_were() {
        let texts = |pattern, users| -> Vec<String> {
            let traffic = ArrivalStream::new(7, pattern, users).unwrap();
            // Within the first second the limit on personal data does not depend on the rate.
            traffic.take(20).map(|arrival| arrival.text).collect()
        };
        let faster = ArrivalPattern { rate_per_second: 40.0, ..PATTERN };
        assert_eq!(texts(PATTERN, 1000), texts(faster, 50));
    }

    #[test]
    fn the_mean_gap_is_the_rate_within_2_percent() {
        for rate in [0.5, 20.0, 1_000.0] {
            let times = ArrivalTimes::new(
                rng(),
                ArrivalPattern { rate_per_second: rate, burst_size: 0, ..PATTERN },
            )
            .unwrap();
            let last = times.take(100_000).last().unwrap();
            let mean = last.as_secs_f64() / 100_000.0;
            assert!((mean * rate - 1.0).abs() < 0.02, "{rate}: {mean}");
        }
    }

    #[test]
    fn gaps_spread_as_far_as_their_mean() {
        // The standard deviation of an exponential distribution is its mean:
        // https://en.wikipedia.org/wiki/Exponential_distribution
        let times = ArrivalTimes::new(rng(), ArrivalPattern { burst_size: 0, ..PATTERN }).unwrap();
        let times: Vec<f64> = times.take(100_000).map(|time| time.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance} {mean}");
    }

    #[test]
    fn a_burst_comes_at_once_on_its_time_and_times_never_go_back() {
        let times: Vec<Duration> = ArrivalTimes::new(rng(), PATTERN).unwrap().take(3_000).collect();
        assert!(times.is_sorted());
        for burst in 1..=4 {
            let burst_time = Duration::from_secs(30 * burst);
            assert_eq!(
                times.iter().filter(|time| **time == burst_time).count(),
                10,
                "{burst_time:?}"
            );
        }
        let no_bursts =
            ArrivalTimes::new(rng(), ArrivalPattern { burst_size: 0, ..PATTERN }).unwrap();
        assert!(no_bursts.take(3_000).all(|time| time.subsec_nanos() != 0));
    }

    #[test]
    fn the_first_users_come_more_often_than_all_of_the_tail() {
        let mut counts = vec![0; 1001];
        for user in UserSampler::new(rng(), 1000).unwrap().take(100_000) {
            counts[user as usize] += 1;
        }
        let sum = |range: std::ops::RangeInclusive<usize>| counts[range].iter().sum::<u32>();
        assert_eq!(sum(1..=1000), 100_000);
        assert!(counts[1] > counts[2] && counts[2] > counts[4]);
        assert!(sum(1..=10) > sum(501..=1000) * 3, "{}", sum(1..=10));
        // 1 over the sum of n^-1.1 for n up to 1000, which is 5.573.
        let first = f64::from(counts[1]) / 100_000.0;
        assert!((first - 0.1794).abs() < 0.01, "{first}");
        assert!(UserSampler::new(rng(), 1).unwrap().take(100).all(|user| user == 1));
    }

    #[test]
    fn an_arrival_pattern_out_of_range_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(
                ArrivalStream::new(1, ArrivalPattern { rate_per_second: rate, ..PATTERN }, 10)
                    .is_none(),
                "{rate}"
            );
        }
        assert!(
            ArrivalStream::new(1, ArrivalPattern { burst_interval: Duration::ZERO, ..PATTERN }, 10)
                .is_none()
        );
        assert!(ArrivalStream::new(1, PATTERN, 0).is_none());
    }
}
