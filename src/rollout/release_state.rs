//! Where a release stands, and how a person may change it.
//!
//! The rollout object keeps one [`ReleaseState`] for each release and calls [`ReleaseState::apply_change`]; nothing
//! is decided in the object. A change names the version it was made for, so that of two people who saw
//! the same standing the second is told (optimistic concurrency).

use serde::{Deserialize, Serialize};

use jeffrey_terms::{Share, ShareError, UnixMs};

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseState {
    /// Counts the changes; 0 before the first.
    pub version: u64,
    /// The canary's share.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Whether the release was killed: nobody is canary, whatever the share.
    pub killed: bool,
    /// When it was last changed; 0 when never.
    #[serde(rename = "changed_ms")]
    pub changed_at: UnixMs,
    /// How often an isolate opened its breaker since the last change.
    pub breaches: u64,
    /// What the last breach was.
    pub last_breach: Option<HardFailure>,
}

/// Something that stops a canary at once, as an isolate reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardFailure {
    /// What happened.
    pub kind: HardFailureKind,
    /// When, by the isolate's clock.
    #[serde(rename = "at_ms")]
    pub detected_at: UnixMs,
}

/// What no canary may do even once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardFailureKind {
    /// An embedding whose size is not the head's or the prototypes'.
    DimensionMismatch,
    /// A score that is no finite number from 0 to 1.
    NonFinite,
    /// The model worker ended instead of answering.
    Trap,
}

impl HardFailureKind {
    /// The name used in every event and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DimensionMismatch => "dimension_mismatch",
            Self::NonFinite => "non_finite",
            Self::Trap => "trap",
        }
    }
}

/// A change by hand; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseChange {
    /// The version that the change was made for.
    pub version: u64,
    /// A percentage such as `10%`.
    pub share: Option<String>,
    /// Whether nobody is to be canary, whatever the share.
    pub killed: Option<bool>,
}

