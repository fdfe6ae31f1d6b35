//! What the cases replay: the study's methods on a measured device, under load.

use std::hint::black_box;
use std::path::Path;

use pliant::Result;
use pliant::experiment::{Experiment, ExperimentSpec, TraceSource, item_pools};
use pliant::method::{Method, MethodSpec, PolicySpec, Replayed};
use pliant::outcome::Execution;
use pliant::profile::DeviceProfile;
use pliant::sim::Ledger;
use pliant::trace::{CallStream, Columns, ItemPool, Kinds, SynthSpec};

/// Whose methods, device and items.
const EXPERIMENT: &str = "experiments/paper-e2e.toml";

/// A rate at which the first device of [`EXPERIMENT`] is busy most of the time.
const ARRIVALS_PER_HOUR: f64 = 3600.0;

/// Requests of the study's apps, and the methods that are asked.
pub struct Scene {
    pub kinds: Kinds,
    pub columns: Columns,
    pub methods: Vec<Method>,
    /// By kind: how long the base model takes, in ns.
    services: Vec<u64>,
    pub pools: Vec<ItemPool>,
    pub synth: SynthSpec,
}

impl Scene {
    pub fn new(requests: u32) -> Result<Self> {
        let spec = study()?;
        let TraceSource::Synth(source) = &spec.trace else { panic!("the study synthesises") };
        let methods: Vec<Method> =
            more_methods(&spec.methods).iter().map(Self::assembled).collect::<Result<_>>()?;
        let mut pools = item_pools(&source.items)?;
        for ItemPool { dataset, items } in &mut pools {
            items.retain(|one| methods.iter().all(|method| method.knows(dataset, one.item)));
        }
        pools.retain(|pool| !pool.items.is_empty());
        let synth =
            SynthSpec { requests, arrivals_per_hour: ARRIVALS_PER_HOUR, ..source.spec(0.0, 1) };
        let (kinds, mut calls) = CallStream::new(&synth, &pools)?;
        let columns = Columns::of(calls.by_ref());
        calls.finish()?;
        let mut scene = Self { kinds, columns, methods, services: Vec::new(), pools, synth };
        scene.services = scene.services_of_full();
        Ok(scene)
    }

    /// A method on the study's first device.
    pub fn assembled(method: &MethodSpec) -> Result<Method> {
        let spec = study()?;
        let device = &spec.devices[0];
        let profile = DeviceProfile::load(&device.dir)?;
        let (model, latency) = (&device.base_model, &device.latency_of);
        let (quality, counted) = (&spec.quality, spec.api_calls);
        Method::new(&profile, model, latency, quality, counted, method, Replayed::Whole)
    }

    /// The method of this name.
    pub fn method(&self, name: &str) -> &Method {
        let mut methods = self.methods.iter();
        methods.find(|method| method.spec().name == name).expect("it is a method of the scene")
    }

    /// An empty ledger of a method.
    pub fn ledger(&self, method: &Method) -> Ledger<'_> {
        let all = self.kinds.as_trace();
        let (policy, executor) = method.players(all, 1).expect("methods know all items");
        let bounds = method.bounds(all).expect("no objective is on energy");
        let ledger = Ledger::new(&all.requests, bounds, policy, Box::new(executor));
        ledger.expect("the policy draws nothing")
    }

    fn services_of_full(&self) -> Vec<u64> {
        let all = self.kinds.as_trace();
        let executor = self.method("full").cost_model(all).expect("it knows all items");
        let takes = |execution: Execution| execution.until_first_token() + execution.decode;
        all.requests
            .iter()
            .map(|request| {
                let bill = executor.bill(request, pliant::plan::Plan::FULL, None);
                takes(bill.expect("every method has the base model")).as_nanos() as u64
            })
            .collect()
    }

    /// The limit: Lindley's recursion with the base model's service of each kind.
    pub fn lindley(&self) {
        let (mut free, mut waited) = (0_u64, 0_u64);
        for (arrival, kind) in self.columns.calls() {
            let start = free.max(arrival.as_nanos());
            waited = waited.wrapping_add(start - arrival.as_nanos());
            free = start + self.services[kind as usize];
        }
        black_box((free, waited));
    }
}

fn study() -> Result<ExperimentSpec> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::set_current_dir(root).expect("the repository is there");
    Ok(Experiment::load(Path::new(EXPERIMENT))?.spec)
}

/// The methods of the study, the base model alone, and one that counts the wait.
fn more_methods(study: &[MethodSpec]) -> Vec<MethodSpec> {
    let table = study.iter().find(|method| method.policy == PolicySpec::ElasticProfile {});
    let table = table.expect("the study's comparison has a table").clone();
    let full = MethodSpec {
        name: "full".into(),
        compressor: None,
        quality_family: None,
        family: pliant::family::Family::Width.into(),
        policy: PolicySpec::Full {},
        ..table.clone()
    };
    let waiting = MethodSpec { name: format!("{}+wait", table.name), counts_wait: true, ..table };
    study.iter().cloned().chain([full, waiting]).collect()
}
