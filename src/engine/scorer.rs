//! How likely the model thinks each option of a question is.
//!
//! Tasks whose contexts start alike share that start: it is read once, and what follows it (the
//! rest of each context, and each option after it) is read side by side in one pass under a mask
//! that lets a token see its own context and option only. Where the full model reads prompts for
//! every level, contexts are read by it first, once for all levels, and each level then runs the
//! options. Nothing is padded, and an option's last token is never read, since nothing is predicted
//! from it.

use std::ops::Range;

use super::elastic::{Engine, Forward};
use super::session::{Feed, Forest};
use crate::error::Result;
use crate::prompt::dataset::Scoring;
use crate::units::Level;

/// Tokens per pass, roughly: enough to keep the matrix kernels busy (they gain nothing beyond 128
/// tokens), few enough that a head's scores stay in the second-level cache and that attending
/// across neighbours, which the mask then discards, stays cheap.
const PACK_TOKENS: usize = 160;

/// What a group costs beyond its tokens, in tokens: a pass for the shared start and one that is not
/// full, each of which reads all weights.
const GROUP_TOKENS: usize = 128;

/// Tokens per pass of [`information`], every one of which gets a row of the vocabulary's length.
const INFORMATION_TOKENS: usize = 128;

/// Added to a forbidden attention score.
const FORBIDDEN: f32 = f32::MIN / 2.0;

/// One question: what comes before the answer, and the answers to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Tokens of the prompt, not empty.
    pub context: Vec<u32>,
    /// Tokens of each option, none empty.
    pub options: Vec<Vec<u32>>,
}

/// Log-likelihoods of a task's options.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionScores {
    /// Per option, ln p(option | context), in nats.
    pub sums: Vec<f64>,
    /// Per option, its tokens.
    pub lengths: Vec<usize>,
}

impl OptionScores {
    /// Per option, the mean log-likelihood of its tokens: the headline score.
    #[must_use]
    pub fn per_token(&self) -> Vec<f64> {
        self.sums.iter().zip(&self.lengths).map(|(sum, &n)| sum / n as f64).collect()
    }

    /// Per option, what options are compared by under `scoring`.
    #[must_use]
    pub fn by(&self, scoring: Scoring) -> Vec<f64> {
        match scoring {
            Scoring::MeanPerToken => self.per_token(),
            Scoring::Sum => self.sums.clone(),
        }
    }

    /// Probability of option `gold` if one option is chosen in proportion to exp(mean
    /// log-likelihood).
    #[must_use]
    pub fn probability(&self, gold: usize) -> f64 {
        softmax(&self.per_token(), gold)
    }
}

/// Probability of option `gold` if one is chosen in proportion to exp(score).
#[must_use]
pub fn softmax(scores: &[f64], gold: usize) -> f64 {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - best).exp()).sum();
    (scores[gold] - best).exp() / total
}

/// How many options score higher than option `gold`, earlier ones of equals included: 0 is first.
#[must_use]
pub fn rank(scores: &[f64], gold: usize) -> usize {
    let earlier = scores[..gold].iter().filter(|&&score| score >= scores[gold]).count();
    earlier + scores[gold..].iter().filter(|&&score| score > scores[gold]).count()
}

/// Index of the highest score, the first of equals.
#[must_use]
pub fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = index;
        }
    }
    best
}

/// Scores `tasks` with sub-model `level`; results are in the order of `tasks`.
///
/// # Errors
/// If a task is longer than the engine's context, or inference fails.
pub fn score(engine: &mut Engine, level: Level, tasks: &[&Task]) -> Result<Vec<OptionScores>> {
    Ok(score_at(engine, &[level], tasks)?.swap_remove(0))
}

/// [`score`] with each of `levels`, in their order.
///
/// # Errors
/// As [`score`].
pub fn score_at(
    engine: &mut Engine,
    levels: &[Level],
    tasks: &[&Task],
) -> Result<Vec<Vec<OptionScores>>> {
    let groups = groups(tasks);
    if engine.reads_prompts_whole() {
        return score_answers(engine, Level::FULL, levels, tasks, &groups);
    }
    levels.iter().map(|&level| score_whole(engine, level, tasks, &groups)).collect()
}

/// The same of prompts that sub-model `prompt` reads and each of `levels` answers, none of which is
/// above it. As in a generated answer, the prompt's level makes the first token of each option.
///
/// # Errors
/// As [`score`].
pub fn score_in_phases(
    engine: &mut Engine,
    prompt: Level,
    levels: &[Level],
    tasks: &[&Task],
) -> Result<Vec<Vec<OptionScores>>> {
    score_answers(engine, prompt, levels, tasks, &groups(tasks))
}

