//! Accuracy over level × prompt ratio, one map per dataset.

use std::path::Path;

use super::canvas::{Area, Drawn, Sheet, slug};
use super::colours;
use super::heat_map::{self, HeatMap, Scale};
use crate::error::Result;
use crate::profile::QualityTable;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

const WIDTH_PX: u32 = 1120;
const MAP_PX: u32 = 320;
const GAP_PX: u32 = 20;
const MAPS_PER_ROW: usize = 2;

/// Draws `quality-BASE_MODEL-NAME` (`quality-NAME` for a table without manifest) into `folder`, as
/// SVG and PNG; `name` is the table's, such as `width`. All datasets share one scale; a heading
/// says how many items a map rests on.
///
/// # Errors
/// If a file cannot be written.
pub fn draw_quality_maps(table: &QualityTable, name: &str, folder: &Path) -> Result<()> {
    let maps: Vec<HeatMap> = table.datasets().map(|dataset| map(table, dataset)).collect();
    let rows = maps.len().div_ceil(MAPS_PER_ROW) as u32;
    let (title, file) = match table.manifest() {
        Some(manifest) => (
            format!("Accuracy of {}, {name}", manifest.base_model),
            format!("quality-{}-{}", slug(&manifest.base_model), slug(name)),
        ),
        None => (format!("Accuracy, {name}"), format!("quality-{}", slug(name))),
    };
    let sheet = Sheet {
        title,
        caption: caption(table),
        width_px: WIDTH_PX,
        height_px: rows * (MAP_PX + GAP_PX),
    };
    sheet.write(folder, &file, |area| draw(area, &maps))
}

fn draw(area: &Area<'_>, maps: &[HeatMap]) -> Drawn {
    let ranges = maps.iter().filter_map(HeatMap::range);
    let Some(range) = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
        return Ok(());
    };
    let scale = Scale {
        range,
        logarithmic: false,
        colours: colours::of_accuracy(),
        format: |percent| format!("{percent:.0}"),
    };
    let rows = maps.len().div_ceil(MAPS_PER_ROW);
    let places = area.split_evenly((rows, MAPS_PER_ROW));
    for (map, place) in maps.iter().zip(&places) {
        let (width_px, height_px) = place.dim_in_pixel();
        let (place, _) = place.split_horizontally(width_px - GAP_PX / 2);
        let (place, _) = place.split_vertically(height_px - GAP_PX);
        heat_map::draw(&place, map, &scale)?;
    }
    Ok(())
}

fn map(table: &QualityTable, dataset: &str) -> HeatMap {
    let row = |level: usize| -> Vec<Option<f64>> {
        let share = |ratio| Some(100.0 * table.accuracy(dataset, None, level, ratio)?);
        (0..PROMPT_RATIOS.len()).map(share).collect()
    };
    HeatMap {
        heading: format!("{dataset}, % correct (n = {})", table.items(dataset).count()),
        x_title: "prompt ratio asked for, %",
        y_title: "level, %",
        columns: PROMPT_RATIOS.map(Ratio::as_percent).iter().map(u16::to_string).collect(),
        rows: table.levels().iter().map(|level: &Level| level.as_percent().to_string()).collect(),
        cells: (0..table.levels().len()).map(row).collect(),
    }
}

fn caption(table: &QualityTable) -> String {
    let fewest = table.datasets().map(|dataset| table.items(dataset).count()).min().unwrap_or(0);
    let precision = format!(
        "n items a cell; a cell's standard error is at most {:.1} points. One scale for all maps.",
        50.0 / (fewest.max(1) as f64).sqrt()
    );
    let (known, all) = table.coverage();
    let partial =
        format!("Partial: {known} of {all} answers are measured; a dash marks cells without any.");
    let provenance = table.manifest().map_or_else(
        || "Provenance: unknown, the table has no manifest.".to_owned(),
        |manifest| {
            format!(
                "{} shots, compressor {}, {}. Weights: {}. Provenance: measured {}.",
                manifest.shots,
                manifest.compressor,
                // The rest of it is about the table's twins.
                manifest.scorer.split(';').next().unwrap_or_default(),
                manifest.model_source,
                manifest.date
            )
        },
    );
    let partial = if known < all { partial } else { String::new() };
    [precision, partial, provenance].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Cell;

    /// Two items: both right on the full prompt, one of them at half of it; the rest unmeasured.
    #[test]
    fn a_map_shows_shares_of_measured_items_and_dashes_elsewhere() {
        let (gold_probability, top_correct) = (0.5, None);
        let cell =
            |correct| Some(Cell { correct, sum_correct: correct, gold_probability, top_correct });
        let mut first = [None; 10];
        (first[4], first[9]) = (cell(true), cell(true));
        let mut second = [None; 10];
        (second[4], second[9]) = (cell(false), cell(true));
        let table = QualityTable::from_rows([
            ("sciq", 1, Level::FULL, first),
            ("sciq", 2, Level::FULL, second),
        ]);
        let map = map(&table, "sciq");
        assert_eq!(map.heading, "sciq, % correct (n = 2)");
        assert_eq!(map.cells[0][9], Some(100.0));
        assert_eq!(map.cells[0][4], Some(50.0));
        assert_eq!(map.cells[0][0], None);

        let folder = tempfile::tempdir().unwrap();
        draw_quality_maps(&table, "width", folder.path()).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("quality-width.svg")).unwrap();
        assert!(svg.contains("Partial: 4 of 20 answers"), "the caption owns up to gaps");
    }
}
