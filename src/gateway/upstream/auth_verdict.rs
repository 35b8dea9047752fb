//! The legacy system's verdict on a caller, and the verdicts that an isolate keeps.
//!
//! Before the canary answers, the gateway may ask the legacy system whether it would. Only a 2xx admits
//! the caller. Verdicts are cached by a keyed hash of all that the legacy system may decide by.

use std::collections::{BTreeMap, VecDeque};

use crate::rollout::signing_key::{SigningKey, TAG_BYTES};
use jeffrey_terms::UnixMs;
use serde::{Deserialize, Serialize};

/// Longest time for which a verdict that admits is cached, in seconds: a session that was ended stays
/// usable at the canary for as long.
pub const CACHE_S_MAX: u64 = 60;

/// Time for which a verdict that refuses is cached, in milliseconds; a shorter time for verdicts that
/// admit holds for both.
pub const REFUSED_CACHE_MS: u64 = 5_000;

/// Cached verdicts of an isolate; of more, the oldest is forgotten. A verdict takes about 100 bytes.
pub const VERDICTS_MAX: usize = 10_000;

/// Checks in a row without a response that pause the check: each makes its caller wait. A 5xx does not
/// count, because it comes at once and may be the fault of one caller's headers.
const FAILURES_MAX: u32 = 3;

/// Time for which no check is made after that, in milliseconds. The legacy system answers every call
/// meanwhile, without the wait for a check.
const PAUSE_MS: u64 = 5_000;

/// The legacy system's verdict on a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthVerdict {
    /// The check was answered with a 2xx.
    Admitted,
    /// The check was answered with another status, a redirect to a login page included.
    Refused,
    /// The check was answered with 429: the caller is above a limit of the legacy system.
    RateLimited,
    /// The check was answered with a 5xx or not at all, or it is paused after such failures.
    Unavailable,
}

impl AuthVerdict {
    /// All verdicts, in the order of their declaration.
    pub const ALL: [Self; 4] =
        [Self::Admitted, Self::Refused, Self::RateLimited, Self::Unavailable];

    /// Returns the verdict of a response to the check.
    pub const fn from_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Admitted,
            429 => Self::RateLimited,
            500..=u16::MAX => Self::Unavailable,
            _ => Self::Refused,
        }
    }

    /// Returns the name that events and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Key of a cached verdict: HMAC-SHA-256 of all that the legacy system may decide by.
type CallerKey = [u8; TAG_BYTES];

/// Verdicts of the legacy system that an isolate keeps, and its failures to give one.
#[derive(Debug, Default)]
pub struct AuthVerdictCache {
    /// Random key of the hashes, so that nothing outside the isolate can recognise credentials; `None`
    /// before the first verdict.
    key: Option<SigningKey>,
    verdicts: BTreeMap<CallerKey, CachedVerdict>,
    /// Keys in the order in which their verdicts were stored, with the time of storing.
    stored: VecDeque<(CallerKey, UnixMs)>,
    /// Checks in a row that had no response.
    failures: u32,
    /// Time of the last of [`FAILURES_MAX`] failures or more.
    paused_at: Option<UnixMs>,
}

#[derive(Clone, Copy, Debug)]
struct CachedVerdict {
    verdict: AuthVerdict,
    stored_at: UnixMs,
}

impl AuthVerdictCache {
    /// Returns the cached verdict on a caller; `None` if there is none that is recent enough.
    /// `cache_ms` is the time for which a verdict that admits holds.
    pub fn find(&self, caller: &[u8], cache_ms: u64, now: UnixMs) -> Option<AuthVerdict> {
        let cached = self.verdicts.get(&self.key.as_ref()?.compute_tag(caller))?;
        let age_ms_max = match cached.verdict {
            AuthVerdict::Admitted => cache_ms,
            _ => cache_ms.min(REFUSED_CACHE_MS),
        };
        let is_recent = now.0.abs_diff(cached.stored_at.0) < age_ms_max;
        is_recent.then_some(cached.verdict)
    }

    /// Stores a verdict on a caller, unless it may be another one at the next call: a limit that was
    /// reached, or a failure. `random` becomes the key if there is none yet.
    pub fn store(&mut self, caller: &[u8], verdict: AuthVerdict, random: [u8; 32], now: UnixMs) {
        if !matches!(verdict, AuthVerdict::Admitted | AuthVerdict::Refused) {
            return;
        }
        if self.key.is_none() {
            self.key = SigningKey::parse(random).ok();
        }
        let Some(key) = self.key.as_ref().map(|key| key.compute_tag(caller)) else { return };
        while self.stored.len() >= VERDICTS_MAX {
            let Some((oldest, stored_at)) = self.stored.pop_front() else { break };
            // A key that was stored again has a later entry.
            if self.verdicts.get(&oldest).is_some_and(|cached| cached.stored_at == stored_at) {
                self.verdicts.remove(&oldest);
            }
        }
        self.stored.push_back((key, now));
        self.verdicts.insert(key, CachedVerdict { verdict, stored_at: now });
    }

