//! An experiment on many machines: each works off a shard of its runs, anyone puts them together.
//!
//! ```text
//! DIR/plan.toml                 which experiment, in how many shards; what makes it the same plan
//! DIR/runs/METHOD/…_seed7.toml  what a run shows, under its hash and the plan's
//! DIR/outcomes/METHOD/…_seed7.csv  its outcomes, where the experiment keeps them
//! ```
//!
//! A run depends on nothing but the plan and its seed, and its file is written whole. So shards may
//! be worked off twice, by several machines, after a kill, in any order: what is there and whole is
//! left alone. Folders of several machines are merged by taking each run from whichever has it, and
//! what comes out has the bytes of one machine's results.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::grid::{Cell, Grid};
use super::manifest::manifest;
use super::replays::{Replay, Replays};
use super::runner::{
    Backend, Progress, Results, RunOptions, each_by_itself, kept_outcomes, pool, run,
};
use super::spec::Experiment;
use crate::digest::{sha256, sha256_file};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::input::read_toml;
use crate::metrics::RunMeasures;
use crate::origin::Commit;
use crate::results::{Manifest, SIMULATED};

/// Most shards of an experiment.
const SHARDS_MAX: u32 = 1_000_000;

/// One of several shards, as an argument has it: `2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    nth: u32,
    of: u32,
}

/// How an experiment is divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardPlan {
    /// The experiment's name.
    pub experiment: String,
    /// Hash of all that its results depend on.
    pub plan: String,
    /// The commit that the hash is over.
    #[serde(skip)]
    pub commit: Option<Commit>,
    /// Files that its runs read, as the experiment states them.
    #[serde(skip)]
    pub inputs: Vec<PathBuf>,
    /// From the first.
    pub shards: Vec<ShardSize>,
}

/// How much a shard is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ShardSize {
    /// Replays.
    pub runs: usize,
    /// Requests over all of them.
    pub requests: u64,
}

/// How a shard is worked off.
#[derive(Clone, Copy)]
pub struct Working<'a> {
    /// The folder of shards.
    pub out: &'a Path,
    /// How many threads; 0: one per core.
    pub threads: usize,
    /// The commit of the program, where this machine does not know and who sent the shard does.
    pub commit: Option<&'a Commit>,
    /// Who is told of each run.
    pub progress: &'a dyn Progress,
}

/// What a shard came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ShardDone {
    /// Runs of it.
    pub runs: usize,
    /// Those that were there and whole already.
    pub were_there: usize,
}

/// How shards are put together.
#[derive(Debug, Clone, Copy)]
pub struct Merging<'a> {
    /// Where results go; by default the experiment's folder in `results/`.
    pub out: Option<&'a Path>,
    /// Whether results of another experiment may be replaced there.
    pub force: bool,
    /// Whether figures are drawn.
    pub draw: bool,
}

/// `plan.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    /// The experiment's file, from where commands run.
    experiment: PathBuf,
    /// As [`ShardPlan::plan`].
    plan: String,
}

/// What a file of `runs` has below its hash.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    plan: String,
    /// Hash of the file of outcomes, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcomes: Option<String>,
    measures: RunMeasures,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(nth, of)| Some((nth.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((nth, of)) if (1..=of).contains(&nth) && of <= SHARDS_MAX => Ok(Self { nth, of }),
            _ => Err(format!("allowed: I/N, I from 1 to N, N up to {SHARDS_MAX}")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.nth, self.of)
    }
}

/// The manifest that the results will have, but for what traces draw from.
fn simulated(experiment: &Experiment) -> Result<Manifest> {
    manifest(experiment, SIMULATED, BTreeMap::new())
}

/// The same, by a program of `commit`, if that is known.
fn simulated_by(experiment: &Experiment, commit: Option<&Commit>) -> Result<Manifest> {
    let mut manifest = simulated(experiment)?;
    if let Some(Commit { id, sources_modified }) = commit {
        manifest.commit = Some(id.clone());
        manifest.sources_modified = Some(*sources_modified);
    }
    Ok(manifest)
}

