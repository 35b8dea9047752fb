//! Request and response formats of Hugging Face's inference API and of text-embeddings-inference.
//!
//! Both send `{"inputs": …}` and read lists of `{"label", "score"}`, highest first. They differ in
//! two ways. A list of two strings is a batch for Hugging Face and one pair for
//! text-embeddings-inference. The Hugging Face clients read only the NESTED response, even for one
//! text. Checked against `@huggingface/inference` 4.13.30, `huggingface_hub` 2.4.0, and the router
//! of text-embeddings-inference (`router/src/http/types.rs`, `PredictInput`).

use serde::Serialize;

use super::error::ClassifyApiError;
use super::json::{JsonFields, JsonValue};
use jeffrey_classifier::Prediction;
use jeffrey_terms::{InputText, Label};

/// Largest number of texts in one request, text-embeddings-inference's default
/// (`--max-client-batch-size`). A text takes milliseconds and its classification cannot be
/// interrupted, so this limit bounds the work of a request.
pub const BATCH_MAX: usize = 32;

/// Shape of a request that error messages show.
pub(super) const EXPECTED_SHAPE: &str = "{\"inputs\": \"…\"}";

/// Options for the scores in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScoreOptions {
    /// Whether scores are natural logarithms instead of probabilities: logits, up to a constant
    /// that softmax ignores.
    raw_scores: bool,
    /// How many labels to return, highest first; 1 to 8.
    top_k: usize,
}

/// Texts of a request: one, or a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    Batch(Vec<InputText>),
    Single(InputText),
}

impl Inputs {
    /// Returns the texts in their order, at least one.
    pub(super) fn texts(&self) -> &[InputText] {
        match self {
            Self::Batch(texts) => texts,
            Self::Single(text) => std::slice::from_ref(text),
        }
    }
}

/// A request in Hugging Face's format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HfRequest {
    pub(super) inputs: Inputs,
    pub(super) score_options: ScoreOptions,
}

/// A request in text-embeddings-inference's format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PredictRequest {
    pub(super) inputs: Inputs,
    pub(super) score_options: ScoreOptions,
    /// Whether a text above the token limit is cut; otherwise the request is refused.
    pub(super) truncate: bool,
}

/// One label of a response, with its score.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct RankedLabel {
    label: Label,
    score: f32,
}

impl ScoreOptions {
    /// Returns the labels of one prediction, highest first, at most `top_k` of them.
    pub(super) fn rank_labels(self, prediction: &Prediction) -> Vec<RankedLabel> {
        let ranked = prediction.scores.ranked().into_iter().take(self.top_k);
        ranked
            .map(|(label, score)| {
                // JSON has no number for the logarithm of 0; the smallest normal positive number
                // replaces 0.
                let score = if self.raw_scores { score.max(f32::MIN_POSITIVE).ln() } else { score };
                RankedLabel { label, score }
            })
            .collect()
    }
}

impl HfRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ClassifyApiError> {
        let mut fields =
            JsonFields::from_json(JsonValue::parse(body, EXPECTED_SHAPE)?, "the body")?;
        let inputs = match take_inputs(&mut fields)? {
            JsonValue::Array(items) => {
                check_batch_length(items.len())?;
                let texts = items.into_iter().map(|item| parse_text(item, "a string in `inputs`"));
                Inputs::Batch(texts.collect::<Result<_, _>>()?)
            }
            other => Inputs::Single(parse_text(other, "a string or a list of strings")?),
        };
        let score_options = match fields.take("parameters")? {
            None | Some(JsonValue::Null) => {
                ScoreOptions { raw_scores: false, top_k: Label::ALL.len() }
            }
            Some(parameters) => {
                let mut parameters = JsonFields::from_json(parameters, "parameters")?;
                ScoreOptions {
                    raw_scores: parse_raw_scores(&mut parameters)?,
                    top_k: parse_top_k(&mut parameters)?,
                }
            }
        };
        Ok(Self { inputs, score_options })
    }
}

impl PredictRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ClassifyApiError> {
        let mut fields =
            JsonFields::from_json(JsonValue::parse(body, EXPECTED_SHAPE)?, "the body")?;
        let inputs = match take_inputs(&mut fields)? {
            JsonValue::Array(items) if matches!(items.first(), Some(JsonValue::Array(_))) => {
                check_batch_length(items.len())?;
                Inputs::Batch(items.into_iter().map(parse_batch_item).collect::<Result<_, _>>()?)
            }
            // As in text-embeddings-inference, one string in a list is a text and two strings are a
            // pair.
            JsonValue::Array(items) => Inputs::Single(parse_single_text(items)?),
            other => Inputs::Single(parse_text(other, "a string, or a batch [[string], …]")?),
        };
        let raw_scores = fields.take_bool("raw_scores")?;
        let truncate = fields.take_bool("truncate")?;
        let score_options = ScoreOptions { raw_scores, top_k: Label::ALL.len() };
        Ok(Self { inputs, score_options, truncate })
    }
}

