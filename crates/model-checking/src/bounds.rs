//! The size of a search: the number of isolates and faults, and the known faults that it leaves out.

/// Largest number of isolates in a model.
pub const ISOLATES_MAX: usize = 3;

/// Largest version that a model may reach.
pub const VERSIONS_MAX: u8 = 7;

/// Size of a model. A search covers every schedule within it, however long the schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of isolates at a time, 1 to [`ISOLATES_MAX`]; one that ends is followed by a new one.
    pub isolates: usize,
    /// Number of faults in one schedule.
    pub faults: u8,
    /// Number of faults among them that step an isolate's clock by the expiry, either way.
    pub clock_steps: u8,
    /// Number of commands that operators send.
    pub commands: u8,
    /// Last version of the release state, 1 to [`VERSIONS_MAX`]: inputs that would go beyond it do
    /// not happen.
    pub version_max: u8,
}

impl Bounds {
    /// The bounds of the exhaustive search.
    pub const FULL: Self =
        Self { isolates: 3, faults: 1, clock_steps: 1, commands: 1, version_max: 3 };

    /// The bounds of the search that a debug build finishes in seconds.
    pub const SMALL: Self =
        Self { isolates: 2, faults: 1, clock_steps: 1, commands: 0, version_max: 2 };
}

/// Known faults of the gateway. Each one that is excluded takes exactly the states out of the
/// properties that it reaches; a search without an exclusion finds the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusions {
    /// A clock that is set back while no request comes, by less than the time since the last one,
    /// makes an old snapshot look fresh: the isolate has no other clock.
    pub unseen_set_back: bool,
    /// A `resume` without a version that was sent before a rollback and arrives after it ends the
    /// rollback. The command line and the dashboard send the version.
    pub resume_without_version: bool,
}

impl Exclusions {
    /// Excludes every known fault.
    pub const ALL: Self = Self { unseen_set_back: true, resume_without_version: true };
}
