//! `pliant policy explain`: one decision, what its policy saw and what else there was.

use std::iter;
use std::path::PathBuf;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use pliant::Result;
use pliant::experiment::{Alternative, Explanation, Source, Which, explain};
use pliant::plan::Plan;
use pliant::policy::{StatedBounds, StatedSlo};
use pliant::units::Grade;

use super::output::{print_json, print_line, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results folder, or experiment file
    run: PathBuf,
    /// Id of the request in its trace
    #[arg(long, value_name = "ID")]
    request: u64,
    /// Name of the method [default: the first]
    #[arg(long)]
    method: Option<String>,
    /// Name of the device [default: the first]
    #[arg(long)]
    device: Option<String>,
    /// Skew of the trace [default: the first]
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Seed of the replication [default: the first]
    #[arg(long)]
    seed: Option<u64>,
    /// Show every candidate, not only those that were predicted to meet the objective
    #[arg(long)]
    all: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let Args { run, request, method, device, alpha, seed, all, json } = args;
    let explanation = explain(&run, &Which { request, method, device, alpha, seed })?;
    if json {
        return print_json(&explanation);
    }
    let rows = table(&explanation, all);
    print_line(format!("{}\n\n{rows}\n\n{}", seen(&explanation), came_of_it(&explanation)))?;
    for warning in &explanation.warnings {
        say(format!("pliant: warning: {warning}"));
    }
    Ok(())
}

/// Which run, and what its policy saw.
fn seen(explained: &Explanation) -> String {
    let Explanation { experiment, method, policy, device, alpha, seed, seen, item, .. } = explained;
    let objective = match seen.slo {
        StatedSlo::Absolute(bounds) => bounds.to_string(),
        slo => format!("{slo}: {}", seen.bounds),
    };
    let resident = seen.resident.map_or("none yet".to_owned(), |level| level.to_string());
    let lines = [
        format!("{experiment}: {method} ({policy}) on {device}, alpha {alpha}, seed {seed}"),
        format!(
            "latencies of {}, answers of {}; {}",
            explained.latency_of, explained.base_model, explained.provenance
        ),
        String::new(),
        format!("request    {}, of {}: {} item {item}", seen.id, seen.app, seen.dataset),
        format!(
            "lengths    {} prompt tokens, {} output tokens",
            seen.prompt_tokens, seen.output_tokens
        ),
        format!("objective  {objective}"),
        format!(
            "service    taken up after {:.1} ms, {} waiting, level in memory: {resident}",
            explained.happened.waited_ms, seen.queued
        ),
    ];
    lines.join("\n")
}

fn table(explained: &Explanation, all: bool) -> String {
    let candidates = &explained.alternatives.candidates;
    let is_marked = |plan| !marks(explained, plan).is_empty();
    let is_shown = |one: &&Alternative| all || one.feasible || is_marked(one.plan);
    let columns = columns(explained);
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.name));
    for one in candidates.iter().filter(is_shown) {
        table.add_row(columns.iter().map(|column| (column.cell)(explained, one)));
    }
    for (shown, column) in table.column_iter_mut().zip(&columns) {
        if column.is_number {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    let fitting = candidates.iter().filter(|one| one.feasible).count();
    format!(
        "{fitting} of {} candidates were predicted to meet the objective\n{}",
        candidates.len(),
        table.trim_fmt()
    )
}

/// What is said of a candidate under one heading.
struct Column {
    name: &'static str,
    is_number: bool,
    cell: fn(&Explanation, &Alternative) -> String,
}

/// The columns that say something of this request.
fn columns(explained: &Explanation) -> Vec<Column> {
    let number = |name, cell| Column { name, is_number: true, cell };
    let word = |name, cell| Column { name, is_number: false, cell };
    let mut columns = vec![
        number("level", |_, one| one.plan.level.to_string()),
        number("prompt", |_, one| one.plan.prompt_ratio.to_string()),
        number("TTFT ms", |_, one| format!("{:.1}", one.ttft_ms)),
        number("TPOT ms", |_, one| format!("{:.1}", one.tpot_ms)),
    ];
    match explained.seen.bounds {
        StatedBounds::Latency { .. } => {}
        StatedBounds::EndToEnd { .. } => {
            columns.push(number("last token ms", |_, one| format!("{:.1}", one.e2e_ms)));
        }
        StatedBounds::Energy { .. } => columns.push(number("energy mJ", |_, one| {
            one.energy_mj.map_or(String::new(), |energy| format!("{energy:.1}"))
        })),
    }
    columns.push(word("fits", |_, one| yes(one.feasible)));
    columns.push(number("expected %", |_, one| percent(one.expected_accuracy)));
    if explained.alternatives.candidates.iter().any(|one| one.head_probability.is_some()) {
        columns.push(number("head %", |_, one| percent(one.head_probability.map(f64::from))));
    }
    columns.push(word("right", |_, one| one.correct.map_or("unknown".into(), graded)));
    columns.push(word("in time", |_, one| yes(one.in_time)));
    columns.push(word("", |explained, one| marks(explained, one.plan)));
    columns
}

fn percent(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| format!("{:.1}", 100.0 * share))
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.into()
}

