//! One text in, one [`Prediction`] out: the only door to the model.
//!
//! A [`Classifier`] is made from a model's files, which are checked whole, once; after that,
//! classifying cannot fail: a route that cannot answer says why and hands on to the next. The order
//! is linear head, prototypes, keyword patterns. White space alone is neutral and asks no route.
//!
//! It knows no platform: no clock, no file, no environment; settings come in as values.
//!
//! ```
//! use jeffrey_classifier::{Classifier, TieBreak};
//! use jeffrey_terms::{Label, InputText};
//!
//! // A classifier without a model still answers, by keywords, and says so.
//! let classifier = Classifier::without_model(TieBreak::default());
//! let text = InputText::parse("Je suis furieux, c’est inadmissible !")?;
//! let prediction = classifier.classify(&text);
//! assert_eq!(prediction.primary, Label::Anger);
//! assert_eq!(prediction.route.name(), "regex");
//! # Ok::<(), jeffrey_terms::InputTextError>(())
//! ```

pub mod decide;

mod lexicon;
mod onnx;

mod encoder;

mod files;

mod head;

mod tokenizer;

pub use decide::{LabelScores, TieBreak, TieBreakRule, TieBreakSettingError};
pub use encoder::{EncoderError, NodeError};
pub use files::{ModelConfig, ModelFiles, ModelLoadError, ModelManifest};
pub use onnx::OnnxError;

use encoder::Encoder;
use head::{LinearHead, Prototypes};
use jeffrey_terms::{InputText, Label};
use tokenizer::Tokenizer;

/// Below this top probability an answer is marked `low_confidence` (the reference system's limit).
pub const LOW_CONFIDENCE_THRESHOLD: f32 = 0.4;

/// Which part of the classifier answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassifierRoute {
    /// The multinomial logistic head over the embedding.
    LinearHead,
    /// The nearest class prototypes by cosine.
    Prototypes,
    /// Keyword patterns, without the encoder.
    Regex,
    /// Nothing to classify: empty or white space.
    Empty,
}

impl ClassifierRoute {
    /// All routes, in the order in which they are tried; `Empty` last.
    pub const ALL: [Self; 4] = [Self::LinearHead, Self::Prototypes, Self::Regex, Self::Empty];

    /// The name in answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinearHead => "linear_head",
            Self::Prototypes => "prototypes",
            Self::Regex => "regex",
            Self::Empty => "empty",
        }
    }
}

/// Why a route did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The route's dimension differs from the encoder's; it was switched off when the model loaded.
    DimensionMismatch,
    /// The tokenizer or the encoder returned an error for this text.
    EncoderFailed,
    /// No model, or one that failed its checks.
    NoModel,
    /// The scores held NaN or an infinity.
    NotFinite,
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [Self; 4] =
        [Self::DimensionMismatch, Self::EncoderFailed, Self::NoModel, Self::NotFinite];

    /// The name in answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DimensionMismatch => "dimension_mismatch",
            Self::EncoderFailed => "encoder_failed",
            Self::NoModel => "no_model",
            Self::NotFinite => "not_finite",
        }
    }
}

/// A route that was tried before the one that answered, and why it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRoute {
    /// The route that did not answer.
    pub route: ClassifierRoute,
    /// Why not.
    pub reason: SkipReason,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label with the highest score.
    pub primary: Label,
    /// All eight scores, finite, summing to 1.
    pub scores: LabelScores,
    /// The route that answered.
    pub route: ClassifierRoute,
    /// Routes tried before it, in order. Empty for a healthy model.
    pub skipped: Vec<SkippedRoute>,
    /// The rule that changed the scores, if one did.
    pub rule_applied: Option<TieBreakRule>,
    /// Whether the text was longer than the encoder reads.
    pub truncated: bool,
    /// How many tokens the encoder read, begin and end marks included; 0 when it read nothing.
    pub tokens: usize,
}

impl Prediction {
    /// The primary label's score, 0 to 1.
    pub fn confidence(&self) -> f32 {
        self.scores.score(self.primary)
    }

    /// Whether the confidence is below [`LOW_CONFIDENCE_THRESHOLD`].
    pub fn is_low_confidence(&self) -> bool {
        self.confidence() < LOW_CONFIDENCE_THRESHOLD
    }
}

/// A checked model and its settings.
pub struct Classifier {
    model: Option<LoadedModel>,
    tie_break: TieBreak,
}

/// What `from_bytes` checked: nothing in it can be out of step with the rest.
struct LoadedModel {
    manifest: ModelManifest,
    sha256: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    /// `Err` when its dimension differs from the encoder's.
    head: Result<LinearHead, SkipReason>,
    prototypes: Result<Prototypes, SkipReason>,
}

impl Classifier {
    /// Checks a whole model and makes it ready to answer; the first inference is done here, so that
    /// no caller pays for it.
    ///
    /// A head or prototypes whose dimension differs from the encoder's is switched off and counted
    /// in [`Classifier::dimension_mismatches`]; any other fault refuses the model.
    ///
    /// # Errors
    /// [`ModelLoadError`] names the first fault found: a hash, a shape, a label, a weight.
    pub fn from_bytes(files: &ModelFiles<'_>, tie_break: TieBreak) -> Result<Self, ModelLoadError> {
        let (manifest, sha256) = files.verify()?;
        let tokenizer = Tokenizer::from_bytes(files.tokenizer, &manifest)?;
        let encoder = Encoder::from_bytes(files.encoder, &manifest)?;
        let head = LinearHead::from_bytes(files.head)?.require_dim(manifest.dim);
        let prototypes = Prototypes::from_bytes(files.prototypes)?.require_dim(manifest.dim);
        let model = LoadedModel { manifest, sha256, tokenizer, encoder, head, prototypes };
        Ok(Self { model: Some(model), tie_break })
    }

