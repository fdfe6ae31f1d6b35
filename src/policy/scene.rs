//! Everything that is fixed for one (device, base model, method): times, answers, lengths.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Policy;
use super::elastic_profile::ElasticProfile;
use super::full::Full;
use super::largest_level::LargestLevel;
use super::method::{MethodSpec, PolicySpec};
use super::oracle::Oracle;
use super::random_feasible::RandomFeasible;
use crate::error::{Error, Result};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{
    DeviceProfile, FamilyLatency, ItemLengths, LevelLatency, MAX_TOKENS, PromptLengths, Provenance,
    QualityTable, RowId, Split,
};
use crate::request::{Bounds, Request};
use crate::trace::Trace;
use crate::units::{Level, PROMPT_RATIOS, Ratio, duration_from_millis};

/// One cell of a comparison: the device's latencies, the base model's answers and a method, read
/// and checked once; cheap to clone, shared between seeds and threads.
///
/// A policy's forecast and the cost model's bill are one function of a scene, so that under ideal
/// isolation a plan that was forecast to meet its objective does.
#[derive(Debug, Clone)]
pub struct Scene(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    method: MethodSpec,
    provenance: Provenance,
    base: LevelLatency,
    decide: Duration,
    compress_ms_per_token: f64,
    /// Levels that have both latencies and answers, rising.
    levels: Vec<SceneLevel>,
    candidates: Vec<Candidate>,
    table: QualityTable,
    /// By row of `table`; `None` without a compressor: the full prompt is read.
    lengths: Option<Vec<Option<ItemLengths>>>,
}

#[derive(Debug)]
struct SceneLevel {
    level: Level,
    latency: LevelLatency,
    switch: Duration,
    /// Place of the level in the quality table.
    answers: usize,
}

/// A plan that a policy may choose, resolved: its level has latencies and answers, its prompt
/// ratio was measured, and without a compressor it reads the full prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The plan.
    pub plan: Plan,
    /// Place of its level in the scene.
    level: usize,
    /// Place of its ratio among [`PROMPT_RATIOS`].
    ratio: usize,
}

/// What a trace says of one request beyond its [`RequestView`](crate::request::RequestView), with
/// names resolved.
///
/// A service knows both before it decides: the compressor measures the text, and an app states
/// how many tokens it wants. The right answer is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The item's row of the quality table.
    pub row: RowId,
    /// Length of the full prompt.
    pub prompt_tokens: u32,
    /// Tokens to generate.
    pub output_tokens: u32,
}

/// [`Facts`] of every request of a trace, by request id.
#[derive(Debug, Clone)]
pub struct Annotations(Vec<(u64, Facts)>);

/// Predicted, unqueued latencies of a plan for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Decide, compress, switch and prefill.
    pub ttft: Duration,
    /// Per output token after the first; `None` for a single token.
    pub tpot: Option<Duration>,
    /// All output tokens after the first.
    pub decode: Duration,
}

impl Scene {
    /// Joins the latencies of `latency_of` on `device` with the answers of `base_model` in
    /// `<quality_root>/<base_model>/` for `method`.
    ///
    /// The two models differ where a device's latencies are known for another model than the one
    /// whose answers were measured; prompt lengths are then counted in `base_model`'s tokens.
    ///
    /// # Errors
    /// If the method contradicts itself, the device lacks the family or the reference family of
    /// `latency_of`, a file is missing or wrong, the table is of another model or compressor than
    /// asked for, or latencies and answers share no level 100 %.
    pub fn new(
        device: &DeviceProfile,
        base_model: &str,
        latency_of: &str,
        quality_root: &Path,
        method: &MethodSpec,
    ) -> Result<Self> {
        method.check()?;
        let dir = quality_root.join(base_model);
        let table = QualityTable::load(&dir, method.quality_family())?;
        check_manifest(&dir, base_model, method, &table)?;
        let lengths = match &method.compressor {
            Some(compressor) => Some(PromptLengths::load(&dir, compressor)?),
            None => None,
        };
        Self::from_parts(device, latency_of, table, lengths.as_ref(), method)
    }

