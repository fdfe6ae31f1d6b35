//! What making another level resident costs, by family: the study's Figure 16b.

use std::fmt::Write as _;
use std::path::Path;

use super::bars::{self, Bar};
use super::canvas::{Sheet, slug};
use super::colours;
use super::extra_figures::text_table;
use crate::error::Result;
use crate::files::write_whole;
use crate::profile::{DeviceProfile, FamilyLatency};
use crate::results::FamiliesSpec;

const WIDTH_PX: u32 = 900;

#[derive(Debug, Clone, PartialEq)]
struct Row {
    family: String,
    mean_ms: f64,
    max_ms: f64,
    provenance: &'static str,
}

impl Row {
    fn of(family: &FamilyLatency) -> Self {
        let switches = || family.levels.iter().map(|level| level.switch_ms);
        Self {
            family: family.family.clone(),
            mean_ms: switches().sum::<f64>() / family.levels.len() as f64,
            max_ms: switches().fold(0.0, f64::max),
            provenance: family.provenance.label(),
        }
    }

    fn bar(&self) -> Bar {
        Bar {
            name: self.family.clone(),
            colour: colours::of_family(&self.family),
            length: self.mean_ms,
            behind: Some(self.max_ms),
            value: if self.max_ms > self.mean_ms {
                format!("{} ms; at most {} ms", shown(self.mean_ms), shown(self.max_ms))
            } else {
                format!("{} ms", shown(self.mean_ms))
            },
        }
    }
}

/// One word for all rows, or one for each.
fn provenance(rows: &[Row]) -> String {
    if rows.windows(2).all(|pair| pair[0].provenance == pair[1].provenance) {
        return rows.first().map_or("", |row| row.provenance).to_owned();
    }
    let each = rows.iter().map(|row| format!("{} {}", row.family, row.provenance));
    each.collect::<Vec<_>>().join("; ")
}

/// Three digits that matter.
fn shown(ms: f64) -> String {
    let decimals = if ms >= 100.0 || ms == 0.0 { 0 } else { (2.0 - ms.log10().floor()) as usize };
    format!("{ms:.decimals$}")
}

/// Draws `switching-DEVICE` into `out`, with its numbers as CSV.
///
/// # Errors
/// If the profile or a family is missing, or a file cannot be written.
pub(super) fn draw_switching(spec: &FamiliesSpec, out: &Path) -> Result<String> {
    let device = DeviceProfile::load(&spec.device)?;
    let row = |name: &String| Ok(Row::of(device.family(&spec.base_model, name)?));
    let rows: Vec<Row> = spec.families.iter().map(row).collect::<Result<_>>()?;
    let mut csv = "family,switch_mean_ms,switch_max_ms,provenance\n".to_owned();
    let mut table =
        vec![["family", "switch ms", "at most ms", "provenance"].map(str::to_owned).to_vec()];
    for row in &rows {
        let Row { family, mean_ms, max_ms, provenance } = row;
        writeln!(csv, "{family},{mean_ms},{max_ms},{provenance}")
            .expect("a string can always grow");
        let [mean, max] = [*mean_ms, *max_ms].map(shown);
        table.push(vec![family.clone(), mean, max, (*provenance).to_owned()]);
    }
    let name = format!("switching-{}", slug(&device.name));
    write_whole(&out.join(format!("{name}.csv")), csv.as_bytes())?;
    let sheet = Sheet {
        title: format!("Making another level of {} resident on {}", spec.base_model, device.name),
        caption: format!(
            "Dark: mean over the levels that are switched to. Pale: the dearest of them. \
             Provenance: {}.",
            provenance(&rows)
        ),
        width_px: WIDTH_PX,
        height_px: bars::height_px(rows.len()),
    };
    let bars: Vec<Bar> = rows.iter().map(Row::bar).collect();
    sheet.write(out, &name, |area| bars::draw(area, &bars, "one switch, ms"))?;
    Ok(text_table(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::device;

    #[test]
    fn a_row_has_the_mean_and_the_dearest_switch() {
        let mut family = device().families.remove(0);
        family.levels[0].switch_ms = 0.5;
        let row = Row::of(&family);
        assert_eq!((row.mean_ms, row.max_ms, row.provenance), (2.25, 4.0, "modelled"));
    }

    #[test]
    fn times_have_three_digits_that_matter() {
        let shown = [310.0, 8200.4, 4.25, 0.001_234, 0.0].map(shown);
        assert_eq!(shown, ["310", "8200", "4.25", "0.00123", "0"]);
    }
}
