//! Everything that is fixed for one (device, base model, method): times, answers, lengths.

mod inputs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use inputs::Replayed;
use inputs::{Answers, by_row, check_manifest, load_decisions};

use super::Policy;
use super::costs::{Candidate, Costs, Forecast, Surroundings, decode_context};
use super::counts_wait::CountsWait;
use super::elastic_profile::ElasticProfile;
use super::elastilm::{Elastilm, LiveHead};
use super::external::External;
use super::facts::{Annotations, Facts, check_lengths};
use super::full::Full;
use super::largest_level::LargestLevel;
use super::lg2_cs::Lg2Cs;
use super::method::{MethodSpec, PolicySpec};
use super::oracle::Oracle;
use super::random_feasible::RandomFeasible;
use crate::error::{Error, Result};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{
    Compressing, Counted, Decision, Decisions, DeviceProfile, LevelLatency, Power, PromptLengths,
    Provenance, QualityTable, RowId, Split,
};
use crate::request::{Bounds, FullCost, Request, RequestView, Slo};
use crate::trace::Trace;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

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
    device: String,
    provenance: Provenance,
    base: LevelLatency,
    costs: Costs,
    candidates: Vec<Candidate>,
    table: QualityTable,
    /// Whether items that lack answers to some plans may be replayed.
    asked: bool,
    /// By row of the table; empty for a method that does not ask the TLM.
    decisions: Vec<Option<Decision>>,
    /// Of the head that they are from.
    head_sha256: Option<String>,
}

impl Scene {
    /// Joins the latencies of `latency_of` on `device` with the answers of `base_model` in
    /// `<quality_root>/<base_model>/` for `method`; `counted` says which API calls are right.
    ///
    /// The two models differ where a device's latencies are known for another model than the one
    /// whose answers were measured; prompt lengths are then counted in `base_model`'s tokens. Items
    /// that may be `replayed` have rows, lengths and decisions.
    ///
    /// # Errors
    /// If the method contradicts itself or looks at answers that may be missing, the device lacks the family or the reference family of
    /// `latency_of`, a file is missing or wrong, the table is of another model or compressor than
    /// asked for, or latencies and answers share no level 100 %.
    pub fn new(
        device: &DeviceProfile,
        base_model: &str,
        latency_of: &str,
        quality_root: &Path,
        counted: Counted,
        method: &MethodSpec,
        replayed: Replayed<'_>,
    ) -> Result<Self> {
        method.check()?;
        let dir = quality_root.join(base_model);
        let family = device.family(latency_of, &method.family)?;
        let Answers { table, asked } = replayed.answers(&dir, family, method)?;
        let answers = Answers { table: table.counting(counted)?, asked };
        check_manifest(&dir, base_model, method, &answers.table)?;
        let lengths = method.compressor.as_ref();
        let lengths = lengths.map(|name| replayed.lengths(&dir, name)).transpose()?;
        let decisions = method.policy.decisions();
        let decisions =
            decisions.map(|name| load_decisions(&dir, name, method, device)).transpose()?;
        let lengths = lengths.as_ref();
        Self::join(device, latency_of, answers, lengths, decisions.as_ref(), method)
    }

    /// Joins tables that are in memory already; `lengths` are those of the method's compressor,
    /// `decisions` those of its policy.
    ///
    /// # Errors
    /// As [`new`](Self::new), files aside.
    ///
    /// # Panics
    /// If [`MethodSpec::check`] refuses the method's `whole_prompt`.
    pub fn from_parts(
        device: &DeviceProfile,
        latency_of: &str,
        table: QualityTable,
        lengths: Option<&PromptLengths>,
        decisions: Option<&Decisions>,
        method: &MethodSpec,
    ) -> Result<Self> {
        let answers = Answers { table, asked: false };
        Self::join(device, latency_of, answers, lengths, decisions, method)
    }

