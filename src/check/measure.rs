//! The measures that can be compared, by their column.

use serde::Serialize;

use crate::metrics::{MetricsRow, SeedRow};

/// A measure of a point, as its column is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share answered correctly with every bound met.
    AccuracyAtSlo,
    /// Share answered correctly.
    Accuracy,
    /// Share that met every bound.
    Attainment,
    /// Median time to first token.
    #[serde(rename = "ttft_ms_p50")]
    TtftP50,
    /// 95th percentile of the time to first token.
    #[serde(rename = "ttft_ms_p95")]
    TtftP95,
    /// Median time per output token.
    #[serde(rename = "tpot_ms_p50")]
    TpotP50,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AccuracyAtSlo,
        Self::Accuracy,
        Self::Attainment,
        Self::TtftP50,
        Self::TtftP95,
        Self::TpotP50,
    ];

    /// The column's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccuracyAtSlo => "accuracy_at_slo",
            Self::Accuracy => "accuracy",
            Self::Attainment => "attainment",
            Self::TtftP50 => "ttft_ms_p50",
            Self::TtftP95 => "ttft_ms_p95",
            Self::TpotP50 => "tpot_ms_p50",
        }
    }

    /// Whether it is a share, compared in points, the more the better; otherwise it is a time,
    /// compared as a ratio, the less the better.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::AccuracyAtSlo | Self::Accuracy | Self::Attainment)
    }

    /// Its value under one seed.
    #[must_use]
    pub fn of_seed(self, row: &SeedRow) -> Option<f64> {
        match self {
            Self::AccuracyAtSlo => row.accuracy_at_slo,
            Self::Accuracy => row.accuracy,
            Self::Attainment => row.attainment,
            Self::TtftP50 => row.ttft_ms_p50,
            Self::TtftP95 => row.ttft_ms_p95,
            Self::TpotP50 => row.tpot_ms_p50,
        }
    }

    /// Its mean over seeds.
    #[must_use]
    pub fn of_row(self, row: &MetricsRow) -> Option<f64> {
        match self {
            Self::AccuracyAtSlo => row.accuracy_at_slo,
            Self::Accuracy => row.accuracy,
            Self::Attainment => row.attainment,
            Self::TtftP50 => row.ttft_ms_p50,
            Self::TtftP95 => row.ttft_ms_p95,
            Self::TpotP50 => row.tpot_ms_p50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_written_by_their_columns_names() {
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.name());
        }
    }
}
