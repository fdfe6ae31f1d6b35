//! Measured importance: sums that grow sequence by sequence, in a file from which a measurement
//! resumes and from which any number of ladders is made.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::allocation::UnitScores;
use super::greedy::GreedyRemoval;
use super::importance::{SequenceImportance, UnitImportance};
use super::influence::InfluenceSums;
use super::merge_search::MergeSearch;
use super::removal::SequenceRemoval;
use crate::error::{Error, Result};
use crate::files;
use crate::model::recorded::{CorpusInfo, GroupRule, ImportanceRule, ModelIdentity};

/// Everything measured on one model and corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// The model.
    pub model: ModelIdentity,
    /// The corpus of the Taylor scores; removal losses use its first sequences.
    pub corpus: CorpusInfo,
    /// Sums of Taylor scores.
    pub taylor: TaylorSums,
    /// Sums of losses under removal.
    pub removal: RemovalSums,
    /// Sums of influences.
    #[serde(default)]
    pub influence: InfluenceSums,
    /// Layers removed one after the other.
    #[serde(default)]
    pub greedy: GreedyRemoval,
    /// Layers merged one after the other.
    #[serde(default)]
    pub merge: Option<MergeSearch>,
}

/// Sums over the sequences done so far, in nats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaylorSums {
    /// Sequences done.
    pub sequences: usize,
    /// Predicted tokens in them.
    pub predictions: usize,
    /// Next-token losses.
    pub loss: f64,
    /// Attention groups.
    pub groups: RuleSums,
    /// MLP neurons.
    pub neurons: RuleSums,
}

/// `[layer][unit]` under each rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSums {
    /// By [`ImportanceRule::TokenTaylor`].
    pub token_taylor: Vec<Vec<f64>>,
    /// By [`ImportanceRule::SequenceTaylor`].
    pub sequence_taylor: Vec<Vec<f64>>,
}

/// Sums over the sequences done so far, in nats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalSums {
    /// Sequences done.
    pub sequences: usize,
    /// Predicted tokens in them.
    pub predictions: usize,
    /// Next-token losses with nothing removed.
    pub loss: f64,
    /// With layer `l` removed.
    pub layers: Vec<f64>,
    /// With group `g` of layer `l` removed.
    pub groups: Vec<Vec<f64>>,
}

impl Scores {
    /// A measurement not yet begun.
    #[must_use]
    pub fn new(model: ModelIdentity, corpus: CorpusInfo) -> Self {
        Self {
            model,
            corpus,
            taylor: TaylorSums::default(),
            removal: RemovalSums::default(),
            influence: InfluenceSums::default(),
            greedy: GreedyRemoval::default(),
            merge: None,
        }
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it cannot be read or is no scores file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let scores: Self = serde_json::from_slice(&text)
            .map_err(|e| Error::file(path, "not a scores file").caused_by(e))?;
        scores.check_dimensions(path)?;
        Ok(scores)
    }

