//! Panels of lines with intervals, one legend for all.

use plotters::prelude::{Circle, PathElement, Polygon};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::colours::{FAINT_INK, GRID, Look, Marker, paler};
use super::font::Type;
use super::sheet::{Area, Drawn, Sizes, part, write_sideways, write_text};

/// One point of a line: place on the x axis, value and the ends of its interval, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub x: f64,
    pub y: f64,
    pub lo: f64,
    pub hi: f64,
}

/// A line of a panel.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub look: Look,
    pub points: Vec<Point>,
}

/// A panel.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub heading: String,
    pub lines: Vec<Line>,
}

/// Panels that begin a row of their own.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Above them; empty for none.
    pub heading: String,
    pub panels: Vec<Panel>,
}

/// Panels that share their axes and a legend.
#[derive(Debug)]
pub(super) struct Lines {
    pub x_title: String,
    pub y_title: &'static str,
    /// Ticks and what they are called; ends of the axis are those of the ticks.
    pub x_ticks: Vec<(f64, String)>,
    /// Whether values, all above zero, are of several orders of magnitude.
    pub decades: bool,
    /// Intervals as bands, for axes on which every place has a meaning; else as whiskers.
    pub bands: bool,
    pub legend: Vec<(String, Look)>,
    pub groups: Vec<Group>,
    /// Least width of a panel, in sizes of a label.
    pub panel_em: f64,
}

/// Where the parts of a figure are, for one width.
struct Places {
    columns: usize,
    legend: Vec<Vec<(usize, i32)>>,
    left: i32,
    panel: (i32, i32),
}

impl Places {
    fn heading_of(group: &Group, sizes: Sizes) -> i32 {
        if group.heading.is_empty() { 0 } else { sizes.em(HEADING_EM) }
    }

    fn height_of(&self, group: &Group, sizes: Sizes) -> i32 {
        let rows = group.panels.len().div_ceil(self.columns) as i32;
        Self::heading_of(group, sizes) + rows * self.panel.1
    }
}

const LEGEND_EM: f64 = 1.6;
const GAP_EM: f64 = 1.4;
const HEADING_EM: f64 = 1.5;
const X_NAMES_EM: f64 = 2.1;
const X_TITLE_EM: f64 = 1.6;

impl Lines {
    /// What the figure needs below `width`.
    pub fn height(&self, sizes: Sizes, width: i32) -> i32 {
        let places = self.places(sizes, width);
        let groups = self.groups.iter().map(|group| places.height_of(group, sizes));
        self.legend_height(sizes, &places) + groups.sum::<i32>() + sizes.em(X_TITLE_EM)
    }

    fn legend_height(&self, sizes: Sizes, places: &Places) -> i32 {
        if self.legend.is_empty() {
            0
        } else {
            sizes.em(LEGEND_EM) * places.legend.len() as i32 + sizes.em(0.4)
        }
    }

    fn places(&self, sizes: Sizes, width: i32) -> Places {
        let names = self.y_axis().ticks(5);
        let names = sizes.small().widest(names.iter().map(|(_, name)| name.as_str()));
        let left = sizes.em(1.6) + names + sizes.em(0.5);
        let fit = ((width - left) / sizes.em(self.panel_em)).max(1) as usize;
        let most = self.groups.iter().map(|group| group.panels.len()).max().unwrap_or(1).max(1);
        // Rows of equal length, as far as that goes.
        let columns = most.div_ceil(most.div_ceil(fit));
        let panel_width = (width - left) / columns as i32;
        let height = (panel_width * 3 / 4).clamp(sizes.em(9.0), sizes.em(17.0));
        Places {
            columns,
            legend: self.legend_lines(sizes, width),
            left,
            panel: (panel_width, height),
        }
    }

    /// Places in the legend with where each begins, in lines that fit.
    fn legend_lines(&self, sizes: Sizes, width: i32) -> Vec<Vec<(usize, i32)>> {
        let mut lines: Vec<Vec<(usize, i32)>> = vec![Vec::new()];
        let mut left = 0;
        for (nth, (name, _)) in self.legend.iter().enumerate() {
            let entry = sizes.em(2.6) + sizes.label().width(name);
            if left + entry > width && left > 0 {
                lines.push(Vec::new());
                left = 0;
            }
            lines.last_mut().expect("there is a line").push((nth, left));
            left += entry + sizes.em(1.4);
        }
        lines
    }

