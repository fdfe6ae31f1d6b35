//! A hand-made scene of two levels and two prompt ratios, for tests of policies and executors.
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

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{MethodSpec, Policy, PolicySpec, Scene, ServiceView, standard_methods};
use crate::plan::Plan;
use crate::profile::{
    Answer, Cell, Decision, DecisionKind, Decisions, DecisionsManifest, DecodeCurve, DeviceProfile,
    FamilyLatency, Hardware, LevelLatency, PlanGrid, PlanProbabilities, Power, PrefillCurve,
    PromptLengths, Provenance, QualityTable, Runtime, Split, TPOT_TOKENS, TTFT_TOKENS, TlmLatency,
};
use crate::request::{AppId, DatasetId, Request, RequestView, Slo};
use crate::rng;
use crate::trace::Trace;
use crate::units::{Level, Ratio, SimTime};

/// The id of the bench's only request.
pub(crate) const REQUEST: u64 = 7;

const DATASET: &str = "quiz";

/// A scene and the trace that it is asked about.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) scene: Scene,
    pub(crate) trace: Trace,
    parts: Parts,
}

/// What a scene is made of, for scenes of other methods over the same tables.
#[derive(Debug, Clone)]
struct Parts {
    device: DeviceProfile,
    answers: QualityTable,
    lengths: PromptLengths,
    decisions: Option<Decisions>,
}

impl Parts {
    fn scene(&self, method: &MethodSpec) -> Scene {
        let lengths = method.compressor.as_ref().map(|_| &self.lengths);
        let (answers, decisions) = (self.answers.clone(), self.decisions.as_ref());
        Scene::from_parts(&self.device, "tiny", answers, lengths, decisions, method).unwrap()
    }
}

pub(crate) fn plan(level: u16, ratio: u16) -> Plan {
    Plan { level: Level::percent(level), prompt_ratio: Ratio::percent(ratio) }
}

impl Bench {
    /// Prompts may be cut.
    pub(crate) fn elastic() -> Self {
        Self::new(&standard_methods()[0])
    }

    /// Prompts may be cut, and the device draws 2 W while it serves.
    pub(crate) fn metered() -> Self {
        let provenance = device().families.remove(0).provenance;
        let power = Power { idle_watts: 0.5, active_watts: 2.0, provenance };
        let device = DeviceProfile { power: Some(power), ..device() };
        let (answers, lengths) = (answers(), lengths());
        let parts = Parts { device, answers, lengths, decisions: None };
        Self::over(parts, &standard_methods()[0])
    }

    /// Prompts are read whole.
    pub(crate) fn full_prompt() -> Self {
        let is_lpruner = |method: &MethodSpec| method.policy.kind() == "lpruner";
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
        let mut decisions = Decisions::new(decisions_manifest(match answer {
            Answer::Soft(_) => DecisionKind::Soft,
            Answer::Hard(_) => DecisionKind::Hard,
        }));
        let decision = Decision { answer, tlm_tokens: 10 };
        decisions.insert(DATASET, items(Split::Replay)[0], decision);
        let method = MethodSpec {
            name: "elastilm".into(),
            policy: PolicySpec::Elastilm { decisions: "bench".into() },
            ..standard_methods().remove(0)
        };
        let (device, answers, lengths) = (device(), answers(), lengths());
        Self::over(Parts { device, answers, lengths, decisions: Some(decisions) }, &method)
    }

    fn over(parts: Parts, method: &MethodSpec) -> Self {
        let trace = Trace {
            datasets: vec![DATASET.into()],
            apps: vec!["app".into()],
            requests: vec![request(1, 1)],
            ..Trace::default()
        };
        Self { scene: parts.scene(method), trace, parts }
    }

