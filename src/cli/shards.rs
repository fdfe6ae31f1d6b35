//! `pliant plan`, `pliant merge`: an experiment on many machines.

use std::path::PathBuf;
use std::process::ExitCode;

use pliant::Result;
use pliant::experiment::{Experiment, Merging, ShardPlan, ShardSize, merge, shard_plan};

use super::bar::Bar;
use super::output::Form;
use super::run::print_results;

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The experiment file
    experiment: PathBuf,
    /// How many shards
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    shards: u32,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// Folders of shards of one plan, as `pliant run --shard` left them
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Results folder [default: results/<name of the experiment file>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace results of another experiment, too
    #[arg(long)]
    force: bool,
    /// Print the rows as JSON and draw nothing
    #[arg(long)]
    json: bool,
}

/// Prints how an experiment is divided.
pub fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.experiment)?;
    let plan = shard_plan(&experiment, args.shards)?;
    let text = described(&plan, &args.experiment.display().to_string());
    Form::of(args.json).one(&plan, text)?;
    Ok(ExitCode::SUCCESS)
}

fn described(plan: &ShardPlan, file: &str) -> String {
    let ShardPlan { experiment, plan, shards, .. } = plan;
    let of = shards.len();
    let mut lines = vec![format!("{experiment}: plan {}, {of} shards", &plan[..12])];
    for (nth, ShardSize { runs, requests }) in shards.iter().enumerate() {
        let nth = nth + 1;
        lines.push(format!(
            "pliant run {file} --shard {nth}/{of}   # {runs} runs, {requests} requests"
        ));
    }
    lines.push(format!("pliant merge results/{experiment}.shards"));
    lines.join("\n")
}

/// Puts shards together.
pub fn merge_shards(args: &MergeArgs) -> Result<ExitCode> {
    let bar = Bar::new("requests");
    let merging = Merging { out: args.out.as_deref(), force: args.force, draw: !args.json };
    let results = merge(&args.folders, merging, &bar)?;
    bar.clear();
    print_results(&results, &results.place)?;
    Ok(ExitCode::SUCCESS)
}
