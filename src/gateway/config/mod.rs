//! Parses the gateway's variables and secrets into [`GatewaySettings`], once per isolate.
//!
//! Each refused variable is reported by name as a [`GatewaySettingError`], never with a secret or a
//! subject. A gateway with a refused variable still forwards: the legacy system answers, the canary
//! is disabled, and the health endpoint lists the errors.

pub(in crate::gateway) mod parse;

use crate::gateway::aggregate::shard::SHARDS_MAX;
use crate::gateway::config::parse::{
    VariableError, parse_choice, parse_classify_routes, parse_cohort_overrides, parse_header_name,
    parse_header_names, parse_keys, parse_number, parse_number_or_off, parse_optional_route,
    parse_origin, parse_origins, parse_pointer, parse_prefix, parse_share, parse_switch,
    parse_text_pointer,
};
use crate::gateway::export::sink::{Sink, parse_sinks};
use crate::gateway::notify::webhook::{WebhookTarget, parse_targets};
use crate::gateway::upstream::auth_verdict;
use crate::gateway::upstream::legacy::LegacyContract;
use crate::gateway::upstream::model::ResponseFormat;
use crate::rollout::bucket::{ReleaseName, bucket_salt};
use crate::rollout::signing_key::SigningKey;
use crate::rollout::time_scale::TimeScale;
use jeffrey_http_core::settings::VariableReader;
pub use jeffrey_http_core::settings::{VariableDoc, VariableTable, WorkerVariables};
use jeffrey_http_core::worker_settings;
use jeffrey_terms::{Cohort, Share, Subject};

/// Variables as they were named before version 0.2 and as they are named now. A platform passes these
/// too, so that [`GatewaySettings::parse`] can report one that is still set.
pub const RENAMED_VARIABLES: [(&str, &str); 15] = [
    ("ALERTS", "ALERT_WEBHOOKS"),
    ("ASK_BEFORE_RISE", "CONFIRM_TRAFFIC_INCREASE_WEBHOOKS"),
    ("FORCED_SUBJECTS", "COHORT_OVERRIDES"),
    ("JEFFREY_KEY", "JEFFREY_SIGNING_KEY"),
    ("JEFFREY_OVERRIDE_KEY", "JEFFREY_OVERRIDE_SIGNING_KEY"),
    ("LEGACY_CLASSIFY", "LEGACY_CLASSIFY_ROUTES"),
    ("LEDGER_DAYS", "EVENT_STORE_RETENTION_DAYS"),
    ("LEDGER_MB", "EVENT_STORE_MAX_MB"),
    ("LEDGER_SHARDS", "EVENT_STORE_SHARDS"),
    ("OWN_PREFIX", "ADMIN_PREFIX"),
    ("PLAYGROUND", "SERVE_PLAYGROUND"),
    ("PREVIEW", "LOG_TEXT_PREVIEW"),
    ("RATE_LIMITS", "RATE_LIMITING"),
    ("RESPONSE_SHAPE", "RESPONSE_FORMAT"),
    ("TIME_FACTOR", "TIME_SCALE"),
];

