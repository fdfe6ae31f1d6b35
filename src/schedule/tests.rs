//! Decisions worked out by hand, then what holds for every day.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::testing::any_options;
use super::*;
use crate::request::AppId;
use crate::units::SimTime;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> SimTime {
    SimTime::ZERO + ms(millis)
}

fn plain(id: u64) -> Job {
    Job::plain(id, AppId(0))
}

fn of_class(id: u64, priority: u8) -> Job {
    Job { priority, ..plain(id) }
}

fn classes() -> ServiceOptions {
    ServiceOptions { discipline: Discipline::Priority, ..ServiceOptions::default() }
}

/// What is decided at an instant, in words that are short.
fn decided(scheduler: &mut Scheduler, millis: u64) -> Vec<String> {
    let said = std::iter::from_fn(|| scheduler.decide(at(millis)));
    said.map(|decision| match decision {
        Decision::Start(ticket) => format!("start {}", ticket.id),
        Decision::Resume { ticket, read_again: false } => format!("resume {}", ticket.id),
        Decision::Resume { ticket, read_again: true } => format!("read again {}", ticket.id),
        Decision::Stop(ticket) => format!("stop {}", ticket.id),
        Decision::Leave(ticket, reason) => format!("{} {}", reason.name(), ticket.id),
    })
    .collect()
}

/// A service that started job 0, of class 0, at 0.
fn busy(options: ServiceOptions) -> (Scheduler, Ticket) {
    let mut scheduler = Scheduler::new(options);
    let ticket = scheduler.arrive(at(0), plain(0));
    assert_eq!(decided(&mut scheduler, 0), ["start 0"]);
    (scheduler, ticket)
}

/// The ids in which those are served that `arrive` while job 0 runs, which is until `free`.
fn served(options: ServiceOptions, arrive: &[(u64, Job)], free: u64) -> Vec<u64> {
    let (mut scheduler, mut running) = busy(options);
    for &(millis, job) in arrive {
        scheduler.arrive(at(millis), job);
        assert_eq!(decided(&mut scheduler, millis), [""; 0]);
    }
    let mut served = Vec::new();
    loop {
        scheduler.finished(at(free), running);
        match scheduler.decide(at(free)) {
            Some(Decision::Start(ticket)) => running = ticket,
            None => return served,
            other => panic!("{other:?}"),
        }
        served.push(running.id);
    }
}

#[test]
fn the_highest_class_is_served_first_and_of_one_class_the_first_in() {
    let arrive =
        [(1, of_class(1, 0)), (2, of_class(2, 3)), (3, of_class(3, 1)), (4, of_class(4, 3))];
    assert_eq!(served(classes(), &arrive, 9), [2, 4, 3, 1]);
    let fifo = ServiceOptions::default();
    assert_eq!(served(fifo, &arrive, 9), [1, 2, 3, 4]);
}

/// Deadlines of class 1: 30, 20, and 5, which has passed at 9.
#[test]
fn within_a_class_the_earliest_deadline_is_first_and_a_passed_one_last() {
    let due = |id, millis, priority| Job { due: at(millis), ..of_class(id, priority) };
    let arrive = [(1, due(1, 10, 0)), (1, due(2, 5, 1)), (1, due(3, 30, 1)), (1, due(4, 20, 1))];
    let options = ServiceOptions { discipline: Discipline::PriorityEdf, ..classes() };
    assert_eq!(served(options, &arrive, 9), [4, 3, 2, 1]);
}

