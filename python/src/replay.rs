//! One replay that waits for plans from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use pliant::executor::Executor;
use pliant::experiment::Setting;
use pliant::metrics::CellLabel;
use pliant::outcome::Outcome;
use pliant::plan::Plan;
use pliant::policy::ReplayKey;
use pliant::sim::{Asked, Steps};

/// One replay under way.
pub struct Run {
    pub setting: Arc<Setting>,
    executor: Box<dyn Executor + Send + Sync>,
    steps: Steps,
    /// Of each request that was planned for, in order.
    chosen: Vec<Chosen>,
    /// Those that are known, as they come.
    pub outcomes: Vec<Outcome>,
    /// Whether they are kept beyond the step in which they became known.
    keeps: bool,
    pub reasons: BTreeMap<u64, String>,
}

/// What was planned for a request.
#[derive(Clone, Copy)]
pub struct Chosen {
    /// Its number.
    id: u64,
    pub kind: u32,
    plan: Plan,
    /// The plan's place among the candidates.
    pub place: usize,
}

impl Run {
    /// The replay of `setting` up to its first decision; it `keeps` its outcomes, or the latest.
    pub fn begin(setting: Arc<Setting>, keeps: bool) -> pliant::Result<Self> {
        let (mut executor, mut outcomes) = (setting.executor()?, Vec::new());
        let begun = Steps::begin(setting.calls(), &mut *executor, setting.service, &mut outcomes);
        let (chosen, reasons) = (Vec::new(), BTreeMap::new());
        Ok(Self { executor, steps: begun?, chosen, outcomes, keeps, reasons, setting })
    }

    /// What is asked, with the kind of its request; `None` at the end.
    pub fn asked(&self) -> Option<(u32, &Asked)> {
        let asked = self.steps.asked()?;
        Some((self.setting.kind_of[asked.nth], asked))
    }

    /// Goes on with `plan`, the candidate at `place`.
    pub fn answer(&mut self, place: usize, plan: Plan) -> pliant::Result<()> {
        let asked = self.steps.asked().expect("it is answered once");
        let (id, kind) = (asked.request.id, self.setting.kind_of[asked.nth]);
        self.chosen.push(Chosen { id, kind, plan, place });
        if !self.keeps {
            self.outcomes.clear();
        }
        let (calls, executor) = (self.setting.calls(), &mut *self.executor);
        self.steps.answer(plan, calls, executor, &mut self.outcomes)
    }

    /// The requests that were completed since the last decision.
    pub fn completed(&self) -> &[Outcome] {
        self.steps.completed()
    }

    /// What was planned for a request, mostly one of the last.
    pub fn chosen(&self, request: u64) -> Chosen {
        let last = self.chosen.iter().rev().find(|chosen| chosen.id == request);
        *last.expect("what was completed was planned")
    }

    pub fn reason(&mut self, request: u64, reason: String) {
        self.reasons.insert(request, reason);
    }

    /// Which replay it is, and what was planned in it.
    pub fn planned(&self) -> (ReplayKey, BTreeMap<u64, Plan>) {
        let Setting { label, seed, trace, .. } = &*self.setting;
        let (device, trace) = (label.device.clone(), trace.fingerprint());
        let plans = self.chosen.iter().map(|chosen| (chosen.id, chosen.plan)).collect();
        (ReplayKey { device, seed: *seed, trace }, plans)
    }

    /// Where it is, in words.
    pub fn place(&self, request: u64) -> String {
        let Setting { label: CellLabel { alpha, device, .. }, seed, .. } = &*self.setting;
        format!("request {request}, seed {seed}, alpha {alpha}, device {device}")
    }
}
