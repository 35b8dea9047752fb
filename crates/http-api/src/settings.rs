//! Variables of the model worker, parsed on each request.
//!
//! Parsing never fails. An invalid variable leaves its default and an entry in `faults`; `/health`
//! names every fault, and no text is classified until all are corrected.

use super::cors::{AllowedOrigins, OriginError};
use jeffrey_classifier::{TieBreak, TieBreakSettingError};

/// The variables as the shell found them; `None` if one is not set.
#[derive(Clone, Debug, Default)]
pub struct ModelWorkerVariables {
    /// Value of the variable [`AllowedOrigins::VARIABLE`].
    pub allowed_origins: Option<String>,
    /// Value of the variable [`ModelWorkerSettings::FAULT_INJECTION_VARIABLE`].
    pub fault_injection: Option<String>,
    /// Value of the variable [`TieBreak::ENABLED_VARIABLE`].
    pub tie_break_enabled: Option<String>,
    /// Value of the variable [`TieBreak::DELTA_VARIABLE`].
    pub tie_break_delta: Option<String>,
    /// Value of the variable [`TieBreak::EXTENDED_DELTA_VARIABLE`].
    pub tie_break_extended_delta: Option<String>,
}

/// Parsed settings. An invalid variable leaves its default here and an entry in `faults`; no text
/// is classified until it is corrected.
#[derive(Clone, Debug, Default)]
pub struct ModelWorkerSettings {
    pub(super) tie_break: TieBreak,
    pub(super) origins: AllowedOrigins,
    pub(super) fault_injection: bool,
    pub(super) faults: Vec<ModelWorkerSettingError>,
}

/// A variable is outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelWorkerSettingError {
    /// The switch for fault injection is neither `on` nor `off`.
    #[error("JEFFREY_FAULT_INJECTION of `{value}` is neither `on` nor `off`")]
    FaultInjection {
        /// The value seen, cut to 40 characters.
        value: String,
    },
    /// The variable `ALLOWED_ORIGINS` is invalid.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// A variable of the tie-break is invalid.
    #[error(transparent)]
    TieBreak(#[from] TieBreakSettingError),
}

impl ModelWorkerSettings {
    /// Name of the variable that enables `POST /v1/fault/panic`, for tests only: `on` or `off`.
    pub const FAULT_INJECTION_VARIABLE: &'static str = "JEFFREY_FAULT_INJECTION";

    /// Parses all variables and keeps every fault.
    pub fn parse(variables: &ModelWorkerVariables) -> Self {
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
        match AllowedOrigins::parse(variables.allowed_origins.as_deref()) {
            Ok(origins) => settings.origins = origins,
            Err(error) => settings.faults.push(error.into()),
        }
        match variables.fault_injection.as_deref().map(str::trim) {
            None | Some("" | "off") => {}
            Some("on") => settings.fault_injection = true,
            Some(other) => {
                let value = other.chars().take(40).collect();
                settings.faults.push(ModelWorkerSettingError::FaultInjection { value });
            }
        }
        settings
    }

    /// Returns all faults in one line; `None` if there is no fault.
    pub(super) fn faults_line(&self) -> Option<String> {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_the_default_and_every_fault_is_reported_at_once() {
        assert_eq!(
            ModelWorkerSettings::parse(&ModelWorkerVariables::default()).faults_line(),
            None
        );
        let variables = ModelWorkerVariables {
            allowed_origins: Some("example.com".into()),
            fault_injection: Some("yes".into()),
            tie_break_delta: Some("1.5".into()),
            ..ModelWorkerVariables::default()
        };
        let refusal = ModelWorkerSettings::parse(&variables).faults_line().unwrap();
        for fault in [
            "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1",
            "ALLOWED_ORIGINS: `example.com`",
            "JEFFREY_FAULT_INJECTION of `yes` is neither `on` nor `off`",
        ] {
            assert!(refusal.contains(fault), "{refusal}");
        }
    }
}
