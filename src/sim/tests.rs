//! Replays worked out by hand, then what holds for every replay.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::executor::scripted::Scripted;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::policy::ServiceView;
use crate::request::{AppId, DatasetId, RequestView, Slo, Terms};
use crate::units::{Grade, Level, Ratio, SimTime};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A request that arrives at `arrival_ms` and wants its first token within `ttft_ms`.
fn request(id: u64, arrival_ms: u64, ttft_ms: u64) -> (Request, Bounds) {
    let (ttft, tpot) = (ms(ttft_ms), ms(10));
    let request = Request {
        id,
        arrival: SimTime::ZERO + ms(arrival_ms),
        app: AppId(0),
        dataset: DatasetId(0),
        item: 0.into(),
        prompt_tokens: 100,
        output_tokens: 3,
        slo: Slo::Absolute { ttft, tpot },
        terms: Terms::default(),
    };
    (request, Bounds::Latency { ttft, tpot })
}

fn prefill_and_decode(prefill_ms: u64, decode_ms: u64) -> Execution {
    Execution { prefill: ms(prefill_ms), decode: ms(decode_ms), ..Execution::default() }
}

/// Plans levels 20 %, 30 %, … in turn and keeps a log of what it is told.
#[derive(Debug, Default)]
struct Diary(Vec<String>);

impl Policy for Diary {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let plans = self.0.iter().filter(|line| line.starts_with("plan")).count();
        let resident = service.resident.map_or("nothing".to_owned(), |level| level.to_string());
        self.0.push(format!(
            "plan {} at {} ms: {resident} resident, {} behind",
            request.id(),
            service.now.as_millis_f64(),
            service.queued
        ));
        Plan::new(Level::LADDER[plans % 9], Ratio::ONE)
    }

    fn observe(&mut self, outcome: &Outcome) {
        self.0.push(format!("observe {}", outcome.request.id));
    }
}

fn outcomes(
    requests: &[(Request, Bounds)],
    executor: &mut Scripted,
    options: ServiceOptions,
) -> (Vec<Outcome>, Vec<String>) {
    let (requests, bounds): (Vec<_>, Vec<_>) = requests.iter().copied().unzip();
    let (mut outcomes, mut diary) = (Vec::new(), Diary::default());
    replay(&requests, &bounds, &mut diary, executor, &options, &mut outcomes).unwrap();
    (outcomes, diary.0)
}

#[test]
fn three_requests_have_the_ttfts_worked_out_by_hand() {
    // id  arrival  start  decide+compress+switch+prefill  first token  TTFT  decode  completion
    //  0        0      0  1 + 1 + 3 + 5 = 10                       10    10      10          20
    //  1        2     20  4                                        24    22       6          30
    //  2       20     30  7                                        37    17       1          38
    let requests = [request(0, 0, 50), request(1, 2, 50), request(2, 20, 50)];
    let first = Execution {
        decide: ms(1),
        compress: ms(1),
        switch: ms(3),
        prefill: ms(5),
        decode: ms(10),
        kept_tokens: 80,
        correct: Some(Grade::RIGHT),
        power: None,
    };
    let mut executor = Scripted::list([first, prefill_and_decode(4, 6), prefill_and_decode(7, 1)]);
    let (outcomes, diary) = outcomes(&requests, &mut executor, ServiceOptions::default());
    let ttfts: Vec<_> = outcomes.iter().map(Outcome::ttft).collect();
    assert_eq!(ttfts, [ms(10), ms(22), ms(17)]);
    let tpots: Vec<_> = outcomes.iter().map(|outcome| outcome.tpot().unwrap()).collect();
    assert_eq!(tpots, [ms(5), ms(3), Duration::from_micros(500)]);
    let queued: Vec<_> = outcomes.iter().map(Outcome::queued).collect();
    assert_eq!(queued, [ms(0), ms(18), ms(10)]);
    // Request 2 arrives as request 0 completes: it is behind request 1 by the time that starts.
    assert_eq!(
        diary,
        [
            "plan 0 at 0 ms: nothing resident, 0 behind",
            "observe 0",
            "plan 1 at 20 ms: 20 % resident, 1 behind",
            "observe 1",
            "plan 2 at 30 ms: 30 % resident, 0 behind",
            "observe 2",
        ]
    );
}

