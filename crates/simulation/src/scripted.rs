//! Scenarios from a file, to hold the simulation against the gateway in workerd.
//!
//! A scenario has variables of the gateway and steps: calls, requests of an operator, and faults of
//! the systems around the gateway. Nothing is random. The outcome is JSON without times. The promises
//! of [`invariants`](crate::invariants) are not checked: they are about the operator of a seed.
//! `tests/gateway/scenarios.test.js` takes the same steps in `wrangler dev` and expects the same
//! outcome.

mod driver;

mod format;

mod outcome;

mod peers;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::executor::Owner;
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use driver::Driver;
pub use format::{ScenarioFile, ScriptedScenario};
use jeffrey_edge::gateway::config::VARIABLES;

/// Time by which a script must have ended, and the step in which its end is looked for.
const SCRIPT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
const LOOK_MS: u64 = 10_000;

/// Addresses of the webhooks by the names that stand for them in a file.
const ADDRESSES: [(&str, &str); 2] =
    [("ALERTS_URL", "https://alerts.example/"), ("CONFIRM_URL", "https://confirm.example/")];

/// Outcome of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ScriptedOutcome {
    /// Outcome of each step, and of the whole at the end.
    pub outcome: Value,
    /// Parts of the outcome that are not as the file expects, each as one sentence.
    pub unexpected: Vec<String>,
}

/// Runs a scenario on the virtual clock.
pub fn run_scripted(file: &ScenarioFile, scenario: &ScriptedScenario) -> ScriptedOutcome {
    let variables = match read_variables(file, scenario) {
        Ok(variables) => variables,
        Err(error) => return ScriptedOutcome { outcome: Value::Null, unexpected: vec![error] },
    };
    let simulation = Simulation::new(
        Scenario {
            variables,
            isolates: scenario.gateways,
            legacy_errors_permille: 0,
            plan: None,
            ..Scenario::healthy(1, 1.0)
        },
        false,
    );
    let outcome = take_steps(&simulation, Driver::new(&simulation, file, scenario));
    simulation.close();
    let expected = json!({
        "steps": scenario.steps.iter().map(|step| &step.expect).collect::<Vec<_>>(),
        "end": scenario.expect,
    });
    let mut unexpected = Vec::new();
    outcome::compare("", &expected, &outcome, &mut unexpected);
    ScriptedOutcome { outcome, unexpected }
}

/// Returns the outcome of all steps; `null` if they have not ended in time.
fn take_steps(simulation: &Rc<Simulation>, driver: Driver) -> Value {
    simulation.start_isolates();
    simulation.executor.spawn(Owner::Surroundings, Rc::clone(simulation).run_queue());
    let outcome = Rc::new(RefCell::new(None));
    let result = Rc::clone(&outcome);
    simulation.executor.spawn(Owner::Surroundings, async move {
        let steps = driver.run().await;
        result.replace(Some(steps));
    });
    let end_ms = simulation.now_ms() + SCRIPT_MS_MAX;
    while outcome.borrow().is_none() && simulation.now_ms() < end_ms {
        simulation.executor.run_until(simulation.now_ms() + LOOK_MS);
    }
    outcome.take().unwrap_or_default()
}

/// Returns the variables of a scenario's gateway.
///
/// # Errors
///
/// A sentence about the first name that is no variable of the gateway.
fn read_variables(
    file: &ScenarioFile,
    scenario: &ScriptedScenario,
) -> Result<Vec<(&'static str, String)>, String> {
    let variables = file.variables.iter().chain(&scenario.variables).map(|(name, value)| {
        let known = VARIABLES.iter().find(|known| *known == name);
        let name = *known.ok_or_else(|| format!("{name} is no variable of the gateway"))?;
        let add_webhook = |value: String, (name, url): &(&str, &str)| value.replace(name, url);
        Ok((name, ADDRESSES.iter().fold(value.clone(), add_webhook)))
    });
    variables.collect()
}
