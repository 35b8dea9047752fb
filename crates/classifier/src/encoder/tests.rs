//! Tests of the encoder's graph checks.
//!
//! One graph is valid and runs at every length. The others have exactly one fault each, and the
//! error names its place.

use super::*;
use crate::onnx::written::{GraphBuilder, float_weight, int8_weight};

const VOCABULARY: usize = 3;
/// Floats of a token row, and of the embedding.
const EMBEDDING_WIDTH: usize = 4;

fn manifest() -> ModelManifest {
    let json = serde_json::json!({
        "format": 1, "id": "tiny", "labels": jeffrey_terms::Label::ALL, "dim": EMBEDDING_WIDTH,
        "max_tokens": 16, "vocabulary": VOCABULARY, "files": {},
    });
    serde_json::from_value(json).expect("a manifest")
}

/// Returns a graph that uses every layer once: a table of three rows, a block, attention, pooling.
fn valid_graph() -> GraphBuilder {
    let w = EMBEDDING_WIDTH;
    let mut graph = GraphBuilder::new("ids", "embedding");
    graph
        .add_weight("table", int8_weight(&[VOCABULARY, w], |i| i as i8 * 9 - 40))
        .add_weight("table.scale", float_weight(&[w], |_| 0.05))
        .add_node("Embed", &["ids", "table", "table.scale"], "rows")
        .add_weight("ones", float_weight(&[w], |_| 1.0))
        .add_node("LayerNormalization", &["rows", "ones"], "normed")
        .add_float_attribute("epsilon", 1e-5)
        .add_linear("both", "normed", w, 2 * w)
        .add_weight("taps", float_weight(&[w, 1, 3], |i| i as f32 * 0.1))
        .add_weight("taps.bias", float_weight(&[w], |_| 0.1))
        .add_node("GatedConvolution", &["both", "taps", "taps.bias"], "mixed")
        .add_node("Add", &["rows", "mixed"], "sum")
        .add_linear("three", "sum", w, 3 * w)
        .add_node("Attention", &["three"], "attended")
        .add_int_attribute("heads", 2)
        .add_node("Relu", &["attended"], "positive")
        .add_weight("score", float_weight(&[w, 1], |i| i as f32))
        .add_node("Pool", &["positive", "score"], "pooled")
        .add_linear("embedding", "pooled", 2 * w, w);
    graph
}

fn load(graph: &GraphBuilder) -> Result<Encoder, String> {
    Encoder::from_bytes(&graph.encode(), &manifest()).map_err(|error| error.to_string())
}

#[test]
fn a_whole_graph_runs_at_every_length_and_depends_on_the_ids() {
    let encoder = load(&valid_graph()).expect("a whole graph");
    for tokens in [1, 2, 3, 16, 200] {
        let embedding = encoder.embed(&vec![1; tokens]).expect("ids in the table");
        assert_eq!(embedding.len(), EMBEDDING_WIDTH);
        assert!(embedding.iter().all(|value| value.is_finite()), "{embedding:?}");
    }
    let (a, b) = (encoder.embed(&[0, 1, 2]), encoder.embed(&[2, 1, 0]));
    assert_ne!(a.expect("ids in the table"), b.expect("ids in the table"));
}

#[test]
fn an_id_outside_the_table_is_an_error() {
    let encoder = load(&valid_graph()).expect("a whole graph");
    for id in [VOCABULARY as i64, -1, i64::MAX] {
        let error = encoder.embed(&[0, id]).expect_err("no such row").to_string();
        assert!(error.contains(&format!("id {id} of 3 rows")), "{error}");
    }
}

