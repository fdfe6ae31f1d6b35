//! The runs of an experiment: every device × skew × method × seed, with what each needs at hand.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::items::item_pools;
use super::spec::{DeviceSpec, Experiment, TraceSource};
use crate::error::{Error, Result};
use crate::metrics::CellLabel;
use crate::policy::{MethodSpec, Scene};
use crate::profile::DeviceProfile;
use crate::trace::{ItemPool, Trace, synthesize};

/// Everything that runs share, read and checked.
#[derive(Debug)]
pub struct Grid {
    /// Cells in the order of the results: by device, then skew, then method.
    pub cells: Vec<Cell>,
    /// Seeds of the replications.
    pub seeds: Vec<u64>,
    /// `[skew][seed]`, or `[0]` for all seeds alike.
    traces: Vec<Vec<Trace>>,
}

/// One row of the results.
#[derive(Debug)]
pub struct Cell {
    /// What the row is called.
    pub label: CellLabel,
    /// Times and answers.
    pub scene: Scene,
    /// Place of the skew.
    skew: usize,
}

impl Grid {
    /// Reads what `experiment` names.
    ///
    /// # Errors
    /// The first error, in the order of the grid, of a profile, table or trace.
    pub fn of(experiment: &Experiment) -> Result<Self> {
        let spec = &experiment.spec;
        let seeds: Vec<u64> = experiment.seeds().collect();
        let mut pairs = Vec::new();
        for device in &spec.devices {
            let profile = DeviceProfile::load(&device.dir)?;
            pairs.extend(spec.methods.iter().map(|method| (device, profile.clone(), method)));
        }
        let scenes: Vec<Result<Scene>> = pairs
            .par_iter()
            .map(|(device, profile, method)| scene(device, profile, &spec.quality, method))
            .collect();
        let scenes: Vec<Scene> = scenes.into_iter().collect::<Result<_>>()?;
        let traces = traces(&spec.trace, &seeds, &scenes)?;
        let mut cells = Vec::new();
        let per_device = spec.methods.len();
        for (pairs, scenes) in pairs.chunks(per_device).zip(scenes.chunks(per_device)) {
            for (skew, &alpha) in spec.trace.alphas().iter().enumerate() {
                let cell =
                    |((device, profile, _), scene): (&(&DeviceSpec, DeviceProfile, _), &Scene)| {
                        Cell {
                            label: label(device, profile, scene, alpha),
                            scene: scene.clone(),
                            skew,
                        }
                    };
                cells.extend(pairs.iter().zip(scenes).map(cell));
            }
        }
        Ok(Self { cells, seeds, traces })
    }

    /// The trace of `cell` under the seed at `nth`.
    pub fn trace(&self, cell: &Cell, nth: usize) -> &Trace {
        let of_skew = &self.traces[cell.skew];
        of_skew.get(nth).unwrap_or(&of_skew[0])
    }

    /// Requests over all runs.
    pub fn requests(&self) -> u64 {
        let of_cell = |cell| (0..self.seeds.len()).map(move |nth| self.trace(cell, nth));
        self.cells.iter().flat_map(of_cell).map(|trace| trace.requests.len() as u64).sum()
    }

    /// The place of the file of `cell` under the seed at `nth`, within a folder for such files.
    pub fn file_name(&self, cell: &Cell, nth: usize) -> PathBuf {
        let CellLabel { method, alpha, device, latency_of, base_model, .. } = &cell.label;
        let seed = self.seeds[nth];
        PathBuf::from(method)
            .join(format!("{device}_{latency_of}_{base_model}_alpha{alpha}_seed{seed}.csv"))
    }
}

/// Synthesised traces draw only items that every method has all answers to, so that all of them
/// are judged on the same requests.
fn traces(source: &TraceSource, seeds: &[u64], scenes: &[Scene]) -> Result<Vec<Vec<Trace>>> {
    match source {
        TraceSource::File(file) => Ok(vec![vec![Trace::read_csv(&file.path)?]]),
        TraceSource::Synth(synth) => {
            let mut pools: Vec<ItemPool> = item_pools(&synth.items)?;
            for pool in &mut pools {
                let ItemPool { dataset, items } = pool;
                items.retain(|pooled| scenes.iter().all(|scene| scene.knows(dataset, pooled.item)));
            }
            pools.retain(|pool| !pool.items.is_empty());
            let of_skew = |&alpha: &f64| {
                seeds.iter().map(|&seed| synthesize(&synth.spec(alpha, seed), &pools)).collect()
            };
            synth.alphas.iter().map(of_skew).collect()
        }
    }
}

fn scene(
    device: &DeviceSpec,
    profile: &DeviceProfile,
    quality: &Path,
    method: &MethodSpec,
) -> Result<Scene> {
    if profile.name.contains(['/', '\\', '_']) {
        return Err(Error::file(
            &device.dir.join("device.toml"),
            "name cannot be part of a file name",
        )
        .at("key \"name\"")
        .found(format!("\"{}\"", profile.name))
        .allowed("anything without / \\ _"));
    }
    Scene::new(profile, &device.base_model, &device.latency_of, quality, method)
}

fn label(device: &DeviceSpec, profile: &DeviceProfile, scene: &Scene, alpha: f64) -> CellLabel {
    let latency = scene.latency_provenance().label();
    let answers = scene.answers().manifest().map_or("of unknown origin", |_| "measured");
    CellLabel {
        method: scene.method().name.clone(),
        alpha,
        device: profile.name.clone(),
        latency_of: device.latency_of.clone(),
        base_model: device.base_model.clone(),
        provenance: format!("latency {latency}, answers {answers}"),
    }
}
