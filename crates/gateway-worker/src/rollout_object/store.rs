//! The object's tables.

use std::rc::Rc;

use serde::Deserialize;
use worker::{Result, SqlStorage};

use super::{Planned, RolloutObject};
use crate::sql::{Tables, number};
use jeffrey_edge::rollout::control::Entry;
use jeffrey_edge::rollout::permit::Validation;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::standing::Standing;

/// The most entries of the history that are read at once.
const PAGE_MAX: u64 = 1_000;

/// `one` holds single values by name, each as JSON; `plan` as the text that it is.
const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS standing (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS one (name TEXT PRIMARY KEY, json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS history (seq INTEGER PRIMARY KEY, json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS notice (id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, \
     json TEXT NOT NULL, failures INTEGER NOT NULL, next_ms INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS active (key TEXT PRIMARY KEY, json TEXT NOT NULL)",
];

#[derive(Deserialize)]
struct Row {
    json: String,
}

impl Tables for RolloutObject {
    fn sql(&self) -> SqlStorage {
        self.state.storage().sql()
    }
}

impl RolloutObject {
    pub(super) fn prepare(&self) -> Result<()> {
        if !self.prepared.get() {
            for table in TABLES {
                self.run(table, vec![])?;
            }
            self.prepared.set(true);
        }
        Ok(())
    }

    pub(super) fn standing(&self) -> Result<Standing> {
        let rows: Vec<Row> = self.rows("SELECT json FROM standing", vec![])?;
        match rows.first() {
            Some(row) => Ok(serde_json::from_str(&row.json)?),
            None => Ok(self.initial()),
        }
    }

    pub(super) fn store_standing(&self, standing: &Standing) -> Result<()> {
        let json = serde_json::to_string(standing)?;
        self.run("INSERT OR REPLACE INTO standing VALUES (1, ?)", vec![json.into()])?;
        Ok(())
    }

    /// The release as a plan moves it; `None` before the first plan.
    pub(super) fn planned(&self) -> Result<Option<Rc<Planned>>> {
        let known = self.planned.borrow().clone();
        if known.is_some() {
            return Ok(known);
        }
        let (Some(text), Some(control)) = (self.one("plan")?, self.one("control")?) else {
            return Ok(None);
        };
        let plan = Plan::read(&text)
            .map_err(|_| worker::Error::RustError("the stored plan is none".to_owned()))?;
        let control = serde_json::from_str(&control)?;
        let read = Some(Rc::new(Planned { plan: Rc::new(plan), control }));
        self.planned.borrow_mut().clone_from(&read);
        Ok(read)
    }

    /// Stores a plan's text; [`RolloutObject::store_control`] follows.
    pub(super) fn store_plan(&self, text: &str) -> Result<()> {
        self.store_one("plan", text)
    }

    /// Stores how a release stands under the plan that is stored.
    pub(super) fn store_control(&self, planned: Planned) -> Result<()> {
        self.store_one("control", &serde_json::to_string(&planned.control)?)?;
        *self.planned.borrow_mut() = Some(Rc::new(planned));
        Ok(())
    }

    pub(super) fn validation(&self) -> Result<Option<Validation>> {
        Ok(match self.one("validation")? {
            Some(json) => serde_json::from_str(&json)?,
            None => None,
        })
    }

    pub(super) fn store_validation(&self, validation: &Validation) -> Result<()> {
        self.store_one("validation", &serde_json::to_string(validation)?)
    }

    /// Adds a line to the history; none is ever changed.
    pub(super) fn record(&self, entry: &Entry) -> Result<()> {
        let values = vec![number(entry.seq), serde_json::to_string(entry)?.into()];
        self.run("INSERT INTO history VALUES (?, ?)", values)?;
        Ok(())
    }

    /// The lines after a number.
    pub(super) fn history(&self, since: u64, limit: u64) -> Result<String> {
        let values = vec![number(since), number(limit.min(PAGE_MAX))];
        let query = "SELECT json FROM history WHERE seq > ? ORDER BY seq LIMIT ?";
        let rows: Vec<Row> = self.rows(query, values)?;
        Ok(rows.iter().map(|row| format!("{}\n", row.json)).collect())
    }

    fn one(&self, name: &str) -> Result<Option<String>> {
        let rows: Vec<Row> = self.rows("SELECT json FROM one WHERE name = ?", vec![name.into()])?;
        Ok(rows.into_iter().next().map(|row| row.json))
    }

    fn store_one(&self, name: &str, json: &str) -> Result<()> {
        self.run("INSERT OR REPLACE INTO one VALUES (?, ?)", vec![name.into(), json.into()])?;
        Ok(())
    }
}
