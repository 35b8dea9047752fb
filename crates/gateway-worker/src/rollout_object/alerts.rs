//! Telling people: what is to be told is stored with what it is about, and delivered beside everything else.

use serde::{Deserialize, Serialize};
use worker::{Result, SqlStorage, console_log};

use super::RolloutObject;
use super::rise::post;
use crate::now;
use crate::sql::{Tables, number};
use jeffrey_edge::gate::outbox::{Outcome, backoff_ms, outcome};
use jeffrey_edge::gate::webhook::{Notice, Receiver, Severity, told};
use jeffrey_edge::rollout::control::Entry;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::state::{Alert, Phase};

/// Names in a plan's `notify` that are no receiver: the worker's log, and everybody.
const LOG: &str = "log";
const EVERYBODY: &str = "all";

/// How long a delivery has before it is tried again.
const LEASE_MS: u64 = 30_000;

/// Whether a receiver has a test's notice.
#[derive(Serialize)]
pub(super) struct Tested {
    name: String,
    status: Option<u16>,
    delivered: bool,
}

#[derive(Deserialize)]
struct Active {
    key: String,
    json: String,
}

/// The first notice that a receiver does not have.
#[derive(Deserialize)]
struct Waiting {
    id: u64,
    json: String,
    failures: u32,
    next_ms: u64,
}

impl RolloutObject {
    /// Takes down what an entry tells people; what they know already is not told again, and what is over is.
    pub(super) fn notice(&self, plan: &Plan, why: Option<&Alert>, entry: &Entry) -> Result<()> {
        let found = why.and_then(told);
        let key = found.as_ref().map(|(key, ..)| *key);
        let active: Vec<Active> = self.rows("SELECT key, json FROM active", vec![])?;
        for Active { key: of, json } in &active {
            if Some(of.as_str()) == key {
                continue;
            }
            self.run("DELETE FROM active WHERE key = ?", vec![of.as_str().into()])?;
            if let Ok(notice) = serde_json::from_str::<Notice>(json) {
                let share = entry.share;
                self.enqueue(plan, &Notice { resolved: true, share, at: now(), ..notice })?;
            }
        }
        if let Some((key, severity, text, commands)) = found
            && !active.iter().any(|active| active.key == key)
        {
            let notice = self.made(key, severity, text, commands, entry);
            let json = serde_json::to_string(&notice)?;
            self.run("INSERT INTO active VALUES (?, ?)", vec![key.into(), json.into()])?;
            self.enqueue(plan, &notice)?;
        }
        if entry.state.phase == Phase::Promoted && entry.state.since == entry.now {
            let text = "promoted: all traffic, watched to the end".to_owned();
            self.enqueue(plan, &self.made("promoted", Severity::Info, text, Vec::new(), entry))?;
        }
        Ok(())
    }

    fn made(
        &self,
        key: &str,
        severity: Severity,
        text: String,
        commands: Vec<&str>,
        entry: &Entry,
    ) -> Notice {
        Notice {
            key: key.to_owned(),
            resolved: false,
            severity,
            release: self.settings.release.as_str().to_owned(),
            share: entry.share,
            text,
            commands: commands.into_iter().map(str::to_owned).collect(),
            entry: Some(entry.seq),
            at: now(),
        }
    }

    fn enqueue(&self, plan: &Plan, notice: &Notice) -> Result<()> {
        let json = serde_json::to_string(notice)?;
        let named = |name: &str| plan.notify.iter().any(|of| of == name);
        if named(LOG) {
            console_log!("{}", json);
        }
        for receiver in &self.settings.alerts {
            if named(EVERYBODY) || named(&receiver.name) {
                let values = vec![receiver.name.as_str().into(), json.as_str().into()];
                self.run(
                    "INSERT INTO notice (receiver, json, failures, next_ms) VALUES (?, ?, 0, 0)",
                    values,
                )?;
            }
        }
        Ok(())
    }

    pub(super) fn alerts_wait(&self) -> Result<bool> {
        Ok(self.number("SELECT COUNT(*) AS number FROM notice", vec![])? > 0)
    }

    /// Hands out what is due, beside whatever comes next: nobody waits for a receiver. Each has its notices in order.
    pub(super) fn tell(&self) -> Result<()> {
        for receiver in &self.settings.alerts {
            if let Some(waiting) = leased(&self.sql(), receiver)? {
                self.state.wait_until(deliver(receiver.clone(), waiting, self.sql()));
            }
        }
        Ok(())
    }

    /// Tells everybody at once that this is a test, and says who has it.
    pub(super) async fn test_alert(&self) -> Result<Vec<Tested>> {
        let notice = Notice {
            key: "test".to_owned(),
            resolved: false,
            severity: Severity::Info,
            release: self.settings.release.as_str().to_owned(),
            share: self.standing()?.share,
            text: "this is a test of the alerts; nothing happened".to_owned(),
            commands: vec!["jeffrey rollout status".to_owned()],
            entry: None,
            at: now(),
        };
        let asked = self.settings.alerts.iter().map(|receiver| {
            let body = notice.body(receiver.shape);
            async move {
                let status = post(receiver, &body).await.map(|said| said.status);
                let delivered = status.is_some_and(|status| (200..300).contains(&status));
                Tested { name: receiver.name.clone(), status, delivered }
            }
        });
        Ok(futures_util::future::join_all(asked).await)
    }
}

/// The first notice that a receiver does not have, when it is due, for whoever asks first: it is nobody else's until
/// its time is over.
fn leased(sql: &SqlStorage, receiver: &Receiver) -> Result<Option<Waiting>> {
    let query =
        "SELECT id, json, failures, next_ms FROM notice WHERE receiver = ? ORDER BY id LIMIT 1";
    let rows: Vec<Waiting> = sql.exec(query, vec![receiver.name.as_str().into()])?.to_array()?;
    let at = now().0;
    let Some(waiting) = rows.into_iter().next().filter(|first| first.next_ms <= at) else {
        return Ok(None);
    };
    let lease = vec![number(at + LEASE_MS), number(waiting.id)];
    sql.exec("UPDATE notice SET next_ms = ? WHERE id = ?", lease)?;
    Ok(Some(waiting))
}

/// One notice to one receiver, and then the next of its. What cannot be written is tried again when its time is over.
async fn deliver(receiver: Receiver, waiting: Waiting, sql: SqlStorage) {
    let mut next = Some(waiting);
    while let Some(Waiting { id, json, failures, .. }) = next.take() {
        let notice = serde_json::from_str::<Notice>(&json);
        let body = notice.map(|notice| notice.body(receiver.shape)).unwrap_or_default();
        let status = post(&receiver, &body).await.map(|said| said.status);
        if let Outcome::Later(_) = outcome(status, None, now()) {
            let at = number(now().0 + backoff_ms(failures));
            let query = "UPDATE notice SET failures = failures + 1, next_ms = ? WHERE id = ?";
            let _ = sql.exec(query, vec![at, number(id)]);
            return;
        }
        if sql.exec("DELETE FROM notice WHERE id = ?", vec![number(id)]).is_err() {
            return;
        }
        next = leased(&sql, &receiver).ok().flatten();
    }
}