/// A change that is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseChangeError {
    /// Somebody was faster.
    #[error("the change is for version {requested}, the release is at version {current}")]
    Conflict {
        /// The version given.
        requested: u64,
        /// The version in force.
        current: u64,
    },
    /// A plan moves the share.
    #[error(
        "a plan moves the share: `jeffrey rollout` pauses it, takes it back or ends it; `killed` closes at once"
    )]
    PlanActive,
    /// Neither a share nor `killed`.
    #[error("the change holds neither `share` nor `killed`")]
    Empty,
    /// The share is none.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl ReleaseState {
    /// A release that nobody has touched.
    pub const fn initial(share: Share) -> Self {
        Self {
            version: 0,
            share,
            killed: false,
            changed_at: UnixMs(0),
            breaches: 0,
            last_breach: None,
        }
    }

    /// The standing after a change; breaches are counted anew.
    ///
    /// # Errors
    /// [`ReleaseChangeError`] says why nothing is changed.
    pub fn apply_change(
        &self,
        change: &ReleaseChange,
        now: UnixMs,
    ) -> Result<Self, ReleaseChangeError> {
        if change.version != self.version {
            let (requested, current) = (change.version, self.version);
            return Err(ReleaseChangeError::Conflict { requested, current });
        }
        if change.share.is_none() && change.killed.is_none() {
            return Err(ReleaseChangeError::Empty);
        }
        let share = change.share.as_deref().map(str::parse).transpose()?;
        Ok(Self {
            version: self.version + 1,
            share: share.unwrap_or(self.share),
            killed: change.killed.unwrap_or(self.killed),
            changed_at: now,
            breaches: 0,
            last_breach: None,
        })
    }

    /// The standing after a plan has moved the share. Breaches are counted anew when it rises; what took it back stays.
    pub fn apply_planned_share(&self, share: Share, now: UnixMs) -> Self {
        let is_increase = share > self.share;
        Self {
            version: self.version + 1,
            share,
            changed_at: now,
            breaches: if is_increase { 0 } else { self.breaches },
            last_breach: self.last_breach.filter(|_| !is_increase),
            ..self.clone()
        }
    }

    /// The standing after an isolate's report. The share stays: an isolate speaks for itself.
    pub fn record_hard_failure(&self, hard_failure: HardFailure) -> Self {
        let breaches = self.breaches.saturating_add(1);
        Self { breaches, last_breach: Some(hard_failure), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000);

    fn change(version: u64, share: Option<&str>, killed: Option<bool>) -> ReleaseChange {
        ReleaseChange { version, share: share.map(str::to_owned), killed }
    }

    #[test]
    fn a_hard_failure_stays_until_the_share_rises_again() {
        let hard_failure = HardFailure { kind: HardFailureKind::Trap, detected_at: NOW };
        let ramping = ReleaseState::initial(Share::NONE)
            .apply_planned_share(Share::ALL, NOW)
            .record_hard_failure(hard_failure);
        let rolled_back = ramping.apply_planned_share(Share::NONE, NOW);
        assert_eq!(
            (rolled_back.version, rolled_back.breaches, rolled_back.last_breach),
            (2, 1, Some(hard_failure))
        );
        let resumed = rolled_back.apply_planned_share(Share::ALL, NOW);
        assert_eq!((resumed.version, resumed.breaches, resumed.last_breach), (3, 0, None));
    }

    #[test]
    fn a_change_keeps_what_it_leaves_out_and_counts_up() {
        let first = ReleaseState::initial(Share::NONE);
        let second = first.apply_change(&change(0, Some("10%"), None), NOW).unwrap();
        assert_eq!((second.version, second.share.basis_points(), second.killed), (1, 1_000, false));
        let third = second.apply_change(&change(1, None, Some(true)), NOW).unwrap();
        assert_eq!((third.version, third.share.basis_points(), third.killed), (2, 1_000, true));
    }

    #[test]
    fn of_two_who_saw_the_same_version_the_second_gets_a_conflict() {
        let first = ReleaseState::initial(Share::NONE);
        let second = first.apply_change(&change(0, Some("10%"), None), NOW).unwrap();
        let late = second.apply_change(&change(0, Some("20%"), None), NOW);
        assert_eq!(late, Err(ReleaseChangeError::Conflict { requested: 0, current: 1 }));
    }

    #[test]
    fn a_change_of_nothing_or_to_no_share_is_refused() {
        let first = ReleaseState::initial(Share::NONE);
        assert_eq!(first.apply_change(&change(0, None, None), NOW), Err(ReleaseChangeError::Empty));
        let refused = first.apply_change(&change(0, Some("101%"), None), NOW).unwrap_err();
        assert_eq!(refused.to_string(), "share 101% is above 100%");
    }

    #[test]
    fn a_hard_failure_is_kept_until_a_person_changes_the_release() {
        let hard_failure = HardFailure { kind: HardFailureKind::Trap, detected_at: NOW };
        let release = ReleaseState::initial(Share::ALL)
            .record_hard_failure(hard_failure)
            .record_hard_failure(hard_failure);
        assert_eq!(
            (release.breaches, release.last_breach, release.version),
            (2, Some(hard_failure), 0)
        );
        assert_eq!(release.share, Share::ALL);
        let after = release.apply_change(&change(0, None, Some(false)), NOW).unwrap();
        assert_eq!((after.breaches, after.last_breach), (0, None));
    }

    #[test]
    fn it_is_stored_and_read_back_the_same() {
        let hard_failure = HardFailure { kind: HardFailureKind::NonFinite, detected_at: NOW };
        let release =
            ReleaseState::initial("12.5%".parse().unwrap()).record_hard_failure(hard_failure);
        let json = serde_json::to_string(&release).unwrap();
        assert!(json.contains("\"share_basis_points\":1250"), "{json}");
        assert_eq!(serde_json::from_str::<ReleaseState>(&json).unwrap(), release);
        let above = json.replace("1250", "10001");
        assert!(serde_json::from_str::<ReleaseState>(&above).is_err());
    }
}
