//! Accuracy within the SLO over objectives, a panel per dataset, a line per method: each item of the
//! replay half is asked alone, under every objective, with the plan's level resident already.
//!
//! So nothing waits and no switch is billed: what is left is what a method answers under an
//! objective. Methods answer the same items, those that all of them have answers to.

use std::fmt::Write as _;
use std::path::Path;

use super::canvas::Sheet;
use super::colours;
use super::curves::{mean_line, point};
use super::extra_figures::text_table;
use super::line_panels::{self, Axes, Line, Panel, Point};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::method::{Method, MethodSpec, Replayed};
use crate::outcome::Outcome;
use crate::policy::ServiceView;
use crate::profile::{Counted, DeviceProfile, PromptLengths, Split};
use crate::request::{AppId, DatasetId, Request, RequestView, Slo};
use crate::results::StandaloneSpec;
use crate::trace::Trace;
use crate::units::{Ratio, SimTime};

const WIDTH_PX: u32 = 1120;
const PANEL_PX: u32 = 300;
const PANELS_PER_ROW: usize = 3;
const MEAN: &str = "mean of datasets";
/// Replays of a policy that draws, each under a seed of its own.
const DRAWS: u64 = 20;

impl StandaloneSpec {
    /// Items of the replay half that every method knows, as requests of a trace.
    fn trace(&self, methods: &[Method]) -> Result<Trace> {
        let folder = self.quality.join(&self.base_model);
        let lengths = PromptLengths::load(&folder, &self.lengths)?;
        let mut trace = Trace { apps: vec!["standalone".to_owned()], ..Trace::default() };
        for (dataset, item, tokens) in lengths.iter() {
            let asked = Split::of(dataset, item) == Split::Replay
                && methods.iter().all(|method| method.knows(dataset, item));
            if !asked {
                continue;
            }
            if trace.datasets.last().is_none_or(|last| last != dataset) {
                trace.datasets.push(dataset.to_owned());
            }
            trace.requests.push(Request {
                id: trace.requests.len() as u64,
                arrival: SimTime::ZERO,
                app: AppId(0),
                dataset: DatasetId(trace.datasets.len() as u16 - 1),
                item,
                prompt_tokens: tokens[tokens.len() - 1],
                output_tokens: self.output_tokens,
                slo: Slo::Relative { ttft: Ratio::ONE, tpot: Ratio::ONE },
            });
        }
        if trace.requests.is_empty() {
            return Err(Error::file(&folder, "no item has all answers of every method"));
        }
        Ok(trace)
    }

    fn check(&self) -> Result<()> {
        let positive = |(ttft, tpot): &(Ratio, Ratio)| ttft.min(tpot).thousandths() > 0;
        if self.slos.len() < 2 || !self.slos.iter().all(positive) || self.methods.is_empty() {
            return Err(Error::new("experiment", "nothing to compare")
                .at("figure standalone")
                .found(format!("{} slos, {} methods", self.slos.len(), self.methods.len()))
                .allowed("two or more slos, of shares above 0, and one or more methods"));
        }
        Ok(())
    }
}

/// The figure's numbers.
#[derive(Debug)]
struct Lines {
    /// What names of objectives mean.
    slo_title: String,
    slos: Vec<String>,
    /// Names of the panels and how many items each rests on; the last is the mean's.
    panels: Vec<(String, usize)>,
    methods: Vec<MethodLines>,
}

/// What a method reaches: by panel, a point per objective.
#[derive(Debug)]
struct MethodLines {
    name: String,
    accuracy_at_slo: Vec<Vec<Point>>,
    attainment: Vec<Vec<Point>>,
}

/// Draws `standalone` into `out`, with its numbers as CSV.
///
/// # Errors
/// If a profile or table is missing or broken, or a file cannot be written.
pub(super) fn draw_standalone(spec: &StandaloneSpec, out: &Path) -> Result<String> {
    spec.check()?;
    let device = DeviceProfile::load(&spec.device)?;
    let method = |method: &MethodSpec| {
        Method::new(
            &device,
            &spec.base_model,
            &spec.latency_of,
            &spec.quality,
            Counted::default(),
            method,
            Replayed::Whole,
        )
    };
    let methods: Vec<Method> = spec.methods.iter().map(method).collect::<Result<_>>()?;
    let trace = spec.trace(&methods)?;
    let lines = lines(spec, &methods, &trace)?;
    write_whole(&out.join("standalone.csv"), lines.csv().as_bytes())?;
    let names: Vec<_> = lines
        .methods
        .iter()
        .map(|MethodLines { name, .. }| (name.clone(), colours::of_method(name)))
        .collect();
    let panels: Vec<Panel> = (0..lines.panels.len()).map(|at| lines.panel(at)).collect();
    let rows = panels.len().div_ceil(PANELS_PER_ROW) as u32;
    let provenance = methods[0].latency_provenance().label();
    let sheet = Sheet {
        title: format!("Accuracy within the SLO, each item asked alone, on {}", device.name),
        caption: format!(
            "Share of items answered rightly within both bounds; {} output tokens. Nothing waits, \
             switching is dismissed. Whiskers: 95 % interval over items (bootstrap; the mean's from \
             the datasets' variances). Latency of {} ({provenance}), answers of {} (measured).",
            spec.output_tokens, spec.latency_of, spec.base_model,
        ),
        width_px: WIDTH_PX,
        height_px: line_panels::legend_px(&names, WIDTH_PX as i32 - 48) + rows * PANEL_PX,
    };
    let ticks = lines.slos.iter().enumerate().map(|(nth, slo)| (nth as f64, slo.clone()));
    let axes = Axes {
        x_title: lines.slo_title.clone(),
        x_room: 0.4,
        y_title: "accuracy within the SLO, %",
        x_ticks: ticks.collect(),
        panels_per_row: PANELS_PER_ROW,
    };
    sheet.write(out, "standalone", |area| line_panels::draw(area, &names, &panels, &axes))?;
    Ok(lines.text())
}

