//! What is simulated: settings, plan, traffic, the systems around the gateway, and the faults.

use crate::fault::{Fault, ModelFault, OperatorAction, ScheduledFault, draw_schedule};
use crate::random::Stream;

/// Release of the simulated gateway.
pub const RELEASE: &str = "e1-small";

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Plan whose healthy release is promoted within half a day at one call a second.
pub const FAST_PLAN: &str = r#"release = "e1-small"
holdout = "1%"
traffic_per_minute = 60
deadline = "1d"
notify = ["on-call", "log"]

[false_verdict_budget]
roll_back = "1%"
warn = "1%"
block_advance = "5%"

[stable]
max_error_rate = "5%"
max_slow_rate = "20%"

[[stage]]
share = "10%"
min_duration = "1h"
min_samples = 360

[[stage]]
share = "20%"
min_duration = "1h"
min_samples = 600

[[stage]]
share = "50%"
min_duration = "1h"
min_samples = 1000

[[stage]]
share = "75%"
min_duration = "1h"
min_samples = 1000
approval = true

[[stage]]
share = "100%"
min_duration = "2h"
min_samples = 1000

[[gate]]
name = "errors against stable"
metric = "errors"
max_increase = "+50%"
effect = "roll_back"
evidence_unit = "subjects"
weight = 4

[[gate]]
name = "P95 above 200 ms"
metric = "slow"
max = "5%"
effect = "roll_back"
weight = 6

[[gate]]
name = "dimension mismatch"
metric = "dimension_mismatches"
never = true
effect = "roll_back"

[[gate]]
name = "sample ratio"
metric = "sample_ratio"
sample_ratio = true
effect = "block_advance"
"#;

/// Everything that decides a run. Two runs of one scenario are the same to the last byte.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Duration of the traffic, in milliseconds. Afterwards faults end, and the queue is emptied.
    pub duration_ms: u64,
    /// Variables of the gateway besides those that every run has.
    pub variables: Vec<(&'static str, String)>,
    /// Plan that the operator starts; `None` for a gateway without a plan.
    pub plan: Option<String>,
    /// Isolates that serve the traffic.
    pub isolates: usize,
    /// Mean calls a second.
    pub calls_per_second: f64,
    /// Number of different users.
    pub users: u64,
    /// Calls in a thousand that come without a user, and send their cookie back later.
    pub cookie_permille: u32,
    /// Responses in a thousand to which the client sends feedback.
    pub feedback_permille: u32,
    /// Classify calls in a thousand that ask for a cohort, most of them with a token.
    pub override_permille: u32,
    /// Calls in a thousand whose caller the legacy system refuses, which it is asked about before each
    /// answer of the canary; `None` if it answers anybody.
    pub strangers_permille: Option<u32>,
    /// Fault of the released model, and the replies in a thousand that have it.
    pub model: Option<(ModelFault, u32)>,
    /// Responses of the legacy system in a thousand that are a 500.
    pub legacy_errors_permille: u32,
    /// Calls of one subject in ten seconds that the rate limit lets through; `None` for no limit.
    pub calls_per_subject_max: Option<u64>,
    /// Whether the operator starts the release again after a rollback.
    pub restarts_release: bool,
    /// Faults, by their time.
    pub faults: Vec<ScheduledFault>,
}

impl Scenario {
    /// Returns a gateway with a healthy release, and no fault.
    pub fn healthy(seed: u64, days: f64) -> Self {
        Self {
            seed,
            duration_ms: (days * DAY_MS as f64) as u64,
            variables: Vec::new(),
            plan: Some(FAST_PLAN.to_owned()),
            isolates: 4,
            calls_per_second: 1.0,
            users: 2_000,
            cookie_permille: 100,
            feedback_permille: 20,
            override_permille: 15,
            strangers_permille: None,
            model: None,
            legacy_errors_permille: 5,
            calls_per_subject_max: None,
            restarts_release: true,
            faults: Vec::new(),
        }
    }

    /// Returns the run of a seed: traffic, systems and faults are drawn from it. Of ten seeds in a
    /// row, one has a healthy release without any fault, which must be promoted, and two have a
    /// broken model without any other fault, which must not.
    pub fn random(seed: u64, days: f64) -> Self {
        let mut scenario = Self::healthy(seed, days);
        let mut stream = Stream::new(seed, "scenario", 0);
        scenario.isolates = stream.between(1, 6) as usize;
        scenario.users = *[200, 2_000, 20_000].get(stream.index(3)).unwrap_or(&2_000);
        if stream.chance(300) {
            scenario.variables.push(("EVENT_STORE_SHARDS", "3".to_owned()));
        }
        if stream.chance(200) {
            scenario.variables.push(("SHADOW_SHARE", "5%".to_owned()));
        }
        if stream.chance(250) {
            scenario.variables.push(("LOG_TEXT_PREVIEW", "on".to_owned()));
        }
        if stream.chance(400) {
            scenario.strangers_permille = Some(100);
            let cache_s = [0, 0, 5, 60][stream.index(4)];
            scenario.variables.extend([
                ("CANARY_AUTH", "check".to_owned()),
                ("CANARY_AUTH_CHECK", "GET /session".to_owned()),
                ("CANARY_AUTH_CACHE", cache_s.to_string()),
                ("CANARY_AUTH_HEADERS", "authorization".to_owned()),
            ]);
        }
        match seed % 10 {
            4 => {}
            2 | 7 => {
                // The model's first hard failure is one of the drawn canary: neither a token nor
                // the shadow may come before it.
                scenario.override_permille = 0;
                scenario.variables.retain(|(name, _)| *name != "SHADOW_SHARE");
                scenario.model = Some(draw_broken_model(seed, &mut stream));
            }
            _ => {
                scenario.faults = draw_schedule(seed, scenario.duration_ms);
                // Counters keep what they counted of an erased subject, so they are sums of the
                // stored events only without an erasure.
                if stream.chance(500) {
                    let erasure = Fault::Operator(OperatorAction::Erase);
                    scenario.faults.retain(|scheduled| scheduled.fault != erasure);
                }
            }
        }
        scenario
    }

    /// Returns the same scenario with other faults.
    #[must_use]
    pub fn with_faults(&self, faults: Vec<ScheduledFault>) -> Self {
        Self { faults, ..self.clone() }
    }
}

/// Draws a fault that no gate and no check may miss, with the replies in a thousand that have it.
/// Seven broken seeds in a row have all faults.
fn draw_broken_model(seed: u64, stream: &mut Stream) -> (ModelFault, u32) {
    let faults = [
        ModelFault::Slow,
        ModelFault::Refused,
        ModelFault::Trap,
        ModelFault::OtherModel,
        ModelFault::Garbage,
        ModelFault::NonFinite,
        ModelFault::DimensionMismatch,
    ];
    let fault = faults[(seed / 5) as usize % faults.len()];
    let permille = match fault {
        ModelFault::OtherModel => 1_000,
        ModelFault::Slow | ModelFault::Refused | ModelFault::Garbage => {
            [200, 400, 800][stream.index(3)]
        }
        ModelFault::DimensionMismatch | ModelFault::NonFinite | ModelFault::Trap => {
            [10, 50, 200][stream.index(3)]
        }
    };
    (fault, permille)
}
