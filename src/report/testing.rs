//! A run made by hand for the tests of this module.

use std::time::Duration;

use crate::metrics::CellLabel;
use crate::outcome::{Execution, Interruptions, Outcome};
use crate::plan::Plan;
use crate::request::{AppId, Bounds, DatasetId, Request, Slo, Terms};
use crate::results::StoredRun;
use crate::units::{Grade, Level, Milliwatts, Ratio, SimTime};

/// Bounds that every request here meets.
pub const SLOW: Bounds =
    Bounds::Latency { ttft: Duration::from_secs(1), tpot: Duration::from_millis(8) };

/// The cell of [`run`].
pub fn label(method: &str) -> CellLabel {
    CellLabel {
        method: method.to_owned(),
        alpha: 0.25,
        device: "phone".to_owned(),
        latency_of: "large".to_owned(),
        base_model: "small".to_owned(),
        provenance: "latency modelled, answers measured".to_owned(),
    }
}

/// Four requests, 100 ms apart but the second, which comes 30 ms after the first and waits for it.
///
/// Each takes 1 ms to decide, 2 to compress, 3 to switch, 34 until the first token and 10 for two
/// more: 50 ms in all, TTFT 40 ms. The second starts at 50 ms, 20 ms after its arrival: TTFT 60 ms.
/// TTFT bounds are 50 ms, so that it alone is late. Power is 2 W: 100 mJ each. Mail asks the first
/// two, Keys the others.
pub fn run(method: &str, seed: u64) -> StoredRun {
    let ms = Duration::from_millis;
    let outcome = |id: u64, arrival_ms, start_ms, correct: Option<bool>| {
        let keys = id > 1;
        let (ttft, tpot) = if keys { (20, 60) } else { (80, 90) };
        Outcome {
            request: Request {
                id,
                arrival: SimTime::ZERO + ms(arrival_ms),
                app: AppId(u16::from(keys)),
                dataset: DatasetId(0),
                item: 42.into(),
                prompt_tokens: 100,
                output_tokens: 3,
                slo: Slo::Relative { ttft: Ratio::percent(ttft), tpot: Ratio::percent(tpot) },
                terms: Terms::default(),
            },
            bounds: Bounds::Latency { ttft: ms(50), tpot: ms(5) },
            plan: Plan::new(Level::percent(30), Ratio::percent(40)),
            start: SimTime::ZERO + ms(start_ms),
            execution: Execution {
                decide: ms(1),
                compress: ms(2),
                switch: ms(3),
                prefill: ms(34),
                decode: ms(10),
                kept_tokens: 40,
                correct: correct.map(Grade::from),
                power: Some(Milliwatts::new(2000)),
            },
            interruptions: Interruptions::default(),
        }
    };
    StoredRun {
        label: label(method),
        seed,
        apps: vec!["Mail".to_owned(), "Keys".to_owned()],
        datasets: vec!["sciq".to_owned()],
        outcomes: vec![
            outcome(0, 0, 0, Some(true)),
            outcome(1, 30, 50, Some(true)),
            outcome(2, 200, 200, Some(false)),
            outcome(3, 300, 300, None),
        ],
        lost: Vec::new(),
    }
}
