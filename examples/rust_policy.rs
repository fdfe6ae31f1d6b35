//! A policy of your own in Rust, from its rule to a row beside `elastic-profile`:
//!
//! ```sh
//! cargo run --release --example rust_policy
//! ```
//!
//! Copy this file, change the rule, keep the last line. To name the policy in experiment files it
//! has to become one of Pliant's own: six steps, in the documentation of `pliant::policy`.

use std::path::Path;

use pliant::Result;
use pliant::experiment::item_pools;
use pliant::metrics::{AskedItems, CellLabel, MetricsRow, PairedRow, RunMeasures};
use pliant::plan::Plan;
use pliant::policy::{Annotations, Candidate, Forecast, MethodSpec, Policy, PolicySpec};
use pliant::policy::{Replayed, Scene, ServiceView, standard_methods};
use pliant::profile::{Counted, DeviceProfile};
use pliant::report::{differences_table, metrics_table};
use pliant::request::RequestView;
use pliant::sim::{ServiceOptions, replay};
use pliant::trace::{SynthSpec, Trace, synthesize};

/// Accuracy that is given up for a lighter plan.
const SLACK: f64 = 0.02;
const SEEDS: u64 = 5;
const DEVICE: &str = "device-profiles/epyc-zen5-2core";
const MODEL: &str = "smollm2-135m-instruct";
const QUALITY: &str = "device-profiles/quality";

/// Of the plans that will be in time, the lightest whose expected accuracy is within `SLACK` of the
/// best one's: nearly as right, and sooner free for the next request.
#[derive(Debug)]
struct Frugal {
    /// Candidates, their times, their accuracies on estimate items.
    scene: Scene,
    /// Lengths of the trace's requests, by id.
    facts: Annotations,
    datasets: Vec<String>,
}

impl Frugal {
    fn new(scene: &Scene, trace: &Trace) -> Result<Self> {
        let (scene, facts) = (scene.clone(), scene.annotate(trace)?);
        Ok(Self { scene, facts, datasets: trace.datasets.clone() })
    }
}

impl Policy for Frugal {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let facts = self.facts.get(request.id()).expect("asked about the trace it was made for");
        let dataset = &self.datasets[usize::from(request.dataset().0)];
        let bounds = request.bounds();
        let forecast =
            |candidate: &Candidate| self.scene.forecast(candidate, facts, service.resident);
        let accuracy =
            |candidate: &Candidate| self.scene.expected_accuracy(candidate, dataset).unwrap_or(0.0);
        let all = self.scene.candidates().iter().map(|candidate| (candidate, forecast(candidate)));
        let all: Vec<(&Candidate, Forecast)> = all.collect();
        let in_time = all.iter().filter(|(_, forecast)| forecast.meets(bounds));
        let best = in_time.clone().map(|(candidate, _)| accuracy(candidate)).max_by(f64::total_cmp);
        let chosen = match best {
            Some(best) => in_time
                .filter(|(candidate, _)| accuracy(candidate) >= best - SLACK)
                .min_by_key(|(_, forecast)| forecast.total()),
            // Nothing is in time: miss by as little as can be.
            None => all.iter().min_by(|(_, a), (_, b)| a.load(bounds).total_cmp(&b.load(bounds))),
        };
        chosen.expect("a scene has candidates").0.plan
    }
}

/// Both policies on the same traces, and what one gains over the other.
///
/// # Errors
/// If the committed profiles below `root` cannot be read.
pub fn compare(root: &Path) -> Result<String> {
    let device = DeviceProfile::load(&root.join(DEVICE))?;
    let by_table = |method: &MethodSpec| method.policy == PolicySpec::ElasticProfile {};
    let method = standard_methods()
        .into_iter()
        .find(by_table)
        .ok_or_else(|| pliant::Error::new("standard methods", "none chooses by the table alone"))?;
    let quality = root.join(QUALITY);
    let (counted, replayed) = (Counted::First, Replayed::Whole);
    let scene = Scene::new(&device, MODEL, MODEL, &quality, counted, &method, replayed)?;
    // Items of the replay half that every plan has an answer to, of datasets that have any.
    let mut pools = item_pools(&quality.join(MODEL).join("structured.tokens.csv"))?;
    for pool in &mut pools {
        pool.items.retain(|pooled| scene.knows(&pool.dataset, pooled.item));
    }
    pools.retain(|pool| !pool.items.is_empty());
    let traces: Vec<Trace> = (0..SEEDS)
        .map(|seed| synthesize(&SynthSpec { seed, ..SynthSpec::default() }, &pools))
        .collect::<Result<_>>()?;
    let (mut own, mut built_in) = (Vec::new(), Vec::new());
    for (seed, trace) in (0..SEEDS).zip(&traces) {
        own.push(run(&scene, trace, &mut Frugal::new(&scene, trace)?)?);
        built_in.push(run(&scene, trace, scene.policy(trace, seed)?.as_mut())?);
    }
    let label = |method: &str| CellLabel {
        method: method.to_owned(),
        alpha: 0.0,
        device: device.name.clone(),
        latency_of: MODEL.to_owned(),
        base_model: MODEL.to_owned(),
        provenance: format!("latency {}, answers measured", scene.latency_provenance().label()),
    };
    let asked = AskedItems::of(&traces.iter().map(Trace::asked).collect::<Vec<_>>());
    let rows = [
        MetricsRow::of(&label("frugal"), &own, &asked),
        MetricsRow::of(&label("elastic-profile"), &built_in, &asked),
    ];
    let gain = PairedRow::of(&label("frugal"), &own, "elastic-profile", &built_in, &asked);
    Ok(format!("{}\n{}", metrics_table(&rows), differences_table(&[gain])))
}

/// One replication.
fn run(scene: &Scene, trace: &Trace, policy: &mut dyn Policy) -> Result<RunMeasures> {
    let mut executor = scene.executor(trace)?;
    let mut outcomes = Vec::new();
    let (requests, bounds) = (&trace.requests, scene.bounds(trace)?);
    let service = ServiceOptions::default();
    replay(requests, &bounds, policy, executor.as_mut(), &service, &mut outcomes)?;
    Ok(RunMeasures::of(&outcomes))
}

/// Prints the comparison.
#[expect(clippy::print_stdout, reason = "what an example is for")]
fn main() -> Result<()> {
    println!("{}", compare(Path::new("."))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Frugal;

    pliant::policy_contract!(
        frugal,
        Contract::new(|scene, trace, _seed| Ok(Box::new(Frugal::new(scene, trace)?)))
    );
}