#[test]
fn edf_serves_by_deadline_and_counts_a_request_that_arrives_as_the_server_frees_up() {
    // Request 0 is served 0–10 ms. Deadlines of the others: 1 → 101, 2 → 22, 3 → 10 + 5 = 15 ms.
    let requests = [request(0, 0, 9), request(1, 1, 100), request(2, 2, 20), request(3, 10, 5)];
    let mut executor = Scripted::by(|_, _| prefill_and_decode(8, 2));
    let options = ServiceOptions { discipline: Discipline::Edf, ..ServiceOptions::default() };
    let (outcomes, _) = outcomes(&requests, &mut executor, options);
    let served: Vec<_> = outcomes.iter().map(|outcome| outcome.request.id).collect();
    assert_eq!(served, [0, 3, 2, 1]);
    let starts: Vec<_> = outcomes.iter().map(|outcome| outcome.start.as_millis_f64()).collect();
    assert_eq!(starts, [0.0, 10.0, 20.0, 30.0]);
}

#[test]
fn edf_chooses_among_all_requests_of_an_instant_even_when_the_server_is_idle() {
    let requests = [request(0, 5, 90), request(1, 5, 10)];
    let mut executor = Scripted::by(|_, _| prefill_and_decode(1, 1));
    let options = ServiceOptions { discipline: Discipline::Edf, ..ServiceOptions::default() };
    let (outcomes, _) = outcomes(&requests, &mut executor, options);
    assert_eq!(outcomes[0].request.id, 1);
}

#[test]
fn in_ideal_isolation_every_request_starts_at_its_arrival() {
    let requests = [request(0, 0, 9), request(1, 1, 9), request(2, 1, 9)];
    let mut executor = Scripted::list([
        prefill_and_decode(100, 0),
        prefill_and_decode(10, 0),
        prefill_and_decode(5, 0),
    ]);
    let options = ServiceOptions { ideal_isolation: true, ..ServiceOptions::default() };
    let (outcomes, diary) = outcomes(&requests, &mut executor, options);
    assert!(outcomes.iter().all(|outcome| outcome.queued().is_zero()));
    assert_eq!(
        diary,
        [
            "plan 0 at 0 ms: nothing resident, 0 behind",
            "plan 1 at 1 ms: 20 % resident, 1 behind",
            "plan 2 at 1 ms: 30 % resident, 0 behind",
            "observe 2",
            "observe 1",
            "observe 0",
        ]
    );
}

/// Every request takes 20 ms. App 0 thinks 10, then 20 ms: request 2 arrives at 20 + 10, waits for
/// app 1's request until 40; request 3 arrives at 60 + 20.
#[test]
fn in_a_closed_loop_an_app_thinks_after_its_answer_and_then_calls() {
    let mut requests =
        [request(0, 0, 50), request(1, 5, 50), request(2, 10, 50), request(3, 30, 50)];
    requests[1].0.app = AppId(1);
    let mut executor = Scripted::by(|_, _| prefill_and_decode(10, 10));
    let options = ServiceOptions { closed_loop: true, ..ServiceOptions::default() };
    let (outcomes, _) = outcomes(&requests, &mut executor, options);
    let instants: Vec<_> = outcomes
        .iter()
        .map(|o| (o.request.id, o.request.arrival.as_millis_f64(), o.start.as_millis_f64()))
        .collect();
    assert_eq!(instants, [(0, 0.0, 0.0), (1, 5.0, 20.0), (2, 30.0, 40.0), (3, 80.0, 80.0)]);
    assert_eq!(outcomes[2].ttft(), ms(20));
}

#[test]
fn what_a_policy_settles_is_billed_and_its_error_stops_the_replay() {
    #[derive(Debug)]
    struct Slow(u64);
    impl Policy for Slow {
        fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
            Plan::FULL
        }

        fn settle(&mut self) -> Result<Option<Duration>> {
            self.0 -= 1;
            if self.0 == 0 { Err(Error::new("policy", "gone")) } else { Ok(Some(ms(5))) }
        }
    }
    let (requests, bounds): (Vec<_>, Vec<_>) =
        [request(0, 0, 9), request(1, 1, 9)].into_iter().unzip();
    let mut executor = Scripted::by(|_, _| prefill_and_decode(8, 2));
    let mut outcomes = Vec::new();
    let options = ServiceOptions::default();
    let replayed = replay(&requests, &bounds, &mut Slow(2), &mut executor, &options, &mut outcomes);
    assert_eq!(replayed.unwrap_err().to_string(), "policy: gone");
    assert_eq!(outcomes[0].ttft(), ms(13));
    assert_eq!(outcomes.len(), 1);
}

