//! The experiment file: methods × devices × skews × seeds, typed and checked before anything runs.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::method::MethodSpec;
use crate::names;
use crate::profile::Counted;
use crate::results::{AnsweredItems, FigureSpec, FigureStyle, check_figures};
use crate::sim::ServiceOptions;
use crate::trace::{Apps, Arrivals, LevelOrder, Objective, SynthSpec};

/// Most replications of an experiment.
const SEEDS_MAX: u32 = 10_000;

/// An experiment file and the name of its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The file's name without its ending: what the results folder is called.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What it states.
    pub spec: ExperimentSpec,
}

/// What an experiment file states. Paths are from where the command runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec {
    /// What the experiment shows, in a sentence.
    pub description: String,
    /// Seed of the first replication; the others count up from it.
    #[serde(default)]
    pub first_seed: u64,
    /// How many replications.
    pub seeds: u32,
    /// Which outcomes are kept, request by request.
    #[serde(default)]
    pub outcomes: KeptOutcomes,
    /// Folder of quality tables: `<quality>/<base model>/<family>.csv`.
    #[serde(default)]
    pub quality: PathBuf,
    /// Which items are replayed.
    #[serde(default)]
    pub answers: AnsweredItems,
    /// When the answer to an API call counts as right.
    #[serde(default)]
    pub api_calls: Counted,
    /// The requests.
    #[serde(default)]
    pub trace: TraceSource,
    /// How the service treats them.
    #[serde(default)]
    pub service: ServiceOptions,
    /// Where they are answered.
    #[serde(default)]
    pub devices: Vec<DeviceSpec>,
    /// Whether the figures of the device profiles and quality tables behind the runs are drawn,
    /// too.
    #[serde(default)]
    pub draw_profiles: bool,
    /// How figures look.
    #[serde(default)]
    pub figure: FigureStyle,
    /// The method that each other one is compared against, pair by pair; absent: the first is
    /// compared against each other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// How.
    #[serde(default)]
    pub methods: Vec<MethodSpec>,
    /// Figures beside those of the runs. An experiment of figures alone has no trace, devices and
    /// methods.
    #[serde(default)]
    pub figures: Vec<FigureSpec>,
}

/// Which outcomes are written below `outcomes/`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptOutcomes {
    /// Those of every run.
    #[default]
    All,
    /// Those of the first seed's runs.
    FirstSeed,
    /// None: only measures are kept.
    None,
}

/// Where traces come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TraceSource {
    /// Synthesised, one for each skew and seed.
    Synth(SynthSource),
    /// One file, replayed under every seed: only what policies draw differs.
    File(FileSource),
    /// Nowhere: nothing is replayed.
    None {},
}

impl Default for TraceSource {
    fn default() -> Self {
        Self::None {}
    }
}

/// Synthesised traces; see [`SynthSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthSource {
    /// Prompt lengths of the items to draw from.
    pub items: PathBuf,
    /// Of each dataset, the most items of the replay half to draw from, the file's first; absent:
    /// all.
    #[serde(default)]
    pub items_per_dataset: Option<NonZeroU32>,
    /// Datasets of that file that are not drawn from, such as one whose prompts a real run lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Skews α of the SLO levels.
    pub alphas: Vec<f64>,
    /// Who calls: the study's apps, or others under `[[trace.apps]]`.
    #[serde(default, skip_serializing_if = "Apps::are_the_studys")]
    pub apps: Apps,
    /// Requests per trace.
    #[serde(default = "SynthSource::requests")]
    pub requests: u32,
    /// Which app is level 1.
    #[serde(default)]
    pub level_order: LevelOrder,
    /// What kind of objective the apps state.
    #[serde(default)]
    pub objective: Objective,
    /// Mean rate of the arrivals.
    #[serde(default = "SynthSource::arrivals_per_hour")]
    pub arrivals_per_hour: f64,
    /// How they are spread.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Tokens to generate, for every request.
    #[serde(default = "SynthSource::output_tokens")]
    pub output_tokens: u32,
}

