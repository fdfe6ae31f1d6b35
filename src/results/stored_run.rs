//! Reads back the outcomes of a run, request by request.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::metrics::{CellLabel, read_lines};
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::request::{AppId, Bounds, DatasetId, Limit, Request, Slo};
use crate::trace::index_of;
use crate::units::{Energy, Grade, Level, Milliwatts, Ratio, SimTime, nanos_of_decimal_millis};

/// What [`OutcomeCsv`](super::OutcomeCsv) wrote of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The cell of the experiment.
    pub label: CellLabel,
    /// Its seed.
    pub seed: u64,
    /// Names of apps, indexed by [`AppId`].
    pub apps: Vec<String>,
    /// Names of datasets, indexed by [`DatasetId`].
    pub datasets: Vec<String>,
    /// In service order, to the nanosecond.
    pub outcomes: Vec<Outcome>,
}

impl StoredRun {
    /// Reads every whole file of the cell `label` below the folder `outcomes`, by seed. A folder that
    /// is not there holds none.
    ///
    /// # Errors
    /// If a file cannot be read, lacks a column, or contradicts itself.
    pub fn load_all(outcomes: &Path, label: &CellLabel) -> Result<Vec<Self>> {
        let folder = outcomes.join(&label.method);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let unreadable = |error| Error::io(&folder, "cannot read", error);
        let mut seeds = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let name = name.to_string_lossy();
            let seed = name.strip_suffix(".csv").and_then(|name| name.rsplit_once("_seed"));
            let seed = seed.and_then(|(_, seed)| seed.parse().ok());
            seeds.extend(seed.filter(|&seed| label.run_file(seed).ends_with(&*name)));
        }
        seeds.sort_unstable();
        let load = |seed| Self::load(&outcomes.join(label.run_file(seed)), label.clone(), seed);
        seeds.into_iter().map(load).collect()
    }

    /// Reads the file `path` of the cell `label` under `seed`.
    ///
    /// # Errors
    /// If it cannot be read, lacks a column, or contradicts itself.
    pub fn load(path: &Path, label: CellLabel, seed: u64) -> Result<Self> {
        let mut run =
            Self { label, seed, apps: Vec::new(), datasets: Vec::new(), outcomes: Vec::new() };
        for (line, row) in read_lines::<Row>(path)? {
            let wrong = |problem: &str| Error::file(path, problem).at(format!("line {line}"));
            let app = index_of(&mut run.apps, &row.app).map(AppId);
            let dataset = index_of(&mut run.datasets, &row.dataset).map(DatasetId);
            let names = app.zip(dataset).ok_or_else(|| wrong("too many names"))?;
            let outcome = row.outcome(names).ok_or_else(|| {
                wrong("no outcome").allowed(
                    "shares from 0 to 1, bounds of one objective, no start before its arrival",
                )
            })?;
            if outcome.slo_met() != (row.slo_met == 1) {
                return Err(wrong("contradicts its own times and bounds")
                    .found(format!("slo_met {}", row.slo_met))
                    .allowed(u8::from(outcome.slo_met())));
            }
            run.outcomes.push(outcome);
        }
        Ok(run)
    }
}

/// A line. Columns that follow from these are not read, apart from the last.
#[derive(Debug, Deserialize)]
struct Row {
    id: u64,
    #[serde(deserialize_with = "nanos")]
    arrival_ms: u64,
    app: String,
    dataset: String,
    item: String,
    prompt_tokens: u32,
    output_tokens: u32,
    ttft_ratio: Option<f64>,
    tpot_ratio: Option<f64>,
    e2e_ratio: Option<f64>,
    energy_ratio: Option<f64>,
    #[serde(deserialize_with = "nanos_or_nothing")]
    ttft_bound_ms: Option<u64>,
    #[serde(deserialize_with = "nanos_or_nothing")]
    tpot_bound_ms: Option<u64>,
    #[serde(deserialize_with = "nanos_or_nothing")]
    e2e_bound_ms: Option<u64>,
    #[serde(deserialize_with = "nanos_or_nothing")]
    energy_bound_mj: Option<u64>,
    level_percent: u16,
    prompt_ratio: f64,
    #[serde(deserialize_with = "nanos")]
    start_ms: u64,
    #[serde(deserialize_with = "length")]
    decide_ms: Duration,
    #[serde(deserialize_with = "length")]
    compress_ms: Duration,
    #[serde(deserialize_with = "length")]
    switch_ms: Duration,
    #[serde(deserialize_with = "length")]
    prefill_ms: Duration,
    #[serde(deserialize_with = "length")]
    decode_ms: Duration,
    kept_tokens: u32,
    power_mw: Option<u32>,
    correct: Option<Grade>,
    slo_met: u8,
}

