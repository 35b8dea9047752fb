//! Parses the value of one variable.

use crate::gateway::export::sink::SinkError;
use crate::gateway::notify::webhook::WebhookError;
use crate::gateway::upstream::json_pointer::{JsonPointer, JsonPointerError};
use crate::rollout::bucket::ReleaseNameError;
use crate::rollout::signing_key::{SigningKey, SigningKeyError};
use jeffrey_terms::{Cohort, Share, ShareError, Subject, SubjectError};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum VariableError {
    #[error("it is called {name} now")]
    Renamed { name: &'static str },
    #[error("`{value}` is not one of {expected}")]
    UnknownChoice { value: String, expected: &'static str },
    #[error("`{value}` is not METHOD /path, or several of them with commas between")]
    InvalidClassifyRoute { value: String },
    #[error("entry {number} is not SUBJECT=canary or SUBJECT=stable")]
    InvalidCohortOverride { number: usize },
    #[error("entry {number}: {error}")]
    InvalidOverrideSubject { number: usize, error: SubjectError },
    #[error("`{value}` is not the name of a header")]
    InvalidHeaderName { value: String },
    #[error("{0}")]
    InvalidKey(#[from] SigningKeyError),
    #[error("holds {keys} keys, the most is 2: the old one and the new one of a rotation")]
    TooManyKeys { keys: usize },
    #[error("`{value}` is not http:// or https:// with a host and nothing after it")]
    InvalidOrigin { value: String },
    #[error("an origin with a user in it is not taken, nor shown")]
    OriginWithUser,
    #[error("it is not set and there is no service binding LEGACY")]
    MissingOrigin,
    #[error("{0}")]
    InvalidPointer(#[from] JsonPointerError),
    #[error("`{value}` is not a path such as /_jeffrey")]
    InvalidPrefix { value: String },
    #[error("`{value}` is not a whole number from {least} to {most}")]
    OutOfRange { value: String, least: u64, most: u64 },
    #[error("`{value}` is neither `off` nor a whole number from {least} to {most}")]
    OutOfRangeOrOff { value: String, least: u64, most: u64 },
    #[error("{0}")]
    InvalidRelease(#[from] ReleaseNameError),
    #[error("{0}")]
    InvalidShare(#[from] ShareError),
    #[error("{0}")]
    InvalidSinks(#[from] SinkError),
    #[error("{0}")]
    InvalidWebhooks(#[from] WebhookError),
    #[error("a text is needed to classify")]
    MissingTextPointer,
    #[error(
        "it is not set: who may be answered? `none_required` if the legacy system answers anybody, \
         `check` to ask it, `credentials_stay_stable` to leave every call with credentials to it"
    )]
    MissingCanaryAuth,
    #[error(
        "it is not set, and CANARY_AUTH=check needs it: METHOD /path of a request that the legacy \
         system answers with a 2xx exactly if it would answer the caller"
    )]
    MissingAuthCheck,
    #[error(
        "it is not set, and a verdict that is used again needs it: name every header that the legacy \
         system decides by, or set CANARY_AUTH_CACHE=0"
    )]
    MissingAuthHeaders,
    #[error("it is not set, and SUBJECT_TRUST=secret needs it: no server could name a subject")]
    MissingSubjectSecret,
    #[error("`{value}` is not METHOD /path, such as GET /session")]
    InvalidRoute { value: String },
}

impl VariableError {
    /// Returns whether the message may show a part of the value.
    pub(in crate::gateway) const fn shows_value(&self) -> bool {
        !matches!(
            self,
            Self::Renamed { .. }
                | Self::InvalidCohortOverride { .. }
                | Self::OriginWithUser
                | Self::MissingAuthCheck
                | Self::MissingAuthHeaders
                | Self::MissingCanaryAuth
                | Self::MissingOrigin
                | Self::MissingSubjectSecret
                | Self::MissingTextPointer
                | Self::TooManyKeys { .. }
        )
    }
}

pub(in crate::gateway) fn truncate(value: &str) -> String {
    value.chars().take(40).collect()
}

pub(in crate::gateway) fn parse_choice<T: Copy>(
    value: &str,
    expected: &'static str,
    choices: &[(&str, T)],
) -> Result<T, VariableError> {
    let choice = choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
    choice.ok_or_else(|| VariableError::UnknownChoice { value: truncate(value), expected })
}

pub(in crate::gateway) fn parse_switch(value: &str) -> Result<bool, VariableError> {
    parse_choice(value, "on, off", &[("on", true), ("off", false)])
}

pub(in crate::gateway) fn parse_number(
    value: &str,
    least: u64,
    most: u64,
) -> Result<u64, VariableError> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| VariableError::OutOfRange { value: truncate(value), least, most })
}

