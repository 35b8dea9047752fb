//! Where a release stands, and how a person may change it.
//!
//! The rollout object keeps one [`Standing`] for each release and calls [`Standing::changed`]; nothing
//! is decided in the object. A change names the version it was made for, so that of two people who saw
//! the same standing the second is told (optimistic concurrency).

use serde::{Deserialize, Serialize};

use jeffrey_terms::{Share, ShareError, UnixMs};

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Counts the changes; 0 before the first.
    pub version: u64,
    /// The canary's share.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Whether the release was killed: nobody is canary, whatever the share.
    pub killed: bool,
    /// When it was last changed; 0 when never.
    #[serde(rename = "changed_ms")]
    pub changed: UnixMs,
    /// How often an isolate opened its breaker since the last change.
    pub breaches: u64,
    /// What the last breach was.
    pub last_breach: Option<Breach>,
}

/// Something that stops a canary at once, as an isolate reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// What happened.
    pub kind: BreachKind,
    /// When, by the isolate's clock.
    #[serde(rename = "at_ms")]
    pub at: UnixMs,
}

/// What no canary may do even once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// An embedding whose size is not the head's or the prototypes'.
    DimensionMismatch,
    /// A score that is no finite number from 0 to 1.
    NonFinite,
    /// The model worker ended instead of answering.
    Trap,
}

impl BreachKind {
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
pub struct Change {
    /// The version that the change was made for.
    pub version: u64,
    /// A percentage such as `10%`.
    pub share: Option<String>,
    /// Whether nobody is to be canary, whatever the share.
    pub killed: Option<bool>,
}

/// A change that is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Somebody was faster.
    #[error("the change is for version {given}, the release is at version {current}")]
    Conflict {
        /// The version given.
        given: u64,
        /// The version in force.
        current: u64,
    },
    /// A plan moves the share.
    #[error(
        "a plan moves the share: `jeffrey rollout` pauses it, takes it back or ends it; `killed` closes at once"
    )]
    Planned,
    /// Neither a share nor `killed`.
    #[error("the change holds neither `share` nor `killed`")]
    Empty,
    /// The share is none.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl Standing {
    /// A release that nobody has touched.
    pub const fn initial(share: Share) -> Self {
        Self {
            version: 0,
            share,
            killed: false,
            changed: UnixMs(0),
            breaches: 0,
            last_breach: None,
        }
    }

    /// The standing after a change; breaches are counted anew.
    ///
    /// # Errors
    /// [`ChangeError`] says why nothing is changed.
    pub fn changed(&self, change: &Change, now: UnixMs) -> Result<Self, ChangeError> {
        if change.version != self.version {
            let (given, current) = (change.version, self.version);
            return Err(ChangeError::Conflict { given, current });
        }
        if change.share.is_none() && change.killed.is_none() {
            return Err(ChangeError::Empty);
        }
        let share = change.share.as_deref().map(str::parse).transpose()?;
        Ok(Self {
            version: self.version + 1,
            share: share.unwrap_or(self.share),
            killed: change.killed.unwrap_or(self.killed),
            changed: now,
            breaches: 0,
            last_breach: None,
        })
    }

    /// The standing after a plan has moved the share. Breaches are counted anew when it rises; what took it back stays.
    pub fn moved(&self, share: Share, now: UnixMs) -> Self {
        let rises = share > self.share;
        Self {
            version: self.version + 1,
            share,
            changed: now,
            breaches: if rises { 0 } else { self.breaches },
            last_breach: self.last_breach.filter(|_| !rises),
            ..self.clone()
        }
    }

    /// The standing after an isolate's report. The share stays: an isolate speaks for itself.
    pub fn reported(&self, breach: Breach) -> Self {
        let breaches = self.breaches.saturating_add(1);
        Self { breaches, last_breach: Some(breach), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000);

    fn change(version: u64, share: Option<&str>, killed: Option<bool>) -> Change {
        Change { version, share: share.map(str::to_owned), killed }
    }

    #[test]
    fn what_took_it_back_stays_until_it_rises_again() {
        let breach = Breach { kind: BreachKind::Trap, at: NOW };
        let flows = Standing::initial(Share::NONE).moved(Share::ALL, NOW).reported(breach);
        let back = flows.moved(Share::NONE, NOW);
        assert_eq!((back.version, back.breaches, back.last_breach), (2, 1, Some(breach)));
        let again = back.moved(Share::ALL, NOW);
        assert_eq!((again.version, again.breaches, again.last_breach), (3, 0, None));
    }

    #[test]
    fn a_change_keeps_what_it_leaves_out_and_counts_up() {
        let first = Standing::initial(Share::NONE);
        let second = first.changed(&change(0, Some("10%"), None), NOW).unwrap();
        assert_eq!((second.version, second.share.basis_points(), second.killed), (1, 1_000, false));
        let third = second.changed(&change(1, None, Some(true)), NOW).unwrap();
        assert_eq!((third.version, third.share.basis_points(), third.killed), (2, 1_000, true));
    }

    #[test]
    fn of_two_who_saw_the_same_the_second_is_told() {
        let first = Standing::initial(Share::NONE);
        let second = first.changed(&change(0, Some("10%"), None), NOW).unwrap();
        let late = second.changed(&change(0, Some("20%"), None), NOW);
        assert_eq!(late, Err(ChangeError::Conflict { given: 0, current: 1 }));
    }

    #[test]
    fn a_change_of_nothing_or_to_no_share_is_refused() {
        let first = Standing::initial(Share::NONE);
        assert_eq!(first.changed(&change(0, None, None), NOW), Err(ChangeError::Empty));
        let refused = first.changed(&change(0, Some("101%"), None), NOW).unwrap_err();
        assert_eq!(refused.to_string(), "share 101% is above 100%");
    }

    #[test]
    fn a_breach_is_kept_until_somebody_changes_the_release() {
        let breach = Breach { kind: BreachKind::Trap, at: NOW };
        let standing = Standing::initial(Share::ALL).reported(breach).reported(breach);
        assert_eq!(
            (standing.breaches, standing.last_breach, standing.version),
            (2, Some(breach), 0)
        );
        assert_eq!(standing.share, Share::ALL);
        let after = standing.changed(&change(0, None, Some(false)), NOW).unwrap();
        assert_eq!((after.breaches, after.last_breach), (0, None));
    }

    #[test]
    fn it_is_stored_and_read_back_the_same() {
        let breach = Breach { kind: BreachKind::NonFinite, at: NOW };
        let standing = Standing::initial("12.5%".parse().unwrap()).reported(breach);
        let json = serde_json::to_string(&standing).unwrap();
        assert!(json.contains("\"share_basis_points\":1250"), "{json}");
        assert_eq!(serde_json::from_str::<Standing>(&json).unwrap(), standing);
        let above = json.replace("1250", "10001");
        assert!(serde_json::from_str::<Standing>(&above).is_err());
    }
}