/// Contexts and options in one pass.
fn score_whole(
    engine: &mut Engine,
    level: Level,
    tasks: &[&Task],
    groups: &[Group],
) -> Result<Vec<OptionScores>> {
    let mut scores = Scores::of(tasks);
    for group in groups {
        read_prefix(engine, level, &tasks[group.members[0]].context[..group.past()])?;
        for pack in packs(tasks, group, engine.context() - group.past()) {
            let mut pass = Pass::after(group.past(), group.shared);
            let contexts: Vec<_> = pack.iter().map(|&task| pass.add_context(tasks[task])).collect();
            let options: Vec<_> =
                pack.iter().zip(&contexts).map(|(&t, at)| pass.add_options(tasks[t], at)).collect();
            let out = pass.run(engine, level)?;
            for (&task, (context, options)) in pack.iter().zip(contexts.iter().zip(&options)) {
                scores.add_first(task, out, context.row);
                scores.add_later(task, out, options);
            }
        }
    }
    Ok(scores.finish())
}

/// Contexts in a pass of `prompt`, then options in one of each level.
fn score_answers(
    engine: &mut Engine,
    prompt: Level,
    levels: &[Level],
    tasks: &[&Task],
    groups: &[Group],
) -> Result<Vec<Vec<OptionScores>>> {
    let mut first = Scores::of(tasks);
    let mut later = vec![Scores::of(tasks); levels.len()];
    for group in groups {
        read_prefix(engine, prompt, &tasks[group.members[0]].context[..group.past()])?;
        for pack in packs(tasks, group, engine.context() - group.past()) {
            let mut prompts = Pass::after(group.past(), group.shared);
            let contexts: Vec<_> =
                pack.iter().map(|&task| prompts.add_context(tasks[task])).collect();
            let out = prompts.run(engine, prompt)?;
            for (&task, context) in pack.iter().zip(&contexts) {
                first.add_first(task, out, context.row);
            }
            let mut answers = Pass::after(prompts.end(), group.shared);
            let options: Vec<_> = pack
                .iter()
                .zip(&contexts)
                .map(|(&task, at)| answers.add_options(tasks[task], at))
                .collect();
            if answers.tokens.is_empty() {
                continue;
            }
            for (&level, scores) in levels.iter().zip(&mut later) {
                let out = answers.run(engine, level)?;
                for (&task, options) in pack.iter().zip(&options) {
                    scores.add_later(task, out, options);
                }
            }
        }
    }
    Ok(later.iter().map(|later| first.clone().and(later).finish()).collect())
}

/// −ln p of each token of `tokens` given those before it, in nats; 0 for the first, which nothing
/// predicts.
///
/// # Errors
/// If there are more tokens than the engine's context, or inference fails.
pub fn information(engine: &mut Engine, level: Level, tokens: &[u32]) -> Result<Vec<f32>> {
    let tokens: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    let mut information = vec![0.0; tokens.len().min(1)];
    let mut past = 0;
    for chunk in tokens.chunks(INFORMATION_TOKENS) {
        let rows: Vec<i64> = (0..chunk.len() as i64).collect();
        let feed = Feed { tokens: chunk, past, logit_rows: &rows, forest: None };
        let out = engine.forward(level, &feed)?;
        let vocab = out.log_probs.len() / out.rows;
        let next = tokens[past + 1..].iter().take(chunk.len()).enumerate();
        information.extend(next.map(|(row, &token)| -out.log_probs[row * vocab + token as usize]));
        past += chunk.len();
    }
    Ok(information)
}

/// Tasks that share the first `shared` tokens of their contexts.
struct Group {
    shared: usize,
    members: Vec<usize>,
}

impl Group {
    /// Tokens in the cache before the tasks are read: the shared ones, or a filler that nobody may
    /// see. ONNX Runtime ignores stated positions in a run that starts with an empty cache.
    fn past(&self) -> usize {
        self.shared.max(1)
    }
}

