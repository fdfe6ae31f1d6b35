//! What runs are like by the minute: `over-time.csv`.
//!
//! Each run of the methods that the figure names is worked off once more by events, so that the
//! machine's speed, which no outcome has, is noted beside what was planned.

use std::collections::BTreeMap;
use std::path::Path;

use super::grid::{Cell, Grid};
use super::served::play;
use crate::error::Result;
use crate::executor::Executor;
use crate::files::write_whole;
use crate::metrics::CellLabel;
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::report::OverTimeRow;
use crate::request::Request;
use crate::results::OverTimeSpec;
use crate::sim::{Lost, OutcomeSink, ServiceOptions};
use crate::units::{Ratio, SimTime};

/// Replays what `spec` shows and writes `over-time.csv` into `out`.
///
/// # Errors
/// If a run fails, or the file cannot be written.
pub(super) fn over_time(
    grid: &Grid,
    spec: &OverTimeSpec,
    service: ServiceOptions,
    out: &Path,
) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for cell in &grid.cells {
        if spec.methods.contains(&cell.label.method) {
            for row in rows(&cell.label, &points(grid, cell, spec.minutes, service)?) {
                writer.serialize(row).expect("memory takes every row");
            }
        }
    }
    let csv = writer.into_inner().expect("memory is flushed");
    write_whole(&out.join("over-time.csv"), &csv)
}

/// What requests that were taken up in one stretch of time came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stretch {
    requests: usize,
    served: usize,
    speed: f64,
    level: f64,
    met: usize,
    right_in_time: f64,
}

/// Over all seeds, by the first minute of each stretch.
type Stretches = BTreeMap<u32, Stretch>;

fn points(grid: &Grid, cell: &Cell, minutes: u32, service: ServiceOptions) -> Result<Stretches> {
    let service = cell.method.spec().served_by(service);
    let mut stretches = Stretches::new();
    for (nth, &seed) in grid.seeds.iter().enumerate() {
        let trace = grid.trace(cell, nth);
        let (mut policy, executor) = cell.method.players(trace, seed)?;
        let executor = cell.method.as_it_varies(executor, seed);
        let mut executor = Speeds { executor, now: Ratio::ONE, of: BTreeMap::new() };
        let mut noted = Noted::default();
        play(&cell.method, trace, policy.as_mut(), &mut executor, service, &mut noted)?;
        noted.add_to(&mut stretches, &executor.of, minutes);
    }
    Ok(stretches)
}

/// An executor whose speed at the start of each request is kept, by the request's id.
#[derive(Debug)]
struct Speeds<E> {
    executor: E,
    now: Ratio,
    of: BTreeMap<u64, Ratio>,
}

impl<E: Executor> Executor for Speeds<E> {
    fn begin(&mut self, now: SimTime) -> Ratio {
        self.now = self.executor.begin(now);
        self.now
    }

    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        self.of.insert(request.id, self.now);
        self.executor.execute(request, plan)
    }
}

/// All that one run did.
#[derive(Debug, Default)]
struct Noted {
    served: Vec<Outcome>,
    lost: Vec<SimTime>,
}

impl OutcomeSink for Noted {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.served.push(*outcome);
        Ok(())
    }

    fn lose(&mut self, lost: &Lost) -> Result<()> {
        self.lost.push(lost.at);
        Ok(())
    }
}

impl Noted {
    fn add_to(&self, stretches: &mut Stretches, speeds: &BTreeMap<u64, Ratio>, minutes: u32) {
        let first_minute = |at: SimTime| (at.as_millis_f64() / 60_000.0) as u32 / minutes * minutes;
        for outcome in &self.served {
            let stretch = stretches.entry(first_minute(outcome.start)).or_default();
            let (met, grade) = (outcome.slo_met(), outcome.execution.correct);
            stretch.requests += 1;
            stretch.served += 1;
            stretch.speed += speeds.get(&outcome.request.id).map_or(1.0, |speed| speed.as_f64());
            stretch.level += outcome.plan.level.share().as_f64();
            stretch.met += usize::from(met);
            stretch.right_in_time += grade.filter(|_| met).map_or(0.0, f64::from);
        }
        for &at in &self.lost {
            stretches.entry(first_minute(at)).or_default().requests += 1;
        }
    }
}

fn rows<'a>(
    label: &'a CellLabel,
    stretches: &'a Stretches,
) -> impl Iterator<Item = OverTimeRow> + 'a {
    let percent = |sum: f64, of: usize| (10_000.0 * sum / of.max(1) as f64).round() / 100.0;
    stretches.iter().map(move |(&minute, stretch)| OverTimeRow {
        method: label.method.clone(),
        device: label.device.clone(),
        alpha: label.alpha,
        minute,
        requests: stretch.requests,
        speed_percent: percent(stretch.speed, stretch.served),
        level_percent: percent(stretch.level, stretch.served),
        attainment_percent: percent(stretch.met as f64, stretch.requests),
        accuracy_at_slo_percent: percent(stretch.right_in_time, stretch.requests),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::method::testing::{Bench, plan};
    use crate::outcome::Interruptions;
    use crate::request::Bounds;
    use crate::units::Grade;

    /// Answered at `seconds` within `ms`, where 100 ms are allowed.
    fn outcome(id: u64, seconds: u64, level: u16, ms: u64) -> Outcome {
        let request = Request { id, ..Bench::elastic().request(100, 10) };
        let start = request.arrival + Duration::from_secs(seconds);
        let request = Request { arrival: start, ..request };
        let bound = Duration::from_millis(100);
        Outcome {
            request,
            bounds: Bounds::Latency { ttft: bound, tpot: bound },
            plan: plan(level, 100),
            start,
            execution: Execution {
                prefill: Duration::from_millis(ms),
                correct: Some(Grade::RIGHT),
                ..Execution::default()
            },
            interruptions: Interruptions::default(),
        }
    }

    #[test]
    fn requests_count_where_they_were_taken_up_and_lost_ones_where_they_left() {
        let noted = Noted {
            served: vec![outcome(0, 0, 100, 50), outcome(1, 119, 20, 200), outcome(2, 120, 60, 50)],
            lost: vec![SimTime::ZERO + Duration::from_secs(130)],
        };
        let speeds = BTreeMap::from([(0, Ratio::ONE), (1, Ratio::percent(50))]);
        let mut stretches = Stretches::new();
        noted.add_to(&mut stretches, &speeds, 2);
        let label = CellLabel::default();
        let rows: Vec<_> = rows(&label, &stretches).collect();
        let of = |row: &OverTimeRow| {
            let OverTimeRow { speed_percent, level_percent, .. } = *row;
            let shares = [row.attainment_percent, row.accuracy_at_slo_percent];
            (row.minute, row.requests, [speed_percent, level_percent], shares)
        };
        assert_eq!(of(&rows[0]), (0, 2, [75.0, 60.0], [50.0, 50.0]));
        assert_eq!(of(&rows[1]), (2, 2, [100.0, 60.0], [50.0, 50.0]));
        assert_eq!(rows.len(), 2);
    }
}
