//! How much a point may fall before anybody is told: a small TOML file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::read_toml;
use crate::metrics::{Measure, Sureness, Unit};

/// What a tolerances file states. A measure that it leaves out is not compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerances {
    /// The chance of one false alarm or more in the whole comparison, in (0, 0.5).
    #[serde(default = "Tolerances::significance")]
    pub significance: f64,
    /// The chance to find a fall of the size that is stated as detectable, in (0.5, 1).
    #[serde(default = "Tolerances::power")]
    pub power: f64,
    /// By how many percentage points, 0 to 100, a share may get worse.
    #[serde(default)]
    pub points: BTreeMap<Measure, f64>,
    /// By how many percent, 0 to 1000, a time or an energy may grow.
    #[serde(default)]
    pub percent: BTreeMap<Measure, f64>,
}

impl Default for Tolerances {
    /// Those of the table of measures.
    fn default() -> Self {
        let of = |is_share: bool| {
            let measures =
                Measure::ALL.into_iter().filter(|measure| measure.is_share() == is_share);
            measures
                .filter_map(|measure| Some((measure, measure.definition().tolerance?)))
                .collect()
        };
        Self {
            significance: Self::significance(),
            power: Self::power(),
            points: of(true),
            percent: of(false),
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

    /// The measures that are compared, each with its tolerance as it is written: points or percent.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, f64)> + '_ {
        let written = |measure| self.points.get(&measure).or_else(|| self.percent.get(&measure));
        Measure::ALL.into_iter().filter_map(move |measure| Some((measure, *written(measure)?)))
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
        let tables: [(_, _, _, &[Unit]); 2] = [
            ("points", &self.points, 100.0, &[Unit::Share]),
            ("percent", &self.percent, 1000.0, &[Unit::Ms, Unit::Mj]),
        ];
        for (table, written, most, units) in tables {
            for (measure, &found) in written {
                let key = format!("{table}.{measure}");
                if !units.contains(&measure.unit()) {
                    let of_table = |measure: &Measure| units.contains(&measure.unit());
                    let names = Measure::ALL.into_iter().filter(of_table).map(Measure::column);
                    let allowed = names.collect::<Vec<_>>().join(", ");
                    let error = Error::file(path, "not a measure of this table");
                    return Err(error.at(format!("key \"{key}\"")).allowed(allowed));
                }
                if !(0.0..=most).contains(&found) {
                    return wrong(key, found, &format!("a number from 0 to {most}"));
                }
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
                message("[percent]\nattainment = 1\n"),
                message("[percent]\nswitches = 1\n"),
                message("significance = 0\n[points]\naccuracy = 1\n"),
                message("power = 1.0\n[points]\naccuracy = 1\n"),
                message("significance = 0.1\n"),
            ]
            .join(
                "
"
            ), @r#"
        gate.toml, line 2: unknown measure `accuracy_at_sla`, expected one of accuracy, accuracy_at_slo, attainment, ttft_ms_p50, ttft_ms_p95, ttft_ms_p99, tpot_ms_p50, tpot_ms_p95, tpot_ms_p99, missed_ttft, missed_tpot, missed_both, missed_e2e, missed_energy, energy_mj, energy_mj_p95, switches, fallbacks, refused, cancelled, preempted, wasted, fairness, busy, saturated
        gate.toml, key "points.accuracy": out of range; found NaN; allowed: a number from 0 to 100
        gate.toml, key "percent.ttft_ms_p50": out of range; found -1; allowed: a number from 0 to 1000
        gate.toml, key "percent.attainment": not a measure of this table; allowed: ttft_ms_p50, ttft_ms_p95, ttft_ms_p99, tpot_ms_p50, tpot_ms_p95, tpot_ms_p99, energy_mj, energy_mj_p95
        gate.toml, key "percent.switches": not a measure of this table; allowed: ttft_ms_p50, ttft_ms_p95, ttft_ms_p99, tpot_ms_p50, tpot_ms_p95, tpot_ms_p99, energy_mj, energy_mj_p95
        gate.toml, key "significance": out of range; found 0; allowed: a number above 0 and below 0.5
        gate.toml, key "power": out of range; found 1; allowed: a number above 0.5 and below 1
        gate.toml: tolerates no measure, so that nothing is compared; allowed: one or more of points.accuracy_at_slo, …, percent.ttft_ms_p50, …
        "#);
    }
}
