//! What the scorer saw beside the grades: a file of its own, which a replay does not read.

use std::path::Path;

use super::sheet::{Key, Measure, Sheet};
use super::{Cell, QualityTable, RowId, mean};
use crate::error::{Error, Result};
use crate::profile::paths::AnswerFiles;

/// What is known of a cell beside its grade.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scores {
    pub(super) sum: Option<f32>,
    pub(super) probability: Option<f32>,
    pub(super) top: Option<f32>,
}

impl QualityTable {
    /// Reads the scores of the answers, if they were not read yet and there are any.
    pub(super) fn read_scores(&mut self) -> Result<()> {
        let Some((dir, sources)) = self.source.clone().filter(|_| self.scores.is_empty()) else {
            return Ok(());
        };
        self.scores = vec![Scores::default(); self.grades.len()];
        for of in sources {
            let path = AnswerFiles(&dir).scores(&of.compressor);
            if path.exists() {
                let sheet = Sheet::read(&path, Some(&of.family))?;
                self.place_scores(&path, &sheet)?;
            }
        }
        Ok(())
    }

    pub(super) fn place_scores(&mut self, path: &Path, sheet: &Sheet) -> Result<()> {
        for row in &sheet.rows {
            for &(measure, level, value) in sheet.cells(row) {
                let Some(cell) =
                    self.cell_of(row, level).filter(|&cell| self.grades[cell].is_some())
                else {
                    if row.key.asked || row.key.prompt_level.is_some() {
                        continue;
                    }
                    let Key { dataset, item, .. } = &row.key;
                    return Err(Error::file(path, "scores of an answer without a grade")
                        .at(format!("line {}", row.line))
                        .found(format!("{dataset} item {item} at {level}"))
                        .allowed("answers of the table beside it"));
                };
                let scores = &mut self.scores[cell];
                match measure {
                    Measure::Grade => continue,
                    Measure::GoldProbability => &mut scores.probability,
                    Measure::SumGrade => &mut scores.sum,
                    Measure::Top5Grade => &mut scores.top,
                }
                .get_or_insert(value);
            }
        }
        Ok(())
    }

    /// The answer as it was measured; `None` if it was not, or its scores were [not
    /// read](Self::load_scored).
    #[must_use]
    pub fn answer(&self, row: RowId, level: usize, ratio: usize) -> Option<Cell> {
        let scores = self.scores(row, level, ratio);
        Some(Cell {
            correct: self.grade(row, level, ratio)?.is_right(),
            sum_correct: scores.sum? > 0.5,
            gold_probability: scores.probability?,
            top_correct: scores.top.map(|top| top > 0.5),
        })
    }

    fn scores(&self, row: RowId, level: usize, ratio: usize) -> Scores {
        self.scores.get(self.cell(row, level, ratio)).copied().unwrap_or_default()
    }

    /// How right the answer is under the sum of log-likelihoods; `None` if that was not measured,
    /// or [not read](Self::load_scored).
    #[must_use]
    pub fn sum_grade(&self, row: RowId, level: usize, ratio: usize) -> Option<f32> {
        self.scores(row, level, ratio).sum
    }

    /// Probability of the right option; `None` if that was not measured, or [not
    /// read](Self::load_scored).
    #[must_use]
    pub fn gold_probability(&self, row: RowId, level: usize, ratio: usize) -> Option<f32> {
        self.scores(row, level, ratio).probability
    }

    /// Share of the measured items of `dataset` whose right option is among the first
    /// [`TOP`](super::TOP); `None` where the study does not count that, nothing was measured, or it
    /// was [not read](Self::load_scored).
    #[must_use]
    pub fn top_accuracy(&self, dataset: &str, level: usize, ratio: usize) -> Option<f64> {
        let rows = self.items(dataset).map(|(_, row)| row);
        mean(rows.filter_map(|row| self.scores(row, level, ratio).top).map(f64::from))
    }
}
