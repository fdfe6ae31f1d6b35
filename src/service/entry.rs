//! A call in the service: what is known of it, when its tokens were out, what is told.

use std::sync::Arc;
use std::time::Duration;

use super::backend::{Asked, Written};
use super::call::Call;
use super::event::{Done, Event, FinishReason, Left, PlanReport, Token, Weighed};
use super::mailbox::{Full, Mailbox};
use super::stop::StopTexts;
use crate::request::{AppId, Bounds, Slo};
use crate::schedule::Ticket;
use crate::units::SimTime;

/// A call in the service.
#[derive(Debug)]
pub(super) struct Entry {
    pub ticket: Ticket,
    pub call: Arc<Call>,
    pub app: AppId,
    pub slo: Slo,
    pub priority: u8,
    pub arrival: SimTime,
    /// Unknown while the model loads.
    pub asked: Option<Asked>,
    pub mailbox: Arc<Mailbox>,
    /// Why it leaves, where the service has a reason of its own.
    pub why: Option<Left>,
    pub plan: Option<PlanReport>,
    pub started: Option<SimTime>,
    /// Since when it waits between two tokens.
    pub paused_at: Option<SimTime>,
    pub output_tokens: u32,
    tokens: TokenTimes,
    paused: Duration,
    stops: StopTexts,
    /// All that was told, where a later call may take it over.
    told: Option<Vec<Event>>,
}

/// When tokens were out.
#[derive(Debug, Default)]
struct TokenTimes {
    first: Option<SimTime>,
    last: Option<SimTime>,
    gaps: Vec<Duration>,
}

/// What is known of a call when it arrives.
#[derive(Debug)]
pub(super) struct Arrival {
    pub call: Arc<Call>,
    pub app: AppId,
    pub slo: Slo,
    pub priority: u8,
    pub supersedes: bool,
    pub timeout: Option<Duration>,
    pub asked: Option<Asked>,
}

impl Entry {
    pub fn new(now: SimTime, ticket: Ticket, arrival: Arrival, events_max: usize) -> Self {
        let Arrival { call, app, slo, priority, asked, .. } = arrival;
        let stops = StopTexts::new(&call.stop);
        let told = call.idempotency_key.is_some().then(Vec::new);
        let mailbox = Mailbox::new(Vec::new(), events_max);
        Self {
            ticket,
            call,
            app,
            slo,
            priority,
            arrival: now,
            asked,
            mailbox,
            why: None,
            plan: None,
            started: None,
            paused_at: None,
            output_tokens: 0,
            tokens: TokenTimes::default(),
            paused: Duration::ZERO,
            stops,
            told,
        }
    }

    /// Tells whoever called.
    pub fn tell(&mut self, event: Event) -> Result<(), Full> {
        if let Some(told) = &mut self.told {
            told.push(event.clone());
        }
        self.mailbox.put(event)
    }

    /// All that was told, taken out; `None` without an idempotency key.
    pub fn take_told(&mut self) -> Option<Vec<Event>> {
        self.told.take()
    }

    /// Gives the answer to a newer call: its mailbox, with all that was told so far.
    pub fn hand_over(&mut self, events_max: usize) -> Arc<Mailbox> {
        let told = self.told.clone().unwrap_or_default();
        let newer = Mailbox::new(told, events_max);
        let older = std::mem::replace(&mut self.mailbox, Arc::clone(&newer));
        let _ = older.put(Event::Left(Left::TakenOver));
        newer
    }

    /// It goes on after it waited between two tokens.
    pub fn resumes(&mut self, now: SimTime) {
        if let Some(since) = self.paused_at.take() {
            self.paused += now - since;
        }
    }

