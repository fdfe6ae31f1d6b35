//! What trains every head: steps against batches, a validation every so many, the weights of the
//! best one kept, a checkpoint after each.
//!
//! A run that was broken off goes on from its checkpoint to the same weights as one that was not.

use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::elastify::adam::Variables;
use crate::error::{Error, Result};
use crate::model::tensor_file::{self, TensorFile};
use crate::model::tlm::trunk::failed;

/// What is learnt.
pub trait Problem {
    /// The loss of the next batch. Batches come in one order, whatever is done with them.
    ///
    /// # Errors
    /// If candle refuses.
    fn next_loss(&mut self) -> Result<Tensor>;

    /// Leaves the next batch out: an earlier run has learnt from it.
    fn skip(&mut self);

    /// How far off the mark the weights are on what is not learnt from; less is better.
    ///
    /// # Errors
    /// If candle refuses.
    fn validate(&mut self) -> Result<f64>;
}

/// How long and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Steps at most.
    pub steps: usize,
    /// Steps between two validations.
    pub validate_every: usize,
    /// Validations without a better one after which training stops.
    pub patience: usize,
    /// Length of the first steps.
    pub rate: f64,
    /// What it falls to along a line, as a share of the first.
    pub last_rate: f64,
}

impl Schedule {
    fn rate_at(&self, step: usize) -> f64 {
        self.rate * (1.0 - (1.0 - self.last_rate) * step as f64 / self.steps as f64)
    }
}

/// A validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Steps so far.
    pub steps: usize,
    /// Mean loss since the last one.
    pub loss: f64,
    /// What [`Problem::validate`] said.
    pub validation: f64,
}

/// Where a run keeps its state, and what it is known by.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// The file.
    pub path: &'a Path,
    /// Everything that the result depends on, in words or JSON.
    pub run: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    run: String,
    curve: Vec<Round>,
}

impl Saved<'_> {
    /// Refuses a checkpoint of another run; none is fine.
    ///
    /// # Errors
    /// If there is one and it belongs to another run, or cannot be read.
    pub fn check(&self) -> Result<()> {
        if self.path.exists() { self.read().map(|_| ()) } else { Ok(()) }
    }

    /// Removes the checkpoint of a run that has ended; one that stays does no harm.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(self.path);
    }

    fn read(&self) -> Result<(TensorFile<'_>, Vec<Round>)> {
        let file = TensorFile::open(self.path, "not a checkpoint")?;
        let Progress { run, curve } = file.metadata()?;
        if run == self.run {
            return Ok((file, curve));
        }
        Err(Error::file(self.path, "checkpoint of another training")
            .found(run)
            .allowed(format!("{}, or no checkpoint: remove it to start over", self.run)))
    }
}

/// Moves `variables` down `problem` and leaves them as they were at the best validation; returns
/// all of them. `report` is told of each.
///
/// # Errors
/// If a loss is not finite, the checkpoint is of another run, or a file cannot be written.
pub fn train(
    variables: &mut Variables,
    problem: &mut dyn Problem,
    schedule: &Schedule,
    saved: Option<Saved<'_>>,
    report: &mut dyn FnMut(&Round),
) -> Result<Vec<Round>> {
    let (mut best, mut curve) = (variables.values().map_err(failed)?, Vec::new());
    if let Some(saved) = saved.filter(|saved| saved.path.exists()) {
        (best, curve) = resume(variables, &saved)?;
        (0..variables.steps).for_each(|_| problem.skip());
    }
    while variables.steps < schedule.steps && !stale(&curve, schedule.patience) {
        let round = advance(variables, problem, schedule)?;
        if best_of(&curve).is_none_or(|best| round.validation < best.validation) {
            best = variables.values().map_err(failed)?;
        }
        curve.push(round);
        if let Some(saved) = &saved {
            save(variables, &best, &curve, saved)?;
        }
        report(&round);
    }
    variables.set(&best).map_err(failed)?;
    Ok(curve)
}

/// The first of the best validations.
#[must_use]
pub fn best_of(curve: &[Round]) -> Option<Round> {
    curve.iter().copied().min_by(|a, b| a.validation.total_cmp(&b.validation))
}

fn stale(curve: &[Round], patience: usize) -> bool {
    let best = best_of(curve).map_or(0, |best| best.steps);
    curve.iter().filter(|round| round.steps > best).count() >= patience
}

/// Steps until the next validation, and that.
fn advance(
    variables: &mut Variables,
    problem: &mut dyn Problem,
    schedule: &Schedule,
) -> Result<Round> {
    let (mut sum, first) = (0.0, variables.steps);
    loop {
        let loss = problem.next_loss()?;
        sum += finite(loss.to_scalar::<f32>().map_err(failed)?.into(), variables.steps)?;
        let rate = schedule.rate_at(variables.steps);
        variables.descend(&loss, rate).map_err(failed)?;
        let steps = variables.steps;
        if steps.is_multiple_of(schedule.validate_every) || steps == schedule.steps {
            let validation = finite(problem.validate()?, steps - 1)?;
            return Ok(Round { steps, loss: sum / (steps - first) as f64, validation });
        }
    }
}

