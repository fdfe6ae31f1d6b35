//! `pliant peak`: the largest load that each method carries.

use std::process::ExitCode;

use pliant::Result;
use pliant::experiment::Experiment;
use pliant::report::peak_table;
use pliant::results::failed_in_words;
use pliant::search::{PeakSpec, peak};

use super::bar::Bar;
use super::output::{print_json, print_line, say};
use super::search_args::{SearchArgs, describe_counts};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    search: SearchArgs,
    /// A method of the experiment; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    method: Vec<String>,
    /// Share of requests that must meet every bound
    #[arg(long, value_name = "SHARE", default_value_t = PeakSpec::default().attainment)]
    attainment: f64,
    /// Smallest rate, in requests an hour
    #[arg(long, value_name = "RATE", default_value_t = PeakSpec::default().from)]
    from: f64,
    /// Largest rate, in requests an hour
    #[arg(long, value_name = "RATE", default_value_t = PeakSpec::default().to)]
    to: f64,
    /// How narrowly rates are bracketed, as a share of them
    #[arg(long, value_name = "SHARE", default_value_t = PeakSpec::default().precision)]
    precision: f64,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let Args { search, method: methods, attainment, from, to, precision } = args;
    let experiment = Experiment::load(&search.experiment)?;
    let out = search.out(&experiment, "peak");
    let cache = search.run_cache()?;
    let bar = Bar::new("peaks");
    let spec = PeakSpec { methods, attainment, from, to, precision };
    let options = search.options(&out, &bar, &cache);
    let found = peak(&experiment, &spec, &options)?;
    bar.clear();
    if search.json {
        print_json(&found.rows)?;
    } else {
        print_line(peak_table(&found.rows).trim_end())?;
        let counts = describe_counts(&cache, &experiment)?;
        print_line(format!("\nwritten to {}: {counts}", out.display()))?;
    }
    for failure in failed_in_words(&found.failures) {
        say(format!("pliant: {failure}"));
    }
    Ok(if found.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
