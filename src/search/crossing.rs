//! Where a share that a service keeps falls below a bound as its load grows.
//!
//! The share at a load is the mean over seeds. Loads are scanned from the smallest to the largest,
//! each twice the one before; the crossing is in the first gap whose upper end fails, interpolated
//! linearly. Its interval is that of the bootstrap over seeds of the same statistic, read from the
//! same runs. Then the gaps that hold the crossing and the ends of its interval are halved until
//! each is as narrow as asked.
//!
//! A share need not fall steadily. The crossing is the *first* one: up to it the share was kept at
//! every load tried. A load above that keeps it again is reported; a dip between two loads of the
//! scan can be missed.

use crate::metrics::{Reach, bootstrap_95, mean};

/// Rounding of a mean is no failure.
const ROUNDING: f64 = 1e-12;

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bracket {
    /// Smallest load, above 0.
    pub from: f64,
    /// Largest load.
    pub to: f64,
    /// The share to keep.
    pub share: f64,
    /// How narrow gaps become, as a share of the load.
    pub precision: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Crossing {
    pub at: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub reach: Reach,
    pub again: Option<f64>,
    /// Mean share at the smallest and the largest load.
    pub ends: (f64, f64),
}

/// Finds the crossing; `shares` gives those of the seeds at a load, always of the same seeds.
///
/// # Errors
/// The first of `shares`.
pub(super) fn find<E>(
    bracket: Bracket,
    mut shares: impl FnMut(f64) -> Result<Vec<f64>, E>,
) -> Result<Crossing, E> {
    let mut curve = Curve { share: bracket.share, points: Vec::new() };
    for load in scan(bracket) {
        curve.insert(load, shares(load)?);
    }
    loop {
        let found = curve.crossing();
        let ends = [found.at, found.lo, found.hi];
        let gaps = ends.into_iter().flatten().filter_map(|load| curve.gap(load));
        match gaps.into_iter().find(|(below, above)| above / below > 1.0 + bracket.precision) {
            Some((below, above)) => {
                let middle = (below * above).sqrt();
                curve.insert(middle, shares(middle)?);
            }
            None => return Ok(found),
        }
    }
}

/// Loads from the smallest to the largest, each twice the one before.
fn scan(Bracket { from, to, .. }: Bracket) -> impl Iterator<Item = f64> {
    let doubled = std::iter::successors(Some(from), |load| Some(2.0 * load));
    doubled.take_while(move |&load| load < to).chain([to])
}

/// Shares by seed at each load tried, by rising load.
struct Curve {
    share: f64,
    points: Vec<(f64, Vec<f64>)>,
}

impl Curve {
    fn insert(&mut self, load: f64, shares: Vec<f64>) {
        let place = self.points.partition_point(|(other, _)| *other < load);
        self.points.insert(place, (load, shares));
    }

    /// The loads tried around `load`.
    fn gap(&self, load: f64) -> Option<(f64, f64)> {
        let above = self.points.partition_point(|(other, _)| *other <= load);
        let below = self.points.get(above.checked_sub(1)?)?;
        Some((below.0, self.points.get(above)?.0))
    }

    fn crossing(&self) -> Crossing {
        let seeds: Vec<usize> = (0..self.points[0].1.len()).collect();
        let (from, to) = (self.points[0].0, self.points[self.points.len() - 1].0);
        let within = |load: f64| load > from && load < to;
        let at = self.first_crossing(&seeds);
        let reach = match at {
            at if at <= from => Reach::Below,
            at if at >= to => Reach::Beyond,
            _ => Reach::Within,
        };
        let interval = bootstrap_95(&seeds, |seeds| self.first_crossing(seeds));
        let (lo, hi) = interval.map_or((None, None), |ends| (Some(ends.lo), Some(ends.hi)));
        let upper = hi.unwrap_or(at).max(at);
        let kept = |(load, shares): &&(f64, Vec<f64>)| {
            *load > upper && mean(shares).is_some_and(|mean| mean + ROUNDING >= self.share)
        };
        let mean_at = |place: usize| mean(&self.points[place].1).unwrap_or(0.0);
        Crossing {
            at: Some(at).filter(|&at| within(at)),
            lo: lo.filter(|&lo| lo > from),
            hi: hi.filter(|&hi| hi < to),
            reach,
            again: self.points.iter().find(kept).map(|(load, _)| *load),
            ends: (mean_at(0), mean_at(self.points.len() - 1)),
        }
    }

    /// Where the mean over `seeds` first falls below the share; the smallest load if it is never
    /// kept, the largest if always.
    fn first_crossing(&self, seeds: &[usize]) -> f64 {
        let mut last: Option<(f64, f64)> = None;
        for (load, shares) in &self.points {
            let sum: f64 = seeds.iter().map(|&seed| shares[seed]).sum();
            let mean = sum / seeds.len() as f64;
            if mean + ROUNDING < self.share {
                return last.map_or(*load, |(below, kept)| {
                    below + (load - below) * (kept - self.share).max(0.0) / (kept - mean)
                });
            }
            last = Some((*load, mean));
        }
        last.map_or(0.0, |(load, _)| load)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::executor::scripted::Scripted;
    use crate::metrics::{Measure, RunMeasures};
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::policy::{Policy, ServiceView};
    use crate::request::{AppId, Bounds, DatasetId, Request, RequestView, Slo, Terms};
    use crate::rng::stream;
    use crate::sim::{ServiceOptions, replay};
    use crate::trace::Arrivals;

    const BRACKET: Bracket = Bracket { from: 1.0, to: 1000.0, share: 0.9, precision: 0.01 };

    fn found(bracket: Bracket, shares: impl Fn(f64) -> Vec<f64>) -> Crossing {
        find(bracket, |load| Ok::<_, Infallible>(shares(load))).unwrap_or_else(|e| match e {})
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found / expected - 1.0).abs() < 0.002)
    }

    /// Two seeds lose 0.5 % and 1.5 % of their requests per unit of load: together 1 %, so the
    /// crossing is at 10. A resample of the first alone crosses at 20, of the second at 6 2/3.
    #[test]
    fn two_straight_lines_cross_where_their_mean_does_between_where_each_does() {
        let crossing = found(BRACKET, |load| vec![1.0 - 0.005 * load, 1.0 - 0.015 * load]);
        assert!(near(crossing.at, 10.0), "{crossing:?}");
        assert!(near(crossing.lo, 20.0 / 3.0) && near(crossing.hi, 20.0), "{crossing:?}");
        assert_eq!((crossing.reach, crossing.again), (Reach::Within, None));
        assert!(near(Some(crossing.ends.0), 0.99), "{crossing:?}");
    }

    #[test]
    fn a_curve_that_bends_is_followed_to_the_precision_asked_for() {
        let crossing = found(BRACKET, |load| vec![(-load / 500.0).exp(); 3]);
        let expected = -500.0 * 0.9_f64.ln();
        assert!(near(crossing.at, expected), "{crossing:?}");
        assert_eq!((crossing.lo, crossing.hi), (crossing.at, crossing.at));
    }

    #[test]
    fn a_share_that_is_never_or_always_kept_has_no_crossing() {
        let never = found(BRACKET, |_| vec![0.5, 0.6]);
        assert_eq!((never.at, never.lo, never.reach), (None, None, Reach::Below));
        assert_eq!(never.hi, Some(1.0));
        let always = found(BRACKET, |_| vec![0.9, 0.9, 0.9]);
        assert_eq!((always.at, always.hi, always.reach), (None, None, Reach::Beyond));
        assert_eq!(always.lo, Some(1000.0));
    }

    /// One seed in two fails from the start: half of the resamples' crossings are below, a quarter
    /// beyond.
    #[test]
    fn an_interval_is_open_where_resamples_leave_the_loads_searched() {
        let crossing = found(BRACKET, |load| vec![if load < 100.0 { 1.0 } else { 0.8 }, 0.8]);
        assert!(crossing.at.is_some_and(|at| (99.0..=100.0).contains(&at)), "{crossing:?}");
        assert_eq!((crossing.lo, crossing.reach), (None, Reach::Within));
        let one = found(BRACKET, |load| vec![1.0 - 0.01 * load]);
        assert!(near(one.at, 10.0) && one.lo.is_none() && one.hi.is_none(), "{one:?}");
    }

    #[test]
    fn the_first_crossing_counts_and_a_later_recovery_is_told() {
        let dip = |load: f64| if (30.0..50.0).contains(&load) { 0.5 } else { 0.95 };
        let crossing = found(BRACKET, |load| vec![dip(load); 2]);
        assert!(crossing.at.is_some_and(|at| (29.0..30.2).contains(&at)), "{crossing:?}");
        assert_eq!(crossing.again, Some(64.0));
    }

    #[derive(Debug)]
    struct Full;

    impl Policy for Full {
        fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
            Plan::FULL
        }
    }

    /// Attainment of one replication of M/D/1: Poisson arrivals, services of 36 s, and a bound on
    /// the TTFT that leaves half a service to wait.
    fn md1(per_hour: f64, seed: u64) -> f64 {
        let service = Duration::from_secs(36);
        let (ttft, tpot) = (service * 3 / 2, service);
        let arrivals = Arrivals::Poisson {}.draw(per_hour, 600, &mut stream(seed, "test"));
        let request = |(id, arrival)| Request {
            id,
            arrival,
            app: AppId(0),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 1,
            output_tokens: 1,
            slo: Slo::Absolute { ttft, tpot },
            terms: Terms::default(),
        };
        let requests: Vec<_> = (0..).zip(arrivals.unwrap()).map(request).collect();
        let execution = Execution { prefill: service, ..Execution::default() };
        let mut executor = Scripted::by(move |_, _| execution);
        let mut outcomes = Vec::new();
        let bounds = vec![Bounds::Latency { ttft, tpot }; requests.len()];
        let service = ServiceOptions::default();
        replay(&requests, &bounds, &mut Full, &mut executor, &service, &mut outcomes).unwrap();
        RunMeasures::of(&outcomes).values[Measure::Attainment].unwrap()
    }

    /// Up to one service time t the wait of M/D/1 is at most t with probability (1 − ρ)·e^(λt)
    /// (Erlang, 1909); here λt = ρ/2. That is 0.8 at ρ = 0.3174, or 31.7 requests an hour at a
    /// hundred services an hour.
    #[test]
    fn the_peak_of_an_md1_queue_is_that_of_its_closed_form() {
        let (mut low, mut high) = (0.0_f64, 1.0);
        while high - low > 1e-9 {
            let load = f64::midpoint(low, high);
            *(if (1.0 - load) * (load / 2.0).exp() > 0.8 { &mut low } else { &mut high }) = load;
        }
        let bracket = Bracket { share: 0.8, ..BRACKET };
        let crossing = found(bracket, |load| (0..20).map(|seed| md1(load, seed)).collect());
        let Crossing { at: Some(at), lo: Some(lo), hi: Some(hi), .. } = crossing else {
            panic!("{crossing:?}")
        };
        let (theory, half) = (100.0 * low, (hi - lo) / 2.0);
        eprintln!("M/D/1: {at:.2} ({lo:.2} to {hi:.2}) an hour, theory {theory:.2}");
        // Half the interval is some two standard errors.
        assert!((at - theory).abs() <= 1.5 * half, "{at} ± {half}, theory {theory}");
        assert!(half < 0.05 * theory && lo < at && at < hi, "{half} is too coarse a test");
    }
}
