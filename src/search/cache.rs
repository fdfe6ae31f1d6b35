//! What finished runs showed, by the hash of their inputs.
//!
//! A run is a function of the program, the method, the files that it reads, the service, the trace
//! and the seed. One file per run: a line with the SHA-256 of the rest, then the measures in TOML.
//! A file that is damaged, cut short or of other inputs is never believed: its run is repeated.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::files;
use crate::method::{MethodSpec, PolicySpec};
use crate::metrics::RunMeasures;
use crate::policy::Bill;

/// What the first line of an entry starts with.
const HEADER: &str = "# sha256 ";

/// A folder of finished runs.
#[derive(Debug)]
pub struct RunCache {
    /// None: nothing is kept.
    folder: Option<PathBuf>,
    /// Which build of the program the runs are of.
    program: String,
    executed: AtomicUsize,
    recalled: AtomicUsize,
}

/// How many runs a search needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    /// Replayed.
    pub executed: usize,
    /// Found in the cache.
    pub recalled: usize,
}

/// An entry, after its first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The hash of the run's inputs.
    inputs: String,
    measures: RunMeasures,
}

impl RunCache {
    /// A cache in `folder`, which need not exist, of runs of `program`: a text that differs between
    /// any two builds that might give different results, such as the hash of the executable.
    #[must_use]
    pub fn new(folder: PathBuf, program: String) -> Self {
        Self { folder: Some(folder), program, ..Self::none() }
    }

    /// A cache that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        let (executed, recalled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { folder: None, program: String::new(), executed, recalled }
    }

    /// Whether runs of `method` are kept: times that were really taken are not.
    #[must_use]
    pub fn keeps(&self, method: &MethodSpec) -> bool {
        let is_repeatable = match &method.policy {
            PolicySpec::External(external) => external.bill != Bill::Measured,
            _ => true,
        };
        self.folder.is_some() && is_repeatable
    }

    /// How many runs were asked for so far.
    #[must_use]
    pub fn counts(&self) -> RunCounts {
        RunCounts {
            executed: self.executed.load(Ordering::Relaxed),
            recalled: self.recalled.load(Ordering::Relaxed),
        }
    }

    /// What the run of these `inputs` showed; `run` replays it where the cache does not know. Runs
    /// without inputs are not kept.
    ///
    /// # Errors
    /// Those of `run`, or if its measures cannot be written.
    pub(super) fn measures(
        &self,
        inputs: Option<&impl Serialize>,
        run: impl FnOnce() -> Result<RunMeasures>,
    ) -> Result<RunMeasures> {
        let place = inputs.zip(self.folder.as_ref()).map(|(inputs, folder)| {
            let inputs = serde_json::to_vec(&(&self.program, inputs));
            let hash = sha256(&inputs.expect("inputs are plain data"));
            (folder.join(&hash[..2]).join(format!("{}.toml", &hash[2..])), hash)
        });
        if let Some(measures) = place.as_ref().and_then(|(path, hash)| {
            let text = fs::read_to_string(path).ok()?;
            parsed(&text, hash)
        }) {
            self.recalled.fetch_add(1, Ordering::Relaxed);
            return Ok(measures);
        }
        let measures = run()?;
        self.executed.fetch_add(1, Ordering::Relaxed);
        if let Some((path, inputs)) = place {
            let body = toml::to_string(&Entry { inputs, measures: measures.clone() }).map_err(
                |cause| Error::file(&path, "cannot be written as TOML").caused_by(cause),
            )?;
            let text = format!("{HEADER}{}\n{body}", sha256(body.as_bytes()));
            // Its checksum tells what a crash has left of it.
            files::write_unsynced(&path, text.as_bytes())?;
        }
        Ok(measures)
    }
}

