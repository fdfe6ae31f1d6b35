//! What is drawn, kept as marks that a file can be written from: the backend behind plotters.
//!
//! Lengths are in tenths of a point, so that whole numbers are fine enough for print.

use std::collections::BTreeSet;
use std::convert::Infallible;

use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform,
};

use super::font::LINE_HEIGHT_PER_SIZE;

/// Tenths of a point in a millimetre.
pub(super) const UNITS_PER_MM: f64 = 720.0 / 25.4;
/// Tenths of a point in a point.
pub(super) const UNITS_PER_PT: f64 = 10.0;

/// How far below its anchor a text's baseline is, in its size: the tops of capitals, their middles
/// or the feet of the deepest letters are at the anchor.
const BASELINES: (f64, f64, f64) = (0.78, 0.36, -0.2);

/// An outline, in tenths of a point.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outline {
    Rectangle { x: i32, y: i32, width: i32, height: i32 },
    Line(Vec<(i32, i32)>),
    Polygon(Vec<(i32, i32)>),
    Circle { x: i32, y: i32, radius: i32 },
}

/// How outlines are painted: filled, or stroked with a width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Paint {
    pub colour: RGBColor,
    /// How opaque, in percent.
    pub alpha: u8,
    pub stroke: Option<u32>,
}

/// A line of text; `at` is on its baseline, at the left end, middle or right end.
#[derive(Clone)]
pub(super) struct Words {
    pub text: String,
    pub at: (i32, i32),
    pub size: f64,
    pub bold: bool,
    pub colour: RGBColor,
    pub anchor: HPos,
    /// From the bottom up.
    pub sideways: bool,
}

/// Something on the sheet, above what came before it.
#[derive(Clone)]
pub(super) enum Mark {
    Shape(Vec<Outline>, Paint),
    Text(Words),
}

/// The letters that `marks` set upright and bold.
pub(super) fn letters(marks: &[Mark]) -> [BTreeSet<char>; 2] {
    let mut letters = [BTreeSet::new(), BTreeSet::new()];
    for mark in marks {
        if let Mark::Text(words) = mark {
            letters[usize::from(words.bold)].extend(words.text.chars());
        }
    }
    letters
}

/// Takes what plotters draws.
pub(super) struct Ink<'a> {
    pub size: (u32, u32),
    pub marks: &'a mut Vec<Mark>,
}

impl Ink<'_> {
    /// Opaque shapes of one paint become one mark.
    fn shape(&mut self, outline: Outline, colour: BackendColor, stroke: Option<u32>) {
        let (red, green, blue) = colour.rgb;
        let paint = Paint {
            colour: RGBColor(red, green, blue),
            alpha: (100.0 * colour.alpha).round() as u8,
            stroke,
        };
        match self.marks.last_mut() {
            Some(Mark::Shape(outlines, last)) if *last == paint && paint.alpha >= 100 => {
                outlines.push(outline);
            }
            _ => self.marks.push(Mark::Shape(vec![outline], paint)),
        }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Ink<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.shape(Outline::Rectangle { x, y, width: 1, height: 1 }, colour, None);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (x, width) = (left.min(right), (right - left).abs());
        let (y, height) = (top.min(bottom), (bottom - top).abs());
        let stroke = (!fill).then(|| style.stroke_width());
        self.shape(Outline::Rectangle { x, y, width, height }, style.color(), stroke);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let path: Vec<_> = path.into_iter().collect();
        self.shape(Outline::Line(path), style.color(), Some(style.stroke_width()));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let stroke = (!fill).then(|| style.stroke_width());
        self.shape(Outline::Circle { x, y, radius: radius as i32 }, style.color(), stroke);
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        self.shape(Outline::Polygon(corners.into_iter().collect()), style.color(), None);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        let size = style.size() / LINE_HEIGHT_PER_SIZE;
        let (top, middle, foot) = BASELINES;
        let below = match style.anchor().v_pos {
            VPos::Top => top,
            VPos::Center => middle,
            VPos::Bottom => foot,
        };
        let below = (below * size).round() as i32;
        let sideways = matches!(style.transform(), FontTransform::Rotate270);
        let (red, green, blue) = style.color().rgb;
        self.marks.push(Mark::Text(Words {
            text: text.to_owned(),
            at: if sideways { (x + below, y) } else { (x, y + below) },
            size,
            bold: matches!(style.style(), FontStyle::Bold),
            colour: RGBColor(red, green, blue),
            anchor: style.anchor().h_pos,
            sideways,
        }));
        Ok(())
    }
}
