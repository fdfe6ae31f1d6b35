//! Which plans a method has: levels and prompt ratios with latencies and answers.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::executor::Truth;
use crate::method::MethodSpec;
use crate::plan::Phases;
use crate::policy::{Candidate, Costs};
use crate::profile::{FamilyLatency, LevelLatency, PromptLengths, QualityTable};
use crate::units::{Level, Ratio};

/// The levels of `family` that have answers, and that the method has; level 100 % takes the times
/// of `base` unless the method has its own.
pub(super) fn answered_levels(
    family: &FamilyLatency,
    base: &LevelLatency,
    table: &QualityTable,
    spec: &MethodSpec,
) -> Result<Vec<LevelLatency>> {
    let has_answers = |at: &&LevelLatency| table.level_index(at.level).is_some();
    let answered: Vec<_> = family.levels.iter().filter(has_answers).collect();
    let is_there = |&&level: &&Level| answered.iter().any(|at| at.level == level);
    if let Some(level) = spec.levels.iter().find(|level| !is_there(level)) {
        let known: Vec<_> = answered.iter().map(|at| at.level.to_string()).collect();
        return Err(Error::new(format!("method {}", spec.name), "no such level")
            .at("key \"levels\"")
            .found(level)
            .allowed(known.join(", ")));
    }
    let is_had = |at: &&LevelLatency| spec.levels.is_empty() || spec.levels.contains(&at.level);
    let with_base = |latency: &LevelLatency| match latency.level {
        Level::FULL if !spec.own_full => {
            LevelLatency { ttft_ms: base.ttft_ms, tpot_ms: base.tpot_ms, ..latency.clone() }
        }
        _ => latency.clone(),
    };
    Ok(answered.into_iter().filter(is_had).map(with_base).collect())
}

/// Which of `levels` read and answer together, by their places: each by itself, and, in two
/// `phases`, those that `table` has answers of two levels of.
pub(super) fn pairs(
    levels: &[LevelLatency],
    table: &QualityTable,
    phases: Phases,
) -> Vec<(usize, usize)> {
    let place = |level: Level| levels.iter().position(|at| at.level == level);
    let of_two = table.pairs().iter().filter(|_| phases == Phases::Two);
    let of_two = of_two.filter_map(|&(prompt, answer)| Some((place(prompt)?, place(answer)?)));
    (0..levels.len()).map(|place| (place, place)).chain(of_two).collect()
}

/// The prompt ratios that plans of a method may read, rising up to its whole prompt.
pub(super) fn readable(
    spec: &MethodSpec,
    table: &QualityTable,
    lengths: Option<&PromptLengths>,
) -> Result<Vec<Ratio>> {
    let whole = spec.whole_prompt.unwrap_or(Ratio::ONE);
    let place = format!("method {}", spec.name);
    let Some(lengths) = lengths else {
        if table.ratio_index(whole).is_none() {
            let known: Vec<_> = table.ratios().iter().map(Ratio::to_string).collect();
            return Err(Error::new(place, "no such prompt ratio")
                .at("key \"whole_prompt\"")
                .found(whole)
                .allowed(known.join(", ")));
        }
        return Ok(vec![whole]);
    };
    let ratios = &lengths.ratios()[..=lengths.place_of(whole, &place)?];
    for ratio in table.ratios_measured().map(|place| table.ratios()[place]) {
        if ratio <= whole {
            lengths.place_of(ratio, format!("{place}, quality table {}", spec.quality_family()))?;
        }
    }
    Ok(ratios.to_vec())
}

/// Plans with at least one measured answer, or all where answers are measured as they are asked
/// for.
pub(super) fn candidates(costs: &Costs, truth: &Truth) -> Arc<[Candidate]> {
    let rows = || truth.table.datasets().flat_map(|dataset| truth.table.items(dataset));
    let measured = |one: &Candidate| rows().any(|(_, row)| truth.correct(one, row).is_some());
    costs.plans().filter(|candidate| truth.asked || measured(candidate)).collect()
}
