//! A sheet's marks as SVG: text stays text, in a font that the file carries.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::font::{FAMILY, Subset};
use super::ink::{Mark, Outline, Paint, UNITS_PER_MM, Words, letters};
use super::sheet::Page;

/// `page` as an SVG file.
pub(super) fn svg(page: &Page) -> String {
    let (width, height) = page.size;
    let mm = |units: u32| f64::from(units) / UNITS_PER_MM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.1}mm\" height=\"{:.1}mm\" \
         viewBox=\"0 0 {width} {height}\" \
         font-family=\"{FAMILY}\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{}</style>\n<path \
         fill=\"#fff\" d=\"M0 0h{width}v{height}h-{width}z\"/>\n",
        mm(width),
        mm(height),
        escaped(&page.title),
        escaped(&page.description),
        faces(&page.marks),
    );
    for mark in &page.marks {
        match mark {
            Mark::Shape(outlines, paint) => shape(&mut svg, outlines, *paint),
            Mark::Text(words) => text(&mut svg, words),
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The letters that the page sets, as fonts of their own.
fn faces(marks: &[Mark]) -> String {
    let mut css = String::new();
    for (bold, letters) in [false, true].into_iter().zip(letters(marks)) {
        if letters.is_empty() {
            continue;
        }
        let weight = if bold { "font-weight:bold;" } else { "" };
        let font = BASE64_STANDARD.encode(Subset::of(bold, &letters).file());
        write!(css, "@font-face{{font-family:Inter;{weight}src:url(data:font/otf;base64,{font})}}")
            .expect("a string can always grow");
    }
    css
}

fn shape(svg: &mut String, outlines: &[Outline], paint: Paint) {
    let colour = hex(paint.colour);
    let alpha = |name: &str| match paint.alpha {
        alpha if alpha < 100 => format!(" {name}-opacity=\"0.{alpha:02}\""),
        _ => String::new(),
    };
    let paint = match paint.stroke {
        None => format!("fill=\"{colour}\"{}", alpha("fill")),
        Some(width) => {
            let opacity = alpha("stroke");
            format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{opacity}")
        }
    };
    let mut path = String::new();
    for outline in outlines {
        outline_path(&mut path, outline).expect("a string can always grow");
    }
    writeln!(svg, "<path {paint} d=\"{path}\"/>").expect("a string can always grow");
}

fn outline_path(path: &mut String, outline: &Outline) -> std::fmt::Result {
    let (corners, closed) = match outline {
        Outline::Rectangle { x, y, width, height } => {
            return write!(path, "M{x} {y}h{width}v{height}h-{width}z");
        }
        Outline::Circle { x, y, radius: r } => {
            let (left, across) = (x - r, 2 * r);
            return write!(path, "M{left} {y}a{r} {r} 0 1 0 {across} 0a{r} {r} 0 1 0-{across} 0z");
        }
        Outline::Line(corners) => (corners, false),
        Outline::Polygon(corners) => (corners, true),
    };
    let Some(&(mut x, mut y)) = corners.first() else { return Ok(()) };
    write!(path, "M{x} {y}")?;
    for &(to_x, to_y) in &corners[1..] {
        match (to_x - x, to_y - y) {
            (0, down) => write!(path, "v{down}")?,
            (right, 0) => write!(path, "h{right}")?,
            (right, down) => write!(path, "l{right} {down}")?,
        }
        (x, y) = (to_x, to_y);
    }
    if closed { write!(path, "z") } else { Ok(()) }
}

fn text(svg: &mut String, words: &Words) {
    let (x, y) = words.at;
    let anchor = match words.anchor {
        HPos::Left => "",
        HPos::Center => " text-anchor=\"middle\"",
        HPos::Right => " text-anchor=\"end\"",
    };
    let bold = if words.bold { " font-weight=\"bold\"" } else { "" };
    let turn =
        if words.sideways { format!(" transform=\"rotate(270 {x} {y})\"") } else { String::new() };
    writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{:.0}\"{bold}{anchor}{turn} fill=\"{}\">{}</text>",
        words.size,
        hex(words.colour),
        escaped(&words.text)
    )
    .expect("a string can always grow");
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_paths_of_relative_steps() {
        let path = |outline: Outline| {
            let mut path = String::new();
            outline_path(&mut path, &outline).unwrap();
            path
        };
        assert_eq!(path(Outline::Line(vec![(1, 2), (5, 2), (5, 9), (6, 1)])), "M1 2h4v7l1 -8");
        assert_eq!(path(Outline::Polygon(vec![(0, 0), (3, 4)])), "M0 0l3 4z");
    }
}
