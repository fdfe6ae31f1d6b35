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

use super::{MethodSpec, Policy, PolicySpec, Scene, ServiceView, standard_methods};
use crate::plan::Plan;
use crate::profile::{
    Cell, DecodeCurve, DeviceProfile, FamilyLatency, Hardware, LevelLatency, PrefillCurve,
    PromptLengths, Provenance, QualityTable, Runtime, Split,
};
use crate::request::{AppId, DatasetId, Request, RequestView, Slo};
use crate::trace::Trace;
use crate::units::{Level, Ratio, SimTime};

/// The id of the bench's only request.
pub(crate) const REQUEST: u64 = 7;

const DATASET: &str = "quiz";

/// A scene and the trace of one request that it is asked about.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) scene: Scene,
    pub(crate) trace: Trace,
}

pub(crate) fn plan(level: u16, ratio: u16) -> Plan {
    Plan { level: Level::percent(level), prompt_ratio: Ratio::percent(ratio) }
}

impl Bench {
    /// Prompts may be cut.
    pub(crate) fn elastic() -> Self {
        Self::new(&standard_methods()[0])
    }

    /// Prompts are read whole.
    pub(crate) fn full_prompt() -> Self {
        let is_lpruner = |method: &MethodSpec| method.policy == PolicySpec::Lpruner {};
        Self::new(&standard_methods().into_iter().find(is_lpruner).unwrap())
    }

    fn new(method: &MethodSpec) -> Self {
        let lengths = method.compressor.as_ref().map(|_| lengths());
        let scene = Scene::from_parts(&device(), "tiny", answers(), lengths.as_ref(), method);
        let trace = Trace {
            datasets: vec![DATASET.into()],
            apps: vec!["app".into()],
            requests: vec![request(1, 1)],
            ..Trace::default()
        };
        Self { scene: scene.unwrap(), trace }
    }

    /// The trace's request with an objective in ms.
    #[expect(clippy::unused_self, reason = "reads as: a request to this bench")]
    pub(crate) fn request(&self, ttft_ms: u64, tpot_ms: u64) -> Request {
        request(ttft_ms, tpot_ms)
    }

    /// The policy of this kind over the bench's scene.
    pub(crate) fn policy(&self, kind: &str) -> Box<dyn Policy> {
        let mut methods = standard_methods().into_iter();
        let method = methods.find(|method| method.policy.kind() == kind).unwrap();
        Self::new(&method).scene.policy(&self.trace, 1).unwrap()
    }

    /// What `policy` plans when `resident` is in memory.
    #[expect(clippy::unused_self, reason = "reads as: ask on this bench")]
    pub(crate) fn ask(
        &self,
        policy: &mut dyn Policy,
        request: &Request,
        resident: Option<Level>,
    ) -> Plan {
        let Slo::Absolute { ttft, tpot } = request.slo else { panic!("objectives are in ms") };
        let bounds = crate::request::Bounds { ttft, tpot };
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

fn device() -> DeviceProfile {
    let family = |family: &str| FamilyLatency {
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
        levels: [50, 100].map(level).into(),
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
    }
}

fn level(percent: u16) -> LevelLatency {
    let share = f64::from(percent) / 100.0;
    LevelLatency {
        level: Level::percent(percent),
        unit_parameter_share: share,
        parameter_share: share,
        switch_ms: 4.0,
        resident_bytes: 1,
        ttft_ms: PrefillCurve {
            intercept: 0.0,
            per_token: share,
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

fn answers() -> QualityTable {
    let cells = |at_half: bool, at_full: bool| {
        let cell = |correct| {
            let gold_probability = f32::from(u8::from(correct));
            Some(Cell { correct, sum_correct: correct, gold_probability })
        };
        let mut cells = [None; 10];
        cells[4] = cell(at_half);
        cells[9] = cell(at_full);
        cells
    };
    let estimate = items(Split::Estimate).into_iter().enumerate().flat_map(|(nth, item)| {
        [
            (DATASET, item, Level::percent(50), cells(nth < 1, nth < 2)),
            (DATASET, item, Level::FULL, cells(nth < 2, nth < 3)),
        ]
    });
    let replay = items(Split::Replay)[0];
    let replay = [
        (DATASET, replay, Level::percent(50), cells(false, true)),
        (DATASET, replay, Level::FULL, cells(false, true)),
    ];
    QualityTable::from_rows(estimate.chain(replay))
}

fn lengths() -> PromptLengths {
    let mut lengths = PromptLengths::default();
    for item in items(Split::Estimate).into_iter().chain(items(Split::Replay)) {
        lengths.insert(DATASET, item, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    }
    lengths
}