    /// Records whether a check had a response. Several in a row without one pause the check.
    pub fn record_response(&mut self, has_response: bool, now: UnixMs) {
        if has_response {
            (self.failures, self.paused_at) = (0, None);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.paused_at = Some(now);
        }
    }

    /// Returns whether the check is paused, because the legacy system did not give verdicts.
    pub fn is_paused(&self, now: UnixMs) -> bool {
        self.paused_at.is_some_and(|paused_at| now.0.abs_diff(paused_at.0) < PAUSE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; 32] = [7; 32];

    #[test]
    fn only_a_2xx_admits() {
        let rows = [
            (200, AuthVerdict::Admitted),
            (204, AuthVerdict::Admitted),
            (299, AuthVerdict::Admitted),
            (199, AuthVerdict::Refused),
            (302, AuthVerdict::Refused),
            (304, AuthVerdict::Refused),
            (401, AuthVerdict::Refused),
            (403, AuthVerdict::Refused),
            (404, AuthVerdict::Refused),
            (429, AuthVerdict::RateLimited),
            (500, AuthVerdict::Unavailable),
            (503, AuthVerdict::Unavailable),
        ];
        for (status, expected) in rows {
            assert_eq!(AuthVerdict::from_status(status), expected, "{status}");
        }
        for verdict in AuthVerdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }

    #[test]
    fn a_verdict_holds_for_its_time_and_a_refusal_for_five_seconds() {
        let mut cache = AuthVerdictCache::default();
        let now = UnixMs(1_000_000);
        cache.store(b"alice", AuthVerdict::Admitted, RANDOM, now);
        cache.store(b"mallory", AuthVerdict::Refused, RANDOM, now);
        cache.store(b"busy", AuthVerdict::RateLimited, RANDOM, now);
        cache.store(b"away", AuthVerdict::Unavailable, RANDOM, now);
        let find = |caller: &[u8], cache_ms, later_ms: i64| {
            cache.find(caller, cache_ms, UnixMs(now.0.saturating_add_signed(later_ms)))
        };
        let rows = [
            ("alice", 60_000, 59_999, Some(AuthVerdict::Admitted)),
            ("alice", 60_000, 60_000, None),
            // The clock was set back.
            ("alice", 60_000, -60_000, None),
            ("alice", 0, 0, None),
            ("mallory", 60_000, 4_999, Some(AuthVerdict::Refused)),
            ("mallory", 60_000, 5_000, None),
            ("mallory", 2_000, 2_000, None),
            ("mallory", 0, 0, None),
            ("busy", 60_000, 0, None),
            ("away", 60_000, 0, None),
            ("bob", 60_000, 0, None),
        ];
        for (caller, cache_ms, later_ms, expected) in rows {
            let found = find(caller.as_bytes(), cache_ms, later_ms);
            assert_eq!(found, expected, "{caller} {cache_ms} {later_ms}");
        }
    }

    #[test]
    fn a_flood_of_callers_forgets_the_oldest_and_keeps_its_bound() {
        let mut cache = AuthVerdictCache::default();
        let caller = |number: usize| number.to_le_bytes();
        for number in 0..2 * VERDICTS_MAX {
            cache.store(&caller(number), AuthVerdict::Admitted, RANDOM, UnixMs(number as u64));
            // A caller who comes again and again takes one place in the end.
            cache.store(&caller(0), AuthVerdict::Admitted, RANDOM, UnixMs(number as u64));
        }
        assert!(cache.verdicts.len() <= VERDICTS_MAX && cache.stored.len() <= VERDICTS_MAX);
        let now = UnixMs(2 * VERDICTS_MAX as u64);
        let is_known = |number| cache.find(&caller(number), 60_000, now).is_some();
        assert!(is_known(0) && is_known(2 * VERDICTS_MAX - 1) && !is_known(1));
    }

    #[test]
    fn three_checks_without_a_response_pause_the_check_for_five_seconds() {
        let mut cache = AuthVerdictCache::default();
        for has_response in [false, false, true, false, false] {
            cache.record_response(has_response, UnixMs(0));
            assert!(!cache.is_paused(UnixMs(0)), "{has_response}");
        }
        cache.record_response(false, UnixMs(10_000));
        assert!(cache.is_paused(UnixMs(10_000)) && cache.is_paused(UnixMs(14_999)));
        assert!(!cache.is_paused(UnixMs(15_000)));
        // The next failure pauses it again at once, and a response ends that.
        cache.record_response(false, UnixMs(15_000));
        assert!(cache.is_paused(UnixMs(15_001)));
        cache.record_response(true, UnixMs(15_001));
        assert!(!cache.is_paused(UnixMs(15_001)));
    }
}
