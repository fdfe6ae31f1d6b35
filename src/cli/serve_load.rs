//! `pliant serve-load`: the same trace, played against the service under one method after the
//! other, and the recorded days simulated: real beside simulated.
//!
//! A method whose policy always takes one plan is one whose calls name that plan; any other is
//! served by the service's own planner. Objectives are put in times once, by the profile that the
//! first server predicts with, so that all methods are asked the same.

mod report;
mod server;
mod simulated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use pliant::experiment::{DeviceSpec, Experiment, TraceSource, drawn_from, item_pools};
use pliant::load::{
    Known, PlayOptions, Played, Prompts, Sending, ask_for_answers, in_times, look_up_answers, play,
    read_played, without_asking, write_played,
};
use pliant::method::MethodSpec;
use pliant::profile::{DeviceProfile, QualityTable};
use pliant::prompt::DataPaths;
use pliant::trace::{Trace, synthesize};
use pliant::units::{Level, Ratio};
use pliant::{Error, Result};

use self::report::{Report, Row};
use self::server::{Server, ServerArgs};
use super::bar::Bar;
use super::output::{print_json, print_line, say};
use super::serve::Executor;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment: a synthesised trace, and the methods to serve by
    #[arg(default_value = "experiments/serve-load.toml")]
    experiment: PathBuf,
    /// What answers
    #[arg(long, value_enum, default_value_t = Executor::default())]
    executor: Executor,
    /// For how long requests are sent, for each method and loop
    #[arg(long, value_name = "N", default_value_t = 240)]
    seconds: u64,
    /// With cost-model: how many times as fast as predicted
    #[arg(long, value_name = "N", default_value_t = 1)]
    speed: u32,
    /// Results folder [default: results/<name of the experiment file>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    /// Serve nothing: simulate the days of the results folder anew, with the seconds of then
    #[arg(long)]
    simulate: bool,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loop {
    Open,
    Closed,
}

impl Loop {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What all plays share.
struct Stage<'a> {
    args: &'a Args,
    experiment: &'a Experiment,
    /// Where everything is written until all of it is there.
    folder: &'a Path,
    /// Where it is then.
    out: &'a Path,
    /// The experiment's device, whose models and variation simulations take.
    device: DeviceSpec,
    table: QualityTable,
    items: PathBuf,
}

/// What the first server settles for all of them.
struct Settled {
    trace: Trace,
    prompts: Prompts,
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.experiment)?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("results").join(&experiment.name));
    let folder = begin(&out, args.force || args.simulate)?;
    let stage = Stage::of(&args, &experiment, [&folder, &out])?;
    let report = if args.simulate { stage.simulate_all()? } else { stage.play_all()? };
    report.write(&folder)?;
    finish(&folder, &out)?;
    if args.json {
        print_json(&report.to_json())?;
    } else {
        print_line(report.table().trim_end())?;
        print_line(format!("written to {}", out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An empty folder beside `out`.
fn begin(out: &Path, force: bool) -> Result<PathBuf> {
    let is_taken = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken && !force {
        return Err(Error::new(format!("folder {}", out.display()), "has files already")
            .allowed("a new folder, or --force to replace it"));
    }
    let folder = out.with_extension("partial");
    let io = |cause| Error::io(&folder, "cannot make", cause);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(io)?;
    }
    std::fs::create_dir_all(&folder).map_err(io)?;
    Ok(folder)
}

/// What servers say, until all went well.
const LOG: &str = "serve.log";

fn remove(file: &Path) -> Result<()> {
    std::fs::remove_file(file).map_err(|cause| Error::io(file, "cannot remove", cause))
}

/// Copies what is in the folder `from`, and in folders there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let io = |cause| Error::io(from, "cannot copy", cause);
    for entry in std::fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            std::fs::create_dir_all(&target).map_err(io)?;
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(io)?;
        }
    }
    Ok(())
}

