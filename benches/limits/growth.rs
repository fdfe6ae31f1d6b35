//! The cost as work grows: more requests, more methods, more plans to choose from.

use std::time::Duration;

use pliant::Result;
use pliant::method::MethodSpec;
use pliant::metrics::Tally;
use pliant::sim::{Ledger, ServiceOptions, replay_columns};
use pliant::trace::{CallStream, Columns, SynthSpec};
use pliant::units::Level;

use crate::cases::{Measures, measured};
use crate::clock::{steady, timed};
use crate::record::{Goal, Line};
use crate::scene::Scene;

/// Requests of each method, and of each number of plans.
const REQUESTS: u32 = 10_000_000;

/// Levels of the study, from the largest.
const LEVELS: [u16; 9] = [100, 90, 80, 70, 60, 50, 40, 30, 20];

/// Ratios of the prompt that each level comes with.
const RATIOS: u64 = 10;

/// Passes over little work, which would be too short for the clock.
const LEAST_REQUESTS: u64 = 1_000_000;

/// Lines over 10³ to `most` streamed requests, by tens, 1 to 32 methods, and 1 to 90 plans.
pub fn lines(most: u64, print: &mut impl FnMut(Line)) -> Result<()> {
    let scene = Scene::new(REQUESTS)?;
    for power in 3..=most.ilog10() {
        print(streamed(&scene, 10_u32.pow(power))?);
    }
    for count in [1, 2, 4, 8, 16, 32] {
        print(methods(&scene, count));
    }
    for levels in [0, 1, 2, 4, 6, 9] {
        print(plans(&scene, levels)?);
    }
    Ok(())
}

fn streamed(scene: &Scene, requests: u32) -> Result<Line> {
    let passes = (LEAST_REQUESTS / u64::from(requests)).max(1);
    let spec = SynthSpec { requests, ..scene.synth.clone() };
    let mut streams: Vec<CallStream> = Vec::new();
    for _ in 0..passes {
        streams.push(CallStream::new(&spec, &scene.pools)?.1);
    }
    let mut ledgers: Vec<Ledger<'_>> =
        streams.iter().map(|_| scene.ledger(scene.method("elastilm"))).collect();
    let took = timed(|| {
        for (calls, ledger) in streams.iter_mut().zip(&mut ledgers) {
            let mut sink = Measures(Tally::of_measures_alone());
            let ran = replay_columns(ledger, calls, &ServiceOptions::default(), &mut sink);
            let measures = sink.0.finish_with(ledger, ran.expect("every plan has an answer"));
            assert_eq!(measures.requests, requests as usize);
        }
    });
    streams.into_iter().try_for_each(CallStream::finish)?;
    let all = passes * u64::from(requests);
    Ok(grown("requests, drawn as they are replayed", requests.into(), all, took))
}

fn methods(scene: &Scene, count: usize) -> Line {
    let methods = scene.methods.iter().cycle().take(count);
    let mut ledgers: Vec<_> = methods.map(|method| scene.ledger(method)).collect();
    let took = replayed(&mut ledgers, &scene.columns);
    grown("methods", count as u64, (count * scene.columns.len()) as u64, took)
}

/// `elastic-profile` with so many levels and every ratio of each; without a level the base model
/// alone.
fn plans(scene: &Scene, levels: usize) -> Result<Line> {
    let of_study = scene.method("elastic-profile+lora").spec();
    let spec = match levels {
        0 => scene.method("full").spec().clone(),
        _ => MethodSpec {
            levels: LEVELS[..levels].iter().map(|&percent| Level::percent(percent)).collect(),
            ..of_study.clone()
        },
    };
    let took = replayed(&mut [scene.ledger(&Scene::assembled(&spec)?)], &scene.columns);
    let plans = (levels as u64 * RATIOS).max(1);
    Ok(grown("plans", plans, scene.columns.len() as u64, took))
}

fn replayed(ledgers: &mut [Ledger<'_>], columns: &Columns) -> Duration {
    steady(|| {
        for ledger in &mut *ledgers {
            measured(ledger, columns, ServiceOptions::default());
        }
    })
}

fn grown(what: &str, work: u64, requests: u64, took: Duration) -> Line {
    let line = Line::new(format!("growth: {what}"), Goal::None, requests, took);
    Line { work: Some(work), ..line }
}
