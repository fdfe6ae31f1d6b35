//! `pliant fidelity`: how near simulated runs are to real ones.

use std::path::PathBuf;
use std::process::ExitCode;

use pliant::Result;
use pliant::files::write_whole;
use pliant::report::{Fidelity, fidelity_csv, fidelity_text};

use super::output::Form;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results folders of one experiment, each run with --executor engine and outcomes = "all"
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder of the device profile that the runs were foretold with
    #[arg(long, value_name = "DIR")]
    device: PathBuf,
    /// Also write the rows to this file
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Print the comparison as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let fidelity = Fidelity::of(&args.runs, &args.device)?;
    if let Some(out) = &args.out {
        write_whole(out, fidelity_csv(&fidelity).as_bytes())?;
    }
    Form::of(args.json).one(&fidelity, fidelity_text(&fidelity).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