/// Job 1, of class 0, arrives at 1 and is of class 1 from 11 on, of class 2 from 21 on.
#[test]
fn one_that_waits_long_enough_goes_before_a_higher_class_that_comes_later() {
    let ageing = |ageing_ms| ServiceOptions { ageing_ms, ..classes() };
    let arrive = [(1, of_class(1, 0)), (2, of_class(2, 1)), (12, of_class(3, 1))];
    assert_eq!(served(ageing(10), &arrive, 11 + 2), [2, 1, 3], "2 is of class 2 since 12");
    assert_eq!(served(ageing(10), &arrive[1..], 13), [2, 3]);
    assert_eq!(served(ageing(100), &arrive, 13), [2, 3, 1]);
    let late = [(1, of_class(1, 0)), (12, of_class(3, 1))];
    assert_eq!(served(ageing(10), &late, 13), [1, 3]);
    assert_eq!(served(ageing(12), &late, 12), [3, 1], "at 13 it would be of class 1");
}

fn preempting(paused_tokens: Option<u64>) -> ServiceOptions {
    ServiceOptions { preempt: Preempt::Token, paused_tokens, ..classes() }
}

#[test]
fn a_higher_class_interrupts_at_the_next_token_and_the_place_is_kept() {
    let (mut scheduler, zero) = busy(preempting(None));
    scheduler.arrive(at(1), of_class(1, 0));
    assert_eq!(decided(&mut scheduler, 1), [""; 0], "an equal does not interrupt");
    let two = scheduler.arrive(at(2), of_class(2, 1));
    assert_eq!(decided(&mut scheduler, 2), ["stop 0"]);
    scheduler.arrive(at(3), of_class(3, 2));
    assert_eq!(decided(&mut scheduler, 3), [""; 0], "it is told already");
    scheduler.stopped(at(4), zero, 50);
    assert_eq!((scheduler.waiting(), decided(&mut scheduler, 4)), (4, vec!["start 3".into()]));
    let three = Ticket { nth: 3, slot: 3, id: 3 };
    scheduler.finished(at(5), three);
    assert_eq!(decided(&mut scheduler, 5), ["start 2"]);
    scheduler.finished(at(6), two);
    assert_eq!(decided(&mut scheduler, 6), ["resume 0"], "before 1, which came later");
}

#[test]
fn the_cache_of_who_waits_is_kept_as_far_as_the_budget_goes() {
    for (budget, again) in [(None, "resume 0"), (Some(50), "resume 0"), (Some(49), "read again 0")]
    {
        let (mut scheduler, zero) = busy(preempting(budget));
        let one = scheduler.arrive(at(1), of_class(1, 1));
        assert_eq!(decided(&mut scheduler, 1), ["stop 0"]);
        scheduler.stopped(at(2), zero, 50);
        assert_eq!(decided(&mut scheduler, 2), ["start 1"]);
        let two = scheduler.arrive(at(3), of_class(2, 2));
        assert_eq!(decided(&mut scheduler, 3), ["stop 1"]);
        scheduler.stopped(at(4), one, 1);
        assert_eq!(decided(&mut scheduler, 4), ["start 2"]);
        scheduler.finished(at(5), two);
        let kept = budget.is_none_or(|budget| budget == 49);
        let next = if kept { "resume 1" } else { "read again 1" };
        assert_eq!(decided(&mut scheduler, 5), [next]);
        scheduler.finished(at(6), one);
        assert_eq!(decided(&mut scheduler, 6), [again]);
    }
}

/// Job 1 is of class 1 from 11 on: it interrupts nobody of class 0, and nobody of class 1 it.
#[test]
fn ageing_protects_and_does_not_interrupt() {
    let options = ServiceOptions { ageing_ms: 10, ..preempting(None) };
    let (mut scheduler, zero) = busy(options);
    scheduler.arrive(at(1), of_class(1, 0));
    assert_eq!(decided(&mut scheduler, 15), [""; 0]);
    scheduler.finished(at(15), zero);
    assert_eq!(decided(&mut scheduler, 15), ["start 1"]);
    scheduler.arrive(at(16), of_class(2, 1));
    assert_eq!(decided(&mut scheduler, 16), [""; 0]);
    scheduler.arrive(at(17), of_class(3, 2));
    assert_eq!(decided(&mut scheduler, 17), ["stop 1"]);
}

