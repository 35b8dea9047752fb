//! Clock, randomness, objects, alarms, queue and network of one process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::any_object::AnyObject;
use crate::database::Database;
use crate::response::StoredResponse;
use jeffrey_edge::gateway::config::{GatewaySettings, WorkerVariables};
use jeffrey_edge::gateway::export::cloudflare::AnalyticsDataPoint;
use jeffrey_edge::gateway::export::sink::Sink;
use jeffrey_gateway_service::host::{
    FetchError, Host, HttpRequest, HttpResponse, ObjectCall, ObjectClass, ObjectHost, QueueSend,
    Target,
};
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::request_host::RateLimiter;
use jeffrey_gateway_service::sql::{Sql, SqlRow, SqlValue, StorageResult};
use jeffrey_terms::UnixMs;

/// Polls of one future before it counts as stuck.
const POLLS_MAX: usize = 10_000;

/// A request that left the gateway over the network or to the model worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// URL, or `model:` and the path.
    pub url: String,
    /// HTTP method, in upper case.
    pub method: String,
    /// Header names with their values.
    pub headers: Vec<(String, String)>,
    /// Body of the request; empty for none.
    pub body: Vec<u8>,
}

type LegacyHandler = Box<dyn FnMut(&RecordedRequest) -> Result<StoredResponse, FetchError>>;
type HttpHandler = Box<dyn FnMut(&RecordedRequest) -> Result<HttpResponse, FetchError>>;
type Task = Pin<Box<dyn Future<Output = ()>>>;
type ObjectKey = (ObjectClass, String);

/// One process with all parts of the platform.
pub struct Platform {
    settings: Rc<GatewaySettings>,
    now_ms: Cell<u64>,
    random_state: Cell<u64>,
    objects: RefCell<BTreeMap<ObjectKey, Rc<StoredObject>>>,
    /// Classes whose objects do not answer.
    away: RefCell<Vec<ObjectClass>>,
    tasks: RefCell<Vec<Task>>,
    http_handler: RefCell<HttpHandler>,
    legacy_handler: RefCell<LegacyHandler>,
    requests: RefCell<Vec<RecordedRequest>>,
    legacy_requests: RefCell<Vec<RecordedRequest>>,
    /// Calls that each limiter still allows; one without an entry allows all.
    limits: RefCell<Vec<(RateLimiter, u64)>>,
    limited_calls: RefCell<BTreeMap<String, u64>>,
    queue: RefCell<Vec<String>>,
    queue_result: Cell<QueueSend>,
    log: RefCell<Vec<String>>,
}

/// An object, with the database and the alarm that outlive its restarts.
struct StoredObject {
    database: Rc<Database>,
    alarm: Cell<Option<UnixMs>>,
    /// `None` while the object is evicted.
    object: RefCell<Option<Rc<AnyObject<ObjectPlatform>>>>,
}

