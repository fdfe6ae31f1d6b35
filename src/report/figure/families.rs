//! Families of sub-models on devices: memory with the full model and with every level resident, and
//! what making another level resident costs; the study's Figures 16a and 16b.
//!
//! Memory is weights, by the levels' `resident_bytes`: of the full model, and of all levels, which
//! are one copy for a family that shares its weights, with an adapter each where there are
//! adapters, and a copy each for one that does not (`docs/families.md`). Where the profile has the
//! serving process's memory, code and packed weights included, it stands beside them.

use std::fmt::Write as _;

use super::asked::text_table;
use super::bars::{Band, Bar, Bars, Panel};
use super::colours;
use super::sheet::{Press, Sheet};
use crate::error::Result;
use crate::files::write_whole;
use crate::profile::{DeviceProfile, FamilyLatency, LevelLatency, Memory};
use crate::results::FamiliesSpec;

const GB: f64 = 1e9;
/// Families whose levels have weights of their own.
const OWN_WEIGHTS: [&str; 3] = ["layer-merge", "width-relayout", "zoo"];

/// What is drawn and written of one family on one device.
trait Quantity: Sized {
    /// Columns of the CSV, after device and family.
    const COLUMNS: &'static str;
    /// Head of the table.
    const HEAD: &'static [&'static str];
    fn of(device: &DeviceProfile, base_model: &str, family: &str) -> Result<Self>;
    fn csv(&self) -> String;
    fn cells(&self) -> Vec<String>;
    fn bar(&self, look: colours::Look) -> Bar;
}

/// Draws `memory`, and writes its CSV.
///
/// # Errors
/// If a profile or a family is missing, or a file cannot be written.
pub(super) fn draw_memory(of: &[FamiliesSpec], press: &Press<'_>) -> Result<String> {
    let bars =
        |bands| Bars { title: "weights, GB".to_owned(), logarithmic: false, shared: false, bands };
    let sheet = Sheet {
        title: "Memory by family of sub-models".to_owned(),
        caption:
            "Dark: weights of the full model. Pale: of all levels, which share one copy or have \
                  one each. Process: the whole process that serves, with one level open and, where \
                  it holds all at once, with all."
                .to_owned(),
        height: 0,
    };
    draw::<Resident>("memory", of, sheet, bars, press)
}

/// Draws `switching`, and writes its CSV.
///
/// # Errors
/// If a profile or a family is missing, or a file cannot be written.
pub(super) fn draw_switching(of: &[FamiliesSpec], press: &Press<'_>) -> Result<String> {
    let title = "one switch, ms (logarithmic)".to_owned();
    let bars = |bands| Bars { title, logarithmic: true, shared: true, bands };
    let sheet = Sheet {
        title: "Making another level resident, by family".to_owned(),
        caption:
            "Dark: mean over a family's own levels. Pale: the dearest of them. A switch that costs \
                  nothing has no bar."
                .to_owned(),
        height: 0,
    };
    draw::<Switch>("switching", of, sheet, bars, press)
}

fn draw<Q: Quantity>(
    name: &str,
    of: &[FamiliesSpec],
    mut sheet: Sheet,
    bars: impl FnOnce(Vec<Band>) -> Bars,
    press: &Press<'_>,
) -> Result<String> {
    let mut csv = format!("device,family,{}\n", Q::COLUMNS);
    let (mut bands, mut text) = (Vec::new(), String::new());
    for spec in of {
        let device = DeviceProfile::load(&spec.device)?;
        let mut table = vec![Q::HEAD.iter().map(|&head| head.to_owned()).collect::<Vec<_>>()];
        table[0][0] = format!("{}, {}", device.name, Q::HEAD[0]);
        let mut row_bars = Vec::new();
        for family in &spec.families {
            let row = Q::of(&device, &spec.base_model, family)?;
            writeln!(csv, "{},{family},{}", device.name, row.csv())
                .expect("a string can always grow");
            table.push(std::iter::once(family.clone()).chain(row.cells()).collect());
            row_bars.push(Some(row.bar(colours::of_family(family))));
        }
        text = format!("{text}{}", text_table(&table));
        let provenance = provenance(&device, spec)?;
        bands.push(Band {
            heading: format!("{}, {} ({provenance})", device.name, spec.base_model),
            names: spec.families.clone(),
            panels: vec![Panel { heading: String::new(), bars: row_bars }],
        });
    }
    write_whole(&press.folder.join(format!("{name}.csv")), csv.as_bytes())?;
    let bars = bars(bands);
    sheet.height = bars.height(press.sizes(), press.width());
    press.print(name, &sheet, |area| bars.draw(press.sizes(), area))?;
    Ok(text)
}

