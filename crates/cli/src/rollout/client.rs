//! A gate over HTTP, with a token of the environment.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use crate::Stop;
use crate::traffic::client::agent;
use jeffrey_edge::gate::report::Span;
use jeffrey_edge::gate::tally::Totals;
use jeffrey_edge::rollout::control::Entry;

const ADMIN: &str = "JEFFREY_ADMIN_TOKEN";
const VIEWER: &str = "JEFFREY_VIEWER_TOKEN";

/// How long the gate may take: those who are asked before a rise may take five seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read: a page of the history.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(crate) struct Gate {
    agent: Agent,
    url: String,
    admin: Option<String>,
    viewer: Option<String>,
}

/// Whether one who is told has a test's notice.
#[derive(Deserialize)]
pub(super) struct Tested {
    pub(super) name: String,
    pub(super) status: Option<u16>,
    pub(super) delivered: bool,
}

impl Gate {
    /// # Errors
    /// When the URL is none, or no token is set.
    pub(crate) fn new(url: &str) -> Result<Self, Stop> {
        let token = |name| std::env::var(name).ok().filter(|token| !token.is_empty());
        let (admin, viewer) = (token(ADMIN), token(VIEWER));
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(Stop::Usage(
                "--gate is not http:// or https:// with the gate's own prefix behind",
            ));
        }
        if admin.is_none() && viewer.is_none() {
            return Err(Stop::Usage(
                "the gate is asked with JEFFREY_ADMIN_TOKEN or JEFFREY_VIEWER_TOKEN; neither is set",
            ));
        }
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: agent(1, url.starts_with("https://")), url, admin, viewer })
    }

    /// Where the release stands.
    pub(crate) fn standing(&self) -> Result<Value, Stop> {
        let (status, body) = self.get("/v1/rollout")?;
        expected(status, &body)?;
        parsed(&body)
    }

    /// Hands each entry of the history after a number to `each`, with the line it stands in, until that says stop.
    pub(super) fn history(
        &self,
        mut since: u64,
        mut each: impl FnMut(Entry, &str) -> Result<ControlFlow<()>, Stop>,
    ) -> Result<(), Stop> {
        loop {
            let path = format!("/v1/rollout/history?since={since}&limit=1000");
            let (status, body) = self.get(&path)?;
            expected(status, &body)?;
            let mut last = since;
            for line in String::from_utf8_lossy(&body).lines() {
                let entry: Entry = serde_json::from_str(line)?;
                last = entry.seq;
                if each(entry, line)?.is_break() {
                    return Ok(());
                }
            }
            if last == since {
                return Ok(());
            }
            since = last;
        }
    }

    /// The history's entries after a number.
    pub(crate) fn entries(&self, since: u64) -> Result<Vec<Entry>, Stop> {
        let mut entries = Vec::new();
        self.history(since, |entry, _| {
            entries.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    /// What both cohorts did in some minutes.
    pub(crate) fn totals(&self, span: Span) -> Result<Totals, Stop> {
        let Span { since, before } = span;
        let (status, body) = self.get(&format!("/v1/totals?since={since}&before={before}"))?;
        expected(status, &body)?;
        parsed(&body)
    }

    /// Passes a wish on; the inner error is the gate's refusal.
    pub(super) fn wish(&self, wish: &Value) -> Result<Result<Value, String>, Stop> {
        let (status, body) = self.post("/v1/admin/rollout", wish.to_string().as_bytes())?;
        if status == 409 {
            return Ok(Err(message(&body).unwrap_or_else(|| "refused".to_owned())));
        }
        expected(status, &body)?;
        parsed(&body).map(Ok)
    }

    pub(super) fn test_alert(&self) -> Result<Vec<Tested>, Stop> {
        let (status, body) = self.post("/v1/admin/alerts/test", b"")?;
        expected(status, &body)?;
        parsed(&body)
    }

    /// Hands over a release check.
    pub(crate) fn validation(&self, report: &[u8]) -> Result<(), Stop> {
        let (status, body) = self.post("/v1/admin/validation", report)?;
        expected(status, &body)
    }

    fn get(&self, path: &str) -> Result<(u16, Vec<u8>), Stop> {
        let token = self.viewer.as_ref().or(self.admin.as_ref());
        let asked = self.agent.get(format!("{}{path}", self.url));
        let asked = asked.header("authorization", bearer(token));
        read(asked.config().timeout_global(Some(TIMEOUT)).build().call())
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), Stop> {
        if self.admin.is_none() {
            return Err(Stop::Usage("this needs JEFFREY_ADMIN_TOKEN, which is not set"));
        }
        let asked = self.agent.post(format!("{}{path}", self.url));
        let asked = asked.header("authorization", bearer(self.admin.as_ref()));
        read(asked.config().timeout_global(Some(TIMEOUT)).build().send(body))
    }
}

fn bearer(token: Option<&String>) -> String {
    format!("Bearer {}", token.map_or("", |token| token.as_str()))
}

fn read(answer: Result<Response<Body>, ureq::Error>) -> Result<(u16, Vec<u8>), Stop> {
    let mut answer = answer.map_err(|error| Stop::Gate(error.to_string()))?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok((status, body.map_err(|error| Stop::Gate(error.to_string()))?))
}

fn expected(status: u16, body: &[u8]) -> Result<(), Stop> {
    if status == 200 {
        return Ok(());
    }
    let said = message(body).unwrap_or_else(|| "nothing".to_owned());
    Err(Stop::Gate(format!("answered {status}: {said}")))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Stop> {
    serde_json::from_slice(body).map_err(|_| Stop::Gate("answered something else".to_owned()))
}

fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["error"]["message"].as_str()?.to_owned())
}
