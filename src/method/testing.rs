//! Hand-made tables of two levels and two prompt ratios, for tests of policies and executors.
//!
//! One dataset, `quiz`; every prompt has 100 tokens, every answer 5. TTFT = level · kept tokens ms,
//! TPOT = level · 10 ms, a switch 4 ms, nothing else costs anything. So:
//!
//! | plan | TTFT | TPOT | expected accuracy | the replayed item |
//! | --- | --- | --- | --- | --- |
//! | ⟨100 %, 100 %⟩ | 100 ms | 10 ms | 0.75 | right |
//! | ⟨50 %, 100 %⟩ | 50 ms | 5 ms | 0.5 | right |
//! | ⟨100 %, 50 %⟩ | 50 ms | 10 ms | 0.5 | wrong |
//! | ⟨50 %, 50 %⟩ | 25 ms | 5 ms | 0.25 | wrong |
//!
//! Of benches in phases also
//!
//! | ⟨100 %, 100 %, 50 %⟩ | 100 ms | 5 ms and a quarter of a switch | 0.75 | right |
//! | --- | --- | --- | --- | --- |

use std::time::Duration;

use super::contract::stage::{self, Parts, cell};
pub(crate) use super::contract::stage::{DATASET, decisions_manifest, device, items, lengths};
use super::{Method, MethodSpec, PolicySpec, standard_methods};
use crate::item::ItemId;
use crate::plan::{Phases, Plan};
use crate::policy::{Policy, Reading, ServiceView};
use crate::profile::{
    Answer, Cell, Decision, DecisionKind, Decisions, PlanGrid, PlanProbabilities, QualityTable,
    Split, TPOT_TOKENS, TTFT_TOKENS,
};
use crate::request::{Request, RequestView};
use crate::trace::Trace;
use crate::units::{Level, PROMPT_RATIOS, Ratio, SimTime};

/// The id of the bench's only request.
pub(crate) const REQUEST: u64 = 7;

/// A method and the trace that it is asked about.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) method: Method,
    pub(crate) trace: Trace,
    parts: Parts,
}

pub(crate) fn plan(level: u16, ratio: u16) -> Plan {
    Plan::new(Level::percent(level), Ratio::percent(ratio))
}

/// The plan of a prompt read at level 100 % and answered at 50 %.
pub(crate) fn in_phases() -> Plan {
    Plan::FULL.answered_by(Level::percent(50)).unwrap()
}

impl Bench {
    /// Prompts may be cut.
    pub(crate) fn elastic() -> Self {
        Self::new(&standard_methods()[0])
    }

    /// Prompts may be cut, and the device draws 2 W while it serves.
    pub(crate) fn metered() -> Self {
        let device = stage::metered(device());
        let (answers, lengths) = (answers(), lengths());
        let parts = Parts { device, answers, lengths, decisions: None };
        Self::over(parts, &standard_methods()[0])
    }

    /// Prompts come already cut to their half, of 50 tokens.
    pub(crate) fn shortened() -> Self {
        let method =
            MethodSpec { whole_prompt: Some(Ratio::percent(50)), ..standard_methods().remove(0) };
        let (device, answers, lengths) = (device(), answers(), lengths());
        let mut bench = Self::over(Parts { device, answers, lengths, decisions: None }, &method);
        bench.trace.requests[0].prompt_tokens = 50;
        bench
    }

    /// Prompts are read whole.
    pub(crate) fn full_prompt() -> Self {
        let is_lpruner = |method: &MethodSpec| method.name == "lpruner";
        Self::new(&standard_methods().into_iter().find(is_lpruner).unwrap())
    }

    fn new(method: &MethodSpec) -> Self {
        Self::over(
            Parts { device: device(), answers: answers(), lengths: lengths(), decisions: None },
            method,
        )
    }

    /// The TLM decides, having read 10 tokens at 0.1 ms each.
    pub(crate) fn decided(answer: Answer) -> Self {
        Self::decided_as(answer, Reading::Described)
    }

