//! From outcomes to measures with intervals.
//!
//! Three steps, each a function of the one before: the outcomes of one replication give
//! [`RunMeasures`]; the replications of one cell of an experiment (a method at a skew on a device)
//! give a [`MetricsRow`] with an interval over seeds; two methods of a cell that met the same
//! requests give a [`PairedRow`]. `docs/metrics.md` states every measure as an expression over a
//! request's instants, `docs/statistics.md` every interval and test with the example it is checked
//! against.
//!
//! A measure that no request defines is absent: `None` here, an empty cell in a file.

mod bootstrap;
mod by_class;
mod by_item;
mod class_row;
mod detectable;
mod estimate;
mod hypothesis;
mod measure;
mod measures;
mod row;
mod sample;
mod search_rows;
mod service;
mod statistics;
mod table;

pub use bootstrap::{bca_mean_95, bootstrap_95, bootstrap_mean_95};
pub use by_class::{ByClass, Class, ClassAnswers, by_class};
pub use by_item::{AskedItems, ItemKey, ItemMeans};
pub use class_row::ClassRow;
pub use detectable::{Sureness, detectable_mean, detectable_share};
pub use estimate::{Estimate, wilson_95};
pub use hypothesis::{Discordance, TEstimate, holm};
pub use measure::{Better, Definition, Measure, Over, PerMeasure, Unit};
pub use measures::{ClassMeasures, RunMeasures, Tally};
pub use row::{CellLabel, MetricsRow, PairedRow, SeedRow};
pub use sample::{EXACT_VALUES, SKETCH_ERROR};
pub use search_rows::{PeakRow, Reach, SweepRow, SweepTable};
pub use statistics::{Interval, deviation, mean, quantile};
pub(crate) use table::{Cells, Row, csv_of, read_lines, read_rows};
pub use table::{
    read_metrics_csv, read_paired_csv, read_seeds_csv, read_sweep_csv, write_classes_csv,
    write_metrics_csv, write_paired_csv, write_peak_csv, write_seeds_csv, write_sweep_csv,
};
