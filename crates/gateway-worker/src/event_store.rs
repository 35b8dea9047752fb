//! Requests from the gateway to the shards of the event store.
//!
//! Each shard is a Durable Object. An event goes to its subject's shard; a query goes to every
//! shard, and the results are merged here. Any failure is [`ApiError::EventStoreUnavailable`]: a
//! query fails if one shard does not answer.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::Env;

use super::http::{self, OutboundBody};
use super::{ISOLATE_STATE, cached_settings, now, rollout};
use jeffrey_edge::gateway::aggregate::minute_stats::CohortStats;
use jeffrey_edge::gateway::aggregate::shard::{self, ShardMinute};
use jeffrey_edge::gateway::aggregate::weekly_report::ChartMinute;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::events::feedback::Feedback;
use jeffrey_edge::gateway::export::prometheus::QUEUE_LAG_SERIES;
use jeffrey_edge::gateway::export::status::{self, EventStoreStatus, ShardStatus};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::counts::ClosedMinute;
use jeffrey_edge::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::{ResponseId, Subject};

/// Name of the binding, and of the first shard's object; each further shard adds its number.
const BINDING: &str = "EVENT_STORE";
const OBJECT_NAME: &str = "event-store";

/// Time limit for a request to a shard, in milliseconds, and how often an isolate tries to store an
/// event.
const TIMEOUT_MS: u64 = 5_000;
const ATTEMPTS_MAX: u32 = 3;

/// Largest number of events in one page.
const PAGE_MAX: u64 = 10_000;

/// Largest response of a shard that is read, in bytes: a page of events.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

thread_local! {
    /// The last closed minute whose p95 of stable this isolate has sent; 0 before the first.
    static LAST_SENT_MINUTE: Cell<u64> = const { Cell::new(0) };
}

type EventStoreResult<T> = Result<T, ApiError>;

fn shard_count(env: &Env) -> u64 {
    cached_settings(env).event_store_shards
}

/// Stores lines of the queue. Returns, for each line, whether its shard accepted it.
/// `is_dead_letter` says that the lines come from the dead-letter queue; the shards count those.
pub(super) async fn append_batch(
    env: &Env,
    lines: &[String],
    lag_ms: u64,
    is_dead_letter: bool,
) -> Vec<bool> {
    let shard_count = shard_count(env);
    let line_shards: Vec<u64> =
        lines.iter().map(|line| shard::shard_of_event_line(line, shard_count)).collect();
    let requests = (0..shard_count).map(|shard| {
        let matching =
            lines.iter().zip(&line_shards).filter(|(_, line_shard)| **line_shard == shard);
        let shard_lines: Vec<&str> = matching.map(|(line, _)| line.as_str()).collect();
        async move {
            if shard_lines.is_empty() {
                return true;
            }
            let dead_letters = if is_dead_letter { shard_lines.len() } else { 0 };
            let path = format!("/append?lag_ms={lag_ms}&dead={dead_letters}");
            let response =
                query_shard(env, shard, "POST", &path, shard_lines.join("\n").as_bytes()).await;
            matches!(response, Ok((200, _)))
        }
    });
    let stored = join_all(requests).await;
    send_stable_p95(env, shard_count).await;
    line_shards.into_iter().map(|shard| stored.get(shard as usize) == Some(&true)).collect()
}

/// Stores an event directly; `queue_failed` says that the queue did not take it. After three failed
/// attempts the event counts as lost, and the next call of this isolate reports the count.
pub(super) async fn append_event(env: Env, event: String, queue_failed: bool) {
    let shard_count = shard_count(&env);
    let shard = shard::shard_of_event_line(&event, shard_count);
    let lost = ISOLATE_STATE.with_borrow_mut(|state| std::mem::take(&mut state.lost_events));
    for attempt in 0..ATTEMPTS_MAX {
        let path = format!("/append?lost={lost}&direct={}", u8::from(queue_failed));
        if let Ok((200, _)) = query_shard(&env, shard, "POST", &path, event.as_bytes()).await {
            return send_stable_p95(&env, shard_count).await;
        }
        http::sleep(200 << attempt).await;
    }
    ISOLATE_STATE.with_borrow_mut(|state| state.lost_events += lost + 1);
}

/// Returns whether an event store is bound.
pub(super) fn is_bound(env: &Env) -> bool {
    env.durable_object(BINDING).is_ok()
}

