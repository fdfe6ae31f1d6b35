//! From scores to a ladder of sub-models: an order of the units in every layer, and how many of
//! them each level keeps.
//!
//! A level keeps `level` of all MLP neurons and [`AllocationSpec::group_share`] of all attention
//! groups. The two kinds have budgets of their own because their scores do not compare: one joint
//! threshold drops most groups first, and the model falls to chance. Counts never decrease with
//! the level, and level 100 % is the whole model.

use std::cmp::Ordering;

use crate::engine::model::{LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::model::recorded::{AllocationRule, AllocationSpec};
use crate::units::Level;

impl AllocationSpec {
    /// The share of all attention groups that `level` keeps: linear between
    /// `group_share_low` at 20 % and 1 at 100 %.
    #[must_use]
    pub fn group_share(&self, level: Level) -> f64 {
        let lowest = Level::LADDER[0].share().as_f64();
        let height = (level.share().as_f64() - lowest) / (1.0 - lowest);
        (self.group_share_low + (1.0 - self.group_share_low) * height).clamp(0.0, 1.0)
    }
}

/// The scores a ladder is made from: larger is more important, any scale, one scale per kind.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitScores {
    /// `[layer][neuron]`.
    pub neurons: Vec<Vec<f64>>,
    /// `[layer][group]`.
    pub groups: Vec<Vec<f64>>,
    /// `[layer]`.
    pub layers: Vec<f64>,
}

impl UnitScores {
    /// Scores of layers alone, for ladders that keep or skip them whole.
    #[must_use]
    pub fn of_layers(layers: Vec<f64>) -> Self {
        Self { neurons: Vec::new(), groups: Vec::new(), layers }
    }

    /// The order of every layer's units, most important first.
    #[must_use]
    pub fn order(&self) -> Vec<LayerOrder> {
        let layers = self.groups.iter().zip(&self.neurons);
        layers
            .map(|(groups, neurons)| LayerOrder {
                groups: descending(groups),
                neurons: descending(neurons),
            })
            .collect()
    }

    /// The `round(share · layers)` most important layers, ascending.
    #[must_use]
    pub fn top_layers(&self, share: f64) -> Vec<usize> {
        let count = (share * self.layers.len() as f64).round() as usize;
        let mut top: Vec<usize> =
            descending(&self.layers).into_iter().take(count).map(|layer| layer as usize).collect();
        top.sort_unstable();
        top
    }

    /// The ladder of family `width`: prefixes of [`UnitScores::order`].
    #[must_use]
    pub fn width_ladder(
        &self,
        config: &ModelConfig,
        spec: &AllocationSpec,
        levels: &[Level],
    ) -> Vec<SubModel> {
        let level = |&level: &Level| {
            let neurons = self.neuron_counts(config, spec, level.share().as_f64());
            let groups = self.group_counts(config, spec, spec.group_share(level));
            let shapes = groups.into_iter().zip(neurons);
            let layers = shapes.map(|(groups, neurons)| LayerShape { groups, neurons }).collect();
            SubModel { level, layers }
        };
        levels.iter().map(level).collect()
    }

    /// The ladder of the families that skip layers: a level keeps the `round(level · layers)` most
    /// important layers whole and skips the others.
    #[must_use]
    pub fn layer_removal_ladder(&self, config: &ModelConfig, levels: &[Level]) -> Vec<SubModel> {
        let whole = LayerShape { groups: config.kv_heads, neurons: config.intermediate };
        let level = |&level: &Level| {
            let mut layers = vec![LayerShape { groups: 0, neurons: 0 }; config.layers];
            for kept in self.top_layers(level.share().as_f64()) {
                layers[kept] = whole;
            }
            SubModel { level, layers }
        };
        levels.iter().map(level).collect()
    }

    fn neuron_counts(&self, config: &ModelConfig, spec: &AllocationSpec, share: f64) -> Vec<usize> {
        let units = Units { count: config.intermediate, block: spec.neuron_block };
        match spec.rule {
            AllocationRule::Uniform {} => vec![units.at_share(share); config.layers],
            AllocationRule::Anchored {} => self.anchored_counts(spec.anchor_share, units, share),
            AllocationRule::Global { neuron_floor, .. } => {
                let floor = (neuron_floor * units.blocks() as f64).ceil() as usize;
                global_counts(&self.neurons, units, floor, share)
            }
        }
    }

    fn group_counts(&self, config: &ModelConfig, spec: &AllocationSpec, share: f64) -> Vec<usize> {
        let units = Units { count: config.kv_heads, block: 1 };
        match spec.rule {
            AllocationRule::Uniform {} => vec![units.at_share(share); config.layers],
            AllocationRule::Anchored {} => self.anchored_counts(spec.anchor_share, units, share),
            AllocationRule::Global { group_floor, .. } => {
                global_counts(&self.groups, units, group_floor, share)
            }
        }
    }

