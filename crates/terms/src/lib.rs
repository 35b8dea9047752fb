//! The terms of the glossary as types, which all other crates use.
//!
//! Raw input is checked once, when one of these types is built. Code that receives an
//! [`InputText`], a [`Subject`] or a [`Share`] does not check it again.

pub mod by_cohort;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest integer that JavaScript keeps exactly, 2^53 - 1. A Durable Object's SQL takes its
/// integers through JavaScript.
pub const EXACT_INTEGER_MAX: u64 = (1 << 53) - 1;

/// One of the eight emotions, in the order of every array of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Happiness, love, gratitude, pride, relief, amusement.
    Joy,
    /// Grief, loss, loneliness, remorse.
    Sadness,
    /// Directed hostility, outrage, fury.
    Anger,
    /// Fright, worry or nervousness.
    Fear,
    /// The unexpected, good or bad.
    Surprise,
    /// Repulsion, physical or moral.
    Disgust,
    /// Factual text without a feeling.
    Neutral,
    /// Blocked, annoyed, fed up, disappointed, without rage.
    Frustration,
}

impl Label {
    /// All labels in the order of their indexes.
    pub const ALL: [Self; 8] = [
        Self::Joy,
        Self::Sadness,
        Self::Anger,
        Self::Fear,
        Self::Surprise,
        Self::Disgust,
        Self::Neutral,
        Self::Frustration,
    ];

    /// Index of the label in an array of scores, 0 to 7.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Lower-case name of the label in every file and response.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joy => "joy",
            Self::Sadness => "sadness",
            Self::Anger => "anger",
            Self::Fear => "fear",
            Self::Surprise => "surprise",
            Self::Disgust => "disgust",
            Self::Neutral => "neutral",
            Self::Frustration => "frustration",
        }
    }

    /// Returns the label with exactly this name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Part of the classifier that produced a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionRoute {
    /// Multinomial logistic head over the text's embedding.
    LinearHead,
    /// Nearest label prototypes by cosine of the embedding.
    Prototypes,
    /// Keyword patterns, without the encoder.
    Regex,
    /// No part ran: the text is empty or only white space, and the label is neutral.
    Empty,
}

impl PredictionRoute {
    /// All routes in the order in which they are tried. `Empty` comes last.
    pub const ALL: [Self; 4] = [Self::LinearHead, Self::Prototypes, Self::Regex, Self::Empty];

    /// Name of the route in responses, events and logs, the same for both systems.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinearHead => "linear_head",
            Self::Prototypes => "prototypes",
            Self::Regex => "regex",
            Self::Empty => "empty",
        }
    }

    /// Returns the route with exactly this name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.name() == name)
    }
}

/// Variant of the tie-break between anger and frustration that changed a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TieBreakRule {
    /// The gap between the two scores was below the standard delta.
    #[serde(rename = "tiebreak_anger_keyword_standard")]
    AngerKeywordStandard,
    /// The gap was below the extended delta, and one of the two was among the top two labels.
    #[serde(rename = "tiebreak_anger_keyword_extended")]
    AngerKeywordExtended,
}

impl TieBreakRule {
    /// All rules, the narrower gap first.
    pub const ALL: [Self; 2] = [Self::AngerKeywordStandard, Self::AngerKeywordExtended];

    /// Name of the rule in responses, events and logs, the same for both systems.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AngerKeywordStandard => "tiebreak_anger_keyword_standard",
            Self::AngerKeywordExtended => "tiebreak_anger_keyword_extended",
        }
    }

    /// Returns the rule with exactly this name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// Text to classify: UTF-8, at most [`InputText::BYTES_MAX`] bytes.
///
/// The text may be personal. So the type has no `Display` and no `Serialize`, and its `Debug`
/// prints the length only: the text cannot reach a log by accident.
///
/// ```
/// use jeffrey_terms::InputText;
/// let text = InputText::parse("my private words")?;
/// assert_eq!(format!("{text:?}"), "InputText(16 bytes)");
/// assert!(InputText::parse(&"a".repeat(InputText::BYTES_MAX + 1)).is_err());
/// # Ok::<(), jeffrey_terms::InputTextError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct InputText(String);

impl InputText {
    /// Longest accepted text, in bytes. This is far above what the encoder reads (128 tokens); it
    /// bounds the work of normalising and tokenising.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Accepts a text that is not too long.
    ///
    /// # Errors
    /// [`InputTextError`] when `text` is longer than [`InputText::BYTES_MAX`].
    pub fn parse(text: impl Into<String>) -> Result<Self, InputTextError> {
        let text = text.into();
        if text.len() > Self::BYTES_MAX {
            return Err(InputTextError { bytes: text.len() });
        }
        Ok(Self(text))
    }

    /// Returns the text itself. Callers must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InputText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputText({} bytes)", self.0.len())
    }
}

/// Refusal of a text longer than [`InputText::BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text of {bytes} bytes is above the limit of {} bytes", InputText::BYTES_MAX)]
pub struct InputTextError {
    bytes: usize,
}

