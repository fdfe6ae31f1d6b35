//! How near simulated runs are to real ones: predicted beside measured, beside how much measured
//! times differ among themselves.
//!
//! Several runs of one experiment on a real engine answer the same requests under the same plans.
//! What a time is off by is |measured / predicted − 1|; its noise floor is |measured / median − 1|
//! over the runs: no prediction that is one number can do better than about that. The device's own
//! `[noise]` foretells how times spread, and so the chance of each bound to be met.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use table::{fidelity_csv, fidelity_text};

use crate::error::{Error, Result};
use crate::metrics::quantile;
use crate::profile::{DeviceProfile, Noise};
use crate::request::Bounds;
use crate::results::{Prediction, ResultsFolder, StoredRun, read_predictions};
use crate::units::millis;

/// The share of measured times that predicted intervals are to have in them.
pub const INTERVAL: f64 = 0.9;

/// Prompts up to so many tokens are one group.
const LENGTHS: [u32; 4] = [64, 256, 512, u32::MAX];

/// What runs of one experiment on a real engine say of its simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// Real runs that were compared.
    pub runs: usize,
    /// All answers, then by method, by level and by tokens read.
    pub rows: Vec<FidelityRow>,
    /// Methods, those of largest accuracy@SLO first: as foretold, as measured.
    pub orders: [Vec<String>; 2],
    /// Kendall's τ of the two: 1 for one order, −1 for the opposite.
    pub kendall: Option<f64>,
}

/// What a group of answers shows. Shares are in percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FidelityRow {
    /// What they have in common: `all`, `method`, `level`, `tokens`.
    pub by: &'static str,
    /// Which.
    pub name: String,
    /// Answers, over all runs.
    pub answers: usize,
    /// Of the times to the first token.
    pub ttft: PhaseFit,
    /// Of the times per output token.
    pub tpot: PhaseFit,
    /// Both bounds met, were all times as foretold.
    pub attainment_as_forecast: f64,
    /// Both bounds met, as the device's noise foretells it.
    pub attainment_predicted: f64,
    /// Both bounds met.
    pub attainment_measured: f64,
    /// Answered rightly within both, as foretold.
    pub accuracy_predicted: f64,
    /// Answered rightly within both.
    pub accuracy_measured: f64,
}

/// How near times of a phase are to what was foretold, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PhaseFit {
    /// Mean of measured / predicted − 1.
    pub bias: f64,
    /// Mean of |measured / predicted − 1|.
    pub error: f64,
    /// Mean of |measured / median of the runs − 1|.
    pub floor: f64,
    /// Those within the interval that was foretold for [`INTERVAL`] of them.
    pub covered: f64,
}

/// One answer.
struct Answer {
    method: String,
    level: u16,
    tokens: u32,
    ttft: Option<Time>,
    tpot: Option<Time>,
    /// Whether both bounds are met, were it as foretold; its chance; whether they were.
    met: [f64; 3],
    /// How right it is by the table, and was.
    grades: [f64; 2],
}

/// A time that was foretold and measured, in ms.
#[derive(Clone, Copy)]
struct Time {
    predicted: f64,
    measured: f64,
    /// The median of all runs' for this request under this plan.
    middle: f64,
    is_covered: bool,
}

impl Fidelity {
    /// Compares the results folders `runs` of one experiment with the noise of the device that it
    /// was foretold for, whose profile is in the folder `device`.
    ///
    /// # Errors
    /// If there are fewer than two runs, one is of another experiment or has no predictions or no
    /// outcomes, an objective is none on latency, or the profile says nothing of noise.
    pub fn of(runs: &[PathBuf], device: &Path) -> Result<Self> {
        if runs.len() < 2 {
            return Err(Error::new("real runs", "too few to know their noise floor")
                .found(runs.len())
                .allowed("two or more results folders of one experiment"));
        }
        let profile = DeviceProfile::load(device)?;
        let noise = profile.noise.as_ref().ok_or_else(|| {
            Error::file(&device.join("device.toml"), "does not say how times vary")
                .allowed("a section [noise], as `pliant profile latency` writes it")
        })?;
        let mut found = Vec::new();
        let mut first = None;
        for run in runs {
            let folder = ResultsFolder::load(run)?;
            let experiment = folder.manifest.experiment.clone();
            let of_first = first.get_or_insert_with(|| experiment.clone());
            if *of_first != experiment {
                return Err(Error::file(run, "results of another experiment than the first run's")
                    .found(experiment)
                    .allowed(&*of_first));
            }
            let predictions = read_predictions(run)?;
            if let Some(other) = predictions.iter().find(|one| one.device != profile.name) {
                return Err(Error::file(run, "was foretold for another device")
                    .found(&other.device)
                    .allowed(&profile.name));
            }
            found.push((folder, predictions));
        }
        let answers = answers(&found, noise)?;
        Ok(Self::over(runs.len(), &answers))
    }