/// Groups of tasks in order of their contexts, cut where reading a start anew is cheaper than
/// sharing a shorter one.
fn groups(tasks: &[&Task]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by(|&a, &b| tasks[a].context.cmp(&tasks[b].context));
    let mut groups: Vec<Group> = Vec::new();
    for task in order {
        let context = &tasks[task].context;
        if let Some(group) = groups.last_mut() {
            let first = &tasks[group.members[0]].context;
            let common = first.iter().zip(context).take_while(|(a, b)| a == b).count();
            // The last token of a context is read with its options: its row predicts their first.
            let shared = common.min(group.shared).min(context.len() - 1);
            let read_again = (group.members.len() - 1) * (group.shared - shared);
            if read_again <= shared + GROUP_TOKENS {
                group.shared = shared;
                group.members.push(task);
                continue;
            }
        }
        groups.push(Group { shared: context.len() - 1, members: vec![task] });
    }
    groups
}

/// Tokens that a task adds after the shared start.
fn added_tokens(task: &Task, shared: usize) -> usize {
    let options: usize = task.options.iter().map(|option| option.len() - 1).sum();
    task.context.len() - shared + options
}

fn packs<'a>(
    tasks: &'a [&Task],
    group: &'a Group,
    room: usize,
) -> impl Iterator<Item = &'a [usize]> {
    let mut rest = group.members.as_slice();
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let mut count = 0;
        for &task in rest {
            tokens += added_tokens(tasks[task], group.shared);
            if count > 0 && tokens > PACK_TOKENS.min(room) {
                break;
            }
            count += 1;
        }
        let (pack, after) = rest.split_at(count);
        rest = after;
        (!pack.is_empty()).then_some(pack)
    })
}

fn read_prefix(engine: &mut Engine, level: Level, prefix: &[u32]) -> Result<()> {
    let tokens: Vec<i64> = prefix.iter().map(|&token| i64::from(token)).collect();
    let last = [tokens.len() as i64 - 1];
    engine.forward(level, &Feed { tokens: &tokens, past: 0, logit_rows: &last, forest: None })?;
    Ok(())
}

/// Scores in the making.
#[derive(Clone)]
struct Scores<'a> {
    tasks: &'a [&'a Task],
    sums: Vec<Vec<f64>>,
}

impl<'a> Scores<'a> {
    fn of(tasks: &'a [&'a Task]) -> Self {
        Self { tasks, sums: tasks.iter().map(|task| vec![0.0; task.options.len()]).collect() }
    }

    /// Adds what output row `row` of `out` says of every option's first token.
    fn add_first(&mut self, task: usize, out: &Forward, row: usize) {
        for (option, sum) in self.tasks[task].options.iter().zip(&mut self.sums[task]) {
            *sum += log_prob(out, row, option[0]);
        }
    }

    /// Adds what `out` says of each option's later tokens, from the row of `starts` on.
    fn add_later(&mut self, task: usize, out: &Forward, starts: &[usize]) {
        let options = self.tasks[task].options.iter().zip(starts);
        for ((option, &start), sum) in options.zip(&mut self.sums[task]) {
            let later = option[1..].iter().enumerate();
            *sum += later.map(|(row, &token)| log_prob(out, start + row, token)).sum::<f64>();
        }
    }

    fn and(mut self, other: &Self) -> Self {
        for (sum, other) in self.sums.iter_mut().flatten().zip(other.sums.iter().flatten()) {
            *sum += other;
        }
        self
    }

    fn finish(self) -> Vec<OptionScores> {
        let lengths = |task: &Task| task.options.iter().map(Vec::len).collect();
        let tasks = self.tasks.iter().zip(self.sums);
        tasks.map(|(task, sums)| OptionScores { sums, lengths: lengths(task) }).collect()
    }
}

fn log_prob(out: &Forward, row: usize, token: u32) -> f64 {
    let vocab = out.log_probs.len() / out.rows;
    f64::from(out.log_probs[row * vocab + token as usize])
}

/// Where a task's context came to lie.
struct Context {
    /// Places in the cache of what follows the shared start.
    places: Range<usize>,
    /// Output row of its last token, which predicts every option's first.
    row: usize,
}

/// What a token may see beside the shared start: these places of the cache.
struct Visible {
    context: Range<usize>,
    /// Of its own option, up to itself.
    branch: Range<usize>,
}

/// Contexts and options side by side.
struct Pass {
    past: usize,
    shared: usize,
    tokens: Vec<i64>,
    positions: Vec<i64>,
    visible: Vec<Visible>,
    logit_rows: Vec<i64>,
}

impl Pass {
    /// A pass after `past` tokens in the cache, `shared` of which every task begins with.
    fn after(past: usize, shared: usize) -> Self {
        Self {
            past,
            shared,
            tokens: Vec::new(),
            positions: Vec::new(),
            visible: Vec::new(),
            logit_rows: Vec::new(),
        }
    }

