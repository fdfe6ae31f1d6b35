//! The hard head, as the study has it: from the objective's tokens and the prompt to a plan, by two
//! softmaxes, one over the ratios and one over the levels.
//!
//! On the shared, frozen layers sits one layer of the head's own; the read-outs look at `[CLS]` and
//! the two SLO tokens side by side.

use candle_core::{Device, Tensor};

use super::reading::SLO_ROWS;
use super::{LEVELS, RATIOS};
use crate::error::Result;
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::layer::EncoderLayer;
use crate::model::tlm::trunk::{self, Trunk, failed};

/// `[CLS]` and the two SLO tokens.
pub const ROWS_READ: usize = 3;
/// Names of the read-outs.
pub const RATIO: &str = "ratio";
/// See [`RATIO`].
pub const LEVEL: &str = "level";

/// Weights of the head, as variables to train or as constants to use.
#[derive(Debug)]
pub struct HardHead {
    /// `[SLO_ROWS, hidden]`.
    pub slo_rows: Tensor,
    /// Own layer and read-outs.
    pub head: Head,
}

impl HardHead {
    /// The frozen weights of `tensors` (see [`Self::tensors`]) beside `trunk`.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn from_tensors(
        trunk: &Trunk,
        mut tensor: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let width = trunk.config().hidden;
        let mut get = |name: &str, shape: &[usize]| {
            Tensor::from_vec(tensor(name, shape)?, shape, &Device::Cpu).map_err(failed)
        };
        let slo_rows = get("slo", &[SLO_ROWS, width])?;
        let config = trunk.config();
        let layer = EncoderLayer::new(config.heads, config.epsilon, |name| {
            get(&format!("layer.{name}"), &trunk::layer_shape(config, name))
        })?;
        let mut read_outs = Vec::new();
        for (name, values) in [(RATIO, RATIOS), (LEVEL, LEVELS)] {
            let weight = get(&format!("{name}.weight"), &[values, ROWS_READ * width])?;
            let bias = get(&format!("{name}.bias"), &[values])?;
            read_outs.push(ReadOut { name, weight, bias });
        }
        let head = Head { reads: Reads::Rows(ROWS_READ), layers: vec![layer], read_outs };
        Ok(Self { slo_rows, head })
    }

    /// All weights by name.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut tensors = vec![("slo".to_owned(), &self.slo_rows)];
        for (name, tensor) in self.head.layers[0].tensors() {
            tensors.push((format!("layer.{name}"), tensor));
        }
        for read_out in &self.head.read_outs {
            tensors.push((format!("{}.weight", read_out.name), &read_out.weight));
            tensors.push((format!("{}.bias", read_out.name), &read_out.bias));
        }
        tensors
    }
}
