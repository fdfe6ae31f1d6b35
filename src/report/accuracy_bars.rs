//! Accuracy@SLO per method and skew, with intervals: the study's Figure 14.

use std::path::Path;

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::canvas::{Area, Drawn, HEADING, LABEL, Sheet, TICK, slug, write_sideways, write_text};
use super::colours::{self, FAINT_INK, GRID, INK};
use super::font::Type;
use crate::error::Result;
use crate::metrics::{Measure, MetricsRow};

/// Width with few methods.
const WIDTH_PX: u32 = 1080;
const PLOT_PX: u32 = 360;
const AXIS_PX: u32 = 58;
const BELOW_PX: u32 = 48;
const LEGEND_LINE_PX: u32 = 24;
const PANEL_GAP_PX: i32 = 18;
const VALUE: Type = Type::new(11.0, INK).bold();
const VALUE_MARGIN_PX: i32 = 4;
/// Least distance from one bar to the next.
const SLOT_PX: usize = 18;

/// Draws one figure per device, latency model and base model of `rows` into `folder`:
/// `accuracy-at-slo-DEVICE-LATENCY_OF-BASE_MODEL`, as SVG and PNG.
///
/// A panel per skew α, a bar per method in the order of the rows. Behind a bar stands, pale, the
/// accuracy that the method has when lateness is forgiven.
///
/// # Errors
/// If a file cannot be written.
pub fn draw_e2e_bars(rows: &[MetricsRow], folder: &Path) -> Result<()> {
    for scene in scenes(rows) {
        let first = scene.rows[0];
        let name = format!(
            "accuracy-at-slo-{}-{}-{}",
            slug(&first.label.device),
            slug(&first.label.latency_of),
            slug(&first.label.base_model)
        );
        let width_px = width_px(&scene);
        let legend = legend_lines(&scene.methods, width_px as i32 - 48);
        let sheet = Sheet {
            title: format!("Accuracy within the SLO on {}", first.label.device),
            caption: caption(&scene),
            width_px,
            height_px: PLOT_PX + legend_px(&legend),
        };
        sheet.write(folder, &name, |area| draw(area, &scene, &legend))?;
    }
    Ok(())
}

/// The rows of one figure.
#[derive(Debug)]
struct Scene<'a> {
    rows: Vec<&'a MetricsRow>,
    /// In the order of their first row.
    methods: Vec<&'a str>,
    /// Ascending.
    alphas: Vec<f64>,
}

fn scenes(rows: &[MetricsRow]) -> Vec<Scene<'_>> {
    let mut scenes: Vec<Scene<'_>> = Vec::new();
    let key = |row: &MetricsRow| {
        (row.label.device.clone(), row.label.latency_of.clone(), row.label.base_model.clone())
    };
    for row in rows {
        let known = scenes.iter().position(|scene| key(scene.rows[0]) == key(row));
        let place = known.unwrap_or_else(|| {
            scenes.push(Scene { rows: Vec::new(), methods: Vec::new(), alphas: Vec::new() });
            scenes.len() - 1
        });
        let scene = &mut scenes[place];
        scene.rows.push(row);
        if !scene.methods.contains(&row.label.method.as_str()) {
            scene.methods.push(&row.label.method);
        }
        if !scene.alphas.iter().any(|alpha| alpha.total_cmp(&row.label.alpha).is_eq()) {
            scene.alphas.push(row.label.alpha);
        }
    }
    for scene in &mut scenes {
        scene.alphas.sort_by(f64::total_cmp);
    }
    scenes
}

fn caption(scene: &Scene<'_>) -> String {
    let first = scene.rows[0];
    let range = |count: fn(&MetricsRow) -> usize| {
        let counts = scene.rows.iter().map(|row| count(row));
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        if least == most { least.to_string() } else { format!("{least}–{most}") }
    };
    let mut provenances: Vec<&str> = Vec::new();
    for row in &scene.rows {
        if !provenances.contains(&row.label.provenance.as_str()) {
            provenances.push(&row.label.provenance);
        }
    }
    format!(
        "Latencies of {}, answers of {}. Bars: share of arrived requests answered correctly with \
         every bound met, mean of n = {} replications ({} requests a bar). Whiskers: 95 % bootstrap interval \
         over replications. Pale: accuracy with lateness forgiven. Provenance: {}.",
        first.label.latency_of,
        first.label.base_model,
        range(|row| row.replications),
        range(|row| row.requests),
        provenances.join("; "),
    )
}