    fn y_axis(&self) -> Axis {
        let panels = self.groups.iter().flat_map(|group| &group.panels);
        let points = panels.flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
        let (lo, hi) = points
            .fold((f64::MAX, f64::MIN), |(lo, hi), point| (lo.min(point.lo), hi.max(point.hi)));
        if self.decades && lo <= hi {
            return Axis::decades(lo, hi);
        }
        if lo > hi { Axis::linear(0.0, 100.0, 5) } else { Axis::linear(lo, hi.max(lo + 1.0), 5) }
    }

    /// Fills `area`, which is as wide as the height was asked for.
    pub fn draw(&self, sizes: Sizes, area: &Area<'_>) -> Drawn {
        let (width, height) = area.dim_in_pixel();
        let places = self.places(sizes, width as i32);
        self.draw_legend(sizes, area, &places)?;
        let mut top = self.legend_height(sizes, &places);
        for group in &self.groups {
            self.draw_group(
                sizes,
                &part(area, (0, top), (width as i32, places.height_of(group, sizes))),
                group,
                &places,
            )?;
            top += places.height_of(group, sizes);
        }
        let middle = i32::midpoint(places.left, width as i32 - sizes.em(GAP_EM));
        let style = sizes.label().anchored(HPos::Center, VPos::Bottom);
        write_text(area, &self.x_title, &style, (middle, height as i32 - sizes.em(0.1)))
    }

    fn draw_group(&self, sizes: Sizes, area: &Area<'_>, group: &Group, places: &Places) -> Drawn {
        let style = sizes.heading().anchored(HPos::Left, VPos::Top);
        write_text(area, &group.heading, &style, (places.left, 0))?;
        let top = Places::heading_of(group, sizes);
        let (panel_width, panel_height) = places.panel;
        for (nth, panel) in group.panels.iter().enumerate() {
            let (row, column) = (nth / places.columns, nth % places.columns);
            let at = (places.left + column as i32 * panel_width, top + row as i32 * panel_height);
            let first = column == 0;
            let origin = (if first { 0 } else { at.0 }, at.1);
            let extent = (at.0 + panel_width - origin.0, panel_height);
            let frame = Frame {
                area: &part(area, origin, extent),
                sizes,
                left: at.0 - origin.0,
                right: at.0 - origin.0 + panel_width - sizes.em(GAP_EM),
                top: sizes.em(HEADING_EM),
                bottom: panel_height - sizes.em(X_NAMES_EM),
            };
            let style = self.panel_heading(sizes, panel_width).anchored(HPos::Left, VPos::Top);
            write_text(frame.area, &panel.heading, &style, (frame.left, 0))?;
            self.draw_panel(panel, &frame, first)?;
        }
        Ok(())
    }

    /// One type for the headings of all panels, lighter than those of groups.
    fn panel_heading(&self, sizes: Sizes, panel_width: i32) -> Type {
        let grouped = self.groups.iter().any(|group| !group.heading.is_empty());
        let heading = if grouped { sizes.label() } else { sizes.heading() };
        let panels = self.groups.iter().flat_map(|group| &group.panels);
        heading.fitted(panels.map(|panel| panel.heading.as_str()), panel_width - sizes.em(0.5))
    }

    fn draw_legend(&self, sizes: Sizes, area: &Area<'_>, places: &Places) -> Drawn {
        for (line, entries) in places.legend.iter().enumerate() {
            let y = sizes.em(LEGEND_EM) * line as i32 + sizes.em(0.7);
            for &(nth, x) in entries {
                let (name, look) = &self.legend[nth];
                let end = x + sizes.em(2.0);
                stroke(area, &[(x, y), (end, y)], *look, sizes)?;
                mark(area, (i32::midpoint(x, end), y), *look, sizes)?;
                let style = sizes.label().anchored(HPos::Left, VPos::Center);
                write_text(area, name, &style, (end + sizes.em(0.6), y))?;
            }
        }
        Ok(())
    }