    /// Anchors whole; the others share what the anchors leave of the budget, one block at least.
    fn anchored_counts(&self, anchor_share: f64, units: Units, share: f64) -> Vec<usize> {
        let anchors = self.top_layers(anchor_share);
        let (all, whole) = (self.layers.len() as f64, anchors.len() as f64);
        let left = if all > whole { (share * all - whole) / (all - whole) } else { 1.0 };
        let mut counts = vec![units.at_share(left); self.layers.len()];
        for anchor in anchors {
            counts[anchor] = units.count;
        }
        counts
    }
}

/// The units of one kind in one layer, kept by blocks from the front.
#[derive(Debug, Clone, Copy)]
struct Units {
    count: usize,
    block: usize,
}

impl Units {
    fn blocks(self) -> usize {
        self.count.div_ceil(self.block)
    }

    fn in_blocks(self, blocks: usize) -> usize {
        (blocks * self.block).min(self.count)
    }

    /// The units nearest to `share` of all, one block at least.
    fn at_share(self, share: f64) -> usize {
        let blocks = (share * self.blocks() as f64).round() as usize;
        self.in_blocks(blocks.clamp(1, self.blocks()))
    }
}

/// Ranks the blocks of all layers together and keeps the first `share` of them.
///
/// A layer's first `floor` blocks precede all others. Within a layer, blocks rank in order, since a
/// layer's units are sorted: hence every level keeps prefixes, and a higher level keeps more.
fn global_counts(scores: &[Vec<f64>], units: Units, floor: usize, share: f64) -> Vec<usize> {
    let mut blocks: Vec<(usize, usize, f64)> = Vec::new();
    for (layer, scores) in scores.iter().enumerate() {
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let sums = sorted.chunks(units.block).map(|block| block.iter().sum());
        blocks.extend(sums.enumerate().map(|(place, sum)| (layer, place, sum)));
    }
    blocks.sort_by(|a, b| {
        let floored = (b.1 < floor).cmp(&(a.1 < floor));
        let valued = if a.1 < floor && b.1 < floor { Ordering::Equal } else { b.2.total_cmp(&a.2) };
        floored.then(valued).then((a.1, a.0).cmp(&(b.1, b.0)))
    });
    let least = floor.min(units.blocks()) * scores.len();
    let kept = ((share * blocks.len() as f64).round() as usize).max(least);
    let mut counts = vec![0; scores.len()];
    for &(layer, ..) in &blocks[..kept] {
        counts[layer] += 1;
    }
    counts.into_iter().map(|blocks| units.in_blocks(blocks)).collect()
}

