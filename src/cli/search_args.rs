//! What `pliant sweep` and `pliant peak` share.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pliant::Result;
use pliant::assets::Store;
use pliant::digest::sha256_file;
use pliant::experiment::Experiment;
use pliant::method::PolicySpec;
use pliant::search::{RunCache, SearchOptions};

use super::bar::Bar;

#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// The experiment file
    pub experiment: PathBuf,
    /// Results folder [default: results/<name of the experiment file>-<name of the command>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace other results, too
    #[arg(long)]
    pub force: bool,
    /// Threads; 0 is one per core
    #[arg(long, default_value_t = 0, value_parser = super::threads)]
    pub threads: usize,
    /// Folder of finished runs [default: `runs` in the user's cache, or in `PLIANT_CACHE`]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Repeat every run, and keep none
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// Print the rows as JSON and draw nothing
    #[arg(long)]
    pub json: bool,
}

impl SearchArgs {
    /// The results folder of `experiment` under `command`.
    pub fn out(&self, experiment: &Experiment, command: &str) -> PathBuf {
        let default = || Path::new("results").join(format!("{}-{command}", experiment.name));
        self.out.clone().unwrap_or_else(default)
    }

    /// How to search, with results in `out`.
    pub fn options<'a>(
        &self,
        out: &'a Path,
        progress: &'a Bar,
        cache: &'a RunCache,
    ) -> SearchOptions<'a> {
        let (force, threads, draw) = (self.force, self.threads, !self.json);
        SearchOptions { out, force, draw, threads, progress, cache }
    }

    /// Finished runs of this very build.
    pub fn run_cache(&self) -> Result<RunCache> {
        if self.no_cache {
            return Ok(RunCache::none());
        }
        let folder = match &self.cache {
            Some(folder) => folder.clone(),
            None => Store::of_user()?.root().join("runs"),
        };
        let program = super::this_program()?;
        Ok(RunCache::new(folder, sha256_file(&program)?))
    }
}

/// `12 runs, 30 more from the cache`, and what is looked at to tell whether a program of the user's
/// has changed since.
pub fn describe_counts(cache: &RunCache, experiment: &Experiment) -> Result<String> {
    let counts = cache.counts();
    let mut text = format!("{} runs, {} more from the cache", counts.executed, counts.recalled);
    for method in &experiment.spec.methods {
        if let PolicySpec::External(program) = &method.policy
            && cache.keeps(method)
        {
            let covered = program.covered()?;
            let name = &method.name;
            write!(text, "\nruns of {name} are kept as long as these stay: {covered}")
                .expect("a string can always grow");
        }
    }
    Ok(text)
}
