//! What is around a replay: a stream's memory, whole commands, other simulators.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pliant::Result;
use pliant::metrics::Tally;
use pliant::sim::{Served, ServedSink, ServiceOptions, replay_columns};
use pliant::trace::{CallStream, SynthSpec};

use crate::Options;
use crate::clock::{on_the_wall, timed};
use crate::record::{Goal, Line};
use crate::scene::Scene;

#[path = "../../tests/it/bench_files.rs"]
mod bench_files;

struct Measures(Tally);

impl ServedSink for Measures {
    fn served(&mut self, served: Served<'_, '_>) -> Result<()> {
        self.0.served(served.nth, &served);
        Ok(())
    }
}

/// Replays a stream of so many requests, and prints its seconds and the most memory held.
pub fn stream(requests: u32) -> Result<()> {
    let scene = Scene::new(1000)?;
    let spec = SynthSpec { requests, ..scene.synth.clone() };
    let (_, mut calls) = CallStream::new(&spec, &scene.pools)?;
    let mut ledger = scene.ledger(scene.method("elastilm"));
    let mut sink = Measures(Tally::of_measures_alone());
    let mut ran = Ok(pliant::sim::Ran::default());
    let took = timed(|| {
        ran = replay_columns(&mut ledger, &mut calls, &ServiceOptions::default(), &mut sink);
    });
    calls.finish()?;
    let measures = sink.0.finish_with(&ledger, ran?);
    assert_eq!(measures.requests as u64, u64::from(requests));
    println!("{} {}", took.as_secs_f64(), most_memory());
    Ok(())
}

/// The most memory that this process has held, in bytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

pub fn stream_lines(options: &Options) -> Vec<Line> {
    let own = std::env::current_exe().expect("a running program has a file");
    let output = Command::new(own).args(["--stream-child", &options.stream.to_string()]).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [seconds, bytes] = numbers[..] else { panic!("{output:?}") };
    let took = Duration::from_secs_f64(seconds);
    let line = Line::new(
        "stream: elastilm, drawn as it is replayed",
        Goal::Bytes(256e6),
        options.stream.into(),
        took,
    );
    vec![Line { bytes: Some(bytes as u64), ..line }]
}

/// Processor time of children so far.
fn of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The least processor time of three runs of `pliant` with these arguments.
fn processor_time(arguments: &[&str]) -> Duration {
    let run = |_| {
        let before = of_children();
        let status = Command::new(env!("CARGO_BIN_EXE_pliant"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("pliant runs").success(), "{arguments:?}");
        of_children().saturating_sub(before)
    };
    (0..3).map(run).min().expect("it was run")
}

pub fn command_lines(_: &Options) -> Vec<Line> {
    let folder = std::env::temp_dir().join(format!("pliant-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let place = |name: &str| folder.join(name).display().to_string();
    let out = place("paper-e2e");
    let study = ["run", "experiments/paper-e2e.toml", "--out", &out, "--force"];
    let rows = 2_000_000;
    fs::write(folder.join("calls.csv"), azure(rows)).expect("a temporary file can be written");
    let (calls, trace) = (place("calls.csv"), place("trace.csv"));
    let items = "device-profiles/quality/smollm2-135m-instruct/score-head.tokens.csv";
    let import =
        ["trace", "import", "--format", "azure", &calls, "--items", items, "--out", &trace];
    let lines = vec![
        Line::new(
            "around: pliant run paper-e2e.toml, processor",
            Goal::Seconds(1.5),
            9 * 4 * 3 * 20 * 600,
            processor_time(&study),
        ),
        Line::new(
            "around: import of 2 million rows, processor",
            Goal::Seconds(1.0),
            rows,
            processor_time(&import),
        ),
        sweep(&place("sweep")),
        first_row(&folder),
    ];
    fs::remove_dir_all(&folder).expect("what was made can be removed");
    lines
}

/// A sweep over three rates on two threads and on one, in turns, on the wall: others on the
/// machine count.
fn sweep(out: &str) -> Line {
    let on = |threads: &str| {
        let set = "trace.arrivals_per_hour=5,50,500";
        let arguments = ["sweep", "experiments/paper-e2e.toml", "--set", set, "--out", out];
        on_the_wall(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pliant"));
            command.args(arguments).args(["--no-cache", "--force", "--threads", threads]);
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(status.expect("pliant runs").success(), "{arguments:?}");
        })
    };
    let turns: Vec<_> = (0..3).map(|_| (on("1"), on("2"))).collect();
    let one = turns.iter().map(|turn| turn.0).min().expect("it was run");
    let two = turns.iter().map(|turn| turn.1).min().expect("it was run");
    let requests = 3 * 9 * 4 * 3 * 20 * 600;
    let line = Line::new("around: pliant sweep, two threads", Goal::Times(1.8), requests, two);
    Line { times: Some(one.as_secs_f64() / two.as_secs_f64()), ..line }
}

/// From the start of a run of two methods over hand-made tables to the first line it prints.
fn first_row(folder: &Path) -> Line {
    bench_files::write(folder);
    let once = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pliant"))
            .args(["run", "experiment.toml", "--force", "--out", "small"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("pliant runs");
        let mut line = String::new();
        let printed = child.stdout.take().expect("it is piped");
        BufReader::new(printed).read_line(&mut line).expect("it prints a line");
        child.wait().expect("it ends");
    };
    let took = (0..10).map(|_| on_the_wall(once)).min().expect("it was run");
    Line::new("around: start to first row of a small run", Goal::Seconds(0.05), 1080, took)
}

/// Calls as Azure's traces write them, every 50 ms.
fn azure(rows: u64) -> String {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    for row in 0..rows {
        let (second, rest) = (row / 20, row % 20 * 50);
        let (day, hour) = (10 + second / 86_400, second / 3600 % 24);
        let (minute, second) = (second / 60 % 60, second % 60);
        let (prompt, output) = (10 + row * 7919 % 1990, 1 + row * 104_729 % 400);
        writeln!(
            text,
            "2024-05-{day:02} {hour:02}:{minute:02}:{second:02}.{rest:03}+00:00,{prompt},{output}"
        )
        .expect("memory takes any row");
    }
    text
}

/// Other simulators, where `make bench` could get them.
pub fn peer_lines(_: &Options) -> Vec<Line> {
    let peers = [
        ("SimCore (DSLab)", "PLIANT_PEERS", vec!["simcore", "10000000"]),
        ("NeXosim", "PLIANT_PEERS", vec!["nexosim", "2000000"]),
        ("SimPy", "PLIANT_SIMPY", vec!["benches/peers/simpy_queue.py", "200000"]),
    ];
    peers
        .into_iter()
        .filter_map(|(name, program, arguments)| peer(name, program, &arguments))
        .collect()
}

/// What the program that the environment calls `variable` measures; `None`, said, without it.
fn peer(name: &str, variable: &str, arguments: &[&str]) -> Option<Line> {
    let skip = |why: &str| {
        println!("peer: {name}: skipped, {why}");
        None
    };
    let Ok(program) = std::env::var(variable) else { return skip("not installed") };
    let before = of_children();
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return skip("cannot be started");
    };
    let took = of_children().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [requests, _] = numbers[..] else { return skip("it failed") };
    Some(Line::new(format!("peer: {name}"), Goal::None, requests as u64, took))
}
