//! `pliant trace`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::SignedDuration;

use pliant::experiment::item_pools;
use pliant::input::{Input, are_one_file};
use pliant::trace::export::{ExportFormat, export};
use pliant::trace::import::{
    Columns, Format, ImportSpec, Imported, ItemRule, Part, TimeUnit, Warning, import,
};
use pliant::trace::{
    Apps, Arrivals, LevelOrder, Objective, Range, Summary, SynthSpec, Trace, synthesize, write_text,
};
use pliant::{Error, Result};

use super::by_name;
use super::output::{print_data, print_json, print_line, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a trace of the study's six apps, or of others
    Synth(SynthArgs),
    /// Make a trace of another project's trace
    Import(Box<ImportArgs>),
    /// Write a trace for another tool
    Export(ExportArgs),
    /// Show what a trace holds
    Show(ShowArgs),
    /// Print a set of apps: the study's, to start a file of one's own from, or that of a file
    Apps(AppsArgs),
}

/// The mix of the apps.
#[derive(Debug, clap::Args)]
struct MixArgs {
    /// Skew of the SLO levels: the app of level i makes a share ∝ e^(alpha·i) of the requests
    #[arg(long, default_value_t = SynthSpec::default().alpha, allow_negative_numbers = true)]
    alpha: f64,
    /// Which app is level 1: the last, tightest (paper) or the first, most relaxed (artifact)
    #[arg(
        long,
        default_value = "paper",
        value_parser = PossibleValuesParser::new(["paper", "artifact"]).map(|name| {
            if name == "paper" { LevelOrder::Paper } else { LevelOrder::Artifact }
        })
    )]
    level_order: LevelOrder,
    /// Who calls: a file of `[[apps]]`, as `pliant trace apps` prints it [default: the study's six]
    #[arg(long, value_name = "FILE.toml")]
    apps: Option<PathBuf>,
}

impl MixArgs {
    fn apps(&self) -> Result<Apps> {
        self.apps.as_deref().map_or_else(|| Ok(Apps::default()), Apps::load)
    }
}