/// The width of a figure whose bars are at least [`SLOT_PX`] apart.
fn width_px(scene: &Scene<'_>) -> u32 {
    let panel_px = scene.methods.len() * SLOT_PX + 24 + PANEL_GAP_PX as usize;
    WIDTH_PX.max(AXIS_PX + 48 + (scene.alphas.len() * panel_px) as u32)
}

fn legend_px(lines: &[Vec<(&str, i32)>]) -> u32 {
    LEGEND_LINE_PX * lines.len() as u32 + 10
}

/// The methods with the px at which each entry begins, in lines that fit `width_px`.
fn legend_lines<'a>(methods: &[&'a str], width_px: i32) -> Vec<Vec<(&'a str, i32)>> {
    super::font::register();
    let mut lines: Vec<Vec<(&str, i32)>> = vec![Vec::new()];
    let mut left = AXIS_PX as i32;
    for method in methods {
        let entry_px = 18 + LABEL.width_px(method) + 22;
        if left + entry_px > width_px {
            lines.push(Vec::new());
            left = AXIS_PX as i32;
        }
        lines.last_mut().expect("there is a line").push((method, left));
        left += entry_px;
    }
    lines
}

fn draw(area: &Area<'_>, scene: &Scene<'_>, legend: &[Vec<(&str, i32)>]) -> Drawn {
    let (head, body) = area.split_vertically(legend_px(legend));
    for (line, entries) in legend.iter().enumerate() {
        let y = line as i32 * LEGEND_LINE_PX as i32;
        for (method, x) in entries {
            let swatch = [(*x, y + 1), (x + 12, y + 13)];
            head.draw(&Rectangle::new(swatch, colours::of_method(method).filled()))?;
            let style = LABEL.anchored(HPos::Left, VPos::Center);
            write_text(&head, method, &style, (x + 18, y + 7))?;
        }
    }
    write_sideways(
        &body,
        "accuracy@SLO, % of requests",
        LABEL,
        (8, (PLOT_PX - BELOW_PX) as i32 / 2),
    )?;
    let (_, panels) = body.split_horizontally(AXIS_PX);
    for (place, panel) in panels.split_evenly((1, scene.alphas.len())).iter().enumerate() {
        let (width_px, height_px) = panel.dim_in_pixel();
        let panel = Panel {
            area: panel,
            width_px: width_px as i32 - PANEL_GAP_PX,
            bottom_px: (height_px - BELOW_PX) as i32,
            top: y_top(scene),
        };
        panel.draw(scene, scene.alphas[place], place == 0)?;
    }
    let (width, height) = panels.dim_in_pixel();
    let below = (width as i32 / 2, height as i32 - 16);
    let style = LABEL.anchored(HPos::Center, VPos::Top);
    write_text(&panels, "skew α of the trace over SLO levels", &style, below)
}

/// The top of the value axis in percent: room for every bar, whisker and label, in whole tens.
fn y_top(scene: &Scene<'_>) -> f64 {
    let values = scene.rows.iter().flat_map(|row| {
        let at_slo = row[Measure::AccuracyAtSlo];
        [row[Measure::Accuracy].mean, at_slo.mean, at_slo.hi].into_iter().flatten()
    });
    let most = values.fold(0.1, f64::max);
    (most * 10.0 + 0.1).ceil() * 10.0
}

/// The bars of one skew.
struct Panel<'a, 'b> {
    area: &'a Area<'b>,
    width_px: i32,
    /// Where zero lies.
    bottom_px: i32,
    /// Greatest value of the axis, in percent.
    top: f64,
}

impl Panel<'_, '_> {
    fn y(&self, share: f64) -> i32 {
        self.bottom_px - (share * 100.0 / self.top * f64::from(self.bottom_px)).round() as i32
    }

