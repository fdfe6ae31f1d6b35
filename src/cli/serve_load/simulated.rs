//! A recorded day, simulated: by the machine as it was predicted to be, and as it was learnt to be.

use pliant::schedule::ServiceOptions;
use pliant::{Error, Result};
use std::path::Path;

use pliant::experiment::{
    Backend, DeviceSpec, ExperimentSpec, FileSource, KeptOutcomes, RunOptions, Silent, TraceSource,
    run,
};
use pliant::files;
use pliant::method::MethodSpec;
use pliant::metrics::MetricsRow;

use super::{Loop, Stage};

/// What the simulation says of a day.
#[derive(Debug)]
pub struct Simulated {
    /// On the profile that the first server began with.
    pub predicted: MetricsRow,
    /// On the one that this day's server ended with.
    pub learnt: MetricsRow,
}

/// A day, and how it came about.
pub struct Day<'a> {
    pub method: &'a MethodSpec,
    pub name: &'a str,
    pub how: Loop,
}

/// Simulates a day, by an experiment of its own that is kept beside it.
pub fn day(stage: &Stage<'_>, day: &Day<'_>) -> Result<Simulated> {
    let name = day.name;
    let experiment = stage.experiment.with(spec(stage, day, stage.folder))?;
    let out = tempfile::tempdir()
        .map_err(|cause| Error::new("temporary folder", "cannot be made").caused_by(cause))?;
    let out = out.path().join("day");
    let options = RunOptions {
        out: &out,
        force: false,
        draw: false,
        threads: 0,
        progress: &Silent,
        witness: None,
    };
    let mut rows = run(&experiment, Backend::CostModel, &options)?.rows.into_iter();
    let mut row = |device: &str| {
        rows.find(|row| row.label.device == device)
            .ok_or_else(|| Error::new(format!("day {name}"), "has no row").found(device))
    };
    let (predicted, learnt) = (row("machine")?, row("learnt")?);
    // Once all is there, it is in another folder.
    let text = toml::to_string(&spec(stage, day, stage.out))
        .map_err(|cause| Error::new("experiment", "cannot be written").caused_by(cause))?;
    files::write_whole(&stage.folder.join(format!("{name}.toml")), text.as_bytes())?;
    Ok(Simulated { predicted, learnt })
}

/// The experiment of a day whose files are in `folder`.
fn spec(stage: &Stage<'_>, day: &Day<'_>, folder: &Path) -> ExperimentSpec {
    let Day { method, name, how } = day;
    let stated = &stage.experiment.spec;
    let device = |place: &str| DeviceSpec { dir: folder.join(place), ..stage.device.clone() };
    let path = folder.join(format!("{name}.day.csv"));
    ExperimentSpec {
        description: format!("the recorded day {name}, simulated"),
        seeds: 1,
        outcomes: KeptOutcomes::None,
        trace: TraceSource::File(FileSource { path, alpha: 0.0, time_scale: 1.0 }),
        devices: vec![device("machine"), device(&format!("learnt-{name}"))],
        against: None,
        methods: vec![(*method).clone()],
        service: ServiceOptions { closed_loop: *how == Loop::Closed, ..stated.service },
        ..stated.clone()
    }
}