fn lines(spec: &StandaloneSpec, methods: &[Method], trace: &Trace) -> Result<Lines> {
    let of = |dataset: usize| {
        let requests = trace.requests.iter();
        requests.filter(move |request| usize::from(request.dataset.0) == dataset).count()
    };
    let counts = trace.datasets.iter().enumerate().map(|(at, name)| (name.clone(), of(at)));
    let mut panels: Vec<_> = counts.collect();
    panels.push((MEAN.to_owned(), trace.requests.len()));
    let mut lines = Vec::new();
    for method in methods {
        let mut right = vec![Vec::new(); trace.datasets.len()];
        let mut met = right.clone();
        for (nth, &slo) in spec.slos.iter().enumerate() {
            for (dataset, items) in ask(method, trace, slo)?.iter().enumerate() {
                let (correct, in_time): (Vec<f64>, Vec<f64>) = items.iter().copied().unzip();
                right[dataset].extend(point(nth as u16, &correct));
                met[dataset].extend(point(nth as u16, &in_time));
            }
        }
        for line in [&mut right, &mut met] {
            line.push(mean_line(line));
        }
        let name = method.spec().name.clone();
        lines.push(MethodLines { name, accuracy_at_slo: right, attainment: met });
    }
    let (slo_title, slos) = names(&spec.slos);
    Ok(Lines { slo_title, slos, panels, methods: lines })
}

/// Short names for objectives, and what they mean: what all have in common is not repeated.
fn names(slos: &[(Ratio, Ratio)]) -> (String, Vec<String>) {
    let tpot = slos[0].1;
    let one = || slos.iter().map(|(ttft, _)| ttft.as_percent().to_string()).collect();
    if slos.iter().all(|slo| slo.1 == tpot) {
        (format!("ζ of TTFT, %, with {tpot} of TPOT"), one())
    } else if slos.iter().all(|(ttft, tpot)| ttft == tpot) {
        ("ζ of TTFT and of TPOT, %".to_owned(), one())
    } else {
        let both =
            |(ttft, tpot): &(Ratio, Ratio)| format!("{}/{}", ttft.as_percent(), tpot.as_percent());
        ("ζ of TTFT / ζ of TPOT, %".to_owned(), slos.iter().map(both).collect())
    }
}

/// By dataset and item: the shares of draws in which the answer was right in time, and in time.
fn ask(
    method: &Method,
    trace: &Trace,
    (ttft, tpot): (Ratio, Ratio),
) -> Result<Vec<Vec<(f64, f64)>>> {
    let mut trace = trace.clone();
    for request in &mut trace.requests {
        request.slo = Slo::Relative { ttft, tpot };
    }
    let (bounds, executor) = (method.bounds(&trace)?, method.cost_model(&trace)?);
    let service = ServiceView { now: SimTime::ZERO, resident: None, queued: 0 };
    let mut sums = vec![(0.0, 0.0); trace.requests.len()];
    for seed in 0..DRAWS {
        let mut policy = method.policy(&trace, seed)?;
        for ((request, &bounds), sum) in trace.requests.iter().zip(&bounds).zip(&mut sums) {
            let plan = policy.plan(RequestView::new(request, bounds), service);
            policy.settle()?;
            let execution = executor.bill(request, plan, None)?;
            let outcome =
                Outcome { request: *request, bounds, plan, start: request.arrival, execution };
            let grade = execution.correct.map_or(0.0, f64::from);
            sum.0 += if outcome.slo_met() { grade } else { 0.0 };
            sum.1 += f64::from(u8::from(outcome.slo_met()));
        }
    }
    let mut shares = vec![Vec::new(); trace.datasets.len()];
    for (request, (right, met)) in trace.requests.iter().zip(sums) {
        let draws = DRAWS as f64;
        shares[usize::from(request.dataset.0)].push((right / draws, met / draws));
    }
    Ok(shares)
}

