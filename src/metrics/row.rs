//! Rows of results: measures of a cell of an experiment, over its seeds and under each of them, and
//! differences between methods.

use std::ops::Index;
use std::path::PathBuf;

use super::bootstrap::bca_mean_95;
use super::by_class::ByClass;
use super::by_item::{AskedItems, ItemMeans};
use super::estimate::Estimate;
use super::hypothesis::{Discordance, holm};
use super::measure::{Measure, PerMeasure};
use super::measures::RunMeasures;
use super::statistics::{Interval, deviation, mean};

/// Which cell of an experiment: everything but the seed.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// The cell in a few words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} at α {} on {}", self.method, self.alpha, self.device)
    }

    /// Where, within a folder for such files, the file of this cell's run under `seed` is.
    #[must_use]
    pub fn run_file(&self, seed: u64) -> PathBuf {
        let Self { method, alpha, device, latency_of, base_model, .. } = self;
        PathBuf::from(method)
            .join(format!("{device}_{latency_of}_{base_model}_alpha{alpha}_seed{seed}.csv"))
    }

    /// What the method ran on: device, latency model, base model.
    #[must_use]
    pub fn scene(&self) -> [&str; 3] {
        [&self.device, &self.latency_of, &self.base_model]
    }
}

/// One row of `metrics.csv`: a cell's measures, each the mean over its replications with its 95 %
/// percentile-bootstrap interval over them.
///
/// A mean leaves out replications in which the measure is absent. Replications of one trace are no
/// sample of traces: their means have no interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsRow {
    /// Which cell.
    pub label: CellLabel,
    /// Its measures.
    pub values: PerMeasure<Estimate>,
    /// Items that the requests judged asked for, where that is known.
    pub items: Option<usize>,
    /// The 95 % percentile interval of accuracy@SLO over items ([`ItemMeans`]).
    pub over_items: Option<Interval>,
    /// Replications behind the row.
    pub replications: usize,
    /// Different traces that they replayed, where that is known.
    pub traces: Option<usize>,
    /// Requests that arrived, over all replications.
    pub requests: usize,
    /// Their answers by app and by dataset, where that is known: [`by_class`](super::by_class).
    pub by_class: ByClass,
}

impl MetricsRow {
    /// The row of the cell `label` whose replications were `runs`, of requests for what was
    /// `asked`, if that is known.
    #[must_use]
    pub fn of(label: &CellLabel, runs: &[RunMeasures], asked: &AskedItems) -> Self {
        let one_trace = asked.is_one_trace(runs.len());
        let estimate = |measure| {
            let estimate = Estimate::over(runs, |run| run.values[measure]);
            if one_trace { estimate.alone() } else { estimate }
        };
        let mut by_item = ItemMeans::new(asked);
        for (nth, run) in runs.iter().enumerate() {
            by_item.record(nth, run.answers.iter().copied());
        }
        let (items, over_items) = by_item.interval_95();
        Self {
            label: label.clone(),
            values: PerMeasure::of(estimate),
            items: (items > 0).then_some(items),
            over_items,
            replications: runs.len(),
            traces: Some(asked.traces(runs.len())),
            requests: runs.iter().map(|run| run.requests).sum(),
            by_class: ByClass::new(),
        }
    }
}

impl Index<Measure> for MetricsRow {
    type Output = Estimate;

    fn index(&self, measure: Measure) -> &Estimate {
        &self.values[measure]
    }
}

/// One row of `seeds.csv`: what one replication of a cell shows.
///
/// These are the values that the means and intervals of a [`MetricsRow`] come from, kept so that
/// two runs under the same seeds can be compared seed by seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeedRow {
    /// Which cell. Its provenance is not in the file.
    pub label: CellLabel,
    /// The seed of trace and policy.
    pub seed: u64,
    /// Its measures.
    pub values: PerMeasure<Option<f64>>,
    /// Requests that arrived.
    pub requests: usize,
}

impl SeedRow {
    /// The row of the cell `label` under `seed`, whose replication was `run`.
    #[must_use]
    pub fn of(label: &CellLabel, seed: u64, run: &RunMeasures) -> Self {
        Self { label: label.clone(), seed, values: run.values, requests: run.requests }
    }
}

