//! Checks that every golden row gets the same answer as in Python, and that a broken model is
//! refused.
//!
//! The training writes `tests/data/golden.jsonl`. The tests in workerd and in the browser use the
//! same file.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod support;

use jeffrey_classifier::{ModelLoadError, Prediction, SkipReason};
use jeffrey_terms::{InputText, Label, PredictionRoute};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{CLASSIFIER, MANIFEST_FILES, ModelCopy, golden_rows};

/// Largest accepted difference between a score and Python's.
const SCORE_TOLERANCE: f32 = 1e-3;

fn parse_text(text: &str) -> InputText {
    InputText::parse(text).unwrap()
}

/// Route and reason of each route that was skipped.
fn skipped_routes(prediction: &Prediction) -> Vec<(PredictionRoute, SkipReason)> {
    prediction.skipped_routes.iter().map(|skipped| (skipped.route, skipped.reason)).collect()
}

#[test]
fn every_golden_row_is_answered_as_in_python() {
    let rows = golden_rows();
    assert!(rows.len() >= 500, "{} rows", rows.len());
    for lang in ["en", "fr"] {
        assert!(rows.iter().filter(|row| row.lang == lang).count() >= 100, "{lang}");
    }
    let mut faults = Vec::new();
    let mut widest: f32 = 0.0;
    for row in &rows {
        let text = parse_text(&row.text);
        let prediction = CLASSIFIER.classify(&text);
        let Some(expected) = row.scores else {
            // The text is only white space, so no route was tried.
            assert_eq!(prediction.route, PredictionRoute::Empty, "{}", row.id);
            assert_eq!(prediction.primary, row.label, "{}", row.id);
            assert_eq!(prediction.token_count, row.ids.len(), "{}", row.id);
            continue;
        };
        let ids = CLASSIFIER.tokenize(&text);
        if ids != Some((row.ids.clone(), row.truncated)) {
            faults.push(format!("{}: ids {ids:?}, in Python {:?}", row.id, row.ids));
        }
        assert_eq!(prediction.route, PredictionRoute::LinearHead, "{}", row.id);
        assert_eq!(prediction.truncated, row.truncated, "{}", row.id);
        assert_eq!(prediction.token_count, row.ids.len(), "{}", row.id);
        if prediction.primary != row.label {
            faults.push(format!("{}: {}, in Python {}", row.id, prediction.primary, row.label));
        }
        for (got, expected) in prediction.scores.as_array().iter().zip(expected) {
            let gap = (got - expected).abs();
            widest = widest.max(gap);
            if gap.is_nan() || gap > SCORE_TOLERANCE {
                faults.push(format!("{}: score {got}, in Python {expected}", row.id));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    println!("{} rows, widest difference of a score {widest:e}", rows.len());
}

#[test]
fn a_flipped_byte_refuses_the_model_and_names_the_file() {
    let shipped = ModelCopy::shipped();
    for name in MANIFEST_FILES {
        let length = shipped.files[name].len();
        for index in [0, length / 2, length - 1] {
            let mut broken = shipped.clone();
            broken.files.get_mut(name).unwrap()[index] ^= 1;
            let error = broken.load().map(|_| ()).unwrap_err();
            assert!(matches!(error, ModelLoadError::HashMismatch { .. }), "{error}");
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let mut cut = shipped.clone();
        cut.files.get_mut(name).unwrap().pop();
        let error = cut.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
    let mut broken = shipped.clone();
    broken.manifest[0] ^= 1;
    let error = broken.load().map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("manifest.json: "), "{error}");
}

/// Tests faults with correct hashes, as a careless export would write them.
#[test]
fn a_fault_in_a_file_refuses_the_model_and_names_it() {
    let shipped_model = ModelCopy::shipped;
    let swap_labels = |file: &mut Value| file["labels"].as_array_mut().unwrap().swap(0, 1);
    let rows: [(&str, ModelCopy); 14] = [
        (
            "manifest.json: format 2",
            shipped_model().edit_manifest(|file| file["format"] = json!(2)),
        ),
        ("manifest.json: labels", shipped_model().edit_manifest(swap_labels)),
        (
            "manifest.json: max_tokens",
            shipped_model().edit_manifest(|file| file["max_tokens"] = json!(2)),
        ),
        (
            "manifest.json: names no head.json",
            shipped_model().edit_manifest(|file| {
                file["files"].as_object_mut().unwrap().remove("head.json");
            }),
        ),
        (
            "config.json: labels",
            shipped_model().edit_file("config.json", |file| file["id2label"]["0"] = json!("fear")),
        ),
        ("head.json: labels", shipped_model().edit_file("head.json", swap_labels)),
        (
            "head.json: rows has length 7, not 8",
            shipped_model().edit_file("head.json", |file| {
                file["weights"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "head.json: row has length",
            shipped_model().edit_file("head.json", |file| {
                file["weights"][3].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "head.json: bias has length 7, not 8",
            shipped_model().edit_file("head.json", |file| {
                file["bias"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "head.json: temperature holds",
            shipped_model().edit_file("head.json", |file| file["temperature"] = json!(0.0)),
        ),
        (
            "prototypes.json: scale holds",
            shipped_model().edit_file("prototypes.json", |file| file["scale"] = json!(-1.0)),
        ),
        (
            "tokenizer.json: vocabulary has length",
            shipped_model().edit_manifest(|file| file["vocabulary"] = json!(10)),
        ),
        (
            "onnx/model_quantized.onnx: the output [1, ",
            shipped_model().edit_manifest(|file| file["dim"] = json!(64)),
        ),
        ("onnx/model_quantized.onnx: ", {
            let mut cut = shipped_model();
            let half = cut.files["onnx/model_quantized.onnx"].len() / 2;
            let bytes = cut.files["onnx/model_quantized.onnx"][..half].to_vec();
            cut.replace_file("onnx/model_quantized.onnx", bytes);
            cut
        }),
    ];
    for (expected, model) in rows {
        let error = model.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
}

/// Tests NaN and infinities. JSON has no NaN: Python's `json` writes the bare word, and a number
/// too large for an f32 becomes an infinity when it is read.
#[test]
fn weights_that_are_not_finite_refuse_the_model() {
    for (file, field) in [("head.json", "weights"), ("prototypes.json", "vectors")] {
        let huge = ModelCopy::shipped().edit_file(file, |value| value[field][2][5] = json!(1e39));
        let error = huge.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(file), "{error}");

        let mut nan = ModelCopy::shipped();
        let text = String::from_utf8(nan.files[file].clone()).unwrap();
        let (before, after) = text.split_once("[[").unwrap();
        let (_, after) = after.split_once(',').unwrap();
        nan.replace_file(file, format!("{before}[[NaN,{after}").into_bytes());
        let error = nan.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(file), "{error}");
    }
}

/// Removes one column from each row and lowers the dimension to match.
fn narrow_rows(file: &mut Value, field: &str) {
    let rows = file[field].as_array_mut().unwrap();
    for row in rows {
        row.as_array_mut().unwrap().pop();
    }
    file["dim"] = json!(file["dim"].as_u64().unwrap() - 1);
}

#[test]
fn a_head_of_another_dimension_is_switched_off_and_prototypes_answer() {
    let model = ModelCopy::shipped().edit_file("head.json", |file| narrow_rows(file, "weights"));
    let classifier = model.load().unwrap();
    assert_eq!(classifier.dimension_mismatches(), 1);
    let prediction = classifier.classify(&parse_text("Je suis furieux !"));
    assert_eq!(prediction.route, PredictionRoute::Prototypes);
    let reason = SkipReason::DimensionMismatch;
    assert_eq!(skipped_routes(&prediction), [(PredictionRoute::LinearHead, reason)]);
    assert_sound(&prediction);

    let both_narrowed = model.edit_file("prototypes.json", |file| narrow_rows(file, "vectors"));
    let classifier = both_narrowed.load().unwrap();
    assert_eq!(classifier.dimension_mismatches(), 2);
    let prediction = classifier.classify(&parse_text("Je suis furieux !"));
    assert_eq!(prediction.route, PredictionRoute::Regex);
    let expected = [(PredictionRoute::LinearHead, reason), (PredictionRoute::Prototypes, reason)];
    assert_eq!(skipped_routes(&prediction), expected);
    assert_sound(&prediction);
}

#[test]
fn prototypes_of_another_dimension_are_counted_while_the_head_answers() {
    let model =
        ModelCopy::shipped().edit_file("prototypes.json", |file| narrow_rows(file, "vectors"));
    let classifier = model.load().unwrap();
    assert_eq!(classifier.dimension_mismatches(), 1);
    let prediction = classifier.classify(&parse_text("I am so happy"));
    assert_eq!(
        (prediction.route, skipped_routes(&prediction)),
        (PredictionRoute::LinearHead, vec![])
    );
}

/// Tests overflow: every number in the files is finite, but their product is not.
#[test]
fn scores_that_overflow_never_leave_and_the_next_route_answers() {
    let overflow = |file: &mut Value, field: &str, scale: &str, scale_value: f64| {
        for row in file[field].as_array_mut().unwrap() {
            for weight in row.as_array_mut().unwrap() {
                *weight = json!(3e38 * weight.as_f64().unwrap().signum());
            }
        }
        file[scale] = json!(scale_value);
    };
    let head = ModelCopy::shipped()
        .edit_file("head.json", |file| overflow(file, "weights", "temperature", 1e-30));
    let prediction = head.load().unwrap().classify(&parse_text("I am so happy"));
    assert_eq!(prediction.route, PredictionRoute::Prototypes);
    assert_eq!(skipped_routes(&prediction), [(PredictionRoute::LinearHead, SkipReason::NotFinite)]);
    assert_sound(&prediction);

    let both_overflowing =
        head.edit_file("prototypes.json", |file| overflow(file, "vectors", "scale", 3e38));
    let prediction = both_overflowing.load().unwrap().classify(&parse_text("I am so happy"));
    assert_eq!(prediction.route, PredictionRoute::Regex);
    let reason = SkipReason::NotFinite;
    assert_eq!(
        skipped_routes(&prediction),
        [(PredictionRoute::LinearHead, reason), (PredictionRoute::Prototypes, reason)]
    );
    assert_sound(&prediction);
}

#[test]
fn a_long_text_is_truncated_and_the_answer_says_so() {
    let max_tokens = CLASSIFIER.manifest().unwrap().max_tokens;
    assert_eq!(max_tokens, 128);
    let rows = [
        "mot ".repeat(10_000),
        "word\n".repeat(10_000),
        // One word of 64 KiB, then texts that split into the most pieces.
        "a".repeat(InputText::BYTES_MAX),
        "é\u{301}".repeat(InputText::BYTES_MAX / 4),
        "😡".repeat(InputText::BYTES_MAX / 4),
    ];
    for row in rows {
        let text = parse_text(&row);
        let (ids, truncated) = CLASSIFIER.tokenize(&text).unwrap();
        let start: String = row.chars().take(4).collect();
        assert_eq!((ids.len(), truncated), (max_tokens, true), "{start:?}");
        let prediction = CLASSIFIER.classify(&text);
        assert!(prediction.truncated, "{start:?}");
        assert_eq!(prediction.token_count, max_tokens, "{start:?}");
        assert_sound(&prediction);
    }
}

#[test]
fn white_space_alone_is_neutral_and_asks_no_route() {
    for row in ["", " ", "\t\r\n", "\u{a0}\u{2028}\u{3000}", &" ".repeat(InputText::BYTES_MAX)] {
        let prediction = CLASSIFIER.classify(&parse_text(row));
        assert_eq!(
            (prediction.primary, prediction.route),
            (Label::Neutral, PredictionRoute::Empty)
        );
        assert_eq!((prediction.token_count, prediction.confidence()), (0, 1.0));
    }
}

/// Asserts that the scores are finite and sum to 1, and that the highest is the primary label's.
fn assert_sound(prediction: &Prediction) {
    let scores = prediction.scores.as_array();
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    let sum: f32 = scores.iter().sum();
    assert!((sum - 1.0).abs() < 1e-5, "{scores:?} sum to {sum}");
    assert_eq!(prediction.primary, prediction.scores.top_label());
}

/// Generates any scalar value, with a preference for those that break tokenizers: combining marks,
/// joiners, controls, private and unassigned ones, directions, emoji, French letters, white space.
fn odd_char() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => any::<char>(),
        2 => prop::char::range(' ', '~'),
        1 => prop::char::range('\u{0}', '\u{1f}'),
        1 => prop::char::range('\u{a0}', '\u{17f}'),
        1 => prop::char::range('\u{300}', '\u{36f}'),
        1 => prop::char::range('\u{2000}', '\u{206f}'),
        1 => prop::char::range('\u{e000}', '\u{e010}'),
        1 => prop::char::range('\u{fe00}', '\u{fe0f}'),
        1 => prop::char::range('\u{fff0}', '\u{ffff}'),
        1 => prop::char::range('\u{1f300}', '\u{1f64f}'),
        1 => prop::char::range('\u{e0000}', '\u{e007f}'),
    ]
}

proptest! {
    // No file of past failures is kept: a failing text gets a test of its own.
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_unicode_gets_sound_scores(chars in prop::collection::vec(odd_char(), 0..160)) {
        let text = parse_text(&String::from_iter(chars));
        let prediction = CLASSIFIER.classify(&text);
        assert_sound(&prediction);
        if prediction.route != PredictionRoute::Empty {
            prop_assert_eq!(prediction.route, PredictionRoute::LinearHead);
            if let Some((ids, truncated)) = CLASSIFIER.tokenize(&text) {
                prop_assert!((2..=128).contains(&ids.len()));
                prop_assert_eq!((ids.len(), truncated), (prediction.token_count, prediction.truncated));
            }
        }
    }
}
