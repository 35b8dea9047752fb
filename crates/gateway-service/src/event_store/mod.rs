//! Requests from the gateway to the shards of the event store.
//!
//! Each shard is a Durable Object. An event goes to its subject's shard; a query goes to every
//! shard, and the results are merged here. Any failure is [`ApiError::EventStoreUnavailable`]: a
//! query fails if one shard does not answer.

pub mod messages;

pub mod object;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::de::DeserializeOwned;

use self::messages::{ErasureProgress, EventStoreRequest, FeedbackOutcome};
use crate::host::{FetchError, Host, ObjectCall, ObjectClass};
use crate::message::encode_message;
use crate::rollout;
use jeffrey_edge::gateway::aggregate::minute_stats::CohortStats;
use jeffrey_edge::gateway::aggregate::shard::{self, ShardMinute};
use jeffrey_edge::gateway::aggregate::weekly_report::ChartMinute;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::events::feedback::Feedback;
use jeffrey_edge::gateway::export::prometheus::QUEUE_LAG_SERIES;
use jeffrey_edge::gateway::export::status::{self, EventStoreStatus, ShardStatus};
use jeffrey_edge::gateway::store::event_batch::cut_into_batches;
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::counts::ClosedMinute;
use jeffrey_edge::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{ResponseId, Subject};

/// Name of the first shard's object; each further shard adds its number.
const OBJECT_NAME: &str = "event-store";

/// Time limit for a request to a shard, in milliseconds, and how often an isolate tries to store an
/// event.
const TIMEOUT_MS: u64 = 5_000;
const ATTEMPTS_MAX: u32 = 3;

/// Largest number of events in one page.
const PAGE_MAX: u64 = 10_000;

/// Largest reply of a shard that is read, in bytes: a page of events.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

type EventStoreResult<T> = Result<T, ApiError>;

fn shard_count<H: Host>(host: &H) -> u64 {
    host.settings().event_store_shards
}

/// Stores lines of the queue. Returns, for each line, whether its shard accepted it.
/// `is_dead_letter` says that the lines come from the dead-letter queue; the shards count those.
pub async fn append_batch<H: Host>(
    host: &H,
    lines: &[String],
    lag_ms: u64,
    is_dead_letter: bool,
) -> Vec<bool> {
    let shard_count = shard_count(host);
    let mut shard_lines: Vec<Vec<&str>> = vec![Vec::new(); shard_count as usize];
    // Each line's shard, and its place among the lines of the shard.
    let places: Vec<(usize, usize)> = lines
        .iter()
        .map(|line| {
            let shard = shard::shard_of_event_line(line, shard_count) as usize;
            shard_lines[shard].push(line);
            (shard, shard_lines[shard].len() - 1)
        })
        .collect();
    let requests = (0..shard_count).zip(&shard_lines).map(|(shard, lines)| async move {
        let mut stored = 0;
        for batch in cut_into_batches(lines) {
            let request = EventStoreRequest::Append {
                queue_lag_ms: Some(lag_ms),
                lost_events: 0,
                queue_failures: 0,
                dead_letters: if is_dead_letter { batch.len() as u64 } else { 0 },
            };
            if call_shard(host, shard, &request, batch.join("\n").as_bytes()).await.is_err() {
                break;
            }
            stored += batch.len();
        }
        stored
    });
    let stored = join_all(requests).await;
    send_stable_p95(host, shard_count).await;
    places.into_iter().map(|(shard, place)| place < stored[shard]).collect()
}

/// Stores an event directly; `queue_failed` says that the queue did not take it. After three failed
/// attempts the event counts as lost, and the next call of this isolate reports the count.
pub async fn append_event<H: Host>(host: &H, event: &str, queue_failed: bool) {
    let shard_count = shard_count(host);
    let shard = shard::shard_of_event_line(event, shard_count);
    let lost_events = host.isolate().take_lost_events();
    let request = EventStoreRequest::Append {
        queue_lag_ms: None,
        lost_events,
        queue_failures: u64::from(queue_failed),
        dead_letters: 0,
    };
    for attempt in 0..ATTEMPTS_MAX {
        if call_shard(host, shard, &request, event.as_bytes()).await.is_ok() {
            return send_stable_p95(host, shard_count).await;
        }
        host.sleep(200 << attempt).await;
    }
    host.isolate().add_lost_events(lost_events + 1);
}

