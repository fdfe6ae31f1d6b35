//! What the offline stage costs: one row per stage and part in `offline-cost.csv` beside the
//! manifest, written by the commands themselves.
//!
//! Energy is modelled, not measured: processor seconds × watts per busy core.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::model::recorded::Spent;

/// The file's name beside the manifest.
pub const FILE: &str = "offline-cost.csv";

/// One row: what one part of one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineCost {
    /// `recover`, `score` and so on: the command's name.
    pub stage: String,
    /// Which part of the stage: a level in percent, say. Empty if the stage has only one.
    pub part: String,
    /// Time on the clock, seconds.
    pub wall_s: f64,
    /// Time of all threads on a processor, seconds; `None` where the system does not tell.
    pub cpu_s: Option<f64>,
    /// Tokens that went through a network, repetitions counted.
    pub tokens: u64,
    /// `cpu_s` times the watts of a busy core, joules.
    pub energy_modelled_j: Option<f64>,
}

impl OfflineCost {
    /// A row whose energy follows from `watts_per_core`.
    #[must_use]
    pub fn new(stage: &str, part: String, spent: Spent, tokens: u64, watts_per_core: f64) -> Self {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        Self {
            stage: stage.to_owned(),
            part,
            wall_s: rounded(spent.wall_s),
            cpu_s: spent.cpu_s.map(rounded),
            tokens,
            energy_modelled_j: spent.cpu_s.map(|cpu_s| rounded(cpu_s * watts_per_core)),
        }
    }

    /// Reads the file `path`; no file is no rows.
    ///
    /// # Errors
    /// If it cannot be read or is no such table.
    pub fn load(path: &Path) -> Result<Vec<Self>> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        let wrong = |error| Error::file(path, "not a table of offline costs").caused_by(error);
        let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
        reader.deserialize().collect::<Result<_, csv::Error>>().map_err(wrong)
    }

    /// Puts this row into the file `path`, in place of one of the same stage and part.
    ///
    /// # Errors
    /// If the file is no such table or cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "a row is plain data")]
    pub fn record(self, path: &Path) -> Result<()> {
        // Several stages share the table, each for a moment.
        let _turn = Lock::wait(path, |_| ())?;
        let mut rows = Self::load(path)?;
        let same = |row: &Self| (&row.stage, &row.part) == (&self.stage, &self.part);
        match rows.iter().position(same) {
            Some(place) => rows[place] = self,
            None => rows.push(self),
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).expect("a row is plain data");
        }
        files::write_whole(path, &writer.into_inner().expect("memory can be flushed"))
    }
}

/// Measures what this process spends.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    cpu_s: Option<f64>,
}

impl Meter {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the cost of the offline stage is measured")]
    pub fn start() -> Self {
        Self { start: Instant::now(), cpu_s: process_cpu_s() }
    }

    /// What was spent since the start.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let cpu_s = self.cpu_s.zip(process_cpu_s()).map(|(start, now)| now - start);
        Spent { wall_s: self.start.elapsed().as_secs_f64(), cpu_s }
    }
}

/// Seconds that this process's threads have run, finished ones included, in user and kernel mode.
///
/// From `/proc/self/stat`, whose clock is fixed at 100 ticks a second on Linux.
fn process_cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold spaces, and ends at the last parenthesis.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(part: &str, cpu_s: Option<f64>) -> OfflineCost {
        OfflineCost::new("recover", part.into(), Spent { wall_s: 2.0, cpu_s }, 512, 5.0)
    }

    #[test]
    fn a_row_replaces_the_one_of_its_stage_and_part_and_absent_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for row in [row("20", Some(1.0)), row("30", None), row("20", Some(3.5))] {
            row.record(&path).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = "stage,part,wall_s,cpu_s,tokens,energy_modelled_j\n\
                        recover,20,2.0,3.5,512,17.5\nrecover,30,2.0,,512,\n";
        assert_eq!(text, expected);
        assert_eq!(OfflineCost::load(&path).unwrap(), [row("20", Some(3.5)), row("30", None)]);
    }

    #[test]
    fn a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "x,y\n1,2\n").unwrap();
        let message = row("20", None).record(&path).unwrap_err().to_string();
        assert!(message.contains("not a table of offline costs"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x,y\n1,2\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_busy_process_spends_processor_time() {
        let meter = Meter::start();
        let mut sum = 0u64;
        while meter.spent().cpu_s.unwrap() < 0.02 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(meter.spent().wall_s > 0.0);
    }
}
