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
use pliant::method::{Method, MethodSpec, PolicySpec, Replayed, standard_methods};
use pliant::metrics::{AskedItems, CellLabel, MetricsRow, PairedRow, RunMeasures};
use pliant::plan::Plan;
use pliant::policy::{Menu, Policy, ServiceView};
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
    menu: Menu,
}

impl Policy for Frugal {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        let accuracy = |candidate| choices.expected_accuracy(candidate).unwrap_or(0.0);
        let in_time: Vec<_> = choices.feasible(choices.candidates()).collect();
        let best = in_time.iter().map(|(candidate, _)| accuracy(candidate)).max_by(f64::total_cmp);
        let enough = best.map_or(0.0, |best| best - SLACK);
        let nearly_best = in_time.iter().filter(|(candidate, _)| accuracy(candidate) >= enough);
        let lightest = nearly_best.min_by_key(|(_, forecast)| forecast.total());
        // Nothing is in time: miss by as little as can be.
        let least_late = || choices.least_late(choices.candidates());
        lightest.map_or_else(least_late, |(candidate, _)| candidate.plan)
    }
}

/// Both policies on the same traces, and what one gains over the other.
///
/// # Errors
/// If the committed profiles below `root` cannot be read.
pub fn compare(root: &Path) -> Result<String> {
    let device = DeviceProfile::load(&root.join(DEVICE))?;
    let by_table = |method: &MethodSpec| method.policy == PolicySpec::ElasticProfile {};
    let spec = standard_methods()
        .into_iter()
        .find(by_table)
        .ok_or_else(|| pliant::Error::new("standard methods", "none chooses by the table alone"))?;
    let quality = root.join(QUALITY);
    let (counted, replayed) = (Counted::First, Replayed::Whole);
    let method = Method::new(&device, MODEL, MODEL, &quality, counted, &spec, replayed)?;
    // Items of the replay half that every plan has an answer to, of datasets that have any.
    let mut pools = item_pools(&quality.join(MODEL).join("structured.tokens.csv"))?;
    for pool in &mut pools {
        pool.items.retain(|pooled| method.knows(&pool.dataset, pooled.item));
    }
    pools.retain(|pool| !pool.items.is_empty());
    let traces: Vec<Trace> = (0..SEEDS)
        .map(|seed| synthesize(&SynthSpec { seed, ..SynthSpec::default() }, &pools))
        .collect::<Result<_>>()?;
    let (mut own, mut built_in) = (Vec::new(), Vec::new());
    for (seed, trace) in (0..SEEDS).zip(&traces) {
        own.push(run(&method, trace, &mut Frugal { menu: method.menu(trace)? })?);
        built_in.push(run(&method, trace, method.policy(trace, seed)?.as_mut())?);
    }
    let label = |name: &str| CellLabel {
        method: name.to_owned(),
        alpha: 0.0,
        device: device.name.clone(),
        latency_of: MODEL.to_owned(),
        base_model: MODEL.to_owned(),
        provenance: format!("latency {}, answers measured", method.latency_provenance().label()),
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
fn run(method: &Method, trace: &Trace, policy: &mut dyn Policy) -> Result<RunMeasures> {
    let mut executor = method.cost_model(trace)?;
    let mut outcomes = Vec::new();
    let (requests, bounds) = (&trace.requests, method.bounds(trace)?);
    let service = ServiceOptions::default();
    replay(requests, &bounds, policy, &mut executor, &service, &mut outcomes)?;
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
        Contract::new(|menu, _trace, _seed| Ok(Box::new(Frugal { menu })))
    );
}