    fn join(
        device: &DeviceProfile,
        latency_of: &str,
        Answers { table, asked }: Answers,
        lengths: Option<&PromptLengths>,
        decisions: Option<&Decisions>,
        method: &MethodSpec,
    ) -> Result<Self> {
        let family = device.family(latency_of, &method.family)?;
        let base = device.base(latency_of)?.clone();
        let head_sha256 = decisions.map(|known| known.manifest.head_sha256.clone());
        let decisions = decisions.map_or_else(Vec::new, |known| by_row(&table, known));
        let decide = if decisions.is_empty() {
            Vec::new()
        } else {
            let tlm = device.tlm(latency_of)?;
            let tokens = |known: &Option<Decision>| known.as_ref().map_or(1, |d| d.tlm_tokens);
            decisions.iter().map(|known| tlm.decide(tokens(known))).collect()
        };
        let compressing = Compressing::of(device, family, method.compressor.as_deref())?;
        let power = device.power.as_ref().map(Power::active);
        let whole = method.whole_prompt.unwrap_or(Ratio::ONE);
        let whole = QualityTable::ratio_index(whole).expect("a checked method has a known ratio");
        let around = Surroundings { decide, compressing, power, whole };
        let costs = Costs::new(family, &base, &table, lengths, around);
        if costs.levels.last().is_none_or(|last| last.level != Level::FULL) {
            return Err(Error::new(
                format!("method {}", method.name),
                "answers lack the base model",
            )
            .at(format!("quality table {}", method.quality_family()))
            .found(list(table.levels().iter().copied()))
            .allowed("a table with rows of level 100 %"));
        }
        Ok(Self(Arc::new(Inner {
            method: method.clone(),
            device: device.name.clone(),
            provenance: family.provenance.clone(),
            base,
            candidates: candidates(&costs, &table, asked),
            costs,
            table,
            asked,
            decisions,
            head_sha256,
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

    /// SHA-256 of the decision-head whose stored answers the method's policy takes, if it takes any.
    #[must_use]
    pub fn head_sha256(&self) -> Option<&str> {
        self.0.head_sha256.as_deref()
    }

    /// Whether the item may be replayed: it has all answers that its dataset's items have, or is one of
    /// [those that need not](Replayed::Asked), and it has a decision where the method needs one.
    #[must_use]
    pub fn knows(&self, dataset: &str, item: u32) -> bool {
        let row = self.0.table.row(dataset, item);
        row.is_some_and(|row| self.may_be_replayed(row) && self.is_decided(row))
    }

    fn may_be_replayed(&self, row: RowId) -> bool {
        self.0.asked || self.0.table.is_whole(row)
    }

    /// Whether a chosen plan may turn out to have no answer; that is then an error.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.asked
    }

    fn is_decided(&self, row: RowId) -> bool {
        self.0.method.policy.decisions().is_none() || self.decision(row).is_some()
    }

    /// What the decision-head answered for the item of a row.
    pub(super) fn decision(&self, row: RowId) -> Option<&Decision> {
        self.0.decisions.get(row.index())?.as_ref()
    }

    /// What the base model takes, unqueued, for a request on its full prompt.
    fn full_cost(&self, prompt_tokens: u32, output_tokens: u32) -> FullCost {
        let base = &self.0.base;
        FullCost {
            ttft: base.ttft(prompt_tokens),
            tpot: base.tpot(decode_context(prompt_tokens, output_tokens)),
            gaps: output_tokens.saturating_sub(1),
            power: self.0.costs.power,
        }
    }

    /// The plans a policy may choose from, by rising level, then prompt ratio.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// The objectives of a trace's requests as quantities, in its order: relative ones are shares
    /// of what the base model takes unqueued on the full prompt.
    ///
    /// # Errors
    /// If a prompt or output is too long to be a model's, or an objective is one of energy and the
    /// device's power is not known.
    pub fn bounds(&self, trace: &Trace) -> Result<Vec<Bounds>> {
        let bounds = |request: &Request| {
            check_lengths(request)?;
            let full = self.full_cost(request.prompt_tokens, request.output_tokens);
            request.slo.resolve(&full).ok_or_else(|| {
                Error::new(format!("device profile {}", self.0.device), "power is not known")
                    .at(format!("request {} of the trace", request.id))
                    .found("an objective on energy")
                    .allowed("objectives on time, or a [power] section in device.toml")
            })
        };
        trace.requests.iter().map(bounds).collect()
    }

    /// The method's policy for one replay of `trace`.
    ///
    /// # Errors
    /// As [`annotate`](Self::annotate), if a policy that needs expected accuracies finds no
    /// estimate item of a dataset, or an external one cannot be started.
    pub fn policy(&self, trace: &Trace, seed: u64) -> Result<Box<dyn Policy>> {
        self.any_policy(trace, seed, None)
    }

    /// The same, asking `head` where [`policy`](Self::policy) looks its stored answers up.
    ///
    /// # Errors
    /// As [`policy`](Self::policy), and if the method's policy asks no head.
    pub fn live_policy(
        &self,
        trace: &Trace,
        seed: u64,
        head: Box<dyn LiveHead>,
    ) -> Result<Box<dyn Policy>> {
        let method = &self.0.method;
        if method.policy.decisions().is_none() {
            return Err(Error::new(format!("method {}", method.name), "no decision-head to ask")
                .found(method.policy.kind())
                .allowed("elastilm"));
        }
        self.any_policy(trace, seed, Some(head))
    }

    fn any_policy(
        &self,
        trace: &Trace,
        seed: u64,
        head: Option<Box<dyn LiveHead>>,
    ) -> Result<Box<dyn Policy>> {
        let (scene, facts) = (self.clone(), self.annotate(trace)?);
        let policy: Box<dyn Policy> = match &self.0.method.policy {
            PolicySpec::ElasticProfile {} => Box::new(ElasticProfile::new(scene, facts, trace)?),
            PolicySpec::Full {} => Box::new(Full),
            PolicySpec::RandomFeasible {} => Box::new(RandomFeasible::new(scene, facts, seed)),
            PolicySpec::Oracle {} => Box::new(Oracle::new(scene, facts, trace)?),
            PolicySpec::Elastilm { reading, .. } => {
                Box::new(Elastilm::new(scene, facts, seed, *reading, head))
            }
            PolicySpec::External(spec) => Box::new(External::new(spec, scene, facts, trace, seed)?),
            PolicySpec::Lg2Cs(size) => {
                Box::new(Lg2Cs::new(scene, facts, size.pick(self.0.method.policy.departure())))
            }
            PolicySpec::Pfs(size)
            | PolicySpec::Lpruner(size)
            | PolicySpec::LayerRemoval(size)
            | PolicySpec::Laco(size)
            | PolicySpec::Shortgpt(size)
            | PolicySpec::Attndrop(size) => {
                let pick = size.pick(self.0.method.policy.departure());
                Box::new(LargestLevel::new(scene, facts, pick))
            }
        };
        Ok(if self.0.method.counts_wait { Box::new(CountsWait(policy)) } else { policy })
    }

    /// The objective as shares of the base model's unqueued TTFT and TPOT on the full prompt: as
    /// stated, or what a stated bound comes to. A bound on the whole answer is the same share of
    /// both.
    pub(super) fn objective_shares(&self, request: RequestView<'_>, facts: &Facts) -> (f64, f64) {
        if let Slo::Relative { ttft, tpot } = request.slo() {
            return (ttft.as_f64(), tpot.as_f64());
        }
        let full = self.full_cost(facts.prompt_tokens, facts.output_tokens);
        let share = |bound: Duration, full: Duration| bound.as_secs_f64() / full.as_secs_f64();
        let of_both = match request.bounds() {
            Bounds::Latency { ttft, tpot } => {
                return (share(ttft, full.ttft), share(tpot, full.tpot));
            }
            Bounds::EndToEnd(bound) => share(bound, full.end_to_end()),
            Bounds::Energy(bound) => {
                let of_full = full.energy().expect("bounds on energy come with a known power");
                bound.as_millijoules_f64() / of_full.as_millijoules_f64()
            }
        };
        (of_both, of_both)
    }

    /// The same, no share above 1.
    pub(super) fn objective_ratios(
        &self,
        request: RequestView<'_>,
        facts: &Facts,
    ) -> (Ratio, Ratio) {
        let (ttft, tpot) = self.objective_shares(request, facts);
        let ratio = |share: f64| Ratio::new(share.min(1.0)).unwrap_or(Ratio::ONE);
        (ratio(ttft), ratio(tpot))
    }

    /// Resolves the names of a trace, once.
    ///
    /// # Errors
    /// If a request's item has no answers or not all, is one that accuracies are estimated on, has
    /// no known length or another length than the trace says, or if two requests have one id.
    pub fn annotate(&self, trace: &Trace) -> Result<Annotations> {
        let facts = |request: &Request| Ok((request.id, self.facts(trace, request)?));
        Annotations::new(trace.requests.iter().map(facts).collect::<Result<_>>()?)
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
        if !self.may_be_replayed(row) {
            return Err(wrong("item without all answers")
                .found("plans that were measured on other items of the dataset only")
                .allowed(format!("items with a whole row in the quality table {table}")));
        }
        if !self.is_decided(row) {
            return Err(wrong("item without a decision")
                .allowed("items that the decisions of the method's policy are for"));
        }
        if inner.costs.cuts_prompts() {
            let known = inner.costs.full_length(row.index());
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
        let costs = &self.0.costs;
        let wrong = |problem| Error::new(format!("method {}", self.0.method.name), problem);
        let level = costs.levels.iter().position(|level| level.level == plan.level);
        let level = level.ok_or_else(|| {
            wrong("no such level")
                .found(plan.level)
                .allowed(list(costs.levels.iter().map(|level| level.level)))
        })?;
        let ratio = costs.ratio_place(plan.prompt_ratio).ok_or_else(|| {
            let cut = "10 %, 20 %, …, 100 %";
            wrong("no such prompt ratio")
                .found(plan.prompt_ratio)
                .allowed(if costs.cuts_prompts() { cut } else { "100 %" })
        })?;
        Ok(Candidate { plan, level, ratio })
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
        self.0.costs.phases(candidate, facts, resident)
    }

    /// Level and prompt ratio that `candidate`'s answer stands under in the quality table.
    #[must_use]
    pub fn table_cell(&self, candidate: &Candidate) -> (Level, Ratio) {
        (candidate.plan.level, PROMPT_RATIOS[candidate.ratio])
    }

    /// Predicted latencies of `candidate` when `resident` is in memory: the sums of
    /// [`phases`](Self::phases), exactly.
    ///
    /// # Panics
    /// As [`phases`](Self::phases).
    #[must_use]
    pub fn forecast(
        &self,
        candidate: &Candidate,
        facts: &Facts,
        resident: Option<Level>,
    ) -> Forecast {
        self.0.costs.forecast(candidate, facts, resident)
    }

    /// What plans cost.
    pub(super) fn costs(&self) -> &Costs {
        &self.0.costs
    }

    /// Whether `candidate` answers the item rightly; `None` if that was not measured.
    ///
    /// Ground truth: for executors and oracles.
    #[must_use]
    pub fn correct(&self, candidate: &Candidate, row: RowId) -> Option<bool> {
        let level = self.0.costs.levels[candidate.level].answers;
        self.0.table.correct(row, level, candidate.ratio)
    }

    /// Share of the dataset's whole estimate items that `candidate` answers rightly; `None` if there
    /// is none.
    #[must_use]
    pub fn expected_accuracy(&self, candidate: &Candidate, dataset: &str) -> Option<f64> {
        let level = self.0.costs.levels[candidate.level].answers;
        self.0.table.expected_accuracy(dataset, level, candidate.ratio)
    }
}

fn list(levels: impl Iterator<Item = Level>) -> String {
    levels.map(|level| level.to_string()).collect::<Vec<_>>().join(", ")
}

/// Plans with at least one measured answer, or all where answers are measured as they are asked for;
/// only full prompts without a compressor.
fn candidates(costs: &Costs, table: &QualityTable, asked: bool) -> Vec<Candidate> {
    let rows = || table.datasets().flat_map(|dataset| table.items(dataset));
    let mut candidates = Vec::new();
    for (level, entry) in costs.levels.iter().enumerate() {
        for ratio in 0..PROMPT_RATIOS.len() {
            let prompt_ratio = costs.named_ratio(ratio);
            let allowed = costs.ratio_place(prompt_ratio) == Some(ratio);
            let measured = |row| table.correct(row, entry.answers, ratio).is_some();
            if allowed && (asked || rows().any(|(_, row)| measured(row))) {
                let plan = Plan { level: entry.level, prompt_ratio };
                candidates.push(Candidate { plan, level, ratio });
            }
        }
    }
    candidates
}