    /// A token is out: what is to be told of it, and why it is the last, if so.
    pub fn token(&mut self, now: SimTime, written: Written) -> (Token, Option<FinishReason>) {
        self.output_tokens += 1;
        self.tokens.out(now);
        let text = self.stops.push(&written.text);
        let Written { id, logprob, top, ends, .. } = written;
        let stopped = self.stops.is_stopped().then_some(FinishReason::Stop);
        let long = self.output_tokens >= self.call.max_tokens;
        let finish = stopped.or(ends).or(long.then_some(FinishReason::Length));
        (Token { id, text, logprob, top }, finish)
    }

    /// The options were weighed.
    pub fn weighed(&mut self, now: SimTime) {
        self.output_tokens = 1;
        self.tokens.out(now);
    }

    /// The answer is at its end.
    ///
    /// # Panics
    /// If it was not planned, or has no token.
    pub fn done(&mut self, finish: FinishReason, options: Vec<Weighed>) -> Done {
        let plan = self.plan.clone().expect("what is finished was planned");
        let (first, last) = self.tokens.ends().expect("what is finished has a token");
        let gaps = self.output_tokens - 1;
        let (ttft, tpot) = (first - self.arrival, (last - first).checked_div(gaps));
        Done {
            met: met(plan.bounds, ttft, tpot, last - self.arrival),
            plan,
            finish,
            rest: self.stops.rest(),
            output_tokens: self.output_tokens,
            ttft,
            tpot,
            gap_p99: self.tokens.gap_p99(),
            paused: self.paused,
            options,
        }
    }
}

/// Whether an answer kept its bounds; `None` for energy, which nobody measures.
fn met(bounds: Bounds, ttft: Duration, tpot: Option<Duration>, whole: Duration) -> Option<bool> {
    match bounds {
        Bounds::Latency { ttft: first, tpot: each } => {
            Some(ttft <= first && tpot.is_none_or(|tpot| tpot <= each))
        }
        Bounds::EndToEnd(bound) => Some(whole <= bound),
        Bounds::Energy(_) => None,
    }
}

impl TokenTimes {
    fn out(&mut self, now: SimTime) {
        match self.last.replace(now) {
            None => self.first = Some(now),
            Some(before) => self.gaps.push(now - before),
        }
    }

    fn ends(&self) -> Option<(SimTime, SimTime)> {
        Some((self.first?, self.last?))
    }

    /// The gap that 99 of 100 do not exceed, by nearest rank.
    fn gap_p99(&mut self) -> Option<Duration> {
        self.gaps.sort_unstable();
        let rank = (self.gaps.len() * 99).div_ceil(100);
        self.gaps.get(rank.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 150 gaps of 10 ms and two of 2 s: the mean is 36 ms, rank 151 of 152 is a stall.
    #[test]
    fn a_stall_is_in_the_gaps_though_the_mean_hides_it() {
        let mut times = TokenTimes::default();
        let mut now = SimTime::ZERO;
        times.out(now);
        for gap in 0..152 {
            now = now + if gap == 50 || gap == 100 { ms(2000) } else { ms(10) };
            times.out(now);
        }
        assert_eq!(times.gap_p99(), Some(ms(2000)));
        assert_eq!(times.ends(), Some((SimTime::ZERO, SimTime::ZERO + ms(5500))));
        assert_eq!(TokenTimes::default().gap_p99(), None);
    }

    #[test]
    fn bounds_are_met_to_the_nanosecond_and_energy_is_not_judged() {
        let pair = Bounds::Latency { ttft: ms(5), tpot: ms(2) };
        let judged = [(5, Some(2)), (6, Some(2)), (5, Some(3)), (5, None)];
        let met = judged.map(|(ttft, tpot)| met(pair, ms(ttft), tpot.map(ms), ms(9)));
        assert_eq!(met, [Some(true), Some(false), Some(false), Some(true)]);
        assert_eq!(super::met(Bounds::EndToEnd(ms(9)), ms(5), None, ms(9)), Some(true));
        let energy = Bounds::Energy(crate::units::Energy::MOST);
        assert_eq!(super::met(energy, ms(5), None, ms(9)), None);
    }
}
