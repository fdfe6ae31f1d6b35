//! One look for every method, the same in all figures: a colour, a marker, a line style and a
//! hatch.
//!
//! The ten colours keep 23 apart (CIE 1976 ΔE) for normal, deuteranope and protanope eyes, and 6 in
//! lightness, for grey print: they were searched for that. Whatever is not a colour's own, such as
//! a variant of a method, differs in marker, line and hatch.

use plotters::prelude::DerivedColorMap;
use plotters::style::RGBColor;

/// Text and the strongest lines.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x26, 0x2B);
/// Secondary text.
pub(super) const FAINT_INK: RGBColor = RGBColor(0x4F, 0x57, 0x61);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
/// Ground of a cell without a value.
pub(super) const EMPTY: RGBColor = RGBColor(0xF4, 0xF5, 0xF7);

/// How the points of a line are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Marker {
    Disc,
    Square,
    Triangle,
    Diamond,
    Wedge,
    Ring,
    Frame,
    Cross,
}

/// How a line is drawn: lengths of dashes and gaps, in sizes of a label; none for a whole line.
pub(in crate::report) type Dash = &'static [f64];

/// What tells a method's marks from another's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Look {
    pub colour: RGBColor,
    pub marker: Marker,
    pub dash: Dash,
    /// Strokes across a bar: none, rising, falling, or both.
    pub hatch: Hatch,
}

/// Strokes across a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Hatch {
    None,
    Rising,
    Falling,
    Crossed,
}

const WHOLE: Dash = &[];
const DASHED: Dash = &[0.7, 0.35];
const DOTTED: Dash = &[0.2, 0.3];
const DASH_DOT: Dash = &[0.8, 0.3, 0.2, 0.3];

/// The colours and what goes with each, from the strongest.
const LOOKS: [Look; 10] = [
    look(0xA9, 0x27, 0x2C, Marker::Disc, WHOLE),
    look(0x44, 0x66, 0xB0, Marker::Square, DASHED),
    look(0x3D, 0xA2, 0xBB, Marker::Triangle, DASH_DOT),
    look(0x72, 0x01, 0xB8, Marker::Diamond, WHOLE),
    look(0x29, 0x27, 0x6A, Marker::Cross, DASHED),
    look(0x90, 0xC7, 0x1F, Marker::Wedge, WHOLE),
    look(0xB8, 0x74, 0x6D, Marker::Ring, DOTTED),
    look(0x77, 0x12, 0x3F, Marker::Frame, DASH_DOT),
    look(0x62, 0xAA, 0xF7, Marker::Square, WHOLE),
    look(0xDB, 0xC5, 0x8E, Marker::Triangle, WHOLE),
];

const fn look(red: u8, green: u8, blue: u8, marker: Marker, dash: Dash) -> Look {
    Look { colour: RGBColor(red, green, blue), marker, dash, hatch: Hatch::None }
}

/// The oracle, which no service can be, is grey.
const ORACLE: Look = look(0x8E, 0x95, 0x9F, Marker::Diamond, DOTTED);
/// So is the full model, which every method starts from, but darker.
const FULL: Look = look(0x3C, 0x42, 0x4A, Marker::Frame, DOTTED);

/// Which look a method, compressor or table has, by its place in [`LOOKS`].
const NAMED: [(&str, usize); 24] = [
    ("elastilm", 0),
    ("pfs", 1),
    ("lpruner", 2),
    ("lg2-cs", 3),
    ("layer-removal", 4),
    ("laco", 5),
    ("shortgpt", 6),
    ("attndrop", 7),
    ("elastic-profile", 8),
    ("random-feasible", 9),
    // The study's method without its parts.
    ("elastilm-no-reorder", 4),
    ("elastilm-no-lora", 1),
    ("elastilm-no-score-head", 5),
    ("elastilm-no-decision-head", 9),
    ("elastilm-hard", 6),
    // Compressors.
    ("score-head", 0),
    ("structured", 1),
    ("truncate", 5),
    ("random", 9),
    ("self-information", 3),
    // Sub-models.
    ("original order", 4),
    ("reordered", 8),
    ("reordered + LoRA", 0),
    ("control", 7),
];

/// The look of `method`, wherever it stands.
///
/// A method that is another one and something more, `BASE+MORE`, sized by formula 1,
/// `BASE-nominal`, ranked step by step, `BASE-greedy`, or as published, `BASE-published`, has that
/// one's colour under a hatch, and its points are open.
pub(in crate::report) fn of_method(method: &str) -> Look {
    match method {
        "oracle" => return ORACLE,
        "full" => return FULL,
        _ => {}
    }
    if let Some((_, place)) = NAMED.iter().find(|(name, _)| *name == method) {
        return LOOKS[*place];
    }
    let more = method.rsplit_once('+').map(|(base, _)| (base, Hatch::Rising));
    let ended =
        [("-nominal", Hatch::Falling), ("-greedy", Hatch::Falling), ("-published", Hatch::Crossed)];
    let ended = ended.iter().find_map(|(end, hatch)| Some((method.strip_suffix(end)?, *hatch)));
    if let Some((base, hatch)) = more.or(ended) {
        return variant(of_method(base), hatch);
    }
    let sum: usize = method.bytes().map(usize::from).sum();
    LOOKS[1 + sum % (LOOKS.len() - 1)]
}

