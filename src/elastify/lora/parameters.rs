//! The trained values: for every projection of every layer two matrices, in the shapes that
//! [`Adapter`] keeps them in.

use rand::RngExt;

use crate::engine::adapter::{Adapter, LayerAdapter, LoraPair};
use crate::engine::model::{ModelConfig, Projection, SubModel};
use crate::rng;

/// One matrix: where it belongs and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    layer: usize,
    projection: Projection,
    /// `A`, which starts random, or `B`, which starts at zero.
    first: bool,
    /// Rows and columns.
    pub shape: [usize; 2],
}

impl Slot {
    /// The name in files: `7.down.b`.
    #[must_use]
    pub fn name(&self) -> String {
        let half = if self.first { "a" } else { "b" };
        format!("{}.{}.{half}", self.layer, self.projection.name())
    }

    /// Whether this is a `B`.
    #[must_use]
    pub fn is_second(&self) -> bool {
        !self.first
    }
}

/// All matrices of one sub-model's adapter, `B` without the scale `alpha / rank`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Columns of `x · A`.
    pub rank: usize,
    slots: Vec<Slot>,
    /// Row-major values of each slot.
    pub values: Vec<Vec<f32>>,
}

impl Parameters {
    /// The matrices that `sub_model` needs: by layer, by projection, `A` before `B`; all zero.
    #[must_use]
    pub fn zero(config: &ModelConfig, sub_model: &SubModel, rank: usize) -> Self {
        let mut slots = Vec::new();
        for (layer, shape) in sub_model.layers.iter().enumerate() {
            for projection in Projection::ALL {
                let units = projection.units(config, shape);
                if units > 0 {
                    let [a, b] = projection.shapes(rank, config.hidden, units);
                    slots.push(Slot { layer, projection, first: true, shape: a });
                    slots.push(Slot { layer, projection, first: false, shape: b });
                }
            }
        }
        let values = slots.iter().map(|slot| vec![0.0; slot.shape[0] * slot.shape[1]]).collect();
        Self { rank, slots, values }
    }

    /// As training starts: `A` uniform within `1 / √inputs` of zero, `B` zero.
    #[must_use]
    pub fn initial(config: &ModelConfig, sub_model: &SubModel, rank: usize, seed: u64) -> Self {
        let mut parameters = Self::zero(config, sub_model, rank);
        for (slot, values) in parameters.slots.iter().zip(&mut parameters.values) {
            if slot.first {
                let inputs = slot.shape[usize::from(!slot.projection.reads_units())];
                let bound = 1.0 / (inputs as f32).sqrt();
                let mut random = rng::stream(seed, &format!("lora {}", slot.name()));
                values.fill_with(|| (random.random::<f32>() * 2.0 - 1.0) * bound);
            }
        }
        parameters
    }

    /// What each of `values` is.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The number of trained values.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// The adapter's layers, `scale` (`alpha / rank`) folded into `B`.
    fn layers(&self, layers: usize, scale: f32) -> Vec<LayerAdapter> {
        let mut adapters = vec![LayerAdapter::default(); layers];
        let pairs = self.slots.chunks_exact(2).zip(self.values.chunks_exact(2));
        for (slots, values) in pairs {
            let adapter = &mut adapters[slots[0].layer];
            let pair = LoraPair {
                rank: self.rank,
                a: values[0].clone(),
                b: values[1].iter().map(|b| b * scale).collect(),
            };
            *adapter.place(slots[0].projection) = Some(pair);
        }
        adapters
    }

    /// The adapter that the engine runs, `scale` (`alpha / rank`) folded into `B`.
    #[must_use]
    pub fn to_adapter(
        &self,
        base_model_sha256: String,
        order_sha256: String,
        sub_model: &SubModel,
        scale: f32,
    ) -> Adapter {
        Adapter {
            base_model_sha256,
            order_sha256,
            level: sub_model.level,
            rank: self.rank,
            layers: self.layers(sub_model.layers.len(), scale),
        }
    }
}
