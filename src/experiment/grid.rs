//! The runs of an experiment: every device × skew × method × seed, with what each needs at hand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;

use super::items::{drawn_from, pools};
use super::spec::{DeviceSpec, Experiment, ExperimentSpec, SynthSource, TraceSource, Variation};
use crate::error::{Error, Result};
use crate::method::{Method, MethodSpec, Replayed, Varied};
use crate::metrics::{CellLabel, EXACT_VALUES, ItemKey, SKETCH_ERROR};
use crate::profile::{DeviceProfile, Items};
use crate::results::AnsweredItems;
use crate::trace::{
    Apps, Columns, ItemPool, Kinds, PooledItem, StandIn, SynthSpec, Trace, stand_ins, synthesize,
};
use crate::units::Ratio;

const MS_PER_HOUR: f64 = 3.6e6;

/// Everything that runs share, read and checked.
#[derive(Debug)]
pub struct Grid {
    /// Cells in the order of the results: by device, then skew, then method.
    pub cells: Vec<Cell>,
    /// Seeds of the replications.
    pub seeds: Vec<u64>,
    /// What a reader should know of the traces, a sentence each.
    pub notes: Vec<String>,
    source: TraceSource,
    /// What synthesised traces draw from.
    pools: Vec<ItemPool>,
    /// `[skew][seed]`, or `[0]` for all seeds alike.
    traces: Vec<Vec<Trace>>,
    /// Of these.
    columns: Vec<Vec<Columns>>,
    /// What they all ask for.
    kinds: Kinds,
}

/// One row of the results.
#[derive(Debug)]
pub struct Cell {
    /// What the row is called.
    pub label: CellLabel,
    /// Menu and answers.
    pub method: Method,
    /// Place of the device among the experiment's.
    pub device: usize,
    /// Place of the skew.
    skew: usize,
}

/// A method on a device.
#[derive(Debug)]
struct Stage<'a> {
    spec: &'a DeviceSpec,
    device: String,
    method: Method,
}

impl Grid {
    /// Reads what `experiment` names.
    ///
    /// # Errors
    /// The first error, in the order of the grid, of a profile, table or trace.
    pub fn of(experiment: &Experiment) -> Result<Self> {
        let spec = &experiment.spec;
        let seeds: Vec<u64> = experiment.seeds().collect();
        let at_hand = match &spec.trace {
            TraceSource::Synth(SynthSource { items, items_per_dataset, without, .. }) => {
                let most = items_per_dataset.map(|most| most.get() as usize);
                drawn_from(pools(items, whole_prompt(spec), spec.answers, most)?, without)?
            }
            TraceSource::File(_) | TraceSource::None {} => Vec::new(),
        };
        let stages = stages(spec, &at_hand)?;
        let mut notes = Vec::new();
        let (traces, pools) = match &spec.trace {
            TraceSource::None {} => (Vec::new(), Vec::new()),
            TraceSource::File(file) => {
                let mut trace = Trace::read(&file.path)?;
                trace.scale_time(file.time_scale)?;
                (vec![vec![trace]], Vec::new())
            }
            TraceSource::Synth(synth) => {
                let pools = measured(at_hand, &stages, &synth.apps, &mut notes);
                let pools = match spec.answers {
                    AnsweredItems::Whole => answered(pools, &stages)?,
                    AnsweredItems::Asked => decided(pools, &stages)?,
                };
                notes.extend(stand_ins(&synth.apps, &pools).iter().map(StandIn::to_string));
                (synthesized(synth, &seeds, &pools)?, pools)
            }
        };
        let mut cells = Vec::new();
        for (device, of_device) in stages.chunks(spec.methods.len().max(1)).enumerate() {
            for (skew, &alpha) in spec.trace.alphas().iter().enumerate() {
                cells.extend(of_device.iter().map(|stage| stage.cell(device, skew, alpha)));
            }
        }
        check_files(&cells)?;
        if traces.iter().flatten().any(|trace| trace.requests.len() > EXACT_VALUES) {
            notes.push(format!(
                "quantiles of runs of more than {EXACT_VALUES} requests are within {} %",
                SKETCH_ERROR * 100.0
            ));
        }
        let mut kinds = Kinds::default();
        let mut number = |of_skew: &Vec<Trace>| {
            of_skew.iter().map(|trace| kinds.number(trace)).collect::<Vec<_>>()
        };
        let columns = traces.iter().map(&mut number).collect();
        let source = spec.trace.clone();
        Ok(Self { cells, seeds, notes, source, pools, traces, columns, kinds })
    }

