//! A sheet to draw on: title above, caption below, written as SVG and PNG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{FontTransform, TextStyle, WHITE};
use resvg::{tiny_skia, usvg};

use super::colours::{FAINT_INK, INK};
use super::font::{self, Type};
use crate::error::{Error, Result};
use crate::files::write_whole;

/// Part of a sheet; its origin is its upper left corner, in px.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The result of drawing. Drawing into memory fails only if the program draws nonsense.
pub(super) type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(super) const TITLE: Type = Type::new(17.0, INK).bold();
pub(super) const HEADING: Type = Type::new(13.0, INK).bold();
pub(super) const LABEL: Type = Type::new(12.0, INK);
pub(super) const TICK: Type = Type::new(11.0, FAINT_INK);
pub(super) const CAPTION: Type = Type::new(11.0, FAINT_INK);

const MARGIN_PX: u32 = 24;
const TITLE_PX: u32 = 32;
const CAPTION_LINE_PX: u32 = 16;
const PNG_SCALE: f32 = 2.0;

/// Words around a figure, and the size of what is drawn between them.
#[derive(Debug)]
pub(super) struct Sheet {
    pub title: String,
    /// What was measured, on what, how often, and where the numbers come from.
    pub caption: String,
    pub width_px: u32,
    /// Without title and caption.
    pub height_px: u32,
}

impl Sheet {
    /// Lets `draw` fill the sheet and writes `FOLDER/NAME.svg` and `FOLDER/NAME.png`.
    pub fn write(
        &self,
        folder: &Path,
        name: &str,
        draw: impl FnOnce(&Area<'_>) -> Drawn,
    ) -> Result<()> {
        font::register();
        let path = folder.join(format!("{name}.svg"));
        let wrong = |source| Error::file(&path, "cannot draw").caused_by(source);
        let svg = self.svg(draw).map_err(wrong)?;
        let png = png(&svg).map_err(wrong)?;
        write_whole(&path, svg.as_bytes())?;
        write_whole(&path.with_file_name(format!("{name}.png")), &png)
    }

    fn svg(&self, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<String> {
        let inner_px = self.width_px - 2 * MARGIN_PX;
        let caption = CAPTION.wrap(&self.caption, inner_px as i32);
        let caption_px = caption.len() as u32 * CAPTION_LINE_PX + 10;
        let height_px = self.height_px + 2 * MARGIN_PX + TITLE_PX + caption_px;
        let mut svg = String::new();
        {
            let size = (self.width_px, height_px);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE)?;
            let inner = area.margin(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX);
            let (head, rest) = inner.split_vertically(TITLE_PX);
            let (body, foot) = rest.split_vertically(self.height_px);
            write_text(&head, &self.title, &TITLE.anchored(HPos::Left, VPos::Top), (0, 0))?;
            draw(&body)?;
            for (line, text) in caption.iter().enumerate() {
                let y = 10 + line as i32 * CAPTION_LINE_PX as i32;
                write_text(&foot, text, &CAPTION.anchored(HPos::Left, VPos::Top), (0, y))?;
            }
            area.present()?;
        }
        Ok(svg)
    }
}

/// Writes `text` with its anchor at `at`.
///
/// plotters raises text that is centred vertically by half an x-height; digits and capitals are
/// taller, so that they are lowered by the difference here.
pub(super) fn write_text(
    area: &Area<'_>,
    text: &str,
    style: &TextStyle<'_>,
    at: (i32, i32),
) -> Drawn {
    let lowered = match style.pos.v_pos {
        VPos::Center => (0.07 * style.font.get_size()).round() as i32,
        VPos::Top | VPos::Bottom => 0,
    };
    let sideways = matches!(style.font.get_transform(), FontTransform::Rotate270);
    let at = if sideways { (at.0 + lowered, at.1) } else { (at.0, at.1 + lowered) };
    Ok(area.draw_text(text, style, at)?)
}

/// Writes `text` from the bottom up, centred on `at`.
pub(super) fn write_sideways(area: &Area<'_>, text: &str, of: Type, at: (i32, i32)) -> Drawn {
    let style = of.anchored(HPos::Center, VPos::Center).transform(FontTransform::Rotate270);
    write_text(area, text, &style, at)
}

fn png(svg: &str) -> Drawn<Vec<u8>> {
    let options = usvg::Options { fontdb: font::database(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let pixels = |length: u32| (length as f32 * PNG_SCALE) as u32;
    let mut pixmap = tiny_skia::Pixmap::new(pixels(size.width()), pixels(size.height()))
        .ok_or("a figure without extent")?;
    let scale = tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    Ok(pixmap.encode_png()?)
}

/// `name` as part of a file name: small letters, digits, dots and dashes.
pub(super) fn slug(name: &str) -> String {
    let kept = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.') => letter,
        _ => '-',
    };
    name.chars().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_written_as_svg_and_as_png_of_twice_the_size() {
        let folder = tempfile::tempdir().unwrap();
        let sheet = Sheet {
            title: "Title".to_owned(),
            caption: "Caption".to_owned(),
            width_px: 200,
            height_px: 50,
        };
        sheet.write(folder.path(), "figure", |_| Ok(())).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("figure.svg")).unwrap();
        assert!(svg.starts_with("<svg width=\"200\" height=\"156\""), "{svg}");
        let png = std::fs::read(folder.path().join("figure.png")).unwrap();
        assert_eq!(png[16..24], [0, 0, 1, 144, 0, 0, 1, 56], "400 × 312 pixels");
    }

    #[test]
    fn names_become_file_names() {
        assert_eq!(slug("LLaMA-7B on K60/x"), "llama-7b-on-k60-x");
    }
}
