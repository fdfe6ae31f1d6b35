//! What a results folder was made from: enough to make it again, and nothing of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::items::further_items;
use super::spec::{AnsweredItems, DeviceSpec, Experiment, ExperimentSpec, TraceSource};
use crate::digest::sha256_file;
use crate::error::{Error, Result};
use crate::files;
use crate::origin::Commit;
use crate::policy::{MethodSpec, PolicySpec};
use crate::profile::{REFERENCE_FAMILY, Split, asked};
use crate::report::{FigureInputs, FigureSpec, LatencyInput, QualityInput};
use crate::sim::ServiceOptions;

/// `manifest.toml`: the same for the same commit, inputs and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub(super) experiment: String,
    pliant: String,
    /// Absent outside a checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Whether the program's sources differ from the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources_modified: Option<bool>,
    pub(super) executor: String,
    pub(super) first_seed: u64,
    seeds: u32,
    split: String,
    /// Which items are replayed; absent: those with answers to every plan.
    #[serde(default, skip_serializing_if = "AnsweredItems::is_whole")]
    answers: AnsweredItems,
    /// What a reader should know of the traces, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    pub(super) service: ServiceOptions,
    /// What the executor says of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    runtime: BTreeMap<String, String>,
    /// How many items synthesised traces draw from, by dataset: those of the replay half that
    /// every method has all answers to, or all those asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    items: BTreeMap<String, usize>,
    /// SHA-256 of every input file, by its path as the experiment states it.
    pub(super) inputs: BTreeMap<String, String>,
    /// What figures of profiles show.
    figures: FigureInputs,
}

impl Manifest {
    /// The manifest of `experiment` run on `executor`, which states `runtime` about itself, with
    /// traces drawn from as many `items`, of which `notes` tell more.
    ///
    /// # Errors
    /// If an input file cannot be read.
    pub fn of(
        experiment: &Experiment,
        executor: &str,
        runtime: BTreeMap<String, String>,
        items: BTreeMap<String, usize>,
        notes: Vec<String>,
    ) -> Result<Self> {
        let commit = Commit::current();
        let mut inputs = BTreeMap::new();
        for path in input_files(experiment) {
            inputs.insert(path.display().to_string(), sha256_file(&path)?);
        }
        Ok(Self {
            experiment: experiment.name.clone(),
            pliant: env!("CARGO_PKG_VERSION").to_owned(),
            sources_modified: commit.as_ref().map(|commit| commit.sources_modified),
            commit: commit.map(|commit| commit.id),
            executor: executor.to_owned(),
            first_seed: experiment.spec.first_seed,
            seeds: experiment.spec.seeds,
            split: Split::RULE.to_owned(),
            answers: experiment.spec.answers,
            notes,
            service: experiment.spec.service,
            runtime,
            items,
            inputs,
            figures: figures(experiment),
        })
    }

    /// Reads the manifest in the file `path`.
    ///
    /// # Errors
    /// If the file cannot be read or is no manifest.
    pub fn load(path: &Path) -> Result<Self> {
        files::read_toml(path)
    }

    /// Writes the manifest to the file `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)
            .map_err(|cause| Error::file(path, "cannot be written as TOML").caused_by(cause))?;
        files::write_whole(path, text.as_bytes())
    }
}

/// The files that the experiment reads.
fn input_files(experiment: &Experiment) -> BTreeSet<PathBuf> {
    let spec = &experiment.spec;
    let mut files = BTreeSet::from([experiment.path.clone()]);
    match &spec.trace {
        TraceSource::Synth(source) => {
            files.insert(source.items.clone());
            if spec.answers == AnsweredItems::Asked {
                files.extend(further_items(&source.items));
            }
        }
        TraceSource::File(source) => _ = files.insert(source.path.clone()),
        TraceSource::None {} => {}
    }
    files.extend(spec.figures.iter().flat_map(FigureSpec::inputs));
    for device in &spec.devices {
        files.insert(device.dir.join("device.toml"));
        files.extend(spec.methods.iter().flat_map(|method| answer_files(spec, device, method)));
    }
    // A quality table's twins and manifest and a figure's inputs are optional, and arguments of a
    // program need not be files; whatever else was missing is an error by now.
    files.retain(|path| path.is_file());
    files
}

/// The files that `method` reads beside the device profile, there or not.
pub(crate) fn answer_files(
    spec: &ExperimentSpec,
    device: &DeviceSpec,
    method: &MethodSpec,
) -> Vec<PathBuf> {
    let answers = spec.quality.join(&device.base_model);
    let table = method.quality_family();
    let endings = ["csv", "prob.csv", "sum.csv", "top5.csv", "manifest.json"];
    let of = |table: &str| endings.map(|ending| answers.join(format!("{table}.{ending}")));
    let mut files = of(table).to_vec();
    if let Some(compressor) = &method.compressor {
        files.push(answers.join(format!("{compressor}.tokens.csv")));
    }
    if spec.answers == AnsweredItems::Asked {
        files.extend(of(&asked(table)));
        let lengths = method.compressor.iter().map(|name| format!("{}.tokens.csv", asked(name)));
        files.extend(lengths.map(|name| answers.join(name)));
    }
    if let Some(decisions) = method.policy.decisions() {
        let endings = ["decisions.csv", "decisions.json"];
        files.extend(endings.map(|ending| answers.join(format!("{decisions}.{ending}"))));
    }
    if let PolicySpec::External(external) = &method.policy {
        files.extend(external.command.iter().map(PathBuf::from));
    }
    files
}

/// Latencies of the reference family for each device, accuracies of each quality table.
fn figures(experiment: &Experiment) -> FigureInputs {
    let spec = &experiment.spec;
    let mut figures = FigureInputs { asked: spec.figures.clone(), ..FigureInputs::default() };
    if !spec.draw_profiles {
        return figures;
    }
    for device in &spec.devices {
        let latency = LatencyInput {
            device: device.dir.clone(),
            base_model: device.latency_of.clone(),
            family: REFERENCE_FAMILY.to_owned(),
        };
        if !figures.latency.contains(&latency) {
            figures.latency.push(latency);
        }
        for method in &spec.methods {
            let quality = QualityInput {
                folder: spec.quality.join(&device.base_model),
                table: method.quality_family().to_owned(),
            };
            // A table may consist of what was asked for, which no figure shows.
            let is_there = quality.folder.join(format!("{}.csv", quality.table)).exists();
            if is_there && !figures.quality.contains(&quality) {
                figures.quality.push(quality);
            }
        }
    }
    figures
}