/// `look` under a hatch, with a marker and a line of its own.
fn variant(look: Look, hatch: Hatch) -> Look {
    let dash = match hatch {
        Hatch::None => return look,
        Hatch::Rising => DASHED,
        Hatch::Falling => DOTTED,
        Hatch::Crossed => DASH_DOT,
    };
    let marker = match look.marker {
        Marker::Disc => Marker::Ring,
        Marker::Square => Marker::Frame,
        Marker::Cross => Marker::Disc,
        _ => Marker::Cross,
    };
    Look { marker, dash, hatch, ..look }
}

/// The looks of `names`, which stand in one figure. Where two would be alike, the one that is first
/// in [`NAMED`], or has the fewest additions, looks as it does in every figure; the other takes the
/// next that is free, a variant of another method first among its colour's hatches.
pub(super) fn of_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Look> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&nth| {
        let known = NAMED.iter().position(|(name, _)| *name == names[nth]);
        (known.unwrap_or(NAMED.len()), names[nth].matches('+').count())
    });
    let hatches = [Hatch::Falling, Hatch::Crossed, Hatch::Rising];
    let mut looks: Vec<Option<Look>> = vec![None; names.len()];
    for nth in order {
        let own = of_method(names[nth]);
        let of_its_colour = hatches.into_iter().filter(|_| own.hatch != Hatch::None);
        let of_its_colour = of_its_colour.map(|hatch| variant(own, hatch));
        let all = [Hatch::None].into_iter().chain(hatches);
        let all = all.flat_map(|hatch| LOOKS.map(|look| variant(look, hatch)));
        let is_free = |look: &Look| {
            let alike = |other: &Look| (other.colour, other.hatch) == (look.colour, look.hatch);
            !looks.iter().flatten().any(alike)
        };
        let mut wanted = std::iter::once(own).chain(of_its_colour).chain(all);
        looks[nth] = Some(wanted.find(is_free).unwrap_or(own));
    }
    looks.into_iter().map(|look| look.expect("each has one")).collect()
}

