//! The font that figures are set in, carried by the program: no system font is ever asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Once};

use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, RGBColor, TextStyle, register_font};
use resvg::usvg::fontdb::Database;
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId, RawFace, Tag};

use super::ink::UNITS_PER_PT;

const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.otf");

/// The name in the SVG: a viewer that shows no embedded font falls back on what it has.
pub(super) const FAMILY: &str = "Inter, Helvetica, Arial, sans-serif";

/// plotters takes the height of a line and sets letters of `height / 1.24`.
pub(super) const LINE_HEIGHT_PER_SIZE: f64 = 1.24;

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

/// The whole font, as an OpenType file.
fn bytes(bold: bool) -> &'static [u8] {
    if bold { SEMI_BOLD } else { REGULAR }
}

/// The font with no more than some letters.
#[derive(Debug, Clone)]
pub(super) struct Subset {
    /// Letters that the font has and their glyphs in the subset; 0 is the box for one that it
    /// lacks.
    pub glyphs: BTreeMap<char, u16>,
    /// Of each glyph, in sizes of the font.
    pub advances: Vec<f64>,
    bold: bool,
    /// As it is cut for PDF.
    cut: Vec<u8>,
}

impl Subset {
    pub fn of(bold: bool, letters: &BTreeSet<char>) -> Self {
        let face = Face::parse(bytes(bold), 0).expect("the carried font is a font");
        let mut kept = GlyphRemapper::new();
        let ids: Vec<(char, GlyphId)> = letters
            .iter()
            .filter_map(|&letter| Some((letter, face.glyph_index(letter)?)))
            .collect();
        let glyphs = ids.iter().map(|(letter, id)| (*letter, kept.remap(id.0))).collect();
        let per_em = f64::from(face.units_per_em());
        let advance =
            |id: u16| f64::from(face.glyph_hor_advance(GlyphId(id)).unwrap_or(0)) / per_em;
        Self {
            glyphs,
            advances: kept.remapped_gids().map(advance).collect(),
            bold,
            cut: subsetter::subset(bytes(bold), 0, &kept).expect("the carried font can be cut"),
        }
    }

    pub fn glyph(&self, letter: char) -> u16 {
        self.glyphs.get(&letter).copied().unwrap_or(0)
    }

    /// The outlines alone: the table `CFF `.
    pub fn outlines(&self) -> &[u8] {
        let tag = Tag::from_bytes(b"CFF ");
        raw(&self.cut).table(tag).expect("the carried font has outlines")
    }

    /// An OpenType file, with the tables that browsers ask for and the cut lacks.
    pub fn file(&self) -> Vec<u8> {
        let (cut, whole) = (raw(&self.cut), raw(bytes(self.bold)));
        let mut tables: BTreeMap<[u8; 4], Vec<u8>> = BTreeMap::new();
        for record in cut.table_records {
            let data = cut.table(record.tag).expect("a listed table is there");
            tables.insert(record.tag.to_bytes(), data.to_vec());
        }
        for tag in [b"OS/2", b"name"] {
            let data = whole.table(Tag::from_bytes(tag)).expect("the carried font is whole");
            tables.entry(*tag).or_insert_with(|| data.to_vec());
        }
        tables.insert(*b"cmap", cmap(&self.glyphs));
        // Version 3: glyphs have no names.
        tables.insert(*b"post", [[0, 3, 0, 0].as_slice(), &[0; 28]].concat());
        assemble(&tables)
    }
}

fn raw(font: &[u8]) -> RawFace<'_> {
    RawFace::parse(font, 0).expect("the carried font is a font")
}

/// A character map of format 12 (OpenType, `cmap`), a group for each letter.
fn cmap(glyphs: &BTreeMap<char, u16>) -> Vec<u8> {
    let count = glyphs.len() as u32;
    // Version 0 with one table, for Windows and all of Unicode, at byte 12.
    let mut table = [0_u16, 1, 3, 10, 0, 12, 12, 0].map(u16::to_be_bytes).concat();
    table.extend([16 + 12 * count, 0, count].map(u32::to_be_bytes).concat());
    for (&letter, &glyph) in glyphs {
        let letter = u32::from(letter);
        table.extend([letter, letter, u32::from(glyph)].map(u32::to_be_bytes).concat());
    }
    table
}

