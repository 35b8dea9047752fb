//! Parses the gateway's variables and secrets into [`GatewaySettings`], once per isolate.
//!
//! Each refused variable is reported by name as a [`GatewaySettingError`], never with a secret or a
//! subject. A gateway with a refused variable still forwards: the legacy system answers, the canary
//! is disabled, and the health endpoint lists the errors.

pub(in crate::gateway) mod parse;

use std::collections::BTreeMap;

use crate::gateway::aggregate::shard::SHARDS_MAX;
use crate::gateway::config::parse::VariableError;
use crate::gateway::config::parse::parse_choice;
use crate::gateway::config::parse::parse_classify_routes;
use crate::gateway::config::parse::parse_cohort_overrides;
use crate::gateway::config::parse::parse_header_name;
use crate::gateway::config::parse::parse_keys;
use crate::gateway::config::parse::parse_number;
use crate::gateway::config::parse::parse_origin;
use crate::gateway::config::parse::parse_origins;
use crate::gateway::config::parse::parse_pointer;
use crate::gateway::config::parse::parse_prefix;
use crate::gateway::config::parse::parse_share;
use crate::gateway::config::parse::parse_switch;
use crate::gateway::export::sink::{self, Sink};
use crate::gateway::notify::webhook::{self, WebhookTarget};
use crate::gateway::upstream::legacy::LegacyContract;
use crate::gateway::upstream::model::ResponseFormat;
use crate::rollout::bucket::ReleaseName;
use crate::rollout::signing_key::SigningKey;
use crate::rollout::time_scale::TimeScale;
use jeffrey_terms::{Cohort, Share, Subject};