/// The look of a family of sub-models: that of the method of the study that serves it.
pub(super) fn of_family(family: &str) -> Look {
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

/// `share` of the way to white.
pub(super) fn paler(RGBColor(red, green, blue): RGBColor, share: f64) -> RGBColor {
    let mixed = |part: u8| part + (f64::from(u8::MAX - part) * share).round() as u8;
    RGBColor(mixed(red), mixed(green), mixed(blue))
}

/// From fast (light) to slow (dark): `ColorBrewer`'s `YlOrRd`.
pub(super) fn of_time() -> DerivedColorMap<RGBColor> {
    ramp([0xFF_FF_D9, 0xFE_E3_91, 0xFD_BB_5E, 0xF9_83_42, 0xDE_44_2A, 0xA5_0F_26])
}

/// From wrong (light) to right (dark): `ColorBrewer`'s `YlGnBu`.
pub(super) fn of_accuracy() -> DerivedColorMap<RGBColor> {
    ramp([0xFF_FF_E0, 0xD3_EE_C0, 0x92_D3_BE, 0x4A_B0_C4, 0x25_79_B5, 0x1D_3F_8C])
}

/// Colours in between those of `steps`, a byte each of red, green and blue.
fn ramp(steps: [u32; 6]) -> DerivedColorMap<RGBColor> {
    let colour = |step: u32| {
        let [_, red, green, blue] = step.to_be_bytes();
        RGBColor(red, green, blue)
    };
    DerivedColorMap::new(&steps.map(colour))
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

    /// What remains of linear RGB for eyes without one kind of cone (Machado, Oliveira and
    /// Fernandes 2009, severity 1), and of all of it in grey print.
    const DEUTERANOPE: [[f64; 3]; 3] = [
        [0.367_322, 0.860_646, -0.227_968],
        [0.280_085, 0.672_501, 0.047_413],
        [-0.011_820, 0.042_940, 0.968_881],
    ];
    const PROTANOPE: [[f64; 3]; 3] = [
        [0.152_286, 1.052_583, -0.204_868],
        [0.114_503, 0.786_281, 0.099_216],
        [-0.003_882, -0.048_116, 1.051_998],
    ];
    const NORMAL: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

    fn linear(part: u8) -> f64 {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    }

    fn times(matrix: [[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
    }

    /// CIE L*a*b* of a colour as such eyes see it; D65.
    fn lab(eyes: [[f64; 3]; 3], RGBColor(red, green, blue): RGBColor) -> [f64; 3] {
        const XYZ: [[f64; 3]; 3] = [
            [0.412_456, 0.357_576, 0.180_438],
            [0.212_673, 0.715_152, 0.072_175],
            [0.019_334, 0.119_192, 0.950_304],
        ];
        let seen = times(eyes, [red, green, blue].map(linear)).map(|part| part.clamp(0.0, 1.0));
        let [x, y, z] = times(XYZ, seen);
        let f = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let (x, y, z) = (f(x / 0.950_47), f(y), f(z / 1.088_83));
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    fn delta_e(a: [f64; 3], b: [f64; 3]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// Whether two bars are told apart by eyes without red or green cones and in grey print.
    fn apart(one: Look, other: Look) -> bool {
        let seen = |eyes| delta_e(lab(eyes, one.colour), lab(eyes, other.colour));
        let grey = (lab(NORMAL, one.colour)[0] - lab(NORMAL, other.colour)[0]).abs();
        let coloured = [NORMAL, DEUTERANOPE, PROTANOPE].into_iter().all(|eyes| seen(eyes) >= 20.0);
        (coloured && grey >= 5.0) || one.hatch != other.hatch
    }

    /// Black is 100 from white, and a red and a green that deuteranopes mix up are near.
    #[test]
    fn differences_of_colour_are_those_of_the_literature() {
        let [black, white] = [RGBColor(0, 0, 0), RGBColor(255, 255, 255)];
        assert!((delta_e(lab(NORMAL, black), lab(NORMAL, white)) - 100.0).abs() < 0.1);
        let [red, green] = [RGBColor(163, 73, 35), RGBColor(112, 105, 30)];
        assert!(delta_e(lab(NORMAL, red), lab(NORMAL, green)) > 40.0);
        assert!(delta_e(lab(DEUTERANOPE, red), lab(DEUTERANOPE, green)) < 15.0);
    }

    #[test]
    fn the_colours_are_apart_for_colour_blind_eyes_and_in_grey() {
        for (place, one) in LOOKS.iter().enumerate() {
            for other in &LOOKS[..place] {
                assert!(apart(*one, *other), "{one:?} and {other:?}");
                assert_ne!((one.marker, one.dash), (other.marker, other.dash));
            }
        }
    }

    /// The methods of every committed experiment, and the series of its figures.
    #[test]
    fn no_two_methods_of_a_committed_figure_are_alike() {
        let (mut figures, mut pairs) = (0, 0);
        for file in std::fs::read_dir("experiments").unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let spec: toml::Value = toml::from_str(&text).unwrap();
            let names = |list: Option<&toml::Value>| -> Vec<String> {
                let list = list.and_then(toml::Value::as_array).cloned().unwrap_or_default();
                let name = |entry: &toml::Value| Some(entry.get("name")?.as_str()?.to_owned());
                list.iter().filter_map(name).collect()
            };
            let mut lists = vec![names(spec.get("methods"))];
            let asked = spec.get("figures").and_then(toml::Value::as_array);
            for figure in asked.cloned().unwrap_or_default() {
                lists.extend([names(figure.get("series")), names(figure.get("methods"))]);
            }
            for list in lists.into_iter().filter(|list| list.len() > 1) {
                figures += 1;
                let looks = of_all(list.iter().map(String::as_str));
                for (place, one) in looks.iter().enumerate() {
                    for (other, name) in looks[..place].iter().zip(&list) {
                        pairs += 1;
                        let line = |look: &Look| (look.marker, look.dash);
                        let told = apart(*one, *other) || line(one) != line(other);
                        assert!(told && one != other, "{} and {name}", list[place]);
                    }
                }
            }
        }
        assert!(figures > 15 && pairs > 300, "{figures} figures, {pairs} pairs");
    }

    #[test]
    fn a_method_keeps_its_look_and_a_variant_its_colour() {
        assert_eq!(of_method("my-own"), of_method("my-own"));
        let (base, more) = (of_method("lpruner"), of_method("lpruner+lora"));
        assert_eq!((more.colour, base.hatch), (base.colour, Hatch::None));
        assert_eq!(more.hatch, Hatch::Rising);
        assert_eq!(of_all(["elastilm", "lpruner"]), [of_method("elastilm"), base]);
    }

    /// `a+b+c` and `a+c` would both be `a` under one hatch.
    #[test]
    fn of_two_alike_the_simpler_keeps_its_look_whatever_the_order() {
        let names = ["lpruner+lora+prompt", "lpruner+prompt", "zzz", "lg2-cs"];
        let looks = of_all(names);
        for nth in [1, 3] {
            assert_eq!(looks[nth], of_method(names[nth]), "{}", names[nth]);
        }
        assert_eq!(looks[0].colour, of_method("lpruner").colour);
        assert_ne!(looks[0].hatch, Hatch::None);
    }

    #[test]
    fn strangers_of_one_figure_are_never_alike() {
        let names: Vec<String> = (0..30).map(|nth| format!("m{nth}")).collect();
        let looks = of_all(names.iter().map(String::as_str));
        for (place, one) in looks.iter().enumerate() {
            assert!(looks[..place].iter().all(|other| other != one), "{place}");
        }
    }
}
