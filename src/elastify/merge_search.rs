//! The search for layers to merge: from the top down, merge adjacent layers while the model's final
//! states stay like the base model's.
//!
//! The similarity of a candidate is the cosine of its final states with the base model's, mean over
//! the tokens of a few texts. A pass goes from the top layers to the bottom and accepts every
//! merger whose similarity is above the threshold; when a pass is through, the threshold falls by a
//! step. Reference: LaCo (Yang et al., 2024), Algorithm 1, which has one threshold per target size;
//! a falling one gives all sizes in one search.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::network::{Network, tensor_error};
use crate::error::{Error, Result};
use crate::model::family::merge::{MergeSpec, MergedLayer};

const THRESHOLD_FIRST: f64 = 0.95;
const THRESHOLD_STEP: f64 = 0.05;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeSearch {
    /// What was asked for.
    pub spec: MergeSpec,
    /// Tokens that similarities were measured on.
    pub tokens: usize,
    /// The base model's mean next-token loss on them, nats per token.
    pub base_loss: f64,
    /// The model after every accepted merger, one layer fewer or more each.
    pub models: Vec<MergedModel>,
}

/// A model of merged layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedModel {
    /// Likeness of its final states to the base model's.
    pub similarity: f64,
    /// Its layers, bottom first.
    pub layers: Vec<MergedLayer>,
}

impl MergeSpec {
    fn check(&self) -> Result<()> {
        let wrong = |key: &str, found: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::new(format!("argument --{key}"), "out of range")
                .found(found)
                .allowed(allowed))
        };
        if self.layers < 2 {
            return wrong("merge-layers", &self.layers, "2 or more");
        }
        if self.interval == 0 {
            return wrong("merge-interval", &self.interval, "1 or more");
        }
        if !(-1.0..1.0).contains(&self.similarity_floor) {
            return wrong("similarity-floor", &self.similarity_floor, "from -1 to below 1");
        }
        Ok(())
    }
}

/// Merges layers of `network` until each of `targets`, falling numbers of layers, was met once, or
/// no merger is above the floor. `report` is told how many layers remain.
///
/// # Errors
/// If the spec is out of range, a target keeps no layer, or candle fails.
pub fn search(
    network: &Network,
    sequences: &[&[u32]],
    spec: MergeSpec,
    targets: &[usize],
    report: &mut dyn FnMut(usize),
) -> Result<MergeSearch> {
    spec.check()?;
    if targets.contains(&0) {
        return Err(Error::new("family layer-merge", "a merge that keeps no layer")
            .allowed("levels of one layer or more; ask for them with --levels"));
    }
    Search::new(network, sequences, spec)
        .and_then(|search| search.run(targets, report))
        .map_err(tensor_error)
}

/// Thresholds of the passes, falling to `floor`, which is the last of them.
fn thresholds(floor: f64) -> impl Iterator<Item = f64> {
    let steps = (0..).map(|step| THRESHOLD_FIRST - f64::from(step) * THRESHOLD_STEP);
    // The floor itself may be missed by the error of a sum.
    steps.take_while(move |&threshold| threshold > floor + 1e-9).chain([floor])
}

/// A search under way.
struct Search<'a> {
    base: &'a Network,
    sequences: &'a [&'a [u32]],
    /// The base model's final directions, by sequence.
    reference: Vec<Tensor>,
    found: MergeSearch,
    layers: Vec<MergedLayer>,
    current: Network,
    /// `[sequence][place]`: the residual stream before each of `layers`.
    inputs: Vec<Vec<Tensor>>,
    /// Similarities of candidates of the current model: by place, for so many layers merged.
    tried: (usize, Vec<Option<f64>>),
}

