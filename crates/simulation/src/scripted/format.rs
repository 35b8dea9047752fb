//! The format of a file of scenarios.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Scenarios of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Variables of every gateway.
    pub variables: BTreeMap<String, String>,
    /// Rollout plans by name, as the lines of their TOML.
    pub plans: BTreeMap<String, Vec<String>>,
    /// The scenarios, in the order of the file.
    pub scenarios: Vec<ScriptedScenario>,
}

/// One scenario of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedScenario {
    /// Claim that the scenario shows; unique within the file.
    pub name: String,
    /// Variables of its gateway besides those of the file.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Isolates of the gateway, which steps choose by their number from 1.
    #[serde(default = "one")]
    pub gateways: usize,
    /// Whether numbers of events are part of the outcome. They are not if traffic flows until a
    /// state is reached, which takes as many calls as it takes.
    #[serde(default = "yes")]
    pub counts: bool,
    /// Steps of the scenario, in this order.
    pub(super) steps: Vec<ScriptedStep>,
    /// Known parts of the outcome at the end.
    #[serde(default)]
    pub(super) expect: Map<String, Value>,
}

const fn one() -> usize {
    1
}

const fn yes() -> bool {
    true
}

/// One step, and the known parts of its outcome.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct ScriptedStep {
    pub(super) action: Action,
    pub(super) expect: Value,
}

impl TryFrom<Map<String, Value>> for ScriptedStep {
    type Error = serde_json::Error;

    fn try_from(mut fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let expect = fields.remove("expect").unwrap_or_default();
        Ok(Self { action: serde_json::from_value(Value::Object(fields))?, expect })
    }
}

/// Effect of one step.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Action {
    /// Alert webhooks answer with another status from now on.
    Alerts { status: u16 },
    /// A call of a client, or one of each of several users.
    Call(Box<CallAction>),
    /// A command to the rollout.
    Command(CommandAction),
    /// The webhook that is asked before an increase gives another verdict from now on.
    Confirm { verdict: String },
    /// An operator erases a subject.
    Erase { user: String },
    /// Feedback on a call, by its place among the calls of the scenario that have an id.
    Feedback { of: Option<usize>, id: Option<String>, ok: bool },
    /// The health of a gateway.
    Health {
        #[serde(default = "one")]
        gateway: usize,
    },
    /// Waits until the event store has all events of the scenario.
    Settle,
    /// An operator sets the share or the kill flag by hand.
    Share { share: Option<String>, killed: Option<bool>, version: Option<u64> },
    /// The status of the release.
    Status,
    /// A release check arrives, of this model.
    Validate { passed: bool, sha256: String },
    /// Waits this many seconds.
    Wait { seconds: u64 },
    /// Waits until the alert webhook has accepted this many alerts since the start.
    WaitAlerts { accepted: u64 },
    /// Waits until the release is in this phase, or has this share, with a call at each look if
    /// there is traffic.
    WaitUntil {
        phase: Option<String>,
        share_basis_points: Option<u64>,
        hard_failures: Option<u64>,
        #[serde(default)]
        traffic: bool,
    },
}

/// A call of a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallAction {
    #[serde(default = "post")]
    pub(super) method: String,
    #[serde(default = "predict")]
    pub(super) path: String,
    /// User of the call, in the header; `None` for a caller that the gateway does not know.
    pub(super) user: Option<String>,
    /// Users that make one call each, in place of `user`.
    #[serde(default)]
    pub(super) users: Vec<String>,
    /// User of the call in its body.
    pub(super) user_in_body: Option<String>,
    /// Whether the call sends the last cookie of the scenario back.
    #[serde(default)]
    pub(super) cookie: bool,
    /// Text to classify; `None` for an empty body.
    pub(super) text: Option<String>,
    /// Whole body, in place of a text.
    pub(super) body: Option<String>,
    /// Length of a text of one repeated letter, in place of a text.
    pub(super) text_bytes: Option<usize>,
    /// Whether the body comes in chunks, without a length.
    #[serde(default)]
    pub(super) streamed: bool,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Cohort that the call asks for.
    pub(super) cohort: Option<String>,
    pub(super) token: Option<TokenKind>,
    pub(super) model: Option<ModelBehaviour>,
    pub(super) legacy: Option<LegacyBehaviour>,
    #[serde(default = "one")]
    pub(super) gateway: usize,
}

fn post() -> String {
    "POST".to_owned()
}

fn predict() -> String {
    "/predict".to_owned()
}

/// A command of an operator to the rollout.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandAction {
    pub(super) command: String,
    pub(super) reason: Option<String>,
    /// Name of a plan of the file.
    pub(super) plan: Option<String>,
}

/// Override token of a call.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenKind {
    Forged,
    Malformed,
    OtherRelease,
    Valid,
    ValidWhenRolledBack,
}

/// Behaviour of the model worker towards a call.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelBehaviour {
    Closed,
    DimensionMismatch,
    Garbage,
    Late,
    NonFinite,
    OtherModel,
    Refused,
    Trap,
}

/// Behaviour of the legacy system towards a call.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LegacyBehaviour {
    Closed,
    Cut,
    Error,
    Garbled,
    Late,
    NotJson,
}
