//! Who comes when with what: a seed in, a stream of arrivals out; no clock, no network.
//!
//! Arrivals are a Poisson process (gaps drawn from an exponential law) with bursts laid over it.
//! Users follow Zipf's law: few come often, most rarely. The same seed gives the same stream.

use std::time::Duration;

use rand::SeedableRng;
use rand_distr::{Distribution, Exp, Zipf};
use rand_pcg::Pcg64;

use super::texts::{Kind, Texts};

/// How often somebody arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// On average a second, bursts aside; above 0.
    pub(super) rate: f64,
    /// So many at once; 0 is no burst.
    pub(super) burst: u32,
    /// From one burst to the next, and from the start to the first; above 0.
    pub(super) burst_every: Duration,
}

/// One request to be made.
#[derive(Clone, PartialEq)]
pub(super) struct Arrival {
    /// After the start.
    pub(super) at: Duration,
    /// 1 to the number of users; the lower, the more often.
    pub(super) user: u32,
    /// What the text tries.
    pub(super) kind: Kind,
    /// What is sent.
    pub(super) text: String,
}

/// An endless stream of arrivals.
pub(super) struct Traffic {
    times: Times,
    users: Users,
    texts: Texts,
}

impl Traffic {
    /// `None` for a pace or a number of users out of range.
    pub(super) fn new(seed: u64, pace: Pace, users: u32) -> Option<Self> {
        // One generator each: more users, or another pace, leaves the texts as they were.
        let mut seeds = Pcg64::seed_from_u64(seed);
        let mut rng = || Pcg64::from_rng(&mut seeds);
        Some(Self {
            times: Times::new(rng(), pace)?,
            users: Users::new(rng(), users)?,
            texts: Texts::new(rng(), rng()),
        })
    }
}

impl Iterator for Traffic {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let at = self.times.next()?;
        let user = self.users.next()?;
        let (kind, text) = self.texts.next(at);
        Some(Arrival { at, user, kind, text })
    }
}

/// When they arrive, in order.
struct Times {
    rng: Pcg64,
    gaps: Exp<f64>,
    /// The next one of the process, in seconds.
    single: f64,
    burst: u32,
    burst_every: Duration,
    /// The next burst, and who of it is still to come.
    burst_at: Duration,
    burst_left: u32,
}

impl Times {
    fn new(mut rng: Pcg64, pace: Pace) -> Option<Self> {
        let Pace { rate, burst, burst_every } = pace;
        if !(rate.is_finite() && rate > 0.0) || burst_every.is_zero() {
            return None;
        }
        let gaps = Exp::new(rate).ok()?;
        let single = gaps.sample(&mut rng);
        Some(Self {
            rng,
            gaps,
            single,
            burst,
            burst_every,
            burst_at: burst_every,
            burst_left: burst,
        })
    }
}

impl Iterator for Times {
    type Item = Duration;

    /// `None` beyond what a [`Duration`] can hold.
    fn next(&mut self) -> Option<Duration> {
        let single = Duration::try_from_secs_f64(self.single).ok()?;
        if self.burst == 0 || single < self.burst_at {
            self.single += self.gaps.sample(&mut self.rng);
            return Some(single);
        }
        let at = self.burst_at;
        self.burst_left -= 1;
        if self.burst_left == 0 {
            self.burst_left = self.burst;
            self.burst_at = at.checked_add(self.burst_every)?;
        }
        Some(at)
    }
}

/// Who arrives.
struct Users {
    rng: Pcg64,
    law: Zipf<f64>,
}

impl Users {
    fn new(rng: Pcg64, count: u32) -> Option<Self> {
        Some(Self { rng, law: Zipf::new(f64::from(count), EXPONENT).ok()? })
    }
}

impl Iterator for Users {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        Some(self.law.sample(&mut self.rng) as u32)
    }
}

/// Of Zipf's law: a little steeper than the 1 of words, so that with 1,000 users the most frequent
/// one makes 18 % of the requests.
const EXPONENT: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 20.0, burst: 10, burst_every: Duration::from_secs(30) };

    fn rng() -> Pcg64 {
        Pcg64::seed_from_u64(1)
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_does_not() {
        let stream = |seed| -> Vec<Arrival> {
            Traffic::new(seed, PACE, 1000).unwrap().take(2_000).collect()
        };
        assert!(stream(7) == stream(7));
        assert!(stream(7) != stream(8));
    }

    #[test]
    fn another_pace_or_more_users_leave_the_texts_as_they_were() {
        let texts = |pace, users| -> Vec<String> {
            let traffic = Traffic::new(7, pace, users).unwrap();
            // Within the first second the limit on personal data cannot tell the paces apart.
            traffic.take(20).map(|arrival| arrival.text).collect()
        };
        let faster = Pace { rate: 40.0, ..PACE };
        assert_eq!(texts(PACE, 1000), texts(faster, 50));
    }

    #[test]
    fn the_mean_gap_is_the_rate_within_2_percent() {
        for rate in [0.5, 20.0, 1_000.0] {
            let times = Times::new(rng(), Pace { rate, burst: 0, ..PACE }).unwrap();
            let last = times.take(100_000).last().unwrap();
            let mean = last.as_secs_f64() / 100_000.0;
            assert!((mean * rate - 1.0).abs() < 0.02, "{rate}: {mean}");
        }
    }

    #[test]
    fn gaps_spread_as_far_as_their_mean() {
        // An exponential law's standard deviation is its mean:
        // https://en.wikipedia.org/wiki/Exponential_distribution
        let times = Times::new(rng(), Pace { burst: 0, ..PACE }).unwrap();
        let times: Vec<f64> = times.take(100_000).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|two| two[1] - two[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance} {mean}");
    }

    #[test]
    fn a_burst_comes_at_once_on_its_time_and_times_never_go_back() {
        let times: Vec<Duration> = Times::new(rng(), PACE).unwrap().take(3_000).collect();
        assert!(times.is_sorted());
        for burst in 1..=4 {
            let at = Duration::from_secs(30 * burst);
            assert_eq!(times.iter().filter(|time| **time == at).count(), 10, "{at:?}");
        }
        let none = Times::new(rng(), Pace { burst: 0, ..PACE }).unwrap();
        assert!(none.take(3_000).all(|time| time.subsec_nanos() != 0));
    }

    #[test]
    fn the_first_users_come_more_often_than_all_of_the_tail() {
        let mut counts = vec![0; 1001];
        for user in Users::new(rng(), 1000).unwrap().take(100_000) {
            counts[user as usize] += 1;
        }
        let sum = |range: std::ops::RangeInclusive<usize>| counts[range].iter().sum::<u32>();
        assert_eq!(sum(1..=1000), 100_000);
        assert!(counts[1] > counts[2] && counts[2] > counts[4]);
        assert!(sum(1..=10) > sum(501..=1000) * 3, "{}", sum(1..=10));
        // 1 over the sum of n^-1.1 for n up to 1000, which is 5.573.
        let first = f64::from(counts[1]) / 100_000.0;
        assert!((first - 0.1794).abs() < 0.01, "{first}");
        assert!(Users::new(rng(), 1).unwrap().take(100).all(|user| user == 1));
    }

    #[test]
    fn a_pace_without_meaning_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Traffic::new(1, Pace { rate, ..PACE }, 10).is_none(), "{rate}");
        }
        assert!(Traffic::new(1, Pace { burst_every: Duration::ZERO, ..PACE }, 10).is_none());
        assert!(Traffic::new(1, PACE, 0).is_none());
    }
}
