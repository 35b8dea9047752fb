//! The classifier as a wasm-bindgen module, for a browser or for Node.
//!
//! The bytes of a model's files and a text come in; the JSON of [`ClassifyResponse`] goes out. The
//! module fetches nothing, reads no clock and keeps no text except in a [`Batch`]: the page
//! supplies the bytes and measures the time. An invalid model, an invalid setting or a text that is
//! too long throws an `Error` whose message never holds the text. A panic ends the instance; the
//! console gets its place in the source and nothing else.

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

/// Prepares the module when it is instantiated: random bytes come from the host from the start, and
/// a panic prints file and line only, because its message can quote the text.
#[wasm_bindgen(start)]
fn start() {
    jeffrey_wasm_host::random::use_host_randomness();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(
            || "an unknown place".to_owned(),
            |location| format!("{}:{}", location.file(), location.line()),
        );
        console_error(&format!("panic at {place}"));
    }));
}

/// A checked model that classifies texts.
#[wasm_bindgen]
pub struct Browser {
    classifier: Classifier,
    settings: BrowserSettings,
}

/// The texts of a file, with the predictions made so far.
#[wasm_bindgen]
pub struct Batch(ClassifiedRows);

#[wasm_bindgen]
impl Batch {
    /// Returns the number of rows.
    #[wasm_bindgen(getter)]
    pub fn rows(&self) -> usize {
        self.0.rows.len()
    }

    /// Returns all rows as CSV. Rows without a prediction have empty cells. `undefined` means that
    /// writing failed.
    pub fn csv(&self) -> Option<String> {
        self.0.to_csv()
    }
}

/// JSON shape that [`Browser::read`] returns.
#[derive(Serialize)]
struct TextReading<'a> {
    tokens: Option<Vec<String>>,
    rule_words: Option<String>,
    preview: MaskedText,
    masked: Vec<&'a str>,
}

/// JSON shape that [`Browser::answer`] returns.
#[derive(Serialize)]
struct RowPrediction<'a> {
    line: u64,
    text: Option<&'a str>,
    answer: Option<ClassifyResponse>,
    error: Option<String>,
}

/// Tie-break settings as texts, so that one call can override `enabled` and keep the gaps.
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
    /// Checks the bytes of a model's six files and runs the first inference, so that no text pays
    /// for it.
    ///
    /// # Errors
    /// Throws the first fault found in the model, with the file's name.
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

    /// Sets the tie-break from texts in the format of the Workers' variables. A missing value is
    /// the default.
    ///
    /// # Errors
    /// Throws if a value is outside its range, and names the range; the earlier settings stay.
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

    /// Classifies a text and returns a [`ClassifyResponse`] as JSON, without an id.
    /// `tie_break_enabled` overrides the setting for this text.
    ///
    /// # Errors
    /// Throws if the text is longer than [`InputText::BYTES_MAX`].
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

    /// Returns the token ids that the encoder reads for a text, begin and end marks included.
    /// `undefined` means that the encoder does not read the text, for example because it is only
    /// white space.
    ///
    /// # Errors
    /// Throws if the text is longer than [`InputText::BYTES_MAX`].
    pub fn tokens(&self, text: String) -> Result<Option<Vec<u32>>, JsError> {
        let text = InputText::parse(text)?;
        let Some((ids, _)) = self.classifier.tokenize(&text) else { return Ok(None) };
        // Ids are rows of the embedding table: never negative, far below 2^32.
        Ok(Some(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()))
    }

    /// Returns as JSON how a text is read: the `tokens` as the vocabulary writes them (`▁` begins a
    /// word), the `rule_words` that the tie-break counts, the `preview` that a log would hold, and
    /// the kinds of personal data `masked` in the whole text.
    ///
    /// # Errors
    /// Throws if the text is longer than [`InputText::BYTES_MAX`].
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

    /// Parses a file into rows: a table if its name ends in `.csv` or `.tsv`, otherwise one text
    /// per line.
    ///
    /// # Errors
    /// Throws if the file has no rows, too many rows, or (in a table) no column of texts.
    pub fn batch(&self, name: &str, content: &str) -> Result<Batch, JsError> {
        Ok(Batch(ClassifiedRows::new(jeffrey_text_table::parse_text_rows(name, content)?)))
    }

    /// Classifies a row, keeps its prediction, and returns it as JSON: `line`, `text`, and either
    /// `answer` or `error`.
    ///
    /// # Errors
    /// Throws if there is no such row.
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

    /// Returns the id of the loaded model.
    #[wasm_bindgen(getter)]
    pub fn model(&self) -> Option<String> {
        self.classifier.manifest().map(|manifest| manifest.id.clone())
    }

    /// Returns the manifest's sha256: the model's identity, because the manifest names the hash of
    /// every file.
    #[wasm_bindgen(getter)]
    pub fn sha256(&self) -> Option<String> {
        self.classifier.model_sha256().map(str::to_owned)
    }

    /// Returns how many routes are switched off by a dimension mismatch, 0 to 2.
    #[wasm_bindgen(getter, js_name = dimensionMismatches)]
    pub fn dimension_mismatches(&self) -> usize {
        self.classifier.dimension_mismatches()
    }
}
