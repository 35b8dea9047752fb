//! The gate's variables, read once per isolate and never half: what is refused is named.
//!
//! A gate with a refused variable still forwards: the old system keeps answering, nobody is canary,
//! and `health` says what to correct.

use std::collections::BTreeMap;

use super::contract::{Contract, Pointer, PointerError};
use super::shard::SHARDS_MAX;
use super::sink::{self, Sink, SinkError};
use super::webhook::{self, Receiver, WebhookError};
use crate::rollout::bucket::{Release, ReleaseError};
use crate::rollout::key::{Key, KeyError};
use crate::rollout::pace::Pace;
use jeffrey_terms::{Cohort, Share, ShareError, Subject, SubjectError};

/// The variables as the shell found them, by name; those not set are not there.
#[derive(Clone, Default)]
pub struct Variables(pub BTreeMap<&'static str, String>);

/// Every variable and secret that the gate reads, with its default.
pub const VARIABLES: [(&str, &str); 39] = [
    (ALERTS, ""),
    (ASK_BEFORE_RISE, ""),
    (CORS_ORIGINS, ""),
    (DEBUG_HEADERS, "off"),
    (FORCED_SUBJECTS, ""),
    (HOLDOUT, "0%"),
    (INITIAL_SHARE, "0%"),
    (JEFFREY_ADMIN_TOKEN, ""),
    (JEFFREY_KEY, ""),
    (JEFFREY_OVERRIDE_KEY, ""),
    (JEFFREY_VIEWER_TOKEN, ""),
    (KILL_SWITCH, "off"),
    (LEDGER_DAYS, "7"),
    (LEDGER_MB, "1000"),
    (LEDGER_SHARDS, "1"),
    (LEGACY_CLASSIFY, "POST /predict"),
    (LEGACY_CONFIDENCE, "/prediction/confidence"),
    (LEGACY_LABEL, "/prediction/primary"),
    (LEGACY_LOW_CONFIDENCE, "/prediction/low_confidence"),
    (LEGACY_ORIGIN, ""),
    (LEGACY_ROUTE, "/route"),
    (LEGACY_RULE, "/prediction/rule_applied"),
    (LEGACY_TEXT, "/text"),
    (LEGACY_TIMEOUT_MS, "10000"),
    (LEGACY_USER, "/user_id"),
    (LOG_EVENTS, "off"),
    (MODEL_TIMEOUT_MS, "2000"),
    (OWN_PREFIX, "/_jeffrey"),
    (PLAYGROUND, "off"),
    (PREVIEW, "off"),
    (RATE_LIMITS, "on"),
    (RELEASE, "e1-small"),
    (RESPONSE_SHAPE, "v2.4.2"),
    (SHADOW_SHARE, "0%"),
    (SINKS, ""),
    (SUBJECT_COOKIE, "classify"),
    (SUBJECT_COOKIE_DAYS, "30"),
    (SUBJECT_HEADER, "x-user-id"),
    (TIME_FACTOR, "1"),
];

const ALERTS: &str = "ALERTS";
const ASK_BEFORE_RISE: &str = "ASK_BEFORE_RISE";
const CORS_ORIGINS: &str = "CORS_ORIGINS";
const DEBUG_HEADERS: &str = "DEBUG_HEADERS";
const FORCED_SUBJECTS: &str = "FORCED_SUBJECTS";
const HOLDOUT: &str = "HOLDOUT";
const INITIAL_SHARE: &str = "INITIAL_SHARE";
const JEFFREY_ADMIN_TOKEN: &str = "JEFFREY_ADMIN_TOKEN";
const JEFFREY_KEY: &str = "JEFFREY_KEY";
const JEFFREY_OVERRIDE_KEY: &str = "JEFFREY_OVERRIDE_KEY";
const JEFFREY_VIEWER_TOKEN: &str = "JEFFREY_VIEWER_TOKEN";
const KILL_SWITCH: &str = "KILL_SWITCH";
const LEDGER_DAYS: &str = "LEDGER_DAYS";
const LEDGER_MB: &str = "LEDGER_MB";
const LEDGER_SHARDS: &str = "LEDGER_SHARDS";
const LEGACY_CLASSIFY: &str = "LEGACY_CLASSIFY";
const LEGACY_CONFIDENCE: &str = "LEGACY_CONFIDENCE";
const LEGACY_LABEL: &str = "LEGACY_LABEL";
const LEGACY_LOW_CONFIDENCE: &str = "LEGACY_LOW_CONFIDENCE";
const LEGACY_ORIGIN: &str = "LEGACY_ORIGIN";
const LEGACY_ROUTE: &str = "LEGACY_ROUTE";
const LEGACY_RULE: &str = "LEGACY_RULE";
const LEGACY_TEXT: &str = "LEGACY_TEXT";
const LEGACY_TIMEOUT_MS: &str = "LEGACY_TIMEOUT_MS";
const LEGACY_USER: &str = "LEGACY_USER";
const LOG_EVENTS: &str = "LOG_EVENTS";
const MODEL_TIMEOUT_MS: &str = "MODEL_TIMEOUT_MS";
const OWN_PREFIX: &str = "OWN_PREFIX";
const PLAYGROUND: &str = "PLAYGROUND";
const PREVIEW: &str = "PREVIEW";
const RATE_LIMITS: &str = "RATE_LIMITS";
const RELEASE: &str = "RELEASE";
const RESPONSE_SHAPE: &str = "RESPONSE_SHAPE";
const SHADOW_SHARE: &str = "SHADOW_SHARE";
const SINKS: &str = "SINKS";
const SUBJECT_COOKIE: &str = "SUBJECT_COOKIE";
const SUBJECT_COOKIE_DAYS: &str = "SUBJECT_COOKIE_DAYS";
const SUBJECT_HEADER: &str = "SUBJECT_HEADER";
const TIME_FACTOR: &str = "TIME_FACTOR";

/// What the variables say. A refused one leaves its default here and a line in `faults`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release that subjects are drawn by.
    pub release: Release,
    /// The old system's interface.
    pub contract: Contract,
    /// Scheme, host and port of the old system; `None` where a service binding stands for it.
    pub legacy_origin: Option<String>,
    /// How long the old system may take up to its headers on classify calls.
    pub legacy_timeout_ms: u64,
    /// How long the model worker may take for its whole answer.
    pub model_timeout_ms: u64,
    /// The shape of the canary's answers.
    pub response_shape: ResponseShape,
    /// Path below which everything is ours.
    pub own_prefix: String,
    /// Header that names the subject, in lower case.
    pub subject_header: String,
    /// Who is given a cookie.
    pub subject_cookie: SubjectCookie,
    /// How long it lasts, in days.
    pub subject_cookie_days: u64,
    /// Share that stays stable in every release.
    pub holdout: Share,
    /// The share of a release that nobody has touched.
    pub initial_share: Share,
    /// Share of the stable classify calls that the model is asked about as well.
    pub shadow: Share,
    /// Subjects with a cohort of their own.
    pub forced: Vec<(Subject, Cohort)>,
    /// Whether nobody is canary, whatever the rollout object says.
    pub killed: bool,
    /// Origins that the canary's answers are open to, beside the gate's own.
    pub cors_origins: Vec<String>,
    /// Whether answers say who gave them.
    pub debug_headers: bool,
    /// Whether each event is printed.
    pub log_events: bool,
    /// Whether the model worker's page is served here as well.
    pub playground: bool,
    /// Whether events show the masked beginning of the text.
    pub preview: bool,
    /// Who is told of what the rollout does.
    pub alerts: Vec<Receiver>,
    /// Who is asked before a share rises.
    pub asked: Vec<Receiver>,
    /// How fast a rehearsal's time passes.
    pub pace: Pace,
    /// Where events go beside the ledger.
    pub sinks: Vec<Sink>,
    /// How long a part of the ledger keeps events, in milliseconds.
    pub ledger_ms: u64,
    /// How much a part of the ledger may hold before its oldest tenth goes.
    pub ledger_bytes: u64,
    /// How many objects the ledger is kept in.
    pub ledger_shards: u64,
    /// Whether callers are limited.
    pub rate_limits: bool,
    /// Signs ids and hashes subjects, newest first; none switches both off.
    pub keys: Vec<Key>,
    /// Verify overrides; none switches them off.
    pub override_keys: Vec<Key>,
    /// May read; none switches reading off.
    pub viewer_tokens: Vec<Key>,
    /// May change; none switches changing off.
    pub admin_tokens: Vec<Key>,
    /// What was refused.
    pub faults: Vec<SettingFault>,
}