impl Row {
    /// The objective as stated and resolved.
    fn objective(&self) -> Option<(Slo, Bounds)> {
        let time = Duration::from_nanos;
        let bounds = (self.ttft_bound_ms, self.tpot_bound_ms, self.e2e_bound_ms);
        Some(match (bounds, self.energy_bound_mj) {
            ((Some(ttft), Some(tpot), None), None) => {
                let (ttft, tpot) = (time(ttft), time(tpot));
                let slo = match self.ttft_ratio.zip(self.tpot_ratio) {
                    Some((of_ttft, of_tpot)) => {
                        Slo::Relative { ttft: Ratio::exact(of_ttft)?, tpot: Ratio::exact(of_tpot)? }
                    }
                    None => Slo::Absolute { ttft, tpot },
                };
                (slo, Bounds::Latency { ttft, tpot })
            }
            ((None, None, Some(bound)), None) => {
                let bound = time(bound);
                (Slo::EndToEnd(limit(self.e2e_ratio, bound)?), Bounds::EndToEnd(bound))
            }
            ((None, None, None), Some(bound)) => {
                let bound = Energy::from_nanojoules(bound);
                (Slo::Energy(limit(self.energy_ratio, bound)?), Bounds::Energy(bound))
            }
            _ => return None,
        })
    }

    /// `None` if a share is out of range, bounds are not those of one objective or the start
    /// precedes the arrival.
    fn outcome(&self, (app, dataset): (AppId, DatasetId)) -> Option<Outcome> {
        let (slo, bounds) = self.objective()?;
        let request = Request {
            id: self.id,
            arrival: SimTime::from_nanos(self.arrival_ms),
            app,
            dataset,
            item: ItemId::parse(&self.item).ok()?,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            slo,
        };
        let execution = Execution {
            decide: self.decide_ms,
            compress: self.compress_ms,
            switch: self.switch_ms,
            prefill: self.prefill_ms,
            decode: self.decode_ms,
            kept_tokens: self.kept_tokens,
            correct: self.correct,
            power: self.power_mw.map(Milliwatts::new),
        };
        let level = (self.level_percent <= 100).then(|| Level::percent(self.level_percent))?;
        let plan = Plan { level, prompt_ratio: Ratio::exact(self.prompt_ratio)? };
        let start = SimTime::from_nanos(self.start_ms);
        (start >= request.arrival).then_some(Outcome { request, bounds, plan, start, execution })
    }
}

fn limit<T>(share: Option<f64>, bound: T) -> Option<Limit<T>> {
    Some(match share {
        Some(share) => Limit::Share(Ratio::exact(share)?),
        None => Limit::Absolute(bound),
    })
}

/// Nanoseconds of a cell in ms, nanojoules of one in mJ.
fn nanos_or_nothing<'de, D: Deserializer<'de>>(cell: D) -> Result<Option<u64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(cell)? else { return Ok(None) };
    nanos_of_decimal_millis(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("not a decimal number of ms or mJ"))
}

fn nanos<'de, D: Deserializer<'de>>(cell: D) -> Result<u64, D::Error> {
    let text = String::deserialize(cell)?;
    nanos_of_decimal_millis(&text)
        .ok_or_else(|| serde::de::Error::custom("not a decimal number of milliseconds"))
}

