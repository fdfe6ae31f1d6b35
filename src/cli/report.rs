//! `pliant report`.

use std::process::ExitCode;

use pliant::Result;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    unimplemented!("pliant report")
}
