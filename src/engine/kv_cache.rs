//! Keys and values of the tokens in context, one buffer per attention group, read and extended in
//! place: past and present are the same bytes.

use std::collections::BTreeMap;

use super::model::ModelConfig;
use super::tensor::TensorView;
use crate::error::Result;

/// Room for the keys and values of `context` tokens of every attention group of a model.
///
/// What it holds was written by one sub-model and means nothing to another.
#[derive(Debug)]
pub struct KvCache {
    context: usize,
    config: ModelConfig,
    views: BTreeMap<(usize, usize), [TensorView; 2]>,
    // Written through `views` only; never read or moved from here.
    buffer: Box<[f32]>,
}

impl KvCache {
    /// An empty cache.
    ///
    /// # Errors
    /// If ONNX Runtime refuses a view of the buffer.
    pub fn new(config: &ModelConfig, context: usize) -> Result<Self> {
        let part = context * config.head_dim;
        let mut buffer = vec![0.0; 2 * config.layers * config.kv_heads * part].into_boxed_slice();
        let shape = [1, 1, context, config.head_dim];
        let mut views = BTreeMap::new();
        let slots = (0..config.layers).flat_map(|l| (0..config.kv_heads).map(move |g| (l, g)));
        for (slot, place) in slots.zip(buffer.chunks_exact_mut(2 * part)) {
            let (key, value) = place.split_at_mut(part);
            // SAFETY: the buffer lives on the heap as long as the views, parts do not overlap, and
            // sessions write through the views only while they borrow the cache mutably.
            let pair = unsafe {
                [
                    TensorView::new(key.as_mut_ptr().cast_const(), &shape)?,
                    TensorView::new(value.as_mut_ptr().cast_const(), &shape)?,
                ]
            };
            views.insert(slot, pair);
        }
        Ok(Self { context, config: config.clone(), views, buffer })
    }

    /// Whether it is for a model of dimensions `config`.
    pub(super) fn is_of(&self, config: &ModelConfig) -> bool {
        self.config == *config
    }

    /// Tokens it has room for.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buffer)
    }

    /// Key and value of a (layer, group).
    pub(super) fn slot(&self, slot: (usize, usize)) -> &[TensorView; 2] {
        &self.views[&slot]
    }
}