/// Milliseconds since 1970-01-01T00:00Z. The shells read their clock and pass the time to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

/// Id of one response: a UUID version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseId(uuid::Uuid);

impl ResponseId {
    /// Builds the id from the time and ten random bytes; the shell supplies both.
    pub fn new(now: UnixMs, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }

    /// Returns the id of these bytes; `None` unless they are a UUID of version 7.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let uuid = uuid::Uuid::from_bytes(bytes);
        (uuid.get_version_num() == 7).then_some(Self(uuid))
    }

    /// The sixteen bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Creation time, from the first 48 bits (RFC 9562, section 5.7).
    pub fn created_at(&self) -> UnixMs {
        let [a, b, c, d, e, f, ..] = *self.as_bytes();
        UnixMs(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Sticky key of a caller, from a header, a field or a cookie.
///
/// A subject may name a person. So the type has no `Display` and no `Serialize`, and its `Debug`
/// prints the length only. Logs and stored events contain only a keyed hash of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Longest accepted subject, in bytes.
    pub const BYTES_MAX: usize = 256;

    /// Accepts a subject that is neither empty nor too long.
    ///
    /// # Errors
    /// [`SubjectError`] when `subject` is empty or longer than [`Subject::BYTES_MAX`].
    pub fn parse(subject: impl Into<String>) -> Result<Self, SubjectError> {
        let subject = subject.into();
        match subject.len() {
            0 => Err(SubjectError::Empty),
            1..=Self::BYTES_MAX => Ok(Self(subject)),
            bytes => Err(SubjectError::TooLong { bytes }),
        }
    }

    /// Returns the key itself, to hash it. Callers must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({} bytes)", self.0.len())
    }
}

/// Reason why a text is not a [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The subject is empty, so there is nothing to hash.
    #[error("subject is empty")]
    Empty,
    /// The subject is longer than [`Subject::BYTES_MAX`].
    #[error("subject of {bytes} bytes is above the limit of {} bytes", Subject::BYTES_MAX)]
    TooLong {
        /// Length of the refused subject.
        bytes: usize,
    },
}

/// Part of the traffic in basis points, 0 (no request) to 10,000 (every request).
///
/// ```
/// use jeffrey_terms::Share;
/// let share: Share = "2.5%".parse()?;
/// assert_eq!((share.basis_points(), share.to_string()), (250, "2.50%".to_owned()));
/// assert!("101%".parse::<Share>().is_err());
/// # Ok::<(), jeffrey_terms::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

impl Share {
    /// Share of 0 basis points: no subject.
    pub const NONE: Self = Self(0);
    /// Share of 10,000 basis points: every subject.
    pub const FULL: Self = Self(10_000);

    /// Builds a share from basis points.
    ///
    /// # Errors
    /// [`ShareError::AboveAll`] above 10,000.
    pub fn from_basis_points(points: u16) -> Result<Self, ShareError> {
        let share = format!("{points} basis points");
        if points > Self::FULL.0 { Err(ShareError::AboveAll { share }) } else { Ok(Self(points)) }
    }

    /// The share in basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Share {
    type Error = ShareError;

    fn try_from(points: u16) -> Result<Self, ShareError> {
        Self::from_basis_points(points)
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Parses a percentage of up to two decimals, with or without a percent sign: `10%`, `10 %`,
    /// `0.25`.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let share = || text.to_owned();
        let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |component: &str| {
            !component.is_empty() && component.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole) || !digits(decimals) {
            return Err(ShareError::NotAPercentage { share: share() });
        }
        if decimals.trim_end_matches('0').len() > 2 {
            return Err(ShareError::TooFine { share: share() });
        }
        let hundredths: u16 = format!("{decimals:0<2}")[..2].parse().unwrap_or_default();
        let points = whole.parse::<u16>().ok().and_then(|whole| whole.checked_mul(100));
        points
            .and_then(|points| points.checked_add(hundredths))
            .filter(|points| *points <= Self::FULL.0)
            .map(Self)
            .ok_or_else(|| ShareError::AboveAll { share: share() })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

/// Reason why a value is not a [`Share`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The share is above 100 %.
    #[error("share {share} is above 100%")]
    AboveAll {
        /// The share as given.
        share: String,
    },
    /// The text is not a number in percent.
    #[error("share `{share}` is not a percentage such as 10% or 0.25%")]
    NotAPercentage {
        /// The share as given.
        share: String,
    },
    /// The share is finer than one basis point.
    #[error("share {share} is finer than a hundredth of a percent")]
    TooFine {
        /// The share as given.
        share: String,
    },
}

/// Group of a release that a request is assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// Assigned to the new release.
    Canary,
    /// Assigned to the legacy system.
    Stable,
}

impl Cohort {
    /// Lower-case name of the cohort in every file and response.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
        }
    }

    /// Returns the cohort with exactly this name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Canary, Self::Stable].into_iter().find(|cohort| cohort.name() == name)
    }
}

