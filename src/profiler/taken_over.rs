//! Answers that need not be measured again: another compressor's table has them, to the very same
//! prompts.
//!
//! Prompts are compared token by token, here and now; the weights, the ladder and the data are
//! compared by their hashes. So a compressor that changes the prompts of some datasets only is
//! measured on these only.

use std::path::Path;

use super::prompted::{Cells, Cutter, Prompted};
use super::quality::QualityPlan;
use crate::error::{Error, Result};
use crate::model::ElasticModel;
use crate::profile::{AnswerFiles, AnswersOf, QualityLog, QualityManifest, QualityTable};
use crate::prompt::Compressor;
use crate::units::PROMPT_RATIOS;

/// The answers of the plan's family to prompts that another compressor cut.
#[derive(Debug)]
pub(super) struct OtherAnswers {
    table: QualityTable,
    cutter: Cutter,
}

impl OtherAnswers {
    /// Opens the table of `compressor` in `folder`, to stand beside rows that `manifest` describes.
    ///
    /// # Errors
    /// If there is no such table, or it is of other weights, another ladder, other data or another
    /// score.
    pub(super) fn open(
        model: &ElasticModel,
        plan: &QualityPlan,
        compressor: Compressor,
        folder: &Path,
        manifest: &QualityManifest,
    ) -> Result<Self> {
        let of = AnswersOf { compressor: compressor.name().to_owned(), ..plan.answers() };
        let table = QualityTable::load_scored(folder, &of.to_string())?;
        let path = AnswerFiles(folder).manifest(&of.compressor);
        let known = QualityManifest::load(folder, &of, false)?;
        let known = known.ok_or_else(|| Error::file(&path, "says nothing of these answers"))?;
        let same = QualityManifest { compressor: known.compressor.clone(), ..manifest.clone() };
        same.check_alike(&known, &path)?;
        let data = |note: &&String| note.contains(" data sha256 ");
        for note in manifest.notes.iter().filter(data) {
            let dataset = note.split(' ').next().unwrap_or_default();
            let other = known.notes.iter().filter(data).find(|n| n.starts_with(dataset));
            if let Some(other) = other.filter(|other| *other != note) {
                return Err(Error::file(&path, "answers to other data").found(other).allowed(note));
            }
        }
        Ok(Self { table, cutter: Cutter::open(model, compressor, plan.seed)? })
    }

    /// Appends to `log` what the table has of `prompted`, at the levels of `plan` and at ratios
    /// where both compressors leave the same tokens; returns how many answers those are.
    ///
    /// # Errors
    /// If a prompt cannot be cut or the log not written.
    pub(super) fn take(
        &mut self,
        model: &mut ElasticModel,
        plan: &QualityPlan,
        prompted: &Prompted<'_>,
        log: &mut QualityLog,
    ) -> Result<usize> {
        let (dataset, item) = (prompted.dataset, prompted.item);
        let Some(row) = self.table.row(&dataset.name, item.id) else { return Ok(0) };
        let other = self.cutter.cut(model, dataset, item, &plan.ratios)?;
        let mut taken = 0;
        for &level in &plan.levels {
            let Some(column) = self.table.level_index(level) else { continue };
            let mut cells: Cells = [None; PROMPT_RATIOS.len()];
            for (cell, ratio) in cells.iter_mut().zip(PROMPT_RATIOS) {
                let same =
                    prompted.context(ratio).is_some_and(|own| other.context(ratio) == Some(own));
                let place = self.table.ratio_index(ratio).filter(|_| same);
                *cell = place.and_then(|place| self.table.answer(row, column, place));
                taken += usize::from(cell.is_some());
            }
            log.append(&dataset.name, item.id, level, &cells)?;
        }
        Ok(taken)
    }
}