/// A trace in a native file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// The skew it was made with, for the column of that name.
    pub alpha: f64,
    /// What its arrivals are multiplied with: 0.5 doubles the load.
    #[serde(default = "FileSource::time_scale")]
    pub time_scale: f64,
}

impl FileSource {
    fn time_scale() -> f64 {
        1.0
    }
}

/// A device, and which models it is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Folder of the device profile.
    pub dir: PathBuf,
    /// The model whose latencies are billed.
    pub latency_of: String,
    /// The model whose answers are judged.
    pub base_model: String,
    /// Whether times vary as the profile's `[noise]` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise: Variation,
    /// Whether the first answer after a pause takes longer as its `[idle]` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle: Variation,
    /// Whether the device warms as its `[heat]` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub heat: Variation,
}

/// Whether something that varies on a device does so in an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variation {
    /// It does not.
    #[default]
    None,
    /// As the device's profile says.
    Profile,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SynthSource {
    fn requests() -> u32 {
        SynthSpec::default().requests
    }

    fn arrivals_per_hour() -> f64 {
        SynthSpec::default().arrivals_per_hour
    }

    fn output_tokens() -> u32 {
        SynthSpec::default().output_tokens
    }

    /// The traces of skew `alpha` under `seed`.
    #[must_use]
    pub fn spec(&self, alpha: f64, seed: u64) -> SynthSpec {
        SynthSpec {
            apps: self.apps.clone(),
            requests: self.requests,
            alpha,
            level_order: self.level_order,
            objective: self.objective,
            arrivals_per_hour: self.arrivals_per_hour,
            arrivals: self.arrivals,
            output_tokens: self.output_tokens,
            seed,
        }
    }
}

impl TraceSource {
    /// The skews of the experiment.
    #[must_use]
    pub fn alphas(&self) -> &[f64] {
        match self {
            Self::Synth(source) => &source.alphas,
            Self::File(source) => std::slice::from_ref(&source.alpha),
            Self::None {} => &[],
        }
    }
}

impl Experiment {
    /// Reads and checks the experiment file `path`.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown, missing or ill-typed key, nothing to run, or
    /// two methods, devices or skews of one name.
    pub fn load(path: &Path) -> Result<Self> {
        let input = Input::read(path)?;
        let spec = input.toml()?;
        let name = input.path().file_stem().unwrap_or_default().to_string_lossy();
        let name = name.replace(' ', "-");
        let experiment = Self { name, path: path.to_owned(), spec };
        experiment.check()?;
        Ok(experiment)
    }

    /// The experiment with `spec` in place of what its file states.
    ///
    /// # Errors
    /// As [`load`](Self::load), the file aside.
    pub fn with(&self, spec: ExperimentSpec) -> Result<Self> {
        let experiment = Self { spec, ..self.clone() };
        experiment.check()?;
        Ok(experiment)
    }

