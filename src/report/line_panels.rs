//! Panels of lines with intervals, one legend for all.

use plotters::prelude::{Circle, PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::canvas::{Area, Drawn, HEADING, LABEL, TICK, write_sideways, write_text};
use super::colours::{FAINT_INK, GRID};

const LEGEND_LINE_PX: u32 = 24;
const AXIS_PX: i32 = 58;
const HEADING_PX: i32 = 26;
const BELOW_PX: i32 = 46;
const GAP_PX: i32 = 24;

/// One point of a line: place on the x axis, value and the ends of its interval, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    pub lo: f64,
    pub hi: f64,
}

/// A line of a panel.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub colour: RGBColor,
    pub points: Vec<Point>,
}

/// A panel.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub heading: String,
    pub lines: Vec<Line>,
}

/// What the panels share.
#[derive(Debug)]
pub(super) struct Axes {
    pub x_title: String,
    pub y_title: &'static str,
    /// Ticks and what they are called.
    pub x_ticks: Vec<(f64, String)>,
    /// Room before the first tick and after the last, in the axis's unit.
    pub x_room: f64,
    pub panels_per_row: usize,
}

impl Axes {
    fn x_ends(&self) -> (f64, f64) {
        let last = self.x_ticks.len() - 1;
        (self.x_ticks[0].0 - self.x_room, self.x_ticks[last].0 + self.x_room)
    }
}

/// Ticks at these tens of percent.
pub(super) fn tens(tens: std::ops::RangeInclusive<u32>) -> Vec<(f64, String)> {
    tens.map(|tens| (f64::from(10 * tens), (10 * tens).to_string())).collect()
}

/// Height in px that `draw` needs for the legend of `names` within `width_px`.
pub(super) fn legend_px(names: &[(String, RGBColor)], width_px: i32) -> u32 {
    LEGEND_LINE_PX * legend_lines(names, width_px).len() as u32 + 6
}

type Entry<'a> = (&'a str, RGBColor, i32);

fn legend_lines(names: &[(String, RGBColor)], width_px: i32) -> Vec<Vec<Entry<'_>>> {
    super::font::register();
    let mut lines: Vec<Vec<Entry<'_>>> = vec![Vec::new()];
    let mut left = AXIS_PX;
    for (name, colour) in names {
        let entry_px = 18 + LABEL.width_px(name) + 22;
        if left + entry_px > width_px && left > AXIS_PX {
            lines.push(Vec::new());
            left = AXIS_PX;
        }
        lines.last_mut().expect("there is a line").push((name, *colour, left));
        left += entry_px;
    }
    lines
}

/// Fills `area` with the legend of `names` and the `panels`; intervals are whiskers.
pub(super) fn draw(
    area: &Area<'_>,
    names: &[(String, RGBColor)],
    panels: &[Panel],
    axes: &Axes,
) -> Drawn {
    draw_panels(area, names, panels, axes, false)
}

/// The same with intervals as bands, for axes on which every place has a meaning.
pub(super) fn draw_with_bands(
    area: &Area<'_>,
    names: &[(String, RGBColor)],
    panels: &[Panel],
    axes: &Axes,
) -> Drawn {
    draw_panels(area, names, panels, axes, true)
}

fn draw_panels(
    area: &Area<'_>,
    names: &[(String, RGBColor)],
    panels: &[Panel],
    axes: &Axes,
    bands: bool,
) -> Drawn {
    let width_px = area.dim_in_pixel().0 as i32;
    let lines = legend_lines(names, width_px);
    let (head, body) = area.split_vertically(legend_px(names, width_px));
    for (line, entries) in lines.iter().enumerate() {
        let y = line as i32 * LEGEND_LINE_PX as i32;
        for (name, colour, x) in entries {
            head.draw(&Rectangle::new([(*x, y + 1), (x + 12, y + 13)], colour.filled()))?;
            write_text(&head, name, &LABEL.anchored(HPos::Left, VPos::Center), (x + 18, y + 7))?;
        }
    }
    let (lo, hi) = range(panels);
    let rows = panels.len().div_ceil(axes.panels_per_row);
    let places = body.split_evenly((rows.max(1), axes.panels_per_row));
    for (panel, place) in panels.iter().zip(&places) {
        let (width_px, height_px) = place.dim_in_pixel();
        let frame = Frame {
            area: place,
            left: AXIS_PX,
            right: width_px as i32 - GAP_PX,
            top: HEADING_PX,
            bottom: height_px as i32 - BELOW_PX,
            x: axes.x_ends(),
            y: (lo, hi),
            bands,
        };
        frame.draw(panel, axes)?;
    }
    Ok(())
}