/// Parses a number that `off` leaves out.
pub(in crate::gateway) fn parse_number_or_off(
    value: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, VariableError> {
    if value == "off" {
        return Ok(None);
    }
    parse_number(value, least, most).map(Some).map_err(|_| VariableError::OutOfRangeOrOff {
        value: truncate(value),
        least,
        most,
    })
}

pub(in crate::gateway) fn parse_share(value: &str) -> Result<Share, VariableError> {
    Ok(value.parse()?)
}

/// Parses a JSON pointer; a dash stands for a field that the legacy system does not have.
pub(in crate::gateway) fn parse_pointer(value: &str) -> Result<Option<JsonPointer>, VariableError> {
    if value == "-" { Ok(None) } else { Ok(Some(JsonPointer::parse(value)?)) }
}

pub(in crate::gateway) fn parse_text_pointer(value: &str) -> Result<JsonPointer, VariableError> {
    parse_pointer(value)?.ok_or(VariableError::MissingTextPointer)
}

pub(in crate::gateway) fn parse_classify_routes(
    value: &str,
) -> Result<Vec<(String, String)>, VariableError> {
    let parse_route = |entry| parse_route(entry).filter(|(_, path)| !path.contains('?'));
    let routes: Option<Vec<_>> = value.split(',').map(parse_route).collect();
    routes.ok_or_else(|| VariableError::InvalidClassifyRoute { value: truncate(value) })
}

/// Parses a method in capitals and a path, which may have a query; `None` if `value` is empty.
pub(in crate::gateway) fn parse_optional_route(
    value: &str,
) -> Result<Option<(String, String)>, VariableError> {
    if value.is_empty() {
        return Ok(None);
    }
    let route = parse_route(value).map(Some);
    route.ok_or_else(|| VariableError::InvalidRoute { value: truncate(value) })
}

fn parse_route(entry: &str) -> Option<(String, String)> {
    let (method, path) = entry.trim().split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    let path = path.trim();
    let is_path = path.starts_with('/') && !path.contains(['#', ' ']);
    (is_method && is_path).then(|| (method.to_owned(), path.to_owned()))
}

/// Returns the entries of a comma-separated list, without white space around them; empty ones are left out.
fn list_entries(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Parses a comma-separated list of origins, written as browsers send them.
pub(in crate::gateway) fn parse_origins(value: &str) -> Result<Vec<String>, VariableError> {
    list_entries(value).filter_map(|entry| parse_origin(entry).transpose()).collect()
}

pub(in crate::gateway) fn parse_origin(value: &str) -> Result<Option<String>, VariableError> {
    if value.is_empty() {
        return Ok(None);
    }
    if value.contains('@') {
        return Err(VariableError::OriginWithUser);
    }
    let value = value.strip_suffix('/').unwrap_or(value);
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    let is_host = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    };
    match host.filter(is_host) {
        Some(_) => Ok(Some(value.to_owned())),
        None => Err(VariableError::InvalidOrigin { value: truncate(value) }),
    }
}

pub(in crate::gateway) fn parse_prefix(value: &str) -> Result<String, VariableError> {
    let is_path_byte = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let is_prefix = value.len() > 1
        && value.starts_with('/')
        && !value.ends_with('/')
        && !value.contains("//")
        && value.bytes().all(is_path_byte);
    if is_prefix {
        Ok(value.to_owned())
    } else {
        Err(VariableError::InvalidPrefix { value: truncate(value) })
    }
}

pub(in crate::gateway) fn parse_header_name(value: &str) -> Result<String, VariableError> {
    let is_header = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if is_header {
        Ok(value.to_ascii_lowercase())
    } else {
        Err(VariableError::InvalidHeaderName { value: truncate(value) })
    }
}

/// Parses a comma-separated list of names of headers.
pub(in crate::gateway) fn parse_header_names(value: &str) -> Result<Vec<String>, VariableError> {
    list_entries(value).map(parse_header_name).collect()
}

/// Parses one key, or two separated by a comma.
pub(in crate::gateway) fn parse_keys(value: &str) -> Result<Vec<SigningKey>, VariableError> {
    let entries: Vec<&str> = list_entries(value).collect();
    if entries.len() > 2 {
        return Err(VariableError::TooManyKeys { keys: entries.len() });
    }
    entries.into_iter().map(|key| Ok(SigningKey::parse(key)?)).collect()
}

/// Parses a comma-separated list of `SUBJECT=COHORT`. An error names the entry by its number,
/// because a subject identifies a user.
pub(in crate::gateway) fn parse_cohort_overrides(
    value: &str,
) -> Result<Vec<(Subject, Cohort)>, VariableError> {
    list_entries(value)
        .zip(1..)
        .map(|(entry, number)| {
            let (subject, cohort) =
                entry.rsplit_once('=').ok_or(VariableError::InvalidCohortOverride { number })?;
            let cohort = Cohort::from_name(cohort.trim())
                .ok_or(VariableError::InvalidCohortOverride { number })?;
            let subject = Subject::parse(subject.trim());
            let subject =
                subject.map_err(|error| VariableError::InvalidOverrideSubject { number, error })?;
            Ok((subject, cohort))
        })
        .collect()
}
