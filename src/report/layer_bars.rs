//! Layer importance: a bar per layer, anchors set off; the study's Figure 10b.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, LABEL, Sheet, TICK, write_sideways, write_text};
use super::colours::{self, FAINT_INK, GRID};
use crate::error::{Error, Result};
use crate::files::write_whole;

const WIDTH_PX: u32 = 900;
const HEIGHT_PX: u32 = 320;
const AXIS_PX: i32 = 58;
const BELOW_PX: i32 = 44;

/// The part of an elastification manifest that is drawn.
#[derive(Debug, serde::Deserialize)]
struct Measured {
    base_loss: f64,
    layer_importance: Vec<f64>,
    anchors: Vec<usize>,
    removal_tokens: usize,
}

/// Draws `layer-importance` of the elastification manifest `manifest` into `folder`.
///
/// # Errors
/// If the manifest is broken, or a file cannot be written.
pub(super) fn draw_layer_importance(manifest: &Path, folder: &Path) -> Result<String> {
    let json = std::fs::read(manifest).map_err(|e| Error::io(manifest, "cannot read", e))?;
    let measured: Measured = serde_json::from_slice(&json)
        .map_err(|cause| Error::file(manifest, "not a manifest").caused_by(cause))?;
    let mut csv = "layer,loss_increase_nats,anchor\n".to_owned();
    for (layer, loss) in measured.layer_importance.iter().enumerate() {
        let anchor = u8::from(measured.anchors.contains(&layer));
        writeln!(csv, "{layer},{loss:.4},{anchor}").expect("a string can always grow");
    }
    write_whole(&folder.join("layer-importance.csv"), csv.as_bytes())?;
    let sheet = Sheet {
        title: "Importance of layers".to_owned(),
        caption: format!(
            "Growth of the next-token loss (base: {:.2} nats) when a layer is removed, on {} tokens \
             of calibration text. Logarithmic. Dark: anchors, the most important fifth. Layers whose \
             removal does not raise the loss have no bar. Provenance: measured.",
            measured.base_loss, measured.removal_tokens
        ),
        width_px: WIDTH_PX,
        height_px: HEIGHT_PX,
    };
    sheet.write(folder, "layer-importance", |area| draw(area, &measured))?;
    let total: f64 = measured.layer_importance.iter().filter(|loss| **loss > 0.0).sum();
    let anchors: f64 = measured.anchors.iter().map(|&layer| measured.layer_importance[layer]).sum();
    Ok(format!(
        "layer importance: {} of {} layers are anchors and make {:.0} % of the summed loss increase\n",
        measured.anchors.len(),
        measured.layer_importance.len(),
        100.0 * anchors / total
    ))
}

fn draw(area: &Area<'_>, measured: &Measured) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let (right, bottom) = (width as i32, height as i32 - BELOW_PX);
    let largest = measured.layer_importance.iter().copied().fold(1.0, f64::max);
    let (low, high) = (-2.0, largest.log10().ceil());
    let y = |loss: f64| {
        let share = ((loss.log10() - low) / (high - low)).clamp(0.0, 1.0);
        bottom - (share * f64::from(bottom - 8)).round() as i32
    };
    for power in low as i32..=high as i32 {
        let at = y(10_f64.powi(power));
        area.draw(&PathElement::new([(AXIS_PX, at), (right, at)], GRID))?;
        let style = TICK.anchored(HPos::Right, VPos::Center);
        write_text(area, &10_f64.powi(power).to_string(), &style, (AXIS_PX - 7, at))?;
    }
    let slot = f64::from(right - AXIS_PX) / measured.layer_importance.len() as f64;
    for (layer, &loss) in measured.layer_importance.iter().enumerate() {
        let left = AXIS_PX + (slot * (layer as f64 + 0.12)).round() as i32;
        let end = AXIS_PX + (slot * (layer as f64 + 0.88)).round() as i32;
        let colour = colours::of_method("elastilm");
        let anchor = measured.anchors.contains(&layer);
        let fill = if anchor { colour.mix(1.0) } else { colour.mix(0.4) };
        if loss > 0.0 {
            area.draw(&Rectangle::new([(left, y(loss)), (end, bottom)], fill.filled()))?;
        }
        let style = TICK.anchored(HPos::Center, VPos::Top);
        write_text(area, &layer.to_string(), &style, (i32::midpoint(left, end), bottom + 5))?;
    }
    area.draw(&PathElement::new([(AXIS_PX, bottom), (right, bottom)], FAINT_INK))?;
    let style = LABEL.anchored(HPos::Center, VPos::Top);
    write_text(area, "layer", &style, (i32::midpoint(AXIS_PX, right), bottom + 22))?;
    write_sideways(area, "loss increase, nats", LABEL, (10, bottom / 2))
}