    /// What requests of all its traces ask for.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// What synthesised traces draw from.
    pub(super) fn pools(&self) -> &[ItemPool] {
        &self.pools
    }

    /// How many items synthesised traces draw from, by dataset.
    pub fn item_counts(&self) -> BTreeMap<String, usize> {
        self.pools.iter().map(|pool| (pool.dataset.clone(), pool.items.len())).collect()
    }

    /// The trace of `cell` under the seed at `nth`.
    pub fn trace(&self, cell: &Cell, nth: usize) -> &Trace {
        let of_skew = &self.traces[cell.skew];
        of_skew.get(nth).unwrap_or(&of_skew[0])
    }

    /// The columns of that trace.
    pub fn columns(&self, cell: &Cell, nth: usize) -> &Columns {
        let of_skew = &self.columns[cell.skew];
        of_skew.get(nth).unwrap_or(&of_skew[0])
    }

    /// The items that the requests of each trace of `cell` ask for: one trace a seed, or one that
    /// all replay.
    pub fn asked(&self, cell: &Cell) -> Vec<Vec<ItemKey<'_>>> {
        self.traces[cell.skew].iter().map(Trace::asked).collect()
    }

    /// The same requests as [`trace`](Self::trace)'s, arriving at a mean rate of `per_hour`: a
    /// synthesised trace is drawn from the same random streams, a file's times are scaled.
    ///
    /// # Errors
    /// If the rate is out of range, or a file's requests have no rate.
    pub fn trace_at(&self, cell: &Cell, nth: usize, per_hour: f64) -> Result<Trace> {
        if let TraceSource::Synth(source) = &self.source {
            let spec = source.spec(cell.label.alpha, self.seeds[nth]);
            return synthesize(&SynthSpec { arrivals_per_hour: per_hour, ..spec }, &self.pools);
        }
        let mut trace = self.trace(cell, nth).clone();
        let gap_ms = trace.summary().mean_gap_ms.filter(|&gap| gap > 0.0);
        let gap_ms = gap_ms.ok_or_else(|| {
            Error::new("trace", "has no rate").allowed("requests at two instants or more")
        })?;
        trace.scale_time(MS_PER_HOUR / gap_ms / per_hour)?;
        Ok(trace)
    }

    /// Requests over all runs.
    pub fn requests(&self) -> u64 {
        let of_cell = |cell| (0..self.seeds.len()).map(move |nth| self.trace(cell, nth));
        self.cells.iter().flat_map(of_cell).map(|trace| trace.requests.len() as u64).sum()
    }

    /// The place of the file of `cell` under the seed at `nth`, within a folder for such files.
    pub fn file_name(&self, cell: &Cell, nth: usize) -> PathBuf {
        cell.label.run_file(self.seeds[nth])
    }
}

impl Stage<'_> {
    fn cell(&self, device: usize, skew: usize, alpha: f64) -> Cell {
        let Self { spec, device: name, method } = self;
        let latency = method.latency_provenance().label();
        let answers = method.answers().manifest().map_or("of unknown origin", |_| "measured");
        let label = CellLabel {
            method: method.spec().name.clone(),
            alpha,
            device: name.clone(),
            latency_of: spec.latency_of.clone(),
            base_model: spec.base_model.clone(),
            provenance: format!("latency {latency}, answers {answers}"),
        };
        Cell { label, method: method.clone(), device, skew }
    }
}

/// Refuses two cells whose runs would have one file: names may hold the underscore that joins them.
fn check_files(cells: &[Cell]) -> Result<()> {
    let mut files = BTreeMap::new();
    for cell in cells {
        if let Some(other) = files.insert(cell.label.run_file(0), &cell.label) {
            let CellLabel { latency_of, base_model, .. } = other;
            return Err(Error::new("experiment", "two runs would have one file")
                .at(cell.label.name())
                .found(format!("{}, {latency_of}, {base_model}", other.name()))
                .allowed("names that differ other than by where an underscore stands"));
        }
    }
    Ok(())
}

/// The share of its prompts that requests come with.
fn whole_prompt(spec: &ExperimentSpec) -> Ratio {
    spec.methods.first().and_then(|method| method.whole_prompt).unwrap_or(Ratio::ONE)
}

