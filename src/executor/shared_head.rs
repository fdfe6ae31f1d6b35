//! A decision-head between the policy that asks it and the executor that bills it.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::engine::session::Runtime;
use crate::engine::stopwatch::timed;
use crate::error::{Error, Result};
use crate::model::decision::Decider;
use crate::model::tlm::graph::Precision;
use crate::policy::LiveHead;
use crate::profile::Decision;
use crate::prompt::Dataset;
use crate::trace::Trace;
use crate::units::Ratio;

use super::engine::{asked, trace_datasets};

/// One open decision-head and the prompts of one trace. Clones are the same head.
#[derive(Debug, Clone)]
pub struct SharedHead(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    decider: Decider,
    /// By request, its dataset and what the head reads of it.
    prompts: BTreeMap<u64, (String, String)>,
    /// What the last decision took, until it is billed.
    took: Duration,
}

impl SharedHead {
    /// Opens the head in the file `path`, in int8, for the requests of `trace`; `stored` is the
    /// SHA-256 of the one whose stored decisions predictions rest on.
    ///
    /// # Errors
    /// If the file is no decision-head or not that one, or an
    /// item has no text.
    pub fn open(
        path: &Path,
        stored: Option<&str>,
        trace: &Trace,
        datasets: &BTreeMap<String, Rc<Dataset>>,
    ) -> Result<Self> {
        let mut decider = Decider::open(Runtime::loaded()?, path, Precision::Int8)?;
        if let Some(stored) = stored.filter(|&sha256| sha256 != decider.sha256()) {
            return Err(Error::file(path, "not the head of the stored decisions")
                .found(decider.sha256())
                .allowed(stored));
        }
        let datasets = trace_datasets(datasets, trace)?;
        let mut prompts = BTreeMap::new();
        for request in &trace.requests {
            let (dataset, item) = asked(&datasets, request)?;
            let text = decider.info().input.text(dataset, item);
            prompts.insert(request.id, (dataset.name.clone(), text));
        }
        // Warm, as a resident service is.
        if let Some((dataset, text)) = prompts.values().next() {
            decider.decide_for(dataset, text, (Ratio::ONE, Ratio::ONE))?;
        }
        Ok(Self(Arc::new(Mutex::new(Inner { decider, prompts, took: Duration::ZERO }))))
    }

    /// What the last decision took; zero if it was billed already.
    pub(super) fn bill(&self) -> Duration {
        std::mem::take(&mut self.lock().took)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics while deciding")
    }
}

impl LiveHead for SharedHead {
    fn decide(&mut self, id: u64, ttft: f64, tpot: f64) -> Result<Decision> {
        let inner = &mut *self.lock();
        let (dataset, text) = inner.prompts.get(&id).ok_or_else(|| {
            Error::new("decision-head", "asked about a request of another trace").found(id)
        })?;
        let objective = (Ratio::at_most(ttft), Ratio::at_most(tpot));
        let (decision, took) = timed(|| inner.decider.decide_for(dataset, text, objective));
        inner.took = took;
        decision
    }
}