fn take_inputs(fields: &mut JsonFields) -> Result<JsonValue, ClassifyApiError> {
    let missing = ClassifyApiError::MissingField { field: "inputs", expected: EXPECTED_SHAPE };
    fields.take("inputs")?.ok_or(missing)
}

const fn check_batch_length(texts: usize) -> Result<(), ClassifyApiError> {
    match texts {
        0 => Err(ClassifyApiError::BatchEmpty),
        1..=BATCH_MAX => Ok(()),
        _ => Err(ClassifyApiError::BatchTooLong { texts, limit: BATCH_MAX }),
    }
}

/// Parses one item of a text-embeddings-inference batch: a list of one string.
fn parse_batch_item(json: JsonValue) -> Result<InputText, ClassifyApiError> {
    match json {
        JsonValue::Array(items) => parse_single_text(items),
        other => {
            let expected = "a batch of lists of one string, [[string], …]";
            Err(ClassifyApiError::WrongType { field: "inputs", seen: other.json_type(), expected })
        }
    }
}

fn parse_single_text(mut items: Vec<JsonValue>) -> Result<InputText, ClassifyApiError> {
    match (items.pop(), items.len()) {
        (None, _) => Err(ClassifyApiError::BatchEmpty),
        (Some(only), 0) => parse_text(only, "a list of one string"),
        (Some(_), 1) => Err(ClassifyApiError::Pair),
        (Some(_), _) => {
            let expected = "a string, or a batch [[string], …]";
            Err(ClassifyApiError::WrongValue { field: "inputs", expected })
        }
    }
}

fn parse_text(json: JsonValue, expected: &'static str) -> Result<InputText, ClassifyApiError> {
    match json {
        JsonValue::String(text) => Ok(InputText::parse(text)?),
        other => {
            Err(ClassifyApiError::WrongType { field: "inputs", seen: other.json_type(), expected })
        }
    }
}

fn parse_top_k(parameters: &mut JsonFields) -> Result<usize, ClassifyApiError> {
    const FIELD: &str = "parameters.top_k";
    match parameters.take("top_k")? {
        None | Some(JsonValue::Null) => Ok(Label::ALL.len()),
        Some(JsonValue::Count(count)) if count > 0 => {
            Ok(usize::try_from(count).unwrap_or(usize::MAX).min(Label::ALL.len()))
        }
        Some(_) => Err(ClassifyApiError::WrongValue {
            field: FIELD,
            expected: "a whole number from 1, or null",
        }),
    }
}