fn finite(loss: f64, step: usize) -> Result<f64> {
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(Error::new("training", "loss is not finite")
        .at(format!("step {}", step + 1))
        .found(loss)
        .allowed("a number; try a smaller rate. Nothing was overwritten"))
}

fn save(
    variables: &Variables,
    best: &[Vec<f32>],
    curve: &[Round],
    saved: &Saved<'_>,
) -> Result<()> {
    let progress = Progress { run: saved.run.to_owned(), curve: curve.to_vec() };
    let now = variables.values().map_err(failed)?;
    let moments = &variables.moments;
    let kinds = [("", &now[..]), (".mean", &moments.mean), (".square", &moments.square)];
    let entries = kinds.into_iter().chain([(".best", best)]).flat_map(|(kind, lists)| {
        variables.shapes().zip(lists).map(move |((name, shape), values)| {
            (format!("{name}{kind}"), shape.to_vec(), values.as_slice())
        })
    });
    tensor_file::save(saved.path, &progress, entries).map(|_| ())
}

/// Brings `variables` to where the checkpoint is; returns the best weights and the curve.
fn resume(variables: &mut Variables, saved: &Saved<'_>) -> Result<(Vec<Vec<f32>>, Vec<Round>)> {
    let (file, curve) = saved.read()?;
    let lists = |kind: &str| {
        let list = |(name, shape): (&str, &[usize])| file.values(&format!("{name}{kind}"), shape);
        variables.shapes().map(list).collect::<Result<Vec<_>>>()
    };
    let (now, best) = (lists("")?, lists(".best")?);
    let (mean, square) = (lists(".mean")?, lists(".square")?);
    variables.set(&now).map_err(failed)?;
    (variables.moments.mean, variables.moments.square) = (mean, square);
    variables.steps = curve.last().map_or(0, |round| round.steps);
    Ok((best, curve))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::elastify::adam::SQUARE_DECAY;

    /// A parabola that wanders off after some steps: validations get worse from there on.
    struct Parabola {
        x: Var,
        batches: usize,
    }

    impl Problem for Parabola {
        fn next_loss(&mut self) -> Result<Tensor> {
            self.batches += 1;
            let target = if self.batches > 20 { -5.0 } else { 1.0 };
            let distance = (self.x.as_tensor() - target).map_err(failed)?;
            distance.sqr().and_then(|d| d.sum_all()).map_err(failed)
        }

        fn skip(&mut self) {
            self.batches += 1;
        }

        fn validate(&mut self) -> Result<f64> {
            let x = self.x.as_tensor().to_vec1::<f32>().map_err(failed)?[0];
            Ok(f64::from((x - 1.0).abs()))
        }
    }

    fn problem() -> (Variables, Parabola) {
        let x = Var::new(&[0f32], &Device::Cpu).unwrap();
        let named = vec![("x".to_owned(), x.clone())];
        (Variables::new(named, SQUARE_DECAY), Parabola { x, batches: 0 })
    }

    const SCHEDULE: Schedule =
        Schedule { steps: 60, validate_every: 5, patience: 3, rate: 0.05, last_rate: 1.0 };

    #[test]
    fn training_stops_where_nothing_gets_better_and_keeps_the_best() {
        let (mut variables, mut parabola) = problem();
        let curve = train(&mut variables, &mut parabola, &SCHEDULE, None, &mut |_| ()).unwrap();
        let best = best_of(&curve).unwrap();
        assert!(best.steps >= 20 && curve.last().unwrap().steps == best.steps + 15, "{curve:?}");
        assert!((parabola.validate().unwrap() - best.validation).abs() < 1e-12);
    }

    #[test]
    fn a_run_broken_off_goes_on_to_the_same_weights_and_another_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.checkpoint");
        let saved = Saved { path: &path, run: "parabola" };
        let (mut variables, mut parabola) = problem();
        let whole = train(&mut variables, &mut parabola, &SCHEDULE, None, &mut |_| ()).unwrap();
        let (mut broken, mut first) = problem();
        let part = Schedule { steps: 60, patience: 1, ..SCHEDULE };
        let part = train(&mut broken, &mut first, &part, Some(saved), &mut |_| ()).unwrap();
        assert!(part.len() < whole.len());
        let (mut resumed, mut second) = problem();
        let curve = train(&mut resumed, &mut second, &SCHEDULE, Some(saved), &mut |_| ()).unwrap();
        assert_eq!(curve, whole);
        assert_eq!(resumed.values().unwrap(), variables.values().unwrap());
        let other = Saved { run: "hyperbola", ..saved };
        let refusal = other.check().unwrap_err().to_string();
        assert!(refusal.contains("checkpoint of another training; found parabola"), "{refusal}");
        std::fs::write(&path, "PK").unwrap();
        assert!(saved.check().unwrap_err().to_string().contains("not a checkpoint"));
        saved.remove();
        saved.check().unwrap();
    }

    #[test]
    fn the_rate_falls_along_a_line() {
        let schedule = Schedule { rate: 1.0, last_rate: 0.1, steps: 10, ..SCHEDULE };
        assert!((schedule.rate_at(0) - 1.0).abs() < 1e-12);
        assert!((schedule.rate_at(5) - 0.55).abs() < 1e-12);
    }
}
