//! Reads back the outcomes of a run, request by request.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use super::outcomes::Row;
use super::rows::Decimal;
use super::service_rows::Beside;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::metrics::{CellLabel, read_lines};
use crate::outcome::{Execution, Interruptions, Outcome};
use crate::plan::Plan;
use crate::request::{AppId, Bounds, DatasetId, Limit, Request, Slo, Terms};
use crate::sim::Lost;
use crate::trace::index_of;
use crate::units::{Energy, Level, Milliwatts, Ratio, SimTime};

/// What [`OutcomeCsv`](super::OutcomeCsv) wrote of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The cell of the experiment.
    pub label: CellLabel,
    /// Its seed.
    pub seed: u64,
    /// Names of apps, indexed by [`AppId`].
    pub apps: Vec<String>,
    /// Names of datasets, indexed by [`DatasetId`].
    pub datasets: Vec<String>,
    /// In service order, to the nanosecond.
    pub outcomes: Vec<Outcome>,
    /// Requests that were refused or cancelled.
    pub lost: Vec<Lost>,
}

impl StoredRun {
    /// Reads every whole file of the cell `label` below the folder `outcomes`, by seed. A folder
    /// that is not there holds none.
    ///
    /// # Errors
    /// If a file cannot be read, lacks a column, or contradicts itself.
    pub fn load_all(outcomes: &Path, label: &CellLabel) -> Result<Vec<Self>> {
        let folder = outcomes.join(&label.method);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let unreadable = |error| Error::io(&folder, "cannot read", error);
        let mut seeds = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let name = name.to_string_lossy();
            let seed = name.strip_suffix(".csv").and_then(|name| name.rsplit_once("_seed"));
            let seed = seed.and_then(|(_, seed)| seed.parse().ok());
            seeds.extend(seed.filter(|&seed| label.run_file(seed).ends_with(&*name)));
        }
        seeds.sort_unstable();
        let load = |seed| Self::load(&outcomes.join(label.run_file(seed)), label.clone(), seed);
        seeds.into_iter().map(load).collect()
    }

    /// Reads the file `path` of the cell `label` under `seed`.
    ///
    /// # Errors
    /// If it cannot be read, lacks a column, or contradicts itself.
    pub fn load(path: &Path, label: CellLabel, seed: u64) -> Result<Self> {
        let mut beside = Beside::load(path)?;
        let (apps, datasets, outcomes, lost) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut run = Self { label, seed, apps, datasets, outcomes, lost };
        for (line, row) in read_lines::<Row<'_>>(path)? {
            let wrong = |problem: &str| Error::file(path, problem).at(format!("line {line}"));
            run.check_own(&row).map_err(|found| {
                let own = format!("{}, seed {seed}", run.label.name());
                wrong("row of another run").found(found).allowed(own)
            })?;
            let app = index_of(&mut run.apps, &row.app).map(AppId);
            let dataset = index_of(&mut run.datasets, &row.dataset).map(DatasetId);
            let names = app.zip(dataset).ok_or_else(|| wrong("too many names"))?;
            let mut outcome = row.outcome(names).ok_or_else(|| {
                wrong("no outcome").allowed(
                    "shares from 0 to 1, bounds of one objective, no start before its arrival",
                )
            })?;
            outcome.interruptions = beside.interruptions.remove(&row.id).unwrap_or_default();
            if outcome.slo_met() != (row.slo_met == 1) {
                return Err(wrong("contradicts its own times and bounds")
                    .found(format!("slo_met {}", row.slo_met))
                    .allowed(u8::from(outcome.slo_met())));
            }
            run.outcomes.push(outcome);
        }
        run.lost = beside.lost(&mut run.apps, &mut run.datasets)?;
        Ok(run)
    }

    /// The run that `row` names, if it is another one.
    fn check_own(&self, row: &Row<'_>) -> Result<(), String> {
        let Self { label, seed, .. } = self;
        let is_own = row.method.as_ref().is_none_or(|method| *method == label.method)
            && row.device.as_ref().is_none_or(|device| *device == label.device)
            && row.alpha.is_none_or(|alpha| (alpha + 0.0).total_cmp(&(label.alpha + 0.0)).is_eq())
            && row.seed.is_none_or(|of_row| of_row == *seed);
        if is_own {
            return Ok(());
        }
        let text = |name: &Option<Cow<'_, str>>| name.as_deref().unwrap_or("?").to_owned();
        let of_row = CellLabel {
            method: text(&row.method),
            device: text(&row.device),
            alpha: row.alpha.unwrap_or(f64::NAN),
            ..label.clone()
        };
        let seed = row.seed.map_or("?".to_owned(), |seed| seed.to_string());
        Err(format!("{}, seed {seed}", of_row.name()))
    }
}

