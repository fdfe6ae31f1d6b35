//! What the figures of a results folder show and what they are drawn from: data, which `report`
//! draws.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::method::MethodSpec;
use crate::profile::{AnswerFiles, AnswersOf};
use crate::units::Ratio;

/// The profiles that a results folder draws, as its `manifest.toml` names them under `figures`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureInputs {
    /// How they look.
    #[serde(default)]
    pub style: FigureStyle,
    /// Devices of the latency figure.
    #[serde(default)]
    pub latency: Vec<LatencyInput>,
    /// Tables of the figure of accuracy maps.
    #[serde(default)]
    pub quality: Vec<QualityInput>,
    /// Those that the experiment asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<FigureSpec>,
}

/// A device of the latency figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyInput {
    /// Folder of the device profile, from where the command runs.
    pub device: PathBuf,
    /// Whose latencies.
    pub base_model: String,
    /// Of which family.
    pub family: String,
}

/// A table of the figure of accuracy maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityInput {
    /// Folder of the quality table, from where the command runs.
    pub folder: PathBuf,
    /// The table's name in it, such as `width`.
    pub table: String,
}

/// How the figures of an experiment look: `[figure]` of its file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FigureStyle {
    /// Width: 84 is a column of a paper in two columns, 178 its page.
    pub width_mm: f64,
    /// Size of labels. Nothing is set below 6 pt.
    pub font_pt: f64,
    /// Whether title and caption are drawn. Without, both are in the file's description only.
    pub title: bool,
    /// What intervals of means speak of.
    pub whiskers: Whiskers,
}

/// What intervals of means speak of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whiskers {
    /// Other items of the same datasets.
    #[default]
    Items,
    /// Other traces from the same items.
    Seeds,
}

impl Default for FigureStyle {
    fn default() -> Self {
        Self { width_mm: 178.0, font_pt: 8.0, title: true, whiskers: Whiskers::default() }
    }
}

impl FigureStyle {
    /// Refuses what cannot be read.
    ///
    /// # Errors
    /// If a length is out of its range.
    pub fn check(&self) -> Result<()> {
        for (key, value, lo, hi) in
            [("width_mm", self.width_mm, 60.0, 400.0), ("font_pt", self.font_pt, 6.0, 16.0)]
        {
            if !(lo..=hi).contains(&value) {
                return Err(Error::new("experiment", "out of range")
                    .at(format!("key \"figure.{key}\""))
                    .found(value)
                    .allowed(format!("a number from {lo} to {hi}")));
            }
        }
        Ok(())
    }
}

/// A figure of an experiment file: `[[figures]]`. Paths are from where the command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FigureSpec {
    /// Accuracy of sub-models on full prompts over levels, a line per table: the study's 10a.
    SubModels {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// What is compared.
        series: Vec<SeriesSpec>,
    },
    /// What tuning gives each level, beside what it gives the full model: gains and gaps, paired by
    /// item.
    Recovery {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// Table of the sub-models as they were cut.
        untuned: String,
        /// Table of the same, tuned.
        tuned: String,
        /// Table of the full model, equally tuned.
        control: String,
    },
    /// How much the loss grows when each layer is removed: the study's 10b.
    LayerImportance {
        /// An elastification manifest.
        manifest: PathBuf,
    },
    /// Accuracy at one level over prompt ratios, a line per table: the study's 13a.
    Compressors {
        /// Folder of the quality tables.
        folder: PathBuf,
        /// Percent.
        level: u16,
        /// What is compared.
        series: Vec<SeriesSpec>,
    },
    /// The share of the oracle's accuracy that each method reaches: the study's 13b.
    OracleShare {},
    /// Accuracy within the SLO over objectives, each item asked alone: the study's 15, 4b and 18d.
    Standalone(StandaloneSpec),
    /// What a run is like by the minute: the machine's speed, the levels chosen, and what they
    /// come to.
    OverTime(OverTimeSpec),
    /// Memory with one level and with all levels resident: the study's 16a.
    Memory {
        /// What is shown.
        of: Vec<FamiliesSpec>,
    },
    /// What a switch costs: the study's 16b.
    Switching {
        /// What is shown.
        of: Vec<FamiliesSpec>,
    },
    /// Time and tokens of each offline stage: the study's 17.
    OfflineCost {
        /// Files `offline-cost.csv`, one after the other.
        tables: Vec<PathBuf>,
    },
}

