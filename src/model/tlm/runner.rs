//! The tiny language model's graph on ONNX Runtime.

use std::collections::BTreeMap;

use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use super::graph::GraphSpec;
use crate::engine::session::{Runtime, open_model};
use crate::error::{Error, Result};

/// A graph of trunk and heads, ready to run.
#[derive(Debug)]
pub struct Runner {
    session: Session,
    hidden: usize,
    outputs: Vec<&'static str>,
}

/// What goes into one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunInput<'a> {
    /// `[tokens, hidden]`, from [`super::trunk::Embeddings::sum`].
    pub embedded: &'a [f32],
    /// `[tokens, tokens]`, for a masked graph.
    pub mask: Option<&'a [f32]>,
    /// The rows that a head reads, if one does.
    pub rows: Option<&'a [i64]>,
}

impl Runner {
    /// Builds the graph of `spec` and opens it.
    ///
    /// # Errors
    /// If the graph cannot be built or ONNX Runtime refuses it.
    pub fn open(runtime: &Runtime, spec: &GraphSpec<'_>) -> Result<Self> {
        let session = open_model(runtime, &spec.build()?)?;
        let outputs = spec.heads.iter().flat_map(|head| &head.read_outs);
        Ok(Self {
            session,
            hidden: spec.trunk.config().hidden,
            outputs: outputs.map(|read_out| read_out.name).collect(),
        })
    }

    /// The read-outs by name, row-major.
    ///
    /// # Errors
    /// If the input lacks what the graph takes, or inference fails.
    pub fn run(&mut self, input: &RunInput<'_>) -> Result<BTreeMap<&'static str, Vec<f32>>> {
        let tokens = input.embedded.len() / self.hidden;
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::new();
        let embedded = TensorRef::from_array_view(([tokens, self.hidden], input.embedded));
        values.push(("embedded", embedded.map_err(failed)?.into()));
        if let Some(mask) = input.mask {
            let mask = TensorRef::from_array_view(([1, 1, tokens, tokens], mask));
            values.push(("mask", mask.map_err(failed)?.into()));
        }
        if let Some(rows) = input.rows {
            let rows = TensorRef::from_array_view(([rows.len()], rows));
            values.push(("rows", rows.map_err(failed)?.into()));
        }
        let results = self.session.run(values).map_err(failed)?;
        let read = |&name: &&'static str| {
            let (_, numbers) = results[name].try_extract_tensor::<f32>().map_err(failed)?;
            Ok((name, numbers.to_vec()))
        };
        self.outputs.iter().map(read).collect()
    }
}

fn failed(error: ort::Error) -> Error {
    Error::new("tiny language model", "inference failed").caused_by(error)
}
