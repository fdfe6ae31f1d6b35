//! Goodput by app and by SLO: what each class of requests got, from the outcomes that were kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::metrics_table::{groups, time};
use crate::metrics::{CellLabel, Estimate, RunMeasures};
use crate::outcome::Outcome;
use crate::request::{Limit, Slo};
use crate::results::StoredRun;
use crate::units::millis;

/// What requests are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Who called.
    App,
    /// The objective, as stated.
    Slo,
}

/// What one class of requests got from a cell of the experiment.
///
/// Over several seeds a measure is the mean with its bootstrap interval `…_lo`, `…_hi`; of one seed
/// it is the share of its requests with Wilson's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoodputRow {
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
    /// See [`RunMeasures::accuracy_at_slo`].
    pub accuracy_at_slo: Option<f64>,
    /// Lower end of its interval.
    pub accuracy_at_slo_lo: Option<f64>,
    /// Upper end.
    pub accuracy_at_slo_hi: Option<f64>,
    /// See [`RunMeasures::attainment`].
    pub attainment: Option<f64>,
    /// Lower end of its interval.
    pub attainment_lo: Option<f64>,
    /// Upper end.
    pub attainment_hi: Option<f64>,
    /// See [`RunMeasures::accuracy`].
    pub accuracy: Option<f64>,
    /// Lower end of its interval.
    pub accuracy_lo: Option<f64>,
    /// Upper end.
    pub accuracy_hi: Option<f64>,
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

/// `rows` as CSV, a column for each field.
///
/// # Panics
/// Never: rows are plain values, and memory takes them all.
#[must_use]
pub fn goodput_csv(rows: &[GoodputRow]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("memory takes every row");
    }
    let bytes = writer.into_inner().expect("memory is flushed");
    String::from_utf8(bytes).expect("rows are text")
}

/// The requests of a class.
#[derive(Default)]
struct Members {
    /// The most relaxed objective among them.
    relaxed: (u128, u128),
    slos: BTreeSet<String>,
    by_seed: BTreeMap<u64, Vec<Outcome>>,
}

fn members(cell: &[&StoredRun], class: Class) -> BTreeMap<String, Members> {
    let mut groups: BTreeMap<String, Members> = BTreeMap::new();
    for run in cell {
        for outcome in &run.outcomes {
            let slo = slo_name(outcome.request.slo);
            let name = match class {
                Class::App => run.apps[usize::from(outcome.request.app.0)].clone(),
                Class::Slo => slo.clone(),
            };
            let group = groups.entry(name).or_default();
            group.relaxed = group.relaxed.max(relaxedness(outcome.request.slo));
            group.slos.insert(slo);
            group.by_seed.entry(run.seed).or_default().push(*outcome);
        }
    }
    groups
}

impl Members {
    fn row(&self, label: &CellLabel, class: Class, name: &str) -> GoodputRow {
        let outcomes: Vec<&Outcome> = self.by_seed.values().flatten().collect();
        let judged = outcomes.iter().filter(|one| one.execution.correct.is_some()).count();
        let [at_slo, attainment, accuracy] = self.estimates(&outcomes, judged);
        GoodputRow {
            method: label.method.clone(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            class,
            name: name.to_owned(),
            slo: self.slos.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
            seeds: self.by_seed.len(),
            requests: outcomes.len(),
            judged,
            accuracy_at_slo: at_slo.mean,
            accuracy_at_slo_lo: at_slo.lo,
            accuracy_at_slo_hi: at_slo.hi,
            attainment: attainment.mean,
            attainment_lo: attainment.lo,
            attainment_hi: attainment.hi,
            accuracy: accuracy.mean,
            accuracy_lo: accuracy.lo,
            accuracy_hi: accuracy.hi,
        }
    }

    /// Accuracy@SLO, attainment and accuracy of `outcomes`, the requests of all seeds.
    fn estimates(&self, outcomes: &[&Outcome], judged: usize) -> [Estimate; 3] {
        if self.by_seed.len() > 1 {
            let runs: Vec<_> = self.by_seed.values().map(|seed| RunMeasures::of(seed)).collect();
            return [
                Estimate::over(&runs, |run| run.accuracy_at_slo),
                Estimate::over(&runs, |run| run.attainment),
                Estimate::over(&runs, |run| run.accuracy),
            ];
        }
        let share = |is: fn(&Outcome) -> bool, whole| {
            Estimate::of_share(outcomes.iter().filter(|outcome| is(outcome)).count(), whole)
        };
        [
            share(|one| one.execution.correct == Some(true) && one.slo_met(), judged),
            share(Outcome::slo_met, outcomes.len()),
            share(|one| one.execution.correct == Some(true), judged),
        ]
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
        let shares = |row: &GoodputRow| [row.accuracy_at_slo, row.attainment, row.accuracy];
        assert_eq!(shares(mail), [Some(0.5), Some(0.5), Some(1.0)]);
        let half = Estimate::of_share(1, 2);
        assert_eq!((mail.accuracy_at_slo_lo, mail.accuracy_at_slo_hi), (half.lo, half.hi));
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
        let GoodputRow { attainment, attainment_lo, attainment_hi, .. } = rows[0];
        assert_eq!((attainment, attainment_lo, attainment_hi), (Some(0.75), Some(0.5), Some(1.0)));
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
