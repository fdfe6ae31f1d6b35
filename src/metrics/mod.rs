//! From outcomes to measures with intervals.
//!
//! Three steps, each a function of the one before: the outcomes of one replication give
//! [`RunMeasures`]; the replications of one cell of an experiment (a method at a skew on a device)
//! give a [`MetricsRow`] with an interval over seeds; two methods of a cell that met the same
//! requests give a [`PairedRow`]. `docs/metrics.md` states every measure as an expression over a
//! request's instants.
//!
//! A measure that no request defines is absent: `None` here, an empty cell in a file.

mod measures;
mod row;
mod statistics;
mod table;

pub use measures::{RunMeasures, Tally};
pub use row::{CellLabel, MetricsRow, PairedRow};
pub use statistics::{Interval, bootstrap_mean_95, mean, quantile};
pub use table::{read_metrics_csv, read_paired_csv, write_metrics_csv, write_paired_csv};