    /// Nine levels, ten ratios, random answers and curves, and `requests` requests with random
    /// relative objectives, numbered from 0.
    pub(crate) fn random(seed: u64, requests: u64) -> Self {
        let draws = &mut rng::stream(seed, "bench");
        let mut device = device();
        for family in &mut device.families {
            let scale = draws.random_range(0.1..2.0);
            family.levels = (2..=10).map(|tenths| level(tenths * 10, scale)).collect();
            family.decide_ms = draws.random_range(0.0..0.5);
            family.compress_ms_per_token = draws.random_range(0.0..0.02);
        }
        let all: Vec<_> = items(Split::Estimate).into_iter().chain(items(Split::Replay)).collect();
        let mut rows = Vec::new();
        for (&item, level) in all.iter().flat_map(|item| Level::LADDER.map(|level| (item, level))) {
            let cells = [(); 10]
                .map(|()| Some(cell(draws.random_bool(0.3 + 0.4 * level.share().as_f64()))));
            rows.push((DATASET, item, level, cells));
        }
        let (answers, lengths) = (QualityTable::from_rows(rows), lengths());
        let parts = Parts { device, answers, lengths, decisions: None };
        let objective = |draws: &mut ChaCha8Rng| Ratio::percent(draws.random_range(5..=100));
        let requests = (0..requests).map(|id| Request {
            id,
            item: items(Split::Replay)[draws.random_range(0..4)],
            output_tokens: draws.random_range(1..20),
            slo: Slo::Relative { ttft: objective(draws), tpot: objective(draws) },
            ..request(1, 1)
        });
        let requests = requests.collect();
        let trace = Trace { datasets: vec![DATASET.into()], requests, ..Trace::default() };
        Self { scene: parts.scene(&standard_methods()[0]), trace, parts }
    }

    /// The trace's request with an objective in ms.
    #[expect(clippy::unused_self, reason = "reads as: a request to this bench")]
    pub(crate) fn request(&self, ttft_ms: u64, tpot_ms: u64) -> Request {
        request(ttft_ms, tpot_ms)
    }

    /// The policy of the scene's own method.
    pub(crate) fn own_policy(&self) -> Box<dyn Policy> {
        self.scene.policy(&self.trace, 1).unwrap()
    }

    /// The policy of this kind over the bench's tables.
    pub(crate) fn policy(&self, kind: &str) -> Box<dyn Policy> {
        self.seeded_policy(kind, 1)
    }

    /// The policy of a method over the bench's tables.
    pub(crate) fn method_policy(&self, method: &MethodSpec) -> Box<dyn Policy> {
        self.parts.scene(method).policy(&self.trace, 1).unwrap()
    }

    /// The same under another seed.
    pub(crate) fn seeded_policy(&self, kind: &str, seed: u64) -> Box<dyn Policy> {
        let mut methods = standard_methods().into_iter();
        let method = methods.find(|method| method.policy.kind() == kind).unwrap();
        self.parts.scene(&method).policy(&self.trace, seed).unwrap()
    }

    /// A policy in place of the one of the scene's own method.
    pub(crate) fn policy_of(&self, policy: PolicySpec) -> Box<dyn Policy> {
        let method = MethodSpec { policy, ..self.scene.method().clone() };
        self.parts.scene(&method).policy(&self.trace, 1).unwrap()
    }

    /// What `policy` plans when `resident` is in memory.
    pub(crate) fn ask(
        &self,
        policy: &mut dyn Policy,
        request: &Request,
        resident: Option<Level>,
    ) -> Plan {
        let bounds = self.scene.bounds(&Trace { requests: vec![*request], ..self.trace.clone() });
        let bounds = bounds.unwrap()[0];
        let service = ServiceView { now: SimTime::ZERO, resident, queued: 0 };
        policy.plan(RequestView::new(request, bounds), service)
    }
}

fn request(ttft_ms: u64, tpot_ms: u64) -> Request {
    Request {
        id: REQUEST,
        arrival: SimTime::ZERO,
        app: AppId(0),
        dataset: DatasetId(0),
        item: items(Split::Replay)[0],
        prompt_tokens: 100,
        output_tokens: 5,
        slo: Slo::Absolute {
            ttft: Duration::from_millis(ttft_ms),
            tpot: Duration::from_millis(tpot_ms),
        },
    }
}

/// The first four items of a side.
pub(crate) fn items(side: Split) -> Vec<u32> {
    (0..).filter(|&item| Split::of(DATASET, item) == side).take(4).collect()
}

