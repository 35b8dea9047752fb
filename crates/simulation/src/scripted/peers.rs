//! The systems around the gateway in a scenario: they do what its steps say.

use super::format::{LegacyBehaviour, ModelBehaviour};
use crate::conditions::Conditions;
use crate::fault::{Disturbance, Hop, LegacyFault, ModelFault};

/// Delay of a reply that comes too late, in milliseconds: above each time limit of the scenarios.
const LATE_MS: u64 = 60_000;

/// Lets model worker and legacy system behave in this way until the next call.
pub(super) fn set_behaviour(
    conditions: &Conditions,
    model: Option<ModelBehaviour>,
    legacy: Option<LegacyBehaviour>,
) {
    conditions.heal();
    let disturb = |hop, disturbance| conditions.disturb_calls(hop, disturbance, 1_000, u64::MAX);
    let change_reply = |fault| conditions.disturb_model(fault, 1_000, u64::MAX);
    match model {
        None => {}
        Some(ModelBehaviour::Closed) => disturb(Hop::Model, Disturbance::Closed),
        Some(ModelBehaviour::DimensionMismatch) => change_reply(ModelFault::DimensionMismatch),
        Some(ModelBehaviour::Garbage) => change_reply(ModelFault::Garbage),
        Some(ModelBehaviour::Late) => disturb(Hop::Model, Disturbance::Slow(LATE_MS)),
        Some(ModelBehaviour::NonFinite) => change_reply(ModelFault::NonFinite),
        Some(ModelBehaviour::OtherModel) => change_reply(ModelFault::OtherModel),
        Some(ModelBehaviour::Refused) => change_reply(ModelFault::Refused),
        Some(ModelBehaviour::Trap) => change_reply(ModelFault::Trap),
    }
    match legacy {
        None => {}
        Some(LegacyBehaviour::Closed | LegacyBehaviour::Garbled) => {
            disturb(Hop::Legacy, Disturbance::Closed);
        }
        Some(LegacyBehaviour::Cut) => disturb(Hop::Legacy, Disturbance::CutBody),
        Some(LegacyBehaviour::Error) => conditions.disturb_legacy(LegacyFault::Error),
        Some(LegacyBehaviour::Late) => disturb(Hop::Legacy, Disturbance::Slow(LATE_MS)),
        Some(LegacyBehaviour::NotJson) => conditions.disturb_legacy(LegacyFault::NotJson),
    }
}