    /// Joins tables that are in memory already; `lengths` are those of the method's compressor.
    ///
    /// # Errors
    /// As [`new`](Self::new), files aside.
    pub fn from_parts(
        device: &DeviceProfile,
        latency_of: &str,
        table: QualityTable,
        lengths: Option<&PromptLengths>,
        method: &MethodSpec,
    ) -> Result<Self> {
        let family = device.family(latency_of, &method.family)?;
        let base = device.base(latency_of)?.clone();
        let levels = shared_levels(family, &base, &table);
        if levels.last().is_none_or(|last| last.level != Level::FULL) {
            return Err(Error::new(
                format!("method {}", method.name),
                "answers lack the base model",
            )
            .at(format!("quality table {}", method.quality_family()))
            .found(table.levels().iter().map(Level::to_string).collect::<Vec<_>>().join(", "))
            .allowed("a table with rows of level 100 %"));
        }
        let candidates = candidates(&levels, &table, lengths.is_some());
        let lengths = lengths.map(|lengths| {
            let mut by_row = vec![None; table.rows()];
            for (dataset, item, tokens) in lengths.iter() {
                if let Some(row) = table.row(dataset, item) {
                    by_row[row.index()] = Some(*tokens);
                }
            }
            by_row
        });
        Ok(Self(Arc::new(Inner {
            method: method.clone(),
            provenance: family.provenance.clone(),
            base,
            decide: checked(family.decide_ms),
            compress_ms_per_token: family.compress_ms_per_token,
            levels,
            candidates,
            table,
            lengths,
        })))
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &MethodSpec {
        &self.0.method
    }

    /// Where the latencies come from.
    #[must_use]
    pub fn latency_provenance(&self) -> &Provenance {
        &self.0.provenance
    }

    /// The answers.
    #[must_use]
    pub fn answers(&self) -> &QualityTable {
        &self.0.table
    }

    /// The plans a policy may choose from, by rising level, then prompt ratio.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// The objectives of a trace's requests as lengths of time, in its order: relative ones are
    /// shares of the base model's unqueued latency on the full prompt.
    ///
    /// # Errors
    /// If a prompt or output is too long to be a model's.
    pub fn bounds(&self, trace: &Trace) -> Result<Vec<Bounds>> {
        let bounds = |request: &Request| {
            check_lengths(request)?;
            let context = decode_context(request.prompt_tokens, request.output_tokens);
            let base = &self.0.base;
            let full = Bounds { ttft: base.ttft(request.prompt_tokens), tpot: base.tpot(context) };
            Ok(request.slo.resolve(full))
        };
        trace.requests.iter().map(bounds).collect()
    }

    /// The method's policy for one replay of `trace`.
    ///
    /// # Errors
    /// As [`annotate`](Self::annotate), and if a policy that needs expected accuracies finds no
    /// estimate item of a dataset.
    pub fn policy(&self, trace: &Trace, seed: u64) -> Result<Box<dyn Policy>> {
        let (scene, facts) = (self.clone(), self.annotate(trace)?);
        Ok(match self.0.method.policy {
            PolicySpec::ElasticProfile {} => Box::new(ElasticProfile::new(scene, facts, trace)?),
            PolicySpec::Full {} => Box::new(Full),
            PolicySpec::RandomFeasible {} => Box::new(RandomFeasible::new(scene, facts, seed)),
            PolicySpec::Oracle {} => Box::new(Oracle::new(scene, facts, trace)?),
            PolicySpec::Lpruner {} | PolicySpec::LayerRemoval {} => {
                Box::new(LargestLevel::new(scene, facts))
            }
        })
    }

    /// Resolves the names of a trace, once.
    ///
    /// # Errors
    /// If a request's item has no answers, is one that accuracies are estimated on, has no known
    /// length or another length than the trace says, or if two requests have one id.
    pub fn annotate(&self, trace: &Trace) -> Result<Annotations> {
        let facts = |request: &Request| Ok((request.id, self.facts(trace, request)?));
        let mut facts: Vec<_> = trace.requests.iter().map(facts).collect::<Result<_>>()?;
        facts.sort_unstable_by_key(|&(id, _)| id);
        match facts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(Error::new("trace", "two requests have one id").found(pair[0].0)),
            None => Ok(Annotations(facts)),
        }
    }

    fn facts(&self, trace: &Trace, request: &Request) -> Result<Facts> {
        check_lengths(request)?;
        let dataset = &trace.datasets[usize::from(request.dataset.0)];
        let (inner, item) = (&*self.0, request.item);
        let wrong = |problem: &str| {
            Error::new("trace", problem)
                .at(format!("request {}, {dataset} item {item}", request.id))
        };
        let table = inner.method.quality_family();
        let row = inner.table.row(dataset, item).ok_or_else(|| {
            wrong("item without answers").allowed(format!("items of the quality table {table}"))
        })?;
        if inner.table.side(row) == Split::Estimate {
            return Err(wrong("item may not be replayed")
                .found("an item that expected accuracies are estimated on")
                .allowed("items of the replay half only"));
        }
        if let Some(lengths) = &inner.lengths {
            let known = lengths[row.index()].map(|tokens| tokens[PROMPT_RATIOS.len() - 1]);
            if known != Some(request.prompt_tokens) {
                let known = known.map_or("an item with known lengths".into(), |n| n.to_string());
                return Err(wrong("prompt of another length than the compressor saw")
                    .found(format!("{} tokens", request.prompt_tokens))
                    .allowed(known));
            }
        }
        let Request { prompt_tokens, output_tokens, .. } = *request;
        Ok(Facts { row, prompt_tokens, output_tokens })
    }

