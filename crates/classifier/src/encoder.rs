//! Turns tokens `[n]` into an embedding `[dim]`. No other file uses tract.
//!
//! tract runs the plan: it orders the nodes, holds the values and frees them. Each node is an
//! [`EncoderLayer`], whose arithmetic is `jeffrey-kernels`. The plan is built straight from the
//! file (`onnx.rs`), without tract's own parsing, analysis and optimisation of ONNX: those took
//! half of a Worker's start-up time and more than half of the page's module. `Encoder::from_bytes`
//! finds every fault of the graph, because it also runs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jeffrey_kernels::{
    EmbeddingTable, QuantizedLinear, add, attention, attention_and_max_pool, gated_convolution,
    layer_norm, relu,
};
use tract_core::internal::*;
use tract_core::plan::SimplePlan;

use super::encoder_error::{EncoderError, NodeError};
use super::files::{ModelLoadError, ModelManifest};
use super::onnx::{NodeProto, OnnxGraph};

type EncoderPlan = Arc<SimplePlan<TypedFact, Box<dyn TypedOp>>>;

pub(super) struct Encoder {
    plan: EncoderPlan,
    dim: usize,
}

impl Encoder {
    pub(super) fn from_bytes(
        bytes: &[u8],
        manifest: &ModelManifest,
    ) -> Result<Self, ModelLoadError> {
        let graph = OnnxGraph::from_bytes(bytes).map_err(EncoderError::from)?;
        let plan = EncoderPlanBuilder::default().build(graph, manifest)?;
        let encoder = Self { plan, dim: manifest.dim };
        // The first run fills caches. One plan serves every length. These two lengths show whether
        // it runs: the shortest input, and one whose convolutions reach past both ends.
        for tokens in [2, 8] {
            encoder.embed(&vec![0; tokens])?;
        }
        Ok(encoder)
    }

    /// Returns the embedding `[dim]` of at least one id.
    ///
    /// # Errors
    /// [`EncoderError`] when an id is outside the table or tract fails to run the plan.
    pub(super) fn embed(&self, ids: &[i64]) -> Result<Vec<f32>, EncoderError> {
        let input = Tensor::from_shape(&[1, ids.len()], ids).map_err(plan_error)?;
        let outputs = self.plan.run(tvec!(input.into())).map_err(plan_error)?;
        let output = outputs.first().ok_or_else(|| output_error("nothing".into(), self.dim))?;
        Ok(as_floats(output).map_err(plan_error)?.to_vec())
    }
}

fn output_error(seen: String, expected: usize) -> EncoderError {
    EncoderError::OutputShape { seen, expected }
}

fn plan_error(error: TractError) -> EncoderError {
    EncoderError::Plan(format!("{error:#}"))
}

/// Shape of the value under one name of the graph: floats per row, and whether it has one row per
/// token or a single row for the text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ActivationShape {
    width: usize,
    is_pooled: bool,
}

/// Plan under construction, with the outlet of each name.
#[derive(Default)]
struct EncoderPlanBuilder {
    model: TypedModel,
    outlets: BTreeMap<String, (OutletId, ActivationShape)>,
    /// Rows of the smallest table; `None` before the first table.
    table_rows: Option<usize>,
}

impl EncoderPlanBuilder {
    fn build(
        mut self,
        mut graph: OnnxGraph,
        manifest: &ModelManifest,
    ) -> Result<EncoderPlan, EncoderError> {
        let tokens = self.model.symbols.sym("tokens");
        let fact = i64::fact([1.to_dim(), tokens.to_dim()]);
        let ids = self.model.add_source(graph.input.clone(), fact).map_err(plan_error)?;
        for node in std::mem::take(&mut graph.nodes) {
            let wired = self.add_node(&node, ids, &tokens, &mut graph);
            wired.map_err(|fault| EncoderError::Node { node: node.name.clone(), fault })?;
        }
        let vocabulary = manifest.vocabulary_size;
        let rows = self.table_rows.unwrap_or(0);
        if rows < vocabulary {
            return Err(EncoderError::TableTooSmall { rows, vocabulary });
        }
        let reject = |seen| Err(output_error(seen, manifest.dim));
        let (outlet, shape) = match self.outlets.get(&graph.output) {
            Some((outlet, shape)) if shape.is_pooled => (*outlet, *shape),
            Some(_) => return reject("of one row a token".into()),
            None => return reject(format!("`{}`, which no node computes,", graph.output)),
        };
        if shape.width != manifest.dim {
            return reject(format!("[1, {}]", shape.width));
        }
        self.model.select_output_outlets(&[outlet]).map_err(plan_error)?;
        SimplePlan::new(self.model).map_err(plan_error)
    }

