//! `pliant claims`: do the study's claims hold, and are the numbers the committed ones?

use std::path::PathBuf;
use std::process::ExitCode;

use pliant::check::{Claims, findings_text, with_results};
use pliant::{Error, Result, files};

use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The claims
    #[arg(default_value = "docs/claims.toml")]
    file: PathBuf,
    /// Folder of the results folders that are looked at
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Folder of the results folders that they must equal, within each claim's tolerance
    #[arg(long, value_name = "DIR")]
    committed: Option<PathBuf>,
    /// Only list the experiments whose results are needed, one a line
    #[arg(long, conflicts_with_all = ["committed", "write", "json"])]
    experiments: bool,
    /// Put the table into this page, between its marks
    #[arg(long, value_name = "PAGE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let claims = Claims::load(&args.file)?;
    if args.experiments {
        print_line(claims.experiments().join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let findings = claims.look_up(&args.results, args.committed.as_deref())?;
    if let Some(page) = &args.write {
        let wrong = |error| Error::io(page, "cannot read", error);
        let text = std::fs::read_to_string(page).map_err(wrong)?;
        let name = page.display().to_string();
        let text = with_results(&name, &text, &claims.markdown(&findings))?;
        files::write_whole(page, text.as_bytes())?;
    } else if args.json {
        print_line(serde_json::to_string_pretty(&findings).expect("findings are plain values"))?;
    } else {
        print_line(findings_text(&findings).trim_end())?;
    }
    let reproduced = findings.iter().all(|finding| finding.reproduced);
    Ok(if reproduced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
