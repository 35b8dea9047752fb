//! Classifies one text into a [`Prediction`].
//!
//! A [`Classifier`] is built from the files of a model, which are checked completely, once. After
//! that, classifying cannot fail: when a route cannot answer, the reason is recorded and the next
//! route is tried. The order is linear head, prototypes, keyword patterns. Text that is only white
//! space is neutral, without trying a route.
//!
//! The crate reads no clock, no file and no environment; settings are passed in as values.
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

mod encoder_error;

mod files;

mod head;

mod tokenizer;

pub use decide::{LabelScores, TieBreak, TieBreakSettingError};
pub use encoder_error::{EncoderError, NodeError};
pub use files::{ModelConfig, ModelFiles, ModelLoadError, ModelManifest};
pub use onnx::OnnxError;
pub use tokenizer::normalise_text;

use encoder::Encoder;
use head::{LinearHead, Prototypes};
use jeffrey_terms::{InputText, Label, PredictionRoute, TieBreakRule};
use tokenizer::{TokenizedText, Tokenizer};

/// Top probability below which a prediction is marked `low_confidence`; the limit of the v2.4.2
/// reference service.
pub const LOW_CONFIDENCE_THRESHOLD: f32 = 0.4;

/// Reason why a route did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The dimension of the route differs from the encoder's. It was switched off when the model
    /// was loaded.
    DimensionMismatch,
    /// The tokenizer or the encoder returned an error for this text.
    EncoderFailed,
    /// The classifier has no model, or the model failed its checks.
    NoModel,
    /// The scores contained NaN or an infinity.
    NotFinite,
}

impl SkipReason {
    /// All reasons, in the order of their names.
    pub const ALL: [Self; 4] =
        [Self::DimensionMismatch, Self::EncoderFailed, Self::NoModel, Self::NotFinite];

    /// Name of the reason in responses and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DimensionMismatch => "dimension_mismatch",
            Self::EncoderFailed => "encoder_failed",
            Self::NoModel => "no_model",
            Self::NotFinite => "not_finite",
        }
    }
}

/// Route that was tried and did not answer, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRoute {
    /// Route that did not answer.
    pub route: PredictionRoute,
    /// Reason why it did not answer.
    pub reason: SkipReason,
}

/// Result of classifying one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Label with the highest score.
    pub primary: Label,
    /// Scores of all eight labels: finite, summing to 1.
    pub scores: LabelScores,
    /// Route that produced the scores.
    pub route: PredictionRoute,
    /// Routes that were tried before `route`, in order. Empty for a healthy model.
    pub skipped_routes: Vec<SkippedRoute>,
    /// Rule that changed the scores; `None` when no rule applied.
    pub rule_applied: Option<TieBreakRule>,
    /// True when the text had more tokens than the encoder reads.
    pub truncated: bool,
    /// Number of tokens given to the encoder, begin and end marks included; 0 without a model, for
    /// white space, or when the tokenizer fails.
    pub token_count: usize,
}

impl Prediction {
    /// Score of the primary label, 0 to 1.
    pub fn confidence(&self) -> f32 {
        self.scores.score(self.primary)
    }

    /// Returns whether the confidence is below [`LOW_CONFIDENCE_THRESHOLD`].
    pub fn is_low_confidence(&self) -> bool {
        self.confidence() < LOW_CONFIDENCE_THRESHOLD
    }
}

/// Text that is normalised and tokenized, ready for [`Classifier::classify_prepared`].
pub struct PreparedText {
    normalised: String,
    /// `None` without a model, for white space, or when the tokenizer fails.
    tokenized: Option<TokenizedText>,
}

impl PreparedText {
    /// Number of tokens that the encoder would read, begin and end marks included; 0 without a model,
    /// for white space, or when the tokenizer fails.
    pub fn token_count(&self) -> usize {
        self.tokenized.as_ref().map_or(0, |tokenized| tokenized.ids.len())
    }

    /// Returns whether the text has more tokens than the encoder reads.
    pub fn is_truncated(&self) -> bool {
        self.tokenized.as_ref().is_some_and(|tokenized| tokenized.truncated)
    }
}

/// Checked model with the settings of the tie-break.
pub struct Classifier {
    model: Option<LoadedModel>,
    tie_break: TieBreak,
}

/// Model whose files passed the checks of `Classifier::from_bytes`.
struct LoadedModel {
    manifest: ModelManifest,
    sha256: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    /// `Err` when the dimension of the head differs from the encoder's.
    head: Result<LinearHead, SkipReason>,
    prototypes: Result<Prototypes, SkipReason>,
}

impl Classifier {
    /// Checks a whole model and prepares it. The first inference runs here, so that no request pays
    /// for it.
    ///
    /// A head or prototypes with a dimension other than the encoder's are switched off and counted
    /// in [`Classifier::dimension_mismatches`]. Any other fault refuses the model.
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

    /// Returns a classifier that answers by keyword patterns only.
    pub fn without_model(tie_break: TieBreak) -> Self {
        Self { model: None, tie_break }
    }

    /// Replaces the settings of the tie-break.
    pub fn set_tie_break(&mut self, tie_break: TieBreak) {
        self.tie_break = tie_break;
    }

    /// Manifest of the loaded model; `None` without a model.
    pub fn manifest(&self) -> Option<&ModelManifest> {
        self.model.as_ref().map(|model| &model.manifest)
    }

