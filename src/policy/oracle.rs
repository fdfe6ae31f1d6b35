//! `oracle`: what perfect knowledge of the answers would reach.
//!
//! Knows the latency profile and, for every item of its trace, which candidates answer it rightly:
//! it is told when it is made. Among candidates that are right and meet both bounds it takes the
//! lightest; if there is none it asks another policy over the same menu (of the built-in methods:
//! `elastic-profile`). So no other policy over the same candidates and with the same resident level
//! meets an objective with a right answer where it does not.

use super::menu::Menu;
use super::{Policy, ServiceView};
use crate::plan::Plan;
use crate::profile::RowId;
use crate::request::RequestView;

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct Oracle {
    menu: Menu,
    right: RightPlans,
    otherwise: Box<dyn Policy>,
}

/// By item, by candidate of a menu: whether it answers rightly.
#[derive(Debug)]
pub(crate) struct RightPlans {
    candidates: usize,
    right: Vec<bool>,
}

impl RightPlans {
    /// Nothing is right of `candidates` for any of `items`, yet.
    pub(crate) fn none(items: usize, candidates: usize) -> Self {
        Self { candidates, right: vec![false; items * candidates] }
    }

    /// Says whether the candidate at `place` answers `item` rightly.
    pub(crate) fn set(&mut self, item: RowId, place: usize, is_right: bool) {
        self.right[item.index() * self.candidates + place] = is_right;
    }

    fn of(&self, item: RowId) -> &[bool] {
        &self.right[item.index() * self.candidates..][..self.candidates]
    }
}

impl Oracle {
    /// Chooses among what is `right`, and as `otherwise` says where nothing is.
    pub(crate) fn new(menu: Menu, right: RightPlans, otherwise: Box<dyn Policy>) -> Self {
        Self { menu, right, otherwise }
    }
}

impl Policy for Oracle {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        let right = self.right.of(choices.item());
        let candidates = choices.candidates().iter().zip(right);
        let right = candidates.filter_map(|(candidate, right)| right.then_some(candidate));
        let lightest = choices.feasible(right).map(|(one, forecast)| one.weight(&forecast)).min();
        match lightest {
            Some((_, plan)) => plan,
            None => self.otherwise.plan(request, service),
        }
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