    fn add_node(
        &mut self,
        node: &NodeProto,
        ids: OutletId,
        tokens: &Symbol,
        graph: &mut OnnxGraph,
    ) -> Result<(), NodeError> {
        let [name] = node.output.as_slice() else {
            return Err(NodeError::OutputCount(node.output.len()));
        };
        let mut inputs = Vec::new();
        let mut weights = Vec::new();
        for input in &node.input {
            match self.outlets.get(input) {
                Some(outlet) if weights.is_empty() => inputs.push(*outlet),
                _ => weights.push(input.as_str()),
            }
        }
        // The ids are not floats. Only a table reads them, and it is identified by its operator
        // name.
        if node.op_type == "Embed" {
            match weights.first() {
                Some(first) if *first == graph.input => weights.remove(0),
                _ => return Err(NodeError::EmbedInput(graph.input.clone())),
            };
        }
        let (layer, shape) = build_layer(node, &inputs, &weights, graph)?;
        if let EncoderLayer::Embed(table) = &layer {
            self.table_rows = Some(self.table_rows.map_or(table.rows(), |r| r.min(table.rows())));
        }
        let rows = if shape.is_pooled { 1.to_dim() } else { tokens.to_dim() };
        let fact = f32::fact([1.to_dim(), rows, shape.width.to_dim()]);
        let outlets: Vec<OutletId> = match &layer {
            EncoderLayer::Embed(_) => vec![ids],
            _ => inputs.iter().map(|(outlet, _)| *outlet).collect(),
        };
        let op = EncoderLayerOp { layer: Arc::new(layer), fact };
        let wired = self.model.wire_node(node.name.clone(), op, &outlets);
        let outlet = wired.map_err(|error| NodeError::Plan(format!("{error:#}")))?[0];
        self.outlets.insert(name.clone(), (outlet, shape));
        Ok(())
    }
}

/// One step of the encoder, with its weights.
#[derive(Clone, Debug)]
enum EncoderLayer {
    /// Looks up the table row of each id.
    Embed(EmbeddingTable),
    Linear(QuantizedLinear),
    Norm {
        scale: Vec<f32>,
        epsilon: f32,
    },
    /// Replaces each value by the larger of it and 0.
    Relu,
    /// Halves the width: mixes neighbouring tokens and applies a gate.
    GatedConvolution {
        taps: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Mixes the values of all tokens; a row holds query, key and value side by side.
    Attention {
        heads: usize,
    },
    /// Reduces all rows to one row of twice the width.
    Pool {
        score: Vec<f32>,
    },
    /// Adds two inputs of the same shape.
    Add,
}

/// Builds the layer of a node and the shape of its output. It checks everything that a run relies
/// on.
fn build_layer(
    node: &NodeProto,
    inputs: &[(OutletId, ActivationShape)],
    weights: &[&str],
    graph: &mut OnnxGraph,
) -> Result<(EncoderLayer, ActivationShape), NodeError> {
    let shapes: Vec<ActivationShape> = inputs.iter().map(|(_, shape)| *shape).collect();
    match (node.op_type.as_str(), shapes.as_slice(), weights) {
        ("Embed", [], [table, scale]) => {
            let (_, scale) = graph.float_weight(scale)?;
            let (shape, values) = graph.take_int8_weight(table)?;
            let table = EmbeddingTable::new(values, scale)?;
            check_shape("table", &shape, &[table.rows(), table.width()])?;
            let shape = ActivationShape { width: table.width(), is_pooled: false };
            Ok((EncoderLayer::Embed(table), shape))
        }
        ("Linear", [x], [weight, scale, bias]) => {
            let ((_, scale), (_, bias)) = (graph.float_weight(scale)?, graph.float_weight(bias)?);
            let (shape, values) = graph.take_int8_weight(weight)?;
            check_shape("weight", &shape, &[x.width, scale.len()])?;
            let linear = QuantizedLinear::new(x.width, &values, &scale, &bias)?;
            let shape = ActivationShape { width: linear.outputs(), ..*x };
            Ok((EncoderLayer::Linear(linear), shape))
        }
        ("LayerNormalization", [x], [scale]) => {
            let scale = read_finite_weight(graph, scale, &[x.width])?;
            let epsilon = node.float_attribute("epsilon")?;
            if !(epsilon.is_finite() && epsilon > 0.0) {
                return Err(NodeError::EpsilonNotPositive(epsilon.to_string()));
            }
            Ok((EncoderLayer::Norm { scale, epsilon }, *x))
        }
        ("Relu", [x], []) => Ok((EncoderLayer::Relu, *x)),
        ("GatedConvolution", [x], [taps, bias]) if !x.is_pooled && x.width.is_multiple_of(2) => {
            let width = x.width / 2;
            let bias = read_finite_weight(graph, bias, &[width])?;
            // ONNX stores a depthwise kernel channel by channel.
            let kernel = graph.float_weight_shape(taps)?.last().copied().unwrap_or(0);
            let by_channel = read_finite_weight(graph, taps, &[width, 1, kernel])?;
            if kernel % 2 == 0 {
                return Err(NodeError::EvenKernel(kernel));
            }
            let taps = (0..kernel * width).map(|i| by_channel[i % width * kernel + i / width]);
            let taps = taps.collect();
            Ok((EncoderLayer::GatedConvolution { taps, bias }, ActivationShape { width, ..*x }))
        }
        ("Attention", [x], []) if !x.is_pooled && x.width.is_multiple_of(3) => {
            let width = x.width / 3;
            let heads = node.int_attribute("heads")?;
            let head_count =
                usize::try_from(heads).ok().filter(|h| *h > 0 && width.is_multiple_of(*h));
            let heads = head_count.ok_or(NodeError::HeadCount { heads, width })?;
            Ok((EncoderLayer::Attention { heads }, ActivationShape { width, ..*x }))
        }
        ("Pool", [x], [score]) if !x.is_pooled => {
            let score = read_finite_weight(graph, score, &[x.width, 1])?;
            Ok((
                EncoderLayer::Pool { score },
                ActivationShape { width: 2 * x.width, is_pooled: true },
            ))
        }
        ("Add", [a, b], []) if a == b => Ok((EncoderLayer::Add, *a)),
        (kind, ..) => Err(NodeError::UnknownLayer {
            kind: kind.to_owned(),
            widths: shapes.iter().map(|shape| shape.width).collect(),
            weights: weights.len(),
        }),
    }
}

fn check_shape(weight: &str, seen: &[usize], expected: &[usize]) -> Result<(), NodeError> {
    if seen == expected {
        return Ok(());
    }
    let (part, seen, expected) = (format!("the {weight}"), seen.to_vec(), expected.to_vec());
    Err(NodeError::WeightShape { part, seen, expected })
}

/// Returns a float weight that has the expected shape and only finite values.
fn read_finite_weight(
    graph: &OnnxGraph,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, NodeError> {
    let (shape, values) = graph.float_weight(name)?;
    check_shape(name, &shape, expected)?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(NodeError::NotFinite(name.to_owned()));
    }
    Ok(values)
}

/// Encoder layer as an operator of tract.
#[derive(Clone, Debug)]
struct EncoderLayerOp {
    layer: Arc<EncoderLayer>,
    /// Output of shape `[1, tokens, width]` or `[1, 1, width]`.
    fact: TypedFact,
}

// tract compares nodes for equality to merge them. Two layers are equal only when they are the same
// object.
impl PartialEq for EncoderLayerOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layer, &other.layer)
    }
}
impl Eq for EncoderLayerOp {}

