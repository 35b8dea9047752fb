//! What the gate itself answers, below its prefix: health, the release's standing, changes by hand,
//! and the same decision for OpenFeature clients (OFREP, <https://openfeature.dev/docs/reference/technologies/server/ofrep>).

use serde::{Deserialize, Serialize};

use super::access::{AccessError, Role};
use super::breaker::Breaker;
use super::contract::Pointer;
use super::figures::Both;
use super::intake::Head;
use super::receipt::ReceiptError;
use super::settings::Settings;
use super::words;
use crate::rollout::decision::{Answerable, Asked, Decision, Rules, decide};
use crate::rollout::permit::Validation;
use crate::rollout::share::InForce;
use crate::rollout::standing::{Change, ChangeError, Standing};
use crate::rollout::state::Command;
use crate::rollout::view::View;
use jeffrey_terms::{Cohort, Subject, UnixMs};

/// Longest body of these endpoints, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Longest command, in bytes: a plan may be in it.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// Headers of every file of the page: it loads and reaches nothing but the gate.
pub const PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// One of the gate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `DELETE /v1/admin/subjects`
    Erase,
    /// `GET /v1/admin/events`
    Events,
    /// `POST /v1/feedback`
    Feedback,
    /// `GET /health`
    Health,
    /// `GET /metrics`
    Metrics,
    /// `GET /v1/minutes`
    Minutes,
    /// `POST /ofrep/v1/evaluate/flags/{key}`
    Ofrep(&'a str),
    /// `POST /v1/admin/rollout`
    Command,
    /// `GET /dashboard/…`: a file of that page.
    Dashboard(&'a str),
    /// `GET /playground/…`: a file of the model worker's page.
    Playground(&'a str),
    /// `GET /v1/rollout/decisions`
    Decisions,
    /// `GET /v1/rollout/history`
    History,
    /// `GET /v1/rollout/live`
    Live,
    /// `GET /v1/rollout`
    Rollout,
    /// `POST /v1/admin/alerts/test`
    TestAlert,
    /// `POST /v1/admin/validation`
    Validation,
    /// `PUT /v1/admin/share`
    Share,
    /// `GET /v1/series`
    Series,
    /// `GET /v1/sinks`
    Sinks,
    /// `GET /v1/totals`
    Totals,
}

impl<'a> Endpoint<'a> {
    /// The endpoint of a path below the prefix.
    ///
    /// # Errors
    /// [`OwnError::NotFound`], or [`OwnError::Method`] with the method that the path takes.
    pub fn of(method: &str, path: &'a str) -> Result<Self, OwnError> {
        // With the interface's version before it or without.
        let plain = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let (endpoint, takes) = match plain {
            "/admin/events" => (Self::Events, "GET"),
            "/admin/share" => (Self::Share, "PUT"),
            "/admin/subjects" => (Self::Erase, "DELETE"),
            "/feedback" => (Self::Feedback, "POST"),
            "/health" => (Self::Health, "GET"),
            "/metrics" => (Self::Metrics, "GET"),
            "/minutes" => (Self::Minutes, "GET"),
            "/admin/alerts/test" => (Self::TestAlert, "POST"),
            "/admin/rollout" => (Self::Command, "POST"),
            "/admin/validation" => (Self::Validation, "POST"),
            "/rollout" => (Self::Rollout, "GET"),
            "/rollout/decisions" => (Self::Decisions, "GET"),
            "/rollout/history" => (Self::History, "GET"),
            "/rollout/live" => (Self::Live, "GET"),
            "/series" => (Self::Series, "GET"),
            "/sinks" => (Self::Sinks, "GET"),
            "/totals" => (Self::Totals, "GET"),
            _ => {
                let file = |folder| {
                    path.strip_prefix(folder)
                        .filter(|rest: &&str| rest.is_empty() || rest.starts_with('/'))
                };
                let key = path.strip_prefix("/ofrep/v1/evaluate/flags/");
                let key = key.filter(|key| !key.is_empty() && !key.contains('/'));
                let playground = file("/playground").filter(|file| is_playground(file));
                match (file("/dashboard"), playground, key) {
                    (Some(file), ..) => (Self::Dashboard(file), "GET"),
                    (None, Some(file), _) => (Self::Playground(file), "GET"),
                    (None, None, Some(key)) => (Self::Ofrep(key), "POST"),
                    (None, None, None) => return Err(OwnError::NotFound),
                }
            }
        };
        if method == takes || (method == "HEAD" && takes == "GET") {
            Ok(endpoint)
        } else {
            Err(OwnError::Method { takes })
        }
    }

    /// Who may call it; `None` for everybody.
    pub const fn role(self) -> Option<Role> {
        match self {
            // The page is the same for everybody; what it shows it asks for with a token.
            Self::Dashboard(_) | Self::Playground(_) | Self::Feedback | Self::Health => None,
            Self::Decisions
            | Self::History
            | Self::Live
            | Self::Metrics
            | Self::Minutes
            | Self::Ofrep(_)
            | Self::Rollout
            | Self::Series
            | Self::Sinks
            | Self::Totals => Some(Role::Viewer),
            Self::Command
            | Self::Erase
            | Self::Events
            | Self::Share
            | Self::TestAlert
            | Self::Validation => Some(Role::Admin),
        }
    }
}

/// Whether the model worker's page is made of this file; what else that worker answers is not for everybody.
fn is_playground(file: &str) -> bool {
    let kinds = [".css", ".js", ".svg"];
    matches!(file, "" | "/")
        || file.starts_with("/models/")
        || file.starts_with("/wasm/")
        || (file.rfind('/') == Some(0) && kinds.iter().any(|kind| file.ends_with(kind)))
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

/// Why the gate answers with an error of its own. Messages hold nothing of a classify call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// Without the right.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The change cannot be made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The caller asks too often.
    #[error("too many requests: the most is set for {per_s} seconds, try again after them")]
    Limited {
        /// The period, in seconds.
        per_s: u64,
    },
    /// Another method.
    #[error("this path takes {takes}")]
    Method {
        /// The method that it takes.
        takes: &'static str,
    },
    /// No such path of ours.
    #[error("no such path below the gate's prefix")]
    NotFound,
    /// What was asked of the rollout is not done.
    #[error("{why}")]
    NotDone {
        /// Why, in a sentence.
        why: String,
    },
    /// The body is not what is expected.
    #[error("the body is not {expected}")]
    NotJson {
        /// The shape expected.
        expected: &'static str,
    },
    /// The old system took longer than it may.
    #[error("the old system did not answer within {timeout_ms} ms")]
    OldSystemSlow {
        /// The limit.
        timeout_ms: u64,
    },
    /// The old system cannot be reached, or what it sent is not HTTP.
    #[error("the old system could not be reached or sent no valid answer")]
    OldSystemUnreachable,
    /// Nothing names the old system.
    #[error("nothing names the old system: set LEGACY_ORIGIN or bind LEGACY")]
    NoOldSystem,
    /// The ledger did not answer.
    #[error("the ledger did not answer")]
    LedgerAway,
    /// The answer has its verdict already.
    #[error("this answer has its verdict already")]
    Judged,
    /// No key is set, so no id was ever given.
    #[error("no JEFFREY_KEY is set, so this is switched off")]
    NoKey,
    /// The id of an answer is not taken.
    #[error(transparent)]
    Receipt(ReceiptError),
    /// The rollout object did not answer.
    #[error("the rollout object did not answer")]
    RolloutAway,
    /// The answer is not in the ledger, or no longer.
    #[error("no answer of this id is kept")]
    Unknown,
    /// The ledger has no such part.
    #[error("shard {part} is none of the ledger's {shards}, counted from 0")]
    Shard {
        /// The part asked for.
        part: u64,
        /// How many there are.
        shards: u64,
    },
    /// The body is too large.
    #[error("the body is above the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl OwnError {
    /// The one table from error to status and code.
    const fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::Access(AccessError::Missing) => (401, "token_missing"),
            Self::Access(AccessError::Off { .. }) => (403, "switched_off"),
            Self::Access(AccessError::Wrong) => (403, "token_wrong"),
            Self::Change(ChangeError::Conflict { .. }) => (409, "version_conflict"),
            Self::Change(ChangeError::Empty) => (400, "change_empty"),
            Self::Change(ChangeError::Planned) => (409, "plan_moves_share"),
            Self::Change(ChangeError::Share(_)) => (400, "share_invalid"),
            Self::Judged => (409, "verdict_given"),
            Self::LedgerAway => (503, "ledger_away"),
            Self::Limited { .. } => (429, "too_many_requests"),
            Self::Method { .. } => (405, "method_not_allowed"),
            Self::NoKey => (403, "switched_off"),
            Self::NoOldSystem => (503, "old_system_unset"),
            Self::NotDone { .. } => (409, "not_done"),
            Self::NotFound => (404, "not_found"),
            Self::NotJson { .. } => (400, "body_invalid"),
            Self::OldSystemSlow { .. } => (504, "old_system_slow"),
            Self::OldSystemUnreachable => (502, "old_system_unreachable"),
            Self::Receipt(ReceiptError::Ahead { .. } | ReceiptError::Form) => (400, "id_invalid"),
            Self::Receipt(ReceiptError::Forged) => (403, "id_forged"),
            Self::Receipt(ReceiptError::Old { .. }) => (410, "id_old"),
            Self::RolloutAway => (503, "rollout_away"),
            Self::Shard { .. } => (400, "shard_invalid"),
            Self::TooLarge { .. } => (413, "body_too_large"),
            Self::Unknown => (404, "id_unknown"),
        }
    }

    /// The reply that says so.
    pub fn reply(&self) -> Reply {
        #[derive(Serialize)]
        struct Shape<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'a str,
            message: &'a str,
        }
        let (status, code) = self.status_and_code();
        let message = self.to_string();
        let mut reply = Reply::json(status, &Shape { error: Inner { code, message: &message } });
        let more = match self {
            Self::Access(AccessError::Missing) => Some(("www-authenticate", "Bearer".to_owned())),
            Self::Limited { per_s } => Some(("retry-after", per_s.to_string())),
            Self::Method { takes } => Some(("allow", (*takes).to_owned())),
            _ => None,
        };
        reply.headers.extend(more);
        reply
    }
}

