//! What the offline stage costs: a bar per step; the study's Figure 17.

use std::path::Path;

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, LABEL, Sheet, TICK, write_text};
use super::colours::{self, FAINT_INK, GRID};
use super::extra_figures::text_table;
use crate::error::{Error, Result};

const WIDTH_PX: u32 = 900;
const ROW_PX: u32 = 34;
const BELOW_PX: i32 = 44;
const VALUE_PX: i32 = 190;

/// A row of `offline-cost.csv`; columns beyond these are not drawn.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
struct Stage {
    #[serde(rename = "stage")]
    name: String,
    wall_s: f64,
    cpu_s: f64,
    tokens: Option<u64>,
}

/// Draws `offline-cost` from the table `table` into `folder`.
///
/// # Errors
/// If the table is broken, or a file cannot be written.
pub(super) fn draw_offline_cost(table: &Path, folder: &Path) -> Result<String> {
    let stages = read(table)?;
    let sheet = Sheet {
        title: "Cost of the offline stage".to_owned(),
        caption: format!(
            "Dark: wall time; pale behind it: processor time over all cores. Tokens are those \
             trained on or scored. Source: {}. Provenance: measured by the commands themselves.",
            table.file_name().unwrap_or_default().to_string_lossy()
        ),
        width_px: WIDTH_PX,
        height_px: ROW_PX * stages.len() as u32 + BELOW_PX as u32,
    };
    sheet.write(folder, "offline-cost", |area| draw(area, &stages))?;
    let mut rows = vec![["offline stage", "wall s", "cpu s", "tokens"].map(str::to_owned).to_vec()];
    for stage in &stages {
        let tokens = stage.tokens.map_or_else(String::new, |tokens| tokens.to_string());
        let [wall, cpu] = [stage.wall_s, stage.cpu_s].map(|seconds| format!("{seconds:.1}"));
        rows.push(vec![stage.name.clone(), wall, cpu, tokens]);
    }
    let sum = |of: fn(&Stage) -> f64| format!("{:.1}", stages.iter().map(of).sum::<f64>());
    rows.push(vec!["all".into(), sum(|s| s.wall_s), sum(|s| s.cpu_s), String::new()]);
    Ok(text_table(&rows))
}

fn read(path: &Path) -> Result<Vec<Stage>> {
    let wrong = |error: csv::Error| Error::file(path, "not a table of costs").caused_by(error);
    let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
    let stages: Vec<Stage> = reader.deserialize().collect::<csv::Result<_>>().map_err(wrong)?;
    let sound = |stage: &&Stage| {
        let seconds = [stage.wall_s, stage.cpu_s];
        seconds.iter().all(|seconds| seconds.is_finite() && *seconds >= 0.0)
    };
    match stages.iter().find(|stage| !sound(stage)) {
        Some(stage) => Err(Error::file(path, "not a length of time")
            .at(format!("stage {}", stage.name))
            .found(format!("{} s wall, {} s cpu", stage.wall_s, stage.cpu_s))
            .allowed("0 or more seconds")),
        None if stages.is_empty() => Err(Error::file(path, "no stages")),
        None => Ok(stages),
    }
}

fn draw(area: &Area<'_>, stages: &[Stage]) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let bottom = height as i32 - BELOW_PX;
    let names_px = stages.iter().map(|stage| LABEL.width_px(&stage.name)).max().unwrap_or(0);
    let (left, right) = (names_px + 16, width as i32 - VALUE_PX);
    let longest = stages.iter().map(|stage| stage.wall_s.max(stage.cpu_s)).fold(1e-9, f64::max);
    let x = |seconds: f64| left + (seconds / longest * f64::from(right - left)).round() as i32;
    for quarter in 0..=4 {
        let seconds = longest * f64::from(quarter) / 4.0;
        area.draw(&PathElement::new([(x(seconds), 0), (x(seconds), bottom)], GRID))?;
        let style = TICK.anchored(HPos::Center, VPos::Top);
        write_text(area, &format!("{:.1}", seconds / 60.0), &style, (x(seconds), bottom + 5))?;
    }
    let colour = colours::of_method("elastilm");
    for (row, stage) in stages.iter().enumerate() {
        let (top, end) = (row as i32 * ROW_PX as i32 + 6, (row as i32 + 1) * ROW_PX as i32 - 6);
        let bar = |seconds: f64| [(left, top), (x(seconds), end)];
        area.draw(&Rectangle::new(bar(stage.cpu_s), colour.mix(0.25).filled()))?;
        area.draw(&Rectangle::new(bar(stage.wall_s), colour.filled()))?;
        let middle = i32::midpoint(top, end);
        let style = LABEL.anchored(HPos::Right, VPos::Center);
        write_text(area, &stage.name, &style, (left - 8, middle))?;
        let tokens = stage.tokens.map_or(String::new(), |tokens| format!(", {tokens} tokens"));
        let value = format!("{:.1} min{tokens}", stage.wall_s / 60.0);
        let at = (x(stage.wall_s.max(stage.cpu_s)) + 8, middle);
        write_text(area, &value, &TICK.anchored(HPos::Left, VPos::Center), at)?;
    }
    area.draw(&PathElement::new([(left, 0), (left, bottom)], FAINT_INK))?;
    let style = LABEL.anchored(HPos::Center, VPos::Top);
    write_text(area, "minutes", &style, (i32::midpoint(left, right), bottom + 22))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offline-cost.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn stages_are_drawn_and_added_up() {
        let (folder, path) = table(
            "stage,wall_s,cpu_s,tokens,energy_j\nimportance,60,110,6400,\nrecovery,600,1150.5,,12\n",
        );
        let text = draw_offline_cost(&path, folder.path()).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r"
        offline stage  wall s   cpu s  tokens
        importance       60.0   110.0    6400
        recovery        600.0  1150.5
        all             660.0  1260.5
        ");
        assert!(folder.path().join("offline-cost.png").exists());
    }

    #[test]
    fn impossible_tables_are_refused() {
        for (text, problem) in [
            ("stage,wall_s,cpu_s,tokens\na,-1,0,\n", "not a length of time"),
            ("stage,wall_s,cpu_s,tokens\n", "no stages"),
            ("stage,wall_s\na,1\n", "not a table of costs"),
        ] {
            let (_folder, path) = table(text);
            assert!(read(&path).unwrap_err().to_string().contains(problem), "{text}");
        }
    }
}