worker_settings! {
    /// Settings of the gateway. A refused variable has its default here and an entry in
    /// `setting_errors`.
    pub struct GatewaySettings, reasons VariableError, errors setting_errors: GatewaySettingError;
    settings {
        /// Name of the release; together with the subject it decides the bucket.
        release: ReleaseName = Gateway RELEASE, "e1-small", |name| Ok(name.parse()?),
            "name of the release, part of the bucket hash: 1 to 64 letters, digits, `-`, `.`, `_`";
        /// Scheme, host and port of the legacy system; `None` if unset, which needs a service binding.
        legacy_origin: Option<String> = Legacy LEGACY_ORIGIN, "", parse_origin,
            "scheme, host and port, such as `https://old.example:8443`, without path or credentials. Required, unless a Worker is bound as the service `LEGACY`, which then gets the requests";
        /// Time limit for the legacy system's response headers on classify requests, in milliseconds
        /// (100 to 60,000); `None` for none. Streamed requests have no limit.
        legacy_timeout_ms: Option<u64> = Legacy LEGACY_TIMEOUT_MS, "off", |ms| parse_number_or_off(ms, 100, 60_000),
            "time limit for the response headers of a buffered classify call, 100 to 60000 ms, or `off`: the gateway then waits as long as the caller does";
        /// Time limit for the model worker's whole response, in milliseconds (50 to 30,000); `None`
        /// for none.
        model_timeout_ms: Option<u64> = Gateway MODEL_TIMEOUT_MS, "2000", |ms| parse_number_or_off(ms, 50, 30_000),
            "time limit for the model worker's whole response, 50 to 30000 ms, or `off`: a call to a model that hangs then never goes to the legacy system";
        /// Format of classify responses by the canary.
        response_format: ResponseFormat = Gateway RESPONSE_FORMAT, "v2.4.2", parse_response_format,
            "format of the model's responses: `v2.4.2`, `native` (`POST /v1/classify` in [api.md](api.md)) or `huggingface` (`[[{\"label\", \"score\"}, …]]`)";
        /// Path prefix of the gateway's own endpoints; requests to other paths are forwarded.
        admin_prefix: String = Gateway ADMIN_PREFIX, "/_jeffrey", parse_prefix,
            "path prefix of the gateway's endpoints";
        /// Name of the request header that holds the subject, in lower case.
        subject_header: String = Gateway SUBJECT_HEADER, "x-user-id", parse_header_name,
            "request header that holds the subject";
        /// Whose word the gateway takes for the subject of a call.
        subject_trust: SubjectTrust = Gateway SUBJECT_TRUST, "anyone", parse_subject_trust,
            "whose word counts for the subject in a header or a body: `anyone`, `secret` (a server that sends `x-jeffrey-subject-secret`) or `client_certificate` (a client whose certificate the platform verified) ([auth.md](auth.md))";
        /// Header with the client's address, for where the platform does not say it; empty for none.
        client_address_header: String = Gateway CLIENT_ADDRESS_HEADER, "", parse_header_name,
            "request header whose last entry is the client's address, where the platform sends no `cf-connecting-ip`, such as `x-real-ip`. Only for a gateway whose requests all come through the proxy that sets it";
        /// Rule for which callers receive a subject cookie.
        subject_cookie: SubjectCookiePolicy = Gateway SUBJECT_COOKIE, "classify", parse_subject_cookie,
            "which responses set a cookie for a caller without a subject: `off`, `classify`, `all`";
        /// Declaration of the authentication; `None` if there is none, which disables the canary.
        canary_auth: Option<CanaryAuth> = Gateway CANARY_AUTH, "", parse_canary_auth,
            "required: who decides whether the canary may answer a caller. `none_required`: the legacy system answers anybody. `check`: the legacy system, asked before each answer of the canary. `credentials_stay_stable`: the canary answers only calls without credentials ([auth.md](auth.md))";
        /// Method and path of the request that asks the legacy system; `None` if unset.
        auth_check: Option<(String, String)> = Gateway CANARY_AUTH_CHECK, "", parse_optional_route,
            "with `CANARY_AUTH=check`, required: a method and a path, such as `GET /session`, that the legacy system answers with a 2xx exactly if it would answer the caller's classify call";
        /// Time for which a verdict of the legacy system is used again, in milliseconds; 0 for never.
        auth_cache_ms: u64 = Gateway CANARY_AUTH_CACHE, "0",
            |seconds| Ok(parse_number(seconds, 0, auth_verdict::CACHE_S_MAX)? * 1_000),
            "time for which a verdict of the check is used again, 0 to 60 seconds; a refusal for 5 seconds at most. 0 asks before every answer";
        /// Headers that the legacy system decides by, in lower case.
        auth_headers: Vec<String> = Gateway CANARY_AUTH_HEADERS, "", parse_header_names,
            "list of the request headers that the legacy system decides by, such as `authorization, cookie, x-api-key`: a verdict that is used again is for callers with the same values. Required if `CANARY_AUTH_CACHE` is not 0";
        /// Headers with which a call stays stable, in lower case.
        stable_headers: Vec<String> = Gateway CANARY_AUTH_STABLE_HEADERS, "", parse_header_names,
            "list of the request headers with which a call stays stable: what no check can see, such as the signature of a body or a one-time token, and with `credentials_stay_stable` every header with credentials besides `Authorization` and `Cookie`";
        /// Time limit for the check, in milliseconds (50 to 10,000).
        auth_timeout_ms: u64 = Gateway CANARY_AUTH_TIMEOUT_MS, "1000", |ms| parse_number(ms, 50, 10_000),
            "time limit for the check, 50 to 10000 ms. After it the legacy system gets the call";
        /// Lifetime of the subject cookie, in days (1 to 400). Browsers cap it at 400 days (RFC 6265bis,
        /// section 5.5).
        subject_cookie_days: u64 = Gateway SUBJECT_COOKIE_DAYS, "30", |days| parse_number(days, 1, 400),
            "lifetime of the cookie, 1 to 400 days";
        /// Share of subjects that stay stable in every release. The larger holdout of a plan takes
        /// precedence.
        holdout: Share = Gateway HOLDOUT, "0%", parse_share,
            "share of the subjects that stay stable in every release. A plan has its own, which may not be smaller";
        /// Canary share of a release whose state was never changed.
        initial_share: Share = Gateway INITIAL_SHARE, "0%", parse_share,
            "share of a release before its first change";
        /// Share of stable classify requests that the model scores as well, after the answer.
        shadow_share: Share = Gateway SHADOW_SHARE, "0%", parse_share,
            "share of the calls of stable that the model scores as well, after a response with a 2xx";
        /// Subjects with a fixed cohort, whatever their bucket.
        cohort_overrides: Vec<(Subject, Cohort)> = Gateway COHORT_OVERRIDES, "", parse_cohort_overrides,
            "list of `SUBJECT=canary` or `SUBJECT=stable`";
        /// Whether the canary is disabled, whatever the rollout object says.
        kill_switch_enabled: bool = Gateway KILL_SWITCH, "off", parse_switch,
            "`on` disables the canary, whatever the rollout object says";
        /// Origins, besides the gateway's own, whose browser requests may be answered by the canary.
        cors_origins: Vec<String> = Gateway CORS_ORIGINS, "", parse_origins,
            "list of other origins whose browser requests the model may answer";
        /// Whether responses name cohort, release and upstream in headers.
        debug_headers_enabled: bool = Gateway DEBUG_HEADERS, "off", parse_switch,
            "`on` or `off`: debug headers on classify responses";
        /// Whether each event is also printed to the Worker's log.
        logs_events_to_console: bool = Gateway LOG_EVENTS, "off", parse_switch,
            "`on` writes each event to the Worker's log, as one JSON line";
        /// Whether the gateway serves the model worker's playground page.
        playground_enabled: bool = Gateway SERVE_PLAYGROUND, "off", parse_switch,
            "`on` serves the model worker's page to every client ([playground.md](playground.md))";
        /// Whether events contain the masked beginning of the text.
        text_preview_enabled: bool = Gateway LOG_TEXT_PREVIEW, "off", parse_switch,
            "`on` adds the first 50 characters of the masked text to events ([masking.md](masking.md))";
        /// Webhook targets that are notified about the rollout.
        alert_webhooks: Vec<WebhookTarget> = Gateway ALERT_WEBHOOKS, "", parse_webhooks,
            "webhook targets for alerts ([rollout.md](rollout.md))";
        /// Webhook targets that are asked before the canary share rises.
        confirm_traffic_increase_webhooks: Vec<WebhookTarget> = Gateway CONFIRM_TRAFFIC_INCREASE_WEBHOOKS, "",
            parse_webhooks,
            "webhook targets that must agree before the share rises ([rollout.md](rollout.md))";
        /// Speed of time of a scaled-time rollout; real time by default.
        time_scale: TimeScale = Gateway TIME_SCALE, "1", parse_time_scale,
            "factor by which a rollout's minutes pass faster, 1 to 600, for a scaled-time rollout ([rollout.md](rollout.md))";
        /// Sinks that receive events in addition to the event store.
        sinks: Vec<Sink> = Gateway SINKS, "", |value| Ok(parse_sinks(value)?),
            "where events go besides the event store ([telemetry.md](telemetry.md))";
        /// Time for which the event store keeps events and minutes, in milliseconds (1 to 90 days).
        event_retention_ms: u64 = Gateway EVENT_STORE_RETENTION_DAYS, "7",
            |days| Ok(parse_number(days, 1, 90)? * 86_400_000),
            "how long events and minutes are kept, 1 to 90 days";
        /// Size above which a shard of the event store deletes the oldest tenth of its events, in bytes
        /// (1 to 9,000 MB): the platform gives a Durable Object, and so a shard, 10 GB.
        event_store_bytes_max: u64 = Gateway EVENT_STORE_MAX_MB, "1000",
            |mb| Ok(parse_number(mb, 1, 9_000)? * 1_000_000),
            "size of a shard's events, compressed, above which it deletes the oldest tenth, 1 to 9000 MB";
        /// Number of shards of the event store, 1 to [`SHARDS_MAX`].
        event_store_shards: u64 = Gateway EVENT_STORE_SHARDS, "1",
            |shards| parse_number(shards, 1, SHARDS_MAX),
            "number of shards of the event store, 1 to 32 ([scale.md](scale.md))";
        /// Whether callers are rate limited; limits also need a signing key.
        rate_limits_enabled: bool = Gateway RATE_LIMITING, "on", parse_switch,
            "`on` limits the calls of each subject and each address that the canary answers; needs `JEFFREY_SIGNING_KEY`";
        /// Whether a request may name a place at which the gateway panics, for tests.
        fault_injection_enabled: bool = Gateway JEFFREY_FAULT_INJECTION, "off", parse_switch,
            "`on` lets a request's header `x-jeffrey-panic` end the instance. For tests only: in production anyone could do so";
        /// Keys that sign response ids and hash subjects, the newest first; without a key both are off.
        signing_keys: Vec<SigningKey> = Secret JEFFREY_SIGNING_KEY, "", parse_keys,
            "signs `x-jeffrey-id`; hashes subjects (differently for each release) and addresses";
        /// Key of the buckets of subjects that are not trusted; `None` draws them by the public hash.
        bucket_salt: Option<SigningKey> = Secret BUCKET_SALT, "", parse_bucket_salt,
            "draws the buckets of subjects that are not trusted by a secret hash, so that callers cannot compute who is canary. Fixed for the life of a release; `jeffrey bucket --salt` uses it";
        /// Secrets by which a server shows that it may name subjects.
        subject_secrets: Vec<SigningKey> = Secret JEFFREY_SUBJECT_SECRET, "", parse_keys,
            "with `SUBJECT_TRUST=secret`, required: what a server sends in `x-jeffrey-subject-secret`";
        /// Keys that sign what a gateway hands on to the next gateway of a chain, the newest first.
        chain_keys: Vec<SigningKey> = Secret JEFFREY_CHAIN_KEY, "", parse_keys,
            "the same secret in two gateways, of which one is the service `LEGACY` of the other: signs the subject and the origin that are handed on in `x-jeffrey-caller`";
        /// Keys that verify override tokens; without a key no token is accepted.
        override_signing_keys: Vec<SigningKey> = Secret JEFFREY_OVERRIDE_SIGNING_KEY, "", parse_keys,
            "verifies override tokens, which are JSON Web Tokens; `jeffrey token` signs with it";
        /// Tokens that permit reading the API. Admin tokens permit it too; without either, reading is
        /// off.
        viewer_tokens: Vec<SigningKey> = Secret JEFFREY_VIEWER_TOKEN, "", parse_keys,
            "bearer token for reading";
        /// Tokens that permit changes and reading; without a token changes are off.
        admin_tokens: Vec<SigningKey> = Secret JEFFREY_ADMIN_TOKEN, "", parse_keys,
            "bearer token for reading and for changes";
    }
    /// Interface of the legacy system: its classify routes and JSON fields.
    group contract: LegacyContract in Legacy {
        classify_endpoints = LEGACY_CLASSIFY_ROUTES, "POST /predict", parse_classify_routes,
            "the classify calls: a method in capitals and a path, or several with commas between; slashes at its end and needless percent-encoding make no difference";
        text_pointer = LEGACY_TEXT, "/text", parse_text_pointer,
            "pointer to the text in a request; required";
        user_pointer = LEGACY_USER, "/user_id", parse_pointer,
            "pointer to the user id in a request, a string or a number";
        label_pointer = LEGACY_LABEL, "/prediction/primary", parse_pointer,
            "pointer to the label in a response, one of the eight names below";
        confidence_pointer = LEGACY_CONFIDENCE, "/prediction/confidence", parse_pointer,
            "pointer to the label's score, 0 to 1";
        route_pointer = LEGACY_ROUTE, "/route", parse_pointer,
            "pointer to the route: `linear_head`, `prototypes`, `regex` or `empty`";
        low_confidence_pointer = LEGACY_LOW_CONFIDENCE, "/prediction/low_confidence", parse_pointer,
            "pointer to the low-confidence boolean";
        rule_pointer = LEGACY_RULE, "/prediction/rule_applied", parse_pointer,
            "pointer to the rule applied; `null` and `false` mean that no rule was";
    }
}

