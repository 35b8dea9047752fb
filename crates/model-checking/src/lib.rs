//! Checks a release in every schedule of its isolates, its rollout object and the faults between them.
//!
//! A simulation draws schedules by seed; this search leaves none out. The model has up to three
//! isolates, each with its cached share, its last failed refresh and its calls under way, and one
//! rollout object with the state in memory, the durable state and its alarm. The shipped functions
//! decide: [`effective_share`](jeffrey_edge::rollout::share_cache::effective_share),
//! [`pick_newer`](jeffrey_edge::rollout::share_cache::pick_newer),
//! [`PlanProgress::apply_input`](jeffrey_edge::rollout::progress::PlanProgress::apply_input) and the
//! changes of [`ReleaseState`](jeffrey_edge::rollout::release_state::ReleaseState). A test compares the
//! model's isolate with the gateway's `IsolateState`, which keeps its values in cells.
//!
//! Time passes in steps of 2.5 s, and every time is an age, so the states repeat while time goes on:
//! a schedule may be of any length. What happens within a step happens in any order. Messages are
//! lost, doubled, late and overtaken; a reply leaves the object after its write is durable; the object
//! restarts and loses the other writes; the alarm is lost, runs twice or is late; isolates are idle,
//! cut off, end and start anew; a clock is set forward or back by 30 s; and during a deploy, an old
//! object does not know the messages of new isolates. [`Bounds`](bounds::Bounds) limits how many of
//! these faults one schedule has, how many commands operators send, and how many versions there are.
//! Isolates are alike, so states that only exchange them count once.
//!
//! [`properties`] has the promises, all of them as deadlines, and the events that a search must meet,
//! so that an empty model does not pass. [`Exclusions`](bounds::Exclusions) names the known faults of
//! the gateway; `jeffrey-check --find` shows the shortest way to each.
//!
//! Left out: the evidence of the gates, which pass or fail at any time; plans with more than two
//! stages, approvals and freezes; the checks before a share increase, except the time that a command
//! may take; the circuit breaker, which only takes traffic away; the request path and the event store.
//! A write is durable before the next step. States are told apart by hashes of 64 bits: of a hundred
//! million states, one would be missed with a probability of 0.03 %.

pub mod action;

pub mod bounds;

pub mod functions;

pub mod isolate;

mod model;

pub mod object;

pub mod properties;

pub mod release_model;

pub mod search;

pub mod state;

mod steps;
