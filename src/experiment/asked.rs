//! The answers that an experiment's methods ask for and that no quality table has yet.
//!
//! No policy looks at an answer before it has chosen, so all that a run asks for is known from a
//! replay that leaves missing answers open. A plan depends on the level that is resident, hence on
//! the requests before: each item is also asked after every level that the method chooses for any,
//! so that other seeds, skews and rates over the same items ask for nothing else.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::grid::{Cell, Grid};
use super::runner::each_by_itself;
use super::spec::Experiment;
use crate::error::{Error, Result};
use crate::executor::{CostModel, Executor};
use crate::item::ItemId;
use crate::method::{Method, MethodSpec};
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::policy::ServiceView;
use crate::request::{AppId, DatasetId, Request, RequestView};
use crate::results::AnsweredItems;
use crate::sim::{self, Calls, OutcomeSink, ServiceOptions};
use crate::trace::{ItemPool, PooledItem, Trace, index_of};
use crate::units::{Level, Ratio};

/// Plans of each item, by dataset and item.
type Plans = BTreeMap<(String, ItemId), BTreeSet<(Level, Ratio)>>;

/// What one quality table lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Whose answers.
    pub base_model: String,
    /// Name of the table.
    pub table: String,
    /// Family of sub-models that its answers are of.
    pub family: String,
    /// How its prompts are cut; `None`: they are not.
    pub compressor: Option<String>,
    /// Plans that were asked for, by dataset and item.
    pub plans: Plans,
}

/// What `experiment` would ask of the quality tables in vain, a table each, by name.
///
/// # Errors
/// If the experiment replays whole items only, an input is missing or wrong, or a replay fails.
pub fn unanswered(experiment: &Experiment) -> Result<Vec<Unanswered>> {
    if experiment.spec.answers != AnsweredItems::Asked {
        return Err(Error::file(&experiment.path, "replays whole items only")
            .at("key \"answers\"")
            .allowed("answers = \"asked\""));
    }
    let grid = Grid::of(experiment)?;
    let seeds = 0..grid.seeds.len();
    let runs: Vec<(&Cell, usize)> =
        grid.cells.iter().flat_map(|cell| seeds.clone().map(move |nth| (cell, nth))).collect();
    let replay = |(cell, nth): (&Cell, usize)| {
        let (trace, seed) = (grid.trace(cell, nth), grid.seeds[nth]);
        let service = cell.method.spec().served_by(experiment.spec.service);
        replayed(&cell.method, trace, seed, service)
    };
    let mut found: Vec<Result<Plans>> = each_by_itself(runs.clone()).map(replay).collect();
    let traces: Vec<&Trace> = runs.iter().map(|&(cell, nth)| grid.trace(cell, nth)).collect();
    let once = each_once(&traces, grid.pools());
    // What a method is asked does not depend on the skew.
    let of_first_skew =
        |cell: &&Cell| cell.label.alpha.total_cmp(&grid.cells[0].label.alpha).is_eq();
    let cells: Vec<&Cell> = grid.cells.iter().filter(of_first_skew).collect();
    found.par_extend(
        cells.par_iter().with_max_len(1).map(|cell| after_any_level(&cell.method, &once)),
    );
    let mut tables = BTreeMap::new();
    for (cell, plans) in runs.iter().map(|run| run.0).chain(cells).zip(found) {
        let label = (cell.label.base_model.clone(), cell.method.spec().quality_family().to_owned());
        let table = match tables.entry(label) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(empty(cell)?),
        };
        settle_compressor(cell, table)?;
        for (item, plans) in plans? {
            table.plans.entry(item).or_default().extend(plans);
        }
    }
    Ok(tables.into_values().collect())
}

fn empty(cell: &Cell) -> Result<Unanswered> {
    let method = cell.method.spec();
    let table = method.quality_family();
    let (family, compressor) = match cell.method.answers().manifest() {
        Some(made) => (made.family.clone(), Some(made.compressor.clone())),
        // Families may answer as others do; a table that is named after its family is its own.
        None if is_named_after(table, method) => {
            (method.family.to_string(), method.compressor.clone())
        }
        None => {
            return Err(Error::new(format!("quality table {table}"), "is of an unknown family")
                .at(format!("method {}", method.name))
                .found("no manifest of the table, and another name than the method's family")
                .allowed(
                    "a table begun by `pliant profile quality`, or called FAMILY-COMPRESSOR",
                ));
        }
    };
    let (base_model, plans) = (cell.label.base_model.clone(), Plans::new());
    Ok(Unanswered { base_model, table: table.to_owned(), family, compressor, plans })
}