pub(crate) fn device() -> DeviceProfile {
    let family = |family: &str| FamilyLatency {
        members: Vec::new(),
        base_model: "tiny".into(),
        family: family.into(),
        decide_ms: 0.0,
        compress_ms_per_token: 0.0,
        memory: None,
        provenance: Provenance::Modelled {
            formula: "level · tokens".into(),
            anchors: Vec::new(),
            assumptions: Vec::new(),
        },
        levels: [50, 100].map(|percent| level(percent, 1.0)).into(),
    };
    DeviceProfile {
        schema: 1,
        name: "bench".into(),
        hardware: Hardware { cpu: "none".into(), cores: 1, memory_bytes: 1 },
        runtime: Runtime {
            name: "none".into(),
            version: "0".into(),
            threads: 1,
            precision: "f32".into(),
        },
        power: None,
        families: ["width", "width-relayout", "layer-removal"].map(family).into(),
        tlms: vec![TlmLatency {
            base_model: "tiny".into(),
            decide_ms: PrefillCurve {
                intercept: 0.0,
                per_token: 0.1,
                per_token_squared: 0.0,
                tokens: None,
                fit_error: None,
            },
            compress_ms: None,
            lingua_ms: None,
            provenance: family("width").provenance,
        }],
    }
}

/// The bench's device with every level of the ladder.
#[cfg(feature = "engine")]
pub(crate) fn ladder_device() -> DeviceProfile {
    let mut device = device();
    for family in &mut device.families {
        family.levels = Level::LADDER.map(|known| level(known.as_percent(), 1.0)).into();
    }
    device
}

/// A soft answer: `known` probabilities, all others 0.
pub(crate) fn soft(known: &[(Plan, f32)]) -> Answer {
    let mut grid = PlanProbabilities::default();
    for &(plan, probability) in known {
        let level = Level::LADDER.iter().position(|&level| level == plan.level).unwrap();
        grid[level][QualityTable::ratio_index(plan.prompt_ratio).unwrap()] = probability;
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

/// A manifest that says nothing but which head.
pub(crate) fn decisions_manifest(kind: DecisionKind) -> DecisionsManifest {
    DecisionsManifest {
        schema: 1,
        kind,
        base_model: "tiny".into(),
        table: "width".into(),
        table_sha256: String::new(),
        compressor: "structured".into(),
        device: None,
        trunk_sha256: String::new(),
        trunk_layers: 1,
        head_sha256: String::new(),
        trained_on: std::collections::BTreeMap::new(),
        command: String::new(),
        date: String::new(),
        commit: String::new(),
        measures: std::collections::BTreeMap::new(),
        notes: Vec::new(),
    }
}

/// `scale` 1: the bench of the module's table.
fn level(percent: u16, scale: f64) -> LevelLatency {
    let share = f64::from(percent) / 100.0;
    LevelLatency {
        level: Level::percent(percent),
        unit_parameter_share: share,
        parameter_share: share,
        switch_ms: 4.0,
        resident_bytes: 1,
        ttft_ms: PrefillCurve {
            intercept: 0.0,
            per_token: share * scale,
            per_token_squared: 0.0,
            tokens: None,
            fit_error: None,
        },
        tpot_ms: DecodeCurve {
            intercept: share * 10.0,
            per_context_token: 0.0,
            tokens: None,
            fit_error: None,
        },
    }
}

fn cell(correct: bool) -> Cell {
    let gold_probability = f32::from(u8::from(correct));
    Cell { correct, sum_correct: correct, gold_probability, top_correct: None }
}

type Row = (&'static str, u32, Level, [Option<Cell>; 10]);

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

/// The rows of level 50 % only.
pub(crate) fn answers_without_base() -> QualityTable {
    QualityTable::from_rows(rows().into_iter().filter(|row| row.2 != Level::FULL))
}

pub(crate) fn lengths() -> PromptLengths {
    let mut lengths = PromptLengths::default();
    for item in items(Split::Estimate).into_iter().chain(items(Split::Replay)) {
        lengths.insert(DATASET, item, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    }
    lengths
}
