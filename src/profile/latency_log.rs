//! Raw latency samples: the CSV that a device's coefficients are fitted to.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::row_log::RowLog;
use super::text;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::units::Level;

const HEADER: [&str; 6] = ["family", "level", "phase", "tokens", "repetition", "ms"];

/// What was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading a prompt of `tokens` tokens, up to the first output token.
    Prefill,
    /// One output token at a context of `tokens` tokens.
    Decode,
    /// Making the level resident from level `tokens` percent.
    Switch,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Prefill, Self::Decode, Self::Switch];

    /// The name in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Switch => "switch",
        }
    }
}

/// One timing.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencySample {
    /// Family of sub-models.
    pub family: String,
    /// Level that ran, or that became resident.
    pub level: Level,
    /// What was timed.
    pub phase: Phase,
    /// Prompt length, context, or, for a switch, the level in percent that was resident before.
    pub tokens: u32,
    /// Number of the repetition, from 0.
    pub repetition: u32,
    /// Wall time.
    pub ms: f64,
}

type Key = (String, Level, Phase, u32, u32);

impl LatencySample {
    fn key(&self) -> Key {
        (self.family.clone(), self.level, self.phase, self.tokens, self.repetition)
    }
}

/// Appends samples as they are taken, and knows which are there; survives being killed. One process
/// at a time has it open.
#[derive(Debug)]
pub struct LatencyLog {
    log: RowLog,
    samples: Vec<LatencySample>,
    done: BTreeSet<Key>,
}

impl LatencyLog {
    /// Creates or resumes the samples file `path`. What a kill tore is dropped.
    ///
    /// # Errors
    /// If another process has it open, or if it cannot be read or written or is not a samples file.
    pub fn open(path: &Path) -> Result<Self> {
        let (log, rows) = RowLog::open(path, &HEADER, HEADER.len())?;
        let samples = rows.iter().map(|(line, row)| parse(path, *line, row));
        let samples: Vec<_> = samples.collect::<Result<_>>()?;
        let done = samples.iter().map(LatencySample::key).collect();
        Ok(Self { log, samples, done })
    }

    /// Every sample that is there.
    #[must_use]
    pub fn samples(&self) -> &[LatencySample] {
        &self.samples
    }

    /// Whether the sample of this key was taken already; its `ms` is not looked at.
    #[must_use]
    pub fn contains(&self, sample: &LatencySample) -> bool {
        self.done.contains(&sample.key())
    }

    /// Appends one sample.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If the sample is there already.
    pub fn append(&mut self, sample: &LatencySample) -> Result<()> {
        assert!(self.done.insert(sample.key()), "a sample is taken twice: {sample:?}");
        self.log.append([
            sample.family.clone(),
            sample.level.as_percent().to_string(),
            sample.phase.name().to_owned(),
            sample.tokens.to_string(),
            sample.repetition.to_string(),
            sample.ms.to_string(),
        ])?;
        self.samples.push(sample.clone());
        Ok(())
    }
}

/// Reads a samples file.
///
/// # Errors
/// If it cannot be read, has other columns, or a row that is no sample.
pub fn read_latency_samples(path: &Path) -> Result<Vec<LatencySample>> {
    let text = text::read(path)?;
    rows_of(path, &text)
}

/// The samples of a file that was read.
pub(super) fn samples_of(input: &Input) -> Result<Vec<LatencySample>> {
    rows_of(input.path(), input.text())
}

fn rows_of(path: &Path, text: &str) -> Result<Vec<LatencySample>> {
    let rows = text::csv_rows(path, text, &HEADER)?;
    rows.iter().map(|(line, row)| parse(path, *line, row)).collect()
}

fn parse(path: &Path, line: u64, row: &csv::StringRecord) -> Result<LatencySample> {
    let number =
        |column: usize| text::number(path, line, HEADER[column], &row[column], "a whole number");
    let refuse = |column: usize, problem: &str, allowed: &str| {
        Error::file(path, problem)
            .at(format!("line {line}, column {:?}", HEADER[column]))
            .found(format!("{:?}", &row[column]))
            .allowed(allowed)
    };
    let percent = number(1)?;
    if !(1..=100).contains(&percent) {
        return Err(refuse(1, "level out of range", "1 to 100"));
    }
    let phase = Phase::ALL.into_iter().find(|phase| phase.name() == &row[2]);
    let ms: f64 = text::number(path, line, HEADER[5], &row[5], "milliseconds above 0")?;
    if !(ms > 0.0 && ms.is_finite()) {
        return Err(refuse(5, "not a length of time", "milliseconds above 0"));
    }
    Ok(LatencySample {
        family: row[0].to_owned(),
        level: Level::percent(percent as u16),
        phase: phase.ok_or_else(|| refuse(2, "unknown phase", "prefill, decode or switch"))?,
        tokens: number(3)?,
        repetition: number(4)?,
        ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_round_trip_and_are_known_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.csv");
        let sample = LatencySample {
            family: "width".into(),
            level: Level::percent(20),
            phase: Phase::Decode,
            tokens: 256,
            repetition: 3,
            ms: 12.345_678_9,
        };
        LatencyLog::open(&path).unwrap().append(&sample).unwrap();
        assert_eq!(read_latency_samples(&path).unwrap(), std::slice::from_ref(&sample));
        let log = LatencyLog::open(&path).unwrap();
        assert_eq!(log.samples(), std::slice::from_ref(&sample));
        assert!(log.contains(&sample));
        assert!(!log.contains(&LatencySample { repetition: 4, ..sample }));
    }
}