/// Sends stable's p95 of the last closed minute to the rollout object, which passes it to all
/// isolates. Runs once per minute and isolate; if a shard does not answer, the next batch tries
/// again.
async fn send_stable_p95<H: Host>(host: &H, shard_count: u64) {
    let settings = host.settings();
    let minute = settings.time_scale.first_open_minute(host.now()).saturating_sub(1);
    if !host.isolate().begin_sending_minute(minute) {
        return;
    }
    let release = settings.release.as_str().to_owned();
    let request = EventStoreRequest::StableLatency { release, minute };
    let Ok(sketches) = call_all_shards::<_, LatencySketch>(host, shard_count, &request).await
    else {
        return host.isolate().cancel_sending_minute();
    };
    let mut latency = LatencySketch::default();
    sketches.iter().for_each(|sketch| latency.merge(sketch));
    // A minute without traffic has no p95, and the earlier one stays.
    if let Some(p95_ms) = latency.quantile(0.95) {
        host.isolate().record_stable_p95(p95_ms, host.now());
        rollout::send_stable_p95(host, p95_ms).await;
    }
}

/// Fetches the closed minutes of a release after minute `since`, earliest first.
pub async fn fetch_minutes<H: Host>(
    host: &H,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<ClosedMinute>> {
    let minutes = fetch_shard_minutes(host, release, since).await?;
    Ok(minutes
        .iter()
        .map(|(minute, shard_minutes)| shard::merge_shards(*minute, shard_minutes))
        .collect())
}

/// Fetches the same minutes as points of a chart.
pub async fn fetch_series<H: Host>(
    host: &H,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<ChartMinute>> {
    let minutes = fetch_shard_minutes(host, release, since).await?;
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
async fn fetch_shard_minutes<H: Host>(
    host: &H,
    release: &ReleaseName,
    since: u64,
) -> EventStoreResult<Vec<(u64, Vec<ShardMinute>)>> {
    let (shard_count, release) = (shard_count(host), release.as_str().to_owned());
    let before = host.settings().time_scale.first_open_minute(host.now());
    let request = EventStoreRequest::Minutes { release: release.clone(), since, before };
    let minutes = shard::next_minutes_to_merge(
        &call_all_shards::<_, Vec<u64>>(host, shard_count, &request).await?,
    );
    if minutes.is_empty() {
        return Ok(Vec::new());
    }
    let request = EventStoreRequest::ShardMinutes { release, minutes: minutes.clone() };
    let shard_minutes = call_all_shards::<_, Vec<ShardMinute>>(host, shard_count, &request).await?;
    let group_minute = |minute: u64| {
        let matching =
            shard_minutes.iter().flatten().filter(|shard_minute| shard_minute.minute == minute);
        (minute, matching.cloned().collect())
    };
    Ok(minutes.into_iter().map(group_minute).collect())
}

/// Fetches the stats of both cohorts after minute `since` and before minute `before`.
///
/// # Errors
/// [`ApiError::EventStoreUnavailable`] if a shard does not answer.
pub async fn totals_between<H: Host>(
    host: &H,
    release: &ReleaseName,
    (since, before): (u64, u64),
) -> EventStoreResult<ByCohort<CohortStats>> {
    let release = release.as_str().to_owned();
    let request = EventStoreRequest::TotalsBetween { release, since, before };
    let mut totals = ByCohort::<CohortStats>::default();
    let shards = call_all_shards::<_, ByCohort<CohortStats>>(host, shard_count(host), &request);
    for shard_totals in shards.await? {
        for (cohort, addition) in shard_totals.iter() {
            totals[cohort].add(addition);
        }
    }
    Ok(totals)
}

/// Stores feedback on the response of an id.
///
/// # Errors
/// [`ApiError::FeedbackExists`] if there is feedback already, [`ApiError::UnknownId`] if no shard
/// has the response, [`ApiError::EventStoreUnavailable`] if a shard does not answer and no other
/// has the response.
pub async fn record_feedback<H: Host>(
    host: &H,
    id: ResponseId,
    feedback: Feedback,
) -> EventStoreResult<()> {
    // An id says nothing about its subject's shard: all shards are asked, and the one with the
    // response stores the feedback.
    let request = EventStoreRequest::Feedback { id: id.to_string(), feedback };
    let requests = (0..shard_count(host)).map(|shard| call_shard(host, shard, &request, &[]));
    let outcomes: Vec<EventStoreResult<FeedbackOutcome>> = join_all(requests)
        .await
        .into_iter()
        .map(|reply| parse_json(&reply.map_err(unavailable)?))
        .collect();
    let any = |outcome| outcomes.contains(&Ok(outcome));
    if any(FeedbackOutcome::Stored) {
        Ok(())
    } else if any(FeedbackOutcome::Exists) {
        Err(ApiError::FeedbackExists)
    } else if outcomes.iter().all(|outcome| *outcome == Ok(FeedbackOutcome::UnknownId)) {
        Err(ApiError::UnknownId)
    } else {
        Err(ApiError::EventStoreUnavailable)
    }
}

/// Fetches the events of one shard after event `since` as lines of JSON, and the number of shards.
///
/// # Errors
/// [`ApiError::InvalidShard`] if there is no such shard, [`ApiError::EventStoreUnavailable`] if it
/// does not answer.
pub async fn fetch_events<H: Host>(
    host: &H,
    shard: u64,
    since: u64,
    limit: u64,
) -> EventStoreResult<(Vec<u8>, u64)> {
    let shard_count = shard_count(host);
    if shard >= shard_count {
        return Err(ApiError::InvalidShard { part: shard, shards: shard_count });
    }
    let request = EventStoreRequest::Events { since, limit: limit.min(PAGE_MAX) };
    let lines = call_shard(host, shard, &request, &[]).await.map_err(unavailable)?;
    Ok((lines, shard_count))
}

/// Fetches how many events are stored and lost, and how far each sink has got.
///
/// # Errors
/// [`ApiError::EventStoreUnavailable`] if a shard does not answer.
pub async fn fetch_status<H: Host>(host: &H) -> EventStoreResult<EventStoreStatus> {
    let shards =
        call_all_shards::<_, ShardStatus>(host, shard_count(host), &EventStoreRequest::Status);
    Ok(status::sum_shards(shards.await?))
}

/// Fetches every counter of the event store by the name of its series, and each sink's backlog.
/// Shards add up, but the queue lag is the largest of all shards.
///
/// # Errors
/// [`ApiError::EventStoreUnavailable`] if a shard does not answer.
pub async fn fetch_counters<H: Host>(host: &H) -> EventStoreResult<Vec<(String, u64)>> {
    let mut counters = BTreeMap::<String, u64>::new();
    let request = EventStoreRequest::Counters;
    for shard_counters in
        call_all_shards::<_, Vec<(String, u64)>>(host, shard_count(host), &request).await?
    {
        for (name, number) in shard_counters {
            let is_lag = name == QUEUE_LAG_SERIES;
            let total = counters.entry(name).or_default();
            *total = if is_lag { number.max(*total) } else { *total + number };
        }
    }
    Ok(counters.into_iter().collect())
}

/// Erases a subject's events in all shards. No read shows them from then on. Each shard erases some at
/// once and searches the rest later.
///
/// # Errors
/// [`ApiError::EventStoreUnavailable`] if a shard does not answer; the others have erased theirs.
pub async fn erase_subject<H: Host>(
    host: &H,
    subject: &Subject,
) -> EventStoreResult<ErasureProgress> {
    let subject = subject.expose().as_bytes();
    let requests = (0..shard_count(host))
        .map(|shard| call_shard(host, shard, &EventStoreRequest::EraseSubject, subject));
    let mut sum = ErasureProgress::default();
    for reply in join_all(requests).await {
        let ErasureProgress { erased, pending_events } = parse_json(&reply.map_err(unavailable)?)?;
        sum.erased += erased;
        sum.pending_events += pending_events;
    }
    Ok(sum)
}

/// Sends a message to all shards and returns their replies in order. Fails if one of them fails.
async fn call_all_shards<H: Host, T: DeserializeOwned>(
    host: &H,
    shard_count: u64,
    request: &EventStoreRequest,
) -> EventStoreResult<Vec<T>> {
    let requests = (0..shard_count).map(|shard| call_shard(host, shard, request, &[]));
    let replies = join_all(requests).await;
    replies.into_iter().map(|reply| parse_json(&reply.map_err(unavailable)?)).collect()
}

async fn call_shard<H: Host>(
    host: &H,
    shard: u64,
    request: &EventStoreRequest,
    payload: &[u8],
) -> Result<Vec<u8>, FetchError> {
    let name = if shard == 0 { OBJECT_NAME.to_owned() } else { format!("{OBJECT_NAME}-{shard}") };
    let call = ObjectCall {
        class: ObjectClass::EventStore,
        name: &name,
        message: &encode_message(request, payload),
        timeout_ms: TIMEOUT_MS,
        reply_bytes_max: REPLY_BYTES_MAX,
    };
    host.call_object(call).await
}

fn unavailable(_: FetchError) -> ApiError {
    ApiError::EventStoreUnavailable
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> EventStoreResult<T> {
    serde_json::from_slice(body).map_err(|_| ApiError::EventStoreUnavailable)
}
