//! A trace as columns: arrivals, and the kind of each request.
//!
//! A kind is all that repeats of a request: app, dataset, item, lengths, objective and terms.
//! Traces of one experiment ask the same few thousand things again and again, so kinds are numbered
//! once for all of them, and a request is an instant and a number.

#[expect(clippy::disallowed_types, reason = "looked up, never listed")]
use std::collections::HashMap;

use super::Trace;
use crate::item::ItemId;
use crate::request::{AppId, DatasetId, Request, Slo, Terms};
use crate::units::SimTime;

/// Kinds of requests, numbered from 0 in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// A trace in which each kind calls once, at 0; its id is its number.
    all: Trace,
    #[expect(clippy::disallowed_types, reason = "looked up, never listed")]
    numbers: HashMap<Kind, u32>,
}

/// A trace's requests, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// When each arrives.
    arrivals: Vec<SimTime>,
    /// What it asks for: a number of some [`Kinds`]. As many as there are arrivals.
    kinds: Vec<u32>,
    /// What the trace calls it, if that is not its place.
    ids: Option<Vec<u64>>,
    /// Whether some request asks more of the service than an objective.
    has_terms: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    app: AppId,
    dataset: DatasetId,
    item: ItemId,
    prompt_tokens: u32,
    output_tokens: u32,
    slo: Slo,
    terms: Terms,
}

impl Kinds {
    /// A trace in which each kind calls once, at 0, in order of their numbers, which are the ids.
    #[must_use]
    pub fn as_trace(&self) -> &Trace {
        &self.all
    }

    /// The names of apps and datasets, to be numbered.
    pub(super) fn names(&mut self) -> &mut Trace {
        &mut self.all
    }

    /// The columns of `trace`, whose kinds are numbered if they are new.
    ///
    /// # Panics
    /// If there are more than 2³² kinds, or the traces have more than 65536 apps or datasets.
    pub fn number(&mut self, trace: &Trace) -> Columns {
        let apps: Vec<AppId> = trace
            .apps
            .iter()
            .map(|name| self.all.app_id(name).expect("traces have few apps"))
            .collect();
        let datasets: Vec<DatasetId> = trace
            .datasets
            .iter()
            .map(|name| self.all.dataset_id(name).expect("traces have few datasets"))
            .collect();
        let of = |request: &Request| Request {
            app: apps[usize::from(request.app.0)],
            dataset: datasets[usize::from(request.dataset.0)],
            ..*request
        };
        let ids = || trace.requests.iter().map(|request| request.id);
        Columns {
            arrivals: arrivals(trace),
            kinds: trace.requests.iter().map(|request| self.number_of(of(request))).collect(),
            ids: (!ids().eq(0..trace.requests.len() as u64)).then(|| ids().collect()),
            has_terms: trace.has_terms(),
        }
    }

    /// The number of the kind of `request`, whose app and dataset are of these kinds.
    pub(super) fn number_of(&mut self, request: Request) -> u32 {
        let Request { app, dataset, item, prompt_tokens, output_tokens, slo, terms, .. } = request;
        let kind = Kind { app, dataset, item, prompt_tokens, output_tokens, slo, terms };
        *self.numbers.entry(kind).or_insert_with(|| {
            let id = self.all.requests.len();
            let request = Request { id: id as u64, arrival: SimTime::ZERO, ..request };
            self.all.requests.push(request);
            u32::try_from(id).expect("kinds are few")
        })
    }
}

fn arrivals(trace: &Trace) -> Vec<SimTime> {
    trace.requests.iter().map(|request| request.arrival).collect()
}

impl Columns {
    /// How many requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// The id of the request at place `nth`.
    #[must_use]
    #[inline]
    pub fn id(&self, nth: u64) -> u64 {
        self.ids.as_ref().map_or(nth, |ids| ids[nth as usize])
    }

    /// Whether some request is of a class, may be given up or supersedes: those are replayed by
    /// events.
    #[must_use]
    pub fn has_terms(&self) -> bool {
        self.has_terms
    }

    /// The same requests at the instants of `trace`, which has them in the same order.
    ///
    /// # Panics
    /// If it has more or fewer.
    #[must_use]
    pub fn at_instants_of(&self, trace: &Trace) -> Self {
        assert_eq!(trace.requests.len(), self.kinds.len(), "these are the same requests");
        Self { arrivals: arrivals(trace), ..self.clone() }
    }

    /// As many requests as `calls` has, each an arrival and a kind, called by their places.
    #[must_use]
    pub fn of(calls: impl Iterator<Item = (SimTime, u32)>) -> Self {
        let (arrivals, kinds) = calls.unzip();
        Self { arrivals, kinds, ids: None, has_terms: false }
    }

    /// Arrival and kind of each request.
    #[inline]
    pub fn calls(&self) -> impl Iterator<Item = (SimTime, u32)> {
        self.arrivals.iter().copied().zip(self.kinds.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::Ratio;

    /// A request of the app and dataset at these places.
    fn request(id: u64, arrival_ns: u64, app: u16, item: u32) -> Request {
        Request {
            id,
            arrival: SimTime::from_nanos(arrival_ns),
            app: AppId(app),
            dataset: DatasetId(0),
            item: item.into(),
            prompt_tokens: 7,
            output_tokens: 3,
            slo: Slo::Relative { ttft: Ratio::ONE, tpot: Ratio::ONE },
            terms: Terms::default(),
        }
    }

    fn trace(apps: [&str; 2], requests: Vec<Request>) -> Trace {
        let (apps, datasets) = (apps.map(str::to_owned).into(), vec!["quiz".to_owned()]);
        Trace { apps, datasets, requests, ..Trace::default() }
    }

    /// The second trace names its apps the other way round: its first request is of a kind that the
    /// first trace knows, though their apps' ids differ.
    #[test]
    fn kinds_are_numbered_by_what_they_name_whatever_the_trace() {
        let mut kinds = Kinds::default();
        let ab =
            [request(9, 1, 0, 4), request(3, 1, 0, 5), request(4, 6, 1, 4), request(8, 7, 0, 4)];
        let columns = kinds.number(&trace(["a", "b"], ab.into()));
        assert_eq!(columns.kinds, [0, 1, 2, 0]);
        assert_eq!(columns.arrivals, [1, 1, 6, 7].map(SimTime::from_nanos));
        assert_eq!([0, 1, 2, 3].map(|nth| columns.id(nth)), [9, 3, 4, 8]);
        let slo = Slo::Absolute { ttft: Duration::ZERO, tpot: Duration::ZERO };
        let ba = [request(0, 0, 0, 4), Request { slo, ..request(1, 2, 1, 5) }];
        assert_eq!(kinds.number(&trace(["b", "a"], ba.into())).kinds, [2, 3]);
        let all = kinds.as_trace();
        assert_eq!(
            all.requests[2],
            Request { id: 2, arrival: SimTime::ZERO, ..request(0, 0, 1, 4) }
        );
        assert_eq!(
            (all.apps.as_slice(), all.requests.len()),
            (["a", "b"].map(String::from).as_slice(), 4)
        );
    }
}
