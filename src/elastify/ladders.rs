//! What each family's ladder is made from: which measurement ranks its parts, and the sub-models
//! that follow.

use super::allocation::UnitScores;
use super::attn_drop;
use super::merge_search::{MergeSearch, MergedModel};
use super::scores::Scores;
use crate::engine::model::{LayerOrder, ModelConfig, SubModel};
use crate::error::{Error, Result};
use crate::family::Family;
use crate::model::family::Payload;
use crate::model::family::merge::{self, LevelMerges, MergedLayer, Merges};
use crate::model::manifest::ElasticManifest;
use crate::model::recorded::{LadderSpec, UnitOrder};
use crate::units::Level;

/// The ladder of `family` at `levels`, rising, from measured `scores`.
///
/// # Errors
/// If a measurement that the family needs has not been made, a level is out of its reach, or the
/// family is not made from scores alone.
pub fn from_scores(
    scores: &Scores,
    family: Family,
    ladder: LadderSpec,
    levels: &[Level],
    command: String,
) -> Result<ElasticManifest> {
    let config = &scores.model.config;
    let basis = Basis::new(scores, family, &ladder, levels)?;
    let share = |level: &SubModel| level.unit_parameter_share(config);
    Ok(ElasticManifest {
        command,
        model: scores.model.clone(),
        corpus: scores.corpus.clone(),
        removal_tokens: basis.tokens,
        ladder,
        base_loss: basis.base_loss,
        layer_importance: basis.layer_importance,
        anchors: basis.layers.top_layers(ladder.allocation.anchor_share),
        unit_parameter_share: basis.levels.iter().map(share).collect(),
        levels: basis.levels,
        order: basis.order,
        payload: basis.payload,
    })
}

/// A ladder with the measurement behind it.
struct Basis {
    /// Sub-models, in the order of the levels asked for.
    levels: Vec<SubModel>,
    /// The order of the units of each layer.
    order: Vec<LayerOrder>,
    /// What ranks the layers.
    layers: UnitScores,
    /// How important each layer is, in the measurement's unit.
    layer_importance: Vec<f64>,
    /// Tokens that layers were ranked on.
    tokens: usize,
    /// The base model's mean loss on them.
    base_loss: f64,
    /// What the family has of its own.
    payload: Payload,
}

impl Basis {
    /// The sub-models of `levels` for `ladder`.
    ///
    /// # Errors
    /// If what the family needs has not been measured, or a level would keep nothing at all.
    fn new(scores: &Scores, family: Family, ladder: &LadderSpec, levels: &[Level]) -> Result<Self> {
        let basis = match family {
            Family::Width => Self::by_units(scores, Payload::Width, ladder, levels)?,
            Family::WidthRelayout => {
                Self::by_units(scores, Payload::WidthRelayout, ladder, levels)?
            }
            Family::LayerRemoval => Self::by_units(scores, Payload::LayerRemoval, ladder, levels)?,
            Family::WidthLora => {
                return Err(Error::new("family width-lora", "not made from scores alone")
                    .allowed("family width, then `pliant elastify recover`"));
            }
            Family::Bits | Family::WidthQ8 | Family::WidthQ4 => {
                return Err(Error::new(format!("family {family}"), "not made from scores alone")
                    .allowed("family width, then `pliant elastify quantise`"));
            }
            Family::Zoo | Family::Contextual => {
                let command = format!("`pliant elastify {family}`");
                let place = format!("family {family}");
                return Err(Error::new(place, "not made from scores").allowed(command));
            }
            Family::LayerRemovalGreedy => Self::by_greedy_removal(scores, levels)?,
            Family::LayerInfluence => Self::by_influence(scores, Payload::LayerInfluence, levels)?,
            Family::AttnDrop => Self::by_influence(scores, Payload::AttnDrop, levels)?,
            Family::LayerMerge => Self::by_merging(scores, levels)?,
        };
        basis.check(family)?;
        Ok(basis)
    }

    fn by_units(
        scores: &Scores,
        payload: Payload,
        ladder: &LadderSpec,
        levels: &[Level],
    ) -> Result<Self> {
        let config = &scores.model.config;
        let units = scores.unit_scores(ladder.importance_rule, ladder.group_rule)?;
        let width = payload != Payload::LayerRemoval;
        Ok(Self {
            levels: if width {
                units.width_ladder(config, &ladder.allocation, levels)
            } else {
                units.layer_removal_ladder(config, levels)
            },
            order: if width && ladder.unit_order == UnitOrder::Importance {
                units.order()
            } else {
                LayerOrder::original(config)
            },
            layer_importance: units.layers.clone(),
            layers: units,
            tokens: scores.removal.predictions + scores.removal.sequences,
            base_loss: scores.base_loss(),
            payload,
        })
    }

