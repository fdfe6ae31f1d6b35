//! Reads back the outcomes of a run, request by request.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::row::CellLabel;
use super::table::read_lines;
use crate::error::{Error, Result};
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::request::{AppId, Bounds, DatasetId, Request, Slo};
use crate::trace::index_of;
use crate::units::{Level, Ratio, SimTime, nanos_of_decimal_millis};

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

    fn load(path: &Path, label: CellLabel, seed: u64) -> Result<Self> {
        let mut run =
            Self { label, seed, apps: Vec::new(), datasets: Vec::new(), outcomes: Vec::new() };
        for (line, row) in read_lines::<Row>(path, |_| Ok(()))? {
            let wrong = |problem: &str| Error::file(path, problem).at(format!("line {line}"));
            let app = index_of(&mut run.apps, &row.app).map(AppId);
            let dataset = index_of(&mut run.datasets, &row.dataset).map(DatasetId);
            let names = app.zip(dataset).ok_or_else(|| wrong("too many names"))?;
            let outcome = row.outcome(names).ok_or_else(|| {
                wrong("no outcome").allowed("shares from 0 to 1, and no start before its arrival")
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
    item: u32,
    prompt_tokens: u32,
    output_tokens: u32,
    ttft_ratio: Option<f64>,
    tpot_ratio: Option<f64>,
    #[serde(deserialize_with = "length")]
    ttft_bound_ms: Duration,
    #[serde(deserialize_with = "length")]
    tpot_bound_ms: Duration,
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
    correct: Option<u8>,
    slo_met: u8,
}

impl Row {
    /// `None` if a share is out of range or the start precedes the arrival.
    fn outcome(&self, (app, dataset): (AppId, DatasetId)) -> Option<Outcome> {
        let bounds = Bounds { ttft: self.ttft_bound_ms, tpot: self.tpot_bound_ms };
        let slo = match self.ttft_ratio.zip(self.tpot_ratio) {
            Some((ttft, tpot)) => {
                Slo::Relative { ttft: Ratio::new(ttft)?, tpot: Ratio::new(tpot)? }
            }
            None => Slo::Absolute { ttft: bounds.ttft, tpot: bounds.tpot },
        };
        let request = Request {
            id: self.id,
            arrival: SimTime::from_nanos(self.arrival_ms),
            app,
            dataset,
            item: self.item,
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
            correct: self.correct.map(|correct| correct == 1),
        };
        let level = (self.level_percent <= 100).then(|| Level::percent(self.level_percent))?;
        let plan = Plan { level, prompt_ratio: Ratio::new(self.prompt_ratio)? };
        let start = SimTime::from_nanos(self.start_ms);
        (start >= request.arrival).then_some(Outcome { request, bounds, plan, start, execution })
    }
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
    use crate::metrics::OutcomeCsv;
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

    /// Writes a relative and an absolute request, with odd nanoseconds, under `seed`.
    fn write(folder: &Path, seed: u64) -> StoredRun {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let trace = Trace {
            apps: names(["Mail, new", "Rewind"]),
            datasets: names(["piqa", "sciq"]),
            ..Trace::default()
        };
        let outcome = |id: u16, slo: Slo, correct| Outcome {
            request: Request {
                id: u64::from(id),
                arrival: SimTime::from_nanos(1_000_001),
                app: AppId(id),
                dataset: DatasetId(id),
                item: 7,
                prompt_tokens: 90,
                output_tokens: 3,
                slo,
            },
            bounds: Bounds { ttft: Duration::from_nanos(9), tpot: Duration::from_nanos(8) },
            plan: Plan { level: Level::percent(30), prompt_ratio: Ratio::percent(40) },
            start: SimTime::from_nanos(1_000_002),
            execution: Execution {
                decide: Duration::from_nanos(1),
                prefill: Duration::from_nanos(3),
                decode: Duration::from_nanos(10),
                kept_tokens: 36,
                correct,
                ..Execution::default()
            },
        };
        let bounds = (Duration::from_nanos(9), Duration::from_nanos(8));
        let slo = Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::percent(50) };
        let outcomes = vec![
            outcome(0, slo, Some(true)),
            outcome(1, Slo::Absolute { ttft: bounds.0, tpot: bounds.1 }, None),
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