/// One word for all families, or one for each.
fn provenance(device: &DeviceProfile, spec: &FamiliesSpec) -> Result<String> {
    let mut labels = Vec::new();
    for family in &spec.families {
        labels.push((family, device.family(&spec.base_model, family)?.provenance.label()));
    }
    match labels.first() {
        Some((_, first)) if labels.iter().all(|(_, label)| label == first) => {
            Ok((*first).to_owned())
        }
        _ => Ok(labels
            .iter()
            .map(|(family, label)| format!("{family} {label}"))
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Resident {
    full_bytes: u64,
    all_bytes: u64,
    /// Of the process with one level, and with all; absent where it holds one level at a time.
    process: [Option<u64>; 2],
}

impl Resident {
    /// `bare` is the same family without adapters, if `family` is one with them.
    fn with(family: &FamilyLatency, bare: Option<&FamilyLatency>) -> Self {
        let bytes = |level: &LevelLatency| level.resident_bytes;
        let sum = |of: &FamilyLatency| of.levels.iter().map(bytes).sum::<u64>();
        let full_bytes = bytes(family.full());
        let own = OWN_WEIGHTS.contains(&&*family.family);
        let all_bytes = match bare {
            Some(bare) => bytes(bare.full()) + sum(family).saturating_sub(sum(bare)),
            None if own => sum(family),
            None => family.levels.iter().map(bytes).max().unwrap_or(full_bytes),
        };
        let process: Option<Memory> = family.memory;
        let all = process.filter(|_| !own).map(|memory| memory.all_levels_bytes);
        Self { full_bytes, all_bytes, process: [process.map(|memory| memory.one_level_bytes), all] }
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / GB)
}

impl Quantity for Resident {
    const COLUMNS: &'static str =
        "full_model_bytes,all_levels_bytes,process_one_level_bytes,process_all_levels_bytes";
    const HEAD: &'static [&'static str] =
        &["memory, GB", "full model", "all levels", "process", "all levels"];

    fn of(device: &DeviceProfile, base_model: &str, family: &str) -> Result<Self> {
        let bare = family.strip_suffix("-lora");
        let bare = bare.and_then(|bare| device.family(base_model, bare).ok());
        Ok(Self::with(device.family(base_model, family)?, bare))
    }

    fn csv(&self) -> String {
        let process =
            self.process.map(|bytes| bytes.map_or(String::new(), |bytes| bytes.to_string()));
        format!("{},{},{}", self.full_bytes, self.all_bytes, process.join(","))
    }

    fn cells(&self) -> Vec<String> {
        let process = self.process.map(|bytes| bytes.map_or("–".to_owned(), gigabytes));
        [gigabytes(self.full_bytes), gigabytes(self.all_bytes)].into_iter().chain(process).collect()
    }

    fn bar(&self, look: colours::Look) -> Bar {
        let process = match self.process.map(|bytes| bytes.map(gigabytes)) {
            [Some(one), Some(all)] => format!(" (process {one}, {all})"),
            [Some(one), None] => format!(" (process {one})"),
            _ => String::new(),
        };
        let [full, all] = [self.full_bytes, self.all_bytes].map(gigabytes);
        Bar {
            look,
            length: Some(self.full_bytes as f64 / GB),
            behind: Some(self.all_bytes as f64 / GB),
            whisker: None,
            value: if full == all {
                format!("{full}{process}")
            } else {
                format!("{full}, all {all}{process}")
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Switch {
    mean_ms: f64,
    max_ms: f64,
    provenance: &'static str,
}

/// Three digits that matter.
fn shown(ms: f64) -> String {
    let decimals = if ms >= 100.0 || ms == 0.0 { 0 } else { (2.0 - ms.log10().floor()) as usize };
    format!("{ms:.decimals$}")
}

impl Switch {
    fn with(family: &FamilyLatency) -> Self {
        let switches = || family.levels.iter().map(|level| level.switch_ms);
        Self {
            mean_ms: switches().sum::<f64>() / family.levels.len() as f64,
            max_ms: switches().fold(0.0, f64::max),
            provenance: family.provenance.label(),
        }
    }
}

impl Quantity for Switch {
    const COLUMNS: &'static str = "switch_mean_ms,switch_max_ms,provenance";
    const HEAD: &'static [&'static str] = &["a switch", "mean ms", "at most ms", "provenance"];

    fn of(device: &DeviceProfile, base_model: &str, family: &str) -> Result<Self> {
        Ok(Self::with(device.family(base_model, family)?))
    }

    fn csv(&self) -> String {
        format!("{},{},{}", self.mean_ms, self.max_ms, self.provenance)
    }

    fn cells(&self) -> Vec<String> {
        vec![shown(self.mean_ms), shown(self.max_ms), self.provenance.to_owned()]
    }

    fn bar(&self, look: colours::Look) -> Bar {
        let [mean, max] = [self.mean_ms, self.max_ms].map(|ms| (ms > 0.0).then_some(ms));
        Bar {
            look,
            length: mean,
            behind: max,
            whisker: None,
            value: if self.max_ms > self.mean_ms {
                format!("{}, at most {}", shown(self.mean_ms), shown(self.max_ms))
            } else {
                shown(self.mean_ms)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::device;

    /// Levels of 30 and 100 bytes: one copy takes 100, a copy each 130; with adapters of 2 and 1
    /// bytes, one copy takes 103.
    #[test]
    fn shared_weights_are_counted_once_own_ones_and_adapters_each() {
        let mut profile = device();
        let mut adapted = profile.families[0].clone();
        adapted.family = crate::family::Family::WidthLora.into();
        profile.families.push(adapted);
        for (family, extra) in profile.families.iter_mut().zip([0, 0, 0, 1]) {
            family.levels[0].resident_bytes = 30 + 2 * extra;
            family.levels[1].resident_bytes = 100 + extra;
        }
        let totals = ["width", "width-relayout", "layer-removal", "width-lora"].map(|name| {
            let row = Resident::of(&profile, "tiny", name).unwrap();
            (row.full_bytes, row.all_bytes)
        });
        assert_eq!(totals, [(100, 100), (100, 130), (100, 100), (101, 103)]);
    }

    #[test]
    fn a_family_has_the_mean_and_the_dearest_switch() {
        let mut family = device().families.remove(0);
        family.levels[0].switch_ms = 0.5;
        let row = Switch::with(&family);
        assert_eq!((row.mean_ms, row.max_ms, row.provenance), (2.25, 4.0, "modelled"));
    }

    #[test]
    fn times_have_three_digits_that_matter() {
        let shown = [310.0, 8200.4, 4.25, 0.001_234, 0.0].map(shown);
        assert_eq!(shown, ["310", "8200", "4.25", "0.00123", "0"]);
    }
}
