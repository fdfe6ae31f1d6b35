//! Figures: every picture of a results folder, drawn with one kit.
//!
//! A figure is a short description (`bars`, `lines`, `heat_map`) that a `Press` sets on a page of
//! the experiment's width, font and form. Lengths are in sizes of a label, so that all of them hold
//! in a column of a paper and on its page; text is never below 6 pt. Methods look alike everywhere
//! (`colours`), means are over what all lines have, and intervals are drawn as far as they are
//! known.

mod accuracy_bars;
mod asked;
mod axis;
mod bars;
pub(in crate::report) mod colours;
mod curves;
mod families;
mod font;
mod growth;
mod heat_map;
mod ink;
mod latency_maps;
mod layer_bars;
mod lines;
mod offline_cost;
mod oracle_share;
mod over_time;
mod pdf;
mod quality_maps;
mod recovery;
mod sheet;
mod standalone;
mod svg;
mod sweep;
#[cfg(test)]
mod testing;

pub(in crate::report) use accuracy_bars::draw_accuracy;
pub(in crate::report) use asked::text_table;
pub(crate) use curves::{mean_line, point};
pub use growth::draw_growth;
pub(in crate::report) use latency_maps::draw_latency_maps;
pub use over_time::OverTimeRow;
pub(in crate::report) use quality_maps::draw_quality_maps;
pub use sheet::Form;
pub(in crate::report) use sheet::Press;
pub use standalone::StandaloneRow;
pub(crate) use standalone::slo_names;
pub use sweep::redraw_sweep;

/// What the headline measure is called, everywhere.
const ACCURACY_AT_SLO: &str = "accuracy@SLO";
