//! A method on a device: its menu for policies, its answers for executors.

mod plans;
mod varies;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use self::plans::{answered_levels, candidates, pairs, readable};
pub use self::varies::Varied;
use self::varies::covered;
use super::expected::{Expect, by_app, expected};
use super::inputs::{
    Answers, Replayed, by_row, check_kind, check_manifest, lengths_by_row, load_decisions,
};
use super::spec::{MethodSpec, PolicySpec};
use crate::error::{Error, Result};
use crate::executor::{CostModel, Truth, Varies};
use crate::item::ItemId;
use crate::policy::{
    Adaptive, Annotations, Candidate, Costs, CountsWait, ElasticProfile, Elastilm, ExpectBy,
    Expected, External, Facts, Fixed, Forecasts, GradedPlans, LargestLevel, Lg2Cs, LiveHead, Menu,
    Oracle, Policy, RandomFeasible, RecordedPlans, ReplayKey, check_lengths,
};
use crate::profile::{
    Compressing, Counted, Decision, Decisions, DeviceProfile, Power, PromptLengths, Provenance,
    QualityTable, RowId, Split,
};
use crate::request::{Bounds, Request};
use crate::trace::Trace;
use crate::units::{Grade, Level, duration_from_millis};

/// A method with the latencies of a device and the answers of a base model, read and checked once;
/// cheap to clone, shared between seeds and threads.
///
/// A policy's forecast and the cost model's bill are one function of its costs, so that under ideal
/// isolation a plan that was forecast to meet its objective does.
#[derive(Debug, Clone)]
pub struct Method(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: MethodSpec,
    device: String,
    provenance: Provenance,
    costs: Arc<Costs>,
    candidates: Arc<[Candidate]>,
    /// By dataset of the quality table: `[pair][ratio]`.
    expected: BTreeMap<String, Expected>,
    truth: Arc<Truth>,
    /// By row of the table; empty for a method that does not ask the TLM.
    decisions: Arc<[Option<Decision>]>,
    /// Of the head that they are from.
    head_sha256: Option<String>,
    /// What varies on the device, and whether it does here.
    varies: Varies,
    /// Factors on times before and after the first token that plans leave room for.
    covered: (f64, f64),
    /// For a method whose plans were made before.
    recorded: Option<Arc<RecordedPlans>>,
}

impl Method {
    /// Joins the latencies of `latency_of` on `device` with the answers of `base_model` in
    /// `<quality_root>/<base_model>/` for the method of `spec`; `counted` says which API calls are
    /// right.
    ///
    /// The two models differ where a device's latencies are known for another model than the one
    /// whose answers were measured; prompt lengths are then counted in `base_model`'s tokens. Items
    /// that may be `replayed` have rows, lengths and decisions.
    ///
    /// # Errors
    /// If the method contradicts itself or looks at answers that may be missing, the device lacks
    /// the family or the reference family of `latency_of`, a file is missing or wrong, the table is
    /// of another model or compressor than asked for, or latencies and answers share no level 100
    /// %.
    pub fn new(
        device: &DeviceProfile,
        base_model: &str,
        latency_of: &str,
        quality_root: &Path,
        counted: Counted,
        spec: &MethodSpec,
        replayed: Replayed<'_>,
    ) -> Result<Self> {
        spec.check()?;
        let dir = quality_root.join(base_model);
        let family = device.family(latency_of, &spec.family)?;
        let Answers { table, asked } = replayed.answers(&dir, family, spec)?;
        let table = table.counting(counted)?;
        let table = if spec.expect == Expect::Pooled { table.with_scores()? } else { table };
        let answers = Answers { table, asked };
        check_manifest(&dir, base_model, spec, &answers.table)?;
        let lengths = spec.compressor.as_ref();
        let lengths = lengths.map(|name| replayed.lengths(&dir, name)).transpose()?;
        let decisions = spec.policy.decisions();
        let decisions =
            decisions.map(|name| load_decisions(&dir, name, spec, device)).transpose()?;
        Self::join(device, latency_of, answers, lengths.as_ref(), decisions.as_ref(), spec)
    }

    /// Joins tables that are in memory already; `lengths` are those of the method's compressor,
    /// `decisions` those of its policy.
    ///
    /// # Errors
    /// As [`new`](Self::new), files aside.
    pub fn from_parts(
        device: &DeviceProfile,
        latency_of: &str,
        table: QualityTable,
        lengths: Option<&PromptLengths>,
        decisions: Option<&Decisions>,
        spec: &MethodSpec,
    ) -> Result<Self> {
        let answers = Answers { table, asked: false };
        Self::join(device, latency_of, answers, lengths, decisions, spec)
    }

