//! Asks a trained head about every prompt that traces draw from, ahead of time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::model::decision::Decider;
use crate::model::tlm::graph::Precision;
use crate::profile::{
    DecisionKind, Decisions, DecisionsManifest, LengthsOf, PromptLengths, QualityTable, Split,
};
use crate::prompt::{DataPaths, Item};

/// Whose prompts are decided for.
#[derive(Debug, Clone)]
pub struct DecidePlan {
    /// Folder of the quality tables of the head's base model.
    pub folder: PathBuf,
    /// Name of the decisions' files.
    pub name: String,
    /// Folder or wheel of the datasets.
    pub data: DataPaths,
    /// For the manifest: command, day, commit.
    pub origin: [String; 3],
    /// Runtime's precision, for the manifest.
    pub precision: Precision,
}

/// Decides for the replay half of the table that the head learnt from, and for items of which only
/// what was asked for is measured, and writes the decisions.
///
/// # Errors
/// If a file is missing or wrong, the head learnt from one of those items, or inference fails.
pub fn decide(
    decider: &mut Decider,
    plan: &DecidePlan,
    report: &mut dyn FnMut(usize, usize),
) -> Result<Decisions> {
    let info = decider.info().clone();
    let table = QualityTable::load(&plan.folder, &info.table)?;
    let [command, date, commit] = plan.origin.clone();
    let mut seen = info.trained_on.clone();
    for (dataset, items) in &info.validated_on {
        seen.entry(dataset.clone()).or_default().extend(items);
    }
    let mut decisions = Decisions::new(DecisionsManifest {
        kind: info.kind,
        base_model: info.base_model.clone(),
        table: info.table.clone(),
        table_sha256: info.table_sha256.clone(),
        compressor: info.compressor.clone(),
        device: (info.kind == DecisionKind::Hard).then(|| info.device.clone()),
        trunk_sha256: info.trunk_sha256.clone(),
        trunk_layers: info.shared_layers as u32 + 1,
        head_sha256: decider.sha256().to_owned(),
        trained_on: seen,
        command,
        date,
        commit,
        measures: info.measures.clone(),
        notes: vec![
            format!("head trained by: {}", info.command),
            format!("inference in {}", plan.precision.name()),
        ],
    });
    let further = PromptLengths::of_table(&plan.folder, &info.compressor, LengthsOf::Further)?;
    let items: BTreeMap<&str, BTreeSet<ItemId>> =
        table.datasets().map(|name| (name, replayed(&table, &further, name))).collect();
    let planned: usize = items.values().map(BTreeSet::len).sum();
    let mut done = 0;
    for (dataset, items) in items {
        let texts = plan.data.load(dataset)?;
        let text = |item: &Item| (ItemId::from(item.id), info.input.text(&texts, item));
        let texts: BTreeMap<ItemId, String> = texts.items.iter().map(text).collect();
        for item in items {
            let text = texts.get(&item).ok_or_else(|| {
                Error::new(format!("dataset {dataset}"), "lacks an item of the table")
                    .found(format!("item {item}"))
            })?;
            decisions.insert(dataset, item, decider.decide(dataset, text)?);
            done += 1;
            report(done, planned);
        }
    }
    decisions.save(&plan.folder, &plan.name)?;
    Ok(decisions)
}

fn replayed(table: &QualityTable, further: &PromptLengths, dataset: &str) -> BTreeSet<ItemId> {
    let further = further.iter().filter(|&(name, ..)| name == dataset).map(|(_, item, _)| item);
    let items = table.items(dataset).map(|(item, _)| item).chain(further);
    items.filter(|&item| Split::of(dataset, item) == Split::Replay).collect()
}