    /// The candidate that is `plan`, whether or not its answers were measured.
    ///
    /// # Errors
    /// If the scene lacks the level, or the ratio is not of the study's ten, or it is below 100 %
    /// and the method has no compressor.
    pub fn resolve(&self, plan: Plan) -> Result<Candidate> {
        let inner = &*self.0;
        let level = inner.levels.iter().position(|level| level.level == plan.level);
        let cuts = plan.prompt_ratio != Ratio::ONE;
        let ratio = QualityTable::ratio_index(plan.prompt_ratio)
            .filter(|_| !cuts || inner.lengths.is_some());
        match (level, ratio) {
            (Some(level), Some(ratio)) => Ok(Candidate { plan, level, ratio }),
            (None, _) => {
                let known: Vec<_> = inner.levels.iter().map(|l| l.level.to_string()).collect();
                Err(Error::new(format!("method {}", inner.method.name), "no such level")
                    .found(plan.level)
                    .allowed(known.join(", ")))
            }
            (_, None) => {
                let allowed =
                    if inner.lengths.is_some() { "10 %, 20 %, …, 100 %" } else { "100 %" };
                Err(Error::new(format!("method {}", inner.method.name), "no such prompt ratio")
                    .found(plan.prompt_ratio)
                    .allowed(allowed))
            }
        }
    }

    /// The phases of answering under `candidate` when `resident` is in memory, the answer left
    /// open.
    ///
    /// `compress` is billed when the prompt is cut, by the full prompt's length; `switch` when
    /// another level is resident, so the first request of a run loads for free; `decode` at the
    /// context in its middle: kept tokens + half the output.
    ///
    /// # Panics
    /// If `facts` are not of this scene's [`annotate`](Self::annotate).
    #[must_use]
    pub fn phases(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Execution {
        let inner = &*self.0;
        let level = &inner.levels[candidate.level];
        let kept_tokens = match &inner.lengths {
            Some(lengths) => {
                lengths[facts.row.index()].expect("annotated rows have lengths")[candidate.ratio]
            }
            None => facts.prompt_tokens,
        };
        let cuts = candidate.plan.prompt_ratio != Ratio::ONE;
        let compress = if cuts && inner.compress_ms_per_token > 0.0 {
            checked(inner.compress_ms_per_token * f64::from(facts.prompt_tokens))
        } else {
            Duration::ZERO
        };
        let stays = resident.is_none_or(|resident| resident == level.level);
        let gaps = facts.output_tokens.saturating_sub(1);
        let context = decode_context(kept_tokens, facts.output_tokens);
        Execution {
            decide: inner.decide,
            compress,
            switch: if stays { Duration::ZERO } else { level.switch },
            prefill: level.latency.ttft(kept_tokens),
            decode: level.latency.tpot(context) * gaps,
            kept_tokens,
            correct: None,
        }
    }

    /// Predicted latencies of `candidate` when `resident` is in memory.
    #[must_use]
    pub fn forecast(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Forecast {
        let phases = self.phases(candidate, facts, resident);
        let gaps = facts.output_tokens.saturating_sub(1);
        Forecast {
            ttft: phases.until_first_token(),
            tpot: (gaps > 0).then(|| phases.decode / gaps),
            decode: phases.decode,
        }
    }

    /// Whether `candidate` answers the item rightly; `None` if that was not measured.
    ///
    /// Ground truth: for executors and oracles.
    #[must_use]
    pub fn correct(&self, candidate: &Candidate, row: RowId) -> Option<bool> {
        let level = self.0.levels[candidate.level].answers;
        self.0.table.correct(row, level, candidate.ratio)
    }

    /// Share of the dataset's estimate items that `candidate` answers rightly; `None` if none was
    /// measured.
    #[must_use]
    pub fn expected_accuracy(&self, candidate: &Candidate, dataset: &str) -> Option<f64> {
        let level = self.0.levels[candidate.level].answers;
        self.0.table.accuracy(dataset, Some(Split::Estimate), level, candidate.ratio)
    }
}

impl Annotations {
    /// The facts of the request with this id, if it is of the trace.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Facts> {
        // Ids mostly count up from the first, so look there before searching.
        let first = self.0.first()?.0;
        let guess = usize::try_from(id.checked_sub(first)?).ok()?;
        if let Some((_, facts)) = self.0.get(guess).filter(|entry| entry.0 == id) {
            return Some(facts);
        }
        let place = self.0.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(&self.0[place].1)
    }
}

impl Forecast {
    /// Whether both bounds are met.
    #[must_use]
    pub fn meets(&self, bounds: Bounds) -> bool {
        self.ttft <= bounds.ttft && self.tpot.is_none_or(|tpot| tpot <= bounds.tpot)
    }