/// Sends stable's p95 of the last closed minute to the rollout object, which passes it to all
/// isolates. Runs once per minute and isolate; if a shard does not answer, the next batch tries
/// again.
async fn send_stable_p95(env: &Env, shard_count: u64) {
    let settings = cached_settings(env);
    let minute = settings.time_scale.first_open_minute(now()).saturating_sub(1);
    if LAST_SENT_MINUTE.get() >= minute {
        return;
    }
    LAST_SENT_MINUTE.set(minute);
    let path = format!("/latency?release={}&minute={minute}", settings.release.as_str());
    let Ok(sketches) = query_all_shards::<LatencySketch>(env, shard_count, &path).await else {
        return LAST_SENT_MINUTE.set(0);
    };
    let mut latency = LatencySketch::default();
    sketches.iter().for_each(|sketch| latency.merge(sketch));
    // A minute without traffic has no p95, and the earlier one stays.
    if let Some(p95) = latency.quantile(0.95) {
        ISOLATE_STATE.with_borrow_mut(|state| state.stable_p95 = Some((p95, now())));
        rollout::send_stable_p95(env, p95).await;
    }
}

/// Fetches the closed minutes of a release after minute `since`, earliest first.
pub(super) async fn fetch_minutes(
    env: &Env,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<ClosedMinute>> {
    let minutes = fetch_shard_minutes(env, release, since).await?;
    Ok(minutes
        .iter()
        .map(|(minute, shard_minutes)| shard::merge_shards(*minute, shard_minutes))
        .collect())
}

/// Fetches the same minutes as points of a chart.
pub(super) async fn fetch_series(
    env: &Env,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<ChartMinute>> {
    let minutes = fetch_shard_minutes(env, release, since).await?;
    let to_point = |(minute, shard_minutes): &(u64, Vec<ShardMinute>)| {
        let cohort_stats: Vec<_> = shard_minutes
            .iter()
            .flat_map(|shard_minute| shard_minute.cohort_stats.iter().cloned())
            .collect();
        ChartMinute::from_stats(*minute, &cohort_stats)
    };
    Ok(minutes.iter().map(to_point).collect())
}

/// Fetches the closed minutes after minute `since`, each with the stats of every shard that has
/// any.
async fn fetch_shard_minutes(
    env: &Env,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<(u64, Vec<ShardMinute>)>> {
    #[derive(Serialize)]
    struct ShardMinutesQuery<'a> {
        release: &'a str,
        minutes: &'a [u64],
    }
    let (shard_count, release) = (shard_count(env), release.as_str());
    let before = cached_settings(env).time_scale.first_open_minute(now());
    let path = format!("/minutes?release={release}&since={since}&before={before}");
    let minutes =
        shard::next_minutes_to_merge(&query_all_shards::<Vec<u64>>(env, shard_count, &path).await?);
    if minutes.is_empty() {
        return Ok(Vec::new());
    }
    let body =
        serde_json::to_vec(&ShardMinutesQuery { release, minutes: &minutes }).unwrap_or_default();
    let requests =
        (0..shard_count).map(|shard| query_shard(env, shard, "POST", "/shard-minutes", &body));
    let mut shard_minutes: Vec<Vec<ShardMinute>> = Vec::new();
    for response in join_all(requests).await {
        shard_minutes.push(parse_json(&response?.1)?);
    }
    let group_minute = |minute: u64| {
        let matching =
            shard_minutes.iter().flatten().filter(|shard_minute| shard_minute.minute == minute);
        (minute, matching.cloned().collect())
    };
    Ok(minutes.into_iter().map(group_minute).collect())
}

/// Fetches the stats of canary and stable, in this order, after minute `since` and before minute
/// `before`.
pub(super) async fn totals_between(
    env: &Env,
    release: &ReleaseName,
    (since, before): (u64, u64),
) -> EventStoreResult<[CohortStats; 2]> {
    let path =
        format!("/totals-between?release={}&since={since}&before={before}", release.as_str());
    let mut totals = <[CohortStats; 2]>::default();
    for shard_totals in query_all_shards::<[CohortStats; 2]>(env, shard_count(env), &path).await? {
        totals.iter_mut().zip(&shard_totals).for_each(|(total, addition)| total.add(addition));
    }
    Ok(totals)
}

/// Stores feedback on the response of an id. Fails with [`ApiError::FeedbackExists`] if there is
/// feedback already, and with [`ApiError::UnknownId`] if no shard has the response.
pub(super) async fn record_feedback(
    env: &Env,
    id: ResponseId,
    verdict: Feedback,
) -> EventStoreResult<()> {
    let body = serde_json::to_vec(&verdict).unwrap_or_default();
    let path = format!("/feedback?id={id}");
    // An id says nothing about its subject's shard: all shards are asked, and the one with the
    // response stores the feedback.
    let requests = (0..shard_count(env)).map(|shard| query_shard(env, shard, "POST", &path, &body));
    let responses = join_all(requests).await;
    let any_status =
        |status| responses.iter().any(|response| matches!(response, Ok((s, _)) if *s == status));
    match () {
        () if any_status(200) => Ok(()),
        () if any_status(409) => Err(ApiError::FeedbackExists),
        () if responses.iter().all(|response| matches!(response, Ok((404, _)))) => {
            Err(ApiError::UnknownId)
        }
        () => Err(ApiError::EventStoreUnavailable),
    }
}

/// Fetches the events of one shard after event `since` as lines of JSON, and the number of shards.
pub(super) async fn fetch_events(
    env: &Env,
    shard: u64,
    since: u64,
    limit: u64,
) -> EventStoreResult<(Vec<u8>, u64)> {
    let shard_count = shard_count(env);
    if shard >= shard_count {
        return Err(ApiError::InvalidShard { part: shard, shards: shard_count });
    }
    let path = format!("/events?since={since}&limit={}", limit.min(PAGE_MAX));
    Ok((query_shard(env, shard, "GET", &path, &[]).await?.1, shard_count))
}

/// Fetches how many events are stored and lost, and how far each sink has got.
pub(super) async fn fetch_status(env: &Env) -> EventStoreResult<EventStoreStatus> {
    Ok(status::sum_shards(query_all_shards::<ShardStatus>(env, shard_count(env), "/status").await?))
}

/// Fetches every counter of the event store by the name of its series, and each sink's backlog.
/// Shards add up, but the queue lag is the largest of all shards.
pub(super) async fn fetch_totals(env: &Env) -> EventStoreResult<Vec<(String, u64)>> {
    let mut totals = BTreeMap::<String, u64>::new();
    for shard_totals in
        query_all_shards::<Vec<(String, u64)>>(env, shard_count(env), "/totals").await?
    {
        for (name, number) in shard_totals {
            let is_lag = name == QUEUE_LAG_SERIES;
            let total = totals.entry(name).or_default();
            *total = if is_lag { number.max(*total) } else { *total + number };
        }
    }
    Ok(totals.into_iter().collect())
}

/// Erases a subject's events in all shards and returns how many there were.
pub(super) async fn erase_subject(env: &Env, subject: &Subject) -> EventStoreResult<u64> {
    let subject = subject.expose().as_bytes();
    let requests =
        (0..shard_count(env)).map(|shard| query_shard(env, shard, "POST", "/erase", subject));
    let mut erased = 0;
    for response in join_all(requests).await {
        erased += parse_json::<u64>(&response?.1)?;
    }
    Ok(erased)
}

/// Sends a GET to all shards and returns their responses in order. Fails if one of them fails.
async fn query_all_shards<T: DeserializeOwned>(
    env: &Env,
    shard_count: u64,
    path: &str,
) -> EventStoreResult<Vec<T>> {
    let requests = (0..shard_count).map(|shard| query_shard(env, shard, "GET", path, &[]));
    join_all(requests).await.into_iter().map(|response| parse_json(&response?.1)).collect()
}

async fn query_shard(
    env: &Env,
    shard: u64,
    method: &str,
    path: &str,
    body: &[u8],
) -> EventStoreResult<(u16, Vec<u8>)> {
    let name = if shard == 0 { OBJECT_NAME.to_owned() } else { format!("{OBJECT_NAME}-{shard}") };
    let url = format!("http://event-store{path}");
    let body = if method == "GET" { OutboundBody::None } else { OutboundBody::Buffered(body) };
    http::call_object(env, (BINDING, &name), (method, &url), body, TIMEOUT_MS, RESPONSE_BYTES_MAX)
        .await
        .map_err(|_| ApiError::EventStoreUnavailable)
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> EventStoreResult<T> {
    serde_json::from_slice(body).map_err(|_| ApiError::EventStoreUnavailable)
}