/// Started at 5 and stopped at 6, it waits anew: of class 1 at 16, not at 10.
#[test]
fn what_was_waited_before_a_start_does_not_age_who_is_stopped() {
    let options = ServiceOptions { ageing_ms: 10, ..preempting(None) };
    let mut scheduler = Scheduler::new(options);
    let zero = scheduler.arrive(at(0), plain(0));
    assert_eq!(decided(&mut scheduler, 0), ["start 0"]);
    let one = scheduler.arrive(at(0), of_class(1, 0));
    scheduler.finished(at(5), zero);
    assert_eq!(decided(&mut scheduler, 5), ["start 1"]);
    let two = scheduler.arrive(at(6), of_class(2, 1));
    assert_eq!(decided(&mut scheduler, 6), ["stop 1"]);
    scheduler.stopped(at(6), one, 1);
    assert_eq!(decided(&mut scheduler, 6), ["start 2"]);
    scheduler.arrive(at(12), of_class(3, 1));
    scheduler.finished(at(12), two);
    assert_eq!(decided(&mut scheduler, 12), ["start 3"]);
}

#[test]
fn who_is_given_up_leaves_at_once_or_at_its_next_token() {
    let (mut scheduler, zero) = busy(ServiceOptions::default());
    let one = scheduler.arrive(at(1), plain(1));
    scheduler.cancel(at(2), one);
    scheduler.cancel(at(2), one);
    assert_eq!(decided(&mut scheduler, 2), ["gave-up 1"]);
    scheduler.cancel(at(3), zero);
    scheduler.cancel(at(3), zero);
    assert_eq!(decided(&mut scheduler, 3), ["stop 0"]);
    let two = scheduler.arrive(at(3), plain(2));
    assert_eq!(decided(&mut scheduler, 3), [""; 0], "the server is not free yet");
    scheduler.stopped(at(4), zero, 7);
    assert_eq!(decided(&mut scheduler, 4), ["gave-up 0", "start 2"]);
    scheduler.cancel(at(5), two);
    assert_eq!(decided(&mut scheduler, 5), ["stop 2"]);
    scheduler.finished(at(6), two);
    assert_eq!(decided(&mut scheduler, 6), [""; 0], "that was its last token: it is answered");
}

#[test]
fn one_that_makes_way_may_be_given_up_before_its_token_is_out() {
    let (mut scheduler, zero) = busy(preempting(None));
    scheduler.arrive(at(1), of_class(1, 1));
    assert_eq!(decided(&mut scheduler, 1), ["stop 0"]);
    scheduler.cancel(at(2), zero);
    assert_eq!(decided(&mut scheduler, 2), [""; 0]);
    scheduler.stopped(at(3), zero, 9);
    assert_eq!(decided(&mut scheduler, 3), ["gave-up 0", "start 1"]);
    assert_eq!(scheduler.waiting(), 0);
}

#[test]
fn a_time_out_wakes_the_driver_and_ends_who_waits_and_who_runs() {
    let options = ServiceOptions { timeout_ms: Some(10), ..ServiceOptions::default() };
    let (mut scheduler, zero) = busy(options);
    let one = scheduler.arrive(at(4), plain(1));
    assert_eq!(scheduler.wake(), Some(at(10)));
    assert_eq!(decided(&mut scheduler, 9), [""; 0]);
    assert_eq!(decided(&mut scheduler, 10), ["stop 0"]);
    scheduler.finished(at(10), zero);
    assert_eq!(decided(&mut scheduler, 10), ["start 1"]);
    assert_eq!(scheduler.wake(), Some(at(14)));
    scheduler.finished(at(11), one);
    assert_eq!(scheduler.wake(), None, "nobody is left who could time out");
    let (mut scheduler, _) = busy(options);
    scheduler.arrive(at(0), plain(1));
    assert_eq!(decided(&mut scheduler, 10), ["stop 0", "timed-out 1"]);
}

