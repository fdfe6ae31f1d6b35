//! `pliant elastify contextual`: train the predictor of family `contextual` and write its ladder.

use std::path::PathBuf;

use serde_json::json;

use pliant::elastify::contextual::{Trained, ladder, manifest, train};
use pliant::elastify::offline_cost::{self, Meter, OfflineCost};
use pliant::model::family::contextual::{Captured, PredictorFile};
use pliant::{Error, Result, digest, files, origin};

use super::super::bar::bar;
use super::super::output::Form;
use super::Sources;
use pliant::units::Level;

/// Names the predictor's file after the manifest's.
const ENDING: &str = "predictor.safetensors";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Calibration tokens to fit
    #[arg(long, default_value_t = 25_600)]
    tokens: usize,
    /// Tokens after them to measure the fit on
    #[arg(long, default_value_t = 512)]
    held_out_tokens: usize,
    /// Rank of the predictor's matrices
    #[arg(long, default_value_t = 28)]
    rank: usize,
    /// Levels in percent, rising, the last is 100
    #[arg(long, value_delimiter = ',', default_value = "20,30,40,50,60,70,80,90,100",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: Vec<u16>,
    /// Power of a busy core, to estimate energy from processor time
    #[arg(long, default_value_t = 5.0, value_name = "W")]
    watts_per_core: f64,
    /// Manifest to write, the predictor beside it
    #[arg(long, value_name = "FILE", default_value = "contextual.json")]
    out: PathBuf,
}

pub fn run(args: &Args, form: Form) -> Result<()> {
    let meter = Meter::start();
    let levels = levels(&args.levels)?;
    let _lock = files::Lock::acquire(&args.out, "the contextual ladder")?;
    let loaded = args.sources.load()?;
    let config = loaded.identity.config.clone();
    let fitted = loaded.corpus.sequences(0, args.tokens);
    let corpus = loaded.corpus.info(fitted);
    let held_out = loaded.corpus.sequences(corpus.tokens, args.held_out_tokens);
    let ladder = ladder(&config, &levels);
    let bar = bar("fitting", "layers", config.layers as u64);
    let mut report = || bar.inc(1);
    let trained = train(&loaded.network, fitted, held_out, args.rank, &ladder, &mut report)?;
    bar.finish_and_clear();
    let path = args.out.with_extension(ENDING);
    trained.predictor.save(&path, &config)?;
    let file = PredictorFile {
        file: path.file_name().unwrap_or_default().into(),
        sha256: digest::sha256_file(&path)?,
        rank: args.rank,
        held_out_tokens: held_out.iter().map(Vec::len).sum(),
        captured: trained.captured.clone(),
    };
    let tokens = corpus.tokens as u64;
    let command = origin::command();
    manifest(loaded.identity, corpus, ladder, &trained, file, command).save(&args.out)?;
    OfflineCost::new("contextual", String::new(), meter.spent(), tokens, args.watts_per_core)
        .record(&args.out.with_file_name(offline_cost::FILE))?;
    form.text(format!("{}: contextual ladder, {} beside it", args.out.display(), path.display()))?;
    form.text(summary(&trained))?;
    let captured = &trained.captured;
    form.json(&json!({ "manifest": args.out, "predictor": path, "captured": captured }))
}

fn levels(percents: &[u16]) -> Result<Vec<Level>> {
    if percents.is_sorted_by(|a, b| a < b) && percents.last() == Some(&100) {
        return Ok(percents.iter().copied().map(Level::percent).collect());
    }
    Err(Error::new("argument --levels", "out of order")
        .found(format!("{percents:?}"))
        .allowed("rising, the last 100"))
}

fn summary(trained: &Trained) -> String {
    let row = |captured: &Captured| {
        let [predicted, best] = [captured.predicted, captured.best].map(|share| 100.0 * share);
        format!("{:>6}  {predicted:9.1}  {best:4.1}", captured.level.to_string())
    };
    let rows: Vec<String> = trained.captured.iter().map(row).collect();
    format!(
        "share of neurons' importance, %, on text not fitted:\n level  predicted  best\n{}",
        rows.join("\n")
    )
}
