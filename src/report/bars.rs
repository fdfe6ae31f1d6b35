//! Horizontal bars, one row each, with names on the left and values on the right.

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::canvas::{Area, Drawn, LABEL, TICK, write_text};
use super::colours::{FAINT_INK, GRID};

/// Height of a row.
pub(super) const ROW_PX: u32 = 34;
/// Height of what stands below the rows.
pub(super) const BELOW_PX: u32 = 44;

/// A row.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub name: String,
    pub colour: RGBColor,
    /// Length of the bar.
    pub length: f64,
    /// Length of a pale bar behind it.
    pub behind: Option<f64>,
    /// What stands at its end.
    pub value: String,
}

/// Height of `rows` bars and their axis.
pub(super) fn height_px(rows: usize) -> u32 {
    ROW_PX * rows as u32 + BELOW_PX
}

/// Fills `area` with `bars` over an axis called `title`.
pub(super) fn draw(area: &Area<'_>, bars: &[Bar], title: &str) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let bottom = (height - BELOW_PX) as i32;
    let widest = |text: fn(&Bar) -> &str, of: super::font::Type| {
        bars.iter().map(|bar| of.width_px(text(bar))).max().unwrap_or(0)
    };
    let left = widest(|bar| &bar.name, LABEL) + 16;
    let right = width as i32 - widest(|bar| &bar.value, TICK) - 16;
    let whole = |bar: &Bar| bar.behind.unwrap_or(0.0).max(bar.length);
    let longest = bars.iter().map(whole).fold(1e-9, f64::max);
    let x = |value: f64| left + (value / longest * f64::from(right - left)).round() as i32;
    let step = tick_step(longest);
    for tick in 0..=(longest / step) as u32 {
        let value = f64::from(tick) * step;
        area.draw(&PathElement::new([(x(value), 0), (x(value), bottom)], GRID))?;
        let style = TICK.anchored(HPos::Center, VPos::Top);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        write_text(area, &format!("{value:.decimals$}"), &style, (x(value), bottom + 5))?;
    }
    for (row, bar) in bars.iter().enumerate() {
        let (top, end) = (row as i32 * ROW_PX as i32 + 6, (row as i32 + 1) * ROW_PX as i32 - 6);
        if let Some(behind) = bar.behind {
            let pale = [(left, top), (x(behind), end)];
            area.draw(&Rectangle::new(pale, bar.colour.mix(0.3).filled()))?;
        }
        area.draw(&Rectangle::new([(left, top), (x(bar.length), end)], bar.colour.filled()))?;
        let middle = i32::midpoint(top, end);
        write_text(
            area,
            &bar.name,
            &LABEL.anchored(HPos::Right, VPos::Center),
            (left - 8, middle),
        )?;
        let at = (x(whole(bar)) + 8, middle);
        write_text(area, &bar.value, &TICK.anchored(HPos::Left, VPos::Center), at)?;
    }
    area.draw(&PathElement::new([(left, 0), (left, bottom)], FAINT_INK))?;
    let style = LABEL.anchored(HPos::Center, VPos::Top);
    write_text(area, title, &style, (i32::midpoint(left, right), bottom + 22))
}

/// A step of 1, 2 or 5 times a power of ten that parts `longest` into at most six.
fn tick_step(longest: f64) -> f64 {
    let power = 10_f64.powf((longest / 6.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| longest / step <= 6.0).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (longest, step) in [(29.7, 5.0), (11.0, 2.0), (6.0, 1.0), (0.5, 0.1), (80e9, 20e9)] {
            assert!((tick_step(longest) - step).abs() < 1e-9 * step, "{longest}");
        }
    }
}
