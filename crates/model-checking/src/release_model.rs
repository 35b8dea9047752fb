//! The model as a value: its size, the functions that it calls, and what its search has found.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bounds::{Bounds, Exclusions};
use crate::functions::CoreFunctions;
use crate::object::ObjectCore;

/// Model of a release: its object, its isolates, and the faults between them.
pub struct ReleaseModel {
    /// Size of the model.
    pub bounds: Bounds,
    /// Known faults that the properties leave out.
    pub exclusions: Exclusions,
    /// Core of the gateway.
    pub core: ObjectCore,
    /// Properties that a state was found for; the first one has the shortest path.
    found: AtomicU64,
}

impl ReleaseModel {
    /// Builds a model of this size over these functions.
    pub fn new(bounds: Bounds, exclusions: Exclusions, functions: CoreFunctions) -> Self {
        Self { bounds, exclusions, core: ObjectCore::new(functions), found: AtomicU64::new(0) }
    }

    /// Returns whether the property with this number holds in a state for the first time. The
    /// search would otherwise keep the last state instead, and a longer path.
    pub(crate) fn finds(&self, number: usize, holds: impl FnOnce() -> bool) -> bool {
        let bit = 1 << number;
        self.found.load(Ordering::Relaxed) & bit == 0
            && holds()
            && self.found.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub(crate) fn functions(&self) -> &CoreFunctions {
        &self.core.functions
    }
}
