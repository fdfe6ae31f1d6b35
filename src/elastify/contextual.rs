//! Trains what picks an MLP's neurons for each token (family `contextual`), and makes its ladder.
//!
//! A neuron matters to a token as much as it adds to the residual stream: |activation · ‖its column
//! of down‖|. A low-rank map from the MLP's input to the square roots of these importances is
//! fitted by least squares on a corpus: roots, because a few neurons are so large that they would
//! be all that a fit sees, and they are picked anyway. What the picked neurons make up of the sum
//! over all is measured on text that was not fitted.

use candle_core::Tensor;

use super::least_squares;
use super::network::{Network, Options, tensor_error};
use crate::engine::model::{LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::engine::predictor::{LayerPredictor, Predictor};
use crate::error::{Error, Result};
use crate::model::family::Payload;
use crate::model::family::contextual::{Captured, PredictorFile};
use crate::model::manifest::ElasticManifest;
use crate::model::recorded::{
    AllocationRule, AllocationSpec, CorpusInfo, GroupRule, ImportanceRule, LadderSpec,
    ModelIdentity, UnitOrder,
};
use crate::units::Level;

/// A trained predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What picks neurons.
    pub predictor: Predictor,
    /// Of each of the ladder's levels below 100 %.
    pub captured: Vec<Captured>,
    /// Per layer, the sum of its neurons' importances, mean over tokens.
    pub layer_importance: Vec<f64>,
    /// The base model's mean next-token loss, nats per token.
    pub base_loss: f64,
}

/// The ladder of a model of dimensions `config`: attention whole, the nearest whole number of
/// neurons in every layer.
#[must_use]
pub fn ladder(config: &ModelConfig, levels: &[Level]) -> Vec<SubModel> {
    let layer = |level: Level| {
        let neurons = (level.share().as_f64() * config.intermediate as f64).round() as usize;
        LayerShape { groups: config.kv_heads, neurons: neurons.max(1) }
    };
    let sub_model = |&level: &Level| SubModel { level, layers: vec![layer(level); config.layers] };
    levels.iter().map(sub_model).collect()
}

/// Fits a predictor of rank `rank` on `fitted`, layer by layer from the bottom, and measures it on
/// `held_out` at the levels of `ladder`; `report` is called after each layer.
///
/// # Errors
/// If there is no sequence to fit or to measure on, the rank exceeds the model's width, or candle
/// fails.
pub fn train(
    network: &Network,
    fitted: &[Vec<u32>],
    held_out: &[Vec<u32>],
    rank: usize,
    ladder: &[SubModel],
    report: &mut dyn FnMut(),
) -> Result<Trained> {
    if fitted.is_empty() || held_out.is_empty() {
        return Err(Error::new("calibration corpus", "too short to fit and to measure on")
            .found(format!("{} and {} sequences", fitted.len(), held_out.len()))
            .allowed("1 or more each; ask for fewer --tokens"));
    }
    let width = network.config().hidden;
    if !(1..=width).contains(&rank) {
        return Err(Error::new("argument --rank", "out of range")
            .found(rank)
            .allowed(format!("1 to the model's width, {width}")));
    }
    run(network, fitted, held_out, rank, ladder, report).map_err(tensor_error)
}