impl Row<'_> {
    /// `None` if a share is out of range, bounds are not those of one objective or the start
    /// precedes the arrival.
    fn outcome(&self, (app, dataset): (AppId, DatasetId)) -> Option<Outcome> {
        let shares = [self.ttft_ratio, self.tpot_ratio, self.e2e_ratio, self.energy_ratio];
        let times = [self.ttft_bound_ms, self.tpot_bound_ms, self.e2e_bound_ms];
        let (slo, bounds) = objective(shares, times, self.energy_bound_mj)?;
        let request = Request {
            id: self.id,
            arrival: SimTime::from_nanos(self.arrival_ms.0),
            app,
            dataset,
            item: ItemId::parse(&self.item).ok()?,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            slo,
            terms: Terms::default(),
        };
        let execution = Execution {
            decide: self.decide_ms.into(),
            compress: self.compress_ms.into(),
            switch: self.switch_ms.into(),
            prefill: self.prefill_ms.into(),
            decode: self.decode_ms.into(),
            kept_tokens: self.kept_tokens,
            correct: self.correct,
            power: self.power_mw.map(Milliwatts::new),
        };
        let level = (self.level_percent <= 100).then(|| Level::percent(self.level_percent))?;
        let plan = Plan::new(level, Ratio::exact(self.prompt_ratio)?);
        let answer = self.answer_level_percent.flatten().map(Level::percent);
        let plan = answer.map_or(Some(plan), |answer| plan.answered_by(answer).ok())?;
        let start = SimTime::from_nanos(self.start_ms.0);
        (start >= request.arrival).then_some(Outcome {
            request,
            bounds,
            plan,
            start,
            execution,
            interruptions: Interruptions::default(),
        })
    }
}

/// An objective as stated, of its four shares, and as resolved, of its bounds of TTFT, TPOT and
/// end-to-end time or of energy; `None` if those are not of one.
pub(super) fn objective(
    [ttft_ratio, tpot_ratio, e2e_ratio, energy_ratio]: [Option<f64>; 4],
    times: [Option<Decimal>; 3],
    energy: Option<Decimal>,
) -> Option<(Slo, Bounds)> {
    let time = Duration::from;
    Some(match (times, energy) {
        ([Some(ttft), Some(tpot), None], None) => {
            let (ttft, tpot) = (time(ttft), time(tpot));
            let slo = match ttft_ratio.zip(tpot_ratio) {
                Some((of_ttft, of_tpot)) => {
                    Slo::Relative { ttft: Ratio::exact(of_ttft)?, tpot: Ratio::exact(of_tpot)? }
                }
                None => Slo::Absolute { ttft, tpot },
            };
            (slo, Bounds::Latency { ttft, tpot })
        }
        ([None, None, Some(bound)], None) => {
            let bound = time(bound);
            (Slo::EndToEnd(limit(e2e_ratio, bound)?), Bounds::EndToEnd(bound))
        }
        ([None, None, None], Some(bound)) => {
            let bound = Energy::from_nanojoules(bound.0);
            (Slo::Energy(limit(energy_ratio, bound)?), Bounds::Energy(bound))
        }
        _ => return None,
    })
}

