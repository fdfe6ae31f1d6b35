//! The day as a trace: every call, in order of arrival, in the native form, so that `pliant run`
//! replays it under other policies; and beside it what was done with each, in `….served.csv`.
//!
//! No text is kept. Answers of a replay are those of items of known answers: each call stands for
//! the item that its client named, else for one of those nearest in length to its prompt. Rows are
//! written when the call and all before it have ended, each as a whole line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::objective::stated_bounds;
use crate::error::{Error, Result};
use crate::request::{AppId, DatasetId, Request, Terms};
use crate::service::{Arrived, Done, PlanReport};
use crate::trace::{ItemPool, PooledItem, TraceLines};
use crate::units::{SimTime, decimal_millis};

/// How many items near in length stand for a prompt, in turn.
const NEIGHBOURS: usize = 10;

/// What a call asked for that the service does not look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AskedFor {
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// The item that its prompt is, as `DATASET/ITEM`, where the client says so.
    pub item: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// The call.
    pub arrived: Arrived,
    /// What it asked for.
    pub asked: AskedFor,
    /// How it was answered, if it was taken up.
    pub plan: Option<PlanReport>,
    /// The answer, if there is one.
    pub done: Option<Done>,
    /// Tokens that were out.
    pub output_tokens: u32,
    /// `finished`, or why it left.
    pub state: String,
    /// After how long its client went away, if it did.
    pub gave_up: Option<Duration>,
}

/// Writes the day.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    by_length: Vec<(u32, String, PooledItem)>,
    inner: Mutex<Inner>,
    /// Held while a call arrives, so that calls are known here in the order of their arrival.
    gate: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    trace: File,
    served: File,
    lines: TraceLines,
    /// Calls that have arrived and are not written, with how they ended if they have.
    open: BTreeMap<(SimTime, u64), Option<Ended>>,
    failed: bool,
}

impl Recorder {
    /// The trace `path`, which must not exist yet, and what is beside it. Prompts stand for items
    /// of `pools`.
    ///
    /// # Errors
    /// If one of the files exists or cannot be made, or there are no items.
    pub fn create(path: &Path, pools: &[ItemPool], provenance: &[String]) -> Result<Self> {
        let of_pool = |pool: &ItemPool| {
            let dataset = pool.dataset.clone();
            let entry = move |&item: &PooledItem| (item.prompt_tokens, dataset.clone(), item);
            pool.items.iter().map(entry).collect::<Vec<_>>()
        };
        let mut by_length: Vec<_> = pools.iter().flat_map(of_pool).collect();
        by_length.sort_by_key(|(tokens, _, _)| *tokens);
        if by_length.is_empty() {
            return Err(Error::file(path, "no items that prompts could stand for"));
        }
        let make = |path: &Path| {
            let made = File::options().write(true).create_new(true).open(path);
            made.map_err(|cause| Error::io(path, "cannot make the file anew", cause))
        };
        let (mut trace, mut served) = (make(path)?, make(&served_path(path))?);
        let (lines, beginning) = TraceLines::begin(provenance);
        let wrong = |cause| Error::io(path, "cannot write", cause);
        trace.write_all(beginning.as_bytes()).map_err(wrong)?;
        served.write_all((SERVED.join(",") + "\n").as_bytes()).map_err(wrong)?;
        let inner = Inner { trace, served, lines, open: BTreeMap::new(), failed: false };
        let (path, inner) = (path.to_owned(), Mutex::new(inner));
        Ok(Self { path, by_length, inner, gate: Mutex::new(()) })
    }

    /// Lets a call arrive, alone.
    pub(super) fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call arrived: later ones are written after it.
    pub(super) fn open(&self, arrived: &Arrived) {
        self.lock().open.insert((arrived.at, arrived.id), None);
    }

