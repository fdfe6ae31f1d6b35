//! A request on the server: from when it is taken up to when it is done or has to stop.

use std::time::Duration;

use crate::outcome::Outcome;
use crate::units::SimTime;

/// A request that was taken up, and how far it is.
///
/// It is served in legs. Each begins with work that nothing interrupts: until the first token in
/// the first leg, in others what it takes to go on. Then comes token after token, evenly spaced
/// over the length of decoding.
#[derive(Debug, Clone)]
pub struct Run {
    /// As it will have been if nothing more happens to it.
    pub outcome: Outcome,
    /// Number of the leg, from 0.
    pub leg: u32,
    /// When it began.
    began: SimTime,
    /// What it begins with.
    lead: Duration,
    /// Tokens after the first that were out before it.
    out: u32,
    /// Of the token at which it is to stop.
    stop: Option<u32>,
}

impl Run {
    /// A request taken up for the first time.
    pub fn new(outcome: &Outcome) -> Self {
        let lead = outcome.execution.until_first_token();
        Self { began: outcome.start, lead, outcome: *outcome, leg: 0, out: 0, stop: None }
    }

    /// When token `nth` after the first is out, from the start of decoding; the last at its end.
    fn token(&self, nth: u32) -> Duration {
        let (decode, gaps) = (self.outcome.execution.decode.as_nanos(), self.gaps());
        if gaps == 0 {
            return self.outcome.execution.decode;
        }
        Duration::from_nanos((decode * u128::from(nth) / u128::from(gaps)) as u64)
    }

    fn gaps(&self) -> u32 {
        self.outcome.request.output_tokens.saturating_sub(1)
    }

    /// How long this leg is if it is the last.
    pub fn left(&self) -> Duration {
        self.lead + self.outcome.execution.decode.saturating_sub(self.token_before())
    }

    fn token_before(&self) -> Duration {
        if self.out == 0 { Duration::ZERO } else { self.token(self.out) }
    }

    /// When it stops if it is told to at `now`; `None` if that is with its last token.
    pub fn stop_at(&mut self, now: SimTime) -> Option<SimTime> {
        let worked = now - self.began;
        let decoded = worked.checked_sub(self.lead).map(|more| more + self.token_before());
        let next = decoded.map_or(self.out, |decoded| self.first_token_from(decoded));
        if next >= self.gaps() {
            return None;
        }
        let before = self.token_before();
        let more =
            if next == self.out { Duration::ZERO } else { self.token(next).saturating_sub(before) };
        if self.lead + more == self.left() {
            return None;
        }
        self.stop = Some(next);
        Some(self.began + self.lead + more)
    }

    /// The first token that is out once `decoded` was spent on decoding, or later.
    fn first_token_from(&self, decoded: Duration) -> u32 {
        let (whole, gaps) = (self.outcome.execution.decode.as_nanos(), u128::from(self.gaps()));
        if whole == 0 {
            return self.gaps();
        }
        // Tokens are at instants rounded down, so that one may be out sooner than its share says.
        let mut nth = (decoded.as_nanos() * gaps / whole) as u32;
        while self.token(nth) < decoded {
            nth += 1;
        }
        nth
    }

    /// It stops at `now`, as it was told.
    ///
    /// Returns the tokens that its KV cache has: what it has read, and what it has written.
    pub fn stop(&mut self, now: SimTime) -> u64 {
        self.out = self.stop.take().expect("who stops was told to");
        self.leg += 1;
        self.began = now;
        let written = u64::from(self.out) + 1;
        u64::from(self.outcome.execution.kept_tokens) + written
    }

    /// It goes on at `now`, after `again` of work.
    pub fn resume(&mut self, now: SimTime, again: Duration) {
        let interruptions = &mut self.outcome.interruptions;
        interruptions.times += 1;
        interruptions.paused += now - self.began;
        interruptions.again += again;
        (self.began, self.lead) = (now, again);
    }

    /// What reading its prompt and what it has written takes, at the pace at which its prompt was
    /// read.
    pub fn reading_again(&self) -> Duration {
        let read = u64::from(self.outcome.execution.kept_tokens).max(1);
        let all = u128::from(read) + u128::from(self.out) + 1;
        let nanos = self.outcome.execution.prefill.as_nanos() * all / u128::from(read);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long the server has worked for it when it has just stopped.
    pub fn worked(&self) -> Duration {
        let first = self.outcome.execution.until_first_token();
        first + self.token_before() + self.outcome.interruptions.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Execution, Interruptions};
    use crate::plan::Plan;
    use crate::request::{AppId, Bounds, DatasetId, Request, Slo, Terms};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> SimTime {
        SimTime::ZERO + ms(millis)
    }

    /// Taken up at 100 ms, first token at 130 ms, three more at 140, 150 and 160 ms.
    fn run() -> Run {
        let (ttft, tpot) = (ms(50), ms(10));
        let request = Request {
            id: 0,
            arrival: at(90),
            app: AppId(0),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 60,
            output_tokens: 4,
            slo: Slo::Absolute { ttft, tpot },
            terms: Terms::default(),
        };
        Run::new(&Outcome {
            request,
            bounds: Bounds::Latency { ttft, tpot },
            plan: Plan::FULL,
            start: at(100),
            execution: Execution {
                switch: ms(6),
                prefill: ms(24),
                decode: ms(30),
                kept_tokens: 48,
                ..Execution::default()
            },
            interruptions: Interruptions::default(),
        })
    }

    #[test]
    fn it_stops_at_the_next_token_and_not_within_its_prompt() {
        let stop = |millis| run().stop_at(at(millis));
        assert_eq!(run().left(), ms(60));
        assert_eq!([100, 129, 130].map(stop), [Some(at(130)); 3]);
        assert_eq!([131, 140, 141, 150].map(stop), [140, 140, 150, 150].map(|it| Some(at(it))));
        assert_eq!([151, 160].map(stop), [None; 2], "that is its last token");
    }

    /// Told to stop at 133 ms, it does at 140 ms with two tokens out: 48 + 2 in its KV cache. It
    /// goes on at 200 ms after 25 ms (24 ms · 50/48) of reading: tokens at 225 (nothing new), 235
    /// and 245 ms. Told again at 210 ms, it stops at 225 ms and goes on at 300 ms at once: done at
    /// 320 ms.
    #[test]
    fn what_interrupts_is_between_tokens_and_what_is_done_again_is_work() {
        let mut run = run();
        assert_eq!(run.stop_at(at(133)), Some(at(140)));
        assert_eq!((run.stop(at(140)), run.worked()), (50, ms(40)));
        assert_eq!(run.reading_again(), ms(25));
        run.resume(at(200), ms(25));
        assert_eq!(run.left(), ms(45));
        assert_eq!(run.clone().stop_at(at(226)), Some(at(235)));
        assert_eq!(run.stop_at(at(210)), Some(at(225)));
        assert_eq!((run.stop(at(225)), run.worked()), (50, ms(65)));
        run.resume(at(300), Duration::ZERO);
        assert_eq!((run.left(), run.leg), (ms(20), 2));
        let outcome = run.outcome;
        assert_eq!(outcome.completion(), at(320));
        assert_eq!((outcome.ttft(), outcome.worked()), (ms(40), ms(85)));
        assert_eq!(outcome.tpot(), Some(ms(190) / 3));
        let expected = Interruptions { times: 2, paused: ms(135), again: ms(25) };
        assert_eq!(outcome.interruptions, expected);
    }
}