/// What identifies the plan of `experiment`: its manifest, before anything was replayed.
fn identity(manifest: &Manifest) -> String {
    sha256(toml::to_string(manifest).expect("a manifest is TOML").as_bytes())
}

/// How `experiment` is divided into `shards`.
///
/// # Errors
/// If an input is missing or wrong, or there are none or too many shards.
pub fn shard_plan(experiment: &Experiment, shards: u32) -> Result<ShardPlan> {
    if !(1..=SHARDS_MAX).contains(&shards) {
        return Err(Error::new("--shards", "out of range")
            .found(shards)
            .allowed(format!("1 to {SHARDS_MAX}")));
    }
    let manifest = simulated(experiment)?;
    let grid = Grid::of(experiment)?;
    let size = |runs: &Vec<_>| {
        let requests = runs.iter().map(|&(cell, nth)| requests(&grid, cell, nth)).sum();
        ShardSize { runs: runs.len(), requests }
    };
    let plan = identity(&manifest);
    let commit = manifest.commit.map(|id| {
        let sources_modified = manifest.sources_modified.unwrap_or_default();
        Commit { id, sources_modified }
    });
    Ok(ShardPlan {
        experiment: experiment.name.clone(),
        plan,
        commit,
        inputs: manifest.inputs.into_keys().map(PathBuf::from).collect(),
        shards: divided(&grid, shards).iter().map(size).collect(),
    })
}

/// Which of the shards of `plan` the folder `out` has not whole, and that it is of that plan.
///
/// # Errors
/// If an input is missing or wrong, or the folder has shards of another plan or other files.
pub fn unfinished(experiment: &Experiment, plan: &ShardPlan, out: &Path) -> Result<Vec<Shard>> {
    claim(experiment, &plan.plan, out)?;
    let grid = Grid::of(experiment)?;
    let is_whole = |&(cell, nth): &(&Cell, usize)| {
        let file = cell.label.run_file(grid.seeds[nth]);
        is_there(out, &file, &plan.plan)
    };
    let of = plan.shards.len() as u32;
    let shards = (1..=of).zip(divided(&grid, of));
    let missing = shards.filter(|(_, runs)| !runs.iter().all(is_whole));
    Ok(missing.map(|(nth, _)| Shard { nth, of }).collect())
}

fn requests(grid: &Grid, cell: &Cell, nth: usize) -> u64 {
    grid.trace(cell, nth).requests.len() as u64
}

/// The runs of each of so many shards: those whose middle request is in its part of all requests.
/// Runs of one method on one device stand together, because they share what they look up.
fn divided(grid: &Grid, shards: u32) -> Vec<Vec<(&Cell, usize)>> {
    let seeds = 0..grid.seeds.len();
    let mut runs: Vec<_> =
        grid.cells.iter().flat_map(|cell| seeds.clone().map(move |nth| (cell, nth))).collect();
    runs.sort_by_key(|(cell, _)| (cell.device, &cell.label.method));
    let all = u128::from(grid.requests().max(1));
    let mut before = 0_u128;
    let mut divided = vec![Vec::new(); shards as usize];
    for (cell, nth) in runs {
        let own = u128::from(requests(grid, cell, nth));
        let place = (2 * before + own) * u128::from(shards) / (2 * all);
        before += own;
        // A trace without requests may stand at the end of all.
        divided[place.min(u128::from(shards - 1)) as usize].push((cell, nth));
    }
    divided
}