    fn draw(&self, scene: &Scene<'_>, alpha: f64, first: bool) -> Drawn {
        self.draw_grid(first)?;
        let slot_px = f64::from(self.width_px - 24) / scene.methods.len() as f64;
        for (place, method) in scene.methods.iter().enumerate() {
            let of_cell = |row: &&&MetricsRow| {
                row.label.method == *method && row.label.alpha.total_cmp(&alpha).is_eq()
            };
            let left = 12 + (slot_px * (place as f64 + 0.10)).round() as i32;
            let right = 12 + (slot_px * (place as f64 + 0.90)).round() as i32;
            if let Some(row) = scene.rows.iter().find(of_cell) {
                self.draw_bar(row, left, right)?;
            }
        }
        let at = (self.width_px / 2, self.bottom_px + 8);
        let style = HEADING.anchored(HPos::Center, VPos::Top);
        write_text(self.area, &format!("α = {}", signed(alpha)), &style, at)
    }

    fn draw_grid(&self, labelled: bool) -> Drawn {
        for percent in (0..=self.top as i32).step_by(10) {
            let y = self.y(f64::from(percent) / 100.0);
            let colour = if percent == 0 { FAINT_INK } else { GRID };
            self.area.draw(&PathElement::new([(0, y), (self.width_px, y)], colour))?;
            if labelled {
                let style = TICK.anchored(HPos::Right, VPos::Center);
                write_text(self.area, &percent.to_string(), &style, (-7, y))?;
            }
        }
        Ok(())
    }

    fn draw_bar(&self, row: &MetricsRow, left: i32, right: i32) -> Drawn {
        let colour = colours::of_method(&row.label.method);
        let middle = i32::midpoint(left, right);
        let bar = |share: f64| [(left, self.y(share)), (right, self.bottom_px)];
        if let Some(accuracy) = row[Measure::Accuracy].mean {
            self.area.draw(&Rectangle::new(bar(accuracy), colour.mix(0.22).filled()))?;
        }
        let Some(share) = row[Measure::AccuracyAtSlo].mean else {
            return self.write_value("–", INK, (middle, self.bottom_px), right - left);
        };
        self.area.draw(&Rectangle::new(bar(share), colour.filled()))?;
        let interval = row[Measure::AccuracyAtSlo].interval();
        if let Some(interval) = interval {
            self.draw_whisker(middle, self.y(interval.hi), self.y(interval.lo))?;
        }
        let lowest = self.y(interval.map_or(share, |interval| interval.lo));
        let value = format!("{:.1}", 100.0 * share);
        let value_px = value_height_px(&value, right - left);
        if self.bottom_px - lowest > value_px + 2 * VALUE_MARGIN_PX {
            let foot = (middle, self.bottom_px - VALUE_MARGIN_PX);
            self.write_value(&value, colours::ink_on(colour), foot, right - left)
        } else {
            let highest = self.y(interval.map_or(share, |interval| interval.hi));
            self.write_value(&value, INK, (middle, highest - 2), right - left)
        }
    }

    /// Writes `value` above `at`, from the bottom up if a bar of `bar_px` is too narrow for it.
    fn write_value(&self, value: &str, colour: RGBColor, at: (i32, i32), bar_px: i32) -> Drawn {
        let style = VALUE.in_colour(colour);
        if VALUE.width_px(value) <= bar_px {
            return write_text(self.area, value, &style.anchored(HPos::Center, VPos::Bottom), at);
        }
        let middle = (at.0, at.1 - VALUE.width_px(value) / 2);
        write_sideways(self.area, value, style, middle)
    }

    fn draw_whisker(&self, x: i32, highest: i32, lowest: i32) -> Drawn {
        let cap = |y: i32| PathElement::new([(x - 4, y), (x + 4, y)], INK);
        self.area.draw(&PathElement::new([(x, highest), (x, lowest)], INK))?;
        self.area.draw(&cap(highest))?;
        Ok(self.area.draw(&cap(lowest))?)
    }
}

