//! `recorded`: plans that were made before, request by request.
//!
//! Knows the request's number and nothing else. Who decided is not asked again: a policy in Python,
//! an agent that learned, another run. Plans belong to one replay, which its device, its seed and
//! the fingerprint of its trace name; a plan for another replay is never taken. Why a plan was made
//! may stand beside it, for `pliant policy explain`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Policy, ServiceView};
use crate::error::{Error, Result};
use crate::input::{Input, Rows};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::{Level, Ratio};

/// Columns of a file of plans.
const COLUMNS: [&str; 6] = ["device", "seed", "trace", "id", "level_percent", "prompt_ratio"];

/// A column after them, in a file whose plans have reasons.
const REASON: &str = "reason";

/// Where plans are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSpec {
    /// The file.
    pub plans: PathBuf,
    /// Name of the decisions that who planned had looked at: their time is billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<String>,
    /// The plans themselves, where the program has them and need not read the file.
    #[serde(skip)]
    pub at_hand: Option<Arc<RecordedPlans>>,
}

impl RecordedSpec {
    /// Those in the file `plans`.
    #[must_use]
    pub fn of(plans: PathBuf) -> Self {
        Self { plans, decisions: None, at_hand: None }
    }

    /// The plans, read if need be.
    ///
    /// # Errors
    /// As [`RecordedPlans::load`].
    pub(crate) fn plans(&self) -> Result<Arc<RecordedPlans>> {
        match &self.at_hand {
            Some(plans) => Ok(Arc::clone(plans)),
            None => RecordedPlans::load(&self.plans).map(Arc::new),
        }
    }
}

/// Which replay plans are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayKey {
    /// Name of the device.
    pub device: String,
    /// Of the replication.
    pub seed: u64,
    /// The trace's [fingerprint](crate::trace::Trace::fingerprint).
    pub trace: String,
}

/// Plans by replay and request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedPlans {
    replays: BTreeMap<ReplayKey, Arc<BTreeMap<u64, Plan>>>,
    /// Why they were planned, of the requests for which it was said.
    reasons: BTreeMap<ReplayKey, BTreeMap<u64, String>>,
}

impl RecordedPlans {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, has other columns, a cell that is none, or a request twice.
    pub fn load(path: &Path) -> Result<Self> {
        let input = Input::read(path)?;
        let mut rows = Rows::new(input.path(), input.text(), 0);
        let header = rows.next_row()?.map(|(_, row)| row.iter().collect::<Vec<_>>().join(","));
        let header = header.unwrap_or_default();
        let known = COLUMNS.join(",");
        if header.strip_suffix(&format!(",{REASON}")).unwrap_or(&header) != known {
            let error = Error::file(path, "not a file of plans").at("line 1");
            return Err(error.found(header).allowed(format!("{known}[,{REASON}]")));
        }
        let others = header.split(',').count() - COLUMNS.len();
        let mut replays = BTreeMap::<ReplayKey, BTreeMap<u64, Plan>>::new();
        let mut reasons = BTreeMap::<ReplayKey, BTreeMap<u64, String>>::new();
        while let Some((line, row)) = rows.next_row()? {
            let cells: Vec<&str> = row.iter().collect();
            let parts = cells.split_first_chunk::<{ COLUMNS.len() }>();
            let parts = parts.filter(|(_, rest)| rest.len() == others);
            let (&cells, rest) = parts.ok_or_else(|| {
                let error = Error::file(path, "row of other columns").at(format!("line {line}"));
                error.found(format!("{} fields", row.len())).allowed(&header)
            })?;
            let (key, id, plan) = parsed(cells).map_err(|column| {
                Error::file(path, "not a cell of this table")
                    .at(format!("line {line}, column {:?}", COLUMNS[column]))
                    .found(format!("{:?}", cells[column]))
                    .allowed("whole numbers, a level of 1 to 100, a ratio of 0 to 1")
            })?;
            if let Some(reason) = rest.first().filter(|reason| !reason.is_empty()) {
                reasons.entry(key.clone()).or_default().insert(id, (*reason).to_owned());
            }
            if replays.entry(key).or_default().insert(id, plan).is_some() {
                let error = Error::file(path, "request planned twice");
                return Err(error.at(format!("line {line}")).found(format!("request {id}")));
            }
        }
        let shared = replays.into_iter().map(|(key, plans)| (key, Arc::new(plans)));
        Ok(Self { replays: shared.collect(), reasons })
    }

