//! `pliant elastify quantise`: a ladder in fewer bits over the units of another.

use std::path::PathBuf;

use pliant::family::Family;
use pliant::model::manifest::ElasticManifest;
use pliant::{Result, origin};
use serde_json::json;

use super::super::output::Form;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The ladder of family width whose units to take
    #[arg(value_name = "MANIFEST")]
    from: PathBuf,
    /// Which ladder to make: width-q4, width-q8 (its sub-models in 4 or 8 bits), bits (all its
    /// units, in 8 bits and in 4)
    #[arg(long, value_parser = super::super::by_name::<Family>)]
    family: Family,
    /// Manifest to write; default: FAMILY.json beside the one that is read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, form: Form) -> Result<()> {
    let family = args.family;
    let manifest = ElasticManifest::load(&args.from)?;
    let manifest = manifest.quantised(&args.from, family, origin::command())?;
    let out =
        args.out.clone().unwrap_or_else(|| args.from.with_file_name(format!("{family}.json")));
    manifest.save(&out)?;
    let levels: Vec<_> = manifest.levels.iter().map(|model| model.level).collect();
    let text = format!("{}: {family} ladder of {} levels", out.display(), levels.len());
    form.one(&json!({ "manifest": out, "family": family, "levels": levels }), text)
}
