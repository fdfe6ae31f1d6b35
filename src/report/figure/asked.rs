//! Figures that an experiment asks for by name, beside those of its runs: accuracy over levels,
//! prompt ratios or objectives, layer importance, offline cost, memory, switching, share of the
//! oracle.
//!
//! A table that is not there yet is named as absent, in the figure and in the text: what is shown
//! never depends on guessing it.

use std::fmt::Write as _;
use std::path::Path;

use super::curves::{Curves, Over};
use super::families::{draw_memory, draw_switching};
use super::layer_bars::draw_layer_importance;
use super::offline_cost::draw_offline_cost;
use super::oracle_share::oracle_share;
use super::over_time::draw_over_time;
use super::recovery::{Tables, draw_recovery};
use super::sheet::Press;
use super::standalone::draw_standalone;
use crate::error::Result;
use crate::files::write_whole;
use crate::metrics::MetricsRow;
use crate::results::FigureSpec;

impl FigureSpec {
    /// Draws the figure, with its numbers in a CSV file of the same name, and returns what it shows
    /// as text.
    ///
    /// # Errors
    /// If an input is broken, or a file cannot be written.
    pub(in crate::report) fn draw(&self, rows: &[MetricsRow], press: &Press<'_>) -> Result<String> {
        match self {
            Self::SubModels { folder, series } => {
                Curves::read(folder, series, Over::Levels)?.draw("sub-models", press)
            }
            Self::Compressors { folder, level, series } => {
                let over = Over::Ratios { level: *level };
                Curves::read(folder, series, over)?.draw("compressors", press)
            }
            Self::Recovery { folder, untuned, tuned, control } => {
                draw_recovery(folder, Tables { untuned, tuned, control }, press)
            }
            Self::LayerImportance { manifest } => match absent(manifest) {
                Some(text) => Ok(text),
                None => draw_layer_importance(manifest, press),
            },
            Self::OfflineCost { tables } => match tables.iter().find_map(|table| absent(table)) {
                Some(text) => Ok(text),
                None => draw_offline_cost(tables, press),
            },
            Self::Standalone(spec) => draw_standalone(spec, press),
            Self::OverTime(spec) => draw_over_time(spec, press),
            Self::Memory { of } => draw_memory(of, press),
            Self::Switching { of } => draw_switching(of, press),
            Self::OracleShare {} => {
                let (text, csv) = oracle_share(rows);
                write_whole(&press.folder.join("oracle-share.csv"), csv.as_bytes())?;
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

/// Rows of text with columns in line, the first flush left.
pub(in crate::report) fn text_table(rows: &[Vec<String>]) -> String {
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
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    #[test]
    fn columns_of_text_are_in_line() {
        let rows = [vec!["a".into(), "10".into()], vec!["long".into(), "5".into()]];
        assert_eq!(text_table(&rows), "a     10\nlong   5\n");
    }

    #[test]
    fn what_is_not_there_is_said_to_be_absent() {
        let figure = FigureSpec::OfflineCost { tables: vec!["no-such.csv".into()] };
        let folder = tempfile::tempdir().unwrap();
        let press = press(folder.path(), FigureStyle::default());
        let text = figure.draw(&[], &press).unwrap();
        assert_eq!(text, "absent: no-such.csv is not there, its figure is not drawn\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
