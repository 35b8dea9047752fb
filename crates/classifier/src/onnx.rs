//! Reads the parts of an ONNX file that the encoder uses.
//!
//! The file is standard ONNX, so any runtime can read it. Its layers are *model-local functions*
//! (ONNX IR, `ModelProto.functions`): a node names a function, and the function spells the layer
//! out in basic operators for runtimes that do not know it. This module needs only the names. Only
//! the fields that are read are declared. Field numbers and type codes are those of `onnx.proto`.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
}

/// One computation of the graph, with the names of its inputs and outputs.
#[derive(Clone, Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
}

#[derive(Clone, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

/// Type code of 32-bit floats in `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT8: i32 = 3;

/// Fault of an ONNX file, or of a weight or attribute in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// The size of a weight's data does not match its shape.
    #[error("the weight `{name}` of shape {shape:?} holds {bytes} bytes")]
    DataLengthMismatch {
        /// Name of the weight.
        name: String,
        /// Shape in the file.
        shape: Vec<usize>,
        /// Size of its data in bytes.
        bytes: usize,
    },
    /// The bytes are not a protobuf message of this format.
    #[error("{0}")]
    Decode(String),
    /// The graph has a number of inputs or outputs other than 1.
    #[error("{count} {what}, not 1")]
    EndpointCount {
        /// Either `inputs` or `outputs`, as printed.
        what: &'static str,
        /// Number in the file.
        count: usize,
    },
    /// A weight has a negative length in its shape.
    #[error("the weight `{name}` has a negative length")]
    NegativeLength {
        /// Name of the weight.
        name: String,
    },
    /// A node lacks a required attribute.
    #[error("{kind} has no attribute `{name}`")]
    MissingAttribute {
        /// Operator name of the node.
        kind: String,
        /// Name of the missing attribute.
        name: &'static str,
    },
    /// The file contains no graph.
    #[error("no graph")]
    MissingGraph,
    /// The file has no weight with the requested name.
    #[error("no weight `{name}`")]
    MissingWeight {
        /// Name of the missing weight.
        name: String,
    },
    /// A weight is stored in another type; the codes are those of `TensorProto.DataType`.
    #[error("the weight `{name}` has type {seen}, not {expected}")]
    WeightTypeMismatch {
        /// Name of the weight.
        name: String,
        /// Type code in the file.
        seen: i32,
        /// Type code that was expected.
        expected: i32,
    },
}

/// Graph of a file: its nodes in order and its weights by name.
pub(super) struct OnnxGraph {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) input: String,
    pub(super) output: String,
    weights: BTreeMap<String, TensorProto>,
}

