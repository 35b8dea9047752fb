//! Turns text into tokens exactly as the training does (`training/text.py`).
//!
//! There are two steps. [`normalise_text`] replaces URLs by `[URL]` and folds white space; emoji,
//! case and slang stay, because they carry emotion. Then the Unigram tokenizer of the base model
//! runs, from the same library that the training uses. `tests/golden.rs` compares the ids with
//! Python's.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{Precompiled, Replace, Sequence};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper};

use super::files::{ModelLoadError, ModelManifest, parse_json};

/// Token ids for the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenizedText {
    /// Ids `[n]`, 2 to `max_tokens`: begin mark, pieces, end mark.
    pub(super) ids: Vec<i64>,
    /// True when pieces were cut off.
    pub(super) truncated: bool,
}

pub(super) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
}

/// The parts of `tokenizer.json` that are used. The begin and end marks are added by this module.
///
/// The library does not read the file as a whole, because a whole tokenizer no longer gives access
/// to its model.
#[derive(Deserialize)]
struct TokenizerFile {
    added_tokens: Vec<AddedToken>,
    normalizer: NormalizerSequence,
    pre_tokenizer: PreTokenizerWrapper,
    model: Unigram,
}

/// Sequence of normalisers of the base model.
///
/// The library's own reader accepts every kind, and it copies and writes the character map three
/// times: a fifth of the loading time.
#[derive(Deserialize)]
struct NormalizerSequence {
    normalizers: Vec<NormalizerStep>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum NormalizerStep {
    Precompiled(Precompiled),
    Replace(Replace),
}

/// Ids of `<s>` and `</s>` in the vocabulary of the base model. `from_bytes` checks both.
const BEGIN: i64 = 0;
const END: i64 = 2;

impl Tokenizer {
    pub(super) fn from_bytes(
        bytes: &[u8],
        manifest: &ModelManifest,
    ) -> Result<Self, ModelLoadError> {
        let to_error = |reason: String| ModelLoadError::Tokenizer { reason };
        let file: TokenizerFile = parse_json("tokenizer.json", bytes)?;
        let mut model = file.model;
        // The library caches up to 10,000 words with their pieces, which are words of earlier
        // requests. The cache is disabled, so that nothing of a text is kept.
        model.resize_cache(0);
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(file.pre_tokenizer));
        let normalizers =
            file.normalizer.normalizers.into_iter().map(|normalizer| match normalizer {
                NormalizerStep::Precompiled(map) => NormalizerWrapper::Precompiled(map),
                NormalizerStep::Replace(pattern) => NormalizerWrapper::Replace(pattern),
            });
        inner
            .with_normalizer(Some(Sequence::new(normalizers.collect())))
            .and_then(|inner| inner.add_tokens(file.added_tokens))
            .map_err(|error| to_error(error.to_string()))?;
        let pieces = inner.get_vocab_size(true);
        if pieces != manifest.vocabulary_size {
            let expected = manifest.vocabulary_size;
            let file = "tokenizer.json";
            return Err(ModelLoadError::LengthMismatch {
                file,
                what: "vocabulary",
                seen: pieces,
                expected,
            });
        }
        for (piece, id) in [("<s>", BEGIN), ("</s>", END)] {
            if inner.token_to_id(piece).map(i64::from) != Some(id) {
                return Err(to_error(format!("the id of `{piece}` is not {id}")));
            }
        }
        Ok(Self { inner, max_tokens: manifest.max_tokens })
    }

    /// Returns the piece of an id, as the vocabulary writes it. `▁` begins a word.
    pub(super) fn piece(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// Returns the tokens of a normalised text; `None` when the library fails.
    pub(super) fn encode(&self, normalised: &str) -> Option<TokenizedText> {
        // Pieces never span a space, so the first words nearly always contain all that the encoder
        // can read. This bounds the work on a long text. Words can normalise to nothing (control
        // characters); then the whole text is read.
        let prefix = normalised
            .match_indices(' ')
            .nth(self.max_tokens)
            .map(|(index, _)| &normalised[..index]);
        let encoding = match prefix.map(|prefix| self.inner.encode_fast(prefix, false)) {
            Some(Ok(encoding)) if encoding.len() >= self.max_tokens => encoding,
            _ => self.inner.encode_fast(normalised, false).ok()?,
        };
        let pieces = encoding.get_ids();
        let pieces_max = self.max_tokens - 2;
        let mut ids = Vec::with_capacity(pieces.len().min(pieces_max) + 2);
        ids.push(BEGIN);
        ids.extend(pieces.iter().take(pieces_max).map(|id| i64::from(*id)));
        ids.push(END);
        Some(TokenizedText { ids, truncated: pieces.len() > pieces_max })
    }
}

/// Replaces URLs by `[URL]`, folds runs of Unicode white space to one space and trims both ends.
pub fn normalise_text(text: &str) -> String {
    // This regex engine has no look-behind, so the character before is captured and put back.
    static URL: LazyLock<Regex> = LazyLock::new(|| {
        // The pattern is constant, and the test `urls_become_a_placeholder` compiles it.
        Regex::new(r"(^|[^0-9A-Za-z])(?i-u:https?://|www\.)[^\s]+").expect("a valid pattern")
    });
    let replaced = URL.replace_all(text, "${1}[URL]");
    let mut normalised = String::with_capacity(replaced.len());
    for word in replaced.split(char::is_whitespace).filter(|word| !word.is_empty()) {
        if !normalised.is_empty() {
            normalised.push(' ');
        }
        normalised.push_str(word);
    }
    normalised
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_a_placeholder() {
        let rows = [
            ("see https://a.example/x?y=1 now", "see [URL] now"),
            ("HTTP://A.EXAMPLE", "[URL]"),
            ("(www.a.example)", "([URL]"),
            ("http://a http://b", "[URL] [URL]"),
            ("xhttp://a", "xhttp://a"),
            ("éwww.a.fr", "é[URL]"),
            ("http:// a", "http:// a"),
            ("awww. that", "awww. that"),
            ("https://https://x", "[URL]"),
        ];
        for (text, expected) in rows {
            assert_eq!(normalise_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn white_space_is_folded_and_trimmed() {
        assert_eq!(normalise_text("\u{a0} a\t\r\n b\u{2028}\u{3000}c \u{202f}"), "a b c");
        assert_eq!(normalise_text(" \n\u{85} "), "");
        // By Unicode this is not white space, so it stays for the tokenizer.
        assert_eq!(normalise_text("a\u{1c}b\u{200b}"), "a\u{1c}b\u{200b}");
    }
}
