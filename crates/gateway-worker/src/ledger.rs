//! What the gate asks of its ledger: which part is asked, and what the parts' answers are together.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::Env;

use super::http::{self, Outgoing};
use super::{MEMORY, now, remembered_settings, rollout};
use jeffrey_edge::gate::feedback::Verdict;
use jeffrey_edge::gate::metrics::QUEUE_LAG_MS;
use jeffrey_edge::gate::own::OwnError;
use jeffrey_edge::gate::report::Point;
use jeffrey_edge::gate::shard::{self, Part};
use jeffrey_edge::gate::status::{self, LedgerStatus, PartStatus};
use jeffrey_edge::gate::tally::Tally;
use jeffrey_edge::rollout::bucket::Release;
use jeffrey_edge::rollout::counts::Minute;
use jeffrey_edge::telemetry::sketch::Sketch;
use jeffrey_terms::{AnswerId, Subject};

/// Name of the binding, and of the first object; the further ones have their number behind it.
const BINDING: &str = "LEDGER";
const NAME: &str = "ledger";

/// How long an isolate waits for the ledger, and how often it tries.
const WITHIN_MS: u64 = 5_000;
const TRIES: u32 = 3;

/// The most events that are read at once.
const PAGE_MAX: u64 = 10_000;

/// Largest answer of the ledger: a page of events.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

thread_local! {
    /// The last closed minute whose P95 of stable this isolate has told.
    static TOLD: Cell<u64> = const { Cell::new(0) };
}

type Answer<T> = Result<T, OwnError>;

fn shards(env: &Env) -> u64 {
    remembered_settings(env).ledger_shards
}

/// Hands over some lines of the queue; for each, whether the ledger has it. `dead` says that the queue had given
/// them up before.
pub(super) async fn take(env: &Env, lines: &[String], lag_ms: u64, dead: bool) -> Vec<bool> {
    let shards = shards(env);
    let parts: Vec<u64> = lines.iter().map(|line| shard::of_line(line, shards)).collect();
    let asked = (0..shards).map(|part| {
        let of_part = lines.iter().zip(&parts).filter(|(_, of)| **of == part);
        let mine: Vec<&str> = of_part.map(|(line, _)| line.as_str()).collect();
        async move {
            if mine.is_empty() {
                return true;
            }
            let dead = if dead { mine.len() } else { 0 };
            let path = format!("/append?lag_ms={lag_ms}&dead={dead}");
            let answer = ask(env, part, "POST", &path, mine.join("\n").as_bytes()).await;
            matches!(answer, Ok((200, _)))
        }
    });
    let taken = join_all(asked).await;
    tell_stable_p95(env, shards).await;
    parts.into_iter().map(|part| taken.get(part as usize) == Some(&true)).collect()
}

/// Keeps an event at once; `direct` says that the queue did not take it. One that cannot be kept after some
/// tries is counted, and the count goes with the next.
pub(super) async fn append(env: Env, event: String, direct: bool) {
    let shards = shards(&env);
    let part = shard::of_line(&event, shards);
    let lost = MEMORY.with_borrow_mut(|memory| std::mem::take(&mut memory.lost));
    for attempt in 0..TRIES {
        let path = format!("/append?lost={lost}&direct={}", u8::from(direct));
        if let Ok((200, _)) = ask(&env, part, "POST", &path, event.as_bytes()).await {
            return tell_stable_p95(&env, shards).await;
        }
        http::pause(200 << attempt).await;
    }
    MEMORY.with_borrow_mut(|memory| memory.lost += lost + 1);
}

/// Whether anything keeps events.
pub(super) fn is_bound(env: &Env) -> bool {
    env.durable_object(BINDING).is_ok()
}

/// Tells the release's object stable's P95 of the last closed minute, for all isolates; once a minute and isolate.
/// A minute without an answer is told of by the next batch.
async fn tell_stable_p95(env: &Env, shards: u64) {
    let settings = remembered_settings(env);
    let minute = settings.pace.open_from(now()).saturating_sub(1);
    if TOLD.get() >= minute {
        return;
    }
    TOLD.set(minute);
    let path = format!("/latency?release={}&minute={minute}", settings.release.as_str());
    let Ok(parts) = ask_all::<Sketch>(env, shards, &path).await else {
        return TOLD.set(0);
    };
    let mut latency = Sketch::default();
    parts.iter().for_each(|part| latency.merge(part));
    // A minute without traffic does not make the next one's limit unknown.
    if let Some(p95) = latency.quantile(0.95) {
        MEMORY.with_borrow_mut(|memory| memory.stable_p95 = Some((p95, now())));
        rollout::tell_stable_p95(env, p95).await;
    }
}

/// The closed minutes of a release after a number, the earliest first.
pub(super) async fn minutes(env: &Env, release: &Release, since: u64) -> Answer<Vec<Minute>> {
    let found = closed(env, release, since).await?;
    Ok(found.iter().map(|(minute, parts)| shard::merged(*minute, parts)).collect())
}

/// The same, as points of a chart.
pub(super) async fn series(env: &Env, release: &Release, since: u64) -> Answer<Vec<Point>> {
    let found = closed(env, release, since).await?;
    let point = |(minute, parts): &(u64, Vec<Part>)| {
        let tallies: Vec<_> = parts.iter().flat_map(|part| part.tallies.iter().cloned()).collect();
        Point::of(*minute, &tallies)
    };
    Ok(found.iter().map(point).collect())
}

