//! A run's state on disk: trained values, the optimiser's moments, the steps done.
//!
//! Safetensors in f32: tensors `SLOT`, `SLOT.mean` and `SLOT.square`, and one metadata key. Random
//! draws and the text depend on the step alone, so that the step is the position in both.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::optimiser::Moments;
use super::trainer::RunIdentity;
use crate::elastify::lora::Parameters;
use crate::elastify::offline_cost::Spent;
use crate::error::{Error, Result};
use crate::files;

const METADATA_KEY: &str = "pliant";

/// The state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Trained values.
    pub parameters: Parameters,
    /// Of the optimiser.
    pub moments: Moments,
    /// Steps done.
    pub step: usize,
    /// Held-out loss before the first step, nats per token.
    pub held_out_before: f64,
    /// Time spent on the steps done.
    pub spent: Spent,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    run: RunIdentity,
    step: usize,
    held_out_before: f64,
    spent: Spent,
}

impl State {
    /// Writes the file `path` in one step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path, run: &RunIdentity) -> Result<()> {
        let &Self { step, held_out_before, spent, .. } = self;
        let metadata = Metadata { run: run.clone(), step, held_out_before, spent };
        let json = serde_json::to_string(&metadata).expect("metadata is plain data");
        let mut tensors = Vec::new();
        let lists = [
            ("", &self.parameters.values),
            (".mean", &self.moments.mean),
            (".square", &self.moments.square),
        ];
        for (kind, lists) in lists {
            for (slot, values) in self.parameters.slots().iter().zip(lists) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.push((format!("{}{kind}", slot.name()), slot.shape, bytes));
            }
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
            (name.as_str(), view.expect("values have their slot's shape"))
        });
        // One key: the library keeps metadata in no order.
        let metadata = [(METADATA_KEY.to_owned(), json)].into_iter().collect();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::file(path, "checkpoint not written").caused_by(error))?;
        files::write_whole(path, &bytes)
    }

    /// Reads the checkpoint `path` of `run`, whose values have the shapes of `parameters`.
    ///
    /// # Errors
    /// If it cannot be read, is no checkpoint, or is one of another run.
    pub fn load(path: &Path, run: &RunIdentity, mut parameters: Parameters) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let metadata = metadata(path, &bytes)?;
        run.check(path, &metadata.run)?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::file(path, "not a checkpoint").caused_by(e))?;
        let mut moments = Moments::zero(&parameters.values);
        let slots = parameters.slots().to_vec();
        let lists = [
            ("", &mut parameters.values),
            (".mean", &mut moments.mean),
            (".square", &mut moments.square),
        ];
        for (kind, lists) in lists {
            for (slot, values) in slots.iter().zip(lists) {
                let name = format!("{}{kind}", slot.name());
                *values = tensor(path, &file, &name, slot.shape)?;
            }
        }
        let Metadata { step, held_out_before, spent, .. } = metadata;
        Ok(Self { parameters, moments, step, held_out_before, spent })
    }
}

fn metadata(path: &Path, bytes: &[u8]) -> Result<Metadata> {
    let wrong = || Error::file(path, "not a checkpoint");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong().caused_by(e))?;
    let json = header.metadata().as_ref().and_then(|keys| keys.get(METADATA_KEY));
    let json = json.ok_or_else(|| {
        wrong().found("no metadata of its own").allowed(format!("the key \"{METADATA_KEY}\""))
    })?;
    serde_json::from_str(json)
        .map_err(|e| wrong().at(format!("metadata \"{METADATA_KEY}\"")).caused_by(e))
}

fn tensor(path: &Path, file: &SafeTensors<'_>, name: &str, shape: [usize; 2]) -> Result<Vec<f32>> {
    let wrong = |problem: &str| Error::file(path, problem).at(format!("tensor \"{name}\""));
    let view = file.tensor(name).map_err(|e| wrong("missing").caused_by(e))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(wrong("of another type or shape")
            .found(format!("{} {:?}", view.dtype(), view.shape()))
            .allowed(format!("F32 {shape:?}")));
    }
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    Ok(view.data().chunks_exact(4).map(value).collect())
}
