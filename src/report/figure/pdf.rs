//! A sheet's marks as a PDF page: text stays text, fonts are embedded as far as they are used.

use std::collections::BTreeSet;

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::font::Subset;
use super::ink::{Mark, Outline, Paint, UNITS_PER_PT, Words, letters};
use super::sheet::Page;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENTS: Ref = Ref::new(4);
const INFO: Ref = Ref::new(5);
/// Each font takes five references, from here on.
const FONTS: [i32; 2] = [10, 20];
/// Names of the upright and the bold font, and of shapes that are not opaque, on the page.
const FONT_NAMES: [Name<'static>; 2] = [Name(b"F0"), Name(b"F1")];

const SYSTEM: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// `page` as a PDF file.
pub(super) fn pdf(page: &Page) -> Vec<u8> {
    let fonts =
        [false, true].map(|bold| Subset::of(bold, &letters(&page.marks)[usize::from(bold)]));
    let alphas = alphas(&page.marks);
    let points = |units: u32| units as f32 / UNITS_PER_PT as f32;
    let (width, height) = (points(page.size.0), points(page.size.1));
    let mut file = Pdf::new();
    file.catalog(CATALOG).pages(PAGES);
    file.pages(PAGES).kids([PAGE]).count(1);
    let mut info = file.document_info(INFO);
    info.title(TextStr(&page.title)).subject(TextStr(&page.description));
    info.finish();
    let mut sheet = file.page(PAGE);
    sheet.media_box(Rect::new(0.0, 0.0, width, height)).parent(PAGES).contents(CONTENTS);
    let mut resources = sheet.resources();
    let mut named = resources.fonts();
    for (name, reference) in FONT_NAMES.into_iter().zip(FONTS) {
        named.pair(name, Ref::new(reference));
    }
    named.finish();
    let mut states = resources.ext_g_states();
    for &alpha in &alphas {
        let name = alpha_name(alpha);
        let mut state =
            states.insert(Name(&name)).start::<pdf_writer::writers::ExtGraphicsState<'_>>();
        let share = f32::from(alpha) / 100.0;
        state.non_stroking_alpha(share).stroking_alpha(share);
    }
    states.finish();
    resources.finish();
    sheet.finish();
    for (font, reference) in fonts.iter().zip(FONTS) {
        embed(&mut file, font, reference);
    }
    let mut content = Content::new();
    // Ours counts tenths of a point from the top.
    content.transform([points(1), 0.0, 0.0, -points(1), 0.0, height]);
    for mark in &page.marks {
        match mark {
            Mark::Shape(outlines, paint) => shape(&mut content, outlines, *paint),
            Mark::Text(words) => text(&mut content, words, &fonts[usize::from(words.bold)]),
        }
    }
    file.stream(CONTENTS, &content.finish());
    file.finish()
}

/// Opacities below 100 %, each once.
fn alphas(marks: &[Mark]) -> BTreeSet<u8> {
    let alpha = |mark: &Mark| match mark {
        Mark::Shape(_, paint) => Some(paint.alpha),
        Mark::Text(_) => None,
    };
    marks.iter().filter_map(alpha).filter(|&alpha| alpha < 100).collect()
}

fn alpha_name(percent: u8) -> Vec<u8> {
    format!("A{percent}").into_bytes()
}

fn embed(file: &mut Pdf, font: &Subset, reference: i32) {
    let [whole, cid, descriptor, map, data] = [0, 1, 2, 3, 4].map(|nth| Ref::new(reference + nth));
    let name = Name(if reference == FONTS[1] { b"PLIANT+Inter-SemiBold" } else { b"PLIANT+Inter" });
    file.type0_font(whole)
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(map);
    let mut described = file.cid_font(cid);
    described.subtype(CidFontType::Type0).base_font(name).system_info(SYSTEM);
    described.font_descriptor(descriptor).default_width(0.0);
    let widths = font.advances.iter().map(|advance| 1000.0 * *advance as f32);
    described.widths().consecutive(0, widths);
    described.finish();
    // Of Inter, in thousandths of its size.
    file.font_descriptor(descriptor)
        .name(name)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(-742.0, -323.0, 2580.0, 1109.0))
        .italic_angle(0.0)
        .ascent(969.0)
        .descent(-242.0)
        .cap_height(727.0)
        .stem_v(80.0)
        .font_file3(data);
    let mut letters = UnicodeCmap::new(Name(b"Custom"), SYSTEM);
    for (letter, glyph) in &font.glyphs {
        letters.pair(*glyph, *letter);
    }
    file.cmap(map, &letters.finish());
    file.stream(data, font.outlines()).pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
}

