//! Measures of a cell of an experiment under one seed.

use serde::{Deserialize, Serialize};

use super::measures::RunMeasures;
use super::row::CellLabel;

/// One row of `seeds.csv`: what one replication of a cell shows. Shares are in [0, 1].
///
/// These are the values that the means and intervals of a [`MetricsRow`](super::MetricsRow) come
/// from, kept so that two runs under the same seeds can be compared seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRow {
    /// See [`CellLabel::method`].
    pub method: String,
    /// See [`CellLabel::alpha`].
    pub alpha: f64,
    /// See [`CellLabel::device`].
    pub device: String,
    /// See [`CellLabel::latency_of`].
    pub latency_of: String,
    /// See [`CellLabel::base_model`].
    pub base_model: String,
    /// The seed of trace and policy.
    pub seed: u64,
    /// See [`RunMeasures::accuracy`].
    pub accuracy: Option<f64>,
    /// See [`RunMeasures::accuracy_at_slo`].
    pub accuracy_at_slo: Option<f64>,
    /// See [`RunMeasures::attainment`].
    pub attainment: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p50`].
    pub ttft_ms_p50: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p95`].
    pub ttft_ms_p95: Option<f64>,
    /// See [`RunMeasures::tpot_ms_p50`].
    pub tpot_ms_p50: Option<f64>,
    /// See [`RunMeasures::switches`].
    pub switches: usize,
    /// See [`RunMeasures::requests`].
    pub requests: usize,
}

impl SeedRow {
    /// The row of the cell `label` under `seed`, whose replication was `run`.
    #[must_use]
    pub fn of(label: &CellLabel, seed: u64, run: &RunMeasures) -> Self {
        Self {
            method: label.method.clone(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            seed,
            accuracy: run.accuracy,
            accuracy_at_slo: run.accuracy_at_slo,
            attainment: run.attainment,
            ttft_ms_p50: run.ttft_ms_p50,
            ttft_ms_p95: run.ttft_ms_p95,
            tpot_ms_p50: run.tpot_ms_p50,
            switches: run.switches,
            requests: run.requests,
        }
    }
}