/// Whole tens around every interval.
fn range(panels: &[Panel]) -> (f64, f64) {
    let points = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let (lo, hi) =
        points.fold((f64::MAX, f64::MIN), |(lo, hi), point| (lo.min(point.lo), hi.max(point.hi)));
    if lo > hi { (0.0, 100.0) } else { ((lo / 10.0).floor() * 10.0, (hi / 10.0).ceil() * 10.0) }
}

struct Frame<'a, 'b> {
    area: &'a Area<'b>,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    x: (f64, f64),
    y: (f64, f64),
    bands: bool,
}

impl Frame<'_, '_> {
    fn x_px(&self, x: f64) -> i32 {
        let share = (x - self.x.0) / (self.x.1 - self.x.0);
        self.left + (share * f64::from(self.right - self.left)).round() as i32
    }

    fn y_px(&self, y: f64) -> i32 {
        let share = (y - self.y.0) / (self.y.1 - self.y.0).max(1.0);
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }

    fn draw(&self, panel: &Panel, axes: &Axes) -> Drawn {
        let heading = HEADING.anchored(HPos::Left, VPos::Top);
        write_text(self.area, &panel.heading, &heading, (self.left, 2))?;
        self.draw_grid(axes)?;
        // Lines of one place side by side, so that their intervals can be told apart.
        let shift = |nth: usize| 3 * nth as i32 - 3 * (panel.lines.len() as i32 - 1) / 2;
        for (nth, line) in panel.lines.iter().enumerate() {
            self.draw_line(line, if self.bands { 0 } else { shift(nth) })?;
        }
        Ok(())
    }

    fn draw_grid(&self, axes: &Axes) -> Drawn {
        let mut percent = self.y.0;
        while percent <= self.y.1 {
            let y = self.y_px(percent);
            let colour = if y == self.bottom { FAINT_INK } else { GRID };
            self.area.draw(&PathElement::new([(self.left, y), (self.right, y)], colour))?;
            let style = TICK.anchored(HPos::Right, VPos::Center);
            write_text(self.area, &format!("{percent:.0}"), &style, (self.left - 8, y))?;
            percent += 10.0;
        }
        for (tick, name) in &axes.x_ticks {
            let at = (self.x_px(*tick), self.bottom + 6);
            write_text(self.area, name, &TICK.anchored(HPos::Center, VPos::Top), at)?;
        }
        let below = (i32::midpoint(self.left, self.right), self.bottom + 22);
        let style = LABEL.anchored(HPos::Center, VPos::Top);
        write_text(self.area, &axes.x_title, &style, below)?;
        write_sideways(self.area, axes.y_title, LABEL, (10, i32::midpoint(self.top, self.bottom)))
    }

    fn draw_line(&self, line: &Line, shift: i32) -> Drawn {
        let at = |point: &Point| (self.x_px(point.x) + shift, self.y_px(point.y));
        if self.bands {
            let end = |point: &Point, y: f64| (self.x_px(point.x), self.y_px(y));
            let upper = line.points.iter().map(|point| end(point, point.hi));
            let lower = line.points.iter().rev().map(|point| end(point, point.lo));
            let band: Vec<_> = upper.chain(lower).collect();
            self.area.draw(&Polygon::new(band, line.colour.mix(0.25)))?;
        } else {
            for point in &line.points {
                let x = self.x_px(point.x) + shift;
                let whisker = [(x, self.y_px(point.hi)), (x, self.y_px(point.lo))];
                self.area.draw(&PathElement::new(whisker, line.colour.mix(0.55)))?;
            }
        }
        let path: Vec<_> = line.points.iter().map(at).collect();
        self.area.draw(&PathElement::new(path, line.colour.stroke_width(2)))?;
        for point in &line.points {
            self.area.draw(&Circle::new(at(point), 3, line.colour.filled()))?;
        }
        Ok(())
    }
}