    fn draw_panel(&self, panel: &Panel, frame: &Frame<'_, '_>, first: bool) -> Drawn {
        let Frame { area, sizes, left, right, top, bottom } = *frame;
        let y_axis = self.y_axis().between(bottom, top);
        for (value, name) in y_axis.ticks(5) {
            let y = y_axis.place(value);
            let colour = if y == bottom || value.abs() < 1e-9 { FAINT_INK } else { GRID };
            area.draw(&PathElement::new([(left, y), (right, y)], colour.stroke_width(5)))?;
            if first {
                let style = sizes.small().anchored(HPos::Right, VPos::Center);
                write_text(area, &name, &style, (left - sizes.em(0.5), y))?;
            }
        }
        if first {
            let style = sizes.label().anchored(HPos::Center, VPos::Top);
            write_sideways(area, self.y_title, &style, (0, i32::midpoint(top, bottom)))?;
        }
        let x_axis = self.x_axis(frame);
        self.draw_x_names(&x_axis, frame)?;
        let lines = panel.lines.len() as i32;
        let step = if self.bands { 0 } else { self.step(&x_axis, lines, sizes) };
        let spread = |nth: usize| step * (2 * nth as i32 - (lines - 1)) / 2;
        for (nth, line) in panel.lines.iter().enumerate() {
            let places: Vec<_> =
                line.points.iter().map(|point| x_axis.place(point.x) + spread(nth)).collect();
            self.draw_interval(line, &places, &y_axis, frame)?;
        }
        for (nth, line) in panel.lines.iter().enumerate() {
            let at = |point: &Point| (x_axis.place(point.x) + spread(nth), y_axis.place(point.y));
            let places: Vec<_> = line.points.iter().map(at).collect();
            stroke(area, &places, line.look, sizes)?;
            places.iter().try_for_each(|&at| mark(area, at, line.look, sizes))?;
        }
        Ok(())
    }

    /// How far apart lines stand at one place, so that their intervals can be told apart: all of
    /// them within half the way to the next place, so that no point seems to belong there.
    fn step(&self, x_axis: &Axis, lines: i32, sizes: Sizes) -> i32 {
        let ways = self.x_ticks.windows(2).map(|pair| {
            let [one, next] = [&pair[0], &pair[1]].map(|(value, _)| x_axis.place(*value));
            (next - one).abs()
        });
        let way = ways.min().unwrap_or(i32::MAX);
        sizes.em(0.28).min(way / 2 / (lines - 1).max(1))
    }

    fn x_axis(&self, frame: &Frame<'_, '_>) -> Axis {
        let last = self.x_ticks.len() - 1;
        let room = frame.sizes.em(if self.bands { 0.3 } else { 1.2 });
        let range = (self.x_ticks[0].0, self.x_ticks[last].0);
        Axis { range, logarithmic: false, from: frame.left + room, to: frame.right - room }
    }

    /// As many names of ticks as stand free of each other.
    fn draw_x_names(&self, axis: &Axis, frame: &Frame<'_, '_>) -> Drawn {
        let Frame { area, sizes, bottom, .. } = *frame;
        let small = sizes.small();
        let widest =
            small.widest(self.x_ticks.iter().map(|(_, name)| name.as_str())) + sizes.em(0.5);
        let fit = ((axis.to - axis.from) / widest.max(1)).max(1) as usize;
        let step = (self.x_ticks.len() - 1).div_ceil(fit).max(1);
        let last = self.x_ticks.len() - 1;
        for (nth, (value, name)) in self.x_ticks.iter().enumerate() {
            let x = axis.place(*value);
            let short = [(x, bottom), (x, bottom + sizes.em(0.25))];
            area.draw(&PathElement::new(short, FAINT_INK.stroke_width(5)))?;
            if (last - nth).is_multiple_of(step) {
                let style = small.anchored(HPos::Center, VPos::Top);
                write_text(area, name, &style, (x, bottom + sizes.em(0.4)))?;
            }
        }
        Ok(())
    }

    fn draw_interval(&self, line: &Line, x: &[i32], y_axis: &Axis, frame: &Frame<'_, '_>) -> Drawn {
        let ends = line
            .points
            .iter()
            .zip(x)
            .map(|(point, &x)| ((x, y_axis.place(point.hi)), (x, y_axis.place(point.lo))));
        if self.bands {
            let (upper, lower): (Vec<_>, Vec<_>) = ends.unzip();
            let band: Vec<_> = upper.into_iter().chain(lower.into_iter().rev()).collect();
            frame.area.draw(&Polygon::new(band, line.look.colour.mix(0.2)))?;
            return Ok(());
        }
        for (upper, lower) in ends {
            let thin = paler(line.look.colour, 0.5).stroke_width(6);
            frame.area.draw(&PathElement::new([upper, lower], thin))?;
        }
        Ok(())
    }
}

