//! Real runs on the engine, one model per family however many runs ask for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pliant::assets::{BaseModel, Package};
use pliant::engine::EngineOptions;
use pliant::executor::engine::EngineExecutor;
use pliant::executor::shared_head::SharedHead;
use pliant::experiment::{Experiment, RealRun};
use pliant::family::Family;
use pliant::method::Method;
use pliant::model::ElasticModel;
use pliant::policy::LiveHead;
use pliant::prompt::{Compressor, DataPaths, Dataset};
use pliant::trace::Trace;
use pliant::{Error, Result};

use super::base_model::BaseModelArgs;
use super::engine_args::EngineArgs;
use super::tlm_decision::trained_head;

/// What the engine's runs share.
pub struct EngineRuns {
    base_model: &'static BaseModel,
    arguments: EngineArgs,
    data: DataPaths,
    models: BTreeMap<Family, Rc<RefCell<ElasticModel>>>,
    datasets: BTreeMap<String, Rc<Dataset>>,
}

impl EngineRuns {
    /// Models are opened and datasets read when a run needs them. `threads` 0 is all cores.
    ///
    /// # Errors
    /// If the experiment's answers are not those of one base model that is known by name.
    pub fn new(experiment: &Experiment, threads: usize, data: DataPaths) -> Result<Self> {
        let base_model = base_model(experiment)?;
        let base = BaseModelArgs::named(base_model.name);
        let threads = (threads > 0).then_some(threads);
        Ok(Self {
            base_model,
            arguments: EngineArgs { base, elastic: None, threads },
            data,
            models: BTreeMap::new(),
            datasets: BTreeMap::new(),
        })
    }

    /// What a manifest says of the engine.
    pub fn describe(&self) -> BTreeMap<String, String> {
        let runtime = Package::OnnxRuntime.spec();
        BTreeMap::from([
            ("model".to_owned(), self.base_model.origin()),
            ("runtime".to_owned(), format!("{} {}", runtime.name, runtime.version)),
            ("threads".to_owned(), self.arguments.threads().to_string()),
        ])
    }

    /// What one run needs.
    pub fn run(&mut self, method: &Method, trace: &Trace) -> Result<RealRun> {
        let spec = method.spec();
        let place = format!("method {}", spec.name);
        let family = spec.family.known().ok_or_else(|| {
            Error::new(&place, "family that the engine does not run")
                .found(&spec.family)
                .allowed(Family::names())
        })?;
        let compressor: Option<Compressor> = match &spec.compressor {
            None => None,
            Some(name) => Some(super::by_name(name).map_err(|cause| {
                Error::new(place, "unknown compressor").found(name).caused_by(cause)
            })?),
        };
        for name in &trace.datasets {
            if !self.datasets.contains_key(name) {
                self.datasets.insert(name.clone(), Rc::new(self.data.load(name)?));
            }
        }
        let model = self.model(family)?;
        let stored = method.head_sha256();
        let open = |name: &str| {
            let head = trained_head(self.base_model.name, name)?;
            SharedHead::open(&head, stored, trace, &self.datasets)
        };
        let head = spec.policy.decisions().map(open).transpose()?;
        let executor = EngineExecutor::new(
            model,
            &self.datasets,
            compressor,
            head.clone(),
            method.answers().counted(),
            trace,
        )?;
        let head = head.map(|head| Box::new(head) as Box<dyn LiveHead>);
        Ok(RealRun { executor: Box::new(executor), head })
    }

    fn model(&mut self, family: Family) -> Result<Rc<RefCell<ElasticModel>>> {
        if let Some(model) = self.models.get(&family) {
            return Ok(Rc::clone(model));
        }
        let model = self.arguments.open(family.name(), EngineOptions::default())?;
        let found = model.identity().base_model;
        let name = self.base_model.name;
        if found != name {
            return Err(Error::new(format!("family {family}"), "of another base model")
                .found(found)
                .allowed(format!("{name}, whose prompts and heads the run has")));
        }
        let model = Rc::new(RefCell::new(model));
        self.models.insert(family, Rc::clone(&model));
        Ok(model)
    }
}

/// The base model whose answers `experiment` is about.
fn base_model(experiment: &Experiment) -> Result<&'static BaseModel> {
    let place = |error: Error| error.at(format!("experiment {}", experiment.name));
    let names: BTreeSet<&str> =
        experiment.spec.devices.iter().map(|device| device.base_model.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [name] => BaseModel::named(name).map_err(place),
        _ => Err(place(
            Error::new("devices", "of several base models")
                .found(names.join(", "))
                .allowed("one base model in a real run"),
        )),
    }
}
