//! Minutes and subjects: what the events counted for.

use std::collections::BTreeMap;

use serde::Deserialize;
use worker::{Result, SqlStorageValue};

use super::{LedgerObject, TallyKey, Text};
use crate::now;
use crate::sql::{Number, Tables, number};
use jeffrey_edge::gate::shard::{MINUTES_MAX, Part};
use jeffrey_edge::gate::tally::{Counted, Tally, newly_affected_since};
use jeffrey_edge::rollout::counts::{Concentration, Metric, Pair};
use jeffrey_edge::telemetry::sketch::Sketch;
use jeffrey_terms::{Cohort, Share};

/// How many minutes a minute has been closed when its sums are kept: later ones come seldom.
const SETTLED_MINUTES: u64 = 10;

/// Which minutes are asked for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    pub(super) release: String,
    pub(super) minutes: Vec<u64>,
}

impl LedgerObject {
    /// Adds what some events counted for.
    pub(super) fn add_tallies(&self, tallies: BTreeMap<TallyKey, Tally>) -> Result<()> {
        for ((release, minute, cohort, share), more) in tallies {
            let key = || -> Vec<SqlStorageValue> {
                let share = number(u64::from(share.basis_points()));
                vec![release.as_str().into(), number(minute), cohort.name().into(), share]
            };
            let query = "SELECT json AS text FROM tally \
                         WHERE release = ? AND minute = ? AND cohort = ? AND share = ?";
            let rows: Vec<Text> = self.rows(query, key())?;
            let mut tally = match rows.first() {
                Some(row) => serde_json::from_str(&row.text)?,
                None => Tally::default(),
            };
            tally.add(&more);
            let mut values = key();
            values.push(serde_json::to_string(&tally)?.into());
            self.run("INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?)", values)?;
            self.settled.borrow_mut().changed(&release, minute);
        }
        Ok(())
    }

    /// Who was seen and affected before is known here alone.
    pub(super) fn keep_subject(&self, counted: &Counted) -> Result<()> {
        let Some(subject) = counted.subject.as_deref() else { return Ok(()) };
        let (release, cohort) = (counted.release.as_str(), counted.cohort.name());
        let minute = || number(counted.minute);
        if !counted.holdout {
            self.run(
                "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)",
                vec![release.into(), subject.into(), minute(), cohort.into()],
            )?;
        }
        for metric in &counted.hits {
            let key = || vec![release.into(), metric.name().into(), subject.into()];
            let query = "SELECT after AS number FROM hit \
                         WHERE release = ? AND metric = ? AND subject = ?";
            let after = self.number(query, key())?;
            for hour in newly_affected_since(counted.minute, after) {
                self.run(
                    "INSERT INTO affected VALUES (?, ?, ?, ?, ?, 1) \
                     ON CONFLICT DO UPDATE SET number = number + 1",
                    vec![
                        release.into(),
                        minute(),
                        metric.name().into(),
                        number(hour),
                        cohort.into(),
                    ],
                )?;
            }
            let mut values = key();
            values.push(number(after.max(counted.minute + 1)));
            self.run("INSERT OR REPLACE INTO hit VALUES (?, ?, ?, ?)", values)?;
        }
        if counted.cohort == Cohort::Canary && counted.hits.contains(&Metric::Errors) {
            self.run(
                "INSERT INTO erring VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1",
                vec![release.into(), minute(), subject.into()],
            )?;
        }
        Ok(())
    }

    /// The tallies of a minute.
    fn tallies(&self, release: &str, minute: u64) -> Result<Vec<(Cohort, Share, Tally)>> {
        #[derive(Deserialize)]
        struct Row {
            cohort: Cohort,
            share: Share,
            json: String,
        }
        let query = "SELECT cohort, share, json FROM tally WHERE release = ? AND minute = ?";
        let rows: Vec<Row> = self.rows(query, vec![release.into(), number(minute)])?;
        rows.into_iter()
            .map(|row| Ok((row.cohort, row.share, serde_json::from_str(&row.json)?)))
            .collect()
    }

    /// Stable's latencies of a minute.
    pub(super) fn stable_latency(&self, release: &str, minute: u64) -> Result<Sketch> {
        let mut latency = Sketch::default();
        let tallies = self.tallies(release, minute)?;
        for (_, _, tally) in tallies.iter().filter(|(cohort, ..)| *cohort == Cohort::Stable) {
            latency.merge(&tally.latency);
        }
        Ok(latency)
    }

