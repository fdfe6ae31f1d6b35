//! The font that figures are set in, carried by the program: no system font is ever asked for.

use std::sync::{Arc, Once};

use plotters::style::{
    FontDesc, FontFamily, FontStyle, RGBColor, TextStyle, register_font,
    text_anchor::{HPos, Pos, VPos},
};
use resvg::usvg::fontdb::Database;

const REGULAR: &[u8] = include_bytes!("../../assets/fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("../../assets/fonts/Inter-SemiBold.otf");

/// The name in the SVG: a viewer without Inter falls back on what it has.
const FAMILY: &str = "Inter, Helvetica, Arial, sans-serif";

/// plotters takes the height of a line and writes `font-size = height / 1.24`.
const LINE_HEIGHT_PER_SIZE: f64 = 1.24;

/// Tells plotters about the font. Call before drawing; only the first call does anything.
pub(super) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, SEMI_BOLD)] {
            assert!(register_font(FAMILY, style, bytes).is_ok(), "the carried font is a font");
        }
    });
}

/// The same fonts for resvg.
pub(super) fn database() -> Arc<Database> {
    let mut fonts = Database::new();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(SEMI_BOLD.to_vec());
    fonts.set_sans_serif_family("Inter");
    Arc::new(fonts)
}

/// How a piece of text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub size_px: f64,
    pub bold: bool,
    pub colour: RGBColor,
}

impl Type {
    pub const fn new(size_px: f64, colour: RGBColor) -> Self {
        Self { size_px, bold: false, colour }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub const fn in_colour(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }

    fn font(self) -> FontDesc<'static> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FAMILY), self.size_px * LINE_HEIGHT_PER_SIZE, style)
    }

    /// The style of text whose anchor is at `horizontal`, `vertical` of its box.
    pub fn anchored(self, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
        self.font().color(&self.colour).pos(Pos::new(horizontal, vertical))
    }

    /// Width of `text` in px.
    pub fn width_px(self, text: &str) -> i32 {
        self.font().box_size(text).map_or(0, |(width, _)| width as i32)
    }

    /// `text` in lines of at most `width_px`, broken at spaces.
    pub fn wrap(self, text: &str, width_px: i32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let longer = lines.last().map(|line| format!("{line} {word}"));
            match longer.filter(|longer| self.width_px(longer) <= width_px) {
                Some(longer) => *lines.last_mut().expect("there is a line to lengthen") = longer,
                None => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::style::BLACK;

    #[test]
    fn text_has_a_width_and_wraps_within_it() {
        register();
        let body = Type::new(12.0, BLACK);
        assert!(body.width_px("wide words") > body.width_px("words"));
        assert!(body.bold().width_px("words") > body.width_px("words"));
        let width_px = body.width_px("one two three");
        assert_eq!(body.wrap("one two three four five", width_px), ["one two three", "four five"]);
    }
}
