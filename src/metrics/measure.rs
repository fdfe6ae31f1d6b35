//! The table of measures: what each is called, what it counts, which way is better, and how it is
//! worked out.
//!
//! Everything that lists measures goes through this table: columns of files and their ranges, the
//! gate and its tolerances, tables, pages, `docs/metrics.md`. A new measure is a row here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut, RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::measures::Tally;
use crate::outcome::Miss;

/// What the values of a measure are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share, in [0, 1].
    Share,
    /// A time in ms.
    Ms,
    /// An energy in mJ.
    Mj,
    /// A count, whole under one seed.
    Count,
}

/// Which way a measure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The more the better.
    More,
    /// The less the better.
    Less,
}

/// What a measure is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Every request that arrived.
    Arrived,
    /// The requests whose answers could be judged.
    Judged,
    /// The run as a whole: its parts have no such measure.
    Run,
}

/// A row of the table.
#[derive(Debug)]
pub struct Definition {
    /// Its column in files.
    pub column: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What its values are.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// What it is taken over.
    pub over: Over,
    /// By how much it may get worse before [`check`](crate::check) tells, unless a file says
    /// otherwise: points of a share, percent of others. `None`: compared only if asked for.
    pub tolerance: Option<f64>,
    /// The expression of `docs/metrics.md`.
    pub expression: &'static str,
    pub(super) of: fn(&Tally) -> Option<f64>,
}

