//! Batches to the sinks, each at its own pace.

use worker::{AnalyticsEngineDataPointBuilder, AnalyticsEngineDataset, Bucket, Env, Result};

use super::{GATHER_MS, IDLE_MS, LedgerObject, Row, Text};
use crate::http::{self, Said, Unsaid};
use crate::sql::{Tables, number};
use crate::{draw, now};
use jeffrey_edge::gate::outbox::{Outbox, Outcome};
use jeffrey_edge::gate::sink::{ANALYTICS, ARCHIVE, Sink, SinkKind};
use jeffrey_edge::gate::{archive, otlp};
use jeffrey_terms::UnixMs;

/// How long a sink may take to answer.
const SINK_MS: u64 = 10_000;

/// How far a sink's answer is read.
const SINK_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Batches for one sink in one alarm.
const BATCHES_MAX: usize = 20;

/// The platform's own stores, where they are bound.
pub(super) struct Bound {
    archive: Option<Bucket>,
    analytics: Option<AnalyticsEngineDataset>,
}

impl Bound {
    pub(super) fn find(env: &Env) -> Self {
        Self {
            archive: env.bucket("ARCHIVE").ok(),
            analytics: env.analytics_engine("ANALYTICS").ok(),
        }
    }

    /// What is bound, as sinks.
    pub(super) fn sinks(&self) -> impl Iterator<Item = Sink> + use<> {
        let archive = self.archive.is_some().then_some((ARCHIVE, SinkKind::Archive));
        let analytics = self.analytics.is_some().then_some((ANALYTICS, SinkKind::Analytics));
        archive.into_iter().chain(analytics).map(|(name, kind)| Sink {
            name: name.to_owned(),
            kind,
            url: String::new(),
            authorization: None,
        })
    }
}

impl LedgerObject {
    /// Hands a sink what waits for it, until nothing does or it wants a pause.
    pub(super) async fn deliver(&self, sink: &Sink) -> Result<()> {
        for _ in 0..BATCHES_MAX {
            let outbox = self.outbox(sink)?;
            if now() < outbox.next {
                break;
            }
            let (last, events, said) = if sink.kind == SinkKind::OtlpMetrics {
                // Not the events: the sums that they have made so far.
                let (last, events) = (self.last()?, self.waiting(&outbox)?);
                if events == 0 {
                    break;
                }
                let began = UnixMs(self.number("SELECT time_ms AS number FROM began", vec![])?);
                let instance = self.state.id().to_string();
                let body = otlp::metrics(&self.totals()?, &instance, began, now());
                (last, events, post(sink, ("application/json", &body), events).await)
            } else {
                let most = outbox.batch.min(sink.kind.batch_max());
                let rows = self.after(outbox.place, most as u64)?;
                let Some(last) = rows.last().map(|row| row.seq) else { break };
                (last, rows.len() as u64, self.send(sink, &rows).await)
            };
            let random = u16::from_be_bytes(draw());
            let mut after = outbox.after(said, events, last, now(), random);
            if matches!(said, Outcome::Delivered) {
                let pause_ms = sink.kind.pause_ms(usize::try_from(events).unwrap_or(usize::MAX));
                after.next = UnixMs(after.next.0 + pause_ms);
            }
            self.store(sink, &after)?;
            if matches!(said, Outcome::Later(_)) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn waiting(&self, outbox: &Outbox) -> Result<u64> {
        let query = "SELECT COUNT(*) AS number FROM event WHERE seq > ?";
        self.number(query, vec![number(outbox.place)])
    }

    pub(super) fn outbox(&self, sink: &Sink) -> Result<Outbox> {
        let rows: Vec<Text> =
            self.rows("SELECT text FROM outbox WHERE sink = ?", vec![sink.name.as_str().into()])?;
        match rows.first() {
            Some(row) => Ok(serde_json::from_str(&row.text)?),
            None => Ok(Outbox::default()),
        }
    }

    pub(super) fn store(&self, sink: &Sink, outbox: &Outbox) -> Result<()> {
        let text = serde_json::to_string(outbox)?;
        let values = vec![sink.name.as_str().into(), text.into()];
        self.run("INSERT OR REPLACE INTO outbox VALUES (?, ?)", values)?;
        Ok(())
    }

    /// How long until the next alarm, in milliseconds.
    pub(super) fn pause_ms(&self) -> Result<i64> {
        let mut pause_ms = IDLE_MS;
        let now = now();
        for sink in &self.sinks {
            let outbox = self.outbox(sink)?;
            if self.waiting(&outbox)? > 0 {
                let until_next = outbox.next.0.saturating_sub(now.0);
                pause_ms =
                    pause_ms.min(i64::try_from(until_next).unwrap_or(IDLE_MS).max(GATHER_MS));
            }
        }
        Ok(pause_ms)
    }

    /// One batch to one sink.
    async fn send(&self, sink: &Sink, rows: &[Row]) -> Outcome {
        let events: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
        if let (SinkKind::Analytics, Some(dataset)) = (sink.kind, &self.bound.analytics) {
            let points = events.iter().filter_map(|event| archive::point(event));
            for point in points {
                let data = AnalyticsEngineDataPointBuilder::new()
                    .indexes([point.index.as_str()])
                    .blobs(point.blobs)
                    .doubles(point.doubles);
                if data.write_to(dataset).is_err() {
                    return Outcome::Later(None);
                }
            }
            return Outcome::Delivered;
        }
        // A batch of which nothing is for this sink is as good as sent.
        let Some((kind, body)) = sink.kind.body(&events) else { return Outcome::Delivered };
        match (sink.kind, &self.bound.archive, rows.first()) {
            (SinkKind::Archive, Some(bucket), Some(first)) => {
                let key = archive::key(&self.state.id().to_string(), first.seq, &first.json);
                match bucket.put(key, body.into_bytes()).execute().await {
                    Ok(_) => Outcome::Delivered,
                    Err(_) => Outcome::Later(None),
                }
            }
            _ => post(sink, (kind, &body), rows.len() as u64).await,
        }
    }
}

/// Sends a body to a sink's address.
async fn post(sink: &Sink, (kind, body): (&str, &str), events: u64) -> Outcome {
    let to = (sink.url.as_str(), sink.authorization.as_deref());
    match http::post(to, (kind, body.as_bytes()), SINK_MS, SINK_ANSWER_BYTES_MAX).await {
        Ok(Said { status, retry_after, body }) => {
            sink.kind.outcome(Some(status), retry_after.as_deref(), &body, events, now())
        }
        Err(Unsaid::NoAnswer) => sink.kind.outcome(None, None, &[], events, now()),
        Err(Unsaid::Headers) => Outcome::Refused,
    }
}
