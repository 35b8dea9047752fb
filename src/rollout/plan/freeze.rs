//! Freezes: times of the week at which no share increases, such as nights and weekends.
//!
//! A freeze does not stop gates and rollbacks. Its times are read in its own time zone; the tz
//! database is compiled in, so that a plan means the same on every host.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use jeffrey_terms::UnixMs;

/// Days of the week and the time of day at which a freeze begins and ends. It ends on the next day
/// if `to` is not after `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Days on which it begins, Monday first.
    pub days: [bool; 7],
    /// Minute of the day at which it begins, 0 to 1,439.
    pub from: u16,
    /// Minute of the day at which it ends, up to 1,440 for midnight.
    pub to: u16,
    /// Time zone of `from` and `to`.
    pub zone: Zone,
}

/// Time zone: an offset from UTC, or the rules of a zone in the tz database, daylight saving time
/// included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Zone {
    /// Name of the zone, as the database spells it.
    Named(String),
    /// Minutes to add to UTC, −720 to 840.
    Offset(i16),
}

/// Error for a text that is neither an offset from UTC nor the name of a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zone `{text}` is neither an offset such as +01:00 nor a name such as Europe/Paris")]
pub struct ZoneError {
    text: String,
}

impl Zone {
    /// Coordinated universal time, the default of a freeze.
    pub const UTC: Self = Self::Offset(0);

    /// Returns the minutes to add to UTC at a time.
    pub fn offset_minutes(&self, time: UnixMs) -> i64 {
        let name = match self {
            Self::Offset(minutes) => return i64::from(*minutes),
            Self::Named(name) => name,
        };
        let timestamp =
            i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let zone = find_time_zone(name);
        zone.zip(timestamp).map_or(0, |(zone, at)| i64::from(zone.to_offset(at).seconds()) / 60)
    }
}

