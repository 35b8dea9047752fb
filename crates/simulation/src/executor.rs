//! Tasks on a virtual clock, in one thread.
//!
//! Time moves only when no task can go on: then it jumps to the next timer. Of the tasks that can go
//! on, a random one is next. A task has an owner; ending an owner drops its tasks wherever they
//! wait, as the platform ends an isolate or restarts an object.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::random::Stream;

/// Owner of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An isolate of the gateway, by its number.
    Isolate(u32),
    /// A start of a Durable Object: the object's number, and how often it was started before.
    Object(u32, u32),
    /// Everything around the gateway: it is never ended.
    Surroundings,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type ReadyTasks = Arc<Mutex<Vec<TaskId>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskId {
    slot: usize,
    generation: u32,
}

struct TaskWaker {
    id: TaskId,
    is_queued: AtomicBool,
    ready: ReadyTasks,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

/// Place of a task; empty between two tasks.
#[derive(Default)]
struct Slot {
    generation: u32,
    owner: Option<Owner>,
    /// `None` while the task runs.
    task: Option<Task>,
    waker: Option<Arc<TaskWaker>>,
}

struct Timer {
    due_ms: u64,
    /// Number of the timer: of two that are due at once, the first set is first.
    number: u64,
    waker: Waker,
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ms, self.number).cmp(&(other.due_ms, other.number))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

/// An owner that is to end after some more runs of its tasks.
struct PlannedEnd {
    owner: Owner,
    runs_left: u32,
    on_end: Box<dyn FnOnce()>,
}

/// Tasks, timers and the virtual clock.
pub struct Executor {
    now_ms: Cell<u64>,
    slots: RefCell<Vec<Slot>>,
    free_slots: RefCell<Vec<usize>>,
    ready: ReadyTasks,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    timers_set: Cell<u64>,
    order: RefCell<Stream>,
    planned_ends: RefCell<Vec<PlannedEnd>>,
}

impl Executor {
    /// Creates an executor whose clock starts at `now_ms`; `order` decides which task is next.
    pub fn new(now_ms: u64, order: Stream) -> Rc<Self> {
        Rc::new(Self {
            now_ms: Cell::new(now_ms),
            slots: RefCell::default(),
            free_slots: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            timers_set: Cell::new(0),
            order: RefCell::new(order),
            planned_ends: RefCell::default(),
        })
    }

    /// Returns the virtual time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Starts a task; it runs when the executor next looks for a task.
    pub fn spawn(&self, owner: Owner, task: impl Future<Output = ()> + 'static) {
        let task: Task = Box::pin(task);
        let mut slots = self.slots.borrow_mut();
        let slot = self.free_slots.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
        });
        let place = &mut slots[slot];
        let id = TaskId { slot, generation: place.generation };
        let waker =
            TaskWaker { id, is_queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) };
        let waker = Arc::new(waker);
        waker.wake_by_ref();
        place.owner = Some(owner);
        place.task = Some(task);
        place.waker = Some(waker);
    }

    /// Returns a future that ends `ms` milliseconds from now.
    pub fn sleep(self: &Rc<Self>, ms: u64) -> Sleep {
        Sleep { executor: Rc::clone(self), due_ms: self.now_ms() + ms, is_set: false }
    }

    /// Ends an owner: drops all of its tasks. A task must not end its own owner.
    pub fn end(&self, owner: Owner) {
        let mut ended = Vec::new();
        for (slot, place) in self.slots.borrow_mut().iter_mut().enumerate() {
            if place.owner == Some(owner) {
                ended.extend(place.task.take());
                self.release_slot(slot, place);
            }
        }
        // Dropped after the borrow: a task's end may wake another.
        drop(ended);
        self.planned_ends.borrow_mut().retain(|planned| planned.owner != owner);
    }

    /// Ends an owner after `runs` more runs of its tasks, and then calls `on_end`. Each run ends at
    /// an await, so every await is a place where an owner may end.
    pub fn end_after_runs(&self, owner: Owner, runs: u32, on_end: impl FnOnce() + 'static) {
        let planned = PlannedEnd { owner, runs_left: runs.max(1), on_end: Box::new(on_end) };
        self.planned_ends.borrow_mut().push(planned);
    }

    /// Runs tasks and moves the clock until `until_ms`.
    pub fn run_until(&self, until_ms: u64) {
        loop {
            self.run_ready_tasks();
            let Some(due_ms) = self.next_timer_ms().filter(|due_ms| *due_ms <= until_ms) else {
                break;
            };
            self.now_ms.set(self.now_ms().max(due_ms));
            while self.next_timer_ms() == Some(due_ms) {
                let timer = self.timers.borrow_mut().pop();
                if let Some(Reverse(timer)) = timer {
                    timer.waker.wake();
                }
            }
        }
        self.now_ms.set(self.now_ms().max(until_ms));
    }

    fn next_timer_ms(&self) -> Option<u64> {
        self.timers.borrow().peek().map(|Reverse(timer)| timer.due_ms)
    }

    fn run_ready_tasks(&self) {
        while let Some(id) = self.pick_ready_task() {
            let Some((owner, mut task, waker)) = self.take_task(id) else { continue };
            let is_done = task
                .as_mut()
                .poll(&mut Context::from_waker(&Waker::from(Arc::clone(&waker))))
                .is_ready();
            let dropped = self.put_back(id, is_done, task);
            drop(dropped);
            self.count_run(owner);
        }
    }

    fn pick_ready_task(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.len() {
            0 => None,
            1 => ready.pop(),
            length => Some(ready.swap_remove(self.order.borrow_mut().index(length))),
        }
    }

    fn take_task(&self, id: TaskId) -> Option<(Owner, Task, Arc<TaskWaker>)> {
        let mut slots = self.slots.borrow_mut();
        let place = slots.get_mut(id.slot).filter(|place| place.generation == id.generation)?;
        let waker = place.waker.clone()?;
        waker.is_queued.store(false, Ordering::Relaxed);
        Some((place.owner?, place.task.take()?, waker))
    }

    /// Puts a task back that waits; returns one that is done or whose owner ended while it ran.
    fn put_back(&self, id: TaskId, is_done: bool, task: Task) -> Option<Task> {
        let mut slots = self.slots.borrow_mut();
        let place = &mut slots[id.slot];
        if place.generation != id.generation {
            return Some(task);
        }
        if is_done {
            self.release_slot(id.slot, place);
            return Some(task);
        }
        place.task = Some(task);
        None
    }

    fn release_slot(&self, slot: usize, place: &mut Slot) {
        place.generation = place.generation.wrapping_add(1);
        place.owner = None;
        place.waker = None;
        self.free_slots.borrow_mut().push(slot);
    }

    fn count_run(&self, owner: Owner) {
        let due = {
            let mut planned_ends = self.planned_ends.borrow_mut();
            if planned_ends.is_empty() {
                return;
            }
            for planned in planned_ends.iter_mut().filter(|planned| planned.owner == owner) {
                planned.runs_left -= 1;
            }
            let due = planned_ends.iter().position(|planned| planned.runs_left == 0);
            due.map(|position| planned_ends.swap_remove(position))
        };
        if let Some(planned) = due {
            self.end(owner);
            (planned.on_end)();
        }
    }
}