    fn join(
        device: &DeviceProfile,
        latency_of: &str,
        Answers { table, asked }: Answers,
        lengths: Option<&PromptLengths>,
        decisions: Option<&Decisions>,
        spec: &MethodSpec,
    ) -> Result<Self> {
        let family = device.family(latency_of, &spec.family)?;
        let recorded = match &spec.policy {
            PolicySpec::Recorded(recorded) => Some(recorded.plans()?),
            _ => None,
        };
        check_kind(spec, decisions)?;
        let head_sha256 = decisions.map(|known| known.manifest.head_sha256.clone());
        let decisions = decisions.map_or_else(Vec::new, |known| by_row(&table, known));
        let base = device.base(latency_of)?.clone();
        let decide = if decisions.is_empty() {
            let decide = duration_from_millis(family.decide_ms);
            vec![decide.expect("a checked profile gives lengths of time")]
        } else {
            let tlm = device.tlm(latency_of)?;
            let tokens = |known: &Option<Decision>| known.as_ref().map_or(1, |d| d.tlm_tokens);
            decisions.iter().map(|known| tlm.decide(tokens(known))).collect()
        };
        let ratios = readable(spec, &table, lengths)?;
        let costs = Costs {
            method: spec.name.clone(),
            pairs: Vec::new(),
            levels: answered_levels(family, &base, &table, spec)?,
            base,
            decide,
            compressing: Compressing::of(device, family, spec.compressor.as_deref())?,
            power: device.power.as_ref().map(Power::draw),
            ratios,
            cuts: None,
        };
        if costs.levels.last().is_none_or(|last| last.level != Level::FULL) {
            let known: Vec<_> = table.levels().iter().map(ToString::to_string).collect();
            return Err(Error::new(format!("method {}", spec.name), "answers lack the base model")
                .at(format!("quality table {}", spec.quality_family()))
                .found(known.join(", "))
                .allowed("a table with rows of level 100 %"));
        }
        let costs = match lengths {
            Some(lengths) => costs.with_cuts(lengths_by_row(&table, lengths)),
            None => costs,
        };
        let costs = Costs { pairs: pairs(&costs.levels, &table, spec.phases), ..costs };
        let level = |place: usize| costs.levels[place].level;
        let place = |&(prompt, answer)| table.pair_index(level(prompt), level(answer));
        let in_table = costs.pairs.iter().map(place).collect::<Option<_>>();
        let ratios = costs.ratios.iter().map(|&ratio| table.ratio_index(ratio)).collect();
        let (name, of_pairs) =
            (spec.quality_family().to_owned(), in_table.expect("it has answers"));
        let truth = Truth { name, pairs: of_pairs, ratios, table, asked };
        Ok(Self(Arc::new(Inner {
            spec: spec.clone(),
            device: device.name.clone(),
            provenance: family.provenance.clone(),
            candidates: candidates(&costs, &truth),
            expected: expected(&truth, &spec.name, spec.expect)?,
            costs: Arc::new(costs),
            truth: Arc::new(truth),
            decisions: decisions.into(),
            head_sha256,
            varies: Varies::default(),
            covered: covered(device, spec)?,
            recorded,
        })))
    }

    /// What an experiment file states of it.
    #[must_use]
    pub fn spec(&self) -> &MethodSpec {
        &self.0.spec
    }

    /// Where the latencies come from.
    #[must_use]
    pub fn latency_provenance(&self) -> &Provenance {
        &self.0.provenance
    }

    /// The answers. They are not for policies.
    #[must_use]
    pub fn answers(&self) -> &QualityTable {
        &self.0.truth.table
    }

    /// SHA-256 of the decision-head whose stored answers the method's policy takes, if it takes
    /// any.
    #[must_use]
    pub fn head_sha256(&self) -> Option<&str> {
        self.0.head_sha256.as_deref()
    }

    /// Whether the item may be replayed: it has all answers that its dataset's items have, or is
    /// one of [those that need not](Replayed::Asked), and it has a decision where the method needs
    /// one.
    #[must_use]
    pub fn knows(&self, dataset: &str, item: impl Into<ItemId>) -> bool {
        let row = self.answers().row(dataset, item);
        row.is_some_and(|row| self.may_be_replayed(row) && self.is_decided(row))
    }

