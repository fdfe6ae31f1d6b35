//! The loss curves of a ladder's levels: a CSV file that grows by a row per step and follows a
//! checkpoint back.

use std::path::Path;

use crate::error::{Error, Result};
use crate::profile::row_log::RowLog;
use crate::units::Level;

const HEADER: [&str; 7] =
    ["level", "step", "tokens", "learning_rate", "train_loss", "held_out_loss", "wall_s"];

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

/// The curve of one level, in the file of all.
#[derive(Debug)]
pub struct LossCurve {
    log: RowLog,
    level: Level,
}

impl LossCurve {
    /// Opens or creates the file `path`, keeping of `level` the rows of the first `steps` steps,
    /// and all of other levels.
    ///
    /// # Errors
    /// If it cannot be read or written, or holds no loss curves.
    pub fn open(path: &Path, level: Level, steps: Option<usize>) -> Result<Self> {
        let (mut log, rows) = RowLog::open(path, &HEADER, 2)?;
        let own = level.as_percent().to_string();
        let mut is_kept = Vec::with_capacity(rows.len());
        for (line, row) in &rows {
            let step: usize = row[1].parse().map_err(|_| {
                Error::file(path, "not a step").at(format!("line {line}")).found(&row[1])
            })?;
            is_kept.push(row[0] != own || steps.is_some_and(|steps| step <= steps));
        }
        log.retain(|row| is_kept[row])?;
        Ok(Self { log, level })
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
            self.level.as_percent().to_string(),
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
    fn rows_after_the_checkpoint_are_cut_those_of_other_levels_are_left_alone() {
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
        let open = |level, steps| LossCurve::open(&path, Level::percent(level), steps).unwrap();
        for (level, steps) in [(20, 3), (30, 1)] {
            let mut curve = open(level, None);
            (1..=steps).for_each(|step| curve.append(&point(step)).unwrap());
        }
        let header = "level,step,tokens,learning_rate,train_loss,held_out_loss,wall_s\n";
        let row = |level: usize, step: usize| {
            format!("{level},{step},{},2.000e-3,2.5000,,1.2\n", 512 * step)
        };
        let text = || std::fs::read_to_string(&path).unwrap();
        open(20, Some(2)).append(&point(3)).unwrap();
        let kept = [row(20, 1), row(20, 2), row(30, 1), row(20, 3)].concat();
        assert_eq!(text(), format!("{header}{kept}"));
        drop(open(20, None));
        assert_eq!(text(), format!("{header}{}", row(30, 1)));
        drop(open(30, None));
        assert_eq!(text(), header);
    }
}
