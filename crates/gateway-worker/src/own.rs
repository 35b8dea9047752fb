//! The gate's own endpoints: reads what they need, and sends what the core says.

use worker::worker_sys::web_sys;

use std::rc::Rc;

use futures_util::stream;
use worker::Env;

use super::http::{self, Outgoing, Parts, Target};
use super::rollout::{self, Ask, Changed, Shown};
use super::{Call, MEMORY, draw, ledger, now};
use jeffrey_edge::gate::figures::Both;
use jeffrey_edge::gate::own::{
    BODY_BYTES_MAX, COMMAND_BYTES_MAX, Endpoint, LAST, OwnError, PAGE_HEADERS, Page, Reply,
    between, change, erasure, health, ofrep, page, standing, wish,
};
use jeffrey_edge::gate::settings::Settings;
use jeffrey_edge::gate::tally::Totals;
use jeffrey_edge::gate::{access, feedback, metrics, subject, words};

/// Answers one of the gate's own; `path` is below the prefix.
pub(super) async fn answer(call: &Call, path: &str) -> Result<web_sys::Response, OwnError> {
    let settings = &call.settings;
    let endpoint = Endpoint::of(&call.head.method, path)?;
    if let Some(role) = endpoint.role() {
        access::check(&call.head, role, settings)?;
    }
    let mut reply = match endpoint {
        Endpoint::Erase => {
            let subject = erasure(&call.body(BODY_BYTES_MAX).await?)?;
            let erased = ledger::erase(&call.env, &subject).await?;
            Reply::json(200, &serde_json::json!({ "erased": erased }))
        }
        Endpoint::Events => {
            let Page { since, limit, shard } = page(&call.head);
            let (lines, shards) = ledger::events(&call.env, shard, since, limit).await?;
            let headers =
                vec![("content-type", NDJSON.to_owned()), ("jeffrey-shards", shards.to_string())];
            Reply { headers, ..json(lines) }
        }
        Endpoint::Feedback => {
            if settings.keys.is_empty() {
                return Err(OwnError::NoKey);
            }
            let found = subject::find(&call.head, None, false, settings, draw());
            call.limit(found.filter(|found| !found.new).as_ref().map(|found| &found.subject))
                .await?;
            let (id, verdict) =
                feedback::parse(&call.body(BODY_BYTES_MAX).await?, &settings.keys, now())?;
            ledger::judge(&call.env, id, verdict).await?;
            json(b"{}".to_vec())
        }
        Endpoint::Health => {
            let in_force = call.in_force().await;
            MEMORY.with_borrow(|memory| health(settings, in_force, &memory.breaker))
        }
        Endpoint::Metrics => {
            let standing = rollout::shown(&call.env, settings).await?.told.standing;
            let mut gauges = metrics::standing(standing.share, standing.breaches);
            let mut totals = Vec::new();
            for (name, number) in ledger::totals(&call.env).await? {
                // A gauge's name says that it is none of the sums.
                if name == metrics::QUEUE_LAG_MS {
                    gauges.push(("jeffrey_queue_lag_seconds".to_owned(), number as f64 / 1_000.0));
                } else if name.starts_with("jeffrey_sink_waiting") {
                    gauges.push((name, number as f64));
                } else {
                    totals.push((name, number));
                }
            }
            let text = metrics::exposition(&totals, &gauges);
            let kind = "text/plain; version=0.0.4; charset=utf-8".to_owned();
            Reply { headers: vec![("content-type", kind)], ..json(text.into_bytes()) }
        }
        Endpoint::Minutes => {
            let Page { since, .. } = page(&call.head);
            Reply::json(200, &ledger::minutes(&call.env, &settings.release, since).await?)
        }
        Endpoint::Ofrep(key) => {
            let body = call.body(BODY_BYTES_MAX).await?;
            let in_force = call.in_force().await;
            ofrep(key, &body, settings, in_force)
        }
        Endpoint::Rollout => {
            let shown = rollout::shown(&call.env, settings).await?;
            shown_now(&call.env, settings, &shown).await
        }
        Endpoint::History => {
            let Page { since, limit, .. } = page(&call.head);
            let lines = rollout::history(&call.env, settings, since, limit).await?;
            Reply { headers: vec![("content-type", NDJSON.to_owned())], ..json(lines) }
        }
        Endpoint::Command => {
            let body = call.body(COMMAND_BYTES_MAX).await?;
            wish(&body)?;
            changed(call, Ask::Wish, &body).await?
        }
        Endpoint::TestAlert => rollout::pass(&call.env, settings, Ask::TestAlert, &[]).await?,
        Endpoint::Validation => {
            let body = call.body(COMMAND_BYTES_MAX).await?;
            rollout::pass(&call.env, settings, Ask::Validation, &body).await?
        }
        Endpoint::Dashboard(file) => return page_file(&call.env, file).await,
        Endpoint::Playground(_) if !settings.playground => return Err(OwnError::NotFound),
        Endpoint::Playground(file) => return playground_file(&call.env, file).await,
        Endpoint::Decisions => {
            let Page { since, limit, .. } = page(&call.head);
            let lines = rollout::history(&call.env, settings, since, limit).await?;
            Reply::json(200, &words::decisions(&lines, since))
        }
        Endpoint::Live => return live(call),
        Endpoint::Series => {
            let Page { since, .. } = page(&call.head);
            Reply::json(200, &ledger::series(&call.env, &settings.release, since).await?)
        }
        Endpoint::Totals => {
            let found = ledger::between(&call.env, &settings.release, between(&call.head)).await?;
            Reply::json(200, &Totals::of(found))
        }
        Endpoint::Sinks => Reply::json(200, &ledger::status(&call.env).await?),
        Endpoint::Share => {
            let body = call.body(BODY_BYTES_MAX).await?;
            change(&body)?;
            changed(call, Ask::Change, &body).await?
        }
    };
    if call.head.method == "HEAD" {
        reply.body.clear();
    }
    http::reply(&reply).map_err(|_| OwnError::RolloutAway)
}

