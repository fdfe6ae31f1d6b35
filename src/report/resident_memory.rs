//! Memory of a family with its full model resident, and with every level resident: the study's
//! Figure 16a.
//!
//! Bars are weights, by the levels' `resident_bytes`: of the full model, and of all levels, which are
//! one copy for a family that shares its weights, with an adapter each where there are adapters, and
//! a copy each for one that does not (`docs/families.md`). Where the profile has the serving
//! process's memory, code and packed weights included, it stands beside them.

use std::fmt::Write as _;
use std::path::Path;

use super::bars::{self, Bar};
use super::canvas::{Sheet, slug};
use super::colours;
use super::extra_figures::text_table;
use crate::error::Result;
use crate::files::write_whole;
use crate::profile::{DeviceProfile, FamilyLatency, LevelLatency, Memory};
use crate::results::FamiliesSpec;

const WIDTH_PX: u32 = 900;
const GB: f64 = 1e9;
/// Families whose levels have weights of their own.
const OWN_WEIGHTS: [&str; 3] = ["layer-merge", "width-relayout", "zoo"];

#[derive(Debug, Clone, PartialEq)]
struct Row {
    family: String,
    full_bytes: u64,
    all_bytes: u64,
    process: Option<Memory>,
}

impl Row {
    /// `bare` is the same family without adapters, if `family` is one with them.
    fn of(family: &FamilyLatency, bare: Option<&FamilyLatency>) -> Self {
        let bytes = |level: &LevelLatency| level.resident_bytes;
        let sum = |of: &FamilyLatency| of.levels.iter().map(bytes).sum::<u64>();
        let full_bytes = bytes(family.full());
        let all_bytes = match bare {
            Some(bare) => bytes(bare.full()) + sum(family).saturating_sub(sum(bare)),
            None if OWN_WEIGHTS.contains(&&*family.family) => sum(family),
            None => family.levels.iter().map(bytes).max().unwrap_or(full_bytes),
        };
        Self { family: family.family.clone(), full_bytes, all_bytes, process: family.memory }
    }

    /// The process with one level, and with all; absent where it holds one level at a time.
    fn process(&self) -> [Option<u64>; 2] {
        let all = self.process.filter(|_| !OWN_WEIGHTS.contains(&&*self.family));
        [
            self.process.map(|memory| memory.one_level_bytes),
            all.map(|memory| memory.all_levels_bytes),
        ]
    }

    fn bar(&self) -> Bar {
        let process = match self.process().map(|bytes| bytes.map(gigabytes)) {
            [Some(one), Some(all)] => format!(" (process {one}, {all})"),
            [Some(one), None] => format!(" (process {one}, one level at a time)"),
            _ => String::new(),
        };
        let [full, all] = [self.full_bytes, self.all_bytes].map(gigabytes);
        Bar {
            name: self.family.clone(),
            colour: colours::of_family(&self.family),
            length: self.full_bytes as f64 / GB,
            behind: Some(self.all_bytes as f64 / GB),
            value: format!("{full} GB; all levels {all} GB{process}"),
        }
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / GB)
}

fn row(device: &DeviceProfile, base_model: &str, name: &str) -> Result<Row> {
    let bare = name.strip_suffix("-lora").and_then(|bare| device.family(base_model, bare).ok());
    Ok(Row::of(device.family(base_model, name)?, bare))
}

/// Draws `memory-DEVICE` into `out`, with its numbers as CSV.
///
/// # Errors
/// If the profile or a family is missing, or a file cannot be written.
pub(super) fn draw_memory(spec: &FamiliesSpec, out: &Path) -> Result<String> {
    let device = DeviceProfile::load(&spec.device)?;
    let row = |name: &String| row(&device, &spec.base_model, name);
    let rows: Vec<Row> = spec.families.iter().map(row).collect::<Result<_>>()?;
    let names = ["full_model_bytes", "all_levels_bytes", "process_one_level_bytes"];
    let mut csv = format!("family,{},process_all_levels_bytes\n", names.join(","));
    let heads = ["memory, GB", "full model", "all levels", "process", "all levels"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for row in &rows {
        let Row { family, full_bytes, all_bytes, .. } = row;
        let process = row.process();
        let bytes = process.map(|bytes| bytes.map_or(String::new(), |bytes| bytes.to_string()));
        writeln!(csv, "{family},{full_bytes},{all_bytes},{}", bytes.join(","))
            .expect("a string can always grow");
        let [one, all] = process.map(|bytes| bytes.map_or("–".to_owned(), gigabytes));
        table.push(vec![family.clone(), gigabytes(*full_bytes), gigabytes(*all_bytes), one, all]);
    }
    let provenance = match spec.families.first() {
        Some(family) => device.family(&spec.base_model, family)?.provenance.label(),
        None => "no family",
    };
    let name = format!("memory-{}", slug(&device.name));
    write_whole(&out.join(format!("{name}.csv")), csv.as_bytes())?;
    let sheet = Sheet {
        title: format!("Memory of {} on {}", spec.base_model, device.name),
        caption: format!(
            "Weights. Dark: with the full model resident. Pale: with every level resident, by what the \
             family's levels share. In brackets: the serving process, measured, with one level and \
             with all. The device has {:.1} GB. Provenance: {}.",
            device.hardware.memory_bytes as f64 / GB,
            provenance,
        ),
        width_px: WIDTH_PX,
        height_px: bars::height_px(rows.len()),
    };
    let bars: Vec<Bar> = rows.iter().map(Row::bar).collect();
    sheet.write(out, &name, |area| bars::draw(area, &bars, "weights, GB"))?;
    Ok(text_table(&table))
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
        adapted.family = "width-lora".to_owned();
        profile.families.push(adapted);
        for (family, extra) in profile.families.iter_mut().zip([0, 0, 0, 1]) {
            family.levels[0].resident_bytes = 30 + 2 * extra;
            family.levels[1].resident_bytes = 100 + extra;
        }
        let totals = ["width", "width-relayout", "layer-removal", "width-lora"].map(|name| {
            let row = row(&profile, "tiny", name).unwrap();
            (row.full_bytes, row.all_bytes)
        });
        assert_eq!(totals, [(100, 100), (100, 130), (100, 100), (101, 103)]);
    }
}
