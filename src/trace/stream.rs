//! A synthesised trace that is drawn as it is replayed, so that memory does not grow with it.
//!
//! It has the law of [`synthesize`](super::synthesize): as many requests of each app, in an order
//! that is as likely as any other, with the same arrivals. The order itself is another, drawn from
//! a random stream of its own: each call is of an app with the probability that its requests are of
//! all that are left, which is a shuffle that holds no cards.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::arrivals::Clock;
use super::kinds::Kinds;
use super::synth::{ItemPool, SynthSpec, check, pools_of};
use crate::error::{Error, Result};
use crate::limits::STREAMED_REQUESTS;
use crate::request::Request;
use crate::rng::stream;
use crate::units::SimTime;

/// Requests as they are drawn: each an arrival and a kind.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct CallStream {
    /// By app: requests that are left, and the kinds of each pool that it draws from.
    apps: Vec<(u32, Vec<Vec<u32>>)>,
    left: u32,
    clock: Clock,
    order: ChaCha8Rng,
    arrivals: ChaCha8Rng,
    items: ChaCha8Rng,
    ended: Option<Error>,
}

impl CallStream {
    /// The stream of `spec`, with items drawn from `pools`, and the kinds of its requests.
    ///
    /// # Errors
    /// If `spec` is out of range, or an app's dataset has no items.
    ///
    /// # Panics
    /// If there are more than 65536 apps or pools.
    pub fn new(spec: &SynthSpec, pools: &[ItemPool]) -> Result<(Kinds, Self)> {
        check(spec, STREAMED_REQUESTS)?;
        let mut kinds = Kinds::default();
        let counts = spec.apps.counts(spec.level_order, spec.requests, spec.alpha);
        let mut apps = Vec::new();
        for (app, count) in spec.apps.all().iter().zip(counts) {
            let slo = spec.objective.of(app)?;
            let caller = kinds.names().app_id(&app.name).expect("apps are few");
            let mut of_pools = Vec::new();
            for pool in pools_of(app, pools)? {
                let dataset = kinds.names().dataset_id(&pool.dataset).expect("pools are few");
                let number = |drawn: &super::PooledItem| {
                    kinds.number_of(Request {
                        id: 0,
                        arrival: SimTime::ZERO,
                        app: caller,
                        dataset,
                        item: drawn.item,
                        prompt_tokens: drawn.prompt_tokens,
                        output_tokens: app.output_tokens.unwrap_or(spec.output_tokens),
                        slo,
                        terms: app.terms(),
                    })
                };
                of_pools.push(pool.items.iter().map(number).collect());
            }
            apps.push((count, of_pools));
        }
        let stream = Self {
            apps,
            left: spec.requests,
            clock: spec.arrivals.clock(spec.arrivals_per_hour)?,
            order: stream(spec.seed, "trace/order"),
            arrivals: stream(spec.seed, "trace/arrivals"),
            items: stream(spec.seed, "trace/items"),
            ended: None,
        };
        Ok((kinds, stream))
    }

    /// Says why it ended, if not all that was asked for has come.
    ///
    /// # Errors
    /// If an arrival is later than a hundred years.
    pub fn finish(self) -> Result<()> {
        self.ended.map_or(Ok(()), Err)
    }
}

impl Iterator for CallStream {
    type Item = (SimTime, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let arrival = match self.clock.next(&mut self.arrivals) {
            Ok(arrival) => arrival,
            Err(error) => {
                (self.left, self.ended) = (0, Some(error));
                return None;
            }
        };
        let mut drawn = self.order.random_range(0..self.left);
        self.left -= 1;
        let app = self.apps.iter_mut().find(|(left, _)| {
            let is_of = drawn < *left;
            drawn = if is_of { drawn } else { drawn - left };
            is_of
        });
        let (left, pools) = app.expect("what is left is of some app");
        *left -= 1;
        let pool = &pools[self.items.random_range(0..pools.len())];
        Some((arrival, pool[self.items.random_range(0..pool.len())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{PooledItem, synthesize};

    fn pools() -> Vec<ItemPool> {
        let item = |item: u32| PooledItem { item: item.into(), prompt_tokens: 100 + item };
        let pool = |dataset: &str| ItemPool {
            dataset: dataset.to_owned(),
            items: (0..20).map(item).collect(),
        };
        ["arc-easy", "openbookqa", "piqa", "sciq"].map(pool).into()
    }

    /// 600 requests under a skew, of which the apps' numbers are those of the trace.
    #[test]
    fn a_stream_has_the_arrivals_and_the_apps_of_the_trace_and_every_call_comes() {
        let spec = SynthSpec { alpha: 0.25, ..SynthSpec::default() };
        let trace = synthesize(&spec, &pools()).unwrap();
        let (kinds, mut stream) = CallStream::new(&spec, &pools()).unwrap();
        let calls: Vec<_> = stream.by_ref().collect();
        stream.finish().unwrap();
        let arrivals = |trace: &crate::trace::Trace| -> Vec<SimTime> {
            trace.requests.iter().map(|request| request.arrival).collect()
        };
        assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), arrivals(&trace));
        let all = kinds.as_trace();
        let counts = |names: Vec<&str>| {
            let mut counts = std::collections::BTreeMap::new();
            for name in names {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
            }
            counts
        };
        let streamed = calls.iter().map(|call| all.app(all.requests[call.1 as usize].app));
        let of_trace = trace.requests.iter().map(|request| trace.app(request.app));
        assert_eq!(counts(streamed.collect()), counts(of_trace.collect()));
        // XiaoAi is an app of one pool, whose items are drawn evenly: 49 calls.
        let asked = |request: &&Request| all.app(request.app) == "XiaoAi";
        assert_eq!(all.requests.iter().filter(asked).count(), 20);
    }

    #[test]
    fn a_stream_that_ends_early_says_why() {
        let spec =
            SynthSpec { requests: 2_000_000_000, arrivals_per_hour: 1e-3, ..SynthSpec::default() };
        let (_, mut stream) = CallStream::new(&spec, &pools()).unwrap();
        let came = stream.by_ref().count();
        assert!((100..2000).contains(&came), "{came}");
        let error = stream.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "trace synth, arrivals_per_hour: arrivals reach beyond a hundred years; found 0.001"
        );
    }
}