impl Lines {
    fn panel(&self, at: usize) -> Panel {
        let (name, items) = &self.panels[at];
        let line = |method: &MethodLines| Line {
            colour: colours::of_method(&method.name),
            points: method.accuracy_at_slo[at].clone(),
        };
        Panel {
            heading: format!("{name} (n = {items})"),
            lines: self.methods.iter().map(line).collect(),
        }
    }

    fn csv(&self) -> String {
        let mut text = "method,panel,items,slo,accuracy_at_slo,lo,hi,attainment\n".to_owned();
        for MethodLines { name: method, accuracy_at_slo: right, attainment: met } in &self.methods {
            for (at, (panel, items)) in self.panels.iter().enumerate() {
                for ((slo, right), met) in self.slos.iter().zip(&right[at]).zip(&met[at]) {
                    let [y, lo, hi, met] =
                        [right.y, right.lo, right.hi, met.y].map(|percent| percent / 100.0);
                    writeln!(
                        text,
                        "{method},{panel},{items},{slo},{y:.4},{lo:.4},{hi:.4},{met:.4}"
                    )
                    .expect("a string can always grow");
                }
            }
        }
        text
    }

    /// The mean panel, a row per method, and in how many cells the first is ahead.
    fn text(&self) -> String {
        let last = self.panels.len() - 1;
        let mut rows = vec![vec![format!("accuracy within the SLO, %; {}", self.slo_title)]];
        rows[0].extend(self.slos.iter().cloned());
        for MethodLines { name: method, accuracy_at_slo: right, .. } in &self.methods {
            let mut row = vec![method.clone()];
            row.extend(right[last].iter().map(|point| format!("{:.1}", point.y)));
            rows.push(row);
        }
        let mut text = text_table(&rows);
        let MethodLines { name: first, accuracy_at_slo: own, .. } = &self.methods[0];
        for MethodLines { name: other, accuracy_at_slo: right, .. } in &self.methods[1..] {
            let cells = own[..last].iter().flatten().zip(right[..last].iter().flatten());
            let (mut ahead, mut behind, mut count) = (0, 0, 0);
            for (own, other) in cells {
                count += 1;
                ahead += usize::from(own.y > other.y);
                behind += usize::from(own.y < other.y);
            }
            writeln!(
                text,
                "{first} is ahead of {other} in {ahead} of {count} cells (dataset × SLO), behind in \
                 {behind}"
            )
            .expect("a string can always grow");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::Bench;

    /// The bench's item is right on the full prompt only, where level 50 % takes 50 ms of the base
    /// model's 100. Under 40 % of its TTFT a half prompt is the only plan in time, and wrong.
    #[test]
    fn an_item_counts_where_it_is_right_in_time() {
        let bench = Bench::elastic();
        let share = |percent| Ratio::percent(percent);
        let ask =
            |ttft, tpot| ask(&bench.method, &bench.trace, (share(ttft), share(tpot))).unwrap();
        assert_eq!(ask(100, 100), [[(1.0, 1.0)]]);
        assert_eq!(ask(50, 50), [[(1.0, 1.0)]]);
        assert_eq!(ask(40, 100), [[(0.0, 1.0)]]);
        assert_eq!(ask(10, 10), [[(0.0, 0.0)]]);
    }

    #[test]
    fn what_all_objectives_share_is_said_once() {
        let names = |slos: &[(u16, u16)]| {
            let percent = Ratio::percent;
            let slos: Vec<_> = slos.iter().map(|&(a, b)| (percent(a), percent(b))).collect();
            let (title, names) = names(&slos);
            format!("{title}: {}", names.join(" "))
        };
        assert_eq!(names(&[(20, 80), (30, 80)]), "ζ of TTFT, %, with 80 % of TPOT: 20 30");
        assert_eq!(names(&[(20, 20), (30, 30)]), "ζ of TTFT and of TPOT, %: 20 30");
        assert_eq!(names(&[(20, 50), (30, 80)]), "ζ of TTFT / ζ of TPOT, %: 20/50 30/80");
    }

    #[test]
    fn cells_in_which_the_first_method_is_ahead_are_counted() {
        let at = |y| Point { x: 0.0, y, lo: y, hi: y };
        let method = |name: &str, values: [f64; 2]| {
            let mut panels = values.map(|y| vec![at(y)]).to_vec();
            panels.push(mean_line(&panels));
            let name = name.to_owned();
            MethodLines { name, accuracy_at_slo: panels.clone(), attainment: panels }
        };
        let lines = Lines {
            slo_title: "ζ".to_owned(),
            slos: vec!["50/80".to_owned()],
            panels: ["piqa", "sciq", MEAN].map(|name| (name.to_owned(), 30)).to_vec(),
            methods: vec![method("a", [40.0, 60.0]), method("b", [20.0, 70.0])],
        };
        insta::assert_snapshot!(lines.text().trim_end(), @r"
        accuracy within the SLO, %; ζ  50/80
        a                               50.0
        b                               45.0
        a is ahead of b in 1 of 2 cells (dataset × SLO), behind in 1
        ");
        assert!(lines.csv().ends_with("b,mean of datasets,30,50/80,0.4500,0.4500,0.4500,0.4500\n"));
    }
}