/// Indices of `scores` from the largest down; equal scores keep their order.
fn descending(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(layers: usize, intermediate: usize, kv_heads: usize) -> ModelConfig {
        ModelConfig {
            layers,
            hidden: 8,
            intermediate,
            heads: kv_heads,
            kv_heads,
            head_dim: 4,
            rope_theta: 1e4,
            rms_epsilon: 1e-5,
            vocab: 10,
            context: 16,
        }
    }

    fn spec(rule: AllocationRule) -> AllocationSpec {
        AllocationSpec { rule, neuron_block: 2, group_share_low: 0.5, anchor_share: 0.5 }
    }

    /// Two layers of ten neurons and two groups; layer 1 matters more.
    fn scores() -> UnitScores {
        UnitScores {
            neurons: vec![
                vec![1.0, 5.0, 2.0, 4.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                vec![9.0, 9.0, 8.0, 8.0, 7.0, 7.0, 6.0, 6.0, 2.5, 2.0],
            ],
            groups: vec![vec![0.1, 0.3], vec![0.2, -0.1]],
            layers: vec![0.5, 2.0],
        }
    }

    fn counts(ladder: &[SubModel], percent: u16) -> Vec<(usize, usize)> {
        let level = ladder.iter().find(|s| s.level == Level::percent(percent)).unwrap();
        level.layers.iter().map(|shape| (shape.groups, shape.neurons)).collect()
    }

    #[test]
    fn units_are_ordered_by_falling_score_and_ties_stay_in_place() {
        let order = scores().order();
        assert_eq!(order[0].neurons, [1, 3, 4, 2, 0, 5, 6, 7, 8, 9]);
        assert_eq!(order[0].groups, [1, 0]);
        assert_eq!(order[1].neurons, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn group_share_is_linear_from_its_low_end_to_one() {
        let spec = spec(AllocationRule::Uniform {});
        for (percent, expected) in [(20, 0.5), (60, 0.75), (100, 1.0)] {
            let share = spec.group_share(Level::percent(percent));
            assert!((share - expected).abs() < 1e-12, "{percent} %: {share}");
        }
    }

    #[test]
    fn uniform_keeps_the_same_share_of_every_layer_in_whole_blocks() {
        // 30 % of 5 blocks = 1.5 → 2 blocks; group share 56 % of 2 → 1.
        let ladder = scores().width_ladder(
            &config(2, 10, 2),
            &spec(AllocationRule::Uniform {}),
            &Level::LADDER,
        );
        assert_eq!(counts(&ladder, 20), [(1, 2), (1, 2)]);
        assert_eq!(counts(&ladder, 30), [(1, 4), (1, 4)]);
        assert_eq!(counts(&ladder, 100), [(2, 10), (2, 10)]);
    }

    #[test]
    fn anchors_stay_whole_and_the_other_layers_pay() {
        // One anchor of two: at 70 % the other keeps (0.7 · 2 − 1) / 1 = 40 % = 2 blocks, and of
        // the groups (0.8125 · 2 − 1) = 62.5 % → 1. At 20 % nothing is left: one block.
        let rule = AllocationRule::Anchored {};
        let ladder = scores().width_ladder(&config(2, 10, 2), &spec(rule), &Level::LADDER);
        assert_eq!(counts(&ladder, 70), [(1, 4), (2, 10)]);
        assert_eq!(counts(&ladder, 20), [(1, 2), (2, 10)]);
        assert_eq!(scores().top_layers(0.5), [1]);
    }

    #[test]
    fn the_global_rule_keeps_the_best_blocks_of_the_model_above_the_floor() {
        // Block sums: layer 0: 9 5 1 0 0; layer 1: 18 16 14 12 4.5. A floor of one block each
        // comes first (9 and 18), then 16, 14, 12, 5, 4.5, 1, 0, 0.
        let rule = AllocationRule::Global { neuron_floor: 0.2, group_floor: 0 };
        let ladder = scores().width_ladder(&config(2, 10, 2), &spec(rule), &Level::LADDER);
        let neurons =
            |percent| counts(&ladder, percent).iter().map(|(_, n)| *n).collect::<Vec<_>>();
        assert_eq!(neurons(20), [2, 2]);
        assert_eq!(neurons(50), [2, 8]);
        assert_eq!(neurons(60), [4, 8]);
        assert_eq!(neurons(70), [4, 10]);
        // Groups by score: 0.3 (layer 0), 0.2 (layer 1), 0.1, −0.1; 20 % keeps half of the four.
        let groups = |percent| counts(&ladder, percent).iter().map(|(g, _)| *g).collect::<Vec<_>>();
        assert_eq!(groups(20), [1, 1]);
        assert_eq!(groups(60), [2, 1]);
    }

    #[test]
    fn layer_removal_keeps_the_most_important_layers_whole() {
        let scores = UnitScores { layers: vec![0.1, 3.0, 0.2, 0.4, 2.0], ..scores() };
        let ladder = scores.layer_removal_ladder(&config(5, 10, 2), &Level::LADDER);
        let (none, whole) = ((0, 0), (2, 10));
        assert_eq!(counts(&ladder, 20), [none, whole, none, none, none]);
        assert_eq!(counts(&ladder, 60), [none, whole, none, whole, whole]);
        assert_eq!(counts(&ladder, 100), [whole; 5]);
    }

    fn any_rule() -> impl Strategy<Value = AllocationRule> {
        prop_oneof![
            Just(AllocationRule::Uniform {}),
            Just(AllocationRule::Anchored {}),
            (0.0..=1.0, 0usize..4).prop_map(|(neuron_floor, group_floor)| {
                AllocationRule::Global { neuron_floor, group_floor }
            }),
        ]
    }

    fn any_scores() -> impl Strategy<Value = UnitScores> {
        (1usize..6, 1usize..40, 1usize..4).prop_flat_map(|(layers, neurons, groups)| {
            let row = |units| proptest::collection::vec(-1.0..9.0, units);
            (
                proptest::collection::vec(row(neurons), layers),
                proptest::collection::vec(row(groups), layers),
                row(layers),
            )
                .prop_map(|(neurons, groups, layers)| UnitScores {
                    neurons,
                    groups,
                    layers,
                })
        })
    }

    proptest! {
        #[test]
        fn counts_never_fall_with_the_level_and_the_last_level_is_whole(
            scores in any_scores(),
            rule in any_rule(),
            neuron_block in 1usize..20,
            group_share_low in 0.0..=1.0,
            anchor_share in 0.0..=1.0,
        ) {
            let config =
                config(scores.layers.len(), scores.neurons[0].len(), scores.groups[0].len());
            let spec = AllocationSpec { rule, neuron_block, group_share_low, anchor_share };
            let levels = &Level::LADDER;
            for ladder in [
                scores.width_ladder(&config, &spec, levels),
                scores.layer_removal_ladder(&config, levels),
            ] {
                for pair in ladder.windows(2) {
                    for (low, high) in pair[0].layers.iter().zip(&pair[1].layers) {
                        prop_assert!(low.groups <= high.groups && low.neurons <= high.neurons);
                    }
                }
                prop_assert_eq!(ladder.last(), Some(&SubModel::full(&config)));
            }
        }
    }
}