impl<'a> Search<'a> {
    fn new(
        base: &'a Network,
        sequences: &'a [&'a [u32]],
        spec: MergeSpec,
    ) -> candle_core::Result<Self> {
        let layers: Vec<MergedLayer> =
            (0..base.config().layers).map(MergedLayer::original).collect();
        let tokens: usize = sequences.iter().map(|sequence| sequence.len()).sum();
        let mut search = Self {
            base,
            sequences,
            reference: Vec::new(),
            found: MergeSearch { spec, tokens, base_loss: 0.0, models: Vec::new() },
            layers,
            current: base.clone(),
            inputs: Vec::new(),
            tried: (0, Vec::new()),
        };
        let mut loss = 0.0;
        for (tokens, last) in sequences.iter().zip(search.read()?) {
            search.reference.push(base.final_directions(&last)?);
            loss += f64::from(base.loss_sum(&last, tokens)?.to_scalar::<f32>()?);
        }
        search.found.base_loss = loss / (tokens - sequences.len()) as f64;
        Ok(search)
    }

    /// Runs the current model, keeps the inputs of its layers, and returns its last outputs.
    fn read(&mut self) -> candle_core::Result<Vec<Tensor>> {
        self.inputs.clear();
        self.tried = (0, Vec::new());
        let mut last = Vec::new();
        for tokens in self.sequences {
            let mut x = self.current.embed(tokens)?;
            let mut inputs = Vec::with_capacity(self.layers.len());
            for layer in &self.layers {
                inputs.push(x.clone());
                x = self.current.layer(layer.place, &x, None)?;
            }
            self.inputs.push(inputs);
            last.push(x);
        }
        Ok(last)
    }

    fn run(
        mut self,
        targets: &[usize],
        report: &mut dyn FnMut(usize),
    ) -> candle_core::Result<MergeSearch> {
        let whole = self.layers.len();
        let mut targets = targets.iter().copied().filter(|&n| n < whole).peekable();
        let mut thresholds = thresholds(self.found.spec.similarity_floor).peekable();
        while let (Some(&target), Some(&threshold)) = (targets.peek(), thresholds.peek()) {
            if !self.pass(threshold, target, report)? {
                thresholds.next();
            }
            while targets.next_if(|&target| self.layers.len() <= target).is_some() {}
        }
        Ok(self.found)
    }

    /// One pass from the top; stops at `target` layers and says whether it got there.
    fn pass(
        &mut self,
        threshold: f64,
        target: usize,
        report: &mut dyn FnMut(usize),
    ) -> candle_core::Result<bool> {
        let mut below = self.layers.len();
        while self.layers.len() > target {
            let count = self.found.spec.layers.min(self.layers.len() - target + 1);
            let Some(highest) = self.layers.len().checked_sub(count) else { return Ok(false) };
            let Some(place) = below.checked_sub(1).map(|place| place.min(highest)) else {
                return Ok(false);
            };
            let similarity = self.similarity(place, count)?;
            below = place;
            if similarity > threshold {
                self.accept(place, count, similarity)?;
                report(self.layers.len());
                below = (place + 1).saturating_sub(self.found.spec.interval);
            }
        }
        Ok(true)
    }

    fn accept(&mut self, place: usize, count: usize, similarity: f64) -> candle_core::Result<()> {
        let merged = MergedLayer::of(&self.layers[place..place + count]);
        self.layers.splice(place..place + count, [merged]);
        self.current = self.base.with_merged(&self.layers)?;
        self.read()?;
        self.found.models.push(MergedModel { similarity, layers: self.layers.clone() });
        Ok(())
    }

    /// Likeness to the base model if the `count` layers from `place` become one.
    fn similarity(&mut self, place: usize, count: usize) -> candle_core::Result<f64> {
        if self.tried.0 != count {
            self.tried = (count, vec![None; self.layers.len()]);
        }
        if let Some(similarity) = self.tried.1[place] {
            return Ok(similarity);
        }
        let merged = MergedLayer::of(&self.layers[place..place + count]);
        let trial = self.base.with_merged(std::slice::from_ref(&merged))?;
        let mut sum = 0.0;
        for (inputs, reference) in self.inputs.iter().zip(&self.reference) {
            let mut x = trial.layer(merged.place, &inputs[place], None)?;
            for layer in &self.layers[place + count..] {
                x = self.current.layer(layer.place, &x, None)?;
            }
            let cosines = (self.base.final_directions(&x)? * reference)?.sum_all()?;
            sum += f64::from(cosines.to_scalar::<f32>()?);
        }
        let similarity = sum / self.found.tokens as f64;
        self.tried.1[place] = Some(similarity);
        Ok(similarity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::random_model;
    use crate::model::family::merge::merged_model;

    const TEXTS: [&[u32]; 2] = [&[3, 17, 42, 5, 30, 11], &[9, 1, 8, 2]];

    const SPEC: MergeSpec = MergeSpec { layers: 2, interval: 2, similarity_floor: -0.9 };

    fn run(network: &Network, spec: MergeSpec, targets: &[usize]) -> Result<MergeSearch> {
        search(network, &TEXTS, spec, targets, &mut |_| {})
    }

    /// Layers 1 and 2 are the same and add nothing, so that merging them changes nothing.
    fn with_twins() -> crate::engine::model::DenseModel {
        let mut model = random_model(4);
        model.layers[1].o.fill(0.0);
        model.layers[1].down.fill(0.0);
        model.layers[2] = model.layers[1].clone();
        model
    }

    #[test]
    fn thresholds_fall_to_the_floor_and_have_it_once() {
        let of = |floor| thresholds(floor).map(|t| (100.0 * t).round() as i32).collect::<Vec<_>>();
        assert_eq!(of(0.82), [95, 90, 85, 82]);
        assert_eq!(of(0.0).len(), 20);
        assert_eq!(of(0.0)[18..], [5, 0]);
        assert_eq!(of(0.97), [97]);
    }

    #[test]
    fn a_merger_that_changes_nothing_comes_first_and_is_perfectly_similar() {
        let model = with_twins();
        let found = run(&Network::new(model).unwrap(), SPEC, &[2]).unwrap();
        assert_eq!(found.models.len(), 1);
        assert!((found.models[0].similarity - 1.0).abs() < 1e-4);
        let places: Vec<usize> = found.models[0].layers.iter().map(|layer| layer.place).collect();
        assert_eq!(places, [0, 1]);
    }

    #[test]
    fn the_merged_network_is_the_merged_weights_run_from_the_start() {
        let model = random_model(6);
        let network = Network::new(model.clone()).unwrap();
        let found = run(&network, MergeSpec { layers: 3, ..SPEC }, &[1]).unwrap();
        let [merged] = &found.models[..] else { panic!("{found:?}") };
        let layers = &merged.layers;
        assert_eq!(layers, &[MergedLayer::of(&[0, 1, 2].map(MergedLayer::original))]);
        let dense = Network::new(merged_model(&model, layers)).unwrap();
        let state = |network: &Network, places: &[usize], tokens: &[u32]| {
            let mut x = network.embed(tokens).unwrap();
            for &place in places {
                x = network.layer(place, &x, None).unwrap();
            }
            network.final_directions(&x).unwrap()
        };
        let mut sum = 0.0;
        for tokens in TEXTS {
            let (a, b) = (state(&dense, &[0], tokens), state(&network, &[0, 1, 2], tokens));
            sum += f64::from((a * b).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
        }
        assert!((merged.similarity - sum / 10.0).abs() < 1e-4);
    }

    #[test]
    fn sizes_fall_to_each_target_and_a_floor_that_nothing_reaches_ends_the_search() {
        let network = Network::new(random_model(2)).unwrap();
        let sizes = |found: MergeSearch| -> Vec<usize> {
            found.models.iter().map(|model| model.layers.len()).collect()
        };
        assert_eq!(sizes(run(&network, SPEC, &[3, 2, 1]).unwrap()), [2, 1]);
        let wide = MergeSpec { layers: 4, ..SPEC };
        assert_eq!(sizes(run(&network, wide, &[2, 1]).unwrap()), [2, 1], "never past a target");
        let strict = MergeSpec { similarity_floor: 0.999, ..SPEC };
        assert_eq!(sizes(run(&network, strict, &[2, 1]).unwrap()), [] as [usize; 0]);
    }

    #[test]
    fn a_merge_that_keeps_no_layer_and_impossible_parameters_are_refused() {
        let network = Network::new(random_model(2)).unwrap();
        let refusal =
            |spec, targets: &[usize]| run(&network, spec, targets).unwrap_err().to_string();
        let refusals = [
            refusal(SPEC, &[1, 0]),
            refusal(MergeSpec { layers: 1, ..SPEC }, &[1]),
            refusal(MergeSpec { interval: 0, ..SPEC }, &[1]),
            refusal(MergeSpec { similarity_floor: 1.0, ..SPEC }, &[1]),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r"
        family layer-merge: a merge that keeps no layer; allowed: levels of one layer or more; ask for them with --levels
        argument --merge-layers: out of range; found 1; allowed: 2 or more
        argument --merge-interval: out of range; found 0; allowed: 1 or more
        argument --similarity-floor: out of range; found 1; allowed: from -1 to below 1
        ");
    }
}
