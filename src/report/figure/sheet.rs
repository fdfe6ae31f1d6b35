//! A sheet to draw on: title above, caption below, written as SVG, PDF or PNG.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{FontTransform, TextStyle};
use resvg::{tiny_skia, usvg};

use super::colours::{FAINT_INK, INK};
use super::font::{self, LEAST_SIZE, Type};
use super::ink::{Ink, Mark, UNITS_PER_MM, UNITS_PER_PT};
use super::{pdf::pdf, svg::svg};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::results::FigureStyle;

/// Part of a sheet; its origin is its upper left corner, in tenths of a point.
pub(super) type Area<'a> = DrawingArea<Ink<'a>, Shift>;

/// The result of drawing. Drawing into memory fails only if the program draws nonsense.
pub(super) type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Pixels of a PNG in an inch.
const PNG_DPI: f64 = 200.0;

/// The form of a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Sharp at any size, with its text as text: what results folders keep.
    #[default]
    Svg,
    /// For LaTeX.
    Pdf,
    /// Pixels, 200 to the inch.
    Png,
}

impl Form {
    fn ending(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pdf => "pdf",
            Self::Png => "png",
        }
    }
}

/// A drawn page and what it says of itself.
pub(super) struct Page {
    pub title: String,
    pub description: String,
    /// In tenths of a point.
    pub size: (u32, u32),
    pub marks: Vec<Mark>,
}

/// Sizes of text and of the room around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of a label, in tenths of a point.
    em: f64,
}

impl Sizes {
    /// So many times the size of a label.
    pub fn em(self, times: f64) -> i32 {
        (self.em * times).round() as i32
    }

    pub fn label(self) -> Type {
        Type::new(self.em, INK)
    }

    pub fn heading(self) -> Type {
        self.label().bold()
    }

    /// Ticks, values and captions: never below 6 pt.
    pub fn small(self) -> Type {
        Type::new((0.86 * self.em).max(LEAST_SIZE), FAINT_INK)
    }

    fn title(self) -> Type {
        Type::new(1.3 * self.em, INK).bold()
    }
}

/// Where figures go, and how they look.
#[derive(Debug)]
pub(in crate::report) struct Press<'a> {
    /// The results folder.
    pub results: &'a Path,
    /// Where figures go.
    pub folder: &'a Path,
    pub form: Form,
    pub style: FigureStyle,
    /// What the experiment shows; stands below every title.
    pub about: String,
}

/// The words around a figure.
#[derive(Debug)]
pub(super) struct Sheet {
    pub title: String,
    /// What was measured, on what, how often, and where the numbers come from.
    pub caption: String,
    /// Height of what is drawn between them.
    pub height: i32,
}

