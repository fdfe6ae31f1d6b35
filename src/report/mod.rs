//! Tables and figures: what a reader sees of measures and profiles.
//!
//! Everything here is a function of rows and tables that can be read back from files, so figures
//! are redrawn without replaying anything, as SVG, PDF or PNG, with a font that the program
//! carries: the same bytes on every machine.

mod against;
mod fidelity;
mod figure;
mod folder;
mod goodput;
mod html;
mod junit;
mod latex;
mod markdown;
mod metrics_table;
mod peak_table;
mod perfetto;
mod summary;

pub use against::{pairs_against, pairs_csv};
pub use fidelity::{Fidelity, FidelityRow, INTERVAL, PhaseFit, fidelity_csv, fidelity_text};
pub use figure::{Form, OverTimeRow, StandaloneRow, draw_growth, redraw_sweep};
pub(crate) use figure::{mean_line, point, slo_names};
pub use folder::redraw;
pub use goodput::{Class, GoodputRow, goodput, goodput_csv};
pub use html::report_html;
pub(crate) use junit::junit_document;
pub use junit::report_junit;
pub use latex::report_latex;
pub use markdown::report_markdown;
pub(crate) use metrics_table::show;
pub use metrics_table::{differences_markdown, differences_table, metrics_table, summary_markdown};
pub use peak_table::peak_table;
pub use perfetto::trace_events;
pub use summary::{COLUMNS, LINES, screen, summary};

#[cfg(test)]
pub(crate) mod testing;