impl Reply {
    /// JSON that nobody keeps.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        let headers = [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        // Our own shapes: string keys, finite numbers.
        let body = serde_json::to_vec(value).expect("a shape of the gate");
        Self { status, headers, body }
    }
}

/// The subject whose events are to be erased, as the body names it.
///
/// # Errors
/// [`OwnError::NotJson`] when the body names none.
pub fn erasure(body: &[u8]) -> Result<Subject, OwnError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        subject: String,
    }
    const EXPECTED: &str = "{\"subject\": 1 to 256 bytes}";
    let shape: Shape =
        serde_json::from_slice(body).map_err(|_| OwnError::NotJson { expected: EXPECTED })?;
    Subject::parse(shape.subject).map_err(|_| OwnError::NotJson { expected: EXPECTED })
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// After the one of this number.
    pub since: u64,
    /// So many at most.
    pub limit: u64,
    /// Of this part of the ledger.
    pub shard: u64,
}

/// The page that a query asks for: `since` (all without it), `limit` (1,000 without it) and `shard` (the first
/// without it). What is no number is as good as none.
pub fn page(head: &Head) -> Page {
    let number =
        |name, other| head.query(name).and_then(|value| value.parse().ok()).unwrap_or(other);
    Page { since: number("since", 0), limit: number("limit", 1_000), shard: number("shard", 0) }
}

