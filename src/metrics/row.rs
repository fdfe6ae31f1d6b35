//! Measures of a cell of an experiment over its seeds, and differences between methods.

use serde::{Deserialize, Serialize};

use super::measures::RunMeasures;
use super::statistics::{Interval, bootstrap_mean_95, mean};

/// Which cell of an experiment: everything but the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct CellLabel {
    /// Name of the method.
    pub method: String,
    /// Skew of the trace's SLO levels.
    pub alpha: f64,
    /// Whose hardware.
    pub device: String,
    /// The model whose latencies were billed.
    pub latency_of: String,
    /// The model whose answers were judged.
    pub base_model: String,
    /// Where the numbers come from, such as `latency modelled, answers measured`.
    pub provenance: String,
}

/// One row of `metrics.csv`: a cell's measures, each the mean over its replications.
///
/// A mean leaves out replications in which the measure is absent. Shares are in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsRow {
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
    /// See [`RunMeasures::accuracy`].
    pub accuracy: Option<f64>,
    /// See [`RunMeasures::accuracy_at_slo`].
    pub accuracy_at_slo: Option<f64>,
    /// Lower end of the 95 % bootstrap interval of `accuracy_at_slo` over replications.
    pub accuracy_at_slo_lo: Option<f64>,
    /// Upper end of that interval.
    pub accuracy_at_slo_hi: Option<f64>,
    /// See [`RunMeasures::attainment`].
    pub attainment: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p50`].
    pub ttft_ms_p50: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p95`].
    pub ttft_ms_p95: Option<f64>,
    /// See [`RunMeasures::tpot_ms_p50`].
    pub tpot_ms_p50: Option<f64>,
    /// See [`RunMeasures::switches`]; absent without replications.
    pub switches: Option<f64>,
    /// See [`CellLabel::provenance`].
    pub provenance: String,
    /// Replications behind the row.
    pub replications: usize,
    /// Requests that arrived, over all replications.
    pub requests: usize,
}

impl MetricsRow {
    /// The row of the cell `label` whose replications were `runs`.
    #[must_use]
    pub fn of(label: &CellLabel, runs: &[RunMeasures]) -> Self {
        let at_slo = present(runs, |run| run.accuracy_at_slo);
        let interval = bootstrap_mean_95(&at_slo);
        let mean_of = |measure: fn(&RunMeasures) -> Option<f64>| mean(&present(runs, measure));
        Self {
            method: label.method.clone(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            accuracy: mean_of(|run| run.accuracy),
            accuracy_at_slo: mean(&at_slo),
            accuracy_at_slo_lo: interval.map(|interval| interval.lo),
            accuracy_at_slo_hi: interval.map(|interval| interval.hi),
            attainment: mean_of(|run| run.attainment),
            ttft_ms_p50: mean_of(|run| run.ttft_ms_p50),
            ttft_ms_p95: mean_of(|run| run.ttft_ms_p95),
            tpot_ms_p50: mean_of(|run| run.tpot_ms_p50),
            switches: mean_of(|run| Some(run.switches as f64)),
            provenance: label.provenance.clone(),
            replications: runs.len(),
            requests: runs.iter().map(|run| run.requests).sum(),
        }
    }

    /// The interval of `accuracy_at_slo`, where there is one.
    #[must_use]
    pub fn accuracy_at_slo_interval(&self) -> Option<Interval> {
        Some(Interval { lo: self.accuracy_at_slo_lo?, hi: self.accuracy_at_slo_hi? })
    }
}

fn present(runs: &[RunMeasures], measure: impl Fn(&RunMeasures) -> Option<f64>) -> Vec<f64> {
    runs.iter().filter_map(measure).collect()
}

/// One row of `differences.csv`: what a method gains over another on the same requests.
///
/// Seeds fix the requests, so the two methods of a seed met the same ones; the noise they share
/// cancels in the difference. Compare methods by this interval: those of two [`MetricsRow`]s may
/// overlap although one method wins under every seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedRow {
    /// The method.
    pub method: String,
    /// The method that it is compared with.
    pub against: String,
    /// See [`CellLabel::alpha`].
    pub alpha: f64,
    /// See [`CellLabel::device`].
    pub device: String,
    /// See [`CellLabel::latency_of`].
    pub latency_of: String,
    /// See [`CellLabel::base_model`].
    pub base_model: String,
    /// Mean over seeds of accuracy@SLO of `method` less that of `against`, a share in [−1, 1].
    pub gain: Option<f64>,
    /// Lower end of its 95 % bootstrap interval over seeds.
    pub gain_lo: Option<f64>,
    /// Upper end of that interval.
    pub gain_hi: Option<f64>,
    /// Seeds under which `method` was strictly better.
    pub wins: usize,
    /// Seeds compared.
    pub replications: usize,
    /// See [`CellLabel::provenance`].
    pub provenance: String,
}

