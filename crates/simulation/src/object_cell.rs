//! A Durable Object with everything that outlives its restarts: database, alarm, and the gate that
//! holds its messages back until its writes are durable.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;

use futures_channel::oneshot;

use crate::executor::Owner;
use crate::record::StoredChange;
use jeffrey_gateway_service::host::ObjectClass;
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::sql::StorageResult;
use jeffrey_native_host::Database;

/// Work of an object.
pub(crate) type ObjectTask<T> = Pin<Box<dyn Future<Output = StorageResult<T>>>>;

/// An object in memory.
pub(crate) trait RunningObject {
    /// Replies to an encoded message.
    fn reply_to(self: Rc<Self>, message: Vec<u8>) -> ObjectTask<ObjectReply>;

    /// Runs the alarm of the object.
    fn on_alarm(self: Rc<Self>) -> ObjectTask<()>;
}

/// A Durable Object, with everything that outlives its restarts.
pub(crate) struct ObjectCell {
    pub(crate) number: u32,
    pub(crate) class: ObjectClass,
    pub(crate) name: String,
    pub(crate) database: Database,
    /// How often the object was started.
    pub(crate) starts: Cell<u32>,
    /// `None` while it is not in memory.
    pub(crate) object: RefCell<Option<Rc<dyn RunningObject>>>,
    /// Version of the code in memory.
    pub(crate) version: Cell<u32>,
    pub(crate) alarm_ms: Cell<Option<u64>>,
    pub(crate) durable_alarm_ms: Cell<Option<u64>>,
    pub(crate) is_alarm_running: Cell<bool>,
    pub(crate) alarm_failures: Cell<u32>,
    /// Number of the last write, and of the last durable one.
    pub(crate) writes: Cell<u64>,
    pub(crate) durable_writes: Cell<u64>,
    pub(crate) is_collecting: Cell<bool>,
    pub(crate) gate: RefCell<Vec<(u64, oneshot::Sender<()>)>>,
    /// Changes since the last commit; the record notes them once they are durable.
    pub(crate) changes: RefCell<Vec<StoredChange>>,
    /// Tasks under way: messages, alarms, and what runs behind them.
    pub(crate) tasks: Cell<u32>,
}

impl ObjectCell {
    pub(crate) fn new(number: u32, class: ObjectClass, name: &str) -> StorageResult<Self> {
        Ok(Self {
            number,
            class,
            name: name.to_owned(),
            database: Database::open()?,
            starts: Cell::new(0),
            object: RefCell::new(None),
            version: Cell::new(0),
            alarm_ms: Cell::new(None),
            durable_alarm_ms: Cell::new(None),
            is_alarm_running: Cell::new(false),
            alarm_failures: Cell::new(0),
            writes: Cell::new(0),
            durable_writes: Cell::new(0),
            is_collecting: Cell::new(false),
            gate: RefCell::default(),
            changes: RefCell::default(),
            tasks: Cell::new(0),
        })
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::Object(self.number, self.starts.get())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.get() == 0 && !self.is_collecting.get()
    }

    /// Lets go of the object in memory, at the end of a run.
    pub(crate) fn release(&self) {
        self.object.take();
    }

    /// Waits until every write so far is durable.
    pub(crate) async fn wait_for_commit(&self) {
        let writes = self.writes.get();
        if self.durable_writes.get() >= writes {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        self.gate.borrow_mut().push((writes, sender));
        // The commit answers; a restart drops this future with its owner.
        let _ = receiver.await;
    }
}

/// Counts a task of an object while it is under way.
pub(crate) struct TaskCount(Rc<ObjectCell>, u32);

impl TaskCount {
    pub(crate) fn new(cell: &Rc<ObjectCell>) -> Self {
        cell.tasks.set(cell.tasks.get() + 1);
        Self(Rc::clone(cell), cell.starts.get())
    }
}

impl Drop for TaskCount {
    fn drop(&mut self) {
        // A restart has set the count to zero.
        if self.0.starts.get() == self.1 {
            self.0.tasks.set(self.0.tasks.get() - 1);
        }
    }
}