    fn by_greedy_removal(scores: &Scores, levels: &[Level]) -> Result<Self> {
        let (config, greedy) = (&scores.model.config, &scores.greedy);
        let layers = UnitScores::of_layers(greedy.ranks(config)?);
        Ok(Self {
            levels: layers.layer_removal_ladder(config, levels),
            order: LayerOrder::original(config),
            layers,
            layer_importance: greedy.loss_growth(),
            tokens: greedy.sequences * greedy.sequence_tokens,
            base_loss: greedy.base_loss(),
            payload: Payload::LayerRemovalGreedy,
        })
    }

    fn by_influence(scores: &Scores, payload: Payload, levels: &[Level]) -> Result<Self> {
        let config = &scores.model.config;
        let influence = scores.influence.means(config)?;
        let layers = UnitScores::of_layers(influence.layers.clone());
        Ok(Self {
            levels: if payload == Payload::AttnDrop {
                attn_drop::ladder(config, &influence, levels)
            } else {
                layers.layer_removal_ladder(config, levels)
            },
            order: LayerOrder::original(config),
            layer_importance: influence.layers,
            layers,
            tokens: scores.influence.tokens,
            base_loss: scores.influence.base_loss(),
            payload,
        })
    }

    fn by_merging(scores: &Scores, levels: &[Level]) -> Result<Self> {
        let config = &scores.model.config;
        let search = scores.merge.as_ref().ok_or_else(|| {
            Error::new("scores", "mergers not searched yet")
                .at("key \"merge\"")
                .allowed("a search; run `pliant elastify score --family layer-merge`")
        })?;
        let mut ladder = Vec::new();
        let mut merged = Vec::new();
        for &level in levels {
            let layers = layers_of(search, config, level)?;
            ladder.push(merge::sub_model(config, level, &layers));
            let sums: Vec<MergedLayer> =
                layers.into_iter().filter(|layer| !layer.is_original()).collect();
            if !sums.is_empty() {
                merged.push(LevelMerges { level, layers: sums });
            }
        }
        let lasting = |place: usize| {
            let has = |model: &&MergedModel| model.layers.iter().any(|l| l.place == place);
            match search.models.len() {
                // No merger was asked for, or none found: every layer lasts.
                0 => 1.0,
                found => search.models.iter().filter(has).count() as f64 / found as f64,
            }
        };
        let layer_importance: Vec<f64> = (0..config.layers).map(lasting).collect();
        Ok(Self {
            levels: ladder,
            order: LayerOrder::original(config),
            layers: UnitScores::of_layers(layer_importance.clone()),
            layer_importance,
            tokens: search.tokens,
            base_loss: search.base_loss,
            payload: Payload::LayerMerge(Merges { spec: search.spec, levels: merged }),
        })
    }

    fn check(&self, family: Family) -> Result<()> {
        let keeps_nothing =
            |model: &&SubModel| model.layers.iter().all(|shape| shape.groups + shape.neurons == 0);
        let Some(model) = self.levels.iter().find(keeps_nothing) else { return Ok(()) };
        let reached = self.levels.iter().filter(|model| !keeps_nothing(model));
        let mut reached: Vec<String> = reached.map(|model| model.level.to_string()).collect();
        if reached.is_empty() {
            reached.push("larger levels".to_owned());
        }
        Err(Error::new(format!("family {family}"), "level keeps no layer")
            .found(model.level)
            .allowed(format!("{}; ask for them with --levels", reached.join(", "))))
    }
}

/// The layers of the `round(level · layers)`-layer model that `search` found.
fn layers_of(search: &MergeSearch, config: &ModelConfig, level: Level) -> Result<Vec<MergedLayer>> {
    let count = (level.share().as_f64() * config.layers as f64).round() as usize;
    if count == config.layers {
        return Ok((0..count).map(MergedLayer::original).collect());
    }
    let found = search.models.iter().find(|model| model.layers.len() == count);
    found.map(|model| model.layers.clone()).ok_or_else(|| {
        let found = search.models.iter().map(|model| model.layers.len());
        let sizes: Vec<String> =
            std::iter::once(config.layers).chain(found).map(|size| size.to_string()).collect();
        Error::new("family layer-merge", "level out of reach")
            .found(format!("level {level}, {count} layers"))
            .allowed(format!(
                "as many layers as the search left: {}; ask for those levels with --levels, or \
                 search with a lower --similarity-floor",
                sizes.join(", ")
            ))
    })
}

#[cfg(test)]
pub(crate) mod tests;