    /// The larger of TTFT / its bound and TPOT / its bound: above 1 if a bound is missed.
    #[must_use]
    pub fn load(&self, bounds: Bounds) -> f64 {
        let ratio = |time: Duration, bound: Duration| time.as_secs_f64() / bound.as_secs_f64();
        let tpot = self.tpot.map_or(0.0, |tpot| ratio(tpot, bounds.tpot));
        ratio(self.ttft, bounds.ttft).max(tpot)
    }

    /// From being taken up to the last token: what makes one plan lighter than another.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.ttft + self.decode
    }
}

/// The context that stands for a whole decode phase: TPOT is linear in it, so the middle is exact
/// up to half a token.
fn decode_context(prompt_tokens: u32, output_tokens: u32) -> u32 {
    prompt_tokens + output_tokens / 2
}

fn checked(millis: f64) -> Duration {
    duration_from_millis(millis).expect("a checked profile gives lengths of time")
}

fn check_lengths(request: &Request) -> Result<()> {
    let longest = request.prompt_tokens.max(request.output_tokens);
    if request.prompt_tokens > 0 && longest <= MAX_TOKENS / 2 {
        return Ok(());
    }
    Err(Error::new("trace", "impossible length")
        .at(format!("request {}", request.id))
        .found(format!(
            "{} prompt and {} output tokens",
            request.prompt_tokens, request.output_tokens
        ))
        .allowed(format!("1 to {} prompt tokens, at most as many output tokens", MAX_TOKENS / 2)))
}

fn check_manifest(
    dir: &Path,
    base_model: &str,
    method: &MethodSpec,
    table: &QualityTable,
) -> Result<()> {
    let Some(manifest) = table.manifest() else { return Ok(()) };
    let path = dir.join(format!("{}.manifest.json", method.quality_family()));
    let refuse = |key: &str, found: &str, allowed: &str| {
        Err(Error::file(&path, "not the answers of this method")
            .at(format!("key {key:?}"))
            .found(found)
            .allowed(allowed))
    };
    if manifest.base_model != base_model {
        return refuse("base_model", &manifest.base_model, base_model);
    }
    match &method.compressor {
        Some(compressor) if *compressor != manifest.compressor => {
            refuse("compressor", &manifest.compressor, compressor)
        }
        _ => Ok(()),
    }
}

/// Levels with latencies and answers; level 100 % takes the reference family's times.
fn shared_levels(
    family: &FamilyLatency,
    base: &LevelLatency,
    table: &QualityTable,
) -> Vec<SceneLevel> {
    let join = |latency: &LevelLatency| {
        let answers = table.level_index(latency.level)?;
        let mut latency = latency.clone();
        if latency.level == Level::FULL {
            latency.ttft_ms = base.ttft_ms;
            latency.tpot_ms = base.tpot_ms;
        }
        Some(SceneLevel { level: latency.level, switch: latency.switch(), latency, answers })
    };
    family.levels.iter().filter_map(join).collect()
}

/// Plans with at least one measured answer; only full prompts unless `cuts_prompts`.
fn candidates(levels: &[SceneLevel], table: &QualityTable, cuts_prompts: bool) -> Vec<Candidate> {
    let rows = || table.datasets().flat_map(|dataset| table.items(dataset));
    let mut candidates = Vec::new();
    for (level, entry) in levels.iter().enumerate() {
        for (ratio, &prompt_ratio) in PROMPT_RATIOS.iter().enumerate() {
            let allowed = cuts_prompts || prompt_ratio == Ratio::ONE;
            let measured = |row| table.correct(row, entry.answers, ratio).is_some();
            if allowed && rows().any(|(_, row)| measured(row)) {
                let plan = Plan { level: entry.level, prompt_ratio };
                candidates.push(Candidate { plan, level, ratio });
            }
        }
    }
    candidates
}
