//! Selection of texts for annotation: answers with low confidence, and answers with user feedback.
//!
//! Events are the only source, so a text is the masked beginning that its event shows. Each text is
//! selected once: those with user feedback first, then those with the lowest confidence.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use jeffrey_terms::{Cohort, Label};

/// One text to be labelled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnnotationRow {
    /// Masked beginning of the text.
    pub text: String,
    /// Label that a user gave or confirmed; `None` without one.
    pub label: Option<Label>,
    /// Language of the text; always `None` here, because events do not have it. The annotator fills
    /// it in.
    pub lang: Option<String>,
    /// Reason why the text was selected.
    pub selection_reason: SelectionReason,
    /// Label that the model gave.
    pub guess: Option<Label>,
    /// Probability of the model's label, 0 to 1.
    pub confidence: Option<f64>,
    /// Label with the second-highest probability.
    pub second_label: Option<Label>,
    /// Time of the answer, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Reason why a text was selected, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectionReason {
    /// A user gave the right label.
    Corrected,
    /// A user rejected the model's label and gave no other.
    Rejected,
    /// A user confirmed the model's label.
    Confirmed,
    /// The model reported low confidence.
    LowConfidence,
}

/// Candidates for annotation, collected from events.
#[derive(Clone, Debug, Default)]
pub struct AnnotationSet {
    /// The model's answers that show a text, by their ids; feedback on them comes later.
    candidates: HashMap<String, AnnotationCandidate>,
    /// Number of the model's answers without a text.
    pub skipped_without_text: u64,
}

#[derive(Clone, Debug)]
struct AnnotationCandidate {
    row: AnnotationRow,
    low_confidence: bool,
    has_feedback: bool,
}

/// Fields of an event that the selection uses.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum AnnotationEvent {
    Classify {
        id: String,
        time_ms: u64,
        destination: Cohort,
        preview: Option<String>,
        label: Option<Label>,
        confidence: Option<f64>,
        low_confidence: Option<bool>,
        top2: Option<[(Label, f64); 2]>,
    },
    Feedback {
        classify_id: String,
        correct_label: Option<Label>,
        good: Option<bool>,
    },
    #[serde(other)]
    Other,
}

impl AnnotationSet {
    /// Reads one event. Answers of the legacy system are not counted.
    ///
    /// # Errors
    /// [`NotAnEvent`] when the line is not an event; the error does not hold the line.
    pub fn add_event_line(&mut self, line: &str) -> Result<(), NotAnEvent> {
        match serde_json::from_str(line) {
            Ok(
                AnnotationEvent::Classify { destination: Cohort::Stable, .. }
                | AnnotationEvent::Other,
            ) => {}
            Ok(AnnotationEvent::Classify { preview: None, .. }) => self.skipped_without_text += 1,
            Ok(AnnotationEvent::Classify {
                id,
                time_ms,
                preview: Some(text),
                label: guess,
                confidence,
                low_confidence,
                top2,
                ..
            }) => {
                let second = top2.map(|[_, (second, _)]| second);
                let (why, label, lang) = (SelectionReason::LowConfidence, None, None);
                let row = AnnotationRow {
                    text,
                    label,
                    lang,
                    selection_reason: why,
                    guess,
                    confidence,
                    second_label: second,
                    time_ms,
                };
                let low_confidence = low_confidence == Some(true);
                // An event that is delivered twice is the same; feedback on the first may be known
                // already.
                self.candidates.entry(id).or_insert(AnnotationCandidate {
                    row,
                    low_confidence,
                    has_feedback: false,
                });
            }
            Ok(AnnotationEvent::Feedback { classify_id, correct_label, good }) => {
                if let Some(AnnotationCandidate { row, has_feedback, .. }) =
                    self.candidates.get_mut(&classify_id)
                {
                    *has_feedback = true;
                    (row.selection_reason, row.label) = match (good, correct_label) {
                        (Some(true), _) => (SelectionReason::Confirmed, row.guess),
                        (_, Some(label)) => (SelectionReason::Corrected, Some(label)),
                        _ => (SelectionReason::Rejected, None),
                    };
                }
            }
            Err(_) => return Err(NotAnEvent),
        }
        Ok(())
    }