/// A minute that comes after all: SQLite's largest number.
pub const LAST: u64 = i64::MAX as u64;

/// Which minutes a query asks for: those after `since` and before `before`, all without them.
pub fn between(head: &Head) -> (u64, u64) {
    let number = |name| head.query(name).and_then(|value| value.parse().ok());
    (number("since").unwrap_or(0).min(LAST), number("before").unwrap_or(LAST).min(LAST))
}

/// How the gate is: 503 while a variable is refused, because then nobody is canary.
pub fn health(settings: &Settings, in_force: InForce, breaker: &Breaker) -> Reply {
    #[derive(Serialize)]
    struct Health<'a> {
        status: &'static str,
        release: &'a str,
        share_basis_points: u16,
        closed: bool,
        breaker: Option<&'static str>,
        faults: Vec<String>,
        /// How a classify call is made: for the page that makes one.
        classify: Option<Classify<'a>>,
        version: &'static str,
    }
    #[derive(Serialize)]
    struct Classify<'a> {
        method: &'a str,
        path: &'a str,
        text: &'a Pointer,
        user: Option<&'a Pointer>,
        label: Option<&'a Pointer>,
        confidence: Option<&'a Pointer>,
    }
    let contract = &settings.contract;
    let classify = contract.classify.first().map(|(method, path)| Classify {
        method,
        path,
        text: &contract.text,
        user: contract.user.as_ref(),
        label: contract.label.as_ref(),
        confidence: contract.confidence.as_ref(),
    });
    let faults: Vec<String> = settings.faults.iter().map(ToString::to_string).collect();
    let open = breaker.open();
    let status = match (faults.is_empty(), open) {
        (false, _) => "failed",
        (true, Some(_)) => "degraded",
        (true, None) => "ok",
    };
    let health = Health {
        status,
        release: settings.release.as_str(),
        share_basis_points: in_force.share.basis_points(),
        closed: in_force.closed || settings.closed(),
        breaker: open.map(|kind| kind.name()),
        faults,
        classify,
        version: env!("CARGO_PKG_VERSION"),
    };
    Reply::json(if health.faults.is_empty() { 200 } else { 503 }, &health)
}

