//! Heat-maps: cells on a colour scale, numbers in them where they have room, scales beside them.

use plotters::prelude::{ColorMap, DerivedColorMap, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::colours::{EMPTY, FAINT_INK, INK, ink_on};
use super::font::Type;
use super::sheet::{Area, Drawn, Sizes, part, write_sideways, write_text};

/// What a heat-map shows. Rows go from the bottom up, as a value axis does.
#[derive(Debug, Clone)]
pub(super) struct HeatMap {
    pub heading: String,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// `cells[row][column]`; `None` where nothing is known.
    pub cells: Vec<Vec<Option<f64>>>,
    /// From the bottom up, where they are long.
    pub sideways: bool,
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

/// Maps beside each other, of the same rows.
pub(super) struct Strip {
    /// Above them; empty for none.
    pub heading: String,
    pub x_title: &'static str,
    pub y_title: &'static str,
    pub maps: Vec<(HeatMap, Scale)>,
    /// Whether one scale, after the last map, is for all.
    pub shared: bool,
}

const ROW_EM: f64 = 1.25;
const HEADING_EM: f64 = 1.7;
const SCALE_EM: f64 = 4.6;
const GAP_EM: f64 = 0.9;

impl Strip {
    /// What the strip needs, whatever its width.
    pub fn height(&self, sizes: Sizes) -> i32 {
        let rows = self.maps.iter().map(|(map, _)| map.rows.len()).max().unwrap_or(0);
        self.above(sizes)
            + sizes.em(HEADING_EM)
            + rows as i32 * sizes.em(ROW_EM)
            + self.below(sizes)
    }

    fn above(&self, sizes: Sizes) -> i32 {
        if self.heading.is_empty() { 0 } else { sizes.em(HEADING_EM) }
    }

    fn below(&self, sizes: Sizes) -> i32 {
        let sideways =
            self.maps.iter().filter(|(map, _)| map.sideways).flat_map(|(map, _)| &map.columns);
        let names = sizes.small().widest(sideways.map(String::as_str)).max(sizes.em(1.0));
        names + sizes.em(0.5) + if self.x_title.is_empty() { sizes.em(0.6) } else { sizes.em(2.3) }
    }

    /// Fills `area`: names of rows stand before the first map of maps with a shared scale, else
    /// before each.
    pub fn draw(&self, sizes: Sizes, area: &Area<'_>) -> Drawn {
        let style = sizes.heading().anchored(HPos::Left, VPos::Top);
        write_text(area, &self.heading, &style, (0, 0))?;
        let (width, height) = area.dim_in_pixel();
        let (top, height) = (self.above(sizes), height as i32 - self.above(sizes));
        let area = &part(area, (0, top), (width as i32, height));
        let (width, count) = (width as i32, self.maps.len() as i32);
        let names = |map: &HeatMap| {
            sizes.small().widest(map.rows.iter().map(String::as_str)) + sizes.em(2.1)
        };
        let (scale, gap) = (sizes.em(SCALE_EM), sizes.em(GAP_EM));
        let left: i32 = self.maps.iter().map(|(map, _)| names(map)).max().unwrap_or(0);
        let (lefts, scales) = if self.shared { (1, 1) } else { (count, count) };
        let cells = (width - lefts * left - scales * scale - (count - 1) * gap) / count.max(1);
        let rows = height - self.below(sizes);
        let headings = || self.maps.iter().map(|(map, _)| map.heading.as_str());
        let mut x = 0;
        for (nth, (map, colours)) in self.maps.iter().enumerate() {
            let (first, last) = (nth == 0, nth + 1 == self.maps.len());
            let own_left = if first || !self.shared { left } else { 0 };
            let own_scale = if last || !self.shared { scale } else { 0 };
            let place = part(area, (x, 0), (own_left + cells + own_scale, height));
            let grid = Grid {
                area: &place,
                sizes,
                heading: sizes.heading().fitted(headings(), cells + gap - sizes.em(0.5)),
                x: edges(own_left, cells, map.columns.len()),
                y: edges(sizes.em(HEADING_EM), rows - sizes.em(HEADING_EM), map.rows.len()),
            };
            grid.draw(map, colours)?;
            if own_left > 0 {
                grid.draw_row_names(map, self.y_title)?;
            }
            if own_scale > 0 {
                grid.draw_scale(colours)?;
            }
            if !self.shared {
                self.draw_x_title(sizes, &place, (own_left, own_left + cells))?;
            }
            x += own_left + cells + own_scale + gap;
        }
        if self.shared { self.draw_x_title(sizes, area, (left, x - gap - scale)) } else { Ok(()) }
    }

    /// Writes what the columns are below them, in the middle of what they span.
    fn draw_x_title(&self, sizes: Sizes, area: &Area<'_>, (from, to): (i32, i32)) -> Drawn {
        let below = (i32::midpoint(from, to), area.dim_in_pixel().1 as i32 - sizes.em(0.8));
        let style = sizes.label().anchored(HPos::Center, VPos::Bottom);
        write_text(area, self.x_title, &style, below)
    }
}

/// Where `count` equal parts of `length` begin, and the end of the last.
fn edges(from: i32, length: i32, count: usize) -> Vec<i32> {
    let edge = |at: usize| from + (f64::from(length) * at as f64 / count as f64).round() as i32;
    (0..=count).map(edge).collect()
}

/// Edges of a map's cells.
struct Grid<'a, 'b> {
    area: &'a Area<'b>,
    sizes: Sizes,
    heading: Type,
    x: Vec<i32>,
    y: Vec<i32>,
}

impl Grid<'_, '_> {
    fn draw(&self, map: &HeatMap, scale: &Scale) -> Drawn {
        let style = self.heading.anchored(HPos::Left, VPos::Top);
        write_text(self.area, &map.heading, &style, (self.x[0], 0))?;
        self.draw_grounds(map, scale)?;
        self.draw_numbers(map, scale)?;
        self.draw_column_names(map)
    }

    /// Cells of one colour in a row make one rectangle.
    fn draw_grounds(&self, map: &HeatMap, scale: &Scale) -> Drawn {
        for (row, cells) in map.cells.iter().rev().enumerate() {
            let ground = |cell: &Option<f64>| cell.map_or(EMPTY, |value| scale.colour(value));
            let mut column = 0;
            for run in cells.chunk_by(|a, b| ground(a) == ground(b)) {
                let corners =
                    [(self.x[column], self.y[row]), (self.x[column + run.len()], self.y[row + 1])];
                self.area.draw(&Rectangle::new(corners, ground(&run[0]).filled()))?;
                column += run.len();
            }
        }
        Ok(())
    }

    fn draw_numbers(&self, map: &HeatMap, scale: &Scale) -> Drawn {
        let small = self.sizes.small();
        let numbers = map.cells.iter().flatten().flatten().map(|&value| (scale.format)(value));
        let widest = numbers.map(|number| small.width(&number)).max().unwrap_or(0);
        if widest + self.sizes.em(0.4) > self.x[1] - self.x[0] {
            return Ok(());
        }
        for (row, cells) in map.cells.iter().rev().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                let Some(value) = cell else { continue };
                let ink = small.in_colour(ink_on(scale.colour(*value)));
                let at = (self.middle_x(column), i32::midpoint(self.y[row], self.y[row + 1]));
                let style = ink.anchored(HPos::Center, VPos::Center);
                write_text(self.area, &(scale.format)(*value), &style, at)?;
            }
        }
        Ok(())
    }

    fn middle_x(&self, column: usize) -> i32 {
        i32::midpoint(self.x[column], self.x[column + 1])
    }

    /// Every name, or every second, third …, the last among them, as they have room.
    fn draw_column_names(&self, map: &HeatMap) -> Drawn {
        let small = self.sizes.small().in_colour(INK);
        let bottom = self.y[self.y.len() - 1] + self.sizes.em(0.35);
        if map.sideways {
            let style = small.anchored(HPos::Right, VPos::Center);
            return map.columns.iter().enumerate().try_for_each(|(column, name)| {
                write_sideways(self.area, name, &style, (self.middle_x(column), bottom))
            });
        }
        let widest = small.widest(map.columns.iter().map(String::as_str)) + self.sizes.em(0.4);
        let step = (widest / (self.x[1] - self.x[0]).max(1) + 1) as usize;
        let last = map.columns.len() - 1;
        for (column, name) in map.columns.iter().enumerate() {
            if (last - column).is_multiple_of(step) {
                let style = small.anchored(HPos::Center, VPos::Top);
                write_text(self.area, name, &style, (self.middle_x(column), bottom))?;
            }
        }
        Ok(())
    }

    fn draw_row_names(&self, map: &HeatMap, title: &str) -> Drawn {
        let small = self.sizes.small().in_colour(INK);
        for (row, name) in map.rows.iter().rev().enumerate() {
            let at = (self.x[0] - self.sizes.em(0.4), i32::midpoint(self.y[row], self.y[row + 1]));
            write_text(self.area, name, &small.anchored(HPos::Right, VPos::Center), at)?;
        }
        let style = self.sizes.label().anchored(HPos::Center, VPos::Top);
        let middle = i32::midpoint(self.y[0], self.y[self.y.len() - 1]);
        write_sideways(self.area, title, &style, (0, middle))
    }

    fn draw_scale(&self, scale: &Scale) -> Drawn {
        const STEPS: usize = 40;
        let (top, bottom) = (self.y[0], self.y[self.y.len() - 1]);
        let left = self.x[self.x.len() - 1] + self.sizes.em(0.8);
        let right = left + self.sizes.em(0.8);
        let y = edges(top, bottom - top, STEPS);
        for step in 0..STEPS {
            let colour = scale.colour(scale.value(1.0 - (step as f64 + 0.5) / STEPS as f64));
            self.area
                .draw(&Rectangle::new([(left, y[step]), (right, y[step + 1])], colour.filled()))?;
        }
        for share in [0.0, 0.5, 1.0] {
            let at = bottom - (f64::from(bottom - top) * share).round() as i32;
            let end = right + self.sizes.em(0.25);
            self.area
                .draw(&PathElement::new([(right, at), (end, at)], FAINT_INK.stroke_width(5)))?;
            let vertical = if share < 0.25 {
                VPos::Bottom
            } else if share > 0.75 {
                VPos::Top
            } else {
                VPos::Center
            };
            let style = self.sizes.small().anchored(HPos::Left, vertical);
            let text = (scale.format)(scale.value(share));
            write_text(self.area, &text, &style, (end + self.sizes.em(0.2), at))?;
        }
        Ok(())
    }
}
