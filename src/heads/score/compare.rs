//! Compressors side by side on questions that are never scored: how often the base model is right,
//! and how likely it finds the right answer, at each prompt ratio.

use crate::engine::scorer::{self, Task};
use crate::error::Result;
use crate::model::ElasticModel;
use crate::model::tlm::score_head::ScoreHead;
use crate::prompt::compress::score_head::{self, KeepScores};
use crate::prompt::{CompressedPrompt, Compressor, Dataset, Item, Tokenize, compress};
use crate::units::{Level, Ratio};

/// A compressor, or the score-head in a folder of its own.
#[derive(Debug)]
pub enum Contender {
    /// One that needs no head.
    Plain(Compressor),
    /// A score-head, by the name it is listed under.
    Head(String, Box<ScoreHead>),
}

impl Contender {
    /// Its name in the table.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plain(compressor) => compressor.name(),
            Self::Head(name, _) => name,
        }
    }
}

/// One contender at one ratio on one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Mean share of tokens kept.
    pub reached: f64,
    /// Per item: whether the answer was right.
    pub correct: Vec<bool>,
    /// Mean ln p(gold).
    pub gold: f64,
}

/// Measures `contender` on `items` of `dataset` at each of `ratios`, with the full model.
///
/// # Errors
/// If inference fails.
pub fn compare(
    model: &mut ElasticModel,
    contender: &mut Contender,
    dataset: &Dataset,
    items: &[&Item],
    ratios: &[Ratio],
) -> Result<Vec<Compared>> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut shares: Vec<f64> = Vec::new();
    for &item in items {
        let aid = Aid::new(model, contender, dataset, item)?;
        let options: Vec<Vec<u32>> =
            item.options.iter().map(|option| model.tokenizer.encode(option)).collect();
        for &ratio in ratios {
            let prompt = aid.cut(contender, dataset, item, ratio, &model.tokenizer);
            shares.push(prompt.reached());
            tasks.push(Task { context: prompt.tokens, options: options.clone() });
        }
    }
    let scores = scorer::score(&mut model.engine, Level::FULL, &tasks.iter().collect::<Vec<_>>())?;
    let column = |ratio: usize| {
        let mut compared = Compared { reached: 0.0, correct: Vec::new(), gold: 0.0 };
        for (index, item) in items.iter().enumerate() {
            let place = index * ratios.len() + ratio;
            compared.reached += shares[place] / items.len() as f64;
            compared.correct.push(scorer::best(&scores[place].per_token()) == item.gold);
            compared.gold += scores[place].probability(item.gold).ln() / items.len() as f64;
        }
        compared
    };
    Ok((0..ratios.len()).map(column).collect())
}

/// What a contender needs to know of an item.
struct Aid {
    information: Option<Vec<f32>>,
    scores: KeepScores,
}

impl Aid {
    fn new(
        model: &mut ElasticModel,
        contender: &mut Contender,
        dataset: &Dataset,
        item: &Item,
    ) -> Result<Self> {
        let mut aid = Self { information: None, scores: KeepScores::default() };
        match contender {
            Contender::Plain(compressor) if compressor.needs_information() => {
                let full = model.tokenizer.encode(&dataset.render(item));
                let information = scorer::information(&mut model.engine, Level::FULL, &full)?;
                aid.information = Some(information);
            }
            Contender::Plain(_) => {}
            Contender::Head(_, head) => aid.scores = head.scores(dataset, item)?,
        }
        Ok(aid)
    }

    fn cut(
        &self,
        contender: &Contender,
        dataset: &Dataset,
        item: &Item,
        ratio: Ratio,
        tokenizer: &dyn Tokenize,
    ) -> CompressedPrompt {
        match contender {
            Contender::Plain(compressor) => {
                let information = self.information.as_deref();
                compress(*compressor, dataset, item, ratio, tokenizer, information, 1)
            }
            Contender::Head(..) => {
                score_head::compress(dataset, item, ratio, tokenizer, &self.scores)
            }
        }
    }
}