    /// A classifier that answers by keyword patterns only.
    pub fn without_model(tie_break: TieBreak) -> Self {
        Self { model: None, tie_break }
    }

    /// Replaces the tie-break.
    pub fn set_tie_break(&mut self, tie_break: TieBreak) {
        self.tie_break = tie_break;
    }

    /// The manifest of the model in use.
    pub fn manifest(&self) -> Option<&ModelManifest> {
        self.model.as_ref().map(|model| &model.manifest)
    }

    /// The sha256 of the manifest, which holds the sha256 of every file: the model's identity.
    pub fn sha256(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.sha256.as_str())
    }

    /// How many routes were switched off for their dimension, 0 to 2.
    pub fn dimension_mismatches(&self) -> usize {
        self.model.as_ref().map_or(0, |model| {
            usize::from(model.head.is_err()) + usize::from(model.prototypes.is_err())
        })
    }

    /// The ids that the encoder would read for this text, and whether the text was cut; `None`
    /// without a model or without anything to read.
    pub fn tokenize(&self, text: &InputText) -> Option<(Vec<i64>, bool)> {
        let normalised = tokenizer::normalise_text(text.expose());
        if normalised.is_empty() {
            return None;
        }
        let tokens = self.model.as_ref()?.tokenizer.encode(&normalised)?;
        Some((tokens.ids, tokens.truncated))
    }

    /// The same tokens as the vocabulary writes them, begin and end marks included; `▁` begins a word.
    pub fn tokenize_to_pieces(&self, text: &InputText) -> Option<Vec<String>> {
        let (ids, _) = self.tokenize(text)?;
        let tokenizer = &self.model.as_ref()?.tokenizer;
        Some(ids.into_iter().filter_map(|id| tokenizer.piece(id)).collect())
    }

    /// The words that a rule asks for, where the text has them: what says anger outright.
    pub fn find_rule_words(text: &InputText) -> Option<String> {
        let normalised = tokenizer::normalise_text(text.expose());
        let span = lexicon::find_anger_expression(&normalised)?;
        Some(lexicon::original_slice(&normalised, &span).to_owned())
    }

    /// The label of a text, by the first route that can answer.
    pub fn classify(&self, text: &InputText) -> Prediction {
        let normalised = tokenizer::normalise_text(text.expose());
        if normalised.is_empty() {
            return Prediction {
                primary: Label::Neutral,
                scores: LabelScores::one_hot(Label::Neutral),
                route: ClassifierRoute::Empty,
                skipped: Vec::new(),
                rule_applied: None,
                truncated: false,
                tokens: 0,
            };
        }
        let prediction = self.score_by_first_route(&normalised);
        let (scores, rule_applied) = self.tie_break.apply(prediction.scores, &normalised);
        Prediction { primary: scores.top_label(), scores, rule_applied, ..prediction }
    }

    /// The first route's scores, before any rule.
    fn score_by_first_route(&self, normalised: &str) -> Prediction {
        let mut skipped = Vec::new();
        let mut tokenized = None;
        let mut scored = None;
        match &self.model {
            None => skip_embedding_routes(&mut skipped, SkipReason::NoModel),
            Some(model) => {
                tokenized = model.tokenizer.encode(normalised);
                match tokenized
                    .as_ref()
                    .and_then(|tokenized| model.encoder.embed(&tokenized.ids).ok())
                {
                    None => skip_embedding_routes(&mut skipped, SkipReason::EncoderFailed),
                    Some(embedding) => scored = model.score(&embedding, &mut skipped),
                }
            }
        }
        let (scores, route) = scored.unwrap_or_else(|| {
            (
                LabelScores::from_keywords(lexicon::score_keywords(normalised)),
                ClassifierRoute::Regex,
            )
        });
        let (tokens, truncated) =
            tokenized.map_or((0, false), |tokenized| (tokenized.ids.len(), tokenized.truncated));
        Prediction {
            primary: scores.top_label(),
            scores,
            route,
            skipped,
            rule_applied: None,
            truncated,
            tokens,
        }
    }
}

impl LoadedModel {
    /// The first of head and prototypes that gives finite scores.
    fn score(
        &self,
        embedding: &[f32],
        skipped: &mut Vec<SkippedRoute>,
    ) -> Option<(LabelScores, ClassifierRoute)> {
        let head = self.head.as_ref().map_err(|reason| *reason);
        match head.and_then(|head| head.score_embedding(embedding).ok_or(SkipReason::NotFinite)) {
            Ok(scores) => return Some((scores, ClassifierRoute::LinearHead)),
            Err(reason) => {
                skipped.push(SkippedRoute { route: ClassifierRoute::LinearHead, reason })
            }
        }
        let prototypes = self.prototypes.as_ref().map_err(|reason| *reason);
        match prototypes.and_then(|prototypes| {
            prototypes.score_embedding(embedding).ok_or(SkipReason::NotFinite)
        }) {
            Ok(scores) => Some((scores, ClassifierRoute::Prototypes)),
            Err(reason) => {
                skipped.push(SkippedRoute { route: ClassifierRoute::Prototypes, reason });
                None
            }
        }
    }
}

fn skip_embedding_routes(skipped: &mut Vec<SkippedRoute>, reason: SkipReason) {
    skipped.push(SkippedRoute { route: ClassifierRoute::LinearHead, reason });
    skipped.push(SkippedRoute { route: ClassifierRoute::Prototypes, reason });
}
