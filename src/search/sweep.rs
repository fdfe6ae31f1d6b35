//! Sweeps: an experiment run at every point of a grid or list of settings.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::keys::with_settings;
use super::runs::{Runs, SearchOptions};
use super::settings::{Combine, Swept, points};
use crate::error::{Error, Result};
use crate::experiment::{
    Cell, Experiment, Grid, RunResult, each_by_itself, manifest, without_failed,
};
use crate::metrics::{AskedItems, MetricsRow, SweepRow, write_sweep_csv};
use crate::report::{Form, redraw_sweep};
use crate::results::{Draft, Failure, Manifest, SIMULATED};

/// What a sweep goes over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepSpec {
    /// How the keys are combined.
    pub combine: Combine,
    /// Keys and their values.
    pub set: Vec<Swept>,
}

/// What a sweep shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweeps {
    /// A row per point and cell, point by point.
    pub rows: Vec<SweepRow>,
    /// Runs that an external policy ended, with the settings of their point; that method has no
    /// rows at that point.
    pub failures: Vec<(String, Failure)>,
    /// The tables, if a figure was drawn.
    pub text: Option<String>,
}

/// Runs `experiment` at every point of `spec` on the cost model and puts the results folder in its
/// place: `sweep.csv`, `manifest.toml` and, if one key was swept, a figure.
///
/// Settings are checked before anything runs. Finished runs are kept as they come.
///
/// # Errors
/// If a key, a value or an input is wrong, the folder cannot be written, or no method runs to its
/// end at some point. The folder is as it was then.
///
/// # Panics
/// Never: a sweep has a point.
pub fn sweep(
    experiment: &Experiment,
    spec: &SweepSpec,
    options: &SearchOptions<'_>,
) -> Result<Sweeps> {
    check_replays(experiment)?;
    let keys: Vec<&str> = spec.set.iter().map(|swept| swept.key.as_str()).collect();
    let settings = points(&spec.set, spec.combine)?;
    let set = |values: &Vec<f64>| {
        with_settings(experiment, keys.iter().copied().zip(values.iter().copied()))
    };
    let experiments: Vec<Experiment> = settings.iter().map(set).collect::<Result<_>>()?;
    let threads = options.pool()?;
    let mut manifest = Manifest { sweep: Some(stated(spec)), ..manifest_of(experiment)? };
    let draft = Draft::start(options.out, &manifest, options.force)?;
    options.progress.start(experiments.iter().map(runs_of).sum());
    let (mut rows, mut failures, mut grid) = (Vec::new(), Vec::new(), None);
    for (values, experiment) in settings.iter().zip(&experiments) {
        let shown = threads.install(|| point(experiment, options))?;
        let row = |row| SweepRow { settings: values.clone(), row };
        rows.extend(shown.rows.into_iter().map(row));
        grid = Some(shown.grid);
        let named = keys.iter().zip(values).map(|(key, value)| format!("{key} {value}"));
        let named = named.collect::<Vec<_>>().join(", ");
        failures.extend(shown.failures.into_iter().map(|failure| (named.clone(), failure)));
    }
    write_sweep_csv(&draft.folder().join("sweep.csv"), &keys, &rows)?;
    let grid = grid.expect("a sweep has a point");
    (manifest.items, manifest.notes) = (grid.item_counts(), grid.notes);
    manifest.save(draft.folder())?;
    let text = options.draw.then(|| redraw_sweep(draft.folder(), Form::Svg)).transpose()?;
    draft.finish()?;
    Ok(Sweeps { rows, failures, text })
}

/// What one point shows.
struct Point {
    rows: Vec<MetricsRow>,
    failures: Vec<Failure>,
    grid: Grid,
}

fn point(experiment: &Experiment, options: &SearchOptions<'_>) -> Result<Point> {
    let mut grid = Grid::of(experiment)?;
    let runs = Runs::new(experiment, &grid, options.cache)?;
    let places: Vec<(&Cell, usize)> = grid
        .cells
        .iter()
        .flat_map(|cell| (0..grid.seeds.len()).map(move |nth| (cell, nth)))
        .collect();
    let run = |(cell, nth): (&Cell, usize)| {
        let run = runs.measures(cell, nth, grid.trace(cell, nth));
        options.progress.advance(1);
        run
    };
    let results = each_by_itself(places).map(run).collect::<Result<Vec<RunResult>>>()?;
    drop(runs);
    let (measures, failures) = without_failed(&mut grid, results)?;
    let cells: Vec<_> = grid.cells.iter().zip(measures.chunks(grid.seeds.len())).collect();
    let rows = each_by_itself(cells)
        .map(|(cell, runs)| MetricsRow::of(&cell.label, runs, &AskedItems::of(&grid.asked(cell))));
    let rows = rows.collect();
    Ok(Point { rows, failures, grid })
}

/// How many runs `experiment` has.
fn runs_of(experiment: &Experiment) -> u64 {
    let spec = &experiment.spec;
    let cells = spec.devices.len() * spec.methods.len() * spec.trace.alphas().len();
    cells as u64 * u64::from(spec.seeds)
}

/// Refuses an experiment of figures alone.
pub(super) fn check_replays(experiment: &Experiment) -> Result<()> {
    if experiment.is_figures_alone() {
        return Err(Error::file(&experiment.path, "replays nothing").allowed("a trace and methods"));
    }
    Ok(())
}

/// The manifest of a search over `experiment`, which draws none of its figures.
pub(super) fn manifest_of(experiment: &Experiment) -> Result<Manifest> {
    Ok(Manifest { figures: None, ..manifest(experiment, SIMULATED, BTreeMap::new())? })
}

/// What was searched, as the manifest states it.
pub(super) fn stated(searched: &impl Serialize) -> toml::Table {
    toml::Table::try_from(searched).expect("a search is plain data")
}
