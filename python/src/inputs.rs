//! Traces, devices and answers: read, checked, shown as columns.

use std::path::PathBuf;

use numpy::PyArray1;
use pliant::input::Input;
use pliant::profile::{DeviceProfile, QualityTable};
use pliant::prompt::{DataPaths, Item};
use pliant::request::{Limit, Request, Slo};
use pliant::trace::Trace;
use pliant::units::{Energy, millis};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{OrRaise as _, raised};

/// Requests in order of arrival.
#[pyclass(name = "Trace", module = "pliant._native", frozen)]
pub struct PyTrace {
    inner: Trace,
}

type Stated = (&'static str, fn(Slo) -> Option<f64>);

/// The columns of objectives; of each request some are known.
const OBJECTIVES: [Stated; 8] = [
    ("ttft_ratio", |slo| match slo {
        Slo::Relative { ttft, .. } => Some(ttft.as_f64()),
        _ => None,
    }),
    ("tpot_ratio", |slo| match slo {
        Slo::Relative { tpot, .. } => Some(tpot.as_f64()),
        _ => None,
    }),
    ("ttft_ms", |slo| match slo {
        Slo::Absolute { ttft, .. } => Some(millis(ttft)),
        _ => None,
    }),
    ("tpot_ms", |slo| match slo {
        Slo::Absolute { tpot, .. } => Some(millis(tpot)),
        _ => None,
    }),
    ("e2e_ratio", |slo| match slo {
        Slo::EndToEnd(Limit::Share(share)) => Some(share.as_f64()),
        _ => None,
    }),
    ("e2e_ms", |slo| match slo {
        Slo::EndToEnd(Limit::Absolute(time)) => Some(millis(time)),
        _ => None,
    }),
    ("energy_ratio", |slo| match slo {
        Slo::Energy(Limit::Share(share)) => Some(share.as_f64()),
        _ => None,
    }),
    ("energy_mj", |slo| match slo {
        Slo::Energy(Limit::Absolute(energy)) => Some(Energy::as_millijoules_f64(energy)),
        _ => None,
    }),
];

#[pymethods]
impl PyTrace {
    /// Reads the native file `path`.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: Trace::read(&path).or_raise(py)? })
    }

    /// Of the text of such a file, which messages call `name`.
    #[staticmethod]
    fn parse(py: Python<'_>, text: &str, name: &str) -> PyResult<Self> {
        Ok(Self { inner: Trace::of_input(&Input::of(name, text)).or_raise(py)? })
    }

    /// Writes it to `path`, packed if that ends in `.gz`.
    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.inner.write(&path).or_raise(py)
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn __len__(&self) -> usize {
        self.inner.requests.len()
    }

    /// Columns by name: arrays, or codes with their names.
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (trace, columns) = (&self.inner, PyDict::new(py));
        let requests = || trace.requests.iter();
        let whole =
            |value: fn(&Request) -> u64| PyArray1::from_vec(py, requests().map(value).collect());
        columns.set_item("id", whole(|one| one.id))?;
        let arrivals = requests().map(|one| one.arrival.as_millis_f64());
        columns.set_item("arrival_ms", PyArray1::from_vec(py, arrivals.collect()))?;
        let apps = requests().map(|one| i32::from(one.app.0));
        columns.set_item("app", (PyArray1::from_vec(py, apps.collect()), &trace.apps))?;
        let datasets = requests().map(|one| i32::from(one.dataset.0));
        let datasets = PyArray1::from_vec(py, datasets.collect());
        columns.set_item("dataset", (datasets, &trace.datasets))?;
        let items: Vec<String> = requests().map(|one| one.item.to_string()).collect();
        columns.set_item("item", items)?;
        columns.set_item("prompt_tokens", whole(|one| one.prompt_tokens.into()))?;
        columns.set_item("output_tokens", whole(|one| one.output_tokens.into()))?;
        for (name, value) in OBJECTIVES {
            let stated: Vec<f64> =
                requests().map(|one| value(one.slo).unwrap_or(f64::NAN)).collect();
            if stated.iter().any(|value| !value.is_nan()) {
                columns.set_item(name, PyArray1::from_vec(py, stated))?;
            }
        }
        columns.set_item("priority", whole(|one| one.terms.priority.into()))?;
        Ok(columns)
    }
}

/// How long things take on a device.
#[pyclass(name = "Device", module = "pliant._native", frozen)]
pub struct PyDevice {
    inner: DeviceProfile,
}

#[pymethods]
impl PyDevice {
    /// Reads `<folder>/device.toml`.
    #[staticmethod]
    fn read(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: DeviceProfile::load(&folder).or_raise(py)? })
    }

    /// Of what such a file states, as JSON; messages call it `name`.
    #[staticmethod]
    fn of_json(py: Python<'_>, json: &str, name: PathBuf) -> PyResult<Self> {
        let inner: DeviceProfile = serde_json::from_str(json).map_err(|error| {
            let file = name.display().to_string();
            raised(py, &error.to_string(), [Some(&file), None, None, None])
        })?;
        inner.check(&name).or_raise(py)?;
        Ok(Self { inner })
    }

    /// Writes `<folder>/device.toml`.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        std::fs::create_dir_all(&folder)?;
        self.inner.save(&folder).or_raise(py)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn to_json(&self) -> String {
        serde_json::to_string(&self.inner).expect("a profile is plain data")
    }
}

/// Checks the answers of `table` in the folder `dir`; returns the names of its datasets.
#[pyfunction]
pub fn check_answers(py: Python<'_>, dir: PathBuf, table: &str) -> PyResult<Vec<String>> {
    let table = QualityTable::load(&dir, table).or_raise(py)?;
    Ok(table.datasets().map(str::to_owned).collect())
}

/// By name of an item: its prompt, whole or, without `shots`, passage and question alone.
#[pyfunction]
pub fn prompts(
    py: Python<'_>,
    dataset: &str,
    shots: bool,
    package: Option<PathBuf>,
    droidtask: Option<PathBuf>,
) -> PyResult<Vec<(String, String)>> {
    let paths = DataPaths { package, droidtask };
    let dataset = py.detach(|| paths.load(dataset)).or_raise(py)?;
    let text = |item: &Item| if shots { dataset.render(item) } else { item.text() };
    Ok(dataset.items.iter().map(|item| (item.id.to_string(), text(item))).collect())
}

/// What `json` states, in TOML.
#[pyfunction]
pub fn toml_of(py: Python<'_>, json: &str) -> PyResult<String> {
    let wrong = |problem: String| raised(py, &problem, [Some("experiment"), None, None, None]);
    let value: toml::Table =
        serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    toml::to_string(&value).map_err(|error| wrong(error.to_string()))
}
