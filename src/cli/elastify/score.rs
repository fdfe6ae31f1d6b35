//! The measurements of `pliant elastify score`, each saved as it grows.

use std::path::Path;

use indicatif::ProgressBar;

use pliant::elastify::greedy::GreedyRemoval;
use pliant::elastify::importance::score_sequence;
use pliant::elastify::influence::influence;
use pliant::elastify::merge_search::search;
use pliant::elastify::network::Network;
use pliant::elastify::removal::remove_each;
use pliant::elastify::scores::Scores;
use pliant::model::family::merge::MergeSpec;
use pliant::units::Level;
use pliant::{Error, Result};

use super::super::bar::bar;

/// What tries one change after another reads so many tokens of each sequence: more texts for the
/// same time.
const SHORT_SEQUENCE_TOKENS: usize = 256;

/// What a measurement runs on and where it is saved.
pub struct Step<'a> {
    pub network: &'a Network,
    pub file: &'a Path,
}

impl Step<'_> {
    /// Taylor scores of every unit.
    pub fn taylor(&self, scores: &mut Scores, sequences: &[Vec<u32>]) -> Result<()> {
        let bar = token_bar("Taylor scores", sequences, scores.taylor.sequences);
        for sequence in sequences.iter().skip(scores.taylor.sequences) {
            scores.add_taylor(&score_sequence(self.network, sequence)?, sequence.len());
            scores.save(self.file)?;
            bar.inc(sequence.len() as u64);
        }
        bar.finish();
        Ok(())
    }

    /// Losses without each layer and each group.
    pub fn removal(&self, scores: &mut Scores, sequences: &[Vec<u32>]) -> Result<()> {
        let bar = token_bar("removal losses", sequences, scores.removal.sequences);
        for sequence in sequences.iter().skip(scores.removal.sequences) {
            scores.add_removal(&remove_each(self.network, sequence)?, sequence.len());
            scores.save(self.file)?;
            bar.inc(sequence.len() as u64);
        }
        bar.finish();
        Ok(())
    }

    /// Influences of every layer and half-layer.
    pub fn influence(&self, scores: &mut Scores, sequences: &[Vec<u32>]) -> Result<()> {
        let bar = token_bar("influences", sequences, scores.influence.sequences);
        for sequence in sequences.iter().skip(scores.influence.sequences) {
            scores.influence.add(&influence(self.network, sequence)?, sequence.len());
            scores.save(self.file)?;
            bar.inc(sequence.len() as u64);
        }
        bar.finish();
        Ok(())
    }

    /// Layers merged from the top down until the smallest of `levels` is reached.
    pub fn merge(
        &self,
        scores: &mut Scores,
        sequences: &[&[u32]],
        spec: MergeSpec,
        levels: &[Level],
    ) -> Result<()> {
        let layers = self.network.config().layers;
        let count = |level: &Level| (level.share().as_f64() * layers as f64).round() as usize;
        let mut targets: Vec<usize> = levels.iter().map(count).collect();
        targets.sort_unstable_by(|a, b| b.cmp(a));
        let last = targets.last().copied().unwrap_or(layers);
        let bar = bar("merging layers", "layers", (layers - last) as u64);
        let mut report = |left: usize| bar.set_position((layers - left) as u64);
        scores.merge = Some(search(self.network, sequences, spec, &targets, &mut report)?);
        bar.finish();
        scores.save(self.file)
    }

    /// The order in which layers go when each removal is measured after those before it.
    pub fn greedy(&self, scores: &mut Scores, sequences: &[&[u32]]) -> Result<()> {
        if scores.greedy.sequences == 0 {
            scores.greedy = GreedyRemoval::start(self.network, sequences)?;
        }
        if scores.greedy.sequences != sequences.len() {
            return Err(Error::file(self.file, "begun with another number of sequences")
                .at("key \"greedy\"")
                .found(scores.greedy.sequences)
                .allowed(format!("{}, or another --scores file", sequences.len())));
        }
        let layers = self.network.config().layers;
        let bar = bar("greedy removal", "layers", layers as u64);
        bar.set_position(scores.greedy.removed.len() as u64);
        while scores.greedy.removed.len() < layers {
            scores.greedy.remove_next(self.network, sequences)?;
            scores.save(self.file)?;
            bar.inc(1);
        }
        bar.finish();
        Ok(())
    }
}

/// The starts of the first sequences, `tokens` tokens in all, rounded up to whole starts.
pub fn short(sequences: &[Vec<u32>], tokens: usize) -> Vec<&[u32]> {
    let count = tokens.div_ceil(SHORT_SEQUENCE_TOKENS).clamp(1, sequences.len());
    let start = |sequence: &'_ Vec<u32>| sequence.len().min(SHORT_SEQUENCE_TOKENS);
    sequences[..count].iter().map(|sequence| &sequence[..start(sequence)]).collect()
}

fn token_bar(what: &'static str, sequences: &[Vec<u32>], done: usize) -> ProgressBar {
    let tokens = |sequences: &[Vec<u32>]| sequences.iter().map(|s| s.len() as u64).sum();
    let bar = bar(what, "tokens", tokens(sequences));
    bar.set_position(tokens(&sequences[..done.min(sequences.len())]));
    bar.reset_eta();
    bar
}
