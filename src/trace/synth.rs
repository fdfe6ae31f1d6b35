//! Synthesis of traces: apps with skewed counts, shuffled, arrivals at a mean rate.

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::Trace;
use super::apps::{App, Apps, LevelOrder, Objective, StandIn};
use super::arrivals::Arrivals;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::limits::{Bounded, REQUESTS, TOKENS};
use crate::request::{Request, Slo};
use crate::rng::stream;

/// What a trace is to be like. The defaults are the study's, without skew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthSpec {
    /// Who calls.
    pub apps: Apps,
    /// How many requests.
    pub requests: u32,
    /// Skew α of the SLO levels: the app of level i makes a share ∝ e^(αi) of the requests.
    pub alpha: f64,
    /// Which app is level 1.
    pub level_order: LevelOrder,
    /// What kind of objective the apps state.
    pub objective: Objective,
    /// Mean rate of the arrivals, all apps together.
    pub arrivals_per_hour: f64,
    /// How they are spread.
    pub arrivals: Arrivals,
    /// Tokens to generate for a request of an app that does not say.
    pub output_tokens: u32,
    /// Seed of the shuffle, the arrivals and the items.
    pub seed: u64,
}

impl Default for SynthSpec {
    fn default() -> Self {
        Self {
            apps: Apps::default(),
            requests: 600,
            alpha: 0.0,
            level_order: LevelOrder::Paper,
            objective: Objective::Latency,
            arrivals_per_hour: 5.0,
            arrivals: Arrivals::default(),
            output_tokens: 16,
            seed: 0,
        }
    }
}

/// The items of one dataset that traces may draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemPool {
    /// Name of the dataset.
    pub dataset: String,
    /// Its items, in a fixed order.
    pub items: Vec<PooledItem>,
}

/// An item and the length of its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PooledItem {
    /// Number of the item within its dataset.
    pub item: ItemId,
    /// Length of the full prompt in tokens.
    pub prompt_tokens: u32,
}

/// Makes the trace that `spec` describes, with items drawn from `pools`, uniformly and
/// independently of each other.
///
/// Shuffle, arrivals and items have random streams of their own: traces of one seed that differ in
/// skew alone arrive at the same instants.
///
/// # Errors
/// If `spec` is out of range, or an app's dataset has no items.
///
/// # Panics
/// If there are more than 65536 pools.
pub fn synthesize(spec: &SynthSpec, pools: &[ItemPool]) -> Result<Trace> {
    check(spec, REQUESTS)?;
    let counts = spec.apps.counts(spec.level_order, spec.requests, spec.alpha);
    let objective = |app| Ok((app, spec.objective.of(app)?));
    let apps = spec.apps.all().iter().map(objective).collect::<Result<Vec<(&App, Slo)>>>()?;
    let mut calls: Vec<_> = apps
        .into_iter()
        .zip(counts)
        .flat_map(|(app, count)| std::iter::repeat_n(app, count as usize))
        .collect();
    calls.shuffle(&mut stream(spec.seed, "trace/shuffle"));
    let mut arrivals = stream(spec.seed, "trace/arrivals");
    let arrivals = spec.arrivals.draw(spec.arrivals_per_hour, spec.requests, &mut arrivals)?;
    let mut items = stream(spec.seed, "trace/items");
    let mut trace = Trace { provenance: provenance(spec, pools), ..Trace::default() };
    for ((id, (app, slo)), arrival) in (0..).zip(calls).zip(arrivals) {
        let drawn_from = pools_of(app, pools)?;
        let pool = drawn_from[items.random_range(0..drawn_from.len())];
        let drawn = pool.items[items.random_range(0..pool.items.len())];
        let request = Request {
            id,
            arrival,
            app: trace.app_id(&app.name).expect("apps are few"),
            dataset: trace.dataset_id(&pool.dataset).expect("pools are few"),
            item: drawn.item,
            prompt_tokens: drawn.prompt_tokens,
            output_tokens: app.output_tokens.unwrap_or(spec.output_tokens),
            slo,
            terms: app.terms(),
        };
        trace.requests.push(request);
    }
    Ok(trace)
}

