//! Notifications: stored with the history entry that caused them, and delivered in the background.
//!
//! An alert is sent once when it is raised and once when it is resolved. Each webhook target gets
//! its notifications in order. A failed delivery is tried again after a pause, and delays no other
//! target.

use futures_util::future::join_all;

use super::RolloutObject;
use super::advance::post_webhook;
use crate::host::ObjectHost;
use crate::rollout::messages::TestAlertResult;
use crate::sql::{StorageResult, sql_integer};
use jeffrey_edge::gateway::export::delivery_cursor::{
    DeliveryOutcome, backoff_ms, delivery_outcome,
};
use jeffrey_edge::gateway::notify::webhook::{AlertNotice, Notification, WebhookTarget};
use jeffrey_edge::rollout::effect::RolloutAlert;
use jeffrey_edge::rollout::history::HistoryEntry;
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::plan::Plan;

/// Names in a plan's `notify` that are not webhook targets: the Worker's log, and all targets.
const LOG: &str = "log";
const ALL_TARGETS: &str = "all";

/// Time after which an unfinished delivery is tried again, in milliseconds.
const LEASE_MS: u64 = 30_000;

/// The oldest notification that a webhook target does not have yet.
struct PendingNotification {
    id: u64,
    json: String,
    failures: u32,
}

impl<H: ObjectHost> RolloutObject<H> {
    /// Queues the notifications of a history entry: a new alert, resolved alerts and a promotion.
    /// An alert that is active already is not queued again.
    pub(super) fn queue_notifications(
        &self,
        plan: &Plan,
        alert: Option<&RolloutAlert>,
        entry: &HistoryEntry,
    ) -> StorageResult<()> {
        let raised = alert.and_then(AlertNotice::for_alert);
        let key = raised.as_ref().map(|notice| notice.dedup_key);
        let mut is_active = false;
        for row in self.host.query("SELECT key, json FROM active_alert", vec![])? {
            let active_key = row.text(0)?;
            if Some(active_key) == key {
                is_active = true;
                continue;
            }
            let query = "DELETE FROM active_alert WHERE key = ?";
            self.host.execute(query, vec![active_key.into()])?;
            if let Ok(notification) = row.json::<Notification>(1) {
                let share = entry.share;
                self.enqueue_notification(
                    plan,
                    &Notification { resolved: true, share, time: self.host.now(), ..notification },
                )?;
            }
        }
        if let Some(notice) = raised
            && !is_active
        {
            let key = notice.dedup_key;
            let notification = self.new_notification(notice, entry);
            let json = serde_json::to_string(&notification)?;
            self.host
                .execute("INSERT INTO active_alert VALUES (?, ?)", vec![key.into(), json.into()])?;
            self.enqueue_notification(plan, &notification)?;
        }
        if entry.state.phase == Phase::Promoted && entry.state.phase_entered_at == entry.now {
            let notification = self.new_notification(AlertNotice::promoted(), entry);
            self.enqueue_notification(plan, &notification)?;
        }
        Ok(())
    }

    fn new_notification(&self, notice: AlertNotice, entry: &HistoryEntry) -> Notification {
        let release = self.settings.release.as_str();
        Notification::new(notice, release, entry.share, Some(entry.seq), self.host.now())
    }

    fn enqueue_notification(&self, plan: &Plan, notification: &Notification) -> StorageResult<()> {
        let json = serde_json::to_string(notification)?;
        let is_named = |name: &str| plan.notify.iter().any(|target_name| target_name == name);
        if is_named(LOG) {
            self.host.log(&json);
        }
        for target in &self.settings.alert_webhooks {
            if is_named(ALL_TARGETS) || is_named(&target.name) {
                let values = vec![target.name.as_str().into(), json.as_str().into()];
                self.host.execute(
                    "INSERT INTO pending_notification (target, json, failures, next_ms) VALUES (?, ?, 0, 0)",
                    values,
                )?;
            }
        }
        Ok(())
    }

    pub(super) fn has_pending_alerts(&self) -> StorageResult<bool> {
        Ok(self.host.query_number("SELECT COUNT(*) AS number FROM pending_notification", vec![])?
            > 0)
    }

    /// Starts a delivery for each webhook target with a due notification. Nothing waits for a
    /// target, and each gets its notifications in order.
    pub(super) fn deliver_notifications(&self) -> StorageResult<()> {
        for target in &self.settings.alert_webhooks {
            if let Some(pending) = lease_next(&self.host, target)? {
                let delivery = deliver_to_target(self.host.clone(), target.clone(), pending);
                self.host.wait_until(delivery);
            }
        }
        Ok(())
    }

    /// Sends a test notification to every webhook target and returns the results.
    pub(super) async fn send_test_alert(&self) -> StorageResult<Vec<TestAlertResult>> {
        let release = self.settings.release.as_str();
        let share = self.release_state()?.share;
        let notification =
            Notification::new(AlertNotice::test(), release, share, None, self.host.now());
        let deliveries = self.settings.alert_webhooks.iter().map(|target| {
            let body = notification.to_body(target.format);
            async move {
                let status =
                    post_webhook(&self.host, target, &body).await.map(|response| response.status);
                let delivered = status.is_some_and(|status| (200..300).contains(&status));
                TestAlertResult { name: target.name.clone(), status, delivered }
            }
        });
        Ok(join_all(deliveries).await)
    }
}

/// Returns a target's oldest notification if it is due, and leases it: no other delivery takes it
/// for [`LEASE_MS`].
fn lease_next<H: ObjectHost>(
    host: &H,
    target: &WebhookTarget,
) -> StorageResult<Option<PendingNotification>> {
    let query = "SELECT id, json, failures, next_ms FROM pending_notification WHERE target = ? ORDER BY id LIMIT 1";
    let now_ms = host.now().0;
    let rows = host.query(query, vec![target.name.as_str().into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.number(3)? > now_ms {
        return Ok(None);
    }
    let failures = u32::try_from(row.number(2)?).unwrap_or(u32::MAX);
    let pending =
        PendingNotification { id: row.number(0)?, json: row.text(1)?.to_owned(), failures };
    let lease = vec![sql_integer(now_ms + LEASE_MS), sql_integer(pending.id)];
    host.execute("UPDATE pending_notification SET next_ms = ? WHERE id = ?", lease)?;
    Ok(Some(pending))
}

/// Delivers a notification to a target, then the target's next ones that are due. If the outcome
/// cannot be stored, the notification is delivered again after its lease.
async fn deliver_to_target<H: ObjectHost>(
    host: H,
    target: WebhookTarget,
    pending: PendingNotification,
) {
    let mut current = Some(pending);
    while let Some(PendingNotification { id, json, failures }) = current.take() {
        let notification = serde_json::from_slice::<Notification>(json.as_bytes());
        let body = notification
            .map(|notification| notification.to_body(target.format))
            .unwrap_or_default();
        let status = post_webhook(&host, &target, &body).await.map(|response| response.status);
        if let DeliveryOutcome::Retry(_) = delivery_outcome(status, None, host.now()) {
            let retry_at = sql_integer(host.now().0 + backoff_ms(failures));
            let query =
                "UPDATE pending_notification SET failures = failures + 1, next_ms = ? WHERE id = ?";
            let _ = host.execute(query, vec![retry_at, sql_integer(id)]);
            return;
        }
        let delivered = "DELETE FROM pending_notification WHERE id = ?";
        if host.execute(delivered, vec![sql_integer(id)]).is_err() {
            return;
        }
        current = lease_next(&host, &target).ok().flatten();
    }
}