fn graded(grade: Grade) -> String {
    match grade {
        Grade::RIGHT => yes(true),
        Grade::WRONG => yes(false),
        between => between.to_string(),
    }
}

/// What is to be said of a plan.
fn marks(explained: &Explanation, plan: Plan) -> String {
    let alternatives = &explained.alternatives;
    let said = [
        (alternatives.head_plan == Some(plan), "named by the head"),
        (explained.choice == plan, "chosen"),
        (alternatives.oracle == Some(plan), "oracle"),
        (alternatives.hindsight == Some(plan), "best in hindsight"),
    ];
    let marks: Vec<_> = said.iter().filter_map(|(is, mark)| is.then_some(*mark)).collect();
    marks.join(", ")
}

/// The choice, its outcome and what else there was.
fn came_of_it(explained: &Explanation) -> String {
    let Explanation { choice, happened, alternatives, .. } = explained;
    let aside = match explained.put_aside {
        Some(true) => {
            "; the decision itself would have missed the objective: drawn from the others"
        }
        _ => "",
    };
    let tpot = happened.tpot_ms.map_or("undefined".into(), |tpot| format!("{tpot:.1} ms"));
    let energy = happened.energy_mj.map_or(String::new(), |energy| format!(", {energy:.1} mJ"));
    let right = match happened.correct {
        Some(Grade::RIGHT) => "right".to_owned(),
        Some(Grade::WRONG) => "wrong".to_owned(),
        Some(grade) => format!("of grade {grade}"),
        None => "not judged".to_owned(),
    };
    let met = if happened.slo_met { "objective met" } else { "objective missed" };
    let source = match explained.source {
        Source::Replayed => "simulated again",
        Source::Stored => "as stored",
    };
    let good = |one: &&Alternative| one.in_time && one.correct.is_some_and(Grade::is_right);
    let all_are_known = alternatives.candidates.iter().all(|one| one.correct.is_some());
    let oracle = match alternatives.oracle {
        Some(plan) => format!("{}: predicted in time, and right", shown(plan)),
        None if all_are_known => {
            "no candidate that was predicted in time answers rightly; it would \
                                  choose as elastic-profile"
                .to_owned()
        }
        None => NOT_KNOWN.to_owned(),
    };
    let hindsight = if all_are_known {
        format!(
            "{} of {} candidates answer rightly in time, the wait included",
            alternatives.candidates.iter().filter(good).count(),
            alternatives.candidates.len()
        )
    } else {
        NOT_KNOWN.to_owned()
    };
    let because =
        explained.reason.as_ref().map(|reason| format!("because    {}", one_line(reason)));
    let lines = [
        format!("chosen     {}{aside}", shown(*choice)),
        format!(
            "happened   TTFT {:.1} ms = {:.1} wait + {:.1} decide + {:.1} compress + {:.1} switch \
             + {:.1} prefill of {} tokens",
            happened.ttft_ms,
            happened.waited_ms,
            happened.decide_ms,
            happened.compress_ms,
            happened.switch_ms,
            happened.prefill_ms,
            happened.kept_tokens
        ),
        format!(
            "           TPOT {tpot}, last token after {:.1} ms{energy}; {met}, answer {right} \
             ({source})",
            happened.e2e_ms
        ),
        format!("oracle     {oracle}"),
        format!("hindsight  {hindsight}"),
    ];
    let [chosen, others @ ..] = &lines;
    let said = iter::once(chosen).chain(&because).chain(others);
    said.map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// `text` with every run of white space as one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is said of all candidates where answers to some are missing.
const NOT_KNOWN: &str = "not known: answers to some candidates were not measured";

fn shown(plan: Plan) -> String {
    let Plan { level, prompt_ratio, .. } = plan;
    match plan.smaller_answer_level() {
        None => format!("⟨level {level}, prompt {prompt_ratio}⟩"),
        Some(answer) => format!("⟨level {level}, prompt {prompt_ratio}, answer {answer}⟩"),
    }
}
