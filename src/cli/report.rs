//! `pliant report`: redraw a results folder, or print it in another form.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use pliant::files::write_whole;
use pliant::metrics::read_metrics_csv;
use pliant::report::{
    Class, Form, GoodputRow, differences_markdown, differences_table, goodput, goodput_csv,
    pairs_against, pairs_csv, redraw, redraw_sweep, report_html, report_junit, report_latex,
    report_markdown, summary, trace_events,
};
use pliant::results::{ResultsFolder, StoredRun};
use pliant::{Error, Result};

use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results folder, with metrics.csv and manifest.toml; of a sweep, with sweep.csv
    dir: PathBuf,
    /// What to make of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Which rows, as JSON or CSV
    #[arg(long, value_enum, default_value_t = By::Cell)]
    by: By,
    /// Every other method against this one, instead of what the run compared: tables or rows
    #[arg(long, value_name = "METHOD", conflicts_with = "by")]
    against: Option<String>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for a terminal; figures are redrawn
    Text,
    /// One page with everything, DIR/report.html; figures are redrawn
    Html,
    /// Rows for a program, as JSON
    Json,
    /// Rows for a program or a spreadsheet
    Csv,
    /// Summary tables in Markdown
    Md,
    /// Tables for a paper, in LaTeX
    Latex,
    /// One test case for each method at each point, for a CI system to show
    Junit,
    /// The stored requests as trace events, for Perfetto
    Perfetto,
    /// Figures as SVG
    Svg,
    /// Figures as PDF, for LaTeX
    Pdf,
    /// Figures as PNG
    Png,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Those of metrics.csv: method, skew and device
    Cell,
    /// Goodput by app too, from the stored requests
    App,
    /// Goodput by stated objective too, from the stored requests
    Slo,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let format = if args.json { Format::Json } else { args.format };
    if args.by != By::Cell && !matches!(format, Format::Json | Format::Csv) {
        let error = Error::new("--by", "only for rows").found(name(&args.by));
        return Err(error.allowed("--format json or --format csv beside it"));
    }
    if let Some(method) = &args.against {
        print_line(against(&args.dir, method, format)?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match format {
        Format::Text => redrawn(&args.dir)?,
        Format::Svg => figures(&args.dir, Form::Svg)?,
        Format::Pdf => figures(&args.dir, Form::Pdf)?,
        Format::Png => figures(&args.dir, Form::Png)?,
        Format::Html => page(&args.dir)?,
        Format::Json => match class_rows(&args.dir, args.by)? {
            Some(rows) => json(&rows),
            None => json(&read_metrics_csv(&args.dir.join("metrics.csv"))?),
        },
        Format::Csv => match class_rows(&args.dir, args.by)? {
            Some(rows) => goodput_csv(&rows),
            None => checked_csv(&args.dir.join("metrics.csv"))?,
        },
        Format::Md => report_markdown(&ResultsFolder::load(&args.dir)?)?,
        Format::Latex => {
            let folder = ResultsFolder::load(&args.dir)?;
            report_latex(&folder.rows, &folder.pairs)
        }
        Format::Junit => report_junit(&ResultsFolder::load(&args.dir)?),
        Format::Perfetto => trace(&args.dir)?,
    };
    print_line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Every method against `method`, in a form that has such a table.
fn against(dir: &Path, method: &str, format: Format) -> Result<String> {
    let pairs = pairs_against(&ResultsFolder::load(dir)?, method)?;
    Ok(match format {
        Format::Text => differences_table(&pairs),
        Format::Md => differences_markdown(&pairs),
        Format::Latex => report_latex(&[], &pairs),
        Format::Json => json(&pairs),
        Format::Csv => pairs_csv(&pairs),
        _ => {
            let error = Error::new("--against", "not in this form").found(name(&format));
            return Err(error.allowed("--format text, md, latex, json or csv"));
        }
    })
}

fn redrawn(dir: &Path) -> Result<String> {
    if dir.join("sweep.csv").is_file() {
        return redraw_sweep(dir, Form::Svg);
    }
    let table = redraw(dir, Form::Svg)?;
    let last = summary(&ResultsFolder::load(dir)?);
    Ok(format!("{}\n\n{last}", table.trim_end()))
}

fn figures(dir: &Path, form: Form) -> Result<String> {
    if dir.join("sweep.csv").is_file() {
        redraw_sweep(dir, form)?
    } else {
        redraw(dir, form)?
    };
    Ok(format!("figures written to {}", dir.display()))
}

fn page(dir: &Path) -> Result<String> {
    redraw(dir, Form::Svg)?;
    let path = dir.join("report.html");
    write_whole(&path, report_html(&ResultsFolder::load(dir)?)?.as_bytes())?;
    Ok(format!("written to {}", path.display()))
}

fn trace(dir: &Path) -> Result<String> {
    Ok(trace_events(&stored_runs(dir)?))
}

/// Goodput by what `by` names; `None` where it names the cells themselves.
fn class_rows(dir: &Path, by: By) -> Result<Option<Vec<GoodputRow>>> {
    let class = match by {
        By::Cell => return Ok(None),
        By::App => Class::App,
        By::Slo => Class::Slo,
    };
    let rows = goodput(&stored_runs(dir)?);
    Ok(Some(rows.into_iter().filter(|row| row.class == class).collect()))
}

/// The requests that the folder keeps, of which there are some.
fn stored_runs(dir: &Path) -> Result<Vec<StoredRun>> {
    let runs = ResultsFolder::load(dir)?.runs()?;
    if runs.is_empty() {
        let missing = Error::file(&dir.join("outcomes"), "no outcomes of any row");
        return Err(missing.allowed("a folder that `pliant run` wrote, with `outcomes` kept"));
    }
    Ok(runs)
}

fn json(rows: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(rows).expect("rows are plain values")
}

fn checked_csv(path: &Path) -> Result<String> {
    read_metrics_csv(path)?;
    read(path)
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|cause| Error::io(path, "cannot read", cause))
}