    /// Keeps the plans of one replay, in place of others that it had.
    pub fn insert(&mut self, key: ReplayKey, plans: BTreeMap<u64, Plan>) {
        self.replays.insert(key, Arc::new(plans));
    }

    /// Keeps why some of them were planned, by request.
    pub fn give_reasons(&mut self, key: ReplayKey, reasons: BTreeMap<u64, String>) {
        if !reasons.is_empty() {
            self.reasons.insert(key, reasons);
        }
    }

    /// Why the request was planned for as it was, if that was said.
    #[must_use]
    pub fn reason(&self, key: &ReplayKey, request: u64) -> Option<&str> {
        self.reasons.get(key)?.get(&request).map(String::as_str)
    }

    /// The file of them.
    ///
    /// # Panics
    /// Never: a string can always grow.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        let has_reasons = !self.reasons.is_empty();
        text.push_str(if has_reasons { ",reason\n" } else { "\n" });
        for (key, plans) in &self.replays {
            let ReplayKey { device, seed, trace } = key;
            let device = quoted(device);
            for (id, Plan { level, prompt_ratio, .. }) in &**plans {
                let (level, ratio) = (level.as_percent(), prompt_ratio.as_f64());
                write!(text, "{device},{seed},{trace},{id},{level},{ratio}")
                    .expect("a string can always grow");
                if has_reasons {
                    text.push(',');
                    text.push_str(&quoted(self.reason(key, *id).unwrap_or_default()));
                }
                text.push('\n');
            }
        }
        text
    }

    /// The policy that chooses them in the replay of `key`, for the method of this name.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) fn policy(&self, method: &str, key: &ReplayKey) -> Result<Recorded> {
        let plans = self.replays.get(key).ok_or_else(|| {
            Error::new(format!("method {method}"), "no plans were recorded for this replay")
                .at(format!("device {}, seed {}", key.device, key.seed))
                .found(format!("trace {}", key.trace))
                .allowed(self.known(key))
        })?;
        let (method, plans) = (method.to_owned(), Arc::clone(plans));
        Ok(Recorded { method, plans, missing: None })
    }

    /// Replays like `key`'s, for a message.
    fn known(&self, key: &ReplayKey) -> String {
        let like = self.replays.keys().filter(|known| known.device == key.device);
        let traces: Vec<_> =
            like.map(|known| format!("seed {}: {}", known.seed, known.trace)).take(5).collect();
        if traces.is_empty() { "replays on other devices".to_owned() } else { traces.join(", ") }
    }
}

fn parsed(cells: [&str; COLUMNS.len()]) -> std::result::Result<(ReplayKey, u64, Plan), usize> {
    let whole = |column: usize| cells[column].parse::<u64>().map_err(|_| column);
    let (seed, id) = (whole(1)?, whole(3)?);
    let level = whole(4)?;
    let level = (1..=100).contains(&level).then(|| Level::percent(level as u16)).ok_or(4_usize)?;
    let ratio = cells[5].parse::<f64>().ok().and_then(Ratio::exact).ok_or(5_usize)?;
    let key = ReplayKey { device: cells[0].to_owned(), seed, trace: cells[2].to_owned() };
    Ok((key, id, Plan::new(level, ratio)))
}

/// A name as a cell.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct Recorded {
    method: String,
    plans: Arc<BTreeMap<u64, Plan>>,
    /// A request that has no plan.
    missing: Option<u64>,
}

