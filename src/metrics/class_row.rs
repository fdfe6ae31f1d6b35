//! Rows of classes: what requests of one class got from a cell of an experiment.

use std::collections::BTreeSet;

use super::estimate::Estimate;
use super::measure::PerMeasure;
use super::measures::{ClassMeasures, RunMeasures};
use super::row::CellLabel;

/// One row of `classes.csv`: the measures of one class of requests, each the mean over the
/// replications that have such requests, with its 95 % percentile-bootstrap interval over them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassRow {
    /// Which cell.
    pub label: CellLabel,
    /// The class: the higher, the sooner.
    pub priority: u8,
    /// Its measures, but for those that only a whole run has.
    pub values: PerMeasure<Estimate>,
    /// Replications behind the row.
    pub replications: usize,
    /// Requests that arrived, over these.
    pub requests: usize,
}

impl ClassRow {
    /// The rows of the cell `label` whose replications were `runs`, from the lowest class; none
    /// where no run has several classes.
    #[must_use]
    pub fn all(label: &CellLabel, runs: &[RunMeasures]) -> Vec<Self> {
        let classes = runs.iter().flat_map(|run| &run.classes).map(|class| class.priority);
        let classes: BTreeSet<u8> = classes.collect();
        let row = |priority: u8| {
            let of_class = |run: &RunMeasures| {
                run.classes.iter().find(|class| class.priority == priority).cloned()
            };
            let runs: Vec<ClassMeasures> = runs.iter().filter_map(of_class).collect();
            Self {
                label: label.clone(),
                priority,
                values: PerMeasure::of(|measure| Estimate::over(&runs, |run| run.values[measure])),
                replications: runs.len(),
                requests: runs.iter().map(|run| run.requests).sum(),
            }
        };
        classes.into_iter().map(row).collect()
    }
}
