//! The glossary as types: the words that every other module uses.
//!
//! Loose input is checked here, once. What a `Text` or a `Label` is, is not asked again after it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the eight emotions, in the order that every array of scores keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Happiness, love, gratitude, pride, relief, amusement.
    Joy,
    /// Grief, loss, loneliness, remorse.
    Sadness,
    /// Directed hostility, outrage, fury.
    Anger,
    /// Fright, worry, nervousness.
    Fear,
    /// The unexpected, good or bad.
    Surprise,
    /// Repulsion, physical or moral.
    Disgust,
    /// Factual, no feeling.
    Neutral,
    /// Blocked, annoyed, fed up, disappointed, without rage.
    Frustration,
}

impl Label {
    /// All labels, in their order.
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

    /// The label's place in an array of scores, 0 to 7.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lower-case name used in every file and answer.
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

    /// The label with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text to classify: UTF-8, at most [`Text::BYTES_MAX`] bytes.
///
/// Somebody's words: it has no `Display` and no `Serialize`, and its `Debug` prints the length only,
/// so that it cannot reach a log by accident.
///
/// ```
/// use jeffrey_edge::terms::Text;
/// let text = Text::parse("my private words")?;
/// assert_eq!(format!("{text:?}"), "Text(16 bytes)");
/// assert!(Text::parse(&"a".repeat(Text::BYTES_MAX + 1)).is_err());
/// # Ok::<(), jeffrey_edge::terms::TextError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The longest text, in bytes. Far above what the encoder reads (128 tokens); it bounds the
    /// work of normalising and tokenising.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Checks the length.
    ///
    /// # Errors
    /// [`TextError`] when `text` is longer than [`Text::BYTES_MAX`].
    pub fn parse(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.len() > Self::BYTES_MAX {
            return Err(TextError { bytes: text.len() });
        }
        Ok(Self(text))
    }

    /// The words themselves, for the classifier and the mask only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

/// A text longer than [`Text::BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text of {bytes} bytes is above the limit of {} bytes", Text::BYTES_MAX)]
pub struct TextError {
    bytes: usize,
}

/// Milliseconds since 1970-01-01T00:00Z. Shells read it from their clock; the core is handed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub u64);

/// The id of one answer: a UUID version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerId(uuid::Uuid);

impl AnswerId {
    /// Builds the id from the time and ten random bytes, both handed in by a shell.
    pub fn new(now: UnixMs, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }
}

impl fmt::Display for AnswerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
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
    fn a_text_of_exactly_the_limit_is_taken() {
        assert!(Text::parse("é".repeat(Text::BYTES_MAX / 2)).is_ok());
        let error = Text::parse("a".repeat(65_537)).unwrap_err();
        assert_eq!(error.to_string(), "text of 65537 bytes is above the limit of 65536 bytes");
    }

    #[test]
    fn an_answer_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let early = AnswerId::new(UnixMs(1_645_557_742_000), [0xff; 10]).to_string();
        let late = AnswerId::new(UnixMs(1_645_557_742_001), [0; 10]).to_string();
        // The time of RFC 9562's example, appendix A.6.
        assert!(early.starts_with("017f22e2-79b0-7"), "{early}");
        assert!(early < late);
    }
}