/// An OpenType file with outlines in `CFF `: its directory, then the tables, each on four bytes.
fn assemble(tables: &BTreeMap<[u8; 4], Vec<u8>>) -> Vec<u8> {
    let count = tables.len() as u16;
    let power = count.ilog2() as u16;
    let range = 16 << power;
    let mut file = b"OTTO".to_vec();
    file.extend([count, range, power, 16 * count - range].map(u16::to_be_bytes).concat());
    let mut offset = 12 + 16 * tables.len();
    for (tag, data) in tables {
        let word = |bytes: &[u8]| {
            let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
            byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3)
        };
        let sum = data.chunks(4).map(word).fold(0, u32::wrapping_add);
        file.extend(tag);
        file.extend([sum, offset as u32, data.len() as u32].map(u32::to_be_bytes).concat());
        offset += data.len().next_multiple_of(4);
    }
    for data in tables.values() {
        file.extend(data);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    file
}

/// How a piece of text is set; sizes in tenths of a point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub size: f64,
    pub bold: bool,
    pub colour: RGBColor,
}

/// Of any text, 6 pt in tenths of a point.
pub const LEAST_SIZE: f64 = 6.0 * UNITS_PER_PT;

impl Type {
    pub const fn new(size: f64, colour: RGBColor) -> Self {
        Self { size, bold: false, colour }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub const fn in_colour(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }

    fn font(self) -> FontDesc<'static> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FAMILY), self.size * LINE_HEIGHT_PER_SIZE, style)
    }

    /// The style of text whose anchor is at `horizontal`, `vertical` of its box.
    pub fn anchored(self, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
        self.font().color(&self.colour).pos(Pos::new(horizontal, vertical))
    }

    /// Width of `text`.
    pub fn width(self, text: &str) -> i32 {
        register();
        self.font().box_size(text).map_or(0, |(width, _)| width as i32)
    }

    /// The widest of `texts`.
    pub fn widest<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> i32 {
        texts.into_iter().map(|text| self.width(text)).max().unwrap_or(0)
    }

    /// As large as it is, or as small as lets each of `texts` stand within `width`, at least 6 pt.
    pub fn fitted<'a>(self, texts: impl IntoIterator<Item = &'a str>, width: i32) -> Self {
        let share = f64::from(width) / f64::from(self.widest(texts).max(1));
        Self { size: (self.size * share.min(1.0)).max(self.size.min(LEAST_SIZE)), ..self }
    }

    /// `text` in lines of at most `width`, broken at spaces.
    pub fn wrap(self, text: &str, width: i32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let longer = lines.last().map(|line| format!("{line} {word}"));
            match longer.filter(|longer| self.width(longer) <= width) {
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
    fn text_is_made_smaller_until_the_widest_fits_but_never_illegible() {
        let body = Type::new(80.0, BLACK);
        let (short, long) = ("one", "one two three");
        let near = |fitted: Type, size: f64| (fitted.size - size).abs() < 1.0;
        assert!(near(body.fitted([short, long], body.width(long)), 80.0));
        let narrow = body.width(long) * 9 / 10;
        let fitted = body.fitted([short, long], narrow);
        assert!(near(fitted, 72.0) && fitted.width(long) <= narrow);
        assert!(near(body.fitted([long], 1), LEAST_SIZE));
    }

    #[test]
    fn text_has_a_width_and_wraps_within_it() {
        let body = Type::new(80.0, BLACK);
        assert!(body.width("wide words") > body.width("words"));
        assert!(body.bold().width("words") > body.width("words"));
        let width = body.width("one two three");
        assert_eq!(body.wrap("one two three four five", width), ["one two three", "four five"]);
    }

    #[test]
    fn a_subset_keeps_the_letters_it_was_asked_for_and_is_small() {
        let letters: BTreeSet<char> = "α = 0.25 ζ".chars().collect();
        for bold in [false, true] {
            let subset = Subset::of(bold, &letters);
            let file = subset.file();
            assert!(file.len() < 6000, "{} bytes", file.len());
            let cut = Face::parse(&file, 0).unwrap();
            let whole = Face::parse(bytes(bold), 0).unwrap();
            for &letter in &letters {
                let advance = |face: &Face<'_>| face.glyph_hor_advance(face.glyph_index(letter)?);
                assert!(advance(&cut).is_some() && advance(&cut) == advance(&whole), "{letter}");
            }
            assert_eq!((cut.glyph_index('Q'), subset.glyph('Q')), (None, 0));
        }
    }
}