/// Refuses a spec that is out of range, or asks for more requests than there may be.
pub(super) fn check(spec: &SynthSpec, requests: Bounded) -> Result<()> {
    let wrong = |key: &str, found: f64, allowed: &str| {
        Err(Error::new("trace synth", "bad value").at(key).found(found).allowed(allowed))
    };
    requests.check("trace synth", "requests", spec.requests.into())?;
    TOKENS.check("trace synth", "output_tokens", spec.output_tokens.into())?;
    if !spec.alpha.is_finite() {
        return wrong("alpha", spec.alpha, "a finite number");
    }
    if !(spec.arrivals_per_hour > 0.0 && spec.arrivals_per_hour.is_finite()) {
        return wrong("arrivals_per_hour", spec.arrivals_per_hour, "a number above 0");
    }
    Ok(())
}

/// The pools that `app` draws from, evenly.
pub(super) fn pools_of<'a>(app: &App, pools: &'a [ItemPool]) -> Result<Vec<&'a ItemPool>> {
    let drawn_from = app.drawn_from(&at_hand(pools));
    let wanted = |pool: &&ItemPool| drawn_from.contains(&pool.dataset.as_str());
    let found: Vec<_> = pools.iter().filter(wanted).collect();
    if found.is_empty() {
        let names: Vec<_> = pools.iter().map(|pool| pool.dataset.as_str()).collect();
        return Err(Error::new("item pools", format!("no items for the app {}", app.name))
            .found(format!("datasets {}", names.join(", ")))
            .allowed(format!("dataset {}", app.datasets.join(" or "))));
    }
    Ok(found)
}

/// The datasets with items, in the order of `pools`.
pub(super) fn at_hand(pools: &[ItemPool]) -> Vec<&str> {
    pools.iter().filter(|pool| !pool.items.is_empty()).map(|pool| pool.dataset.as_str()).collect()
}

/// The `apps` that draw from other datasets of `pools` than those meant for them.
#[must_use]
pub fn stand_ins(apps: &Apps, pools: &[ItemPool]) -> Vec<StandIn> {
    StandIn::all(apps, &at_hand(pools))
}

