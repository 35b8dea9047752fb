//! The model worker's variables, read once per request and never half: what is refused is named.

use super::cors::{OriginError, Origins};
use jeffrey_classifier::{SettingError, TieBreak};

/// The variables as the shell found them; `None` where one is not set.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// [`Origins::VARIABLE`]
    pub allowed_origins: Option<String>,
    /// [`Settings::FAULT_INJECTION`]
    pub fault_injection: Option<String>,
    /// [`TieBreak::ENABLED`]
    pub tie_break_enabled: Option<String>,
    /// [`TieBreak::DELTA`]
    pub tie_break_delta: Option<String>,
    /// [`TieBreak::EXTENDED_DELTA`]
    pub tie_break_extended_delta: Option<String>,
}

/// What the variables say. A refused one leaves its default here and a line in `faults`; nothing is
/// classified until it is corrected.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(super) tie_break: TieBreak,
    pub(super) origins: Origins,
    pub(super) fault_injection: bool,
    pub(super) faults: Vec<SettingFault>,
}

/// A variable outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingFault {
    /// The switch for planted faults is neither `on` nor `off`.
    #[error("JEFFREY_FAULT_INJECTION of `{value}` is neither `on` nor `off`")]
    FaultInjection {
        /// The value seen, cut to 40 characters.
        value: String,
    },
    /// `ALLOWED_ORIGINS`
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// One of the tie-break's.
    #[error(transparent)]
    TieBreak(#[from] SettingError),
}

impl Settings {
    /// Name of the switch that opens `POST /v1/fault/panic`, for tests only: `on` or `off`.
    pub const FAULT_INJECTION: &'static str = "JEFFREY_FAULT_INJECTION";

    /// Reads all variables and keeps every fault found.
    pub fn parse(variables: &Variables) -> Self {
        let mut settings = Self::default();
        let tie_break = TieBreak::parse(
            variables.tie_break_enabled.as_deref(),
            variables.tie_break_delta.as_deref(),
            variables.tie_break_extended_delta.as_deref(),
        );
        match tie_break {
            Ok(tie_break) => settings.tie_break = tie_break,
            Err(error) => settings.faults.push(error.into()),
        }
        match Origins::parse(variables.allowed_origins.as_deref()) {
            Ok(origins) => settings.origins = origins,
            Err(error) => settings.faults.push(error.into()),
        }
        match variables.fault_injection.as_deref().map(str::trim) {
            None | Some("" | "off") => {}
            Some("on") => settings.fault_injection = true,
            Some(other) => {
                let value = other.chars().take(40).collect();
                settings.faults.push(SettingFault::FaultInjection { value });
            }
        }
        settings
    }

    /// All faults in one line; `None` when there are none.
    pub(super) fn refusal(&self) -> Option<String> {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_the_default_and_every_fault_is_reported_at_once() {
        assert_eq!(Settings::parse(&Variables::default()).refusal(), None);
        let variables = Variables {
            allowed_origins: Some("example.com".into()),
            fault_injection: Some("yes".into()),
            tie_break_delta: Some("1.5".into()),
            ..Variables::default()
        };
        let refusal = Settings::parse(&variables).refusal().unwrap();
        for part in [
            "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1",
            "ALLOWED_ORIGINS: `example.com`",
            "JEFFREY_FAULT_INJECTION of `yes` is neither `on` nor `off`",
        ] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