fn run(
    network: &Network,
    fitted: &[Vec<u32>],
    held_out: &[Vec<u32>],
    rank: usize,
    ladder: &[SubModel],
    report: &mut dyn FnMut(),
) -> candle_core::Result<Trained> {
    let embed = |sequences: &[Vec<u32>]| -> candle_core::Result<Vec<Tensor>> {
        sequences.iter().map(|tokens| network.embed(tokens)).collect()
    };
    let (mut fitted_streams, mut held_streams) = (embed(fitted)?, embed(held_out)?);
    let levels: Vec<&SubModel> = ladder.iter().filter(|m| m.level < Level::FULL).collect();
    let mut layers = Vec::new();
    let mut layer_importance = Vec::new();
    let mut shares = vec![(0.0, 0.0); levels.len()];
    for layer in 0..network.config().layers {
        let (x, importance) = advance(network, layer, &mut fitted_streams)?;
        let fit = least_squares::fit(&x, &importance.sqrt()?, rank, layer as u64)?;
        layer_importance.push(f64::from(importance.sum(1)?.mean(0)?.to_scalar::<f32>()?));
        let predictor = LayerPredictor { a: fit.a, b: fit.b, bias: fit.bias };
        let (x, importance) = advance(network, layer, &mut held_streams)?;
        let scores = scores(&predictor, &x, rank)?;
        let kept: Vec<usize> = levels.iter().map(|model| model.layers[layer].neurons).collect();
        let found = captured(&scores.to_vec2()?, &importance.to_vec2()?, &kept);
        for (share, (predicted, best)) in shares.iter_mut().zip(found) {
            *share = (share.0 + predicted, share.1 + best);
        }
        layers.push(predictor);
        report();
    }
    let mut loss = 0.0;
    for (stream, tokens) in fitted_streams.iter().zip(fitted) {
        loss += f64::from(network.loss_sum(stream, tokens)?.to_scalar::<f32>()?);
    }
    let predictions: usize = fitted.iter().map(|tokens| tokens.len() - 1).sum();
    let count = layers.len() as f64;
    let captured = |(model, (predicted, best)): (&&SubModel, (f64, f64))| Captured {
        level: model.level,
        predicted: predicted / count,
        best: best / count,
    };
    Ok(Trained {
        predictor: Predictor { rank, layers },
        captured: levels.iter().zip(shares).map(captured).collect(),
        layer_importance,
        base_loss: loss / predictions as f64,
    })
}

/// Takes `streams` through `layer`; returns what its MLP reads, `[tokens, hidden]`, and its
/// neurons' importances, `[tokens, neurons]`.
fn advance(
    network: &Network,
    layer: usize,
    streams: &mut [Tensor],
) -> candle_core::Result<(Tensor, Tensor)> {
    let lengths = network.down_lengths(layer)?;
    let (mut inputs, mut importances) = (Vec::new(), Vec::new());
    for stream in streams {
        let middle = network.attention_half(layer, stream, Options::default())?;
        let [input, activations, after] = network.neurons(layer, &middle)?;
        *stream = after;
        importances.push(activations.abs()?.broadcast_mul(&lengths)?);
        inputs.push(input);
    }
    Ok((Tensor::cat(&inputs, 0)?, Tensor::cat(&importances, 0)?))
}

fn scores(predictor: &LayerPredictor, x: &Tensor, rank: usize) -> candle_core::Result<Tensor> {
    let matrix = |values: &[f32], rows: usize| {
        Tensor::from_slice(values, (rows, values.len() / rows), x.device())
    };
    let low = x.matmul(&matrix(&predictor.a, x.dim(1)?)?)?;
    low.matmul(&matrix(&predictor.b, rank)?)?.broadcast_add(&matrix(&predictor.bias, 1)?)
}

/// For each count of `kept`, the share of the importances of all tokens that the neurons of highest
/// score have, and that those of highest importance have.
fn captured(scores: &[Vec<f32>], importances: &[Vec<f32>], kept: &[usize]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); kept.len()];
    let mut total = 0.0;
    for (scores, importances) in scores.iter().zip(importances) {
        let (picked, best) = (running(scores, importances), running(importances, importances));
        for (sum, &kept) in sums.iter_mut().zip(kept) {
            *sum = (sum.0 + picked[kept - 1], sum.1 + best[kept - 1]);
        }
        total += best.last().copied().unwrap_or_default();
    }
    sums.into_iter().map(|(picked, best)| (picked / total, best / total)).collect()
}

/// Sums of the first 1, 2, … `values` by falling `key`.
fn running(key: &[f32], values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..key.len()).collect();
    order.sort_unstable_by(|&a, &b| key[b].total_cmp(&key[a]));
    let sum = |sum: &mut f64, index: usize| {
        *sum += f64::from(values[index]);
        Some(*sum)
    };
    order.into_iter().scan(0.0, sum).collect()
}