impl Press<'_> {
    pub(super) fn sizes(&self) -> Sizes {
        Sizes { em: self.style.font_pt * UNITS_PER_PT }
    }

    /// Width of what is drawn.
    pub(super) fn width(&self) -> i32 {
        self.page_width() - 2 * self.margin()
    }

    fn page_width(&self) -> i32 {
        (self.style.width_mm * UNITS_PER_MM).round() as i32
    }

    /// None in a document, which has its own.
    fn margin(&self) -> i32 {
        if self.style.title { self.sizes().em(1.2) } else { self.sizes().em(0.2) }
    }

    /// The file of the figure `name`.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{}", self.form.ending()))
    }

    /// Lets `draw` fill the sheet and writes it.
    pub(super) fn print(
        &self,
        name: &str,
        sheet: &Sheet,
        draw: impl FnOnce(&Area<'_>) -> Drawn,
    ) -> Result<()> {
        let path = self.file(name);
        let bytes = self.bytes(sheet, draw);
        let bytes = bytes.map_err(|source| Error::file(&path, "cannot draw").caused_by(source))?;
        write_whole(&path, &bytes)
    }

    fn bytes(&self, sheet: &Sheet, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<Vec<u8>> {
        let page = self.page(sheet, draw)?;
        match self.form {
            Form::Svg => Ok(svg(&page).into_bytes()),
            Form::Pdf => Ok(pdf(&page)),
            Form::Png => png(&svg(&page)),
        }
    }

    fn page(&self, sheet: &Sheet, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<Page> {
        font::register();
        let (sizes, margin) = (self.sizes(), self.margin());
        let lines = |of: Type, text: &str| {
            if self.style.title { of.wrap(text, self.width()) } else { Vec::new() }
        };
        let (title, about) =
            (lines(sizes.title(), &sheet.title), lines(sizes.small(), &self.about));
        let caption = lines(sizes.small(), &sheet.caption);
        let (title_line, small_line) = (sizes.em(1.7), sizes.em(1.25));
        let rows = |lines: &Vec<String>, line: i32| lines.len() as i32 * line;
        let head = rows(&title, title_line)
            + rows(&about, small_line)
            + if title.is_empty() { 0 } else { sizes.em(0.7) };
        let foot = rows(&caption, small_line) + if caption.is_empty() { 0 } else { sizes.em(0.9) };
        let height = head + sheet.height + foot + 2 * margin;
        let mut page = Page {
            title: sheet.title.clone(),
            description: format!("{} {}", self.about, sheet.caption).trim().to_owned(),
            size: (self.page_width() as u32, height as u32),
            marks: Vec::new(),
        };
        let area = Ink { size: page.size, marks: &mut page.marks }.into_drawing_area();
        let write = |lines: &[String], of: Type, from: i32, line: i32| -> Drawn {
            lines.iter().enumerate().try_for_each(|(nth, text)| {
                let at = (margin, from + nth as i32 * line);
                write_text(&area, text, &of.anchored(HPos::Left, VPos::Top), at)
            })
        };
        write(&title, sizes.title(), margin, title_line)?;
        write(&about, sizes.small(), margin + rows(&title, title_line), small_line)?;
        let below = margin + head + sheet.height + sizes.em(0.9);
        write(&caption, sizes.small(), below, small_line)?;
        draw(&part(&area, (margin, margin + head), (self.width(), sheet.height)))?;
        area.present()?;
        drop(area);
        Ok(page)
    }
}

/// A part of `area`, given by its upper left corner, width and height.
pub(super) fn part<'a>(
    area: &Area<'a>,
    (x, y): (i32, i32),
    (width, height): (i32, i32),
) -> Area<'a> {
    let (whole_width, whole_height) = area.dim_in_pixel();
    let rest = |whole: u32, from: i32, length: i32| (whole as i32 - from - length).max(0);
    area.margin(y, rest(whole_height, y, height), x, rest(whole_width, x, width))
}

/// Writes `text` with its anchor at `at`.
pub(super) fn write_text(
    area: &Area<'_>,
    text: &str,
    style: &TextStyle<'_>,
    at: (i32, i32),
) -> Drawn {
    Ok(area.draw_text(text, style, at)?)
}

/// Writes `text` from the bottom up, anchored at `at`.
pub(super) fn write_sideways(
    area: &Area<'_>,
    text: &str,
    style: &TextStyle<'_>,
    at: (i32, i32),
) -> Drawn {
    write_text(area, text, &style.transform(FontTransform::Rotate270), at)
}

fn png(svg: &str) -> Drawn<Vec<u8>> {
    let options = usvg::Options { fontdb: font::database(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options)?;
    // resvg takes a px for a 96th of an inch.
    let scale = PNG_DPI / 96.0;
    let pixels = |length: f32| (f64::from(length) * scale).ceil() as u32;
    let mut pixmap =
        tiny_skia::Pixmap::new(pixels(tree.size().width()), pixels(tree.size().height()))
            .ok_or("a figure without extent")?;
    let scale = tiny_skia::Transform::from_scale(scale as f32, scale as f32);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    Ok(pixmap.encode_png()?)
}
