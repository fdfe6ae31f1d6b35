//! `pliant trace`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use pliant::Result;
use pliant::experiment::item_pools;
use pliant::trace::{LevelOrder, Range, Summary, SynthSpec, Trace, synthesize};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a trace of the study's six apps
    Synth(SynthArgs),
    /// Show what a trace holds
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct SynthArgs {
    /// Skew of the SLO levels: the app of level i makes a share ∝ e^(alpha·i) of the requests
    #[arg(long, default_value_t = SynthSpec::default().alpha, allow_negative_numbers = true)]
    alpha: f64,
    /// How many requests
    #[arg(long, default_value_t = SynthSpec::default().requests)]
    requests: u32,
    /// Rate of the Poisson arrivals, all apps together
    #[arg(long, default_value_t = SynthSpec::default().arrivals_per_hour)]
    rate_per_hour: f64,
    /// Which app is level 1: the tightest (paper) or the most relaxed (artifact)
    #[arg(
        long,
        default_value = "paper",
        value_parser = PossibleValuesParser::new(["paper", "artifact"]).map(|name| {
            if name == "paper" { LevelOrder::Paper } else { LevelOrder::Artifact }
        })
    )]
    level_order: LevelOrder,
    /// Tokens to generate, for every request
    #[arg(long, default_value_t = SynthSpec::default().output_tokens)]
    output_tokens: u32,
    /// Seed of shuffle, arrivals and items
    #[arg(long, default_value_t = SynthSpec::default().seed)]
    seed: u64,
    /// Prompt lengths of the items to draw from, such as structured.tokens.csv
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// The trace to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The trace to read
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Synth(args) => synth(&args),
        Command::Show(args) => show(&args),
    }
}

fn synth(args: &SynthArgs) -> Result<ExitCode> {
    let spec = SynthSpec {
        requests: args.requests,
        alpha: args.alpha,
        level_order: args.level_order,
        arrivals_per_hour: args.rate_per_hour,
        output_tokens: args.output_tokens,
        seed: args.seed,
    };
    let trace = synthesize(&spec, &item_pools(&args.items)?)?;
    trace.write_csv(&args.out)?;
    println!("{}: {} requests", args.out.display(), trace.requests.len());
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ShowArgs) -> Result<ExitCode> {
    let summary = Trace::read_csv(&args.file)?.summary();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary).expect("a summary is plain data"));
    } else {
        print!("{}", describe(&summary));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(summary: &Summary) -> String {
    let mut text = String::new();
    for line in &summary.provenance {
        text.extend(["# ", line, "\n"]);
    }
    let hours = |ms: f64| format!("{:.2} h", ms / 3.6e6);
    let minutes = |ms: f64| format!("{:.2} min", ms / 6e4);
    let range = |range: Range| format!("{}–{}, mean {:.1}", range.min, range.max, range.mean);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    for (label, value) in [
        ("requests", summary.requests.to_string()),
        ("span", or_none(summary.span_ms.map(hours))),
        ("mean gap", or_none(summary.mean_gap_ms.map(minutes))),
        ("prompt tokens", or_none(summary.prompt_tokens.map(range))),
        ("output tokens", or_none(summary.output_tokens.map(range))),
    ] {
        text.push_str(format!("{label:14} {value}").trim_end());
        text.push('\n');
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["app", "TTFT", "TPOT", "dataset", "requests"]);
    for group in &summary.groups {
        let requests = group.requests.to_string();
        table.add_row([&group.app, &group.ttft, &group.tpot, &group.dataset, &requests]);
    }
    for column in [1, 2, 4] {
        table.column_mut(column).expect("five columns").set_cell_alignment(CellAlignment::Right);
    }
    text + "\n" + &table.trim_fmt() + "\n"
}
