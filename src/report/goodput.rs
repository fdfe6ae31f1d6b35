//! Goodput by app and by SLO: what each class of requests got, from the outcomes that were kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::metrics_table::{groups, time};
use crate::metrics::{
    CellLabel, Cells, Definition, Estimate, Measure, Over, PerMeasure, Row, RunMeasures, Unit,
    csv_of,
};
use crate::outcome::Outcome;
use crate::request::{Limit, Request, Slo};
use crate::results::StoredRun;
use crate::sim::Lost;
use crate::units::millis;

/// What requests are grouped by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Class {
    /// Who called.
    #[default]
    App,
    /// The objective, as stated.
    Slo,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Slo => "slo",
        }
    }
}

/// What one class of requests got from a cell of the experiment.
///
/// Over several seeds a measure is the mean with its bootstrap interval; of one seed a share has
/// Wilson's interval of its requests, and others have none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GoodputRow {
    /// Which cell.
    pub label: CellLabel,
    /// What `name` names.
    pub class: Class,
    /// The app, or the objective.
    pub name: String,
    /// The objectives that its requests state, from the tightest.
    pub slo: String,
    /// Seeds whose outcomes were kept and that have such requests.
    pub seeds: usize,
    /// Requests that arrived, over these.
    pub requests: usize,
    /// Of these, those whose answer could be judged.
    pub judged: usize,
    /// Its measures, but for those that only a whole run has.
    pub values: PerMeasure<Estimate>,
}

/// One row for each cell of `runs`, class and name: cells in the given order, classes from the
/// most relaxed objective to the tightest.
#[must_use]
pub fn goodput(runs: &[StoredRun]) -> Vec<GoodputRow> {
    let mut rows = Vec::new();
    for cell in groups(runs, |run| &run.label) {
        for class in [Class::App, Class::Slo] {
            let mut members: Vec<_> = members(&cell, class).into_iter().collect();
            members.sort_by_key(|(_, members)| Reverse(members.relaxed));
            rows.extend(members.iter().map(|(name, group)| group.row(&cell[0].label, class, name)));
        }
    }
    rows
}

impl Row for GoodputRow {
    fn cells(&self) -> Cells {
        let measures = Measure::ALL.into_iter().filter(|measure| is_of_class(*measure));
        Cells::of(&self.label)
            .text("class", self.class.name())
            .text("name", &self.name)
            .text("slo", &self.slo)
            .whole("seeds", self.seeds)
            .whole("requests", self.requests)
            .whole("judged", self.judged)
            .estimates(measures, &self.values)
    }
}

impl Serialize for GoodputRow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.cells().serialize(to)
    }
}

fn is_of_class(measure: Measure) -> bool {
    measure.definition().over != Over::Run
}

/// `rows` as CSV, a line each after the header.
///
/// # Panics
/// Never: rows are text.
#[must_use]
pub fn goodput_csv(rows: &[GoodputRow]) -> String {
    String::from_utf8(csv_of(rows)).expect("rows are text")
}

/// The requests of a class.
#[derive(Default)]
struct Members {
    /// The most relaxed objective among them.
    relaxed: (u128, u128),
    slos: BTreeSet<String>,
    by_seed: BTreeMap<u64, (Vec<Outcome>, Vec<Lost>)>,
}

fn members(cell: &[&StoredRun], class: Class) -> BTreeMap<String, Members> {
    let mut groups: BTreeMap<String, Members> = BTreeMap::new();
    for run in cell {
        let of = |request: &Request| {
            let slo = slo_name(request.slo);
            let name = match class {
                Class::App => run.apps[usize::from(request.app.0)].clone(),
                Class::Slo => slo.clone(),
            };
            (name, slo)
        };
        for outcome in &run.outcomes {
            let (name, slo) = of(&outcome.request);
            let group = groups.entry(name).or_default();
            group.of_seed(run.seed, outcome.request.slo, slo).0.push(*outcome);
        }
        for lost in &run.lost {
            let (name, slo) = of(&lost.request);
            groups.entry(name).or_default().of_seed(run.seed, lost.request.slo, slo).1.push(*lost);
        }
    }
    groups
}

impl Members {
    /// Those under `seed`, one more of which states `slo`.
    fn of_seed(&mut self, seed: u64, slo: Slo, named: String) -> &mut (Vec<Outcome>, Vec<Lost>) {
        self.relaxed = self.relaxed.max(relaxedness(slo));
        self.slos.insert(named);
        self.by_seed.entry(seed).or_default()
    }

    fn row(&self, label: &CellLabel, class: Class, name: &str) -> GoodputRow {
        let runs: Vec<_> =
            self.by_seed.values().map(|(served, lost)| RunMeasures::with(served, lost)).collect();
        let requests = runs.iter().map(|run| run.requests).sum();
        let judged = runs.iter().flat_map(|run| &run.answers).flatten().count();
        let estimate = |measure: Measure| {
            let Definition { over, unit, .. } = measure.definition();
            match (over, unit, runs.as_slice()) {
                (Over::Run, ..) => Estimate::default(),
                (Over::Judged, Unit::Share, [run]) => {
                    Estimate::of_share(run.values[measure], judged)
                }
                (Over::Arrived, Unit::Share, [run]) => {
                    Estimate::of_share(run.values[measure], requests)
                }
                (.., runs) => Estimate::over(runs, |run| run.values[measure]),
            }
        };
        GoodputRow {
            label: label.clone(),
            class,
            name: name.to_owned(),
            slo: self.slos.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
            seeds: runs.len(),
            requests,
            judged,
            values: PerMeasure::of(estimate),
        }
    }
}