/// Variables and secrets by name, as the Worker received them; unset ones are absent.
#[derive(Clone, Default)]
pub struct GatewayVariables(pub BTreeMap<&'static str, String>);

/// Variables as they were named before version 0.2 and as they are named now. A platform passes these
/// too, so that [`GatewaySettings::parse`] can report one that is still set.
pub const RENAMED_VARIABLES: [(&str, &str); 15] = [
    ("ALERTS", ALERT_WEBHOOKS),
    ("ASK_BEFORE_RISE", CONFIRM_TRAFFIC_INCREASE_WEBHOOKS),
    ("FORCED_SUBJECTS", COHORT_OVERRIDES),
    ("JEFFREY_KEY", JEFFREY_SIGNING_KEY),
    ("JEFFREY_OVERRIDE_KEY", JEFFREY_OVERRIDE_SIGNING_KEY),
    ("LEGACY_CLASSIFY", LEGACY_CLASSIFY_ROUTES),
    ("LEDGER_DAYS", EVENT_STORE_RETENTION_DAYS),
    ("LEDGER_MB", EVENT_STORE_MAX_MB),
    ("LEDGER_SHARDS", EVENT_STORE_SHARDS),
    ("OWN_PREFIX", ADMIN_PREFIX),
    ("PLAYGROUND", SERVE_PLAYGROUND),
    ("PREVIEW", LOG_TEXT_PREVIEW),
    ("RATE_LIMITS", RATE_LIMITING),
    ("RESPONSE_SHAPE", RESPONSE_FORMAT),
    ("TIME_FACTOR", TIME_SCALE),
];

/// Name and default of every variable and secret that the gateway reads.
pub const VARIABLES: [(&str, &str); 39] = [
    (ALERT_WEBHOOKS, ""),
    (CONFIRM_TRAFFIC_INCREASE_WEBHOOKS, ""),
    (CORS_ORIGINS, ""),
    (DEBUG_HEADERS, "off"),
    (COHORT_OVERRIDES, ""),
    (HOLDOUT, "0%"),
    (INITIAL_SHARE, "0%"),
    (JEFFREY_ADMIN_TOKEN, ""),
    (JEFFREY_SIGNING_KEY, ""),
    (JEFFREY_OVERRIDE_SIGNING_KEY, ""),
    (JEFFREY_VIEWER_TOKEN, ""),
    (KILL_SWITCH, "off"),
    (EVENT_STORE_RETENTION_DAYS, "7"),
    (EVENT_STORE_MAX_MB, "1000"),
    (EVENT_STORE_SHARDS, "1"),
    (LEGACY_CLASSIFY_ROUTES, "POST /predict"),
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
    (ADMIN_PREFIX, "/_jeffrey"),
    (SERVE_PLAYGROUND, "off"),
    (LOG_TEXT_PREVIEW, "off"),
    (RATE_LIMITING, "on"),
    (RELEASE, "e1-small"),
    (RESPONSE_FORMAT, "v2.4.2"),
    (SHADOW_SHARE, "0%"),
    (SINKS, ""),
    (SUBJECT_COOKIE, "classify"),
    (SUBJECT_COOKIE_DAYS, "30"),
    (SUBJECT_HEADER, "x-user-id"),
    (TIME_SCALE, "1"),
];

const ALERT_WEBHOOKS: &str = "ALERT_WEBHOOKS";
const CONFIRM_TRAFFIC_INCREASE_WEBHOOKS: &str = "CONFIRM_TRAFFIC_INCREASE_WEBHOOKS";
const CORS_ORIGINS: &str = "CORS_ORIGINS";
const DEBUG_HEADERS: &str = "DEBUG_HEADERS";
const COHORT_OVERRIDES: &str = "COHORT_OVERRIDES";
const HOLDOUT: &str = "HOLDOUT";
const INITIAL_SHARE: &str = "INITIAL_SHARE";
const JEFFREY_ADMIN_TOKEN: &str = "JEFFREY_ADMIN_TOKEN";
const JEFFREY_SIGNING_KEY: &str = "JEFFREY_SIGNING_KEY";
const JEFFREY_OVERRIDE_SIGNING_KEY: &str = "JEFFREY_OVERRIDE_SIGNING_KEY";
const JEFFREY_VIEWER_TOKEN: &str = "JEFFREY_VIEWER_TOKEN";
const KILL_SWITCH: &str = "KILL_SWITCH";
const EVENT_STORE_RETENTION_DAYS: &str = "EVENT_STORE_RETENTION_DAYS";
const EVENT_STORE_MAX_MB: &str = "EVENT_STORE_MAX_MB";
const EVENT_STORE_SHARDS: &str = "EVENT_STORE_SHARDS";
const LEGACY_CLASSIFY_ROUTES: &str = "LEGACY_CLASSIFY_ROUTES";
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
const ADMIN_PREFIX: &str = "ADMIN_PREFIX";
const SERVE_PLAYGROUND: &str = "SERVE_PLAYGROUND";
const LOG_TEXT_PREVIEW: &str = "LOG_TEXT_PREVIEW";
const RATE_LIMITING: &str = "RATE_LIMITING";
const RELEASE: &str = "RELEASE";
const RESPONSE_FORMAT: &str = "RESPONSE_FORMAT";
const SHADOW_SHARE: &str = "SHADOW_SHARE";
const SINKS: &str = "SINKS";
const SUBJECT_COOKIE: &str = "SUBJECT_COOKIE";
const SUBJECT_COOKIE_DAYS: &str = "SUBJECT_COOKIE_DAYS";
const SUBJECT_HEADER: &str = "SUBJECT_HEADER";
const TIME_SCALE: &str = "TIME_SCALE";

/// Settings of the gateway. A refused variable has its default here and an entry in `errors`.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Name of the release; together with the subject it decides the bucket.
    pub release: ReleaseName,
    /// Interface of the legacy system: its classify routes and JSON fields.
    pub contract: LegacyContract,
    /// Scheme, host and port of the legacy system; `None` if unset, which needs a service binding.
    pub legacy_origin: Option<String>,
    /// Time limit for the legacy system's response headers on classify requests, in milliseconds
    /// (100 to 60,000); streamed requests have no limit.
    pub legacy_timeout_ms: u64,
    /// Time limit for the model worker's whole response, in milliseconds (50 to 30,000).
    pub model_timeout_ms: u64,
    /// Format of classify responses by the canary.
    pub response_format: ResponseFormat,
    /// Path prefix of the gateway's own endpoints; requests to other paths are forwarded.
    pub admin_prefix: String,
    /// Name of the request header that holds the subject, in lower case.
    pub subject_header: String,
    /// Rule for which callers receive a subject cookie.
    pub subject_cookie: SubjectCookiePolicy,
    /// Lifetime of the subject cookie, in days (1 to 400).
    pub subject_cookie_days: u64,
    /// Share of subjects that stay stable in every release. The larger holdout of a plan takes
    /// precedence.
    pub holdout: Share,
    /// Canary share of a release whose state was never changed.
    pub initial_share: Share,
    /// Share of stable classify requests that the model scores as well, after the answer.
    pub shadow_share: Share,
    /// Subjects with a fixed cohort, whatever their bucket.
    pub cohort_overrides: Vec<(Subject, Cohort)>,
    /// Whether the canary is disabled, whatever the rollout object says.
    pub kill_switch_enabled: bool,
    /// Origins, besides the gateway's own, whose browser requests may be answered by the canary.
    pub cors_origins: Vec<String>,
    /// Whether responses name cohort, release and upstream in headers.
    pub debug_headers_enabled: bool,
    /// Whether each event is also printed to the Worker's log.
    pub logs_events_to_console: bool,
    /// Whether the gateway serves the model worker's playground page.
    pub playground_enabled: bool,
    /// Whether events contain the masked beginning of the text.
    pub text_preview_enabled: bool,
    /// Webhook targets that are notified about the rollout.
    pub alert_webhooks: Vec<WebhookTarget>,
    /// Webhook targets that are asked before the canary share rises.
    pub confirm_traffic_increase_webhooks: Vec<WebhookTarget>,
    /// Speed of time of a scaled-time rollout; real time by default.
    pub time_scale: TimeScale,
    /// Sinks that receive events in addition to the event store.
    pub sinks: Vec<Sink>,
    /// Time for which the event store keeps events and minutes, in milliseconds (1 to 90 days).
    pub event_retention_ms: u64,
    /// Size above which a shard of the event store deletes the oldest tenth of its events, in bytes
    /// (1 to 9,000 MB).
    pub event_store_bytes_max: u64,
    /// Number of shards of the event store, 1 to [`SHARDS_MAX`].
    pub event_store_shards: u64,
    /// Whether callers are rate limited; limits also need a signing key.
    pub rate_limits_enabled: bool,
    /// Keys that sign response ids and hash subjects, the newest first; without a key both are off.
    pub signing_keys: Vec<SigningKey>,
    /// Keys that verify override tokens; without a key no token is accepted.
    pub override_signing_keys: Vec<SigningKey>,
    /// Tokens that permit reading the API. Admin tokens permit it too; without either, reading is
    /// off.
    pub viewer_tokens: Vec<SigningKey>,
    /// Tokens that permit changes and reading; without a token changes are off.
    pub admin_tokens: Vec<SigningKey>,
    /// Variables that were refused; empty if all were accepted.
    pub setting_errors: Vec<GatewaySettingError>,
}

