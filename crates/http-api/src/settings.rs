//! Variables of the model worker, parsed on each request.
//!
//! Parsing never fails. An invalid variable leaves its default and an entry in `faults`; `/health`
//! names every fault, and no text is classified until all are corrected.

use super::cors::{AllowedOrigins, OriginError};
use jeffrey_classifier::{TieBreak, TieBreakSettingError};
use jeffrey_http_core::settings::{VariableReader, WorkerVariables};
use jeffrey_http_core::worker_settings;

worker_settings! {
    /// Variables of the model worker, parsed one by one.
    struct ModelWorkerValues, reasons ModelWorkerSettingError, errors faults: ModelWorkerSettingError;
    settings {
        /// Origins whose pages may read responses.
        origins: AllowedOrigins = ModelWorker ALLOWED_ORIGINS, "",
            |origins| Ok(AllowedOrigins::parse(Some(origins))?),
            "origins whose pages may read responses (CORS): `*`, or a comma-separated list of `scheme://host` or `scheme://host:port` as browsers send it. Any other form is refused because it would never match";
        /// Whether `POST /v1/fault/panic` exists, for tests only.
        fault_injection: bool = ModelWorker JEFFREY_FAULT_INJECTION, "off", parse_fault_injection,
            "`on` opens `POST /v1/fault/panic`, which panics with the body in its message. For tests only: in production anyone could end the instance";
        /// Largest number of tokens of one request, over all its texts; `None` for no limit.
        tokens_max: Option<usize> = ModelWorker TOKENS_MAX, "", parse_tokens_max,
            "largest number of tokens of one request, over all its texts, 1 to 1,000,000; more is refused with 413 before the encoder reads a text. `wrangler.public-api.toml` sets 512";
    }
    /// Texts of the tie-break's variables, which are parsed together; `None` if one is not set.
    group tie_break: TieBreakTexts in ModelWorker {
        enabled = JEFFREY_TIEBREAK_ENABLED, "true", keep_text,
            "`true` or `false`: raise anger above frustration in a near tie if the text expresses anger explicitly";
        delta = JEFFREY_TIEBREAK_DELTA, "0.05", keep_text,
            "gap between the two scores below which the tie-break applies, 0 to 1";
        extended_delta = JEFFREY_TIEBREAK_EXTENDED_DELTA, "", keep_text,
            "gap below which it applies if anger or frustration is among the top two, from the delta to 1; if unset, 0.15 or the delta, whichever is larger";
    }
}

/// Texts of the tie-break's variables; `None` for one that is unset and has no fixed default.
#[derive(Clone, Debug)]
struct TieBreakTexts {
    enabled: Option<String>,
    delta: Option<String>,
    extended_delta: Option<String>,
}

