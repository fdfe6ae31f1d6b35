//! Tables and figures: what a reader sees of measures and profiles.
//!
//! Everything here is a function of rows and tables that can be read back from files, so figures
//! are redrawn without replaying anything. Each figure is written as SVG and, at twice the size,
//! as PNG, with a font that the program carries: the same bytes on every machine.

mod accuracy_bars;
mod canvas;
mod colours;
mod folder;
mod font;
mod heat_map;
mod latency_maps;
mod metrics_table;
mod quality_maps;
mod readme;

pub use accuracy_bars::draw_e2e_bars;
pub use folder::{FigureInputs, LatencyInput, QualityInput, redraw};
pub use latency_maps::draw_latency_heatmaps;
pub use metrics_table::{differences_table, metrics_table, summary_markdown};
pub(crate) use metrics_table::{percent, time};
pub use quality_maps::draw_quality_maps;
pub use readme::with_results;