/// Puts the folder in place.
fn finish(folder: &Path, out: &Path) -> Result<()> {
    let io = |cause| Error::io(out, "cannot replace", cause);
    if out.exists() {
        std::fs::remove_dir_all(out).map_err(io)?;
    }
    std::fs::rename(folder, out).map_err(io)
}

/// The level that all answers of a method have, on whole prompts, if it always takes one plan.
fn pinned(method: &MethodSpec) -> Option<Level> {
    method.policy.always().map(|plan| plan.level)
}

impl<'a> Stage<'a> {
    fn of(
        args: &'a Args,
        experiment: &'a Experiment,
        [folder, out]: [&'a Path; 2],
    ) -> Result<Self> {
        let spec = &experiment.spec;
        let wrong = |what: &str, allowed: &str| {
            Error::file(&experiment.path, what).allowed(allowed.to_owned())
        };
        let TraceSource::Synth(synth) = &spec.trace else {
            return Err(wrong("has no trace that can be played", "kind = \"synth\""));
        };
        let device = spec.devices.first().filter(|_| synth.alphas.len() == 1);
        let device =
            device.ok_or_else(|| wrong("is not of one play", "one skew and one device"))?;
        let elastic = spec.methods.iter().find(|method| pinned(method).is_none());
        let elastic = elastic.ok_or_else(|| {
            wrong("has no method that chooses", "one whose plans are not always the same")
        })?;
        let table = spec.quality.join(&device.base_model);
        Ok(Self {
            args,
            experiment,
            folder,
            out,
            device: device.clone(),
            table: QualityTable::load(&table, elastic.quality_family())?,
            items: synth.items.clone(),
        })
    }

    /// Every method in both loops, and what the play is called.
    fn plays(&self) -> impl Iterator<Item = (Loop, &'a MethodSpec, String)> {
        let methods = &self.experiment.spec.methods;
        let of = |how: Loop| methods.iter().map(move |one| (how, one));
        let plays = [Loop::Open, Loop::Closed].into_iter().flat_map(of);
        plays.map(|(how, method)| (how, method, format!("{}-{}", how.name(), method.name)))
    }

    /// Plays every method in both loops, and simulates each day.
    fn play_all(&self) -> Result<Report> {
        let (mut settled, mut known, mut rows) = (None, Known::new(), Vec::new());
        for (how, method, name) in self.plays() {
            say(format!("pliant: {name}: {} s", self.args.seconds));
            let server = self.serve(&name, method)?;
            if settled.is_none() {
                settled = Some(self.settle(&server)?);
            }
            let settled = settled.as_ref().expect("it was settled just now");
            let played = self.play_one(&server, how, method, settled, &mut known)?;
            write_played(&self.folder.join(format!("{name}.played.csv")), &played)?;
            self.keep_profile(&server.profile()?, &format!("learnt-{name}"), "learnt")?;
            server.stop()?;
            // What the server says of each call stands beside the client's own times.
            remove(&self.folder.join(format!("{name}.day.served.csv")))?;
            rows.push(self.row((how, method, &name), &settled.trace, &played)?);
        }
        remove(&self.folder.join(LOG))?;
        Ok(self.report(rows))
    }

    /// Simulates each day that was played before.
    fn simulate_all(&self) -> Result<Report> {
        copy(self.out, self.folder)?;
        let trace = Trace::read(&self.folder.join("trace.csv"))?;
        let row = |(how, method, name): (Loop, &MethodSpec, String)| {
            let played = read_played(&self.folder.join(format!("{name}.played.csv")))?;
            self.row((how, method, &name), &trace, &played)
        };
        Ok(self.report(self.plays().map(row).collect::<Result<_>>()?))
    }

    /// What was `played` of `trace`, beside its simulation.
    fn row(
        &self,
        (how, method, name): (Loop, &MethodSpec, &str),
        trace: &Trace,
        played: &[Played],
    ) -> Result<Row> {
        match how {
            Loop::Open => self.day_as_played(name)?,
            Loop::Closed => self.day_of_apps(name, trace, played)?,
        }
        let simulated = simulated::day(self, &simulated::Day { method, name, how })?;
        Ok(Row::of(how.name(), &method.name, played, simulated))
    }

    fn report(&self, rows: Vec<Row>) -> Report {
        Report { rows, experiment: self.experiment.path.clone(), seconds: self.args.seconds }
    }

    fn serve(&self, name: &str, method: &MethodSpec) -> Result<Server> {
        Server::start(&ServerArgs {
            executor: self.args.executor,
            speed: self.args.speed,
            margin: method.margin.unwrap_or(Ratio::percent(0)),
            record: &self.folder.join(format!("{name}.day.csv")),
            items: &self.items,
            log: &self.folder.join(LOG),
        })
    }

    /// The trace with objectives in times, and its prompts. Its arrivals are the experiment's.
    fn settle(&self, server: &Server) -> Result<Settled> {
        let profile = server.profile()?;
        self.keep_profile(&profile, "machine", "machine")?;
        let spec = &self.experiment.spec;
        let TraceSource::Synth(synth) = &spec.trace else { unreachable!("checked at the start") };
        let pools = drawn_from(item_pools(&synth.items)?, &synth.without)?;
        let trace = synthesize(&synth.spec(synth.alphas[0], spec.first_seed), &pools)?;
        let trace = in_times(trace, &profile, &self.device.base_model)?;
        trace.write(&self.folder.join("trace.csv"))?;
        let prompts = match self.args.executor {
            Executor::CostModel => Prompts::Filler,
            #[cfg(feature = "engine")]
            Executor::Engine => Prompts::of(&trace, &DataPaths::default())?,
        };
        Ok(Settled { trace, prompts })
    }

    fn play_one(
        &self,
        server: &Server,
        how: Loop,
        method: &MethodSpec,
        settled: &Settled,
        known: &mut Known,
    ) -> Result<Vec<Played>> {
        let Settled { trace, prompts } = settled;
        let options = PlayOptions {
            sending: match how {
                Loop::Open => Sending::Open,
                Loop::Closed => Sending::Closed,
            },
            most: Some(Duration::from_secs(self.args.seconds)),
            pinned: pinned(method),
        };
        let bar = Bar::new("requests");
        let mut played = play(trace, prompts, server.client(), &options, &bar)?;
        bar.clear();
        ask_for_answers(&mut played, trace, prompts, server.client(), known)?;
        look_up_answers(&mut played, &self.table);
        Ok(played)
    }

    /// The recorded day `name` without the calls that asked for answers once the play was over.
    fn day_as_played(&self, name: &str) -> Result<()> {
        let path = self.folder.join(format!("{name}.day.csv"));
        let mut day = Trace::read(&path)?;
        without_asking(&mut day);
        day.write(&path)
    }

    /// The day `name` of apps that wait for their answers: what was sent, with the thinking between
    /// two requests of an app, in place of the arrivals that waiting led to.
    fn day_of_apps(&self, name: &str, trace: &Trace, played: &[Played]) -> Result<()> {
        let written: BTreeMap<u64, u32> = played
            .iter()
            .map(|row| (row.id, if row.is_finished() { row.output_tokens } else { 0 }))
            .collect();
        let mut day = trace.clone();
        day.requests.retain(|request| written.contains_key(&request.id));
        for request in &mut day.requests {
            let tokens = written[&request.id];
            request.output_tokens = if tokens > 0 { tokens } else { request.output_tokens };
        }
        day.provenance.push(format!("those that were sent as {name}, answers as long as there"));
        day.write(&self.folder.join(format!("{name}.day.csv")))
    }

    /// Keeps `profile` in the folder `place` as the device `name`.
    fn keep_profile(&self, profile: &DeviceProfile, place: &str, name: &str) -> Result<()> {
        let profile = DeviceProfile { name: name.to_owned(), ..profile.clone() };
        profile.save(&self.folder.join(place))
    }
}
