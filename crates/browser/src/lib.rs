//! The page's door: the core by wasm-bindgen, for a browser or for Node.
//!
//! Bytes of a model's files and a text come in, the JSON of [`Answer`] goes out. It fetches nothing,
//! reads no clock and keeps no text: the page hands in bytes and takes its own time. What is wrong
//! with a model, a setting or a text's length is thrown as an `Error` whose message never holds the
//! text. A panic ends the instance; the console gets its place in the source and nothing else.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use jeffrey_classifier::{Classifier, ModelFiles, TieBreak, TieBreakSettingError};
use jeffrey_http_api::ClassifyResponse;
use jeffrey_mask::{MaskedText, mask_with_spans};
use jeffrey_terms::InputText;
use jeffrey_text_table::{ClassifiedRows, TextRow};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Runs once, when the module is instantiated: a page may draw random bytes from its first moment,
/// and a panic prints file and line only, because its message can quote what was being read.
#[wasm_bindgen(start)]
fn start() {
    jeffrey_wasm_host::random::ask_the_host();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(
            || "an unknown place".to_owned(),
            |location| format!("{}:{}", location.file(), location.line()),
        );
        console_error(&format!("panic at {place}"));
    }));
}

/// A checked model that answers texts.
#[wasm_bindgen]
pub struct Browser {
    classifier: Classifier,
    settings: BrowserSettings,
}

/// A file's texts, and the answers of those that were asked for.
#[wasm_bindgen]
pub struct Batch(ClassifiedRows);

#[wasm_bindgen]
impl Batch {
    /// How many rows there are.
    #[wasm_bindgen(getter)]
    pub fn rows(&self) -> usize {
        self.0.rows.len()
    }

    /// All rows as CSV; what was not answered has empty cells.
    pub fn csv(&self) -> Option<String> {
        self.0.to_csv()
    }
}

/// What [`Browser::read`] says.
#[derive(Serialize)]
struct TextReading<'a> {
    tokens: Option<Vec<String>>,
    rule_words: Option<String>,
    preview: MaskedText,
    masked: Vec<&'a str>,
}

/// What [`Browser::answer`] says.
#[derive(Serialize)]
struct RowPrediction<'a> {
    line: u64,
    text: Option<&'a str>,
    answer: Option<ClassifyResponse>,
    error: Option<String>,
}

/// The tie-break's settings as texts, so that a call can switch it without losing the gaps.
#[derive(Default)]
struct BrowserSettings {
    enabled: Option<String>,
    delta: Option<String>,
    extended_delta: Option<String>,
}

impl BrowserSettings {
    fn tie_break(&self, enabled: Option<bool>) -> Result<TieBreak, TieBreakSettingError> {
        let requested = enabled.map(|enabled| enabled.to_string());
        let enabled = requested.as_deref().or(self.enabled.as_deref());
        TieBreak::parse(enabled, self.delta.as_deref(), self.extended_delta.as_deref())
    }
}

#[wasm_bindgen]
impl Browser {
    /// Checks the bytes of a model's six files and makes it ready, first inference included.
    ///
    /// # Errors
    /// The first fault found in the model, by file.
    #[wasm_bindgen(constructor)]
    pub fn new(
        manifest: &[u8],
        config: &[u8],
        tokenizer: &[u8],
        encoder: &[u8],
        head: &[u8],
        prototypes: &[u8],
    ) -> Result<Self, JsError> {
        let files = ModelFiles { manifest, config, tokenizer, encoder, head, prototypes };
        let classifier = Classifier::from_bytes(&files, TieBreak::default())?;
        Ok(Self { classifier, settings: BrowserSettings::default() })
    }

    /// Sets the tie-break from texts as the other doors do; what is left out is the default.
    ///
    /// # Errors
    /// A value outside its range, with the range; the settings before stay.
    #[wasm_bindgen(js_name = setTieBreak)]
    pub fn set_tie_break(
        &mut self,
        enabled: Option<String>,
        delta: Option<String>,
        extended_delta: Option<String>,
    ) -> Result<(), JsError> {
        let settings = BrowserSettings { enabled, delta, extended_delta };
        settings.tie_break(None)?;
        self.settings = settings;
        Ok(())
    }