/// The release's standing; its view where a plan is in force, with what both cohorts did since the stage began,
/// where the ledger says so.
pub fn standing(
    settings: &Settings,
    standing: &Standing,
    view: Option<&View>,
    figures: Option<&Both>,
) -> Reply {
    #[derive(Serialize)]
    struct Shape<'a> {
        release: &'a str,
        #[serde(flatten)]
        standing: &'a Standing,
        /// In one sentence.
        says: String,
        says_fr: String,
        /// What may be asked while no plan is in force; with one, its view says it.
        can: &'a [&'a str],
        rollout: Option<&'a View>,
        figures: Option<&'a Both>,
    }
    let release = settings.release.as_str();
    let says = words::line(release, standing.share, standing.killed, view);
    let says_fr = words::line_fr(release, standing.share, standing.killed, view);
    let can: &[&str] = if view.is_none() { &["start"] } else { &[] };
    Reply::json(200, &Shape { release, standing, says, says_fr, can, rollout: view, figures })
}

/// What a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The word.
    pub command: Word,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who, as they say.
    #[serde(default)]
    pub by: String,
    /// A plan to come into force; the one in force, or the shipped one, without it.
    pub plan: Option<String>,
}

/// The words of a rollout.
#[allow(missing_docs, reason = "each is a command of the state machine, `plan` aside")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Abort,
    Advance,
    Approve,
    Pause,
    /// Puts a plan into force and asks for nothing else.
    Plan,
    Resume,
    Rollback,
    Start,
}

impl Wish {
    /// The command of the state machine; `None` of a plan alone.
    pub fn command(&self) -> Option<Command> {
        let reason = self.reason.clone();
        Some(match self.command {
            Word::Abort => Command::Abort { reason },
            Word::Advance => Command::Advance { reason },
            Word::Approve => Command::Approve,
            Word::Pause => Command::Pause { reason },
            Word::Plan => return None,
            Word::Resume => Command::Resume { reason },
            Word::Rollback => Command::RollBack { reason },
            Word::Start => Command::Start,
        })
    }
}

