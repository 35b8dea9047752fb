//! The pure functions that a model calls: the shipped ones, unless a test plants a wrong one.

use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::effect::RolloutAction;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::progress::{PlanProgress, StepInput};
use jeffrey_edge::rollout::release_state::{ReleaseChangeError, ReleaseState};
use jeffrey_edge::rollout::share_cache::{self, CachedShare, EffectiveShare};
use jeffrey_terms::{Share, UnixMs};

/// Function with the signature of [`PlanProgress::apply_input`].
pub type ApplyInput =
    for<'a> fn(&PlanProgress, &Plan, &StepInput<'a>, UnixMs) -> (PlanProgress, Vec<RolloutAction>);

/// Function with the signature of [`share_cache::effective_share`].
pub type ComputeEffectiveShare =
    fn(Option<CachedShare>, Option<ClockReading>, ClockReading) -> EffectiveShare;

/// Functions of the gateway's core that decide in the model.
#[derive(Clone, Copy)]
pub struct CoreFunctions {
    /// Share that a request is assigned by, and whether to fetch a snapshot.
    pub effective_share: ComputeEffectiveShare,
    /// Newer of the cached and the received snapshot.
    pub pick_newer: fn(Option<CachedShare>, CachedShare) -> CachedShare,
    /// Cached snapshot, unless it has expired.
    pub drop_expired: fn(Option<CachedShare>, ClockReading) -> Option<CachedShare>,
    /// Check of the version that a command is for.
    pub check_version: fn(&ReleaseState, Option<u64>) -> Result<(), ReleaseChangeError>,
    /// Step of the rollout's state machine.
    pub apply_input: ApplyInput,
    /// Release state after the plan moved the share.
    pub apply_planned_share: fn(&ReleaseState, Share, UnixMs) -> ReleaseState,
    /// Whether a reply leaves the object only after the writes before it are durable. The platform
    /// promises this, so it is part of the model; a test shows that the properties need it.
    pub replies_wait_for_commit: bool,
}

impl CoreFunctions {
    /// The functions that the gateway ships.
    pub const SHIPPED: Self = Self {
        effective_share: share_cache::effective_share,
        pick_newer: share_cache::pick_newer,
        drop_expired: share_cache::drop_expired,
        check_version: ReleaseState::check_version,
        apply_input: PlanProgress::apply_input,
        apply_planned_share: ReleaseState::apply_planned_share,
        replies_wait_for_commit: true,
    };
}