    /// The place in the cache after all its tokens.
    fn end(&self) -> usize {
        self.past + self.tokens.len()
    }

    fn add_context(&mut self, task: &Task) -> Context {
        let start = self.end();
        self.branch(&task.context[self.shared..], self.shared, start..start);
        Context { places: start..self.end(), row: self.logit_row(self.tokens.len() - 1) }
    }

    /// Adds the options of `task`, all but their last tokens; returns the output row after each
    /// one's first token, which later tokens follow.
    fn add_options(&mut self, task: &Task, context: &Context) -> Vec<usize> {
        let mut rows = Vec::with_capacity(task.options.len());
        for option in &task.options {
            let first = self.tokens.len();
            rows.push(self.logit_rows.len());
            let places = context.places.clone();
            self.branch(&option[..option.len() - 1], task.context.len(), places);
            for token in first..self.tokens.len() {
                self.logit_row(token);
            }
        }
        rows
    }

    fn branch(&mut self, tokens: &[u32], position: usize, context: Range<usize>) {
        let start = self.end();
        for (i, &token) in tokens.iter().enumerate() {
            self.tokens.push(i64::from(token));
            self.positions.push((position + i) as i64);
            self.visible.push(Visible { context: context.clone(), branch: start..start + i + 1 });
        }
    }

    fn logit_row(&mut self, token: usize) -> usize {
        self.logit_rows.push(token as i64);
        self.logit_rows.len() - 1
    }

    fn run<'e>(&self, engine: &'e mut Engine, level: Level) -> Result<&'e Forward> {
        let total = self.end();
        let mut mask = vec![FORBIDDEN; self.tokens.len() * total];
        for (row, visible) in mask.chunks_exact_mut(total).zip(&self.visible) {
            row[..self.shared].fill(0.0);
            row[visible.context.clone()].fill(0.0);
            row[visible.branch.clone()].fill(0.0);
        }
        let feed = Feed {
            tokens: &self.tokens,
            past: self.past,
            logit_rows: &self.logit_rows,
            forest: Some(Forest { positions: &self.positions, mask: &mask }),
        };
        engine.forward(level, &feed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(context: &[u32], options: &[&[u32]]) -> Task {
        Task {
            context: context.to_vec(),
            options: options.iter().map(|option| option.to_vec()).collect(),
        }
    }

    #[test]
    fn the_shared_start_ends_before_the_last_token_of_every_context() {
        let a = task(&[1, 2, 3], &[&[9]]);
        let b = task(&[1, 2, 3, 4], &[&[9]]);
        let found = groups(&[&a, &b]);
        assert_eq!((found.len(), found[0].shared), (1, 2));
    }

    #[test]
    fn a_long_start_is_not_given_up_for_a_task_that_lacks_it() {
        // Giving up 299 shared tokens would read 299 of them again; a group of its own costs 128.
        let long: Vec<u32> = (0..300).collect();
        let tasks = [task(&long, &[&[1]]), task(&long, &[&[1]]), task(&[900, 901], &[&[1]])];
        let tasks: Vec<&Task> = tasks.iter().collect();
        let found = groups(&tasks);
        assert_eq!(
            found.iter().map(|g| (g.shared, g.members.len())).collect::<Vec<_>>(),
            [(299, 2), (1, 1)]
        );
    }

    #[test]
    fn probability_is_the_softmax_of_mean_log_likelihoods() {
        // Means −1 and −2: p(first) = 1 / (1 + e^−1).
        let scores = OptionScores { sums: vec![-2.0, -2.0], lengths: vec![2, 1] };
        assert!((scores.probability(0) - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-12);
        assert_eq!(best(&scores.per_token()), 0);
        assert_eq!(best(&scores.sums), 0);
    }

    #[test]
    fn sums_and_means_of_one_answer_may_rank_options_differently() {
        // Means −0.5, −1, −1.
        let scores = OptionScores { sums: vec![-4.0, -2.0, -3.0], lengths: vec![8, 2, 3] };
        assert_eq!(best(&scores.by(Scoring::MeanPerToken)), 0);
        assert_eq!(best(&scores.by(Scoring::Sum)), 1);
        assert_eq!([0, 1, 2].map(|gold| rank(&scores.per_token(), gold)), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|gold| rank(&scores.sums, gold)), [2, 0, 1]);
    }
}
