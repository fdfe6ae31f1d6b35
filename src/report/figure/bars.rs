//! Panels of horizontal bars: names on the left, values in a column on the right, nothing over
//! text.

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, WHITE};

use super::axis::Axis;
use super::colours::{FAINT_INK, GRID, Hatch, INK, Look, paler};
use super::sheet::{Area, Drawn, Sizes, part, write_text};

/// A bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub look: Look,
    /// Absent where nothing is known.
    pub length: Option<f64>,
    /// Length of a pale bar behind it.
    pub behind: Option<f64>,
    /// Ends of an interval around its length.
    pub whisker: Option<(f64, f64)>,
    /// What stands beside it.
    pub value: String,
}

/// Bars of one axis, a row each, `None` where a row has no bar here.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub heading: String,
    pub bars: Vec<Option<Bar>>,
}

/// Bars that share names.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// Above its panels; empty for none.
    pub heading: String,
    pub names: Vec<String>,
    pub panels: Vec<Panel>,
}

/// Bands of panels that share the kind of their axis.
#[derive(Debug)]
pub(super) struct Bars {
    pub title: String,
    pub logarithmic: bool,
    /// Whether all panels share one scale.
    pub shared: bool,
    pub bands: Vec<Band>,
}

const ROW_EM: f64 = 1.4;
const BAR_EM: f64 = 1.0;
const HEADING_EM: f64 = 1.8;
const BELOW_EM: f64 = 1.9;
const TITLE_EM: f64 = 1.5;
/// Least width of what bars lie in.
const PLOT_EM: f64 = 7.0;
const TICKS: usize = 4;

/// Widths of a figure's columns.
struct Columns {
    names: i32,
    plot: i32,
    values: i32,
    /// Panels beside each other.
    count: usize,
}

impl Bars {
    /// What the figure needs below `width`.
    pub fn height(&self, sizes: Sizes, width: i32) -> i32 {
        let count = self.columns(sizes, width).count;
        let bands = self.bands.iter().map(|band| band_height(band, count, sizes, width));
        bands.sum::<i32>() + sizes.em(TITLE_EM)
    }

    fn columns(&self, sizes: Sizes, width: i32) -> Columns {
        let names = self.bands.iter().flat_map(|band| &band.names).map(String::as_str);
        let bars = self.bands.iter().flat_map(|band| &band.panels).flat_map(|panel| &panel.bars);
        let names = sizes.label().widest(names) + sizes.em(0.7);
        let values = bars.flatten().map(|bar| bar.value.as_str());
        let values = sizes.small().widest(values) + sizes.em(1.6);
        let most = self.bands.iter().map(|band| band.panels.len()).max().unwrap_or(1);
        let fit = ((width - names) / (sizes.em(PLOT_EM) + values)).max(1) as usize;
        let count = if fit >= most { most } else { 1 };
        let plot = ((width - names) / count as i32 - values).max(sizes.em(2.0));
        Columns { names, plot, values, count }
    }

    /// Fills `area`.
    pub fn draw(&self, sizes: Sizes, area: &Area<'_>) -> Drawn {
        let (width, height) = area.dim_in_pixel();
        let columns = self.columns(sizes, width as i32);
        let mut top = 0;
        for band in &self.bands {
            let style = sizes.heading().anchored(HPos::Left, VPos::Top);
            for (nth, line) in band.heading_lines(sizes, width as i32).iter().enumerate() {
                write_text(area, line, &style, (0, top + nth as i32 * sizes.em(ROW_EM)))?;
            }
            let first = top + band.above(sizes, width as i32);
            let axis = self.axis(band);
            for (nth, panel) in band.panels.iter().enumerate() {
                let (line, column) = (nth / columns.count, (nth % columns.count) as i32);
                let y = first + line as i32 * panel_height(band, sizes);
                let left = columns.names + column * (columns.plot + columns.values);
                if column == 0 {
                    draw_names(
                        &part(area, (0, y), (columns.names, panel_height(band, sizes))),
                        band,
                        panel,
                        sizes,
                    )?;
                }
                let size = (columns.plot + columns.values, panel_height(band, sizes));
                let axis = axis.between(0, columns.plot);
                draw_panel(&part(area, (left, y), size), panel, axis, sizes)?;
            }
            top += band_height(band, columns.count, sizes, width as i32);
        }
        let middle = i32::midpoint(columns.names, width as i32 - columns.values);
        let style = sizes.label().anchored(HPos::Center, VPos::Bottom);
        write_text(area, &self.title, &style, (middle, height as i32 - sizes.em(0.1)))
    }

    /// From zero, or over whole decades, to what is longest in the band or, shared, at all.
    fn axis(&self, band: &Band) -> Axis {
        let bands = if self.shared { self.bands.as_slice() } else { std::slice::from_ref(band) };
        let bars = bands.iter().flat_map(|band| &band.panels).flat_map(|panel| &panel.bars);
        let lengths = bars.flatten().flat_map(|bar| {
            [bar.length, bar.behind, bar.whisker.map(|whisker| whisker.1)].into_iter().flatten()
        });
        let positive: Vec<f64> = lengths.filter(|&length| length > 0.0).collect();
        let longest = positive.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let shortest = positive.iter().copied().fold(longest, f64::min);
        if self.logarithmic && !positive.is_empty() {
            // So that the shortest bar has a length, too.
            Axis::decades(0.7 * shortest, longest)
        } else {
            Axis::linear(0.0, longest, TICKS)
        }
    }
}

