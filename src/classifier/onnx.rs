//! An ONNX file, as far as the encoder is written in it.
//!
//! The file is standard ONNX: any runtime can read it. Its layers are *model-local functions* (ONNX
//! IR, `ModelProto.functions`): a node names one, and the function spells it out in basic operators
//! for who does not know it. Here the names are enough. Only the fields that are read are declared;
//! numbers of fields and codes are those of `onnx.proto`.

use std::collections::HashMap;

use prost::Message;

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Message)]
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

#[derive(Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// One computation: names in, names out.
#[derive(Message)]
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

#[derive(Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
}

#[derive(Message)]
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

/// The graph of a file: its nodes in order, its weights by name.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) input: String,
    pub(super) output: String,
    weights: HashMap<String, Tensor>,
}

impl Graph {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let model = Model::decode(bytes).map_err(|error| error.to_string())?;
        let graph = model.graph.ok_or("no graph")?;
        let one = |mut named: Vec<Named>, what: &str| match (named.pop(), named.len()) {
            (Some(named), 0) => Ok(named.name),
            (last, more) => Err(format!("{} {what}s, not 1", more + usize::from(last.is_some()))),
        };
        Ok(Self {
            nodes: graph.node,
            input: one(graph.input, "input")?,
            output: one(graph.output, "output")?,
            weights: graph.initializer.into_iter().map(|t| (t.name.clone(), t)).collect(),
        })
    }

    /// Shape and values of a weight stored as 32-bit floats.
    pub(super) fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
        let tensor = self.weight(name, FLOAT, "32-bit floats")?;
        let shape = tensor.shape(size_of::<f32>())?;
        let (values, _) = tensor.raw_data.as_chunks::<4>();
        Ok((shape, values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    /// Shape and values of a weight stored in 8 bits, taken out of the graph: a table is large.
    pub(super) fn take_bytes(&mut self, name: &str) -> Result<(Vec<usize>, Vec<i8>), String> {
        let shape = self.weight(name, INT8, "8-bit numbers")?.shape(1)?;
        let bytes = self.weights.remove(name).map(|tensor| tensor.raw_data).unwrap_or_default();
        Ok((shape, bytes.into_iter().map(u8::cast_signed).collect()))
    }

    fn weight(&self, name: &str, code: i32, what: &str) -> Result<&Tensor, String> {
        let tensor = self.weights.get(name).ok_or_else(|| format!("no weight `{name}`"))?;
        if tensor.data_type != code {
            return Err(format!("the weight `{name}` has type {}, not {what}", tensor.data_type));
        }
        Ok(tensor)
    }
}

impl Tensor {
    /// The shape, if the data has exactly that many values of `size` bytes.
    fn shape(&self, size: usize) -> Result<Vec<usize>, String> {
        let shape: Option<Vec<usize>> =
            self.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
        let shape =
            shape.ok_or_else(|| format!("the weight `{}` has a negative length", self.name))?;
        let bytes = shape.iter().try_fold(size, |bytes, length| bytes.checked_mul(*length));
        if bytes != Some(self.raw_data.len()) {
            let (name, seen) = (&self.name, self.raw_data.len());
            return Err(format!("the weight `{name}` of shape {shape:?} holds {seen} bytes"));
        }
        Ok(shape)
    }
}

impl Node {
    /// A whole-number attribute.
    pub(super) fn int(&self, name: &str) -> Result<i64, String> {
        self.attribute(name).map(|attribute| attribute.i)
    }

    /// A floating-point attribute.
    pub(super) fn float(&self, name: &str) -> Result<f32, String> {
        self.attribute(name).map(|attribute| attribute.f)
    }

    fn attribute(&self, name: &str) -> Result<&Attribute, String> {
        let found = self.attribute.iter().find(|attribute| attribute.name == name);
        found.ok_or_else(|| format!("{} has no attribute `{name}`", self.op_type))
    }
}
