//! `pliant report`: redraw a results folder.

use std::path::PathBuf;
use std::process::ExitCode;

use pliant::files::write_whole;
use pliant::metrics::read_metrics_csv;
use pliant::report::{redraw, summary_markdown, with_results};
use pliant::{Error, Result};

use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results folder, with metrics.csv and manifest.toml
    dir: PathBuf,
    /// Print the rows as JSON and draw nothing
    #[arg(long, conflicts_with = "readme")]
    json: bool,
    /// Put a summary, in Markdown, between the marks of this file too
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let metrics = args.dir.join("metrics.csv");
    if args.json {
        let rows = read_metrics_csv(&metrics)?;
        let text = serde_json::to_string_pretty(&rows).expect("rows are plain values");
        print_line(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let table = redraw(&args.dir)?;
    if let Some(readme) = args.readme {
        let document = std::fs::read_to_string(&readme)
            .map_err(|cause| Error::io(&readme, "cannot read", cause))?;
        let rows = read_metrics_csv(&metrics)?;
        let name = readme.display().to_string();
        let document = with_results(&name, &document, &summary_markdown(&rows))?;
        write_whole(&readme, document.as_bytes())?;
    }
    print_line(table.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