/// The measures in an entry's `text`, if it is whole and of the inputs with this `hash`.
fn parsed(text: &str, hash: &str) -> Option<RunMeasures> {
    let (sum, body) = text.strip_prefix(HEADER)?.split_once('\n')?;
    let entry: Entry = (sum == sha256(body.as_bytes())).then(|| toml::from_str(body).ok())??;
    (entry.inputs == hash).then_some(entry.measures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Measure, PerMeasure};
    use std::path::Path;

    fn measures() -> RunMeasures {
        RunMeasures {
            classes: Vec::new(),
            requests: 3,
            answers: vec![Some(1.0), None, Some(0.25)],
            values: PerMeasure::from([
                (Measure::Accuracy, 1.0 / 3.0),
                (Measure::TtftP50, 0.1 + 0.2),
            ]),
        }
    }

    fn ask(cache: &RunCache, inputs: &str) -> RunMeasures {
        cache.measures(Some(&inputs), || Ok(measures())).unwrap()
    }

    fn counts(executed: usize, recalled: usize) -> RunCounts {
        RunCounts { executed, recalled }
    }

    fn only_entry(folder: &Path) -> PathBuf {
        let of = |folder: &Path| fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        of(&of(folder))
    }

    #[test]
    fn a_run_is_replayed_once_for_the_same_inputs_and_program() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |program: &str| RunCache::new(folder.path().into(), program.into());
        let first = cache("a");
        assert_eq!(ask(&first, "x"), measures());
        assert_eq!(ask(&first, "x"), measures(), "to the last bit");
        assert_eq!(ask(&first, "y"), measures());
        assert_eq!(first.counts(), counts(2, 1));
        let again = cache("a");
        ask(&again, "x");
        assert_eq!(again.counts(), counts(0, 1));
        let rebuilt = cache("b");
        ask(&rebuilt, "x");
        assert_eq!(rebuilt.counts(), counts(1, 0));
    }

    #[test]
    fn times_that_were_really_taken_are_not_kept() {
        let method = |policy: &str| -> MethodSpec {
            toml::from_str(&format!("name = 'a'\nfamily = 'width'\npolicy = {{ {policy} }}"))
                .unwrap()
        };
        let cache = RunCache::new("anywhere".into(), "a".into());
        let external = "kind = 'external', command = ['python3', 'mine.py']";
        assert!(cache.keeps(&method("kind = 'oracle'")));
        assert!(cache.keeps(&method(external)));
        assert!(!cache.keeps(&method(&format!("{external}, bill = 'measured'"))));
        assert!(!RunCache::none().keeps(&method("kind = 'oracle'")));
    }

    #[test]
    fn a_run_without_inputs_and_a_cache_without_folder_keep_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RunCache::new(folder.path().into(), "a".into());
        for _ in 0..2 {
            cache.measures(None::<&&str>, || Ok(measures())).unwrap();
        }
        assert_eq!(cache.counts(), counts(2, 0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let none = RunCache::none();
        ask(&none, "x");
        ask(&none, "x");
        assert_eq!(none.counts(), counts(2, 0));
    }

    /// Every way to damage one entry: a flipped value, a cut, another run's entry, rubbish.
    #[test]
    fn a_damaged_entry_is_replaced_and_never_believed() {
        let folder = tempfile::tempdir().unwrap();
        ask(&RunCache::new(folder.path().into(), "a".into()), "x");
        let path = only_entry(folder.path());
        let whole = fs::read_to_string(&path).unwrap();
        let other = tempfile::tempdir().unwrap();
        ask(&RunCache::new(other.path().into(), "a".into()), "y");
        for damaged in [
            whole.replace("requests = 3", "requests = 4"),
            whole[..whole.len() / 2].to_owned(),
            fs::read_to_string(only_entry(other.path())).unwrap(),
            String::new(),
        ] {
            assert_ne!(damaged, whole);
            fs::write(&path, damaged).unwrap();
            let cache = RunCache::new(folder.path().into(), "a".into());
            assert_eq!(ask(&cache, "x"), measures());
            assert_eq!(cache.counts(), counts(1, 0));
            assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = RunCache::new(file.path().into(), "a".into());
        let wrong = cache.measures(Some(&"x"), || Ok(measures())).unwrap_err().to_string();
        assert!(wrong.contains("cannot create"), "{wrong}");
    }
}