/// Future that [`Executor::sleep`] returns.
pub struct Sleep {
    executor: Rc<Executor>,
    due_ms: u64,
    is_set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.executor.now_ms() >= self.due_ms {
            return Poll::Ready(());
        }
        if !self.is_set {
            self.is_set = true;
            let number = self.executor.timers_set.get();
            self.executor.timers_set.set(number + 1);
            let timer = Timer { due_ms: self.due_ms, number, waker: context.waker().clone() };
            self.executor.timers.borrow_mut().push(Reverse(timer));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_000;

    fn executor(seed: u64) -> Rc<Executor> {
        Executor::new(START_MS, Stream::new(seed, "order", 0))
    }

    /// Writes its name and the time after each pause.
    async fn write_times(
        executor: Rc<Executor>,
        log: Rc<RefCell<Vec<(char, u64)>>>,
        name: char,
        pauses: &'static [u64],
    ) {
        for pause in pauses {
            executor.sleep(*pause).await;
            log.borrow_mut().push((name, executor.now_ms()));
        }
    }

    #[test]
    fn time_jumps_from_timer_to_timer() {
        let (executor, log) = (executor(1), Rc::default());
        for (name, pauses) in [('a', &[10, 10][..]), ('b', &[15])] {
            executor.spawn(
                Owner::Surroundings,
                write_times(Rc::clone(&executor), Rc::clone(&log), name, pauses),
            );
        }
        executor.run_until(START_MS + 17);
        assert_eq!(*log.borrow(), [('a', 1_010), ('b', 1_015)]);
        assert_eq!(executor.now_ms(), 1_017);
        executor.run_until(START_MS + 20);
        assert_eq!(log.borrow().last(), Some(&('a', 1_020)));
    }

    #[test]
    fn an_owner_ends_with_all_of_its_tasks_wherever_they_wait() {
        let (executor, log) = (executor(1), Rc::default());
        for owner in [Owner::Isolate(1), Owner::Isolate(1), Owner::Isolate(2)] {
            let name = if owner == Owner::Isolate(2) { 'b' } else { 'a' };
            executor
                .spawn(owner, write_times(Rc::clone(&executor), Rc::clone(&log), name, &[5, 5]));
        }
        executor.run_until(START_MS + 7);
        executor.end(Owner::Isolate(1));
        executor.run_until(START_MS + 50);
        assert_eq!(log.borrow().iter().filter(|(name, _)| *name == 'a').count(), 2);
        assert_eq!(log.borrow().iter().filter(|(name, _)| *name == 'b').count(), 2);
    }

    #[test]
    fn an_owner_can_end_at_each_of_its_awaits() {
        for runs in 1..=4 {
            let (executor, log) = (executor(1), Rc::default());
            let task = write_times(Rc::clone(&executor), Rc::clone(&log), 'a', &[5, 5, 5]);
            executor.spawn(Owner::Isolate(1), task);
            let ended_at = Rc::new(Cell::new(0));
            let (seen, clock) = (Rc::clone(&ended_at), Rc::clone(&executor));
            executor.end_after_runs(Owner::Isolate(1), runs, move || seen.set(clock.now_ms()));
            executor.run_until(START_MS + 100);
            let runs = u64::from(runs);
            assert_eq!(log.borrow().len() as u64, runs - 1);
            assert_eq!(ended_at.get(), START_MS + 5 * (runs - 1));
        }
    }

    #[test]
    fn the_order_of_ready_tasks_is_that_of_the_seed() {
        let order_of = |seed| {
            let (executor, log) = (executor(seed), Rc::<RefCell<Vec<(char, u64)>>>::default());
            for name in 'a'..='h' {
                executor.spawn(
                    Owner::Surroundings,
                    write_times(Rc::clone(&executor), Rc::clone(&log), name, &[5]),
                );
            }
            executor.run_until(START_MS + 5);
            log.take()
        };
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
    }
}
