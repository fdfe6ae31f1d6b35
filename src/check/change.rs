//! What happened to one measure at one point.

use std::collections::BTreeMap;

use serde::Serialize;

use super::causes::Cause;
use super::results::{Point, PointResults};
use crate::error::{Error, Result};
use crate::metrics::{
    Better, Interval, Measure, Sureness, TEstimate, bca_mean_95, detectable_mean, detectable_share,
    mean,
};

/// One measure at one point, now and in the baseline.
///
/// A change is a difference for a share and a relative difference for others: 0.02 is two points,
/// or 2 %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where.
    #[serde(flatten)]
    pub point: Point,
    /// Of what.
    pub measure: Measure,
    /// Mean over the seeds compared, in the baseline.
    pub baseline: f64,
    /// Mean over the seeds compared, now.
    pub now: f64,
    /// The change. One of a ratio is the geometric mean of its ratios, less 1.
    pub change: f64,
    /// Lower end of its 95 % interval: BCa where seeds are paired, of Welch's t test elsewhere.
    pub lo: f64,
    /// Upper end of that interval.
    pub hi: f64,
    /// By how much it may get worse.
    pub tolerance: f64,
    /// p-value of the hypothesis that it got worse by no more than its tolerance.
    pub p_worse: f64,
    /// The same, adjusted for all that is compared.
    pub p_worse_holm: f64,
    /// p-value of the hypothesis that it got better by no more than its tolerance.
    pub p_better: f64,
    /// The same, adjusted for all that is compared.
    pub p_better_holm: f64,
    /// How much worse it must get to be found worse with the chosen power.
    pub detectable: f64,
    /// The same for two runs of as many independent requests without any in common: what their
    /// number alone can show. Only for shares.
    pub detectable_unpaired: Option<f64>,
    /// Whether seeds were compared one by one.
    pub paired: bool,
    /// Seeds compared; the fewer of both where they are not paired.
    pub seeds: usize,
    /// Requests behind these seeds.
    pub requests: usize,
    /// What follows.
    pub verdict: Verdict,
    /// The point's line in the baseline's `metrics.csv`.
    pub baseline_line: usize,
    /// The classes of requests that got worse, where both sides keep outcomes.
    pub causes: Vec<Cause>,
}

/// What a change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Worse by more than its tolerance, significantly.
    Worse,
    /// Better by more than its tolerance, significantly.
    Better,
    /// Neither.
    Within,
}

/// A scale on which changes of a measure add up, and more is better: shares, and logarithms of
/// others, with the sign turned where less is better.
#[derive(Debug, Clone, Copy)]
struct Scale(Measure);

impl Scale {
    fn sign(self) -> f64 {
        match self.0.definition().better {
            Better::More => 1.0,
            Better::Less => -1.0,
        }
    }

    fn of(self, value: f64) -> f64 {
        self.sign() * if self.0.is_share() { value } else { value.ln() }
    }

    /// The tolerance, from points or percent.
    fn tolerance(self, written: f64) -> f64 {
        let share = written / 100.0;
        if self.0.is_share() { share } else { share.ln_1p() }
    }

    /// A change as it is reported: a time that grows has a positive one.
    fn reported(self, change: f64) -> f64 {
        let change = self.sign() * change;
        if self.0.is_share() { change } else { change.exp_m1() }
    }

    /// The size of a change for the worse, as it is reported.
    fn size(self, worse_by: f64) -> f64 {
        if self.0.is_share() { worse_by } else { worse_by.exp_m1() }
    }
}

/// A point's two sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    pub baseline: &'a PointResults,
    pub now: &'a PointResults,
    /// The files that they come from, for messages.
    pub files: (&'a str, &'a str),
}