fn limit<T>(share: Option<f64>, bound: T) -> Option<Limit<T>> {
    Some(match share {
        Some(share) => Limit::Share(Ratio::exact(share)?),
        None => Limit::Absolute(bound),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Phases;
    use crate::results::OutcomeCsv;
    use crate::sim::OutcomeSink as _;
    use crate::trace::Trace;
    use crate::units::Grade;

    fn label() -> CellLabel {
        CellLabel {
            method: "full".to_owned(),
            alpha: -0.25,
            device: "phone".to_owned(),
            latency_of: "large_model".to_owned(),
            base_model: "small".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        }
    }

    /// Writes requests with each kind of objective, with odd nanoseconds, under `seed`.
    fn write(folder: &Path, seed: u64) -> StoredRun {
        write_in(folder, seed, Phases::One)
    }

    fn write_in(folder: &Path, seed: u64, phases: Phases) -> StoredRun {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let trace = Trace {
            apps: names(["Mail, new", "Rewind"]),
            datasets: names(["piqa", "sciq"]),
            ..Trace::default()
        };
        let outcome = |id: u64, slo: Slo, bounds, correct: Option<bool>| Outcome {
            request: Request {
                id,
                arrival: SimTime::from_nanos(1_000_001),
                app: AppId(id.min(1) as u16),
                dataset: DatasetId(id.min(1) as u16),
                item: 7.into(),
                prompt_tokens: 90,
                output_tokens: 3,
                slo,
                terms: Terms::default(),
            },
            bounds,
            plan: Plan::new(Level::percent(30), Ratio::percent(40)),
            start: SimTime::from_nanos(1_000_002),
            execution: Execution {
                decide: Duration::from_nanos(1),
                prefill: Duration::from_nanos(3),
                decode: Duration::from_nanos(10),
                kept_tokens: 36,
                power: Some(Milliwatts::new(2000)),
                correct: correct.map(Grade::from),
                ..Execution::default()
            },
            interruptions: Interruptions::default(),
        };
        let (ttft, tpot) = (Duration::from_nanos(9), Duration::from_nanos(8));
        let pair = Bounds::Latency { ttft, tpot };
        let share = Ratio::percent(20);
        let relative = Slo::Relative { ttft: share, tpot: Ratio::percent(50) };
        let (end_to_end, energy) =
            (Slo::EndToEnd(Limit::Share(share)), Slo::Energy(Limit::Share(share)));
        let (late, drawn) = (Duration::from_nanos(14), Energy::from_nanojoules(27));
        let mut outcomes = vec![
            outcome(0, relative, pair, Some(true)),
            outcome(1, Slo::Absolute { ttft, tpot }, pair, None),
            outcome(2, end_to_end, Bounds::EndToEnd(late), None),
            outcome(3, Slo::EndToEnd(Limit::Absolute(late)), Bounds::EndToEnd(late), None),
            outcome(4, energy, Bounds::Energy(drawn), None),
            outcome(5, Slo::Energy(Limit::Absolute(drawn)), Bounds::Energy(drawn), None),
        ];
        if phases == Phases::Two {
            answered_by_less(&mut outcomes);
        }
        let path = folder.join(label().run_file(seed));
        let label = label();
        let mut file = OutcomeCsv::create(&path, (&label, seed), &trace, 1).unwrap().of(phases);
        for outcome in &outcomes {
            file.record(outcome).unwrap();
        }
        file.finish().unwrap();
        StoredRun {
            lost: Vec::new(),
            label: label.clone(),
            seed,
            apps: trace.apps,
            datasets: trace.datasets,
            outcomes,
        }
    }

    /// Two levels for every second answer.
    fn answered_by_less(outcomes: &mut [Outcome]) {
        for outcome in outcomes.iter_mut().step_by(2) {
            outcome.plan = outcome.plan.answered_by(Level::percent(20)).unwrap();
        }
    }

    #[test]
    fn plans_of_two_levels_come_back_from_a_column_that_other_runs_lack() {
        let folder = tempfile::tempdir().unwrap();
        let written = write_in(folder.path(), 2, Phases::Two);
        assert_eq!(written.outcomes[0].plan.to_string(), "⟨30 %, 40 %, 20 %⟩");
        assert_eq!(StoredRun::load_all(folder.path(), &label()).unwrap(), [written]);
        let path = folder.path().join(label().run_file(2));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(",30,0.4,20,") && text.contains(",30,0.4,,"), "{text}");
        write(folder.path(), 2);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("answer_level_percent"), "{text}");
    }

    #[test]
    fn runs_come_back_as_written_by_seed_and_partial_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let written = [write(folder.path(), 2), write(folder.path(), 10)];
        std::fs::write(folder.path().join("full/phone_alpha0_seed3.csv.partial"), "").unwrap();
        std::fs::write(folder.path().join("full/other_alpha-0.25_seed3.csv"), "").unwrap();
        assert_eq!(StoredRun::load_all(folder.path(), &label()).unwrap(), written);
        let absent = StoredRun::load_all(&folder.path().join("absent"), &label()).unwrap();
        assert_eq!(absent, []);
    }

    #[test]
    fn a_file_that_contradicts_itself_or_lacks_a_column_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0);
        let path = folder.path().join(label().run_file(0));
        let text = std::fs::read_to_string(&path).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            StoredRun::load_all(folder.path(), &label()).unwrap_err().to_string()
        };
        let message = refused(",1\n", ",0\n");
        assert!(message.ends_with("found slo_met 0; allowed: 1"), "{message}");
        let message = refused("full,phone,-0.25,0,", "full,phone,-0.25,1,");
        assert!(
            message.ends_with(
                "line 2: row of another run; found full at α -0.25 on phone, seed 1; allowed: full \
                 at α -0.25 on phone, seed 0"
            ),
            "{message}"
        );
        let message = refused(",1.000002,", ",1,");
        assert!(message.contains("line 2: no outcome; allowed: shares"), "{message}");
        let message = refused("decode_ms", "decoding_ms");
        assert!(message.ends_with("missing field `decode_ms`"), "{message}");
        let message = refused(",0.00001,", ",1e-5,");
        assert!(message.contains("not a decimal number of ms or mJ"), "{message}");
    }
}
