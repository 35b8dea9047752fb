//! One part of the ledger: keeps every event once, in its own SQLite, and hands them to the sinks.
//!
//! It loads, asks the core, stores, replies. An alarm delivers; each sink has its own place, so that one
//! that is down holds up neither another nor a request.

mod delivery;

mod minutes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Deserialize;
use worker::durable::State;
use worker::{
    DurableObject, Env, Method, Request, Response, Result, SqlStorage, SqlStorageValue,
    durable_object,
};

use self::delivery::Bound;
use self::minutes::Wanted;
use super::sql::{self, Number, Tables, number};
use super::{draw, now, settings};
use jeffrey_edge::gate::event::{Kept, Recorded, VerdictEvent};
use jeffrey_edge::gate::feedback::Verdict;
use jeffrey_edge::gate::intake::Head;
use jeffrey_edge::gate::metrics::{QUEUE_LAG_MS, series};
use jeffrey_edge::gate::settings::Settings;
use jeffrey_edge::gate::settled::Settled;
use jeffrey_edge::gate::sink::Sink;
use jeffrey_edge::gate::status::{PartStatus, SinkStatus};
use jeffrey_edge::gate::subject::hashed;
use jeffrey_edge::gate::tally::{Counted, Tally, count};
use jeffrey_edge::rollout::bucket::Release;
use jeffrey_terms::{AnswerId, Cohort, Share, Subject};

/// Sums that no event makes.
const LOST: &str = "jeffrey_events_lost_total";
const BROKEN: &str = "jeffrey_events_broken_total";
const DEAD: &str = "jeffrey_events_dead_total";
const DIRECT: &str = "jeffrey_queue_failed_total";
const ERASED: &str = "jeffrey_events_erased_total";

/// How long an event of an erased subject may be on its way: a queue keeps messages for 14 days at most.
const ERASED_MS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// From the first event on, so long until a batch leaves: one request instead of many.
const GATHER_MS: i64 = 500;

/// How often old events are looked for when there is nothing to send.
const IDLE_MS: i64 = 60 * 60 * 1_000;

/// Keeps the events of all releases.
#[durable_object(alarm)]
pub struct LedgerObject {
    state: State,
    settings: Settings,
    sinks: Vec<Sink>,
    bound: Bound,
    /// Whether the tables are known to be there.
    prepared: Cell<bool>,
    /// How long the oldest event of the queue's last batch was under way.
    lag_ms: Cell<u64>,
    settled: RefCell<Settled>,
}