fn find_time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let error = || ZoneError { text: text.to_owned() };
        let sign = match text.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => {
                let zone = find_time_zone(text).ok_or_else(error)?;
                return zone.iana_name().map(|name| Self::Named(name.to_owned())).ok_or_else(error);
            }
        };
        let minutes = parse_clock_minutes(&text[1..]).ok_or_else(error)? as i16 * sign;
        if (-720..=840).contains(&minutes) { Ok(Self::Offset(minutes)) } else { Err(error()) }
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(text: String) -> Result<Self, ZoneError> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Offset(minutes) => {
                let sign = if *minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

impl Freeze {
    /// Returns whether the freeze is active at `now`.
    pub fn is_active(&self, now: UnixMs) -> bool {
        // 1970-01-01 was a Thursday: day 3, counted from Monday.
        let minutes = (now.0 / 60_000) as i64 + self.zone.offset_minutes(now) + 3 * 1_440;
        self.is_active_at(minutes.rem_euclid(i64::from(MINUTES_PER_WEEK)) as u32)
    }

    /// Returns whether two freezes have a minute of some week in common. The zones' rules are
    /// compared over 2026 and 2027.
    pub fn overlaps(&self, other: &Self) -> bool {
        let shift = |day: u64| {
            let time = UnixMs(day * 86_400_000);
            self.zone.offset_minutes(time) - other.zone.offset_minutes(time)
        };
        let shifts: BTreeSet<i64> = DAYS_COMPARED.map(shift).collect();
        let week = i64::from(MINUTES_PER_WEEK);
        shifts.into_iter().any(|shift| {
            (0..week).any(|minute| {
                let other_minute = (minute - shift).rem_euclid(week) as u32;
                self.is_active_at(minute as u32) && other.is_active_at(other_minute)
            })
        })
    }

    fn is_active_at(&self, minute: u32) -> bool {
        self.weekly_spans().any(|(from, to)| {
            (from..to).contains(&minute) || (from..to).contains(&(minute + MINUTES_PER_WEEK))
        })
    }

    /// Returns the spans in minutes of the week, the end excluded; an end may lie in the next week.
    fn weekly_spans(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let length = match (u32::from(self.to), u32::from(self.from)) {
            (to, from) if to > from => to - from,
            (to, from) => to + MINUTES_PER_DAY - from,
        };
        (0..7_u32).filter(|day| self.days[*day as usize]).map(move |day| {
            let from = day * MINUTES_PER_DAY + u32::from(self.from);
            (from, from + length)
        })
    }
}

/// The two years from 2026 on, in days since 1970: they contain every combination of two zones'
/// daylight saving times.
const DAYS_COMPARED: std::ops::Range<u64> = 20_454..21_184;
const MINUTES_PER_DAY: u32 = 24 * 60;
const MINUTES_PER_WEEK: u32 = 7 * MINUTES_PER_DAY;

/// Parses a time of day as minutes: `16:30` is 990.
pub(super) fn parse_clock_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2);
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours.min(100) * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weekend() -> Freeze {
        Freeze {
            days: [false, false, false, false, true, true, true],
            from: 16 * 60,
            to: 8 * 60,
            zone: Zone::Offset(60),
        }
    }

    fn monday(from: u16, to: u16, zone: Zone) -> Freeze {
        Freeze { days: [true, false, false, false, false, false, false], from, to, zone }
    }

    #[test]
    fn a_freeze_past_midnight_holds_in_its_own_zone() {
        // 2026-11-20 was a Friday; its midnight UTC is 1,795,132,800 s.
        let friday = 1_795_132_800_000;
        let time_at = |hours: u64, minutes: u64| UnixMs(friday + (hours * 60 + minutes) * 60_000);
        let rows = [
            (time_at(14, 59), false),
            (time_at(15, 0), true),
            (time_at(23, 30), true),
            (time_at(30, 59), true),
            (time_at(31, 0), false),
            (time_at(39, 0), true),
            // The freeze of Sunday lasts into Monday morning.
            (time_at(72 + 6, 59), true),
            (time_at(72 + 7, 0), false),
            (time_at(72 + 15, 0), false),
        ];
        for zone in [Zone::Offset(60), "Europe/Paris".parse().unwrap()] {
            let freeze = Freeze { zone, ..weekend() };
            for (now, expected) in rows {
                assert_eq!(freeze.is_active(now), expected, "{now:?} {}", freeze.zone);
            }
        }
    }

    #[test]
    fn a_named_zone_keeps_its_summer_time() {
        let paris: Zone = "Europe/Paris".parse().unwrap();
        // Paris changes its clocks at 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC.
        let rows = [
            (1_774_745_999_000, 60),
            (1_774_746_000_000, 120),
            (1_792_889_999_000, 120),
            (1_792_890_000_000, 60),
        ];
        for (time_ms, minutes) in rows {
            assert_eq!(paris.offset_minutes(UnixMs(time_ms)), minutes, "{time_ms}");
        }
        let eight = Freeze { days: [true; 7], from: 480, to: 540, zone: paris };
        // 2026-07-01 and 2026-12-01, 06:30 UTC and 07:30 UTC.
        let summer = 1_782_887_400_000;
        let winter = 1_796_106_600_000;
        let hour = 3_600_000;
        assert!(eight.is_active(UnixMs(summer)) && !eight.is_active(UnixMs(summer + hour)));
        assert!(!eight.is_active(UnixMs(winter)) && eight.is_active(UnixMs(winter + hour)));
    }

    #[test]
    fn a_zone_is_written_as_it_is_read() {
        for text in ["+01:00", "-11:30", "+00:00", "Europe/Paris", "America/New_York", "UTC"] {
            let zone: Zone = text.parse().unwrap();
            assert_eq!(zone.to_string(), text);
            let json = serde_json::to_string(&zone).unwrap();
            assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone);
        }
        for bad in ["", "+1", "+15:00", "-12:01", "+é0:00", "Europe/Pariss", "01:00"] {
            assert!(bad.parse::<Zone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn freezes_that_share_a_minute_overlap() {
        // The freeze of Sunday lasts until Monday 08:00.
        let early = monday(0, 480, Zone::Offset(60));
        assert!(weekend().overlaps(&early));
        assert!(early.overlaps(&weekend()));
        let later = monday(480, 540, Zone::Offset(60));
        assert!(!weekend().overlaps(&later));
        assert!(weekend().overlaps(&Freeze { zone: Zone::Offset(120), ..later.clone() }));
        // Paris is at +02:00 in summer only.
        let paris: Zone = "Europe/Paris".parse().unwrap();
        assert!(weekend().overlaps(&Freeze { zone: paris.clone(), ..later.clone() }));
        let afternoon = monday(600, 660, paris);
        assert!(!weekend().overlaps(&afternoon));
    }
}
