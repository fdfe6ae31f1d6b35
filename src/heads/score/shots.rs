//! In which order the parts of a dataset's shots are best dropped: backward elimination over
//! questions of the train part.
//!
//! At each step the part goes whose absence costs least, in ln p(gold), per token that it frees.
//! Per step and part all questions are scored behind the same shots, which are read once.

use super::labels::{gold, task};
use crate::engine::Engine;
use crate::error::Result;
use crate::prompt::compress::score_head::{Part, ShotPart, shorter_shots, without_passage};
use crate::prompt::{Dataset, Item, Tokenize};

/// A step of the order and what it was chosen for.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What goes.
    pub step: ShotPart,
    /// Mean ln p(gold) afterwards.
    pub gold: f32,
    /// Tokens of the shots afterwards.
    pub tokens: usize,
}

/// The order for `dataset`, learned from `items`; `report` is called after each part that was
/// tried. The first entry of the result stands for the full prompt and has no meaning but its
/// numbers.
///
/// # Errors
/// If inference fails.
pub fn order(
    engine: &mut Engine,
    tokenizer: &dyn Tokenize,
    dataset: &Dataset,
    items: &[&Item],
    report: &mut dyn FnMut(),
) -> Result<Shortening> {
    let mut trial = Trial { engine, tokenizer, dataset, items, read: 0 };
    let mut steps: Vec<ShotPart> = Vec::new();
    let mut chosen: Vec<Step> = Vec::new();
    let full = trial.run(&steps)?;
    let (mut now_gold, mut now_tokens) = full;
    loop {
        let mut best: Option<(f32, Step)> = None;
        for step in possible(dataset, &steps) {
            steps.push(step);
            let (gold, tokens) = trial.run(&steps)?;
            steps.pop();
            report();
            let cost = (now_gold - gold) / (now_tokens - tokens).max(1) as f32;
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, Step { step, gold, tokens }));
            }
        }
        let Some((_, step)) = best else { break };
        steps.push(step.step);
        (now_gold, now_tokens) = (step.gold, step.tokens);
        chosen.push(step);
    }
    Ok(Shortening { gold: full.0, tokens: full.1, steps: chosen, tokens_read: trial.read })
}

/// An order with its evidence.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shortening {
    /// Mean ln p(gold) behind all shots.
    pub gold: f32,
    /// Tokens of all shots.
    pub tokens: usize,
    /// The order.
    pub steps: Vec<Step>,
    /// Tokens of the base model that were read to find it.
    pub tokens_read: usize,
}

impl Shortening {
    /// The order alone.
    #[must_use]
    pub fn order(&self) -> Vec<ShotPart> {
        self.steps.iter().map(|step| step.step).collect()
    }
}

/// What can be dropped after `steps`: of each shot that is left its passage, if it has one still,
/// and the whole.
fn possible(dataset: &Dataset, steps: &[ShotPart]) -> Vec<ShotPart> {
    let gone = |shot, part| steps.contains(&ShotPart { shot, part });
    let mut possible = Vec::new();
    for (shot, text) in dataset.shots.iter().enumerate() {
        if gone(shot, Part::Whole) {
            continue;
        }
        if without_passage(text).is_some() && !gone(shot, Part::Passage) {
            possible.push(ShotPart { shot, part: Part::Passage });
        }
        possible.push(ShotPart { shot, part: Part::Whole });
    }
    possible
}

struct Trial<'a> {
    engine: &'a mut Engine,
    tokenizer: &'a dyn Tokenize,
    dataset: &'a Dataset,
    items: &'a [&'a Item],
    read: usize,
}

impl Trial<'_> {
    /// Mean ln p(gold) and tokens of the shots after `steps`.
    fn run(&mut self, steps: &[ShotPart]) -> Result<(f32, usize)> {
        let shots = shorter_shots(self.dataset, steps);
        let prompt = |item: &&Item| task(self.tokenizer, &(shots.clone() + &item.text()), item);
        let tasks: Vec<_> = self.items.iter().map(prompt).collect();
        let right: Vec<usize> = self.items.iter().map(|item| item.gold).collect();
        let tokens = self.tokenizer.encode(&shots).len();
        self.read += tokens
            + tasks
                .iter()
                .map(|task| task.context.len() - tokens.min(task.context.len()))
                .sum::<usize>();
        let gold = gold(self.engine, &tasks, &right)?;
        Ok((gold.iter().sum::<f32>() / gold.len() as f32, tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_can_go_before_its_shot_but_not_after() {
        let shots =
            vec!["P.\nQuestion: a?\nAnswer: b\n\n".into(), "Question: c?\nAnswer: d\n\n".into()];
        let dataset = Dataset { shots, ..Dataset::default() };
        let [passage, first, second] = [(0, Part::Passage), (0, Part::Whole), (1, Part::Whole)]
            .map(|(shot, part)| ShotPart { shot, part });
        assert_eq!(possible(&dataset, &[]), [passage, first, second]);
        assert_eq!(possible(&dataset, &[passage]), [first, second]);
        assert_eq!(possible(&dataset, &[second, first]), []);
    }
}