    fn over(runs: usize, answers: &[Answer]) -> Self {
        let mut rows =
            vec![FidelityRow::of("all", "all".to_owned(), &answers.iter().collect::<Vec<_>>())];
        let mut methods = Vec::new();
        for answer in answers {
            if !methods.contains(&answer.method) {
                methods.push(answer.method.clone());
            }
        }
        let mut add = |by: &'static str, name: String, is: &dyn Fn(&&Answer) -> bool| {
            let group: Vec<_> = answers.iter().filter(is).collect();
            if !group.is_empty() {
                rows.push(FidelityRow::of(by, name, &group));
            }
        };
        for method in &methods {
            add("method", method.clone(), &|answer| answer.method == *method);
        }
        for level in (0..=100).rev() {
            add("level", level.to_string(), &|answer| answer.level == level);
        }
        let mut above = 0;
        for most in LENGTHS {
            let name = match most {
                u32::MAX => format!("over {above}"),
                _ => format!("{} to {most}", above + 1),
            };
            add("tokens", name, &|answer| (above < answer.tokens) && (answer.tokens <= most));
            above = most;
        }
        let of_method: Vec<_> = rows.iter().filter(|row| row.by == "method").collect();
        let order = |value: fn(&FidelityRow) -> f64| {
            let mut sorted = of_method.clone();
            sorted.sort_by(|a, b| value(b).total_cmp(&value(a)));
            sorted.iter().map(|row| row.name.clone()).collect()
        };
        let orders = [order(|row| row.accuracy_predicted), order(|row| row.accuracy_measured)];
        let pairs: Vec<_> =
            of_method.iter().map(|row| (row.accuracy_predicted, row.accuracy_measured)).collect();
        Self { runs, kendall: kendall(&pairs), orders, rows }
    }
}

/// Which answers are of one request under one plan.
type Same = (String, u64, u64, u16, u64);

fn same(row: &Prediction) -> Same {
    let Prediction { method, seed, id, level_percent, prompt_ratio, .. } = row;
    (method.clone(), *seed, *id, *level_percent, prompt_ratio.to_bits())
}

fn answers(runs: &[(ResultsFolder, Vec<Prediction>)], noise: &Noise) -> Result<Vec<Answer>> {
    let mut times = BTreeMap::<Same, [Vec<f64>; 2]>::new();
    for row in runs.iter().flat_map(|(_, rows)| rows) {
        let [ttft, tpot] = times.entry(same(row)).or_default();
        ttft.push(row.ttft_ms_measured);
        tpot.extend(row.tpot_ms_measured);
    }
    let intervals = noise.interval(INTERVAL);
    let mut answers = Vec::new();
    for (folder, rows) in runs {
        let bounds = bounds(folder)?;
        for row in rows {
            let key = (row.method.clone(), row.seed, row.id);
            let (bound, met) = *bounds.get(&key).ok_or_else(|| {
                Error::file(&folder.path.join("outcomes"), "lack a request")
                    .found(format!("method {}, seed {}, request {}", row.method, row.seed, row.id))
                    .allowed("outcomes = \"all\" in the experiment")
            })?;
            answers.push(answer(row, &times[&same(row)], (bound, met), (noise, &intervals)));
        }
    }
    Ok(answers)
}

/// Bounds on TTFT and TPOT in ms and whether both were met, by method, seed and request.
type Met = BTreeMap<(String, u64, u64), ((f64, f64), bool)>;

fn bounds(folder: &ResultsFolder) -> Result<Met> {
    let mut bounds = Met::new();
    for row in &folder.rows {
        for run in StoredRun::load_all(&folder.path.join("outcomes"), &row.label)? {
            for outcome in &run.outcomes {
                let Bounds::Latency { ttft, tpot } = outcome.bounds else {
                    return Err(Error::file(&folder.path, "an objective is none on latency")
                        .at(format!("request {}", outcome.request.id))
                        .allowed("objectives on TTFT and TPOT"));
                };
                let key = (row.label.method.clone(), run.seed, outcome.request.id);
                bounds.insert(key, ((millis(ttft), millis(tpot)), outcome.slo_met()));
            }
        }
    }
    Ok(bounds)
}

