//! `pliant check`: does a run fall behind a baseline?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use pliant::Result;
use pliant::check::{
    Baseline, RunResults, Tolerances, compare, comparison_markdown, comparison_text, explain,
    github_annotations, junit_xml,
};

use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results folder of the run, with metrics.csv, seeds.csv.gz and manifest.toml
    dir: PathBuf,
    /// The metrics.csv to compare with, with what is beside it; or git:REF, for the
    /// experiment's folder in results/ as committed there, or git:REF:FOLDER
    #[arg(long, value_name = "FILE|git:REF")]
    baseline: String,
    /// What may get worse by how much [default: 0.5 points of every share, 5 % of every time]
    #[arg(long, value_name = "FILE")]
    tolerances: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print every change as JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What moved, for a terminal
    Text,
    /// One test case for each measure at each point
    Junit,
    /// Annotations of GitHub's workflows
    Github,
    /// What moved, in Markdown
    Md,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let tolerances =
        args.tolerances.as_deref().map_or(Ok(Tolerances::default()), Tolerances::load)?;
    let now = RunResults::load(&args.dir.join("metrics.csv"))?;
    let baseline = Baseline::from(args.baseline.as_str()).load(&now.manifest.experiment)?;
    let mut comparison = compare(&now, &baseline, &tolerances)?;
    explain(&mut comparison, &now, &baseline)?;
    let text = if args.json {
        serde_json::to_string_pretty(&comparison).expect("changes are plain values")
    } else {
        match args.format {
            Format::Text => comparison_text(&comparison),
            Format::Junit => junit_xml(&comparison),
            Format::Github => github_annotations(&comparison),
            Format::Md => comparison_markdown(&comparison),
        }
    };
    print_line(text.trim_end())?;
    Ok(if comparison.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
