//! A search through all states of a model, with its result.

use std::time::Duration;

use serde_json::{Value, json};
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::action::ModelAction;
use crate::bounds::{Bounds, Exclusions};
use crate::functions::CoreFunctions;
use crate::release_model::ReleaseModel;
use crate::state::ModelState;
use crate::steps::describe;

/// A broken promise, with the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// Name of the property.
    pub property: &'static str,
    /// Steps from the start, as sentences.
    pub steps: Vec<String>,
}

/// Result of a search.
#[derive(Clone, Debug)]
pub struct SearchResult {
    /// Number of different states.
    pub unique_states: usize,
    /// Number of states with repetitions.
    pub states: usize,
    /// Largest number of actions to a state, the start included.
    pub depth: usize,
    /// Duration of the search.
    pub duration: Duration,
    /// Broken promises; empty if the model keeps all.
    pub counterexamples: Vec<Counterexample>,
    /// Events that the search met, with the steps to the first of each.
    pub met_events: Vec<(&'static str, Vec<String>)>,
    /// Events that it should have met and did not: the model does not contain what it should.
    pub missed_events: Vec<&'static str>,
}

impl SearchResult {
    /// Returns whether the model keeps its promises and contains every event.
    pub fn has_passed(&self) -> bool {
        self.counterexamples.is_empty() && self.missed_events.is_empty()
    }

    /// Returns the result as JSON.
    pub fn to_json(&self) -> Value {
        let counterexamples: Vec<Value> = self
            .counterexamples
            .iter()
            .map(|found| json!({ "property": found.property, "steps": found.steps }))
            .collect();
        let events: Vec<Value> = self
            .met_events
            .iter()
            .map(|(event, steps)| json!({ "event": event, "steps": steps.len() }))
            .collect();
        json!({
            "passed": self.has_passed(),
            "unique_states": self.unique_states,
            "states": self.states,
            "depth": self.depth,
            "duration_ms": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "counterexamples": counterexamples,
            "events": events,
            "missed_events": self.missed_events,
        })
    }
}

/// Searches a model with `threads` threads until it is exhausted or a promise is broken. Only one
/// thread finds the shortest path. `progress` is called with unique states and depth.
pub fn search(
    (bounds, exclusions, functions): (Bounds, Exclusions, CoreFunctions),
    threads: usize,
    progress: impl FnMut(usize, usize) + Send,
) -> SearchResult {
    let model = ReleaseModel::new(bounds, exclusions, functions);
    let mut observer = SearchObserver { progress, last: None };
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join_and_report(&mut observer);
    let (mut counterexamples, mut met_events, mut missed_events) =
        (Vec::new(), Vec::new(), Vec::new());
    let mut discoveries = checker.discoveries();
    for property in checker.model().properties() {
        let path = discoveries.remove(property.name).map(|path| path.into_vec());
        match (property.expectation, path) {
            (Expectation::Sometimes, Some(path)) => {
                met_events.push((property.name, describe_path(checker.model(), &path)));
            }
            (Expectation::Sometimes, None) => missed_events.push(property.name),
            (_, Some(path)) => {
                let steps = describe_path(checker.model(), &path);
                counterexamples.push(Counterexample { property: property.name, steps });
            }
            (_, None) => {}
        }
    }
    SearchResult {
        unique_states: checker.unique_state_count(),
        states: checker.state_count(),
        depth: checker.max_depth(),
        duration: observer.last.unwrap_or_default(),
        counterexamples,
        met_events,
        missed_events,
    }
}

fn describe_path(model: &ReleaseModel, path: &[(ModelState, Option<ModelAction>)]) -> Vec<String> {
    path.windows(2)
        .filter_map(|pair| {
            let (state, action) = &pair[0];
            action.map(|action| describe(model, state, action, &pair[1].0))
        })
        .collect()
}

/// Passes the progress on and keeps the duration.
struct SearchObserver<P> {
    progress: P,
    last: Option<Duration>,
}

impl<P: FnMut(usize, usize)> Reporter<ReleaseModel> for SearchObserver<P> {
    fn report_checking(&mut self, data: ReportData) {
        self.last = Some(data.duration);
        (self.progress)(data.unique_states, data.max_depth);
    }

    fn report_discoveries(
        &mut self,
        _: &ReleaseModel,
        _: std::collections::BTreeMap<&'static str, ReportDiscovery<ReleaseModel>>,
    ) {
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(200)
    }
}