    /// The same, by another account of what a decision that is too late gives way to.
    pub(crate) fn decided_as(answer: Answer, reading: Reading) -> Self {
        let mut decisions = Decisions::new(decisions_manifest(match answer {
            Answer::Soft(_) => DecisionKind::Soft,
            Answer::Hard(_) => DecisionKind::Hard,
        }));
        let decision = Decision { answer, tlm_tokens: 10 };
        decisions.insert(DATASET, items(Split::Replay)[0], decision);
        let method = MethodSpec {
            name: "elastilm".into(),
            policy: PolicySpec::Elastilm { decisions: "bench".into(), reading },
            ..standard_methods().remove(0)
        };
        let (device, answers, lengths) = (device(), answers(), lengths());
        Self::over(Parts { device, answers, lengths, decisions: Some(decisions) }, &method)
    }

    /// Prompts may be cut, and level 50 % may answer a whole prompt that level 100 % read.
    pub(crate) fn in_phases() -> Self {
        Self::phases_of(DATASET)
    }

    /// The same, but that was measured in another dataset only.
    pub(crate) fn in_phases_elsewhere() -> Self {
        Self::phases_of("elsewhere")
    }

    fn phases_of(dataset: &'static str) -> Self {
        let method = MethodSpec { phases: Phases::Two, ..standard_methods().remove(0) };
        let parts = Parts {
            device: device(),
            answers: answers_in_phases(dataset),
            lengths: lengths(),
            decisions: None,
        };
        Self::over(parts, &method)
    }

    /// The TLM decides over those plans.
    pub(crate) fn decided_in_phases(answer: Answer) -> Self {
        let bench = Self::decided(answer);
        let method = MethodSpec { phases: Phases::Two, ..bench.method.spec().clone() };
        Self::over(Parts { answers: answers_in_phases(DATASET), ..bench.parts }, &method)
    }

    fn over(parts: Parts, method: &MethodSpec) -> Self {
        let trace = Trace {
            datasets: vec![DATASET.into()],
            apps: vec!["app".into()],
            requests: vec![request(1, 1)],
            ..Trace::default()
        };
        Self { method: parts.method(method), trace, parts }
    }

    /// Nine levels, ten ratios, random answers and curves, and `requests` requests with random
    /// relative objectives, numbered from 0.
    pub(crate) fn random(seed: u64, requests: u64) -> Self {
        Self::random_in(Phases::One, seed, requests)
    }

    /// The same, maybe with each level answering what the next larger one read.
    pub(crate) fn random_in(phases: Phases, seed: u64, requests: u64) -> Self {
        let method = MethodSpec { phases, ..standard_methods().remove(0) };
        let parts = Parts::random(&method, seed, &Level::LADDER);
        let trace = stage::random_trace(seed, requests);
        Self { method: parts.method(&method), trace, parts }
    }

    /// The trace's request with an objective in ms.
    #[expect(clippy::unused_self, reason = "reads as: a request to this bench")]
    pub(crate) fn request(&self, ttft_ms: u64, tpot_ms: u64) -> Request {
        request(ttft_ms, tpot_ms)
    }

    /// The policy of the bench's own method.
    pub(crate) fn own_policy(&self) -> Box<dyn Policy> {
        self.method.policy(&self.trace, 1).unwrap()
    }

    /// The policy of the standard method of this name over the bench's tables.
    pub(crate) fn policy(&self, name: &str) -> Box<dyn Policy> {
        self.seeded_policy(name, 1)
    }

    /// The policy of a method over the bench's tables.
    pub(crate) fn method_policy(&self, method: &MethodSpec) -> Box<dyn Policy> {
        self.parts.method(method).policy(&self.trace, 1).unwrap()
    }

    /// The same under another seed.
    pub(crate) fn seeded_policy(&self, name: &str, seed: u64) -> Box<dyn Policy> {
        let mut methods = standard_methods().into_iter();
        let phases = self.method.spec().phases;
        let method = methods.find(|method| method.name == name).unwrap();
        let method = MethodSpec { phases, ..method };
        self.parts.method(&method).policy(&self.trace, seed).unwrap()
    }

    /// A policy in place of the one of the bench's own method.
    pub(crate) fn policy_of(&self, policy: PolicySpec) -> Box<dyn Policy> {
        let method = MethodSpec { policy, ..self.method.spec().clone() };
        self.parts.method(&method).policy(&self.trace, 1).unwrap()
    }

