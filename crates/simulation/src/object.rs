//! Durable Objects: their storage, alarms, restarts, and the gate that holds their messages back.
//!
//! A write is durable after its commit. Until then no message leaves the object, replies included,
//! and a restart loses the write, as on the platform
//! (<https://blog.cloudflare.com/durable-objects-easy-fast-correct-choose-three/>). An alarm runs at
//! least once: a failed one is run again, six times at most.

use std::rc::Rc;

use futures_channel::oneshot;

use crate::executor::Owner;
use crate::host::SimulatedHost;
use crate::isolate::Isolate;
use crate::object_cell::{ObjectCell, ObjectTask, RunningObject, TaskCount};
use crate::record::StoredChange;
use crate::simulation::Simulation;
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_edge::gateway::export::cloudflare::AnalyticsDataPoint;
use jeffrey_edge::gateway::export::sink::Sink;
use jeffrey_gateway_service::host::{
    FetchError, Host, HttpRequest, HttpResponse, ObjectCall, ObjectClass, ObjectHost, QueueSend,
};
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::sql::{Sql, SqlRow, SqlValue, StorageResult};
use jeffrey_native_host::AnyObject;
use jeffrey_terms::UnixMs;

/// Runs of an alarm after a failed one.
const ALARM_RETRIES_MAX: u32 = 6;
/// Delay before the first of them, in milliseconds; each next one doubles it.
const ALARM_RETRY_MS: u64 = 2_000;

impl Simulation {
    /// Returns the object of a class and a name, created at its first use.
    pub(crate) fn object_cell(&self, class: ObjectClass, name: &str) -> Rc<ObjectCell> {
        let mut objects = self.objects.borrow_mut();
        if let Some(cell) = objects.iter().find(|cell| cell.class == class && cell.name == name) {
            return Rc::clone(cell);
        }
        let cell = ObjectCell::new(objects.len() as u32, class, name);
        let cell = Rc::new(cell.expect("SQLite opens a database in memory"));
        objects.push(Rc::clone(&cell));
        cell
    }

    fn running_object(self: &Rc<Self>, cell: &Rc<ObjectCell>) -> Rc<dyn RunningObject> {
        let mut object = cell.object.borrow_mut();
        let object = object.get_or_insert_with(|| {
            cell.version.set(self.deployed_version());
            let seed = self.scenario.seed;
            let isolate = Isolate::new(seed, Rc::clone(&self.settings), cell.owner());
            let host = SimulatedHost::new(self, &isolate);
            let host = SimulatedObject { host, cell: Rc::clone(cell) };
            Rc::new(AnyObject::new(cell.class, host))
        });
        Rc::clone(object)
    }

    /// Hands a message to an object. The reply is sent when the object's writes are durable; an
    /// object that restarts before sends none.
    pub(crate) fn deliver_message(
        self: &Rc<Self>,
        cell: &Rc<ObjectCell>,
        message: Vec<u8>,
        reply: Option<oneshot::Sender<StorageResult<ObjectReply>>>,
        response_ms: u64,
    ) {
        let (simulation, cell) = (Rc::clone(self), Rc::clone(cell));
        let object = self.running_object(&cell);
        self.executor.spawn(cell.owner(), async move {
            let _count = TaskCount::new(&cell);
            let result = if simulation.is_unsupported(&cell, &message) {
                Ok(ObjectReply::unsupported())
            } else {
                object.reply_to(message).await
            };
            cell.wait_for_commit().await;
            let Some(reply) = reply else { return };
            let executor = Rc::clone(&simulation.executor);
            // From here on the reply is on its way, whatever becomes of the object.
            simulation.executor.spawn(Owner::Surroundings, async move {
                executor.sleep(response_ms).await;
                let _ = reply.send(result);
            });
        });
    }