macro_rules! measures {
    ($($(#[$doc:meta])+ $measure:ident: $column:literal, $name:literal, $unit:ident, $better:ident,
        $over:ident, $tolerance:expr, $expression:literal, $of:expr;)+) => {
        /// A measure: a row of [the table](Measure::definition).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Measure {
            $($(#[$doc])+ $measure,)+
        }

        impl Measure {
            /// All of them, in the order of columns.
            pub const ALL: [Self; [$(Self::$measure),+].len()] = [$(Self::$measure),+];
        }

        static TABLE: [Definition; Measure::ALL.len()] = [$(Definition {
            column: $column,
            name: $name,
            unit: Unit::$unit,
            better: Better::$better,
            over: Over::$over,
            tolerance: $tolerance,
            expression: $expression,
            of: $of,
        },)+];
    };
}

measures! {
    /// Share answered correctly, of those whose answer could be judged; a mean where answers have
    /// grades.
    Accuracy: "accuracy", "accuracy", Share, More, Judged, Some(0.5),
        "Σ{*i* ∈ *J*} *y* / #*J*", |t| share(t.right(), t.judged);
    /// The same, an answer that missed a bound counting as wrong.
    AccuracyAtSlo: "accuracy_at_slo", "accuracy@SLO", Share, More, Judged, Some(0.5),
        "Σ{*i* ∈ *J* : met} *y* / #(*J* ∪ *R* ∖ *A*)",
        |t| share(t.right_in_time(), t.judged_or_lost());
    /// Share that met every bound, of those that arrived.
    Attainment: "attainment", "attainment", Share, More, Arrived, Some(0.5),
        "#{*i* ∈ *R* : met} / #*R*", |t| share(t.in_time as f64, t.requests());
    /// Median time to first token.
    TtftP50: "ttft_ms_p50", "TTFT p50", Ms, Less, Arrived, Some(5.0),
        "median of TTFT over *A*", |t| t.ttft_ms(0.50);
    /// 95th percentile of the time to first token.
    TtftP95: "ttft_ms_p95", "TTFT p95", Ms, Less, Arrived, Some(5.0),
        "0.95 quantile of TTFT over *A*", |t| t.ttft_ms(0.95);
    /// 99th percentile of the time to first token.
    TtftP99: "ttft_ms_p99", "TTFT p99", Ms, Less, Arrived, None,
        "0.99 quantile of TTFT over *A*", |t| t.ttft_ms(0.99);
    /// Median time per output token, of requests with two output tokens or more.
    TpotP50: "tpot_ms_p50", "TPOT p50", Ms, Less, Arrived, Some(5.0),
        "median of TPOT over {*i* ∈ *A* : *n* > 1}", |t| t.tpot_ms(0.50);
    /// 95th percentile of the time per output token.
    TpotP95: "tpot_ms_p95", "TPOT p95", Ms, Less, Arrived, None,
        "0.95 quantile of TPOT over {*i* ∈ *A* : *n* > 1}", |t| t.tpot_ms(0.95);
    /// 99th percentile of the time per output token.
    TpotP99: "tpot_ms_p99", "TPOT p99", Ms, Less, Arrived, None,
        "0.99 quantile of TPOT over {*i* ∈ *A* : *n* > 1}", |t| t.tpot_ms(0.99);
    /// Share that missed the bound on the time to first token alone. Absent, as are the others of
    /// its kind, where no request states such a bound.
    MissedTtft: "missed_ttft", "missed TTFT only", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : TTFT > *B*ᵗ, TPOT ≤ *B*ᵖ or *n* = 1} / #*R*", |t| t.missed(Miss::Ttft);
    /// Share that missed the bound on the time per output token alone.
    MissedTpot: "missed_tpot", "missed TPOT only", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : TTFT ≤ *B*ᵗ, TPOT > *B*ᵖ} / #*R*", |t| t.missed(Miss::Tpot);
    /// Share that missed both of these.
    MissedBoth: "missed_both", "missed TTFT and TPOT", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : TTFT > *B*ᵗ, TPOT > *B*ᵖ} / #*R*", |t| t.missed(Miss::Both);
    /// Share that missed a bound on the time end to end.
    MissedE2e: "missed_e2e", "missed end to end", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : end-to-end time > *B*ᵉ} / #*R*", |t| t.missed(Miss::EndToEnd);
    /// Share that missed a bound on energy.
    MissedEnergy: "missed_energy", "missed energy", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : energy > *B*ʲ or unknown} / #*R*", |t| t.missed(Miss::Energy);
    /// Mean energy of a request, of those whose power is known.
    Energy: "energy_mj", "energy", Mj, Less, Arrived, None,
        "mean energy over {*i* ∈ *A* : *p* known}", |t| t.energy_mj_mean();
    /// 95th percentile of the energy of a request.
    EnergyP95: "energy_mj_p95", "energy p95", Mj, Less, Arrived, None,
        "0.95 quantile of energy over {*i* ∈ *A* : *p* known}", |t| t.energy_mj(0.95);
    /// How often the level changed from one request to the next.
    Switches: "switches", "switches", Count, Less, Run, None,
        "#{consecutive served pairs with *ℓ*ᵢ ≠ *ℓ*ᵢ₊₁}", |t| Some(t.switches as f64);
    /// Decisions that a run-time check put aside; absent for a policy without one.
    Fallbacks: "fallbacks", "fallbacks", Count, Less, Run, None,
        "#{*i* ∈ *R* : the decision would have missed a bound and gave way to another plan}",
        |t| t.fallbacks.map(|count| count as f64);
    /// Share that the service refused. This and those below are absent where the service serves
    /// all, in turn, and no request asks for more.
    Refused: "refused", "refused", Share, Less, Arrived, None,
        "#{*i* ∈ *R* : refused} / #*R*", |t| t.service.share(t.service.refused, t.requests());
    /// Share that was cancelled: by its app, by a time-out, or by a newer request.
    Cancelled: "cancelled", "cancelled", Share, Less, Arrived, None,
        "#{*i* ∈ *R* : cancelled} / #*R*", |t| t.service.share(t.service.cancelled, t.requests());
    /// Share that was answered and interrupted on the way.
    Preempted: "preempted", "preempted", Share, Less, Arrived, None,
        "#{*i* ∈ *A* : interrupted} / #*R*", |t| t.service.share(t.service.preempted, t.requests());
    /// Share of the server's work that came to nothing: for requests that were cancelled, and to go
    /// on with those that were interrupted.
    Wasted: "wasted", "wasted work", Share, Less, Run, None,
        "(Σ{*i* ∈ *R* ∖ *A*} *w* + Σ{*i* ∈ *A*} again) / Σ{*i* ∈ *R*} *w*",
        |t| t.service.wasted_share();
    /// Jain's index of fairness of the apps' attainments: 1 if all are alike, 1/n if one of n has
    /// it all.
    Fairness: "fairness", "fairness", Share, More, Run, None,
        "(Σ{apps} *x*)² / (#apps · Σ{apps} *x*²), *x* the app's attainment",
        |t| t.service.fairness();
    /// Share of the time, from the first arrival until the last request is gone, that the server
    /// worked.
    Busy: "busy", "busy", Share, Less, Run, None,
        "Σ{*i* ∈ *R*} *w* / (last end − first arrival)", |t| t.service.busy();
    /// Whether it hardly ever idled: 1 or 0, so that a mean is a share of replications.
    Saturated: "saturated", "saturated", Share, Less, Run, None,
        "1 if busy ≥ 0.99, else 0", |t| Some(f64::from(t.service.busy()? >= SATURATED));
}

