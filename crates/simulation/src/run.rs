//! Runs a scenario to its end and reports what happened.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::executor::Owner;
use crate::invariants::{Invariant, Violation};
use crate::record::Counts;
use crate::scenario::Scenario;
use crate::simulation::{Simulation, user_name};
use jeffrey_gateway_service::host::ObjectClass;

/// Time between two looks whether a promise is broken, in milliseconds.
const STEP_MS: u64 = 10 * 60_000;

/// Time after the traffic in which queue and alarms finish: the dead-letter queue waits an hour.
const DRAIN_STEP_MS: u64 = 10 * 60_000;
const DRAIN_STEPS_MAX: u32 = 30;

/// Time before and after the alarms that save what the shards count: longer than a checkpoint waits.
const SAVE_AFTER_MS: u64 = 2 * 60_000;

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// Seed of the run.
    pub seed: u64,
    /// Counts of what happened.
    pub counts: Counts,
    /// Hash over the order and the time of all answers.
    pub digest: u64,
    /// Broken promises, the first five of each.
    pub violations: Vec<Violation>,
    /// How often each promise was broken.
    pub violation_counts: BTreeMap<Invariant, u64>,
    /// Lines of the trace, if it was asked for.
    #[serde(skip)]
    pub trace: Vec<String>,
}

impl RunReport {
    /// Returns the first violation that is not of a known fault.
    pub fn first_error(&self) -> Option<&Violation> {
        self.violations.iter().find(|violation| violation.invariant.known_fault().is_none())
    }

    /// Returns whether a promise was broken.
    pub fn breaks(&self, invariant: Invariant) -> bool {
        self.violation_counts.contains_key(&invariant)
    }
}

impl Simulation {
    /// Runs until the traffic is over, ends all faults, and lets queue and alarms finish.
    fn run(self: &Rc<Self>, stops_at_error: bool) {
        assert!(self.settings.setting_errors.is_empty(), "{:?}", self.settings.setting_errors);
        self.start_isolates();
        for user in 0..self.scenario.users {
            self.note_subject(&user_name(user));
        }
        for task in [
            Box::pin(Rc::clone(self).run_clients()) as Pin<Box<dyn Future<Output = ()>>>,
            Box::pin(Rc::clone(self).run_queue()),
            Box::pin(Rc::clone(self).run_operator()),
            Box::pin(Rc::clone(self).run_faults()),
            Box::pin(Rc::clone(self).run_observer()),
        ] {
            self.executor.spawn(Owner::Surroundings, task);
        }
        let mut until_ms = self.start_ms;
        while until_ms < self.start_ms + self.scenario.duration_ms {
            until_ms = (until_ms + STEP_MS).min(self.start_ms + self.scenario.duration_ms);
            self.executor.run_until(until_ms);
            if stops_at_error && self.record.has_error() {
                return;
            }
        }
        self.conditions.heal();
        for cell in self.objects.borrow().iter() {
            cell.database.heal();
        }
        for _ in 0..DRAIN_STEPS_MAX {
            until_ms += DRAIN_STEP_MS;
            self.executor.run_until(until_ms);
            if self.queue.is_empty() && !self.has_alerts_waiting() {
                break;
            }
        }
        self.save_event_stores();
        self.now_ms();
        self.check_end();
    }

    /// Lets each shard of the event store save what it counts in memory, by an alarm.
    fn save_event_stores(self: &Rc<Self>) {
        let objects = self.objects.borrow().clone();
        let shards = || objects.iter().filter(|cell| cell.class == ObjectClass::EventStore);
        self.executor.run_until(self.executor.now_ms() + SAVE_AFTER_MS);
        shards().for_each(|cell| self.run_alarm(cell));
        self.executor.run_until(self.executor.now_ms() + SAVE_AFTER_MS);
    }

    fn has_alerts_waiting(&self) -> bool {
        #[derive(Deserialize)]
        struct CountRow {
            number: u64,
        }
        let objects = self.objects.borrow();
        let mut rollouts = objects.iter().filter(|cell| cell.class == ObjectClass::Rollout);
        rollouts.any(|cell| {
            let query = "SELECT COUNT(*) AS number FROM pending_notification";
            let rows = cell.database.inspect::<CountRow>(query);
            rows.first().is_some_and(|row| row.number > 0)
        })
    }
}

/// Runs a scenario. Two runs of one scenario give the same report.
pub fn run(scenario: Scenario, is_traced: bool) -> RunReport {
    run_simulation(&Simulation::new(scenario, is_traced), false)
}

/// Runs a scenario until a promise is broken that no known fault breaks. The checks at the end of a
/// run are left out then.
pub fn run_until_error(scenario: Scenario) -> RunReport {
    run_simulation(&Simulation::new(scenario, false), true)
}

fn run_simulation(simulation: &Rc<Simulation>, stops_at_error: bool) -> RunReport {
    simulation.run(stops_at_error);
    let report = RunReport {
        seed: simulation.scenario.seed,
        counts: simulation.record.counts.get(),
        digest: simulation.record.digest.get(),
        violations: simulation.record.take_violations(),
        violation_counts: simulation.record.violation_counts(),
        trace: simulation.trace.as_ref().map(RefCell::take).unwrap_or_default(),
    };
    simulation.close();
    report
}