    /// Continues the measurement in `path`, or begins one if there is no such file.
    ///
    /// # Errors
    /// If the file cannot be read or was made from another model or corpus.
    pub fn resume(path: &Path, model: ModelIdentity, corpus: CorpusInfo) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::new(model, corpus));
        }
        let scores = Self::load(path)?;
        let other = |place: &str, found: &str, expected: &str| {
            Err(Error::file(path, "begun with other inputs")
                .at(format!("key \"{place}\""))
                .found(found)
                .allowed(format!("{expected}, or another --scores file")))
        };
        if scores.model.model_sha256 != model.model_sha256 {
            return other("model_sha256", &scores.model.model_sha256, &model.model_sha256);
        }
        if scores.corpus != corpus {
            let text = |corpus: &CorpusInfo| format!("{} of {}", corpus.tokens, corpus.sha256);
            return other("corpus", &text(&scores.corpus), &text(&corpus));
        }
        Ok(Self { model, ..scores })
    }

    /// Writes the file `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::file(path, "cannot be written as JSON").caused_by(e))?;
        files::write_whole(path, &text)
    }

    /// Adds the Taylor scores of the next sequence, of `tokens` tokens.
    pub fn add_taylor(&mut self, sequence: &SequenceImportance, tokens: usize) {
        let sums = &mut self.taylor;
        sums.sequences += 1;
        sums.predictions += tokens - 1;
        sums.loss += sequence.loss_sum;
        sums.groups.add(sequence.layers.iter().map(|layer| &layer.groups));
        sums.neurons.add(sequence.layers.iter().map(|layer| &layer.neurons));
    }

    /// Adds the removal losses of the next sequence, of `tokens` tokens.
    pub fn add_removal(&mut self, sequence: &SequenceRemoval, tokens: usize) {
        let sums = &mut self.removal;
        sums.sequences += 1;
        sums.predictions += tokens - 1;
        sums.loss += sequence.loss_sum;
        add_to(&mut sums.layers, &sequence.layers);
        sums.groups.resize(sequence.groups.len(), Vec::new());
        for (sum, terms) in sums.groups.iter_mut().zip(&sequence.groups) {
            add_to(sum, terms);
        }
    }

    /// The scores under a rule for neurons and one for groups, per predicted token.
    ///
    /// # Errors
    /// If the measurement that a rule needs has not been made.
    pub fn unit_scores(&self, neurons: ImportanceRule, groups: GroupRule) -> Result<UnitScores> {
        if self.taylor.sequences == 0 || self.removal.sequences == 0 {
            return Err(Error::new("scores", "not measured yet")
                .found(format!(
                    "{} sequences with Taylor scores, {} with removal losses",
                    self.taylor.sequences, self.removal.sequences
                ))
                .allowed("1 or more of each; run `pliant elastify score`"));
        }
        Ok(UnitScores {
            neurons: per_prediction(self.taylor.neurons.by(neurons), self.taylor.predictions),
            groups: match groups {
                GroupRule::RemovalLoss => self.group_removal_losses(),
                GroupRule::TokenTaylor => self.group_taylor(ImportanceRule::TokenTaylor),
                GroupRule::SequenceTaylor => self.group_taylor(ImportanceRule::SequenceTaylor),
            },
            layers: self.layer_removal_losses(),
        })
    }

    /// How much the mean loss grows when each layer is removed, nats per token.
    #[must_use]
    pub fn layer_removal_losses(&self) -> Vec<f64> {
        self.removal.layers.iter().map(|&loss| self.growth(loss)).collect()
    }

    /// How much the mean loss grows when each group is removed, nats per token.
    #[must_use]
    pub fn group_removal_losses(&self) -> Vec<Vec<f64>> {
        let layer = |losses: &Vec<f64>| losses.iter().map(|&loss| self.growth(loss)).collect();
        self.removal.groups.iter().map(layer).collect()
    }

    /// The base model's mean loss on the removal corpus, nats per token.
    #[must_use]
    pub fn base_loss(&self) -> f64 {
        self.removal.loss / self.removal.predictions as f64
    }

    fn growth(&self, loss: f64) -> f64 {
        (loss - self.removal.loss) / self.removal.predictions as f64
    }

    fn group_taylor(&self, rule: ImportanceRule) -> Vec<Vec<f64>> {
        per_prediction(self.taylor.groups.by(rule), self.taylor.predictions)
    }

    fn check_dimensions(&self, path: &Path) -> Result<()> {
        let config = &self.model.config;
        config.check(&path.display().to_string())?;
        let (taylor, removal) = (&self.taylor, &self.removal);
        let tables = [
            ("taylor.neurons.token_taylor", &taylor.neurons.token_taylor, config.intermediate),
            (
                "taylor.neurons.sequence_taylor",
                &taylor.neurons.sequence_taylor,
                config.intermediate,
            ),
            ("taylor.groups.token_taylor", &taylor.groups.token_taylor, config.kv_heads),
            ("taylor.groups.sequence_taylor", &taylor.groups.sequence_taylor, config.kv_heads),
            ("removal.groups", &removal.groups, config.kv_heads),
        ];
        for (key, table, units) in tables {
            let begun =
                if key.starts_with("taylor") { taylor.sequences } else { removal.sequences } > 0;
            let rows = if begun { config.layers } else { 0 };
            if table.len() != rows || table.iter().any(|row| row.len() != units) {
                return Err(Error::file(path, "wrong dimensions")
                    .at(format!("key \"{key}\""))
                    .allowed(format!("{rows} rows of {units} numbers")));
            }
        }
        Ok(())
    }
}

impl RuleSums {
    fn add<'a>(&mut self, layers: impl Iterator<Item = &'a UnitImportance>) {
        for (layer, terms) in layers.enumerate() {
            if layer == self.token_taylor.len() {
                self.token_taylor.push(Vec::new());
                self.sequence_taylor.push(Vec::new());
            }
            add_to(&mut self.token_taylor[layer], &terms.token_taylor);
            add_to(&mut self.sequence_taylor[layer], &terms.sequence_taylor);
        }
    }

    fn by(&self, rule: ImportanceRule) -> &[Vec<f64>] {
        match rule {
            ImportanceRule::TokenTaylor => &self.token_taylor,
            ImportanceRule::SequenceTaylor => &self.sequence_taylor,
        }
    }
}

fn add_to<T: Copy + Into<f64>>(sums: &mut Vec<f64>, terms: &[T]) {
    sums.resize(terms.len(), 0.0);
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum += term.into();
    }
}

fn per_prediction(sums: &[Vec<f64>], predictions: usize) -> Vec<Vec<f64>> {
    let mean = |layer: &Vec<f64>| layer.iter().map(|sum| sum / predictions as f64).collect();
    sums.iter().map(mean).collect()
}
