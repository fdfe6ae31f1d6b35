//! A run's state on disk: trained values, the optimiser's moments, the steps done.
//!
//! A [file of tensors](crate::model::tensor_file): `SLOT`, `SLOT.mean` and `SLOT.square`.
//! Random draws and the text depend on the step alone, so that the step is the position in both.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::trainer::RunIdentity;
use crate::elastify::adam::Moments;
use crate::elastify::lora::Parameters;
use crate::error::Result;
use crate::model::recorded::Spent;
use crate::model::tensor_file::{self, TensorFile};

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
        let lists = [
            ("", &self.parameters.values),
            (".mean", &self.moments.mean),
            (".square", &self.moments.square),
        ];
        let entries = lists.into_iter().flat_map(|(kind, lists)| {
            self.parameters.slots().iter().zip(lists).map(move |(slot, values)| {
                (format!("{}{kind}", slot.name()), slot.shape.to_vec(), values.as_slice())
            })
        });
        tensor_file::save(path, &metadata, entries).map(|_| ())
    }

    /// Reads the checkpoint `path` of `run`, whose values have the shapes of `parameters`.
    ///
    /// # Errors
    /// If it cannot be read, is no checkpoint, or is one of another run.
    pub fn load(path: &Path, run: &RunIdentity, mut parameters: Parameters) -> Result<Self> {
        let file = TensorFile::open(path, "not a checkpoint")?;
        let metadata: Metadata = file.metadata()?;
        run.check(path, &metadata.run)?;
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
                *values = file.values(&name, &slot.shape)?;
            }
        }
        let Metadata { step, held_out_before, spent, .. } = metadata;
        Ok(Self { parameters, moments, step, held_out_before, spent })
    }
}
