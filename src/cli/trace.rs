//! `pliant trace`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use pliant::experiment::item_pools;
use pliant::trace::export::{ExportFormat, export};
use pliant::trace::import::{Format, ImportSpec, Imported, ItemRule, Warning, import};
use pliant::trace::{
    Arrivals, LevelOrder, Objective, Range, Summary, SynthSpec, Trace, synthesize,
};
use pliant::{Error, Result};

use super::by_name;
use super::output::{print_json, print_line, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a trace of the study's six apps
    Synth(SynthArgs),
    /// Make a trace of another project's trace
    Import(Box<ImportArgs>),
    /// Write a trace for another tool
    Export(ExportArgs),
    /// Show what a trace holds
    Show(ShowArgs),
}

/// The mix of the six apps.
#[derive(Debug, clap::Args)]
struct MixArgs {
    /// Skew of the SLO levels: the app of level i makes a share ∝ e^(alpha·i) of the requests
    #[arg(long, default_value_t = SynthSpec::default().alpha, allow_negative_numbers = true)]
    alpha: f64,
    /// Which app is level 1: the tightest (paper) or the most relaxed (artifact)
    #[arg(
        long,
        default_value = "paper",
        value_parser = PossibleValuesParser::new(["paper", "artifact"]).map(|name| {
            if name == "paper" { LevelOrder::Paper } else { LevelOrder::Artifact }
        })
    )]
    level_order: LevelOrder,
}

