//! The loss curve of a run: a CSV file that grows by a row per step and follows a checkpoint back.

use std::path::Path;

use crate::error::{Error, Result};
use crate::profile::row_log::RowLog;

const HEADER: [&str; 6] =
    ["step", "tokens", "learning_rate", "train_loss", "held_out_loss", "wall_s"];

/// A row: losses are nats per token, absent where not measured at that step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Learning rate of the step.
    pub learning_rate: Option<f64>,
    /// Mean loss of the step's predictions, before the step.
    pub train_loss: Option<f64>,
    /// Mean loss on text that is not trained on.
    pub held_out_loss: Option<f64>,
    /// Time spent training so far.
    pub wall_s: f64,
}

/// The curve's file.
#[derive(Debug)]
pub struct LossCurve {
    log: RowLog,
}

impl LossCurve {
    /// Opens or creates the file `path`, keeping the rows of the first `steps` steps.
    ///
    /// # Errors
    /// If it cannot be read or written, or is no loss curve.
    pub fn open(path: &Path, steps: Option<usize>) -> Result<Self> {
        let (mut log, rows) = RowLog::open(path, &HEADER, 1)?;
        let mut kept = 0;
        for (line, row) in &rows {
            let step: usize = row[0].parse().map_err(|_| {
                Error::file(path, "not a step").at(format!("line {line}")).found(&row[0])
            })?;
            if steps.is_some_and(|steps| step <= steps) {
                kept += 1;
            }
        }
        log.keep(kept)?;
        Ok(Self { log })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, point: &Point) -> Result<()> {
        let number = |value: Option<f64>, digits: usize| {
            value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
        };
        self.log.append([
            point.step.to_string(),
            point.tokens.to_string(),
            point.learning_rate.map(|rate| format!("{rate:.3e}")).unwrap_or_default(),
            number(point.train_loss, 4),
            number(point.held_out_loss, 4),
            number(Some(point.wall_s), 1),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_after_the_checkpoint_are_cut_and_none_is_kept_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.csv");
        let point = |step| Point {
            step,
            tokens: 512 * step as u64,
            learning_rate: Some(2e-3),
            train_loss: Some(2.5),
            held_out_loss: None,
            wall_s: 1.25,
        };
        let mut curve = LossCurve::open(&path, None).unwrap();
        for step in 1..=3 {
            curve.append(&point(step)).unwrap();
        }
        drop(curve);
        let header = "step,tokens,learning_rate,train_loss,held_out_loss,wall_s\n";
        let row = |step: usize| format!("{step},{},2.000e-3,2.5000,,1.2\n", 512 * step);
        LossCurve::open(&path, Some(2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{header}{}{}", row(1), row(2)));
        LossCurve::open(&path, None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), header);
    }
}
