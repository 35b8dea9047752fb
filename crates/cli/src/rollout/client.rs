//! Client for the gateway's admin API over HTTP, with tokens from the environment.
//!
//! Reads use the viewer token, or the admin token if there is no viewer token; commands use the
//! admin token. A status other than 200 is an error with the gateway's message; 409, the refusal of
//! a command, is returned to the caller.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use crate::CliError;
use crate::loadtest::client::build_agent;
use jeffrey_edge::gateway::aggregate::totals::CohortTotals;
use jeffrey_edge::gateway::aggregate::weekly_report::MinuteRange;
use jeffrey_edge::rollout::history::HistoryEntry;
use jeffrey_terms::by_cohort::ByCohort;

/// Environment variable with the token for commands and events.
pub(crate) const ADMIN_TOKEN_VARIABLE: &str = "JEFFREY_ADMIN_TOKEN";
const VIEWER_TOKEN_VARIABLE: &str = "JEFFREY_VIEWER_TOKEN";

/// Longest duration of one request. The gateway may wait five seconds for its traffic increase
/// webhooks before it answers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest response body that is read, in bytes: enough for a page of the history.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(crate) struct GatewayClient {
    agent: Agent,
    url: String,
    admin_token: Option<String>,
    viewer_token: Option<String>,
}

/// Result of a test notification to one alert webhook; `status` is `None` without a response.
#[derive(Deserialize)]
pub(super) struct TestAlertDelivery {
    pub(super) name: String,
    pub(super) status: Option<u16>,
    pub(super) delivered: bool,
}

impl GatewayClient {
    /// Creates a client for the admin API at `url`, which `--gateway`, `JEFFREY_GATEWAY_URL` or the
    /// default gave.
    ///
    /// # Errors
    /// Returns [`CliError::Usage`] as [`GatewayClient::new`] does, and if only the variable's old
    /// name is set: the command would reach another gateway than the caller meant.
    pub(crate) fn from_environment(url: &str) -> Result<Self, CliError> {
        let is_set = |name| std::env::var_os(name).is_some();
        if is_set("JEFFREY_GATE") && !is_set("JEFFREY_GATEWAY_URL") {
            return Err(CliError::Usage(
                "JEFFREY_GATE is set, but the variable is JEFFREY_GATEWAY_URL now: rename or unset it",
            ));
        }
        Self::new(url)
    }

