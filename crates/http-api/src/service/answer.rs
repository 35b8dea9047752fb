//! Predictions: the texts of a body in, the JSON of one format out.
//!
//! The service tokenizes all texts of a request before the encoder reads the first one, and stops at
//! the text that exceeds the token limit. So a request over the limit costs no inference. Inference
//! takes most of the time of an ordinary text and cannot be interrupted.

use super::{ClassifierService, ReplyContent};
use crate::error::ClassifyApiError;
use crate::hf_api::{HfRequest, Inputs, PredictRequest, RankedLabel, ScoreOptions};
use crate::json::{JsonFields, JsonValue};
use crate::settings::ModelWorkerSettings;
use crate::{ClassifyResponse, IdSeed};
use jeffrey_classifier::{Prediction, PreparedText};
use jeffrey_terms::{InputText, ResponseId};

impl ClassifierService {
    pub(super) fn answer_classify(
        &mut self,
        body: &[u8],
        settings: &ModelWorkerSettings,
        id_seed: IdSeed,
    ) -> Result<ReplyContent, ClassifyApiError> {
        let text = self.classifier.prepare(&parse_classify_text(body)?);
        check_token_total([text.token_count()], settings.tokens_max)?;
        let prediction = self.classify_and_count(&text);
        let id = ResponseId::new(id_seed.now, id_seed.random).to_string();
        let model = self.classifier.manifest().map(|manifest| manifest.id.clone());
        Ok(ReplyContent::from_json(200, &ClassifyResponse::new(&prediction, Some(id), model)))
    }

    /// Answers in the nested format: one list per text, also for a single text.
    pub(super) fn answer_hf(
        &mut self,
        body: &[u8],
        settings: &ModelWorkerSettings,
    ) -> Result<ReplyContent, ClassifyApiError> {
        let HfRequest { inputs, score_options } = HfRequest::parse(body)?;
        let texts = self.prepare_texts(inputs.texts(), settings)?;
        Ok(ReplyContent::from_json(200, &self.rank_texts(&texts, score_options)))
    }

    /// Answers with one list for one text, and with a list per text for a batch. Refuses a text over
    /// the token limit before it classifies any, unless the caller lets it be cut.
    pub(super) fn answer_predict(
        &mut self,
        body: &[u8],
        settings: &ModelWorkerSettings,
    ) -> Result<ReplyContent, ClassifyApiError> {
        let PredictRequest { inputs, score_options, truncate } = PredictRequest::parse(body)?;
        let texts = self.prepare_texts(inputs.texts(), settings)?;
        if !truncate && texts.iter().any(PreparedText::is_truncated) {
            let limit = self.classifier.manifest().map_or(0, |manifest| manifest.max_tokens);
            return Err(ClassifyApiError::TooManyTokens { limit });
        }
        let rankings = self.rank_texts(&texts, score_options);
        Ok(match (inputs, rankings.as_slice()) {
            (Inputs::Single(_), [ranking]) => ReplyContent::from_json(200, ranking),
            (_, rankings) => ReplyContent::from_json(200, &rankings),
        })
    }

    /// Tokenizes texts, up to the first that exceeds the request's token limit.
    fn prepare_texts(
        &self,
        texts: &[InputText],
        settings: &ModelWorkerSettings,
    ) -> Result<Vec<PreparedText>, ClassifyApiError> {
        let mut prepared = Vec::with_capacity(texts.len());
        for text in texts {
            prepared.push(self.classifier.prepare(text));
            let token_counts = prepared.iter().map(PreparedText::token_count);
            check_token_total(token_counts, settings.tokens_max)?;
        }
        Ok(prepared)
    }

    fn rank_texts(
        &mut self,
        texts: &[PreparedText],
        score_options: ScoreOptions,
    ) -> Vec<Vec<RankedLabel>> {
        let rank = |text| score_options.rank_labels(&self.classify_and_count(text));
        texts.iter().map(rank).collect()
    }

    fn classify_and_count(&mut self, text: &PreparedText) -> Prediction {
        let prediction = self.classifier.classify_prepared(text);
        self.counters.count_prediction(&prediction);
        prediction
    }
}

/// Checks the sum of the texts' tokens against the limit of one request; `None` is no limit.
fn check_token_total(
    token_counts: impl IntoIterator<Item = usize>,
    limit: Option<usize>,
) -> Result<(), ClassifyApiError> {
    let tokens = token_counts.into_iter().sum();
    match limit {
        Some(limit) if tokens > limit => Err(ClassifyApiError::RequestTokens { tokens, limit }),
        Some(_) | None => Ok(()),
    }
}

/// Parses the text of the native format, `{"text": "…"}`; other fields are ignored.
fn parse_classify_text(body: &[u8]) -> Result<InputText, ClassifyApiError> {
    const FIELD: &str = "text";
    const EXPECTED: &str = "{\"text\": \"…\"}";
    let mut fields = JsonFields::from_json(JsonValue::parse(body, EXPECTED)?, "the body")?;
    match fields.take(FIELD)? {
        Some(JsonValue::String(text)) => Ok(InputText::parse(text)?),
        Some(other) => {
            let (seen, expected) = (other.json_type(), "a string");
            Err(ClassifyApiError::WrongType { field: FIELD, seen, expected })
        }
        None => Err(ClassifyApiError::MissingField { field: FIELD, expected: EXPECTED }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_at_most_as_many_tokens_as_the_limit_over_all_its_texts() {
        // counts, limit, the refused sum
        let rows: [(&[usize], Option<usize>, Option<usize>); 7] = [
            (&[128; 32], None, None),
            (&[], Some(1), None),
            (&[0, 0], Some(1), None),
            (&[128; 4], Some(512), None),
            (&[128, 128, 128, 128, 2], Some(512), Some(514)),
            (&[2], Some(1), Some(2)),
            (&[1, 1], Some(1), Some(2)),
        ];
        for (counts, limit, refused) in rows {
            let error = check_token_total(counts.iter().copied(), limit).err();
            let expected = refused.zip(limit);
            let expected =
                expected.map(|(tokens, limit)| ClassifyApiError::RequestTokens { tokens, limit });
            assert_eq!(error, expected, "{counts:?} {limit:?}");
        }
    }
}