/// How high `value` is where it stands in a bar of `bar_px`.
fn value_height_px(value: &str, bar_px: i32) -> i32 {
    let width_px = VALUE.width_px(value);
    if width_px <= bar_px { 14 } else { width_px }
}

/// A number with a typographic minus.
fn signed(number: f64) -> String {
    number.to_string().replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, CellLabel, PerMeasure, RunMeasures};

    fn row(device: &str, method: &str, alpha: f64, accuracy: f64, at_slo: f64) -> MetricsRow {
        let label = CellLabel {
            method: method.to_owned(),
            alpha,
            device: device.to_owned(),
            latency_of: "llama-7b".to_owned(),
            base_model: "smollm2-135m".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        };
        let run = |noise: f64| RunMeasures {
            requests: 600,
            values: PerMeasure::from([
                (Measure::Accuracy, accuracy + noise),
                (Measure::AccuracyAtSlo, at_slo + noise),
            ]),
            ..RunMeasures::default()
        };
        let runs = [run(-0.02), run(0.01), run(0.02), run(-0.01)];
        MetricsRow::of(&label, &runs, &AskedItems::default())
    }

    fn rows() -> Vec<MetricsRow> {
        let methods = [
            ("elastic-profile", 0.59, 0.55),
            ("full", 0.64, 0.21),
            ("random-feasible", 0.45, 0.40),
            ("lpruner", 0.48, 0.36),
            ("layer-removal", 0.42, 0.39),
            ("oracle", 0.78, 0.74),
        ];
        let mut rows = Vec::new();
        for device in ["redmi-k60", "mi-14"] {
            for alpha in [0.0, -0.25, 0.25] {
                for (method, accuracy, at_slo) in methods {
                    rows.push(row(device, method, alpha, accuracy, at_slo + alpha / 10.0));
                }
            }
        }
        rows
    }

    #[test]
    fn a_device_has_a_figure_with_a_panel_per_skew_in_ascending_order() {
        let rows = rows();
        let scenes = scenes(&rows);
        assert_eq!(scenes.len(), 2);
        assert_eq!(scenes[0].alphas, [-0.25, 0.0, 0.25]);
        assert_eq!(scenes[0].methods[0], "elastic-profile");
        assert_eq!(scenes[0].rows.len(), 18);
    }

    #[test]
    fn figures_say_what_they_show_and_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        draw_e2e_bars(&rows(), folder.path()).unwrap();
        let name = "accuracy-at-slo-mi-14-llama-7b-smollm2-135m";
        let svg = std::fs::read_to_string(folder.path().join(format!("{name}.svg"))).unwrap();
        for words in
            ["α = −0.25", "layer-removal", "55.0", "n = 4", "latency modelled", "% of requests"]
        {
            assert!(svg.contains(words), "{words}");
        }
        assert!(folder.path().join(format!("{name}.png")).exists());
    }

    #[test]
    fn many_bars_widen_the_figure_and_turn_their_values() {
        let rows: Vec<MetricsRow> = (0..22)
            .flat_map(|n| [0.0, 0.25, -0.25].map(|a| row("mi-14", &format!("m{n}"), a, 0.7, 0.61)))
            .collect();
        let scenes = scenes(&rows);
        assert_eq!(width_px(&scenes[0]), 58 + 48 + 3 * (22 * 18 + 24 + 18));
        super::super::font::register();
        let upright = value_height_px("61.0", 40);
        assert!(upright < value_height_px("61.0", 14), "turned, it is as high as it is wide");
        let folder = tempfile::tempdir().unwrap();
        draw_e2e_bars(&rows, folder.path()).unwrap();
        let name = "accuracy-at-slo-mi-14-llama-7b-smollm2-135m.svg";
        let svg = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(svg.matches("rotate(270").count(), 1 + rows.len(), "the axis and every bar");
    }

    #[test]
    fn many_methods_take_several_lines_of_legend() {
        let methods = ["a-method-with-a-long-name"; 11];
        let lines = legend_lines(&methods, 1000);
        assert!(lines.len() > 1);
        assert_eq!(lines.iter().map(Vec::len).sum::<usize>(), 11);
    }
}
