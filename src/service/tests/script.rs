//! A service whose time is a script: what happens at which instant, and a backend whose steps take
//! as long as said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::super::backend::{Asked, Backend, Front, ModelCard, Step, Work, Written};
use super::super::call::{Call, Prompt};
use super::super::clock::Clock;
use super::super::event::{Event, PlanReport, Refusal};
use super::super::handle::{Calling, Service};
use super::super::shared::Shared;
use super::super::worker::{Turn, Worker};
use super::super::{Options, apps::ServiceApps};
use crate::error::{Error, Result};
use crate::profile::DeviceProfile;
use crate::request::{Bounds, Slo};
use crate::schedule::{Decision, Needs};
use crate::units::{Level, Ratio, SimTime};

/// What a scripted call takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    /// For each token read, and for each written.
    pub token: Duration,
    pub bounds: Bounds,
    pub needs: Needs,
}

type Action = Box<dyn FnOnce(&Script) + Send>;

/// Of what happens at one instant: first who gives up, then who calls.
const GIVES_UP: u8 = 0;
const CALLS: u8 = 1;

/// The clock of a scripted day.
#[derive(Default)]
pub struct Script {
    now: Mutex<SimTime>,
    actions: Mutex<BTreeMap<(SimTime, u8, u64), Action>>,
    shared: OnceLock<Arc<Shared>>,
    /// Answers that are coming, by the number of the call in the script.
    pub callings: Mutex<BTreeMap<u64, Result<Calling, Refusal>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script at {:?}", self.now())
    }
}

impl Script {
    fn add(&self, at: SimTime, kind: u8, id: u64, action: Action) {
        self.actions.lock().unwrap().insert((at, kind, id), action);
    }

    /// The call number `id` comes `at`, and is given up after its patience.
    pub fn call(
        &self,
        service: &Service,
        at: SimTime,
        id: u64,
        call: Call,
        patience: Option<Duration>,
    ) {
        let service = service.clone();
        let calls = move |script: &Script| {
            let calling = service.arrive(call);
            script.callings.lock().unwrap().insert(id, calling);
            if let Some(patience) = patience {
                script.give_up(at + patience, id);
            }
        };
        self.add(at, CALLS, id, Box::new(calls));
    }

    /// The call number `id` is given up `at`.
    pub fn give_up(&self, at: SimTime, id: u64) {
        let gives_up = move |script: &Script| {
            let callings = script.callings.lock().unwrap();
            if let Some(Ok(calling)) = callings.get(&id) {
                calling.give_up();
            }
        };
        self.add(at, GIVES_UP, id, Box::new(gives_up));
    }

    fn next(&self) -> Option<SimTime> {
        self.actions.lock().unwrap().keys().next().map(|key| key.0)
    }

    fn set(&self, now: SimTime) {
        *self.now.lock().unwrap() = now;
    }

    /// All events of call `id` so far.
    pub fn events(&self, id: u64) -> Vec<Event> {
        let callings = self.callings.lock().unwrap();
        let calling = callings[&id].as_ref().unwrap();
        std::iter::from_fn(|| calling.recv_within(Duration::ZERO)).collect()
    }
}

impl Clock for Script {
    fn now(&self) -> SimTime {
        *self.now.lock().unwrap()
    }

    fn pass(&self, length: Duration) {
        let end = self.now() + length;
        let shared = self.shared.get().unwrap();
        loop {
            let wake = shared.lock().wake();
            let next = self.next().into_iter().chain(wake).min().filter(|&at| at < end);
            let Some(at) = next else { return self.set(end) };
            self.set(at);
            self.settle();
            shared.lock().look(at);
        }
    }

    fn settle(&self) {
        loop {
            let mut actions = self.actions.lock().unwrap();
            let now = self.now();
            let Some(entry) = actions.first_entry().filter(|entry| entry.key().0 <= now) else {
                return;
            };
            let action = entry.remove();
            drop(actions);
            action(self);
        }
    }
}

/// Answers the calls of a script, whose prompts are their numbers.
#[derive(Debug)]
pub struct ScriptedModel {
    takes: Arc<Vec<Takes>>,
    card: ModelCard,
    clock: Arc<Script>,
    sequences: BTreeMap<u64, Sequence>,
    /// Numbers of calls at whose n-th token the program is wrong.
    pub panics: BTreeMap<u64, u32>,
    /// Numbers of calls that fail at their start.
    pub fails: Vec<u64>,
    /// All steps that were computed, by the number of the call.
    pub steps: Arc<Mutex<Vec<u64>>>,
}

#[derive(Debug)]
struct Sequence {
    number: u64,
    written: u32,
    is_read: bool,
    is_kept: bool,
}

pub fn number(call: &Call) -> u64 {
    let Prompt::Text(text) = &call.prompt else { panic!("scripts have texts") };
    text.parse().unwrap()
}

/// A call of `app` that is number `id`.
pub fn call(app: &str, id: u64, output_tokens: u32) -> Call {
    let mut call = Call::new(app, Prompt::Text(id.to_string()));
    call.max_tokens = output_tokens;
    call
}

#[derive(Debug)]
pub struct ScriptedFront(Arc<Vec<Takes>>, ModelCard);

impl Front for ScriptedFront {
    fn card(&self) -> &ModelCard {
        &self.1
    }

    fn profile(&self) -> DeviceProfile {
        crate::method::testing::device()
    }

