//! `pliant device`: profiles of devices that others have measured.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use pliant::input::Input;
use pliant::profile::import::{
    Facts, Format, ImportSpec, Imported, Only, Pair, Shape, Warning, import, sustained_runs,
};
use pliant::profile::{
    DeviceProfile, FamilyLatency, Heat, HeatFit, HeatStep, LevelLatency, Noise, Provenance,
    SubModels, fit_heat, read_latency_samples,
};
use pliant::{Error, Result, names};

use super::by_name;
use super::output::{print_json, print_line, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a device profile of benchmark files, or add their models to one
    Import(ImportArgs),
    /// Fit how a device warms, and what that costs, to sustained runs
    FitHeat(FitHeatArgs),
    /// Work out how much a device's times vary from its own samples
    FitNoise(FitNoiseArgs),
}

#[derive(Debug, clap::Args)]
struct FitHeatArgs {
    /// Files of apple-silicon-llm-bench with a speed for every second, of runs that began cool
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder of the profile to put `[heat]` into [default: it is only printed]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the files are from, for the profile
    #[arg(long, default_value = "apple-silicon-llm-bench")]
    source: String,
    /// Print the fit as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FitNoiseArgs {
    /// Folder of the profile to put `[noise]` into
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Its samples
    #[arg(long, default_value = "samples.csv")]
    samples: String,
    /// Only print it
    #[arg(long)]
    dry_run: bool,
    /// Print the noise as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Benchmark files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are written as
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name))
            .try_map(|name| by_name::<Format>(&name))
    )]
    format: Format,
    /// Folder of the profile, whose last part is the device's name
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Records to take: device, model, runtime or precision, as the files spell them
    #[arg(long = "where", value_name = "KEY=VALUE")]
    only: Vec<Pair>,
    /// What the files do not say: base-model, cpu, cores, memory-bytes, runtime, version, threads,
    /// precision, weight-bytes, prompt-tokens, source
    #[arg(long = "fact", value_name = "KEY=VALUE")]
    facts: Vec<Pair>,
    /// Where one length was published: take the shape of this device's curves, `DIR/BASE_MODEL`
    #[arg(long, value_name = "DIR/BASE_MODEL")]
    shape_of: Option<PathBuf>,
    /// Take sub-models to be those of this device, a folder beside `--out`: `DEVICE/BASE_MODEL`
    #[arg(long, value_name = "DEVICE/BASE_MODEL")]
    sub_models_like: Option<PathBuf>,
    /// Print what was imported as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Import(args) => import_files(&args)?,
        Command::FitHeat(args) => heat(&args)?,
        Command::FitNoise(args) => noise(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    folder: &'a Path,
    families: Vec<&'a FamilyLatency>,
    warnings: &'a [Warning],
}

fn import_files(args: &ImportArgs) -> Result<()> {
    let spec = spec(args)?;
    let inputs: Vec<Input> =
        args.files.iter().map(|file| Input::read(file)).collect::<Result<_>>()?;
    let is_there = args.out.join("device.toml").is_file();
    let known = is_there.then(|| DeviceProfile::load_stated(&args.out)).transpose()?;
    let Imported { profile, base_models, warnings } = import(&inputs, &spec, known)?;
    profile.save(&args.out)?;
    // Sub-models are worked out when it is read: what cannot be is said now.
    DeviceProfile::load(&args.out)?;
    let imported = profile.families.iter().filter(|it| base_models.contains(&it.base_model));
    let families: Vec<_> = imported.collect();
    if args.json {
        return print_json(&Printed { folder: &args.out, families, warnings: &warnings });
    }
    for family in families {
        for level in &family.levels {
            print_line(line(&args.out, family, level))?;
        }
    }
    for warning in &warnings {
        say(format!("warning: {warning}"));
    }
    Ok(())
}

/// A fit as it is printed as JSON.
#[derive(Debug, Serialize)]
struct PrintedHeat<'a> {
    heat: &'a Heat,
    errors: &'a [(String, f64)],
    held_out: &'a [(String, f64)],
    began_hot: &'a [String],
}

