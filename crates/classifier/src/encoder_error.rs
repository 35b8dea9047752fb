//! Faults of the encoder: of its graph when a model is loaded, and of the plan when it runs.
//!
//! A message names the node and the value seen, never the text that was classified.

use jeffrey_kernels::WeightError;

use super::onnx::OnnxError;

/// Fault for which the encoder cannot be loaded or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncoderError {
    /// The graph has no embedding table, or one with fewer rows than the vocabulary has pieces.
    #[error("the embedding table has {rows} rows for a vocabulary of {vocabulary}")]
    TableTooSmall {
        /// Rows of the smallest table; 0 without a table.
        rows: usize,
        /// Number of pieces of the tokenizer.
        vocabulary: usize,
    },
    /// The output does not have the shape `[1, dim]`.
    #[error("the output {seen} is not {expected} numbers")]
    OutputShape {
        /// Shape or name of the actual output.
        seen: String,
        /// Dimension in the manifest.
        expected: usize,
    },
    /// The file is not an ONNX graph with one input and one output.
    #[error("{0}")]
    File(#[from] OnnxError),
    /// A node does not fit its weights or its input.
    #[error("node `{node}`: {fault}")]
    Node {
        /// Name of the node.
        node: String,
        /// Fault of the node.
        fault: NodeError,
    },
    /// tract refused the plan or failed to run it.
    #[error("{0}")]
    Plan(String),
}

/// Reason why a node of the graph is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The epsilon of a layer norm is not above 0, so it could divide by 0.
    #[error("epsilon {0} is not above 0")]
    EpsilonNotPositive(String),
    /// The number of attention heads does not divide the width.
    #[error("{heads} heads do not divide {width}")]
    HeadCount {
        /// Number of heads in the file.
        heads: i64,
        /// Width to divide, in floats.
        width: usize,
    },
    /// An embedding table does not read the ids; the field names the graph's input.
    #[error("Embed does not read `{0}`")]
    EmbedInput(String),
    /// A convolution kernel has an even length, so it has no middle.
    #[error("the kernel {0} is not odd")]
    EvenKernel(usize),
    /// No layer has this operator name with these inputs and weights.
    #[error("no layer {kind} with {} inputs of widths {widths:?} and {weights} weights", widths.len())]
    UnknownLayer {
        /// Operator name of the node.
        kind: String,
        /// Floats per row of each input.
        widths: Vec<usize>,
        /// Number of weights of the node.
        weights: usize,
    },
    /// A weight contains NaN or an infinity.
    #[error("the weight `{0}` holds a value that is not finite")]
    NotFinite(String),
    /// A node has a number of outputs other than 1.
    #[error("{0} outputs, not 1")]
    OutputCount(usize),
    /// tract refused to add the node to the plan.
    #[error("{0}")]
    Plan(String),
    /// A weight has a different shape from the one its layer needs.
    #[error("{part} has shape {seen:?}, not {expected:?}")]
    WeightShape {
        /// Name of the weight.
        part: String,
        /// Shape in the file.
        seen: Vec<usize>,
        /// Shape that the layer needs.
        expected: Vec<usize>,
    },
    /// The kernels refused the weights: a length does not fit, or a value is not finite.
    #[error("{0}")]
    Kernel(#[from] WeightError),
    /// A weight or an attribute is missing or cannot be read.
    #[error("{0}")]
    Weight(#[from] OnnxError),
}
