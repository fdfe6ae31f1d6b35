//! The command line: parse, then run a typed command. Only this module names clap.
//!
//! Exit codes: 0 fine, 1 a check failed, 2 bad input.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use pliant::limits::THREADS;
use pliant::{Error, Result};

#[cfg(feature = "engine")]
mod ask;
mod assets;
mod bar;
#[cfg(feature = "engine")]
mod base_model;
mod check;
mod claims;
#[cfg(feature = "engine")]
mod data_args;
mod demo;
mod device;
#[cfg(feature = "engine")]
mod elastify;
#[cfg(feature = "engine")]
mod engine_args;
#[cfg(feature = "engine")]
mod engine_runs;
mod explain;
mod fidelity;
#[cfg(feature = "serve")]
mod load;
mod output;
mod peak;
mod policy;
#[cfg(feature = "engine")]
mod profile;
#[cfg(feature = "engine")]
mod profile_asked;
mod report;
mod run;
mod search_args;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod serve_load;
mod shards;
mod shell;
mod sweep;
#[cfg(feature = "engine")]
mod tlm;
#[cfg(feature = "engine")]
mod tlm_decision;
#[cfg(feature = "engine")]
mod tlm_lists;
#[cfg(feature = "engine")]
mod tlm_score;
mod trace;

/// Elastic on-device LLM serving: simulate, measure, compare.
#[derive(Debug, Parser)]
#[command(name = "pliant", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay an experiment's traces and write its tables and figures
    Run(run::Args),
    /// Divide an experiment into shards, for many machines
    Plan(shards::PlanArgs),
    /// Put shards together: the results of one machine
    Merge(shards::MergeArgs),
    /// Replay an experiment over values of any of its numbers
    Sweep(sweep::Args),
    /// Find the largest arrival rate at which each method keeps an attainment
    Peak(peak::Args),
    /// Make, convert or show request traces
    Trace(trace::Args),
    /// Redraw the tables and figures of a results folder
    Report(report::Args),
    /// Compare a run's curves with a baseline; exit code 1 if one fell
    Check(check::Args),
    /// Look up what a study claims in results; exit code 1 if a number is not the committed one
    Claims(claims::Args),
    /// Compare real runs with what was foretold of them, beside their noise floor
    Fidelity(fidelity::Args),
    /// Make a device profile of what others have published
    Device(device::Args),
    /// Fetch or list the weights and data that the engine needs
    Assets(assets::Args),
    /// List or describe methods, explain a decision
    Policy(policy::Args),
    /// Print a script that completes commands and options in a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(shell::ManArgs),
    /// Make a model elastic: importance, order, allocation
    #[cfg(feature = "engine")]
    Elastify(Box<elastify::Args>),
    /// Measure latency or answer quality of this machine and model
    #[cfg(feature = "engine")]
    Profile(profile::Args),
    /// Answer one prompt on the real engine
    #[cfg(feature = "engine")]
    Ask(ask::Args),
    /// Serve apps over HTTP, each call with an objective of its own
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Play a trace against a running server, as its apps would
    #[cfg(feature = "serve")]
    Load(load::Args),
    /// Serve an experiment's methods under load, one after the other, and simulate the days
    #[cfg(feature = "serve")]
    ServeLoad(serve_load::Args),
}

/// Parses the arguments, runs the command, prints an error as one message.
pub fn main() -> ExitCode {
    let done = Cli::try_parse().map_or_else(|said| said_by_clap(&said), run);
    let code = done.unwrap_or_else(|error| {
        output::say(format!("pliant: {error}"));
        ExitCode::from(2)
    });
    if output::was_heard() { code } else { ExitCode::from(2) }
}

/// Help and version go to standard output and are fine; what is wrong with the arguments is not,
/// and repeats them.
fn said_by_clap(said: &clap::Error) -> Result<ExitCode> {
    if said.use_stderr() {
        output::say(said.render().to_string().trim_end());
        return Ok(ExitCode::from(2));
    }
    match said.print() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new("standard output", "cannot be written").caused_by(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Plan(args) => shards::plan(&args),
        Command::Merge(args) => shards::merge_shards(&args),
        Command::Sweep(args) => sweep::run(args),
        Command::Peak(args) => peak::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Report(args) => report::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Fidelity(args) => fidelity::run(&args),
        Command::Device(args) => device::run(args),
        Command::Assets(args) => assets::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
        #[cfg(feature = "engine")]
        Command::Elastify(args) => elastify::run(*args),
        #[cfg(feature = "engine")]
        Command::Profile(args) => profile::run(args),
        #[cfg(feature = "engine")]
        Command::Ask(args) => ask::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        #[cfg(feature = "serve")]
        Command::Load(args) => load::run(args),
        #[cfg(feature = "serve")]
        Command::ServeLoad(args) => serve_load::run(args),
    }
}

/// The file of the program that runs, to start it once more.
fn this_program() -> Result<PathBuf> {
    let found = std::env::current_exe();
    found.map_err(|error| Error::new("pliant", "cannot find itself").caused_by(error))
}

/// Reads a number of threads; says so where fewer are started.
fn threads(text: &str) -> Result<usize, String> {
    let most = THREADS.max as usize;
    let asked: usize =
        text.parse().map_err(|_| format!("not a number of threads; allowed: 0 to {most}"))?;
    if asked > most {
        let why = "the most that are started";
        output::say(format!("pliant: {most} threads instead of {asked}: {why}"));
    }
    Ok(asked.min(most))
}

/// Reads an option's value by the name that files use for it.
fn by_name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They print a script or a page.
    const WITHOUT_RESULTS: [&str; 2] = ["completions", "man"];

    /// Every command that can be run, as it is typed.
    fn runnable(command: &clap::Command, typed: &str, found: &mut Vec<(String, bool)>) {
        let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
        if !command.is_subcommand_required_set() {
            found.push((typed.to_owned(), has_json));
        }
        for inner in command.get_subcommands() {
            runnable(inner, format!("{typed} {}", inner.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_that_prints_results_prints_them_as_json_too() {
        let mut all = Cli::command().disable_help_subcommand(true);
        all.build();
        let mut found = Vec::new();
        runnable(&all, "", &mut found);
        let without = found.iter().filter(|(_, has_json)| !has_json);
        let without: Vec<&str> = without.map(|(typed, _)| typed.as_str()).collect();
        assert_eq!(without, WITHOUT_RESULTS);
        assert!(found.len() > 15, "{found:?}");
    }
}
