//! `jeffrey token`: creates a signed token that lets its holder choose the cohort.
//!
//! The signing key comes from the environment. The token is valid for one release and for at most
//! 24 hours; a key shorter than 16 bytes is refused.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::duration::{DurationError, parse_duration_within};
use super::{CliError, ExitStatus};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::override_token::{OverridePermission, VALID_MS_MAX, sign};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_terms::UnixMs;

/// Environment variable with the signing key; a flag would show the key in the process list.
const KEY_VARIABLE: &str = "JEFFREY_OVERRIDE_SIGNING_KEY";

/// Create a cohort override token
#[derive(clap::Args)]
#[command(
    after_help = "Signs with JEFFREY_OVERRIDE_SIGNING_KEY, the same secret that the gateway has. The token is \
                  a JSON Web Token (HS256), valid for one release, and expires. Send it in `x-jeffrey-token`, together with \
                  `x-jeffrey-cohort: canary` or `stable`.\n\n\
                  Example:\n  \
                  jeffrey token --release e1-small --expires-in 30m"
)]
pub(super) struct TokenArguments {
    /// Release that the token is valid for
    #[arg(long, value_name = "R")]
    release: ReleaseName,
    /// Lifetime, such as 90s, 30m or 24h (maximum 24h)
    #[arg(long, value_name = "TIME", value_parser = parse_validity, default_value = "1h")]
    expires_in: Duration,
    /// Also allow canary responses of a release that was killed or rolled back
    #[arg(long)]
    allow_rolled_back: bool,
    /// Print one JSON object with the token and its expiry
    #[arg(long)]
    json: bool,
}

/// Parses a lifetime of a second to [`VALID_MS_MAX`].
fn parse_validity(text: &str) -> Result<Duration, DurationError> {
    parse_duration_within(text, Duration::from_secs(1)..=Duration::from_millis(VALID_MS_MAX))
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
        .map_err(|_| CliError::Usage("JEFFREY_OVERRIDE_SIGNING_KEY is not set"))?;
    let key =
        SigningKey::parse(key).map_err(|error| CliError::Key { name: KEY_VARIABLE, error })?;
    let TokenArguments { release, expires_in, allow_rolled_back, json } = arguments;
    let expires = UnixMs(wall_clock_now().0 + expires_in.as_millis() as u64);
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