/// One row of `paired.csv`: what a method gains over another on the same requests.
///
/// Seeds fix the requests, so the two methods of a seed met the same ones; the noise they share
/// cancels in the difference. Compare methods by this interval: those of two [`MetricsRow`]s may
/// overlap although one method wins under every seed.
///
/// Replications of one trace are no sample of traces: there is no interval and no effect size over
/// them, and each request counts once, as the first replication answered it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PairedRow {
    /// The method, and where.
    pub label: CellLabel,
    /// The method that it is compared with.
    pub against: String,
    /// Mean over seeds of accuracy@SLO of `method` less that of `against`, a share in [−1, 1], with
    /// its 95 % BCa bootstrap interval over seeds.
    pub gain: Estimate,
    /// Items that the requests compared asked for.
    pub items: usize,
    /// The gain's 95 % percentile bootstrap interval over items ([`ItemMeans`]).
    pub over_items: Option<Interval>,
    /// Effect size: the gain in standard deviations of the gains of single seeds (Cohen's d of
    /// paired values); absent where these are equal.
    pub effect_dz: Option<f64>,
    /// Seeds under which `method` was strictly better.
    pub wins: usize,
    /// Seeds compared.
    pub replications: usize,
    /// Different traces that they replayed, where that is known.
    pub traces: Option<usize>,
    /// Requests compared.
    pub requests: u64,
    /// Of these, those that only `method` answered correctly with every bound met; of graded
    /// answers, those that it answered better.
    pub only_method: u64,
    /// Those that only `against` did.
    pub only_against: u64,
    /// Two-sided p-value of McNemar's exact test on these two counts. It takes requests for
    /// independent.
    pub mcnemar_p: Option<f64>,
    /// The same adjusted for all rows of the file by Holm's method.
    pub mcnemar_p_holm: Option<f64>,
}