/// Whose runs are shown, and how finely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverTimeSpec {
    /// How long a point of a line stands for.
    pub minutes: u32,
    /// In the order of the legend.
    pub methods: Vec<String>,
}

/// Families of sub-models on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamiliesSpec {
    /// Folder of the device profile.
    pub device: PathBuf,
    /// Whose sub-models.
    pub base_model: String,
    /// In the order of the figure.
    pub families: Vec<String>,
}

/// A line: a quality table and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesSpec {
    /// In the legend.
    pub name: String,
    /// In the folder.
    pub table: String,
}

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandaloneSpec {
    /// Folder of the device profile.
    pub device: PathBuf,
    /// The model whose latencies are billed.
    pub latency_of: String,
    /// The model whose answers are judged.
    pub base_model: String,
    /// Folder of quality tables: `<quality>/<base model>/<compressor>.csv`.
    pub quality: PathBuf,
    /// The compressor whose file of prompt lengths lists the items.
    pub lengths: String,
    /// Tokens to generate.
    pub output_tokens: u32,
    /// Objectives ⟨ζ of TTFT, ζ of TPOT⟩, in the order of the x axis.
    pub slos: Vec<(Ratio, Ratio)>,
    /// The first is the one that the others are counted against.
    pub methods: Vec<MethodSpec>,
}

/// The file of the answers called `table` in `folder`.
fn grades(folder: &Path, table: &str) -> PathBuf {
    AnswerFiles(folder).grades(&AnswersOf::named(folder, table).compressor)
}

impl FigureInputs {
    /// The same with paths that hold from here, where the results lie in `folder`.
    #[must_use]
    pub fn seen_from(mut self, folder: &Path) -> Self {
        let seen = |path: &mut PathBuf| *path = found_from(folder, path);
        self.latency.iter_mut().for_each(|input| seen(&mut input.device));
        self.quality.iter_mut().for_each(|input| seen(&mut input.folder));
        self.asked.iter_mut().flat_map(FigureSpec::paths).for_each(seen);
        self
    }

    /// The first file without which a figure cannot be drawn that is not there.
    #[must_use]
    pub fn missing(&self) -> Option<PathBuf> {
        let devices = self.latency.iter().map(|input| input.device.join("device.toml"));
        let tables = self.quality.iter().map(QualityInput::file);
        let asked = self.asked.iter().flat_map(FigureSpec::needed);
        devices.chain(tables).chain(asked).find(|file| !file.exists())
    }
}

/// Where the input `path` of the results folder `folder` is: paths are from where the run was
/// started, most often a folder above it, perhaps the current one. `path` itself if it is nowhere.
#[must_use]
pub fn found_from(folder: &Path, path: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut above = whole.ancestors().skip(1).map(|root| root.join(path));
    if path.exists() {
        return path.to_owned();
    }
    above.find(|there| there.exists()).unwrap_or_else(|| path.to_owned())
}

impl QualityInput {
    /// The table's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        grades(&self.folder, &self.table)
    }
}

impl FigureSpec {
    /// The files without which it cannot be drawn; others are named as absent in it.
    #[must_use]
    pub fn needed(&self) -> Vec<PathBuf> {
        match self {
            Self::Memory { .. } | Self::Switching { .. } => self.inputs(),
            _ => Vec::new(),
        }
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::SubModels { folder, .. }
            | Self::Compressors { folder, .. }
            | Self::Recovery { folder, .. } => vec![folder],
            Self::LayerImportance { manifest } => vec![manifest],
            Self::OfflineCost { tables } => tables.iter_mut().collect(),
            Self::Standalone(spec) => vec![&mut spec.device, &mut spec.quality],
            Self::Memory { of } | Self::Switching { of } => {
                of.iter_mut().map(|entry| &mut entry.device).collect()
            }
            Self::OracleShare {} | Self::OverTime(_) => Vec::new(),
        }
    }

    /// The files that the figure is drawn from, there or not.
    #[must_use]
    pub fn inputs(&self) -> Vec<PathBuf> {
        match self {
            Self::SubModels { folder, series } | Self::Compressors { folder, series, .. } => {
                series.iter().map(|series| grades(folder, &series.table)).collect()
            }
            Self::Recovery { folder, untuned, tuned, control } => {
                [untuned, tuned, control].map(|table| grades(folder, table)).to_vec()
            }
            Self::LayerImportance { manifest } => vec![manifest.clone()],
            Self::OfflineCost { tables } => tables.clone(),
            Self::Standalone(spec) => spec.inputs(),
            Self::Memory { of } | Self::Switching { of } => {
                of.iter().map(|entry| entry.device.join("device.toml")).collect()
            }
            Self::OracleShare {} | Self::OverTime(_) => Vec::new(),
        }
    }
}