impl Op for EncoderLayerOp {
    fn name(&self) -> StaticName {
        "Layer".into()
    }

    op_as_typed_op!();
}

impl TypedOp for EncoderLayerOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.fact.clone()))
    }

    as_op!();
}

impl EvalOp for EncoderLayerOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let width = self.fact.shape[2].to_usize()?;
        let last = inputs.pop().context("a layer without input")?;
        // The output has as many rows as the input, with this layer's own width.
        let rows = last.shape().get(1).copied().unwrap_or(1);
        let compute_rows = |rows: usize, compute: &dyn Fn(&[f32], &mut [f32])| {
            let mut out = vec![0.0; rows * width];
            compute(as_floats(&last)?, &mut out);
            Tensor::from_shape(&[1, rows, width], &out)
        };
        let out = match &*self.layer {
            EncoderLayer::Embed(table) => {
                let mut out = vec![0.0; rows * width];
                let lookup = table.lookup(last.try_as_plain_ram()?.as_slice::<i64>()?, &mut out);
                lookup.map_err(|id| format_err!("id {id} of {} rows", table.rows()))?;
                Tensor::from_shape(&[1, rows, width], &out)
            }
            EncoderLayer::Linear(linear) => compute_rows(rows, &|x, out| linear.forward(x, out)),
            EncoderLayer::Norm { scale, epsilon } => {
                compute_rows(rows, &|x, out| layer_norm(x, scale, *epsilon, out))
            }
            EncoderLayer::GatedConvolution { taps, bias } => {
                compute_rows(rows, &|x, out| gated_convolution(x, taps, bias, out))
            }
            EncoderLayer::Attention { heads } => {
                compute_rows(rows, &|x, out| attention(x, width, *heads, out))
            }
            EncoderLayer::Pool { score } => {
                compute_rows(1, &|x, out| attention_and_max_pool(x, score, out))
            }
            EncoderLayer::Relu => {
                let mut out = last.into_tensor();
                relu(as_floats_mut(&mut out)?);
                Ok(out)
            }
            EncoderLayer::Add => {
                let mut out = inputs.pop().context("a sum of one input")?.into_tensor();
                add(as_floats_mut(&mut out)?, as_floats(&last)?);
                Ok(out)
            }
        }?;
        Ok(tvec!(out.into()))
    }
}

fn as_floats(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

fn as_floats_mut(tensor: &mut Tensor) -> TractResult<&mut [f32]> {
    tensor.to_plain_array_view_mut::<f32>()?.into_slice().context("rows with gaps")
}

#[cfg(test)]
mod tests;
