//! What a method is made of, in memory and without files: one device of three families, tables, and
//! random ones of every level and ratio.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::{Method, MethodSpec};
use crate::item::ItemId;
use crate::plan::Phases;
use crate::profile::{
    Answer, Cell, Decision, DecisionKind, Decisions, DecisionsManifest, DecodeCurve, DeviceProfile,
    FamilyLatency, Hardware, LevelLatency, Power, PrefillCurve, PromptLengths, Provenance,
    QualityTable, Runtime, Split, TlmLatency,
};
use crate::request::{AppId, DatasetId, Limit, Request, Slo, Terms};
use crate::rng;
use crate::trace::Trace;
use crate::units::{Level, PROMPT_RATIOS, Ratio, SimTime};

/// The only dataset.
pub(crate) const DATASET: &str = "quiz";

/// What a method is made of, for other methods over the same tables.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) device: DeviceProfile,
    pub(crate) answers: QualityTable,
    pub(crate) lengths: PromptLengths,
    pub(crate) decisions: Option<Decisions>,
}

impl Parts {
    /// The method of `spec`.
    ///
    /// # Panics
    /// If the parts lack something that the method needs.
    pub(crate) fn method(&self, spec: &MethodSpec) -> Method {
        let lengths = spec.compressor.as_ref().map(|_| &self.lengths);
        let (answers, decisions) = (self.answers.clone(), self.decisions.as_ref());
        Method::from_parts(&self.device, "tiny", answers, lengths, decisions, spec)
            .expect("the parts are made for the method")
    }

    /// Random times and answers at `levels` for `method`.
    pub(crate) fn random(method: &MethodSpec, seed: u64, levels: &[Level]) -> Self {
        let draws = &mut rng::stream(seed, "stage");
        let mut device = metered(device());
        let mut own = device.families[0].clone();
        own.family.clone_from(&method.family);
        device.families.retain(|family| family.family != method.family);
        device.families.push(own);
        device.tlms[0].compress_ms = Some(linear(draws.random_range(0.0..0.02)));
        device.tlms[0].lingua_ms = Some(linear(draws.random_range(0.0..0.2)));
        for family in &mut device.families {
            let scale = draws.random_range(0.1..2.0);
            family.levels = levels.iter().map(|at| level(at.as_percent(), scale)).collect();
            family.decide_ms = draws.random_range(0.0..0.5);
            family.compress_ms_per_token = draws.random_range(0.0..0.02);
        }
        let mut rows = Vec::new();
        for (&item, level) in
            all_items().iter().flat_map(|item| levels.iter().map(move |l| (item, *l)))
        {
            let right = 0.3 + 0.4 * level.share().as_f64();
            rows.push((DATASET, item, (None, level), random_cells(draws, right)));
        }
        if method.phases == Phases::Two {
            for (item, two) in
                all_items().iter().flat_map(|item| levels.windows(2).map(move |two| (item, two)))
            {
                rows.push((DATASET, *item, (Some(two[1]), two[0]), random_cells(draws, 0.6)));
            }
        }
        let decisions = method.policy.decisions().map(|_| decisions(draws));
        Self { device, answers: QualityTable::from_phases(rows), lengths: lengths(), decisions }
    }

    /// The same with every replayed item's answers turned: right is wrong.
    pub(crate) fn with_other_answers(&self) -> Self {
        let table = &self.answers;
        let mut rows = Vec::new();
        for (item, row) in table.items(DATASET) {
            for (place, &level) in table.levels().iter().enumerate() {
                let turn = table.side(row) == Split::Replay;
                let cells = std::array::from_fn(|ratio| {
                    table.grade(row, place, ratio).map(|grade| cell(grade.is_right() != turn))
                });
                rows.push((DATASET, item, level, cells));
            }
        }
        Self { answers: QualityTable::from_rows(rows), ..self.clone() }
    }
}

fn random_cells(draws: &mut ChaCha8Rng, right: f64) -> [Option<Cell>; PROMPT_RATIOS.len()] {
    PROMPT_RATIOS.map(|_| Some(cell(draws.random_bool(right))))
}

/// `count` requests for replayed items, numbered from 0, with random relative objectives of every
/// kind.
pub(crate) fn random_trace(seed: u64, count: u64) -> Trace {
    let draws = &mut rng::stream(seed, "stage trace");
    let share = |draws: &mut ChaCha8Rng| Ratio::percent(draws.random_range(5..=100));
    let objective = |draws: &mut ChaCha8Rng| match draws.random_range(0..4) {
        0 => Slo::EndToEnd(Limit::Share(share(draws))),
        1 => Slo::Energy(Limit::Share(share(draws))),
        _ => Slo::Relative { ttft: share(draws), tpot: share(draws) },
    };
    let requests = (0..count).map(|id| Request {
        id,
        item: items(Split::Replay)[draws.random_range(0..4)],
        output_tokens: draws.random_range(1..20),
        slo: objective(draws),
        ..request(id, Duration::ZERO, Duration::ZERO)
    });
    let requests = requests.collect();
    Trace { datasets: vec![DATASET.into()], apps: vec!["app".into()], requests, ..Trace::default() }
}