fn parts(RGBColor(red, green, blue): RGBColor) -> [f32; 3] {
    [red, green, blue].map(|part| f32::from(part) / 255.0)
}

fn shape(content: &mut Content, outlines: &[Outline], paint: Paint) {
    content.save_state();
    if paint.alpha < 100 {
        content.set_parameters(Name(&alpha_name(paint.alpha)));
    }
    let [red, green, blue] = parts(paint.colour);
    match paint.stroke {
        None => content.set_fill_rgb(red, green, blue),
        Some(width) => content.set_stroke_rgb(red, green, blue).set_line_width(width as f32),
    };
    for outline in outlines {
        match outline {
            Outline::Rectangle { x, y, width, height } => {
                let [x, y, width, height] = [x, y, width, height].map(|&units| units as f32);
                content.rect(x, y, width, height);
            }
            Outline::Circle { x, y, radius } => circle(content, (*x, *y), *radius),
            Outline::Line(corners) => polyline(content, corners),
            Outline::Polygon(corners) => {
                polyline(content, corners);
                content.close_path();
            }
        }
    }
    if paint.stroke.is_some() {
        content.stroke()
    } else {
        content.fill_nonzero()
    };
    content.restore_state();
}

fn polyline(content: &mut Content, corners: &[(i32, i32)]) {
    for (nth, &(x, y)) in corners.iter().enumerate() {
        match nth {
            0 => content.move_to(x as f32, y as f32),
            _ => content.line_to(x as f32, y as f32),
        };
    }
}

/// Four cubic curves, whose handles are 0.5523 of the radius long.
fn circle(content: &mut Content, (x, y): (i32, i32), radius: i32) {
    let (x, y, r) = (x as f32, y as f32, radius as f32);
    let h = 0.5523 * r;
    content.move_to(x + r, y);
    content.cubic_to(x + r, y + h, x + h, y + r, x, y + r);
    content.cubic_to(x - h, y + r, x - r, y + h, x - r, y);
    content.cubic_to(x - r, y - h, x - h, y - r, x, y - r);
    content.cubic_to(x + h, y - r, x + r, y - h, x + r, y);
    content.close_path();
}

fn text(content: &mut Content, words: &Words, font: &Subset) {
    let glyphs: Vec<u16> = words.text.chars().map(|letter| font.glyph(letter)).collect();
    let advance = |glyph: &u16| font.advances[usize::from(*glyph)] * words.size;
    let width = glyphs.iter().map(advance).sum::<f64>() as f32;
    let back = match words.anchor {
        HPos::Left => 0.0,
        HPos::Center => width / 2.0,
        HPos::Right => width,
    };
    let (x, y) = (words.at.0 as f32, words.at.1 as f32);
    let [red, green, blue] = parts(words.colour);
    // Letters stand upright on a page that is turned upside down.
    let matrix = if words.sideways {
        [0.0, -1.0, -1.0, 0.0, x, y + back]
    } else {
        [1.0, 0.0, 0.0, -1.0, x - back, y]
    };
    let codes: Vec<u8> = glyphs.iter().flat_map(|glyph| glyph.to_be_bytes()).collect();
    content.set_fill_rgb(red, green, blue);
    content.begin_text();
    content.set_font(FONT_NAMES[usize::from(words.bold)], words.size as f32);
    content.set_text_matrix(matrix);
    content.show(Str(&codes));
    content.end_text();
}
