//! What the tiny language model costs beside the base model: both heads over a text, against the
//! full model's prefill of the same text, measured in turns.

use candle_core::{DType, Device, Tensor};

use crate::engine::generate::generate;
use crate::engine::stopwatch::timed;
use crate::error::{Error, Result};
use crate::model::ElasticModel;
use crate::model::tlm::graph::{GraphSpec, Precision};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::runner::{RunInput, Runner};
use crate::model::tlm::tokenizer::WordPieces;
use crate::model::tlm::trunk::{Place, Trunk, failed};
use crate::prompt::{Dataset, Tokenize};
use crate::units::{Level, millis};

/// Rows that the stand-in for a decision-head reads: the start and two SLO tokens.
const ROWS: [i64; 3] = [0, 1, 2];

/// What to time.
#[derive(Debug, Clone, Copy)]
pub struct CostSpec {
    /// Shared layers, under one own layer per head.
    pub shared_layers: usize,
    /// Numbers of the matrices.
    pub precision: Precision,
    /// Pairs of measurements.
    pub repetitions: usize,
}

/// Times at one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Tokens of the base model.
    pub tokens: usize,
    /// Word pieces of the same text.
    pub pieces: usize,
    /// ms of each prefill.
    pub prefill_ms: Vec<f64>,
    /// ms of each run of trunk and heads, tokenizing and embedding included.
    pub tlm_ms: Vec<f64>,
}

impl Cost {
    /// The median over pairs of TLM time over prefill time.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let pairs = self.tlm_ms.iter().zip(&self.prefill_ms);
        median(pairs.map(|(tlm, prefill)| tlm / prefill).collect())
    }
}

/// The middle value.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times `spec` on texts of `lengths` base-model tokens cut from prompts of `dataset`.
///
/// # Errors
/// If the trunk was not fetched or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    dataset: &Dataset,
    spec: CostSpec,
    lengths: &[usize],
) -> Result<Vec<Cost>> {
    let (trunk, tokenizer) = (Trunk::of_assets()?, WordPieces::of_assets()?);
    let heads = heads(&trunk, spec.shared_layers).map_err(failed)?;
    let heads = heads.each_ref();
    let CostSpec { shared_layers, precision, .. } = spec;
    let graph = GraphSpec { trunk: &trunk, shared_layers, heads: &heads, precision, masked: false };
    let mut runner = Runner::open(crate::engine::session::Runtime::loaded()?, &graph)?;
    let text: String = dataset.items.iter().take(4).map(|item| dataset.render(item)).collect();
    let tokens = model.tokenizer.encode(&text);
    let mut costs = Vec::new();
    for &length in lengths {
        let part = tokens.get(..length).ok_or_else(|| {
            Error::new("length", "longer than the text").found(length).allowed(tokens.len())
        })?;
        let text = model.tokenizer.decode(part);
        let mut cost =
            Cost { tokens: length, pieces: 0, prefill_ms: Vec::new(), tlm_ms: Vec::new() };
        // The first pair warms up.
        for pair in 0..=spec.repetitions {
            let prefill = generate(&mut model.engine, Level::FULL, part, 1, None)?.prefill;
            let (read, time) = timed(|| read(&mut runner, &trunk, &tokenizer, &text));
            cost.pieces = read?;
            if pair > 0 {
                cost.prefill_ms.push(millis(prefill));
                cost.tlm_ms.push(millis(time));
            }
        }
        costs.push(cost);
    }
    Ok(costs)
}

fn read(runner: &mut Runner, trunk: &Trunk, tokenizer: &WordPieces, text: &str) -> Result<usize> {
    let ids = tokenizer.encode(text).into_iter().map(|piece| piece.id);
    let ids = std::iter::once(tokenizer.start()).chain(ids);
    let place = |(id, position)| Place { id, position, segment: 0 };
    let places: Vec<Place> = ids.take(trunk.config().positions).zip(0..).map(place).collect();
    let embedded = trunk.embeddings().sum(&places, &[]);
    runner.run(&RunInput { embedded: &embedded, mask: None, rows: Some(&ROWS) })?;
    Ok(places.len())
}

/// Heads of the real size with weights that say nothing: time does not depend on them.
fn heads(trunk: &Trunk, shared_layers: usize) -> candle_core::Result<[Head; 2]> {
    let layer = trunk.layers()[shared_layers.min(trunk.layers().len() - 1)].clone();
    let hidden = trunk.config().hidden;
    let read_out = |name, values, features| {
        Ok::<_, candle_core::Error>(ReadOut {
            name,
            weight: Tensor::zeros((values, features), DType::F32, &Device::Cpu)?,
            bias: Tensor::zeros(values, DType::F32, &Device::Cpu)?,
        })
    };
    let features = ROWS.len() * hidden;
    let score = Head {
        reads: Reads::EveryToken,
        layers: vec![layer.clone()],
        read_outs: vec![read_out("keep", 1, hidden)?],
    };
    let decision = Head {
        reads: Reads::Rows(ROWS.len()),
        layers: vec![layer],
        read_outs: vec![read_out("ratio", 10, features)?, read_out("level", 9, features)?],
    };
    Ok([score, decision])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_pairs() {
        let (prefill_ms, tlm_ms) = (vec![100.0, 200.0, 100.0], vec![4.0, 10.0, 30.0]);
        let cost = Cost { tokens: 1, pieces: 1, prefill_ms, tlm_ms };
        assert!((cost.ratio() - 0.05).abs() < 1e-12);
    }
}
