//! `pliant load`: a trace, played against a running server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pliant::load::{
    Client, Keys, Known, PlayOptions, Prompts, Sending, Totals, ask_for_answers, in_times, play,
    write_played,
};
use pliant::profile::DeviceProfile;
use pliant::prompt::DataPaths;
use pliant::service::apps::ServiceApps;
use pliant::trace::Trace;
use pliant::units::Level;
use pliant::{Error, Result};
use serde_json::json;

use super::bar::Bar;
use super::output::{print_json, print_line};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Args {
    /// The trace, in the native form
    trace: PathBuf,
    /// Where the server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Each app waits for its answer, and thinks as long as the trace has between two of its
    /// requests; otherwise requests are sent at their arrivals
    #[arg(long)]
    closed: bool,
    /// So many users take turns, and ask again once they have their answer
    #[arg(long, value_name = "N", conflicts_with = "closed",
          value_parser = clap::value_parser!(u16).range(1..=512))]
    users: Option<u16>,
    /// Nothing is sent after so long
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The level that answers, in percent, on whole prompts; otherwise the server chooses
    #[arg(long, value_name = "PERCENT", value_parser = level)]
    level: Option<Level>,
    /// Profile of the device whose times objectives in shares are put in; otherwise they are sent
    /// as shares
    #[arg(long, value_name = "DIR")]
    device: Option<PathBuf>,
    /// Words without meaning in place of the items' prompts: nothing is fetched, no answer judged
    #[arg(long)]
    filler: bool,
    /// Once all is played, ask for each answer whether it is right
    #[arg(long, conflicts_with = "filler")]
    answers: bool,
    /// Apps with their keys
    #[arg(long, value_name = "FILE")]
    apps: Option<PathBuf>,
    /// File with the server's token
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Where what came of each request is written
    #[arg(long, value_name = "FILE", default_value = "played.csv")]
    out: PathBuf,
    /// Print what it comes to as JSON
    #[arg(long)]
    json: bool,
}

/// Reads a level.
pub fn level(text: &str) -> Result<Level, String> {
    let percent = text.parse().ok().filter(|percent| (1..=100).contains(percent));
    percent.map(Level::percent).ok_or_else(|| "not a level; allowed: 1 to 100".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    let mut trace = Trace::read(&args.trace)?;
    let client = Client::new(&args.url, args.keys()?);
    if let Some(folder) = &args.device {
        trace = in_times(trace, &DeviceProfile::load(folder)?, &client.base_model()?)?;
    }
    let prompts =
        if args.filler { Prompts::Filler } else { Prompts::of(&trace, &DataPaths::default())? };
    let options = PlayOptions {
        sending: match args.users {
            Some(users) => Sending::Users(usize::from(users)),
            None if args.closed => Sending::Closed,
            None => Sending::Open,
        },
        most: args.seconds.map(Duration::from_secs),
        pinned: args.level,
    };
    let bar = Bar::new("requests");
    let mut rows = play(&trace, &prompts, &client, &options, &bar)?;
    bar.clear();
    if args.answers {
        ask_for_answers(&mut rows, &trace, &prompts, &client, &mut Known::new())?;
    }
    write_played(&args.out, &rows)?;
    let totals = Totals::of(&rows);
    if args.json {
        print_json(&json!({ "totals": totals, "file": args.out }))?;
    } else {
        print_line(in_words(&totals))?;
        print_line(format!("written to {}", args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(totals: &Totals) -> String {
    let share = |name: &str, share: Option<f64>| {
        share.map_or_else(String::new, |share| format!(", {name} {:.1} %", 100.0 * share))
    };
    let ms = |name: &str, ms: Option<f64>| {
        ms.map_or_else(String::new, |ms| format!(", {name} {ms:.0} ms"))
    };
    let Totals { requests, finished, .. } = totals;
    format!("{finished} of {requests} requests answered")
        + &share("attainment", totals.attainment)
        + &share("accuracy", totals.accuracy_served)
        + &share("accuracy@SLO", totals.accuracy_at_slo_served)
        + &ms("TTFT p50", totals.ttft_ms_p50)
        + &ms("p95", totals.ttft_ms_p95)
        + &ms("TPOT p50", totals.tpot_ms_p50)
        + &ms("p95", totals.tpot_ms_p95)
}

impl Args {
    fn keys(&self) -> Result<Keys> {
        let apps = self.apps.as_deref().map(ServiceApps::load).transpose()?;
        let of_apps = apps.iter().flat_map(ServiceApps::all);
        let keys = of_apps.filter_map(|app| Some((app.name.clone(), app.key.clone()?)));
        let apps: BTreeMap<String, String> = keys.collect();
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|cause| Error::io(path, "cannot read", cause))?;
            Ok(text.trim().to_owned())
        };
        Ok(Keys { token: self.token.as_ref().map(read).transpose()?, apps })
    }
}