#[test]
fn the_newer_request_of_an_app_replaces_its_older_ones_and_no_others() {
    let (mut scheduler, _) = busy(ServiceOptions::default());
    scheduler.arrive(at(1), plain(1));
    scheduler.arrive(at(1), Job::plain(2, AppId(1)));
    scheduler.arrive(at(2), Job { supersedes: true, ..plain(3) });
    assert_eq!(decided(&mut scheduler, 2), ["stop 0", "superseded 1"]);
    assert_eq!(scheduler.waiting(), 2);
}

#[test]
fn a_full_service_refuses_or_sheds_the_last_of_the_lowest_class() {
    let full = ServiceOptions { queue_max: Some(2), ..classes() };
    let arrive = |when_full, coming: u8| {
        let (mut scheduler, _) = busy(ServiceOptions { when_full, ..full });
        for (id, class) in [(1, 1), (2, 1), (3, coming)] {
            scheduler.arrive(at(1), of_class(id, class));
        }
        decided(&mut scheduler, 1)
    };
    assert_eq!(arrive(WhenFull::Refuse, 2), ["queue-full 3"]);
    assert_eq!(arrive(WhenFull::ShedLowest, 2), ["shed 2"]);
    assert_eq!(arrive(WhenFull::ShedLowest, 1), ["queue-full 3"], "an equal sheds nobody");
}

#[test]
fn nobody_may_wait_where_no_place_is_and_an_idle_server_takes_one() {
    let options = ServiceOptions { queue_max: Some(0), ..ServiceOptions::default() };
    let mut scheduler = Scheduler::new(options);
    scheduler.arrive(at(0), plain(0));
    scheduler.arrive(at(0), plain(1));
    assert_eq!(decided(&mut scheduler, 0), ["queue-full 1", "start 0"]);
}

/// 3600 an hour are one a second; two may come at once. At 0 two are let in, which uses the time up
/// to 2 s: the next one may come at 1 s, when that is one ahead.
#[test]
fn an_app_is_held_to_its_rate_and_to_what_it_may_have_at_once() {
    let quota = Quota { at_once: None, per_hour: Some(3600), burst: 2 };
    let mut scheduler =
        Scheduler::new(ServiceOptions { quota: Some(quota), ..ServiceOptions::default() });
    for (millis, id) in [(0, 0), (0, 1), (0, 2), (999, 3), (1000, 4), (1000, 5)] {
        scheduler.arrive(at(millis), plain(id));
    }
    scheduler.arrive(at(1000), Job::plain(6, AppId(1)));
    let said = decided(&mut scheduler, 1000);
    assert_eq!(said, ["app-rate 2", "app-rate 3", "app-rate 5", "start 0"]);
    let quota = Quota { at_once: Some(1), per_hour: None, burst: 1 };
    let (mut scheduler, zero) =
        busy(ServiceOptions { quota: Some(quota), ..ServiceOptions::default() });
    scheduler.arrive(at(1), plain(1));
    scheduler.arrive(at(1), Job::plain(2, AppId(1)));
    assert_eq!(decided(&mut scheduler, 1), ["app-at-once 1"]);
    scheduler.finished(at(2), zero);
    scheduler.arrive(at(2), plain(3));
    assert_eq!(decided(&mut scheduler, 2), ["start 2"]);
}