/// The manifest of a trained predictor that is in `file`.
#[must_use]
pub fn manifest(
    model: ModelIdentity,
    corpus: CorpusInfo,
    levels: Vec<SubModel>,
    trained: &Trained,
    file: PredictorFile,
    command: String,
) -> ElasticManifest {
    let config = &model.config;
    ElasticManifest {
        command,
        removal_tokens: corpus.tokens,
        corpus,
        ladder: LadderSpec {
            unit_order: UnitOrder::Original,
            importance_rule: ImportanceRule::TokenTaylor,
            group_rule: GroupRule::RemovalLoss,
            allocation: AllocationSpec {
                rule: AllocationRule::Uniform {},
                neuron_block: 1,
                group_share_low: 1.0,
                anchor_share: 0.0,
            },
        },
        base_loss: trained.base_loss,
        layer_importance: trained.layer_importance.clone(),
        anchors: Vec::new(),
        unit_parameter_share: levels.iter().map(|m| m.unit_parameter_share(config)).collect(),
        order: LayerOrder::original(config),
        levels,
        payload: Payload::Contextual(file),
        model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::random_model;

    #[test]
    fn a_level_keeps_its_share_of_every_layers_neurons_and_all_attention() {
        let config = random_model(1).config;
        let ladder = ladder(&config, &[Level::percent(20), Level::percent(50), Level::FULL]);
        // 19.2, 48 and 96 of 96 neurons.
        let neurons: Vec<usize> = ladder.iter().map(|model| model.layers[2].neurons).collect();
        assert_eq!(neurons, [19, 48, 96]);
        assert!(ladder.iter().all(|model| model.layers.iter().all(|layer| layer.groups == 3)));
        assert_eq!(ladder[2], SubModel::full(&config));
    }

    #[test]
    fn what_is_captured_is_a_share_of_all_tokens_importance() {
        // Scores pick neurons 2 and 0 of the first token, 1 and 0 of the second.
        let scores = [vec![0.5, 0.1, 0.9], vec![0.2, 0.3, 0.1]];
        let importances = [vec![1.0, 5.0, 2.0], vec![4.0, 3.0, 5.0]];
        let found = captured(&scores, &importances, &[1, 2, 3]);
        let of_20 = [(5.0, 10.0), (10.0, 16.0), (20.0, 20.0)];
        assert_eq!(found, of_20.map(|(predicted, best)| (predicted / 20.0, best / 20.0)));
    }

    #[test]
    fn a_fit_picks_better_than_chance_and_no_better_than_the_truth() {
        let network = Network::new(random_model(3)).unwrap();
        let config = network.config().clone();
        let sequence = |start: u32| (0..40).map(|i| (start + 7 * i) % 50).collect::<Vec<u32>>();
        let fitted: Vec<Vec<u32>> = (0..12).map(sequence).collect();
        let ladder = ladder(&config, &[Level::percent(30), Level::percent(60), Level::FULL]);
        let mut layers = 0;
        let trained =
            train(&network, &fitted, &[sequence(20)], 8, &ladder, &mut || layers += 1).unwrap();
        assert_eq!((layers, trained.captured.len()), (3, 2));
        for (found, chance) in trained.captured.iter().zip([0.3, 0.6]) {
            assert!(found.predicted > chance + 0.05, "{found:?}");
            assert!(found.predicted <= found.best && found.best < 1.0, "{found:?}");
        }
        assert!(trained.base_loss > 0.0 && trained.layer_importance.iter().all(|&sum| sum > 0.0));
    }

    #[test]
    fn nothing_to_fit_and_a_rank_above_the_width_are_refused() {
        let network = Network::new(random_model(3)).unwrap();
        let sequences = vec![vec![1, 2, 3]];
        let refuse = |fitted: &[Vec<u32>], rank| {
            train(&network, fitted, &sequences, rank, &[], &mut || ()).unwrap_err().to_string()
        };
        assert_eq!(
            refuse(&[], 4),
            "calibration corpus: too short to fit and to measure on; found 0 and 1 sequences; \
             allowed: 1 or more each; ask for fewer --tokens"
        );
        assert_eq!(
            refuse(&sequences, 33),
            "argument --rank: out of range; found 33; allowed: 1 to the model's width, 32"
        );
    }
}
