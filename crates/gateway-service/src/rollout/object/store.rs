//! Tables of the rollout object, and typed access to them.
//!
//! The release state, the plan's text, the controller and the last validation are single values.
//! The history only grows. Values are stored as JSON; a stored value that cannot be parsed is an
//! error.

use std::rc::Rc;

use super::{PlannedRelease, RolloutObject};
use crate::host::ObjectHost;
use crate::sql::{SqlValue, StorageError, StorageResult, parse_stored, sql_integer};
use jeffrey_edge::rollout::advance_checks::ModelValidation;
use jeffrey_edge::rollout::hard_failure_report::HardFailureReport;
use jeffrey_edge::rollout::history::HistoryEntry;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::release_state::{HardFailureKind, ReleaseState};
use jeffrey_terms::UnixMs;

/// Largest number of history entries in one page.
const PAGE_MAX: u64 = 1_000;

/// Time for which the id of a report is kept, in milliseconds: an isolate that repeats one lives shorter.
const REPORT_KEPT_MS: u64 = 24 * 60 * 60_000;

/// Reports of traps that are read, the latest first: three subjects are enough.
const TRAPS_READ_MAX: u64 = 1_000;

/// Table `stored_value` holds single values by name, each as JSON; `plan`, `validated_model` and
/// `bucket_salt` are texts as they are. In `hard_failure_report`, `trap` is the report of a trap that has
/// not stopped the release.
const TABLES: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS release_state (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS stored_value (name TEXT PRIMARY KEY, json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS history (seq INTEGER PRIMARY KEY, json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pending_notification (id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, \
     json TEXT NOT NULL, failures INTEGER NOT NULL, next_ms INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS hard_failure_report (id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL, trap TEXT)",
    "CREATE TABLE IF NOT EXISTS active_alert (key TEXT PRIMARY KEY, json TEXT NOT NULL)",
];

impl<H: ObjectHost> RolloutObject<H> {
    pub(super) fn create_tables(&self) -> StorageResult<()> {
        if !self.is_prepared.get() {
            for table in TABLES {
                self.host.execute(table, vec![])?;
            }
            self.is_prepared.set(true);
        }
        Ok(())
    }

    pub(super) fn release_state(&self) -> StorageResult<ReleaseState> {
        match self.host.query("SELECT json FROM release_state", vec![])?.first() {
            Some(row) => row.json(0),
            None => Ok(self.initial_state()),
        }
    }

    pub(super) fn store_release_state(&self, release_state: &ReleaseState) -> StorageResult<()> {
        let json = serde_json::to_string(release_state)?;
        self.host
            .execute("INSERT OR REPLACE INTO release_state VALUES (1, ?)", vec![json.into()])?;
        Ok(())
    }

    /// Returns the plan and its controller; `None` before the first plan.
    pub(super) fn planned_release(&self) -> StorageResult<Option<Rc<PlannedRelease>>> {
        let cached = self.planned_release.borrow().clone();
        if cached.is_some() {
            return Ok(cached);
        }
        let (Some(text), Some(controller_json)) =
            (self.stored_value("plan")?, self.stored_value("control")?)
        else {
            return Ok(None);
        };
        let plan = Plan::read(&text)
            .map_err(|_| StorageError::Malformed { what: "the stored plan".to_owned() })?;
        let controller = parse_stored(&controller_json)?;
        let loaded = Some(Rc::new(PlannedRelease { plan: Rc::new(plan), controller }));
        self.planned_release.borrow_mut().clone_from(&loaded);
        Ok(loaded)
    }

    /// Stores a plan's text; [`RolloutObject::store_controller`] follows.
    pub(super) fn store_plan(&self, text: &str) -> StorageResult<()> {
        self.store_value("plan", text)
    }

    /// Stores the controller of the release under the stored plan.
    pub(super) fn store_controller(&self, planned_release: PlannedRelease) -> StorageResult<()> {
        self.store_value("control", &serde_json::to_string(&planned_release.controller)?)?;
        *self.planned_release.borrow_mut() = Some(Rc::new(planned_release));
        Ok(())
    }

    /// Stores a report. Returns `false` if it is stored already.
    pub(super) fn store_report(&self, report: &HardFailureReport) -> StorageResult<bool> {
        let UnixMs(now_ms) = self.host.now();
        let forgotten_before = sql_integer(now_ms.saturating_sub(REPORT_KEPT_MS));
        self.host.execute(
            "DELETE FROM hard_failure_report WHERE received_ms < ?",
            vec![forgotten_before],
        )?;
        let is_trap = report.failure.kind == HardFailureKind::Trap;
        let trap = if is_trap { serde_json::to_string(report)?.into() } else { SqlValue::Null };
        let values = vec![report.id.as_str().into(), sql_integer(now_ms), trap];
        let insert = "INSERT OR IGNORE INTO hard_failure_report VALUES (?, ?, ?)";
        Ok(self.host.execute(insert, values)? > 0)
    }

    /// Returns the reported traps that have not stopped the release.
    pub(super) fn waiting_traps(&self) -> StorageResult<Vec<HardFailureReport>> {
        let query = "SELECT trap FROM hard_failure_report WHERE trap IS NOT NULL \
                     ORDER BY received_ms DESC LIMIT ?";
        let rows = self.host.query(query, vec![sql_integer(TRAPS_READ_MAX)])?;
        rows.iter().map(|row| row.json(0)).collect()
    }

    /// Forgets the reported traps: they have stopped the release. Their ids stay.
    pub(super) fn clear_waiting_traps(&self) -> StorageResult<()> {
        let update = "UPDATE hard_failure_report SET trap = NULL WHERE trap IS NOT NULL";
        self.host.execute(update, vec![])?;
        Ok(())
    }

    pub(super) fn validation(&self) -> StorageResult<Option<ModelValidation>> {
        Ok(match self.stored_value("validation")? {
            Some(json) => parse_stored(&json)?,
            None => None,
        })
    }

    pub(super) fn store_validation(&self, validation: &ModelValidation) -> StorageResult<()> {
        self.store_value("validation", &serde_json::to_string(validation)?)
    }

    /// Makes the model of the last release check the only one that may answer, if the check passed. While a
    /// release has canary traffic, only a command does so: a check of another model must not stop it.
    pub(super) fn accept_validated_model(&self) -> StorageResult<()> {
        match self.validation()?.filter(|validation| validation.passed) {
            Some(validation) => self.store_value("validated_model", &validation.model_sha256),
            None => Ok(()),
        }
    }

    /// Returns the sha256 of the only model that may answer; `None` before a release check passed.
    pub(super) fn validated_model(&self) -> StorageResult<Option<String>> {
        self.stored_value("validated_model")
    }

    pub(super) fn stored_bucket_salt(&self) -> StorageResult<Option<String>> {
        self.stored_value("bucket_salt")
    }

    pub(super) fn store_bucket_salt(&self, name: &str) -> StorageResult<()> {
        self.store_value("bucket_salt", name)
    }

    /// Appends an entry to the history. An entry never changes.
    pub(super) fn append_history(&self, entry: &HistoryEntry) -> StorageResult<()> {
        let values = vec![sql_integer(entry.seq), serde_json::to_string(entry)?.into()];
        self.host.execute("INSERT INTO history VALUES (?, ?)", values)?;
        Ok(())
    }

    /// Returns the entries after entry `since` as lines of JSON, at most [`PAGE_MAX`].
    pub(super) fn history_lines(&self, since: u64, limit: u64) -> StorageResult<String> {
        let values = vec![sql_integer(since), sql_integer(limit.min(PAGE_MAX))];
        let query = "SELECT json FROM history WHERE seq > ? ORDER BY seq LIMIT ?";
        let rows = self.host.query(query, values)?;
        rows.iter().map(|row| Ok(format!("{}\n", row.text(0)?))).collect()
    }

    fn stored_value(&self, name: &str) -> StorageResult<Option<String>> {
        let query = "SELECT json FROM stored_value WHERE name = ?";
        let rows = self.host.query(query, vec![name.into()])?;
        rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    fn store_value(&self, name: &str, json: &str) -> StorageResult<()> {
        self.host.execute(
            "INSERT OR REPLACE INTO stored_value VALUES (?, ?)",
            vec![name.into(), json.into()],
        )?;
        Ok(())
    }
}