fn heat(args: &FitHeatArgs) -> Result<()> {
    let (mut series, mut hot) = (Vec::new(), Vec::new());
    for file in &args.files {
        for run in sustained_runs(&Input::read(file)?)? {
            if matches!(run.began.as_str(), "serious" | "critical") {
                hot.push(run.series.name);
            } else {
                series.push(run.series);
            }
        }
    }
    let names: Vec<_> = series.iter().map(|one| one.name.as_str()).collect();
    let provenance = Provenance::Modelled {
        formula: "speed = curve(h) · step(h), dh/dt = (share · speed − h) / seconds".to_owned(),
        anchors: names.iter().map(|name| format!("{}: {name}", args.source)).collect(),
        assumptions: vec![
            "power goes with speed, and a device at rest draws nothing that warms it".to_owned(),
            "a rolling mean of speeds is the speed".to_owned(),
        ],
    };
    let fit = fit_heat(&series, &provenance)?;
    if let Some(folder) = &args.out {
        let mut profile = DeviceProfile::load_stated(folder)?;
        profile.heat = Some(fit.heat.clone());
        profile.save(folder)?;
    }
    for name in &hot {
        say(format!("warning: {name}: began hot, left out"));
    }
    let HeatFit { heat, errors, held_out } = &fit;
    if args.json {
        return print_json(&PrintedHeat { heat, errors, held_out, began_hot: &hot });
    }
    for part in &heat.parts {
        print_line(format!("part       {:.0} s, share {:.2}", part.seconds, part.share))?;
    }
    print_line(format!("curve      1 up to {:.2}, {:.2} at 1", heat.from, heat.floor))?;
    if let Some(step) = heat.step {
        let HeatStep { above, below, speed } = step;
        print_line(format!("step       {speed:.2} above {above:.2}, until below {below:.2}"))?;
    }
    for (name, error) in errors {
        print_line(format!("fitted     {:4.1} %  {name}", 100.0 * error))?;
    }
    for (name, error) in held_out {
        print_line(format!("held out   {:4.1} %  {name}", 100.0 * error))?;
    }
    Ok(())
}

fn noise(args: &FitNoiseArgs) -> Result<()> {
    let samples = read_latency_samples(&args.folder.join(&args.samples))?;
    let mut profile = DeviceProfile::load_stated(&args.folder)?;
    let measured = profile.families.iter().map(|family| &family.provenance);
    let mut measured = measured.filter(|it| matches!(it, Provenance::Measured { .. }));
    let provenance = measured.next().cloned().unwrap_or_else(|| Provenance::Published {
        sources: vec![args.samples.clone()],
        filled: Vec::new(),
    });
    let noise = Noise::of(&samples, provenance)?;
    if !args.dry_run {
        profile.noise = Some(noise.clone());
        profile.save(&args.folder)?;
    }
    if args.json {
        return print_json(&noise);
    }
    for (name, factors) in
        [("drift", &noise.drift), ("prefill", &noise.prefill), ("decode", &noise.decode)]
    {
        let at = |share: f64| format!("{:.3}", factors.quantile(share));
        let [low, middle, high, most] = [0.05, 0.5, 0.95, 1.0].map(at);
        print_line(format!("{name:8} 5 % {low}  50 % {middle}  95 % {high}  most {most}"))?;
    }
    Ok(())
}

fn spec(args: &ImportArgs) -> Result<ImportSpec> {
    let name = args.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    names::check(&name, || Error::new("argument --out", "names no device"))?;
    let shape = args.shape_of.as_deref().map(|asked| {
        let (folder, base_model) = pair("--shape-of", asked)?;
        let device = DeviceProfile::load(&folder)?;
        device.base(&base_model)?;
        Ok::<_, Error>(Shape { device, base_model })
    });
    let sub_models = args.sub_models_like.as_deref().map(|asked| {
        let (like, base_model) = pair("--sub-models-like", asked)?;
        Ok::<_, Error>(SubModels { like: like.to_string_lossy().into_owned(), base_model })
    });
    Ok(ImportSpec {
        format: args.format,
        name,
        only: Only::of(&args.only)?,
        facts: Facts::of(&args.facts)?,
        shape: shape.transpose()?,
        sub_models: sub_models.transpose()?,
    })
}

/// The folder and the last part of a path.
fn pair(argument: &str, path: &Path) -> Result<(PathBuf, String)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => Ok((folder.to_owned(), name.to_string_lossy().into_owned())),
        _ => Err(Error::new(format!("argument {argument}"), "not a device and a model")
            .found(path.display())
            .allowed("a folder, a slash and the name of a base model")),
    }
}

/// Curves of one level, and how many points are behind them.
fn line(folder: &Path, family: &FamilyLatency, level: &LevelLatency) -> String {
    let (ttft, tpot) = (&level.ttft_ms, &level.tpot_ms);
    let count = |origin: &str| level.points.iter().filter(|it| it.origin.name() == origin).count();
    format!(
        "{}: {} {} {}: TTFT {} ms at 128, {} at 1024 tokens; TPOT {} ms at 128, {} at 1024; \
         points: {} measured, {} computed, {} modelled",
        folder.display(),
        family.base_model,
        family.family,
        level.level,
        rounded(ttft.millis(128)),
        rounded(ttft.millis(1024)),
        rounded(tpot.millis(128)),
        rounded(tpot.millis(1024)),
        count("measured"),
        count("computed"),
        count("modelled"),
    )
}

fn rounded(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}
