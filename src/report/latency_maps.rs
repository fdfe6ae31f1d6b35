//! TTFT over prompt length × level and TPOT over context × level: the study's Figure 2.

use std::path::Path;

use super::canvas::{Drawn, Sheet, slug};
use super::colours;
use super::heat_map::{self, HeatMap, Scale};
use crate::error::Result;
use crate::profile::{
    DeviceProfile, FamilyLatency, FitError, LevelLatency, Provenance, TimeShare, TokenRange,
};

const WIDTH_PX: u32 = 1120;
const MAP_PX: u32 = 330;
const GAP_PX: u32 = 20;

/// Lengths shown where a curve does not say what it was fitted on.
const DEFAULT_TOKENS: TokenRange = TokenRange { min: 16, max: 1024 };

/// Draws `latency-DEVICE-BASE_MODEL-FAMILY` into `folder`, as SVG and PNG: two maps of the fitted
/// times, rows labelled with each level's nominal share, real share of parameters and share of
/// time.
///
/// # Errors
/// If the profile lacks the family or a file cannot be written.
pub fn draw_latency_heatmaps(
    profile: &DeviceProfile,
    base_model: &str,
    family: &str,
    folder: &Path,
) -> Result<()> {
    let latencies = profile.family(base_model, family)?;
    let sheet = Sheet {
        title: format!("Latency of {base_model}, family {family}, on {}", profile.name),
        caption: caption(profile, latencies),
        width_px: WIDTH_PX,
        height_px: MAP_PX,
    };
    let name = format!("latency-{}-{}-{}", slug(&profile.name), slug(base_model), slug(family));
    sheet.write(folder, &name, |area| -> Drawn {
        let half_px = (area.dim_in_pixel().0 - GAP_PX) / 2;
        let (left, rest) = area.split_horizontally(half_px);
        let (_, right) = rest.split_horizontally(GAP_PX);
        draw_map(&left, &ttft(latencies))?;
        draw_map(&right, &tpot(latencies))
    })
}

fn draw_map(area: &super::canvas::Area<'_>, map: &HeatMap) -> Drawn {
    let range = map.range().ok_or("a profile without levels")?;
    let scale =
        Scale { range, logarithmic: true, colours: colours::of_time(), format: three_digits };
    heat_map::draw(area, map, &scale)
}

fn ttft(latencies: &FamilyLatency) -> HeatMap {
    map(
        latencies,
        "TTFT",
        "prompt length, tokens",
        latencies.full().ttft_ms.tokens,
        |share| share.ttft,
        |level, tokens| level.ttft_ms.millis(tokens),
    )
}

fn tpot(latencies: &FamilyLatency) -> HeatMap {
    map(
        latencies,
        "TPOT",
        "context, tokens",
        latencies.full().tpot_ms.tokens,
        |share| share.tpot,
        |level, tokens| level.tpot_ms.millis(tokens),
    )
}

fn map(
    latencies: &FamilyLatency,
    measure: &str,
    x_title: &'static str,
    tokens: Option<TokenRange>,
    share: fn(&TimeShare) -> f64,
    millis: fn(&LevelLatency, u32) -> f64,
) -> HeatMap {
    let lengths = powers_of_two(tokens.unwrap_or(DEFAULT_TOKENS));
    let row = |level: &LevelLatency| -> Vec<Option<f64>> {
        lengths.iter().map(|&length| Some(millis(level, length))).collect()
    };
    let mut cells: Vec<_> = latencies.levels.iter().map(row).collect();
    let seconds = cells.iter().flatten().flatten().any(|&millis| millis >= 10_000.0);
    if seconds {
        cells.iter_mut().flatten().flatten().for_each(|value| *value /= 1000.0);
    }
    let shares = latencies.time_shares();
    let label = |(level, time): (&LevelLatency, &TimeShare)| {
        let percent = |share: f64| (100.0 * share).round();
        format!(
            "{} / {} / {}",
            level.level.as_percent(),
            percent(level.parameter_share),
            percent(share(time))
        )
    };
    HeatMap {
        heading: format!("{measure}, {}", if seconds { "s" } else { "ms" }),
        x_title,
        y_title: "level / parameters / time, % of full",
        columns: lengths.iter().map(u32::to_string).collect(),
        rows: latencies.levels.iter().zip(&shares).map(label).collect(),
        cells,
    }
}

/// Powers of two within `range`, and its ends where it holds none.
fn powers_of_two(range: TokenRange) -> Vec<u32> {
    let powers: Vec<u32> = (0..u32::BITS - 1)
        .map(|power| 1 << power)
        .filter(|n| (range.min..=range.max).contains(n))
        .collect();
    if powers.is_empty() { vec![range.min, range.max] } else { powers }
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn caption(profile: &DeviceProfile, latencies: &FamilyLatency) -> String {
    let runtime = &profile.runtime;
    let errors = |fit: fn(&LevelLatency) -> Option<FitError>| {
        let worst = latencies.levels.iter().filter_map(fit).map(|error| error.max_relative);
        worst.reduce(f64::max)
    };
    let fit = match (
        errors(|level| level.ttft_ms.fit_error),
        errors(|level| level.tpot_ms.fit_error),
    ) {
        (Some(ttft), Some(tpot)) => format!(
            " Fitted curves; largest deviation from a measured median {:.1} % (TTFT), {:.1} % (TPOT).",
            100.0 * ttft,
            100.0 * tpot
        ),
        _ => String::new(),
    };
    format!(
        "{}; {}, version {}; {} threads, {}. Rows: nominal level, share of all parameters, share of the \
         full model's time at 512 prompt tokens (TTFT) and 256 tokens of context (TPOT).{fit} \
         Provenance: {}.",
        profile.hardware.cpu,
        runtime.name,
        runtime.version,
        runtime.threads,
        runtime.precision,
        provenance(&latencies.provenance)
    )
}

fn provenance(provenance: &Provenance) -> String {
    let label = provenance.label();
    match provenance {
        Provenance::Measured { date, .. } => format!("{label} {date}"),
        Provenance::Published { sources } => format!("{label}, {}", sources.join(", ")),
        Provenance::Modelled { formula, anchors, .. } => {
            format!("{label}, {formula}, on {} anchors named in the profile", anchors.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_powers_of_two_within_what_was_measured() {
        assert_eq!(powers_of_two(TokenRange { min: 16, max: 100 }), [16, 32, 64]);
        assert_eq!(powers_of_two(TokenRange { min: 17, max: 31 }), [17, 31]);
    }

    #[test]
    fn a_committed_phone_is_drawn_with_its_shares_and_what_it_was_modelled_on() {
        let profile = DeviceProfile::load(Path::new("device-profiles/mi-14")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        draw_latency_heatmaps(&profile, "llama-7b", "width", folder.path()).unwrap();
        let svg = folder.path().join("latency-mi-14-llama-7b-width.svg");
        let svg = std::fs::read_to_string(svg).unwrap();
        for words in ["TTFT, s", "TPOT, ms", "100 / 100 / 100", "Provenance: modelled, TTFT = c"] {
            assert!(svg.contains(words), "{words}");
        }
    }

    #[test]
    fn values_have_three_digits() {
        let shown = [0.123, 9.994, 12.34, 99.96, 1234.0].map(three_digits);
        assert_eq!(shown, ["0.12", "9.99", "12.3", "100", "1234"]);
    }
}
