//! Measures of a cell of an experiment over its seeds, and differences between methods.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bootstrap::bca_mean_95;
use super::by_item::{ItemGains, ItemKey};
use super::estimate::Estimate;
use super::hypothesis::{Discordance, holm};
use super::measures::RunMeasures;
use super::statistics::{Interval, deviation, mean};

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

impl CellLabel {
    /// Where, within a folder for such files, the file of this cell's run under `seed` is.
    #[must_use]
    pub fn run_file(&self, seed: u64) -> PathBuf {
        let Self { method, alpha, device, latency_of, base_model, .. } = self;
        PathBuf::from(method)
            .join(format!("{device}_{latency_of}_{base_model}_alpha{alpha}_seed{seed}.csv"))
    }
}

/// One row of `metrics.csv`: a cell's measures, each the mean over its replications, with the ends
/// `…_lo` and `…_hi` of its 95 % percentile-bootstrap interval over them.
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
    /// Lower end of the interval of `accuracy`.
    pub accuracy_lo: Option<f64>,
    /// Upper end of that interval.
    pub accuracy_hi: Option<f64>,
    /// See [`RunMeasures::accuracy_at_slo`].
    pub accuracy_at_slo: Option<f64>,
    /// Lower end of the interval of `accuracy_at_slo`.
    pub accuracy_at_slo_lo: Option<f64>,
    /// Upper end of that interval.
    pub accuracy_at_slo_hi: Option<f64>,
    /// See [`RunMeasures::attainment`].
    pub attainment: Option<f64>,
    /// Lower end of the interval of `attainment`.
    pub attainment_lo: Option<f64>,
    /// Upper end of that interval.
    pub attainment_hi: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p50`].
    pub ttft_ms_p50: Option<f64>,
    /// Lower end of the interval of `ttft_ms_p50`.
    pub ttft_ms_p50_lo: Option<f64>,
    /// Upper end of that interval.
    pub ttft_ms_p50_hi: Option<f64>,
    /// See [`RunMeasures::ttft_ms_p95`].
    pub ttft_ms_p95: Option<f64>,
    /// Lower end of the interval of `ttft_ms_p95`.
    pub ttft_ms_p95_lo: Option<f64>,
    /// Upper end of that interval.
    pub ttft_ms_p95_hi: Option<f64>,
    /// See [`RunMeasures::tpot_ms_p50`].
    pub tpot_ms_p50: Option<f64>,
    /// Lower end of the interval of `tpot_ms_p50`.
    pub tpot_ms_p50_lo: Option<f64>,
    /// Upper end of that interval.
    pub tpot_ms_p50_hi: Option<f64>,
    /// See [`RunMeasures::switches`]; absent without replications.
    pub switches: Option<f64>,
    /// Lower end of the interval of `switches`.
    pub switches_lo: Option<f64>,
    /// Upper end of that interval.
    pub switches_hi: Option<f64>,
    /// See [`RunMeasures::fallbacks`].
    pub fallbacks: Option<f64>,
    /// Lower end of the interval of `fallbacks`.
    pub fallbacks_lo: Option<f64>,
    /// Upper end of that interval.
    pub fallbacks_hi: Option<f64>,
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
        let accuracy = Estimate::over(runs, |run| run.accuracy);
        let at_slo = Estimate::over(runs, |run| run.accuracy_at_slo);
        let attainment = Estimate::over(runs, |run| run.attainment);
        let ttft_p50 = Estimate::over(runs, |run| run.ttft_ms_p50);
        let ttft_p95 = Estimate::over(runs, |run| run.ttft_ms_p95);
        let tpot_p50 = Estimate::over(runs, |run| run.tpot_ms_p50);
        let switches = Estimate::over(runs, |run| Some(run.switches as f64));
        let fallbacks = Estimate::over(runs, |run| Some(run.fallbacks? as f64));
        Self {
            method: label.method.clone(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            accuracy: accuracy.mean,
            accuracy_lo: accuracy.lo,
            accuracy_hi: accuracy.hi,
            accuracy_at_slo: at_slo.mean,
            accuracy_at_slo_lo: at_slo.lo,
            accuracy_at_slo_hi: at_slo.hi,
            attainment: attainment.mean,
            attainment_lo: attainment.lo,
            attainment_hi: attainment.hi,
            ttft_ms_p50: ttft_p50.mean,
            ttft_ms_p50_lo: ttft_p50.lo,
            ttft_ms_p50_hi: ttft_p50.hi,
            ttft_ms_p95: ttft_p95.mean,
            ttft_ms_p95_lo: ttft_p95.lo,
            ttft_ms_p95_hi: ttft_p95.hi,
            tpot_ms_p50: tpot_p50.mean,
            tpot_ms_p50_lo: tpot_p50.lo,
            tpot_ms_p50_hi: tpot_p50.hi,
            switches: switches.mean,
            switches_lo: switches.lo,
            switches_hi: switches.hi,
            fallbacks: fallbacks.mean,
            fallbacks_lo: fallbacks.lo,
            fallbacks_hi: fallbacks.hi,
            provenance: label.provenance.clone(),
            replications: runs.len(),
            requests: runs.iter().map(|run| run.requests).sum(),
        }
    }

    /// The cell that the row is of.
    #[must_use]
    pub fn label(&self) -> CellLabel {
        CellLabel {
            method: self.method.clone(),
            alpha: self.alpha,
            device: self.device.clone(),
            latency_of: self.latency_of.clone(),
            base_model: self.base_model.clone(),
            provenance: self.provenance.clone(),
        }
    }

    /// The interval of `accuracy_at_slo`, where there is one.
    #[must_use]
    pub fn accuracy_at_slo_interval(&self) -> Option<Interval> {
        Some(Interval { lo: self.accuracy_at_slo_lo?, hi: self.accuracy_at_slo_hi? })
    }
}

/// One row of `paired.csv`: what a method gains over another on the same requests.
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
    /// Lower end of its 95 % BCa bootstrap interval over seeds.
    pub gain_lo: Option<f64>,
    /// Upper end of that interval.
    pub gain_hi: Option<f64>,
    /// Items that the requests compared asked for.
    pub items: usize,
    /// Lower end of the gain's 95 % percentile bootstrap interval over items ([`ItemGains`]).
    pub gain_items_lo: Option<f64>,
    /// Upper end of that interval.
    pub gain_items_hi: Option<f64>,
    /// Effect size: the gain in standard deviations of the gains of single seeds (Cohen's d of
    /// paired values); absent where these are equal.
    pub effect_dz: Option<f64>,
    /// Seeds under which `method` was strictly better.
    pub wins: usize,
    /// Seeds compared.
    pub replications: usize,
    /// Requests that both methods answered and that could be judged, over all seeds.
    pub requests: u64,
    /// Of these, those that only `method` answered correctly in time.
    pub only_method: u64,
    /// Those that only `against` did.
    pub only_against: u64,
    /// Two-sided p-value of McNemar's exact test on these two counts.
    pub mcnemar_p: Option<f64>,
    /// The same, adjusted by Holm's method for all rows of the file.
    pub mcnemar_p_holm: Option<f64>,
    /// See [`CellLabel::provenance`].
    pub provenance: String,
}

impl PairedRow {
    /// Compares the `runs` of the cell `label` with those of the method `against` in the same
    /// cell. Both lists are in the order of the same seeds, and so is `asked`: per seed, the item
    /// of each request in the order of the requests' ids. The adjusted p-value is that of a row
    /// alone in its file; see [`PairedRow::adjust`].
    ///
    /// # Panics
    /// If the lists differ in length.
    #[must_use]
    pub fn of(
        label: &CellLabel,
        runs: &[RunMeasures],
        against: &str,
        against_runs: &[RunMeasures],
        asked: &[Vec<ItemKey<'_>>],
    ) -> Self {
        assert_eq!(runs.len(), against_runs.len(), "paired methods ran under the same seeds");
        assert_eq!(runs.len(), asked.len(), "every run has its requests");
        let gain = |(run, other): (&RunMeasures, &RunMeasures)| {
            Some(run.accuracy_at_slo? - other.accuracy_at_slo?)
        };
        let gains: Vec<f64> = runs.iter().zip(against_runs).filter_map(gain).collect();
        let interval = bca_mean_95(&gains);
        let discordance = runs
            .iter()
            .zip(against_runs)
            .map(|(run, other)| Discordance::between(&run.answers, &other.answers))
            .fold(Discordance::default(), Discordance::and);
        let mut by_item = ItemGains::default();
        for (asked, (run, other)) in asked.iter().zip(runs.iter().zip(against_runs)) {
            by_item.record(asked, &run.answers, &other.answers);
        }
        let over_items = by_item.interval_95();
        let effect = |deviation: f64| (deviation > 0.0).then(|| Some(mean(&gains)? / deviation));
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
            items: by_item.items(),
            gain_items_lo: over_items.map(|interval| interval.lo),
            gain_items_hi: over_items.map(|interval| interval.hi),
            effect_dz: deviation(&gains).and_then(effect).flatten(),
            wins: gains.iter().filter(|&&gain| gain > 0.0).count(),
            replications: gains.len(),
            requests: discordance.requests,
            only_method: discordance.only_first,
            only_against: discordance.only_second,
            mcnemar_p: discordance.mcnemar_p(),
            mcnemar_p_holm: discordance.mcnemar_p(),
            provenance: label.provenance.clone(),
        }
    }

    /// Adjusts the p-values of `rows` for being looked at together.
    pub fn adjust(rows: &mut [Self]) {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.mcnemar_p).collect();
        let tested = rows.iter_mut().filter(|row| row.mcnemar_p.is_some());
        for (row, adjusted) in tested.zip(holm(&values)) {
            row.mcnemar_p_holm = Some(adjusted);
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
        let paired =
            PairedRow::of(&label("elastic"), &elastic, "full", &full, &[vec![], vec![], vec![]]);
        assert_eq!(
            (paired.gain, paired.gain_lo, paired.gain_hi),
            (Some(0.0625), Some(0.0625), Some(0.0625))
        );
        assert_eq!((paired.wins, paired.replications), (3, 3));
        assert_eq!((paired.effect_dz, paired.requests, paired.mcnemar_p), (None, 0, None));
        let separate =
            MetricsRow::of(&label("elastic"), &elastic).accuracy_at_slo_interval().unwrap();
        assert!(separate.lo < 0.5, "the unpaired interval reaches below the other method's mean");
    }

    /// Gains of 1, 2 and 3 eighths: a mean of ¼ and a deviation of ⅛. Under each seed the method
    /// answers 3 of 4 requests that the other misses, and misses none: 9 against 0.
    #[test]
    fn a_pair_states_its_effect_its_discordant_requests_and_their_adjusted_p() {
        let answered = |accuracy_at_slo, first| RunMeasures {
            accuracy_at_slo: Some(accuracy_at_slo),
            answers: vec![Some(first), Some(first), Some(first), Some(false), None],
            ..RunMeasures::default()
        };
        let elastic = [0.625, 0.75, 0.875].map(|accuracy| answered(accuracy, true));
        let full = [0.5, 0.5, 0.5].map(|accuracy| answered(accuracy, false));
        let asked = vec![vec![("piqa", 1), ("piqa", 1), ("piqa", 2), ("sciq", 2), ("sciq", 3)]; 3];
        let compared = |against, runs: &[RunMeasures], others: &[RunMeasures]| {
            PairedRow::of(&label("elastic"), runs, against, others, &asked[..runs.len()])
        };
        let mut rows = [
            compared("full", &elastic, &full),
            compared("same", &elastic, &elastic),
            compared("unjudged", &[run(0.5, 0)], &[run(0.5, 0)]),
        ];
        PairedRow::adjust(&mut rows);
        assert_eq!((rows[0].gain, rows[0].effect_dz), (Some(0.25), Some(2.0)));
        assert_eq!((rows[0].requests, rows[0].only_method, rows[0].only_against), (12, 9, 0));
        assert_eq!(
            (rows[0].items, rows[0].gain_items_lo, rows[0].gain_items_hi),
            (3, Some(0.0), Some(1.0))
        );
        assert_eq!((rows[2].items, rows[2].gain_items_lo), (0, None));
        let p = rows[0].mcnemar_p.unwrap();
        assert!((p - 2.0 / 512.0).abs() < 1e-12, "{p}");
        assert_eq!(rows[0].mcnemar_p_holm, Some(2.0 * p));
        assert_eq!((rows[1].mcnemar_p, rows[1].mcnemar_p_holm), (Some(1.0), Some(1.0)));
        assert_eq!((rows[2].mcnemar_p, rows[2].mcnemar_p_holm), (None, None));
    }
}