impl Sides<'_> {
    /// Compares `measure`, with `tolerance` as it is written, by one of `tests` tests. `None`
    /// where neither side has it.
    pub(super) fn change(
        &self,
        measure: Measure,
        tolerance: f64,
        sureness: Sureness,
    ) -> Result<Option<Change>> {
        let Some(values) = self.values(measure)? else { return Ok(None) };
        let scale = Scale(measure);
        let tolerance = scale.tolerance(tolerance);
        let (estimate, interval) = values.compare(scale).ok_or_else(|| self.too_few(measure))?;
        let ends = [scale.reported(interval.lo), scale.reported(interval.hi)];
        let share = mean(&values.baseline).filter(|_| measure.is_share());
        let seeds = values.baseline.len().min(values.now.len());
        let requests = (seeds as f64 * self.baseline.requests_a_seed()).round() as usize;
        let unpaired = |share| scale.size(tolerance) + detectable_share(share, requests, sureness);
        Ok(Some(Change {
            point: self.now.point.clone(),
            measure,
            baseline: mean(&values.baseline).expect("a comparison has values"),
            now: mean(&values.now).expect("a comparison has values"),
            change: scale.reported(estimate.mean),
            lo: ends[0].min(ends[1]),
            hi: ends[0].max(ends[1]),
            tolerance: scale.size(tolerance),
            p_worse: estimate.p_below(-tolerance),
            p_worse_holm: 1.0,
            p_better: estimate.p_above(tolerance),
            p_better_holm: 1.0,
            detectable: scale.size(tolerance + detectable_mean(&estimate, sureness)),
            detectable_unpaired: share.map(unpaired),
            paired: values.paired,
            seeds,
            requests,
            verdict: Verdict::Within,
            baseline_line: self.baseline.line,
            causes: Vec::new(),
        }))
    }

    /// Both sides' values: of the common seeds in the same order, or of all where two or more are
    /// not common.
    fn values(&self, measure: Measure) -> Result<Option<Values>> {
        let (baseline, now) = (self.baseline.values(measure), self.now.values(measure));
        match (baseline.is_empty(), now.is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => {}
            (true, false) => return Err(absent(self.files.0, self.baseline, measure)),
            (false, true) => return Err(absent(self.files.1, self.now, measure)),
        }
        let zero = |value: &&f64| **value <= 0.0 && !measure.is_share();
        if baseline.values().chain(now.values()).find(zero).is_some() {
            return Err(Error::new(self.files.0, "a time of 0 has no ratio to another")
                .at(format!("line {}, column \"{}\"", self.baseline.line, measure.column()))
                .allowed("times above 0 under every seed, here and in the run"));
        }
        let common: Vec<u64> =
            baseline.keys().filter(|seed| now.contains_key(seed)).copied().collect();
        let paired = common.len() >= 2;
        let of = |values: &BTreeMap<u64, f64>| -> Vec<f64> {
            if paired {
                common.iter().map(|seed| values[seed]).collect()
            } else {
                values.values().copied().collect()
            }
        };
        Ok(Some(Values { baseline: of(&baseline), now: of(&now), paired }))
    }

    fn too_few(&self, measure: Measure) -> Error {
        let side = usize::from(self.baseline.values(measure).len() >= 2);
        let (file, results) = [(self.files.0, self.baseline), (self.files.1, self.now)][side];
        Error::new(file, "too few seeds to tell a change from noise")
            .at(format!("line {}, column \"{}\"", results.line, measure.column()))
            .found(results.values(measure).len())
            .allowed("2 or more; 20 or more serve well")
    }
}

fn absent(file: &str, side: &PointResults, measure: Measure) -> Error {
    Error::new(file, "measure is absent here and present on the other side")
        .at(format!("line {}, column \"{}\"", side.line, measure.column()))
        .allowed("the same measures on both sides")
}

/// Values of one measure on both sides.
struct Values {
    baseline: Vec<f64>,
    now: Vec<f64>,
    paired: bool,
}

impl Values {
    /// How much better it got on `scale`, with its 95 % interval. `None` with too few values.
    fn compare(&self, scale: Scale) -> Option<(TEstimate, Interval)> {
        let on_scale = |values: &[f64]| values.iter().map(|&v| scale.of(v)).collect::<Vec<_>>();
        let (baseline, now) = (on_scale(&self.baseline), on_scale(&self.now));
        if self.paired {
            let gains: Vec<f64> = now.iter().zip(&baseline).map(|(now, was)| now - was).collect();
            return Some((TEstimate::paired(&gains)?, bca_mean_95(&gains)?));
        }
        let estimate = TEstimate::welch(&now, &baseline)?;
        Some((estimate, estimate.interval_95()))
    }
}