/// Rule for which callers receive a subject cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectCookiePolicy {
    /// Every caller without a subject, on any request.
    All,
    /// Callers without a subject, on classify requests only.
    Classify,
    /// No caller receives a cookie.
    Off,
}

/// Variable that was refused, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct GatewaySettingError {
    variable: &'static str,
    reason: VariableError,
}

impl GatewaySettings {
    /// Parses all variables and records every error in `errors`.
    pub fn parse(variables: &GatewayVariables) -> Self {
        let renamed = RENAMED_VARIABLES
            .into_iter()
            .filter(|(old, _)| variables.0.contains_key(old))
            .map(|(variable, name)| GatewaySettingError {
                variable,
                reason: VariableError::Renamed { name },
            });
        let mut variable_reader = VariableReader { variables, errors: renamed.collect() };
        let classify =
            variable_reader.parse_variable(LEGACY_CLASSIFY_ROUTES, parse_classify_routes);
        let text = variable_reader.parse_variable(LEGACY_TEXT, |text| {
            parse_pointer(text)?.ok_or(VariableError::MissingTextPointer)
        });
        let contract = LegacyContract {
            classify_endpoints: classify,
            text_pointer: text,
            user_pointer: variable_reader.parse_variable(LEGACY_USER, parse_pointer),
            label_pointer: variable_reader.parse_variable(LEGACY_LABEL, parse_pointer),
            confidence_pointer: variable_reader.parse_variable(LEGACY_CONFIDENCE, parse_pointer),
            route_pointer: variable_reader.parse_variable(LEGACY_ROUTE, parse_pointer),
            low_confidence_pointer: variable_reader
                .parse_variable(LEGACY_LOW_CONFIDENCE, parse_pointer),
            rule_pointer: variable_reader.parse_variable(LEGACY_RULE, parse_pointer),
        };
        Self {
            release: variable_reader.parse_variable(RELEASE, |name| Ok(name.parse()?)),
            contract,
            legacy_origin: variable_reader.parse_variable(LEGACY_ORIGIN, parse_origin),
            legacy_timeout_ms: variable_reader
                .parse_variable(LEGACY_TIMEOUT_MS, |ms| parse_number(ms, 100, 60_000)),
            model_timeout_ms: variable_reader
                .parse_variable(MODEL_TIMEOUT_MS, |ms| parse_number(ms, 50, 30_000)),
            response_format: variable_reader.parse_variable(RESPONSE_FORMAT, |shape| {
                parse_choice(
                    shape,
                    "v2.4.2, native, huggingface",
                    &[
                        ("v2.4.2", ResponseFormat::V242),
                        ("native", ResponseFormat::Native),
                        ("huggingface", ResponseFormat::HuggingFace),
                    ],
                )
            }),
            admin_prefix: variable_reader.parse_variable(ADMIN_PREFIX, parse_prefix),
            subject_header: variable_reader.parse_variable(SUBJECT_HEADER, parse_header_name),
            subject_cookie: variable_reader.parse_variable(SUBJECT_COOKIE, |who| {
                parse_choice(
                    who,
                    "off, classify, all",
                    &[
                        ("off", SubjectCookiePolicy::Off),
                        ("classify", SubjectCookiePolicy::Classify),
                        ("all", SubjectCookiePolicy::All),
                    ],
                )
            }),
            // Browsers cap the lifetime of a cookie at 400 days (RFC 6265bis, section 5.5).
            subject_cookie_days: variable_reader
                .parse_variable(SUBJECT_COOKIE_DAYS, |days| parse_number(days, 1, 400)),
            holdout: variable_reader.parse_variable(HOLDOUT, parse_share),
            initial_share: variable_reader.parse_variable(INITIAL_SHARE, parse_share),
            shadow_share: variable_reader.parse_variable(SHADOW_SHARE, parse_share),
            cohort_overrides: variable_reader
                .parse_variable(COHORT_OVERRIDES, parse_cohort_overrides),
            kill_switch_enabled: variable_reader.parse_variable(KILL_SWITCH, parse_switch),
            cors_origins: variable_reader.parse_variable(CORS_ORIGINS, parse_origins),
            debug_headers_enabled: variable_reader.parse_variable(DEBUG_HEADERS, parse_switch),
            logs_events_to_console: variable_reader.parse_variable(LOG_EVENTS, parse_switch),
            playground_enabled: variable_reader.parse_variable(SERVE_PLAYGROUND, parse_switch),
            text_preview_enabled: variable_reader.parse_variable(LOG_TEXT_PREVIEW, parse_switch),
            alert_webhooks: variable_reader
                .parse_variable(ALERT_WEBHOOKS, |value| Ok(webhook::parse_targets(value)?)),
            confirm_traffic_increase_webhooks: variable_reader
                .parse_variable(CONFIRM_TRAFFIC_INCREASE_WEBHOOKS, |value| {
                    Ok(webhook::parse_targets(value)?)
                }),
            time_scale: variable_reader.parse_variable(TIME_SCALE, |times| {
                Ok(TimeScale::new(parse_number(times, 1, TimeScale::FACTOR_MAX)?))
            }),
            sinks: variable_reader.parse_variable(SINKS, |value| Ok(sink::parse_sinks(value)?)),
            // Days become milliseconds. The platform gives a Durable Object, and so a shard, 10 GB.
            event_retention_ms: variable_reader
                .parse_variable(EVENT_STORE_RETENTION_DAYS, |days| {
                    Ok(parse_number(days, 1, 90)? * 86_400_000)
                }),
            event_store_bytes_max: variable_reader.parse_variable(EVENT_STORE_MAX_MB, |mb| {
                Ok(parse_number(mb, 1, 9_000)? * 1_000_000)
            }),
            event_store_shards: variable_reader
                .parse_variable(EVENT_STORE_SHARDS, |shards| parse_number(shards, 1, SHARDS_MAX)),
            rate_limits_enabled: variable_reader.parse_variable(RATE_LIMITING, parse_switch),
            signing_keys: variable_reader.parse_variable(JEFFREY_SIGNING_KEY, parse_keys),
            override_signing_keys: variable_reader
                .parse_variable(JEFFREY_OVERRIDE_SIGNING_KEY, parse_keys),
            viewer_tokens: variable_reader.parse_variable(JEFFREY_VIEWER_TOKEN, parse_keys),
            admin_tokens: variable_reader.parse_variable(JEFFREY_ADMIN_TOKEN, parse_keys),
            setting_errors: variable_reader.errors,
        }
    }

