//! A results folder's table and figures, from its files alone.

use std::path::Path;

use super::figure::{Form, Press, draw_accuracy, draw_latency_maps, draw_quality_maps};
use super::{differences_table, metrics_table};
use crate::error::Result;
use crate::results::ResultsFolder;

/// Draws the figures of the results folder `folder` into it, in `form`, and returns its tables.
///
/// Reads `metrics.csv`, `paired.csv` where there is one, the CSV files that figures are asked for
/// and, for those of profiles, the inputs that `manifest.toml` names; nothing is replayed.
///
/// # Errors
/// If one of these files is missing or bad, or a figure cannot be written.
pub fn redraw(folder: &Path, form: Form) -> Result<String> {
    let results = ResultsFolder::load(folder)?;
    let ResultsFolder { rows, pairs, manifest, .. } = results;
    let about = match manifest.description.as_str() {
        "" => manifest.experiment.clone(),
        description => format!("{}: {description}", manifest.experiment),
    };
    let figures = manifest.figures.unwrap_or_default();
    let press = Press { folder, form, style: figures.style, about };
    draw_accuracy(&rows, &pairs, &press)?;
    draw_latency_maps(&figures.latency, &press)?;
    draw_quality_maps(&figures.quality, &press)?;
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        format!("{}\n{}", metrics_table(&rows), differences_table(&pairs))
    };
    for figure in &figures.asked {
        text = format!("{text}\n{}", figure.draw(&rows, &press)?);
    }
    for note in manifest.notes {
        text = format!("{text}note: {note}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        AskedItems, CellLabel, Measure, MetricsRow, PerMeasure, RunMeasures, write_metrics_csv,
    };

    fn results_folder(figures: &str) -> tempfile::TempDir {
        let label = CellLabel {
            method: "full".to_owned(),
            alpha: 0.0,
            device: "phone".to_owned(),
            latency_of: "large".to_owned(),
            base_model: "small".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        };
        let run = RunMeasures {
            values: PerMeasure::from([(Measure::AccuracyAtSlo, 0.5)]),
            ..RunMeasures::default()
        };
        let rows = [MetricsRow::of(&label, &[run.clone(), run], &AskedItems::default())];
        let folder = tempfile::tempdir().unwrap();
        write_metrics_csv(&folder.path().join("metrics.csv"), &rows).unwrap();
        let manifest = format!("experiment = \"mine\"\nexecutor = \"cost-model\"\n{figures}");
        std::fs::write(folder.path().join("manifest.toml"), manifest).unwrap();
        folder
    }

    #[test]
    fn a_folder_is_redrawn_from_its_files_to_the_same_bytes() {
        let folder = results_folder("[figures]\nlatency = []\n");
        for form in [Form::Svg, Form::Pdf, Form::Png] {
            assert!(redraw(folder.path(), form).unwrap().contains("full"));
            let ending = format!("{form:?}").to_lowercase();
            let figure = folder.path().join(format!("accuracy-at-slo.{ending}"));
            let first = std::fs::read(&figure).unwrap();
            redraw(folder.path(), form).unwrap();
            assert_eq!(std::fs::read(&figure).unwrap(), first, "{form:?}");
        }
    }

    #[test]
    fn a_manifest_with_a_stray_key_or_a_missing_profile_is_an_error() {
        let stray = results_folder("[figures]\nlatencies = []\n");
        let message = redraw(stray.path(), Form::Svg).unwrap_err().to_string();
        assert!(message.contains("manifest.toml") && message.contains("`latencies`"), "{message}");
        let missing = results_folder(
            "[[figures.latency]]\ndevice = \"no-such\"\nbase_model = \"a\"\nfamily = \"b\"\n",
        );
        let message = redraw(missing.path(), Form::Svg).unwrap_err().to_string();
        assert!(message.contains("no-such/device.toml"), "{message}");
    }
}
