//! What a plan costs: the one computation behind every forecast and every simulated bill.
//!
//! `docs/cost-model.md` states the formula in words.

use std::time::Duration;

use super::facts::Facts;
use crate::error::{Error, Result};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{Compressing, Draw, LevelLatency, RowId};
use crate::request::{Bounds, FullCost};
use crate::units::{Energy, Level, Milliwatts, Ratio};

/// A plan, resolved: its level has latencies and answers, and without a compressor it reads the
/// full prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The plan.
    pub plan: Plan,
    /// Place of its level among those of its [`Costs`].
    pub(crate) level: usize,
    /// Place of its answer's level likewise.
    pub(crate) answer: usize,
    /// Place of both among the pairs.
    pub(crate) pair: usize,
    /// Place of its ratio among those of its [`Costs`].
    pub(crate) ratio: usize,
}

impl Candidate {
    /// The plan whose answer's level reads the prompt, too.
    pub(super) fn of_answer_alone(&self) -> Self {
        let Self { plan, answer, ratio, .. } = *self;
        let plan = Plan::new(plan.answer_level(), plan.prompt_ratio);
        Self { plan, level: answer, answer, pair: answer, ratio }
    }
}

/// Predicted, unqueued latencies of a plan for a request, and the power meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Decide, compress, switch and prefill.
    pub ttft: Duration,
    /// Per output token after the first.
    pub tpot: Duration,
    /// Output tokens after the first; with none of them TPOT has no meaning.
    pub gaps: u32,
    /// Mean electrical power meanwhile, where known.
    pub power: Option<Milliwatts>,
}

/// Latencies of a method's levels and prompt lengths of its items: what a policy forecasts with and
/// a cost model bills by. Which answers are right is not here.
#[derive(Debug)]
pub(crate) struct Costs {
    /// Whose they are.
    pub(crate) method: String,
    /// Levels that have answers, rising.
    pub(crate) levels: Vec<LevelLatency>,
    /// Places of the levels of prompt and answer of plans: each level with itself, then those of
    /// plans of two levels.
    pub(crate) pairs: Vec<(usize, usize)>,
    /// The base model's.
    pub(crate) base: LevelLatency,
    /// Deciding, by item, or one for all.
    pub(crate) decide: Vec<Duration>,
    pub(crate) compressing: Compressing,
    /// Of the device while it serves, where known.
    pub(crate) power: Option<Draw>,
    /// Prompt ratios that may be read, rising; the last is the whole prompt.
    pub(crate) ratios: Vec<Ratio>,
    /// `None` without a compressor: the full prompt is read.
    pub(crate) cuts: Option<Cuts>,
}

/// Prompts under the method's compressor.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// By item.
    lengths: Vec<Option<Vec<u32>>>,
    /// `[item][level][ratio]`: TTFT without a switch, worked out once because a policy may look at
    /// ninety of them per request; zero where the length is unknown.
    ttft: Vec<Duration>,
}

impl Costs {
    /// The same where a compressor leaves `lengths` of each item's prompt, by ratio.
    pub(crate) fn with_cuts(mut self, lengths: Vec<Option<Vec<u32>>>) -> Self {
        let mut ttft = Vec::with_capacity(lengths.len() * self.levels.len() * self.ratios.len());
        for (item, tokens) in lengths.iter().enumerate() {
            let decide = self.decide_in(item);
            for level in &self.levels {
                ttft.extend((0..self.ratios.len()).map(|ratio| match tokens {
                    Some(tokens) => {
                        let compress = self.compress(ratio, tokens[self.whole()]);
                        decide + compress + level.ttft(tokens[ratio])
                    }
                    None => Duration::ZERO,
                }));
            }
        }
        self.cuts = Some(Cuts { lengths, ttft });
        self
    }

    /// What the base model takes, unqueued, for a request on its full prompt.
    pub(crate) fn full(&self, prompt_tokens: u32, output_tokens: u32) -> FullCost {
        let ttft = self.base.ttft(prompt_tokens);
        let tpot = self.base.tpot(decode_context(prompt_tokens, output_tokens));
        let gaps = output_tokens.saturating_sub(1);
        let power = self
            .power
            .as_ref()
            .map(|draw| draw.over((Level::FULL, Level::FULL), ttft, tpot * gaps));
        FullCost { ttft, tpot, gaps, power }
    }

