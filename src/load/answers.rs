//! How right the answers were: asked of the service afterwards, or looked up.
//!
//! What a model writes after a prompt is judged by which option of the item it finds likeliest, as
//! quality tables do. So once a play is over the service weighs the options, by the very plan of
//! the answer: the level by its alias, the share of the prompt by `prompt_ratio`. Nothing else runs
//! meanwhile, and what that takes is in no measure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::Client;
use super::prompts::Prompts;
use super::question::{Pinned, Question};
use super::row::Played;
use crate::error::{Error, Result};
use crate::profile::QualityTable;
use crate::prompt::dataset::Scoring;
use crate::request::{Limit, Request, Slo, Terms};
use crate::trace::Trace;
use crate::units::{Level, Ratio};

/// Answers that are known: by dataset, item, level in percent and thousandths of the prompt.
pub type Known = BTreeMap<(String, String, u16, u16), bool>;

/// Asks the service of `client` for the answer to each played request that was finished, unless it
/// is `known`, and fills in whether it is right. Nothing where prompts are filler.
///
/// # Errors
/// If the server cannot be reached, or does not answer.
///
/// # Panics
/// If `rows` are not of `trace`.
pub fn ask_for_answers(
    rows: &mut [Played],
    trace: &Trace,
    prompts: &Prompts,
    client: &Client,
    known: &mut Known,
) -> Result<()> {
    let base = client.base_model()?;
    let requests: BTreeMap<u64, &Request> = trace.requests.iter().map(|r| (r.id, r)).collect();
    for row in rows.iter_mut().filter(|row| row.is_finished()) {
        let request = requests[&row.id];
        let Some((level, ratio)) = plan_of(row) else { continue };
        let key = key_of(row, level, ratio);
        if let Some(right) = known.get(&key) {
            row.served_right = Some(*right);
            continue;
        }
        let Some((dataset, item)) = prompts.item(&row.dataset, request.item) else { continue };
        let pinned = Pinned { level: Some(level), prompt_ratio: Some(ratio) };
        let patient = Request { slo: AT_LEISURE, terms: Terms::default(), ..*request };
        let question = Question::of(trace, &patient, prompts, &base, pinned)?;
        let (status, answer) = client.ask(&question.weighing(&item.options))?;
        let chosen = chosen(&answer["pliant"]["options"], dataset.scoring).ok_or_else(|| {
            Error::new("the server", "weighs no options").found(format!("status {status}"))
        })?;
        let right = chosen == item.gold;
        known.insert(key, right);
        row.served_right = Some(right);
    }
    Ok(())
}

/// Leaves out of a recorded day the calls of [`ask_for_answers`], which are none of the play.
pub fn without_asking(day: &mut Trace) {
    day.requests.retain(|request| request.slo != AT_LEISURE);
}

/// The objective of a call that nobody waits for: an hour.
const AT_LEISURE: Slo = Slo::EndToEnd(Limit::Absolute(std::time::Duration::from_hours(1)));

fn plan_of(row: &Played) -> Option<(Level, Ratio)> {
    Some((Level::percent(row.level?), Ratio::new(row.prompt_ratio?)?))
}

fn key_of(row: &Played, level: Level, ratio: Ratio) -> (String, String, u16, u16) {
    (row.dataset.clone(), row.item.clone(), level.as_percent(), ratio.thousandths())
}

/// The option that is likeliest: over its tokens' mean, or their sum.
fn chosen(options: &Value, scoring: Scoring) -> Option<usize> {
    let by = match scoring {
        Scoring::MeanPerToken => "probability",
        Scoring::Sum => "logprob",
    };
    let weight = |option: &Value| Some((option[by].as_f64()?, option["index"].as_u64()?));
    let weights = options.as_array()?.iter().map(weight).collect::<Option<Vec<_>>>()?;
    let best = weights.into_iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    best.map(|(_, index)| index as usize)
}

/// Fills in how right the answers are that `table` has of the plans and items of `rows`.
pub fn look_up_answers(rows: &mut [Played], table: &QualityTable) {
    for row in rows.iter_mut().filter(|row| row.is_finished()) {
        let stored = || {
            let (level, ratio) = plan_of(row)?;
            let item = crate::item::ItemId::parse(&row.item).ok()?;
            let place = table.row(&row.dataset, item)?;
            table.grade(place, table.level_index(level)?, table.ratio_index(ratio)?)
        };
        row.stored_right = stored().map(|grade| f64::from(grade.ten_thousandths()) / 10_000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{DATASET, answers};
    use serde_json::json;

    #[test]
    fn the_likeliest_option_is_chosen_of_equals_the_first() {
        let options = json!([
            { "index": 2, "probability": 0.5, "logprob": -9.0 },
            { "index": 0, "probability": 0.25, "logprob": -3.0 },
            { "index": 1, "probability": 0.5, "logprob": -3.0 },
        ]);
        assert_eq!(chosen(&options, Scoring::MeanPerToken), Some(1));
        assert_eq!(chosen(&options, Scoring::Sum), Some(0));
        assert_eq!(chosen(&json!(null), Scoring::Sum), None);
        assert_eq!(chosen(&json!([]), Scoring::Sum), None);
    }

    #[test]
    fn calls_that_ask_for_answers_are_none_of_the_day() {
        let mut day = crate::method::testing::Bench::random(1, 3).trace;
        let all = day.requests.clone();
        day.requests[1].slo = AT_LEISURE;
        without_asking(&mut day);
        assert_eq!(day.requests, [all[0], all[2]]);
    }

    /// The replayed item of the hand-made tables is answered rightly by whole prompts alone.
    #[test]
    fn a_stored_answer_is_that_of_the_plan_and_the_item() {
        let table = answers();
        let rows = table.items(DATASET).map(|(item, row)| (item, table.side(row)));
        let replayed = rows.filter(|(_, side)| *side == crate::profile::Split::Replay);
        let item = replayed.map(|(item, _)| item.to_string()).next().unwrap();
        let row = |level, prompt_ratio, state: &str| Played {
            dataset: DATASET.to_owned(),
            item: item.clone(),
            state: state.to_owned(),
            level: Some(level),
            prompt_ratio: Some(prompt_ratio),
            ..Played::default()
        };
        let mut rows = [
            row(100, 1.0, "finished"),
            row(50, 1.0, "finished"),
            row(100, 0.5, "finished"),
            row(100, 0.3, "finished"),
            row(100, 1.0, "queue-full"),
        ];
        look_up_answers(&mut rows, &table);
        let stored: Vec<Option<f64>> = rows.iter().map(|row| row.stored_right).collect();
        assert_eq!(stored, [Some(1.0), Some(1.0), Some(0.0), None, None]);
    }
}