/// A request for the first replayed item, of 100 prompt tokens and 5 output tokens, arriving at 0.
pub(crate) fn request(id: u64, ttft: Duration, tpot: Duration) -> Request {
    Request {
        id,
        arrival: SimTime::ZERO,
        app: AppId(0),
        dataset: DatasetId(0),
        item: items(Split::Replay)[0],
        prompt_tokens: 100,
        output_tokens: 5,
        slo: Slo::Absolute { ttft, tpot },
        terms: Terms::default(),
    }
}

/// The first four items of a side.
pub(crate) fn items(side: Split) -> Vec<ItemId> {
    let all = (0..u32::MAX).map(ItemId::from);
    all.filter(|&item| Split::of(DATASET, item) == side).take(4).collect()
}

pub(crate) fn all_items() -> Vec<ItemId> {
    items(Split::Estimate).into_iter().chain(items(Split::Replay)).collect()
}

/// Three families of levels 50 % and 100 %: TTFT = level · kept tokens ms, TPOT = level · 10 ms, a
/// switch 4 ms; a TLM that reads a token in 0.1 ms.
pub(crate) fn device() -> DeviceProfile {
    let provenance = Provenance::Modelled {
        formula: "level · tokens".into(),
        anchors: Vec::new(),
        assumptions: Vec::new(),
    };
    let family = |family: &str| FamilyLatency {
        members: Vec::new(),
        base_model: "tiny".into(),
        family: family.parse().expect("a name"),
        decide_ms: 0.0,
        compress_ms_per_token: 0.0,
        memory: None,
        provenance: provenance.clone(),
        levels: [50, 100].map(|percent| level(percent, 1.0)).into(),
    };
    DeviceProfile {
        schema: 1,
        name: "bench".into(),
        hardware: Hardware { cpu: "none".into(), cores: None, memory_bytes: None },
        runtime: Runtime {
            name: "none".into(),
            version: None,
            threads: None,
            precision: "f32".into(),
        },
        power: None,
        noise: None,
        idle: None,
        heat: None,
        families: ["width", "width-relayout", "layer-removal"].map(family).into(),
        tlms: vec![TlmLatency {
            base_model: "tiny".into(),
            decide_ms: linear(0.1),
            compress_ms: None,
            ranked_lists_ms: None,
            lingua_ms: None,
            provenance,
        }],
        sub_models: None,
    }
}

/// `device`, drawing 2 W while it serves.
pub(crate) fn metered(device: DeviceProfile) -> DeviceProfile {
    let provenance = device.families[0].provenance.clone();
    let power = Power {
        idle_watts: 0.5,
        active_watts: 2.0,
        prefill_watts: None,
        decode_watts: None,
        provenance,
        levels: Vec::new(),
    };
    DeviceProfile { power: Some(power), ..device }
}

/// `scale` 1: that of [`device`].
pub(crate) fn level(percent: u16, scale: f64) -> LevelLatency {
    let share = f64::from(percent) / 100.0;
    LevelLatency {
        level: Level::percent(percent),
        unit_parameter_share: share,
        parameter_share: share,
        switch_ms: 4.0,
        resident_bytes: 1,
        ttft_ms: linear(share * scale),
        tpot_ms: DecodeCurve { intercept: share * 10.0, ..DecodeCurve::default() },
        points: Vec::new(),
    }
}

fn linear(per_token: f64) -> PrefillCurve {
    PrefillCurve {
        intercept: 0.0,
        per_token,
        per_token_squared: 0.0,
        tokens: None,
        fit_error: None,
    }
}

pub(crate) fn cell(correct: bool) -> Cell {
    let gold_probability = f32::from(u8::from(correct));
    Cell { correct, sum_correct: correct, gold_probability, top_correct: None }
}

/// Every prompt has 100 tokens, of which a ratio keeps its share.
pub(crate) fn lengths() -> PromptLengths {
    let mut lengths = PromptLengths::default();
    for item in all_items() {
        lengths.insert(DATASET, item, PROMPT_RATIOS.map(|ratio| ratio.as_percent().into()));
    }
    lengths
}

/// Random probabilities of every plan for the replayed items.
fn decisions(draws: &mut ChaCha8Rng) -> Decisions {
    let mut decisions = Decisions::new(decisions_manifest(DecisionKind::Soft));
    for item in items(Split::Replay) {
        let grid = [[(); 10]; 9].map(|level| level.map(|()| Some(draws.random())));
        let answer = Answer::Soft(Box::new(grid));
        decisions.insert(DATASET, item, Decision { answer, tlm_tokens: 10 });
    }
    decisions
}

/// A manifest that says nothing but which head.
pub(crate) fn decisions_manifest(kind: DecisionKind) -> DecisionsManifest {
    DecisionsManifest {
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