    fn ask(&self, call: &Call, _: Slo) -> Result<Asked, Refusal> {
        let Takes { prompt_tokens, bounds, needs, .. } = self.0[number(call) as usize];
        Ok(Asked { prompt_tokens, bounds, needs })
    }
}

impl ScriptedModel {
    pub fn new(takes: Vec<Takes>, clock: Arc<Script>) -> Self {
        let card = ModelCard {
            base_model: "scripted".into(),
            levels: vec![Level::FULL],
            context: 1000,
            device: "script".into(),
            provenance: "modelled",
            cache_bytes_per_token: 100,
            executor: "script",
        };
        Self {
            takes: Arc::new(takes),
            card,
            clock,
            sequences: BTreeMap::new(),
            panics: BTreeMap::new(),
            fails: Vec::new(),
            steps: Arc::default(),
        }
    }

    pub fn front(&self) -> Arc<ScriptedFront> {
        Arc::new(ScriptedFront(Arc::clone(&self.takes), self.card.clone()))
    }
}

impl Backend for ScriptedModel {
    fn start(&mut self, work: &Work<'_>) -> Result<PlanReport> {
        let number = number(work.call);
        if self.fails.contains(&number) {
            return Err(Error::new("model", "does not like it"));
        }
        let takes = self.takes[number as usize];
        let sequence = Sequence { number, written: 0, is_read: false, is_kept: true };
        self.sequences.insert(work.id, sequence);
        Ok(PlanReport {
            level: Level::FULL,
            prompt_ratio: Ratio::ONE,
            prompt_tokens_before: takes.prompt_tokens,
            prompt_tokens_after: takes.prompt_tokens,
            cached_tokens: 0,
            cut_by: None,
            bounds: work.asked.bounds,
            queue_wait: work.waited,
            predicted_ttft: takes.token * takes.prompt_tokens,
            predicted_tpot: takes.token,
            feasible: true,
            device: "script".into(),
            provenance: "modelled",
        })
    }

    fn step(&mut self, id: u64) -> Result<Step> {
        let sequence = self.sequences.get_mut(&id).unwrap();
        let takes = self.takes[sequence.number as usize];
        self.steps.lock().unwrap().push(sequence.number);
        let panics = self.panics.get(&sequence.number) == Some(&(sequence.written + 1));
        assert!(!panics, "scripted");
        if sequence.is_read {
            self.clock.pass(takes.token);
        } else {
            let all = takes.prompt_tokens + sequence.written;
            self.clock.pass(takes.token * all);
            sequence.is_read = true;
            if sequence.written > 0 {
                return Ok(Step::Reading);
            }
        }
        sequence.written += 1;
        let text = format!("{}.", sequence.written);
        Ok(Step::Token(Written { id: sequence.written, text, ..Written::default() }))
    }

    fn pause(&mut self, id: u64, keep: bool) {
        self.sequences.get_mut(&id).unwrap().is_kept = keep;
    }

    fn resume(&mut self, id: u64) -> Result<()> {
        let sequence = self.sequences.get_mut(&id).unwrap();
        sequence.is_read = sequence.is_kept;
        sequence.is_kept = true;
        Ok(())
    }

    fn cached_tokens(&self, id: u64) -> u64 {
        let Some(sequence) = self.sequences.get(&id) else { return 0 };
        let takes = self.takes[sequence.number as usize];
        u64::from(takes.prompt_tokens + sequence.written)
    }

    fn remaining(&self, id: u64) -> Duration {
        let sequence = &self.sequences[&id];
        let takes = self.takes[sequence.number as usize];
        let left = takes.output_tokens - sequence.written;
        match (sequence.is_read, sequence.written) {
            (true, _) => takes.token * left,
            (false, 0) => takes.token * (takes.prompt_tokens + left - 1),
            (false, written) => takes.token * (takes.prompt_tokens + written + left),
        }
    }

    fn forget(&mut self, id: u64) {
        self.sequences.remove(&id);
    }

    fn resident(&self) -> Option<Level> {
        Some(Level::FULL)
    }
}

/// A service with a script, and who works in it.
#[derive(Debug)]
pub struct Day {
    pub service: Service,
    pub script: Arc<Script>,
    pub worker: Option<Worker>,
}

impl Day {
    pub fn new(options: Options, apps: ServiceApps) -> Self {
        let script = Arc::new(Script::default());
        let clock: Arc<dyn Clock> = Arc::<Script>::clone(&script);
        let service = Service::idle(options, apps, clock).unwrap();
        service.shared().lock().log = Some(Vec::new());
        script.shared.set(Arc::clone(service.shared())).unwrap();
        Self { service, script, worker: None }
    }

    /// The model is there.
    pub fn load(&mut self, model: ScriptedModel) {
        let (shared, front) = (Arc::clone(self.service.shared()), model.front());
        self.worker = Some(Service::loaded(shared, front, Box::new(model)));
    }

    /// Works until nothing more happens; what was decided, and when.
    pub fn run(&mut self) -> Vec<(SimTime, Decision)> {
        let worker = self.worker.as_mut().unwrap();
        loop {
            match worker.turn() {
                Turn::Worked => {}
                Turn::Ended => break,
                Turn::Idle(wake) => {
                    let Some(next) = self.script.next().into_iter().chain(wake).min() else {
                        break;
                    };
                    self.script.set(next);
                }
            }
        }
        self.service.shared().lock().log.clone().unwrap()
    }
}