impl OnnxGraph {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, OnnxError> {
        let decoded =
            ModelProto::decode(bytes).map_err(|error| OnnxError::Decode(error.to_string()));
        let graph = decoded?.graph.ok_or(OnnxError::MissingGraph)?;
        let single_name = |values: Vec<ValueInfoProto>, what: &'static str| match <[ValueInfoProto;
            1]>::try_from(
            values
        ) {
            Ok([value]) => Ok(value.name),
            Err(values) => Err(OnnxError::EndpointCount { what, count: values.len() }),
        };
        Ok(Self {
            nodes: graph.node,
            input: single_name(graph.input, "inputs")?,
            output: single_name(graph.output, "outputs")?,
            weights: graph.initializer.into_iter().map(|t| (t.name.clone(), t)).collect(),
        })
    }

    /// Returns shape and values of a weight stored as 32-bit floats.
    pub(super) fn float_weight(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), OnnxError> {
        let tensor = self.find_weight(name, FLOAT)?;
        let shape = tensor.checked_shape(size_of::<f32>())?;
        let (values, _) = tensor.raw_data.as_chunks::<4>();
        Ok((shape, values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    /// Returns the shape of a weight stored as 32-bit floats.
    pub(super) fn float_weight_shape(&self, name: &str) -> Result<Vec<usize>, OnnxError> {
        self.find_weight(name, FLOAT)?.checked_shape(size_of::<f32>())
    }

    /// Takes a weight stored in 8 bits out of the graph and returns its shape and values. It is not
    /// copied, because a table is large.
    pub(super) fn take_int8_weight(
        &mut self,
        name: &str,
    ) -> Result<(Vec<usize>, Vec<i8>), OnnxError> {
        let shape = self.find_weight(name, INT8)?.checked_shape(1)?;
        let bytes = self.weights.remove(name).map(|tensor| tensor.raw_data).unwrap_or_default();
        Ok((shape, bytes.into_iter().map(u8::cast_signed).collect()))
    }

    fn find_weight(&self, name: &str, expected: i32) -> Result<&TensorProto, OnnxError> {
        let tensor = self.weights.get(name);
        let tensor = tensor.ok_or_else(|| OnnxError::MissingWeight { name: name.to_owned() })?;
        let seen = tensor.data_type;
        if seen != expected {
            return Err(OnnxError::WeightTypeMismatch { name: name.to_owned(), seen, expected });
        }
        Ok(tensor)
    }
}

impl TensorProto {
    /// Returns the shape, if the data has exactly that many values of `size` bytes.
    fn checked_shape(&self, size: usize) -> Result<Vec<usize>, OnnxError> {
        let name = || self.name.clone();
        let shape: Option<Vec<usize>> =
            self.dims.iter().map(|length| usize::try_from(*length).ok()).collect();
        let shape = shape.ok_or_else(|| OnnxError::NegativeLength { name: name() })?;
        let bytes = shape.iter().try_fold(size, |bytes, length| bytes.checked_mul(*length));
        if bytes != Some(self.raw_data.len()) {
            return Err(OnnxError::DataLengthMismatch {
                name: name(),
                shape,
                bytes: self.raw_data.len(),
            });
        }
        Ok(shape)
    }
}

impl NodeProto {
    /// Returns the value of an integer attribute.
    pub(super) fn int_attribute(&self, name: &'static str) -> Result<i64, OnnxError> {
        self.find_attribute(name).map(|attribute| attribute.i)
    }

    /// Returns the value of a floating-point attribute.
    pub(super) fn float_attribute(&self, name: &'static str) -> Result<f32, OnnxError> {
        self.find_attribute(name).map(|attribute| attribute.f)
    }

    fn find_attribute(&self, name: &'static str) -> Result<&AttributeProto, OnnxError> {
        let attribute = self.attribute.iter().find(|attribute| attribute.name == name);
        attribute.ok_or_else(|| OnnxError::MissingAttribute { kind: self.op_type.clone(), name })
    }
}

/// Builder of small graphs for tests.
#[cfg(test)]
pub(super) mod written {
    use super::*;

    /// Graph under construction. Methods that change a part panic when it is missing.
    pub(crate) struct GraphBuilder(GraphProto);

    /// Builds an 8-bit weight; `value` computes each number from its index.
    pub(crate) fn int8_weight(shape: &[usize], value: impl Fn(usize) -> i8) -> TestWeight {
        let count = shape.iter().product();
        TestWeight(INT8, shape.to_vec(), (0..count).map(|i| value(i).cast_unsigned()).collect())
    }

    /// Builds a float weight; `value` computes each number from its index.
    pub(crate) fn float_weight(shape: &[usize], value: impl Fn(usize) -> f32) -> TestWeight {
        let count = shape.iter().product();
        TestWeight(FLOAT, shape.to_vec(), (0..count).flat_map(|i| value(i).to_le_bytes()).collect())
    }

    pub(crate) struct TestWeight(i32, Vec<usize>, Vec<u8>);

    impl GraphBuilder {
        pub(crate) fn new(input: &str, output: &str) -> Self {
            let value_info = |name: &str| vec![ValueInfoProto { name: name.to_owned() }];
            Self(GraphProto {
                input: value_info(input),
                output: value_info(output),
                ..Default::default()
            })
        }

        pub(crate) fn encode(&self) -> Vec<u8> {
            ModelProto { graph: Some(self.0.clone()) }.encode_to_vec()
        }

        pub(crate) fn add_weight(
            &mut self,
            name: &str,
            TestWeight(code, shape, data): TestWeight,
        ) -> &mut Self {
            self.0.initializer.push(TensorProto {
                dims: shape.iter().map(|length| *length as i64).collect(),
                data_type: code,
                name: name.to_owned(),
                raw_data: data,
            });
            self
        }

        /// Adds a node with the name of its output.
        pub(crate) fn add_node(
            &mut self,
            op_type: &str,
            inputs: &[&str],
            output: &str,
        ) -> &mut Self {
            self.0.node.push(NodeProto {
                input: inputs.iter().map(|input| (*input).to_owned()).collect(),
                output: vec![output.to_owned()],
                name: output.to_owned(),
                op_type: op_type.to_owned(),
                attribute: Vec::new(),
            });
            self
        }

        pub(crate) fn add_linear(
            &mut self,
            output: &str,
            x: &str,
            inputs: usize,
            outputs: usize,
        ) -> &mut Self {
            let weight_name = |suffix: &str| format!("{output}.{suffix}");
            let (weight, scale, bias) =
                (weight_name("weight"), weight_name("scale"), weight_name("bias"));
            self.add_weight(
                &weight,
                int8_weight(&[inputs, outputs], |i| (i * 37 % 255) as u8 as i8),
            )
            .add_weight(&scale, float_weight(&[outputs], |_| 0.01))
            .add_weight(&bias, float_weight(&[outputs], |i| i as f32 * 0.1))
            .add_node("Linear", &[x, &weight, &scale, &bias], output)
        }

        /// Adds an attribute to the node added last.
        pub(crate) fn add_float_attribute(&mut self, name: &str, f: f32) -> &mut Self {
            let last = self.0.node.last_mut().expect("a node");
            last.attribute.push(AttributeProto { name: name.to_owned(), f, i: 0 });
            self
        }

        /// Adds an attribute to the node added last.
        pub(crate) fn add_int_attribute(&mut self, name: &str, i: i64) -> &mut Self {
            let last = self.0.node.last().expect("a node").name.clone();
            self.set_int_attribute(&last, name, i);
            self
        }

        pub(crate) fn set_int_attribute(&mut self, node: &str, name: &str, i: i64) {
            self.node_mut(node).attribute.push(AttributeProto { name: name.to_owned(), f: 0.0, i });
        }

        pub(crate) fn set_op_type(&mut self, node: &str, op_type: &str) {
            self.node_mut(node).op_type = op_type.to_owned();
        }

        pub(crate) fn set_input(&mut self, node: &str, input: usize, name: &str) {
            self.node_mut(node).input[input] = name.to_owned();
        }

        /// Removes all attributes of a node.
        pub(crate) fn clear_attributes(&mut self, node: &str) {
            self.node_mut(node).attribute.clear();
        }

        pub(crate) fn replace_weight(&mut self, name: &str, weight: TestWeight) {
            self.0.initializer.retain(|tensor| tensor.name != name);
            self.add_weight(name, weight);
        }

        /// Removes the last byte of a weight.
        pub(crate) fn truncate_weight(&mut self, name: &str) {
            let tensor = self.0.initializer.iter_mut().find(|tensor| tensor.name == name);
            tensor.expect("the weight").raw_data.pop();
        }

        pub(crate) fn set_output(&mut self, name: &str) {
            self.0.output[0].name = name.to_owned();
        }

        fn node_mut(&mut self, node: &str) -> &mut NodeProto {
            self.0.node.iter_mut().find(|candidate| candidate.name == node).expect("the node")
        }
    }
}
