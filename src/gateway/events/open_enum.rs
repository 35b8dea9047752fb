//! Fields of a stored event that name a variant of an enum, read once where the event is read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Value of an open enum, as Protocol Buffers call a field that may hold a value which the reader
/// does not know.
///
/// A newer version of the gateway may have written the event, so any value is accepted. The event
/// stays readable, and each reader says what an unrecognized value means to it. A field that may be
/// null is an `Option<OpenEnum<T>>`: there, null is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenEnum<T> {
    /// Value that this version knows.
    Known(T),
    /// Any other value; its text is not kept.
    Unrecognized,
}

/// Name that stands for every unrecognized value in metrics and logs. No known value has this name,
/// and there is only one, so the number of series stays bounded whatever an event holds.
pub const UNRECOGNIZED_NAME: &str = "other";

impl<T> OpenEnum<T> {
    /// Returns the value; `None` if it is unrecognized.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unrecognized => None,
        }
    }

    /// Returns the name that `name_of` gives the value; [`UNRECOGNIZED_NAME`] if it is unrecognized.
    pub fn name(self, name_of: impl FnOnce(T) -> &'static str) -> &'static str {
        self.known().map_or(UNRECOGNIZED_NAME, name_of)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OpenEnum<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Box::<RawValue>::deserialize(deserializer)?;
        let known = serde_json::from_slice(value.get().as_bytes());
        Ok(known.map_or(Self::Unrecognized, Self::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::upstream::model::FallbackReason;
    use crate::rollout::assignment::AssignmentReason;
    use crate::rollout::release_state::HardFailureKind;
    use jeffrey_terms::{Cohort, Label, PredictionRoute, TieBreakRule};

    /// Asserts that each name is read into its value, and that the name of no value stands for all
    /// unrecognized ones.
    fn assert_read_back<T>(values: &[T], name_of: impl Fn(T) -> &'static str)
    where
        T: Copy + std::fmt::Debug + PartialEq + DeserializeOwned,
    {
        for value in values {
            let name = name_of(*value);
            let json = serde_json::Value::from(name);
            assert_eq!(
                serde_json::from_value::<OpenEnum<T>>(json).unwrap(),
                OpenEnum::Known(*value)
            );
            assert_eq!(OpenEnum::Known(*value).name(&name_of), name);
            assert_ne!(name, UNRECOGNIZED_NAME);
        }
    }

    #[test]
    fn every_variant_of_every_enum_is_read_back_from_its_name() {
        assert_read_back(&AssignmentReason::ALL, AssignmentReason::name);
        assert_read_back(&FallbackReason::ALL, FallbackReason::name);
        assert_read_back(&HardFailureKind::ALL, HardFailureKind::name);
        assert_read_back(&PredictionRoute::ALL, PredictionRoute::name);
        assert_read_back(&TieBreakRule::ALL, TieBreakRule::name);
        assert_read_back(&Label::ALL, Label::name);
        assert_read_back(&[Cohort::Canary, Cohort::Stable], Cohort::name);
    }

    #[test]
    fn any_other_json_value_is_unrecognized_and_null_is_none_in_an_option() {
        for json in
            ["\"from_the_future\"", "\"Joy\"", "\"\"", "7", "true", "[\"joy\"]", "{\"joy\":1}"]
        {
            let label: Option<OpenEnum<Label>> = serde_json::from_str(json).unwrap();
            assert_eq!(label, Some(OpenEnum::Unrecognized), "{json}");
            let fallback: OpenEnum<FallbackReason> = serde_json::from_str(json).unwrap();
            assert_eq!(fallback, OpenEnum::Unrecognized, "{json}");
            assert_eq!(fallback.name(FallbackReason::name), "other");
        }
        assert_eq!(serde_json::from_str::<Option<OpenEnum<Label>>>("null").unwrap(), None);
        assert!(
            serde_json::from_str::<OpenEnum<Label>>("{").is_err(),
            "what is no JSON is an error"
        );
    }
}