/// `⟨20 %, 50 %⟩`, or `⟨150 ms, 10 ms⟩`, or `end to end 50 %`, or `energy 3 mJ`.
pub(super) fn slo_name(slo: Slo) -> String {
    match slo {
        Slo::Relative { ttft, tpot } => format!("⟨{ttft}, {tpot}⟩"),
        Slo::Absolute { ttft, tpot } => {
            format!("⟨{}, {}⟩", time(Some(millis(ttft))), time(Some(millis(tpot))))
        }
        Slo::EndToEnd(Limit::Share(share)) => format!("end to end {share}"),
        Slo::EndToEnd(Limit::Absolute(bound)) => {
            format!("end to end {}", time(Some(millis(bound))))
        }
        Slo::Energy(Limit::Share(share)) => format!("energy {share}"),
        Slo::Energy(Limit::Absolute(bound)) => format!("energy {} mJ", bound.as_millijoules_f64()),
    }
}

/// Larger is more relaxed.
fn relaxedness(slo: Slo) -> (u128, u128) {
    match slo {
        Slo::Relative { ttft, tpot } => (ttft.thousandths().into(), tpot.thousandths().into()),
        Slo::Absolute { ttft, tpot } => (ttft.as_nanos(), tpot.as_nanos()),
        Slo::EndToEnd(Limit::Share(share)) | Slo::Energy(Limit::Share(share)) => {
            (share.thousandths().into(), 0)
        }
        Slo::EndToEnd(Limit::Absolute(bound)) => (bound.as_nanos(), 0),
        Slo::Energy(Limit::Absolute(bound)) => (bound.as_nanojoules().into(), 0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::testing::{SLOW, run};
    use crate::units::{Energy, Ratio};

    /// By hand, seed 0: Mail's two requests are both answered right, the second too late; Keys's
    /// one is in time and wrong, its other one in time and not judged.
    #[test]
    fn one_seed_gives_shares_of_its_requests_with_wilson_intervals() {
        let rows = goodput(&[run("full", 0)]);
        let named = |class: Class, name: &str| {
            rows.iter().find(|row| row.class == class && row.name == name).unwrap()
        };
        let mail = named(Class::App, "Mail");
        assert_eq!((mail.seeds, mail.requests, mail.judged), (1, 2, 2));
        let shares = |row: &GoodputRow| {
            let measures = [Measure::AccuracyAtSlo, Measure::Attainment, Measure::Accuracy];
            measures.map(|measure| row.values[measure].mean)
        };
        assert_eq!(shares(mail), [Some(0.5), Some(0.5), Some(1.0)]);
        assert_eq!(mail.values[Measure::AccuracyAtSlo], Estimate::of_share(Some(0.5), 2));
        let p95 = Estimate { mean: Some(60.0), ..Estimate::default() };
        assert_eq!(mail.values[Measure::TtftP95], p95);
        assert_eq!(mail.values[Measure::Switches], Estimate::default());
        let keys = named(Class::App, "Keys");
        assert_eq!((keys.requests, keys.judged), (2, 1));
        assert_eq!(shares(keys), [Some(0.0), Some(1.0), Some(0.0)]);
        assert_eq!(shares(named(Class::Slo, "⟨80 %, 90 %⟩")), shares(mail));
        assert_eq!(keys.slo, "⟨20 %, 60 %⟩");
        let order: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(order, ["Mail", "Keys", "⟨80 %, 90 %⟩", "⟨20 %, 60 %⟩"]);
    }

    #[test]
    fn several_seeds_give_means_over_seeds() {
        let mut second = run("full", 1);
        second.outcomes[1].bounds = SLOW;
        let rows = goodput(&[run("full", 0), second]);
        assert_eq!((rows[0].seeds, rows[0].requests), (2, 4));
        let expected = Estimate { mean: Some(0.75), lo: Some(0.5), hi: Some(1.0) };
        assert_eq!(rows[0].values[Measure::Attainment], expected);
    }

    #[test]
    fn an_objective_is_named_by_what_it_bounds() {
        let (ttft, tpot) = (Duration::from_secs(1), Duration::from_millis(8));
        assert_eq!(slo_name(Slo::Absolute { ttft, tpot }), "⟨1000 ms, 8.00 ms⟩");
        assert_eq!(slo_name(Slo::EndToEnd(Limit::Absolute(ttft))), "end to end 1000 ms");
        let half = Limit::Share(Ratio::percent(50));
        assert_eq!(slo_name(Slo::Energy(half)), "energy 50 %");
        let energy = Limit::Absolute(Energy::from_nanojoules(2_500_000));
        assert_eq!(slo_name(Slo::Energy(energy)), "energy 2.5 mJ");
    }
}