#[test]
fn a_graph_that_is_wrong_in_one_place_is_refused_and_the_place_named() {
    type GraphEdit = fn(&mut GraphBuilder);
    let cases: [(&str, GraphEdit); 21] = [
        ("node `sum`: no layer Sum with 2 inputs of widths [4, 4]", |w| {
            w.set_op_type("sum", "Sum")
        }),
        ("node `rows`: Embed does not read `ids`", |w| w.set_input("rows", 0, "other")),
        ("node `rows`: no weight `gone`", |w| w.set_input("rows", 1, "gone")),
        ("node `rows`: the weight `table` has type 1, not 3", |w| {
            w.replace_weight("table", float_weight(&[VOCABULARY, EMBEDDING_WIDTH], |_| 1.0));
        }),
        ("node `rows`: the table has shape [12], not [3, 4]", |w| {
            w.replace_weight("table", int8_weight(&[VOCABULARY * EMBEDDING_WIDTH], |_| 1));
        }),
        ("node `rows`: scale holds a value that is not finite", |w| {
            w.replace_weight("table.scale", float_weight(&[EMBEDDING_WIDTH], |_| f32::NAN));
        }),
        ("the embedding table has 2 rows for a vocabulary of 3", |w| {
            w.replace_weight("table", int8_weight(&[VOCABULARY - 1, EMBEDDING_WIDTH], |_| 1));
        }),
        ("node `rows`: the weight `table` of shape [3, 4] holds 11 bytes", |w| {
            w.truncate_weight("table")
        }),
        ("node `normed`: the ones has shape [5], not [4]", |w| {
            w.replace_weight("ones", float_weight(&[EMBEDDING_WIDTH + 1], |_| 1.0));
        }),
        ("node `normed`: LayerNormalization has no attribute `epsilon`", |w| {
            w.clear_attributes("normed")
        }),
        ("node `both`: the weight has shape [5, 8], not [4, 8]", |w| {
            w.replace_weight(
                "both.weight",
                int8_weight(&[EMBEDDING_WIDTH + 1, 2 * EMBEDDING_WIDTH], |_| 1),
            );
        }),
        ("node `both`: bias has length 7, not 8", |w| {
            w.replace_weight("both.bias", float_weight(&[2 * EMBEDDING_WIDTH - 1], |_| 0.0));
        }),
        ("node `both`: scale holds a value that is not finite", |w| {
            w.replace_weight(
                "both.scale",
                float_weight(&[2 * EMBEDDING_WIDTH], |i| 1.0 / i as f32),
            );
        }),
        ("node `mixed`: the kernel 2 is not odd", |w| {
            w.replace_weight("taps", float_weight(&[EMBEDDING_WIDTH, 1, 2], |_| 1.0));
        }),
        ("node `mixed`: the weight `taps.bias` holds a value that is not finite", |w| {
            w.replace_weight("taps.bias", float_weight(&[EMBEDDING_WIDTH], |_| f32::INFINITY));
        }),
        ("node `mixed`: no layer GatedConvolution with 0 inputs", |w| {
            w.set_input("mixed", 0, "sum")
        }),
        ("node `sum`: no layer Add with 2 inputs of widths [4, 8]", |w| {
            w.set_input("sum", 1, "both")
        }),
        ("node `attended`: Attention has no attribute `heads`", |w| w.clear_attributes("attended")),
        ("node `pooled`: the score has shape [4], not [4, 1]", |w| {
            w.replace_weight("score", float_weight(&[EMBEDDING_WIDTH], |_| 1.0));
        }),
        ("the output of one row a token is not 4 numbers", |w| w.set_output("sum")),
        ("the output `nothing`, which no node computes, is not 4 numbers", |w| {
            w.set_output("nothing")
        }),
    ];
    for (expected, edit) in cases {
        let mut graph = valid_graph();
        edit(&mut graph);
        let error = load(&graph).map(|_| ()).expect_err(expected);
        let expected = format!("onnx/model_quantized.onnx: {expected}");
        assert!(error.starts_with(&expected), "{error}\nnot {expected}");
    }
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    for heads in [0, -1, 3, i64::MAX] {
        let mut graph = valid_graph();
        graph.clear_attributes("attended");
        graph.set_int_attribute("attended", "heads", heads);
        let error = load(&graph).map(|_| ()).expect_err("heads that do not fit");
        assert!(error.ends_with(&format!("{heads} heads do not divide 4")), "{error}");
    }
}

#[test]
fn bytes_that_are_no_graph_are_refused() {
    for bytes in [&b""[..], b"\xff\xff\xff\xff", b"not a graph"] {
        let error = Encoder::from_bytes(bytes, &manifest()).map(|_| ()).expect_err("no graph");
        assert!(matches!(error, ModelLoadError::Encoder(EncoderError::File(_))), "{error}");
    }
}
