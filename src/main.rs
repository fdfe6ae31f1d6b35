//! The command line of Pliant.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
