//! Figures that an experiment asks for by name, beside those of its runs: accuracy over levels,
//! prompt ratios or objectives, layer importance, offline cost, memory, switching, share of the
//! oracle.
//!
//! A table that is not there yet is named as absent, in the figure and in the text: what is shown
//! never depends on guessing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cost_bars::draw_offline_cost;
use super::curves::{Curves, Over};
use super::layer_bars::draw_layer_importance;
use super::oracle_share::oracle_share;
use super::recovery::{Tables, draw_recovery};
use super::resident_memory::draw_memory;
use super::standalone::{StandaloneSpec, draw_standalone};
use super::switching::draw_switching;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::metrics::MetricsRow;

/// A figure of an experiment file: `[[figures]]`. Paths are from where the command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FigureSpec {
    /// Accuracy of sub-models on full prompts over levels, a line per table: the study's 10a.
    SubModels {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// What is compared.
        series: Vec<SeriesSpec>,
    },
    /// What tuning gives each level, beside what it gives the full model: gains and gaps, paired by
    /// item.
    Recovery {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// Table of the sub-models as they were cut.
        untuned: String,
        /// Table of the same, tuned.
        tuned: String,
        /// Table of the full model, equally tuned.
        control: String,
    },
    /// How much the loss grows when each layer is removed: the study's 10b.
    LayerImportance {
        /// An elastification manifest.
        manifest: PathBuf,
    },
    /// Accuracy at one level over prompt ratios, a line per table: the study's 13a.
    Compressors {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// Percent.
        level: u16,
        /// What is compared.
        series: Vec<SeriesSpec>,
    },
    /// The share of the oracle's accuracy that each method reaches: the study's 13b.
    OracleShare {},
    /// Accuracy within the SLO over objectives, each item asked alone: the study's 15, 4b and 18d.
    Standalone(StandaloneSpec),
    /// Memory with one level and with all levels resident, a figure per device: the study's 16a.
    Memory {
        /// What is shown.
        of: Vec<FamiliesSpec>,
    },
    /// What a switch costs, a figure per device: the study's 16b.
    Switching {
        /// What is shown.
        of: Vec<FamiliesSpec>,
    },
    /// Time and tokens of each offline stage: the study's 17.
    OfflineCost {
        /// Files `offline-cost.csv`, one after the other.
        tables: Vec<PathBuf>,
    },
}

/// Families of sub-models on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamiliesSpec {
    /// Folder of the device profile.
    pub device: PathBuf,
    /// Whose sub-models.
    pub base_model: String,
    /// In the order of the figure.
    pub families: Vec<String>,
}

/// A line: a quality table and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesSpec {
    /// In the legend.
    pub name: String,
    /// In the folder.
    pub table: String,
}

impl FigureSpec {
    /// The files that the figure is drawn from, there or not.
    #[must_use]
    pub fn inputs(&self) -> Vec<PathBuf> {
        match self {
            Self::SubModels { folder, series } | Self::Compressors { folder, series, .. } => {
                series.iter().map(|series| folder.join(format!("{}.csv", series.table))).collect()
            }
            Self::Recovery { folder, untuned, tuned, control } => {
                let file = |table: &String| folder.join(format!("{table}.csv"));
                [untuned, tuned, control].map(file).to_vec()
            }
            Self::LayerImportance { manifest } => vec![manifest.clone()],
            Self::OfflineCost { tables } => tables.clone(),
            Self::Standalone(spec) => spec.inputs(),
            Self::Memory { of } | Self::Switching { of } => {
                of.iter().map(|entry| entry.device.join("device.toml")).collect()
            }
            Self::OracleShare {} => Vec::new(),
        }
    }

    /// Draws the figure into `folder`, with its numbers in a CSV file of the same name, and returns
    /// what it shows as text.
    ///
    /// # Errors
    /// If an input is broken, or a file cannot be written.
    pub fn draw(&self, rows: &[MetricsRow], out: &Path) -> Result<String> {
        match self {
            Self::SubModels { folder, series } => {
                Curves::read(folder, series, Over::Levels)?.draw("sub-models", out)
            }
            Self::Compressors { folder, level, series } => {
                let over = Over::Ratios { level: *level };
                Curves::read(folder, series, over)?.draw("compressors", out)
            }
            Self::Recovery { folder, untuned, tuned, control } => {
                match self.inputs().iter().find_map(|table| absent(table)) {
                    Some(text) => Ok(text),
                    None => draw_recovery(folder, Tables { untuned, tuned, control }, out),
                }
            }
            Self::LayerImportance { manifest } => match absent(manifest) {
                Some(text) => Ok(text),
                None => draw_layer_importance(manifest, out),
            },
            Self::OfflineCost { tables } => match tables.iter().find_map(|table| absent(table)) {
                Some(text) => Ok(text),
                None => draw_offline_cost(tables, out),
            },
            Self::Standalone(spec) => draw_standalone(spec, out),
            Self::Memory { of } => of.iter().map(|spec| draw_memory(spec, out)).collect(),
            Self::Switching { of } => of.iter().map(|spec| draw_switching(spec, out)).collect(),
            Self::OracleShare {} => {
                let (text, csv) = oracle_share(rows);
                write_whole(&out.join("oracle-share.csv"), csv.as_bytes())?;
                Ok(text)
            }
        }
    }
}

/// A sentence on a file that is not there.
fn absent(path: &Path) -> Option<String> {
    (!path.exists())
        .then(|| format!("absent: {} is not there, its figure is not drawn\n", path.display()))
}

/// Refuses figures of one kind, whose files would share a name.
///
/// # Errors
/// If two figures are of one kind.
pub fn check_figures(figures: &[FigureSpec]) -> Result<()> {
    for (at, figure) in figures.iter().enumerate() {
        let same =
            |other: &FigureSpec| std::mem::discriminant(other) == std::mem::discriminant(figure);
        if figures[..at].iter().any(same) {
            return Err(Error::new("experiment", "two figures of one kind")
                .at("key \"figures\"")
                .allowed("each kind once"));
        }
    }
    Ok(())
}

/// Rows of text with columns in line, the first flush left.
pub(super) fn text_table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let pad = widths[column] - cell.chars().count();
            let line = match column {
                0 => write!(text, "{cell}{}", " ".repeat(pad)),
                _ => write!(text, "  {}{cell}", " ".repeat(pad)),
            };
            line.expect("a string can always grow");
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_text_are_in_line() {
        let rows = [vec!["a".into(), "10".into()], vec!["long".into(), "5".into()]];
        assert_eq!(text_table(&rows), "a     10\nlong   5\n");
    }

    #[test]
    fn what_is_not_there_is_said_to_be_absent() {
        let figure = FigureSpec::OfflineCost { tables: vec!["no-such.csv".into()] };
        let folder = tempfile::tempdir().unwrap();
        let text = figure.draw(&[], folder.path()).unwrap();
        assert_eq!(text, "absent: no-such.csv is not there, its figure is not drawn\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_figures_of_one_kind_are_refused() {
        let figures = [FigureSpec::OracleShare {}, FigureSpec::OracleShare {}];
        assert!(check_figures(&figures).is_err());
        assert!(check_figures(&figures[..1]).is_ok());
    }
}
