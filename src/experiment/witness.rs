//! Who is given the outcomes of simulated runs as they are, beside the files that keep them.

use std::fmt::Debug;

use crate::error::Result;
use crate::metrics::CellLabel;
use crate::outcome::Outcome;
use crate::sim::{Lost, OutcomeSink};
use crate::trace::Trace;

/// What became of the requests of one run.
#[derive(Debug)]
pub struct Witnessed<'a> {
    /// Which cell.
    pub label: &'a CellLabel,
    /// Of the replication.
    pub seed: u64,
    /// What was replayed.
    pub trace: &'a Trace,
    /// Those that were answered, in order of service.
    pub outcomes: Vec<Outcome>,
    /// Those that left without an answer, in the order in which they did.
    pub lost: Vec<Lost>,
}

/// Is given each run once it came to its end: from any thread, in any order.
pub trait Witness: Debug + Sync {
    /// Takes the outcomes of one run.
    fn take(&self, run: Witnessed<'_>);
}

/// The outcomes of one run under way.
#[derive(Debug)]
pub(super) struct Kept {
    outcomes: Vec<Outcome>,
    lost: Vec<Lost>,
}

impl Kept {
    /// With room for so many outcomes.
    pub fn with_capacity(requests: usize) -> Self {
        Self { outcomes: Vec::with_capacity(requests), lost: Vec::new() }
    }

    /// Hands them over to `witness`.
    pub fn give(self, witness: &dyn Witness, label: &CellLabel, seed: u64, trace: &Trace) {
        let Self { outcomes, lost } = self;
        witness.take(Witnessed { label, seed, trace, outcomes, lost });
    }
}

impl OutcomeSink for Kept {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.outcomes.push(*outcome);
        Ok(())
    }

    fn lose(&mut self, lost: &Lost) -> Result<()> {
        self.lost.push(*lost);
        Ok(())
    }
}