/// In which shape the canary answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseShape {
    /// Nested list, as Hugging Face's clients take it.
    HuggingFace,
    /// The model worker's own.
    Native,
    /// The old system's prediction object.
    V242,
}

/// Who is given a cookie to be recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectCookie {
    /// Every caller without a subject.
    All,
    /// Callers without a subject on classify calls.
    Classify,
    /// Nobody.
    Off,
}

/// A variable that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct SettingFault {
    variable: &'static str,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("`{value}` is not one of {expected}")]
    Choice { value: String, expected: &'static str },
    #[error("`{value}` is not METHOD /path, or several of them with commas between")]
    Classify { value: String },
    #[error("entry {number} is not SUBJECT=canary or SUBJECT=stable")]
    Forced { number: usize },
    #[error("entry {number}: {error}")]
    ForcedSubject { number: usize, error: SubjectError },
    #[error("`{value}` is not the name of a header")]
    Header { value: String },
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("holds {keys} keys, the most is 2: the old one and the new one of a rotation")]
    Keys { keys: usize },
    #[error("`{value}` is not http:// or https:// with a host and nothing after it")]
    Origin { value: String },
    #[error("an origin with a user in it is not taken, nor shown")]
    OriginUser,
    #[error("neither it nor a service binding LEGACY names the old system")]
    OriginMissing,
    #[error("{0}")]
    Pointer(#[from] PointerError),
    #[error("`{value}` is not a path such as /_jeffrey")]
    Prefix { value: String },
    #[error("`{value}` is not a whole number from {least} to {most}")]
    Range { value: String, least: u64, most: u64 },
    #[error("{0}")]
    Release(#[from] ReleaseError),
    #[error("{0}")]
    Share(#[from] ShareError),
    #[error("{0}")]
    Sinks(#[from] SinkError),
    #[error("{0}")]
    Webhook(#[from] WebhookError),
    #[error("a text is needed to classify")]
    TextMissing,
}

impl Settings {
    /// Reads all variables and keeps every fault found.
    pub fn parse(variables: &Variables) -> Self {
        let mut reader = Reader { variables, faults: Vec::new() };
        let classify = reader.read(LEGACY_CLASSIFY, classify);
        let text = reader.read(LEGACY_TEXT, |text| pointer(text)?.ok_or(Reason::TextMissing));
        let contract = Contract {
            classify,
            text,
            user: reader.read(LEGACY_USER, pointer),
            label: reader.read(LEGACY_LABEL, pointer),
            confidence: reader.read(LEGACY_CONFIDENCE, pointer),
            route: reader.read(LEGACY_ROUTE, pointer),
            low_confidence: reader.read(LEGACY_LOW_CONFIDENCE, pointer),
            rule: reader.read(LEGACY_RULE, pointer),
        };
        Self {
            release: reader.read(RELEASE, |name| Ok(name.parse()?)),
            contract,
            legacy_origin: reader.read(LEGACY_ORIGIN, origin),
            legacy_timeout_ms: reader.read(LEGACY_TIMEOUT_MS, |ms| number(ms, 100, 60_000)),
            model_timeout_ms: reader.read(MODEL_TIMEOUT_MS, |ms| number(ms, 50, 30_000)),
            response_shape: reader.read(RESPONSE_SHAPE, |shape| {
                choice(
                    shape,
                    "v2.4.2, native, huggingface",
                    &[
                        ("v2.4.2", ResponseShape::V242),
                        ("native", ResponseShape::Native),
                        ("huggingface", ResponseShape::HuggingFace),
                    ],
                )
            }),
            own_prefix: reader.read(OWN_PREFIX, prefix),
            subject_header: reader.read(SUBJECT_HEADER, header),
            subject_cookie: reader.read(SUBJECT_COOKIE, |who| {
                choice(
                    who,
                    "off, classify, all",
                    &[
                        ("off", SubjectCookie::Off),
                        ("classify", SubjectCookie::Classify),
                        ("all", SubjectCookie::All),
                    ],
                )
            }),
            // Browsers keep no cookie longer (RFC 6265bis, section 5.5).
            subject_cookie_days: reader.read(SUBJECT_COOKIE_DAYS, |days| number(days, 1, 400)),
            holdout: reader.read(HOLDOUT, share),
            initial_share: reader.read(INITIAL_SHARE, share),
            shadow: reader.read(SHADOW_SHARE, share),
            forced: reader.read(FORCED_SUBJECTS, forced),
            killed: reader.read(KILL_SWITCH, switch),
            cors_origins: reader.read(CORS_ORIGINS, origins),
            debug_headers: reader.read(DEBUG_HEADERS, switch),
            log_events: reader.read(LOG_EVENTS, switch),
            playground: reader.read(PLAYGROUND, switch),
            preview: reader.read(PREVIEW, switch),
            alerts: reader.read(ALERTS, |value| Ok(webhook::parse(value)?)),
            asked: reader.read(ASK_BEFORE_RISE, |value| Ok(webhook::parse(value)?)),
            pace: reader.read(TIME_FACTOR, |times| Ok(Pace::new(number(times, 1, Pace::MAX)?))),
            sinks: reader.read(SINKS, |value| Ok(sink::parse(value)?)),
            // Days as milliseconds; the platform gives an object 10 GB.
            ledger_ms: reader.read(LEDGER_DAYS, |days| Ok(number(days, 1, 90)? * 86_400_000)),
            ledger_bytes: reader.read(LEDGER_MB, |mb| Ok(number(mb, 1, 9_000)? * 1_000_000)),
            ledger_shards: reader.read(LEDGER_SHARDS, |shards| number(shards, 1, SHARDS_MAX)),
            rate_limits: reader.read(RATE_LIMITS, switch),
            keys: reader.read(JEFFREY_KEY, keys),
            override_keys: reader.read(JEFFREY_OVERRIDE_KEY, keys),
            viewer_tokens: reader.read(JEFFREY_VIEWER_TOKEN, keys),
            admin_tokens: reader.read(JEFFREY_ADMIN_TOKEN, keys),
            faults: reader.faults,
        }
    }

    /// The same with a fault more when nothing names the old system.
    pub fn with_binding(mut self, bound: bool) -> Self {
        if self.legacy_origin.is_none() && !bound {
            let (variable, reason) = (LEGACY_ORIGIN, Reason::OriginMissing);
            self.faults.push(SettingFault { variable, reason });
        }
        self
    }

    /// Whether nobody is canary, whatever the rollout object says.
    pub fn closed(&self) -> bool {
        self.killed || !self.faults.is_empty()
    }
}

struct Reader<'a> {
    variables: &'a Variables,
    faults: Vec<SettingFault>,
}

impl Reader<'_> {
    /// The variable's value, or its default and a fault.
    fn read<T>(&mut self, variable: &'static str, parse: fn(&str) -> Result<T, Reason>) -> T {
        // A default that is not taken by its own parser is found by the first test.
        let default = VARIABLES.iter().find(|(name, _)| *name == variable).map_or("", |(_, d)| d);
        let given = self.variables.0.get(variable).map(|value| value.trim());
        match parse(given.filter(|value| !value.is_empty()).unwrap_or(default)) {
            Ok(value) => value,
            Err(reason) => {
                self.faults.push(SettingFault { variable, reason });
                parse(default).unwrap_or_else(|reason| panic!("default of {variable}: {reason}"))
            }
        }
    }
}

fn seen(value: &str) -> String {
    value.chars().take(40).collect()
}

fn choice<T: Copy>(value: &str, expected: &'static str, of: &[(&str, T)]) -> Result<T, Reason> {
    let found = of.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
    found.ok_or_else(|| Reason::Choice { value: seen(value), expected })
}

fn switch(value: &str) -> Result<bool, Reason> {
    choice(value, "on, off", &[("on", true), ("off", false)])
}

fn number(value: &str, least: u64, most: u64) -> Result<u64, Reason> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Reason::Range { value: seen(value), least, most })
}

