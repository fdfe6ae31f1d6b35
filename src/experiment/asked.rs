//! The answers that an experiment's methods ask for and that no quality table has yet.
//!
//! No policy looks at an answer before it has chosen, so one replay that leaves missing answers open
//! asks for all that the next one, with the same items, will ask for.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::grid::{Cell, Grid};
use super::spec::{AnsweredItems, Experiment};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::policy::{Annotations, Scene};
use crate::request::Request;
use crate::sim::{self, OutcomeSink, ServiceOptions};
use crate::trace::Trace;
use crate::units::{Level, Ratio};

/// Plans of each item, by dataset and item.
type Plans = BTreeMap<(String, u32), BTreeSet<(Level, Ratio)>>;

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
        missing(&cell.scene, trace, seed, experiment.spec.service)
    };
    let found: Vec<Result<Plans>> = runs.clone().into_par_iter().map(replay).collect();
    let mut tables = BTreeMap::new();
    for ((cell, _), plans) in runs.into_iter().zip(found) {
        let plans = plans?;
        let table = tables
            .entry((cell.label.base_model.clone(), cell.scene.method().quality_family().to_owned()))
            .or_insert_with(|| empty(cell));
        for (item, plans) in plans {
            table.plans.entry(item).or_default().extend(plans);
        }
    }
    Ok(tables.into_values().collect())
}

fn empty(cell: &Cell) -> Unanswered {
    let method = cell.scene.method();
    let made = cell.scene.answers().manifest();
    let family = made.map_or(&method.family, |made| &made.family);
    Unanswered {
        base_model: cell.label.base_model.clone(),
        table: method.quality_family().to_owned(),
        family: family.clone(),
        compressor: made.map(|made| made.compressor.clone()).or(method.compressor.clone()),
        plans: Plans::new(),
    }
}

/// What one replay asks for in vain.
fn missing(scene: &Scene, trace: &Trace, seed: u64, service: ServiceOptions) -> Result<Plans> {
    let facts = scene.annotate(trace)?;
    let mut open = Open { scene, facts, trace, resident: None, plans: Plans::new() };
    let (bounds, mut policy) = (scene.bounds(trace)?, scene.policy(trace, seed)?);
    let requests = &trace.requests;
    sim::replay(requests, &bounds, policy.as_mut(), &mut open, &service, &mut Nowhere)?;
    Ok(open.plans)
}

/// The cost model's times; answers that are missing stay open and are noted.
#[derive(Debug)]
struct Open<'a> {
    scene: &'a Scene,
    facts: Annotations,
    trace: &'a Trace,
    resident: Option<Level>,
    plans: Plans,
}

impl Executor for Open<'_> {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let candidate = self.scene.resolve(*plan)?;
        let facts = self.facts.get(request.id).expect("requests of the trace are annotated");
        let mut execution = self.scene.phases(&candidate, facts, self.resident);
        execution.correct = self.scene.correct(&candidate, facts.row);
        if execution.correct.is_none() {
            let dataset = self.trace.datasets[usize::from(request.dataset.0)].clone();
            let plans = self.plans.entry((dataset, request.item)).or_default();
            plans.insert(self.scene.place(&candidate));
        }
        self.resident = Some(plan.level);
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