fn length<'de, D: Deserializer<'de>>(cell: D) -> Result<Duration, D::Error> {
    nanos(cell).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::OutcomeCsv;
    use crate::sim::OutcomeSink as _;
    use crate::trace::Trace;

    fn label() -> CellLabel {
        CellLabel {
            method: "full".to_owned(),
            alpha: -0.25,
            device: "phone".to_owned(),
            latency_of: "large_model".to_owned(),
            base_model: "small".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        }
    }

    /// Writes requests with each kind of objective, with odd nanoseconds, under `seed`.
    fn write(folder: &Path, seed: u64) -> StoredRun {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let trace = Trace {
            apps: names(["Mail, new", "Rewind"]),
            datasets: names(["piqa", "sciq"]),
            ..Trace::default()
        };
        let outcome = |id: u64, slo: Slo, bounds, correct: Option<bool>| Outcome {
            request: Request {
                id,
                arrival: SimTime::from_nanos(1_000_001),
                app: AppId(id.min(1) as u16),
                dataset: DatasetId(id.min(1) as u16),
                item: 7.into(),
                prompt_tokens: 90,
                output_tokens: 3,
                slo,
            },
            bounds,
            plan: Plan { level: Level::percent(30), prompt_ratio: Ratio::percent(40) },
            start: SimTime::from_nanos(1_000_002),
            execution: Execution {
                decide: Duration::from_nanos(1),
                prefill: Duration::from_nanos(3),
                decode: Duration::from_nanos(10),
                kept_tokens: 36,
                power: Some(Milliwatts::new(2000)),
                correct: correct.map(Grade::from),
                ..Execution::default()
            },
        };
        let (ttft, tpot) = (Duration::from_nanos(9), Duration::from_nanos(8));
        let pair = Bounds::Latency { ttft, tpot };
        let share = Ratio::percent(20);
        let relative = Slo::Relative { ttft: share, tpot: Ratio::percent(50) };
        let (end_to_end, energy) =
            (Slo::EndToEnd(Limit::Share(share)), Slo::Energy(Limit::Share(share)));
        let (late, drawn) = (Duration::from_nanos(14), Energy::from_nanojoules(27));
        let outcomes = vec![
            outcome(0, relative, pair, Some(true)),
            outcome(1, Slo::Absolute { ttft, tpot }, pair, None),
            outcome(2, end_to_end, Bounds::EndToEnd(late), None),
            outcome(3, Slo::EndToEnd(Limit::Absolute(late)), Bounds::EndToEnd(late), None),
            outcome(4, energy, Bounds::Energy(drawn), None),
            outcome(5, Slo::Energy(Limit::Absolute(drawn)), Bounds::Energy(drawn), None),
        ];
        let mut file = OutcomeCsv::create(&folder.join(label().run_file(seed)), &trace, 1).unwrap();
        for outcome in &outcomes {
            file.record(outcome).unwrap();
        }
        file.finish().unwrap();
        StoredRun { label: label(), seed, apps: trace.apps, datasets: trace.datasets, outcomes }
    }

    #[test]
    fn runs_come_back_as_written_by_seed_and_partial_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let written = [write(folder.path(), 2), write(folder.path(), 10)];
        std::fs::write(folder.path().join("full/phone_alpha0_seed3.csv.partial"), "").unwrap();
        std::fs::write(folder.path().join("full/other_alpha-0.25_seed3.csv"), "").unwrap();
        assert_eq!(StoredRun::load_all(folder.path(), &label()).unwrap(), written);
        let absent = StoredRun::load_all(&folder.path().join("absent"), &label()).unwrap();
        assert_eq!(absent, []);
    }

    #[test]
    fn a_file_that_contradicts_itself_or_lacks_a_column_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0);
        let path = folder.path().join(label().run_file(0));
        let text = std::fs::read_to_string(&path).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            StoredRun::load_all(folder.path(), &label()).unwrap_err().to_string()
        };
        let message = refused(",1\n", ",0\n");
        assert!(message.ends_with("found slo_met 0; allowed: 1"), "{message}");
        let message = refused(",1.000002,", ",1,");
        assert!(message.contains("line 2: no outcome; allowed: shares"), "{message}");
        let message = refused("decode_ms", "decoding_ms");
        assert!(message.ends_with("missing field `decode_ms`"), "{message}");
        let message = refused(",0.00001,", ",1e-5,");
        assert!(message.contains("not a decimal number of milliseconds"), "{message}");
    }
}