/// A wish.
///
/// # Errors
/// [`OwnError::NotJson`] when the body is none, or a reason or name is longer than 500 characters.
pub fn wish(body: &[u8]) -> Result<Wish, OwnError> {
    const EXPECTED: &str = "{\"command\": \"start\", \"plan\", \"approve\", \"pause\", \"resume\", \"advance\", \"rollback\" or \
                            \"abort\", \"reason\"?: up to 500 characters, \"by\"?: the same, \"plan\"?: a plan's text}";
    let expected = OwnError::NotJson { expected: EXPECTED };
    let wish: Wish = serde_json::from_slice(body).map_err(|_| expected.clone())?;
    let fits = |text: &str| text.chars().count() <= 500;
    if fits(&wish.reason) && fits(&wish.by) { Ok(wish) } else { Err(expected) }
}

/// A release check, as `jeffrey validate --json` writes it: of which model, and whether it passed.
///
/// # Errors
/// [`OwnError::NotJson`] when the body is none.
pub fn validation(body: &[u8], now: UnixMs) -> Result<Validation, OwnError> {
    #[derive(Deserialize)]
    struct Shape {
        passed: bool,
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        sha256: String,
    }
    const EXPECTED: &str = "a report of `jeffrey validate --json` with the model's sha256";
    let shape: Shape =
        serde_json::from_slice(body).map_err(|_| OwnError::NotJson { expected: EXPECTED })?;
    let sha256 = shape.model.sha256;
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(OwnError::NotJson { expected: EXPECTED });
    }
    Ok(Validation { model_sha256: sha256, passed: shape.passed, heard: now })
}

/// A change by hand.
///
/// # Errors
/// [`OwnError::NotJson`] when the body is none.
pub fn change(body: &[u8]) -> Result<Change, OwnError> {
    const EXPECTED: &str = "{\"version\": number, \"share\"?: \"10%\", \"killed\"?: true or false}";
    serde_json::from_slice(body).map_err(|_| OwnError::NotJson { expected: EXPECTED })
}

/// The rules for one request.
pub fn rules(settings: &Settings, in_force: InForce) -> Rules<'_> {
    Rules {
        release: &settings.release,
        share: in_force.share,
        // The plan's, once one is in force: what its gates compare at the last stage. It is refused when it is smaller.
        holdout: settings.holdout.max(in_force.holdout),
        closed: in_force.closed || settings.closed(),
        forced: &settings.forced,
    }
}

/// An OFREP evaluation: the decision that a classify call with this subject would get.
pub fn ofrep(key: &str, body: &[u8], settings: &Settings, in_force: InForce) -> Reply {
    #[derive(Deserialize)]
    struct Request {
        context: Option<Context>,
    }
    #[derive(Deserialize)]
    struct Context {
        #[serde(rename = "targetingKey")]
        targeting_key: Option<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Refusal<'a> {
        key: &'a str,
        error_code: &'static str,
        error_details: &'static str,
    }
    let refuse = |status, error_code, error_details| {
        Reply::json(status, &Refusal { key, error_code, error_details })
    };
    if key != settings.release.as_str() {
        return refuse(404, "FLAG_NOT_FOUND", "the flag's key is the name of the release");
    }
    let Ok(request) = serde_json::from_slice::<Request>(body) else {
        return refuse(400, "PARSE_ERROR", "the body is not {\"context\": {\"targetingKey\": …}}");
    };
    let subject = request.context.and_then(|context| context.targeting_key);
    let Some(subject) = subject.filter(|subject| !subject.is_empty()) else {
        return refuse(400, "TARGETING_KEY_MISSING", "context.targetingKey is missing or empty");
    };
    let Ok(subject) = Subject::parse(subject) else {
        return refuse(400, "INVALID_CONTEXT", "context.targetingKey is above 256 bytes");
    };
    let asked =
        Asked { subject: Some(&subject), wanted: None, sticky: true, answerable: Answerable::Yes };
    Reply::json(200, &evaluation(key, &decide(&asked, &rules(settings, in_force))))
}

#[derive(Serialize)]
struct Evaluation<'a> {
    key: &'a str,
    /// Whether the model answers.
    value: bool,
    variant: Cohort,
    reason: &'static str,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    by: &'static str,
    bucket: Option<u16>,
}

