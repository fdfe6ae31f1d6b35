//! `pliant completions` and `pliant man`: what a shell and `man` want to know, made from the
//! arguments themselves.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueHint;
use clap_complete::Shell;
use clap_mangen::Man;

use pliant::files::write_whole;
use pliant::{Error, Result};

use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder, instead of the first page to standard
    /// output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, command: clap::Command) -> Result<ExitCode> {
    let mut command = without_file_names(command);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pliant", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The command whose values are completed with names of files only where they are some.
fn without_file_names(command: clap::Command) -> clap::Command {
    let hinted = command.mut_args(|arg| match arg.get_value_hint() {
        ValueHint::Unknown if arg.get_action().takes_values() => arg.value_hint(ValueHint::Other),
        _ => arg,
    });
    hinted.mut_subcommands(without_file_names)
}

pub fn man(args: &ManArgs, mut command: clap::Command) -> Result<ExitCode> {
    command.build();
    match &args.out {
        None => print_line(page(&command)?.trim_end())?,
        Some(folder) => {
            let pages = write_pages(&command, folder)?;
            print_line(format!("{}: {pages} pages", folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of `command` and of every command below it; returns how many.
fn write_pages(command: &clap::Command, folder: &Path) -> Result<usize> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    write_whole(&folder.join(format!("{name}.1")), page(command)?.as_bytes())?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.map(|below| write_pages(below, folder)).sum::<Result<usize>>().map(|pages| 1 + pages)
}

fn page(command: &clap::Command) -> Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Error::new("manual page", "cannot be made").caused_by(error))?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    Ok(String::from_utf8_lossy(&page).into_owned()
        + EXIT_STATUS
        + &examples(&name.replace('-', " ")))
}

const EXIT_STATUS: &str = "\
.SH \"EXIT STATUS\"
.TP
0
All is well; also where the reader of the output has gone before its end.
.TP
1
A check failed, or runs of an experiment did.
.TP
2
An argument or an input is wrong, or the output cannot be written. Nothing is lost or half written.
";

/// The section of examples of the command `name`; those of a group are those of its members.
fn examples(name: &str) -> String {
    let of_command = EXAMPLES.iter().filter(|(_, line)| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    let mut section = String::new();
    for (what, line) in of_command {
        if section.is_empty() {
            section += ".SH EXAMPLES\n";
        }
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        section.extend([".PP\n", what, ":\n.PP\n.RS 4\n.nf\n", &line, "\n.fi\n.RE\n"]);
    }
    section
}

/// What a command line does, and the line.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "Replay an experiment into a folder",
        "pliant run experiments/paper-e2e.toml --out results/mine",
    ),
    (
        "Vary the load",
        "pliant sweep experiments/under-load.toml --set trace.arrivals_per_hour=100:900:100",
    ),
    (
        "Find the load at which nine requests in ten still meet their objectives",
        "pliant peak experiments/under-load.toml --attainment 0.9 --json",
    ),
    (
        "Make a trace of apps of your own",
        "pliant trace synth --apps apps.toml --items structured.tokens.csv --out mine.csv",
    ),
    (
        "Take an hour of a packed public trace at double load",
        "pliant trace import azure.csv.gz --format azure --items structured.tokens.csv --from 1h \
         --to 2h --time-scale 0.5 --out hour.csv",
    ),
    (
        "Read columns of other names from a pipe, and take a thousand rows",
        "pliant trace import - --format csv --columns \
         arrival=ts,prompt_tokens=in,output_tokens=out --sample 1000 --items \
         structured.tokens.csv --out mine.csv",
    ),
    (
        "Write a trace for another simulator",
        "pliant trace export mine.csv --format mooncake --out mine.jsonl",
    ),
    ("Show what a trace holds", "pliant trace show traces/paper-alpha0.csv"),
    ("Start a file of apps from the study's", "pliant trace apps"),
    ("Redraw a results folder", "pliant report results/paper-e2e"),
    ("Fail where a curve fell", "pliant check results/new --baseline results/old/metrics.csv"),
    ("Fetch what the engine needs", "pliant assets fetch"),
    ("See what is in the cache", "pliant assets list --json"),
    ("List all methods and policies", "pliant policy list"),
    ("Describe one", "pliant policy describe elastilm"),
    ("Explain a decision", "pliant policy explain results/paper-e2e --request 7 --method elastilm"),
    ("Complete commands in bash", "pliant completions bash"),
    ("Write all manual pages", "pliant man --out man"),
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_example_can_be_typed() {
        for (what, line) in EXAMPLES {
            let parsed = Cli::command().try_get_matches_from(line.split(' '));
            assert!(parsed.is_ok(), "{what}: {line}: {}", parsed.unwrap_err());
        }
    }

    /// The engine's own commands have their tutorial.
    #[cfg(not(feature = "engine"))]
    #[test]
    fn every_page_has_its_exit_status_and_examples() {
        fn check(command: &clap::Command) {
            let text = page(command).unwrap();
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            assert!(
                text.contains(".SH \"EXIT STATUS\"") && text.contains(".SH EXAMPLES"),
                "{name}"
            );
            command.get_subcommands().filter(|below| below.get_name() != "help").for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }

    #[test]
    fn only_arguments_that_are_paths_are_completed_with_files() {
        let command = without_file_names(Cli::command());
        let run = command.find_subcommand("peak").unwrap();
        let hint = |name: &str| {
            run.get_arguments().find(|arg| arg.get_id() == name).unwrap().get_value_hint()
        };
        assert_eq!(hint("method"), ValueHint::Other);
        assert_eq!(hint("experiment"), ValueHint::AnyPath);
    }
}
