//! Peaks: the largest arrival rate at which each method keeps an attainment.

use rayon::prelude::*;
use serde::Serialize;

use super::crossing::{self, Bracket};
use super::runs::{Runs, SearchOptions};
use super::sweep::{check_replays, manifest_of, stated};
use crate::error::{Error, Result};
use crate::experiment::{Cell, Experiment, Grid, each_by_itself};
use crate::metrics::{Measure, PeakRow, write_peak_csv};
use crate::results::{Draft, Failure, Manifest};
use crate::sim::ServiceOptions;

/// What is searched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeakSpec {
    /// Names of the methods; all if there is none.
    pub methods: Vec<String>,
    /// The share of requests that must meet every bound.
    pub attainment: f64,
    /// Smallest rate, in requests an hour.
    #[serde(rename = "from_per_hour")]
    pub from: f64,
    /// Largest rate.
    #[serde(rename = "to_per_hour")]
    pub to: f64,
    /// How narrowly the rate is bracketed, as a share of it.
    pub precision: f64,
}

impl Default for PeakSpec {
    fn default() -> Self {
        Self { methods: Vec::new(), attainment: 0.9, from: 1.0, to: 16_384.0, precision: 0.01 }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    /// One row per cell, in the order of `metrics.csv`.
    pub rows: Vec<PeakRow>,
    /// Runs that an external policy ended; these cells have no row.
    pub failures: Vec<Failure>,
}

/// Finds the peak of every cell of `experiment` whose method is asked for, on the cost model, and
/// puts the results folder in its place: `peak.csv` and `manifest.toml`.
///
/// The rate replaces the trace's own: a synthesised trace is drawn anew from the same random
/// streams, so that the same requests come in the same order at every rate and to every method; a
/// file's times are scaled. Items are those that all methods of the experiment have.
///
/// # Errors
/// If the search or an input is wrong, attainment cannot depend on the rate, or the folder cannot
/// be written.
pub fn peak(
    experiment: &Experiment,
    spec: &PeakSpec,
    options: &SearchOptions<'_>,
) -> Result<Peaks> {
    check_replays(experiment)?;
    check(experiment, spec)?;
    let threads = options.pool()?;
    let grid = threads.install(|| Grid::of(experiment))?;
    let runs = Runs::new(experiment, &grid, options.cache)?;
    let mut manifest = Manifest { peak: Some(stated(spec)), ..manifest_of(experiment)? };
    let draft = Draft::start(options.out, &manifest, options.force)?;
    let asked = |cell: &&Cell| spec.methods.is_empty() || spec.methods.contains(&cell.label.method);
    let cells: Vec<&Cell> = grid.cells.iter().filter(asked).collect();
    options.progress.start(cells.len() as u64);
    let of_cell = |cell: &Cell| {
        let found = row(cell, spec, &runs);
        options.progress.advance(1);
        match found {
            Ok(row) => Ok(Ok(row)),
            Err(Stop::Failed(failure)) => Ok(Err(failure)),
            Err(Stop::Wrong(error)) => Err(error),
        }
    };
    let found: Vec<Result<PeakRow, Failure>> =
        threads.install(|| each_by_itself(cells).map(of_cell).collect::<Result<_>>())?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Ok(row) => rows.push(row),
            Err(failure) => failures.push(failure),
        }
    }
    write_peak_csv(&draft.folder().join("peak.csv"), &rows)?;
    (manifest.items, manifest.notes) = (grid.item_counts(), grid.notes.clone());
    manifest.save(draft.folder())?;
    draft.finish()?;
    Ok(Peaks { rows, failures })
}

/// Why a search ended.
enum Stop {
    Wrong(Error),
    /// By an external policy.
    Failed(Failure),
}

fn row(cell: &Cell, spec: &PeakSpec, runs: &Runs<'_>) -> Result<PeakRow, Stop> {
    let replications = runs.grid.seeds.len();
    let shares = |per_hour: f64| {
        let share = |nth: usize| {
            let trace = runs.grid.trace_at(cell, nth, per_hour).map_err(Stop::Wrong)?;
            let run = runs.measures(cell, nth, &trace).map_err(Stop::Wrong)?;
            let share = run.map_err(Stop::Failed)?.values[Measure::Attainment];
            share.ok_or_else(|| Stop::Wrong(Error::new("trace", "has no requests")))
        };
        (0..replications).into_par_iter().map(share).collect()
    };
    let PeakSpec { attainment, from, to, precision, .. } = *spec;
    let found = crossing::find(Bracket { from, to, share: attainment, precision }, shares)?;
    Ok(PeakRow {
        label: cell.label.clone(),
        attainment,
        peak_per_hour: found.at,
        peak_per_hour_lo: found.lo,
        peak_per_hour_hi: found.hi,
        reach: found.reach,
        again_per_hour: found.again,
        from_per_hour: from,
        to_per_hour: to,
        attainment_at_from: found.ends.0,
        attainment_at_to: found.ends.1,
        replications,
        requests: runs.grid.trace(cell, 0).requests.len(),
    })
}

fn check(experiment: &Experiment, spec: &PeakSpec) -> Result<()> {
    let PeakSpec { methods, attainment, from, to, precision } = spec;
    let known: Vec<&str> = experiment.spec.methods.iter().map(|m| m.name.as_str()).collect();
    if let Some(method) = methods.iter().find(|method| !known.contains(&method.as_str())) {
        let error = Error::new("--method", "not of the experiment").found(method);
        return Err(error.allowed(known.join(", ")));
    }
    let out_of_range = |option: &str, found: f64, allowed: &str| {
        Err(Error::new(option, "out of range").found(found).allowed(allowed))
    };
    if !(*attainment > 0.0 && *attainment <= 1.0) {
        return out_of_range("--attainment", *attainment, "a share above 0, up to 1");
    }
    if !(*from > 0.0 && from.is_finite()) {
        return out_of_range("--from", *from, "requests an hour, above 0");
    }
    if !(to > from && to.is_finite()) {
        return out_of_range("--to", *to, &format!("requests an hour, above {from}"));
    }
    if !(0.0001..=0.5).contains(precision) {
        return out_of_range("--precision", *precision, "0.0001 to 0.5");
    }
    let methods = experiment.spec.methods.iter();
    let mut services = methods.map(|method| method.served_by(experiment.spec.service));
    let without_peak = |service: &ServiceOptions| service.ideal_isolation || service.closed_loop;
    if let Some(service) = services.find(without_peak) {
        let key = if service.ideal_isolation { "ideal_isolation" } else { "closed_loop" };
        return Err(Error::file(&experiment.path, "the arrival rate has no peak")
            .at(format!("key \"service.{key}\""))
            .found(true)
            .allowed("false: requests that queue, whenever they come"));
    }
    Ok(())
}