#[derive(Debug, clap::Args)]
struct SynthArgs {
    #[command(flatten)]
    mix: MixArgs,
    /// What the apps bound: TTFT and TPOT, end-to-end time, or energy
    #[arg(
        long,
        default_value = "latency",
        value_parser = PossibleValuesParser::new(
            [Objective::Latency, Objective::EndToEnd, Objective::Energy].map(Objective::name)
        )
        .try_map(|name| by_name::<Objective>(&name))
    )]
    objective: Objective,
    /// How many requests
    #[arg(long, default_value_t = SynthSpec::default().requests)]
    requests: u32,
    /// Mean rate of the arrivals, all apps together
    #[arg(long, default_value_t = SynthSpec::default().arrivals_per_hour)]
    rate_per_hour: f64,
    #[arg(
        long,
        value_name = "KIND",
        default_value = "poisson",
        help = "How arrivals are spread: poisson, gamma:cv=2, weibull:shape=0.7, \
                diurnal:amplitude=0.8,peak_hour=14, bursts:size=5,within_s=2"
    )]
    arrivals: Arrivals,
    /// Tokens to generate, for every request
    #[arg(long, default_value_t = SynthSpec::default().output_tokens)]
    output_tokens: u32,
    /// Seed of shuffle, arrivals and items
    #[arg(long, default_value_t = SynthSpec::default().seed)]
    seed: u64,
    /// Prompt lengths of the items to draw from, such as structured.tokens.csv
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// The trace to write; in columns if its name ends in .plt, else CSV
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The file to read
    file: PathBuf,
    /// What it is written as
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name))
            .try_map(|name| by_name::<Format>(&name))
    )]
    format: Format,
    /// Multiply times: 0.5 doubles the load
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// Multiply prompt and output lengths
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    length_scale: f64,
    /// Take the earliest requests only
    #[arg(long, value_name = "REQUESTS")]
    limit: Option<usize>,
    /// How prompts are found: one of the items nearest in length, or one of an app drawn from the
    /// study's mix
    #[arg(long, default_value = "nearest-length", value_parser = ["nearest-length", "app-mix"])]
    prompts: String,
    /// How many items are near
    #[arg(long, default_value_t = 10)]
    neighbours: u32,
    #[command(flatten)]
    mix: MixArgs,
    /// Mean rate of arrivals, for a file without times [default: 5]
    #[arg(long)]
    rate_per_hour: Option<f64>,
    /// How they are spread, as for synth [default: poisson]
    #[arg(long, value_name = "KIND")]
    arrivals: Option<Arrivals>,
    /// Tokens to generate, for a file that does not say [default: 16]
    #[arg(long)]
    output_tokens: Option<u32>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Prompt lengths of the items to draw from; a native trace has its own
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// The trace to write; in columns if its name ends in .plt, else CSV
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result and its warnings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The trace to read
    file: PathBuf,
    /// What to write
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(ExportFormat::ALL.map(ExportFormat::name))
            .try_map(|name| by_name::<ExportFormat>(&name))
    )]
    format: ExportFormat,
    /// The file to write
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
        Command::Import(args) => import_file(&args),
        Command::Export(args) => export_file(&args),
        Command::Show(args) => show(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn synth(args: &SynthArgs) -> Result<()> {
    let spec = SynthSpec {
        requests: args.requests,
        alpha: args.mix.alpha,
        level_order: args.mix.level_order,
        objective: args.objective,
        arrivals_per_hour: args.rate_per_hour,
        arrivals: args.arrivals,
        output_tokens: args.output_tokens,
        seed: args.seed,
    };
    let trace = synthesize(&spec, &item_pools(&args.items)?)?;
    trace.write(&args.out)?;
    print_line(format!("{}: {} requests", args.out.display(), trace.requests.len()))
}

impl ImportArgs {
    fn spec(&self) -> Result<ImportSpec> {
        let untimed = self.format == Format::ElastilmJson;
        for (option, given) in [
            ("--rate-per-hour", self.rate_per_hour.is_some()),
            ("--arrivals", self.arrivals.is_some()),
            ("--output-tokens", self.output_tokens.is_some()),
        ] {
            if given && !untimed {
                return Err(Error::new(option, "only for a file without times and lengths")
                    .found(format!("--format {}", self.format.name()))
                    .allowed("--format elastilm-json"));
            }
        }
        let items = match self.prompts.as_str() {
            "app-mix" => ItemRule::AppMix {},
            _ => ItemRule::NearestLength { neighbours: self.neighbours },
        };
        let default = ImportSpec::new(self.format);
        Ok(ImportSpec {
            time_scale: self.time_scale,
            length_scale: self.length_scale,
            limit: self.limit,
            items,
            alpha: self.mix.alpha,
            level_order: self.mix.level_order,
            arrivals: self.arrivals.unwrap_or(default.arrivals),
            arrivals_per_hour: self.rate_per_hour.unwrap_or(default.arrivals_per_hour),
            output_tokens: self.output_tokens.unwrap_or(default.output_tokens),
            seed: self.seed,
            ..default
        })
    }
}

fn import_file(args: &ImportArgs) -> Result<()> {
    let pools = match &args.items {
        Some(path) => item_pools(path)?,
        None if args.format == Format::Native => Vec::new(),
        None => {
            return Err(Error::new("--items", "missing: the format has no prompts")
                .allowed("a file of prompt lengths, such as structured.tokens.csv"));
        }
    };
    let Imported { trace, warnings } = import(&args.file, &args.spec()?, &pools)?;
    trace.write(&args.out)?;
    if args.json {
        let result = serde_json::json!({
            "file": args.out, "requests": trace.requests.len(), "warnings": warnings,
        });
        return print_json(&result);
    }
    print_line(format!("{}: {} requests", args.out.display(), trace.requests.len()))?;
    print_warnings(&warnings);
    Ok(())
}

fn export_file(args: &ExportArgs) -> Result<()> {
    let trace = Trace::read(&args.file)?;
    let warnings = export(&trace, args.format, &args.out)?;
    print_line(format!("{}: {} requests", args.out.display(), trace.requests.len()))?;
    print_warnings(&warnings);
    Ok(())
}

/// After the result, beside it.
fn print_warnings(warnings: &[Warning]) {
    for warning in warnings {
        say(format!("warning: {warning}"));
    }
}

fn show(args: &ShowArgs) -> Result<()> {
    let summary = Trace::read(&args.file)?.summary();
    if args.json { print_json(&summary) } else { print_line(describe(&summary).trim_end()) }
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
