//! A comparison in words: for the terminal, and the sentences that other outputs share.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, LineStyle, Table};

use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::results::Point;
use crate::metrics::Measure;
use crate::report::show;

/// What moved and by how much, and what the comparison could have seen.
#[must_use]
pub fn comparison_text(comparison: &Comparison) -> String {
    let moved = moved(comparison);
    let moved = if moved.is_empty() {
        "nothing moved by more than its tolerance".to_owned()
    } else {
        let style = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
        let mut table = Table::new();
        table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(HEADER);
        for change in &moved {
            table.add_row(cells(change));
        }
        format!("\n{table}\n")
    };
    [vec![headline(comparison), moved], causes(comparison), notes(comparison), steps(comparison)]
        .concat()
        .join("\n")
        + "\n"
}

/// Columns of a table of changes.
pub(super) const HEADER: [&str; 9] = [
    "",
    "method",
    "α",
    "device",
    "measure",
    "baseline",
    "now",
    "change (95 % interval)",
    "p, seeds, requests",
];

/// A change as a row of that table.
pub(super) fn cells(change: &Change) -> [String; 9] {
    let mut device = change.point.device.clone();
    if change.point.latency_of != change.point.base_model {
        device = format!("{device} ({})", change.point.latency_of);
    }
    [
        verdict(change.verdict).to_owned(),
        change.point.method.clone(),
        change.point.alpha.to_string(),
        device,
        change.measure.column().to_owned(),
        value(change, change.baseline),
        value(change, change.now),
        amount(change),
        sample(change),
    ]
}

/// The changes to tell of: what got worse, then what got better.
pub(super) fn moved(comparison: &Comparison) -> Vec<&Change> {
    let (worse, better) = (comparison.of(Verdict::Worse), comparison.of(Verdict::Better));
    worse.into_iter().chain(better).collect()
}

/// How many changes got worse, better, or neither.
pub(super) fn headline(comparison: &Comparison) -> String {
    let count = |verdict| comparison.of(verdict).len();
    let same = |change: &&Change| change.lo == 0.0 && change.hi == 0.0;
    format!(
        "{} against {}: {} worse, {} better, {} within tolerance ({} of them equal under every \
         seed)",
        comparison.experiment,
        comparison.baseline,
        count(Verdict::Worse),
        count(Verdict::Better),
        count(Verdict::Within),
        comparison.changes.iter().filter(same).count(),
    )
}

/// Where each fall that could be looked into comes from.
pub(super) fn causes(comparison: &Comparison) -> Vec<String> {
    let falls = comparison.of(Verdict::Worse);
    let explained = falls.iter().filter(|change| !change.causes.is_empty());
    let mut lines: Vec<String> = explained
        .map(|change| format!("{}: {}{}", change.point, change.measure.column(), causes_of(change)))
        .collect();
    if lines.is_empty() && !falls.is_empty() {
        let kept = "falls by app and dataset: those of accuracy_at_slo are told by metrics.csv, \
            unless it is older, others where both sides keep outcomes/ of a seed; run the \
            baseline's commit into a folder and name its metrics.csv";
        lines.push(kept.to_owned());
    }
    lines
}