    /// The candidate that is `plan`, whether or not its answers were measured.
    ///
    /// # Errors
    /// If the method lacks the level or the ratio, which is 100 % alone without a compressor.
    pub(crate) fn resolve(&self, plan: Plan) -> Result<Candidate> {
        let wrong = |problem| Error::new(format!("method {}", self.method), problem);
        let place = |level: Level| {
            self.levels.iter().position(|latency| latency.level == level).ok_or_else(|| {
                let levels: Vec<_> = self.levels.iter().map(|l| l.level.to_string()).collect();
                wrong("no such level").found(level).allowed(levels.join(", "))
            })
        };
        let (level, answer) = (place(plan.level)?, place(plan.answer_level())?);
        let pair =
            self.pairs.iter().position(|&pair| pair == (level, answer)).ok_or_else(|| {
                wrong("no such plan of two levels").found(plan).allowed(self.known_pairs())
            })?;
        let ratio = self.ratio_place(plan.prompt_ratio).ok_or_else(|| {
            let known = (0..self.ratios.len()).map(|place| self.named_ratio(place).to_string());
            wrong("no such prompt ratio")
                .found(plan.prompt_ratio)
                .allowed(known.collect::<Vec<_>>().join(", "))
        })?;
        Ok(Candidate { plan, level, answer, pair, ratio })
    }

    /// The plans of two levels, for messages.
    fn known_pairs(&self) -> String {
        let level = |place: usize| self.levels[place].level;
        let named =
            |&(read, answer): &(usize, usize)| format!("{} for {}", level(read), level(answer));
        let pairs: Vec<_> = self.pairs[self.levels.len()..].iter().map(named).collect();
        if pairs.is_empty() { "plans of one level".to_owned() } else { pairs.join(", ") }
    }

    /// Every plan that levels and compressor allow, by rising level, then prompt ratio; then those
    /// of two levels.
    pub(crate) fn plans(&self) -> impl Iterator<Item = Candidate> {
        let pairs = self.pairs.iter().copied().enumerate();
        pairs.flat_map(move |(pair, (level, answer))| {
            let [prompt, answers] = [level, answer].map(|place| self.levels[place].level);
            (0..self.ratios.len()).map(move |ratio| {
                let plan = Plan::new(prompt, self.named_ratio(ratio)).answered_by(answers);
                let plan = plan.expect("pairs are checked when they are read");
                Candidate { plan, level, answer, pair, ratio }
            })
        })
    }

    /// Whether plans may cut prompts.
    pub(crate) fn cuts_prompts(&self) -> bool {
        self.cuts.is_some()
    }

    /// Place of the whole prompt among the ratios.
    fn whole(&self) -> usize {
        self.ratios.len() - 1
    }

    /// The plan's name for the ratio at this place: the whole prompt is 100 %.
    pub(crate) fn named_ratio(&self, place: usize) -> Ratio {
        if place == self.whole() { Ratio::ONE } else { self.ratios[place] }
    }

    /// The place of a plan's ratio, if it is one that may be read.
    pub(crate) fn ratio_place(&self, named: Ratio) -> Option<usize> {
        (0..self.ratios.len()).find(|&place| self.named_ratio(place) == named)
    }

    /// Length of the full prompt of a row, where a compressor measured it.
    pub(crate) fn full_length(&self, row: usize) -> Option<u32> {
        Some(self.cuts.as_ref()?.lengths[row].as_ref()?[self.whole()])
    }