    /// Restarts an object: what is in memory and what is not durable is lost.
    pub(crate) fn restart_object(self: &Rc<Self>, cell: &Rc<ObjectCell>) {
        self.executor.end(cell.owner());
        self.trace(|| format!("object {} restarts", cell.name));
        cell.starts.set(cell.starts.get() + 1);
        cell.tasks.set(0);
        cell.object.take();
        cell.gate.take();
        cell.changes.take();
        if cell.is_collecting.take() {
            cell.database.forget_writes().expect("writes were collected");
        }
        cell.writes.set(cell.durable_writes.get());
        cell.alarm_ms.set(cell.durable_alarm_ms.get());
        if cell.is_alarm_running.take() {
            self.retry_alarm(cell);
        } else if let Some(due_ms) = cell.alarm_ms.get() {
            self.start_alarm_timer(cell, due_ms);
        }
    }

    /// Evicts an object from memory, if nothing of it is under way.
    pub(crate) fn evict_object(&self, cell: &ObjectCell) {
        if cell.is_idle() && cell.object.take().is_some() {
            cell.starts.set(cell.starts.get() + 1);
            self.trace(|| format!("object {} is evicted", cell.name));
        }
    }

    fn begin_write(self: &Rc<Self>, cell: &Rc<ObjectCell>) {
        cell.writes.set(cell.writes.get() + 1);
        if cell.is_collecting.replace(true) {
            return;
        }
        cell.database.begin_writes().expect("no writes are collected");
        let (simulation, cell) = (Rc::clone(self), Rc::clone(cell));
        let starts = cell.starts.get();
        let commit_ms = self.conditions.draw_commit_ms(self.now_ms());
        self.executor.spawn(Owner::Surroundings, async move {
            simulation.executor.sleep(commit_ms).await;
            if cell.starts.get() == starts {
                simulation.commit(&cell);
            }
        });
    }

    fn commit(self: &Rc<Self>, cell: &ObjectCell) {
        cell.database.commit_writes().expect("writes were collected");
        cell.is_collecting.set(false);
        cell.durable_writes.set(cell.writes.get());
        cell.durable_alarm_ms.set(cell.alarm_ms.get());
        let changes = cell.changes.take();
        if !changes.is_empty() {
            self.record_commit(cell, changes);
        }
        for (_, sender) in cell.gate.take() {
            let _ = sender.send(());
        }
    }

    fn start_alarm_timer(self: &Rc<Self>, cell: &Rc<ObjectCell>, due_ms: u64) {
        let (simulation, cell) = (Rc::clone(self), Rc::clone(cell));
        let delay_ms = due_ms.saturating_sub(self.now_ms());
        self.executor.spawn(Owner::Surroundings, async move {
            simulation.executor.sleep(delay_ms).await;
            if cell.alarm_ms.get() == Some(due_ms) && !cell.is_alarm_running.get() {
                simulation.run_alarm(&cell);
            }
        });
    }

    pub(crate) fn run_alarm(self: &Rc<Self>, cell: &Rc<ObjectCell>) {
        cell.alarm_ms.set(None);
        cell.durable_alarm_ms.set(None);
        cell.is_alarm_running.set(true);
        let (simulation, cell) = (Rc::clone(self), Rc::clone(cell));
        let object = self.running_object(&cell);
        self.executor.spawn(cell.owner(), async move {
            let _count = TaskCount::new(&cell);
            let result = object.on_alarm().await;
            cell.wait_for_commit().await;
            cell.is_alarm_running.set(false);
            match (result, cell.alarm_ms.get()) {
                (Ok(()), next) => {
                    cell.alarm_failures.set(0);
                    if let Some(due_ms) = next {
                        simulation.start_alarm_timer(&cell, due_ms);
                    }
                }
                (Err(_), _) => simulation.retry_alarm(&cell),
            }
        });
    }

    /// Sets the alarm again after a failed run.
    fn retry_alarm(self: &Rc<Self>, cell: &Rc<ObjectCell>) {
        let failures = cell.alarm_failures.get() + 1;
        cell.alarm_failures.set(failures);
        let retry_ms = self.now_ms() + (ALARM_RETRY_MS << failures.min(ALARM_RETRIES_MAX));
        let due_ms = match cell.alarm_ms.get() {
            Some(due_ms) => due_ms.min(retry_ms),
            None if failures > ALARM_RETRIES_MAX => {
                cell.alarm_failures.set(0);
                return;
            }
            None => retry_ms,
        };
        cell.alarm_ms.set(Some(due_ms));
        cell.durable_alarm_ms.set(Some(due_ms));
        self.start_alarm_timer(cell, due_ms);
    }
}

