//! `full`: always the base model on the full prompt, what a service without elasticity does.

use super::{DependsOn, Policy, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;

/// Knows nothing and always answers [`Plan::FULL`].
#[derive(Debug)]
pub(crate) struct Full;

impl Policy for Full {
    fn plan(&mut self, _request: RequestView<'_>, _service: ServiceView) -> Plan {
        Plan::FULL
    }

    fn depends_on(&self) -> DependsOn {
        DependsOn::Kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, plan};

    #[test]
    fn the_tightest_objective_changes_nothing() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        assert_eq!(bench.ask(&mut Full, &request, None), plan(100, 100));
    }
}