fn answer(
    row: &Prediction,
    [ttfts, tpots]: &[Vec<f64>; 2],
    ((ttft_bound, tpot_bound), was_met): ((f64, f64), bool),
    (noise, intervals): (&Noise, &[(f64, f64); 2]),
) -> Answer {
    let time = |predicted: f64, measured: f64, all: &[f64], (low, high): (f64, f64)| {
        let middle = quantile(&mut all.to_vec(), 0.5)?;
        let factor = measured / predicted;
        let is_covered = (low..=high).contains(&factor);
        (predicted > 0.0).then_some(Time { predicted, measured, middle, is_covered })
    };
    let ttft = time(row.ttft_ms_predicted, row.ttft_ms_measured, ttfts, intervals[0]);
    let tpot = row.tpot_ms_predicted.zip(row.tpot_ms_measured);
    let tpot = tpot.and_then(|(predicted, was)| time(predicted, was, tpots, intervals[1]));
    let room = ttft.map_or(f64::INFINITY, |time| ttft_bound / time.predicted);
    let room_after = tpot.map(|time| tpot_bound / time.predicted);
    let as_forecast = room >= 1.0 && room_after.is_none_or(|room| room >= 1.0);
    let as_share = |is: bool| f64::from(u8::from(is));
    Answer {
        method: row.method.clone(),
        level: row.level_percent,
        tokens: row.kept_tokens,
        ttft,
        tpot,
        met: [as_share(as_forecast), noise.chance((room, room_after)), as_share(was_met)],
        grades: [row.correct_predicted, row.correct_measured].map(|grade| grade.unwrap_or(0.0)),
    }
}

impl FidelityRow {
    fn of(by: &'static str, name: String, answers: &[&Answer]) -> Self {
        let mean = |value: &dyn Fn(&Answer) -> f64| {
            let sum: f64 = answers.iter().map(|answer| value(answer)).sum();
            100.0 * sum / answers.len() as f64
        };
        let phase = |of: fn(&Answer) -> Option<Time>| {
            PhaseFit::of(&answers.iter().filter_map(|answer| of(answer)).collect::<Vec<_>>())
        };
        Self {
            by,
            name,
            answers: answers.len(),
            ttft: phase(|answer| answer.ttft),
            tpot: phase(|answer| answer.tpot),
            attainment_as_forecast: mean(&|answer| answer.met[0]),
            attainment_predicted: mean(&|answer| answer.met[1]),
            attainment_measured: mean(&|answer| answer.met[2]),
            accuracy_predicted: mean(&|answer| answer.met[1] * answer.grades[0]),
            accuracy_measured: mean(&|answer| answer.met[2] * answer.grades[1]),
        }
    }
}

impl PhaseFit {
    fn of(times: &[Time]) -> Self {
        let mean = |value: fn(&Time) -> f64| {
            100.0 * times.iter().map(value).sum::<f64>() / times.len().max(1) as f64
        };
        Self {
            bias: mean(|time| time.measured / time.predicted - 1.0),
            error: mean(|time| (time.measured / time.predicted - 1.0).abs()),
            floor: mean(|time| (time.measured / time.middle - 1.0).abs()),
            covered: mean(|time| f64::from(u8::from(time.is_covered))),
        }
    }
}

/// Kendall's τ-b of pairs; `None` where one side is all alike.
fn kendall(pairs: &[(f64, f64)]) -> Option<f64> {
    let (mut agree, mut untied) = (0.0, [0.0; 2]);
    for (nth, a) in pairs.iter().enumerate() {
        for b in &pairs[..nth] {
            let signs = [a.0 - b.0, a.1 - b.1].map(|by| if by == 0.0 { 0.0 } else { by.signum() });
            agree += signs[0] * signs[1];
            untied[0] += signs[0].abs();
            untied[1] += signs[1].abs();
        }
    }
    (untied[0] > 0.0 && untied[1] > 0.0).then(|| agree / (untied[0] * untied[1]).sqrt())
}

#[cfg(test)]
mod tests;
