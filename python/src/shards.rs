//! Shards of an experiment: planned, worked off and merged, as the command line does it.

use std::path::PathBuf;

use pliant::experiment::{
    Merging, Shard, ShardPlan, Silent, Working, merge, run_shard, shard_plan, unfinished,
};
use pliant::origin::Commit;
use pyo3::prelude::*;

use crate::error::{OrRaise as _, raised};
use crate::experiment::PyExperiment;

/// How an experiment is divided.
#[pyclass(name = "ShardPlan", module = "pliant._native", frozen)]
pub struct PyShardPlan {
    inner: ShardPlan,
}

#[pymethods]
impl PyShardPlan {
    /// Divides `experiment` into `shards`.
    #[staticmethod]
    fn of(py: Python<'_>, experiment: &PyExperiment, shards: u32) -> PyResult<Self> {
        let planned = py.detach(|| shard_plan(&experiment.inner, shards));
        Ok(Self { inner: planned.or_raise(py)? })
    }

    /// Hash of all that the results depend on.
    #[getter]
    fn plan(&self) -> &str {
        &self.inner.plan
    }

    /// The commit that the hash is over, and whether sources differ from it.
    #[getter]
    fn commit(&self) -> Option<(&str, bool)> {
        self.inner.commit.as_ref().map(|commit| (&*commit.id, commit.sources_modified))
    }

    /// Files that its runs read, as the experiment states them.
    #[getter]
    fn inputs(&self) -> Vec<PathBuf> {
        self.inner.inputs.clone()
    }

    /// Requests of each shard.
    #[getter]
    fn requests(&self) -> Vec<u64> {
        self.inner.shards.iter().map(|size| size.requests).collect()
    }

    /// Shards that the folder `out` has not whole, as `2/8`.
    fn unfinished(
        &self,
        py: Python<'_>,
        experiment: &PyExperiment,
        out: PathBuf,
    ) -> PyResult<Vec<String>> {
        let missing =
            py.detach(|| unfinished(&experiment.inner, &self.inner, &out)).or_raise(py)?;
        Ok(missing.iter().map(Shard::to_string).collect())
    }
}

/// Works off the runs of `shard`, such as `2/8`, that the folder `out` lacks, on one thread, for a
/// program of `commit`. Returns how many runs it has, and how many were there.
#[pyfunction]
#[pyo3(name = "run_shard")]
pub fn run_one(
    py: Python<'_>,
    experiment: &PyExperiment,
    shard: &str,
    out: PathBuf,
    commit: Option<(String, bool)>,
) -> PyResult<(usize, usize)> {
    let shard: Shard = shard.parse().map_err(|allowed: String| {
        let allowed = allowed.trim_start_matches("allowed: ");
        raised(py, "is no shard", [Some("argument shard"), None, Some(shard), Some(allowed)])
    })?;
    let commit = commit.map(|(id, sources_modified)| Commit { id, sources_modified });
    let working = Working { out: &out, threads: 1, commit: commit.as_ref(), progress: &Silent };
    let done = py.detach(|| run_shard(&experiment.inner, shard, working)).or_raise(py)?;
    Ok((done.runs, done.were_there))
}

/// Puts the shards in `folders` together: the results folder `out`, which is returned.
#[pyfunction]
#[pyo3(name = "merge_shards")]
pub fn merge_all(
    py: Python<'_>,
    folders: Vec<PathBuf>,
    out: Option<PathBuf>,
    force: bool,
) -> PyResult<PathBuf> {
    let merging = Merging { out: out.as_deref(), force, draw: true };
    Ok(py.detach(|| merge(&folders, merging, &Silent)).or_raise(py)?.place)
}