    /// Creates a client for the admin API at `url`, with the tokens from the environment.
    ///
    /// # Errors
    /// Returns [`CliError::Usage`] if the URL is not `http://` or `https://`, or if neither token
    /// is set.
    pub(crate) fn new(url: &str) -> Result<Self, CliError> {
        let token = |name| std::env::var(name).ok().filter(|token| !token.is_empty());
        let (admin_token, viewer_token) =
            (token(ADMIN_TOKEN_VARIABLE), token(VIEWER_TOKEN_VARIABLE));
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(CliError::Usage(
                "the gateway URL must be http:// or https:// and end in the admin prefix",
            ));
        }
        if admin_token.is_none() && viewer_token.is_none() {
            return Err(CliError::Usage(
                "set JEFFREY_ADMIN_TOKEN or JEFFREY_VIEWER_TOKEN: neither is set",
            ));
        }
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self {
            agent: build_agent(1, url.starts_with("https://")),
            url,
            admin_token,
            viewer_token,
        })
    }

    /// Returns the status of the release as JSON.
    pub(crate) fn fetch_status(&self) -> Result<Value, CliError> {
        let (status, body) = self.get("/v1/rollout")?;
        check_status(status, &body)?;
        parse_body(&body)
    }

    /// Passes each history entry after `since` to `on_entry`, with its line, until `on_entry`
    /// breaks or the history ends.
    pub(super) fn visit_history(
        &self,
        mut since: u64,
        mut on_entry: impl FnMut(HistoryEntry, &str) -> Result<ControlFlow<()>, CliError>,
    ) -> Result<(), CliError> {
        loop {
            let path = format!("/v1/rollout/history?since={since}&limit=1000");
            let (status, body) = self.get(&path)?;
            check_status(status, &body)?;
            let mut last_seq = since;
            for line in String::from_utf8_lossy(&body).lines() {
                let entry: HistoryEntry = serde_json::from_str(line)?;
                last_seq = entry.seq;
                if on_entry(entry, line)?.is_break() {
                    return Ok(());
                }
            }
            if last_seq == since {
                return Ok(());
            }
            since = last_seq;
        }
    }

    /// Returns the history entries after the entry with id `since`.
    pub(crate) fn fetch_history(&self, since: u64) -> Result<Vec<HistoryEntry>, CliError> {
        let mut entries = Vec::new();
        self.visit_history(since, |entry, _| {
            entries.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    /// Returns the totals of both cohorts over the minutes of `span`.
    pub(crate) fn fetch_totals(
        &self,
        span: MinuteRange,
    ) -> Result<ByCohort<CohortTotals>, CliError> {
        let MinuteRange { after: since, before } = span;
        let (status, body) = self.get(&format!("/v1/totals?since={since}&before={before}"))?;
        check_status(status, &body)?;
        parse_body(&body)
    }

    /// Sends a command; the inner error is the gateway's reason for a refusal.
    pub(super) fn send_command(&self, command: &Value) -> Result<Result<Value, String>, CliError> {
        let (status, body) = self.post("/v1/admin/rollout", command.to_string().as_bytes())?;
        if status == 409 {
            return Ok(Err(error_message(&body).unwrap_or_else(|| "refused".to_owned())));
        }
        check_status(status, &body)?;
        parse_body(&body).map(Ok)
    }

    pub(super) fn send_test_alert(&self) -> Result<Vec<TestAlertDelivery>, CliError> {
        let (status, body) = self.post("/v1/admin/alerts/test", b"")?;
        check_status(status, &body)?;
        parse_body(&body)
    }

    /// Posts the JSON report of a release check.
    pub(crate) fn post_validation(&self, report: &[u8]) -> Result<(), CliError> {
        let (status, body) = self.post("/v1/admin/validation", report)?;
        check_status(status, &body)
    }

    fn get(&self, path: &str) -> Result<(u16, Vec<u8>), CliError> {
        let token = self.viewer_token.as_ref().or(self.admin_token.as_ref());
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = request.header("authorization", bearer_header(token));
        self.read_response(request.config().timeout_global(Some(REQUEST_TIMEOUT)).build().call())
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), CliError> {
        if self.admin_token.is_none() {
            return Err(CliError::Usage(
                "this command needs JEFFREY_ADMIN_TOKEN, which is not set",
            ));
        }
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("authorization", bearer_header(self.admin_token.as_ref()));
        let request = request.config().timeout_global(Some(REQUEST_TIMEOUT)).build();
        self.read_response(request.send(body))
    }

    fn read_response(
        &self,
        response: Result<Response<Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>), CliError> {
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec();
        Ok((status, body.map_err(|error| CliError::Gateway(error.to_string()))?))
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let Self { url, .. } = self;
        CliError::Gateway(format!(
            "cannot reach {url}: {error}; is it running? (`make dev` starts one, --gateway URL names another)"
        ))
    }
}

fn bearer_header(token: Option<&String>) -> String {
    format!("Bearer {}", token.map_or("", |token| token.as_str()))
}

fn check_status(status: u16, body: &[u8]) -> Result<(), CliError> {
    if status == 200 {
        return Ok(());
    }
    let message = error_message(body).unwrap_or_else(|| "no message".to_owned());
    Err(CliError::Gateway(format!("HTTP {status}: {message}")))
}

fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body)
        .map_err(|_| CliError::Gateway("unexpected response body".to_owned()))
}

fn error_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["error"]["message"].as_str()?.to_owned())
}