fn share(value: &str) -> Result<Share, Reason> {
    Ok(value.parse()?)
}

/// A pointer; a dash where the old system has nothing to point at.
fn pointer(value: &str) -> Result<Option<Pointer>, Reason> {
    if value == "-" { Ok(None) } else { Ok(Some(Pointer::parse(value)?)) }
}

fn classify(value: &str) -> Result<Vec<(String, String)>, Reason> {
    let call = |call: &str| {
        let (method, path) = call.trim().split_once(' ')?;
        let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        let path = path.trim();
        let is_path = path.starts_with('/') && !path.contains(['?', '#', ' ']);
        (is_method && is_path).then(|| (method.to_owned(), path.to_owned()))
    };
    let calls: Option<Vec<_>> = value.split(',').map(call).collect();
    calls.ok_or_else(|| Reason::Classify { value: seen(value) })
}

/// Origins with commas between, as browsers write them.
fn origins(value: &str) -> Result<Vec<String>, Reason> {
    let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.filter_map(|entry| origin(entry).transpose()).collect()
}

fn origin(value: &str) -> Result<Option<String>, Reason> {
    if value.is_empty() {
        return Ok(None);
    }
    if value.contains('@') {
        return Err(Reason::OriginUser);
    }
    let value = value.strip_suffix('/').unwrap_or(value);
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    let plain = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    };
    match host.filter(plain) {
        Some(_) => Ok(Some(value.to_owned())),
        None => Err(Reason::Origin { value: seen(value) }),
    }
}

