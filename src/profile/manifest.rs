//! How answers were made: the JSON manifest beside each file of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::paths::AnswerFiles;
use super::quality::AnswersOf;
use super::text;
use crate::error::{Error, Result};
use crate::files;

/// What stands between the templates of two datasets.
const TEMPLATES_APART: &str = " | ";

/// Version of the file format.
const SCHEMA: u32 = 2;

/// `<dir>/<compressor>.json`: what is known of each family's rows in `<compressor>.csv`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    schema: u32,
    /// By family, whole rows before those that were asked for.
    measured: Vec<QualityManifest>,
}

impl ManifestFile {
    fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self { schema: SCHEMA, measured: Vec::new() });
        }
        let file: Self = serde_json::from_str(&text::read(path)?).map_err(|cause| {
            let place = format!("line {}, column {}", cause.line(), cause.column());
            Error::file(path, "not a manifest of answers").at(place).caused_by(cause)
        })?;
        if file.schema != SCHEMA {
            let error = Error::file(path, "unknown version").at("key \"schema\"");
            return Err(error.found(file.schema).allowed(SCHEMA));
        }
        Ok(file)
    }
}

/// Everything needed to judge or repeat the answers of one family to prompts that one compressor
/// cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityManifest {
    /// Whose answers.
    pub base_model: String,
    /// How its sub-models were made.
    pub family: String,
    /// Whether it is of rows that were asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// Registry package and version, or local file, that the weights came from.
    pub model_source: String,
    /// SHA-256 of the weights file.
    pub model_sha256: String,
    /// SHA-256 of the elastification manifest (orders and prefix lengths); `None` where the family
    /// needs none.
    #[serde(default)]
    pub elastic_sha256: Option<String>,
    /// The prompt's layout, with the names of its parts in braces.
    pub prompt_template: String,
    /// Demonstrations before the question.
    pub shots: u32,
    /// How prompts were cut; their lengths are in `<compressor>.tokens.csv` beside it.
    pub compressor: String,
    /// How options were scored and normalised.
    pub scorer: String,
    /// Which items estimate accuracies: [`Split::RULE`](super::Split::RULE).
    pub split: String,
    /// Command that measured, in the last run that measured anything.
    pub command: String,
    /// Day it finished, `YYYY-MM-DD`.
    pub date: String,
    /// Commit of the code that measured.
    pub commit: String,
    /// Runs before that one which left rows in the table, first to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_runs: Vec<MeasuringRun>,
    /// Whether every planned row is there; a partial table is usable and reports say so. Of answers
    /// that were asked for: whether the last run finished.
    pub complete: bool,
    /// Items per dataset.
    pub datasets: BTreeMap<String, DatasetCount>,
    /// Anything else a reader should know, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A run that left rows in a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuringRun {
    /// Its command.
    pub command: String,
    /// Its day, `YYYY-MM-DD`.
    pub date: String,
    /// Commit of its code.
    pub commit: String,
}

/// How many items of a dataset have rows, by side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetCount {
    /// Items that expected accuracies are estimated on.
    pub estimate: u32,
    /// Items that traces draw from.
    pub replay: u32,
}

impl QualityManifest {
    /// What is known of the rows of `of` in the folder `dir` that were measured whole, or `asked`
    /// for; `None` if nothing is.
    ///
    /// # Errors
    /// If the file cannot be read or is not a manifest of schema 2.
    pub fn load(dir: &Path, of: &AnswersOf, asked: bool) -> Result<Option<Self>> {
        let file = ManifestFile::read(&AnswerFiles(dir).manifest(&of.compressor))?;
        let known = |known: &Self| known.family == of.family && known.asked == asked;
        Ok(file.measured.into_iter().find(known))
    }