/// How often somebody who looks on is told, and how often in one answer: a request may ask others so many times.
const LOOK_MS: u64 = 1_000;
const LOOKS: u32 = 600;

/// The release as it stands, a line of JSON a second.
fn live(call: &Call) -> Result<web_sys::Response, OwnError> {
    let looks = (call.env.clone(), Rc::clone(&call.settings), 0);
    let lines = stream::unfold(looks, |(env, settings, looked)| async move {
        if looked == LOOKS {
            return None;
        }
        if looked > 0 {
            http::pause(LOOK_MS).await;
        }
        let mut line = match rollout::shown(&env, &settings).await {
            Ok(shown) => shown_now(&env, &settings, &shown).await.body,
            Err(error) => error.reply().body,
        };
        line.push(b'\n');
        Some((Ok::<_, worker::Error>(line), (env, settings, looked + 1)))
    });
    let response = worker::Response::from_stream(lines).map_err(|_| OwnError::RolloutAway)?;
    let headers = response.headers();
    for (name, value) in [("content-type", NDJSON), ("cache-control", "no-store")] {
        headers.set(name, value).map_err(|_| OwnError::RolloutAway)?;
    }
    Ok(response.into())
}

/// A file of the dashboard, or that there is none.
async fn page_file(env: &Env, file: &str) -> Result<web_sys::Response, OwnError> {
    let failed = |_| OwnError::NotFound;
    if file.is_empty() {
        return below("dashboard/");
    }
    let file = file_of(env, "ASSETS", &format!("/dashboard{file}")).await?;
    let response = http::mutable(&file).map_err(failed)?;
    for (name, value) in PAGE_HEADERS {
        response.headers().set(name, value).map_err(failed)?;
    }
    Ok(response)
}

/// A file of the page that the model worker serves, with that one's headers: behind the gate, so that the page can ask
/// what callers ask.
async fn playground_file(env: &Env, file: &str) -> Result<web_sys::Response, OwnError> {
    if file.is_empty() { below("playground/") } else { file_of(env, "MODEL", file).await }
}

/// To the address with a slash at its end, so that a page's files are below it.
fn below(folder: &str) -> Result<web_sys::Response, OwnError> {
    let headers = vec![("location", folder.to_owned())];
    http::reply(&Reply { status: 308, headers, body: Vec::new() }).map_err(|_| OwnError::NotFound)
}

/// A file as a binding has it.
async fn file_of(env: &Env, binding: &str, file: &str) -> Result<web_sys::Response, OwnError> {
    let target = Target::Bound(http::binding(env, binding).ok_or(OwnError::NotFound)?);
    let headers = web_sys::Headers::new().map_err(|_| OwnError::NotFound)?;
    let url = format!("http://{}{file}", binding.to_ascii_lowercase());
    let parts = Parts { method: "GET", url: &url, headers: &headers, body: Outgoing::None };
    let found = parts.send(&target, Some(PAGE_MS)).await.map_err(|_| OwnError::NotFound)?;
    if found.status() == 200 { Ok(found) } else { Err(OwnError::NotFound) }
}

/// How long a file of the page may take.
const PAGE_MS: u64 = 5_000;

/// What a person asked for, done or refused.
async fn changed(call: &Call, what: Ask, body: &[u8]) -> Result<Reply, OwnError> {
    Ok(match rollout::change(&call.env, &call.settings, what, body).await? {
        Changed::Refused(reply) => reply,
        Changed::To(shown) => shown_now(&call.env, &call.settings, &shown).await,
    })
}

/// The release as it stands, with what both cohorts did since the stage began; without it where the ledger is away.
async fn shown_now(env: &Env, settings: &Settings, Shown { told, view }: &Shown) -> Reply {
    let figures = match view {
        Some(view) => {
            let minutes = (view.counted_after, LAST);
            let found = ledger::between(env, &settings.release, minutes).await;
            found.ok().map(|found| Both::of(&Totals::of(found)))
        }
        None => None,
    };
    standing(settings, &told.standing, view.as_ref(), figures.as_ref())
}

/// JSON that is written already.
fn json(body: Vec<u8>) -> Reply {
    Reply { body, ..Reply::json(200, &()) }
}

const NDJSON: &str = "application/x-ndjson";
