//! The shapes of Hugging Face's inference API and of text-embeddings-inference.
//!
//! Both send `{"inputs": …}` and read lists of `{"label", "score"}`, highest first. They differ in
//! what a list of two strings is (a batch there, one pair here) and in how deep the answer is
//! nested: the Hugging Face clients read the NESTED answer only, even for one text. Checked against
//! `@huggingface/inference` 4.13.30, `huggingface_hub` 2.4.0, and the router of
//! text-embeddings-inference (`router/src/http/types.rs`, `PredictInput`).

use serde::Serialize;

use super::error::WireError;
use super::json::{Fields, Json};
use jeffrey_classifier::Prediction;
use jeffrey_terms::{Label, Text};

/// Most texts in one request, text-embeddings-inference's default (`--max-client-batch-size`). One
/// text takes milliseconds and nothing can interrupt them, so this bounds the work of a request.
pub const BATCH_MAX: usize = 32;

/// The shape that messages show.
pub(super) const EXPECTED: &str = "{\"inputs\": \"…\"}";

/// What scores are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// Natural logarithms instead of probabilities: logits, up to a constant that softmax ignores.
    raw: bool,
    /// How many labels, from the highest on.
    top: usize,
}

/// One text, or a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    Batch(Vec<Text>),
    One(Text),
}

/// A request in Hugging Face's shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HubRequest {
    pub(super) inputs: Inputs,
    pub(super) scale: Scale,
}

/// A request in the shape of text-embeddings-inference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PredictRequest {
    pub(super) inputs: Inputs,
    pub(super) scale: Scale,
    /// Whether a text over the token limit is cut rather than refused.
    pub(super) truncate: bool,
}

/// One label of an answer.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Scored {
    label: Label,
    score: f32,
}

impl Scale {
    /// The labels of one prediction, highest first.
    pub(super) fn scored(self, prediction: &Prediction) -> Vec<Scored> {
        let ranked = prediction.scores.ranked().into_iter().take(self.top);
        ranked
            .map(|(label, score)| {
                // The logarithm of 0 is no JSON number: the least positive one stands in for it.
                let score = if self.raw { score.max(f32::MIN_POSITIVE).ln() } else { score };
                Scored { label, score }
            })
            .collect()
    }
}

impl HubRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(Json::parse(body, EXPECTED)?, "the body")?;
        let inputs = match required(&mut fields)? {
            Json::Array(items) => {
                batch_length(items.len())?;
                let texts = items.into_iter().map(|item| text(item, "a string in `inputs`"));
                Inputs::Batch(texts.collect::<Result<_, _>>()?)
            }
            other => Inputs::One(text(other, "a string or a list of strings")?),
        };
        let scale = match fields.take("parameters")? {
            None | Some(Json::Null) => Scale { raw: false, top: Label::ALL.len() },
            Some(parameters) => {
                let mut parameters = Fields::of(parameters, "parameters")?;
                Scale { raw: raw(&mut parameters)?, top: top(&mut parameters)? }
            }
        };
        Ok(Self { inputs, scale })
    }
}

impl PredictRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(Json::parse(body, EXPECTED)?, "the body")?;
        let inputs = match required(&mut fields)? {
            Json::Array(items) if matches!(items.first(), Some(Json::Array(_))) => {
                batch_length(items.len())?;
                Inputs::Batch(items.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            // One string in a list is that string, two are a pair, as there.
            Json::Array(items) => Inputs::One(sequence(items)?),
            other => Inputs::One(text(other, "a string, or a batch [[string], …]")?),
        };
        let raw = fields.take_bool("raw_scores")?;
        let truncate = fields.take_bool("truncate")?;
        let scale = Scale { raw, top: Label::ALL.len() };
        Ok(Self { inputs, scale, truncate })
    }
}

fn required(fields: &mut Fields) -> Result<Json, WireError> {
    let missing = WireError::MissingField { field: "inputs", expected: EXPECTED };
    fields.take("inputs")?.ok_or(missing)
}

const fn batch_length(texts: usize) -> Result<(), WireError> {
    match texts {
        0 => Err(WireError::BatchEmpty),
        1..=BATCH_MAX => Ok(()),
        _ => Err(WireError::BatchTooLong { texts, limit: BATCH_MAX }),
    }
}

/// One member of a batch of text-embeddings-inference: a list of one string.
fn member(json: Json) -> Result<Text, WireError> {
    match json {
        Json::Array(items) => sequence(items),
        other => {
            let expected = "a batch of lists of one string, [[string], …]";
            Err(WireError::WrongType { field: "inputs", seen: other.kind(), expected })
        }
    }
}