impl RunningObject for AnyObject<SimulatedObject> {
    fn reply_to(self: Rc<Self>, message: Vec<u8>) -> ObjectTask<ObjectReply> {
        Box::pin(async move { Self::reply_to(&self, &message).await })
    }

    fn on_alarm(self: Rc<Self>) -> ObjectTask<()> {
        Box::pin(async move { Self::on_alarm(&self).await })
    }
}

/// The host of one object.
#[derive(Clone)]
pub(crate) struct SimulatedObject {
    host: SimulatedHost,
    cell: Rc<ObjectCell>,
}

impl SimulatedObject {
    fn simulation(&self) -> &Rc<Simulation> {
        self.host.simulation()
    }

    fn note_statement(&self, query: &str, values: &[SqlValue]) {
        let is_write = !query.trim_start().starts_with("SELECT");
        if is_write {
            self.simulation().begin_write(&self.cell);
            let change = StoredChange::of_statement(self.cell.class, query, values);
            self.cell.changes.borrow_mut().extend(change);
        }
    }
}

impl Host for SimulatedObject {
    fn now(&self) -> UnixMs {
        self.host.now()
    }

    fn random_bytes<const N: usize>(&self) -> [u8; N] {
        self.host.random_bytes()
    }

    fn settings(&self) -> Rc<GatewaySettings> {
        self.host.settings()
    }

    fn isolate(&self) -> &IsolateState {
        self.host.isolate()
    }

    fn log(&self, line: &str) {
        self.host.log(line);
    }

    fn log_error(&self, line: &str) {
        self.host.log_error(line);
    }

    async fn sleep(&self, ms: u64) {
        self.host.sleep(ms).await;
    }

    async fn send(&self, request: HttpRequest<'_>) -> Result<HttpResponse, FetchError> {
        self.cell.wait_for_commit().await;
        self.host.send(request).await
    }

    fn has_objects(&self, class: ObjectClass) -> bool {
        self.host.has_objects(class)
    }

    async fn call_object(&self, call: ObjectCall<'_>) -> Result<Vec<u8>, FetchError> {
        self.cell.wait_for_commit().await;
        self.host.call_object(call).await
    }

    async fn send_to_queue(&self, event: &str) -> QueueSend {
        self.cell.wait_for_commit().await;
        self.host.send_to_queue(event).await
    }
}

impl Sql for SimulatedObject {
    fn execute(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<usize> {
        self.note_statement(query, &values);
        self.cell.database.execute(query, values)
    }

    fn query(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<Vec<SqlRow>> {
        self.note_statement(query, &values);
        self.cell.database.query(query, values)
    }

    fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T> {
        self.simulation().begin_write(&self.cell);
        let changes = self.cell.changes.borrow().len();
        let result = self.cell.database.transaction(work);
        if result.is_err() {
            self.cell.changes.borrow_mut().truncate(changes);
        }
        result
    }
}

impl ObjectHost for SimulatedObject {
    fn object_id(&self) -> String {
        self.cell.name.clone()
    }

    async fn alarm(&self) -> StorageResult<Option<UnixMs>> {
        Ok(self.cell.alarm_ms.get().map(UnixMs))
    }

    async fn set_alarm(&self, delay_ms: u64) -> StorageResult<()> {
        let simulation = self.simulation();
        simulation.begin_write(&self.cell);
        let due_ms = simulation.now_ms() + delay_ms;
        self.cell.alarm_ms.set(Some(due_ms));
        if !self.cell.is_alarm_running.get() {
            simulation.start_alarm_timer(&self.cell, due_ms);
        }
        Ok(())
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        let cell = Rc::clone(&self.cell);
        self.simulation().executor.spawn(self.cell.owner(), async move {
            let _count = TaskCount::new(&cell);
            future.await;
        });
    }

    fn platform_sinks(&self) -> Vec<Sink> {
        Vec::new()
    }

    fn write_data_points(&self, _: Vec<AnalyticsDataPoint>) -> bool {
        false
    }

    async fn archive(&self, _: String, _: Vec<u8>) -> bool {
        false
    }
}