fn prefix(value: &str) -> Result<String, Reason> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let is_prefix = value.len() > 1
        && value.starts_with('/')
        && !value.ends_with('/')
        && !value.contains("//")
        && value.bytes().all(plain);
    if is_prefix { Ok(value.to_owned()) } else { Err(Reason::Prefix { value: seen(value) }) }
}

fn header(value: &str) -> Result<String, Reason> {
    let is_header = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if is_header {
        Ok(value.to_ascii_lowercase())
    } else {
        Err(Reason::Header { value: seen(value) })
    }
}

/// One key, or two with a comma between.
fn keys(value: &str) -> Result<Vec<Key>, Reason> {
    let parts: Vec<&str> = value.split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
    if parts.len() > 2 {
        return Err(Reason::Keys { keys: parts.len() });
    }
    parts.into_iter().map(|key| Ok(Key::parse(key)?)).collect()
}

/// `SUBJECT=COHORT` with commas between. A fault names the entry by its number: a subject is somebody.
fn forced(value: &str) -> Result<Vec<(Subject, Cohort)>, Reason> {
    let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .zip(1..)
        .map(|(entry, number)| {
            let (subject, cohort) = entry.rsplit_once('=').ok_or(Reason::Forced { number })?;
            let cohort = Cohort::from_name(cohort.trim()).ok_or(Reason::Forced { number })?;
            let subject = Subject::parse(subject.trim());
            let subject = subject.map_err(|error| Reason::ForcedSubject { number, error })?;
            Ok((subject, cohort))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&'static str, &str)]) -> Settings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Settings::parse(&Variables(variables.collect()))
    }

    #[test]
    fn nothing_set_is_the_defaults_and_no_fault_but_the_missing_origin() {
        let settings = parse(&[]);
        assert_eq!(settings.faults, []);
        assert_eq!(settings.contract, Contract::default());
        assert_eq!(settings.holdout, Share::NONE);
        assert!(!settings.playground && !settings.preview && !settings.debug_headers);
        assert!(!settings.closed());
        let alone = settings.clone().with_binding(false);
        assert_eq!(
            alone.faults[0].to_string(),
            "LEGACY_ORIGIN: neither it nor a service binding LEGACY names the old system"
        );
        assert!(alone.closed());
        assert!(!settings.with_binding(true).closed());
    }

    #[test]
    fn every_fault_is_named_with_its_value_and_its_range() {
        let rows = [
            (CORS_ORIGINS, "https://a, b", "`b` is not http:// or https:// with a host"),
            (DEBUG_HEADERS, "yes", "`yes` is not one of on, off"),
            (FORCED_SUBJECTS, "a=canary,b", "entry 2 is not SUBJECT=canary or SUBJECT=stable"),
            (FORCED_SUBJECTS, "=canary", "entry 1: subject is empty"),
            (HOLDOUT, "101%", "share 101% is above 100%"),
            (JEFFREY_KEY, "short", "key of 5 bytes is below the least of 16"),
            (LEGACY_CLASSIFY, "/predict", "`/predict` is not METHOD /path, or several"),
            (LEGACY_LABEL, "label", "`label` is not a JSON pointer such as /prediction/primary"),
            (LEGACY_ORIGIN, "http://h/path", "`http://h/path` is not http:// or https://"),
            (LEGACY_ORIGIN, "ftp://h", "`ftp://h` is not http:// or https://"),
            (LEGACY_ORIGIN, "http://user@h", "an origin with a user in it is not taken, nor shown"),
            (LEGACY_TEXT, "-", "a text is needed to classify"),
            (LEGACY_TIMEOUT_MS, "99", "`99` is not a whole number from 100 to 60000"),
            (MODEL_TIMEOUT_MS, "1e3", "`1e3` is not a whole number from 50 to 30000"),
            (OWN_PREFIX, "/", "`/` is not a path such as /_jeffrey"),
            (OWN_PREFIX, "x/", "`x/` is not a path such as /_jeffrey"),
            (PLAYGROUND, "yes", "`yes` is not one of on, off"),
            (RELEASE, "a b", "release `a b` is not 1 to 64 letters"),
            (RESPONSE_SHAPE, "v2", "`v2` is not one of v2.4.2, native, huggingface"),
            (SINKS, "logs", "not a list such as"),
            (SUBJECT_COOKIE, "on", "`on` is not one of off, classify, all"),
            (SUBJECT_COOKIE_DAYS, "401", "`401` is not a whole number from 1 to 400"),
            (SUBJECT_HEADER, "x user", "`x user` is not the name of a header"),
        ];
        for (variable, value, expected) in rows {
            let faults = parse(&[(variable, value)]).faults;
            assert_eq!(faults.len(), 1, "{variable} {value}");
            let message = faults[0].to_string();
            assert!(message.starts_with(&format!("{variable}: {expected}")), "{message}");
        }
        let all: Vec<_> = rows.iter().map(|(variable, value, _)| (*variable, *value)).collect();
        let variables: std::collections::BTreeSet<_> = rows.iter().map(|row| row.0).collect();
        assert_eq!(parse(&all).faults.len(), variables.len(), "each variable's fault is kept");
    }

    #[test]
    fn what_is_set_is_taken() {
        let settings = parse(&[
            (LEGACY_CLASSIFY, "POST /predict, PUT /v1/emotion"),
            (LEGACY_USER, "-"),
            (LEGACY_ORIGIN, "https://old.example:8443/"),
            (SUBJECT_HEADER, "X-Account"),
            (FORCED_SUBJECTS, "a=b=canary, é = stable"),
            (JEFFREY_KEY, "0123456789abcdef, 0123456789abcdeg"),
            (KILL_SWITCH, "on"),
        ]);
        assert_eq!(settings.faults, []);
        assert!(settings.contract.is_classify("PUT", "/v1/emotion"));
        assert_eq!(settings.contract.user, None);
        assert_eq!(settings.legacy_origin.as_deref(), Some("https://old.example:8443"));
        assert_eq!(settings.subject_header, "x-account");
        let forced: Vec<_> = settings.forced.iter().map(|(s, c)| (s.expose(), *c)).collect();
        assert_eq!(forced, [("a=b", Cohort::Canary), ("é", Cohort::Stable)]);
        assert_eq!(settings.keys.len(), 2);
        assert!(settings.closed());
    }

    #[test]
    fn a_fault_shows_no_secret_and_no_subject() {
        let settings = parse(&[
            (JEFFREY_ADMIN_TOKEN, "hunter2"),
            (FORCED_SUBJECTS, "alice@example.org=nobody"),
            (JEFFREY_KEY, "0123456789abcdef"),
        ]);
        let shown = format!("{settings:?} {}", settings.faults[0]);
        for secret in ["hunter2", "alice", "0123456789abcdef"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
