//! `sweep.csv` and `peak.csv`: what a search over experiments found.

use super::row::{CellLabel, MetricsRow};

/// What `sweep.csv` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepTable {
    /// The keys that were swept: the names of its first columns.
    pub keys: Vec<String>,
    /// Point by point.
    pub rows: Vec<SweepRow>,
}

/// One row of `sweep.csv`: a cell's measures at one point of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRow {
    /// The keys' values, in their order.
    pub settings: Vec<f64>,
    /// The measures.
    pub row: MetricsRow,
}

/// One row of `peak.csv`: the largest arrival rate at which a cell keeps an attainment.
///
/// The rate is where the mean attainment over seeds first falls below the bound as the load grows;
/// the interval is a 95 % percentile bootstrap over seeds of that very statistic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeakRow {
    /// Which cell.
    pub label: CellLabel,
    /// The share that is to be kept.
    pub attainment: f64,
    /// The largest rate, in requests an hour; absent unless it is within the rates searched.
    pub peak_per_hour: Option<f64>,
    /// Lower end of its interval; absent if that is below the smallest rate searched, and of a
    /// single seed.
    pub peak_per_hour_lo: Option<f64>,
    /// Upper end of its interval; absent if that is beyond the largest rate searched, and of a
    /// single seed.
    pub peak_per_hour_hi: Option<f64>,
    /// Where the peak lies.
    pub reach: Reach,
    /// The smallest rate tried above the interval at which the share is kept again.
    pub again_per_hour: Option<f64>,
    /// The smallest rate searched.
    pub from_per_hour: f64,
    /// The largest rate searched.
    pub to_per_hour: f64,
    /// Mean attainment at the smallest rate.
    pub attainment_at_from: f64,
    /// Mean attainment at the largest rate.
    pub attainment_at_to: f64,
    /// Seeds.
    pub replications: usize,
    /// Requests of each replication.
    pub requests: usize,
}

/// Where a peak lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Between the smallest and the largest rate searched.
    #[default]
    Within,
    /// The share is not kept at the smallest rate either.
    Below,
    /// The share is kept at every rate tried.
    Beyond,
}

impl Reach {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Below => "below",
            Self::Beyond => "beyond",
        }
    }
}