    /// The phases of answering under `candidate` when `resident` is in memory, the answer left
    /// open.
    ///
    /// `compress` is billed when the prompt is cut, by the full prompt's length; `switch` when
    /// another level is resident, so the first request of a run loads for free; `decode` at the
    /// context in its middle: kept tokens + half the output. Where a smaller level answers,
    /// `decode` begins with the switch to it.
    pub(crate) fn phases(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Execution {
        let kept_tokens = self.kept_tokens(candidate, facts);
        let forecast = self.forecast(candidate, facts, resident);
        Execution {
            decide: self.decide(facts.row),
            compress: self.compress(candidate.ratio, facts.prompt_tokens),
            switch: self.switch(candidate, resident),
            prefill: self.levels[candidate.level]
                .reading(kept_tokens, self.cached_tokens(candidate, facts)),
            decode: forecast.decode(),
            kept_tokens,
            correct: None,
            power: forecast.power,
        }
    }

    /// Predicted latencies of `candidate` when `resident` is in memory: the sums of
    /// [`phases`](Self::phases), exactly.
    pub(crate) fn forecast(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Forecast {
        let context = decode_context(self.kept_tokens(candidate, facts), facts.output_tokens);
        let ttft = self.ttft(candidate, facts, resident);
        let latency = &self.levels[candidate.answer];
        let gaps = facts.output_tokens.saturating_sub(1);
        let tpot = latency.tpot(context) + self.switch_between(candidate, gaps);
        let levels = (candidate.plan.level, latency.level);
        let power = self.power.as_ref().map(|draw| draw.over(levels, ttft, tpot * gaps));
        Forecast { ttft, tpot, gaps, power }
    }

    /// The forecast's TTFT alone: a look-up and an addition, so that a hopeless candidate costs
    /// next to nothing.
    pub(crate) fn ttft(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Duration {
        let unswitched = if let Some(cuts) = &self.cuts {
            let row = facts.row.index() * self.levels.len() + candidate.level;
            cuts.ttft[row * self.ratios.len() + candidate.ratio]
        } else {
            let latency = &self.levels[candidate.level];
            self.decide(facts.row) + latency.ttft(facts.prompt_tokens)
        };
        let unread = self.saved(candidate, facts);
        (unswitched + self.switch(candidate, resident)).saturating_sub(unread)
    }

    /// What of a prompt's time its cached tokens save.
    fn saved(&self, candidate: &Candidate, facts: &Facts) -> Duration {
        let cached_tokens = self.cached_tokens(candidate, facts);
        if cached_tokens == 0 {
            return Duration::ZERO;
        }
        let (latency, all) = (&self.levels[candidate.level], facts.prompt_tokens);
        latency.ttft(all).saturating_sub(latency.reading(all, cached_tokens))
    }

    /// Tokens of the prompt that the KV cache has under `candidate`: a cut one begins otherwise.
    fn cached_tokens(&self, candidate: &Candidate, facts: &Facts) -> u32 {
        if candidate.ratio == self.whole() { facts.cached_tokens } else { 0 }
    }

    /// Prompt tokens that the model reads.
    fn kept_tokens(&self, candidate: &Candidate, facts: &Facts) -> u32 {
        match &self.cuts {
            Some(cuts) => {
                let lengths = cuts.lengths[facts.row.index()].as_ref();
                lengths.expect("annotated rows have lengths")[candidate.ratio]
            }
            None => facts.prompt_tokens,
        }
    }

    fn compress(&self, ratio: usize, prompt_tokens: u32) -> Duration {
        if ratio == self.whole() {
            return Duration::ZERO;
        }
        self.compressing.time(prompt_tokens)
    }

    fn decide(&self, row: RowId) -> Duration {
        self.decide_in(row.index())
    }

    fn decide_in(&self, row: usize) -> Duration {
        *self.decide.get(row).unwrap_or(&self.decide[0])
    }

    /// What the switch between prompt and answer adds to each of `gaps` tokens, rounded up.
    fn switch_between(&self, candidate: &Candidate, gaps: u32) -> Duration {
        if candidate.answer == candidate.level || gaps == 0 {
            return Duration::ZERO;
        }
        let switch = self.levels[candidate.answer].switch();
        (switch + Duration::from_nanos(u64::from(gaps) - 1)) / gaps
    }

    fn switch(&self, candidate: &Candidate, resident: Option<Level>) -> Duration {
        match resident {
            Some(resident) if resident != candidate.plan.level => {
                self.levels[candidate.level].switch()
            }
            _ => Duration::ZERO,
        }
    }
}

impl Forecast {
    /// All output tokens after the first.
    #[must_use]
    pub fn decode(&self) -> Duration {
        self.tpot * self.gaps
    }

    /// From being taken up to the last token: what makes one plan lighter than another.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.ttft + self.decode()
    }

    /// What serving draws, where the power is known.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        Some(self.power?.energy(self.total()))
    }

    /// Whether every bound is met.
    #[must_use]
    pub fn meets(&self, bounds: Bounds) -> bool {
        match bounds {
            Bounds::Latency { ttft, tpot } => {
                self.ttft <= ttft && (self.tpot <= tpot || self.gaps == 0)
            }
            Bounds::EndToEnd(bound) => self.total() <= bound,
            Bounds::Energy(bound) => self.energy().is_some_and(|drawn| drawn <= bound),
        }
    }

    /// What is taken over what may be, the larger of the two for a pair of bounds: above 1 if one
    /// is missed; infinite for energy where the power is not known.
    #[must_use]
    pub fn load(&self, bounds: Bounds) -> f64 {
        let ratio = |time: Duration, bound: Duration| time.as_secs_f64() / bound.as_secs_f64();
        match bounds {
            Bounds::Latency { ttft, tpot } => {
                let tpot = if self.gaps == 0 { 0.0 } else { ratio(self.tpot, tpot) };
                ratio(self.ttft, ttft).max(tpot)
            }
            Bounds::EndToEnd(bound) => ratio(self.total(), bound),
            Bounds::Energy(bound) => self.energy().map_or(f64::INFINITY, |drawn| {
                drawn.as_millijoules_f64() / bound.as_millijoules_f64()
            }),
        }
    }
}

/// The context that stands for a whole decode phase: TPOT is linear in it, so the middle is exact
/// up to half a token.
pub(crate) fn decode_context(prompt_tokens: u32, output_tokens: u32) -> u32 {
    prompt_tokens + output_tokens / 2
}