/// What each part of the ledger has of the closed minutes after a number.
async fn closed(env: &Env, release: &Release, since: u64) -> Answer<Vec<(u64, Vec<Part>)>> {
    #[derive(Serialize)]
    struct Wanted<'a> {
        release: &'a str,
        minutes: &'a [u64],
    }
    let (shards, release) = (shards(env), release.as_str());
    let before = remembered_settings(env).pace.open_from(now());
    let path = format!("/minutes?release={release}&since={since}&before={before}");
    let minutes = shard::next_minutes(&ask_all::<Vec<u64>>(env, shards, &path).await?);
    if minutes.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = serde_json::to_vec(&Wanted { release, minutes: &minutes }).unwrap_or_default();
    let asked = (0..shards).map(|part| ask(env, part, "POST", "/parts", &wanted));
    let mut parts: Vec<Vec<Part>> = Vec::new();
    for answer in join_all(asked).await {
        parts.push(parsed(&answer?.1)?);
    }
    let of_minute = |minute: u64| {
        let found = parts.iter().flatten().filter(|part| part.minute == minute);
        (minute, found.cloned().collect())
    };
    Ok(minutes.into_iter().map(of_minute).collect())
}

/// What the canary and stable did after a minute and before another.
pub(super) async fn between(
    env: &Env,
    release: &Release,
    (since, before): (u64, u64),
) -> Answer<[Tally; 2]> {
    let path = format!("/between?release={}&since={since}&before={before}", release.as_str());
    let mut sums = <[Tally; 2]>::default();
    for part in ask_all::<[Tally; 2]>(env, shards(env), &path).await? {
        sums.iter_mut().zip(&part).for_each(|(sum, more)| sum.add(more));
    }
    Ok(sums)
}

/// Keeps a verdict.
pub(super) async fn judge(env: &Env, id: AnswerId, verdict: Verdict) -> Answer<()> {
    let body = serde_json::to_vec(&verdict).unwrap_or_default();
    let path = format!("/verdict?of={id}");
    // An id tells nothing of its subject, and so not its part: the one that has the answer takes the verdict.
    let asked = (0..shards(env)).map(|part| ask(env, part, "POST", &path, &body));
    let answers = join_all(asked).await;
    let said = |status| answers.iter().any(|answer| matches!(answer, Ok((s, _)) if *s == status));
    match () {
        () if said(200) => Ok(()),
        () if said(409) => Err(OwnError::Judged),
        () if answers.iter().all(|answer| matches!(answer, Ok((404, _)))) => Err(OwnError::Unknown),
        () => Err(OwnError::LedgerAway),
    }
}

/// The events of one part after a number, as lines of JSON; and how many parts there are.
pub(super) async fn events(env: &Env, part: u64, since: u64, limit: u64) -> Answer<(Vec<u8>, u64)> {
    let shards = shards(env);
    if part >= shards {
        return Err(OwnError::Shard { part, shards });
    }
    let path = format!("/events?since={since}&limit={}", limit.min(PAGE_MAX));
    Ok((ask(env, part, "GET", &path, &[]).await?.1, shards))
}

/// What the ledger has, and what each sink has had.
pub(super) async fn status(env: &Env) -> Answer<LedgerStatus> {
    Ok(status::whole(ask_all::<PartStatus>(env, shards(env), "/status").await?))
}

/// Every sum of the ledger, by the name of its series, and how much waits for each sink.
pub(super) async fn totals(env: &Env) -> Answer<Vec<(String, u64)>> {
    let mut sums = BTreeMap::<String, u64>::new();
    for part in ask_all::<Vec<(String, u64)>>(env, shards(env), "/totals").await? {
        for (name, number) in part {
            let is_lag = name == QUEUE_LAG_MS;
            let sum = sums.entry(name).or_default();
            *sum = if is_lag { number.max(*sum) } else { *sum + number };
        }
    }
    Ok(sums.into_iter().collect())
}

/// Erases what is kept of a subject, and says how many events that were.
pub(super) async fn erase(env: &Env, subject: &Subject) -> Answer<u64> {
    let subject = subject.expose().as_bytes();
    let asked = (0..shards(env)).map(|part| ask(env, part, "POST", "/erase", subject));
    let mut erased = 0;
    for answer in join_all(asked).await {
        erased += parsed::<u64>(&answer?.1)?;
    }
    Ok(erased)
}

/// The answers of all parts, in their order; one that is missing is missed.
async fn ask_all<T: DeserializeOwned>(env: &Env, shards: u64, path: &str) -> Answer<Vec<T>> {
    let asked = (0..shards).map(|part| ask(env, part, "GET", path, &[]));
    join_all(asked).await.into_iter().map(|answer| parsed(&answer?.1)).collect()
}

async fn ask(
    env: &Env,
    part: u64,
    method: &str,
    path: &str,
    body: &[u8],
) -> Answer<(u16, Vec<u8>)> {
    let name = if part == 0 { NAME.to_owned() } else { format!("{NAME}-{part}") };
    let url = format!("http://ledger{path}");
    let body = if method == "GET" { Outgoing::None } else { Outgoing::Held(body) };
    http::ask_object(env, (BINDING, &name), (method, &url), body, WITHIN_MS, ANSWER_BYTES_MAX)
        .await
        .map_err(|_| OwnError::LedgerAway)
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|_| OwnError::LedgerAway)
}