/// The share of the time from which on a server counts as saturated.
const SATURATED: f64 = 0.99;

fn share(part: f64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

impl Measure {
    /// Its row of the table.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        &TABLE[self as usize]
    }

    /// Its column in files.
    #[must_use]
    pub fn column(self) -> &'static str {
        self.definition().column
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// What its values are.
    #[must_use]
    pub fn unit(self) -> Unit {
        self.definition().unit
    }

    /// Whether it is of what a service does beside serving: absent, column and all, from results of
    /// services that do not.
    #[must_use]
    pub fn is_of_service(self) -> bool {
        self >= Self::Refused
    }

    /// Whether its values are shares, which are compared by their difference; others are by their
    /// ratio.
    #[must_use]
    pub fn is_share(self) -> bool {
        self.unit() == Unit::Share
    }

    /// The measure in the column of this name.
    #[must_use]
    pub fn named(column: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.column() == column)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.column())
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.column())
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let column = String::deserialize(from)?;
        Self::named(&column).ok_or_else(|| {
            let all = Self::ALL.map(Self::column).join(", ");
            serde::de::Error::custom(format!("unknown measure `{column}`, expected one of {all}"))
        })
    }
}

impl Unit {
    /// What its values may be.
    #[must_use]
    pub fn range(self) -> RangeInclusive<f64> {
        match self {
            Self::Share => 0.0..=1.0,
            Self::Ms | Self::Mj | Self::Count => 0.0..=f64::MAX,
        }
    }
}

/// A value for each measure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerMeasure<T>([T; Measure::ALL.len()]);

impl<T> PerMeasure<T> {
    /// What `value` gives for each measure.
    pub fn of(value: impl FnMut(Measure) -> T) -> Self {
        Self(Measure::ALL.map(value))
    }

    /// Every measure with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Measure, &T)> {
        Measure::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Measure> for PerMeasure<T> {
    type Output = T;

    fn index(&self, measure: Measure) -> &T {
        &self.0[measure as usize]
    }
}

impl<T> IndexMut<Measure> for PerMeasure<T> {
    fn index_mut(&mut self, measure: Measure) -> &mut T {
        &mut self.0[measure as usize]
    }
}

/// The values of the measures named; others are absent.
impl<const N: usize> From<[(Measure, f64); N]> for PerMeasure<Option<f64>> {
    fn from(values: [(Measure, f64); N]) -> Self {
        let mut all = Self::default();
        for (measure, value) in values {
            all[measure] = Some(value);
        }
        all
    }
}

/// By column, absent ones left out.
impl Serialize for PerMeasure<Option<f64>> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().filter_map(|(measure, value)| Some((measure, (*value)?))))
    }
}

impl<'de> Deserialize<'de> for PerMeasure<Option<f64>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<Measure, f64>::deserialize(from)?;
        Ok(Self::of(|measure| values.get(&measure).copied()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn measures_are_written_by_their_columns_names_which_differ() {
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.column());
            assert_eq!(Measure::named(measure.column()), Some(measure));
        }
        let names: BTreeSet<_> = Measure::ALL.map(Measure::name).into();
        assert_eq!(names.len(), Measure::ALL.len());
        let message = serde_json::from_str::<Measure>("\"speed\"").unwrap_err().to_string();
        assert!(
            message.starts_with("unknown measure `speed`, expected one of accuracy, accuracy_")
        );
    }

    #[test]
    fn absent_values_are_left_out_and_come_back_absent() {
        let values = PerMeasure::from([(Measure::Attainment, 1.0 / 3.0), (Measure::Switches, 7.0)]);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"attainment":0.3333333333333333,"switches":7.0}"#);
        assert_eq!(serde_json::from_str::<PerMeasure<_>>(&text).unwrap(), values);
    }

    /// The table of `docs/metrics.md` has a row for each measure, in their order.
    #[test]
    fn the_table_of_the_documentation_is_the_table_of_the_program() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = Measure::ALL.map(|measure| {
            let Definition { column, name, unit, better, expression, .. } = measure.definition();
            let unit = match unit {
                Unit::Share => "share, 0 to 1",
                Unit::Ms => "ms",
                Unit::Mj => "mJ",
                Unit::Count => "count",
            };
            let better = if *better == Better::More { "more" } else { "less" };
            format!("| {name} | {expression} | {unit} | {better} | `{column}` |\n")
        });
        let (table, missing) =
            (rows.concat(), rows.iter().find(|row| !text.contains(row.as_str())));
        assert!(text.contains(&table), "first missing: {missing:?}; the whole table:\n{table}");
    }
}
