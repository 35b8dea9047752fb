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
//! use jeffrey_terms::{Label, Text};
//!
//! // A classifier without a model still answers, by keywords, and says so.
//! let classifier = Classifier::without_model(TieBreak::default());
//! let text = Text::parse("Je suis furieux, c’est inadmissible !")?;
//! let prediction = classifier.classify(&text);
//! assert_eq!(prediction.primary, Label::Anger);
//! assert_eq!(prediction.route.name(), "regex");
//! # Ok::<(), jeffrey_terms::TextError>(())
//! ```

pub mod decide;

mod lexicon;
mod onnx;

mod encoder;

mod files;

mod head;

mod tokenizer;

pub use decide::{Rule, Scores, SettingError, TieBreak};
pub use encoder::{EncoderError, NodeFault};
pub use files::{Config, LoadError, Manifest, ModelFiles};
pub use onnx::OnnxError;

use encoder::Encoder;
use head::{Head, Prototypes};
use jeffrey_terms::{Label, Text};
use tokenizer::Tokenizer;

/// Below this top probability an answer is marked `low_confidence` (the reference system's limit).
pub const LOW_CONFIDENCE: f32 = 0.4;

/// Which part of the classifier answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// The multinomial logistic head over the embedding.
    LinearHead,
    /// The nearest class prototypes by cosine.
    Prototypes,
    /// Keyword patterns, without the encoder.
    Regex,
    /// Nothing to classify: empty or white space.
    Empty,
}

impl Route {
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
pub struct Skipped {
    /// The route that did not answer.
    pub route: Route,
    /// Why not.
    pub reason: SkipReason,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label with the highest score.
    pub primary: Label,
    /// All eight scores, finite, summing to 1.
    pub scores: Scores,
    /// The route that answered.
    pub route: Route,
    /// Routes tried before it, in order. Empty for a healthy model.
    pub skipped: Vec<Skipped>,
    /// The rule that changed the scores, if one did.
    pub rule_applied: Option<Rule>,
    /// Whether the text was longer than the encoder reads.
    pub truncated: bool,
    /// How many tokens the encoder read, begin and end marks included; 0 when it read nothing.
    pub tokens: usize,
}

impl Prediction {
    /// The primary label's score, 0 to 1.
    pub fn confidence(&self) -> f32 {
        self.scores.of(self.primary)
    }

    /// Whether the confidence is below [`LOW_CONFIDENCE`].
    pub fn low_confidence(&self) -> bool {
        self.confidence() < LOW_CONFIDENCE
    }
}

/// A checked model and its settings.
pub struct Classifier {
    model: Option<Model>,
    tie_break: TieBreak,
}

/// What `from_bytes` checked: nothing in it can be out of step with the rest.
struct Model {
    manifest: Manifest,
    sha256: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    /// `Err` when its dimension differs from the encoder's.
    head: Result<Head, SkipReason>,
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
    /// [`LoadError`] names the first fault found: a hash, a shape, a label, a weight.
    pub fn from_bytes(files: &ModelFiles<'_>, tie_break: TieBreak) -> Result<Self, LoadError> {
        let (manifest, sha256) = files.check()?;
        let tokenizer = Tokenizer::from_bytes(files.tokenizer, &manifest)?;
        let encoder = Encoder::from_bytes(files.encoder, &manifest)?;
        let head = Head::from_bytes(files.head)?.matching(manifest.dim);
        let prototypes = Prototypes::from_bytes(files.prototypes)?.matching(manifest.dim);
        let model = Model { manifest, sha256, tokenizer, encoder, head, prototypes };
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
    pub fn manifest(&self) -> Option<&Manifest> {
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
    pub fn tokens(&self, text: &Text) -> Option<(Vec<i64>, bool)> {
        let normal = tokenizer::normalise(text.expose());
        if normal.is_empty() {
            return None;
        }
        let tokens = self.model.as_ref()?.tokenizer.encode(&normal)?;
        Some((tokens.ids, tokens.truncated))
    }

    /// The same tokens as the vocabulary writes them, begin and end marks included; `▁` begins a word.
    pub fn pieces(&self, text: &Text) -> Option<Vec<String>> {
        let (ids, _) = self.tokens(text)?;
        let tokenizer = &self.model.as_ref()?.tokenizer;
        Some(ids.into_iter().filter_map(|id| tokenizer.piece(id)).collect())
    }

    /// The words that a rule asks for, where the text has them: what says anger outright.
    pub fn rule_words(text: &Text) -> Option<String> {
        let normal = tokenizer::normalise(text.expose());
        let found = lexicon::anger_expression(&normal)?;
        Some(lexicon::unfolded(&normal, &found).to_owned())
    }

    /// The label of a text, by the first route that can answer.
    pub fn classify(&self, text: &Text) -> Prediction {
        let normal = tokenizer::normalise(text.expose());
        if normal.is_empty() {
            return Prediction {
                primary: Label::Neutral,
                scores: Scores::certain(Label::Neutral),
                route: Route::Empty,
                skipped: Vec::new(),
                rule_applied: None,
                truncated: false,
                tokens: 0,
            };
        }
        let answer = self.answer(&normal);
        let (scores, rule_applied) = self.tie_break.apply(answer.scores, &normal);
        Prediction { primary: scores.top(), scores, rule_applied, ..answer }
    }

    /// The first route's scores, before any rule.
    fn answer(&self, normal: &str) -> Prediction {
        let mut skipped = Vec::new();
        let mut read = None;
        let mut scored = None;
        match &self.model {
            None => skip_both(&mut skipped, SkipReason::NoModel),
            Some(model) => {
                read = model.tokenizer.encode(normal);
                match read.as_ref().and_then(|read| model.encoder.embed(&read.ids).ok()) {
                    None => skip_both(&mut skipped, SkipReason::EncoderFailed),
                    Some(embedding) => scored = model.score(&embedding, &mut skipped),
                }
            }
        }
        let (scores, route) = scored.unwrap_or_else(|| {
            (Scores::from_keywords(lexicon::keyword_scores(normal)), Route::Regex)
        });
        let (tokens, truncated) = read.map_or((0, false), |read| (read.ids.len(), read.truncated));
        Prediction {
            primary: scores.top(),
            scores,
            route,
            skipped,
            rule_applied: None,
            truncated,
            tokens,
        }
    }
}

impl Model {
    /// The first of head and prototypes that gives finite scores.
    fn score(&self, embedding: &[f32], skipped: &mut Vec<Skipped>) -> Option<(Scores, Route)> {
        let by_head = self.head.as_ref().map_err(|reason| *reason);
        match by_head.and_then(|head| head.scores(embedding).ok_or(SkipReason::NotFinite)) {
            Ok(scores) => return Some((scores, Route::LinearHead)),
            Err(reason) => skipped.push(Skipped { route: Route::LinearHead, reason }),
        }
        let by_prototypes = self.prototypes.as_ref().map_err(|reason| *reason);
        match by_prototypes.and_then(|near| near.scores(embedding).ok_or(SkipReason::NotFinite)) {
            Ok(scores) => Some((scores, Route::Prototypes)),
            Err(reason) => {
                skipped.push(Skipped { route: Route::Prototypes, reason });
                None
            }
        }
    }
}

fn skip_both(skipped: &mut Vec<Skipped>, reason: SkipReason) {
    skipped.push(Skipped { route: Route::LinearHead, reason });
    skipped.push(Skipped { route: Route::Prototypes, reason });
}
