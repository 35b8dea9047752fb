//! Tokens `[n]` to an embedding `[dim]`: the only file that names tract.
//!
//! The ONNX graph has one input `[1, tokens]` of 64-bit ids and one output `[1, dim]`. Its weights
//! are stored in 8 bits and widened once, at load; the embedding table stays in 8 bits, because only
//! the rows that are read are widened (after the Gather). Everything that can be wrong with the
//! graph is found in `from_bytes`, which also runs it once.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::plan::SimplePlan;

use super::files::{LoadError, Manifest};

type Plan = Arc<SimplePlan<TypedFact, Box<dyn TypedOp>>>;

pub(super) struct Encoder {
    plan: Plan,
    dim: usize,
}

/// The encoder cannot be loaded or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncoderError {
    /// No embedding table, or one with fewer rows than the vocabulary has pieces.
    #[error("the embedding table has {rows} rows for a vocabulary of {vocabulary}")]
    Table {
        /// Rows of the smallest table that is gathered from; 0 without one.
        rows: usize,
        /// Pieces of the tokenizer.
        vocabulary: usize,
    },
    /// The output is not `[1, dim]`, or not finite.
    #[error("the output {seen} is not {expected} finite numbers")]
    Output {
        /// What came out.
        seen: String,
        /// The dimension of the manifest.
        expected: usize,
    },
    /// tract refused the graph or failed to run it.
    #[error("{0}")]
    Graph(String),
    /// A weight is NaN or infinite.
    #[error("the weight `{0}` is not finite")]
    Weight(String),
}

impl Encoder {
    pub(super) fn from_bytes(bytes: &[u8], manifest: &Manifest) -> Result<Self, LoadError> {
        let typed = typed(bytes).map_err(graph)?;
        check_weights(&typed)?;
        check_table(&typed, manifest.vocabulary)?;
        let plan = typed.into_optimized().and_then(|model| model.into_runnable()).map_err(graph)?;
        let encoder = Self { plan, dim: manifest.dim };
        // The first run allocates and fills caches. One plan serves every length: the shortest input
        // and one whose convolutions reach past both ends say whether it runs.
        for tokens in [2, 8] {
            encoder.embed(&vec![0; tokens])?;
        }
        Ok(encoder)
    }

    /// The embedding `[dim]` of at least one id.
    pub(super) fn embed(&self, ids: &[i64]) -> Result<Vec<f32>, EncoderError> {
        let input = Tensor::from_shape(&[1, ids.len()], ids).map_err(graph)?;
        let outputs = self.plan.run(tvec!(input.into())).map_err(graph)?;
        let output = outputs.first().ok_or_else(|| self.wrong("nothing".into()))?;
        if output.shape() != [1, self.dim] {
            return Err(self.wrong(format!("{:?}", output.shape())));
        }
        let view = output.to_plain_array_view::<f32>().map_err(graph)?;
        Ok(view.iter().copied().collect())
    }

    fn wrong(&self, seen: String) -> EncoderError {
        EncoderError::Output { seen, expected: self.dim }
    }
}

/// The graph with its input fixed to `[1, tokens]`, tokens a symbol: one plan for every length.
fn typed(bytes: &[u8]) -> TractResult<TypedModel> {
    let mut reader = bytes;
    let mut model = tract_onnx::onnx().model_for_read(&mut reader)?;
    let tokens = model.symbols.sym("tokens");
    // Without it tract cannot tell one row from many, and adds residuals element by element.
    model.symbols.add_assertion("tokens >= 1")?;
    let shape = tvec!(1.to_dim(), tokens.to_dim());
    model.set_input_fact(0, InferenceFact::dt_shape(i64::datum_type(), shape))?;
    model.into_typed()
}

fn check_weights(model: &TypedModel) -> Result<(), EncoderError> {
    for node in &model.nodes {
        for konst in node.outputs.iter().filter_map(|output| output.fact.konst.as_ref()) {
            let Ok(view) = konst.to_plain_array_view::<f32>() else { continue };
            if !view.iter().all(|value| value.is_finite()) {
                return Err(EncoderError::Weight(node.name.clone()));
            }
        }
    }
    Ok(())
}

fn check_table(model: &TypedModel, vocabulary: usize) -> Result<(), EncoderError> {
    let rows = model
        .nodes
        .iter()
        .filter(|node| node.op_is::<Gather>())
        .filter_map(|node| node.inputs.first())
        .filter_map(|outlet| model.outlet_fact(*outlet).ok()?.konst.as_ref())
        .filter_map(|table| table.shape().first().copied())
        .min()
        .unwrap_or(0);
    if rows < vocabulary {
        return Err(EncoderError::Table { rows, vocabulary });
    }
    Ok(())
}

fn graph(error: TractError) -> EncoderError {
    EncoderError::Graph(format!("{error:#}"))
}
