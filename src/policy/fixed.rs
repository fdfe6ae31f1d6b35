//! `full` and `fixed`: always one plan, what a service without elasticity does: the base model on
//! the full prompt, or the one smaller model that it has.

use std::collections::BTreeSet;

use super::{DependsOn, Menu, Policy, ServiceView};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::{Level, Ratio};

/// Knows nothing and always answers this plan.
#[derive(Debug)]
pub(crate) struct Fixed(Plan);

impl Fixed {
    /// Always the base model.
    pub(crate) fn full() -> Self {
        Self(Plan::FULL)
    }

    /// Always `level` of the levels on `menu`, which is the menu of `method`.
    ///
    /// # Errors
    /// If it is not on the menu.
    pub(crate) fn on(menu: &Menu, level: Level, method: &str) -> Result<Self> {
        let levels: BTreeSet<Level> = menu.candidates().iter().map(|one| one.plan.level).collect();
        if levels.contains(&level) {
            return Ok(Self(Plan::new(level, Ratio::ONE)));
        }
        let levels: Vec<String> = levels.iter().map(ToString::to_string).collect();
        Err(Error::new(format!("method {method}"), "no such level")
            .at("key \"policy.level_percent\"")
            .found(level)
            .allowed(levels.join(", ")))
    }
}

impl Policy for Fixed {
    fn plan(&mut self, _request: RequestView<'_>, _service: ServiceView) -> Plan {
        self.0
    }

    fn depends_on(&self) -> DependsOn {
        DependsOn::Kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, plan};
    use crate::method::{MethodSpec, PolicySpec};

    #[test]
    fn the_tightest_objective_changes_nothing() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        assert_eq!(bench.ask(&mut Fixed::full(), &request, None), plan(100, 100));
        let mut small = bench.method_policy(&fixed(50, &bench));
        assert_eq!(bench.ask(&mut *small, &request, None), plan(50, 100));
    }

    /// The bench's method, but always at `level_percent`.
    fn fixed(level_percent: u16, bench: &Bench) -> MethodSpec {
        let policy = PolicySpec::Fixed { level_percent };
        MethodSpec { policy, compressor: None, ..bench.method.spec().clone() }
    }

    #[test]
    fn a_level_that_there_is_not_is_refused() {
        let bench = Bench::elastic();
        let message = fixed(0, &bench).check().unwrap_err().to_string();
        assert!(message.ends_with("not a level; found 0; allowed: 1 to 100"), "{message}");
        let menu = bench.method.menu(&bench.trace).unwrap();
        let message = Fixed::on(&menu, Level::percent(30), "a").unwrap_err().to_string();
        let wanted = "method a, key \"policy.level_percent\": no such level; found 30 %; allowed: ";
        assert!(message.starts_with(wanted), "{message}");
    }
}