#[derive(Debug, clap::Args)]
struct SynthArgs {
    #[command(flatten)]
    mix: MixArgs,
    /// What the apps bound: what each states (latency), or end-to-end time or energy, to the mean
    /// of its shares of TTFT and TPOT
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
    /// Tokens to generate, for an app that does not say
    #[arg(long, default_value_t = SynthSpec::default().output_tokens)]
    output_tokens: u32,
    /// Seed of shuffle, arrivals and items
    #[arg(long, default_value_t = SynthSpec::default().seed)]
    seed: u64,
    /// Prompt lengths of the items to draw from, such as structured.tokens.csv
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// The trace to write; packed if its name ends in .gz; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The file to read, plain or packed by gzip or zstd; `-` is standard input
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
    /// Hold so many tokens of earlier prompts and answers: a prompt that goes on from them has
    /// `cached_tokens` (burstgpt, mooncake)
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cache_tokens: u64,
    /// What the file calls its columns: NAME=COLUMN,…, NAME being `arrival`, `prompt_tokens` or
    /// `output_tokens`
    #[arg(long, value_name = "NAME=COLUMN")]
    columns: Option<Columns>,
    /// What its times are in, where they are numbers [default: as its format has it]
    #[arg(
        long,
        value_name = "UNIT",
        value_parser = PossibleValuesParser::new(TimeUnit::ALL.map(TimeUnit::name))
            .try_map(|name| by_name::<TimeUnit>(&name))
    )]
    time_unit: Option<TimeUnit>,
    /// Take requests from so long after time 0 on: seconds, or 90s, 10m, 2h 30m, 1d
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    from: Option<Duration>,
    /// Take requests before so long after time 0
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    to: Option<Duration>,
    /// Take so many of them, drawn evenly: the load falls with them
    #[arg(long, value_name = "REQUESTS")]
    sample: Option<u32>,
    /// Take the earliest of them only
    #[arg(long, value_name = "REQUESTS")]
    limit: Option<usize>,
    /// How prompts are found: one of the items nearest in length, or one of an app drawn from the
    /// mix
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
    /// The trace to write; packed if its name ends in .gz; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result and its warnings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The trace to read; `-` is standard input
    file: PathBuf,
    /// What to write
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(ExportFormat::ALL.map(ExportFormat::name))
            .try_map(|name| by_name::<ExportFormat>(&name))
    )]
    format: ExportFormat,
    /// The file to write; packed if its name ends in .gz; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result and its warnings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The trace to read; `-` is standard input
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct AppsArgs {
    /// A file of `[[apps]]` to check and print [default: the study's six]
    file: Option<PathBuf>,
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
        Command::Apps(args) => apps(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn synth(args: &SynthArgs) -> Result<()> {
    refuse_input(&args.out, [Some(&args.items), args.mix.apps.as_ref()])?;
    let spec = SynthSpec {
        apps: args.mix.apps()?,
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
    write(&trace, &args.out)?;
    wrote(&args.out, &trace, &[], args.json)
}

/// Refuses to write over what is read.
fn refuse_input<const N: usize>(out: &Path, inputs: [Option<&PathBuf>; N]) -> Result<()> {
    match inputs.into_iter().flatten().find(|input| are_one_file(out, input)) {
        Some(input) => Err(Error::new("--out", "is the file that is read")
            .found(out.display())
            .allowed(format!("another file than {}", input.display()))),
        None => Ok(()),
    }
}

fn is_standard_output(out: &Path) -> bool {
    out == Path::new("-")
}

fn write(trace: &Trace, out: &Path) -> Result<()> {
    if is_standard_output(out) { print_data(&trace.to_csv()) } else { trace.write(out) }
}

/// Says what was written, unless it went where results go, and what was odd about it.
fn wrote(out: &Path, trace: &Trace, warnings: &[Warning], json: bool) -> Result<()> {
    let requests = trace.requests.len();
    if json && !is_standard_output(out) {
        let result = serde_json::json!({
            "file": out, "requests": requests, "warnings": warnings,
        });
        return print_json(&result);
    }
    if !is_standard_output(out) {
        print_line(format!("{}: {requests} requests", out.display()))?;
    }
    for warning in warnings {
        say(format!("warning: {warning}"));
    }
    Ok(())
}

/// Seconds, or what a person writes: `90s`, `2h 30m`.
fn length_of_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let written = || Duration::try_from(text.parse::<SignedDuration>().ok()?).ok();
    seconds.or_else(written).ok_or_else(|| "not a time such as 90, 90s, 10m or 2h 30m".to_owned())
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
            columns: Columns {
                time_unit: self.time_unit,
                ..self.columns.clone().unwrap_or_default()
            },
            part: Part {
                from: self.from.unwrap_or_default(),
                to: self.to,
                sample: self.sample,
                limit: self.limit,
            },
            time_scale: self.time_scale,
            length_scale: self.length_scale,
            cache_tokens: self.cache_tokens,
            items,
            apps: self.mix.apps()?,
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
    let inputs = [Some(&args.file), args.items.as_ref(), args.mix.apps.as_ref()];
    refuse_input(&args.out, inputs)?;
    let spec = args.spec()?;
    let pools = match &args.items {
        Some(path) => item_pools(path)?,
        None if args.format == Format::Native => Vec::new(),
        None => {
            return Err(Error::new("--items", "missing: the format has no prompts")
                .allowed("a file of prompt lengths, such as structured.tokens.csv"));
        }
    };
    let Imported { trace, warnings } = import(&Input::read(&args.file)?, &spec, &pools)?;
    write(&trace, &args.out)?;
    wrote(&args.out, &trace, &warnings, args.json)
}

fn export_file(args: &ExportArgs) -> Result<()> {
    refuse_input(&args.out, [Some(&args.file)])?;
    let trace = Trace::read(&args.file)?;
    let (text, warnings) = export(&trace, args.format);
    if is_standard_output(&args.out) {
        print_data(&text)?;
    } else {
        write_text(&args.out, &text)?;
    }
    wrote(&args.out, &trace, &warnings, args.json)
}

fn apps(args: &AppsArgs) -> Result<()> {
    let apps = args.file.as_deref().map_or_else(|| Ok(Apps::default()), Apps::load)?;
    match (&args.file, args.json) {
        (_, true) => print_json(apps.all()),
        (None, false) => print_line(Apps::STUDY.trim_end()),
        (Some(_), false) => print_line(apps.to_toml().trim_end()),
    }
}

fn show(args: &ShowArgs) -> Result<()> {
    let summary = Trace::read(&args.file)?.summary();
    if args.json { print_json(&summary) } else { print_line(describe(&summary).trim_end()) }
}

/// A length of time in the largest unit of which there is one or more, to three digits.
fn readable(ms: f64) -> String {
    let units = [(86_400_000.0, "d"), (3_600_000.0, "h"), (60_000.0, "min"), (1000.0, "s")];
    let fits = |&(length, _): &(f64, &str)| ms >= length;
    let (length, unit) = units.into_iter().find(fits).unwrap_or((1.0, "ms"));
    let value = ms / length;
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

fn describe(summary: &Summary) -> String {
    let mut text = String::new();
    for line in &summary.provenance {
        text.extend(["# ", line, "\n"]);
    }
    let range = |range: Range| format!("{}–{}, mean {:.1}", range.min, range.max, range.mean);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    for (label, value) in [
        ("requests", summary.requests.to_string()),
        ("span", or_none(summary.span_ms.map(readable))),
        ("mean gap", or_none(summary.mean_gap_ms.map(readable))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_three_digits_whatever_their_size() {
        for (ms, text) in [
            (0.2, "0.20 ms"),
            (390.0, "390 ms"),
            (1000.0, "1.00 s"),
            (720_000.0, "12.0 min"),
            (3_600_000.0, "1.00 h"),
            (4.32e8, "5.00 d"),
            (8.64e10, "1000 d"),
        ] {
            assert_eq!(readable(ms), text);
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("2h 30m", 9000.0)] {
            assert_eq!(length_of_time(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for text in ["", "-1", "-2h", "soon", "NaN", "1e300"] {
            assert!(length_of_time(text).is_err(), "{text}");
        }
    }
}