    /// A call ended. What can be written by now is.
    ///
    /// # Errors
    /// If the files cannot be written: once, and from then on nothing is recorded.
    pub(super) fn close(&self, ended: Ended) -> Result<()> {
        let mut inner = self.lock();
        if inner.failed {
            return Ok(());
        }
        let key = (ended.arrived.at, ended.arrived.id);
        inner.open.insert(key, Some(ended));
        while let Some(first) = inner.open.first_entry()
            && first.get().is_some()
        {
            let ended = first.remove().expect("it has ended");
            let written = self.write(&mut inner, &ended);
            if let Err(cause) = written {
                inner.failed = true;
                return Err(Error::io(&self.path, "cannot write; recording ends", cause));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, inner: &mut Inner, ended: &Ended) -> std::io::Result<()> {
        if let Some((request, dataset)) = self.request(ended) {
            let line = inner.lines.line(&request, app_name(&ended.arrived.app), dataset);
            append(&mut inner.trace, &line)?;
        }
        append(&mut inner.served, &served_row(ended))
    }

    /// The call as a trace has it; `None` if it left before its prompt was measured.
    fn request(&self, ended: &Ended) -> Option<(Request, &str)> {
        let Ended { arrived, plan, done, .. } = ended;
        let measured = arrived.asked.map(|asked| asked.prompt_tokens);
        let tokens = measured.or(plan.as_ref().map(|plan| plan.prompt_tokens_before))?;
        let named = ended.asked.item.as_deref().and_then(|name| self.named(name));
        let item = named.unwrap_or_else(|| self.stand_in(tokens, arrived.id));
        let (prompt_tokens, dataset, item) = item;
        let cancel_after = ended.gave_up.or(arrived.terms.cancel_after);
        // The item stands for the prompt, so as much of it is cached.
        let cached_tokens = plan.as_ref().map_or(0, |plan| {
            let share = f64::from(plan.cached_tokens) / f64::from(plan.prompt_tokens_before.max(1));
            (share * f64::from(*prompt_tokens)).min(f64::from(*prompt_tokens) - 1.0) as u32
        });
        let request = Request {
            id: arrived.id,
            arrival: arrived.at,
            app: AppId(0),
            dataset: DatasetId(0),
            item: item.item,
            prompt_tokens: *prompt_tokens,
            output_tokens: done.as_ref().map_or(ended.asked.max_tokens, |done| done.output_tokens),
            slo: arrived.slo,
            terms: Terms { cancel_after, cached_tokens, ..arrived.terms },
        };
        Some((request, dataset.as_str()))
    }

    /// The item of that name, in the form `DATASET/ITEM`.
    fn named(&self, name: &str) -> Option<&(u32, String, PooledItem)> {
        let (dataset, item) = name.split_once('/')?;
        // Names are compared as texts: an item of the name would be remembered for good.
        let is_it = |pooled: &PooledItem| pooled.item.to_string() == item;
        self.by_length.iter().find(|(_, of, pooled)| of == dataset && is_it(pooled))
    }

    /// One of the items nearest in length to `tokens`, another for each call.
    fn stand_in(&self, tokens: u32, id: u64) -> &(u32, String, PooledItem) {
        let all = &self.by_length;
        let mut from = all.partition_point(|(length, _, _)| *length < tokens);
        let mut to = from;
        while to - from < NEIGHBOURS.min(all.len()) {
            let below = from.checked_sub(1).map(|place| tokens - all[place].0);
            let above = all.get(to).map(|(length, _, _)| length - tokens);
            let is_below = match (below, above) {
                (Some(below), Some(above)) => below <= above,
                (below, _) => below.is_some(),
            };
            from -= usize::from(is_below);
            to += usize::from(!is_below);
        }
        &all[from + (id % (to - from) as u64) as usize]
    }
}

/// Where what was done with each call is written.
fn served_path(trace: &Path) -> PathBuf {
    trace.with_extension("served.csv")
}

/// A trace has no empty names.
fn app_name(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

/// Appends a line, or nothing of it.
fn append(file: &mut File, line: &str) -> std::io::Result<()> {
    let start = file.stream_position()?;
    let written = file.write_all(line.as_bytes());
    if written.is_err() {
        file.set_len(start)?;
    }
    written
}

/// Columns of what was done.
const SERVED: [&str; 21] = [
    "id",
    "arrival_ms",
    "app",
    "state",
    "level",
    "prompt_ratio",
    "prompt_tokens",
    "prompt_tokens_read",
    "cached_tokens",
    "output_tokens",
    "queue_ms",
    "predicted_ttft_ms",
    "predicted_tpot_ms",
    "ttft_ms",
    "tpot_ms",
    "gap_p99_ms",
    "paused_ms",
    "ttft_bound_ms",
    "tpot_bound_ms",
    "e2e_bound_ms",
    "met",
];

/// The row of a call; what is not known is empty.
fn served_row(ended: &Ended) -> String {
    let Ended { arrived, plan, done, .. } = ended;
    let ms = |length: Option<Duration>| {
        length.map_or_else(String::new, |length| decimal_millis(length.as_nanos() as u64))
    };
    let of_plan = |value: fn(&PlanReport) -> String| plan.as_ref().map_or_else(String::new, value);
    let bounds = arrived.asked.map(|asked| asked.bounds).or(plan.as_ref().map(|plan| plan.bounds));
    let [ttft, tpot, whole] = bounds.map_or([None; 3], stated_bounds).map(ms);
    let cells = [
        arrived.id.to_string(),
        decimal_millis(arrived.at.as_nanos()),
        app_name(&arrived.app).to_owned(),
        ended.state.clone(),
        of_plan(|plan| plan.level.as_percent().to_string()),
        of_plan(|plan| plan.prompt_ratio.as_f64().to_string()),
        arrived.asked.map_or_else(String::new, |asked| asked.prompt_tokens.to_string()),
        of_plan(|plan| plan.prompt_tokens_after.to_string()),
        of_plan(|plan| plan.cached_tokens.to_string()),
        ended.output_tokens.to_string(),
        ms(plan.as_ref().map(|plan| plan.queue_wait)),
        ms(plan.as_ref().map(|plan| plan.queue_wait + plan.predicted_ttft)),
        ms(plan.as_ref().map(|plan| plan.predicted_tpot)),
        ms(done.as_ref().map(|done| done.ttft)),
        ms(done.as_ref().and_then(|done| done.tpot)),
        ms(done.as_ref().and_then(|done| done.gap_p99)),
        ms(done.as_ref().map(|done| done.paused)),
        ttft,
        tpot,
        whole,
        done.as_ref().and_then(|done| done.met).map_or_else(String::new, |met| met.to_string()),
    ];
    let mut row = csv::Writer::from_writer(Vec::new());
    row.write_record(cells).expect("memory takes any row");
    String::from_utf8(row.into_inner().expect("memory takes any row")).expect("cells are text")
}

#[cfg(test)]
mod tests;