/// Job 0 is done at 100, and 1, behind it, takes 30 at least.
#[test]
fn what_no_plan_can_meet_behind_the_others_is_refused() {
    let needs = |id, due, until_due: Option<u64>| Job {
        due: at(due),
        needs: Needs { until_due: until_due.map(ms), whole: ms(30) },
        ..plain(id)
    };
    let arrive = |discipline, job| {
        let options = ServiceOptions { admit: Admit::IfFeasible, discipline, ..classes() };
        let (mut scheduler, zero) = busy(options);
        scheduler.expect_until(zero, at(100));
        scheduler.arrive(at(1), needs(1, 500, Some(20)));
        assert_eq!(decided(&mut scheduler, 1), [""; 0]);
        scheduler.arrive(at(2), job);
        decided(&mut scheduler, 2).is_empty()
    };
    for (due, fits) in [(149, false), (150, true)] {
        assert_eq!(arrive(Discipline::Fifo, needs(2, due, Some(20))), fits, "{due}");
    }
    for (due, fits) in [(119, false), (120, true)] {
        assert_eq!(arrive(Discipline::Edf, needs(2, due, Some(20))), fits, "{due}");
        let first = Job { priority: 1, ..needs(2, due, Some(20)) };
        assert_eq!(arrive(Discipline::Priority, first), fits, "{due}");
    }
    assert!(!arrive(Discipline::Fifo, needs(2, 9999, None)), "no plan meets the rest of it");
    assert!(arrive(Discipline::Fifo, plain(2)), "what is never due is always met");
}

#[test]
fn options_are_a_table_of_two_keys_where_nothing_is_asked_for() {
    let text = toml::to_string(&ServiceOptions::default()).unwrap();
    assert_eq!(text, "discipline = \"fifo\"\nideal_isolation = false\n");
    let text = r#"
        discipline = "priority-edf"
        ageing_ms = 5000
        preempt = "token"
        paused_tokens = 4096
        timeout_ms = 20000
        queue_max = 8
        when_full = "shed-lowest"
        admit = "if-feasible"
        quota = { per_hour = 60, burst = 5, at_once = 2 }
    "#;
    let options: ServiceOptions = toml::from_str(text).unwrap();
    options.check("a.toml").unwrap();
    assert_eq!(
        toml::from_str::<ServiceOptions>(&toml::to_string(&options).unwrap()).unwrap(),
        options
    );
    assert!(options.is_managed() && !options.serves_all_in_turn());
    assert!(!ServiceOptions { closed_loop: true, ..ServiceOptions::default() }.is_managed());
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let message = |text: &str| {
        let options: ServiceOptions = toml::from_str(text).unwrap();
        options.check("a.toml").unwrap_err().to_string()
    };
    let messages = [
        message("preempt = \"token\""),
        message("discipline = \"priority\"\npaused_tokens = 9"),
        message("when_full = \"shed-lowest\""),
        message("ideal_isolation = true\nqueue_max = 3"),
        message("ageing_ms = 0"),
        message("timeout_ms = 0"),
        message("quota = {}"),
        message("quota = { per_hour = 0 }"),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    a.toml, key "service.preempt": keys contradict each other; found "token" and no classes; allowed: discipline = "priority" or "priority-edf"
    a.toml, key "service.paused_tokens": keys contradict each other; found preempt = "none"; allowed: preempt = "token"
    a.toml, key "service.when_full": keys contradict each other; found "shed-lowest" and no bound; allowed: queue_max
    a.toml, key "service.ideal_isolation": keys contradict each other; found true, where nobody waits; allowed: false, or none of preempt, queue_max, admit
    a.toml, key "service.ageing_ms": out of range; found 0; allowed: 1 to 3153600000000
    a.toml, key "service.timeout_ms": out of range; found 0; allowed: 1 to 3153600000000
    a.toml, key "service.quota": says nothing; allowed: at_once, per_hour, or both
    a.toml, key "service.quota.per_hour": out of range; found 0; allowed: 1 to 1000000000
    "#);
}

/// What may happen next: arrivals of some app, class, deadline; tokens; cancellations; time.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Arrives { app: u16, priority: u8, due: u64, supersedes: bool },
    Token { last: bool },
    Cancels { nth: usize },
    Passes { millis: u64 },
}

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let arrives = (0..3_u16, 0..3_u8, 0..40_u64, prop::bool::weighted(0.2)).prop_map(
        |(app, priority, due, supersedes)| Happens::Arrives { app, priority, due, supersedes },
    );
    let happens = prop_oneof![
        3 => arrives,
        3 => any::<bool>().prop_map(|last| Happens::Token { last }),
        1 => (0..20_usize).prop_map(|nth| Happens::Cancels { nth }),
        2 => (0..9_u64).prop_map(|millis| Happens::Passes { millis }),
    ];
    prop::collection::vec(happens, 0..120)
}

