//! Runs of a search: replayed or recalled, one at a time, whoever asks.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::ThreadPool;
use serde::Serialize;

use super::cache::RunCache;
use crate::digest::sha256;
use crate::error::Result;
use crate::experiment::{
    Cell, Experiment, ExperimentSpec, Grid, Progress, Replay, Replays, RunResult, Tolerance,
    answer_files, pool,
};
use crate::input::sha256_as_read;
use crate::method::MethodSpec;
use crate::sim::ServiceOptions;
use crate::trace::Trace;

/// How a search is run. Nothing here changes a result.
#[expect(missing_debug_implementations, reason = "holds a trait object of the command line")]
pub struct SearchOptions<'a> {
    /// The results folder.
    pub out: &'a Path,
    /// Whether other results may be replaced there.
    pub force: bool,
    /// Whether figures are drawn.
    pub draw: bool,
    /// How many threads; 0 is one per core.
    pub threads: usize,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// Finished runs.
    pub cache: &'a RunCache,
}

impl SearchOptions<'_> {
    /// The threads that the runs share.
    pub(super) fn pool(&self) -> Result<ThreadPool> {
        pool(self.threads)
    }
}

/// Everything that the result of one run depends on, the program aside.
#[derive(Debug, Serialize)]
struct Inputs<'a> {
    method: &'a MethodSpec,
    latency_of: &'a str,
    base_model: &'a str,
    /// Of the device profile and the files that the method reads.
    files: &'a str,
    service: ServiceOptions,
    trace: String,
    seed: u64,
}

/// The runs of one grid.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    pub grid: &'a Grid,
    service: ServiceOptions,
    replays: Replays<'a>,
    cache: &'a RunCache,
    tolerance: Tolerance,
    /// By the device's place and the method's name: the hash of their files, where runs are kept.
    files: BTreeMap<(usize, &'a str), String>,
}

impl<'a> Runs<'a> {
    /// # Errors
    /// If an input file cannot be read.
    pub fn new(experiment: &'a Experiment, grid: &'a Grid, cache: &'a RunCache) -> Result<Self> {
        let spec = &experiment.spec;
        let mut files = BTreeMap::new();
        for (place, method) in (0..spec.devices.len())
            .flat_map(|place| spec.methods.iter().map(move |method| (place, method)))
            .filter(|(_, method)| cache.keeps(method))
        {
            files.insert((place, method.name.as_str()), files_hash(spec, place, method)?);
        }
        let tolerance = Tolerance::default();
        let replays = Replays::new(grid.kinds(), spec.service);
        Ok(Self { grid, service: spec.service, replays, cache, tolerance, files })
    }

    /// What `cell` shows on `trace` under the seed at `nth`.
    ///
    /// # Errors
    /// If a run fails that no external policy ended, or its measures cannot be kept.
    pub fn measures(&self, cell: &Cell, nth: usize, trace: &Trace) -> Result<RunResult> {
        let seed = self.grid.seeds[nth];
        if let Some(failure) = self.tolerance.given_up(cell, seed) {
            return Ok(Err(failure));
        }
        let method = cell.method.spec();
        let files = self.files.get(&(cell.device, method.name.as_str()));
        let inputs = files.map(|files| Inputs {
            method,
            latency_of: &cell.label.latency_of,
            base_model: &cell.label.base_model,
            files,
            service: self.service,
            trace: trace.digest(),
            seed,
        });
        let run = || {
            let columns = &self.grid.columns(cell, nth).at_instants_of(trace);
            self.replays.measures(&Replay { cell, trace, columns, seed, outcomes: None })
        };
        self.tolerance.tolerate(cell, seed, self.cache.measures(inputs.as_ref(), run))
    }
}

/// The hash of the paths and contents of what `method` reads on the device at `place`.
fn files_hash(spec: &ExperimentSpec, place: usize, method: &MethodSpec) -> Result<String> {
    let device = &spec.devices[place];
    let mut files = answer_files(spec, device, method);
    files.push(device.dir.join("device.toml"));
    let mut hashes = BTreeMap::new();
    for path in files.into_iter().filter(|path| path.is_file()) {
        hashes.insert(path.display().to_string(), sha256_as_read(&path)?);
    }
    Ok(sha256(&serde_json::to_vec(&(spec.answers, hashes)).expect("hashes are plain data")))
}
