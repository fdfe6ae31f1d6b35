//! A heat-map: labelled cells on a colour scale, with the scale beside it.

use plotters::prelude::{ColorMap, DerivedColorMap, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::canvas::{Area, Drawn, HEADING, LABEL, TICK, write_sideways, write_text};
use super::colours::{EMPTY, FAINT_INK, INK, ink_on};
use super::font::Type;

const HEADING_PX: i32 = 24;
/// The y title and the gaps around it and the row names.
const Y_TITLE_PX: i32 = 30;
const BELOW_PX: i32 = 44;
const SCALE_PX: i32 = 62;
const CELL_TEXT: Type = Type::new(10.5, INK);

/// What a heat-map shows. Rows go from the bottom up, as a value axis does.
#[derive(Debug)]
pub(super) struct HeatMap {
    pub heading: String,
    pub x_title: &'static str,
    pub y_title: &'static str,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// `cells[row][column]`; `None` where nothing is known.
    pub cells: Vec<Vec<Option<f64>>>,
}

impl HeatMap {
    /// The least and greatest value, `None` if there is none.
    pub fn range(&self) -> Option<(f64, f64)> {
        let values = self.cells.iter().flatten().flatten().copied();
        values.fold(None, |range, value| {
            let (lo, hi) = range.unwrap_or((value, value));
            Some((lo.min(value), hi.max(value)))
        })
    }
}

/// From values to colours.
pub(super) struct Scale {
    /// Values of the lightest and of the darkest colour.
    pub range: (f64, f64),
    /// Equal ratios, rather than equal differences, get equal steps of colour.
    pub logarithmic: bool,
    pub colours: DerivedColorMap<RGBColor>,
    /// Text of a value in a cell and on the scale.
    pub format: fn(f64) -> String,
}

impl Scale {
    fn colour(&self, value: f64) -> RGBColor {
        let place = |value: f64| if self.logarithmic { value.ln() } else { value };
        let (lo, hi) = (place(self.range.0), place(self.range.1));
        let share = if hi > lo { ((place(value) - lo) / (hi - lo)).clamp(0.0, 1.0) } else { 0.5 };
        self.colours.get_color(share)
    }

    /// The value at `share` of the way up the scale.
    fn value(&self, share: f64) -> f64 {
        let (lo, hi) = self.range;
        if self.logarithmic { lo * (hi / lo).powf(share) } else { lo + (hi - lo) * share }
    }
}

/// The px at which `count` equal parts of `length` begin, and the end of the last.
fn edges(from: i32, length: i32, count: usize) -> Vec<i32> {
    let edge = |at: usize| from + (f64::from(length) * at as f64 / count as f64).round() as i32;
    (0..=count).map(edge).collect()
}

/// Draws `map` in `area`, its scale to the right.
pub(super) fn draw(area: &Area<'_>, map: &HeatMap, scale: &Scale) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (width as i32, height as i32);
    let names_px = map.rows.iter().map(|name| TICK.width_px(name)).max().unwrap_or(0);
    let left = Y_TITLE_PX + names_px;
    let x = edges(left, width - left - SCALE_PX, map.columns.len());
    let y = edges(HEADING_PX, height - HEADING_PX - BELOW_PX, map.rows.len());
    write_text(area, &map.heading, &HEADING.anchored(HPos::Left, VPos::Top), (left, 0))?;
    draw_cells(area, map, scale, &x, &y)?;
    draw_axes(area, map, &x, &y)?;
    draw_scale(area, scale, (x[x.len() - 1] + 16, y[0], y[y.len() - 1]))
}

fn draw_cells(area: &Area<'_>, map: &HeatMap, scale: &Scale, x: &[i32], y: &[i32]) -> Drawn {
    for (row, cells) in map.cells.iter().rev().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let ground = cell.map_or(EMPTY, |value| scale.colour(value));
            let corners = [(x[column], y[row]), (x[column + 1], y[row + 1])];
            area.draw(&Rectangle::new(corners, ground.filled()))?;
            let text = cell.map_or_else(|| "–".to_owned(), scale.format);
            let style = CELL_TEXT.in_colour(ink_on(ground)).anchored(HPos::Center, VPos::Center);
            let centre = (middle(x[column], x[column + 1]), middle(y[row], y[row + 1]));
            write_text(area, &text, &style, centre)?;
        }
    }
    Ok(())
}

fn middle(from: i32, to: i32) -> i32 {
    i32::midpoint(from, to)
}

fn draw_axes(area: &Area<'_>, map: &HeatMap, x: &[i32], y: &[i32]) -> Drawn {
    let (left, bottom) = (x[0], y[y.len() - 1]);
    for (column, name) in map.columns.iter().enumerate() {
        let at = (middle(x[column], x[column + 1]), bottom + 6);
        write_text(area, name, &TICK.anchored(HPos::Center, VPos::Top), at)?;
    }
    for (row, name) in map.rows.iter().rev().enumerate() {
        let at = (left - 7, middle(y[row], y[row + 1]));
        write_text(area, name, &TICK.anchored(HPos::Right, VPos::Center), at)?;
    }
    let below = (middle(left, x[x.len() - 1]), bottom + 24);
    write_text(area, map.x_title, &LABEL.anchored(HPos::Center, VPos::Top), below)?;
    write_sideways(area, map.y_title, LABEL, (8, middle(y[0], bottom)))
}

fn draw_scale(area: &Area<'_>, scale: &Scale, (left, top, bottom): (i32, i32, i32)) -> Drawn {
    const STEPS: usize = 64;
    const BAR_PX: i32 = 12;
    let y = edges(top, bottom - top, STEPS);
    for step in 0..STEPS {
        let share = 1.0 - (step as f64 + 0.5) / STEPS as f64;
        let colour = scale.colour(scale.value(share));
        let corners = [(left, y[step]), (left + BAR_PX, y[step + 1])];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
    }
    area.draw(&Rectangle::new([(left, top), (left + BAR_PX, bottom)], FAINT_INK))?;
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = bottom - (f64::from(bottom - top) * share).round() as i32;
        let text = (scale.format)(scale.value(share));
        let style = TICK.anchored(HPos::Left, VPos::Center);
        write_text(area, &text, &style, (left + BAR_PX + 5, at))?;
    }
    Ok(())
}
