//! How a baseline picks the size of its sub-model: the parameters of `pfs`, `lpruner`,
//! `layer-removal`, `laco`, `shortgpt`, `attndrop` and `lg2-cs`.
//!
//! The study states one rule for all of them, its formula 1: the largest size with size / full ≤
//! min(ζ of TTFT, ζ of TPOT). [`SizeRule::Profile`] asks the measured latencies instead, which is
//! kinder to a method whose time does not shrink with its size. [`Reading::Published`] is what the
//! study's published code does where it differs from the study's text.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::{Level, Ratio};

/// What says that a sub-model is fast enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeRule {
    /// The latency profile.
    #[default]
    Profile,
    /// The level's nominal share, against the smaller of the objective's two.
    Nominal,
}

/// Whose account of a method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The study's text.
    #[default]
    Described,
    /// The study's published code: formula 1 with that code's own turns, whatever the rule.
    Published,
}

/// The parameters of a baseline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeSpec {
    /// What says that a sub-model is fast enough.
    #[serde(skip_serializing_if = "is_default")]
    pub rule: SizeRule,
    /// Whose account of the method.
    #[serde(rename = "as", skip_serializing_if = "is_default")]
    pub reading: Reading,
    /// Decoder layers of the base model: published layer droppers count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<u32>,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// In what a method's published code departs from formula 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// In nothing.
    None,
    /// The branch for the full model is overwritten by the next one.
    NeverFull,
    /// The objective for TPOT is not looked at.
    TtftOnly,
    /// `int(1 − ζ·L)` as a negative slice: one layer fewer than ζ·L is kept.
    OneLayerLost,
}

/// A rule ready to pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// By the latency profile.
    Profile,
    /// By nominal size, with a departure.
    Nominal(Departure, Option<u32>),
}

impl SizeSpec {
    /// Whether it looks at sizes only.
    pub(crate) fn is_nominal(self) -> bool {
        self.reading == Reading::Published || self.rule == SizeRule::Nominal
    }

    /// The rule, for a method whose published code has `departure`.
    pub(crate) fn pick(self, departure: Departure) -> Pick {
        match (self.reading, self.rule) {
            (Reading::Published, _) => Pick::Nominal(departure, self.layers),
            (Reading::Described, SizeRule::Nominal) => Pick::Nominal(Departure::None, None),
            (Reading::Described, SizeRule::Profile) => Pick::Profile,
        }
    }

    /// Refuses a number of layers where nothing counts them, and its absence where something does.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn check(self, method: &str, departure: Departure) -> Result<()> {
        let counts = self.reading == Reading::Published && departure == Departure::OneLayerLost;
        let wrong = |problem: &str| {
            Error::new(format!("method {method}"), problem).at("key \"policy.layers\"")
        };
        match (counts, self.layers) {
            (true, None | Some(0)) => {
                Err(wrong("published code counts layers").allowed("the base model's, 1 or more"))
            }
            (false, Some(layers)) => Err(wrong("nothing counts layers")
                .found(layers)
                .allowed("no such key, or as = \"published\" with a policy that drops layers")),
            _ => Ok(()),
        }
    }
}