    fn may_be_replayed(&self, row: RowId) -> bool {
        self.is_asked() || self.answers().is_whole(row)
    }

    /// Whether a chosen plan may turn out to have no answer; that is then an error.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.truth.asked
    }

    fn is_decided(&self, row: RowId) -> bool {
        self.0.spec.policy.decisions().is_none() || self.0.decisions[row.index()].is_some()
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
            let full = self.0.costs.full(request.prompt_tokens, request.output_tokens);
            request.slo.resolve(&full).ok_or_else(|| {
                Error::new(format!("device profile {}", self.0.device), "power is not known")
                    .at(format!("request {} of the trace", request.id))
                    .found("an objective on energy")
                    .allowed("objectives on time, or a [power] section in device.toml")
            })
        };
        trace.requests.iter().map(bounds).collect()
    }

    /// What policies may choose from for the requests of `trace`, and all that they may know.
    ///
    /// # Errors
    /// If a request's item has no answers or not all, is one that accuracies are estimated on, has
    /// no known length or another length than the trace says, or if two requests have one id.
    pub fn menu(&self, trace: &Trace) -> Result<Menu> {
        Ok(self.menu_over(trace, self.annotate(trace)?))
    }

    fn menu_over(&self, trace: &Trace, facts: Arc<Annotations>) -> Menu {
        let expect_by = self.0.spec.expect_by;
        let of_dataset = |name: &String| self.0.expected.get(name).cloned().unwrap_or_default();
        let expected: Vec<Expected> = trace.datasets.iter().map(of_dataset).collect();
        let expected = match expect_by {
            ExpectBy::Dataset => expected,
            ExpectBy::App => by_app(trace, &expected),
        };
        Menu {
            costs: Arc::clone(&self.0.costs),
            candidates: Arc::clone(&self.0.candidates),
            expected,
            expect_by,
            decisions: Arc::clone(&self.0.decisions),
            margin: self.0.spec.margin,
            facts,
        }
    }

    /// The cost model for one replay of `trace`.
    ///
    /// # Errors
    /// As [`menu`](Self::menu).
    pub fn cost_model(&self, trace: &Trace) -> Result<CostModel> {
        Ok(self.cost_model_over(trace, self.annotate(trace)?))
    }

    fn cost_model_over(&self, trace: &Trace, facts: Arc<Annotations>) -> CostModel {
        let (costs, truth) = (Arc::clone(&self.0.costs), Arc::clone(&self.0.truth));
        CostModel::new(costs, truth, facts, &trace.datasets)
    }

    /// The method's policy for one replay of `trace`.
    ///
    /// # Errors
    /// As [`menu`](Self::menu), if a policy that needs expected accuracies finds no estimate item
    /// of a dataset, or an external one cannot be started.
    pub fn policy(&self, trace: &Trace, seed: u64) -> Result<Box<dyn Policy>> {
        self.policy_over(self.menu(trace)?, trace, seed, None)
    }

    /// Policy and cost model for one replay of `trace`, whose names are resolved once for both.
    ///
    /// # Errors
    /// As [`policy`](Self::policy).
    pub fn players(&self, trace: &Trace, seed: u64) -> Result<(Box<dyn Policy>, CostModel)> {
        let facts = self.annotate(trace)?;
        let menu = self.menu_over(trace, Arc::clone(&facts));
        Ok((self.policy_over(menu, trace, seed, None)?, self.cost_model_over(trace, facts)))
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
        let spec = &self.0.spec;
        if spec.policy.decisions().is_none() {
            return Err(Error::new(format!("method {}", spec.name), "no decision-head to ask")
                .found(spec.policy.kind())
                .allowed("elastilm"));
        }
        self.policy_over(self.menu(trace)?, trace, seed, Some(head))
    }

    fn policy_over(
        &self,
        menu: Menu,
        trace: &Trace,
        seed: u64,
        head: Option<Box<dyn LiveHead>>,
    ) -> Result<Box<dyn Policy>> {
        let spec = &self.0.spec;
        let looks = spec.meet.is_some() || spec.adaptive != Adaptive::None;
        let own_menu = looks.then(|| menu.clone());
        let policy: Box<dyn Policy> = match &spec.policy {
            PolicySpec::ElasticProfile {} => self.elastic_profile(menu, trace)?,
            PolicySpec::Full {} => Box::new(Fixed::full()),
            PolicySpec::Fixed { level_percent } => {
                Box::new(Fixed::on(&menu, Level::percent(*level_percent), &spec.name)?)
            }
            PolicySpec::RandomFeasible {} => Box::new(RandomFeasible::new(menu, seed)),
            PolicySpec::Oracle {} => {
                let otherwise = self.elastic_profile(menu.clone(), trace)?;
                Box::new(Oracle::new(menu, self.answers_told(), otherwise))
            }
            PolicySpec::Elastilm { reading, .. } => {
                Box::new(Elastilm::new(menu, seed, *reading, head))
            }
            PolicySpec::External(external) => {
                let names = [&*trace.apps, &*trace.datasets];
                Box::new(External::new(external, &spec.name, menu, names, seed)?)
            }
            PolicySpec::Recorded(_) => {
                let (device, trace) = (self.0.device.clone(), trace.fingerprint());
                let plans = self.0.recorded.as_ref().expect("read when the method was made");
                Box::new(plans.policy(&spec.name, &ReplayKey { device, seed, trace })?)
            }
            PolicySpec::Lg2Cs(size) => Box::new(Lg2Cs::new(menu, *size)),
            PolicySpec::LargestLevel(size) => Box::new(LargestLevel::new(menu, *size)),
        };
        let policy = match own_menu {
            Some(menu) => {
                Box::new(Forecasts::new(policy, menu, spec.adaptive, self.0.covered)) as Box<_>
            }
            None => policy,
        };
        Ok(if spec.counts_wait { Box::new(CountsWait(policy)) } else { policy })
    }

    /// Refuses requests of a dataset that no accuracies can be expected of.
    fn elastic_profile(&self, menu: Menu, trace: &Trace) -> Result<Box<dyn Policy>> {
        for request in &trace.requests {
            let group = self.0.spec.expect_by.group(request.app, request.dataset);
            let expected = |one| menu.expected_accuracy(one, group).is_some();
            if !menu.candidates().iter().any(expected) {
                let place = format!("dataset {}", trace.dataset(request.dataset));
                return Err(Error::new(
                    format!("method {}", self.0.spec.name),
                    "no expected accuracy",
                )
                .at(place)
                .found("no estimate item with all answers")
                .allowed("a quality table with whole rows in both halves"));
            }
        }
        Ok(Box::new(ElasticProfile::new(menu)))
    }

    /// What an oracle is told.
    fn answers_told(&self) -> GradedPlans {
        let Inner { candidates, truth, .. } = &*self.0;
        let mut graded = GradedPlans::none(truth.table.rows(), candidates.len());
        for (_, row) in truth.table.datasets().flat_map(|dataset| truth.table.items(dataset)) {
            for (place, candidate) in candidates.iter().enumerate() {
                graded.set(row, place, truth.correct(candidate, row).unwrap_or(Grade::WRONG));
            }
        }
        graded
    }

    /// Resolves the names of a trace, once.
    fn annotate(&self, trace: &Trace) -> Result<Arc<Annotations>> {
        let facts = |request: &Request| Ok((request.id, self.facts(trace, request)?));
        Annotations::new(trace.requests.iter().map(facts).collect::<Result<_>>()?).map(Arc::new)
    }

    fn facts(&self, trace: &Trace, request: &Request) -> Result<Facts> {
        check_lengths(request)?;
        let dataset = &trace.datasets[usize::from(request.dataset.0)];
        let (Inner { costs, truth, .. }, item) = (&*self.0, request.item);
        let wrong = |problem: &str| {
            Error::new("trace", problem)
                .at(format!("request {}, {dataset} item {item}", request.id))
        };
        let table = &truth.name;
        let row = truth.table.row(dataset, item).ok_or_else(|| {
            wrong("item without answers").allowed(format!("items of the quality table {table}"))
        })?;
        if truth.table.side(row) == Split::Estimate {
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
        if costs.cuts_prompts() {
            let known = costs.full_length(row.index());
            if known != Some(request.prompt_tokens) {
                let known = known.map_or("an item with known lengths".into(), |n| n.to_string());
                return Err(wrong("prompt of another length than the compressor saw")
                    .found(format!("{} tokens", request.prompt_tokens))
                    .allowed(known));
            }
        }
        let Request { prompt_tokens, output_tokens, terms, .. } = *request;
        Ok(Facts { row, prompt_tokens, output_tokens, cached_tokens: terms.cached_tokens })
    }
}