impl DurableObject for LedgerObject {
    fn new(state: State, env: Env) -> Self {
        // Whether something names the old system is not asked here.
        let settings = settings(&env, true);
        let bound = Bound::find(&env);
        let sinks = settings.sinks.iter().cloned().chain(bound.sinks()).collect();
        let (prepared, lag_ms) = (Cell::new(false), Cell::new(0));
        let settled = RefCell::default();
        Self { state, settings, sinks, bound, prepared, lag_ms, settled }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        self.prepare()?;
        let body = match request.method() {
            Method::Get => Vec::new(),
            _ => request.bytes().await?,
        };
        // The gate's own reader of URLs: `worker`'s brings the tables of international names.
        let head = Head::new(String::new(), &request.inner().url(), Vec::new());
        let Some(head) = head else { return Response::error("no such question", 404) };
        let number = |name| head.query(name).and_then(|value| value.parse::<u64>().ok());
        let release = head.query("release").unwrap_or_default();
        match head.path() {
            "/append" => {
                let new = self.keep(&body)?;
                for (name, query) in [(LOST, "lost"), (DIRECT, "direct"), (DEAD, "dead")] {
                    self.add(name, number(query).unwrap_or(0))?;
                }
                if let Some(lag_ms) = number("lag_ms") {
                    self.lag_ms.set(lag_ms);
                }
                self.wake().await?;
                Response::from_json(&new)
            }
            "/verdict" => {
                let (Some(of), Ok(verdict)) = (head.query("of"), serde_json::from_slice(&body))
                else {
                    return Response::error("no verdict", 400);
                };
                let status = self.judge(of, verdict)?;
                self.wake().await?;
                Ok(Response::empty()?.with_status(status))
            }
            "/minutes" => {
                let (since, before) = (number("since").unwrap_or(0), number("before").unwrap_or(0));
                Response::from_json(&self.minutes(release, since, before)?)
            }
            "/parts" => match serde_json::from_slice::<Wanted>(&body) {
                Ok(Wanted { release, minutes }) => {
                    Response::from_json(&self.parts(&release, &minutes)?)
                }
                Err(_) => Response::error("no minutes", 400),
            },
            "/between" => {
                let (since, before) = (number("since").unwrap_or(0), number("before").unwrap_or(0));
                Response::from_json(&self.between(release, since, before)?)
            }
            "/latency" => {
                Response::from_json(&self.stable_latency(release, number("minute").unwrap_or(0))?)
            }
            "/events" => self.page(number("since").unwrap_or(0), number("limit").unwrap_or(0)),
            "/status" => Response::from_json(&self.status()?),
            "/totals" => Response::from_json(&self.totals()?),
            "/erase" => Response::from_json(&self.erase(&String::from_utf8_lossy(&body))?),
            _ => Response::error("no such question", 404),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        self.prepare()?;
        self.prune()?;
        let deliveries = self.sinks.iter().map(|sink| self.deliver(sink));
        for delivery in join_all(deliveries).await {
            delivery?;
        }
        self.state.storage().set_alarm(self.pause_ms()?).await?;
        Response::empty()
    }
}

/// What a tally is kept by: release, minute, cohort, share.
type TallyKey = (String, u64, Cohort, Share);

/// What makes the ledger's file of each version out of the one before.
const SCHEMA: [&[&str]; 3] = [
    &[
        "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, \
         time_ms INTEGER NOT NULL, release TEXT NOT NULL, subject TEXT, json TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS verdict (of TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE IF NOT EXISTS outbox (sink TEXT PRIMARY KEY, text TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS total (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
        "CREATE INDEX IF NOT EXISTS event_subject ON event (subject)",
    ],
    &[
        "CREATE TABLE tally (release TEXT NOT NULL, minute INTEGER NOT NULL, cohort TEXT NOT NULL, \
         share INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (release, minute, cohort, share))",
        "CREATE TABLE seen (release TEXT NOT NULL, subject TEXT NOT NULL, minute INTEGER NOT NULL, \
         cohort TEXT NOT NULL, PRIMARY KEY (release, subject))",
        "CREATE INDEX seen_minute ON seen (release, minute)",
        "CREATE TABLE hit (release TEXT NOT NULL, metric TEXT NOT NULL, subject TEXT NOT NULL, \
         after INTEGER NOT NULL, PRIMARY KEY (release, metric, subject))",
        "CREATE TABLE affected (release TEXT NOT NULL, minute INTEGER NOT NULL, metric TEXT NOT NULL, \
         hour INTEGER NOT NULL, cohort TEXT NOT NULL, number INTEGER NOT NULL, \
         PRIMARY KEY (release, minute, metric, hour, cohort))",
        "CREATE TABLE erring (release TEXT NOT NULL, minute INTEGER NOT NULL, subject TEXT NOT NULL, \
         number INTEGER NOT NULL, PRIMARY KEY (release, minute, subject))",
    ],
    &[
        "CREATE TABLE erased (subject TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE began (time_ms INTEGER NOT NULL)",
        "CREATE INDEX event_release ON event (release)",
    ],
];

#[derive(Deserialize)]
struct Row {
    seq: u64,
    json: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

impl Tables for LedgerObject {
    fn sql(&self) -> SqlStorage {
        self.state.storage().sql()
    }
}

impl LedgerObject {
    fn prepare(&self) -> Result<()> {
        if self.prepared.get() {
            return Ok(());
        }
        self.run("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)", vec![])?;
        let version = self.number("SELECT MAX(version) AS number FROM schema", vec![])?;
        if version > SCHEMA.len() as u64 {
            // A later release wrote it: better to keep nothing than to write what it would misread.
            return Err(worker::Error::RustError("the ledger is of a later version".to_owned()));
        }
        for (number, statements) in (1_u64..).zip(SCHEMA).skip(version as usize) {
            for statement in statements {
                self.run(statement, vec![])?;
            }
            self.run("INSERT INTO schema VALUES (?)", vec![sql::number(number)])?;
        }
        self.run(
            "INSERT INTO began SELECT ? WHERE NOT EXISTS (SELECT * FROM began)",
            vec![sql::number(now().0)],
        )?;
        self.prepared.set(true);
        Ok(())
    }