    /// What is known of all rows of `compressor` in the folder `dir`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_all(dir: &Path, compressor: &str) -> Result<Vec<Self>> {
        Ok(ManifestFile::read(&AnswerFiles(dir).manifest(compressor))?.measured)
    }

    /// Takes over what `earlier`, the manifest of the rows that are there already, says of them:
    /// its runs, its notes, and the items that this run does not measure.
    ///
    /// # Errors
    /// If the rows are of other weights, another ladder, or prompts cut or scored otherwise: they
    /// cannot stand in one table with this run's.
    pub fn continue_from(&mut self, earlier: Self, path: &Path) -> Result<()> {
        self.check_alike(&earlier, path)?;
        for (name, count) in earlier.datasets {
            let kept = self.datasets.entry(name).or_insert(count);
            kept.estimate = kept.estimate.max(count.estimate);
            kept.replay = kept.replay.max(count.replay);
        }
        let templates = earlier.prompt_template.split(TEMPLATES_APART);
        let templates = templates.chain(self.prompt_template.split(TEMPLATES_APART));
        self.prompt_template = without_repeats(templates).join(TEMPLATES_APART);
        let notes = earlier.notes.iter().chain(&self.notes).cloned();
        self.notes = without_repeats(notes);
        let Self { command, date, commit, mut earlier_runs, .. } = earlier;
        earlier_runs.push(MeasuringRun { command, date, commit });
        self.earlier_runs = without_repeats(earlier_runs);
        Ok(())
    }

    /// Refuses to stand beside the rows of `earlier`, the manifest in the file `path`, unless both
    /// were measured alike.
    ///
    /// # Errors
    /// If the rows are of other weights, another ladder, or prompts cut or scored otherwise.
    pub fn check_alike(&self, earlier: &Self, path: &Path) -> Result<()> {
        let elastic = |manifest: &Self| manifest.elastic_sha256.clone().unwrap_or_default();
        for (key, old, new) in [
            ("base_model", &earlier.base_model, &self.base_model),
            ("family", &earlier.family, &self.family),
            ("model_sha256", &earlier.model_sha256, &self.model_sha256),
            ("elastic_sha256", &elastic(earlier), &elastic(self)),
            ("compressor", &earlier.compressor, &self.compressor),
            ("shots", &earlier.shots.to_string(), &self.shots.to_string()),
            ("scorer", &earlier.scorer, &self.scorer),
        ] {
            if old != new {
                return Err(Error::file(path, "rows of another measurement are there already")
                    .at(format!("key \"{key}\""))
                    .found(old)
                    .allowed(format!("{new}, or a table of another name")));
            }
        }
        Ok(())
    }

    /// Writes it into the manifest beside its rows in the folder `dir`, in place of what was known
    /// of them, in one step.
    ///
    /// # Errors
    /// If the file is broken or the folder not writable.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = AnswerFiles(dir).manifest(&self.compressor);
        let mut file = ManifestFile::read(&path)?;
        file.measured.retain(|known| (&known.family, known.asked) != (&self.family, self.asked));
        file.measured.push(self.clone());
        file.measured.sort_by(|a, b| (&a.family, a.asked).cmp(&(&b.family, b.asked)));
        let mut json = serde_json::to_string_pretty(&file)
            .map_err(|cause| Error::file(&path, "cannot be written as JSON").caused_by(cause))?;
        json.push('\n');
        files::write_whole(&path, json.as_bytes())
    }
}

/// `all` in order, each once.
fn without_repeats<T: Clone + Ord>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| seen.insert(one.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::*;

    fn manifest(command: &str, datasets: &[(&str, u32)]) -> QualityManifest {
        let count = |&(name, items): &(&str, u32)| {
            (name.to_owned(), DatasetCount { estimate: items / 2, replay: items - items / 2 })
        };
        let template = |&(name, _): &(&str, u32)| format!("{name}: {{question}}");
        let templates: Vec<String> = datasets.iter().map(template).collect();
        QualityManifest {
            base_model: "tiny".into(),
            family: "width".into(),
            asked: false,
            model_source: "local file, F32".into(),
            model_sha256: "aa".into(),
            elastic_sha256: Some("bb".into()),
            prompt_template: templates.join(TEMPLATES_APART),
            shots: 5,
            compressor: "structured".into(),
            scorer: "mean".into(),
            split: Split::RULE.into(),
            command: command.into(),
            date: "2026-01-02".into(),
            commit: "c0ffee".into(),
            earlier_runs: Vec::new(),
            complete: true,
            datasets: datasets.iter().map(count).collect(),
            notes: datasets.iter().map(|(name, _)| format!("{name} data")).collect(),
        }
    }

    #[test]
    fn a_run_that_goes_on_keeps_what_is_said_of_the_rows_before_it() {
        let mut second = manifest("second", &[("sciq", 100)]);
        let first = manifest("first", &[("piqa", 4), ("sciq", 50)]);
        second.continue_from(first.clone(), Path::new("structured.json")).unwrap();
        let both = manifest("second", &[("piqa", 4), ("sciq", 100)]);
        assert_eq!(second.datasets, both.datasets);
        assert_eq!(second.prompt_template, both.prompt_template);
        assert_eq!(second.notes, both.notes);
        let run = |command: &str| MeasuringRun {
            command: command.into(),
            date: "2026-01-02".into(),
            commit: "c0ffee".into(),
        };
        assert_eq!(second.earlier_runs, [run("first")]);
        let mut third = manifest("third", &[("sciq", 10)]);
        third.continue_from(second, Path::new("structured.json")).unwrap();
        assert_eq!(third.earlier_runs, [run("first"), run("second")]);
        assert_eq!(third.datasets, both.datasets);
    }

    #[test]
    fn rows_of_another_ladder_are_not_continued() {
        let mut next = manifest("next", &[("sciq", 1)]);
        let mut earlier = next.clone();
        earlier.elastic_sha256 = Some("dd".into());
        let error = next.continue_from(earlier, Path::new("structured.json")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "structured.json, key \"elastic_sha256\": rows of another measurement are there \
             already; found dd; allowed: bb, or a table of another name"
        );
    }
}
