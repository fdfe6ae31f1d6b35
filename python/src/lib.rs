//! The Python package: experiments, policies, outcomes and what they are made from, for Python.

mod asked;
mod bandit;
mod batch;
mod decide;
mod env;
mod error;
mod experiment;
mod inputs;
mod outcomes;
mod replay;
mod scenery;
mod shards;
mod stage;

use std::path::PathBuf;

use pliant::report::{Form, redraw};
use pyo3::prelude::*;

use error::OrRaise as _;

/// Draws the figures of the results folder `folder` into it, as `svg`, `png` or `pdf`.
#[pyfunction]
#[pyo3(name = "redraw")]
fn draw(py: Python<'_>, folder: PathBuf, form: &str) -> PyResult<String> {
    let form = match form {
        "png" => Form::Png,
        "pdf" => Form::Pdf,
        _ => Form::Svg,
    };
    py.detach(|| redraw(&folder, form)).or_raise(py)
}

/// Lays a project out in `folder` that needs nothing else; returns its experiment's path in it.
#[pyfunction]
fn demo(py: Python<'_>, folder: PathBuf) -> PyResult<&'static str> {
    pliant::demo::lay_out(&folder).or_raise(py)?;
    Ok(pliant::demo::EXPERIMENT)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::asked::{PyMenu, PyOutcome, PyRequest, PyService};
    #[pymodule_export]
    use super::bandit::bandit_log;
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::demo;
    #[pymodule_export]
    use super::draw;
    #[pymodule_export]
    use super::env::{EnvCore, VectorCore};
    #[pymodule_export]
    use super::experiment::PyExperiment;
    #[pymodule_export]
    use super::inputs::{PyDevice, PyTrace, check_answers, prompts, toml_of};
    #[pymodule_export]
    use super::shards::{PyShardPlan, merge_all, run_one};
}
