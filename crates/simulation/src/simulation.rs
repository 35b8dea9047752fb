//! State of one run: clock, isolates, objects, queue, conditions, and what happened.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::conditions::Conditions;
use crate::executor::{Executor, Owner};
use crate::fault::Hop;
use crate::isolate::Isolate;
use crate::object_cell::ObjectCell;
use crate::queue::Queue;
use crate::random::Stream;
use crate::record::Record;
use crate::scenario::{RELEASE, Scenario};
use jeffrey_edge::gateway::config::{GatewaySettings, WorkerVariables};
use jeffrey_edge::gateway::request::subject::hash_subject;
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_terms::{Share, Subject};

/// First day of every run: 2026-01-01, in milliseconds since 1970. The time of day is drawn, so that
/// a day ends at any place of a run.
const FIRST_DAY_MS: u64 = 1_767_225_600_000;
const DAY_S: u64 = 86_400;

/// Token of the simulated operator.
pub(crate) const ADMIN_TOKEN: &str = "an admin token of the simulation";

/// Variables of every run; a scenario may replace them.
const VARIABLES: [(&str, &str); 10] = [
    ("CANARY_AUTH", "none_required"),
    ("LEGACY_ORIGIN", "http://legacy.example:8080"),
    ("JEFFREY_SIGNING_KEY", "a signing key of the simulation"),
    ("JEFFREY_OVERRIDE_SIGNING_KEY", "an override key of the simulation"),
    ("JEFFREY_VIEWER_TOKEN", "a viewer token of the simulation"),
    ("JEFFREY_ADMIN_TOKEN", ADMIN_TOKEN),
    ("DEBUG_HEADERS", "on"),
    ("LOG_EVENTS", "on"),
    ("LOG_TEXT_PREVIEW", "off"),
    ("ALERT_WEBHOOKS", r#"[{"name": "on-call", "url": "https://alerts.example/on-call"}]"#),
];

/// State of one run.
pub(crate) struct Simulation {
    pub(crate) executor: Rc<Executor>,
    /// Start of the run, in milliseconds since 1970.
    pub(crate) start_ms: u64,
    pub(crate) scenario: Scenario,
    pub(crate) settings: Rc<GatewaySettings>,
    pub(crate) release: ReleaseName,
    pub(crate) isolates: RefCell<Vec<Rc<Isolate>>>,
    pub(crate) isolates_of_all_time: RefCell<Vec<Rc<Isolate>>>,
    pub(crate) objects: RefCell<Vec<Rc<ObjectCell>>>,
    pub(crate) queue: Queue,
    pub(crate) conditions: Conditions,
    pub(crate) record: Record,
    /// Senders of responses that never come.
    pub(crate) unanswered: RefCell<Vec<Box<dyn Any>>>,
    pub(crate) cookies: RefCell<Vec<String>>,
    /// Subjects of this run, by the hash that events have.
    pub(crate) subjects_by_hash: RefCell<BTreeMap<String, String>>,
    /// Holdout of the plan.
    pub(crate) holdout: Share,
    pub(crate) was_promoted: Cell<bool>,
    pub(crate) version: Cell<u32>,
    pub(crate) is_deploying: Cell<bool>,
    pub(crate) choices: RefCell<Stream>,
    /// Calls of each caller in the current ten seconds.
    limited_calls: RefCell<(u64, BTreeMap<String, u64>)>,
    pub(crate) trace: Option<RefCell<Vec<String>>>,
}

impl Simulation {
    pub(crate) fn new(scenario: Scenario, is_traced: bool) -> Rc<Self> {
        let mut variables: BTreeMap<&'static str, String> =
            VARIABLES.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        variables.extend(scenario.variables.iter().cloned());
        let settings = GatewaySettings::parse(&WorkerVariables(variables.into_iter().collect()));
        let seed = scenario.seed;
        let second_of_day = Stream::new(seed, "start", 0).between(0, DAY_S - 1);
        let start_ms = FIRST_DAY_MS + second_of_day * 1_000;
        let plan = scenario.plan.as_deref().and_then(|text| Plan::read(text).ok());
        Rc::new(Self {
            holdout: plan.map_or(Share::NONE, |plan| plan.holdout),
            start_ms,
            executor: Executor::new(start_ms, Stream::new(seed, "order", 0)),
            scenario,
            settings: Rc::new(settings.with_legacy_binding(false)),
            release: ReleaseName::parse(RELEASE).expect("the name is valid"),
            isolates: RefCell::default(),
            isolates_of_all_time: RefCell::default(),
            objects: RefCell::default(),
            queue: Queue::default(),
            conditions: Conditions::new(seed),
            record: Record::default(),
            unanswered: RefCell::default(),
            cookies: RefCell::default(),
            subjects_by_hash: RefCell::default(),
            was_promoted: Cell::new(false),
            version: Cell::new(0),
            is_deploying: Cell::new(false),
            choices: RefCell::new(Stream::new(seed, "choices", 0)),
            limited_calls: RefCell::default(),
            trace: is_traced.then(RefCell::default),
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let now_ms = self.executor.now_ms();
        self.record.set_now(now_ms);
        now_ms
    }

    pub(crate) fn is_traffic_over(&self) -> bool {
        self.now_ms() >= self.start_ms + self.scenario.duration_ms
    }

    /// Adds a line to the trace, if there is one.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let seconds = (self.now_ms() - self.start_ms) as f64 / 1e3;
            trace.borrow_mut().push(format!("{seconds:>12.3}  {}", line()));
        }
    }

    /// Returns the version of the code that is deployed.
    pub(crate) const fn deployed_version(&self) -> u32 {
        self.version.get()
    }

    /// Returns whether an object of an earlier version gets a message that only a later one knows.
    pub(crate) fn is_unsupported(&self, cell: &ObjectCell, message: &[u8]) -> bool {
        // Stands for a message that the later version brought: both versions of a run have the same
        // code. The p95 of stable is one that may be lost without harm.
        let is_newer = cell.version.get() < self.deployed_version();
        is_newer && self.is_deploying.get() && message.starts_with(b"{\"stable_p95\"")
    }

    /// Returns whether events were deleted because of their age or the store's size.
    pub(crate) fn has_pruned_events(&self) -> bool {
        let too_old = self.scenario.duration_ms > self.settings.event_retention_ms;
        too_old || self.settings.event_store_bytes_max <= 10_000_000
    }

    /// Returns whether a response of an alert webhook may have been lost.
    pub(crate) fn loses_alert_responses(&self) -> bool {
        self.conditions.disturbed_at_ms(Hop::Alerts) > 0
    }

    /// Returns the hash under which events name a subject.
    pub(crate) fn subject_hash(&self, subject: &str) -> Option<String> {
        let subject = Subject::parse(subject).ok()?;
        Some(hash_subject(&subject, self.settings.signing_keys.first()?, &self.release))
    }

    pub(crate) fn note_subject(&self, subject: &str) {
        if let Some(hash) = self.subject_hash(subject) {
            self.subjects_by_hash.borrow_mut().insert(hash, subject.to_owned());
        }
    }

    /// Returns a random isolate that serves traffic.
    pub(crate) fn pick_isolate(&self) -> Option<Rc<Isolate>> {
        self.pick_isolate_by(&mut self.choices.borrow_mut())
    }

    pub(crate) fn pick_isolate_by(&self, stream: &mut Stream) -> Option<Rc<Isolate>> {
        let isolates = self.isolates.borrow();
        (!isolates.is_empty()).then(|| Rc::clone(&isolates[stream.index(isolates.len())]))
    }

    /// Counts a call and returns whether the scenario's limit refuses it.
    pub(crate) fn is_over_limit(&self, caller: String) -> bool {
        let Some(limit) = self.scenario.calls_per_subject_max else { return false };
        let period = self.now_ms() / 10_000;
        let mut calls = self.limited_calls.borrow_mut();
        if calls.0 != period {
            *calls = (period, BTreeMap::new());
        }
        let count = calls.1.entry(caller).or_default();
        *count += 1;
        *count > limit
    }

    pub(crate) fn start_isolate(&self) -> Rc<Isolate> {
        let number = self.isolates_of_all_time.borrow().len() as u32;
        let settings = Rc::clone(&self.settings);
        let isolate = Isolate::new(self.scenario.seed, settings, Owner::Isolate(number));
        self.isolates_of_all_time.borrow_mut().push(Rc::clone(&isolate));
        isolate
    }

    /// Starts the isolates that serve requests.
    pub(crate) fn start_isolates(&self) {
        for _ in 0..self.scenario.isolates.max(1) {
            let isolate = self.start_isolate();
            self.isolates.borrow_mut().push(isolate);
        }
    }

    /// Ends all tasks: they hold the simulation, and the simulation holds them.
    pub(crate) fn close(&self) {
        self.executor.end(Owner::Surroundings);
        for isolate in self.isolates_of_all_time.borrow().iter() {
            self.executor.end(isolate.owner);
        }
        for cell in self.objects.borrow().iter() {
            self.executor.end(cell.owner());
            cell.release();
        }
    }

    /// Puts a new isolate in the place of one that ended.
    pub(crate) fn replace_isolate(&self, ended: &Isolate) {
        self.trace(|| format!("isolate {} ends", ended.number));
        self.record.isolate_ended(ended, self.now_ms());
        let fresh = self.start_isolate();
        let mut isolates = self.isolates.borrow_mut();
        if let Some(place) = isolates.iter_mut().find(|isolate| isolate.number == ended.number) {
            *place = fresh;
        }
    }

    pub(crate) fn object_by(&self, number: u32) -> Option<Rc<ObjectCell>> {
        let objects = self.objects.borrow();
        (!objects.is_empty()).then(|| Rc::clone(&objects[number as usize % objects.len()]))
    }

    pub(crate) fn isolate_by(&self, number: u32) -> Rc<Isolate> {
        let isolates = self.isolates.borrow();
        Rc::clone(&isolates[number as usize % isolates.len()])
    }
}

/// Returns the name of a user.
pub(crate) fn user_name(number: u64) -> String {
    format!("zq-raw-user-{number}")
}