impl Platform {
    /// Creates a platform with the gateway's variables, at a time. All requests fail until
    /// [`Platform::answer_http`] says otherwise; no queue is bound.
    pub fn new(variables: &[(&'static str, &str)], now: UnixMs) -> Rc<Self> {
        Rc::new(Self {
            settings: parse_settings(variables),
            now_ms: Cell::new(now.0),
            random_state: Cell::new(1),
            objects: RefCell::default(),
            away: RefCell::default(),
            tasks: RefCell::default(),
            http_handler: RefCell::new(Box::new(|_| Err(FetchError::Failed))),
            legacy_handler: RefCell::new(Box::new(|_| Err(FetchError::Failed))),
            requests: RefCell::default(),
            legacy_requests: RefCell::default(),
            limits: RefCell::default(),
            limited_calls: RefCell::default(),
            queue: RefCell::default(),
            queue_result: Cell::new(QueueSend::NotBound),
            log: RefCell::default(),
        })
    }

    /// Returns the host of a new isolate.
    pub fn isolate(self: &Rc<Self>) -> IsolateHost {
        self.isolate_with(Rc::clone(&self.settings))
    }

    /// Returns the host of a new isolate of another deployment, with variables of its own. The objects
    /// keep theirs.
    pub fn deploy_isolate(self: &Rc<Self>, variables: &[(&'static str, &str)]) -> IsolateHost {
        self.isolate_with(parse_settings(variables))
    }

    fn isolate_with(self: &Rc<Self>, settings: Rc<GatewaySettings>) -> IsolateHost {
        IsolateHost {
            platform: Rc::clone(self),
            settings,
            isolate: Rc::default(),
            object_calls: Rc::default(),
        }
    }

    /// Returns the current time.
    pub fn now(&self) -> UnixMs {
        UnixMs(self.now_ms.get())
    }

    /// Moves the clock on, and runs each alarm when it is due and each task that waits.
    ///
    /// # Errors
    /// Returns the error of the first alarm that fails; it stays set, as on the platform.
    pub fn advance(self: &Rc<Self>, ms: u64) -> StorageResult<()> {
        let until = self.now_ms.get() + ms;
        self.run_tasks();
        while let Some((due, key)) = self.next_alarm().filter(|(due, _)| due.0 <= until) {
            self.now_ms.set(self.now_ms.get().max(due.0));
            self.run_alarm(&key)?;
            self.run_tasks();
        }
        self.now_ms.set(until);
        Ok(())
    }

    /// Sets what requests over the network and to the model worker are answered with.
    pub fn answer_http(
        &self,
        handler: impl FnMut(&RecordedRequest) -> Result<HttpResponse, FetchError> + 'static,
    ) {
        *self.http_handler.borrow_mut() = Box::new(handler);
    }

    /// Sets what the legacy system answers.
    pub fn answer_legacy(
        &self,
        handler: impl FnMut(&RecordedRequest) -> Result<StoredResponse, FetchError> + 'static,
    ) {
        *self.legacy_handler.borrow_mut() = Box::new(handler);
    }

    /// Returns the requests to the legacy system since the last call of this function.
    pub fn take_legacy_requests(&self) -> Vec<RecordedRequest> {
        self.legacy_requests.take()
    }

    /// Lets a limiter refuse each caller after `calls` calls.
    pub fn set_limit(&self, limiter: RateLimiter, calls: u64) {
        self.limits.borrow_mut().push((limiter, calls));
    }

    /// Returns the requests since the last call of this function.
    pub fn take_requests(&self) -> Vec<RecordedRequest> {
        self.requests.take()
    }

    /// Binds a queue that answers each event so.
    pub fn set_queue(&self, result: QueueSend) {
        self.queue_result.set(result);
    }

    /// Returns the events in the queue and empties it.
    pub fn take_queue(&self) -> Vec<String> {
        self.queue.take()
    }

    /// Returns the lines of the Worker's log since the last call of this function.
    pub fn take_log(&self) -> Vec<String> {
        self.log.take()
    }

    /// Lets the objects of a class answer or not.
    pub fn set_away(&self, class: ObjectClass, is_away: bool) {
        let mut away = self.away.borrow_mut();
        away.retain(|other| *other != class);
        if is_away {
            away.push(class);
        }
    }

    /// Returns the database of an object.
    ///
    /// # Errors
    /// Returns SQLite's error if the object has no database yet and none can be opened.
    pub fn database(
        self: &Rc<Self>,
        class: ObjectClass,
        name: &str,
    ) -> StorageResult<Rc<Database>> {
        Ok(Rc::clone(&self.stored_object(&(class, name.to_owned()))?.database))
    }

    /// Returns the time of an object's alarm; `None` if no alarm is set.
    pub fn alarm(&self, class: ObjectClass, name: &str) -> Option<UnixMs> {
        self.objects.borrow().get(&(class, name.to_owned()))?.alarm.get()
    }

    /// Deletes an object's alarm, as a fault of the platform would.
    pub fn lose_alarm(&self, class: ObjectClass, name: &str) {
        if let Some(object) = self.objects.borrow().get(&(class, name.to_owned())) {
            object.alarm.set(None);
        }
    }

    /// Evicts every object from memory: the next message starts it on its database.
    pub fn evict_objects(&self) {
        for object in self.objects.borrow().values() {
            object.object.take();
        }
    }

    /// Sends an encoded message to an object and returns its reply.
    ///
    /// # Errors
    /// Returns the storage's error.
    pub async fn send_message(
        self: &Rc<Self>,
        class: ObjectClass,
        name: &str,
        message: &[u8],
    ) -> StorageResult<ObjectReply> {
        let object = self.object(&(class, name.to_owned()))?;
        object.reply_to(message).await
    }

    pub(crate) fn fetch_legacy(
        &self,
        request: RecordedRequest,
    ) -> Result<StoredResponse, FetchError> {
        let response = (self.legacy_handler.borrow_mut())(&request);
        self.legacy_requests.borrow_mut().push(request);
        response
    }

    pub(crate) fn count_limited_call(&self, limiter: RateLimiter, key: String) -> bool {
        let limits = self.limits.borrow();
        let Some((_, calls_max)) = limits.iter().find(|(limited, _)| *limited == limiter) else {
            return false;
        };
        let mut counts = self.limited_calls.borrow_mut();
        let calls = counts.entry(format!("{limiter:?} {key}")).or_default();
        *calls += 1;
        *calls > *calls_max
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(future));
    }

    fn stored_object(self: &Rc<Self>, key: &ObjectKey) -> StorageResult<Rc<StoredObject>> {
        if let Some(object) = self.objects.borrow().get(key) {
            return Ok(Rc::clone(object));
        }
        let object = Rc::new(StoredObject {
            database: Rc::new(Database::open()?),
            alarm: Cell::new(None),
            object: RefCell::new(None),
        });
        self.objects.borrow_mut().insert(key.clone(), Rc::clone(&object));
        Ok(object)
    }

    fn object(self: &Rc<Self>, key: &ObjectKey) -> StorageResult<Rc<AnyObject<ObjectPlatform>>> {
        let stored = self.stored_object(key)?;
        let mut object = stored.object.borrow_mut();
        let object = object.get_or_insert_with(|| {
            let host = ObjectPlatform {
                host: self.isolate(),
                key: key.clone(),
                object: Rc::downgrade(&stored),
                database: Rc::clone(&stored.database),
            };
            Rc::new(AnyObject::new(key.0, host))
        });
        Ok(Rc::clone(object))
    }

    fn next_alarm(&self) -> Option<(UnixMs, ObjectKey)> {
        let objects = self.objects.borrow();
        let alarms = objects.iter().filter_map(|(key, object)| Some((object.alarm.get()?, key)));
        alarms.min().map(|(due, key)| (due, key.clone()))
    }

    fn run_alarm(self: &Rc<Self>, key: &ObjectKey) -> StorageResult<()> {
        let stored = self.stored_object(key)?;
        let due = stored.alarm.take();
        let result = block_on(self.object(key)?.on_alarm());
        if result.is_err() {
            stored.alarm.set(due);
        }
        result
    }

    /// Runs the tasks that wait until there is none.
    pub fn run_tasks(&self) {
        loop {
            let tasks = self.tasks.take();
            if tasks.is_empty() {
                return;
            }
            tasks.into_iter().for_each(block_on);
        }
    }

    /// Draws eight random bytes by xorshift64*
    /// (<https://vigna.di.unimi.it/ftp/papers/xorshift.pdf>).
    fn next_random(&self) -> u64 {
        let mut state = self.random_state.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random_state.set(state);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// The host of one isolate.
#[derive(Clone)]
pub struct IsolateHost {
    platform: Rc<Platform>,
    settings: Rc<GatewaySettings>,
    isolate: Rc<IsolateState>,
    object_calls: Rc<Cell<u64>>,
}

impl IsolateHost {
    pub(crate) const fn platform(&self) -> &Rc<Platform> {
        &self.platform
    }

    /// Returns the number of calls of this isolate to objects since the last call of this function.
    /// The calls of the objects themselves do not count.
    pub fn take_object_calls(&self) -> u64 {
        self.object_calls.take()
    }
}

impl Host for IsolateHost {
    fn now(&self) -> UnixMs {
        self.platform.now()
    }

    fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.platform.next_random().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }

    fn settings(&self) -> Rc<GatewaySettings> {
        Rc::clone(&self.settings)
    }

    fn isolate(&self) -> &IsolateState {
        &self.isolate
    }

    fn log(&self, line: &str) {
        self.platform.log.borrow_mut().push(line.to_owned());
    }

    fn log_error(&self, line: &str) {
        self.log(line);
    }

    async fn sleep(&self, ms: u64) {
        self.platform.now_ms.set(self.platform.now_ms.get() + ms);
    }

    async fn send(&self, request: HttpRequest<'_>) -> Result<HttpResponse, FetchError> {
        let to_owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = RecordedRequest {
            url: match request.target {
                Target::Legacy(url) | Target::Url(url) => url.to_owned(),
                Target::Model(path) => format!("model:{path}"),
            },
            method: request.method.to_owned(),
            headers: request.headers.iter().map(to_owned).collect(),
            body: request.body.to_vec(),
        };
        // Other requests that run at once go on while this one waits for its response.
        yield_once().await;
        let response = (self.platform.http_handler.borrow_mut())(&request);
        self.platform.requests.borrow_mut().push(request);
        response
    }

    fn has_objects(&self, _: ObjectClass) -> bool {
        true
    }

    async fn call_object(&self, call: ObjectCall<'_>) -> Result<Vec<u8>, FetchError> {
        self.object_calls.set(self.object_calls.get() + 1);
        if self.platform.away.borrow().contains(&call.class) {
            return Err(FetchError::TimedOut);
        }
        let reply = self.platform.send_message(call.class, call.name, call.message);
        // Boxed, because an object may call another one.
        let reply: Pin<Box<dyn Future<Output = _>>> = Box::pin(reply);
        match reply.await {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(_) | Err(_) => Err(FetchError::Failed),
        }
    }

    async fn send_to_queue(&self, event: &str) -> QueueSend {
        let result = self.platform.queue_result.get();
        if result == QueueSend::Sent {
            self.platform.queue.borrow_mut().push(event.to_owned());
        }
        result
    }
}

/// The host of one object.
#[derive(Clone)]
pub struct ObjectPlatform {
    host: IsolateHost,
    key: ObjectKey,
    object: std::rc::Weak<StoredObject>,
    database: Rc<Database>,
}

jeffrey_gateway_service::forward_host!(ObjectPlatform, host);

impl Sql for ObjectPlatform {
    fn execute(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<usize> {
        self.database.execute(query, values)
    }

    fn query(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<Vec<SqlRow>> {
        self.database.query(query, values)
    }

    fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T> {
        self.database.transaction(work)
    }
}

impl ObjectHost for ObjectPlatform {
    fn object_id(&self) -> String {
        format!("{:?}-{}", self.key.0, self.key.1)
    }

    async fn alarm(&self) -> StorageResult<Option<UnixMs>> {
        Ok(self.object.upgrade().and_then(|object| object.alarm.get()))
    }

    async fn set_alarm(&self, delay_ms: u64) -> StorageResult<()> {
        if let Some(object) = self.object.upgrade() {
            object.alarm.set(Some(UnixMs(self.now().0 + delay_ms)));
        }
        Ok(())
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        self.host.platform.spawn(future);
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

/// Parses variables of a gateway whose legacy system is no bound Worker.
fn parse_settings(variables: &[(&'static str, &str)]) -> Rc<GatewaySettings> {
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let settings = GatewaySettings::parse(&WorkerVariables(variables.collect()));
    Rc::new(settings.with_legacy_binding(false))
}

/// Runs a future to its end. Nothing here waits for anything outside the process.
///
/// # Panics
/// Panics if the future does not end: no task completes what it waits for.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future did not end after {POLLS_MAX} polls");
}

/// Lets the other futures of a join run.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