impl PairedRow {
    /// Compares the `runs` of the cell `label` with those of the method `against` in the same
    /// cell. Both lists are in the order of the same seeds.
    ///
    /// # Panics
    /// If the lists differ in length.
    #[must_use]
    pub fn of(
        label: &CellLabel,
        runs: &[RunMeasures],
        against: &str,
        against_runs: &[RunMeasures],
    ) -> Self {
        assert_eq!(runs.len(), against_runs.len(), "paired methods ran under the same seeds");
        let gain = |(run, other): (&RunMeasures, &RunMeasures)| {
            Some(run.accuracy_at_slo? - other.accuracy_at_slo?)
        };
        let gains: Vec<f64> = runs.iter().zip(against_runs).filter_map(gain).collect();
        let interval = bootstrap_mean_95(&gains);
        Self {
            method: label.method.clone(),
            against: against.to_owned(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            gain: mean(&gains),
            gain_lo: interval.map(|interval| interval.lo),
            gain_hi: interval.map(|interval| interval.hi),
            wins: gains.iter().filter(|&&gain| gain > 0.0).count(),
            replications: gains.len(),
            provenance: label.provenance.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(method: &str) -> CellLabel {
        CellLabel {
            method: method.to_owned(),
            alpha: 0.25,
            device: "phone".to_owned(),
            latency_of: "large".to_owned(),
            base_model: "small".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        }
    }

    fn run(accuracy_at_slo: f64, switches: usize) -> RunMeasures {
        RunMeasures {
            requests: 600,
            accuracy_at_slo: Some(accuracy_at_slo),
            ttft_ms_p50: Some(100.0 * accuracy_at_slo),
            switches,
            ..RunMeasures::default()
        }
    }

    #[test]
    fn a_row_is_the_mean_over_replications_with_an_interval_around_it() {
        let row = MetricsRow::of(&label("full"), &[run(0.25, 1), run(0.75, 2)]);
        assert_eq!(row.accuracy_at_slo, Some(0.5));
        assert_eq!(row.accuracy_at_slo_interval(), Some(Interval { lo: 0.25, hi: 0.75 }));
        assert_eq!(row.ttft_ms_p50, Some(50.0));
        assert_eq!(row.switches, Some(1.5));
        assert_eq!((row.replications, row.requests), (2, 1200));
        assert_eq!(row.accuracy, None);
    }

    #[test]
    fn one_replication_has_no_interval_and_none_has_no_measures() {
        let one = MetricsRow::of(&label("full"), &[run(0.25, 1)]);
        assert_eq!((one.accuracy_at_slo, one.accuracy_at_slo_lo), (Some(0.25), None));
        let none = MetricsRow::of(&label("full"), &[]);
        assert_eq!((none.accuracy_at_slo, none.switches), (None, None));
    }

    /// Seeds move both methods by 0.5; the gain is 0.0625 under each of them.
    #[test]
    fn noise_shared_by_two_methods_cancels_in_their_difference() {
        let elastic = [run(0.3125, 0), run(0.8125, 0), run(0.5625, 0)];
        let full = [run(0.25, 0), run(0.75, 0), run(0.5, 0)];
        let paired = PairedRow::of(&label("elastic"), &elastic, "full", &full);
        assert_eq!(
            (paired.gain, paired.gain_lo, paired.gain_hi),
            (Some(0.0625), Some(0.0625), Some(0.0625))
        );
        assert_eq!((paired.wins, paired.replications), (3, 3));
        let separate =
            MetricsRow::of(&label("elastic"), &elastic).accuracy_at_slo_interval().unwrap();
        assert!(separate.lo < 0.5, "the unpaired interval reaches below the other method's mean");
    }
}
