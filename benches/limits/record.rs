//! What was measured, as lines of a table and as files.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pliant::Result;
use pliant::files::write_whole;
use pliant::origin::{commit, today};

use crate::cases::Case;

/// What a case should reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// A share of the limit's requests per second.
    OfLimit(f64),
    /// Requests per second.
    PerSecond(f64),
    /// Seconds, at most.
    Seconds(f64),
    /// Bytes, at most.
    Bytes(f64),
    /// Times as fast.
    Times(f64),
    /// None is stated.
    None,
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Line {
    pub case: String,
    pub goal: Goal,
    /// Requests replayed, or rows read.
    pub requests: u64,
    pub seconds: f64,
    /// Of the limit, where it was run in turns.
    pub of_limit: Option<f64>,
    /// The most memory that was held, where it was looked at.
    pub bytes: Option<u64>,
    /// How much there is of what grows.
    pub work: Option<u64>,
    /// How many times as fast as in another setting that was run in turns, where there is one.
    pub times: Option<f64>,
}

impl Line {
    pub fn new(case: impl Into<String>, goal: Goal, requests: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let case = case.into();
        let (of_limit, bytes, work, times) = (None, None, None, None);
        Self { case, goal, requests, seconds, of_limit, bytes, work, times }
    }

    /// A case that replays `requests`; the limit took `limit` for `of_limit` of them.
    pub fn of_replay(case: &Case<'_>, of_limit: u64, took: Duration, limit: Duration) -> Self {
        let rate = |requests: u64, took: Duration| requests as f64 / took.as_secs_f64();
        let share = rate(case.requests, took) / rate(of_limit, limit);
        let line = Self::new(case.name.clone(), case.goal, case.requests, took);
        Self { of_limit: Some(share), ..line }
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Whether the goal is met, if there is one.
    fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::OfLimit(share) => Some(self.of_limit? >= share),
            Goal::PerSecond(rate) => Some(self.per_second() >= rate),
            Goal::Seconds(most) => Some(self.seconds <= most),
            Goal::Bytes(most) => Some(self.bytes? as f64 <= most),
            Goal::Times(least) => Some(self.times? >= least),
            Goal::None => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfLimit(share) => write!(f, "≥ {:.0} % of the limit", share * 100.0),
            Self::PerSecond(rate) => write!(f, "≥ {:.0} M/s", rate / 1e6),
            Self::Seconds(most) => write!(f, "≤ {most} s"),
            Self::Bytes(most) => write!(f, "≤ {:.0} MB", most / 1e6),
            Self::Times(least) => write!(f, "≥ {least} times as fast"),
            Self::None => Ok(()),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.per_second() / 1e6;
        write!(f, "{:<52} {:>9.3} s {:>9.3} M/s", self.case, self.seconds, rate)?;
        let share = self.of_limit.map_or_else(String::new, |s| format!("{:.0} %", s * 100.0));
        let share = self.times.map_or(share, |times| format!("{times:.2} ×"));
        let bytes = self.bytes.map_or_else(String::new, |b| format!("{:.0} MB", b as f64 / 1e6));
        let bytes = self.work.map_or(bytes, |work| format!("of {work}"));
        let met = self.met().map_or("", |met| if met { "met" } else { "MISSED" });
        write!(f, " {share:>6} {bytes:>13}  {:<22} {met}", self.goal.to_string())
    }
}

/// All measurements.
#[derive(Debug, Default)]
pub struct Record {
    pub lines: Vec<Line>,
}

impl Record {
    /// Writes `bench.csv`, and `machine.toml` with where and from what.
    pub fn keep(&self, folder: &Path) -> Result<()> {
        let mut text =
            "case,work,requests,seconds,requests_per_second,share_of_limit,times_as_fast,\
             memory_bytes,goal,met\n"
                .to_owned();
        for line in &self.lines {
            let Line { case, requests, seconds, .. } = line;
            let share = line.of_limit.map_or_else(String::new, |share| format!("{share:.3}"));
            let times = line.times.map_or_else(String::new, |times| format!("{times:.2}"));
            let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
            let (bytes, work) = (number(line.bytes), number(line.work));
            let met = line.met().map_or("", |met| if met { "1" } else { "0" });
            let rate = line.per_second();
            writeln!(
                text,
                "\"{case}\",{work},{requests},{seconds:.4},{rate:.0},{share},{times},{bytes},{},\
                 {met}",
                line.goal
            )
            .expect("memory takes any row");
        }
        fs::create_dir_all(folder)
            .map_err(|error| pliant::Error::io(folder, "cannot create", error))?;
        write_whole(&folder.join("bench.csv"), text.as_bytes())?;
        let machine = toml::to_string(&machine()).expect("texts are plain data");
        write_whole(&folder.join("machine.toml"), machine.as_bytes())
    }
}

/// Where and from what.
fn machine() -> BTreeMap<&'static str, String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    BTreeMap::from([
        ("command", "make bench".to_owned()),
        ("commit", commit()),
        ("cores", cores.to_string()),
        ("cpu", model.map_or("unknown", |(_, name)| name).to_owned()),
        ("date", today()),
        ("pliant", env!("CARGO_PKG_VERSION").to_owned()),
    ])
}