impl StandaloneSpec {
    /// Refuses what compares nothing.
    ///
    /// # Errors
    /// If there are too few objectives or methods, or an objective of nothing.
    fn check(&self) -> Result<()> {
        let positive = |(ttft, tpot): &(Ratio, Ratio)| ttft.min(tpot).thousandths() > 0;
        if self.slos.len() < 2 || !self.slos.iter().all(positive) || self.methods.is_empty() {
            return Err(Error::new("experiment", "nothing to compare")
                .at("figure standalone")
                .found(format!("{} slos, {} methods", self.slos.len(), self.methods.len()))
                .allowed("two or more slos, of shares above 0, and one or more methods"));
        }
        Ok(())
    }

    /// The files that the figure is drawn from.
    fn inputs(&self) -> Vec<PathBuf> {
        let answers = self.quality.join(&self.base_model);
        let named = AnswerFiles(&answers);
        let mut files = vec![self.device.join("device.toml"), named.lengths(&self.lengths)];
        for method in &self.methods {
            let of = AnswersOf::named(&answers, method.quality_family());
            files.push(named.grades(&of.compressor));
            files.extend(method.compressor.iter().map(|name| named.lengths(name)));
            if method.policy.decisions().is_some() {
                files.extend(["soft", "hard"].map(|kind| named.decisions(kind)));
            }
        }
        files
    }
}

impl OverTimeSpec {
    /// Refuses what shows nothing; `methods` are those that run.
    ///
    /// # Errors
    /// If a point stands for no time, or a method is not among those that run.
    pub fn check(&self, methods: &[&str]) -> Result<()> {
        let wrong = |problem| Error::new("experiment", problem).at("figure over-time");
        if self.minutes == 0 {
            return Err(wrong("no time to count in").found("0 minutes").allowed("1 or more"));
        }
        let unknown = self.methods.iter().find(|name| !methods.contains(&name.as_str()));
        match unknown {
            Some(name) => {
                let error = wrong("no such method").found(format!("\"{name}\""));
                Err(error.allowed(methods.join(", ")))
            }
            None if self.methods.is_empty() => {
                Err(wrong("nothing to show").found("no methods").allowed(methods.join(", ")))
            }
            None => Ok(()),
        }
    }
}

/// Refuses figures of one kind, whose files would share a name, and those that compare nothing.
///
/// # Errors
/// If two figures are of one kind, or a figure has too little to show.
pub fn check_figures(figures: &[FigureSpec]) -> Result<()> {
    for (at, figure) in figures.iter().enumerate() {
        let same =
            |other: &FigureSpec| std::mem::discriminant(other) == std::mem::discriminant(figure);
        if figures[..at].iter().any(same) {
            return Err(Error::new("experiment", "two figures of one kind")
                .at("key \"figures\"")
                .allowed("each kind once"));
        }
        if let FigureSpec::Standalone(spec) = figure {
            spec.check()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_time_is_of_methods_that_run_and_of_some_minutes() {
        let spec = |minutes, methods: &[&str]| OverTimeSpec {
            minutes,
            methods: methods.iter().map(|&name| name.to_owned()).collect(),
        };
        let check = |minutes, methods: &[&str]| spec(minutes, methods).check(&["a", "b"]);
        check(1, &["b"]).unwrap();
        let refusals = [check(0, &["b"]), check(1, &[]), check(1, &["b", "c"])];
        let refusals = refusals.map(|refused| refused.unwrap_err().to_string());
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        experiment, figure over-time: no time to count in; found 0 minutes; allowed: 1 or more
        experiment, figure over-time: nothing to show; found no methods; allowed: a, b
        experiment, figure over-time: no such method; found "c"; allowed: a, b
        "#);
    }

    #[test]
    fn two_figures_of_one_kind_are_refused() {
        let figures = [FigureSpec::OracleShare {}, FigureSpec::OracleShare {}];
        assert!(check_figures(&figures).is_err());
        assert!(check_figures(&figures[..1]).is_ok());
    }
}