/// Works off the runs of `shard` that its folder lacks.
///
/// # Errors
/// If an input is missing or wrong, the folder has shards of another plan or cannot be written, or
/// a run fails.
pub fn run_shard(experiment: &Experiment, shard: Shard, working: Working<'_>) -> Result<ShardDone> {
    let Working { out, threads, commit, progress } = working;
    let pool = pool(threads)?;
    let plan = identity(&simulated_by(experiment, commit)?);
    claim(experiment, &plan, out)?;
    let grid = pool.install(|| Grid::of(experiment))?;
    let runs = divided(&grid, shard.of).swap_remove(shard.nth as usize - 1);
    progress.start(runs.iter().map(|&(cell, nth)| requests(&grid, cell, nth)).sum());
    let replays = Replays::new(grid.kinds(), experiment.spec.service);
    let work = |(cell, nth): (&Cell, usize)| {
        let file = cell.label.run_file(grid.seeds[nth]);
        let was_there = is_there(out, &file, &plan);
        if !was_there {
            let keeps = kept_outcomes(experiment.spec.outcomes, nth);
            worked(&replays, (&grid, cell, nth), &plan, (out, &file, keeps))?;
        }
        progress.advance(requests(&grid, cell, nth));
        Ok(usize::from(was_there))
    };
    let were_there = pool.install(|| each_by_itself(runs).map(work).collect::<Result<Vec<_>>>())?;
    Ok(ShardDone { runs: were_there.len(), were_there: were_there.iter().sum() })
}

/// Makes `out` the folder of this plan's shards, unless it is one of another's.
fn claim(experiment: &Experiment, plan: &str, out: &Path) -> Result<()> {
    let file = out.join("plan.toml");
    if !file.exists() && is_free(out) {
        let stated = Stated { experiment: experiment.path.clone(), plan: plan.to_owned() };
        let text = toml::to_string(&stated).expect("names are TOML");
        return write_whole(&file, text.as_bytes());
    }
    // Another machine may have claimed it since the first look.
    if !file.exists() {
        return Err(Error::file(out, "holds files and no shards")
            .allowed("a new or empty folder, or one with shards of the same plan"));
    }
    let Stated { plan: other, .. } = read_toml(&file)?;
    if other == plan {
        return Ok(());
    }
    Err(Error::file(&file, "shards of another plan")
        .found(&other[..other.len().min(12)])
        .allowed(format!("{}: the same experiment, inputs and program", &plan[..12])))
}

/// Whether there is nothing in `folder` but what a killed process had begun to write.
fn is_free(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    entries.flatten().all(|entry| entry.file_name().to_string_lossy().starts_with('.'))
}

fn worked(
    replays: &Replays<'_>,
    (grid, cell, nth): (&Grid, &Cell, usize),
    plan: &str,
    (out, file, keeps): (&Path, &Path, bool),
) -> Result<()> {
    let (trace, columns, seed) = (grid.trace(cell, nth), grid.columns(cell, nth), grid.seeds[nth]);
    let path = keeps.then(|| out.join("outcomes").join(file));
    let outcomes = path.as_deref();
    let measures = replays.measures(&Replay { cell, trace, columns, seed, outcomes })?;
    let outcomes = outcomes.map(sha256_file).transpose()?;
    let kept = Kept { plan: plan.to_owned(), outcomes, measures };
    let path = run_path(out, file);
    let text = toml::to_string(&kept)
        .map_err(|cause| Error::file(&path, "cannot be written as TOML").caused_by(cause))?;
    write_whole(&path, format!("sha256 = \"{}\"\n{text}", sha256(text.as_bytes())).as_bytes())
}

fn run_path(folder: &Path, file: &Path) -> PathBuf {
    folder.join("runs").join(file).with_extension("toml")
}

/// Whether the folder `from` has a run whole.
fn is_there(from: &Path, file: &Path, plan: &str) -> bool {
    read(from, file, plan).is_ok_and(|kept| kept.is_some())
}

/// What the folder `from` has of a run, checked; `None` if it is not there.
fn read(from: &Path, file: &Path, plan: &str) -> Result<Option<Kept>> {
    let path = run_path(from, file);
    if !path.exists() {
        return Ok(None);
    }
    let unreadable = |error| Error::io(&path, "cannot read", error);
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    let torn = |found: &str| {
        Error::file(&path, "is not as it was written").found(found).allowed(
            "a whole run; `pliant run … --shard` works off again what is broken in its folder",
        )
    };
    let (first, rest) = text.split_once('\n').ok_or_else(|| torn("no line"))?;
    let stated = first.strip_prefix("sha256 = \"").and_then(|hash| hash.strip_suffix('"'));
    if stated != Some(&sha256(rest.as_bytes())) {
        return Err(torn("another hash than its first line states"));
    }
    let kept: Kept = toml::from_str(rest).map_err(|cause| torn("no run").caused_by(cause))?;
    if kept.plan != plan {
        return Err(Error::file(&path, "a run of another plan")
            .found(&kept.plan[..kept.plan.len().min(12)])
            .allowed(&plan[..12]));
    }
    if let Some(hash) = &kept.outcomes
        && sha256_file(&from.join("outcomes").join(file)).ok().as_ref() != Some(hash)
    {
        return Err(torn("its outcomes are absent or have another hash"));
    }
    Ok(Some(kept))
}

