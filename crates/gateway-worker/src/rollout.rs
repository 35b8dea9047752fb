//! What the gate asks of the release's object.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::Env;

use super::http::{self, Outgoing};
use super::{MEMORY, Memory, now, remembered_settings};
use jeffrey_edge::gate::own::{COMMAND_BYTES_MAX, OwnError, Reply};
use jeffrey_edge::gate::settings::Settings;
use jeffrey_edge::rollout::share::{Heard, newer};
use jeffrey_edge::rollout::standing::{Breach, Standing};
use jeffrey_edge::rollout::view::View;
use jeffrey_terms::Share;

/// Name of the binding.
const BINDING: &str = "ROLLOUT";

/// How long an isolate waits for the object.
const WITHIN_MS: u64 = 1_500;

/// How long somebody who asks for something waits: those who are asked before a rise may take five seconds.
const WISH_MS: u64 = 15_000;

/// Largest answer: a page of the history.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What can be asked of the object, by path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Breach,
    Change,
    History,
    StableP95,
    Standing,
    TestAlert,
    Validation,
    View,
    Wake,
    Wish,
}

impl Ask {
    const ALL: [Self; 10] = [
        Self::Breach,
        Self::Change,
        Self::History,
        Self::StableP95,
        Self::Standing,
        Self::TestAlert,
        Self::Validation,
        Self::View,
        Self::Wake,
        Self::Wish,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Breach => "/breach",
            Self::Change => "/change",
            Self::History => "/history",
            Self::StableP95 => "/stable-p95",
            Self::Standing => "/standing",
            Self::TestAlert => "/test-alert",
            Self::Validation => "/validation",
            Self::View => "/view",
            Self::Wake => "/wake",
            Self::Wish => "/wish",
        }
    }

    pub(super) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ask| ask.path() == path)
    }
}

/// The object's answer to an isolate: the standing, and what beside it a call is decided and held against.
#[derive(Deserialize, Serialize)]
pub(super) struct Told {
    pub(super) standing: Standing,
    /// The plan's holdout, where one is in force; an object of before told none.
    #[serde(default = "none")]
    pub(super) holdout: Share,
    /// Whether the release was taken back, by whatever.
    pub(super) rolled_back: bool,
    /// The number of the plan's stage, where a plan moves the share.
    pub(super) stage: Option<u32>,
    pub(super) stable_p95_ms: Option<f64>,
}

const fn none() -> Share {
    Share::NONE
}

/// What isolates are told, and the view where a plan is in force.
#[derive(Deserialize, Serialize)]
pub(super) struct Shown {
    pub(super) told: Told,
    pub(super) view: Option<View>,
}

type Answer<T> = Result<T, OwnError>;

/// Asks for the standing and remembers it.
pub(super) async fn hear(env: Env, settings: Rc<Settings>) {
    let told = ask(&env, &settings, Ask::Standing, "", &[]).await;
    let told = told.and_then(|(_, body)| parsed::<Told>(&body));
    MEMORY.with_borrow_mut(|memory| {
        memory.asking = None;
        match told {
            Ok(told) => remember(memory, &told),
            Err(_) => memory.failed = Some(now()),
        }
    });
}

fn remember(memory: &mut Memory, told: &Told) {
    let Standing { version, share, killed, .. } = told.standing;
    let closed = killed || told.rolled_back;
    let heard = Heard { version, share, holdout: told.holdout, closed, at: now() };
    memory.heard = Some(newer(memory.heard, heard));
    memory.stage = told.stage;
    let p95 = told.stable_p95_ms.map(|p95| (p95, now()));
    memory.stable_p95 = p95.or(memory.stable_p95);
}

/// The standing of the release, and its view where a plan is in force.
pub(super) async fn shown(env: &Env, settings: &Settings) -> Answer<Shown> {
    parsed(&ask(env, settings, Ask::View, "", &[]).await?.1)
}

/// Tells the object stable's P95 of the last closed minute, for the isolates that ask it for the share. If it
/// does not hear, the next batch tells it again.
pub(super) async fn tell_stable_p95(env: &Env, p95_ms: f64) {
    let body = p95_ms.to_string();
    let _ = ask(env, &remembered_settings(env), Ask::StableP95, "", body.as_bytes()).await;
}

/// What came of something that a person asked for.
pub(super) enum Changed {
    /// The object's refusal, as JSON with its status.
    Refused(Reply),
    /// Where the release stands now.
    To(Box<Shown>),
}

/// Makes a change by hand, or passes a wish on, and remembers the outcome here at once; other isolates hear of it
/// within their cache's time.
pub(super) async fn change(
    env: &Env,
    settings: &Settings,
    what: Ask,
    body: &[u8],
) -> Answer<Changed> {
    let (status, body) = ask(env, settings, what, "", body).await?;
    if status != 200 {
        return Ok(Changed::Refused(Reply { body, ..Reply::json(status, &()) }));
    }
    let shown: Shown = parsed(&body)?;
    MEMORY.with_borrow_mut(|memory| remember(memory, &shown.told));
    Ok(Changed::To(Box::new(shown)))
}

/// The history's entries after a number, as lines of JSON.
pub(super) async fn history(
    env: &Env,
    settings: &Settings,
    since: u64,
    limit: u64,
) -> Answer<Vec<u8>> {
    let query = format!("?since={since}&limit={limit}");
    Ok(ask(env, settings, Ask::History, &query, &[]).await?.1)
}

/// Passes something on whose answer the caller has as it is.
pub(super) async fn pass(env: &Env, settings: &Settings, what: Ask, body: &[u8]) -> Answer<Reply> {
    let (status, body) = ask(env, settings, what, "", body).await?;
    Ok(Reply { body, ..Reply::json(status, &()) })
}

/// Tells the object of a breach. If it does not hear, the breaker holds all the same.
pub(super) async fn report(env: Env, settings: Rc<Settings>, breach: Breach) {
    let body = serde_json::to_vec(&breach).unwrap_or_default();
    let _ = ask(&env, &settings, Ask::Breach, "", &body).await;
}

/// Sees to it that the object looks at its minutes, should it have lost its alarm.
pub(super) async fn wake(env: &Env) {
    let _ = ask(env, &remembered_settings(env), Ask::Wake, "", &[]).await;
}

async fn ask(
    env: &Env,
    settings: &Settings,
    what: Ask,
    query: &str,
    body: &[u8],
) -> Answer<(u16, Vec<u8>)> {
    let reads = matches!(what, Ask::History | Ask::Standing | Ask::View | Ask::Wake);
    let (method, body) =
        if reads { ("GET", Outgoing::None) } else { ("POST", Outgoing::Held(body)) };
    let within_ms = match what {
        Ask::Change | Ask::History | Ask::TestAlert | Ask::Wish => WISH_MS,
        _ => WITHIN_MS,
    };
    let url = format!("http://rollout{}{query}", what.path());
    let object = (BINDING, settings.release.as_str());
    let most = if reads { ANSWER_BYTES_MAX } else { COMMAND_BYTES_MAX };
    http::ask_object(env, object, (method, &url), body, within_ms, most)
        .await
        .map_err(|_| OwnError::RolloutAway)
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|_| OwnError::RolloutAway)
}