/// How the canary keeps the authentication of the legacy system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryAuth {
    /// The legacy system, which is asked before each answer of the canary.
    Check,
    /// A call with credentials stays stable, whatever they are worth.
    CredentialsStayStable,
    /// The legacy system answers anybody, so the canary does, too.
    NoneRequired,
}

/// Whose word the gateway takes for the subject of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectTrust {
    /// Every caller names itself.
    Anyone,
    /// A client whose certificate the platform verified.
    ClientCertificate,
    /// A server that sends the secret.
    Secret,
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

fn parse_response_format(value: &str) -> Result<ResponseFormat, VariableError> {
    let formats = [
        ("v2.4.2", ResponseFormat::V242),
        ("native", ResponseFormat::Native),
        ("huggingface", ResponseFormat::HuggingFace),
    ];
    parse_choice(value, "v2.4.2, native, huggingface", &formats)
}

fn parse_canary_auth(value: &str) -> Result<Option<CanaryAuth>, VariableError> {
    if value.is_empty() {
        return Ok(None);
    }
    let choices = [
        ("none_required", CanaryAuth::NoneRequired),
        ("check", CanaryAuth::Check),
        ("credentials_stay_stable", CanaryAuth::CredentialsStayStable),
    ];
    parse_choice(value, "none_required, check, credentials_stay_stable", &choices).map(Some)
}