#[test]
fn the_first_error_of_executor_or_sink_stops_the_replay() {
    #[derive(Debug)]
    struct Full;
    impl OutcomeSink for Full {
        fn record(&mut self, _: &Outcome) -> Result<()> {
            Err(Error::new("outcomes.csv", "no space"))
        }
    }
    let (requests, bounds): (Vec<_>, Vec<_>) =
        [request(0, 0, 9), request(1, 1, 9)].into_iter().unzip();
    let options = ServiceOptions::default();
    let mut policy = Diary::default();
    let mut one = Scripted::list([Execution::default()]);
    let mut outcomes = Vec::new();
    let error =
        replay(&requests, &bounds, &mut policy, &mut one, &options, &mut outcomes).unwrap_err();
    assert_eq!(error.to_string(), "scripted executor: the script is over; found request 1");
    assert_eq!(outcomes.len(), 1, "what was known before is kept");

    let mut endless = Scripted::by(|_, _| Execution::default());
    let error =
        replay(&requests, &bounds, &mut policy, &mut endless, &options, &mut Full).unwrap_err();
    assert_eq!(error.to_string(), "outcomes.csv: no space");
}

/// Gaps between arrivals, TTFT bounds and the five phases in ns, of up to 60 requests; small
/// numbers, so that instants often coincide.
fn workloads() -> impl Strategy<Value = Vec<(u64, u64, [u64; 5])>> {
    prop::collection::vec((0..6_u64, 0..40_u64, prop::array::uniform5(0..3_u64)), 0..60)
}

fn run_workload(workload: &[(u64, u64, [u64; 5])], options: ServiceOptions) -> Vec<Outcome> {
    let mut arrival = SimTime::ZERO;
    let requests: Vec<_> = (0..)
        .zip(workload)
        .map(|(id, &(gap, ttft, _))| {
            let (mut request, _) = request(id, 0, 0);
            arrival = arrival + Duration::from_nanos(gap);
            request.arrival = arrival;
            let bounds = Bounds::Latency { ttft: Duration::from_nanos(ttft), tpot: ms(10) };
            (request, bounds)
        })
        .collect();
    let phases: Vec<[u64; 5]> = workload.iter().map(|&(.., phases)| phases).collect();
    let mut executor = Scripted::by(move |request, _| {
        let phases = phases[request.id as usize].map(Duration::from_nanos);
        Execution {
            decide: phases[0],
            compress: phases[1],
            switch: phases[2],
            prefill: phases[3],
            decode: phases[4],
            ..Execution::default()
        }
    });
    outcomes(&requests, &mut executor, options).0
}

fn any_options() -> impl Strategy<Value = ServiceOptions> {
    let discipline = prop_oneof![Just(Discipline::Fifo), Just(Discipline::Edf)];
    (discipline, any::<bool>(), any::<bool>()).prop_map(
        |(discipline, ideal_isolation, closed_loop)| ServiceOptions {
            discipline,
            ideal_isolation,
            closed_loop,
            ..ServiceOptions::default()
        },
    )
}

proptest! {
    /// Lindley: the wait of request n + 1 is max(0, wait n + service n − gap to its arrival).
    #[test]
    fn fifo_waits_equal_the_lindley_recurrence_request_by_request(workload in workloads()) {
        let outcomes = run_workload(&workload, ServiceOptions::default());
        let (mut wait, mut service) = (0_u64, 0_u64);
        for (outcome, (gap, _, phases)) in outcomes.iter().zip(&workload) {
            wait = (wait + service).saturating_sub(*gap);
            service = phases.iter().sum();
            prop_assert_eq!(outcome.queued(), Duration::from_nanos(wait));
        }
    }

    #[test]
    fn every_request_is_answered_once_and_its_instants_are_ordered(
        workload in workloads(),
        options in any_options(),
    ) {
        let outcomes = run_workload(&workload, options);
        let mut ids: Vec<_> = outcomes.iter().map(|outcome| outcome.request.id).collect();
        ids.sort_unstable();
        prop_assert!(ids.iter().copied().eq(0..workload.len() as u64));
        for outcome in &outcomes {
            prop_assert!(outcome.request.arrival <= outcome.start);
            prop_assert!(outcome.start <= outcome.first_token());
            prop_assert!(outcome.first_token() <= outcome.completion());
        }
        let starts: Vec<_> = outcomes.iter().map(|outcome| outcome.start).collect();
        prop_assert!(starts.is_sorted());
    }

    #[test]
    fn one_server_serves_one_request_at_a_time_and_never_idles_while_one_waits(
        workload in workloads(),
        discipline in prop_oneof![Just(Discipline::Fifo), Just(Discipline::Edf)],
    ) {
        let options = ServiceOptions { discipline, ..ServiceOptions::default() };
        let outcomes = run_workload(&workload, options);
        for pair in outcomes.windows(2) {
            let freed = pair[0].completion();
            prop_assert_eq!(pair[1].start, freed.max(pair[1].request.arrival));
        }
    }
}
