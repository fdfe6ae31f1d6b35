//! A results folder's table and figures, from its files alone.

use std::path::{Path, PathBuf};

use super::figure::{Form, Press, draw_accuracy, draw_latency_maps, draw_quality_maps};
use super::{differences_table, metrics_table};
use crate::error::Result;
use crate::results::{QualityInput, ResultsFolder, add_figures};

/// Draws the figures of the results folder `folder` into it, in `form`, and returns its tables.
///
/// Reads the folder and, for the figures of profiles, the inputs that its manifest names, wherever
/// they are found from it or from the current folder. A figure whose input is not there any more is
/// said not to be drawn; nothing is replayed.
///
/// # Errors
/// If a file is bad, one of the folder is missing, or a figure cannot be written.
pub fn redraw(folder: &Path, form: Form) -> Result<String> {
    let results = ResultsFolder::load(folder)?;
    add_figures(folder, &results.manifest, |out| draw(&results, out, form))
}

fn draw(results: &ResultsFolder, out: &Path, form: Form) -> Result<String> {
    let ResultsFolder { path, rows, pairs, manifest, .. } = results;
    let about = match manifest.description.as_str() {
        "" => manifest.experiment.clone(),
        description => format!("{}: {description}", manifest.experiment),
    };
    let mut figures = manifest.figures.clone().unwrap_or_default().seen_from(path);
    let mut absent = Vec::new();
    let mut is_there = |file: PathBuf| {
        file.exists() || {
            absent.push(file);
            false
        }
    };
    figures.latency.retain(|input| is_there(input.device.join("device.toml")));
    figures.quality.retain(|input| is_there(QualityInput::file(input)));
    figures.asked.retain(|figure| figure.needed().into_iter().all(&mut is_there));
    let press = Press { results: path, folder: out, form, style: figures.style, about };
    draw_accuracy(rows, pairs, &press)?;
    draw_latency_maps(&figures.latency, &press)?;
    draw_quality_maps(&figures.quality, &press)?;
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        format!("{}\n{}", metrics_table(rows), differences_table(pairs))
    };
    for figure in &figures.asked {
        text = format!("{text}\n{}", figure.draw(rows, &press)?);
    }
    for note in &manifest.notes {
        text = format!("{text}note: {note}\n");
    }
    for file in absent {
        let file = file.display();
        text = format!("{text}absent: {file} is not there, its figure is not drawn\n");
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
    fn a_manifest_with_a_stray_key_is_an_error_and_an_absent_profile_is_named() {
        let stray = results_folder("[figures]\nlatencies = []\n");
        let message = redraw(stray.path(), Form::Svg).unwrap_err().to_string();
        assert!(message.contains("manifest.toml") && message.contains("`latencies`"), "{message}");
        let missing = results_folder(
            "[[figures.latency]]\ndevice = \"no-such\"\nbase_model = \"a\"\nfamily = \"b\"\n",
        );
        let text = redraw(missing.path(), Form::Svg).unwrap();
        let last = "absent: no-such/device.toml is not there, its figure is not drawn\n";
        assert!(text.contains("full") && text.ends_with(last), "{text}");
    }
}
