//! What a service did beside serving, as CSV: one row per request that was refused, cancelled or
//! interrupted, in a file beside the run's outcomes; a run without any has no such file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::outcomes::{resolved, shares};
use super::rows::{Decimal, RowFile, plain_or_nothing};
use super::stored_run::objective;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::limits::PRIORITY;
use crate::metrics::read_lines;
use crate::outcome::{Interruptions, Outcome};
use crate::request::{AppId, Bounds, DatasetId, Request, Terms};
use crate::schedule::Reason;
use crate::sim::Lost;
use crate::trace::{Trace, index_of};
use crate::units::SimTime;

/// The fate of one that was answered all the same.
const INTERRUPTED: &str = "interrupted";

/// A line: the request, its objective as stated (if in shares) and resolved, what became of it and
/// when it was gone, and what was spent on it.
#[derive(Debug, Serialize, Deserialize)]
struct Row<'a> {
    id: u64,
    arrival_ms: Decimal,
    app: Cow<'a, str>,
    dataset: Cow<'a, str>,
    item: Cow<'a, str>,
    prompt_tokens: u32,
    output_tokens: u32,
    #[serde(serialize_with = "plain_or_nothing")]
    ttft_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    tpot_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    e2e_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    energy_ratio: Option<f64>,
    ttft_bound_ms: Option<Decimal>,
    tpot_bound_ms: Option<Decimal>,
    e2e_bound_ms: Option<Decimal>,
    energy_bound_mj: Option<Decimal>,
    priority: u8,
    fate: Cow<'a, str>,
    end_ms: Decimal,
    start_ms: Option<Decimal>,
    worked_ms: Decimal,
    interruptions: u32,
    paused_ms: Decimal,
    again_ms: Decimal,
}

/// What is written of a request.
struct Fate<'a> {
    request: &'a Request,
    bounds: Bounds,
    name: &'static str,
    end: SimTime,
    start: Option<SimTime>,
    worked: Decimal,
    interruptions: Interruptions,
}

/// The file, from its first row on.
#[derive(Debug)]
pub(super) struct ServiceCsv {
    path: PathBuf,
    rows_per_flush: u32,
    file: Option<RowFile>,
}

impl ServiceCsv {
    /// The file beside the outcomes in `outcomes`; nothing is made yet.
    pub fn beside(outcomes: &Path, rows_per_flush: u32) -> Self {
        Self { path: path_beside(outcomes), rows_per_flush, file: None }
    }

    pub fn interrupted(&mut self, trace: &Trace, outcome: &Outcome) -> Result<()> {
        let Outcome { request, bounds, interruptions, start, .. } = outcome;
        self.append(
            trace,
            &Fate {
                request,
                bounds: *bounds,
                name: INTERRUPTED,
                end: outcome.completion(),
                start: Some(*start),
                worked: outcome.worked().into(),
                interruptions: *interruptions,
            },
        )
    }

    pub fn lost(&mut self, trace: &Trace, lost: &Lost) -> Result<()> {
        let Lost { request, bounds, at, reason, started, worked } = lost;
        self.append(
            trace,
            &Fate {
                request,
                bounds: *bounds,
                name: reason.name(),
                end: *at,
                start: *started,
                worked: (*worked).into(),
                interruptions: Interruptions::default(),
            },
        )
    }

    pub fn finish(self) -> Result<()> {
        self.file.map_or(Ok(()), RowFile::finish)
    }

    fn append(&mut self, trace: &Trace, fate: &Fate<'_>) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(RowFile::create(&self.path, self.rows_per_flush)?),
        };
        let request = fate.request;
        let [ttft_ratio, tpot_ratio, e2e_ratio, energy_ratio] = shares(request.slo);
        let [ttft_bound_ms, tpot_bound_ms, e2e_bound_ms, energy_bound_mj] = resolved(fate.bounds);
        file.append(&Row {
            id: request.id,
            arrival_ms: Decimal(request.arrival.as_nanos()),
            app: Cow::Borrowed(trace.app(request.app)),
            dataset: Cow::Borrowed(trace.dataset(request.dataset)),
            item: Cow::Owned(request.item.to_string()),
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            ttft_ratio,
            tpot_ratio,
            e2e_ratio,
            energy_ratio,
            ttft_bound_ms,
            tpot_bound_ms,
            e2e_bound_ms,
            energy_bound_mj,
            priority: request.terms.priority,
            fate: Cow::Borrowed(fate.name),
            end_ms: Decimal(fate.end.as_nanos()),
            start_ms: fate.start.map(|start| Decimal(start.as_nanos())),
            worked_ms: fate.worked,
            interruptions: fate.interruptions.times,
            paused_ms: fate.interruptions.paused.into(),
            again_ms: fate.interruptions.again.into(),
        })
    }
}

fn path_beside(outcomes: &Path) -> PathBuf {
    outcomes.with_extension("service.csv")
}