fn sequence(mut items: Vec<Json>) -> Result<Text, WireError> {
    match (items.pop(), items.len()) {
        (None, _) => Err(WireError::BatchEmpty),
        (Some(only), 0) => text(only, "a list of one string"),
        (Some(_), 1) => Err(WireError::Pair),
        (Some(_), _) => {
            let expected = "a string, or a batch [[string], …]";
            Err(WireError::WrongValue { field: "inputs", expected })
        }
    }
}

fn text(json: Json, expected: &'static str) -> Result<Text, WireError> {
    match json {
        Json::String(text) => Ok(Text::parse(text)?),
        other => Err(WireError::WrongType { field: "inputs", seen: other.kind(), expected }),
    }
}

fn top(parameters: &mut Fields) -> Result<usize, WireError> {
    const FIELD: &str = "parameters.top_k";
    match parameters.take("top_k")? {
        None | Some(Json::Null) => Ok(Label::ALL.len()),
        Some(Json::Count(count)) if count > 0 => {
            Ok(usize::try_from(count).unwrap_or(usize::MAX).min(Label::ALL.len()))
        }
        Some(_) => {
            Err(WireError::WrongValue { field: FIELD, expected: "a whole number from 1, or null" })
        }
    }
}

fn raw(parameters: &mut Fields) -> Result<bool, WireError> {
    const FIELD: &str = "parameters.function_to_apply";
    match parameters.take("function_to_apply")? {
        None | Some(Json::Null) => Ok(false),
        Some(Json::String(name)) if name == "softmax" => Ok(false),
        Some(Json::String(name)) if name == "none" => Ok(true),
        // The labels exclude each other and are calibrated together: a sigmoid of each would be
        // another model's scores.
        Some(_) => {
            Err(WireError::WrongValue { field: FIELD, expected: "\"softmax\", \"none\" or null" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_classifier::{Classifier, TieBreak};

    fn one(text: &str) -> Inputs {
        Inputs::One(Text::parse(text).unwrap())
    }

    fn batch(texts: &[&str]) -> Inputs {
        Inputs::Batch(texts.iter().map(|text| Text::parse(*text).unwrap()).collect())
    }

    #[test]
    fn a_list_of_strings_is_a_batch_for_one_client_and_a_pair_for_the_other() {
        let hub = |body: &str| HubRequest::parse(body.as_bytes()).map(|request| request.inputs);
        let tei = |body: &str| PredictRequest::parse(body.as_bytes()).map(|request| request.inputs);
        let wrong = |result: Result<Inputs, WireError>| result.map_err(|error| error.code());
        let rows = [
            (r#"{"inputs": "a"}"#, Ok(one("a")), Ok(one("a"))),
            (r#"{"inputs": ""}"#, Ok(one("")), Ok(one(""))),
            (r#"{"inputs": ["a"]}"#, Ok(batch(&["a"])), Ok(one("a"))),
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
        for (body, by_hub, by_tei) in rows {
            assert_eq!(wrong(hub(body)), by_hub, "{body}");
            assert_eq!(wrong(tei(body)), by_tei, "{body}");
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let texts = |count: usize| vec!["\"a\""; count].join(",");
        let lists = |count: usize| vec!["[\"a\"]"; count].join(",");
        let hub =
            |count| HubRequest::parse(format!("{{\"inputs\":[{}]}}", texts(count)).as_bytes());
        let tei =
            |count| PredictRequest::parse(format!("{{\"inputs\":[{}]}}", lists(count)).as_bytes());
        assert!(hub(BATCH_MAX).is_ok() && tei(BATCH_MAX).is_ok());
        let expected = WireError::BatchTooLong { texts: BATCH_MAX + 1, limit: BATCH_MAX };
        assert_eq!(hub(BATCH_MAX + 1).unwrap_err(), expected);
        assert_eq!(tei(BATCH_MAX + 1).unwrap_err(), expected);
    }

    #[test]
    fn parameters_choose_how_many_labels_and_which_scale() {
        let parse = |parameters: &str| {
            let body = format!("{{\"inputs\": \"a\", \"parameters\": {parameters}}}");
            let scale = HubRequest::parse(body.as_bytes()).map(|request| request.scale);
            scale.map(|scale| (scale.top, scale.raw)).map_err(|error| error.code())
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
        let prediction = classifier.classify(&Text::parse("").unwrap());
        let raw = Scale { raw: true, top: 8 }.scored(&prediction);
        let plain = Scale { raw: false, top: 8 }.scored(&prediction);
        let sum: f32 = raw.iter().map(|scored| scored.score.exp()).sum();
        for (raw, plain) in raw.iter().zip(&plain) {
            assert!(raw.score.is_finite());
            assert!((raw.score.exp() / sum - plain.score).abs() < 1e-6);
        }
        assert_eq!(Scale { raw: false, top: 1 }.scored(&prediction).len(), 1);
    }
}
