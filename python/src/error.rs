//! Errors of the library as `pliant.PliantError`, with their parts.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A `PliantError` of these parts; `None` where there is no such part.
pub fn raised(
    py: Python<'_>,
    problem: &str,
    [file, place, found, allowed]: [Option<&str>; 4],
) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let class = CLASS.get_or_try_init(py, || {
            let module = py.import("pliant._errors")?;
            module.getattr("PliantError").map(Bound::unbind)
        })?;
        let parts = PyDict::new(py);
        for (name, part) in [("file", file), ("place", place), ("found", found)] {
            parts.set_item(name, part)?;
        }
        parts.set_item("allowed", allowed)?;
        Ok(PyErr::from_value(class.bind(py).call((problem,), Some(&parts))?))
    };
    made().unwrap_or_else(|error| error)
}

/// Turns results of the library into those of Python.
pub trait OrRaise<T> {
    /// The value, or the error as an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for pliant::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let problem = format!("{}{}", error.problem(), cause.unwrap_or_default());
            let parts = [
                Some(error.subject()),
                error.place(),
                error.what_was_found(),
                error.what_is_allowed(),
            ];
            raised(py, &problem, parts)
        })
    }
}
