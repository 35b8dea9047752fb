//! What a person should read and label: answers the model was unsure of, and those that readers judged.
//!
//! Out of events alone, so the texts are the masked beginnings that these show.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use jeffrey_terms::{Cohort, Label};

/// One text to be labelled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its masked beginning.
    pub text: String,
    /// What a reader said it is; none as long as nobody has.
    pub label: Option<Label>,
    /// For whoever labels it: the event does not know.
    pub lang: Option<String>,
    /// Why it is here.
    pub why: Why,
    /// What the model took it for.
    pub guess: Option<Label>,
    /// How sure it was.
    pub confidence: Option<f64>,
    /// What came second.
    pub second: Option<Label>,
    /// When it was answered, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Why a text is to be labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A reader said what it is instead.
    Corrected,
    /// A reader said that it is not what the model said.
    Rejected,
    /// A reader said that it is what the model said.
    Confirmed,
    /// The model was below its threshold.
    LowConfidence,
}

/// Rows in the making.
#[derive(Clone, Debug, Default)]
pub struct Annotation {
    /// The model's answers that show a text, by their ids: a verdict comes later.
    answers: HashMap<String, Answer>,
    /// Answers of the model that show no text.
    pub hidden: u64,
}

#[derive(Clone, Debug)]
struct Answer {
    row: Row,
    low_confidence: bool,
    judged: bool,
}

/// What is read of an event.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
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
    Verdict {
        of: String,
        correct_label: Option<Label>,
        good: Option<bool>,
    },
    #[serde(other)]
    Other,
}

impl Annotation {
    /// Reads one event; those of the old system's answers count for nothing.
    ///
    /// # Errors
    /// When the line is no event. The error does not hold the line.
    pub fn line(&mut self, line: &str) -> Result<(), NoEvent> {
        match serde_json::from_str(line) {
            Ok(Line::Classify { destination: Cohort::Stable, .. } | Line::Other) => {}
            Ok(Line::Classify { preview: None, .. }) => self.hidden += 1,
            Ok(Line::Classify {
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
                let (why, label, lang) = (Why::LowConfidence, None, None);
                let row = Row { text, label, lang, why, guess, confidence, second, time_ms };
                let low_confidence = low_confidence == Some(true);
                // Delivered twice, it is the same again; its verdict may be known already.
                self.answers.entry(id).or_insert(Answer { row, low_confidence, judged: false });
            }
            Ok(Line::Verdict { of, correct_label, good }) => {
                if let Some(Answer { row, judged, .. }) = self.answers.get_mut(&of) {
                    *judged = true;
                    (row.why, row.label) = match (good, correct_label) {
                        (Some(true), _) => (Why::Confirmed, row.guess),
                        (_, Some(label)) => (Why::Corrected, Some(label)),
                        _ => (Why::Rejected, None),
                    };
                }
            }
            Err(_) => return Err(NoEvent),
        }
        Ok(())
    }

    /// What is to be labelled, each text once: what readers judged first, then what the model was least sure of.
    pub fn rows(self) -> Vec<Row> {
        let chosen = self.answers.into_values().filter(|of| of.low_confidence || of.judged);
        let mut rows: Vec<Row> =
            chosen.map(|of| of.row).filter(|row| !row.text.is_empty()).collect();
        rows.sort_by(|a, b| {
            let sure = |row: &Row| row.confidence.unwrap_or(0.0);
            (a.why, sure(a))
                .partial_cmp(&(b.why, sure(b)))
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| (a.time_ms, &a.text).cmp(&(b.time_ms, &b.text)))
        });
        let mut seen = std::collections::HashSet::new();
        rows.retain(|row| seen.insert(row.text.clone()));
        rows
    }
}

/// A line that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event of version 3")]
pub struct NoEvent;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer(id: &str, text: Value, confidence: f64) -> String {
        json!({
            "event": "classify", "id": id, "time_ms": 7, "destination": "canary", "preview": text,
            "label": "anger", "confidence": confidence, "low_confidence": confidence < 0.4,
            "top2": [["anger", confidence], ["frustration", 0.2]], "status": 200,
        })
        .to_string()
    }

    fn verdict(of: &str, correct: Value, good: Value) -> String {
        json!({"event": "verdict", "id": "v", "of": of, "correct_label": correct, "good": good})
            .to_string()
    }

    #[test]
    fn readers_come_first_then_the_least_sure_and_each_text_once() {
        let mut all = Annotation::default();
        let lines = [
            answer("a", json!("sure"), 0.9),
            answer("b", json!("unsure"), 0.3),
            answer("c", json!("less sure"), 0.2),
            answer("d", json!("wrong"), 0.8),
            answer("e", json!("right"), 0.35),
            answer("f", json!("unsure"), 0.1),
            answer("g", json!("what else"), 0.5),
            answer("h", Value::Null, 0.1),
            answer("i", json!(""), 0.1),
            answer("j", json!("old"), 0.1).replace("canary", "stable"),
            verdict("d", json!("joy"), json!(false)),
            verdict("e", Value::Null, json!(true)),
            verdict("g", Value::Null, json!(false)),
            verdict("unknown", json!("joy"), json!(false)),
            answer("d", json!("wrong"), 0.8),
            json!({"event": "of a later version"}).to_string(),
        ];
        for line in lines {
            assert_eq!(all.line(&line), Ok(()), "{line}");
        }
        assert_eq!(all.line("a text"), Err(NoEvent));
        assert_eq!(all.hidden, 1);
        let rows = all.rows();
        let found: Vec<_> =
            rows.iter().map(|row| (row.text.as_str(), row.label, row.why)).collect();
        assert_eq!(
            found,
            [
                ("wrong", Some(Label::Joy), Why::Corrected),
                ("what else", None, Why::Rejected),
                ("right", Some(Label::Anger), Why::Confirmed),
                ("unsure", None, Why::LowConfidence),
                ("less sure", None, Why::LowConfidence),
            ]
        );
        assert_eq!(rows[3].confidence, Some(0.1));
        assert_eq!((rows[0].guess, rows[0].second), (Some(Label::Anger), Some(Label::Frustration)));
    }
}
