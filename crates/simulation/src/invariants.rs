//! The promises of the documentation, by name, and how a broken one is reported.

use std::fmt;

use serde::Serialize;

const fn first_of<const N: usize>(rows: [Option<u32>; N]) -> Option<u32> {
    rows[0]
}

macro_rules! invariants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $page:literal $(, known $row:literal)?;)*) => {
        /// A promise of the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Invariant {
            $($(#[$doc])* $variant,)*
        }

        impl Invariant {
            /// All invariants, by their names.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the promise as one sentence.
            pub const fn promise(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the number of the known fault that breaks the promise today; `None` if nothing
            /// may break it. The list may only get shorter.
            pub const fn known_fault(self) -> Option<u32> {
                match self {
                    $(Self::$variant => first_of([$(Some($row),)? None]),)*
                }
            }

            /// Returns the page that makes the promise.
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => $page,)*
                }
            }
        }
    };
}

invariants! {
    /// A refused alert is kept or counted.
    AlertsNeverDropped = "an alert that a webhook refuses is kept, or counted as failed", "rollout.md", known 10;
    /// A webhook hears each alert once.
    AlertsToldOnce = "each alert reaches each webhook once, again only if its response was lost", "rollout.md";
    /// A release that is not observed loses its share.
    BlindEnds = "a canary that no counted event observes for an hour has no share", "rollout.md", known 11;
    /// A failing gate is acted on.
    BrokenRollsBack = "a critical gate that fails rolls the release back", "rollout.md";
    /// A broken release is stopped.
    BrokenNeverPromoted = "a broken release is never promoted", "rollout.md";
    /// Calls have one answer.
    CallsAnsweredOnce = "every call is answered once", "gateway.md";
    /// The canary stops in time.
    CanaryStops = "after a stored rollback, no canary answer comes later than its bound", "rollout.md";
    /// The model is checked before it gets more traffic.
    ChecksBeforeIncrease = "the deployed model is checked before each share increase", "rollout.md";
    /// The cohort of a call is that of its bucket.
    CohortByBucket = "the assigned cohort is what `jeffrey bucket` says", "gateway.md";
    /// A cookie that came back is not replaced.
    CookieIsKept = "a caller with the gateway's cookie keeps it", "gateway.md";
    /// Counters are sums of the events.
    CountersAreSums = "counters equal plain sums over the stored events", "telemetry.md";
    /// An isolate that knows the share uses it.
    DisabledForCause = "the canary is off only while it is killed, rolled back or unknown", "gateway.md";
    /// Erased events stay away.
    ErasedStaysErased = "an erased subject's events never return", "privacy.md";
    /// Events are counted or lost.
    EventsCountOnce = "an event counts once, or is counted as lost", "telemetry.md";
    /// Events and answers say the same.
    EventsTellTruth = "an event says who answered, with which status, and why not the model", "telemetry.md";
    /// The gates see every event that the store has.
    EvidenceComplete = "the gates see every stored event of the release", "rollout.md", known 17;
    /// A response has feedback once.
    FeedbackOnce = "feedback counts once for each response", "gateway.md";
    /// The legacy system gets what the client sent.
    ForwardedUntouched = "a request goes on as it came", "gateway.md";
    /// A larger share keeps the subjects of a smaller one.
    GrowthMovesNobodyBack = "a growing share moves no subject back to stable", "gateway.md";
    /// A hard failure is the end.
    HardFailureRollsBack = "a wrong dimension or a score that is no number rolls the release back at once", "rollout.md";
    /// Hashes of subjects are keyed.
    HashesNeedTheKey = "a subject's hash needs the key, and differs between releases", "privacy.md";
    /// A healthy release is promoted.
    HealthyPromoted = "a healthy release is promoted", "rollout.md";
    /// A promoted release does not write for ever.
    HistoryBounded = "the history of a promoted release does not grow by the minute", "rollout.md", known 23;
    /// History can be replayed.
    HistoryReplays = "the same inputs lead to the same history", "rollout.md";
    /// The control group is stable in every stage.
    HoldoutStaysStable = "the plan's holdout stays on stable in every stage", "rollout.md";
    /// An isolate that ends takes no call with it.
    InFlightSurvives = "a call is answered though its isolate ends", "gateway.md";
    /// A slow legacy system answers in its own time.
    LegacyHasItsTime = "a call that the legacy system would answer late is answered late", "gateway.md";
    /// A minute counts once.
    MinutesFoldOnce = "the gates count each closed minute once, with the events that it has", "telemetry.md";
    /// Closed minutes are read.
    MinutesAreRead = "while the canary has traffic, the rollout object reads the closed minutes", "rollout.md";
    /// Calls are not sent again.
    NeverRetried = "a classify call reaches the legacy system at most once", "gateway.md";
    /// Gateway failures are not the client's.
    NoErrorOfOurs = "no 5xx that the legacy system did not cause", "gateway.md";
    /// Raw values stay inside.
    NothingRawLeaves = "no raw text and no raw id leaves", "privacy.md";
    /// Each call has one event.
    OneEventPerCall = "every classify call makes one event", "telemetry.md";
    /// Calls other than classify calls are sent once.
    OthersSentOnce = "a call that is no classify call reaches the legacy system once", "gateway.md";
    /// Engineers get the cohort that they ask for.
    OverrideHonoured = "a valid token gives the requested cohort", "gateway.md";
    /// A rollback is latched.
    RollbackLatched = "after a rollback, only an operator opens the release again", "rollout.md";
    /// The share is respected.
    ShareRespected = "no subject above the active share gets the canary", "gateway.md";
    /// Limits protect the model only.
    StableIsNotLimited = "a rate limit refuses no call of stable", "gateway.md";
    /// A release goes through its stages.
    StagesKept = "a stage ends after its time, its samples, its gates and its approval", "rollout.md";
    /// A call of stable takes the time of the legacy system.
    StableNeverWaits = "a call of stable does not wait for the share", "gateway.md", known 8;
    /// A shard has a limit.
    StoreBounded = "the event store stays below its limit", "telemetry.md", known 19;
    /// Authentication stays the legacy system's.
    StrangersStayOut = "the canary answers no caller whom the legacy system refuses", "auth.md";
    /// New subjects are new.
    SubjectsNewOnce = "a subject is new to a release once", "telemetry.md";
    /// One lost connection is no verdict.
    TransportIsNoVerdict = "a lost connection to the model rolls no release back", "rollout.md";
    /// Versions of the state count up.
    VersionsGrow = "the version of the release state grows with each change", "rollout.md";
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Promise that was broken.
    pub invariant: Invariant,
    /// Virtual time, in milliseconds since 1970.
    pub at_ms: u64,
    /// Details of the broken promise.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (promise, detail) = (self.invariant.promise(), &self.detail);
        write!(f, "{:?} at {}: {detail} ({promise})", self.invariant, self.at_ms)
    }
}