    /// The answer as JSON, without an id. `tie_break_enabled` overrides the setting for this text.
    ///
    /// # Errors
    /// A text above the limit of [`Text::BYTES_MAX`].
    pub fn classify(
        &mut self,
        text: String,
        tie_break_enabled: Option<bool>,
    ) -> Result<String, JsError> {
        let text = InputText::parse(text)?;
        self.classifier.set_tie_break(self.settings.tie_break(tie_break_enabled)?);
        let prediction = self.classifier.classify(&text);
        let response = ClassifyResponse::new(&prediction, None, self.model());
        Ok(serde_json::to_string(&response)?)
    }

    /// The ids that the encoder reads for a text, begin and end marks included.
    ///
    /// # Errors
    /// A text above the limit of [`Text::BYTES_MAX`].
    pub fn tokens(&self, text: String) -> Result<Option<Vec<u32>>, JsError> {
        let text = InputText::parse(text)?;
        let Some((ids, _)) = self.classifier.tokenize(&text) else { return Ok(None) };
        // Ids are rows of the embedding table: never negative, far below 2^32.
        Ok(Some(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()))
    }

    /// How a text is read, as JSON: `tokens` as the vocabulary writes them (`▁` begins a word), `rule_words` that the
    /// tie-break would count, and the `preview` that a log would hold, with the kinds of what was `masked` in the whole
    /// text.
    ///
    /// # Errors
    /// A text above the limit of [`Text::BYTES_MAX`].
    pub fn read(&self, text: String) -> Result<String, JsError> {
        let text = InputText::parse(text)?;
        let (masked, detections) = mask_with_spans(text.expose());
        let mut kinds: Vec<&str> =
            detections.iter().map(|detection| detection.kind.placeholder()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        Ok(serde_json::to_string(&TextReading {
            tokens: self.classifier.tokenize_to_pieces(&text),
            rule_words: Classifier::find_rule_words(&text),
            preview: masked.preview(),
            masked: kinds,
        })?)
    }

    /// The texts of a file, by its name's ending: CSV, or a text a line.
    ///
    /// # Errors
    /// No row, too many, or no column of texts.
    pub fn batch(&self, name: &str, content: &str) -> Result<Batch, JsError> {
        Ok(Batch(ClassifiedRows::new(jeffrey_text_table::parse_file(name, content)?)))
    }

    /// Classifies a row, keeps its answer, and returns it as JSON: `line` and `text`, and either `answer` or `error`.
    ///
    /// # Errors
    /// No such row.
    pub fn answer(&mut self, batch: &mut Batch, row: usize) -> Result<String, JsError> {
        self.classifier.set_tie_break(self.settings.tie_break(None)?);
        let prediction = batch.0.classify_row(row, |text| self.classifier.classify(text));
        let response =
            prediction.map(|prediction| ClassifyResponse::new(prediction, None, self.model()));
        let Some(TextRow { line, text }) = batch.0.rows.get(row) else {
            return Err(JsError::new(&format!("no row {row} of {}", batch.rows())));
        };
        let error = text.as_ref().err().map(ToString::to_string);
        let text = text.as_ref().ok().map(InputText::expose);
        Ok(serde_json::to_string(&RowPrediction { line: *line, text, answer: response, error })?)
    }

    /// Id of the model in use.
    #[wasm_bindgen(getter)]
    pub fn model(&self) -> Option<String> {
        self.classifier.manifest().map(|manifest| manifest.id.clone())
    }

    /// The sha256 of the manifest, which names every file's: the model's identity.
    #[wasm_bindgen(getter)]
    pub fn sha256(&self) -> Option<String> {
        self.classifier.sha256().map(str::to_owned)
    }

    /// How many routes were switched off for their dimension, 0 to 2.
    #[wasm_bindgen(getter, js_name = dimensionMismatches)]
    pub fn dimension_mismatches(&self) -> usize {
        self.classifier.dimension_mismatches()
    }
}
