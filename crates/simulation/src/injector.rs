//! Injects the faults of the schedule.

use std::rc::Rc;

use crate::executor::Owner;
use crate::fault::{Fault, ScheduledFault};
use crate::simulation::Simulation;

/// Time between two steps of a deploy, in milliseconds.
const DEPLOY_STEP_MS: (u64, u64) = (1_000, 20_000);

impl Simulation {
    /// Looks once a minute whether the canary is observed.
    pub(crate) async fn run_observer(self: Rc<Self>) {
        while !self.is_traffic_over() {
            self.executor.sleep(60_000).await;
            self.check_observed();
        }
    }

    pub(crate) async fn run_faults(self: Rc<Self>) {
        for (number, fault) in (0..).zip(self.scenario.faults.clone()) {
            let until_ms = self.start_ms + fault.at_ms;
            self.executor.sleep(until_ms.saturating_sub(self.now_ms())).await;
            self.trace(|| format!("fault: {:?}", fault.fault));
            self.record.count(|counts| counts.faults += 1);
            self.inject(fault, number);
        }
    }

    fn inject(self: &Rc<Self>, ScheduledFault { fault, .. }: ScheduledFault, number: u64) {
        let now_ms = self.now_ms();
        let conditions = &self.conditions;
        match fault {
            Fault::AlertsRefused { status, duration_ms } => {
                conditions.refuse_alerts(status, now_ms + duration_ms);
            }
            Fault::Calls { hop, disturbance, permille, duration_ms } => {
                conditions.disturb_calls(hop, disturbance, permille, now_ms + duration_ms);
            }
            Fault::ClockStep { isolate, by_ms } => {
                let isolate = self.isolate_by(isolate);
                isolate.clock_offset_ms.set(isolate.clock_offset_ms.get() + by_ms);
                isolate.clock_stepped_at_ms.set(now_ms);
            }
            Fault::Deploy => {
                let simulation = Rc::clone(self);
                self.executor.spawn(Owner::Surroundings, async move { simulation.deploy().await });
            }
            Fault::IsolateEnds { isolate, runs } => {
                let (simulation, isolate) = (Rc::clone(self), self.isolate_by(isolate));
                self.executor.end_after_runs(isolate.owner, runs, move || {
                    simulation.replace_isolate(&isolate);
                });
            }
            Fault::ObjectEvicted { object } => {
                if let Some(cell) = self.object_by(object) {
                    self.evict_object(&cell);
                }
            }
            Fault::ObjectRestarts { object, runs } => {
                if let Some(cell) = self.object_by(object) {
                    let (simulation, owner) = (Rc::clone(self), cell.owner());
                    self.executor.end_after_runs(owner, runs, move || {
                        if cell.owner() == owner {
                            simulation.restart_object(&cell);
                        }
                    });
                }
            }
            Fault::Model { fault, permille, duration_ms } => {
                conditions.disturb_model(fault, permille, now_ms + duration_ms);
            }
            Fault::Operator(action) => {
                let simulation = Rc::clone(self);
                self.executor.spawn(Owner::Surroundings, simulation.act(action, number));
            }
            Fault::Queue { fault, permille, duration_ms } => {
                conditions.disturb_queue(fault, permille, now_ms + duration_ms);
            }
            Fault::Statement { object, statements_before, has_effect } => {
                if let Some(cell) = self.object_by(object) {
                    if has_effect {
                        cell.database.fail_after_effect(statements_before);
                    } else {
                        cell.database.fail_after(statements_before);
                    }
                }
            }
            Fault::StorageSlow { commit_ms, duration_ms } => {
                conditions.slow_commits(commit_ms, now_ms + duration_ms);
            }
        }
    }

    /// Replaces isolates and objects one by one with a new version.
    async fn deploy(self: Rc<Self>) {
        self.version.set(self.version.get() + 1);
        self.is_deploying.set(true);
        let old = self.isolates.borrow().clone();
        for isolate in old {
            let pause_ms = self.conditions.draw_between(DEPLOY_STEP_MS.0, DEPLOY_STEP_MS.1);
            self.executor.sleep(pause_ms).await;
            // An isolate that is replaced finishes what it began.
            self.trace(|| format!("isolate {} is replaced", isolate.number));
            let fresh = self.start_isolate();
            let mut isolates = self.isolates.borrow_mut();
            if let Some(place) = isolates.iter_mut().find(|other| other.number == isolate.number) {
                *place = fresh;
            }
        }
        let objects = self.objects.borrow().clone();
        for cell in objects {
            let pause_ms = self.conditions.draw_between(DEPLOY_STEP_MS.0, DEPLOY_STEP_MS.1);
            self.executor.sleep(pause_ms).await;
            self.restart_object(&cell);
        }
        self.is_deploying.set(false);
    }
}