/// What such a file says.
#[derive(Debug)]
pub(super) struct Beside {
    path: PathBuf,
    /// Those that were refused or cancelled, each with its line.
    lost: Vec<(u64, Row<'static>)>,
    /// By id.
    pub interruptions: BTreeMap<u64, Interruptions>,
}

impl Beside {
    /// Reads the file beside the outcomes in `outcomes`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub fn load(outcomes: &Path) -> Result<Self> {
        let path = path_beside(outcomes);
        let rows = if path.is_file() { read_lines::<Row<'static>>(&path)? } else { Vec::new() };
        let (interrupted, lost): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, row)| row.fate == INTERRUPTED);
        let interruptions = interrupted.iter().map(|(_, row)| (row.id, row.interruptions()));
        Ok(Self { path, lost, interruptions: interruptions.collect() })
    }

    /// Requests that were refused or cancelled; names that are new are numbered.
    ///
    /// # Errors
    /// If a row says nothing.
    pub fn lost(&self, apps: &mut Vec<String>, datasets: &mut Vec<String>) -> Result<Vec<Lost>> {
        let lost = self.lost.iter().map(|(line, row)| {
            let names = index_of(apps, &row.app).map(AppId);
            let names = names.zip(index_of(datasets, &row.dataset).map(DatasetId));
            names.and_then(|names| row.lost(names)).ok_or_else(|| {
                Error::file(&self.path, "says nothing of a request")
                    .at(format!("line {line}"))
                    .allowed("an objective, a class, and a reason to be gone")
            })
        });
        lost.collect()
    }
}

impl Row<'_> {
    fn interruptions(&self) -> Interruptions {
        Interruptions {
            times: self.interruptions,
            paused: self.paused_ms.into(),
            again: self.again_ms.into(),
        }
    }

    fn lost(&self, (app, dataset): (AppId, DatasetId)) -> Option<Lost> {
        let shares = [self.ttft_ratio, self.tpot_ratio, self.e2e_ratio, self.energy_ratio];
        let times = [self.ttft_bound_ms, self.tpot_bound_ms, self.e2e_bound_ms];
        let (slo, bounds) = objective(shares, times, self.energy_bound_mj)?;
        let priority = Some(self.priority).filter(|&class| u64::from(class) <= PRIORITY.max)?;
        let request = Request {
            id: self.id,
            arrival: SimTime::from_nanos(self.arrival_ms.0),
            app,
            dataset,
            item: ItemId::parse(&self.item).ok()?,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            slo,
            terms: Terms { priority, ..Terms::default() },
        };
        Some(Lost {
            request,
            bounds,
            at: SimTime::from_nanos(self.end_ms.0),
            reason: Reason::named(&self.fate)?,
            started: self.start_ms.map(|start| SimTime::from_nanos(start.0)),
            worked: self.worked_ms.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::CellLabel;
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::request::{Limit, Slo};
    use crate::results::{OutcomeCsv, StoredRun};
    use crate::sim::OutcomeSink as _;
    use crate::units::Ratio;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn request(id: u64, app: u16, slo: Slo) -> Request {
        Request {
            id,
            arrival: SimTime::ZERO + ms(id),
            app: AppId(app),
            dataset: DatasetId(0),
            item: 5.into(),
            prompt_tokens: 9,
            output_tokens: 3,
            slo,
            terms: Terms { priority: app as u8, ..Terms::default() },
        }
    }

    /// The interrupted answer takes 10 ms of decoding and 13 ms more: 11.5 ms a token, over its
    /// bound of 11 ms, which its times in the outcomes alone would not tell.
    #[test]
    fn a_run_is_read_back_with_what_was_lost_and_what_was_interrupted() {
        let (ttft, tpot) = (ms(50), ms(11));
        let outcome = Outcome {
            request: request(0, 0, Slo::Absolute { ttft, tpot }),
            bounds: Bounds::Latency { ttft, tpot },
            plan: Plan::FULL,
            start: SimTime::ZERO,
            execution: Execution { prefill: ms(4), decode: ms(10), ..Execution::default() },
            interruptions: Interruptions { times: 2, paused: ms(9), again: ms(4) },
        };
        let lost = Lost {
            request: request(1, 1, Slo::EndToEnd(Limit::Share(Ratio::percent(40)))),
            bounds: Bounds::EndToEnd(ms(70)),
            at: SimTime::ZERO + ms(20),
            reason: Reason::GaveUp,
            started: Some(SimTime::ZERO + ms(14)),
            worked: ms(6),
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (apps, datasets) = (names(&["Mail", "Keys"]), names(&["sciq"]));
        let trace = Trace { apps, datasets, ..Trace::default() };
        let folder = tempfile::tempdir().unwrap();
        let (path, label) = (folder.path().join("run_seed0.csv"), CellLabel::default());
        let mut file = OutcomeCsv::create(&path, (&label, 0), &trace, 1).unwrap();
        file.record(&outcome).unwrap();
        file.lose(&lost).unwrap();
        file.finish().unwrap();
        let mut run = StoredRun::load(&path, label.clone(), 0).unwrap();
        // Outcomes do not say of which class they are.
        run.outcomes[0].request.terms = outcome.request.terms;
        assert_eq!(run.outcomes, [outcome]);
        assert_eq!(run.lost, [lost]);
        assert_eq!(run.apps, ["Mail", "Keys"]);

        let beside = folder.path().join("run_seed0.service.csv");
        let text = std::fs::read_to_string(&beside).unwrap();
        std::fs::write(&beside, text.replace("gave-up", "bored")).unwrap();
        let message = StoredRun::load(&path, label, 0).unwrap_err().to_string();
        assert!(message.ends_with(
            "run_seed0.service.csv, line 3: says nothing of a request; allowed: an objective, a \
             class, and a reason to be gone"
        ));
    }

    #[test]
    fn a_run_that_serves_all_in_turn_has_no_such_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, label) = (folder.path().join("run_seed0.csv"), CellLabel::default());
        let trace = Trace::default();
        OutcomeCsv::create(&path, (&label, 0), &trace, 1).unwrap().finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
