//! `pliant sweep`: an experiment over any of its numbers.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pliant::Result;
use pliant::experiment::Experiment;
use pliant::metrics::SweepRow;
use pliant::results::{Failure, failed_in_words};
use pliant::search::{Combine, SweepSpec, Swept, sweep};

use super::bar::Bar;
use super::output::{print_json, print_line, say};
use super::search_args::{SearchArgs, describe_counts};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    search: SearchArgs,
    /// A number of the experiment file and its values: KEY=V1,V2,… or KEY=from:to:step, KEY being a
    /// dotted path such as `trace.arrivals_per_hour` or `methods.elastilm.margin`; may be repeated
    #[arg(long, value_name = "KEY=VALUES", required = true)]
    set: Vec<Swept>,
    /// Take the keys' values side by side, and not each with each
    #[arg(long)]
    list: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.search.experiment)?;
    let out = args.search.out(&experiment, "sweep");
    let cache = args.search.run_cache()?;
    let bar = Bar::new("runs");
    let combine = if args.list { Combine::List } else { Combine::Grid };
    let spec = SweepSpec { combine, set: args.set };
    let options = args.search.options(&out, &bar, &cache);
    let found = sweep(&experiment, &spec, &options)?;
    bar.clear();
    if args.search.json {
        let rows: Vec<_> = found.rows.iter().map(|row| json(&spec, row)).collect();
        print_json(&rows)?;
    } else {
        print_line(found.text.as_deref().unwrap_or_default().trim_end())?;
        let counts = describe_counts(&cache, &experiment)?;
        print_line(format!("\nwritten to {}: {counts}", out.display()))?;
    }
    for failure in failed_at_first(&found.failures) {
        say(format!("pliant: {failure}"));
    }
    Ok(if found.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What failed, a line per method: at the first of its points, and at how many more.
fn failed_at_first(failures: &[(String, Failure)]) -> Vec<String> {
    let mut points: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (settings, failure) in failures {
        let of_method = points.entry(&failure.method).or_default();
        if of_method.last() != Some(&settings.as_str()) {
            of_method.push(settings);
        }
    }
    let line = |(method, points): (&str, Vec<&str>)| {
        let at_first =
            failures.iter().filter(|(at, failure)| at == points[0] && failure.method == method);
        let at_first: Vec<_> = at_first.map(|(_, failure)| failure.clone()).collect();
        let text = format!("{}: {}", points[0], failed_in_words(&at_first).join(""));
        match points.len() - 1 {
            0 => text,
            others => format!("{text}; the same method failed at {others} more points"),
        }
    };
    points.into_iter().map(line).collect()
}

/// The settings under `set`, beside the measures.
fn json(spec: &SweepSpec, SweepRow { settings, row }: &SweepRow) -> serde_json::Value {
    let keys = spec.set.iter().map(|swept| swept.key.clone());
    let set: serde_json::Map<_, _> = keys.zip(settings.iter().map(|&value| value.into())).collect();
    let mut object = serde_json::to_value(row).expect("rows are plain values");
    object["set"] = set.into();
    object
}