/// Every device × method, by device, then method; items `at_hand` are those that may be asked.
fn stages<'a>(spec: &'a ExperimentSpec, at_hand: &[ItemPool]) -> Result<Vec<Stage<'a>>> {
    let items: Items = at_hand
        .iter()
        .map(|pool| (pool.dataset.clone(), pool.items.iter().map(|pooled| pooled.item).collect()))
        .collect();
    let replayed = match spec.answers {
        AnsweredItems::Whole => Replayed::Whole,
        AnsweredItems::Asked => Replayed::Asked(&items),
    };
    let mut pairs = Vec::new();
    for device in &spec.devices {
        let profile = DeviceProfile::load(&device.dir)?;
        pairs.extend(spec.methods.iter().map(|method| (device, profile.clone(), method)));
    }
    let stage = |(device, profile, method): &(&DeviceSpec, DeviceProfile, &MethodSpec)| {
        let DeviceSpec { latency_of, base_model, .. } = device;
        let (quality, counted) = (&spec.quality, spec.api_calls);
        let made =
            Method::new(profile, base_model, latency_of, quality, counted, method, replayed)?;
        let is = |of: Variation| of == Variation::Profile;
        let wanted =
            Varied { noise: is(device.noise), idle: is(device.idle), heat: is(device.heat) };
        made.varying(profile, wanted)
    };
    let methods: Vec<Result<Method>> = pairs.par_iter().with_max_len(1).map(stage).collect();
    pairs
        .into_iter()
        .zip(methods)
        .map(|((spec, profile, _), method)| {
            Ok(Stage { spec, device: profile.name, method: method? })
        })
        .collect()
}

/// Leaves out the datasets of the agent apps that a table has no answers to, and says so: the apps
/// then draw from others, as they do where there are no such data.
fn measured(
    mut pools: Vec<ItemPool>,
    stages: &[Stage<'_>],
    apps: &Apps,
    notes: &mut Vec<String>,
) -> Vec<ItemPool> {
    pools.retain(|ItemPool { dataset, .. }| {
        let lacks = |stage: &&Stage<'_>| stage.method.answers().items(dataset).next().is_none();
        let lacking = stages.iter().find(lacks).filter(|_| is_dispensable(apps, dataset));
        if let Some(stage) = lacking {
            let method = stage.method.spec();
            notes.push(format!(
                "dataset {dataset} is left out: the answers of {} ({}) lack it",
                method.name,
                method.quality_family()
            ));
        }
        lacking.is_none()
    });
    pools
}

/// Whether `dataset` is of an app that can do without it.
fn is_dispensable(apps: &Apps, dataset: &str) -> bool {
    let mut wanting = apps.all().iter().filter(|app| app.draws_from_any);
    wanting.any(|app| app.datasets.iter().any(|own| own == dataset))
}

/// Keeps the items that every method has all answers to: then all of them meet the same requests,
/// and none is judged on fewer.
fn answered(mut pools: Vec<ItemPool>, stages: &[Stage<'_>]) -> Result<Vec<ItemPool>> {
    for ItemPool { dataset, items } in &mut pools {
        let had = items.len();
        let known = |item| stages.iter().all(|stage| stage.method.knows(dataset, item));
        items.retain(|pooled| known(pooled.item));
        if items.is_empty() {
            return Err(Error::new("answers", "no item has all answers of every method")
                .at(format!("dataset {dataset}"))
                .found(format!("{had} items to replay"))
                .allowed("quality tables with whole rows in common"));
        }
    }
    Ok(pools)
}

/// Refuses items that the decision-head of a method was not asked about: what is not measured may
/// be measured when it is asked for, but nobody knows yet what that is.
fn decided(pools: Vec<ItemPool>, stages: &[Stage<'_>]) -> Result<Vec<ItemPool>> {
    for ItemPool { dataset, items } in &pools {
        for stage in stages {
            let undecided = |item: &&PooledItem| !stage.method.knows(dataset, item.item);
            if let Some(PooledItem { item, .. }) = items.iter().find(undecided) {
                let method = stage.method.spec();
                let decisions = method.policy.decisions().unwrap_or_default();
                return Err(Error::new(format!("decisions {decisions}"), "lack an item")
                    .at(format!("method {}", method.name))
                    .found(format!("{dataset} item {item}"))
                    .allowed("items that `pliant elastify tlm decide` was run for"));
            }
        }
    }
    Ok(pools)
}

/// `[skew][seed]`.
fn synthesized(source: &SynthSource, seeds: &[u64], pools: &[ItemPool]) -> Result<Vec<Vec<Trace>>> {
    let of_skew = |&alpha: &f64| {
        seeds.iter().map(|&seed| synthesize(&source.spec(alpha, seed), pools)).collect()
    };
    source.alphas.iter().map(of_skew).collect()
}