    /// What the canary and stable did after a minute and before another.
    pub(super) fn between(&self, release: &str, since: u64, before: u64) -> Result<[Tally; 2]> {
        let open_from = self.settings.pace.open_from(now()).saturating_sub(SETTLED_MINUTES);
        self.settled.borrow_mut().between(release, (since, before), open_from, |since, before| {
            self.summed(release, since, before)
        })
    }

    fn summed(&self, release: &str, since: u64, before: u64) -> Result<[Tally; 2]> {
        let of = |cohort: Cohort| -> Result<Tally> {
            let query = "SELECT json AS text FROM tally \
                         WHERE release = ? AND minute > ? AND minute < ? AND cohort = ?";
            let values = vec![release.into(), number(since), number(before), cohort.name().into()];
            let rows: Vec<Text> = self.rows(query, values)?;
            let mut sum = Tally::default();
            for row in rows {
                sum.add(&serde_json::from_str(&row.text)?);
            }
            Ok(sum)
        };
        Ok([of(Cohort::Canary)?, of(Cohort::Stable)?])
    }

    /// The numbers of the minutes between two that have something here, the earliest first.
    pub(super) fn minutes(&self, release: &str, since: u64, before: u64) -> Result<Vec<u64>> {
        let query = "SELECT DISTINCT minute AS number FROM tally \
                     WHERE release = ? AND minute > ? AND minute < ? ORDER BY minute LIMIT ?";
        let most = number(MINUTES_MAX as u64);
        let values = vec![release.into(), number(since), number(before), most];
        let rows: Vec<Number> = self.rows(query, values)?;
        Ok(rows.iter().filter_map(|row| row.number).collect())
    }

    /// What is here of some minutes.
    pub(super) fn parts(&self, release: &str, minutes: &[u64]) -> Result<Vec<Part>> {
        minutes.iter().map(|at| self.part(release, *at)).collect()
    }

    fn part(&self, release: &str, at: u64) -> Result<Part> {
        #[derive(Deserialize)]
        struct Row {
            metric: Metric,
            hour: u64,
            cohort: Cohort,
            number: u64,
        }
        let key = || vec![release.into(), number(at)];
        let seen = |cohort: Cohort| {
            let query = "SELECT COUNT(*) AS number FROM seen WHERE release = ? AND minute = ? AND cohort = ?";
            let mut values = key();
            values.push(cohort.name().into());
            self.number(query, values)
        };
        let first_seen = Pair { canary: seen(Cohort::Canary)?, stable: seen(Cohort::Stable)? };
        let query = "SELECT metric, hour, cohort, number FROM affected \
                     WHERE release = ? AND minute = ? ORDER BY metric, hour";
        let rows: Vec<Row> = self.rows(query, key())?;
        let one = |row: Row| (row.metric, row.hour, row.cohort, row.number);
        Ok(Part {
            minute: at,
            tallies: self.tallies(release, at)?,
            first_seen,
            first_affected: rows.into_iter().map(one).collect(),
            concentration: self.concentration(release, at)?,
            most: self.most(release, at)?,
        })
    }

    /// Requests and errors of the hour that ends with a minute.
    fn concentration(&self, release: &str, at: u64) -> Result<Concentration> {
        let mut found = Concentration::default();
        for minute in at.saturating_sub(59)..=at {
            for (cohort, _, tally) in self.tallies(release, minute)? {
                let errors = tally.counts.errors_5xx + tally.counts.failed_open;
                let (requests, sum) = match cohort {
                    Cohort::Canary => (&mut found.requests, &mut found.errors),
                    Cohort::Stable => (&mut found.stable_requests, &mut found.stable_errors),
                };
                *requests += tally.counts.requests;
                *sum += errors;
            }
        }
        Ok(found)
    }

    /// Errors of the two canary subjects that had most in that hour.
    fn most(&self, release: &str, at: u64) -> Result<Vec<u64>> {
        let query = "SELECT SUM(number) AS number FROM erring \
                     WHERE release = ? AND minute > ? AND minute <= ? \
                     GROUP BY subject ORDER BY number DESC LIMIT 2";
        let first = at.saturating_sub(60);
        let rows: Vec<Number> =
            self.rows(query, vec![release.into(), number(first), number(at)])?;
        Ok(rows.iter().filter_map(|row| row.number).collect())
    }
}