/// A driver that does what it is told, and holds the scheduler to what it promises.
#[derive(Debug)]
struct Obedient {
    scheduler: Scheduler,
    now: u64,
    tickets: Vec<Ticket>,
    server: Option<Ticket>,
    is_told: bool,
    /// By id: those that are answered or left.
    gone: BTreeSet<u64>,
}

impl Obedient {
    fn new(options: ServiceOptions) -> Self {
        let scheduler = Scheduler::new(options);
        let (tickets, gone) = (Vec::new(), BTreeSet::new());
        Self { scheduler, now: 0, tickets, server: None, is_told: false, gone }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Passes { millis } => self.pass(self.now + millis),
            Happens::Token { last } => self.token(last),
            Happens::Cancels { nth } => {
                if let Some(&ticket) = self.tickets.get(nth) {
                    self.scheduler.cancel(at(self.now), ticket);
                }
            }
            Happens::Arrives { app, priority, due, supersedes } => {
                let id = self.tickets.len() as u64;
                let needs = Needs { until_due: Some(ms(3)), whole: ms(5) };
                let due = at(self.now + due);
                let job = Job { id, app: AppId(app), priority, due, supersedes, needs };
                self.tickets.push(self.scheduler.arrive(at(self.now), job));
            }
        }
        self.obey();
    }

    fn pass(&mut self, until: u64) {
        while let Some(wake) = self.scheduler.wake().filter(|&wake| wake <= at(until)) {
            self.now = self.now.max(wake.as_nanos() / 1_000_000);
            self.obey();
        }
        self.now = until;
    }

    fn token(&mut self, last: bool) {
        let Some(ticket) = self.server.filter(|_| last || self.is_told) else { return };
        (self.server, self.is_told) = (None, false);
        if last {
            assert!(self.gone.insert(ticket.id), "answered once");
            self.scheduler.finished(at(self.now), ticket);
        } else {
            self.scheduler.stopped(at(self.now), ticket, 20);
        }
    }

    fn obey(&mut self) {
        while let Some(decision) = self.scheduler.decide(at(self.now)) {
            match decision {
                Decision::Start(ticket) | Decision::Resume { ticket, .. } => {
                    assert_eq!(self.server.replace(ticket), None, "one at a time");
                    assert!(!self.gone.contains(&ticket.id));
                }
                Decision::Stop(ticket) => {
                    assert_eq!(self.server, Some(ticket), "who runs is told to stop");
                    assert!(!std::mem::replace(&mut self.is_told, true), "told once");
                }
                Decision::Leave(ticket, _) => {
                    assert_ne!(self.server, Some(ticket), "who runs stops first");
                    assert!(self.gone.insert(ticket.id), "gone once");
                }
            }
        }
        let waiting = self.tickets.len() - self.gone.len() - usize::from(self.server.is_some());
        assert_eq!(self.scheduler.waiting(), waiting);
        assert!(self.server.is_some() || waiting == 0, "a server idles only if nobody waits");
    }
}

proptest! {
    #[test]
    fn everyone_is_answered_or_leaves_once_and_the_server_never_idles_in_vain(
        options in any_options(),
        happenings in happenings(),
    ) {
        let mut driver = Obedient::new(options);
        for happens in happenings {
            driver.happens(happens);
        }
        while driver.server.is_some() {
            driver.happens(Happens::Token { last: true });
        }
        prop_assert_eq!(driver.gone.len(), driver.tickets.len());
        prop_assert_eq!(driver.scheduler.waiting(), 0);
    }
}