/// `, by app: Mail 50.0 → 0.0 (2 requests); by dataset: …`, the worst three of each.
fn causes_of(change: &Change) -> String {
    let of_class = |class: &str| {
        let causes = change.causes.iter().filter(|cause| cause.class == class).take(3);
        let shown = causes.map(|cause| {
            let (was, is) = (value(change, cause.baseline), value(change, cause.now));
            format!("{} {was} → {is} ({} requests)", cause.name, cause.requests)
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        if shown.is_empty() { shown } else { format!(", by {class}: {shown}") }
    };
    of_class("app") + &of_class("dataset").replacen(',', ";", 1)
}

/// What to do next, a command each.
pub(super) fn steps(comparison: &Comparison) -> Vec<String> {
    let accept = |step: &&(&str, String)| !comparison.passed() || step.0 != "to accept";
    let steps = comparison.steps.iter().filter(accept);
    steps.map(|(what, command)| format!("{what}: {command}")).collect()
}

/// Names of points, the first few of many.
fn points(points: &[Point]) -> String {
    const MOST: usize = 6;
    let mut names: Vec<String> = points.iter().take(MOST).map(Point::to_string).collect();
    if points.len() > MOST {
        names.push(format!("and {} more", points.len() - MOST));
    }
    names.join(", ")
}

/// What else a reader should know: what was not compared, changed inputs, and how small a fall
/// would have been found.
pub(super) fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = Vec::new();
    let sides = [("new", &comparison.new_points), ("removed", &comparison.removed_points)];
    for (what, which) in sides.into_iter().filter(|(_, which)| !which.is_empty()) {
        notes.push(format!("{what}, not compared: {} points: {}", which.len(), points(which)));
    }
    if !comparison.not_compared.is_empty() {
        let columns: Vec<_> = comparison.not_compared.iter().map(|m| m.column()).collect();
        notes.push(format!("on one side alone, not compared: {}", columns.join(", ")));
    }
    if !comparison.changed_inputs.is_empty() {
        notes.push(format!("inputs that changed: {}", comparison.changed_inputs.join(", ")));
    }
    let significance = comparison.tolerances.significance;
    notes.push(format!(
        "verdicts: worse by more than the tolerance, one-sided t test, Holm-adjusted p < \
         {significance} over {} tests",
        comparison.changes.len()
    ));
    for (measure, _) in comparison.tolerances.measures() {
        notes.extend(detectable(comparison, measure));
    }
    notes
}

fn detectable(comparison: &Comparison, measure: Measure) -> Option<String> {
    let (median, worst) = comparison.detectable(measure)?;
    let first = comparison.changes.iter().find(|change| change.measure == measure)?;
    let size = |size: f64| {
        let percent = 100.0 * size;
        if measure.is_share() { format!("{percent:.2} points") } else { format!("{percent:.1} %") }
    };
    let unpaired = comparison.changes.iter().filter(|change| change.measure == measure);
    let largest = unpaired.filter_map(|change| change.detectable_unpaired).max_by(f64::total_cmp);
    let by_requests = largest.map_or_else(String::new, |largest| {
        let requests = first.requests;
        format!("; {} if both sides were {requests} independent requests", size(largest))
    });
    Some(format!(
        "smallest change for the worse of {} found {:.0} times in 100: {} (median point), {} \
         (worst), of {}{by_requests}",
        measure.column(),
        100.0 * comparison.tolerances.power,
        size(median),
        size(worst),
        seeds(first),
    ))
}

/// `elastic-profile at α 0 on mi-14 (…): accuracy_at_slo 56.8 → 54.8, -2.0 points (…), …`.
pub(super) fn sentence(change: &Change) -> String {
    let unit = if change.measure.is_share() { " %" } else { "" };
    let tolerated = if change.measure.is_share() { "points" } else { "%" };
    format!(
        "{}: {} {} → {}{unit}, {}, {}; tolerated: {:.1} {tolerated}",
        change.point,
        change.measure.column(),
        value(change, change.baseline),
        value(change, change.now),
        amount(change),
        sample(change),
        100.0 * change.tolerance,
    )
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Worse => "worse",
        Verdict::Better => "better",
        Verdict::Within => "within",
    }
}

fn value(change: &Change, value: f64) -> String {
    show(change.measure.unit(), Some(value))
}

/// `-2.0 points (-2.4 – -1.6)`, `+6.8 % (+5.1 – +8.2)`.
fn amount(change: &Change) -> String {
    let unit = if change.measure.is_share() { "points" } else { "%" };
    let [change, lo, hi] = [change.change, change.lo, change.hi].map(|share| 100.0 * share);
    format!("{change:+.1} {unit} ({lo:+.1} – {hi:+.1})")
}

/// `p < 0.001, 20 seeds paired, 12000 requests`.
fn sample(change: &Change) -> String {
    let p = match change.verdict {
        Verdict::Better => change.p_better_holm,
        _ => change.p_worse_holm,
    };
    let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p {p:.3}") };
    format!("{p}, {}, {} requests", seeds(change), change.requests)
}

