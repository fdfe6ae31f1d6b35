//! `oracle`: what perfect knowledge of the answers would reach.
//!
//! Knows the latency profile and, for every item of its trace, how right each candidate's answer
//! is: it is told when it is made. Among candidates that meet both bounds it takes those of the
//! best grade, of these the lightest; if none is right at all it asks another policy over the same
//! menu (of the built-in methods: `elastic-profile`). So no other policy over the same candidates
//! and with the same resident level meets an objective with a better answer.

use std::cmp::Reverse;

use super::costs::Candidate;
use super::menu::{Choices, Menu};
use super::{DependsOn, Policy, Preferences, ServiceView};
use crate::plan::Plan;
use crate::profile::RowId;
use crate::request::RequestView;
use crate::units::{Grade, Level};

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct Oracle {
    menu: Menu,
    told: GradedPlans,
    otherwise: Box<dyn Policy>,
}

/// By item, by candidate of a menu: how right its answer is.
#[derive(Debug)]
pub(crate) struct GradedPlans {
    candidates: usize,
    grades: Vec<Grade>,
}

impl GradedPlans {
    /// Nothing is right of `candidates` for any of `items`, yet.
    pub(crate) fn none(items: usize, candidates: usize) -> Self {
        Self { candidates, grades: vec![Grade::WRONG; items * candidates] }
    }

    /// Says how right the answer of the candidate at `place` to `item` is.
    pub(crate) fn set(&mut self, item: RowId, place: usize, grade: Grade) {
        self.grades[item.index() * self.candidates + place] = grade;
    }

    fn of(&self, item: RowId) -> &[Grade] {
        &self.grades[item.index() * self.candidates..][..self.candidates]
    }
}

impl Oracle {
    /// Chooses by what is `told`, and as `otherwise` says where nothing is right.
    pub(crate) fn new(menu: Menu, told: GradedPlans, otherwise: Box<dyn Policy>) -> Self {
        Self { menu, told, otherwise }
    }

    /// The candidates whose answers are not wholly wrong, and how right they are.
    fn right<'a>(&'a self, choices: &Choices<'a>) -> impl Iterator<Item = (&'a Candidate, Grade)> {
        let grades = self.told.of(choices.item()).iter().copied();
        choices.candidates().iter().zip(grades).filter(|(_, grade)| *grade > Grade::WRONG)
    }
}

impl Policy for Oracle {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        let weighed = self.right(&choices).filter_map(|(candidate, grade)| {
            let (one, forecast) = choices.feasible(std::iter::once(candidate)).next()?;
            Some((Reverse(grade), one.weight(&forecast)))
        });
        match weighed.min() {
            Some((_, (_, plan))) => plan,
            None => self.otherwise.plan(request, service),
        }
    }

    fn depends_on(&self) -> DependsOn {
        self.otherwise.depends_on().max(DependsOn::Resident)
    }

    fn preferences(
        &self,
        request: RequestView<'_>,
        resident: Option<Level>,
    ) -> Option<Preferences> {
        let choices = self.menu.choices(request, resident);
        let mut right: Vec<_> = self.right(&choices).collect();
        let forecasted = |(candidate, grade): (&Candidate, Grade)| {
            let (candidate, forecast) = choices.forecasted(candidate);
            (Reverse(grade), candidate.weight(&forecast), (candidate, forecast))
        };
        let mut wanted: Vec<_> = right.drain(..).map(forecasted).collect();
        wanted.sort_by_key(|&(grade, weight, _)| (grade, weight));
        let wanted = wanted.into_iter().map(|(.., one)| one).collect();
        Some(self.otherwise.preferences(request, resident)?.after(wanted))
    }
}

#[cfg(test)]
mod tests {
    use crate::method::testing::{Bench, plan};

    #[test]
    fn the_lightest_right_plan_wins_and_without_one_the_expected_best() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("oracle");
        // The request's item is answered rightly at ⟨50, 100⟩ and ⟨100, 100⟩ only.
        assert_eq!(bench.ask(&mut *policy, &bench.request(100, 10), None), plan(50, 100));
        // 49 ms: only ⟨50, 50⟩ is feasible, and wrong.
        assert_eq!(bench.ask(&mut *policy, &bench.request(49, 10), None), plan(50, 50));
    }
}
