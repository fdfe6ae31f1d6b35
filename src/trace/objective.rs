//! An objective as files state it: one of six forms, each with its columns in a trace, or its keys
//! in an app's `slo`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use crate::limits::{Bounded, ENERGY_MJ, TIME_MS};
use crate::request::{Limit, Slo};
use crate::units::{Energy, Ratio, decimal_millis, nanos_of_decimal_millis};

/// The forms: shares of what the base model takes, or quantities.
pub(super) const FORMS: [&[&str]; 6] = [
    &["ttft_ratio", "tpot_ratio"],
    &["ttft_ms", "tpot_ms"],
    &["e2e_ratio"],
    &["e2e_ms"],
    &["energy_ratio"],
    &["energy_mj"],
];

/// The forms, for messages.
pub(super) fn forms() -> String {
    FORMS.map(|columns| columns.join(",")).join(" or ")
}

/// The place of an objective's form among [`FORMS`].
pub(super) const fn form_of(slo: Slo) -> usize {
    match slo {
        Slo::Relative { .. } => 0,
        Slo::Absolute { .. } => 1,
        Slo::EndToEnd(Limit::Share(_)) => 2,
        Slo::EndToEnd(Limit::Absolute(_)) => 3,
        Slo::Energy(Limit::Share(_)) => 4,
        Slo::Energy(Limit::Absolute(_)) => 5,
    }
}

/// The place of an objective's form, and its cells.
pub(super) fn stated(slo: Slo) -> (usize, Vec<String>) {
    let share = |share: Ratio| share.as_f64().to_string();
    let time = |length: Duration| decimal_millis(length.as_nanos() as u64);
    let cells = match slo {
        Slo::Relative { ttft, tpot } => vec![share(ttft), share(tpot)],
        Slo::Absolute { ttft, tpot } => vec![time(ttft), time(tpot)],
        Slo::EndToEnd(Limit::Absolute(bound)) => vec![time(bound)],
        Slo::EndToEnd(Limit::Share(of)) | Slo::Energy(Limit::Share(of)) => vec![share(of)],
        Slo::Energy(Limit::Absolute(bound)) => vec![decimal_millis(bound.as_nanojoules())],
    };
    (form_of(slo), cells)
}

/// A cell that states no bound.
#[derive(Debug)]
pub(super) struct BadCell {
    /// Which cell of the form.
    pub nth: usize,
    /// What it may be.
    pub allowed: String,
}

/// The objective of the form `form` with these cells.
pub(super) fn of_form(form: usize, cells: &[&str]) -> Result<Slo, BadCell> {
    let bad = |nth: usize, allowed: String| BadCell { nth, allowed };
    let share = |nth: usize| {
        let share = cells[nth].parse().ok().filter(|&share| share > 0.0).and_then(Ratio::exact);
        share.ok_or_else(|| bad(nth, "a number in (0, 1] with at most 3 decimals".to_owned()))
    };
    let millionths = |nth: usize, range: Bounded| {
        let found = nanos_of_decimal_millis(cells[nth]).filter(|&n| n <= range.max * 1_000_000);
        found.ok_or_else(|| bad(nth, decimal(range)))
    };
    let time = |nth: usize| millionths(nth, TIME_MS).map(Duration::from_nanos);
    Ok(match form {
        0 => Slo::Relative { ttft: share(0)?, tpot: share(1)? },
        1 => Slo::Absolute { ttft: time(0)?, tpot: time(1)? },
        2 => Slo::EndToEnd(Limit::Share(share(0)?)),
        3 => Slo::EndToEnd(Limit::Absolute(time(0)?)),
        4 => Slo::Energy(Limit::Share(share(0)?)),
        _ => {
            let energy = Energy::from_nanojoules(millionths(0, ENERGY_MJ)?);
            Slo::Energy(Limit::Absolute(energy))
        }
    })
}

/// What a cell with millionths of a quantity may be.
pub(super) fn decimal(range: Bounded) -> String {
    format!("a number from {range}, with at most 6 decimals")
}

/// Writes the keys of the objective's form.
pub(super) fn serialize<S: Serializer>(slo: &Slo, to: S) -> Result<S::Ok, S::Error> {
    let (form, cells) = stated(*slo);
    let number = |cell: &String| cell.parse::<f64>().expect("bounds are numbers");
    let keys: BTreeMap<_, _> = FORMS[form].iter().zip(cells.iter().map(number)).collect();
    keys.serialize(to)
}

/// Reads the keys of one form.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Slo, D::Error> {
    let stated = BTreeMap::<String, f64>::deserialize(from)?;
    let is_stated = |names: &&[&str]| {
        names.len() == stated.len() && names.iter().all(|name| stated.contains_key(*name))
    };
    let Some(form) = FORMS.iter().position(is_stated) else {
        let found: Vec<_> = stated.into_keys().collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        return Err(D::Error::custom(format!(
            "not one objective; found {found}; allowed: {}",
            forms()
        )));
    };
    let cells: Vec<String> = FORMS[form].iter().map(|name| stated[*name].to_string()).collect();
    let texts: Vec<&str> = cells.iter().map(String::as_str).collect();
    of_form(form, &texts).map_err(|BadCell { nth, allowed }| {
        let (key, found) = (FORMS[form][nth], texts[nth]);
        D::Error::custom(format!("key \"{key}\": bad value; found {found}; allowed: {allowed}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Stating {
        #[serde(with = "super")]
        slo: Slo,
    }

    #[test]
    fn every_form_reads_as_written() {
        for (text, slo) in [
            (
                "tpot_ratio = 0.6\nttft_ratio = 0.2",
                Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::percent(60) },
            ),
            (
                "tpot_ms = 40.0\nttft_ms = 250.5",
                Slo::Absolute {
                    ttft: Duration::from_micros(250_500),
                    tpot: Duration::from_millis(40),
                },
            ),
            ("e2e_ratio = 0.35", Slo::EndToEnd(Limit::Share(Ratio::new(0.35).unwrap()))),
            ("e2e_ms = 900.0", Slo::EndToEnd(Limit::Absolute(Duration::from_millis(900)))),
            ("energy_ratio = 1.0", Slo::Energy(Limit::Share(Ratio::ONE))),
            (
                "energy_mj = 1500.0",
                Slo::Energy(Limit::Absolute(Energy::from_nanojoules(1_500_000_000))),
            ),
        ] {
            let text = format!("[slo]\n{text}\n");
            assert_eq!(toml::from_str::<Stating>(&text).unwrap(), Stating { slo });
            assert_eq!(toml::to_string(&Stating { slo }).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_one_objective_is_named() {
        let message =
            |slo: &str| toml::from_str::<Stating>(&format!("slo = {slo}")).unwrap_err().to_string();
        assert!(message("{}").contains("not one objective; found nothing; allowed: ttft_ratio,"));
        assert!(message("{ e2e_ms = 1, energy_mj = 1 }").contains("found e2e_ms, energy_mj"));
        assert!(message("{ ttft_ratio = 0.5 }").contains("found ttft_ratio"));
        let wrong = message("{ ttft_ratio = 0.5, tpot_ratio = 1.5 }");
        assert!(wrong.contains("key \"tpot_ratio\": bad value; found 1.5"), "{wrong}");
        assert!(message("{ e2e_ms = -1 }").contains("a number from 0 to 3153600000000"));
    }
}