impl Band {
    fn heading_lines(&self, sizes: Sizes, width: i32) -> Vec<String> {
        sizes.heading().wrap(&self.heading, width)
    }

    /// Height of its heading.
    fn above(&self, sizes: Sizes, width: i32) -> i32 {
        let lines = self.heading_lines(sizes, width).len() as i32;
        if lines == 0 { 0 } else { lines * sizes.em(ROW_EM) + sizes.em(0.4) }
    }
}

fn band_height(band: &Band, columns: usize, sizes: Sizes, width: i32) -> i32 {
    band.above(sizes, width)
        + band.panels.len().div_ceil(columns) as i32 * panel_height(band, sizes)
}

fn panel_height(band: &Band, sizes: Sizes) -> i32 {
    let rows = band.names.len() as i32 * sizes.em(ROW_EM);
    heading_height(band, sizes) + rows + sizes.em(BELOW_EM)
}

fn heading_height(band: &Band, sizes: Sizes) -> i32 {
    if band.panels.iter().all(|panel| panel.heading.is_empty()) {
        sizes.em(0.3)
    } else {
        sizes.em(HEADING_EM)
    }
}

fn draw_names(area: &Area<'_>, band: &Band, panel: &Panel, sizes: Sizes) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    for (row, (name, bar)) in band.names.iter().zip(&panel.bars).enumerate() {
        let y =
            heading_height(band, sizes) + row as i32 * sizes.em(ROW_EM) + sizes.em(ROW_EM / 2.0);
        let ink = if bar.is_some() { INK } else { FAINT_INK };
        let style = sizes.label().in_colour(ink).anchored(HPos::Right, VPos::Center);
        write_text(area, name, &style, (width as i32 - sizes.em(0.7), y))?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel, axis: Axis, sizes: Sizes) -> Drawn {
    let rows = panel.bars.len() as i32 * sizes.em(ROW_EM);
    let top = area.dim_in_pixel().1 as i32 - sizes.em(BELOW_EM) - rows;
    let bottom = top + rows;
    let style = sizes.heading().anchored(HPos::Left, VPos::Top);
    write_text(area, &panel.heading, &style, (0, 0))?;
    for (value, name) in axis.ticks(TICKS) {
        let x = axis.place(value);
        area.draw(&PathElement::new([(x, top), (x, bottom)], GRID.stroke_width(5)))?;
        let style = sizes.small().anchored(HPos::Center, VPos::Top);
        write_text(area, &name, &style, (x, bottom + sizes.em(0.3)))?;
    }
    for (row, bar) in panel.bars.iter().enumerate() {
        let middle = top + row as i32 * sizes.em(ROW_EM) + sizes.em(ROW_EM / 2.0);
        if let Some(bar) = bar {
            draw_bar(area, bar, axis, middle, sizes)?;
        }
    }
    let zero = PathElement::new([(axis.from, top), (axis.from, bottom)], FAINT_INK.stroke_width(7));
    Ok(area.draw(&zero)?)
}

fn draw_bar(area: &Area<'_>, bar: &Bar, axis: Axis, middle: i32, sizes: Sizes) -> Drawn {
    let half = sizes.em(BAR_EM / 2.0);
    let (up, down) = (middle - half, middle + half);
    if let Some(behind) = bar.behind {
        let corners = [(axis.from, up), (axis.place(behind), down)];
        area.draw(&Rectangle::new(corners, paler(bar.look.colour, 0.75).filled()))?;
    }
    if let Some(length) = bar.length {
        let corners = [(axis.from, up), (axis.place(length), down)];
        area.draw(&Rectangle::new(corners, bar.look.colour.filled()))?;
        draw_hatch(area, corners, bar.look.hatch, sizes)?;
    }
    if let Some((lo, hi)) = bar.whisker {
        let (lo, hi) = (axis.place(lo), axis.place(hi));
        let cap = sizes.em(0.22);
        for style in [WHITE.stroke_width(20), INK.stroke_width(8)] {
            area.draw(&PathElement::new([(lo, middle), (hi, middle)], style))?;
            for x in [lo, hi] {
                area.draw(&PathElement::new([(x, middle - cap), (x, middle + cap)], style))?;
            }
        }
    }
    let style = sizes.small().in_colour(INK).anchored(HPos::Left, VPos::Center);
    write_text(area, &bar.value, &style, (axis.to + sizes.em(0.7), middle))
}

/// White strokes across a bar: one line that turns back along the bar's edges.
fn draw_hatch(
    area: &Area<'_>,
    [(left, up), (right, down)]: [(i32, i32); 2],
    hatch: Hatch,
    sizes: Sizes,
) -> Drawn {
    let (rise, step) = (down - up, sizes.em(0.5).max(1));
    let stroke = |falling: bool| -> Drawn {
        let mut x = left - rise;
        while x < right {
            // From (x, one edge) to (x + rise, the other), as far as it is in the bar.
            let (from, to) = (x.max(left), (x + rise).min(right));
            let y = |at: i32| if falling { up + (at - x) } else { down - (at - x) };
            if from < to {
                let line = [(from, y(from)), (to, y(to))];
                area.draw(&PathElement::new(line, WHITE.stroke_width(7)))?;
            }
            x += step;
        }
        Ok(())
    };
    match hatch {
        Hatch::None => Ok(()),
        Hatch::Rising => stroke(false),
        Hatch::Falling => stroke(true),
        Hatch::Crossed => stroke(false).and_then(|()| stroke(true)),
    }
}
