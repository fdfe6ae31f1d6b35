//! One palette for all figures: a method keeps its colour everywhere.

use plotters::prelude::DerivedColorMap;
use plotters::style::RGBColor;

/// Text and the strongest lines.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x26, 0x2B);
/// Secondary text.
pub(super) const FAINT_INK: RGBColor = RGBColor(0x5B, 0x63, 0x6E);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
/// Ground of a cell without a value.
pub(super) const EMPTY: RGBColor = RGBColor(0xF4, 0xF5, 0xF7);

/// Colours of the methods: Okabe and Ito's and Tol's, told apart by colour-blind readers. The
/// elastic method has the warm one; the oracle, which no service can be, is grey.
const METHODS: [(&str, RGBColor); 28] = [
    ("elastic-profile", RGBColor(0xD5, 0x5E, 0x00)),
    ("elastic-profile+lora", RGBColor(0x12, 0x78, 0x38)),
    ("full", RGBColor(0x56, 0xB4, 0xE9)),
    ("random-feasible", RGBColor(0xE6, 0xB8, 0x00)),
    ("lpruner", RGBColor(0x00, 0x9E, 0x73)),
    ("layer-removal", RGBColor(0xCC, 0x79, 0xA7)),
    ("oracle", RGBColor(0x8E, 0x95, 0x9F)),
    ("pfs", RGBColor(0x00, 0x72, 0xB2)),
    ("lg2-cs", RGBColor(0x88, 0x22, 0x55)),
    ("laco", RGBColor(0x99, 0x99, 0x33)),
    ("shortgpt", RGBColor(0x44, 0xAA, 0x99)),
    ("attndrop", RGBColor(0x66, 0x11, 0x00)),
    // Fairer forms that stand beside paler ones of the same method.
    ("lpruner+lora", RGBColor(0x4B, 0x6E, 0x8A)),
    ("layer-removal-greedy", RGBColor(0x7A, 0x3B, 0x6B)),
    // The study's method and what it is without its parts: one hue, then its neighbours.
    ("elastilm", RGBColor(0xB2, 0x18, 0x2B)),
    ("elastilm-no-reorder", RGBColor(0x4D, 0x4D, 0x4D)),
    ("elastilm-no-lora", RGBColor(0x21, 0x66, 0xAC)),
    ("elastilm-no-score-head", RGBColor(0x1B, 0x78, 0x37)),
    ("elastilm-no-decision-head", RGBColor(0xBF, 0x81, 0x2D)),
    ("elastilm-hard", RGBColor(0xF4, 0x8F, 0x7A)),
    // Compressors.
    ("score-head", RGBColor(0xA5, 0x1C, 0x30)),
    ("structured", RGBColor(0xE0, 0x6A, 0x10)),
    ("truncate", RGBColor(0x2B, 0x8C, 0x4B)),
    ("random", RGBColor(0xDB, 0xA9, 0x17)),
    ("self-information", RGBColor(0x6A, 0x4C, 0x93)),
    // Sub-models.
    ("original order", RGBColor(0x58, 0x5D, 0x66)),
    ("reordered", RGBColor(0x2F, 0x74, 0xB5)),
    ("reordered + LoRA", RGBColor(0xB8, 0x2E, 0x3A)),
];

/// Colours of methods that the palette does not name, chosen by the name alone.
const OTHERS: [RGBColor; 5] = [
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0xAA, 0x44, 0x99),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0xB2, 0x7D, 0x50),
    RGBColor(0x77, 0xAA, 0xDD),
];

/// The colour of `method`, the same in every figure. A method that is another one and something more,
/// `BASE+MORE`, has that one's colour, paler; so has one sized by formula 1, `BASE-nominal`. As published,
/// `BASE-published`, it is darker.
pub(super) fn of_method(method: &str) -> RGBColor {
    if let Some((_, colour)) = METHODS.iter().find(|(name, _)| *name == method) {
        return *colour;
    }
    let more = method.rsplit_once('+').map(|(base, _)| base);
    if let Some(base) = more.or_else(|| method.strip_suffix("-nominal")) {
        return paler(of_method(base));
    }
    if let Some(base) = method.strip_suffix("-published") {
        return darker(of_method(base));
    }
    let sum: usize = method.bytes().map(usize::from).sum();
    OTHERS[sum % OTHERS.len()]
}

/// Two fifths of the way to white.
fn paler(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let mixed = |part: u8| part + (u8::MAX - part) / 5 * 2;
    RGBColor(mixed(red), mixed(green), mixed(blue))
}

/// Two fifths of the way to black.
fn darker(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let mixed = |part: u8| part / 5 * 3;
    RGBColor(mixed(red), mixed(green), mixed(blue))
}

/// The colour of a family of sub-models: that of the method of the study that serves it.
pub(super) fn of_family(family: &str) -> RGBColor {
    of_method(match family {
        "width" => "elastic-profile",
        "width-lora" => "elastilm",
        "width-relayout" => "lpruner",
        "layer-merge" => "laco",
        "layer-influence" => "shortgpt",
        "attn-drop" => "attndrop",
        "contextual" => "lg2-cs",
        "zoo" => "pfs",
        other => other,
    })
}

/// From fast (light) to slow (dark): `ColorBrewer`'s `YlOrRd`.
pub(super) fn of_time() -> DerivedColorMap<RGBColor> {
    DerivedColorMap::new(&[
        RGBColor(0xFF, 0xFF, 0xD9),
        RGBColor(0xFE, 0xE3, 0x91),
        RGBColor(0xFD, 0xBB, 0x5E),
        RGBColor(0xF9, 0x83, 0x42),
        RGBColor(0xDE, 0x44, 0x2A),
        RGBColor(0xA5, 0x0F, 0x26),
    ])
}

/// From wrong (light) to right (dark): `ColorBrewer`'s `YlGnBu`.
pub(super) fn of_accuracy() -> DerivedColorMap<RGBColor> {
    DerivedColorMap::new(&[
        RGBColor(0xFF, 0xFF, 0xE0),
        RGBColor(0xD3, 0xEE, 0xC0),
        RGBColor(0x92, 0xD3, 0xBE),
        RGBColor(0x4A, 0xB0, 0xC4),
        RGBColor(0x25, 0x79, 0xB5),
        RGBColor(0x1D, 0x3F, 0x8C),
    ])
}

/// Ink or white, whichever is read more easily on `ground`.
pub(super) fn ink_on(ground: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = ground;
    let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if luma > 140.0 { INK } else { plotters::style::WHITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_keeps_its_colour_and_no_two_named_ones_share_it() {
        assert_eq!(of_method("my-own"), of_method("my-own"));
        for (place, (_, colour)) in METHODS.iter().enumerate() {
            assert!(METHODS[..place].iter().all(|(_, other)| other != colour));
            assert!(!OTHERS.contains(colour));
        }
    }

    #[test]
    fn a_method_and_more_is_paler() {
        assert_eq!(of_method("full"), RGBColor(0x56, 0xB4, 0xE9));
        // 86 + 169 / 5 · 2, 180 + 75 / 5 · 2, 233 + 22 / 5 · 2.
        assert_eq!(of_method("full+wait"), RGBColor(152, 210, 241));
        assert_eq!(of_method("full+wait+margin"), paler(of_method("full+wait")));
        assert_eq!(of_method("full-nominal"), of_method("full+wait"));
    }

    #[test]
    fn as_published_a_method_is_darker() {
        // 86 / 5 · 3, 180 / 5 · 3, 233 / 5 · 3.
        assert_eq!(of_method("full-published"), RGBColor(51, 108, 138));
    }
}