    /// The sha256 of the manifest: the identity of the model, because the manifest holds the sha256
    /// of every file. `None` without a model.
    pub fn model_sha256(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.sha256.as_str())
    }

    /// Number of routes that were switched off because of their dimension, 0 to 2.
    pub fn dimension_mismatches(&self) -> usize {
        self.model.as_ref().map_or(0, |model| {
            usize::from(model.head.is_err()) + usize::from(model.prototypes.is_err())
        })
    }

    /// Returns the token ids that the encoder would read for this text, and whether the text was
    /// truncated.
    ///
    /// `None` when there is no model, when the text is only white space, or when the tokenizer
    /// fails.
    pub fn tokenize(&self, text: &InputText) -> Option<(Vec<i64>, bool)> {
        let tokens = self.prepare(text).tokenized?;
        Some((tokens.ids, tokens.truncated))
    }

    /// Returns the same tokens as the vocabulary writes them, begin and end marks included. `▁`
    /// begins a word.
    pub fn tokenize_to_pieces(&self, text: &InputText) -> Option<Vec<String>> {
        let (ids, _) = self.tokenize(text)?;
        let tokenizer = &self.model.as_ref()?.tokenizer;
        Some(ids.into_iter().filter_map(|id| tokenizer.piece(id)).collect())
    }

    /// Returns the part of the text that expresses anger explicitly, as the tie-break requires;
    /// `None` if no part does.
    pub fn find_rule_words(text: &InputText) -> Option<String> {
        let normalised = tokenizer::normalise_text(text.expose());
        let span = lexicon::find_anger_expression(&normalised)?;
        Some(lexicon::original_slice(&normalised, &span).to_owned())
    }

    /// Classifies a text by the first route that can answer, then applies the tie-break.
    pub fn classify(&self, text: &InputText) -> Prediction {
        self.classify_prepared(&self.prepare(text))
    }

    /// Normalises and tokenizes a text. A caller may bound the tokens before the encoder, which costs
    /// most of the time, reads the first.
    pub fn prepare(&self, text: &InputText) -> PreparedText {
        let normalised = tokenizer::normalise_text(text.expose());
        let model = self.model.as_ref().filter(|_| !normalised.is_empty());
        let tokenized = model.and_then(|model| model.tokenizer.encode(&normalised));
        PreparedText { normalised, tokenized }
    }

    /// Classifies a text that this classifier prepared.
    pub fn classify_prepared(&self, text: &PreparedText) -> Prediction {
        if text.normalised.is_empty() {
            return Prediction {
                primary: Label::Neutral,
                scores: LabelScores::one_hot(Label::Neutral),
                route: PredictionRoute::Empty,
                skipped_routes: Vec::new(),
                rule_applied: None,
                truncated: false,
                token_count: 0,
            };
        }
        let prediction = self.score_by_first_route(text);
        let (scores, rule_applied) = self.tie_break.apply(prediction.scores, &text.normalised);
        Prediction { primary: scores.top_label(), scores, rule_applied, ..prediction }
    }

    /// Returns the prediction of the first route that answers, before any rule.
    fn score_by_first_route(&self, text: &PreparedText) -> Prediction {
        let mut skipped = Vec::new();
        let mut scored = None;
        match &self.model {
            None => skip_embedding_routes(&mut skipped, SkipReason::NoModel),
            Some(model) => {
                let tokenized = text.tokenized.as_ref();
                match tokenized.and_then(|tokenized| model.encoder.embed(&tokenized.ids).ok()) {
                    None => skip_embedding_routes(&mut skipped, SkipReason::EncoderFailed),
                    Some(embedding) => scored = model.score(&embedding, &mut skipped),
                }
            }
        }
        let (scores, route) = scored.unwrap_or_else(|| {
            (
                LabelScores::from_keywords(lexicon::score_keywords(&text.normalised)),
                PredictionRoute::Regex,
            )
        });
        Prediction {
            primary: scores.top_label(),
            scores,
            route,
            skipped_routes: skipped,
            rule_applied: None,
            truncated: text.is_truncated(),
            token_count: text.token_count(),
        }
    }
}

impl LoadedModel {
    /// Returns the scores of the first of head and prototypes that gives finite scores. Each one
    /// that does not is added to `skipped`.
    fn score(
        &self,
        embedding: &[f32],
        skipped: &mut Vec<SkippedRoute>,
    ) -> Option<(LabelScores, PredictionRoute)> {
        let head = self.head.as_ref().map_err(|reason| *reason);
        match head.and_then(|head| head.score_embedding(embedding).ok_or(SkipReason::NotFinite)) {
            Ok(scores) => return Some((scores, PredictionRoute::LinearHead)),
            Err(reason) => {
                skipped.push(SkippedRoute { route: PredictionRoute::LinearHead, reason })
            }
        }
        let prototypes = self.prototypes.as_ref().map_err(|reason| *reason);
        match prototypes.and_then(|prototypes| {
            prototypes.score_embedding(embedding).ok_or(SkipReason::NotFinite)
        }) {
            Ok(scores) => Some((scores, PredictionRoute::Prototypes)),
            Err(reason) => {
                skipped.push(SkippedRoute { route: PredictionRoute::Prototypes, reason });
                None
            }
        }
    }
}

fn skip_embedding_routes(skipped: &mut Vec<SkippedRoute>, reason: SkipReason) {
    skipped.push(SkippedRoute { route: PredictionRoute::LinearHead, reason });
    skipped.push(SkippedRoute { route: PredictionRoute::Prototypes, reason });
}
