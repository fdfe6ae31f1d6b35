//! `pliant profile lengths` and `pliant profile asked`: a few answers of many items.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use pliant::engine::EngineOptions;
use pliant::experiment::{Experiment, Unanswered, unanswered};
use pliant::origin;
use pliant::profile::{AnswersOf, Profiles, QualityManifest};
use pliant::profiler::asked::measure_lengths;
use pliant::profiler::asked_run::{self, AskedRun};
use pliant::profiler::quality::QualityProgress;
use pliant::prompt::{Compressor, Dataset};
use pliant::{Error, Result};

use super::bar::bar;
use super::by_name;
use super::data_args::DataArgs;
use super::engine_args::EngineArgs;
use super::output::Form;

#[derive(Debug, clap::Args)]
pub struct LengthsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Compressors whose prompts are measured
    #[arg(long, value_delimiter = ',', default_value = "score-head,lingua",
          value_parser = by_name::<Compressor>)]
    compressors: Vec<Compressor>,
    /// Datasets; also: api-calling, ui-automation, api-calling-live, api-calling-near
    #[arg(long, value_delimiter = ',', default_value = "arc-easy,openbookqa,piqa,sciq")]
    datasets: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Items per dataset, of which the replay half is measured
    #[arg(long, default_value_t = 250)]
    items: usize,
    /// Folder of the tables; default: device-profiles/quality/BASE_MODEL
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct AskedArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// The experiment file; it states `answers = "asked"`
    #[arg(value_name = "EXPERIMENT.toml")]
    experiment: PathBuf,
    /// Quality tables to fill; default: all that lack an answer
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Say what is missing, measure nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn lengths(args: &LengthsArgs, form: Form) -> Result<()> {
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let default = || Profiles::default().answers(&model.identity().base_model);
    let folder = args.out.clone().unwrap_or_else(default);
    let data = args.data.paths();
    let datasets: Vec<Dataset> =
        args.datasets.iter().map(|name| data.load(name)).collect::<Result<_>>()?;
    let mut rows = form.rows();
    for &compressor in &args.compressors {
        let bar = bar(compressor.name(), "items", 0);
        let new = measure_lengths(
            &mut model,
            &datasets,
            args.items,
            compressor,
            &folder,
            &mut |done, planned| {
                bar.set_length(planned as u64);
                bar.set_position(done as u64);
            },
        )?;
        bar.finish_and_clear();
        let text = format!("{}: {new} new items", compressor.name());
        rows.add(json!({ "compressor": compressor, "new_items": new }), text)?;
    }
    rows.end()
}

pub fn asked_answers(args: &AskedArgs, form: Form) -> Result<()> {
    let experiment = Experiment::load(&args.experiment)?;
    let mut lacking = unanswered(&experiment)?;
    if let Some(unknown) = args.tables.iter().find(|name| lacking.iter().all(|l| l.table != **name))
    {
        let tables: Vec<&str> = lacking.iter().map(|lacking| lacking.table.as_str()).collect();
        return Err(Error::new("argument --tables", "not a table of the experiment")
            .found(unknown)
            .allowed(tables.join(", ")));
    }
    lacking.retain(|lacking| args.tables.is_empty() || args.tables.contains(&lacking.table));
    let mut tables = Vec::new();
    for lacking in &lacking {
        let answers: usize = lacking.plans.values().map(BTreeSet::len).sum();
        let items = lacking.plans.len();
        form.text(format!("{}: {answers} answers of {items} items missing", lacking.table))?;
        let fills = (answers > 0 || is_broken_off(&experiment, lacking)?) && !args.dry_run;
        let rows = if fills { fill(args, &experiment, lacking)? } else { 0 };
        if fills {
            form.text(format!("{}: {rows} rows written", lacking.table))?;
        }
        tables.push(json!({
            "table": lacking.table, "answers_missing": answers, "items": items,
            "rows_written": rows,
        }));
    }
    form.json(&tables)
}

/// Whether the manifest of what was asked for was left unfinished.
fn is_broken_off(experiment: &Experiment, lacking: &Unanswered) -> Result<bool> {
    let folder = experiment.spec.quality.join(&lacking.base_model);
    let of = AnswersOf::named(&folder, &lacking.table);
    let manifest = QualityManifest::load(&folder, &of, true)?;
    Ok(manifest.is_some_and(|manifest| !manifest.complete))
}

/// Measures what a table lacks; how many rows were written.
fn fill(args: &AskedArgs, experiment: &Experiment, lacking: &Unanswered) -> Result<usize> {
    let engine = args.engine.or_of(&lacking.base_model);
    let mut model = engine.open(&lacking.family, EngineOptions::default())?;
    let base_model = model.identity().base_model;
    if base_model != lacking.base_model {
        return Err(Error::file(&experiment.path, "asks for answers of another model")
            .found(&lacking.base_model)
            .allowed(base_model));
    }
    let uncut = || Compressor::Structured.name().to_owned();
    let compressor = lacking.compressor.clone().unwrap_or_else(uncut);
    let compressor = by_name::<Compressor>(&compressor)
        .map_err(|problem| Error::new(lacking.table.clone(), problem))?;
    let run = AskedRun {
        data: args.data.paths(),
        folder: experiment.spec.quality.join(&base_model),
        compressor,
        command: origin::command(),
    };
    let bar = bar("", "rows", 0);
    let rows = asked_run::measure(&mut model, &run, lacking, &mut |progress: QualityProgress| {
        bar.set_length(progress.planned as u64);
        bar.set_message(format!("{} at {}", progress.dataset, progress.level));
        bar.set_position(progress.done as u64);
    })?;
    bar.finish_and_clear();
    Ok(rows)
}