/// Where a panel's axes are within its area.
#[derive(Clone, Copy)]
struct Frame<'a, 'b> {
    area: &'a Area<'b>,
    sizes: Sizes,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

/// Draws a line in its style, dashes where it has some.
fn stroke(area: &Area<'_>, places: &[(i32, i32)], look: Look, sizes: Sizes) -> Drawn {
    let style = look.colour.stroke_width(sizes.em(0.15) as u32);
    if look.dash.is_empty() {
        return Ok(area.draw(&PathElement::new(places.to_vec(), style))?);
    }
    for dash in dashes(places, look.dash, sizes) {
        area.draw(&PathElement::new(dash, style))?;
    }
    Ok(())
}

/// The dashes of a line; they run on around its corners.
fn dashes(places: &[(i32, i32)], pattern: &[f64], sizes: Sizes) -> Vec<Vec<(i32, i32)>> {
    let lengths: Vec<f64> = pattern.iter().map(|&em| f64::from(sizes.em(em)).max(1.0)).collect();
    let (mut part, mut left) = (0, lengths[0]);
    let mut dashes = Vec::new();
    let mut dash: Vec<(i32, i32)> = places.first().copied().into_iter().collect();
    for pair in places.windows(2) {
        let [(x, y), (to_x, to_y)] = [pair[0], pair[1]].map(|(x, y)| (f64::from(x), f64::from(y)));
        let length = (to_x - x).hypot(to_y - y);
        let mut gone = 0.0;
        while gone + left < length {
            gone += left;
            let share = gone / length;
            let at =
                ((x + (to_x - x) * share).round() as i32, (y + (to_y - y) * share).round() as i32);
            if part % 2 == 0 {
                dash.push(at);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![at];
            }
            part = (part + 1) % lengths.len();
            left = lengths[part];
        }
        left -= length - gone;
        if part % 2 == 0 {
            dash.push(pair[1]);
        }
    }
    dashes.extend((dash.len() > 1).then_some(dash));
    dashes
}

/// Draws a marker of `look` around `at`.
fn mark(area: &Area<'_>, at: (i32, i32), look: Look, sizes: Sizes) -> Drawn {
    let r = sizes.em(0.27);
    let (x, y) = at;
    let full = look.colour.filled();
    let thick = look.colour.stroke_width(sizes.em(0.12) as u32);
    let square = vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)];
    let closed = |mut corners: Vec<(i32, i32)>| {
        corners.push(corners[0]);
        corners
    };
    match look.marker {
        Marker::Disc => area.draw(&Circle::new(at, r, full))?,
        Marker::Square => area.draw(&Polygon::new(square, look.colour))?,
        Marker::Triangle => {
            let corners = vec![(x, y - r * 5 / 4), (x + r * 5 / 4, y + r), (x - r * 5 / 4, y + r)];
            area.draw(&Polygon::new(corners, look.colour))?;
        }
        Marker::Wedge => {
            let corners = vec![(x, y + r * 5 / 4), (x + r * 5 / 4, y - r), (x - r * 5 / 4, y - r)];
            area.draw(&Polygon::new(corners, look.colour))?;
        }
        Marker::Diamond => {
            let r = r * 4 / 3;
            let corners = vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)];
            area.draw(&Polygon::new(corners, look.colour))?;
        }
        Marker::Ring => {
            area.draw(&Circle::new(at, r, plotters::style::WHITE.filled()))?;
            area.draw(&Circle::new(at, r, thick))?;
        }
        Marker::Frame => {
            area.draw(&Polygon::new(square.clone(), plotters::style::WHITE))?;
            area.draw(&PathElement::new(closed(square), thick))?;
        }
        Marker::Cross => {
            area.draw(&PathElement::new([(x - r, y - r), (x + r, y + r)], thick))?;
            area.draw(&PathElement::new([(x - r, y + r), (x + r, y - r)], thick))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    /// A dash of 7, a gap of 3 along 10 to the right and 10 down.
    #[test]
    fn dashes_run_on_around_corners() {
        let folder = tempfile::tempdir().unwrap();
        let style = FigureStyle { font_pt: 10.0, ..FigureStyle::default() };
        let sizes = press(folder.path(), style).sizes();
        let drawn = dashes(&[(0, 0), (100, 0), (100, 100)], &[0.7, 0.6], sizes);
        assert_eq!(
            drawn,
            [vec![(0, 0), (70, 0)], vec![(100, 30), (100, 100)]],
            "70 on, 60 off, and the rest"
        );
    }
}