fn evaluation<'a>(key: &'a str, decision: &Decision) -> Evaluation<'a> {
    use crate::rollout::decision::By;
    let reason = match decision.by {
        By::Bucket | By::Holdout => "SPLIT",
        By::Closed => "DISABLED",
        By::Forced | By::Override => "TARGETING_MATCH",
        By::ForeignOrigin | By::NoSubject | By::NoText | By::Streamed => "DEFAULT",
    };
    Evaluation {
        key,
        value: decision.cohort == Cohort::Canary,
        variant: decision.cohort,
        reason,
        metadata: Metadata {
            by: decision.by.name(),
            bucket: decision.bucket.map(|bucket| bucket.place()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::settings::Variables;
    use crate::rollout::share::Ask;
    use jeffrey_terms::Share;

    fn in_force(points: u16) -> InForce {
        let share = Share::from_basis_points(points).unwrap();
        InForce { share, holdout: Share::NONE, closed: false, ask: Ask::No }
    }

    fn json(reply: &Reply) -> serde_json::Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn each_path_takes_its_method_and_asks_for_its_role() {
        let rows = [
            ("GET", "/health", Ok(Endpoint::Health)),
            ("HEAD", "/health", Ok(Endpoint::Health)),
            ("POST", "/health", Err(OwnError::Method { takes: "GET" })),
            ("GET", "/v1/rollout", Ok(Endpoint::Rollout)),
            ("GET", "/rollout", Ok(Endpoint::Rollout)),
            ("GET", "/v1", Err(OwnError::NotFound)),
            ("GET", "/v1/v1/rollout", Err(OwnError::NotFound)),
            ("GET", "/metrics", Ok(Endpoint::Metrics)),
            ("POST", "/v1/feedback", Ok(Endpoint::Feedback)),
            ("DELETE", "/admin/subjects", Ok(Endpoint::Erase)),
            ("GET", "/admin/events", Ok(Endpoint::Events)),
            ("PUT", "/v1/admin/share", Ok(Endpoint::Share)),
            ("GET", "/v1/admin/share", Err(OwnError::Method { takes: "PUT" })),
            ("POST", "/ofrep/v1/evaluate/flags/e1", Ok(Endpoint::Ofrep("e1"))),
            ("POST", "/ofrep/v1/evaluate/flags/", Err(OwnError::NotFound)),
            ("POST", "/ofrep/v1/evaluate/flags/a/b", Err(OwnError::NotFound)),
            ("GET", "", Err(OwnError::NotFound)),
            ("GET", "/", Err(OwnError::NotFound)),
            ("GET", "/health/", Err(OwnError::NotFound)),
            ("GET", "/dashboard/app.js", Ok(Endpoint::Dashboard("/app.js"))),
            ("GET", "/playground", Ok(Endpoint::Playground(""))),
            ("GET", "/playground/", Ok(Endpoint::Playground("/"))),
            ("GET", "/playground/app.js", Ok(Endpoint::Playground("/app.js"))),
            (
                "GET",
                "/playground/models/index.json",
                Ok(Endpoint::Playground("/models/index.json")),
            ),
            ("GET", "/playgrounds", Err(OwnError::NotFound)),
            ("GET", "/playground/metrics", Err(OwnError::NotFound)),
            ("GET", "/playground/health", Err(OwnError::NotFound)),
            ("GET", "/playground/v1/a.js", Err(OwnError::NotFound)),
            ("POST", "/playground/", Err(OwnError::Method { takes: "GET" })),
        ];
        for (method, path, expected) in rows {
            assert_eq!(Endpoint::of(method, path), expected, "{method} {path}");
        }
        assert_eq!(Endpoint::Share.role(), Some(Role::Admin));
        assert_eq!(Endpoint::Rollout.role(), Some(Role::Viewer));
        assert_eq!(Endpoint::Ofrep("e1").role(), Some(Role::Viewer));
        assert_eq!(Endpoint::Erase.role(), Some(Role::Admin));
        assert_eq!(Endpoint::Events.role(), Some(Role::Admin));
        assert_eq!(Endpoint::Metrics.role(), Some(Role::Viewer));
        assert_eq!(Endpoint::Sinks.role(), Some(Role::Viewer));
        assert_eq!(Endpoint::Health.role(), None);
        assert_eq!(Endpoint::Feedback.role(), None);
    }

    #[test]
    fn an_evaluation_is_the_decision_of_a_classify_call() {
        let settings = Settings::parse(&Variables::default());
        let release = settings.release.as_str().to_owned();
        let ask =
            |points, body: &str| ofrep(&release, body.as_bytes(), &settings, in_force(points));
        let all = json(&ask(10_000, r#"{"context":{"targetingKey":"alice"}}"#));
        assert_eq!((&all["value"], &all["variant"]), (&true.into(), &"canary".into()));
        assert_eq!((&all["reason"], &all["metadata"]["by"]), (&"SPLIT".into(), &"bucket".into()));
        let none = json(&ask(0, r#"{"context":{"targetingKey":"alice"}}"#));
        assert_eq!((&none["value"], &none["variant"]), (&false.into(), &"stable".into()));
        for (body, code) in [
            ("", "PARSE_ERROR"),
            ("{}", "TARGETING_KEY_MISSING"),
            (r#"{"context":{}}"#, "TARGETING_KEY_MISSING"),
            (r#"{"context":{"targetingKey":""}}"#, "TARGETING_KEY_MISSING"),
            (r#"{"context":{"targetingKey":7}}"#, "PARSE_ERROR"),
        ] {
            let reply = ask(0, body);
            assert_eq!((reply.status, &json(&reply)["errorCode"]), (400, &code.into()), "{body}");
        }
        let other = ofrep("other", b"{}", &settings, in_force(0));
        assert_eq!((other.status, &json(&other)["errorCode"]), (404, &"FLAG_NOT_FOUND".into()));
    }

    #[test]
    fn the_larger_holdout_is_in_force() {
        let settings =
            |holdout: &str| Settings::parse(&Variables([("HOLDOUT", holdout.to_owned())].into()));
        for (own, plan, expected) in [("0%", 100, 100), ("5%", 0, 500), ("1%", 100, 100)] {
            let holdout = Share::from_basis_points(plan).unwrap();
            let found = rules(&settings(own), InForce { holdout, ..in_force(10_000) }).holdout;
            assert_eq!(found.basis_points(), expected, "{own} {plan}");
        }
    }

    #[test]
    fn health_fails_while_a_variable_is_refused_and_names_it() {
        let variables = [("HOLDOUT", "lots".to_owned())];
        let settings = Settings::parse(&Variables(variables.into()));
        let reply = health(&settings, in_force(1_000), &Breaker::default());
        assert_eq!(reply.status, 503);
        assert_eq!(json(&reply)["closed"], true);
        assert!(json(&reply)["faults"][0].as_str().unwrap().starts_with("HOLDOUT: share `lots`"));
        let good = Settings::parse(&Variables::default());
        let reply = health(&good, in_force(1_000), &Breaker::default());
        assert_eq!((reply.status, &json(&reply)["share_basis_points"]), (200, &1_000.into()));
        let classify = &json(&reply)["classify"];
        assert_eq!([&classify["path"], &classify["text"]], ["/predict", "/text"]);
    }

    #[test]
    fn an_error_says_what_to_do_in_its_headers() {
        let header = |error: OwnError, name| {
            let reply = error.reply();
            let found = reply.headers.iter().find(|(key, _)| *key == name).cloned();
            (reply.status, found.map(|(_, value)| value))
        };
        let limited = header(OwnError::Limited { per_s: 10 }, "retry-after");
        assert_eq!(limited, (429, Some("10".into())));
        let method = header(OwnError::Method { takes: "PUT" }, "allow");
        assert_eq!(method, (405, Some("PUT".into())));
        let missing = header(AccessError::Missing.into(), "www-authenticate");
        assert_eq!(missing, (401, Some("Bearer".into())));
    }
}