    /// What `policy` plans when `resident` is in memory.
    pub(crate) fn ask(
        &self,
        policy: &mut dyn Policy,
        request: &Request,
        resident: Option<Level>,
    ) -> Plan {
        let bounds = self.method.bounds(&Trace { requests: vec![*request], ..self.trace.clone() });
        let bounds = bounds.unwrap()[0];
        let service = ServiceView {
            now: SimTime::ZERO,
            resident,
            queued: 0,
            speed: crate::units::Ratio::ONE,
        };
        policy.plan(RequestView::new(request, bounds), service)
    }
}

fn request(ttft_ms: u64, tpot_ms: u64) -> Request {
    let ms = Duration::from_millis;
    stage::request(REQUEST, ms(ttft_ms), ms(tpot_ms))
}

/// The bench's device with every level of the ladder.
#[cfg(feature = "engine")]
pub(crate) fn ladder_device() -> crate::profile::DeviceProfile {
    let mut device = device();
    for family in &mut device.families {
        family.levels = Level::LADDER.map(|known| stage::level(known.as_percent(), 1.0)).into();
    }
    device
}

/// A soft answer: `known` probabilities, all others 0.
pub(crate) fn soft(known: &[(Plan, f32)]) -> Answer {
    let mut grid: PlanProbabilities = [[Some(0.0); PROMPT_RATIOS.len()]; Level::LADDER.len()];
    for &(plan, probability) in known {
        let level = Level::LADDER.iter().position(|&level| level == plan.level).unwrap();
        let ratio = PROMPT_RATIOS.iter().position(|&ratio| ratio == plan.prompt_ratio).unwrap();
        grid[level][ratio] = Some(probability);
    }
    Answer::Soft(Box::new(grid))
}

/// A hard answer: `known` plans for objectives in percent, the full model for all others.
pub(crate) fn hard(known: &[(u16, u16, Plan)]) -> Answer {
    let mut grid: PlanGrid = [[Plan::FULL; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];
    for &(ttft, tpot, plan) in known {
        let place = |tokens: &[u16], token| tokens.iter().position(|&t| t == token).unwrap();
        grid[place(&TTFT_TOKENS, ttft)][place(&TPOT_TOKENS, tpot)] = plan;
    }
    Answer::Hard(Box::new(grid))
}

type Row = (&'static str, ItemId, Level, [Option<Cell>; 10]);

fn rows() -> Vec<Row> {
    let cells = |at_half: bool, at_full: bool| {
        let mut cells = [None; 10];
        cells[4] = Some(cell(at_half));
        cells[9] = Some(cell(at_full));
        cells
    };
    let mut rows = Vec::new();
    for (nth, item) in items(Split::Estimate).into_iter().enumerate() {
        rows.push((DATASET, item, Level::percent(50), cells(nth < 1, nth < 2)));
        rows.push((DATASET, item, Level::FULL, cells(nth < 2, nth < 3)));
    }
    let replayed = items(Split::Replay)[0];
    rows.push((DATASET, replayed, Level::percent(50), cells(false, true)));
    rows.push((DATASET, replayed, Level::FULL, cells(false, true)));
    rows
}

pub(crate) fn answers() -> QualityTable {
    QualityTable::from_rows(rows())
}

fn answers_in_phases(dataset: &'static str) -> QualityTable {
    let mut rows: Vec<_> =
        rows().into_iter().map(|(d, i, level, c)| (d, i, (None, level), c)).collect();
    let right = |nth: usize| std::array::from_fn(|ratio| (ratio == 9).then(|| cell(nth < 3)));
    let pair = (Some(Level::FULL), Level::percent(50));
    for (nth, item) in items(Split::Estimate).into_iter().enumerate() {
        rows.push((dataset, item, pair, right(nth)));
    }
    rows.push((dataset, items(Split::Replay)[0], pair, right(0)));
    QualityTable::from_phases(rows)
}

/// The rows of level 50 % only.
pub(crate) fn answers_without_base() -> QualityTable {
    QualityTable::from_rows(rows().into_iter().filter(|row| row.2 != Level::FULL))
}