fn parse_subject_cookie(value: &str) -> Result<SubjectCookiePolicy, VariableError> {
    let policies = [
        ("off", SubjectCookiePolicy::Off),
        ("classify", SubjectCookiePolicy::Classify),
        ("all", SubjectCookiePolicy::All),
    ];
    parse_choice(value, "off, classify, all", &policies)
}

fn parse_subject_trust(value: &str) -> Result<SubjectTrust, VariableError> {
    let choices = [
        ("anyone", SubjectTrust::Anyone),
        ("secret", SubjectTrust::Secret),
        ("client_certificate", SubjectTrust::ClientCertificate),
    ];
    parse_choice(value, "anyone, secret, client_certificate", &choices)
}

fn parse_bucket_salt(value: &str) -> Result<Option<SigningKey>, VariableError> {
    if value.is_empty() {
        return Ok(None);
    }
    Ok(Some(bucket_salt(SigningKey::parse(value)?)))
}

fn parse_webhooks(value: &str) -> Result<Vec<WebhookTarget>, VariableError> {
    Ok(parse_targets(value)?)
}

fn parse_time_scale(value: &str) -> Result<TimeScale, VariableError> {
    Ok(TimeScale::new(parse_number(value, 1, TimeScale::FACTOR_MAX)?))
}