impl Departure {
    /// The largest of `ladder` (largest first) for an objective of `(ttft, tpot)` shares; if none
    /// is small enough, the smallest.
    ///
    /// # Panics
    /// If `ladder` is empty.
    pub(crate) fn largest(
        self,
        layers: Option<u32>,
        (ttft, tpot): (Ratio, Ratio),
        ladder: &[Level],
    ) -> Level {
        let least = ttft.min(tpot);
        let fits = |level: Level| match self {
            Self::None => level.share() <= least,
            Self::NeverFull => level.share() <= least && level != Level::FULL,
            Self::TtftOnly => level.share() <= ttft,
            Self::OneLayerLost => {
                let layers = f64::from(layers.expect("a checked method counts its layers"));
                // trunc(ζ·L − 1); thousandths keep ζ·L exact enough for any real L.
                let kept = (least.as_f64() * layers - 1.0 + 1e-9).trunc();
                (level.share().as_f64() * layers).round() <= kept
            }
        };
        let largest = ladder.iter().copied().find(|&level| fits(level));
        largest.unwrap_or_else(|| *ladder.last().expect("a scene has at least the base model"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(percents: &[u16]) -> Vec<Level> {
        percents.iter().map(|&percent| Level::percent(percent)).collect()
    }

    fn zeta(ttft: u16, tpot: u16) -> (Ratio, Ratio) {
        (Ratio::percent(ttft), Ratio::percent(tpot))
    }

    const STUDY: [u16; 9] = [100, 90, 80, 70, 60, 50, 40, 30, 20];

    #[test]
    fn formula_1_takes_the_smaller_share_and_below_the_ladder_its_end() {
        let pick = |ttft, tpot| {
            Departure::None.largest(None, zeta(ttft, tpot), &ladder(&STUDY)).as_percent()
        };
        assert_eq!([pick(100, 100), pick(60, 80), pick(80, 65)], [100, 60, 60]);
        assert_eq!([pick(20, 50), pick(19, 100)], [20, 20]);
    }

    #[test]
    fn published_pfs_never_takes_the_full_model_unless_it_has_no_other() {
        // The study's zoo of OPT: 2.7B is 40 % of 6.7B.
        let opt = [100, 40, 19, 5, 2];
        let pick = |ttft, tpot, zoo: &[u16]| {
            Departure::NeverFull.largest(None, zeta(ttft, tpot), &ladder(zoo)).as_percent()
        };
        assert_eq!([pick(100, 100, &opt), pick(80, 90, &opt), pick(20, 50, &opt)], [40, 40, 19]);
        assert_eq!(pick(100, 100, &[100]), 100);
    }

    #[test]
    fn published_lpruner_overlooks_tpot() {
        let pick = |ttft, tpot| {
            Departure::TtftOnly.largest(None, zeta(ttft, tpot), &ladder(&STUDY)).as_percent()
        };
        assert_eq!([pick(60, 50), pick(100, 20)], [60, 100]);
    }

    #[test]
    fn published_layer_droppers_lose_one_layer_even_at_full() {
        // LLaMA's 32 layers. ζ = 1: 31 of 32 kept, 97 % (31.04 → 31); ζ = 0.2: trunc(5.4) = 5,
        // 16 % (5.12 → 5); ζ = 0.6: trunc(18.2) = 18, 56 % (17.92 → 18).
        let exact = [100, 97, 60, 56, 20, 16];
        let pick = |ttft, tpot, levels: &[u16]| {
            let picked = Departure::OneLayerLost;
            picked.largest(Some(32), zeta(ttft, tpot), &ladder(levels)).as_percent()
        };
        assert_eq!(pick(100, 100, &exact), 97);
        assert_eq!(pick(20, 50, &exact), 16);
        assert_eq!(pick(60, 80, &exact), 56);
        // On the study's ladder the loss costs a whole rung.
        assert_eq!([pick(100, 100, &STUDY), pick(60, 80, &STUDY)], [90, 50]);
    }

    #[test]
    fn reading_and_rule_decide_the_pick() {
        let spec = |rule, reading| SizeSpec { rule, reading, layers: None };
        let departure = Departure::TtftOnly;
        for (rule, reading, expected) in [
            (SizeRule::Profile, Reading::Described, Pick::Profile),
            (SizeRule::Nominal, Reading::Described, Pick::Nominal(Departure::None, None)),
            (SizeRule::Profile, Reading::Published, Pick::Nominal(departure, None)),
        ] {
            assert_eq!(spec(rule, reading).pick(departure), expected);
        }
    }

    #[test]
    fn layers_are_counted_where_published_code_counts_them_and_only_there() {
        let check = |reading, layers, departure| {
            let spec = SizeSpec { reading, layers, ..SizeSpec::default() };
            spec.check("le", departure).map_err(|error| error.to_string())
        };
        let (published, lost) = (Reading::Published, Departure::OneLayerLost);
        assert_eq!(check(published, Some(30), lost), Ok(()));
        assert_eq!(check(Reading::Described, None, lost), Ok(()));
        let refusals = [
            check(published, None, lost).unwrap_err(),
            check(published, Some(30), Departure::NeverFull).unwrap_err(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        method le, key "policy.layers": published code counts layers; allowed: the base model's, 1 or more
        method le, key "policy.layers": nothing counts layers; found 30; allowed: no such key, or as = "published" with a policy that drops layers
        "#);
    }
}