    /// Returns the settings, with one more error if neither a variable nor a binding names the
    /// legacy system.
    pub fn with_legacy_binding(mut self, has_binding: bool) -> Self {
        if self.legacy_origin.is_none() && !has_binding {
            let (variable, reason) = (LEGACY_ORIGIN, VariableError::MissingOrigin);
            self.setting_errors.push(GatewaySettingError { variable, reason });
        }
        self
    }

    /// Returns whether the settings disable the canary: the kill switch is on, or a variable was
    /// refused.
    ///
    /// A disabled canary still answers a request with an override token that allows a rolled-back
    /// release.
    pub fn is_canary_disabled(&self) -> bool {
        self.kill_switch_enabled || !self.setting_errors.is_empty()
    }
}

struct VariableReader<'a> {
    variables: &'a GatewayVariables,
    errors: Vec<GatewaySettingError>,
}

impl VariableReader<'_> {
    /// Parses the value of a variable, or its default if it is unset or blank. A refused value is
    /// recorded as an error and replaced by the default.
    fn parse_variable<T>(
        &mut self,
        variable: &'static str,
        parse: fn(&str) -> Result<T, VariableError>,
    ) -> T {
        // The first test fails if a parser refuses its own default, so the panic is a bug.
        let default = VARIABLES.iter().find(|(name, _)| *name == variable).map_or("", |(_, d)| d);
        let set_value = self.variables.0.get(variable).map(|value| value.trim());
        match parse(set_value.filter(|value| !value.is_empty()).unwrap_or(default)) {
            Ok(value) => value,
            Err(reason) => {
                self.errors.push(GatewaySettingError { variable, reason });
                parse(default).unwrap_or_else(|reason| panic!("default of {variable}: {reason}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&'static str, &str)]) -> GatewaySettings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        GatewaySettings::parse(&GatewayVariables(variables.collect()))
    }

    #[test]
    fn without_variables_the_defaults_hold_and_only_the_origin_is_missing() {
        let settings = parse(&[]);
        assert_eq!(settings.setting_errors, []);
        assert_eq!(settings.contract, LegacyContract::default());
        assert_eq!(settings.holdout, Share::NONE);
        assert!(
            !settings.playground_enabled
                && !settings.text_preview_enabled
                && !settings.debug_headers_enabled
        );
        assert!(!settings.is_canary_disabled());
        let without_binding = settings.clone().with_legacy_binding(false);
        assert_eq!(
            without_binding.setting_errors[0].to_string(),
            "LEGACY_ORIGIN: it is not set and there is no service binding LEGACY"
        );
        assert!(without_binding.is_canary_disabled());
        assert!(!settings.with_legacy_binding(true).is_canary_disabled());
    }

    #[test]
    fn every_error_names_its_variable_value_and_range() {
        let rows = [
            (CORS_ORIGINS, "https://a, b", "`b` is not http:// or https:// with a host"),
            (DEBUG_HEADERS, "yes", "`yes` is not one of on, off"),
            (COHORT_OVERRIDES, "a=canary,b", "entry 2 is not SUBJECT=canary or SUBJECT=stable"),
            (COHORT_OVERRIDES, "=canary", "entry 1: subject is empty"),
            (HOLDOUT, "101%", "share 101% is above 100%"),
            (JEFFREY_SIGNING_KEY, "short", "key of 5 bytes is below the least of 16"),
            (LEGACY_CLASSIFY_ROUTES, "/predict", "`/predict` is not METHOD /path, or several"),
            (LEGACY_LABEL, "label", "`label` is not a JSON pointer such as /prediction/primary"),
            (LEGACY_ORIGIN, "http://h/path", "`http://h/path` is not http:// or https://"),
            (LEGACY_ORIGIN, "ftp://h", "`ftp://h` is not http:// or https://"),
            (LEGACY_ORIGIN, "http://user@h", "an origin with a user in it is not taken, nor shown"),
            (LEGACY_TEXT, "-", "a text is needed to classify"),
            (LEGACY_TIMEOUT_MS, "99", "`99` is not a whole number from 100 to 60000"),
            (MODEL_TIMEOUT_MS, "1e3", "`1e3` is not a whole number from 50 to 30000"),
            (ADMIN_PREFIX, "/", "`/` is not a path such as /_jeffrey"),
            (ADMIN_PREFIX, "x/", "`x/` is not a path such as /_jeffrey"),
            (SERVE_PLAYGROUND, "yes", "`yes` is not one of on, off"),
            (RELEASE, "a b", "release `a b` is not 1 to 64 letters"),
            (RESPONSE_FORMAT, "v2", "`v2` is not one of v2.4.2, native, huggingface"),
            (SINKS, "logs", "not a list such as"),
            (SUBJECT_COOKIE, "on", "`on` is not one of off, classify, all"),
            (SUBJECT_COOKIE_DAYS, "401", "`401` is not a whole number from 1 to 400"),
            (SUBJECT_HEADER, "x user", "`x user` is not the name of a header"),
        ];
        for (variable, value, expected) in rows {
            let errors = parse(&[(variable, value)]).setting_errors;
            assert_eq!(errors.len(), 1, "{variable} {value}");
            let message = errors[0].to_string();
            assert!(message.starts_with(&format!("{variable}: {expected}")), "{message}");
        }
        let settings: Vec<_> =
            rows.iter().map(|(variable, value, _)| (*variable, *value)).collect();
        let variables: std::collections::BTreeSet<_> = rows.iter().map(|row| row.0).collect();
        assert_eq!(
            parse(&settings).setting_errors.len(),
            variables.len(),
            "each variable's fault is kept"
        );
    }

    #[test]
    fn a_variable_under_its_former_name_is_an_error_that_names_the_new_one() {
        let settings = parse(&[("PREVIEW", "on"), (LOG_EVENTS, "off")]);
        assert_eq!(settings.setting_errors.len(), 1);
        assert_eq!(
            settings.setting_errors[0].to_string(),
            "PREVIEW: it is called LOG_TEXT_PREVIEW now"
        );
        assert!(!settings.text_preview_enabled && settings.is_canary_disabled());
        let taken = RENAMED_VARIABLES.iter().find(|(old, new)| {
            let is_name = |name| VARIABLES.iter().any(|(known, _)| *known == name);
            is_name(*old) || !is_name(*new)
        });
        assert_eq!(taken, None);
    }

    #[test]
    fn variables_that_are_set_are_used() {
        let settings = parse(&[
            (LEGACY_CLASSIFY_ROUTES, "POST /predict, PUT /v1/emotion"),
            (LEGACY_USER, "-"),
            (LEGACY_ORIGIN, "https://old.example:8443/"),
            (SUBJECT_HEADER, "X-Account"),
            (COHORT_OVERRIDES, "a=b=canary, é = stable"),
            (JEFFREY_SIGNING_KEY, "0123456789abcdef, 0123456789abcdeg"),
            (KILL_SWITCH, "on"),
        ]);
        assert_eq!(settings.setting_errors, []);
        assert!(settings.contract.is_classify_call("PUT", "/v1/emotion"));
        assert_eq!(settings.contract.user_pointer, None);
        assert_eq!(settings.legacy_origin.as_deref(), Some("https://old.example:8443"));
        assert_eq!(settings.subject_header, "x-account");
        let overrides: Vec<_> =
            settings.cohort_overrides.iter().map(|(s, c)| (s.expose(), *c)).collect();
        assert_eq!(overrides, [("a=b", Cohort::Canary), ("é", Cohort::Stable)]);
        assert_eq!(settings.signing_keys.len(), 2);
        assert!(settings.is_canary_disabled());
    }

    #[test]
    fn an_error_shows_no_secret_and_no_subject() {
        let settings = parse(&[
            (JEFFREY_ADMIN_TOKEN, "hunter2"),
            (COHORT_OVERRIDES, "alice@example.org=nobody"),
            (JEFFREY_SIGNING_KEY, "0123456789abcdef"),
        ]);
        let text = format!("{settings:?} {}", settings.setting_errors[0]);
        for secret in ["hunter2", "alice", "0123456789abcdef"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
