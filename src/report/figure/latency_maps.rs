//! TTFT over prompt length × level and TPOT over context × level, a row per device: the study's
//! Figure 2.

use super::colours;
use super::heat_map::{HeatMap, Scale, Strip};
use super::sheet::{Press, Sheet, part};
use crate::error::Result;
use crate::profile::{
    DeviceProfile, FamilyLatency, FitError, LevelLatency, Provenance, TimeShare, TokenRange,
};
use crate::results::LatencyInput;

/// Lengths shown where a curve does not say what it was fitted on.
const DEFAULT_TOKENS: TokenRange = TokenRange { min: 16, max: 1024 };
/// Least width of a page with both maps side by side, in sizes of a label.
const BESIDE_EM: f64 = 45.0;

/// Draws `latency`: for each of `inputs` two maps of the fitted times, rows labelled with each
/// level's nominal share, real share of parameters and share of time.
///
/// # Errors
/// If a profile is broken or lacks the family, or the file cannot be written.
pub(in crate::report) fn draw_latency_maps(
    inputs: &[LatencyInput],
    press: &Press<'_>,
) -> Result<()> {
    let (mut strips, mut caption) = (Vec::new(), String::new());
    for input in inputs {
        let device = DeviceProfile::load(&input.device)?;
        let latencies = device.family(&input.base_model, &input.family)?;
        let heading = format!("{}, {}", device.name, input.base_model);
        let maps = maps(latencies).map(|map| {
            let scale = Scale {
                range: map.range().unwrap_or((1.0, 1.0)),
                logarithmic: true,
                colours: colours::of_time(),
                format: three_digits,
            };
            (map, scale)
        });
        strips.extend(in_strips(heading, maps, press));
        caption = format!("{caption}{} ", words(&device, latencies));
    }
    if strips.is_empty() {
        return Ok(());
    }
    let sizes = press.sizes();
    let sheet = Sheet {
        title: format!("Latency of family {} by level and length", inputs[0].family),
        caption: format!(
            "Rows: nominal level, share of all parameters, share of the full model's time at 512 \
             prompt tokens (TTFT) and 256 tokens of context (TPOT). {caption}"
        ),
        height: strips.iter().map(|strip| strip.height(sizes)).sum(),
    };
    press.print("latency", &sheet, |area| {
        let mut top = 0;
        strips.iter().try_for_each(|strip| {
            let place = part(area, (0, top), (press.width(), strip.height(sizes)));
            top += strip.height(sizes);
            strip.draw(sizes, &place)
        })
    })
}

/// Both maps beside each other, or one below the other.
fn in_strips(
    heading: String,
    [ttft, tpot]: [(HeatMap, Scale); 2],
    press: &Press<'_>,
) -> Vec<Strip> {
    let strip = |heading, x_title, maps| Strip {
        heading,
        x_title,
        y_title: "level / parameters / time, %",
        maps,
        shared: false,
    };
    if press.width() >= press.sizes().em(BESIDE_EM) {
        vec![strip(heading, "prompt length (TTFT) or context (TPOT), tokens", vec![ttft, tpot])]
    } else {
        vec![
            strip(heading, "prompt length, tokens", vec![ttft]),
            strip(String::new(), "context, tokens", vec![tpot]),
        ]
    }
}

/// TTFT, and TPOT.
fn maps(latencies: &FamilyLatency) -> [HeatMap; 2] {
    let full = latencies.full();
    let (ttft, tpot) = (full.ttft_ms.tokens, full.tpot_ms.tokens);
    [
        map(latencies, "TTFT", ttft, |share| share.ttft, |at, n| at.ttft_ms.millis(n)),
        map(latencies, "TPOT", tpot, |share| share.tpot, |at, n| at.tpot_ms.millis(n)),
    ]
}

fn map(
    latencies: &FamilyLatency,
    measure: &str,
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
        columns: lengths.iter().map(u32::to_string).collect(),
        rows: latencies.levels.iter().zip(&shares).map(label).collect(),
        cells,
        sideways: false,
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

/// Hardware, runtime, how well the curves fit, and where they come from.
fn words(profile: &DeviceProfile, latencies: &FamilyLatency) -> String {
    let runtime = &profile.runtime;
    let worst = |fit: fn(&LevelLatency) -> Option<FitError>| {
        let errors = latencies.levels.iter().filter_map(fit).map(|error| error.max_relative);
        errors.reduce(f64::max).map(|share| format!("{:.1} %", 100.0 * share))
    };
    let fit = worst(|level| level.ttft_ms.fit_error).zip(worst(|level| level.tpot_ms.fit_error));
    let fit = fit.map_or_else(String::new, |(ttft, tpot)| {
        format!(" fitted curves, at most {ttft} (TTFT) and {tpot} (TPOT) from a measured median;")
    });
    let version = runtime.version.as_ref().map_or_else(String::new, |v| format!(", version {v}"));
    let threads = runtime.threads.map_or_else(String::new, |n| format!(", {n} threads"));
    format!(
        "{}: {}; {}{version}{threads}, {};{fit} {}.",
        profile.name,
        profile.hardware.cpu,
        runtime.name,
        runtime.precision,
        provenance(&latencies.provenance)
    )
}

fn provenance(provenance: &Provenance) -> String {
    let label = provenance.label();
    match provenance {
        Provenance::Measured { date, .. } => format!("{label} {date}"),
        Provenance::Published { sources, .. } => format!("{label}, {}", sources.join(", ")),
        Provenance::Modelled { formula, anchors, .. } => {
            format!("{label}, {formula}, on {} anchors named in the profile", anchors.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    #[test]
    fn lengths_are_powers_of_two_within_what_was_measured() {
        assert_eq!(powers_of_two(TokenRange { min: 16, max: 100 }), [16, 32, 64]);
        assert_eq!(powers_of_two(TokenRange { min: 17, max: 31 }), [17, 31]);
    }

    #[test]
    fn committed_devices_are_drawn_with_their_shares_and_what_they_were_modelled_on() {
        let of = |device: &str, base_model: &str| LatencyInput {
            device: format!("device-profiles/{device}").into(),
            base_model: base_model.to_owned(),
            family: "width".to_owned(),
        };
        let inputs = [of("mi-14", "llama-7b"), of("epyc-zen5-2core", "smollm2-135m-instruct")];
        let folder = tempfile::tempdir().unwrap();
        for width_mm in [84.0, 178.0] {
            let press = press(folder.path(), FigureStyle { width_mm, ..FigureStyle::default() });
            draw_latency_maps(&inputs, &press).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("latency.svg")).unwrap();
            for words in ["mi-14, llama-7b", "TTFT, s", "100 / 100 / 100", "modelled, TTFT = c"] {
                assert!(svg.contains(words), "{words}");
            }
        }
    }

    #[test]
    fn values_have_three_digits() {
        let shown = [0.123, 9.994, 12.34, 99.96, 1234.0].map(three_digits);
        assert_eq!(shown, ["0.12", "9.99", "12.3", "100", "1234"]);
    }
}
