//! What a policy wants of a request, best first, and what it takes of that as the request waits.
//!
//! A wait uses up bounds on time, so of the plans that fit ever fewer do: the one that is taken
//! moves down the order, to plans that fit for longer. Where none is left the least late is taken;
//! the longer the wait, the more time to the first token outweighs that per token, so there it
//! moves to plans of ever smaller TTFT. Either way no plan is taken up again, and a request's plans
//! are a few [`Step`]s: a decision is a search among them, not a look at ninety candidates.

use std::time::Duration;

use super::costs::{Candidate, Forecast};
use super::menu::least_late;
use crate::plan::Plan;
use crate::request::Bounds;
use crate::units::Ratio;

/// The plans that a policy would take for a request, best first.
#[derive(Debug, Clone)]
pub struct Preferences {
    wanted: Vec<(Candidate, Forecast)>,
    /// Where, in `wanted`, those begin of which the least late is taken if none fits.
    least_late_from: usize,
    /// Share of each bound that a forecast must leave unused.
    margin: Option<Ratio>,
}

/// A plan, up to some wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The longest wait at which the plan is taken, in ns; the step before says from when on.
    pub until_ns: u64,
    /// The plan.
    pub plan: Plan,
    /// Whether it meets what is left of the bounds.
    pub fits: bool,
}

impl Preferences {
    pub(super) fn new(wanted: Vec<(Candidate, Forecast)>, margin: Option<Ratio>) -> Self {
        Self { wanted, least_late_from: 0, margin }
    }

    /// The same, but `better` plans are wanted more, if they fit.
    pub(super) fn after(mut self, mut better: Vec<(Candidate, Forecast)>) -> Self {
        self.least_late_from += better.len();
        better.append(&mut self.wanted);
        Self { wanted: better, ..self }
    }

    /// What is taken under `bounds`, which count from arrival, by how long a request has waited.
    ///
    /// # Panics
    /// If nothing is wanted.
    #[must_use]
    pub fn by_wait(&self, bounds: Bounds) -> Vec<Step> {
        let (mut steps, mut from) = (Vec::new(), 0);
        for (candidate, forecast) in &self.wanted {
            if let Some(until_ns) = self.fits_until(forecast, bounds, from) {
                steps.push(Step { until_ns, plan: candidate.plan, fits: true });
                match until_ns.checked_add(1) {
                    Some(next) => from = next,
                    None => return steps,
                }
            }
        }
        self.push_late(bounds, from, &mut steps);
        steps
    }

    /// The longest wait at which `forecast` fits, if it does at a wait of `from` ns.
    fn fits_until(&self, forecast: &Forecast, bounds: Bounds, from: u64) -> Option<u64> {
        let fits = |wait_ns: u64| {
            let left = after(bounds, wait_ns);
            forecast.meets(self.margin.map_or(left, |margin| left.less(margin)))
        };
        if !fits(from) {
            return None;
        }
        let lost = lost_after(bounds).max(from);
        Some(if fits(lost) { u64::MAX } else { last_that(from, lost, fits) })
    }

    /// Steps of waits from `from` ns on, at which nothing fits.
    fn push_late(&self, bounds: Bounds, from: u64, steps: &mut Vec<Step>) {
        let late = &self.wanted[self.least_late_from..];
        let plan = |wait_ns: u64| least_late(late.iter().copied(), after(bounds, wait_ns));
        let mut push = |until_ns, plan| match steps.last_mut() {
            Some(last) if last.plan == plan && !last.fits => last.until_ns = until_ns,
            _ => steps.push(Step { until_ns, plan, fits: false }),
        };
        let lost = lost_after(bounds).max(from);
        let mut from = from;
        while from < lost {
            let (taken, end) = (plan(from), lost - 1);
            let holds = |wait_ns| plan(wait_ns) == taken;
            let until = if holds(end) { end } else { last_that(from, end, holds) };
            push(until, taken);
            from = until + 1;
        }
        push(u64::MAX, plan(lost));
    }
}

fn after(bounds: Bounds, wait_ns: u64) -> Bounds {
    bounds.after(Duration::from_nanos(wait_ns))
}

/// The wait, in ns, from which on waiting longer changes nothing: the bound is used up.
fn lost_after(bounds: Bounds) -> u64 {
    let due = bounds.first_token_due().unwrap_or(Duration::ZERO);
    u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)
}

/// The largest number from `yes` on of which `holds` is true, where it is of `yes` and up to some
/// number below `no`.
fn last_that(mut yes: u64, mut no: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, plan};
    use crate::request::RequestView;

    // The bench (see `testing`): ⟨100, 100⟩ takes 100 ms and 10 ms, ⟨50, 100⟩ 50 and 5,
    // ⟨100, 50⟩ 50 and 10, ⟨50, 50⟩ 25 and 5. Expected accuracies: 0.75, 0.5, 0.5, 0.25.

    fn steps(ttft_ms: u64, tpot_ms: u64) -> Vec<(u64, Plan, bool)> {
        let bench = Bench::elastic();
        let (policy, ms) = (bench.policy("elastic-profile"), Duration::from_millis);
        let bounds = Bounds::Latency { ttft: ms(ttft_ms), tpot: ms(tpot_ms) };
        let request = bench.request(ttft_ms, tpot_ms);
        let wanted = policy.preferences(RequestView::new(&request, bounds), None).unwrap();
        wanted.by_wait(bounds).iter().map(|step| (step.until_ns, step.plan, step.fits)).collect()
    }

    /// Of 120 ms ⟨100, 100⟩ leaves 20, ⟨50, 100⟩ 70, ⟨50, 50⟩ 95. ⟨100, 50⟩ is as accurate as
    /// ⟨50, 100⟩, heavier and fits no longer. Then the quickest misses by least.
    #[test]
    fn the_plan_moves_down_the_order_as_the_bound_is_used_up() {
        let ms = 1_000_000;
        let expected = [
            (20 * ms, plan(100, 100), true),
            (70 * ms, plan(50, 100), true),
            (95 * ms, plan(50, 50), true),
            (u64::MAX, plan(50, 50), false),
        ];
        assert_eq!(steps(120, 10), expected);
    }

    /// A TPOT bound of 1 ms fits nothing: it is missed by a factor of 5 at level 50 %, where
    /// ⟨50, 50⟩ is lighter.
    #[test]
    fn a_bound_that_nothing_meets_is_missed_by_the_least_late_from_the_start() {
        assert_eq!(steps(60, 1), [(u64::MAX, plan(50, 50), false)]);
    }
}
