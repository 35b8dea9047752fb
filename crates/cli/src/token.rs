//! `jeffrey token`: a signed permission to choose one's cohort.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Outcome, Stop};
use jeffrey_edge::rollout::bucket::Release;
use jeffrey_edge::rollout::key::Key;
use jeffrey_edge::rollout::token::{Permission, VALID_MS_MAX, sign};
use jeffrey_terms::UnixMs;

/// The variable that holds the key: a flag would stand in the list of processes.
const KEY: &str = "JEFFREY_OVERRIDE_KEY";

/// Make a token that lets its bearer choose the cohort
#[derive(clap::Args)]
#[command(
    after_help = "The key is read from the environment variable JEFFREY_OVERRIDE_KEY; the gate holds \
                  the same as a secret. The token is bound to one release and ends by itself. It is \
                  sent in `x-jeffrey-token`, beside `x-jeffrey-cohort: canary` or `stable`.\n\n\
                  Example:\n  \
                  jeffrey token --release e1-small --valid 30m"
)]
pub(super) struct Arguments {
    /// The release it opens
    #[arg(long, value_name = "R")]
    release: Release,
    /// How long it is valid, such as 90s, 30m or 24h; 24h at most
    #[arg(long, value_name = "TIME", value_parser = valid, default_value = "1h")]
    valid: Duration,
    /// It also opens a release that was killed or rolled back
    #[arg(long)]
    allow_rolled_back: bool,
    /// One JSON object with the token and its end
    #[arg(long)]
    json: bool,
}

/// A time of one whole number and its unit, above 0 and within what a token may last.
fn valid(text: &str) -> Result<Duration, TimeError> {
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 60 * 60,
        _ => return Err(TimeError::Form { time: text.to_owned() }),
    };
    let number: u64 =
        text[..text.len() - 1].parse().map_err(|_| TimeError::Form { time: text.to_owned() })?;
    let time = Duration::from_secs(number.saturating_mul(unit));
    if time.is_zero() || time > Duration::from_millis(VALID_MS_MAX) {
        return Err(TimeError::Range { time: text.to_owned() });
    }
    Ok(time)
}

/// A time that no token can have.
#[derive(Debug, thiserror::Error)]
enum TimeError {
    #[error("time `{time}` is not a whole number of s, m or h")]
    Form { time: String },
    #[error("time {time} is not above 0 and at most 24h")]
    Range { time: String },
}

#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    release: &'a str,
    expires_ms: u64,
    allow_rolled_back: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let key = std::env::var(KEY).map_err(|_| Stop::Usage("JEFFREY_OVERRIDE_KEY is not set"))?;
    let key = Key::parse(key).map_err(|error| Stop::Key { name: KEY, error })?;
    let Arguments { release, valid, allow_rolled_back, json } = arguments;
    let expires = UnixMs(now().0 + valid.as_millis() as u64);
    let permission =
        Permission { release: release.clone(), expires, allow_rolled_back: *allow_rolled_back };
    let token = sign(&permission, &key);
    let mut output = io::stdout().lock();
    if *json {
        let answer = Answer {
            token: &token,
            release: release.as_str(),
            expires_ms: expires.0,
            allow_rolled_back: *allow_rolled_back,
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
    } else {
        writeln!(output, "{token}")?;
    }
    Ok(Outcome::Fine)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the command line")]
pub(super) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(since.as_millis() as u64)
}
