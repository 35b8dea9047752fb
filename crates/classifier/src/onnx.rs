//! An ONNX file, as far as the encoder is written in it.
//!
//! The file is standard ONNX: any runtime can read it. Its layers are *model-local functions* (ONNX
//! IR, `ModelProto.functions`): a node names one, and the function spells it out in basic operators
//! for who does not know it. Here the names are enough. Only the fields that are read are declared;
//! numbers of fields and codes are those of `onnx.proto`.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Named>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Named>,
}

#[derive(Clone, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// One computation: names in, names out.
#[derive(Clone, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
}

#[derive(Clone, Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

/// `TensorProto.DataType`
const FLOAT: i32 = 1;
const INT8: i32 = 3;

/// What is wrong with a file, or with a part that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// A weight's data does not fill its shape.
    #[error("the weight `{name}` of shape {shape:?} holds {bytes} bytes")]
    Cut {
        /// The weight.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes of its data.
        bytes: usize,
    },
    /// The bytes are no file of this format.
    #[error("{0}")]
    Decode(String),
    /// The graph has another number of inputs or outputs than one.
    #[error("{count} {what}, not 1")]
    Ends {
        /// Inputs or outputs.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A weight's shape has a length below 0.
    #[error("the weight `{name}` has a negative length")]
    Negative {
        /// The weight.
        name: String,
    },
    /// A node lacks an attribute.
    #[error("{kind} has no attribute `{name}`")]
    NoAttribute {
        /// The node's kind.
        kind: String,
        /// The attribute.
        name: &'static str,
    },
    /// The file holds no graph.
    #[error("no graph")]
    NoGraph,
    /// A weight that is asked for is not there.
    #[error("no weight `{name}`")]
    NoWeight {
        /// Its name.
        name: String,
    },
    /// A weight is stored in another type; codes of `TensorProto.DataType`.
    #[error("the weight `{name}` has type {seen}, not {expected}")]
    Type {
        /// The weight.
        name: String,
        /// Its type.
        seen: i32,
        /// The type asked for.
        expected: i32,
    },
}

/// The graph of a file: its nodes in order, its weights by name.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) input: String,
    pub(super) output: String,
    weights: BTreeMap<String, Tensor>,
}