    /// Seeds of the replications, in order.
    pub fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let first = self.spec.first_seed;
        (0..u64::from(self.spec.seeds)).map(move |nth| first.wrapping_add(nth))
    }

    fn check(&self) -> Result<()> {
        let spec = &self.spec;
        if !(1..=SEEDS_MAX).contains(&spec.seeds) {
            let allowed = format!("1 to {SEEDS_MAX}");
            return Err(self.wrong("seeds", "out of range").found(spec.seeds).allowed(allowed));
        }
        check_figures(&spec.figures)?;
        let methods: Vec<&str> = spec.methods.iter().map(|one| one.name.as_str()).collect();
        for figure in &spec.figures {
            if let FigureSpec::OverTime(over_time) = figure {
                over_time.check(&methods)?;
            }
        }
        spec.figure.check()?;
        if self.is_figures_alone() {
            return Ok(());
        }
        let services = spec.methods.iter().filter_map(|method| method.service);
        for service in std::iter::once(spec.service).chain(services) {
            service.check(&self.path.display().to_string())?;
        }
        let alphas = spec.trace.alphas();
        if let Some(alpha) = alphas.iter().find(|alpha| !alpha.is_finite()) {
            let error = self.wrong("trace", "skew is not a number");
            return Err(error.found(alpha).allowed("finite numbers"));
        }
        if let TraceSource::File(file) = &spec.trace
            && !(file.time_scale > 0.0 && file.time_scale.is_finite())
        {
            let error = self.wrong("time_scale", "out of range").found(file.time_scale);
            return Err(error.allowed("a number above 0"));
        }
        if let (TraceSource::File(file), AnsweredItems::Asked) = (&spec.trace, spec.answers) {
            return Err(self
                .wrong("answers", "items of a trace file are replayed whole")
                .found(format!("\"asked\" and the trace {}", file.path.display()))
                .allowed("\"whole\", or a synthesised trace"));
        }
        let whole = |method: &MethodSpec| method.whole_prompt;
        if let Some(pair) = spec.methods.windows(2).find(|pair| whole(&pair[0]) != whole(&pair[1]))
        {
            return Err(self
                .wrong("whole_prompt", "differs between methods")
                .found(format!("methods {} and {}", pair[0].name, pair[1].name))
                .allowed("one for all: they are asked the same prompts"));
        }
        self.check_names("trace", alphas.iter().map(|alpha| (alpha + 0.0).to_string()))?;
        self.check_names("methods", spec.methods.iter().map(|method| method.name.clone()))?;
        self.check_against()?;
        self.check_names("devices", spec.devices.iter().map(DeviceSpec::to_string))?;
        self.check_file_names()
    }

    /// Whether nothing is replayed.
    #[must_use]
    pub fn is_figures_alone(&self) -> bool {
        let ExperimentSpec { figures, methods, devices, trace, .. } = &self.spec;
        let runs = !methods.is_empty() || !devices.is_empty() || *trace != TraceSource::default();
        !figures.is_empty() && !runs
    }

    /// Checks that there is a method of the name that others are compared against.
    fn check_against(&self) -> Result<()> {
        let methods: Vec<&str> = self.spec.methods.iter().map(|one| one.name.as_str()).collect();
        match &self.spec.against {
            Some(name) if !methods.contains(&name.as_str()) => {
                let error = self.wrong("against", "no such method").found(format!("\"{name}\""));
                Err(error.allowed(methods.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// Checks that there are names, and that none appears twice.
    fn check_names(&self, key: &str, names: impl Iterator<Item = String>) -> Result<()> {
        let mut seen = Vec::new();
        for name in names {
            if seen.contains(&name) {
                return Err(self.wrong(key, "appears twice").found(format!("\"{name}\"")));
            }
            seen.push(name);
        }
        if seen.is_empty() {
            return Err(self.wrong(key, "none given").allowed("one or more"));
        }
        Ok(())
    }

    /// Checks that every name that becomes part of a file name can.
    fn check_file_names(&self) -> Result<()> {
        let methods = self.spec.methods.iter().map(|method| ("methods", &method.name));
        let models = |device: &'_ DeviceSpec| {
            [("latency_of", device.latency_of.clone()), ("base_model", device.base_model.clone())]
        };
        let models: Vec<_> = self.spec.devices.iter().flat_map(models).collect();
        let models = models.iter().map(|(key, name)| (*key, name));
        methods.chain(models).try_for_each(|(key, name)| {
            names::check(name, || self.wrong(key, "name cannot be part of a file name"))
        })
    }

    fn wrong(&self, key: &str, problem: &str) -> Error {
        Error::file(&self.path, problem).at(format!("key \"{key}\""))
    }
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dir, latency_of, base_model, .. } = self;
        write!(f, "{} with latencies of {latency_of}, answers of {base_model}", dir.display())
    }
}