/// Variable that was refused, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct GatewaySettingError {
    variable: &'static str,
    reason: VariableError,
}

impl GatewaySettingError {
    /// Returns the name of the variable, with the reason if that shows nothing of the value.
    pub fn to_public_string(&self) -> String {
        if self.reason.shows_value() {
            format!("{}: its value is refused; a viewer's token shows why", self.variable)
        } else {
            self.to_string()
        }
    }
}

impl From<(&'static str, VariableError)> for GatewaySettingError {
    fn from((variable, reason): (&'static str, VariableError)) -> Self {
        Self { variable, reason }
    }
}

impl GatewaySettings {
    /// Parses all variables and records every error in `setting_errors`: first those of variables
    /// that are set under their former names.
    pub fn parse(variables: &WorkerVariables) -> Self {
        let is_set = |(former, _): &(&'static str, _)| variables.0.contains_key(former);
        let renamed = RENAMED_VARIABLES
            .into_iter()
            .filter(is_set)
            .map(|(variable, name)| (variable, VariableError::Renamed { name }));
        let mut settings = Self::read(VariableReader::new(variables, renamed.collect()));
        settings.check_requirements();
        settings
    }

    /// Records an error for each variable that is required, always or beside another one.
    fn check_requirements(&mut self) {
        let is_check = self.canary_auth == Some(CanaryAuth::Check);
        let requirements = [
            (self.canary_auth.is_none(), "CANARY_AUTH", VariableError::MissingCanaryAuth),
            (
                is_check && self.auth_check.is_none(),
                "CANARY_AUTH_CHECK",
                VariableError::MissingAuthCheck,
            ),
            (
                is_check && self.auth_cache_ms > 0 && self.auth_headers.is_empty(),
                "CANARY_AUTH_HEADERS",
                VariableError::MissingAuthHeaders,
            ),
            (
                self.subject_trust == SubjectTrust::Secret && self.subject_secrets.is_empty(),
                "JEFFREY_SUBJECT_SECRET",
                VariableError::MissingSubjectSecret,
            ),
        ];
        for (is_missing, variable, reason) in requirements {
            let is_known = self.setting_errors.iter().any(|error| error.variable == variable);
            if is_missing && !is_known {
                self.setting_errors.push(GatewaySettingError { variable, reason });
            }
        }
    }

    /// Returns the settings, with one more error if neither a variable nor a binding names the
    /// legacy system.
    pub fn with_legacy_binding(mut self, has_binding: bool) -> Self {
        if self.legacy_origin.is_none() && !has_binding {
            let (variable, reason) = ("LEGACY_ORIGIN", VariableError::MissingOrigin);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses variables beside the one that is required; a row of its own replaces it.
    fn parse(variables: &[(&'static str, &str)]) -> GatewaySettings {
        let all = [("CANARY_AUTH", "none_required")].into_iter().chain(variables.iter().copied());
        let variables = all.map(|(name, value)| (name, value.to_owned()));
        GatewaySettings::parse(&WorkerVariables(variables.collect()))
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
    fn without_a_declaration_of_authentication_the_canary_is_disabled() {
        let rows: [(&[(&'static str, &str)], &str); 7] = [
            (&[("SUBJECT_TRUST", "secret")], "JEFFREY_SUBJECT_SECRET: it is not set, and SUBJECT_"),
            (&[("CANARY_AUTH", "")], "CANARY_AUTH: it is not set: who may be answered?"),
            (&[("CANARY_AUTH", "yes")], "CANARY_AUTH: `yes` is not one of none_required, check, "),
            (
                &[("CANARY_AUTH", "check")],
                "CANARY_AUTH_CHECK: it is not set, and CANARY_AUTH=check",
            ),
            (
                &[("CANARY_AUTH", "check"), ("CANARY_AUTH_CHECK", "/session")],
                "CANARY_AUTH_CHECK: `/session` is not METHOD /path",
            ),
            (
                &[
                    ("CANARY_AUTH", "check"),
                    ("CANARY_AUTH_CHECK", "GET /session"),
                    ("CANARY_AUTH_CACHE", "10"),
                ],
                "CANARY_AUTH_HEADERS: it is not set, and a verdict that is used again",
            ),
            (
                &[("CANARY_AUTH", "none_required"), ("CANARY_AUTH_CACHE", "61")],
                "CANARY_AUTH_CACHE: `61` is not a whole number from 0 to 60",
            ),
        ];
        for (variables, expected) in rows {
            let settings = parse(variables);
            assert_eq!(settings.setting_errors.len(), 1, "{variables:?}");
            let message = settings.setting_errors[0].to_string();
            assert!(message.starts_with(expected), "{message}");
            assert!(settings.is_canary_disabled());
        }
        let complete = parse(&[
            ("CANARY_AUTH", "check"),
            ("CANARY_AUTH_CHECK", "HEAD /session?for=predict"),
            ("CANARY_AUTH_CACHE", "10"),
            ("CANARY_AUTH_HEADERS", "Authorization, x-api-key"),
        ]);
        assert_eq!(complete.setting_errors, []);
        assert_eq!(complete.canary_auth, Some(CanaryAuth::Check));
        let route = ("HEAD".to_owned(), "/session?for=predict".to_owned());
        assert_eq!((complete.auth_check, complete.auth_cache_ms), (Some(route), 10_000));
        assert_eq!(complete.auth_headers, ["authorization", "x-api-key"]);
    }

    #[test]
    fn either_time_limit_can_be_off() {
        let both = parse(&[("LEGACY_TIMEOUT_MS", "off"), ("MODEL_TIMEOUT_MS", "off")]);
        assert_eq!((both.legacy_timeout_ms, both.model_timeout_ms), (None, None));
        assert_eq!(both.setting_errors, []);
        let default = parse(&[]);
        assert_eq!((default.legacy_timeout_ms, default.model_timeout_ms), (None, Some(2_000)));
    }

    #[test]
    fn every_error_names_its_variable_value_and_range() {
        let rows = [
            ("CORS_ORIGINS", "https://a, b", "`b` is not http:// or https:// with a host"),
            ("DEBUG_HEADERS", "yes", "`yes` is not one of on, off"),
            ("COHORT_OVERRIDES", "a=canary,b", "entry 2 is not SUBJECT=canary or SUBJECT=stable"),
            ("COHORT_OVERRIDES", "=canary", "entry 1: subject is empty"),
            ("HOLDOUT", "101%", "share 101% is above 100%"),
            ("JEFFREY_SIGNING_KEY", "short", "key of 5 bytes is below the least of 16"),
            ("LEGACY_CLASSIFY_ROUTES", "/predict", "`/predict` is not METHOD /path, or several"),
            ("LEGACY_LABEL", "label", "`label` is not a JSON pointer such as /prediction/primary"),
            ("LEGACY_ORIGIN", "http://h/path", "`http://h/path` is not http:// or https://"),
            ("LEGACY_ORIGIN", "ftp://h", "`ftp://h` is not http:// or https://"),
            (
                "LEGACY_ORIGIN",
                "http://user@h",
                "an origin with a user in it is not taken, nor shown",
            ),
            ("LEGACY_TEXT", "-", "a text is needed to classify"),
            (
                "LEGACY_TIMEOUT_MS",
                "99",
                "`99` is neither `off` nor a whole number from 100 to 60000",
            ),
            (
                "MODEL_TIMEOUT_MS",
                "1e3",
                "`1e3` is neither `off` nor a whole number from 50 to 30000",
            ),
            ("ADMIN_PREFIX", "/", "`/` is not a path such as /_jeffrey"),
            ("ADMIN_PREFIX", "x/", "`x/` is not a path such as /_jeffrey"),
            ("CANARY_AUTH_CHECK", "GET session", "`GET session` is not METHOD /path"),
            ("CANARY_AUTH_HEADERS", "a b", "`a b` is not the name of a header"),
            ("BUCKET_SALT", "short", "key of 5 bytes is below the least of 16"),
            ("SUBJECT_TRUST", "mtls", "`mtls` is not one of anyone, secret, client_certificate"),
            ("CANARY_AUTH_TIMEOUT_MS", "9", "`9` is not a whole number from 50 to 10000"),
            ("SERVE_PLAYGROUND", "yes", "`yes` is not one of on, off"),
            ("RELEASE", "a b", "release `a b` is not 1 to 64 letters"),
            ("RESPONSE_FORMAT", "v2", "`v2` is not one of v2.4.2, native, huggingface"),
            ("SINKS", "logs", "not a list such as"),
            ("SUBJECT_COOKIE", "on", "`on` is not one of off, classify, all"),
            ("SUBJECT_COOKIE_DAYS", "401", "`401` is not a whole number from 1 to 400"),
            ("SUBJECT_HEADER", "x user", "`x user` is not the name of a header"),
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
        let settings = parse(&[("PREVIEW", "on"), ("LOG_EVENTS", "off")]);
        assert_eq!(settings.setting_errors.len(), 1);
        assert_eq!(
            settings.setting_errors[0].to_string(),
            "PREVIEW: it is called LOG_TEXT_PREVIEW now"
        );
        assert!(!settings.text_preview_enabled && settings.is_canary_disabled());
        let taken = RENAMED_VARIABLES.iter().find(|(old, new)| {
            let is_name = |name| VARIABLES.contains(&name);
            is_name(*old) || !is_name(*new)
        });
        assert_eq!(taken, None);
    }

    #[test]
    fn variables_that_are_set_are_used() {
        let settings = parse(&[
            ("LEGACY_CLASSIFY_ROUTES", "POST /predict, PUT /v1/emotion"),
            ("LEGACY_USER", "-"),
            ("LEGACY_ORIGIN", "https://old.example:8443/"),
            ("SUBJECT_HEADER", "X-Account"),
            ("COHORT_OVERRIDES", "a=b=canary, é = stable"),
            ("JEFFREY_SIGNING_KEY", "0123456789abcdef, 0123456789abcdeg"),
            ("KILL_SWITCH", "on"),
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
            ("JEFFREY_ADMIN_TOKEN", "hunter2"),
            ("COHORT_OVERRIDES", "alice@example.org=nobody"),
            ("JEFFREY_SIGNING_KEY", "0123456789abcdef"),
        ]);
        let text = format!("{settings:?} {}", settings.setting_errors[0]);
        for secret in ["hunter2", "alice", "0123456789abcdef"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