/// What the `folders` have of every run of `grid`, with where its outcomes are.
pub(super) fn kept_runs(
    grid: &Grid,
    manifest: &Manifest,
    folders: &[PathBuf],
) -> Result<Vec<(RunMeasures, Option<PathBuf>)>> {
    let plan = identity(manifest);
    let mut missing = Vec::new();
    let mut runs = Vec::new();
    for cell in &grid.cells {
        for &seed in &grid.seeds {
            let file = cell.label.run_file(seed);
            match kept_run(folders, &file, &plan)? {
                Some(run) => runs.push(run),
                None => missing.push(file.with_extension("").display().to_string()),
            }
        }
    }
    match missing.first() {
        None => Ok(runs),
        Some(first) => {
            let more = missing.len() - 1;
            let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let places: Vec<_> =
                folders.iter().map(|folder| folder.display().to_string()).collect();
            Err(Error::new("shards", "runs are missing")
                .at(places.join(", "))
                .found(format!("nothing of {first}{and_more}"))
                .allowed("every shard of the plan, `pliant run … --shard I/N`"))
        }
    }
}

/// A run from the first folder that has it whole.
fn kept_run(
    folders: &[PathBuf],
    file: &Path,
    plan: &str,
) -> Result<Option<(RunMeasures, Option<PathBuf>)>> {
    let mut wrong = None;
    for folder in folders {
        match read(folder, file, plan) {
            Ok(Some(Kept { outcomes, measures, .. })) => {
                return Ok(Some((measures, outcomes.map(|_| folder.join("outcomes").join(file)))));
            }
            Ok(None) => {}
            Err(error) => wrong = Some(error),
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// Puts the shards in `folders`, all of one plan, together: the results of one machine, to the
/// byte.
///
/// # Errors
/// If the folders hold no shards, or of several plans, a run is missing or broken, the experiment
/// or an input is another by now, or the results cannot be written.
pub fn merge(
    folders: &[PathBuf],
    merging: Merging<'_>,
    progress: &dyn Progress,
) -> Result<Results> {
    let [first, others @ ..] = folders else {
        return Err(Error::new("merge", "nothing to merge").allowed("folders of shards"));
    };
    let load = |folder: &Path| -> Result<Stated> { read_toml(&folder.join("plan.toml")) };
    let Stated { experiment: path, plan } = load(first)?;
    for folder in others {
        let other = load(folder)?.plan;
        if other != plan {
            return Err(Error::file(folder, "shards of another plan")
                .found(&other[..other.len().min(12)])
                .allowed(format!("{}, that of {}", &plan[..plan.len().min(12)], first.display())));
        }
    }
    let experiment = Experiment::load(&path)?;
    let now = identity(&simulated(&experiment)?);
    if now != plan {
        return Err(Error::file(&path, "is another experiment than its shards are of")
            .found(&now[..12])
            .allowed(format!("{}: the file, inputs and program as they were", &plan[..12])));
    }
    let default = Path::new("results").join(&experiment.name);
    let Merging { out, force, draw } = merging;
    let out = out.unwrap_or(&default);
    let options = RunOptions { out, force, draw, threads: 0, progress, witness: None };
    run(&experiment, Backend::Shards(folders), &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_several() {
        let shard: Shard = "2/8".parse().unwrap();
        assert_eq!((shard, shard.to_string()), (Shard { nth: 2, of: 8 }, "2/8".to_owned()));
        for text in ["", "2", "0/8", "9/8", "1/0", "-1/2", "1/2/3", "1/9999999"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
