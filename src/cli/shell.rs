//! `pliant completions` and `pliant man`: what a shell and `man` want to know, made from the
//! arguments themselves.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    /// Write a page for every command into this folder, instead of the first page to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pliant", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
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
    Ok(String::from_utf8_lossy(&page).into_owned())
}