impl fmt::Display for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_order_and_names() {
        for (index, label) in Label::ALL.into_iter().enumerate() {
            assert_eq!(label.index(), index);
            assert_eq!(Label::from_name(label.name()), Some(label));
            let json = serde_json::to_string(&label).unwrap();
            assert_eq!(json, format!("\"{}\"", label.name()));
        }
        assert_eq!(Label::from_name("Joy"), None);
    }

    #[test]
    fn the_name_of_a_route_a_rule_or_a_cohort_is_its_json_and_leads_back_to_it() {
        let json_of = |name: &str| format!("\"{name}\"");
        for route in PredictionRoute::ALL {
            assert_eq!(PredictionRoute::from_name(route.name()), Some(route));
            assert_eq!(serde_json::to_string(&route).unwrap(), json_of(route.name()));
            assert_eq!(
                serde_json::from_str::<PredictionRoute>(&json_of(route.name())).unwrap(),
                route
            );
        }
        for rule in TieBreakRule::ALL {
            assert_eq!(TieBreakRule::from_name(rule.name()), Some(rule));
            assert_eq!(serde_json::to_string(&rule).unwrap(), json_of(rule.name()));
            assert_eq!(serde_json::from_str::<TieBreakRule>(&json_of(rule.name())).unwrap(), rule);
        }
        for cohort in [Cohort::Canary, Cohort::Stable] {
            assert_eq!(Cohort::from_name(cohort.name()), Some(cohort));
            assert_eq!(serde_json::to_string(&cohort).unwrap(), json_of(cohort.name()));
        }
        assert!(serde_json::from_str::<PredictionRoute>("\"other\"").is_err());
    }

    #[test]
    fn a_text_of_exactly_the_limit_is_taken() {
        assert!(InputText::parse("é".repeat(InputText::BYTES_MAX / 2)).is_ok());
        let error = InputText::parse("a".repeat(65_537)).unwrap_err();
        assert_eq!(error.to_string(), "text of 65537 bytes is above the limit of 65536 bytes");
    }

    #[test]
    fn a_response_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let early = ResponseId::new(UnixMs(1_645_557_742_000), [0xff; 10]).to_string();
        let late = ResponseId::new(UnixMs(1_645_557_742_001), [0; 10]).to_string();
        // The time is that of RFC 9562's example, appendix A.6.
        assert!(early.starts_with("017f22e2-79b0-7"), "{early}");
        assert!(early < late);
        let id = ResponseId::new(UnixMs(1_645_557_742_000), [7; 10]);
        assert_eq!(id.created_at(), UnixMs(1_645_557_742_000));
        assert_eq!(ResponseId::from_bytes(*id.as_bytes()), Some(id));
        assert_eq!(ResponseId::from_bytes([0; 16]), None);
    }

    #[test]
    fn a_share_is_read_to_the_basis_point_and_nothing_else_is() {
        let rows = [
            ("0%", Ok(0)),
            ("10%", Ok(1_000)),
            (" 10 % ", Ok(1_000)),
            ("10", Ok(1_000)),
            ("0.25%", Ok(25)),
            ("0.5%", Ok(50)),
            ("99.99%", Ok(9_999)),
            ("99.9900%", Ok(9_999)),
            ("100.00%", Ok(10_000)),
            ("100.01%", Err("share 100.01% is above 100%")),
            ("700%", Err("share 700% is above 100%")),
            ("99999999999%", Err("share 99999999999% is above 100%")),
            ("0.001%", Err("share 0.001% is finer than a hundredth of a percent")),
            ("", Err("share `` is not a percentage such as 10% or 0.25%")),
            ("%", Err("share `%` is not a percentage such as 10% or 0.25%")),
            ("-1%", Err("share `-1%` is not a percentage such as 10% or 0.25%")),
            ("1e1%", Err("share `1e1%` is not a percentage such as 10% or 0.25%")),
            ("1.%", Err("share `1.%` is not a percentage such as 10% or 0.25%")),
            ("10%%", Err("share `10%%` is not a percentage such as 10% or 0.25%")),
            ("ten", Err("share `ten` is not a percentage such as 10% or 0.25%")),
        ];
        for (text, expected) in rows {
            let actual = text.parse::<Share>().map(Share::basis_points);
            let actual = actual.map_err(|error| error.to_string());
            assert_eq!(actual, expected.map_err(str::to_owned), "{text:?}");
        }
        for points in 0..=10_000 {
            let share = Share::from_basis_points(points).unwrap();
            assert_eq!(share.to_string().parse(), Ok(share));
        }
        assert!(Share::from_basis_points(10_001).is_err());
    }

    #[test]
    fn a_subject_never_shows_itself() {
        let subject = Subject::parse("alice@example.org").unwrap();
        assert_eq!(format!("{subject:?}"), "Subject(17 bytes)");
        let error = Subject::parse("é".repeat(129)).unwrap_err().to_string();
        assert_eq!(error, "subject of 258 bytes is above the limit of 256 bytes");
        assert_eq!(Subject::parse(""), Err(SubjectError::Empty));
    }
}