    /// Returns the selected texts, each once: those with user feedback first, then those with the
    /// lowest confidence.
    pub fn into_rows(self) -> Vec<AnnotationRow> {
        let chosen = self
            .candidates
            .into_values()
            .filter(|candidate| candidate.low_confidence || candidate.has_feedback);
        let mut rows: Vec<AnnotationRow> =
            chosen.map(|candidate| candidate.row).filter(|row| !row.text.is_empty()).collect();
        rows.sort_by(|a, b| {
            let confidence_of = |row: &AnnotationRow| row.confidence.unwrap_or(0.0);
            (a.selection_reason, confidence_of(a))
                .partial_cmp(&(b.selection_reason, confidence_of(b)))
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| (a.time_ms, &a.text).cmp(&(b.time_ms, &b.text)))
        });
        let mut texts = std::collections::HashSet::new();
        rows.retain(|row| texts.insert(row.text.clone()));
        rows
    }
}

/// Error for a line that is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event of version 3")]
pub struct NotAnEvent;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn classify_event(id: &str, text: Value, confidence: f64) -> String {
        json!({
            "event": "classify", "id": id, "time_ms": 7, "destination": "canary", "preview": text,
            "label": "anger", "confidence": confidence, "low_confidence": confidence < 0.4,
            "top2": [["anger", confidence], ["frustration", 0.2]], "status": 200,
        })
        .to_string()
    }

    fn verdict_event(of: &str, correct: Value, good: Value) -> String {
        json!({"event": "feedback", "id": "v", "classify_id": of, "correct_label": correct, "good": good})
            .to_string()
    }

    #[test]
    fn readers_come_first_then_the_least_sure_and_each_text_once() {
        let mut annotations = AnnotationSet::default();
        let lines = [
            classify_event("a", json!("sure"), 0.9),
            classify_event("b", json!("unsure"), 0.3),
            classify_event("c", json!("less sure"), 0.2),
            classify_event("d", json!("wrong"), 0.8),
            classify_event("e", json!("right"), 0.35),
            classify_event("f", json!("unsure"), 0.1),
            classify_event("g", json!("what else"), 0.5),
            classify_event("h", Value::Null, 0.1),
            classify_event("i", json!(""), 0.1),
            classify_event("j", json!("old"), 0.1).replace("canary", "stable"),
            verdict_event("d", json!("joy"), json!(false)),
            verdict_event("e", Value::Null, json!(true)),
            verdict_event("g", Value::Null, json!(false)),
            verdict_event("unknown", json!("joy"), json!(false)),
            classify_event("d", json!("wrong"), 0.8),
            json!({"event": "of a later version"}).to_string(),
        ];
        for line in lines {
            assert_eq!(annotations.add_event_line(&line), Ok(()), "{line}");
        }
        assert_eq!(annotations.add_event_line("a text"), Err(NotAnEvent));
        assert_eq!(annotations.skipped_without_text, 1);
        let rows = annotations.into_rows();
        let selected: Vec<_> =
            rows.iter().map(|row| (row.text.as_str(), row.label, row.selection_reason)).collect();
        assert_eq!(
            selected,
            [
                ("wrong", Some(Label::Joy), SelectionReason::Corrected),
                ("what else", None, SelectionReason::Rejected),
                ("right", Some(Label::Anger), SelectionReason::Confirmed),
                ("unsure", None, SelectionReason::LowConfidence),
                ("less sure", None, SelectionReason::LowConfidence),
            ]
        );
        assert_eq!(rows[3].confidence, Some(0.1));
        assert_eq!(
            (rows[0].guess, rows[0].second_label),
            (Some(Label::Anger), Some(Label::Frustration))
        );
    }
}
