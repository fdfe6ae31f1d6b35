//! How much a point may fall before anybody is told: a small TOML file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measure::Measure;
use crate::error::{Error, Result};
use crate::files::read_toml;
use crate::metrics::Sureness;

/// What a tolerances file states. A measure that it leaves out is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerances {
    /// The chance of one false alarm or more in the whole comparison, in (0, 0.5).
    #[serde(default = "Tolerances::significance")]
    pub significance: f64,
    /// The chance to find a fall of the size that is stated as detectable, in (0.5, 1).
    #[serde(default = "Tolerances::power")]
    pub power: f64,
    /// By how many percentage points a share may fall.
    #[serde(default)]
    pub points: Points,
    /// By how many percent a time may grow.
    #[serde(default)]
    pub percent: Percents,
}

/// Percentage points, 0 to 100, by share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Points {
    /// See [`Measure::AccuracyAtSlo`].
    pub accuracy_at_slo: Option<f64>,
    /// See [`Measure::Accuracy`].
    pub accuracy: Option<f64>,
    /// See [`Measure::Attainment`].
    pub attainment: Option<f64>,
}

/// Percent, 0 to 1000, by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percents {
    /// See [`Measure::TtftP50`].
    pub ttft_ms_p50: Option<f64>,
    /// See [`Measure::TtftP95`].
    pub ttft_ms_p95: Option<f64>,
    /// See [`Measure::TpotP50`].
    pub tpot_ms_p50: Option<f64>,
}

impl Default for Tolerances {
    /// Half a point for every share, 5 % for every time.
    fn default() -> Self {
        let (share, time) = (Some(0.5), Some(5.0));
        Self {
            significance: Self::significance(),
            power: Self::power(),
            points: Points { accuracy_at_slo: share, accuracy: share, attainment: share },
            percent: Percents { ttft_ms_p50: time, ttft_ms_p95: time, tpot_ms_p50: time },
        }
    }
}

impl Tolerances {
    fn significance() -> f64 {
        0.05
    }

    fn power() -> f64 {
        0.8
    }

    /// Reads and checks the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, has an unknown key or a number out of its range, or tolerates no
    /// measure, so that nothing would be compared.
    pub fn load(path: &Path) -> Result<Self> {
        let tolerances: Self = read_toml(path)?;
        tolerances.check(path)?;
        Ok(tolerances)
    }

    /// The tolerance of `measure`, as it is written: points or percent. `None` where it is not
    /// compared.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::AccuracyAtSlo => self.points.accuracy_at_slo,
            Measure::Accuracy => self.points.accuracy,
            Measure::Attainment => self.points.attainment,
            Measure::TtftP50 => self.percent.ttft_ms_p50,
            Measure::TtftP95 => self.percent.ttft_ms_p95,
            Measure::TpotP50 => self.percent.tpot_ms_p50,
        }
    }

    /// The measures that are compared, each with its tolerance as it is written.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, f64)> + '_ {
        Measure::ALL.into_iter().filter_map(|measure| Some((measure, self.of(measure)?)))
    }

    /// How sure the whole comparison is to be.
    #[must_use]
    pub fn sureness(&self) -> Sureness {
        Sureness { significance: self.significance, power: self.power }
    }

    fn check(&self, path: &Path) -> Result<()> {
        let wrong = |key: String, found: f64, allowed: &str| {
            let error = Error::file(path, "out of range").at(format!("key \"{key}\""));
            Err(error.found(found).allowed(allowed))
        };
        if !(self.significance > 0.0 && self.significance < 0.5) {
            let allowed = "a number above 0 and below 0.5";
            return wrong("significance".to_owned(), self.significance, allowed);
        }
        if !(self.power > 0.5 && self.power < 1.0) {
            return wrong("power".to_owned(), self.power, "a number above 0.5 and below 1");
        }
        for (measure, found) in self.measures() {
            let (table, most) =
                if measure.is_share() { ("points", 100.0) } else { ("percent", 1000.0) };
            if !(0.0..=most).contains(&found) {
                let allowed = format!("a number from 0 to {most}");
                return wrong(format!("{table}.{}", measure.name()), found, &allowed);
            }
        }
        if self.measures().next().is_none() {
            return Err(Error::file(path, "tolerates no measure, so that nothing is compared")
                .allowed("one or more of points.accuracy_at_slo, …, percent.ttft_ms_p50, …"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Tolerances, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        let shorten =
            |error: Error| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        Tolerances::load(&path).map_err(shorten)
    }

    #[test]
    fn only_the_measures_of_the_file_are_compared() {
        let tolerances = load("[points]\naccuracy_at_slo = 1.0\n[percent]\nttft_ms_p95 = 10\n");
        let tolerances = tolerances.unwrap();
        let measures: Vec<_> = tolerances.measures().collect();
        assert_eq!(measures, [(Measure::AccuracyAtSlo, 1.0), (Measure::TtftP95, 10.0)]);
        assert_eq!(tolerances.significance.to_bits(), 0.05_f64.to_bits());
        assert_eq!(Tolerances::default().measures().count(), 6);
    }

    #[test]
    fn unknown_keys_and_numbers_out_of_range_are_refused() {
        let message = |text| load(text).unwrap_err();
        insta::assert_snapshot!(
            [
                message("[points]\naccuracy_at_sla = 1\n"),
                message("[points]\naccuracy = nan\n"),
                message("[percent]\nttft_ms_p50 = -1\n"),
                message("significance = 0\n[points]\naccuracy = 1\n"),
                message("power = 1.0\n[points]\naccuracy = 1\n"),
                message("significance = 0.1\n"),
            ]
            .join(
                "
"
            )
        );
    }
}
