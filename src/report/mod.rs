//! Tables and figures: what a reader sees of measures and profiles.
//!
//! Everything here is a function of rows and tables that can be read back from files, so figures
//! are redrawn without replaying anything. Each figure is written as SVG and, at twice the size,
//! as PNG, with a font that the program carries: the same bytes on every machine.

mod accuracy_bars;
mod bars;
mod canvas;
mod colours;
mod cost_bars;
mod curves;
mod extra_figures;
mod folder;
mod font;
mod goodput;
mod heat_map;
mod html;
mod junit;
mod latency_maps;
mod layer_bars;
mod line_panels;
mod markdown;
mod metrics_table;
mod oracle_share;
mod peak_table;
mod perfetto;
mod quality_maps;
mod readme;
mod recovery;
mod resident_memory;
mod standalone;
mod sweep_lines;
mod switching;

pub use accuracy_bars::draw_e2e_bars;
pub use folder::redraw;
pub use goodput::{Class, GoodputRow, goodput, goodput_csv};
pub use html::report_html;
pub(crate) use junit::junit_document;
pub use junit::report_junit;
pub use latency_maps::draw_latency_heatmaps;
pub use markdown::report_markdown;
pub(crate) use metrics_table::show;
pub use metrics_table::{differences_markdown, differences_table, metrics_table, summary_markdown};
pub use peak_table::peak_table;
pub use perfetto::trace_events;
pub use quality_maps::draw_quality_maps;
pub use readme::with_results;
pub use sweep_lines::redraw_sweep;

#[cfg(test)]
mod testing;
