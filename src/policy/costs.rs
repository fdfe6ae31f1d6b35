//! What a plan costs: the one computation behind every forecast and every simulated bill.
//!
//! `docs/cost-model.md` states the formula in words.

use std::time::Duration;

use super::facts::Facts;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{
    Compressing, FamilyLatency, ItemLengths, LevelLatency, PromptLengths, QualityTable, RowId,
};
use crate::request::Bounds;
use crate::units::{Energy, Level, Milliwatts, PROMPT_RATIOS, Ratio, duration_from_millis};

/// A plan, resolved: its level has latencies and answers, and without a compressor it reads the
/// full prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The plan.
    pub plan: Plan,
    /// Place of its level in the scene.
    pub(super) level: usize,
    /// Place of its ratio among [`PROMPT_RATIOS`].
    pub(super) ratio: usize,
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
    /// Electrical power throughout, where known.
    pub power: Option<Milliwatts>,
}

/// Latencies of a scene's levels and prompt lengths of its items.
#[derive(Debug)]
pub(super) struct Costs {
    pub(super) levels: Vec<LevelCost>,
    /// By row of the quality table, or one for all.
    decide: Vec<Duration>,
    compressing: Compressing,
    /// Of the device while it serves, where known.
    pub(super) power: Option<Milliwatts>,
    /// Place among [`PROMPT_RATIOS`] of the ratio that is the whole prompt.
    pub(super) whole: usize,
    /// `None` without a compressor: the full prompt is read.
    cuts: Option<Cuts>,
}

/// What a family of sub-models says nothing of: what comes before the prompt is read, how long it
/// is, and power.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Deciding, by row of the quality table; empty: the family's own time for every row.
    pub(super) decide: Vec<Duration>,
    /// Cutting.
    pub(super) compressing: Compressing,
    /// Of the device while it serves, where known.
    pub(super) power: Option<Milliwatts>,
    /// Place among [`PROMPT_RATIOS`] of the ratio that is the whole prompt.
    pub(super) whole: usize,
}

/// A level that has both latencies and answers.
#[derive(Debug)]
pub(super) struct LevelCost {
    pub(super) level: Level,
    /// Place of the level in the quality table.
    pub(super) answers: usize,
    latency: LevelLatency,
    switch: Duration,
}

/// Prompts under the method's compressor.
#[derive(Debug)]
struct Cuts {
    /// By row of the quality table.
    lengths: Vec<Option<ItemLengths>>,
    /// `[row][level][ratio]`: TTFT without a switch, worked out once because a policy may look at
    /// ninety of them per request; zero where the length is unknown.
    ttft: Vec<Duration>,
}

impl Costs {
    /// Joins latencies with the levels that have answers; level 100 % takes the times of `base`.
    pub(super) fn new(
        family: &FamilyLatency,
        base: &LevelLatency,
        table: &QualityTable,
        lengths: Option<&PromptLengths>,
        around: Surroundings,
    ) -> Self {
        let join = |latency: &LevelLatency| {
            let answers = table.level_index(latency.level)?;
            let mut latency = latency.clone();
            if latency.level == Level::FULL {
                latency.ttft_ms = base.ttft_ms;
                latency.tpot_ms = base.tpot_ms;
            }
            Some(LevelCost { level: latency.level, switch: latency.switch(), latency, answers })
        };
        let decide = match around.decide {
            none if none.is_empty() => vec![checked(family.decide_ms)],
            by_row => by_row,
        };
        let mut costs = Self {
            levels: family.levels.iter().filter_map(join).collect(),
            decide,
            compressing: around.compressing,
            power: around.power,
            whole: around.whole,
            cuts: None,
        };
        costs.cuts = lengths.map(|lengths| costs.cuts(lengths, table));
        costs
    }

