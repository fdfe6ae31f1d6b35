//! Accuracy over level × prompt ratio, a strip of maps per quality table, one map per dataset.
//!
//! Tables that know full prompts only share one strip, a column each.

use std::collections::BTreeSet;

use super::colours;
use super::heat_map::{HeatMap, Scale, Strip};
use super::sheet::{Press, Sheet, part};
use crate::error::Result;
use crate::profile::QualityTable;
use crate::results::QualityInput;
use crate::units::Level;

/// Least width of a map, in sizes of a label.
const MAP_EM: f64 = 8.0;

/// Draws `quality` from the tables `inputs`. All maps share one scale.
///
/// # Errors
/// If a table is missing or broken, or the file cannot be written.
pub(in crate::report) fn draw_quality_maps(
    inputs: &[QualityInput],
    press: &Press<'_>,
) -> Result<()> {
    let load = |input: &QualityInput| {
        Ok((input.table.clone(), QualityTable::load(&input.folder, &input.table)?))
    };
    let tables: Vec<(String, QualityTable)> = inputs.iter().map(load).collect::<Result<_>>()?;
    let (cut, whole): (Vec<_>, Vec<_>) =
        tables.iter().partition(|(_, table)| table.ratios_measured().count() > 1);
    let mut maps: Vec<(String, Vec<HeatMap>)> =
        cut.iter().map(|(name, table)| (name.clone(), ratio_maps(table))).collect();
    maps.extend((!whole.is_empty()).then(|| ("full prompts".to_owned(), table_maps(&whole))));
    let ranges = maps.iter().flat_map(|(_, maps)| maps).filter_map(HeatMap::range);
    let Some(range) = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
        return Ok(());
    };
    let sizes = press.sizes();
    let columns = (press.width() / sizes.em(MAP_EM)).max(1) as usize;
    let mut strips: Vec<Strip> = Vec::new();
    for (heading, maps) in &maps {
        for (nth, maps) in maps.chunks(columns).enumerate() {
            let heading = if nth == 0 { heading.as_str() } else { "" };
            strips.push(strip(heading, maps, range));
        }
    }
    let sheet = Sheet {
        title: "Accuracy by level and prompt".to_owned(),
        caption: caption(&tables),
        height: strips.iter().map(|strip| strip.height(sizes)).sum(),
    };
    press.print("quality", &sheet, |area| {
        let mut top = 0;
        strips.iter().try_for_each(|strip| {
            let place = part(area, (0, top), (press.width(), strip.height(sizes)));
            top += strip.height(sizes);
            strip.draw(sizes, &place)
        })
    })
}

fn strip(heading: &str, maps: &[HeatMap], range: (f64, f64)) -> Strip {
    let scale = || Scale {
        range,
        logarithmic: false,
        colours: colours::of_accuracy(),
        format: |percent| format!("{percent:.0}"),
    };
    let sideways = maps.iter().any(|map| map.sideways);
    Strip {
        heading: heading.to_owned(),
        x_title: if sideways { "" } else { "prompt ratio asked for, %" },
        y_title: "level, %",
        maps: maps.iter().map(|map| (map.clone(), scale())).collect(),
        shared: true,
    }
}

fn percents(levels: &[Level]) -> Vec<String> {
    levels.iter().map(|level| level.as_percent().to_string()).collect()
}

/// A map for each dataset of a table.
fn ratio_maps(table: &QualityTable) -> Vec<HeatMap> {
    let ratios: Vec<usize> = table.ratios_measured().collect();
    let map = |dataset: &str| {
        let share =
            |level: usize, ratio: usize| Some(100.0 * table.accuracy(dataset, None, level, ratio)?);
        let items = table.items(dataset).count();
        HeatMap {
            heading: format!("{dataset} ({items})"),
            columns: ratios.iter().map(|&ratio| table.ratios()[ratio].percents()).collect(),
            rows: percents(table.levels()),
            cells: (0..table.levels().len())
                .map(|level| ratios.iter().map(|&ratio| share(level, ratio)).collect())
                .collect(),
            sideways: false,
        }
    };
    table.datasets().map(map).collect()
}

/// A map for each dataset with a column for each of `tables`, on full prompts.
fn table_maps(tables: &[&(String, QualityTable)]) -> Vec<HeatMap> {
    let datasets: BTreeSet<&str> = tables.iter().flat_map(|(_, table)| table.datasets()).collect();
    let levels: BTreeSet<Level> =
        tables.iter().flat_map(|(_, table)| table.levels().iter().copied()).collect();
    let levels: Vec<Level> = levels.into_iter().collect();
    let map = |dataset: &&str| {
        let share = |level: Level, table: &QualityTable| {
            let level = table.level_index(level)?;
            Some(100.0 * table.accuracy(dataset, None, level, table.whole_prompt())?)
        };
        let row = |&level: &Level| tables.iter().map(|(_, table)| share(level, table)).collect();
        HeatMap {
            heading: (*dataset).to_owned(),
            columns: tables.iter().map(|(name, _)| name.clone()).collect(),
            rows: percents(&levels),
            cells: levels.iter().map(row).collect(),
            sideways: true,
        }
    };
    datasets.iter().map(map).collect()
}

fn caption(tables: &[(String, QualityTable)]) -> String {
    let counts = |table: &QualityTable| -> Vec<usize> {
        table.datasets().map(|dataset| table.items(dataset).count()).collect()
    };
    let fewest = tables.iter().flat_map(|(_, table)| counts(table)).min().unwrap_or(0);
    let about = tables.iter().map(|(name, table)| {
        let (known, all) = table.coverage();
        let partial =
            if known < all { format!(" {known} of {all} answers") } else { String::new() };
        match table.manifest() {
            Some(manifest) => format!(
                "{name}:{partial} of {}, {} shots, compressor {}, measured {}.",
                manifest.base_model, manifest.shots, manifest.compressor, manifest.date
            ),
            None => format!("{name}:{partial} of unknown origin."),
        }
    });
    format!(
        "Share of items answered rightly, %; in brackets the items of a dataset. A cell's standard \
         error is at most {:.1} points. One scale for all maps; grey: not measured. {}",
        50.0 / (fewest.max(1) as f64).sqrt(),
        about.collect::<Vec<_>>().join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::{press, write_table};
    use crate::results::FigureStyle;

    /// Two items: both right on the full prompt, one of them at half of it; the rest unmeasured. A
    /// second table knows full prompts only.
    #[test]
    fn maps_show_shares_of_measured_items_and_no_ratio_that_nothing_was_measured_at() {
        let folder = tempfile::tempdir().unwrap();
        write_table(
            folder.path(),
            "a",
            "sciq,1,100,50,1\nsciq,1,100,100,1\nsciq,2,100,50,0\nsciq,2,100,100,1\n",
        );
        write_table(folder.path(), "b", "sciq,1,100,100,0\n");
        let table = QualityTable::load(folder.path(), "a").unwrap();
        let map = &ratio_maps(&table)[0];
        assert_eq!(
            (map.heading.as_str(), map.columns.as_slice()),
            ("sciq (2)", ["50".to_owned(), "100".to_owned()].as_slice())
        );
        assert_eq!(map.cells, [[Some(50.0), Some(100.0)]]);
        let inputs = ["a", "b"].map(|table| QualityInput {
            folder: folder.path().to_owned(),
            table: table.to_owned(),
        });
        draw_quality_maps(&inputs, &press(folder.path(), FigureStyle::default())).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("quality.svg")).unwrap();
        assert!(
            svg.contains("a: 4 of 20 answers of unknown origin"),
            "the caption owns up to gaps"
        );
    }
}
