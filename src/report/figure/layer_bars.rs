//! Layer importance: a bar per layer, anchors dark; the study's Figure 10b.

use std::fmt::Write as _;
use std::path::Path;

use super::bars::{Band, Bar, Bars, Panel};
use super::colours::{self, paler};
use super::sheet::{Press, Sheet};
use crate::error::{Error, Result};
use crate::files::write_whole;

/// The part of an elastification manifest that is drawn.
#[derive(Debug, serde::Deserialize)]
struct Measured {
    base_loss: f64,
    layer_importance: Vec<f64>,
    anchors: Vec<usize>,
    removal_tokens: usize,
}

/// Draws `layer-importance` of the elastification manifest `manifest`, and writes its CSV.
///
/// # Errors
/// If the manifest is broken, or a file cannot be written.
pub(super) fn draw_layer_importance(manifest: &Path, press: &Press<'_>) -> Result<String> {
    let json = std::fs::read(manifest).map_err(|e| Error::io(manifest, "cannot read", e))?;
    let measured: Measured = serde_json::from_slice(&json)
        .map_err(|cause| Error::file(manifest, "not a manifest").caused_by(cause))?;
    let mut csv = "layer,loss_increase_nats,anchor\n".to_owned();
    for (layer, loss) in measured.layer_importance.iter().enumerate() {
        let anchor = u8::from(measured.anchors.contains(&layer));
        writeln!(csv, "{layer},{loss:.4},{anchor}").expect("a string can always grow");
    }
    write_whole(&press.folder.join("layer-importance.csv"), csv.as_bytes())?;
    let bars = bars(&measured);
    let sheet = Sheet {
        title: "Importance of layers".to_owned(),
        caption: format!(
            "Growth of the next-token loss (base: {:.2} nats) when a layer is removed, on {} \
             tokens of calibration text. Dark: anchors, the most important fifth. A layer whose \
             removal does not raise the loss has no bar. Measured.",
            measured.base_loss, measured.removal_tokens
        ),
        height: bars.height(press.sizes(), press.width()),
    };
    press.print("layer-importance", &sheet, |area| bars.draw(press.sizes(), area))?;
    let total: f64 = measured.layer_importance.iter().filter(|loss| **loss > 0.0).sum();
    let anchors: f64 = measured.anchors.iter().map(|&layer| measured.layer_importance[layer]).sum();
    Ok(format!(
        "layer importance: {} of {} layers are anchors and make {:.0} % of the summed loss \
         increase\n",
        measured.anchors.len(),
        measured.layer_importance.len(),
        100.0 * anchors / total
    ))
}

fn bars(measured: &Measured) -> Bars {
    let dark = colours::of_method("elastilm");
    let light = colours::Look { colour: paler(dark.colour, 0.5), ..dark };
    let bar = |(layer, &loss): (usize, &f64)| {
        Some(Bar {
            look: if measured.anchors.contains(&layer) { dark } else { light },
            length: (loss > 0.0).then_some(loss),
            behind: None,
            whisker: None,
            value: format!("{loss:.3}"),
        })
    };
    let layers = &measured.layer_importance;
    Bars {
        title: "loss increase, nats (logarithmic)".to_owned(),
        logarithmic: true,
        shared: true,
        bands: vec![Band {
            heading: String::new(),
            names: (0..layers.len()).map(|layer| format!("layer {layer}")).collect(),
            panels: vec![Panel {
                heading: String::new(),
                bars: layers.iter().enumerate().map(bar).collect(),
            }],
        }],
    }
}
