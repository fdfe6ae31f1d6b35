//! `pliant assets`: lists and fetches the packages that the engine needs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;

use pliant::Result;
use pliant::assets::{Package, Progress, Spec, State, Store};

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
        /// Names as in `pliant assets list`
        #[arg(value_name = "NAME", value_parser = Package::named)]
        packages: Vec<Package>,
        /// Every package of the list
        #[arg(long, conflicts_with = "packages")]
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

pub fn run(args: Args) -> Result<ExitCode> {
    let store = Store::of_user()?;
    match args.command {
        Command::Fetch { packages, all, json } => fetch(&store, &chosen(packages, all), json)?,
        Command::List { json } => list(&store, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(packages: Vec<Package>, all: bool) -> Vec<Package> {
    if packages.is_empty() {
        Package::ALL.into_iter().filter(|package| all || package.spec().needed).collect()
    } else {
        packages
    }
}

fn fetch(store: &Store, packages: &[Package], json: bool) -> Result<()> {
    for package in packages {
        let spec = package.spec();
        let bar = bar(format!("{}: checking", spec.name), "bytes", spec.wheel_bytes);
        bar.enable_steady_tick(Duration::from_millis(200));
        let folder = store.fetch(spec, &mut |progress| show(&bar, spec.name, &progress))?;
        bar.finish_and_clear();
        if !json {
            print_line(format!("{} {}: {}", spec.name, spec.version, folder.display()))?;
        }
    }
    let all = || packages.iter().map(|package| listed(store, package.spec())).collect::<Vec<_>>();
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

/// One package of `pliant assets list --json`.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    package: &'a str,
    version: &'a str,
    wheel: &'a str,
    wheel_bytes: u64,
    sha256: &'a str,
    licence: &'a str,
    purpose: &'a str,
    needed: bool,
    state: State,
    folder: Option<String>,
}

fn list(store: &Store, json: bool) -> Result<()> {
    let packages = Package::ALL.map(|package| listed(store, package.spec()));
    if json {
        return print_json(&packages);
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["package", "version", "download", "licence", "state", "for"]);
    for row in packages {
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

fn listed<'a>(store: &Store, spec: &'a Spec) -> Listed<'a> {
    Listed {
        package: spec.name,
        version: spec.version,
        wheel: spec.wheel,
        wheel_bytes: spec.wheel_bytes,
        sha256: spec.sha256,
        licence: spec.licence,
        purpose: spec.purpose,
        needed: spec.needed,
        state: store.state(spec),
        folder: store.folder(spec).ok().map(|folder| folder.display().to_string()),
    }
}
