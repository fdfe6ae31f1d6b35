//! What a method is made from: whether answers and decisions are those of its method.

use std::path::Path;

use super::spec::{MethodSpec, PolicySpec};
use crate::error::{Error, Result};
use crate::plan::Phases;
use crate::profile::{
    AnswerFiles, AnswersOf, Decision, DecisionKind, Decisions, DeviceProfile, FamilyLatency, Items,
    PromptLengths, QualityTable,
};
use crate::units::Level;

/// Answers, and whether some may be missing.
pub(super) struct Answers {
    pub(super) table: QualityTable,
    pub(super) asked: bool,
}

/// Which items may be replayed.
#[derive(Debug, Clone, Copy)]
pub enum Replayed<'a> {
    /// Those with answers to every plan.
    Whole,
    /// These, answered or not, also by what was measured as methods asked for it. Candidates are
    /// then all plans that family and compressor allow; a plan without an answer is an error once
    /// it is chosen, and a policy that looks at every plan's answer is refused.
    Asked(&'a Items),
}

impl Replayed<'_> {
    /// What the answers of `method`, which `family` runs, are.
    pub(super) fn answers(
        self,
        dir: &Path,
        family: &FamilyLatency,
        method: &MethodSpec,
    ) -> Result<Answers> {
        let table = self.table(dir, family, method)?;
        Ok(Answers { table, asked: matches!(self, Self::Asked(_)) })
    }

    fn table(
        self,
        dir: &Path,
        family: &FamilyLatency,
        method: &MethodSpec,
    ) -> Result<QualityTable> {
        let Self::Asked(items) = self else {
            let load = match method.phases {
                Phases::One => QualityTable::load,
                Phases::Two => QualityTable::load_phases,
            };
            return load(dir, method.quality_family());
        };
        if method.phases == Phases::Two {
            return Err(Error::new(
                format!("method {}", method.name),
                "needs answers of two levels",
            )
            .at("key \"phases\"")
            .found("answers = \"asked\"")
            .allowed("answers = \"whole\", or phases = 1"));
        }
        if let PolicySpec::Oracle {} = method.policy {
            return Err(Error::new(format!("method {}", method.name), "needs every plan's answer")
                .found("answers = \"asked\"")
                .allowed("answers = \"whole\""));
        }
        let levels: Vec<Level> = family.levels.iter().map(|latency| latency.level).collect();
        QualityTable::load_asked(dir, method.quality_family(), &levels, items)
    }

    pub(super) fn lengths(self, dir: &Path, compressor: &str) -> Result<PromptLengths> {
        match self {
            Self::Whole => PromptLengths::load(dir, compressor),
            Self::Asked(_) => PromptLengths::load_asked(dir, compressor),
        }
    }
}

/// Refuses answers of another base model or compressor than the method's.
pub(super) fn check_manifest(
    dir: &Path,
    base_model: &str,
    method: &MethodSpec,
    table: &QualityTable,
) -> Result<()> {
    let Some(manifest) = table.manifest() else { return Ok(()) };
    let of = AnswersOf::named(dir, method.quality_family());
    let path = AnswerFiles(dir).manifest(&of.compressor);
    let refuse = |key: &str, found: &str, allowed: &str| {
        Err(Error::file(&path, "not the answers of this method")
            .at(format!("key {key:?}"))
            .found(found)
            .allowed(allowed))
    };
    if manifest.base_model != base_model {
        return refuse("base_model", &manifest.base_model, base_model);
    }
    match &method.compressor {
        Some(compressor) if *compressor != manifest.compressor => {
            refuse("compressor", &manifest.compressor, compressor)
        }
        _ => Ok(()),
    }
}

/// Decisions `name` in `dir`, made for the compressor of `method` and for `device`.
pub(super) fn load_decisions(
    dir: &Path,
    name: &str,
    method: &MethodSpec,
    device: &DeviceProfile,
) -> Result<Decisions> {
    let decisions = Decisions::load(dir, name)?;
    let path = AnswerFiles(dir).decisions_manifest();
    let made_for = &decisions.manifest;
    let refuse = |key: &str, found: &str, allowed: &str| {
        Err(Error::file(&path, "not decisions of this method")
            .at(format!("key {key:?}"))
            .found(found)
            .allowed(allowed))
    };
    if method.compressor.as_ref() != Some(&made_for.compressor) {
        let own = method.compressor.as_deref().unwrap_or("no compressor");
        return refuse("compressor", &made_for.compressor, own);
    }
    match &made_for.device {
        Some(labelled) if *labelled != device.name => refuse("device", labelled, &device.name),
        _ => Ok(decisions),
    }
}

/// Refuses decisions that name plans of one level for a method that has plans of two.
pub(super) fn check_kind(method: &MethodSpec, decisions: Option<&Decisions>) -> Result<()> {
    let hard = decisions.is_some_and(|known| known.manifest.kind == DecisionKind::Hard);
    if method.phases == Phases::One || !hard {
        return Ok(());
    }
    Err(Error::new(format!("method {}", method.name), "the head names plans of one level")
        .at("key \"phases\"")
        .found(u8::from(method.phases))
        .allowed("1, or decisions of kind soft"))
}

/// The decisions by row of `table`.
pub(super) fn by_row(table: &QualityTable, decisions: &Decisions) -> Vec<Option<Decision>> {
    let mut known = vec![None; table.rows()];
    for dataset in table.datasets() {
        for (item, row) in table.items(dataset) {
            known[row.index()] = decisions.of(dataset, item).cloned();
        }
    }
    known
}

/// The lengths by row of `table`.
pub(super) fn lengths_by_row(
    table: &QualityTable,
    lengths: &PromptLengths,
) -> Vec<Option<Vec<u32>>> {
    let mut known = vec![None; table.rows()];
    for (dataset, item, tokens) in lengths.iter() {
        if let Some(row) = table.row(dataset, item) {
            known[row.index()] = Some(tokens.to_vec());
        }
    }
    known
}
