//! `pliant policy`: the methods of the study, in a table or in full.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use pliant::method::{Description, MethodSpec, PolicySpec, standard_methods};
use pliant::{Error, Result};

use super::output::{print_json, print_line};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every method: family, compressor, policy; and every policy: its rule, what it sees
    List {
        /// As JSON, with the rules
        #[arg(long)]
        json: bool,
    },
    /// Show how one method chooses, and the lines that put it into an experiment file
    Describe {
        /// Name as in `pliant policy list`
        method: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a policy saw of one request, what it chose, what came of it, and what else there
    /// was
    Explain(super::explain::Args),
}

pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::List { json } => list(json)?,
        Command::Describe { method, json } => describe(&named(&method)?, json)?,
        Command::Explain(args) => super::explain::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> Result<MethodSpec> {
    let methods = standard_methods();
    let known: Vec<_> = methods.iter().map(|method| method.name.clone()).collect();
    methods.into_iter().find(|method| method.name == name).ok_or_else(|| {
        Error::new("argument METHOD", "no such method").found(name).allowed(known.join(", "))
    })
}

/// One method of the JSON output.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    method: MethodSpec,
    #[serde(flatten)]
    description: Description,
}

/// The part of an experiment file that names its methods.
#[derive(Debug, Serialize)]
struct Experiment<'a> {
    methods: [&'a MethodSpec; 1],
}

impl From<MethodSpec> for Listed {
    fn from(method: MethodSpec) -> Self {
        Self { description: method.policy.description(), method }
    }
}

fn list(json: bool) -> Result<()> {
    let methods = standard_methods();
    if json {
        return print_json(&methods.into_iter().map(Listed::from).collect::<Vec<_>>());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["method", "latencies of", "answers of", "compressor", "policy"]);
    for method in &methods {
        let compressor = method.compressor.as_deref().unwrap_or("none");
        let (family, answers) = (&*method.family, method.quality_family());
        table.add_row([&method.name, family, answers, compressor, method.policy.kind()]);
    }
    print_line(table.trim_fmt())?;
    for policy in PolicySpec::examples() {
        let Description { rule, sees } = policy.description();
        print_line(format!("\n{}\n  rule: {rule}\n  sees: {sees}", policy.kind()))?;
    }
    Ok(())
}

fn describe(method: &MethodSpec, json: bool) -> Result<()> {
    if json {
        return print_json(&Listed::from(method.clone()));
    }
    let Description { rule, sees } = method.policy.description();
    let lines = toml::to_string(&Experiment { methods: [method] }).expect("methods are strings");
    print_line(format!("{}\n\nrule: {rule}\nsees: {sees}\n\n{}", method.name, lines.trim_end()))
}