impl PairedRow {
    /// Compares `runs` of the cell `label` with `against_runs`, the same cell of the method
    /// `against`, both in the order of their seeds, of requests for what was `asked`. The adjusted
    /// p-value is that of a row alone in its file; see [`PairedRow::adjust`].
    ///
    /// # Panics
    /// If the lists differ in length.
    #[must_use]
    pub fn of(
        label: &CellLabel,
        runs: &[RunMeasures],
        against: &str,
        against_runs: &[RunMeasures],
        asked: &AskedItems,
    ) -> Self {
        assert_eq!(runs.len(), against_runs.len(), "paired methods ran under the same seeds");
        let pairs = || runs.iter().zip(against_runs);
        let at_slo = |run: &RunMeasures| run.values[Measure::AccuracyAtSlo];
        let gains: Vec<f64> =
            pairs().filter_map(|(run, other)| Some(at_slo(run)? - at_slo(other)?)).collect();
        let traces = asked.traces(runs.len());
        let sample = if traces == runs.len() { gains.as_slice() } else { &[] };
        let interval = bca_mean_95(sample);
        let effect = |deviation: f64| (deviation > 0.0).then(|| Some(mean(sample)? / deviation));
        let discordance = pairs()
            .take(traces)
            .map(|(run, other)| Discordance::between(&run.answers, &other.answers))
            .fold(Discordance::default(), Discordance::and);
        let mut by_item = ItemMeans::new(asked);
        for (nth, (run, other)) in pairs().enumerate() {
            let answers = run.answers.iter().zip(&other.answers);
            by_item.record(nth, answers.map(|(own, others)| Some((*own)? - (*others)?)));
        }
        let (items, over_items) = by_item.interval_95();
        Self {
            label: label.clone(),
            against: against.to_owned(),
            gain: Estimate::with(mean(&gains), interval),
            items,
            over_items,
            effect_dz: deviation(sample).and_then(effect).flatten(),
            wins: gains.iter().filter(|&&gain| gain > 0.0).count(),
            replications: gains.len(),
            traces: Some(traces),
            requests: discordance.requests,
            only_method: discordance.only_first,
            only_against: discordance.only_second,
            mcnemar_p: discordance.mcnemar_p(),
            mcnemar_p_holm: discordance.mcnemar_p(),
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

    fn run(accuracy_at_slo: f64, switches: u8) -> RunMeasures {
        RunMeasures {
            requests: 600,
            values: PerMeasure::from([
                (Measure::AccuracyAtSlo, accuracy_at_slo),
                (Measure::TtftP50, 100.0 * accuracy_at_slo),
                (Measure::Switches, switches.into()),
            ]),
            ..RunMeasures::default()
        }
    }

    fn row(runs: &[RunMeasures]) -> MetricsRow {
        MetricsRow::of(&label("full"), runs, &AskedItems::default())
    }

    #[test]
    fn a_row_is_the_mean_over_replications_with_an_interval_around_it() {
        let row = row(&[run(0.25, 1), run(0.75, 2)]);
        let expected = Estimate { mean: Some(0.5), lo: Some(0.25), hi: Some(0.75) };
        assert_eq!(row[Measure::AccuracyAtSlo], expected);
        assert_eq!(row[Measure::TtftP50].mean, Some(50.0));
        assert_eq!(row[Measure::Switches].mean, Some(1.5));
        assert_eq!((row.replications, row.traces, row.requests), (2, Some(2), 1200));
        assert_eq!(row[Measure::Accuracy], Estimate::default());
    }

    #[test]
    fn one_replication_has_no_interval_and_none_has_no_measures() {
        let one = row(&[run(0.25, 1)]);
        assert_eq!(one[Measure::AccuracyAtSlo], Estimate { mean: Some(0.25), lo: None, hi: None });
        assert_eq!(row(&[]).values, PerMeasure::default());
    }

    /// Seeds move both methods by 0.5; the gain is 0.0625 under each of them.
    #[test]
    fn noise_shared_by_two_methods_cancels_in_their_difference() {
        let elastic = [run(0.3125, 0), run(0.8125, 0), run(0.5625, 0)];
        let full = [run(0.25, 0), run(0.75, 0), run(0.5, 0)];
        let asked = AskedItems::default();
        let paired = PairedRow::of(&label("elastic"), &elastic, "full", &full, &asked);
        let gain = Some(0.0625);
        assert_eq!(paired.gain, Estimate { mean: gain, lo: gain, hi: gain });
        assert_eq!((paired.wins, paired.replications), (3, 3));
        assert_eq!((paired.effect_dz, paired.requests, paired.mcnemar_p), (None, 0, None));
        let separate = row(&elastic)[Measure::AccuracyAtSlo].interval().unwrap();
        assert!(separate.lo < 0.5, "the unpaired interval reaches below the other method's mean");
    }

    fn answered(accuracy_at_slo: f64, first: f64) -> RunMeasures {
        RunMeasures {
            answers: vec![Some(first), Some(first), Some(first), Some(0.0), None],
            ..run(accuracy_at_slo, 0)
        }
    }

    const ASKED: [(&str, u32); 5] =
        [("piqa", 1), ("piqa", 1), ("piqa", 2), ("sciq", 2), ("sciq", 3)];

    /// Gains of 1, 2 and 3 eighths: a mean of ¼ and a deviation of ⅛. Under each seed the method
    /// answers 3 of 4 requests that the other misses, and misses none: 9 against 0.
    #[test]
    fn a_pair_states_its_effect_its_discordant_requests_and_their_adjusted_p() {
        let elastic = [0.625, 0.75, 0.875].map(|accuracy| answered(accuracy, 1.0));
        let full = [0.5, 0.5, 0.5].map(|accuracy| answered(accuracy, 0.0));
        let asked = AskedItems::of(&[ASKED; 3].map(Vec::from));
        let compared = |against, runs: &[RunMeasures], others: &[RunMeasures]| {
            PairedRow::of(&label("elastic"), runs, against, others, &asked)
        };
        let mut rows = [
            compared("full", &elastic, &full),
            compared("same", &elastic, &elastic),
            compared("unjudged", &[run(0.5, 0)], &[run(0.5, 0)]),
        ];
        PairedRow::adjust(&mut rows);
        assert_eq!((rows[0].gain.mean, rows[0].effect_dz), (Some(0.25), Some(2.0)));
        assert_eq!((rows[0].requests, rows[0].only_method, rows[0].only_against), (12, 9, 0));
        assert_eq!((rows[0].items, rows[0].over_items), (3, Some(Interval { lo: 0.0, hi: 1.0 })));
        assert_eq!((rows[2].items, rows[2].over_items), (0, None));
        let p = rows[0].mcnemar_p.unwrap();
        assert!((p - 2.0 / 512.0).abs() < 1e-12, "{p}");
        assert_eq!(rows[0].mcnemar_p_holm, Some(2.0 * p));
        assert_eq!((rows[1].mcnemar_p, rows[1].mcnemar_p_holm), (Some(1.0), Some(1.0)));
        assert_eq!((rows[2].mcnemar_p, rows[2].mcnemar_p_holm), (None, None));
        let own = MetricsRow::of(&label("elastic"), &elastic, &asked);
        assert_eq!((own.items, own.over_items), (Some(3), rows[0].over_items));
    }

    /// Three seeds that replay one trace: 3 of 4 requests against 0, once, whatever the policy
    /// drew.
    #[test]
    fn seeds_of_one_trace_are_one_replication() {
        let elastic = [0.625, 0.75, 0.875].map(|accuracy| answered(accuracy, 1.0));
        let full = [0.5, 0.5, 0.5].map(|accuracy| answered(accuracy, 0.0));
        let asked = AskedItems::of(&[ASKED.to_vec()]);
        let row = MetricsRow::of(&label("elastic"), &elastic, &asked);
        assert_eq!(row[Measure::AccuracyAtSlo], Estimate { mean: Some(0.75), lo: None, hi: None });
        assert_eq!((row.replications, row.traces, row.items), (3, Some(1), Some(3)));
        assert!(row.over_items.is_some());
        let pair = PairedRow::of(&label("elastic"), &elastic, "full", &full, &asked);
        assert_eq!(pair.gain, Estimate { mean: Some(0.25), lo: None, hi: None });
        assert_eq!((pair.replications, pair.traces, pair.effect_dz), (3, Some(1), None));
        assert_eq!((pair.requests, pair.only_method, pair.only_against), (4, 3, 0));
        assert!(pair.mcnemar_p.is_some_and(|p| (p - 0.25).abs() < 1e-12), "{pair:?}");
        assert_eq!(pair.over_items, Some(Interval { lo: 0.0, hi: 1.0 }));
    }
}