    /// Keeps the lines that are events and are not there yet. Returns how many were new.
    fn keep(&self, lines: &[u8]) -> Result<u64> {
        let mut new = 0;
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        let mut tallies: BTreeMap<TallyKey, Tally> = BTreeMap::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (Ok(kept), Ok(json)) =
                (serde_json::from_slice::<Kept>(line), std::str::from_utf8(line))
            else {
                self.add(BROKEN, 1)?;
                continue;
            };
            if self.is_erased(&kept)? {
                self.add(ERASED, 1)?;
                continue;
            }
            let values: Vec<SqlStorageValue> = vec![
                kept.id.into(),
                number(kept.time_ms),
                kept.release.into(),
                kept.subject.map_or(SqlStorageValue::Null, Into::into),
                json.into(),
            ];
            // Not by the rows written: where the id is known, the counter of the key is written all the same.
            let inserted: Vec<Number> = self.rows(
                "INSERT OR IGNORE INTO event (id, time_ms, release, subject, json) \
                 VALUES (?, ?, ?, ?, ?) RETURNING seq AS number",
                values,
            )?;
            if !inserted.is_empty() {
                new += 1;
                for (name, number) in series(json) {
                    *sums.entry(name).or_default() += number;
                }
                let recorded = serde_json::from_str::<Recorded>(json).ok();
                if let Some(counted) =
                    recorded.as_ref().and_then(|event| count(event, self.settings.pace))
                {
                    self.keep_subject(&counted)?;
                    let Counted { release, minute, cohort, share, tally, .. } = counted;
                    tallies.entry((release, minute, cohort, share)).or_default().add(&tally);
                }
            }
        }
        self.add_all(sums)?;
        self.add_tallies(tallies)?;
        Ok(new)
    }

    fn judge(&self, of: &str, verdict: Verdict) -> Result<u16> {
        let answers: Vec<Text> =
            self.rows("SELECT json AS text FROM event WHERE id = ?", vec![of.into()])?;
        let Some(answer) = answers.first() else { return Ok(404) };
        let now = now();
        let event = VerdictEvent::new(AnswerId::new(now, draw()), now, &answer.text, verdict);
        let Some(event) = event else { return Ok(404) };
        let first = self.run(
            "INSERT OR IGNORE INTO verdict (of, time_ms) VALUES (?, ?)",
            vec![of.into(), number(now.0)],
        )?;
        if first == 0 {
            return Ok(409);
        }
        self.keep(&serde_json::to_vec(&event)?)?;
        Ok(200)
    }

    fn page(&self, since: u64, limit: u64) -> Result<Response> {
        let rows = self.after(since, limit)?;
        // Each line begins with its number, which is what the next question asks after.
        let line = |row: &Row| format!("{{\"seq\":{},{}\n", row.seq, &row.json[1..]);
        Response::from_bytes(rows.iter().map(line).collect::<String>().into_bytes())
    }

    fn after(&self, since: u64, limit: u64) -> Result<Vec<Row>> {
        self.rows(
            "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
            vec![number(since), number(limit)],
        )
    }

    /// Whether an event's subject was erased after the event was made.
    fn is_erased(&self, kept: &Kept) -> Result<bool> {
        let Some(subject) = &kept.subject else { return Ok(false) };
        let query = "SELECT time_ms AS number FROM erased WHERE subject = ?";
        Ok(kept.time_ms <= self.number(query, vec![subject.as_str().into()])?)
    }

    /// Erases a subject's events, whatever the release and the key that hashed it, and those that are still on
    /// their way here.
    fn erase(&self, subject: &str) -> Result<u64> {
        let Ok(subject) = Subject::parse(subject) else { return Ok(0) };
        let releases: Vec<Text> =
            self.rows("SELECT DISTINCT release AS text FROM event", vec![])?;
        let mut releases: Vec<_> =
            releases.iter().filter_map(|row| Release::parse(row.text.as_str()).ok()).collect();
        // The release at work may have nothing here yet but events on their way.
        releases.push(self.settings.release.clone());
        releases.dedup();
        let mut erased = 0;
        for release in releases {
            for key in &self.settings.keys {
                let hash = hashed(&subject, key, &release);
                let found = "SELECT COUNT(*) AS number FROM event WHERE subject = ?";
                erased += self.number(found, vec![hash.as_str().into()])?;
                for table in ["event", "seen", "hit", "erring"] {
                    let query = format!("DELETE FROM {table} WHERE subject = ?");
                    self.run(&query, vec![hash.as_str().into()])?;
                }
                self.run(
                    "INSERT OR REPLACE INTO erased VALUES (?, ?)",
                    vec![hash.as_str().into(), number(now().0)],
                )?;
            }
        }
        Ok(erased)
    }

    fn status(&self) -> Result<PartStatus> {
        let sinks = self.sinks.iter().map(|sink| {
            let outbox = self.outbox(sink)?;
            Ok(SinkStatus { name: sink.name.clone(), waiting: self.waiting(&outbox)?, outbox })
        });
        Ok(PartStatus {
            events: self.number("SELECT COUNT(*) AS number FROM event", vec![])?,
            last: self.last()?,
            lost: self.number("SELECT number FROM total WHERE name = ?", vec![LOST.into()])?,
            sinks: sinks.collect::<Result<_>>()?,
        })
    }