fn parse_raw_scores(parameters: &mut JsonFields) -> Result<bool, ClassifyApiError> {
    const FIELD: &str = "parameters.function_to_apply";
    match parameters.take("function_to_apply")? {
        None | Some(JsonValue::Null) => Ok(false),
        Some(JsonValue::String(name)) if name == "softmax" => Ok(false),
        Some(JsonValue::String(name)) if name == "none" => Ok(true),
        // The labels exclude each other and are calibrated together, so a sigmoid of each would be
        // another model's scores.
        Some(_) => Err(ClassifyApiError::WrongValue {
            field: FIELD,
            expected: "\"softmax\", \"none\" or null",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_classifier::{Classifier, TieBreak};

    fn single(text: &str) -> Inputs {
        Inputs::Single(InputText::parse(text).unwrap())
    }

    fn batch(texts: &[&str]) -> Inputs {
        Inputs::Batch(texts.iter().map(|text| InputText::parse(*text).unwrap()).collect())
    }

    #[test]
    fn a_list_of_strings_is_a_batch_for_one_client_and_a_pair_for_the_other() {
        let parse_hf = |body: &str| HfRequest::parse(body.as_bytes()).map(|request| request.inputs);
        let parse_predict =
            |body: &str| PredictRequest::parse(body.as_bytes()).map(|request| request.inputs);
        let to_code =
            |result: Result<Inputs, ClassifyApiError>| result.map_err(|error| error.code());
        let rows = [
            (r#"{"inputs": "a"}"#, Ok(single("a")), Ok(single("a"))),
            (r#"{"inputs": ""}"#, Ok(single("")), Ok(single(""))),
            (r#"{"inputs": ["a"]}"#, Ok(batch(&["a"])), Ok(single("a"))),
            (r#"{"inputs": ["a", "b"]}"#, Ok(batch(&["a", "b"])), Err("pair")),
            (r#"{"inputs": ["a", "b", "c"]}"#, Ok(batch(&["a", "b", "c"])), Err("wrong_value")),
            (r#"{"inputs": [["a"], ["b"]]}"#, Err("wrong_type"), Ok(batch(&["a", "b"]))),
            (r#"{"inputs": [["a"], "b"]}"#, Err("wrong_type"), Err("wrong_type")),
            (r#"{"inputs": [["a", "b"]]}"#, Err("wrong_type"), Err("pair")),
            (r#"{"inputs": [["a"], []]}"#, Err("wrong_type"), Err("batch_empty")),
            (r#"{"inputs": []}"#, Err("batch_empty"), Err("batch_empty")),
            (r#"{"inputs": 1}"#, Err("wrong_type"), Err("wrong_type")),
            (r#"{"inputs": null}"#, Err("wrong_type"), Err("wrong_type")),
            (r#"{"inputs": [1]}"#, Err("wrong_type"), Err("wrong_type")),
            (r#"{"text": "a"}"#, Err("missing_inputs"), Err("missing_inputs")),
            (r#"{"inputs": "a", "inputs": "b"}"#, Err("duplicate_field"), Err("duplicate_field")),
            (r#"["a"]"#, Err("wrong_type"), Err("wrong_type")),
        ];
        for (body, hf_expected, predict_expected) in rows {
            assert_eq!(to_code(parse_hf(body)), hf_expected, "{body}");
            assert_eq!(to_code(parse_predict(body)), predict_expected, "{body}");
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let texts = |count: usize| vec!["\"a\""; count].join(",");
        let lists = |count: usize| vec!["[\"a\"]"; count].join(",");
        let parse_hf =
            |count| HfRequest::parse(format!("{{\"inputs\":[{}]}}", texts(count)).as_bytes());
        let parse_predict =
            |count| PredictRequest::parse(format!("{{\"inputs\":[{}]}}", lists(count)).as_bytes());
        assert!(parse_hf(BATCH_MAX).is_ok() && parse_predict(BATCH_MAX).is_ok());
        let expected = ClassifyApiError::BatchTooLong { texts: BATCH_MAX + 1, limit: BATCH_MAX };
        assert_eq!(parse_hf(BATCH_MAX + 1).unwrap_err(), expected);
        assert_eq!(parse_predict(BATCH_MAX + 1).unwrap_err(), expected);
    }

    #[test]
    fn parameters_choose_how_many_labels_and_which_scale() {
        let parse = |parameters: &str| {
            let body = format!("{{\"inputs\": \"a\", \"parameters\": {parameters}}}");
            let score_options =
                HfRequest::parse(body.as_bytes()).map(|request| request.score_options);
            score_options
                .map(|options| (options.top_k, options.raw_scores))
                .map_err(|error| error.code())
        };
        let rows = [
            ("{}", Ok((8, false))),
            ("null", Ok((8, false))),
            (r#"{"top_k": null, "function_to_apply": null}"#, Ok((8, false))),
            (r#"{"top_k": 2}"#, Ok((2, false))),
            (r#"{"top_k": 18446744073709551615}"#, Ok((8, false))),
            (r#"{"top_k": 2.0}"#, Ok((2, false))),
            (r#"{"top_k": 1e30}"#, Ok((8, false))),
            (r#"{"top_k": -2.0}"#, Err("wrong_value")),
            (r#"{"function_to_apply": "softmax"}"#, Ok((8, false))),
            (r#"{"function_to_apply": "none"}"#, Ok((8, true))),
            (r#"{"function_to_apply": "sigmoid"}"#, Err("wrong_value")),
            (r#"{"top_k": 0}"#, Err("wrong_value")),
            (r#"{"top_k": -1}"#, Err("wrong_value")),
            (r#"{"top_k": 1.5}"#, Err("wrong_value")),
            (r#"{"top_k": "2"}"#, Err("wrong_value")),
            (r#"{"unknown": 1}"#, Ok((8, false))),
            ("[]", Err("wrong_type")),
        ];
        for (parameters, expected) in rows {
            assert_eq!(parse(parameters), expected, "{parameters}");
        }
    }

    #[test]
    fn softmax_of_raw_scores_gives_the_scores_back() {
        let classifier = Classifier::without_model(TieBreak::default());
        let prediction = classifier.classify(&InputText::parse("").unwrap());
        let log_scores = ScoreOptions { raw_scores: true, top_k: 8 }.rank_labels(&prediction);
        let probabilities = ScoreOptions { raw_scores: false, top_k: 8 }.rank_labels(&prediction);
        let sum: f32 = log_scores.iter().map(|scored| scored.score.exp()).sum();
        for (log_score, probability) in log_scores.iter().zip(&probabilities) {
            assert!(log_score.score.is_finite());
            assert!((log_score.score.exp() / sum - probability.score).abs() < 1e-6);
        }
        assert_eq!(ScoreOptions { raw_scores: false, top_k: 1 }.rank_labels(&prediction).len(), 1);
    }
}
