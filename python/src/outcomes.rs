//! Outcomes as columns, which `NumPy` takes over without a copy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use numpy::PyArray1;
use pliant::experiment::{Witness, Witnessed};
use pliant::item::ItemId;
use pliant::metrics::CellLabel;
use pliant::outcome::Outcome;
use pliant::request::{Bounds, Limit, Slo};
use pliant::units::{Energy, Ratio, millis};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asked::reward;

type Float = (&'static str, fn(&Outcome) -> f64);
type Named = (&'static str, fn(&CellLabel) -> &str);
type Whole = (&'static str, fn(&Outcome) -> u64);

/// Columns of numbers; what is not known is NaN.
const FLOATS: [Float; 24] = [
    ("arrival_ms", |one| one.request.arrival.as_millis_f64()),
    ("ttft_ratio", |one| shares(one.request.slo).0),
    ("tpot_ratio", |one| shares(one.request.slo).1),
    ("ttft_bound_ms", |one| bounds(one.bounds)[0]),
    ("tpot_bound_ms", |one| bounds(one.bounds)[1]),
    ("e2e_bound_ms", |one| bounds(one.bounds)[2]),
    ("energy_bound_mj", |one| bounds(one.bounds)[3]),
    ("level", |one| one.plan.level.share().as_f64()),
    ("prompt_ratio", |one| one.plan.prompt_ratio.as_f64()),
    ("start_ms", |one| one.start.as_millis_f64()),
    ("waited_ms", |one| millis(one.queued())),
    ("decide_ms", |one| millis(one.execution.decide)),
    ("compress_ms", |one| millis(one.execution.compress)),
    ("switch_ms", |one| millis(one.execution.switch)),
    ("prefill_ms", |one| millis(one.execution.prefill)),
    ("decode_ms", |one| millis(one.execution.decode)),
    ("ttft_ms", |one| millis(one.ttft())),
    ("tpot_ms", |one| one.tpot().map_or(f64::NAN, millis)),
    ("e2e_ms", |one| millis(one.end_to_end())),
    ("energy_mj", |one| one.energy().map_or(f64::NAN, Energy::as_millijoules_f64)),
    ("correct", |one| one.execution.correct.map_or(f64::NAN, f64::from)),
    ("slo_met", |one| f64::from(u8::from(one.slo_met()))),
    ("reward", reward),
    ("interruptions", |one| f64::from(one.interruptions.times)),
];

/// Columns of whole numbers.
const WHOLES: [Whole; 4] = [
    ("id", |one| one.request.id),
    ("prompt_tokens", |one| one.request.prompt_tokens.into()),
    ("output_tokens", |one| one.request.output_tokens.into()),
    ("kept_tokens", |one| one.execution.kept_tokens.into()),
];

fn shares(slo: Slo) -> (f64, f64) {
    match slo {
        Slo::Relative { ttft, tpot } => (ttft.as_f64(), tpot.as_f64()),
        Slo::EndToEnd(Limit::Share(share)) | Slo::Energy(Limit::Share(share)) => {
            (Ratio::as_f64(share), Ratio::as_f64(share))
        }
        _ => (f64::NAN, f64::NAN),
    }
}

/// Of TTFT, TPOT, end to end, energy.
fn bounds(bounds: Bounds) -> [f64; 4] {
    let mut all = [f64::NAN; 4];
    match bounds {
        Bounds::Latency { ttft, tpot } => (all[0], all[1]) = (millis(ttft), millis(tpot)),
        Bounds::EndToEnd(bound) => all[2] = millis(bound),
        Bounds::Energy(bound) => all[3] = bound.as_millijoules_f64(),
    }
    all
}

/// One run's columns.
#[derive(Debug)]
struct Run {
    label: CellLabel,
    seed: u64,
    apps: Vec<String>,
    datasets: Vec<String>,
    /// By request.
    named: Vec<(u16, u16)>,
    items: Vec<ItemId>,
    floats: [Vec<f64>; FLOATS.len()],
    wholes: [Vec<u64>; WHOLES.len()],
}

/// The outcomes of all runs, as they come.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<Vec<Run>>);

impl Witness for Outcomes {
    fn take(&self, run: Witnessed<'_>) {
        let Witnessed { label, seed, trace, outcomes, .. } = run;
        let request = |one: &Outcome| one.request;
        let run = Run {
            label: label.clone(),
            seed,
            apps: trace.apps.clone(),
            datasets: trace.datasets.clone(),
            named: outcomes.iter().map(request).map(|of| (of.app.0, of.dataset.0)).collect(),
            items: outcomes.iter().map(|one| one.request.item).collect(),
            floats: FLOATS.map(|(_, value)| outcomes.iter().map(value).collect()),
            wholes: WHOLES.map(|(_, value)| outcomes.iter().map(value).collect()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }
}

/// Labels by number, in the order in which they are first met.
#[derive(Default)]
struct Labels {
    names: Vec<String>,
    codes: Vec<i32>,
}

impl Labels {
    fn code(&mut self, name: &str) -> i32 {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }) as i32
    }

    fn push(&mut self, name: &str, times: usize) {
        let code = self.code(name);
        self.codes.extend(std::iter::repeat_n(code, times));
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        (PyArray1::from_vec(py, self.codes), self.names).into_pyobject(py).map(Bound::into_any)
    }
}

impl Outcomes {
    /// Columns by name, in the order of `cells`, then of seeds: arrays, or codes with their names.
    pub fn into_columns<'py>(
        self,
        py: Python<'py>,
        cells: &[CellLabel],
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut runs = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let place = |run: &Run| cells.iter().position(|cell| alike(cell, &run.label));
        runs.retain(|run| place(run).is_some());
        runs.sort_by_key(|run| (place(run), run.seed));
        let columns = PyDict::new(py);
        let of_cells: [Named; 4] = [
            ("method", |label| &label.method),
            ("device", |label| &label.device),
            ("latency_of", |label| &label.latency_of),
            ("base_model", |label| &label.base_model),
        ];
        for (name, value) in of_cells {
            let mut labels = Labels::default();
            for run in &runs {
                labels.push(value(&run.label), run.named.len());
            }
            columns.set_item(name, labels.into_python(py)?)?;
        }
        let of_run = |run: &Run, value: f64| std::iter::repeat_n(value, run.named.len());
        let alpha = runs.iter().flat_map(|run| of_run(run, run.label.alpha));
        columns.set_item("alpha", PyArray1::from_vec(py, alpha.collect()))?;
        let seeds = runs.iter().flat_map(|run| std::iter::repeat_n(run.seed, run.named.len()));
        columns.set_item("seed", PyArray1::from_vec(py, seeds.collect()))?;
        names(py, &runs, &columns)?;
        for (nth, (name, _)) in WHOLES.iter().enumerate() {
            let whole = joined(&mut runs, |run| &mut run.wholes[nth]);
            columns.set_item(*name, PyArray1::from_vec(py, whole))?;
        }
        for (nth, (name, _)) in FLOATS.iter().enumerate() {
            let float = joined(&mut runs, |run| &mut run.floats[nth]);
            columns.set_item(*name, PyArray1::from_vec(py, float))?;
        }
        Ok(columns)
    }
}

/// A column of all runs, of which nothing is copied if there is but one.
fn joined<T: Copy>(runs: &mut [Run], column: impl Fn(&mut Run) -> &mut Vec<T>) -> Vec<T> {
    let mut parts = runs.iter_mut().map(|run| std::mem::take(column(run)));
    let mut all = parts.next().unwrap_or_default();
    let rest: Vec<_> = parts.collect();
    all.reserve_exact(rest.iter().map(Vec::len).sum());
    for part in rest {
        all.extend_from_slice(&part);
    }
    all
}

fn alike(a: &CellLabel, b: &CellLabel) -> bool {
    a.run_file(0) == b.run_file(0)
}

/// The columns `app`, `dataset` and `item`.
fn names(py: Python<'_>, runs: &[Run], columns: &Bound<'_, PyDict>) -> PyResult<()> {
    let (mut apps, mut datasets) = (Labels::default(), Labels::default());
    for run in runs {
        let of_apps: Vec<i32> = run.apps.iter().map(|name| apps.code(name)).collect();
        let of_sets: Vec<i32> = run.datasets.iter().map(|name| datasets.code(name)).collect();
        apps.codes.extend(run.named.iter().map(|named| of_apps[usize::from(named.0)]));
        datasets.codes.extend(run.named.iter().map(|named| of_sets[usize::from(named.1)]));
    }
    columns.set_item("app", apps.into_python(py)?)?;
    columns.set_item("dataset", datasets.into_python(py)?)?;
    columns.set_item("item", items(runs).into_python(py)?)
}

/// Which items were asked, by number.
fn items(runs: &[Run]) -> Labels {
    let (mut labels, mut codes) = (Labels::default(), BTreeMap::new());
    for &item in runs.iter().flat_map(|run| &run.items) {
        let code = *codes.entry(item).or_insert_with(|| {
            labels.names.push(item.to_string());
            labels.names.len() as i32 - 1
        });
        labels.codes.push(code);
    }
    labels
}
