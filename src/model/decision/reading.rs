//! What the TLM reads to decide: `[CLS]`, the objective's two tokens where the head asks for them,
//! the request's own prompt, `[SEP]`.
//!
//! Demonstrations are left out: all prompts of a dataset share them. Of a long prompt the end is
//! kept, where the question stands.

use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::Objective;
use crate::error::Result;
use crate::model::tlm::encoder::direction;
use crate::model::tlm::tokenizer::WordPieces;
use crate::model::tlm::trunk::{Place, Trunk, failed};
use crate::profile::{TPOT_TOKENS, TTFT_TOKENS};
use crate::prompt::{Dataset, Item};
use crate::rng;

/// Most word pieces of a prompt that are read.
pub const PIECES_MAX: usize = 192;
/// Rows that SLO tokens add to the vocabulary.
pub const SLO_ROWS: usize = TTFT_TOKENS.len() + TPOT_TOKENS.len();

/// What a head reads of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Its own prompt.
    #[default]
    Prompt,
    /// The template of its dataset, as the study's published code does: one decision per dataset
    /// and objective.
    Template,
}

impl Input {
    /// The text that is read for `item`.
    #[must_use]
    pub fn text(self, dataset: &Dataset, item: &Item) -> String {
        match self {
            Self::Prompt => item.text(),
            Self::Template => dataset.template.clone(),
        }
    }
}

/// What a soft head's features are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The state of `[CLS]`. After three layers it hardly differs between prompts, so that nothing
    /// can be learnt from it. Heads of old are of this kind.
    #[default]
    Start,
    /// The mean of all pieces' states.
    Mean,
}

/// Turns prompts into what the encoder reads.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The encoder.
    pub trunk: &'a Trunk,
    /// Its tokenizer.
    pub pieces: &'a WordPieces,
    /// Layers of it that heads share; the next one is the decision-head's own.
    pub shared_layers: usize,
}

impl Reader<'_> {
    /// The sequence for `prompt`, behind the tokens of `objective` if one is given.
    #[must_use]
    pub fn sequence(&self, prompt: &str, objective: Option<Objective>) -> Vec<Place> {
        let vocab = self.trunk.config().vocab as u32;
        let mut ids = vec![self.pieces.start()];
        ids.extend(objective.into_iter().flat_map(slo_rows).map(|row| vocab + row as u32));
        let prompt = self.pieces.encode(prompt);
        let skipped = prompt.len().saturating_sub(PIECES_MAX);
        ids.extend(prompt[skipped..].iter().map(|piece| piece.id));
        ids.push(self.pieces.separator());
        let place = |(position, id)| Place { id, position: position as u32, segment: 0 };
        ids.into_iter().enumerate().map(place).collect()
    }

    /// The mean of all pieces' states after the shared layers and the head's own, at length 1.
    ///
    /// # Errors
    /// If candle refuses.
    pub fn features(&self, prompt: &str) -> Result<Vec<f32>> {
        let x = self.trunk.embed(&[self.sequence(prompt, None)], None)?;
        let x = self.trunk.forward(&x, None, self.shared_layers)?;
        let own = &self.trunk.layers()[self.shared_layers];
        let states = own.forward(&x, None, None).and_then(|x| x.flatten_all()?.to_vec1());
        Ok(direction(&states.map_err(failed)?, self.trunk.config().hidden))
    }
}

/// `row` divided by its length.
#[must_use]
pub fn unit(mut row: Vec<f32>) -> Vec<f32> {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut row {
        *value /= length;
    }
    row
}

/// Places of an objective's tokens among the added rows: `[02]` … `[10]`, then `<05>` … `<10>`.
/// An objective between two tokens is read as the tighter one.
#[must_use]
pub fn slo_rows((ttft, tpot): Objective) -> [usize; 2] {
    let place = |tokens: &[u16], percent: u16| {
        tokens.iter().rposition(|&token| token <= percent).unwrap_or(0)
    };
    let tpot = place(&TPOT_TOKENS, tpot.as_percent());
    [place(&TTFT_TOKENS, ttft.as_percent()), TTFT_TOKENS.len() + tpot]
}

/// First values of the added rows: mutually orthogonal, each of length `length`, row-major.
///
/// Random directions, made orthogonal one after the other (Gram and Schmidt).
///
/// # Panics
/// If `width` is less than [`SLO_ROWS`].
#[must_use]
pub fn orthogonal_rows(width: usize, length: f32) -> Vec<f32> {
    assert!(width >= SLO_ROWS, "no room for orthogonal rows");
    let draws = &mut rng::stream(0, "SLO tokens");
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for _ in 0..SLO_ROWS {
        let mut row: Vec<f32> = (0..width).map(|_| StandardNormal.sample(draws)).collect();
        for earlier in &rows {
            let shared: f32 = row.iter().zip(earlier).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(earlier).for_each(|(a, b)| *a -= shared * b);
        }
        rows.push(unit(row));
    }
    rows.into_iter().flatten().map(|value| value * length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;

    #[test]
    fn slo_rows_start_orthogonal_and_equally_long() {
        let rows = orthogonal_rows(32, 2.0);
        let row = |at: usize| &rows[at * 32..(at + 1) * 32];
        for a in 0..SLO_ROWS {
            for b in 0..=a {
                let product: f32 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
                let expected = if a == b { 4.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-4, "{a} · {b} = {product}");
            }
        }
    }

    #[test]
    fn objectives_have_their_tokens_and_others_the_tighter_one() {
        let rows = |ttft, tpot| slo_rows((Ratio::percent(ttft), Ratio::percent(tpot)));
        assert_eq!(rows(20, 50), [0, 9]);
        assert_eq!(rows(100, 100), [8, 14]);
        assert_eq!(rows(49, 79), [2, 11]);
        assert_eq!(rows(5, 5), [0, 9]);
    }
}
