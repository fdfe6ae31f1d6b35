//! A results folder as the gate reads it: points with their values by seed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::metrics::{
    CellLabel, Measure, MetricsRow, SeedRow, mean, read_metrics_csv, read_seeds_csv,
};
use crate::results::{Manifest, seeds_file};

/// Which point of which curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The method.
    pub method: String,
    /// Skew of the trace's SLO levels.
    pub alpha: f64,
    /// Whose hardware.
    pub device: String,
    /// The model whose latencies were billed.
    pub latency_of: String,
    /// The model whose answers were judged.
    pub base_model: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, alpha, device, latency_of, base_model } = self;
        write!(f, "{method} at α {alpha} on {device} ({latency_of}, {base_model})")
    }
}

/// A point with what it measured.
#[derive(Debug, Clone)]
pub struct PointResults {
    /// Which.
    pub point: Point,
    /// Its line in `metrics.csv`.
    pub line: usize,
    /// Its means.
    pub row: MetricsRow,
    /// What they are means of, by seed.
    pub seeds: BTreeMap<u64, SeedRow>,
}

/// A results folder, read and checked.
#[derive(Debug, Clone)]
pub struct RunResults {
    /// Its `metrics.csv`.
    pub path: PathBuf,
    /// What messages call that file: its path, or where in git it is.
    pub name: String,
    /// The commit that it was read from, as it was named; `None` for a folder.
    pub commit: Option<String>,
    /// What it was made from.
    pub manifest: Manifest,
    /// Points in the order of `metrics.csv`.
    pub points: Vec<PointResults>,
}

impl RunResults {
    /// Reads the file `metrics` and, beside it, the seeds and `manifest.toml`.
    ///
    /// # Errors
    /// If one of them is missing or bad, a point or seed appears twice, or a mean is not that of
    /// the seeds.
    pub fn load(metrics: &Path) -> Result<Self> {
        let rows = read_metrics_csv(metrics)?;
        let seeds = seeds_file(metrics.parent().unwrap_or(Path::new("")));
        let by_seed = read_seeds_csv(&seeds)?;
        let manifest = Manifest::load(metrics.parent().unwrap_or(Path::new("")))?;
        if rows.is_empty() {
            return Err(Error::file(metrics, "has no rows, so that nothing could be compared"));
        }
        let mut points: Vec<PointResults> = Vec::new();
        for (place, row) in rows.into_iter().enumerate() {
            let (point, line) = (Point::of(&row.label), place + 2);
            if points.iter().any(|other| other.point == point) {
                let error = Error::file(metrics, "point appears twice");
                return Err(error.at(format!("line {line}")).found(point));
            }
            points.push(PointResults { point, line, row, seeds: BTreeMap::new() });
        }
        for (place, row) in by_seed.into_iter().enumerate() {
            assign(&mut points, row, &seeds, place + 2)?;
        }
        // An older file of seeds lacks the columns of measures that came later.
        let is_kept = |measure| points.iter().any(|point| !point.values(measure).is_empty());
        let kept: Vec<Measure> =
            Measure::ALL.into_iter().filter(|&measure| is_kept(measure)).collect();
        for point in &points {
            point.check(&kept, metrics, &seeds)?;
        }
        let name = metrics.display().to_string();
        Ok(Self { path: metrics.to_owned(), name, commit: None, manifest, points })
    }

    /// The results of `point`, if it has it.
    #[must_use]
    pub fn find(&self, point: &Point) -> Option<&PointResults> {
        self.points.iter().find(|results| results.point == *point)
    }
}

/// Puts `row`, from `line` of the file `path`, to its point.
fn assign(points: &mut [PointResults], row: SeedRow, path: &Path, line: usize) -> Result<()> {
    let wrong = |problem: &str| Error::file(path, problem).at(format!("line {line}"));
    let point = Point::of(&row.label);
    let Some(results) = points.iter_mut().find(|results| results.point == point) else {
        return Err(wrong("no such point in metrics.csv").found(point));
    };
    let seed = row.seed;
    if results.seeds.insert(seed, row).is_some() {
        return Err(wrong("seed appears twice").found(format!("seed {seed} of {point}")));
    }
    Ok(())
}

impl Point {
    fn of(label: &CellLabel) -> Self {
        Self {
            method: label.method.clone(),
            alpha: label.alpha,
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
        }
    }
}

impl PointResults {
    /// The values of `measure`, by seed, of the seeds that define it.
    #[must_use]
    pub fn values(&self, measure: Measure) -> BTreeMap<u64, f64> {
        let defined = |(&seed, row): (&u64, &SeedRow)| Some((seed, row.values[measure]?));
        self.seeds.iter().filter_map(defined).collect()
    }

    /// Requests of one replication, on average.
    #[must_use]
    pub fn requests_a_seed(&self) -> f64 {
        self.row.requests as f64 / self.row.replications.max(1) as f64
    }

    /// Checks that the means of `measures` are those of the seeds.
    fn check(&self, measures: &[Measure], metrics: &Path, seeds: &Path) -> Result<()> {
        for &measure in measures {
            let values: Vec<f64> = self.values(measure).into_values().collect();
            let (stated, worked_out) = (self.row[measure].mean, mean(&values));
            let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
            if stated.is_some() != worked_out.is_some() || !stated.zip(worked_out).is_none_or(close)
            {
                let show =
                    |mean: Option<f64>| mean.map_or("nothing".to_owned(), |mean| mean.to_string());
                return Err(Error::file(metrics, "not the mean of its seeds")
                    .at(format!("line {}, column \"{}\"", self.line, measure.column()))
                    .found(show(stated))
                    .allowed(format!("{}, from {}", show(worked_out), seeds.display())));
            }
        }
        Ok(())
    }
}
