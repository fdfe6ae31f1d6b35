//! How near the replay is to its physical limit: `make bench`.
//!
//! The limit is Lindley's recursion over the same columns with a table of services, run in turns
//! with each case, so that both meet the same machine. A case is as fast as the fastest of its
//! passes. The last results are kept in `results/bench/`.
//!
//! `limits [--requests N] [--stream N] [--growth N] [--out DIR] [FILTER]`, where the filter is
//! `replay`, `growth`, `stream`, `around` or `peers`; `--stream-child N` is what it calls itself
//! by, to see the memory of a stream alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod around;
mod cases;
mod clock;
mod growth;
mod record;
mod scene;

use std::path::PathBuf;

use clock::{Timed, turns};
use record::{Line, Record};
use scene::Scene;

use pliant::Result;
use pliant::report::draw_growth;

/// What is asked of the bench.
#[derive(Debug)]
struct Options {
    requests: u32,
    stream: u32,
    /// The largest number of requests over which the cost is looked at as work grows.
    growth: u64,
    out: Option<PathBuf>,
    filter: Option<String>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut options = Options {
        requests: 10_000_000,
        stream: 100_000_000,
        growth: 1_000_000_000,
        out: None,
        filter: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("an option has a value");
        match argument.as_str() {
            "--requests" => options.requests = value().parse().expect("a number of requests"),
            "--stream" => options.stream = value().parse().expect("a number of requests"),
            "--growth" => options.growth = value().parse().expect("a number of requests"),
            "--out" => options.out = Some(value().into()),
            "--stream-child" => return around::stream(value().parse().expect("a number")),
            _ => options.filter = Some(argument),
        }
    }
    run(&options)
}

fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.filter.as_ref().is_none_or(|filter| name.contains(filter));
    let mut record = Record::default();
    let mut print = |line: Line| {
        println!("{line}");
        record.lines.push(line);
    };
    if wanted("replay") {
        replays(options, &mut print)?;
    }
    if wanted("growth") {
        growth::lines(options.growth, &mut print)?;
    }
    let others = [("stream", around::stream_lines as fn(&Options) -> Vec<Line>)];
    let others = others.into_iter().chain([
        ("around", around::command_lines as fn(&Options) -> Vec<Line>),
        ("peers", around::peer_lines),
    ]);
    for (_, lines) in others.filter(|(name, _)| wanted(name)) {
        lines(options).into_iter().for_each(&mut print);
    }
    let Some(folder) = &options.out else { return Ok(()) };
    record.keep(folder)?;
    if wanted("growth") { draw_growth(folder) } else { Ok(()) }
}

fn replays(options: &Options, print: &mut impl FnMut(Line)) -> Result<()> {
    let scene = Scene::new(options.requests)?;
    for mut case in cases::all(&scene) {
        let Timed { limit, case: took } = turns(|| scene.lindley(), &mut case.run);
        print(Line::of_replay(&case, scene.columns.len() as u64, took, limit));
    }
    cases::together(&scene).into_iter().for_each(print);
    Ok(())
}