fn seeds(change: &Change) -> String {
    format!("{} seeds {}", change.seeds, if change.paired { "paired" } else { "unpaired" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{comparison, fallen};

    #[test]
    fn what_moved_is_a_table_and_what_could_be_seen_is_said() {
        insta::assert_snapshot!(comparison_text(&fallen()), @r"
        curve against results/curve/metrics.csv: 4 worse, 2 better, 18 within tolerance (18 of them equal under every seed)

        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
                  method            α      device          measure           baseline   now      change (95 % interval)      p, seeds, requests                         
        ════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════
         worse    elastic-profile   0.25   phone (large)   ttft_ms_p95       75.6 s     84.7 s   +12.0 % (+11.9 – +12.2)     p < 0.001, 20 seeds paired, 12000 requests 
         worse    elastic-profile   0      phone (large)   ttft_ms_p95       76.1 s     85.2 s   +12.0 % (+11.9 – +12.2)     p < 0.001, 20 seeds paired, 12000 requests 
         worse    elastic-profile   0      phone (large)   accuracy_at_slo   54.4       52.4     -2.0 points (-2.2 – -1.8)   p < 0.001, 20 seeds paired, 12000 requests 
         worse    elastic-profile   0.25   phone (large)   accuracy_at_slo   55.1       53.1     -2.0 points (-2.2 – -1.8)   p < 0.001, 20 seeds paired, 12000 requests 
         better   full              0      phone (large)   attainment        95.2       97.2     +2.0 points (+2.0 – +2.0)   p < 0.001, 20 seeds paired, 12000 requests 
         better   full              0.25   phone (large)   attainment        95.1       97.1     +2.0 points (+2.0 – +2.0)   p < 0.001, 20 seeds paired, 12000 requests 
        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

        falls by app and dataset: those of accuracy_at_slo are told by metrics.csv, unless it is older, others where both sides keep outcomes/ of a seed; run the baseline's commit into a folder and name its metrics.csv
        inputs that changed: device.toml
        verdicts: worse by more than the tolerance, one-sided t test, Holm-adjusted p < 0.05 over 24 tests
        smallest change for the worse of accuracy found 80 times in 100: 0.50 points (median point), 0.50 points (worst), of 20 seeds paired; 2.85 points if both sides were 12000 independent requests
        smallest change for the worse of accuracy_at_slo found 80 times in 100: 0.71 points (median point), 0.91 points (worst), of 20 seeds paired; 2.88 points if both sides were 12000 independent requests
        smallest change for the worse of attainment found 80 times in 100: 0.54 points (median point), 0.58 points (worst), of 20 seeds paired; 1.53 points if both sides were 12000 independent requests
        smallest change for the worse of ttft_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        smallest change for the worse of ttft_ms_p95 found 80 times in 100: 5.2 % (median point), 5.3 % (worst), of 20 seeds paired
        smallest change for the worse of tpot_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        to reproduce: pliant run experiments/curve.toml --out fresh && pliant check fresh --baseline results/curve/metrics.csv
        to accept: pliant run experiments/curve.toml --out results/curve && git add results/curve && git commit
        ");
    }

    #[test]
    fn a_run_that_equals_its_baseline_moves_nothing() {
        insta::assert_snapshot!(comparison_text(&comparison(|_, _| {})), @r"
        curve against results/curve/metrics.csv: 0 worse, 0 better, 24 within tolerance (24 of them equal under every seed)
        nothing moved by more than its tolerance
        verdicts: worse by more than the tolerance, one-sided t test, Holm-adjusted p < 0.05 over 24 tests
        smallest change for the worse of accuracy found 80 times in 100: 0.50 points (median point), 0.50 points (worst), of 20 seeds paired; 2.85 points if both sides were 12000 independent requests
        smallest change for the worse of accuracy_at_slo found 80 times in 100: 0.50 points (median point), 0.50 points (worst), of 20 seeds paired; 2.88 points if both sides were 12000 independent requests
        smallest change for the worse of attainment found 80 times in 100: 0.50 points (median point), 0.50 points (worst), of 20 seeds paired; 1.53 points if both sides were 12000 independent requests
        smallest change for the worse of ttft_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        smallest change for the worse of ttft_ms_p95 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        smallest change for the worse of tpot_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        to reproduce: pliant run experiments/curve.toml --out fresh && pliant check fresh --baseline results/curve/metrics.csv
        ");
    }
}