    fn totals(&self) -> Result<Vec<(String, u64)>> {
        #[derive(Deserialize)]
        struct Total {
            name: String,
            number: u64,
        }
        let rows: Vec<Total> = self.rows("SELECT name, number FROM total", vec![])?;
        let mut totals: Vec<_> = rows.into_iter().map(|row| (row.name, row.number)).collect();
        totals.push((QUEUE_LAG_MS.to_owned(), self.lag_ms.get()));
        for SinkStatus { name, waiting, outbox } in self.status()?.sinks {
            for (family, number) in [
                ("jeffrey_sink_delivered_total", outbox.delivered),
                ("jeffrey_sink_dropped_total", outbox.dropped),
                ("jeffrey_sink_waiting", waiting),
            ] {
                totals.push((format!("{family}{{sink=\"{name}\"}}"), number));
            }
        }
        Ok(totals)
    }

    fn last(&self) -> Result<u64> {
        self.number("SELECT MAX(seq) AS number FROM event", vec![])
    }

    fn add(&self, name: &str, more: u64) -> Result<()> {
        if more == 0 { Ok(()) } else { self.add_all([(name.to_owned(), more)].into()) }
    }

    /// Adds to several sums by one statement for each part that SQLite has parameters for.
    fn add_all(&self, sums: BTreeMap<String, u64>) -> Result<()> {
        let sums: Vec<_> = sums.into_iter().collect();
        for part in sums.chunks(40) {
            let places = vec!["(?, ?)"; part.len()].join(", ");
            let values = part.iter().flat_map(|(name, more)| [name.as_str().into(), number(*more)]);
            self.run(
                &format!(
                    "INSERT INTO total VALUES {places} \
                     ON CONFLICT (name) DO UPDATE SET number = number + excluded.number"
                ),
                values.collect(),
            )?;
        }
        Ok(())
    }

    /// Lets go of what is too old, or too much, and counts what a sink has not had of it.
    fn prune(&self) -> Result<()> {
        let cutoff = now().0.saturating_sub(self.settings.ledger_ms);
        let minute = cutoff / 60_000;
        for table in ["affected", "erring"] {
            self.run(&format!("DELETE FROM {table} WHERE minute < ?"), vec![number(minute)])?;
        }
        if self.run("DELETE FROM tally WHERE minute < ?", vec![number(minute)])? > 0 {
            self.settled.borrow_mut().clear();
        }
        // No start looks further back than a day.
        let day = number((now().0 / 60_000).saturating_sub(2 * 24 * 60));
        self.run("DELETE FROM hit WHERE after < ?", vec![day])?;
        let old = "SELECT MAX(seq) AS number FROM event WHERE time_ms < ?";
        let mut up_to = self.number(old, vec![number(cutoff)])?;
        let erased = number(now().0.saturating_sub(ERASED_MS));
        self.run("DELETE FROM erased WHERE time_ms < ?", vec![erased])?;
        if self.state.storage().sql().database_size() as u64 > self.settings.ledger_bytes {
            let tenth = "SELECT MIN(seq) + (MAX(seq) - MIN(seq)) / 10 AS number FROM event";
            up_to = up_to.max(self.number(tenth, vec![])?);
        }
        if up_to == 0 {
            return Ok(());
        }
        for sink in &self.sinks {
            let outbox = self.outbox(sink)?;
            let missed = "SELECT COUNT(*) AS number FROM event WHERE seq > ? AND seq <= ?";
            let missed = self.number(missed, vec![number(outbox.place), number(up_to)])?;
            self.store(sink, &outbox.outlived(missed, up_to))?;
        }
        self.run("DELETE FROM event WHERE seq <= ?", vec![number(up_to)])?;
        self.run("DELETE FROM verdict WHERE time_ms < ?", vec![number(cutoff)])?;
        Ok(())
    }

    /// Sees to it that an alarm comes soon.
    async fn wake(&self) -> Result<()> {
        let storage = self.state.storage();
        let now_ms = i64::try_from(now().0).unwrap_or(i64::MAX);
        let soon = if self.sinks.is_empty() { IDLE_MS } else { GATHER_MS };
        // An alarm that is due sooner stays; one for an idle hour is brought forward.
        match storage.get_alarm().await? {
            Some(at) if at <= now_ms + soon => Ok(()),
            // A sink that wants a pause is asked no sooner, and then the alarm has nothing to send.
            _ => storage.set_alarm(soon).await,
        }
    }
}
