//! The manifest of an experiment's results, and the files that it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::spec::{DeviceSpec, Experiment, ExperimentSpec, TraceSource};
use crate::error::Result;
use crate::input::{sha256_as_read, was_read};
use crate::method::{MethodSpec, PolicySpec};
use crate::origin::Commit;
use crate::plan::Phases;
use crate::profile::{
    AnswerFiles, AnswersOf, Counted, DeviceProfile, QualityTable, REFERENCE_FAMILY, Split,
};
use crate::results::{FigureInputs, FigureSpec, LatencyInput, Manifest, QualityInput};

/// The manifest of `experiment` run on `executor`, which states `runtime` about itself, but for
/// what its traces draw from.
///
/// # Errors
/// If an input file cannot be read.
pub(crate) fn manifest(
    experiment: &Experiment,
    executor: &str,
    runtime: BTreeMap<String, String>,
) -> Result<Manifest> {
    let commit = Commit::current();
    let mut inputs = BTreeMap::new();
    for path in input_files(experiment) {
        inputs.insert(path.display().to_string(), sha256_as_read(&path)?);
    }
    Ok(Manifest {
        experiment: experiment.name.clone(),
        description: experiment.spec.description.clone(),
        pliant: env!("CARGO_PKG_VERSION").to_owned(),
        sources_modified: commit.as_ref().map(|commit| commit.sources_modified),
        commit: commit.map(|commit| commit.id),
        executor: executor.to_owned(),
        first_seed: experiment.spec.first_seed,
        seeds: experiment.spec.seeds,
        split: Split::RULE.to_owned(),
        answers: experiment.spec.answers,
        service: experiment.spec.service,
        runtime,
        inputs,
        figures: Some(figures(experiment)),
        ..Manifest::default()
    })
}

/// The files that the experiment reads.
fn input_files(experiment: &Experiment) -> BTreeSet<PathBuf> {
    let spec = &experiment.spec;
    let mut files = BTreeSet::from([experiment.path.clone()]);
    match &spec.trace {
        TraceSource::Synth(source) => {
            files.insert(source.items.clone());
        }
        TraceSource::File(source) => _ = files.insert(source.path.clone()),
        TraceSource::None {} => {}
    }
    files.extend(spec.figures.iter().flat_map(FigureSpec::inputs));
    for device in &spec.devices {
        // A profile that cannot be read was an error by now.
        let read = DeviceProfile::files(&device.dir);
        files.extend(read.unwrap_or_else(|_| vec![device.dir.join("device.toml")]));
        files.extend(spec.methods.iter().flat_map(|method| answer_files(spec, device, method)));
    }
    // A quality table's twins and manifest and a figure's inputs are optional, and arguments of a
    // program need not be files; whatever else was missing is an error by now.
    files.retain(|path| was_read(path) || path.is_file());
    files
}

/// The files that `method` reads beside the device profile, there or not.
pub(crate) fn answer_files(
    spec: &ExperimentSpec,
    device: &DeviceSpec,
    method: &MethodSpec,
) -> Vec<PathBuf> {
    let answers = spec.quality.join(&device.base_model);
    let of = AnswersOf::named(&answers, method.quality_family());
    let named = AnswerFiles(&answers);
    let mut files = vec![named.grades(&of.compressor), named.manifest(&of.compressor)];
    if method.phases == Phases::Two {
        let of = of.in_phases();
        files.extend([named.grades(&of.compressor), named.manifest(&of.compressor)]);
    }
    if spec.api_calls == Counted::FirstFive {
        files.push(named.scores(&of.compressor));
    }
    files.extend(method.compressor.iter().map(|compressor| named.lengths(compressor)));
    if method.policy.decisions().is_some() {
        files.push(named.decisions_manifest());
        files.extend(["soft", "hard"].map(|kind| named.decisions(kind)));
    }
    if let PolicySpec::External(external) = &method.policy {
        // Those that cannot be told are refused when the method is checked.
        files.extend(external.files().unwrap_or_default());
    }
    if let PolicySpec::Recorded(recorded) = &method.policy {
        files.push(recorded.plans.clone());
    }
    files
}

/// Latencies of the reference family for each device, accuracies of each quality table.
fn figures(experiment: &Experiment) -> FigureInputs {
    let spec = &experiment.spec;
    let (asked, style) = (spec.figures.clone(), spec.figure);
    let mut figures = FigureInputs { style, asked, ..FigureInputs::default() };
    if !spec.draw_profiles {
        return figures;
    }
    let mut tables = Vec::new();
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
            if !tables.contains(&quality) {
                tables.push(quality);
            }
        }
    }
    // A table may consist of what was asked for, which no figure shows.
    tables.retain(|QualityInput { folder, table }| {
        QualityTable::load_if_there(folder, table).is_ok_and(|table| table.is_some())
    });
    figures.quality = tables;
    figures
}