/// How the trace was made, enough to make it again.
fn provenance(spec: &SynthSpec, pools: &[ItemPool]) -> Vec<String> {
    let SynthSpec { requests, alpha, arrivals_per_hour, arrivals, output_tokens, seed, .. } = spec;
    let mut lines = vec![
        format!("synthesised by pliant {}", env!("CARGO_PKG_VERSION")),
        format!(
            "requests {requests}, alpha {alpha}, level order {}, {arrivals_per_hour} arrivals per \
             hour ({arrivals}), seed {seed}",
            spec.level_order.name()
        ),
        if spec.apps.all().iter().any(|app| app.output_tokens.is_some()) {
            format!("output_tokens is the app's, or {output_tokens}")
        } else {
            format!("output_tokens is {output_tokens} throughout: the study does not state it")
        },
        "items are drawn uniformly, with replacement, from those kept for replay".to_owned(),
    ];
    if !spec.apps.are_the_studys() {
        lines.push(spec.apps.to_string());
    }
    if spec.objective != Objective::Latency {
        let whose = if spec.apps.are_the_studys() { "the study's" } else { "its" };
        lines.push(format!(
            "each app bounds its {} to the mean of {whose} shares of TTFT and TPOT",
            spec.objective.name()
        ));
    }
    lines.extend(stand_ins(&spec.apps, pools).iter().map(StandIn::to_string));
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::request::Limit;
    use crate::units::{SimTime, duration_from_millis};

    fn ms(millis: f64) -> std::time::Duration {
        duration_from_millis(millis).unwrap()
    }

    fn pools() -> Vec<ItemPool> {
        ["arc-easy", "openbookqa", "piqa", "sciq"]
            .into_iter()
            .zip(1..)
            .map(|(dataset, hundred)| ItemPool {
                dataset: dataset.to_owned(),
                items: (0..50)
                    .map(|item| PooledItem {
                        item: item.into(),
                        prompt_tokens: 100 * hundred + item,
                    })
                    .collect(),
            })
            .collect()
    }

    fn per_app(trace: &Trace) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for request in &trace.requests {
            *counts.entry(trace.app(request.app)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_skewed_trace_has_the_counts_worked_out_by_hand() {
        let spec = SynthSpec { alpha: 0.25, ..SynthSpec::default() };
        let trace = synthesize(&spec, &pools()).unwrap();
        let expected = [
            ("GMail", 133),
            ("Gboard", 63),
            ("Octopus", 103),
            ("Rewind", 171),
            ("Shortcuts", 81),
            ("XiaoAi", 49),
        ];
        assert_eq!(per_app(&trace), BTreeMap::from(expected));
    }

    #[test]
    fn apps_draw_from_their_dataset_and_the_two_without_one_from_all() {
        let trace = synthesize(&SynthSpec::default(), &pools()).unwrap();
        let mut drawn: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for request in &trace.requests {
            let dataset = trace.dataset(request.dataset);
            *drawn.entry(trace.app(request.app)).or_default().entry(dataset).or_default() += 1;
        }
        for (app, dataset) in [
            ("Rewind", "openbookqa"),
            ("GMail", "arc-easy"),
            ("Gboard", "piqa"),
            ("XiaoAi", "sciq"),
        ] {
            assert_eq!(drawn[app], BTreeMap::from([(dataset, 100)]));
        }
        assert_eq!(drawn["Octopus"].len(), 4);
        assert_eq!(drawn["Shortcuts"].len(), 4);
        assert!(trace.provenance.iter().any(|line| {
            line == "Octopus draws from arc-easy, openbookqa, piqa, sciq in place of octopus, which \
                     is not at hand"
        }));
    }

    #[test]
    fn agent_apps_draw_from_their_datasets_where_they_are_at_hand() {
        let drawn = |more: &[&str]| {
            let mut pools = pools();
            pools.extend(more.iter().map(|&dataset| ItemPool {
                dataset: dataset.to_owned(),
                items: vec![PooledItem { item: 1.into(), prompt_tokens: 500 }],
            }));
            let trace = synthesize(&SynthSpec::default(), &pools).unwrap();
            let of = |name: &str| -> BTreeSet<String> {
                let requests = trace.requests.iter().filter(|r| trace.app(r.app) == name);
                requests.map(|request| trace.dataset(request.dataset).to_owned()).collect()
            };
            let notes = trace.provenance.iter().filter(|line| line.contains("in place of")).count();
            (of("Octopus"), of("Shortcuts"), notes)
        };
        let one = |name: &str| BTreeSet::from([name.to_owned()]);
        let calls = ["api-calling", "api-calling-live"];
        assert_eq!(drawn(&calls), (one("api-calling"), one("api-calling-live"), 1));
        let whole = ["api-calling", "api-calling-live", "ui-automation"];
        assert_eq!(drawn(&whole), (one("api-calling"), one("ui-automation"), 0));
    }

    /// 600 gaps of mean 720 s: their mean has a standard error of 720 / √600 = 29.4 s.
    #[test]
    fn arrivals_come_at_the_rate_asked_for() {
        let trace = synthesize(&SynthSpec::default(), &pools()).unwrap();
        let last = trace.requests.last().unwrap().arrival;
        let mean_gap = (last - SimTime::ZERO).as_secs_f64() / 600.0;
        assert!((mean_gap - 720.0).abs() < 3.0 * 29.4, "mean gap {mean_gap} s");
        assert!(trace.requests.is_sorted_by_key(|request| request.arrival));
    }

    #[test]
    fn traces_of_one_seed_arrive_alike_under_any_skew_and_differ_between_seeds() {
        let trace = |alpha, seed| {
            synthesize(&SynthSpec { alpha, seed, ..SynthSpec::default() }, &pools()).unwrap()
        };
        let arrivals = |trace: &Trace| -> Vec<_> {
            trace.requests.iter().map(|request| request.arrival).collect()
        };
        assert_eq!(trace(0.25, 1), trace(0.25, 1));
        assert_eq!(arrivals(&trace(0.25, 1)), arrivals(&trace(-0.25, 1)));
        assert_ne!(arrivals(&trace(0.25, 1)), arrivals(&trace(0.25, 2)));
    }

    #[test]
    fn a_trace_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        let trace = synthesize(&SynthSpec::default(), &pools()).unwrap();
        trace.write(&path).unwrap();
        assert_eq!(Trace::read(&path).unwrap(), trace);
        let packed = folder.path().join("trace.csv.gz");
        trace.write(&packed).unwrap();
        assert!(std::fs::read(&packed).unwrap().starts_with(&[0x1f, 0x8b]));
        assert_eq!(Trace::read(&packed).unwrap(), trace);
        let message = trace.write(&folder.path().join("trace.zst")).unwrap_err().to_string();
        assert!(message.ends_with("zstd is read and not written; allowed: a name in .csv or .gz"));
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let message =
            |spec: SynthSpec, pools: &[ItemPool]| synthesize(&spec, pools).unwrap_err().to_string();
        let spec = SynthSpec::default();
        assert_eq!(
            message(SynthSpec { arrivals_per_hour: 0.0, ..spec.clone() }, &pools()),
            "trace synth, arrivals_per_hour: bad value; found 0; allowed: a number above 0"
        );
        assert!(
            message(SynthSpec { alpha: f64::NAN, ..spec.clone() }, &pools()).contains("found NaN")
        );
        assert!(
            message(SynthSpec { arrivals_per_hour: 1e-9, ..spec.clone() }, &pools())
                .contains("hundred years")
        );
        assert_eq!(
            message(SynthSpec { requests: u32::MAX, ..spec.clone() }, &pools()),
            "trace synth, requests: out of range; found 4294967295; allowed: 1 to 10000000"
        );
        assert!(message(spec, &pools()[..1]).contains("no items for the app"));
    }

    /// Without skew the first of three and one makes three calls in four.
    #[test]
    fn apps_of_ones_own_have_their_objectives_lengths_and_shares() {
        let text = r#"
            [[apps]]
            name = "Reader"
            slo = { e2e_ms = 900 }
            datasets = ["sciq"]
            weight = 3
            output_tokens = 64
            [[apps]]
            name = "Keyboard"
            slo = { ttft_ms = 80, tpot_ms = 20.5 }
            datasets = ["piqa"]
        "#;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let apps = Apps::load(file.path()).unwrap();
        let trace = synthesize(&SynthSpec { apps, ..SynthSpec::default() }, &pools()).unwrap();
        assert_eq!(per_app(&trace), BTreeMap::from([("Keyboard", 150), ("Reader", 450)]));
        for request in &trace.requests {
            let (dataset, output_tokens, slo) = match trace.app(request.app) {
                "Reader" => ("sciq", 64, Slo::EndToEnd(Limit::Absolute(ms(900.0)))),
                _ => ("piqa", 16, Slo::Absolute { ttft: ms(80.0), tpot: ms(20.5) }),
            };
            assert_eq!(trace.dataset(request.dataset), dataset);
            assert_eq!((request.output_tokens, request.slo), (output_tokens, slo));
        }
        let said = "apps: Reader (end-to-end 900 ms, weight 3), Keyboard (80 ms, 20.5 ms)";
        assert!(trace.provenance.iter().any(|line| line == said), "{:?}", trace.provenance);
    }

    #[test]
    fn the_first_requests_of_seed_0_are_golden() {
        let trace =
            synthesize(&SynthSpec { requests: 6, ..SynthSpec::default() }, &pools()).unwrap();
        let first: Vec<_> = trace
            .requests
            .iter()
            .map(|request| {
                (
                    request.arrival.as_nanos(),
                    trace.app(request.app),
                    trace.dataset(request.dataset),
                    request.item,
                )
            })
            .collect();
        insta::assert_debug_snapshot!(first);
    }
}
