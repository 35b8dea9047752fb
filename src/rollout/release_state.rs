//! The stored state of a release, and the changes that an operator may make by hand.
//!
//! The rollout object keeps one [`ReleaseState`] for each release and calls
//! [`ReleaseState::apply_change`]; the object itself decides nothing. A change names the version
//! that it was made for: of two operators who saw the same version, the second gets a conflict
//! (optimistic concurrency).

use serde::{Deserialize, Serialize};

use crate::catalogue::code::MessageCode;
use crate::catalogue::message::Message;
use jeffrey_terms::{Share, ShareError, UnixMs};

/// Stored state of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseState {
    /// Number of changes so far; 0 before the first.
    pub version: u64,
    /// The canary's share, before `killed` is considered.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Whether the release was killed: no subject is canary, whatever the share.
    pub killed: bool,
    /// Time of the last change, in milliseconds since 1970; 0 if there was none.
    #[serde(rename = "changed_ms")]
    pub changed_at: UnixMs,
    /// Hard failures that isolates reported since the last manual change or share increase.
    pub hard_failures: u64,
    /// Latest of these hard failures; `None` without one.
    pub last_hard_failure: Option<HardFailure>,
}

/// An event that stops a canary at once, as an isolate reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardFailure {
    /// Kind of the hard failure.
    pub kind: HardFailureKind,
    /// Time of the event by the isolate's clock, in milliseconds since 1970.
    #[serde(rename = "at_ms")]
    pub detected_at: UnixMs,
}

/// Kinds of events that no canary may cause even once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardFailureKind {
    /// The embedding's size is not that of the head or of the prototypes.
    DimensionMismatch,
    /// A score is not a finite number from 0 to 1.
    NonFinite,
    /// The model worker answers with another model than the one whose release check passed.
    OtherModel,
    /// The model worker ended instead of answering.
    Trap,
}

impl HardFailureKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 4] =
        [Self::DimensionMismatch, Self::NonFinite, Self::OtherModel, Self::Trap];

    /// Returns the name that every event and response uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DimensionMismatch => "dimension_mismatch",
            Self::NonFinite => "non_finite",
            Self::OtherModel => "other_model",
            Self::Trap => "trap",
        }
    }

    /// Returns the message with the name of the kind.
    pub fn to_message(self) -> Message {
        Message::new(match self {
            Self::DimensionMismatch => MessageCode::HardFailureDimensionMismatch,
            Self::NonFinite => MessageCode::HardFailureNonFinite,
            Self::OtherModel => MessageCode::HardFailureOtherModel,
            Self::Trap => MessageCode::HardFailureTrap,
        })
    }
}

/// A change by hand; a field that is left out keeps its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseChange {
    /// Version of the state that the change was made for.
    pub version: u64,
    /// New share, a percentage such as `10%`.
    pub share: Option<String>,
    /// New value of [`ReleaseState::killed`].
    pub killed: Option<bool>,
}

/// Reasons why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseChangeError {
    /// Another change came first: the change was made for an older version.
    #[error("the change is for version {requested}, the release is at version {current}")]
    Conflict {
        /// Version that the change was made for.
        requested: u64,
        /// Current version of the state.
        current: u64,
    },
    /// A plan moves the share, so it cannot be changed by hand.
    #[error(
        "a plan moves the share: `jeffrey rollout` pauses it, takes it back or ends it; `killed` closes at once"
    )]
    PlanActive,
    /// The change has neither `share` nor `killed`.
    #[error("the change holds neither `share` nor `killed`")]
    Empty,
    /// The share is not a valid percentage.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl ReleaseState {
    /// Returns the state of a release before its first change.
    pub const fn initial(share: Share) -> Self {
        Self {
            version: 0,
            share,
            killed: false,
            changed_at: UnixMs(0),
            hard_failures: 0,
            last_hard_failure: None,
        }
    }

    /// Returns the state after a change by hand; the count of hard failures starts again at 0.
    ///
    /// # Errors
    /// [`ReleaseChangeError`] when the change is for another version, is empty, or has a share that
    /// is not valid.
    pub fn apply_change(
        &self,
        change: &ReleaseChange,
        now: UnixMs,
    ) -> Result<Self, ReleaseChangeError> {
        self.check_version(Some(change.version))?;
        if change.share.is_none() && change.killed.is_none() {
            return Err(ReleaseChangeError::Empty);
        }
        let share = change.share.as_deref().map(str::parse).transpose()?;
        Ok(Self {
            version: self.version + 1,
            share: share.unwrap_or(self.share),
            killed: change.killed.unwrap_or(self.killed),
            changed_at: now,
            hard_failures: 0,
            last_hard_failure: None,
        })
    }

    /// Checks that the release still has the version that a change or a command was made for; `None`
    /// stands for any.
    ///
    /// # Errors
    /// [`ReleaseChangeError::Conflict`] if it has another one.
    pub fn check_version(&self, requested: Option<u64>) -> Result<(), ReleaseChangeError> {
        match requested {
            Some(requested) if requested != self.version => {
                Err(ReleaseChangeError::Conflict { requested, current: self.version })
            }
            _ => Ok(()),
        }
    }

    /// Returns the state after a plan has moved the share. An increase resets the hard failures; a
    /// decrease keeps them.
    pub fn apply_planned_share(&self, share: Share, now: UnixMs) -> Self {
        let is_increase = share > self.share;
        Self {
            version: self.version + 1,
            share,
            changed_at: now,
            hard_failures: if is_increase { 0 } else { self.hard_failures },
            last_hard_failure: self.last_hard_failure.filter(|_| !is_increase),
            ..self.clone()
        }
    }

    /// Returns the state after an isolate reported a hard failure. The share stays: an isolate
    /// speaks for itself only.
    pub fn record_hard_failure(&self, hard_failure: HardFailure) -> Self {
        let hard_failures = self.hard_failures.saturating_add(1);
        Self { hard_failures, last_hard_failure: Some(hard_failure), ..self.clone() }
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
            .apply_planned_share(Share::FULL, NOW)
            .record_hard_failure(hard_failure);
        let rolled_back = ramping.apply_planned_share(Share::NONE, NOW);
        assert_eq!(
            (rolled_back.version, rolled_back.hard_failures, rolled_back.last_hard_failure),
            (2, 1, Some(hard_failure))
        );
        let resumed = rolled_back.apply_planned_share(Share::FULL, NOW);
        assert_eq!(
            (resumed.version, resumed.hard_failures, resumed.last_hard_failure),
            (3, 0, None)
        );
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
        let release = ReleaseState::initial(Share::FULL)
            .record_hard_failure(hard_failure)
            .record_hard_failure(hard_failure);
        assert_eq!(
            (release.hard_failures, release.last_hard_failure, release.version),
            (2, Some(hard_failure), 0)
        );
        assert_eq!(release.share, Share::FULL);
        let after = release.apply_change(&change(0, None, Some(false)), NOW).unwrap();
        assert_eq!((after.hard_failures, after.last_hard_failure), (0, None));
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
