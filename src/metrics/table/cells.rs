//! What a row has, column by column, before it is written.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{JUDGED, RIGHT_IN_TIME};
use crate::metrics::by_class::ByClass;
use crate::metrics::estimate::Estimate;
use crate::metrics::measure::{Measure, PerMeasure};
use crate::metrics::row::CellLabel;
use crate::metrics::statistics::Interval;

/// A value in a file, absent where it is empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Text(String),
    Number(Option<f64>),
    Whole(Option<u64>),
}

/// The values of a row, each with the name of its column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cells(pub(super) Vec<(Cow<'static, str>, Cell)>);

impl Cells {
    /// Those of every row: where it was measured.
    pub fn of(label: &CellLabel) -> Self {
        Self(Vec::with_capacity(80))
            .text("method", &label.method)
            .number("alpha", label.alpha)
            .text("device", &label.device)
            .text("latency_of", &label.latency_of)
            .text("base_model", &label.base_model)
    }

    pub(super) fn with(mut self, column: impl Into<Cow<'static, str>>, cell: Cell) -> Self {
        self.0.push((column.into(), cell));
        self
    }

    pub fn text(self, column: &'static str, text: &str) -> Self {
        self.with(column, Cell::Text(text.to_owned()))
    }

    pub fn number(
        self,
        column: impl Into<Cow<'static, str>>,
        number: impl Into<Option<f64>>,
    ) -> Self {
        self.with(column, Cell::Number(number.into()))
    }

    pub fn whole(self, column: &'static str, whole: impl Into<Option<usize>>) -> Self {
        self.with(column, Cell::Whole(whole.into().map(|whole| whole as u64)))
    }

    /// The answers of each class.
    pub(super) fn by_class(self, classes: &ByClass) -> Self {
        classes.iter().fold(self, |cells, (class, answers)| {
            let judged = Cell::Whole(Some(answers.judged as u64));
            cells
                .with(format!("{JUDGED}{class}"), judged)
                .number(format!("{RIGHT_IN_TIME}{class}"), answers.right_in_time)
        })
    }

    /// The ends of an interval.
    pub fn ends(self, column: &str, ends: Option<Interval>) -> Self {
        self.number(format!("{column}_lo"), ends.map(|ends| ends.lo))
            .number(format!("{column}_hi"), ends.map(|ends| ends.hi))
    }

    /// A mean and the ends of its interval.
    pub fn estimate(self, column: &'static str, estimate: Estimate) -> Self {
        self.number(column, estimate.mean).ends(column, estimate.interval())
    }

    /// An estimate of each of `measures`.
    pub fn estimates(
        self,
        measures: impl IntoIterator<Item = Measure>,
        values: &PerMeasure<Estimate>,
    ) -> Self {
        measures
            .into_iter()
            .fold(self, |cells, measure| cells.estimate(measure.column(), values[measure]))
    }
}

impl Cell {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Number(None) | Self::Whole(None))
    }
}

/// Whether `column` has a measure, or an end of its interval, of what services do beside serving.
pub(super) fn is_of_service(column: &str) -> bool {
    let ends = ["_lo", "_hi"].into_iter().find_map(|end| column.strip_suffix(end));
    Measure::named(ends.unwrap_or(column)).is_some_and(Measure::is_of_service)
}

/// By column; what is absent is null, or left out where services do not do it.
impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let is_kept = |(column, cell): &&(Cow<'static, str>, Cell)| {
            !(cell.is_empty() && is_of_service(column))
        };
        to.collect_map(self.0.iter().filter(is_kept).map(|(column, cell)| (column, cell)))
    }
}
