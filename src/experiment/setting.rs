//! An experiment's runs for who decides themselves: a policy in another language, or an environment
//! that something learns in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::grid::Grid;
use super::spec::Experiment;
use crate::error::Result;
use crate::executor::Executor;
use crate::method::Method;
use crate::metrics::CellLabel;
use crate::request::Bounds;
use crate::schedule::{Needs, ServiceOptions};
use crate::sim::Calls;
use crate::trace::{Kinds, Trace};

/// One run that waits for somebody's plans.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which cell.
    pub label: CellLabel,
    /// Of the replication.
    pub seed: u64,
    /// Its menu and its answers. What is right is not for who plans.
    pub method: Method,
    /// The requests, shared by all methods under this seed.
    pub trace: Arc<Trace>,
    /// What requests of all runs ask for.
    pub kinds: Arc<Kinds>,
    /// The kind of each request, in the trace's order.
    pub kind_of: Arc<[u32]>,
    /// The objective of each.
    pub bounds: Arc<[Bounds]>,
    /// The least that answering each takes, where the service asks for that.
    pub needs: Option<Arc<[Needs]>>,
    /// How the service treats them.
    pub service: ServiceOptions,
}

impl Setting {
    /// Every run of `experiment` whose method is `wanted`: by device, skew and method as in its
    /// results, then by seed.
    ///
    /// # Errors
    /// If an input is missing or wrong.
    pub fn all(experiment: &Experiment, wanted: impl Fn(&str) -> bool) -> Result<Vec<Self>> {
        let grid = Grid::of(experiment)?;
        let kinds = Arc::new(grid.kinds().clone());
        let mut shared = BTreeMap::new();
        let mut settings = Vec::new();
        for cell in grid.cells.iter().filter(|cell| wanted(&cell.label.method)) {
            let service = cell.method.spec().served_by(experiment.spec.service);
            for (nth, &seed) in grid.seeds.iter().enumerate() {
                let trace = grid.trace(cell, nth);
                let (trace, kind_of) = shared
                    .entry(std::ptr::from_ref(trace))
                    .or_insert_with(|| {
                        let kinds = grid.columns(cell, nth).calls().map(|(_, kind)| kind);
                        (Arc::new(trace.clone()), kinds.collect::<Arc<[u32]>>())
                    })
                    .clone();
                let bounds = cell.method.bounds(&trace)?;
                let needs = cell.method.needs(&trace, &bounds, service)?;
                settings.push(Self {
                    label: cell.label.clone(),
                    seed,
                    method: cell.method.clone(),
                    trace,
                    kinds: Arc::clone(&kinds),
                    kind_of,
                    bounds: bounds.into(),
                    needs: needs.map(Into::into),
                    service,
                });
            }
        }
        Ok(settings)
    }

    /// Who answers, as in a run of the experiment.
    ///
    /// # Errors
    /// As [`Method::cost_model`].
    pub fn executor(&self) -> Result<Box<dyn Executor + Send + Sync>> {
        let executor = self.method.cost_model(&self.trace)?;
        Ok(Box::new(self.method.as_it_varies(executor, self.seed)))
    }

    /// Its requests as they arrive.
    #[must_use]
    pub fn calls(&self) -> Calls<'_> {
        let (requests, bounds) = (&*self.trace.requests, &*self.bounds);
        Calls { requests, bounds, needs: self.needs.as_deref() }
    }
}
