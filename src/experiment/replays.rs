//! Replays on the cost model: the fast way where there is one, by events where not.

use std::path::Path;
use std::sync::Mutex;

use super::grid::Cell;
use super::runner::Silent;
use super::served::{Recorder, served, tally_of};
use super::witness::{Kept, Witness};
use crate::error::Result;
use crate::metrics::{RunMeasures, Tally};
use crate::outcome::Outcome;
use crate::results::OutcomeCsv;
use crate::sim::{Ledger, OutcomeSink as _, Served, ServedSink, ServiceOptions, replay_columns};
use crate::trace::{Columns, Kinds, Trace};

/// Ledgers that no replay needs just now are kept for the next one of their method: as many as this
/// for every thread.
const IDLE_PER_THREAD: usize = 2;

/// What replays of one experiment share.
#[derive(Debug)]
pub(crate) struct Replays<'a> {
    kinds: &'a Kinds,
    service: ServiceOptions,
    witness: Option<&'a dyn Witness>,
    /// With the device's place and the method's name; the last one came back last.
    idle: Mutex<Vec<((usize, String), Ledger<'a>)>>,
}

/// One replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replay<'t> {
    /// Whose method.
    pub cell: &'t Cell,
    /// The requests.
    pub trace: &'t Trace,
    /// The same, by kind.
    pub columns: &'t Columns,
    /// Of the policy.
    pub seed: u64,
    /// Where outcomes are written, if they are.
    pub outcomes: Option<&'t Path>,
}

impl<'a> Replays<'a> {
    /// Of traces of these `kinds`.
    pub fn new(kinds: &'a Kinds, service: ServiceOptions) -> Self {
        Self { kinds, service, witness: None, idle: Mutex::default() }
    }

    /// The same, each run being given to `witness`.
    pub fn seen_by(self, witness: Option<&'a dyn Witness>) -> Self {
        Self { witness, ..self }
    }

    /// What a run shows.
    ///
    /// # Errors
    /// If method and trace do not fit each other, a plan has no answer, or outcomes cannot be
    /// written.
    pub fn measures(&self, replay: &Replay<'_>) -> Result<RunMeasures> {
        // By events it goes wrong in the same way, and the error knows the request by its id.
        let service = self.service_of(replay.cell);
        let in_turn = service.serves_all_in_turn() && !replay.columns.has_terms();
        let fast = in_turn.then(|| self.ledger(replay.cell).ok().flatten()).flatten();
        let fast = fast.and_then(|ledger| self.in_ledger(replay, ledger).ok());
        fast.map_or_else(|| self.by_events(replay), Ok)
    }

    fn service_of(&self, cell: &Cell) -> ServiceOptions {
        cell.method.spec().served_by(self.service)
    }

    fn by_events(&self, replay: &Replay<'_>) -> Result<RunMeasures> {
        let Replay { cell, trace, seed, .. } = *replay;
        let (policy, executor) = cell.method.players(trace, seed)?;
        let mut executor = cell.method.as_it_varies(executor, seed);
        let service = self.service_of(cell);
        let tally = tally_of(trace, &service);
        let mut kept = self.kept(replay);
        let (file, kept_too) = (replay.file()?, kept.as_mut());
        let recorder = Recorder { tally, file, kept: kept_too, progress: &Silent };
        let measures = served(&cell.method, trace, policy, &mut executor, service, recorder)?;
        self.give(replay, kept);
        Ok(measures)
    }

    fn kept(&self, replay: &Replay<'_>) -> Option<Kept> {
        self.witness.map(|_| Kept::with_capacity(replay.trace.requests.len()))
    }

    fn give(&self, replay: &Replay<'_>, kept: Option<Kept>) {
        if let Some((witness, kept)) = self.witness.zip(kept) {
            kept.give(witness, &replay.cell.label, replay.seed, replay.trace);
        }
    }

    fn in_ledger(&self, replay: &Replay<'_>, mut ledger: Ledger<'a>) -> Result<RunMeasures> {
        let (file, kept) = (replay.file()?, self.kept(replay));
        let mut noted = Noted { replay, tally: Tally::default(), file, kept };
        let service = self.service_of(replay.cell);
        let ran = replay_columns(&mut ledger, replay.columns.calls(), &service, &mut noted)?;
        noted.file.map_or(Ok(()), OutcomeCsv::finish)?;
        self.give(replay, noted.kept);
        let measures = noted.tally.finish_with(&ledger, ran);
        self.give_back(replay.cell, ledger);
        Ok(measures)
    }

    /// A ledger for the method of `cell`, kept or new; `None` if it has none.
    fn ledger(&self, cell: &Cell) -> Result<Option<Ledger<'a>>> {
        if cell.method.spec().policy.is_always_asked() || cell.method.varies() {
            return Ok(None);
        }
        let key = key(cell);
        let mut idle = self.idle.lock().expect("nobody panics while holding ledgers");
        if let Some(place) = idle.iter().rposition(|(of, _)| *of == key) {
            return Ok(Some(idle.remove(place).1));
        }
        drop(idle);
        let kinds = self.kinds.as_trace();
        // What a ledger may be kept of draws nothing, so any seed does.
        let (policy, executor) = cell.method.players(kinds, 0)?;
        let bounds = cell.method.bounds(kinds)?;
        Ok(Ledger::new(&kinds.requests, bounds, policy, Box::new(executor)))
    }

    fn give_back(&self, cell: &Cell, ledger: Ledger<'a>) {
        let mut idle = self.idle.lock().expect("nobody panics while holding ledgers");
        idle.push((key(cell), ledger));
        if idle.len() > IDLE_PER_THREAD * rayon::current_num_threads() {
            idle.remove(0);
        }
    }
}

fn key(cell: &Cell) -> (usize, String) {
    (cell.device, cell.label.method.clone())
}

impl<'t> Replay<'t> {
    fn file(&self) -> Result<Option<OutcomeCsv<'t>>> {
        let of = (&self.cell.label, self.seed);
        let create = |path| OutcomeCsv::create(path, of, self.trace, 1024);
        let file = self.outcomes.map(create).transpose()?;
        Ok(file.map(|file| file.of(self.cell.method.spec().phases)))
    }
}

/// What is noted of each request of a fast replay.
struct Noted<'t> {
    replay: &'t Replay<'t>,
    tally: Tally,
    file: Option<OutcomeCsv<'t>>,
    kept: Option<Kept>,
}

impl ServedSink for Noted<'_> {
    #[inline]
    fn served(&mut self, served: Served<'_, '_>) -> Result<()> {
        self.tally.served(self.replay.columns.id(served.nth), &served);
        if self.file.is_none() && self.kept.is_none() {
            return Ok(());
        }
        let request = self.replay.trace.requests[served.nth as usize];
        let outcome = Outcome { request, start: served.start, ..served.entry().outcome };
        self.kept.as_mut().map_or(Ok(()), |kept| kept.record(&outcome))?;
        self.file.as_mut().map_or(Ok(()), |file| file.record(&outcome))
    }
}
