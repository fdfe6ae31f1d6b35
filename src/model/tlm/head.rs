//! A head: layers of its own on top of the shared ones, then linear read-outs.

use candle_core::Tensor;

use super::layer::EncoderLayer;
use super::trunk::failed;
use crate::error::Result;

/// What a head's read-outs look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Each token by itself: an output per token.
    EveryToken,
    /// So many chosen tokens side by side: an output per sequence. The head's last layer computes
    /// only these, which makes it about six times as cheap.
    Rows(usize),
}

/// A linear read-out.
#[derive(Debug, Clone)]
pub struct ReadOut {
    /// Its name as an output of the graph.
    pub name: &'static str,
    /// `[values, features]`; features are the hidden size times the rows read.
    pub weight: Tensor,
    /// `[values]`.
    pub bias: Tensor,
}

/// Layers and read-outs of one head.
#[derive(Debug, Clone)]
pub struct Head {
    /// What the read-outs look at.
    pub reads: Reads,
    /// Own layers, bottom first; with [`Reads::Rows`] at least one.
    pub layers: Vec<EncoderLayer>,
    /// Read-outs of the last layer's output.
    pub read_outs: Vec<ReadOut>,
}

impl Head {
    /// The read-outs on `x`, the shared layers' output `[sequences, tokens, hidden]`, in the order
    /// of `read_outs`: `[sequences, tokens, values]` each, or `[sequences, values]` if the head
    /// reads `rows` (u32; the same in every sequence).
    ///
    /// `mask`, added to the attention scores, broadcasts to `[sequences, 1, tokens, tokens]`.
    ///
    /// # Errors
    /// If shapes disagree.
    ///
    /// # Panics
    /// If the head reads rows and has no layer, or `rows` are not as many as it reads.
    pub fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        rows: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        self.compute(x, mask, rows).map_err(failed)
    }

    fn compute(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        rows: Option<&Tensor>,
    ) -> candle_core::Result<Vec<Tensor>> {
        let mut x = x.clone();
        let whole = match self.reads {
            Reads::EveryToken => self.layers.len(),
            Reads::Rows(_) => {
                self.layers.len().checked_sub(1).expect("a head that reads rows has a layer")
            }
        };
        for layer in &self.layers[..whole] {
            x = layer.forward(&x, mask, None)?;
        }
        if let Reads::Rows(count) = self.reads {
            let rows = rows.expect("a head that reads rows is given them");
            assert_eq!(rows.elem_count(), count, "rows read");
            let mask = mask.map(|mask| rows_of_mask(mask, rows)).transpose()?;
            x = self.layers[whole]
                .forward(&x, mask.as_ref(), Some(rows))?
                .flatten_from(1)?
                .unsqueeze(1)?;
        }
        let outputs = self.read_outs.iter().map(|read_out| {
            let (sequences, tokens, features) = x.dims3()?;
            let flat = x.reshape((sequences * tokens, features))?;
            let values = flat.matmul(&read_out.weight.t()?)?.broadcast_add(&read_out.bias)?;
            match self.reads {
                Reads::EveryToken => values.reshape((sequences, tokens, ())),
                Reads::Rows(_) => Ok(values),
            }
        });
        outputs.collect()
    }
}

/// Rows `rows` of the mask's third dimension, unless one row serves all.
fn rows_of_mask(mask: &Tensor, rows: &Tensor) -> candle_core::Result<Tensor> {
    if mask.dim(2)? == 1 { Ok(mask.clone()) } else { mask.index_select(rows, 2) }
}