    fn cuts(&self, lengths: &PromptLengths, table: &QualityTable) -> Cuts {
        let mut by_row = vec![None; table.rows()];
        for (dataset, item, tokens) in lengths.iter() {
            if let Some(row) = table.row(dataset, item) {
                by_row[row.index()] = Some(*tokens);
            }
        }
        let mut ttft = Vec::with_capacity(by_row.len() * self.levels.len() * PROMPT_RATIOS.len());
        for (row, tokens) in by_row.iter().enumerate() {
            let decide = self.decide_in(row);
            for level in &self.levels {
                ttft.extend((0..PROMPT_RATIOS.len()).map(|ratio| match tokens {
                    Some(tokens) => {
                        let compress = self.compress(ratio, tokens[self.whole]);
                        decide + compress + level.latency.ttft(tokens[ratio])
                    }
                    None => Duration::ZERO,
                }));
            }
        }
        Cuts { lengths: by_row, ttft }
    }

    /// Whether plans may cut prompts.
    pub(super) fn cuts_prompts(&self) -> bool {
        self.cuts.is_some()
    }

    /// The plan's name for the ratio at this place: the whole prompt is 100 %.
    pub(super) fn named_ratio(&self, place: usize) -> Ratio {
        if place == self.whole { Ratio::ONE } else { PROMPT_RATIOS[place] }
    }

    /// The place of a plan's ratio, if it is one that may be read.
    pub(super) fn ratio_place(&self, named: Ratio) -> Option<usize> {
        let readable = if self.cuts_prompts() { 0 } else { self.whole };
        (readable..=self.whole).find(|&place| self.named_ratio(place) == named)
    }

    /// Length of the full prompt of a row, where a compressor measured it.
    pub(super) fn full_length(&self, row: usize) -> Option<u32> {
        Some(self.cuts.as_ref()?.lengths[row]?[self.whole])
    }

    /// See [`Scene::phases`](super::Scene::phases).
    pub(super) fn phases(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Execution {
        let kept_tokens = self.kept_tokens(candidate, facts);
        Execution {
            decide: self.decide(facts.row),
            compress: self.compress(candidate.ratio, facts.prompt_tokens),
            switch: self.switch(candidate, resident),
            prefill: self.levels[candidate.level].latency.ttft(kept_tokens),
            decode: self.forecast(candidate, facts, resident).decode(),
            kept_tokens,
            correct: None,
            power: self.power,
        }
    }

    /// See [`Scene::forecast`](super::Scene::forecast).
    pub(super) fn forecast(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Forecast {
        let context = decode_context(self.kept_tokens(candidate, facts), facts.output_tokens);
        Forecast {
            ttft: self.ttft(candidate, facts, resident),
            tpot: self.levels[candidate.level].latency.tpot(context),
            gaps: facts.output_tokens.saturating_sub(1),
            power: self.power,
        }
    }

    /// The forecast's TTFT alone: a look-up and an addition, so that a hopeless candidate costs
    /// next to nothing.
    pub(super) fn ttft(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Duration {
        let unswitched = if let Some(cuts) = &self.cuts {
            let row = facts.row.index() * self.levels.len() + candidate.level;
            cuts.ttft[row * PROMPT_RATIOS.len() + candidate.ratio]
        } else {
            let latency = &self.levels[candidate.level].latency;
            self.decide(facts.row) + latency.ttft(facts.prompt_tokens)
        };
        unswitched + self.switch(candidate, resident)
    }

    /// Prompt tokens that the model reads.
    fn kept_tokens(&self, candidate: &Candidate, facts: &Facts) -> u32 {
        match &self.cuts {
            Some(cuts) => {
                let lengths = cuts.lengths[facts.row.index()];
                lengths.expect("annotated rows have lengths")[candidate.ratio]
            }
            None => facts.prompt_tokens,
        }
    }

    fn compress(&self, ratio: usize, prompt_tokens: u32) -> Duration {
        if ratio == self.whole {
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

    fn switch(&self, candidate: &Candidate, resident: Option<Level>) -> Duration {
        match resident {
            Some(resident) if resident != candidate.plan.level => {
                self.levels[candidate.level].switch
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
pub(super) fn decode_context(prompt_tokens: u32, output_tokens: u32) -> u32 {
    prompt_tokens + output_tokens / 2
}

fn checked(millis: f64) -> Duration {
    duration_from_millis(millis).expect("a checked profile gives lengths of time")
}