fn is_named_after(table: &str, method: &MethodSpec) -> bool {
    let rest = table.strip_prefix(&*method.family);
    rest.is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|c| method.compressor.as_deref() == Some(c))
    })
}

/// Refuses a method whose prompts are cut otherwise than those of its table, unless they were not
/// cut yet.
fn settle_compressor(cell: &Cell, table: &mut Unanswered) -> Result<()> {
    let method = cell.method.spec();
    let Some(own) = &method.compressor else { return Ok(()) };
    let of_table = table.compressor.get_or_insert_with(|| own.clone());
    if own == of_table {
        return Ok(());
    }
    Err(Error::new(format!("method {}", method.name), "another compressor than its table's")
        .at("key \"compressor\"")
        .found(own)
        .allowed(format!("{of_table}, as in quality table {}", table.table)))
}

/// What one replay asks for in vain.
fn replayed(method: &Method, trace: &Trace, seed: u64, service: ServiceOptions) -> Result<Plans> {
    let mut open = Open::new(method, trace)?;
    let (bounds, mut policy) = (method.bounds(trace)?, method.policy(trace, seed)?);
    let needs = method.needs(trace, &bounds, service)?;
    let calls = Calls { requests: &trace.requests, bounds: &bounds, needs: needs.as_deref() };
    sim::replay_calls(calls, policy.as_mut(), &mut open, &service, &mut Nowhere)?;
    Ok(open.plans)
}

/// What the requests of `trace` ask for in vain, each by itself and after every level that any of
/// them is answered with.
fn after_any_level(method: &Method, trace: &Trace) -> Result<Plans> {
    let mut open = Open::new(method, trace)?;
    let (bounds, mut policy) = (method.bounds(trace)?, method.policy(trace, 0)?);
    let (mut before, mut next) = (BTreeSet::new(), vec![None]);
    while let Some(resident) = next.pop() {
        for (request, &bounds) in trace.requests.iter().zip(&bounds) {
            let service = ServiceView {
                now: request.arrival,
                resident,
                queued: 0,
                speed: crate::units::Ratio::ONE,
            };
            let plan = policy.plan(RequestView::new(request, bounds), service);
            policy.settle()?;
            open.execute(request, &plan)?;
            let level = plan.resident_after(request.output_tokens);
            if before.insert(level) {
                next.push(Some(level));
            }
        }
    }
    Ok(open.plans)
}

/// A trace of every different request of `traces`, and of those that apps would make of the other
/// items of `pools`.
fn each_once(traces: &[&Trace], pools: &[ItemPool]) -> Trace {
    let mut once = BTreeMap::new();
    let mut like = BTreeMap::new();
    for (trace, request) in traces.iter().flat_map(|t| t.requests.iter().map(move |r| (*t, r))) {
        let dataset = trace.datasets[usize::from(request.dataset.0)].as_str();
        let app = trace.apps[usize::from(request.app.0)].as_str();
        once.entry((dataset, app, request.item)).or_insert(*request);
        like.entry((dataset, app)).or_insert(*request);
    }
    for ((dataset, app), request) in like {
        let pool = pools.iter().filter(|pool| pool.dataset == dataset).flat_map(|pool| &pool.items);
        for &PooledItem { item, prompt_tokens } in pool {
            let request = Request { item, prompt_tokens, ..request };
            once.entry((dataset, app, item)).or_insert(request);
        }
    }
    // Traces number datasets and apps each in their own order.
    let mut trace = Trace::default();
    for (id, ((dataset, app, _), request)) in (0..).zip(once) {
        let dataset = DatasetId(index_of(&mut trace.datasets, dataset).expect("as in a trace"));
        let app = AppId(index_of(&mut trace.apps, app).expect("as in a trace"));
        trace.requests.push(Request { id, app, dataset, ..request });
    }
    trace
}

/// The cost model's times; answers that are missing stay open and are noted.
#[derive(Debug)]
struct Open<'a> {
    model: CostModel,
    trace: &'a Trace,
    plans: Plans,
}

impl<'a> Open<'a> {
    fn new(method: &Method, trace: &'a Trace) -> Result<Self> {
        Ok(Self { model: method.cost_model(trace)?, trace, plans: Plans::new() })
    }
}

impl Executor for Open<'_> {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let execution = self.model.answer(request, *plan)?;
        if execution.correct.is_none() {
            let dataset = self.trace.datasets[usize::from(request.dataset.0)].clone();
            let plans = self.plans.entry((dataset, request.item)).or_default();
            plans.insert(self.model.table_cell(*plan)?);
        }
        Ok(execution)
    }
}

/// Keeps no outcome.
struct Nowhere;

impl OutcomeSink for Nowhere {
    fn record(&mut self, _: &Outcome) -> Result<()> {
        Ok(())
    }
}
