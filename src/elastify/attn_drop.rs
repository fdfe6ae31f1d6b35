//! The ladder of family `attn-drop`: attention sub-layers go first, by rising influence, then MLPs.
//!
//! Attention counts a third of a layer and an MLP two thirds, as in the study: a level may keep at
//! most `level · 3 · layers` thirds, and drops the fewest sub-layers that get it there. With a
//! third of all thirds in attention, every level below 67 % has lost attention altogether.

use super::influence::Influence;
use crate::engine::model::{LayerShape, ModelConfig, SubModel};
use crate::units::Level;

/// Thirds of a layer.
const ATTENTION: usize = 1;
const MLP: usize = 2;

/// The sub-models of `levels`.
#[must_use]
pub fn ladder(config: &ModelConfig, influence: &Influence, levels: &[Level]) -> Vec<SubModel> {
    let order = dropping_order(influence);
    levels.iter().map(|&level| sub_model(config, &order, level)).collect()
}

/// One half of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Attention(usize),
    Mlp(usize),
}

/// Every attention by rising influence, then every MLP likewise; equals from the bottom.
fn dropping_order(influence: &Influence) -> Vec<Half> {
    let ascending = |scores: &[f64]| {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        order
    };
    let attention = ascending(&influence.attention).into_iter().map(Half::Attention);
    attention.chain(ascending(&influence.mlp).into_iter().map(Half::Mlp)).collect()
}

fn sub_model(config: &ModelConfig, order: &[Half], level: Level) -> SubModel {
    let mut sub_model = SubModel { level, ..SubModel::full(config) };
    let mut thirds = (ATTENTION + MLP) * config.layers;
    let allowed = usize::from(level.share().thousandths()) * thirds / 1000;
    for &half in order {
        if thirds <= allowed {
            break;
        }
        let shape: &mut LayerShape;
        match half {
            Half::Attention(layer) => {
                shape = &mut sub_model.layers[layer];
                shape.groups = 0;
                thirds -= ATTENTION;
            }
            Half::Mlp(layer) => {
                shape = &mut sub_model.layers[layer];
                shape.neurons = 0;
                thirds -= MLP;
            }
        }
    }
    sub_model
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::random_model;

    /// Four layers of three groups and 96 neurons; attention 2 and MLP 1 matter least.
    fn bench() -> (ModelConfig, Influence) {
        let config = ModelConfig { layers: 4, ..random_model(1).config };
        let influence = Influence {
            layers: vec![0.0; 4],
            attention: vec![0.4, 0.3, 0.1, 0.2],
            mlp: vec![0.8, 0.1, 0.2, 0.9],
        };
        (config, influence)
    }

    fn kept(percent: u16) -> (Vec<bool>, Vec<bool>) {
        let (config, influence) = bench();
        let ladder = ladder(&config, &influence, &[Level::percent(percent)]);
        let layers = &ladder[0].layers;
        assert!(layers.iter().all(|shape| [0, 3].contains(&shape.groups)));
        assert!(layers.iter().all(|shape| [0, 96].contains(&shape.neurons)));
        (
            layers.iter().map(|shape| shape.groups > 0).collect(),
            layers.iter().map(|shape| shape.neurons > 0).collect(),
        )
    }

    #[test]
    fn attention_goes_first_and_counts_a_third_an_mlp_two_thirds() {
        // Twelve thirds. 90 %: 10.8 → 10 allowed: two attentions go (2 and 3).
        let (all, none) = (vec![true; 4], vec![false; 4]);
        assert_eq!(kept(100), (all.clone(), all.clone()));
        assert_eq!(kept(90), (vec![true, true, false, false], all.clone()));
        // 75 %: 9: one more (1). 67 %: 8.04 → 8: all four, and no MLP yet.
        assert_eq!(kept(75), (vec![true, false, false, false], all.clone()));
        assert_eq!(kept(67), (none.clone(), all));
        // 60 %: 7.2 → 7, 8 is too much: MLP 1. 40 %: 4.8 → 4: MLP 2 too. 20 %: 2.4 → 2: MLP 0.
        assert_eq!(kept(60), (none.clone(), vec![true, false, true, true]));
        assert_eq!(kept(40), (none.clone(), vec![true, false, false, true]));
        assert_eq!(kept(20), (none, vec![false, false, false, true]));
    }
}
