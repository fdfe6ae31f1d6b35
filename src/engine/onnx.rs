//! The part of the ONNX file format that a transformer needs, as protobuf messages, and a builder
//! that names values.
//!
//! Field numbers are those of `onnx.proto` (ONNX IR version 10); messages leave out what is unused.

use prost::Message;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringStringEntryProto>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// Element types, numbered as `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit float.
    F32 = 1,
    /// 8-bit unsigned integer.
    U8 = 2,
    /// 8-bit signed integer.
    I8 = 3,
    /// 32-bit signed integer.
    I32 = 6,
    /// 64-bit signed integer.
    I64 = 7,
}

/// A dimension of a graph input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always this long.
    Fixed(usize),
    /// As long as other dimensions of this name.
    Named(&'static str),
}

/// A node's attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute {
    /// `INT`.
    Int(i64),
    /// `FLOAT`.
    Float(f32),
}

/// Operators from the ONNX standard (empty domain).
pub const STANDARD: &str = "";
/// Operators that ONNX Runtime contributes.
pub const CONTRIB: &str = "com.microsoft";

/// Operators of ours.
pub const OURS: &str = "pliant";

const IR_VERSION: i64 = 10;
const OPSET: i64 = 21;
const ATTRIBUTE_FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;
const EXTERNAL: i32 = 1;

/// Builds a graph node by node; a value's name is the handle to it.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: GraphProto,
    values: usize,
}

impl GraphBuilder {
    /// Declares a graph input.
    pub fn input(&mut self, name: &str, element: ElementType, dims: &[Dim]) {
        self.graph.input.push(value_info(name, element, dims));
    }

    /// Declares the value `name`, made by a node, a graph output.
    pub fn output(&mut self, name: &str, element: ElementType, dims: &[Dim]) {
        self.graph.output.push(value_info(name, element, dims));
    }

    /// Declares a weight whose bytes the session is given by name. `file` must exist beside the
    /// model, though nothing is read from it.
    pub fn weight(&mut self, name: &str, element: ElementType, shape: &[usize], file: &str) {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: element as i32,
            name: name.to_owned(),
            external_data: vec![entry("location", file)],
            data_location: EXTERNAL,
            ..TensorProto::default()
        });
    }

    /// A weight whose values are part of the model.
    ///
    /// # Panics
    /// If there are not as many values as `shape` says.
    pub fn values(&mut self, shape: &[usize], values: &[f32]) -> String {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(ElementType::F32, shape, bytes)
    }

    /// A weight of 8-bit integers that is part of the model.
    ///
    /// # Panics
    /// If there are not as many values as `shape` says.
    pub fn small_values(&mut self, shape: &[usize], values: &[i8]) -> String {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        let bytes = values.iter().map(|value| value.to_le_bytes()[0]).collect();
        self.raw(ElementType::I8, shape, bytes)
    }

    /// The same of unsigned ones.
    ///
    /// # Panics
    /// As [`small_values`](Self::small_values).
    pub fn unsigned_values(&mut self, shape: &[usize], values: Vec<u8>) -> String {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        self.raw(ElementType::U8, shape, values)
    }

    fn raw(&mut self, element: ElementType, shape: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.fresh("weight");
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: element as i32,
            name: name.clone(),
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    /// A fresh name for the output of a node that has several.
    pub fn name(&mut self, stem: &str) -> String {
        self.fresh(stem)
    }

    /// A constant vector of integers.
    pub fn constant(&mut self, values: &[i64]) -> String {
        let name = self.fresh("constant");
        self.graph.initializer.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: ElementType::I64 as i32,
            int64_data: values.to_vec(),
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    /// Adds a node and returns its first output, freshly named.
    pub fn node(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = self.fresh(op);
        self.node_into(domain, op, inputs, &[&output], attributes);
        output
    }

    /// Adds a node with outputs of given names.
    pub fn node_into(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: format!("node_{}", self.graph.node.len()),
            op_type: op.to_owned(),
            domain: domain.to_owned(),
            attribute: attributes.iter().map(|&(name, value)| attribute(name, value)).collect(),
        });
    }

    /// The finished model, serialised.
    #[must_use]
    pub fn finish(mut self, name: &str) -> Vec<u8> {
        name.clone_into(&mut self.graph.name);
        let opset =
            |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "pliant".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![opset(STANDARD, OPSET), opset(CONTRIB, 1), opset(OURS, 1)],
        };
        model.encode_to_vec()
    }

    fn fresh(&mut self, stem: &str) -> String {
        self.values += 1;
        format!("{stem}_{}", self.values)
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Int(i) => (proto.i, proto.r#type) = (i, ATTRIBUTE_INT),
        Attribute::Float(f) => (proto.f, proto.r#type) = (f, ATTRIBUTE_FLOAT),
    }
    proto
}

fn value_info(name: &str, element: ElementType, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(n) => DimensionProto { dim_value: Some(*n as i64), dim_param: None },
            Dim::Named(name) => {
                DimensionProto { dim_value: None, dim_param: Some((*name).to_owned()) }
            }
        })
        .collect();
    let tensor =
        TensorTypeProto { elem_type: element as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
