//! `jeffrey token`: a signed permission to choose one's cohort.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{CliError, ExitStatus};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::override_token::{OverridePermission, VALID_MS_MAX, sign};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_terms::UnixMs;

/// The variable that holds the key: a flag would stand in the list of processes.
const KEY_VARIABLE: &str = "JEFFREY_OVERRIDE_KEY";

/// Make a token that lets its bearer choose the cohort
#[derive(clap::Args)]
#[command(
    after_help = "The key is read from the environment variable JEFFREY_OVERRIDE_KEY; the gate holds \
                  the same as a secret. The token is bound to one release and ends by itself. It is \
                  sent in `x-jeffrey-token`, beside `x-jeffrey-cohort: canary` or `stable`.\n\n\
                  Example:\n  \
                  jeffrey token --release e1-small --valid 30m"
)]
pub(super) struct TokenArguments {
    /// The release it opens
    #[arg(long, value_name = "R")]
    release: ReleaseName,
    /// How long it is valid, such as 90s, 30m or 24h; 24h at most
    #[arg(long, value_name = "TIME", value_parser = parse_validity, default_value = "1h")]
    valid: Duration,
    /// It also opens a release that was killed or rolled back
    #[arg(long)]
    allow_rolled_back: bool,
    /// One JSON object with the token and its end
    #[arg(long)]
    json: bool,
}

/// A time of one whole number and its unit, above 0 and within what a token may last.
fn parse_validity(text: &str) -> Result<Duration, ValidityError> {
    let unit_seconds = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 60 * 60,
        _ => return Err(ValidityError::Form { time: text.to_owned() }),
    };
    let number: u64 = text[..text.len() - 1]
        .parse()
        .map_err(|_| ValidityError::Form { time: text.to_owned() })?;
    let validity = Duration::from_secs(number.saturating_mul(unit_seconds));
    if validity.is_zero() || validity > Duration::from_millis(VALID_MS_MAX) {
        return Err(ValidityError::Range { time: text.to_owned() });
    }
    Ok(validity)
}

/// A time that no token can have.
#[derive(Debug, thiserror::Error)]
enum ValidityError {
    #[error("time `{time}` is not a whole number of s, m or h")]
    Form { time: String },
    #[error("time {time} is not above 0 and at most 24h")]
    Range { time: String },
}

#[derive(Serialize)]
struct TokenOutput<'a> {
    token: &'a str,
    release: &'a str,
    expires_ms: u64,
    allow_rolled_back: bool,
}

pub(super) fn run(arguments: &TokenArguments) -> Result<ExitStatus, CliError> {
    let key = std::env::var(KEY_VARIABLE)
        .map_err(|_| CliError::Usage("JEFFREY_OVERRIDE_KEY is not set"))?;
    let key =
        SigningKey::parse(key).map_err(|error| CliError::Key { name: KEY_VARIABLE, error })?;
    let TokenArguments { release, valid, allow_rolled_back, json } = arguments;
    let expires = UnixMs(wall_clock_now().0 + valid.as_millis() as u64);
    let permission = OverridePermission {
        release: release.clone(),
        expires_at: expires,
        allow_rolled_back: *allow_rolled_back,
    };
    let token = sign(&permission, &key);
    let mut output = io::stdout().lock();
    if *json {
        let token_output = TokenOutput {
            token: &token,
            release: release.as_str(),
            expires_ms: expires.0,
            allow_rolled_back: *allow_rolled_back,
        };
        serde_json::to_writer(&mut output, &token_output)?;
        output.write_all(b"\n")?;
    } else {
        writeln!(output, "{token}")?;
    }
    Ok(ExitStatus::Success)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the command line")]
pub(super) fn wall_clock_now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(since_epoch.as_millis() as u64)
}