impl Graph {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, OnnxError> {
        let decoded = Model::decode(bytes).map_err(|error| OnnxError::Decode(error.to_string()));
        let graph = decoded?.graph.ok_or(OnnxError::NoGraph)?;
        let one = |named: Vec<Named>, what: &'static str| match <[Named; 1]>::try_from(named) {
            Ok([named]) => Ok(named.name),
            Err(named) => Err(OnnxError::Ends { what, count: named.len() }),
        };
        Ok(Self {
            nodes: graph.node,
            input: one(graph.input, "inputs")?,
            output: one(graph.output, "outputs")?,
            weights: graph.initializer.into_iter().map(|t| (t.name.clone(), t)).collect(),
        })
    }

    /// Shape and values of a weight stored as 32-bit floats.
    pub(super) fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), OnnxError> {
        let tensor = self.weight(name, FLOAT)?;
        let shape = tensor.shape(size_of::<f32>())?;
        let (values, _) = tensor.raw_data.as_chunks::<4>();
        Ok((shape, values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    /// Shape of a weight stored as 32-bit floats.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>, OnnxError> {
        self.weight(name, FLOAT)?.shape(size_of::<f32>())
    }

    /// Shape and values of a weight stored in 8 bits, taken out of the graph: a table is large.
    pub(super) fn take_bytes(&mut self, name: &str) -> Result<(Vec<usize>, Vec<i8>), OnnxError> {
        let shape = self.weight(name, INT8)?.shape(1)?;
        let bytes = self.weights.remove(name).map(|tensor| tensor.raw_data).unwrap_or_default();
        Ok((shape, bytes.into_iter().map(u8::cast_signed).collect()))
    }

    fn weight(&self, name: &str, expected: i32) -> Result<&Tensor, OnnxError> {
        let found = self.weights.get(name);
        let tensor = found.ok_or_else(|| OnnxError::NoWeight { name: name.to_owned() })?;
        let seen = tensor.data_type;
        if seen != expected {
            return Err(OnnxError::Type { name: name.to_owned(), seen, expected });
        }
        Ok(tensor)
    }
}

impl Tensor {
    /// The shape, if the data has exactly that many values of `size` bytes.
    fn shape(&self, size: usize) -> Result<Vec<usize>, OnnxError> {
        let name = || self.name.clone();
        let shape: Option<Vec<usize>> =
            self.dims.iter().map(|length| usize::try_from(*length).ok()).collect();
        let shape = shape.ok_or_else(|| OnnxError::Negative { name: name() })?;
        let bytes = shape.iter().try_fold(size, |bytes, length| bytes.checked_mul(*length));
        if bytes != Some(self.raw_data.len()) {
            return Err(OnnxError::Cut { name: name(), shape, bytes: self.raw_data.len() });
        }
        Ok(shape)
    }
}

impl Node {
    /// A whole-number attribute.
    pub(super) fn int(&self, name: &'static str) -> Result<i64, OnnxError> {
        self.attribute(name).map(|attribute| attribute.i)
    }

    /// A floating-point attribute.
    pub(super) fn float(&self, name: &'static str) -> Result<f32, OnnxError> {
        self.attribute(name).map(|attribute| attribute.f)
    }

    fn attribute(&self, name: &'static str) -> Result<&Attribute, OnnxError> {
        let found = self.attribute.iter().find(|attribute| attribute.name == name);
        found.ok_or_else(|| OnnxError::NoAttribute { kind: self.op_type.clone(), name })
    }
}

/// Small graphs for tests.
#[cfg(test)]
pub(super) mod written {
    use super::*;

    /// A graph in the making. Each method that changes a part expects it to be there.
    pub(crate) struct Written(GraphProto);

    /// A weight of whole numbers drawn from its index.
    pub(crate) fn bytes(shape: &[usize], value: impl Fn(usize) -> i8) -> Weight {
        let count = shape.iter().product();
        Weight(INT8, shape.to_vec(), (0..count).map(|i| value(i).cast_unsigned()).collect())
    }

    /// A weight of floats drawn from its index.
    pub(crate) fn floats(shape: &[usize], value: impl Fn(usize) -> f32) -> Weight {
        let count = shape.iter().product();
        Weight(FLOAT, shape.to_vec(), (0..count).flat_map(|i| value(i).to_le_bytes()).collect())
    }

    pub(crate) struct Weight(i32, Vec<usize>, Vec<u8>);

    impl Written {
        pub(crate) fn new(input: &str, output: &str) -> Self {
            let named = |name: &str| vec![Named { name: name.to_owned() }];
            Self(GraphProto { input: named(input), output: named(output), ..Default::default() })
        }

        pub(crate) fn encode(&self) -> Vec<u8> {
            Model { graph: Some(self.0.clone()) }.encode_to_vec()
        }

        pub(crate) fn weight(
            &mut self,
            name: &str,
            Weight(code, shape, data): Weight,
        ) -> &mut Self {
            self.0.initializer.push(Tensor {
                dims: shape.iter().map(|length| *length as i64).collect(),
                data_type: code,
                name: name.to_owned(),
                raw_data: data,
            });
            self
        }

        /// A node that has its output's name.
        pub(crate) fn node(&mut self, kind: &str, inputs: &[&str], output: &str) -> &mut Self {
            self.0.node.push(Node {
                input: inputs.iter().map(|input| (*input).to_owned()).collect(),
                output: vec![output.to_owned()],
                name: output.to_owned(),
                op_type: kind.to_owned(),
                attribute: Vec::new(),
            });
            self
        }

        pub(crate) fn linear(
            &mut self,
            output: &str,
            x: &str,
            from: usize,
            to: usize,
        ) -> &mut Self {
            let name = |part: &str| format!("{output}.{part}");
            let (weight, scale, bias) = (name("weight"), name("scale"), name("bias"));
            self.weight(&weight, bytes(&[from, to], |i| (i * 37 % 255) as u8 as i8))
                .weight(&scale, floats(&[to], |_| 0.01))
                .weight(&bias, floats(&[to], |i| i as f32 * 0.1))
                .node("Linear", &[x, &weight, &scale, &bias], output)
        }

        /// An attribute of the node added last.
        pub(crate) fn float(&mut self, name: &str, f: f32) -> &mut Self {
            let last = self.0.node.last_mut().expect("a node");
            last.attribute.push(Attribute { name: name.to_owned(), f, i: 0 });
            self
        }

        /// An attribute of the node added last.
        pub(crate) fn int(&mut self, name: &str, i: i64) -> &mut Self {
            let last = self.0.node.last().expect("a node").name.clone();
            self.set_int(&last, name, i);
            self
        }

        pub(crate) fn set_int(&mut self, node: &str, name: &str, i: i64) {
            self.find(node).attribute.push(Attribute { name: name.to_owned(), f: 0.0, i });
        }

        pub(crate) fn rename(&mut self, node: &str, kind: &str) {
            self.find(node).op_type = kind.to_owned();
        }

        pub(crate) fn rewire(&mut self, node: &str, input: usize, to: &str) {
            self.find(node).input[input] = to.to_owned();
        }

        /// Takes all attributes of a node.
        pub(crate) fn strip(&mut self, node: &str) {
            self.find(node).attribute.clear();
        }

        pub(crate) fn replace(&mut self, name: &str, weight: Weight) {
            self.0.initializer.retain(|tensor| tensor.name != name);
            self.weight(name, weight);
        }

        /// Takes the last byte of a weight.
        pub(crate) fn cut(&mut self, name: &str) {
            let found = self.0.initializer.iter_mut().find(|tensor| tensor.name == name);
            found.expect("the weight").raw_data.pop();
        }

        pub(crate) fn output(&mut self, name: &str) {
            self.0.output[0].name = name.to_owned();
        }

        fn find(&mut self, node: &str) -> &mut Node {
            self.0.node.iter_mut().find(|found| found.name == node).expect("the node")
        }
    }
}
