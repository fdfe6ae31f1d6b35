//! How a baseline picks the size of its sub-model: the parameters of `largest-level` and `lg2-cs`.
//!
//! The study states one rule for all of its baselines, its formula 1: the largest size with size /
//! full ≤ min(ζ of TTFT, ζ of TPOT). [`SizeRule::Profile`] asks the measured latencies instead,
//! which is kinder to a method whose time does not shrink with its size. The other rules are what
//! the study's published code does where it differs from the study's text.

use serde::de::{Deserializer, Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::DependsOn;
use crate::error::{Error, Result};
use crate::units::{Level, Ratio};

/// What says that a sub-model is fast enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeRule {
    /// The latency profile.
    #[default]
    Profile,
    /// Formula 1: the level's nominal share, against the smaller of the objective's two.
    Nominal,
    /// Formula 1, but never the full model, as PFS is published: the branch for it is overwritten
    /// by the next one.
    NeverFull,
    /// Formula 1, but the objective for TPOT is not looked at, as LPruner is published.
    TtftOnly,
    /// Formula 1, but one layer fewer than ζ·L is kept, as layer removal and ShortGPT are
    /// published: `int(1 − ζ·L)` is used as a negative slice.
    OneLayerLost,
}

/// The parameters of a baseline.
#[expect(
    clippy::manual_non_exhaustive,
    reason = "the empty field is a key that files may not have"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeSpec {
    /// What says that a sub-model is fast enough.
    #[serde(skip_serializing_if = "is_default")]
    pub rule: SizeRule,
    /// Decoder layers of the base model, where the rule counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<u32>,
    /// What files said before each departure of published code was a rule.
    #[serde(rename = "as", skip_serializing, deserialize_with = "is_a_rule")]
    published: (),
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_a_rule<'de, D: Deserializer<'de>>(value: D) -> std::result::Result<(), D::Error> {
    IgnoredAny::deserialize(value)?;
    Err(D::Error::custom(
        "key `as` of a baseline is `rule` now, by what published code does: `never-full` (PFS), \
         `ttft-only` (LPruner), `one-layer-lost` with `layers` (layer removal, ShortGPT), \
         `nominal` (LaCo, AttnDrop, LG2-CS)",
    ))
}

impl SizeSpec {
    /// A baseline that picks by `rule`.
    #[must_use]
    pub const fn of(rule: SizeRule) -> Self {
        Self { rule, layers: None, published: () }
    }

    /// Whether it looks at sizes only.
    pub(crate) fn is_nominal(self) -> bool {
        self.rule != SizeRule::Profile
    }

    /// What the plans of a policy that picks so depend on: latencies tell of a switch.
    pub(crate) fn depends_on(self) -> DependsOn {
        if self.is_nominal() { DependsOn::Kind } else { DependsOn::Resident }
    }

    /// Refuses a number of layers where nothing counts them, and its absence where something does.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn check(self, method: &str) -> Result<()> {
        let wrong = |problem: &str| {
            Error::new(format!("method {method}"), problem).at("key \"policy.layers\"")
        };
        match (self.rule, self.layers) {
            (SizeRule::OneLayerLost, None | Some(0)) => {
                Err(wrong("the rule counts layers").allowed("the base model's, 1 or more"))
            }
            (SizeRule::OneLayerLost, Some(_)) | (_, None) => Ok(()),
            (_, Some(layers)) => Err(wrong("nothing counts layers")
                .found(layers)
                .allowed("no such key, or rule = \"one-layer-lost\"")),
        }
    }

    /// The largest of `ladder` (largest first) for an objective of `(ttft, tpot)` shares, by
    /// nominal size; if none is small enough, the smallest.
    ///
    /// # Panics
    /// If `ladder` is empty.
    pub(crate) fn largest(self, (ttft, tpot): (Ratio, Ratio), ladder: &[Level]) -> Level {
        let least = ttft.min(tpot);
        let fits = |level: Level| match self.rule {
            SizeRule::Profile | SizeRule::Nominal => level.share() <= least,
            SizeRule::NeverFull => level.share() <= least && level != Level::FULL,
            SizeRule::TtftOnly => level.share() <= ttft,
            SizeRule::OneLayerLost => {
                let layers = f64::from(self.layers.expect("a checked method counts its layers"));
                // trunc(ζ·L − 1); thousandths keep ζ·L exact enough for any real L.
                let kept = (least.as_f64() * layers - 1.0 + 1e-9).trunc();
                (level.share().as_f64() * layers).round() <= kept
            }
        };
        let largest = ladder.iter().copied().find(|&level| fits(level));
        largest.unwrap_or_else(|| *ladder.last().expect("a menu has at least the base model"))
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
            let spec = SizeSpec::of(SizeRule::Nominal);
            spec.largest(zeta(ttft, tpot), &ladder(&STUDY)).as_percent()
        };
        assert_eq!([pick(100, 100), pick(60, 80), pick(80, 65)], [100, 60, 60]);
        assert_eq!([pick(20, 50), pick(19, 100)], [20, 20]);
    }

    #[test]
    fn published_pfs_never_takes_the_full_model_unless_it_has_no_other() {
        // The study's zoo of OPT: 2.7B is 40 % of 6.7B.
        let opt = [100, 40, 19, 5, 2];
        let pick = |ttft, tpot, zoo: &[u16]| {
            SizeSpec::of(SizeRule::NeverFull).largest(zeta(ttft, tpot), &ladder(zoo)).as_percent()
        };
        assert_eq!([pick(100, 100, &opt), pick(80, 90, &opt), pick(20, 50, &opt)], [40, 40, 19]);
        assert_eq!(pick(100, 100, &[100]), 100);
    }

    #[test]
    fn published_lpruner_overlooks_tpot() {
        let pick = |ttft, tpot| {
            let spec = SizeSpec::of(SizeRule::TtftOnly);
            spec.largest(zeta(ttft, tpot), &ladder(&STUDY)).as_percent()
        };
        assert_eq!([pick(60, 50), pick(100, 20)], [60, 100]);
    }

    #[test]
    fn published_layer_droppers_lose_one_layer_even_at_full() {
        // LLaMA's 32 layers. ζ = 1: 31 of 32 kept, 97 % (31.04 → 31); ζ = 0.2: trunc(5.4) = 5,
        // 16 % (5.12 → 5); ζ = 0.6: trunc(18.2) = 18, 56 % (17.92 → 18).
        let exact = [100, 97, 60, 56, 20, 16];
        let pick = |ttft, tpot, levels: &[u16]| {
            let spec = SizeSpec { layers: Some(32), ..SizeSpec::of(SizeRule::OneLayerLost) };
            spec.largest(zeta(ttft, tpot), &ladder(levels)).as_percent()
        };
        assert_eq!(pick(100, 100, &exact), 97);
        assert_eq!(pick(20, 50, &exact), 16);
        assert_eq!(pick(60, 80, &exact), 56);
        // On the study's ladder the loss costs a whole rung.
        assert_eq!([pick(100, 100, &STUDY), pick(60, 80, &STUDY)], [90, 50]);
    }

    #[test]
    fn layers_are_counted_where_a_rule_counts_them_and_only_there() {
        let check = |rule, layers| {
            let spec = SizeSpec { layers, ..SizeSpec::of(rule) };
            spec.check("le").map_err(|error| error.to_string())
        };
        assert_eq!(check(SizeRule::OneLayerLost, Some(30)), Ok(()));
        assert_eq!(check(SizeRule::Profile, None), Ok(()));
        let refusals = [
            check(SizeRule::OneLayerLost, None).unwrap_err(),
            check(SizeRule::NeverFull, Some(30)).unwrap_err(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        method le, key "policy.layers": the rule counts layers; allowed: the base model's, 1 or more
        method le, key "policy.layers": nothing counts layers; found 30; allowed: no such key, or rule = "one-layer-lost"
        "#);
    }
}
