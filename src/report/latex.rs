//! A results folder's tables in LaTeX, for package `booktabs`.

use std::fmt::Write as _;

use super::metrics_table::{groups, head, measures_of, show};
use crate::metrics::{CellLabel, Estimate, Interval, Measure, MetricsRow, PairedRow, Unit};

const GROWS: &str = "a string can always grow";

/// A table of measures for each device, latency model and base model, then one of gains.
#[must_use]
pub fn report_latex(rows: &[MetricsRow], pairs: &[PairedRow]) -> String {
    let mut text = "% \\usepackage{booktabs}\n".to_owned();
    for group in groups(rows, |row| (row.label.scene(), row.label.provenance.as_str())) {
        text += &measures(&group);
    }
    for group in groups(pairs, |row| row.label.scene()) {
        text += &gains(&group);
    }
    text
}

fn measures(rows: &[&MetricsRow]) -> String {
    let CellLabel { device, latency_of, base_model, provenance, .. } = &rows[0].label;
    let caption = format!(
        "{device}: latencies of {latency_of}, answers of {base_model} ({provenance}); means of {} \
         replications with their 95 % intervals over them",
        rows[0].replications
    );
    let names = ["α".to_owned(), "method".to_owned()];
    let measures = measures_of(rows);
    let heads: Vec<String> = names.into_iter().chain(measures.iter().copied().map(head)).collect();
    let lines = rows.iter().map(|row| {
        let names = [number(row.label.alpha), escaped(&row.label.method)];
        let cell = |&measure: &Measure| cell(measure.unit(), row[measure]);
        names.into_iter().chain(measures.iter().map(cell)).collect()
    });
    table(&caption, "rl", &heads, lines.collect())
}

fn gains(rows: &[&PairedRow]) -> String {
    let caption = format!(
        "{}: gain in accuracy@SLO, points, with its 95 % intervals over seeds and over items; \
         McNemar's exact p adjusted for all pairs",
        rows[0].label.device
    );
    let heads = ["α", "method", "against", "gain", "over seeds", "over items", "items", "p"];
    let lines = rows.iter().map(|row| {
        let signed = |share: f64| format!("${:+.1}$", 100.0 * share);
        let interval = |interval: Option<Interval>| {
            interval.map_or(String::new(), |Interval { lo, hi }| {
                format!("{} to {}", signed(lo), signed(hi))
            })
        };
        let p = match row.mcnemar_p_holm {
            Some(p) if p < 0.001 => "$<$ 0.001".to_owned(),
            p => p.map_or(String::new(), |p| format!("{p:.3}")),
        };
        vec![
            number(row.label.alpha),
            escaped(&row.label.method),
            escaped(&row.against),
            row.gain.mean.map_or(String::new(), signed),
            interval(row.gain.interval()),
            interval(row.over_items),
            row.items.to_string(),
            p,
        ]
    });
    table(&caption, "rll", &heads.map(str::to_owned), lines.collect())
}

/// `lines` of cells that are LaTeX already; the first columns are aligned as `names`, the others to
/// the right.
fn table(caption: &str, names: &str, heads: &[String], lines: Vec<Vec<String>>) -> String {
    let heads: Vec<String> = heads.iter().map(|head| escaped(head)).collect();
    let columns = format!("{names}{}", "r".repeat(heads.len() - names.len()));
    let mut text = format!(
        "\\begin{{table}}\n\\centering\n\\caption{{{}.}}\n\
         \\begin{{tabular}}{{{columns}}}\n\\toprule\n\
         {} \\\\\n\\midrule\n",
        escaped(caption),
        heads.join(" & ")
    );
    for line in lines {
        writeln!(text, "{} \\\\", line.join(" & ")).expect(GROWS);
    }
    text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
}

fn number(number: f64) -> String {
    format!("${number}$")
}

fn cell(unit: Unit, estimate: Estimate) -> String {
    let show = |value| escaped(&show(unit, Some(value)));
    let mean = estimate.mean.map(show).unwrap_or_default();
    match estimate.interval() {
        Some(Interval { lo, hi }) => format!("{mean} {{\\scriptsize({}--{})}}", show(lo), show(hi)),
        None => mean,
    }
}

/// `text` as LaTeX shows it, on one line.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => safe.extend(['\\', letter]),
            '\\' => safe += "\\textbackslash{}",
            '~' => safe += "\\textasciitilde{}",
            '^' => safe += "\\textasciicircum{}",
            'α' => safe += "$\\alpha$",
            '<' => safe += "$<$",
            '>' => safe += "$>$",
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, PerMeasure, RunMeasures};

    #[test]
    fn names_are_escaped_and_intervals_stand_beside_their_means() {
        let label = |method: &str| CellLabel {
            method: method.to_owned(),
            alpha: -0.25,
            ..crate::report::testing::label(method)
        };
        let runs = [0.25, 0.75].map(|share| RunMeasures {
            values: PerMeasure::from([(Measure::AccuracyAtSlo, share), (Measure::TtftP50, 31.25)]),
            ..RunMeasures::default()
        });
        let asked = AskedItems::default();
        let rows = [MetricsRow::of(&label("a_b & 50 %\\"), &runs, &asked)];
        let pairs = [PairedRow::of(&label("a_b"), &runs, "full", &runs, &asked)];
        insta::assert_snapshot!(report_latex(&rows, &pairs), @r"
        % \usepackage{booktabs}
        \begin{table}
        \centering
        \caption{phone: latencies of large, answers of small (latency modelled, answers measured); means of 2 replications with their 95 \% intervals over them.}
        \begin{tabular}{rlrr}
        \toprule
        $\alpha$ & method & accuracy@SLO \% & TTFT p50 \\
        \midrule
        $-0.25$ & a\_b \& 50 \%\textbackslash{} & 50.0 {\scriptsize(25.0--75.0)} & 31.2 ms {\scriptsize(31.2 ms--31.2 ms)} \\
        \bottomrule
        \end{tabular}
        \end{table}
        \begin{table}
        \centering
        \caption{phone: gain in accuracy@SLO, points, with its 95 \% intervals over seeds and over items; McNemar's exact p adjusted for all pairs.}
        \begin{tabular}{rllrrrrr}
        \toprule
        $\alpha$ & method & against & gain & over seeds & over items & items & p \\
        \midrule
        $-0.25$ & a\_b & full & $+0.0$ & $+0.0$ to $+0.0$ &  & 0 &  \\
        \bottomrule
        \end{tabular}
        \end{table}
        ");
    }
}