impl Policy for Recorded {
    fn plan(&mut self, request: RequestView<'_>, _: ServiceView) -> Plan {
        let plan = self.plans.get(&request.id()).copied();
        if plan.is_none() {
            self.missing = Some(request.id());
        }
        plan.unwrap_or(Plan::FULL)
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        self.missing.take().map_or(Ok(None), |id| {
            let error = Error::new(format!("method {}", self.method), "no plan was recorded");
            Err(error.at(format!("request {id}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::PolicySpec;
    use crate::method::testing::{Bench, plan};

    fn key(bench: &Bench) -> ReplayKey {
        let trace = bench.trace.fingerprint();
        ReplayKey { device: "bench".to_owned(), seed: 1, trace }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn spec(file: &tempfile::NamedTempFile) -> PolicySpec {
        PolicySpec::Recorded(RecordedSpec::of(file.path().to_owned()))
    }

    #[test]
    fn what_was_planned_is_planned_again_and_nothing_else() {
        let bench = Bench::elastic();
        let mut plans = RecordedPlans::default();
        plans.insert(key(&bench), BTreeMap::from([(7, plan(50, 50))]));
        let file = file(&plans.to_csv());
        assert_eq!(RecordedPlans::load(file.path()).unwrap(), plans);
        let mut policy = bench.policy_of(spec(&file));
        assert_eq!(bench.ask(&mut *policy, &bench.request(9, 9), None), plan(50, 50));
        policy.settle().unwrap();
        let at_hand = Some(Arc::new(plans));
        let spec = RecordedSpec { at_hand, ..RecordedSpec::of("nowhere.csv".into()) };
        let mut own = bench.policy_of(PolicySpec::Recorded(spec));
        assert_eq!(bench.ask(&mut *own, &bench.request(9, 9), None), plan(50, 50));
        let other = crate::request::Request { id: 8, ..bench.request(9, 9) };
        bench.ask(&mut *policy, &other, None);
        let message = policy.settle().unwrap_err().to_string();
        assert_eq!(message, "method elastic-profile, request 8: no plan was recorded");
    }

    #[test]
    fn reasons_stand_beside_plans_where_there_are_some() {
        let bench = Bench::elastic();
        let mut plans = RecordedPlans::default();
        plans.insert(key(&bench), BTreeMap::from([(7, plan(50, 50)), (8, plan(100, 100))]));
        let said = "the head said \"1,\"\nand it fits".to_owned();
        plans.give_reasons(key(&bench), BTreeMap::from([(7, said.clone())]));
        let read = RecordedPlans::load(file(&plans.to_csv()).path()).unwrap();
        assert_eq!(read, plans);
        assert_eq!(read.reason(&key(&bench), 7), Some(&*said));
        assert_eq!(read.reason(&key(&bench), 8), None);
        plans.give_reasons(key(&bench), BTreeMap::new());
        assert_eq!(plans, read);
    }

    #[test]
    fn a_replay_without_plans_is_an_error_that_names_those_that_have_some() {
        let bench = Bench::elastic();
        let mut plans = RecordedPlans::default();
        plans.insert(ReplayKey { trace: "00ff".into(), ..key(&bench) }, BTreeMap::new());
        let message = plans.policy("mine", &key(&bench)).unwrap_err().to_string();
        let (start, end) = message.split_once("found trace ").unwrap();
        assert_eq!(
            start,
            "method mine, device bench, seed 1: no plans were recorded for this replay; "
        );
        assert!(end.ends_with("; allowed: seed 1: 00ff"), "{message}");
    }

    #[test]
    fn bad_rows_are_named() {
        let head = COLUMNS.join(",");
        let refusal = |rows: &str| {
            let file = file(&format!("{head}\n{rows}"));
            let message = RecordedPlans::load(file.path()).unwrap_err().to_string();
            message.split_once(", line ").unwrap().1.to_owned()
        };
        let refusals = [
            refusal("a,1,ff,7,50,half\n"),
            refusal("a,1,ff,7,101,1\n"),
            refusal("a,1,ff,7,50,1\na,1,ff,7,60,1\n"),
            refusal("a,1,ff\n"),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        2, column "prompt_ratio": not a cell of this table; found "half"; allowed: whole numbers, a level of 1 to 100, a ratio of 0 to 1
        2, column "level_percent": not a cell of this table; found "101"; allowed: whole numbers, a level of 1 to 100, a ratio of 0 to 1
        3: request planned twice; found request 7
        2: row of other columns; found 3 fields; allowed: device,seed,trace,id,level_percent,prompt_ratio
        "#);
    }
}