/// Parsed settings. An invalid variable leaves its default here and an entry in `faults`; no text
/// is classified until it is corrected.
#[derive(Clone, Debug, Default)]
pub struct ModelWorkerSettings {
    pub(super) tie_break: TieBreak,
    pub(super) origins: AllowedOrigins,
    pub(super) fault_injection: bool,
    pub(super) tokens_max: Option<usize>,
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
    /// The limit of tokens is no number, or outside its range.
    #[error("TOKENS_MAX of `{value}` is not a whole number from 1 to {TOKENS_MAX_LIMIT}")]
    TokensMax {
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

impl From<(&'static str, Self)> for ModelWorkerSettingError {
    /// Drops the name: each error of this Worker names its variable itself.
    fn from((_, error): (&'static str, Self)) -> Self {
        error
    }
}

fn keep_text(value: &str) -> Result<Option<String>, ModelWorkerSettingError> {
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn parse_fault_injection(value: &str) -> Result<bool, ModelWorkerSettingError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => {
            let value = other.chars().take(40).collect();
            Err(ModelWorkerSettingError::FaultInjection { value })
        }
    }
}

/// Largest value of `TOKENS_MAX`, which no request reaches: a batch has up to 32 texts, and the
/// encoder reads at most a few hundred tokens of each.
const TOKENS_MAX_LIMIT: usize = 1_000_000;

fn parse_tokens_max(value: &str) -> Result<Option<usize>, ModelWorkerSettingError> {
    if value.is_empty() {
        return Ok(None);
    }
    let tokens = value.parse().ok().filter(|tokens| (1..=TOKENS_MAX_LIMIT).contains(tokens));
    tokens.map(Some).ok_or_else(|| {
        let value = value.chars().take(40).collect();
        ModelWorkerSettingError::TokensMax { value }
    })
}

impl ModelWorkerSettings {
    /// Parses all variables and keeps every fault.
    pub fn parse(variables: &WorkerVariables) -> Self {
        let values = ModelWorkerValues::read(VariableReader::new(variables, Vec::new()));
        let ModelWorkerValues { origins, fault_injection, tokens_max, mut faults, .. } = values;
        let TieBreakTexts { enabled, delta, extended_delta } = &values.tie_break;
        let tie_break =
            TieBreak::parse(enabled.as_deref(), delta.as_deref(), extended_delta.as_deref());
        let tie_break = tie_break.unwrap_or_else(|error| {
            faults.push(error.into());
            TieBreak::default()
        });
        Self { tie_break, origins, fault_injection, tokens_max, faults }
    }

    /// Returns all faults in one line; `None` if there is no fault.
    pub(super) fn faults_line(&self) -> Option<String> {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Parses variables by name and value.
    pub(crate) fn parse(variables: &[(&'static str, &str)]) -> ModelWorkerSettings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        ModelWorkerSettings::parse(&WorkerVariables(variables.collect()))
    }

    #[test]
    fn nothing_set_is_the_default_and_every_fault_is_reported_at_once() {
        let unset = parse(&[]);
        assert_eq!(unset.faults_line(), None);
        assert_eq!((unset.tie_break, unset.origins), Default::default());
        assert_eq!((unset.fault_injection, unset.tokens_max), (false, None));
        let refusal = parse(&[
            ("ALLOWED_ORIGINS", "example.com"),
            ("JEFFREY_FAULT_INJECTION", "yes"),
            ("JEFFREY_TIEBREAK_DELTA", "1.5"),
            ("TOKENS_MAX", "many"),
        ]);
        let refusal = refusal.faults_line().unwrap();
        for fault in [
            "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1",
            "ALLOWED_ORIGINS: `example.com`",
            "JEFFREY_FAULT_INJECTION of `yes` is neither `on` nor `off`",
            "TOKENS_MAX of `many` is not a whole number from 1 to 1000000",
        ] {
            assert!(refusal.contains(fault), "{refusal}");
        }
    }

    #[test]
    fn a_token_limit_is_a_whole_number_in_its_range_or_unset() {
        for (value, expected) in [("", None), ("1", Some(1)), ("512", Some(512))] {
            let settings = parse(&[("TOKENS_MAX", value)]);
            assert_eq!((settings.tokens_max, settings.faults_line()), (expected, None), "{value}");
        }
        for value in ["0", "-1", "1.5", "1000001", "off"] {
            let settings = parse(&[("TOKENS_MAX", value)]);
            assert_eq!(settings.tokens_max, None, "{value}");
            assert!(settings.faults_line().is_some(), "{value}");
        }
    }

    #[test]
    fn a_larger_delta_raises_an_extended_delta_that_is_not_set() {
        assert_eq!(parse(&[("JEFFREY_TIEBREAK_DELTA", "0.5")]).faults_line(), None);
        let both = [("JEFFREY_TIEBREAK_DELTA", "0.5"), ("JEFFREY_TIEBREAK_EXTENDED_DELTA", "0.15")];
        let refusal = parse(&both).faults_line().unwrap();
        assert!(refusal.starts_with("JEFFREY_TIEBREAK_EXTENDED_DELTA of `0.15`"), "{refusal}");
    }

    #[test]
    fn the_tie_break_is_read_from_the_variables_that_its_errors_name() {
        for name in [
            TieBreak::ENABLED_VARIABLE,
            TieBreak::DELTA_VARIABLE,
            TieBreak::EXTENDED_DELTA_VARIABLE,
        ] {
            let refusal = parse(&[(name, "none")]).faults_line().unwrap();
            assert!(refusal.starts_with(name), "{refusal}");
            assert!(VARIABLES.contains(&name), "{name}");
        }
    }
}
